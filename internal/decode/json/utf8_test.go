package json

import (
	"testing"
	"unicode/utf8"
)

// plainEnd against unicode/utf8: every pair of bytes and every edge of longer characters, at every place in a word.
func TestPlainEnd_ValidatesUTF8(t *testing.T) {
	edges := []byte{0x00, 0x21, 0x7f, 0x80, 0x8f, 0x90, 0x9f, 0xa0, 0xbf, 0xc0, 0xc1, 0xc2, 0xdf, 0xe0, 0xe1, 0xec, 0xed, 0xee, 0xef, 0xf0, 0xf1, 0xf3, 0xf4, 0xf5, 0xff}
	check := func(middle ...byte) {
		t.Helper()
		for before := range 9 {
			value := append(append([]byte("aaaaaaaaa"[:before]), middle...), '"')
			in, _ := inputOf(value, nil)
			want := -1
			if utf8.Valid(value) {
				want = len(value) - 1
			}
			for i, c := range value[:len(value)-1] { // control characters end the run
				if c < ' ' || c == '"' || c == '\\' {
					want = -1
					if utf8.Valid(value[:i]) {
						want = i
					}
					break
				}
			}
			if got := plainEnd(in, 0); got != want {
				t.Fatalf("%q: %d, want %d", value, got, want)
			}
		}
	}
	for a := range 256 {
		check(byte(a))
		for b := range 256 {
			check(byte(a), byte(b))
		}
	}
	for _, a := range edges {
		for _, b := range edges {
			for _, c := range edges {
				check(a, b, c)
				for _, d := range edges {
					check(a, b, c, d)
				}
			}
		}
	}
}
