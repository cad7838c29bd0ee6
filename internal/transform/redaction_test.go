package transform

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/waybill-data/waybill"
	"github.com/waybill-data/waybill/internal/contract"
	"github.com/waybill-data/waybill/internal/transform/redact"
)

// blackout is a policy without a compiler: it makes "secret" of anything into "gone".
type blackout struct{}

func (blackout) Event(text []byte) ([]byte, int) {
	return bytes.ReplaceAll(text, []byte("secret"), []byte("gone")), bytes.Count(text, []byte("secret"))
}

func (b blackout) Record(r waybill.Record) (waybill.Record, int) {
	key, n := b.Event(r.Key)
	r.Key = key
	return r, n
}

func (blackout) Counts() []redact.Count { return nil }

func (blackout) AppendDigest(dst, value []byte) []byte {
	return fmt.Appendf(dst, "digest of %d bytes", len(value))
}

// redacting is a transformer under that policy.
func redacting(t *testing.T, tr contract.Transform, keepRaw bool) *Transformer {
	t.Helper()
	out := &Transformer{redact: blackout{}, keepRaw: keepRaw, routes: []route{{}}}
	if err := out.compile(&tr, nil); err != nil {
		t.Fatal(err)
	}
	return out
}

func TestKeep_WhatRedactionLeft(t *testing.T) {
	inHeader := &contract.Versions{Header: "v", Current: "2", Unknown: contract.UnknownDeadLetter, Missing: "2", Upcast: []contract.Upcast{
		{From: "1", To: "2", Steps: []contract.UpcastStep{{Op: contract.OpRename, From: []string{"a"}, To: []string{"b"}}}},
	}}
	const hash = "digest of "
	for _, tt := range []struct {
		text, version, want string
		raw                 bool
	}{
		{`{"b":"secret"}`, "2", `{"b":"gone"} 2 key gone`, false}, {`{"a":"secret"}`, "1", `{"b":"gone"} 2 key gone`, false},
		{`{"b":"secret","status":"bad"}`, "2", `{"b":"gone","status":"bad"} 2 key gone`, false}, {`{"b":"secret"`, "2", hash, false}, {`["secret"]`, "2", hash, false},
		{`{"b":"secret"}`, "7", hash, false}, {`{"a":"secret","b":1}`, "1", hash, false}, {`{"b":"secret"`, "2", `{"b":"secret" 2 key gone`, true},
	} {
		tr := redacting(t, contract.Transform{Version: inHeader, Filter: `event.?status.orValue("ok") == "ok" || event.nope`}, tt.raw)
		r := &waybill.Record{Key: []byte("key secret"), Value: []byte(tt.text), Headers: []waybill.Header{{Key: "v", Value: []byte(tt.version)}}}
		before := fmt.Sprintf("%q", r.Value) + fmt.Sprintf("%q", r.Key) + string(r.Headers[0].Value)
		out := tr.Apply(r)
		kept := tr.Keep(r)
		got := fmt.Sprintf("%s %s %s", kept.Value, kept.Headers[0].Value, kept.Key)
		if tt.want == hash {
			if !bytes.HasPrefix(kept.Value, []byte(hash)) || bytes.Contains(kept.Value, []byte("secret")) || string(kept.Key) != "key gone" {
				t.Errorf("%s keeps %s", tt.text, got)
			}
		} else if got != tt.want {
			t.Errorf("%s keeps %s, want %s", tt.text, got, tt.want)
		}
		if out.Redacted == 0 || string(out.Record.Key) != "key gone" {
			t.Errorf("%s: %+v", tt.text, out)
		}
		if after := fmt.Sprintf("%q", r.Value) + fmt.Sprintf("%q", r.Key) + string(r.Headers[0].Value); after != before {
			t.Errorf("the record was changed: %s", after)
		}
	}
}

func TestKeep_ATombstoneHasNothingToDigest(t *testing.T) {
	tr := redacting(t, contract.Transform{}, false)
	tombstone := &waybill.Record{Key: []byte("secret")}
	tr.Apply(tombstone)
	if kept := tr.Keep(tombstone); kept.Value != nil || string(kept.Key) != "gone" {
		t.Errorf("a tombstone is kept as %+v", kept)
	}
}

// What is kept of a text that could not be redacted cannot be guessed from, and is the same for the same text and secret.
func TestKeep_DigestIsKeyed(t *testing.T) {
	keep := func(secret, value string) string {
		tr := &Transformer{}
		policy := &contract.Redact{Rules: []contract.RedactRule{{Path: "a", Do: contract.RedactMask}}}
		if secret != "" {
			policy.SecretID = contract.SecretID([]byte(secret))
		}
		if err := tr.compile(&contract.Transform{Redact: policy}, []byte(secret)); err != nil {
			t.Fatal(err)
		}
		r := &waybill.Record{Value: []byte(value)}
		tr.Apply(r)
		return string(tr.Keep(r).Value)
	}
	const one, other = "0123456789abcdef", "another secret of it"
	// printf 'waybill redacted record\nabc' | openssl dgst -sha256 -hmac 0123456789abcdef
	if got, want := keep(one, "abc"), `{"waybill_redacted":{"hmac_sha256":"7834bf032c3451b59f7bbc6d87986b88285d2850c5668a6e5853967d85a1a699","bytes":3}}`; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	if keep(one, "abc") == keep(other, "abc") {
		t.Error("the hash does not depend on the secret")
	}
	if got, want := keep("", "abc"), `{"waybill_redacted":{"bytes":3}}`; got != want {
		t.Errorf("without a secret %s, want %s", got, want)
	}
}

// Expressions see what redaction left, of the event and of the record.
func TestApply_RedactsBeforeExpressions(t *testing.T) {
	tr := redacting(t, contract.Transform{Filter: `event.a == "gone" && kafka.key == "gone"`}, false)
	if out := tr.Apply(&waybill.Record{Key: []byte("secret"), Value: []byte(`{"a":"secret"}`)}); out.Filtered || out.Reject != nil || out.Redacted != 2 {
		t.Errorf("%+v", out)
	}
}

func TestKeep_WithoutRedactionTheRecordItself(t *testing.T) {
	tr := &Transformer{}
	r := waybill.Record{Value: []byte("secret"), Key: []byte("k")}
	tr.Apply(&r)
	if diff := cmp.Diff(r, tr.Keep(&r)); diff != "" {
		t.Error(diff)
	}
}
