package json

import (
	"encoding/binary"
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

// plainEnd is where the run of plain text that begins at start ends: the text's length if nothing ends it, -1 if it
// is not valid UTF-8.
func plainEnd(text []byte, start int) int {
	i, high := start, uint64(0)
	for ; i+16 <= len(text); i += 16 {
		words := (*[16]byte)(text[i:])
		first, second := binary.LittleEndian.Uint64(words[:8]), binary.LittleEndian.Uint64(words[8:])
		if m := special(first); m != 0 {
			return valid(text, start, i+bits.TrailingZeros64(m)>>3, high|first)
		}
		high |= first | second
		if m := special(second); m != 0 {
			return valid(text, start, i+8+bits.TrailingZeros64(m)>>3, high)
		}
	}
	return plainTail(text, start, i, high)
}

// plainTail is plainEnd for the last bytes of the text.
func plainTail(text []byte, start, i int, high uint64) int {
	for ; i < len(text); i++ {
		c := text[i]
		if c == '"' || c == '\\' || c < ' ' {
			break
		}
		high |= uint64(c)
	}
	return valid(text, start, i, high)
}

// valid is end if text[start:end] is valid UTF-8, else -1; high is all its bytes, and perhaps some after it,
// ORed.
func valid(text []byte, start, end int, high uint64) int {
	if high&highBits != 0 && !utf8.Valid(text[start:end]) {
		return -1
	}
	return end
}

// blanks is the index of the first byte from i on that is no blank. -1 stays -1.
func blanks(text []byte, i int) int {
	const eight = lowBits * ' '
	if i < 0 {
		return -1
	}
	for ; i < len(text); i++ {
		switch text[i] {
		case ' ':
			for i+8 < len(text) && binary.LittleEndian.Uint64(text[i:]) == eight { // indentation
				i += 8
			}
			if text[i] > ' ' {
				return i
			}
		case '\n', '\r', '\t':
		default:
			return i
		}
	}
	return i
}

// literal steps over a word.
func literal(text []byte, i int, word string) int {
	if i+len(word) <= len(text) && string(text[i:i+len(word)]) == word {
		return i + len(word)
	}
	return -1
}

// str is the text of the string at i, which aliases the record or the decoder's scratch memory.
func (d *Decoder) str(text []byte, i int) (s []byte, next int) {
	if text[i] != '"' {
		return nil, -1
	}
	end := plainEnd(text, i+1)
	if uint(end) >= uint(len(text)) {
		return nil, -1
	}
	if text[end] == '"' {
		return text[i+1 : end], end + 1
	}
	return d.unescape(text, i+1, end)
}

// unescape is str from start on for a string whose first special byte is at i.
func (d *Decoder) unescape(text []byte, start, i int) (s []byte, next int) {
	buf := append(d.scratch[:0], text[start:i]...)
	for i+1 < len(text) && text[i] == '\\' {
		if c := simple[text[i+1]]; c != 0 {
			buf, i = append(buf, c), i+2
		} else {
			var r rune
			if r, i = unicode(text, i); i < 0 {
				return nil, -1
			}
			buf = utf8.AppendRune(buf, r)
		}
		end := plainEnd(text, i)
		if end < 0 {
			return nil, -1
		}
		buf, i = append(buf, text[i:end]...), end
	}
	d.scratch = buf
	if i >= len(text) || text[i] != '"' {
		return nil, -1
	}
	return buf, i + 1
}

// simple are the escapes of one letter.
var simple = [256]byte{'"': '"', '\\': '\\', '/': '/', 'b': '\b', 'f': '\f', 'n': '\n', 'r': '\r', 't': '\t'}

// unicode reads the escape \uXXXX at i, or a surrogate pair of them.
func unicode(text []byte, i int) (r rune, next int) {
	r = hex4(text, i)
	switch {
	case r < 0:
		return 0, -1
	case !utf16.IsSurrogate(r):
		return r, i + 6
	}
	low := hex4(text, i+6)
	if r = utf16.DecodeRune(r, low); low < 0 || r == utf8.RuneError {
		return 0, -1 // a surrogate without its other half
	}
	return r, i + 12
}

// hex4 is the value of the escape \uXXXX at i, -1 if it is none.
func hex4(text []byte, i int) rune {
	if i+6 > len(text) || text[i] != '\\' || text[i+1] != 'u' {
		return -1
	}
	v := rune(0)
	for _, c := range text[i+2 : i+6] {
		digit := hexDigit[c]
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
