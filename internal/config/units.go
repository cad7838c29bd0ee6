package config

import (
	"errors"
	"strconv"
	"strings"
	"time"
)

var sizeUnits = []struct {
	name  string
	bytes int64
}{
	{"KiB", 1 << 10},
	{"MiB", 1 << 20},
	{"GiB", 1 << 30},
	{"KB", 1_000},
	{"MB", 1_000_000},
	{"GB", 1_000_000_000},
	{"B", 1}, // last: the others end in it too
}

var (
	errSize     = errors.New("is not a size: write a whole number and a unit, like 64MiB (B, KiB, MiB, GiB, KB, MB, GB)")
	errHugeSize = errors.New("is more bytes than can be counted")
)

// ParseSize reads a number of bytes: "64MiB", "500KB", or plain digits for bytes.
// Its errors read on from the text, which they do not quote.
func ParseSize(s string) (int64, error) {
	digits, unit := strings.TrimSpace(s), int64(1)
	for _, u := range sizeUnits {
		if d, ok := strings.CutSuffix(digits, u.name); ok {
			digits, unit = strings.TrimSpace(d), u.bytes
			break
		}
	}
	n, err := strconv.ParseUint(digits, 10, 63)
	if err != nil {
		return 0, errSize
	}
	if int64(n) > (1<<63-1)/unit {
		return 0, errHugeSize
	}
	return int64(n) * unit, nil
}

// FormatSize writes a number of bytes in the largest binary unit that divides it.
func FormatSize(n int64) string {
	for _, u := range []struct {
		name  string
		bytes int64
	}{{"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}} {
		if n >= u.bytes && n%u.bytes == 0 {
			return strconv.FormatInt(n/u.bytes, 10) + u.name
		}
	}
	return strconv.FormatInt(n, 10) + "B"
}

var (
	errDuration    = errors.New("is not a length of time: write a number and a unit, like 500ms, 30s or 2m")
	errNotPositive = errors.New("is not a positive length of time")
)

// ParseDuration reads a positive length of time with its unit: "500ms", "30s", "1m30s".
// Its errors read on from the text, which they do not quote.
func ParseDuration(s string) (time.Duration, error) {
	d, err := time.ParseDuration(strings.TrimSpace(s))
	if err != nil || strings.Trim(s, "0123456789") == "" {
		return 0, errDuration
	}
	if d <= 0 {
		return 0, errNotPositive
	}
	return d, nil
}
