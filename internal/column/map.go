package column

import "github.com/ClickHouse/ch-go/proto"

// Map is a column of Map(K, V). To add a row, append each pair to Keys and Values and
// call EndRow. ClickHouse keeps the order of the pairs and does not look for equal keys.
type Map struct {
	typ    proto.ColumnType
	ends   offsets
	keys   Column // ends.end(last row) rows, or more while a row is being filled
	values Column // likewise
}

// Keys is the column of the keys of all rows.
func (c *Map) Keys() Column { return c.keys }

// Values is the column of the values of all rows.
func (c *Map) Values() Column { return c.values }

// EndRow finishes a row: the pairs appended since the last call.
func (c *Map) EndRow() { c.ends.add(c.keys.Rows()) }

// Span is where the pairs of one row lie in Keys and Values, from first to before next.
func (c *Map) Span(row int) (first, next int) { return c.ends.span(row) }

// AppendZero adds an empty map.
func (c *Map) AppendZero() { c.EndRow() }

// AppendFrom appends one row of src.
func (c *Map) AppendFrom(src Column, row int) {
	s := same(c, src)
	first, next := s.Span(row)
	for i := first; i < next; i++ {
		c.keys.AppendFrom(s.keys, i)
		c.values.AppendFrom(s.values, i)
	}
	c.EndRow()
}

// Type is the ClickHouse type; it never changes.
func (c *Map) Type() proto.ColumnType { return c.typ }

// Rows is the number of finished rows.
func (c *Map) Rows() int { return c.ends.rows() }

// EncodeState writes the state prefixes of keys and values.
func (c *Map) EncodeState(b *proto.Buffer) {
	encodeState(c.keys, b)
	encodeState(c.values, b)
}

// EncodeColumn appends the offsets, then the keys, then the values.
func (c *Map) EncodeColumn(b *proto.Buffer) {
	c.ends.encode(b)
	c.keys.EncodeColumn(b)
	c.values.EncodeColumn(b)
}

// WriteColumn hands the rows to w without copying them.
func (c *Map) WriteColumn(w *proto.Writer) {
	c.ends.write(w)
	c.keys.WriteColumn(w)
	c.values.WriteColumn(w)
}

// Truncate drops all rows from index rows on, and an unfinished one.
func (c *Map) Truncate(rows int) {
	c.ends.truncate(rows)
	end := c.ends.end(rows - 1)
	c.keys.Truncate(end)
	c.values.Truncate(end)
}

// Size in bytes.
func (c *Map) Size() int { return len(c.ends.buf) + c.keys.Size() + c.values.Size() }

// Reset drops all rows.
func (c *Map) Reset() {
	c.ends.reset()
	c.keys.Reset()
	c.values.Reset()
}

// Fresh is an empty column of the same type.
func (c *Map) Fresh() Column {
	return &Map{typ: c.typ, keys: c.keys.Fresh(), values: c.values.Fresh()}
}
