package column

// Word is a column of integers of at most 64 bits.
type Word interface {
	Column
	// AppendWord adds an integer of at most 18 digits: v is its two's complement, neg says that it was
	// written with a minus. False, and nothing added, if the type cannot hold it.
	AppendWord(v uint64, neg bool) bool
}

// AppendWord adds one value.
func (c *Integers[T]) AppendWord(v uint64, neg bool) bool {
	t := T(v)
	if ^T(0) > 0 { // unsigned
		if neg && v != 0 || uint64(t) != v {
			return false
		}
	} else if int64(t) != int64(v) {
		return false
	}
	c.buf = appendInteger(c.buf, v, c.shift)
	return true
}

// UUIDOf is ParseUUID without an error to make.
func UUIDOf(s []byte) (v [16]byte, ok bool) {
	if len(s) != 36 || s[8] != '-' || s[13] != '-' || s[18] != '-' || s[23] != '-' {
		return v, false
	}
	bad := byte(0)
	for i, at := range uuidDigits {
		hi, lo := hexValue[s[at]], hexValue[s[at+1]]
		bad |= hi | lo
		v[i] = hi<<4 | lo
	}
	return v, bad&notHex == 0
}

// uuidDigits is where each byte of a UUID is written.
var uuidDigits = [16]uint8{0, 2, 4, 6, 9, 11, 14, 16, 19, 21, 24, 26, 28, 30, 32, 34}

// notHex marks what is no hexadecimal digit in hexValue.
const notHex = 0x80

var hexValue = func() (table [256]byte) {
	for i := range table {
		table[i] = notHex
	}
	for i := range 10 {
		table['0'+i] = byte(i)
	}
	for i := range 6 {
		table['a'+i], table['A'+i] = byte(i+10), byte(i+10)
	}
	return table
}()
