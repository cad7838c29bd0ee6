package infer

import (
	"fmt"
	"strings"
)

// scalarType is a type for values of one kind.
type scalarType struct {
	typ, format, zone, codec string
	nulls                    bool // it takes null as it is
	why, unsure              string
}

// scalar is the type of the values of a kind at a field of that name; without a type if only their text takes them all.
func (n *node) scalar(kind, name string) scalarType {
	switch kind {
	case kindBool:
		return scalarType{typ: "Bool", why: "only true and false"}
	case kindString:
		return n.stringType()
	}
	if t, ok := n.epoch(name); ok {
		return t
	}
	return n.numberType()
}

// number is the type of numbers as numbers.
func (n *node) numberType() scalarType {
	i := n.numbers.Infer()
	typ := strings.TrimSuffix(strings.TrimPrefix(i.Type, "Nullable("), ")")
	if i.As != "" {
		return scalarType{why: i.Why}
	}
	t := scalarType{typ: typ, why: i.Why}
	switch typ {
	case "Int64", "UInt64":
		t.codec = "T64, ZSTD"
		t.why = fmt.Sprintf("integers from %.15g to %.15g", n.span.min, n.span.max)
	case "Float64":
		t.why = fmt.Sprintf("numbers from %.6g to %.6g, %s with a fraction", n.span.min, n.span.max, percent(n.span.fraction, max(1, n.span.count)))
	}
	return t
}

// timely are words of names of fields that hold times.
var timelyWords = []string{"time", "timestamp", "ts", "at", "date", "created", "updated", "start", "started", "end", "ended", "expires", "expiry", "epoch", "when", "since", "until", "ms", "millis", "micros", "nanos"}

// namedLikeATime: a word of the name says so.
func namedLikeATime(name string) bool {
	for word := range strings.FieldsFuncSeq(snake(name), func(r rune) bool { return r == '_' || r == '-' || r == '.' || r == ' ' }) {
		for _, w := range timelyWords {
			if word == w {
				return true
			}
		}
	}
	return strings.HasSuffix(strings.ToLower(name), "time") || strings.HasSuffix(strings.ToLower(name), "timestamp")
}

// snake puts an underscore before each capital letter that begins a word.
func snake(name string) string {
	var b strings.Builder
	for i, r := range name {
		if r >= 'A' && r <= 'Z' {
			if i > 0 && name[i-1] >= 'a' && name[i-1] <= 'z' {
				b.WriteByte('_')
			}
			r += 'a' - 'A'
		}
		b.WriteRune(r)
	}
	return b.String()
}

// epoch takes numbers for moments, if they can be nothing else: all of them are moments of this century in one unit, and either most are close
// to the record's own time, or the name says that they are times.
func (n *node) epoch(name string) (scalarType, bool) {
	s := &n.span
	for i, u := range units {
		if s.count == 0 || s.plausible[i] != s.count {
			continue
		}
		near := s.timed > 0 && float64(s.near[i]) >= timely*float64(s.timed)
		if !near && !namedLikeATime(name) {
			return scalarType{}, false
		}
		t := scalarType{format: u.format, codec: "Delta, ZSTD"}
		digits := [4]int{0, 3, 6, 9}[i]
		switch {
		case digits == 0 && s.fraction > 0:
			digits = 6
		case s.fraction > 0:
			digits = min(9, digits+3)
		}
		t.typ = fmt.Sprintf("DateTime64(%d, 'UTC')", digits)
		if digits == 0 {
			t.typ = "DateTime('UTC')"
			if s.max >= 1<<32-1 {
				t.typ = "DateTime64(0, 'UTC')"
			}
		}
		t.why = fmt.Sprintf("numbers that are moments in %s", u.format)
		if near {
			t.why += fmt.Sprintf(", %s of them within a day of the record's own time", percent(s.near[i], s.timed))
		} else {
			t.unsure = "that they are times is taken from the name and the size"
			if s.timed > 0 {
				t.unsure += fmt.Sprintf("; %s are within a day of the record's own time", percent(s.near[i], s.timed))
			}
		}
		return t, true
	}
	return scalarType{}, false
}

// stringType is the type of strings.
func (n *node) stringType() scalarType {
	count := n.texts.count
	if i := n.strings.Infer(); i.Type == "Nullable(UUID)" {
		return scalarType{typ: "UUID", why: "all strings are UUIDs"}
	} else if strings.HasPrefix(i.Type, "Nullable(DateTime64") {
		typ := strings.TrimSuffix(strings.TrimPrefix(i.Type, "Nullable("), ")")
		return scalarType{typ: typ, why: i.Why, codec: "Delta, ZSTD"}
	}
	for i := range layouts {
		if count == 0 || n.texts.layouts&(1<<i) == 0 {
			continue
		}
		l := &layouts[i]
		t := scalarType{format: l.format, codec: "Delta, ZSTD", why: "all strings are times, written " + l.words()}
		switch {
		case l.date:
			t.typ, t.codec = "Date32", ""
			if l.format == "%F" {
				t.format = ""
			}
			return t
		case strings.Contains(l.format, "%f"):
			t.typ = "DateTime64(6, 'UTC')"
		case l.format == "":
			t.typ = "DateTime64(6, 'UTC')"
		default:
			t.typ = "DateTime('UTC')"
		}
		if !l.zoned {
			t.zone, t.unsure = "UTC", "they name no offset; UTC is assumed"
		}
		return t
	}
	different := int64(len(n.distinct))
	switch {
	case count > 0 && n.texts.ipv4 == count:
		return scalarType{typ: "IPv4", why: "all strings are IPv4 addresses"}
	case count > 0 && n.texts.numeric == count && different > 1:
		return scalarType{typ: "String", why: "strings that hold integers; they stay strings, as leading zeros and other forms may come", unsure: "whether they are numbers: Int64 would take them too"}
	case !n.many && different <= fewMax && count >= fewFrom && float64(different) <= max(fewOf*float64(count), 1):
		return scalarType{typ: "LowCardinality(String)", why: fmt.Sprintf("%d different strings among %d", different, count)}
	}
	t := scalarType{typ: "String", why: "strings of " + fmt.Sprint(n.bytes/max(1, count)) + " bytes on the average, up to " + fmt.Sprint(n.longestS)}
	if n.bytes/max(1, count) >= largeTexts {
		t.codec = "ZSTD(3)"
	}
	if n.longestS >= hugeText {
		t.why += "; `large: {inline: 8KiB}` here and `content: {table: ...}` keep the long ones once, beside the table"
	}
	if count < fewFrom {
		t.unsure = fmt.Sprintf("few values were seen: %d", count)
	}
	return t
}

func (l *layout) words() string {
	if l.format == "" {
		return "as RFC 3339 has it"
	}
	return l.format
}
