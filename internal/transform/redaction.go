package transform

import (
	"errors"
	"slices"

	"github.com/waybill-data/waybill"
	"github.com/waybill-data/waybill/internal/contract"
	"github.com/waybill-data/waybill/internal/transform/redact"
)

// redactor is a compiled policy of redaction. It quotes nothing of what it removes.
type redactor interface {
	// Event is an event, which is a JSON object, without what the policy removes, and how many values it changed. Without
	// any it is the text itself. It is valid until the next Event.
	Event(text []byte) (out []byte, changed int)
	// Record is a record whose key and headers are redacted, and how many of them were. Its value is left as it is.
	Record(r waybill.Record) (out waybill.Record, changed int)
	// Counts are the values that each rule changed since the last call, in the policy's order.
	Counts() []redact.Count
	// AppendDigest appends what may be kept of a value that could not be redacted.
	AppendDigest(dst, value []byte) []byte
}

// compileRedact refuses what cannot be applied: a record that is stored unredacted cannot be taken back.
func (t *Transformer) compileRedact(r *contract.Redact, secret []byte) error {
	if r == nil {
		return nil
	}
	if r.SecretID != "" && r.SecretID != contract.SecretID(secret) {
		return &waybill.Error{Op: "transform.compile", Class: waybill.ClassConfig,
			Hint: "give the secret that the plan was made with, or change the policy, which makes a new plan",
			Err:  errors.New("the redaction secret is not the one that the plan was made with")}
	}
	policy, err := redact.New(r, secret)
	if err != nil {
		return configError("redact", err)
	}
	t.redact, t.keepRaw = policy, r.KeepRaw
	return nil
}

// kept is what redaction left of the record that was applied last.
type kept struct {
	record waybill.Record // key and headers redacted
	text   []byte         // the event, once it is redacted; nil before
	upcast bool
	known  bool // the event's version is the current one by now
}

// redactRecord redacts what is not the event, which comes first: it cannot fail, whatever the value is.
func (t *Transformer) redactRecord(r *waybill.Record, out *Result) {
	t.kept = kept{}
	if t.redact != nil {
		t.kept.record, out.Redacted = t.redact.Record(*r)
		out.Record = &t.kept.record
	}
}

// RedactedBy is how many values each rule of redaction changed since the last call, of all records that were applied; none without redaction.
func (t *Transformer) RedactedBy() []redact.Count {
	if t.redact == nil {
		return nil
	}
	return t.redact.Counts()
}

// redactEvent redacts the event, which is of the current version.
func (t *Transformer) redactEvent(out *Result) {
	text, changed := t.redact.Event(out.Text)
	out.Text = text
	out.Redacted += changed
	t.kept.text, t.kept.upcast, t.kept.known = text, out.Upcast, t.upcast != nil && !out.Assumed
}

// Keep is what may be stored of the record that was applied last, if it becomes a dead letter. Without redaction that is
// the record itself. With it, it is what redaction left: the event as it was decoded, so already of the current version;
// or, of a record that did not get as far as that, only size and keyed hash of its value, unless the policy keeps them raw.
// It may alias the record and the transformer's memory.
func (t *Transformer) Keep(r *waybill.Record) waybill.Record {
	if t.redact == nil {
		return *r
	}
	out := t.kept.record
	switch {
	case t.kept.text != nil:
		out.Value = t.kept.text
		if t.kept.known {
			out.Version = t.current
		}
		if t.kept.upcast && t.header != "" {
			out.Headers = withHeader(out.Headers, t.header, t.current)
		}
	case r.Value != nil && !t.keepRaw:
		out.Value = t.redact.AppendDigest(nil, r.Value)
	}
	return out
}

// withHeader is the headers with the first of that name set, which must not be upcast again when it is replayed.
func withHeader(headers []waybill.Header, name, value string) []waybill.Header {
	set := waybill.Header{Key: name, Value: []byte(value)}
	out := slices.Clone(headers)
	if i := slices.IndexFunc(out, func(h waybill.Header) bool { return h.Key == name }); i >= 0 {
		out[i] = set
		return out
	}
	return append(out, set)
}
