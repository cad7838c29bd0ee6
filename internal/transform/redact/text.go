package redact

import (
	"bytes"
	"unicode/utf8"
)

// at is the byte at i, zero at the end of the text: no zero byte is valid in JSON.
func at(text []byte, i int) byte {
	if i < len(text) {
		return text[i]
	}
	return 0
}

func blanks(text []byte, i int) int {
	for i < len(text) && (text[i] == ' ' || text[i] == '\n' || text[i] == '\t' || text[i] == '\r') {
		i++
	}
	return i
}

// stringEnd is where the string at i ends, closing quote included.
func stringEnd(text []byte, i int) (end int, ok bool) {
	i++
	for quote := i - 1; ; {
		if quote < i { // else what was found before the last escape still stands
			n := bytes.IndexByte(text[i:], '"')
			if n < 0 {
				return len(text), false
			}
			quote = i + n
		}
		slash := bytes.IndexByte(text[i:quote], '\\')
		if slash < 0 {
			return quote + 1, true
		}
		if i += slash + 2; i > len(text) {
			return len(text), false
		}
	}
}

// skip is where the value at i ends, which lies in depth others.
func skip(text []byte, i, depth int) (end int, ok bool) {
	switch at(text, i) {
	case '"':
		return stringEnd(text, i)
	case '{', '[':
		return skipNested(text, i, depth)
	}
	end = i
	for end < len(text) && isScalar(text[end]) {
		end++
	}
	return end, end > i
}

// isScalar: what numbers and the three words are made of.
func isScalar(b byte) bool { return class[b]&isWord != 0 || b == '-' || b == '+' || b == '.' }

// skipNested skips an object or array.
func skipNested(text []byte, i, depth int) (end int, ok bool) {
	for open := 0; i < len(text); i++ {
		switch text[i] {
		case '"':
			if end, ok = stringEnd(text, i); !ok {
				return i, false
			}
			i = end - 1
		case '{', '[':
			if open++; depth+open > MaxDepth {
				return i, false
			}
		case '}', ']':
			if open--; open == 0 {
				return i + 1, true
			}
		}
	}
	return i, false
}

// escaped goes through the inside of a JSON string, raw, beside the text that it stands for.
type escaped struct {
	raw   []byte
	i     int // in raw
	plain int // the same place in the text
}

// to goes on to a place in the text, and returns where that is in raw.
func (e *escaped) to(plain int) int {
	for e.plain < plain {
		n := bytes.IndexByte(e.raw[e.i:min(len(e.raw), e.i+plain-e.plain)], '\\')
		switch {
		case n < 0:
			e.i += plain - e.plain
			e.plain = plain
		case n > 0:
			e.i += n
			e.plain += n
		default:
			e.escape()
		}
	}
	return e.i
}

// escape goes past one escape sequence, or the two of a surrogate pair.
func (e *escaped) escape() {
	if e.raw[e.i+1] != 'u' {
		e.i += 2
		e.plain++
		return
	}
	unit := e.unit(e.i + 2)
	e.i += 6
	if unit&0xFC00 == 0xD800 { // a valid text has the other half behind it
		e.i += 6
		e.plain += 4
		return
	}
	e.plain += utf8.RuneLen(unit)
}

// unit is the number of four hex digits at i.
func (e *escaped) unit(i int) (n rune) {
	for _, b := range e.raw[i : i+4] {
		n <<= 4
		if b <= '9' {
			n |= rune(b - '0')
		} else {
			n |= rune(b|0x20-'a') + 10
		}
	}
	return n
}
