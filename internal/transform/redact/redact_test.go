package redact

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/waybill-data/waybill"
	"github.com/waybill-data/waybill/internal/contract"
)

const secret = "0123456789abcdef"

var all = []string{"email", "phone", "card", "api_key"}

func compile(t testing.TB, rules ...contract.RedactRule) *Redactor {
	t.Helper()
	r, err := New(&contract.Redact{Version: 1, Rules: rules}, []byte(secret))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func about(path string, do contract.RedactAction, detect ...string) contract.RedactRule {
	return contract.RedactRule{Path: path, Do: do, Detect: detect}
}

// mark is what stands for a hashed value. The golden ones in TestHash_Golden hold it to what it was.
func mark(value string) string {
	return string(newHasher([]byte(secret)).appendMark(nil, []byte(value)))
}

func TestEvent_Actions(t *testing.T) {
	const drop, hash, mask = contract.RedactDrop, contract.RedactHash, contract.RedactMask
	for _, tt := range []struct {
		name     string
		rules    []contract.RedactRule
		in, want string
	}{
		{"drop the first", rs(about("a", drop)), `{ "a" : 1 , "b":2}`, `{  "b":2}`},
		{"drop the last", rs(about("b", drop)), `{"a":1 , "b":2 }`, `{"a":1  }`},
		{"drop in the middle", rs(about("b", drop)), `{"a":1,"b":{"x":[1]},"c":3}`, `{"a":1,"c":3}`},
		{"drop the only one", rs(about("a", drop)), ` {"a":"x"} `, ` {} `},
		{"drop all but the last", rs(about("a", drop), about("b", drop)), `{"a":1,"b":2,"c":3}`, `{"c":3}`},
		{"drop all but the first", rs(about("c", drop), about("b", drop)), `{"a":1,"b":2,"c":3}`, `{"a":1}`},
		{"drop every second", rs(about("a", drop), about("c", drop)), `{"a":1,"b":2,"c":3,"d":4}`, `{"b":2,"d":4}`},
		{"drop the event", rs(about("", drop)), `{"a":1,"b":2}`, `{}`},
		{"drop an element", rs(about("a[1]", drop)), `{"a":[1,{"x":2},3]}`, `{"a":[1,null,3]}`},
		{"drop members of elements", rs(about("a[*].x", drop)), `{"a":[{"x":1,"y":2},{"y":3},4]}`, `{"a":[{"y":2},{"y":3},4]}`},
		{"a name with escapes", rs(about("user", drop)), `{"\u0075ser":"x","b":1}`, `{"b":1}`},
		{"a name twice", rs(about("a", drop)), `{"a":1,"b":2,"a":3}`, `{"b":2}`},
		{"a name that is quoted", rs(about("x.`a.b`", mask)), `{"x":{"a.b":1,"a":{"b":2}}}`, `{"x":{"a.b":"[redacted]","a":{"b":2}}}`},
		{"mask", rs(about("a", mask)), `{"a":"x","b":"x"}`, `{"a":"[redacted]","b":"x"}`},
		{"mask an object", rs(about("a", mask)), `{"a":{"x":[1,2]},"b":1}`, `{"a":"[redacted]","b":1}`},
		{"mask null", rs(about("a", mask)), `{"a":null}`, `{"a":null}`},
		{"mask the event", rs(about("", mask)), `{"a":1,"b":{"c":2}}`, `{"a":"[redacted]","b":"[redacted]"}`},
		{"hash a string", rs(about("a", hash)), `{"a":"x\u0041","b":"xA"}`, `{"a":"` + mark("xA") + `","b":"xA"}`},
		{"hash other scalars", rs(about("", hash)), `{"a":1.50,"b":true,"c":null}`, `{"a":"` + mark("1.50") + `","b":"` + mark("true") + `","c":null}`},
		{"hash leaves", rs(about("a", hash)), `{"a":{"k":["x", {"y":2}]}}`, `{"a":{"k":["` + mark("x") + `", {"y":"` + mark("2") + `"}]}}`},
		{"the first rule of the same value decides", rs(about("a.b", hash), about("a.b", mask)), `{"a":{"b":1}}`, `{"a":{"b":"` + mark("1") + `"}}`},
		{"the first rule decides, of a leaf too", rs(about("a", hash), about("a.b", drop)), `{"a":{"b":1}}`, `{"a":{"b":"` + mark("1") + `"}}`},
		{"a rule below one that hashes", rs(about("a.b", drop), about("a", hash)), `{"a":{"b":1,"c":"x"}}`, `{"a":{"c":"` + mark("x") + `"}}`},
		{"whole values win over detectors", rs(about("", mask, all...), about("a", hash)), `{"a":"a@b.de"}`, `{"a":"` + mark("a@b.de") + `"}`},
		{"detect and mask", rs(about("m", mask, all...)), `{"m":[{"content":"mail a@b.de, now"}],"n":"a@b.de"}`, `{"m":[{"content":"mail [email], now"}],"n":"a@b.de"}`},
		{"detect and hash", rs(about("m", hash, all...)), `{"m":"mail a@b.de"}`, `{"m":"mail ` + mark("a@b.de") + `"}`},
		{"detect and drop", rs(about("m", drop, "email")), `{"m":{"a":"mail a@b.de","b":1},"n":2}`, `{"m":{"b":1},"n":2}`},
		{"detect and drop an element", rs(about("m", drop, "email")), `{"m":["a@b.de","x"]}`, `{"m":[null,"x"]}`},
		{"each detector has its rule", rs(about("", hash, "email"), about("", mask, "card")), `{"m":"a@b.de 4111 1111 1111 1111"}`, `{"m":"` + mark("a@b.de") + ` [card]"}`},
		{"escapes are seen through", rs(about("", mask, all...)), `{"m":"\u00e9\/ a\u0040b\u002ede \ud83d\ude00 c@d.de\n\""}`, `{"m":"\u00e9\/ [email] \ud83d\ude00 [email]\n\""}`},
		{"names", rs(about("", mask, "email")), `{"by":{"a@b.de":1,"c@d.de":2,"x":3}}`, `{"by":{"[email]":1,"[email] 2":2,"x":3}}`},
		{"names that are taken", rs(about("", mask, "email")), `{"a@b.de":1,"[email] 2":2,"c@d.de":3,"[email]":4}`, `{"[email] 3":1,"[email] 2":2,"[email] 4":3,"[email]":4}`},
		{"a name twice stays twice", rs(about("", mask, "email")), `{"a@b.de":1,"a\u0040b.de":2}`, `{"[email]":1,"[email]":2}`},
		{"names that are hashed", rs(about("", hash, "email")), `{"a@b.de":1}`, `{"` + mark("a@b.de") + `":1}`},
		{"names and drop", rs(about("", drop, "email")), `{"a@b.de":{"x":1},"b":2}`, `{"b":2}`},
		{"the name of the path itself is not covered", rs(about("`a@b.de`", mask, "email")), `{"a@b.de":{"a@b.de":1}}`, `{"a@b.de":{"[email]":1}}`},
		{"numbers", rs(about("", mask, all...)), `{"a":4111111111111111,"b":4.111111111111111e15,"c":-4111111111111111.0,"d":4111111111111112}`, `{"a":"[card]","b":"[card]","c":"[card]","d":4111111111111112}`},
		{"a phone as a number", rs(about("", mask, all...)), `{"phone":4155550123,"n":4155550123,"phone_verified_at":1764000000}`, `{"phone":"[phone]","n":4155550123,"phone_verified_at":1764000000}`},
		{"a number is hashed like a string", rs(about("", hash, "card")), `{"a":4111111111111111}`, `{"a":"` + mark("4111111111111111") + `"}`},
		{"dropping a name that was rewritten", rs(about("", mask, "email"), about("", drop, "card")), `{"a@b.de":"4111 1111 1111 1111","b":1}`, `{"b":1}`},
		{"nothing to do", rs(about("x", drop)), ` { "a" : [ 1.50 , "\u0041" ] } `, ` { "a" : [ 1.50 , "\u0041" ] } `},
	} {
		r := compile(t, tt.rules...)
		out, changed := r.Event([]byte(tt.in))
		if diff := cmp.Diff(tt.want, string(out)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.name, diff)
		}
		if (changed > 0) != (tt.in != tt.want) {
			t.Errorf("%s: %d values changed", tt.name, changed)
		}
		again, changed := r.Event([]byte(strings.Clone(string(out))))
		if changed != 0 || string(again) != tt.want {
			t.Errorf("%s: a second time gives %s, %d changed", tt.name, again, changed)
		}
	}
}

