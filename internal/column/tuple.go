package column

import (
	"slices"

	"github.com/ClickHouse/ch-go/proto"
)

// Tuple is a column of Tuple(...), with or without names, and the element of a Nested. To add a row, append one value to
// each of its elements and call EndRow.
type Tuple struct {
	typ   proto.ColumnType
	names []string // nil if the elements have none
	elems []Column // n rows each, or one more while a row is being filled
	n     int      // finished rows
}

// Elems are the columns of the elements.
func (c *Tuple) Elems() []Column { return c.elems }

// Names are the elements' names; nil if they have none.
func (c *Tuple) Names() []string { return c.names }

// Index is the element of a name; false if there is none.
func (c *Tuple) Index(name []byte) (i int, ok bool) {
	for i, n := range c.names {
		if n == string(name) {
			return i, true
		}
	}
	return 0, false
}

// EndRow finishes a row: one value was appended to each element.
func (c *Tuple) EndRow() { c.n++ }

// AppendZero adds a row of the elements' own defaults.
func (c *Tuple) AppendZero() {
	for _, e := range c.elems {
		e.AppendZero()
	}
	c.n++
}

// AppendFrom appends one row of src.
func (c *Tuple) AppendFrom(src Column, row int) {
	s := same(c, src)
	for i, e := range c.elems {
		e.AppendFrom(s.elems[i], row)
	}
	c.n++
}

// Type is the ClickHouse type; it never changes.
func (c *Tuple) Type() proto.ColumnType { return c.typ }

// Rows is the number of finished rows.
func (c *Tuple) Rows() int { return c.n }

// EncodeState writes the elements' state prefixes.
func (c *Tuple) EncodeState(b *proto.Buffer) {
	for _, e := range c.elems {
		encodeState(e, b)
	}
}

// EncodeColumn appends the elements one after the other.
func (c *Tuple) EncodeColumn(b *proto.Buffer) {
	for _, e := range c.elems {
		e.EncodeColumn(b)
	}
}

// WriteColumn hands the rows to w without copying them.
func (c *Tuple) WriteColumn(w *proto.Writer) {
	for _, e := range c.elems {
		e.WriteColumn(w)
	}
}

// Truncate drops all rows from index rows on, and an unfinished one.
func (c *Tuple) Truncate(rows int) {
	for _, e := range c.elems {
		e.Truncate(rows)
	}
	c.n = rows
}

// Size in bytes.
func (c *Tuple) Size() int {
	n := 0
	for _, e := range c.elems {
		n += e.Size()
	}
	return n
}

// Reset drops all rows.
func (c *Tuple) Reset() {
	for _, e := range c.elems {
		e.Reset()
	}
	c.n = 0
}

// Fresh is an empty column of the same type.
func (c *Tuple) Fresh() Column {
	f := &Tuple{typ: c.typ, names: c.names, elems: slices.Clone(c.elems)}
	for i, e := range f.elems {
		f.elems[i] = e.Fresh()
	}
	return f
}
