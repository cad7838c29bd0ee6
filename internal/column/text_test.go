package column

import (
	"bytes"
	"errors"
	"testing"
)

func TestAppendText_RefusalsAppendNothing(t *testing.T) {
	for _, tc := range []struct {
		typ, text string
		err       error
	}{
		{"UInt8", "256", ErrRange}, {"UInt8", "x", ErrFormat}, {"Int8", "1.5", ErrFraction},
		{"Nullable(UInt8)", "256", ErrRange}, {"Bool", "yes", ErrFormat}, {"Bool", "1", ErrFormat},
		{"UUID", "00112233445566778899aabbccddeeff", ErrFormat}, {"UUID", "0011223g-4455-6677-8899-aabbccddeeff", ErrFormat},
		{"UUID", "{0112233-4455-6677-8899-aabbccddeef}", ErrFormat},
		{"Enum8('a' = 1)", "b", ErrRange}, {"DateTime", "2106-02-07T06:28:16Z", ErrRange},
		{"DateTime", "1969-12-31T23:59:59Z", ErrRange}, {"DateTime64(3)", "now", ErrFormat},
		{"Array(UInt8)", "[1", ErrFormat}, {"Array(UInt8)", "[-1]", ErrRange}, {"Map(String, String)", "", ErrFormat}, {"Float32", "1e39", ErrRange},
	} {
		c := mustNew(t, tc.typ)
		before := encoded(c)
		if _, err := AppendText(c, []byte(tc.text), RFC3339); !errors.Is(err, tc.err) {
			t.Errorf("%s %q: got %v, want %v", tc.typ, tc.text, err, tc.err)
		}
		if !bytes.Equal(encoded(c), before) || c.Rows() != 0 {
			t.Errorf("%s %q: something was appended", tc.typ, tc.text)
		}
	}
}

func TestAppendText_ReportsCutDigits(t *testing.T) {
	for _, typ := range []string{"DateTime", "DateTime64(3)", "Nullable(DateTime64(3))"} {
		if exact, err := AppendText(mustNew(t, typ), []byte("2026-11-22T00:00:00.1234Z"), RFC3339); err != nil || exact {
			t.Errorf("%s: exact %v, %v", typ, exact, err)
		}
	}
}