func rs(rules ...contract.RedactRule) []contract.RedactRule { return rules }

// Stored hashes are compared with later ones: what they are must never change.
func TestHash_Golden(t *testing.T) {
	for value, want := range map[string]string{
		"":       "hmac_bbc73madfgne37lnv5myo3bwltosgoiyljexjvaq",
		"a@b.de": "hmac_m2v7yagli5gsd2nw6yf5tchmacwaqqlanwvwmapa",
	} {
		if got := mark(value); got != want {
			t.Errorf("%q: %s, was %s", value, got, want)
		}
	}
	h, other := newHasher([]byte(secret)), newHasher([]byte("another secret of it"))
	if m := []byte(mark("x")); !h.isMark(m) || other.isMark(m) {
		t.Error("a mark is known by its secret alone")
	}
	if fake := []byte(mark("x")[:tokenLen-1] + "0"); h.isMark(fake) {
		t.Error("what only looks like a mark is taken for one")
	}
}

func TestEvent_Counts(t *testing.T) {
	r := compile(t, about("a", contract.RedactDrop), contract.RedactRule{Kafka: "key", Do: contract.RedactHash}, about("m", contract.RedactMask, "email", "card"))
	r.Event([]byte(`{"a":1,"m":["x@y.de z@y.de",{"c@d.de":"4111111111111111"}]}`))
	_, changed := r.Event([]byte(`{"a":1}`))
	r.Record(waybill.Record{Key: []byte("k")})
	want := []Count{{"a: drop", 2}, {"kafka key: hash", 1}, {"m email,card: mask", 3}}
	if diff := cmp.Diff(want, r.Counts()); diff != "" || changed != 1 {
		t.Errorf("%d changed; (-want +got):\n%s", changed, diff)
	}
	for _, again := range r.Counts() {
		if again.Values != 0 {
			t.Errorf("drained counts: %v", again)
		}
	}
}

