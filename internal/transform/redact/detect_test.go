package redact

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// marked is text with what is found in it in angle brackets.
func marked(f *finder, text, name string, on set) string {
	var b strings.Builder
	from := 0
	for _, m := range f.find([]byte(text), on, []byte(name)) {
		fmt.Fprintf(&b, "%s<%s>", text[from:m.start], text[m.start:m.end])
		from = m.end
	}
	return b.String() + text[from:]
}

// found holds a detector to texts in which what it must find is in angle brackets, and nothing else may be found.
func found(t *testing.T, d detector, name string, texts []string) {
	t.Helper()
	var f finder
	for _, want := range texts {
		text := strings.NewReplacer("<", "", ">", "").Replace(want)
		if diff := cmp.Diff(want, marked(&f, text, name, 1<<d)); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
		if strings.Contains(want, "<") {
			continue
		}
		if got := marked(&f, text, name, 1<<numDetectors-1); got != want && d == card {
			t.Errorf("with all detectors: %s", got)
		}
	}
}

func TestFind_Email(t *testing.T) {
	found(t, email, "", []string{
		"<a@b.de>", "mail <jane.doe+news@mail.example.co.uk>.", "<jane@example.com>,<joe@example.org>", "(<jane@example.com>)", "Jane \"<jane@example.com>\"",
		"<o'brien@example.ie>", "mailto:<jane@example.com>?subject=x", "https://x.y/?email=<jane@example.com>&z=1", "email=<jane%40example.com>&x", "<jane@example.com>-",
		"请联系<jane@example.com>谢谢", "<用户@例子.广告>", "<jane@müller.de>", "<jane@xn--mller-kva.xn--p1ai>", "git clone <git@github.com>:a/b.git", "<JANE@EXAMPLE.COM>", "<jane_doe@example.com>", "<1234@example.com>",
		"<a@b.de>@c.de", "a@@<b@c.de>", "<jane@example.com>.", "<jane@example.com>.2", "https://user:<pw@host.com>/", "<jane@example.com>/x",
		// Not an address:
		"", "@", "@jane", "jane@", "jane@localhost", "jane@127.0.0.1", "a @ b.de", "a@ b.de", "@angular/core", "npm i left-pad@1.3.0", "x@1.0.0-beta", "100% @ 3.5", "foo@bar", "a@b.c", "@media (min-width: 3px)", "a%40", "def f(): @property.setter",
	})
}

func TestFind_Phone(t *testing.T) {
	found(t, phone, "", []string{
		"<+14155550123>", "<+1 415 555 0123>", "<+1 (415) 555-0123>", "<+1-415-555-0123>.", "call <(415) 555-0123> now", "<415-555-0123>", "<415.555.0123>", "<1-800-555-0123>", "<(415)555-0123>",
		"<+44 20 7946 0958>", "<+44 (0)20 7946 0958>", "<020 7946 0958>", "<07700 900123>", "<+49 170 1234567>", "<0170/1234567>", "<030 1234567>", "<0049 170 1234567>",
		"<+33 6 12 34 56 78>", "<06 12 34 56 78>", "<01.23.45.67.89>", "<+8613812345678>", "<138 1234 5678>", "电话<138-1234-5678>请", "<+91 98765 43210>", "<+81 90-1234-5678>", "<+55 11 91234-5678>",
		"tel:<+14155550123>", "phone: <4155550123>", "Tel. <5550123>", "my mobile number is <07700900123>", "<415\u00a0555\u00a00123>", "<415\u2011555\u20110123>", "WhatsApp <00491701234567>", "<+1 415 555 0123> 2024",
		// Not a number to call:
		"", "4155550123", "1764000000", "1764000000123", "1764000000123456789", "2024-01-02", "02.01.2024 10:30", "01/02/2024 1200", "2024-01-02T03:04:05+00:00", "10:30:00.123456", "192.168.100.200", "10.0.0.1:8080",
		"550e8400-e29b-41d4-a716-446655440000", "12345678-1234-1234-1234-123456789012", "order 123456789", "v1.22.333.4444", "0.123 456 789", "123 456 789", "1,234,567,890", "$1,000,000", "1e10", "3.14159265358979", "a+1", "5 + 10",
		"phone 1764000000", "hotel 12345678", "tell 12345678", "000 000 0000", "0x12345678", "[1, 2, 3, 4, 5, 6, 7]", "sha 4155550123abc", "415-555-01234", "1415-555-0123", "2-415-555-0123-9", "(1) one (2) two", "ISBN 978-3-16-148410-0",
	})
	found(t, phone, "phone_number", []string{"<4155550123>", "<5550123>", "<0170 1234567>", "1764000000", "12", "none"})
	found(t, phone, "tel", []string{"<4155550123>"})
	found(t, phone, "hotel", []string{"4155550123"})
}

