package config

import (
	"testing"
	"time"
)

func TestParseSize(t *testing.T) {
	for in, want := range map[string]int64{
		"64MiB": 64 << 20, "1 KiB": 1024, "2GB": 2e9, "17": 17, "17B": 17, "0": 0, "500KB": 500_000,
	} {
		if got, err := ParseSize(in); err != nil || got != want {
			t.Errorf("%q: %d, %v; want %d", in, got, err, want)
		}
	}
	for _, in := range []string{"", "64M", "-1", "1.5GiB", "MiB", "9999999999GiB", "1e3", "+5", "99999999999999999999"} {
		if got, err := ParseSize(in); err == nil {
			t.Errorf("%q is read as %d", in, got)
		}
	}
}

func TestFormatSize_ReadsBackAsItself(t *testing.T) {
	for _, n := range []int64{0, 1, 1023, 1024, 1025, 64 << 20, 3 << 30, 1e9} {
		if got, err := ParseSize(FormatSize(n)); err != nil || got != n {
			t.Errorf("%d is written %s and read as %d, %v", n, FormatSize(n), got, err)
		}
	}
}

func TestParseDuration(t *testing.T) {
	for in, want := range map[string]time.Duration{"30s": 30 * time.Second, "1m30s": 90 * time.Second, "250ms": 250 * time.Millisecond} {
		if got, err := ParseDuration(in); err != nil || got != want {
			t.Errorf("%q: %v, %v; want %v", in, got, err, want)
		}
	}
	for _, in := range []string{"", "5", "0", "0s", "-1s", "1d", "s"} {
		if got, err := ParseDuration(in); err == nil {
			t.Errorf("%q is read as %v", in, got)
		}
	}
}

func TestClosest(t *testing.T) {
	keys := []string{"brokers", "topic", "group", "start"}
	for in, want := range map[string]string{"tpoic": "topic", "Topic": "topic", "broker": "brokers", "zebra": "", "": "", "tsart": "start"} {
		if got := Closest(in, keys); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}
