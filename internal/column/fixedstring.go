package column

import (
	"fmt"

	"github.com/ClickHouse/ch-go/proto"
)

// FixedString is a column of FixedString(N): N bytes a row, shorter values padded with zero bytes.
type FixedString struct {
	typ   proto.ColumnType
	width int
	buf   []byte
}

// Width is N.
func (c *FixedString) Width() int { return c.width }

// Append adds one value, padded with zero bytes. A longer one is ErrRange and nothing is added: cutting would lose bytes.
func (c *FixedString) Append(v []byte) error {
	if len(v) > c.width {
		return fmt.Errorf("%w: %d bytes in a %s", ErrRange, len(v), c.typ)
	}
	c.buf = append(c.buf, v...)
	c.pad(c.width - len(v))
	return nil
}

// pad adds n zero bytes.
func (c *FixedString) pad(n int) {
	var zero [64]byte
	for ; n > len(zero); n -= len(zero) {
		c.buf = append(c.buf, zero[:]...)
	}
	c.buf = append(c.buf, zero[:n]...)
}

// AppendZero adds zero bytes.
func (c *FixedString) AppendZero() { c.pad(c.width) }

// AppendFrom appends one row of src.
func (c *FixedString) AppendFrom(src Column, row int) {
	c.buf = append(c.buf, same(c, src).Row(row)...)
}

// Row is the value of one row with its padding; it aliases the column's memory until the next append.
func (c *FixedString) Row(row int) []byte { return c.buf[row*c.width : (row+1)*c.width] }

// Type is the ClickHouse type; it never changes.
func (c *FixedString) Type() proto.ColumnType { return c.typ }

// Rows is the number of rows.
func (c *FixedString) Rows() int { return len(c.buf) / c.width }

// EncodeColumn appends the rows to b.
func (c *FixedString) EncodeColumn(b *proto.Buffer) { b.PutRaw(c.buf) }

// WriteColumn hands the rows to w without copying them.
func (c *FixedString) WriteColumn(w *proto.Writer) { w.ChainWrite(c.buf) }

// Truncate drops all rows from index rows on.
func (c *FixedString) Truncate(rows int) { c.buf = c.buf[:rows*c.width] }

// Size in bytes.
func (c *FixedString) Size() int { return len(c.buf) }

// Reset drops all rows.
func (c *FixedString) Reset() { c.buf = c.buf[:0] }

// Fresh is an empty column of the same type.
func (c *FixedString) Fresh() Column { return &FixedString{typ: c.typ, width: c.width} }
