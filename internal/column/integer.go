package column

import "encoding/binary"

// Integer are Go's integers, each of which is a ClickHouse type of its own.
type Integer interface {
	int8 | int16 | int32 | int64 | uint8 | uint16 | uint32 | uint64
}

// The integer columns.
type (
	Int8   = Integers[int8]
	Int16  = Integers[int16]
	Int32  = Integers[int32]
	Int64  = Integers[int64]
	UInt8  = Integers[uint8]
	UInt16 = Integers[uint16]
	UInt32 = Integers[uint32]
	UInt64 = Integers[uint64]
)

// Integers is a column of little-endian integers.
type Integers[T Integer] struct{ fixed }

// Append adds one value.
func (c *Integers[T]) Append(v T) { c.buf = appendInteger(c.buf, uint64(v), c.shift) }

// Row is the value of one row.
func (c *Integers[T]) Row(row int) T { return T(readInteger(c.wire(row))) }

// Fresh is an empty column of the same type.
func (c *Integers[T]) Fresh() Column { return &Integers[T]{c.fresh()} }

// appendInteger adds the low 1<<shift bytes of v.
func appendInteger(b []byte, v uint64, shift uint) []byte {
	switch shift {
	case 0:
		return append(b, byte(v))
	case 1:
		return binary.LittleEndian.AppendUint16(b, uint16(v))
	case 2:
		return binary.LittleEndian.AppendUint32(b, uint32(v))
	}
	return binary.LittleEndian.AppendUint64(b, v)
}

// readInteger is the little-endian value of 1, 2, 4 or 8 bytes, zero-extended.
func readInteger(wire []byte) uint64 {
	switch len(wire) {
	case 1:
		return uint64(wire[0])
	case 2:
		return uint64(binary.LittleEndian.Uint16(wire))
	case 4:
		return uint64(binary.LittleEndian.Uint32(wire))
	}
	return binary.LittleEndian.Uint64(wire)
}
