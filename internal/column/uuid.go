package column

import (
	"encoding/hex"
	"fmt"
	"slices"
)

// UUID is a column of UUIDs. On the wire a UUID is two little-endian 64-bit halves, the high one first.
type UUID struct{ fixed }

// Append adds one value, given in the usual (big-endian) byte order.
func (c *UUID) Append(v [16]byte) {
	slices.Reverse(v[:8])
	slices.Reverse(v[8:])
	c.buf = append(c.buf, v[:]...)
}

// Row is the value of one row, in the usual byte order.
func (c *UUID) Row(row int) [16]byte {
	v := [16]byte(c.wire(row))
	slices.Reverse(v[:8])
	slices.Reverse(v[8:])
	return v
}

// Fresh is an empty column of the same type.
func (c *UUID) Fresh() Column { return &UUID{c.fresh()} }

// ParseUUID reads the canonical form, 8-4-4-4-12 hexadecimal digits of either case, and nothing else.
func ParseUUID(s []byte) (v [16]byte, err error) {
	if len(s) != 36 || s[8] != '-' || s[13] != '-' || s[18] != '-' || s[23] != '-' {
		return v, fmt.Errorf("%w: a UUID is written as 8-4-4-4-12 hexadecimal digits", ErrFormat)
	}
	var digits [32]byte
	copy(digits[:8], s[:8])
	copy(digits[8:12], s[9:13])
	copy(digits[12:16], s[14:18])
	copy(digits[16:20], s[19:23])
	copy(digits[20:], s[24:])
	if _, err := hex.Decode(v[:], digits[:]); err != nil {
		return v, fmt.Errorf("%w: a UUID is written as 8-4-4-4-12 hexadecimal digits", ErrFormat)
	}
	return v, nil
}
