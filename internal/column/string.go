package column

import (
	"encoding/binary"

	"github.com/ClickHouse/ch-go/proto"
)

// String is a column of byte strings, each stored as it is sent: its length as a varint, then its bytes.
type String struct {
	buf  []byte
	ends []int // ends[i] is where row i ends in buf; ascending
}

// endSize is what one entry of ends takes, in bytes.
const endSize = 8

// Append adds one value; v is copied.
func (c *String) Append(v []byte) {
	if len(v) < 0x80 {
		c.buf = append(c.buf, byte(len(v)))
	} else {
		c.buf = binary.AppendUvarint(c.buf, uint64(len(v)))
	}
	c.buf = append(c.buf, v...)
	c.ends = append(c.ends, len(c.buf))
}

// AppendString adds one value.
func (c *String) AppendString(v string) {
	c.buf = binary.AppendUvarint(c.buf, uint64(len(v)))
	c.buf = append(c.buf, v...)
	c.ends = append(c.ends, len(c.buf))
}

// AppendZero adds the empty string.
func (c *String) AppendZero() {
	c.buf = append(c.buf, 0)
	c.ends = append(c.ends, len(c.buf))
}

// AppendFrom appends one row of src.
func (c *String) AppendFrom(src Column, row int) {
	c.buf = append(c.buf, same(c, src).wire(row)...)
	c.ends = append(c.ends, len(c.buf))
}

// Row is the value of one row; it aliases the column's memory until the next append.
func (c *String) Row(row int) []byte {
	wire := c.wire(row)
	if wire[0] < 0x80 { // a length of one byte
		return wire[1:]
	}
	_, n := binary.Uvarint(wire)
	return wire[n:]
}

// wire is the row as it goes over the wire.
func (c *String) wire(row int) []byte {
	if row == 0 {
		return c.buf[:c.ends[0]]
	}
	return c.buf[c.ends[row-1]:c.ends[row]]
}

// Type is String.
func (c *String) Type() proto.ColumnType { return proto.ColumnTypeString }

// Rows is the number of rows.
func (c *String) Rows() int { return len(c.ends) }

// EncodeColumn appends the rows to b.
func (c *String) EncodeColumn(b *proto.Buffer) { b.PutRaw(c.buf) }

// WriteColumn hands the rows to w without copying them.
func (c *String) WriteColumn(w *proto.Writer) { w.ChainWrite(c.buf) }

// Truncate drops all rows from index rows on.
func (c *String) Truncate(rows int) {
	c.ends = c.ends[:rows]
	end := 0
	if rows > 0 {
		end = c.ends[rows-1]
	}
	c.buf = c.buf[:end]
}

// Size in bytes.
func (c *String) Size() int { return len(c.buf) + endSize*len(c.ends) }

// Reset drops all rows.
func (c *String) Reset() { c.buf, c.ends = c.buf[:0], c.ends[:0] }

// Fresh is an empty column of the same type.
func (c *String) Fresh() Column { return &String{} }