func TestFind_Card(t *testing.T) {
	found(t, card, "", []string{
		"<4111111111111111>", "<4111 1111 1111 1111>", "<4111-1111-1111-1111>", "<5555555555554444>", "<2223003122003222>", "<378282246310005>", "<3782 822463 10005>", "<6011111111111117>", "<3530111333300000>",
		"<30569309025904>", "<6200000000000005>", "<4222222222222>", "card:<4111111111111111>,", "卡<4111111111111111>号", "<4111.1111.1111.1111>", "<4111\u00a01111\u00a01111\u00a01111>", "<4111 1111 1111 1111> 123", "1 <4111 1111 1111 1111>", "card_<4111111111111111>", "<6304000000000000>",
		// No card:
		"", "4111111111111112", "4111 1111 1111 1112", "1764000000123", "1764000000123456789", "1111111111111117", "411111111111", "41111111111111111111", "0.4111111111111111", "4111111111111111.5", "a4111111111111111", "4111111111111111a",
		"4 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1", "41111 11111 111111", "4111-1111 1111-1111", "550e8400-e29b-41d4-a716-446655440000", "9111111111111111", "0000000000000000",
	})
}

func TestFind_APIKey(t *testing.T) {
	const x = "aB3dE5fG7hJ9kL1mN3pQ5rS7tU9vW1xY3zA5bC7d"
	found(t, apiKey, "", []string{
		"<sk-" + x + ">", "use <sk-proj-" + x + "> now", "<sk-ant-api03-" + x + "-_>", "<ghp_" + x[:36] + ">", "<github_pat_" + x + ">", "<AKIAIOSFODNN7EXAMPLE>", "<xoxb-123456789012-abcdefABCDEF>", "<AIza" + x[:35] + ">", "<hf_" + x[:34] + ">",
		"<eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl-_>", "<eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0>", "Authorization: Bearer <" + x + ">", "bearer <abc.def/ghi+jkl=1234>", "key=<" + x + ">&x=1", "token: \"<" + x + ">\"", "api_key = '<" + x + ">'",
		"{\\\"password\\\": \\\"<" + x + ">\\\"}", "export SECRET=<0123456789abcdef0123456789abcdef>", "<sk_live_" + x + ">", "<glpat-" + x[:20] + ">", "(<sk-" + x + ">)", "'<sk-" + x + ">'", "密钥<sk-" + x + ">。", "my_<sk-" + x + ">",
		"<-----BEGIN RSA PRIVATE KEY-----\nabc\n-----END RSA PRIVATE KEY-----> x", "<-----BEGIN PRIVATE KEY-----\nabc>", "no digit <sk-JzfyJUhOfTfEhaiqQNMsnRWvCMPVDMhgxywILryu>", "Bearer <JzfyJUhOfTfEhaiqQNMs>", "AWS_SECRET_ACCESS_KEY=<wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY>",
		// No key:
		"", "sk-", "sk-learn", "sk-learn-is-a-library-for-machine-learning", "risk-" + x[:5], "task-" + strings.ToLower("abcdefghijklmnopqrst"), "AKIA", "AKIDO", "eyJ", "eyJust.a.word", "eyJhbGciOiJIUzI1NiJ9.abc", "eyJhbGciOiJIUzI1NiJ9. eyJz", "Bearer of good news", "bearer understanding-misunderstanding",
		"key=value", "key: understanding-misunderstanding", "token=1234567890123456", "monkey business 0123456789abcdef0123", "the key is: here", "id=0123456789abcdef0123456789abcdef", "550e8400-e29b-41d4-a716-446655440000", "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
		"-----BEGIN CERTIFICATE-----\nabc\n-----END CERTIFICATE-----", "xoxb-", "tokens: 1234567890123456", "key==================", "sk-SomeVeryLongWordsInCamelCase", "sortKey: someVeryLongWordsInCamelCase", "Bearer authenticationOfRequests", "key=aaaaaaaaaaaaaaaaaaa1A",
	})
	found(t, apiKey, "api_key", []string{"<0123456789abcdef0123456789abcdef>", "<" + x + ">", "short1", "not set, ask your administrator 12345"})
	found(t, apiKey, "clientSecret", []string{"<" + x + ">"})
	found(t, apiKey, "prompt_cache_key", []string{x})
	found(t, apiKey, "next_page_token", []string{x})
}

// Overlapping finds go as one: no part of either is left.
func TestFind_Overlaps(t *testing.T) {
	var f finder
	for text, want := range map[string]string{
		"key=aB3dE5fG7hJ9kL1mN3pQ@example.com":       "key=<aB3dE5fG7hJ9kL1mN3pQ@example.com>",
		"+14155550123@example.com":                   "<+14155550123@example.com>",
		"4111111111111111@example.com":               "<4111111111111111@example.com>",
		"Bearer aB3dE5fG7hJ9kL1m+4111111111111111 x": "Bearer <aB3dE5fG7hJ9kL1m+4111111111111111> x",
	} {
		if got := marked(&f, text, "", 1<<numDetectors-1); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
}
