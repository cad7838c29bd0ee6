package infer

import (
	"net/netip"
	"strings"
	"time"
)

// layout is a way in which times are written.
type layout struct {
	format string // as a pipeline file has it; empty: RFC 3339
	date   bool   // no time of day
	zoned  bool   // it says which offset
	shapes []string
}

// layouts are those that are looked for. Of several that all texts have, the first is taken.
var layouts = []layout{
	{format: "", zoned: true, shapes: []string{time.RFC3339Nano}},
	{format: "%FT%T%z", zoned: true, shapes: []string{"2006-01-02T15:04:05Z0700"}},
	{format: "%FT%T.%f%z", zoned: true, shapes: []string{"2006-01-02T15:04:05.999999999Z0700"}},
	{format: "%F %T%z", zoned: true, shapes: []string{"2006-01-02 15:04:05Z07:00", "2006-01-02 15:04:05Z0700"}},
	{format: "%F %T %z", zoned: true, shapes: []string{"2006-01-02 15:04:05 -0700", "2006-01-02 15:04:05 -07:00"}},
	{format: "%F %T.%f%z", zoned: true, shapes: []string{"2006-01-02 15:04:05.999999999Z07:00", "2006-01-02 15:04:05.999999999Z0700"}},
	{format: "%d/%b/%Y:%T %z", zoned: true, shapes: []string{"02/Jan/2006:15:04:05 -0700"}},
	{format: "%a, %d %b %Y %T %z", zoned: true, shapes: []string{"Mon, 02 Jan 2006 15:04:05 -0700"}},
	{format: "%FT%T", shapes: []string{"2006-01-02T15:04:05"}},
	{format: "%FT%T.%f", shapes: []string{"2006-01-02T15:04:05.999999999"}},
	{format: "%F %T", shapes: []string{"2006-01-02 15:04:05"}},
	{format: "%F %T.%f", shapes: []string{"2006-01-02 15:04:05.999999999"}},
	{format: "%F %T,%f", shapes: []string{"2006-01-02 15:04:05,999999999"}},
	{format: "%F", date: true, shapes: []string{"2006-01-02"}},
	{format: "%Y/%m/%d", date: true, shapes: []string{"2006/01/02"}},
}

// fits reports whether a text is of the layout. Whether the fraction is there is part of it.
func (l *layout) fits(s string) bool {
	if len(s) < 8 || len(s) > 40 {
		return false
	}
	if l.format != "" && !l.date && strings.Contains(l.format, "%f") != (strings.ContainsAny(s, ".,") && !strings.HasPrefix(l.format, "%a,")) {
		return false
	}
	for _, shape := range l.shapes {
		if _, err := time.Parse(shape, s); err == nil {
			return true
		}
	}
	return false
}

func isIPv4(s string) bool {
	a, err := netip.ParseAddr(s)
	return err == nil && a.Is4()
}

// isHex: a hash or an id, in hexadecimal digits.
func isHex(s string) bool {
	if len(s) < 16 {
		return false
	}
	for _, c := range []byte(s) {
		if (c < '0' || c > '9') && (c|0x20 < 'a' || c|0x20 > 'f') {
			return false
		}
	}
	return true
}
