package redact

import (
	"strings"
	"testing"
	"time"

	"github.com/waybill-data/waybill/internal/contract"
)

// prose is a text as prompts are: nothing is to be found in it, but there are numbers, colons and escapes.
var prose = strings.Repeat(`You are an assistant. Summarise the 12 documents below: each has a title, a date (2024-05-17) and 3 to 5 paragraphs.\nAnswer in JSON, with \"title\" and \"summary\". Do not make anything up; see https://example.com/rules?id=42 for the rules. `, 400)

func BenchmarkEvent(b *testing.B) {
	event := []byte(`{"user":{"email":"jane.doe@example.com"},"model":"m-1","usage":{"in":1234,"out":99},"messages":[{"role":"user","content":"` + prose + `"}]}`)
	hits := []byte(`{"messages":[{"role":"user","content":"` + strings.Repeat(`write to jane.doe@example.com or call (415) 555-0123. `, 2000) + `"}]}`)
	for _, bb := range []struct {
		name  string
		text  []byte
		rules []contract.RedactRule
	}{
		{"path", event, rs(about("user.email", contract.RedactHash))},
		{"detect", event, rs(about("messages", contract.RedactMask, all...))},
		{"email", event, rs(about("messages", contract.RedactMask, "email"))},
		{"hits", hits, rs(about("messages", contract.RedactMask, all...))},
		{"hits-hash", hits, rs(about("messages", contract.RedactHash, all...))},
	} {
		b.Run(bb.name, func(b *testing.B) {
			r := compile(b, bb.rules...)
			b.SetBytes(int64(len(bb.text)))
			b.ReportAllocs()
			for b.Loop() {
				r.Event(bb.text)
			}
		})
	}
}

// An event in which nothing is found costs no memory, once the buffers have grown; one with finds none either.
func TestEvent_Allocations(t *testing.T) {
	r := compile(t, about("a", contract.RedactHash), about("b", contract.RedactDrop), about("", contract.RedactMask, all...))
	text := []byte(`{"a":"x","b":1,"m":["call \u0028415) 555-0123, a\u0040b.de",4111111111111111,"` + prose + `"],"\u0078":{}}`)
	if n := testing.AllocsPerRun(20, func() { r.Event(text) }); n > 0 {
		t.Errorf("%v allocations", n)
	}
}

// hostile texts are those that make a detector that looks back or ahead without a bound take quadratic time.
var hostile = []string{"@", "a@", "%40", "a%40", "a@b", "a@b.", "é@", "1 ", "1-", "12 ", "4111 ", "+", "+1", "(1", "(1)", "sk-", "sk-a", "sk-a-", "eyJ", "eyJaaaaaaaaaa-", "eyJaaaaaaaa-a.", "eyJ.", "eyJaaaaaaaaaa.b", "key=", "key=key", "key:", "=", ":", "Bearer ", "bearer", "-----BEGIN ", "-----BEGIN PRIVATE KEY-----", "----------", "xoxb-", "+14155550123", "a@b.de", "a@b.de@", "AKIA", "tel 1 ", "tel 1234567", "1.", "0 0", "hmac_", "\\u0040", "a"}

// Twenty times the text takes about twenty times as long, not four hundred times: with room for noise.
func TestEvent_LinearOnHostileText(t *testing.T) {
	r := compile(t, about("", contract.RedactMask, all...))
	took := func(part string, n int) time.Duration {
		text := []byte(`{"a":"` + strings.Repeat(part, n/len(part)) + `"}`)
		best := time.Hour
		for range 5 {
			start := time.Now()
			r.Event(text)
			best = min(best, time.Since(start))
		}
		return best
	}
	for _, part := range hostile {
		short, long := took(part, 2_000), took(part, 40_000)
		if long > 120*max(short, 20*time.Microsecond) {
			t.Errorf("%q: %v for 2 KB, %v for 40 KB", part, short, long)
		}
	}
}