func TestEvent_BrokenTextLeavesNothing(t *testing.T) {
	r := compile(t, about("b", contract.RedactMask), about("", contract.RedactMask, "email"))
	deep := strings.Repeat(`{"a":`, MaxDepth+1) + "1" + strings.Repeat("}", MaxDepth+1)
	for _, text := range []string{``, `[]`, `"a"`, `{`, `{"a"`, `{"a":`, `{"a":"b`, `{"a":1,}`, `{"a":1 "b"}`, `{"a":1}}`, `{"a":[1}`, `{"a":"\x"}`, `{"\ud800":1}`, `{"a":"\`, `{"b":[`, deep} {
		if out, changed := r.Event([]byte(text)); out != nil || changed != 0 {
			t.Errorf("%s gives %s", text, out)
		}
	}
	if out, _ := r.Event([]byte(deep[len(`{"a":`) : len(deep)-1])); out == nil {
		t.Error("an event of the greatest depth is refused")
	}
}

func TestRecord(t *testing.T) {
	const drop, hash, mask = contract.RedactDrop, contract.RedactHash, contract.RedactMask
	for _, tt := range []struct {
		kafka    string
		do       contract.RedactAction
		detect   []string
		in, want string
		changed  int
	}{
		{"key", hash, nil, "k", mark("k"), 1}, {"key", mask, nil, "k", "[redacted]", 1}, {"key", drop, nil, "k", "<nil>", 1},
		{"key", hash, nil, "<nil>", "<nil>", 0}, {"key", hash, nil, mark("k"), mark("k"), 0}, {"key", mask, nil, "[redacted]", "[redacted]", 0},
		{"key", mask, all, "user a@b.de", "user [email]", 1}, {"key", hash, all, "a@b.de", mark("a@b.de"), 1}, {"key", drop, all, "a@b.de", "<nil>", 1},
		{"key", mask, all, "user 1", "user 1", 0}, {"key", mask, all, `{"u":"a\u0040b.de"}`, `{"u":"[email]"}`, 1}, {"key", mask, all, `"a\u0040b.de"`, `"[email]"`, 1},
		{"key", mask, all, `{"u":"a@b.de"`, `{"u":"[email]"`, 1}, {"key", drop, all, `["a@b.de"]`, `[null]`, 1}, {"key", mask, all, "\xff a@b.de", "\xff [email]", 1},
		{"key", drop, all, `"a@b.de"`, `<nil>`, 1},
	} {
		r := compile(t, contract.RedactRule{Kafka: tt.kafka, Do: tt.do, Detect: tt.detect})
		rec := waybill.Record{Value: []byte("v")}
		if tt.in != "<nil>" {
			rec.Key = []byte(tt.in)
		}
		out, changed := r.Record(rec)
		got := string(out.Key)
		if out.Key == nil {
			got = "<nil>"
		}
		if got != tt.want || changed != tt.changed || rec.Key != nil && string(rec.Key) != tt.in {
			t.Errorf("%s %s of %s: %s, %d changed, want %s", tt.do, tt.kafka, tt.in, got, changed, tt.want)
		}
	}
}

func TestRecord_Headers(t *testing.T) {
	in := []waybill.Header{{Key: "a", Value: []byte("1")}, {Key: "u", Value: []byte("x")}, {Key: "b"}, {Key: "u"}, {Key: "u", Value: []byte("y")}}
	for do, want := range map[contract.RedactAction][]waybill.Header{
		contract.RedactDrop: {in[0], in[2], in[3]},
		contract.RedactMask: {in[0], {Key: "u", Value: []byte("[redacted]")}, in[2], in[3], {Key: "u", Value: []byte("[redacted]")}},
	} {
		rec := waybill.Record{Headers: in}
		out, changed := compile(t, contract.RedactRule{Kafka: "header.u", Do: do}).Record(rec)
		if diff := cmp.Diff(want, out.Headers); diff != "" || changed != 2 {
			t.Errorf("%s: %d changed; (-want +got):\n%s", do, changed, diff)
		}
		if string(in[1].Value) != "x" || len(rec.Headers) != 5 {
			t.Error("the record itself was changed")
		}
	}
}

func TestNew_Refuses(t *testing.T) {
	for _, rule := range []contract.RedactRule{
		{Do: "burn"}, {Path: "a..b", Do: contract.RedactDrop}, {Detect: []string{"iban"}, Do: contract.RedactMask}, {Kafka: "value", Do: contract.RedactDrop},
		{Kafka: "header.", Do: contract.RedactDrop}, {Kafka: "key", Path: "a", Do: contract.RedactDrop},
	} {
		if _, err := New(&contract.Redact{Rules: rs(rule)}, []byte(secret)); err == nil {
			t.Errorf("%+v is taken", rule)
		}
	}
	if _, err := New(&contract.Redact{Rules: rs(about("a", contract.RedactHash))}, nil); err == nil {
		t.Error("a hash without a secret is taken")
	}
}
