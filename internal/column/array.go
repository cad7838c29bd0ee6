package column

import "github.com/ClickHouse/ch-go/proto"

// Array is a column of Array(T). To add a row, append its elements to Elem and call EndRow.
type Array struct {
	typ  proto.ColumnType
	ends offsets
	elem Column // ends.end(last row) rows, or more while a row is being filled
}

// Elem is the column of the elements of all rows.
func (c *Array) Elem() Column { return c.elem }

// EndRow finishes a row: the elements appended since the last call.
func (c *Array) EndRow() { c.ends.add(c.elem.Rows()) }

// Span is where the elements of one row lie in Elem, from first to before next.
func (c *Array) Span(row int) (first, next int) { return c.ends.span(row) }

// Pending is the number of elements of the row that is being filled: those appended since the last EndRow. A contract
// that fixes the length of an embedding compares it before EndRow.
func (c *Array) Pending() int { return c.elem.Rows() - c.ends.end(c.ends.rows()-1) }

// AppendZero adds an empty array.
func (c *Array) AppendZero() { c.EndRow() }

// AppendFrom appends one row of src.
func (c *Array) AppendFrom(src Column, row int) {
	s := same(c, src)
	first, next := s.Span(row)
	for i := first; i < next; i++ {
		c.elem.AppendFrom(s.elem, i)
	}
	c.EndRow()
}

// Type is the ClickHouse type; it never changes.
func (c *Array) Type() proto.ColumnType { return c.typ }

// Rows is the number of finished rows.
func (c *Array) Rows() int { return c.ends.rows() }

// EncodeState writes the elements' state prefix.
func (c *Array) EncodeState(b *proto.Buffer) { encodeState(c.elem, b) }

// EncodeColumn appends the offsets, then the elements.
func (c *Array) EncodeColumn(b *proto.Buffer) {
	c.ends.encode(b)
	c.elem.EncodeColumn(b)
}

// WriteColumn hands the rows to w without copying them.
func (c *Array) WriteColumn(w *proto.Writer) {
	c.ends.write(w)
	c.elem.WriteColumn(w)
}

// Truncate drops all rows from index rows on, and an unfinished one.
func (c *Array) Truncate(rows int) {
	c.ends.truncate(rows)
	c.elem.Truncate(c.ends.end(rows - 1))
}

// Size in bytes.
func (c *Array) Size() int { return len(c.ends.buf) + c.elem.Size() }

// Reset drops all rows.
func (c *Array) Reset() {
	c.ends.reset()
	c.elem.Reset()
}

// Fresh is an empty column of the same type.
func (c *Array) Fresh() Column { return &Array{typ: c.typ, elem: c.elem.Fresh()} }
