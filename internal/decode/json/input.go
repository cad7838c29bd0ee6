package json

import (
	"encoding/binary"
	"unsafe"
)

// input is a record's value in memory of the decoder's own, with pad zero bytes after it. A zero byte is valid
// nowhere in JSON, so whatever steps through the text stops there without counting: nothing here checks bounds,
// and that is half of the scanner's speed.
//
// The rule that makes this safe: an index is only moved past a byte that has been looked at and is not zero,
// so it never exceeds n, and no read reaches further than pad bytes beyond its index.
type input struct {
	p unsafe.Pointer
	n int
}

// pad is more than any read reaches beyond its index: a UUID in quotes is 38 bytes.
const pad = 64

// inputOf copies a value into buf, which is grown if need be, and returns both.
func inputOf(value, buf []byte) (input, []byte) {
	n := len(value)
	if cap(buf) < n+pad {
		buf = make([]byte, 0, max(4096, 2*(n+pad)))
	}
	buf = append(buf[:0], value...)
	buf = buf[:n+pad]
	clear(buf[n:])
	return input{unsafe.Pointer(unsafe.SliceData(buf)), n}, buf
}

// at is the byte at i, zero at the end of the text.
func (t input) at(i int) byte { return *(*byte)(unsafe.Add(t.p, i)) }

// word is the 8 bytes from i on, the first one lowest.
func (t input) word(i int) uint64 {
	return binary.LittleEndian.Uint64((*[8]byte)(unsafe.Add(t.p, i))[:])
}

// from is the bytes from i to before end. They are overwritten by the next record.
func (t input) from(i, end int) []byte { return unsafe.Slice((*byte)(unsafe.Add(t.p, i)), end-i) }
