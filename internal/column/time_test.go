package column

import (
	"errors"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestParseTime(t *testing.T) {
	for _, tc := range []struct {
		text      string
		format    TimeFormat
		precision int
		want      int64
		exact     bool
		err       error
	}{
		{"1970-01-01T00:00:00Z", RFC3339, 0, 0, true, nil},
		{"2024-02-29T12:00:00Z", RFC3339, 0, 1709208000, true, nil},
		{"2023-02-29T12:00:00Z", RFC3339, 0, 0, false, ErrFormat},
		{"1970-01-01T01:00:00+01:00", RFC3339, 0, 0, true, nil},
		{"1969-12-31T18:30:00-05:30", RFC3339, 3, 0, true, nil},
		{"1970-01-01t00:00:00z", RFC3339, 0, 0, true, nil},
		{"1970-01-01T00:00:00.12", RFC3339, 3, 0, false, ErrFormat}, // no zone
		{"1970-01-01 00:00:00Z", RFC3339, 3, 0, false, ErrFormat},
		{"1970-01-01T00:00:00.Z", RFC3339, 3, 0, false, ErrFormat},
		{"1970-01-01T00:00:60Z", RFC3339, 3, 0, false, ErrFormat},
		{"1970-01-01T24:00:00Z", RFC3339, 3, 0, false, ErrFormat},
		{"1970-1-01T00:00:00Z", RFC3339, 3, 0, false, ErrFormat},
		{"1970-01-01T00:00:00+0100", RFC3339, 3, 0, false, ErrFormat},
		{"1970-01-01T00:00:00+24:00", RFC3339, 3, 0, false, ErrFormat},
		{"", RFC3339, 3, 0, false, ErrFormat},
		{"1970-01-01T00:00:00.5Z", RFC3339, 3, 500, true, nil},
		{"1970-01-01T00:00:00.123000Z", RFC3339, 3, 123, true, nil},
		{"1970-01-01T00:00:00.123456Z", RFC3339, 3, 123, false, nil},
		{"1969-12-31T23:59:58.5Z", RFC3339, 0, -2, false, nil},
		{"1899-12-31T23:59:59Z", RFC3339, 0, 0, true, ErrRange},
		{"1900-01-01T00:00:00Z", RFC3339, 0, minSeconds, true, nil},
		{"2299-12-31T23:59:59.999Z", RFC3339, 3, endSeconds*1000 - 1, true, nil},
		{"2300-01-01T00:00:00Z", RFC3339, 3, 0, true, ErrRange},
		{"2262-04-11T23:47:16.854775807Z", RFC3339, 9, 1<<63 - 1, true, nil},
		{"2262-04-11T23:47:16.854775808Z", RFC3339, 9, 0, true, ErrRange},
		{"9999-12-31T23:59:59Z", RFC3339, 9, 0, true, ErrRange},
		{"0000-01-01T00:00:00Z", RFC3339, 0, 0, true, ErrRange},
		{"1700000000", UnixSec, 3, 1700000000000, true, nil},
		{"1700000000.1234", UnixSec, 3, 1700000000123, false, nil},
		{"1.7e9", UnixSec, 0, 1700000000, true, nil},
		{"1700000000123", UnixMilli, 3, 1700000000123, true, nil},
		{"1700000000123", UnixMilli, 0, 1700000000, false, nil},
		{"1700000000123", UnixMilli, 9, 1700000000123000000, true, nil},
		{"1700000000123456", UnixMicro, 6, 1700000000123456, true, nil},
		{"1700000000123456789", UnixNano, 9, 1700000000123456789, true, nil},
		{"-1.5", UnixSec, 0, -2, false, nil},
		{"1700000000123", UnixSec, 3, 0, true, ErrRange}, // milliseconds taken for seconds
		{"1e300", UnixSec, 3, 0, true, ErrRange},
		{"x", UnixSec, 3, 0, false, ErrFormat},
	} {
		got, exact, err := ParseTime([]byte(tc.text), tc.format, tc.precision)
		if !errors.Is(err, tc.err) || err == nil && (got != tc.want || exact != tc.exact) {
			t.Errorf("ParseTime(%q, %s, %d) = %d, %v, %v; want %d, %v, %v",
				tc.text, tc.format, tc.precision, got, exact, err, tc.want, tc.exact, tc.err)
		}
	}
}

// Go's own calendar is the second opinion.
func TestParseTime_AgreesWithGo(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		sec := rapid.Int64Range(minSeconds+86400, endSeconds-86400).Draw(rt, "seconds")
		nsec := rapid.Int64Range(0, 999_999_999).Draw(rt, "nanoseconds")
		zone := time.FixedZone("", 60*rapid.IntRange(-1439, 1439).Draw(rt, "zone"))
		text := time.Unix(sec, nsec).In(zone).Format(time.RFC3339Nano)
		got, exact, err := ParseTime([]byte(text), RFC3339, 6)
		if err != nil || got != sec*1e6+nsec/1000 || exact != (nsec%1000 == 0) {
			rt.Fatalf("%s: %d, %v, %v", text, got, exact, err)
		}
	})
}

func FuzzParseRFC3339(f *testing.F) {
	f.Add("2026-11-22T14:44:47.123Z")
	f.Add("1900-02-29T00:00:00+23:59")
	f.Fuzz(func(t *testing.T, text string) {
		got, exact, err := ParseTime([]byte(text), RFC3339, 3)
		want, goErr := time.Parse(time.RFC3339Nano, text)
		if err != nil || goErr != nil {
			return // we are stricter and have a range; Go wants T and Z in upper case
		}
		if got != want.UnixMilli() {
			t.Fatalf("%q: got %d, Go says %d", text, got, want.UnixMilli())
		}
		if goExact := want.Nanosecond()%1e6 == 0; exact && !goExact {
			t.Fatalf("%q: digits were cut and not reported", text)
		}
	})
}

func TestParseTimeFormat(t *testing.T) {
	if _, err := ParseTimeFormat("iso", ""); err == nil {
		t.Error("an unknown format was taken")
	}
	if f, err := ParseTimeFormat("", ""); err != nil || f != RFC3339 {
		t.Error("the default is not rfc3339")
	}
}
