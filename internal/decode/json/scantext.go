package json

import (
	"math/bits"
	"unicode/utf16"
	"unicode/utf8"
)

const (
	lowBits  = 0x0101010101010101
	highBits = 0x8080808080808080
)

// special marks the bytes of a word that end a run of plain text in a string: quote, backslash, control
// characters. Only the lowest mark is exact. With bit 1 flipped the quote comes right after the control
// characters, so that one comparison finds both.
func special(w uint64) uint64 {
	q, b := w^(lowBits*2), w^(lowBits*'\\')
	return ((q-lowBits*(' '+1))&^q | (b-lowBits)&^b) & highBits
}

// plainEnd is where the run of plain text that begins at start ends, at the end of the text at the latest; -1 if
// it is not valid UTF-8.
func plainEnd(t input, start int) int {
	high := uint64(0)
	for i := start; ; i += 8 {
		w := t.word(i)
		high |= w
		if m := special(w); m != 0 {
			i += bits.TrailingZeros64(m) >> 3
			if high&highBits != 0 { // perhaps only after the end
				return validEnd(t, start, i)
			}
			return i
		}
	}
}

// validEnd is end if the text from start is valid UTF-8 up to there, else -1. There is no other byte than ASCII at
// end, so no character is cut by it.
func validEnd(t input, start, end int) int {
	for i := start; ; {
		high := t.word(i) & highBits
		if high == 0 {
			if i += 8; i >= end {
				return end
			}
			continue
		}
		if i += bits.TrailingZeros64(high) >> 3; i >= end {
			return end
		}
		size := character(t, i)
		if size == 0 {
			return -1
		}
		i += size
	}
}

// character is the length of the character at i, which is not ASCII; 0 if it is not valid UTF-8.
func character(t input, i int) int {
	const mask, continuation = 0xc0, 0x80
	c, second := t.at(i), t.at(i+1)
	if c < 0xc2 || c > 0xf4 || second&mask != continuation {
		return 0
	}
	if c < 0xe0 {
		return 2
	}
	if t.at(i+2)&mask != continuation {
		return 0
	}
	if c < 0xf0 { // not overlong, no surrogate
		if c == 0xe0 && second < 0xa0 || c == 0xed && second > 0x9f {
			return 0
		}
		return 3
	}
	if t.at(i+3)&mask != continuation || c == 0xf0 && second < 0x90 || c == 0xf4 && second > 0x8f {
		return 0
	}
	return 4
}

// blanks is the index of the first byte from i on that is no blank. -1 stays -1.
func blanks(t input, i int) int {
	const eight = lowBits * ' '
	if i < 0 {
		return -1
	}
	for {
		switch t.at(i) {
		case ' ':
			for t.word(i) == eight { // indentation
				i += 8
			}
			if t.at(i) == ' ' {
				i++
			}
		case '\n', '\r', '\t':
			i++
		default:
			return i
		}
	}
}

// literal steps over a word.
func literal(t input, i int, word string) int {
	if string(t.from(i, i+len(word))) == word {
		return i + len(word)
	}
	return -1
}

// str is the text of the string at i, which aliases the record or the decoder's scratch memory.
func (d *Decoder) str(t input, i int) (s []byte, next int) {
	if t.at(i) != '"' {
		return nil, -1
	}
	end := plainEnd(t, i+1)
	switch {
	case end < 0:
		return nil, -1
	case t.at(end) == '"':
		return t.from(i+1, end), end + 1
	}
	return d.unescape(t, i+1, end)
}

// unescape is str from start on for a string whose first special byte is at i.
func (d *Decoder) unescape(t input, start, i int) (s []byte, next int) {
	d.scratch = append(d.scratch[:0], t.from(start, i)...)
	buf := d.scratch
	for t.at(i) == '\\' {
		if c := simple[t.at(i+1)]; c != 0 {
			buf, i = append(buf, c), i+2
		} else {
			var r rune
			if r, i = unicode(t, i); i < 0 {
				return nil, -1
			}
			buf = utf8.AppendRune(buf, r)
		}
		end := plainEnd(t, i)
		if end < 0 {
			return nil, -1
		}
		buf, i = append(buf, t.from(i, end)...), end
	}
	d.scratch = buf
	if t.at(i) != '"' {
		return nil, -1
	}
	return buf, i + 1
}

// simple are the escapes of one letter.
var simple = [256]byte{'"': '"', '\\': '\\', '/': '/', 'b': '\b', 'f': '\f', 'n': '\n', 'r': '\r', 't': '\t'}

// unicode reads the escape \uXXXX at i, or a surrogate pair of them.
func unicode(t input, i int) (r rune, next int) {
	r = hex4(t, i)
	switch {
	case r < 0:
		return 0, -1
	case !utf16.IsSurrogate(r):
		return r, i + 6
	}
	low := hex4(t, i+6)
	if r = utf16.DecodeRune(r, low); low < 0 || r == utf8.RuneError {
		return 0, -1 // a surrogate without its other half
	}
	return r, i + 12
}

// hex4 is the value of the escape \uXXXX at i, -1 if it is none.
func hex4(t input, i int) rune {
	if t.at(i) != '\\' || t.at(i+1) != 'u' {
		return -1
	}
	v := rune(0)
	for at := i + 2; at < i+6; at++ {
		digit := hexDigit[t.at(at)]
		if digit == 0 {
			return -1
		}
		v = v<<4 | rune(digit-1)
	}
	return v
}

// hexDigit is a hexadecimal digit's value plus one.
var hexDigit = func() (table [256]byte) {
	for i := range 10 {
		table['0'+i] = byte(i + 1)
	}
	for i := range 6 {
		table['a'+i], table['A'+i] = byte(i+11), byte(i+11)
	}
	return table
}()
