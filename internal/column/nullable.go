package column

import "github.com/ClickHouse/ch-go/proto"

// Nullable is a column of Nullable(T): a column of T and a mark per row. To add a value, append it to
// Inner and call EndRow.
type Nullable struct {
	typ   proto.ColumnType
	nulls []byte // 1 marks NULL; len(nulls) is the number of finished rows
	inner Column // len(nulls) rows, or one more between an append to Inner and EndRow
}

// Inner is the column of the values.
func (c *Nullable) Inner() Column { return c.inner }

// EndRow finishes a row whose value was appended to Inner.
func (c *Nullable) EndRow() { c.nulls = append(c.nulls, 0) }

// AppendNull adds NULL.
func (c *Nullable) AppendNull() {
	c.inner.AppendZero()
	c.nulls = append(c.nulls, 1)
}

// AppendZero adds NULL.
func (c *Nullable) AppendZero() { c.AppendNull() }

// AppendFrom appends one row of src.
func (c *Nullable) AppendFrom(src Column, row int) {
	s := same(c, src)
	c.inner.AppendFrom(s.inner, row)
	c.nulls = append(c.nulls, s.nulls[row])
}

// IsNull reports whether one row is NULL.
func (c *Nullable) IsNull(row int) bool { return c.nulls[row] != 0 }

// Type is the ClickHouse type; it never changes.
func (c *Nullable) Type() proto.ColumnType { return c.typ }

// Rows is the number of finished rows.
func (c *Nullable) Rows() int { return len(c.nulls) }

// EncodeState writes the values' state prefix.
func (c *Nullable) EncodeState(b *proto.Buffer) { encodeState(c.inner, b) }

// EncodeColumn appends the marks, then the values.
func (c *Nullable) EncodeColumn(b *proto.Buffer) {
	b.PutRaw(c.nulls)
	c.inner.EncodeColumn(b)
}

// WriteColumn hands the rows to w without copying them.
func (c *Nullable) WriteColumn(w *proto.Writer) {
	w.ChainWrite(c.nulls)
	c.inner.WriteColumn(w)
}

// Truncate drops all rows from index rows on, and an unfinished one.
func (c *Nullable) Truncate(rows int) {
	c.nulls = c.nulls[:rows]
	c.inner.Truncate(rows)
}

// Size in bytes.
func (c *Nullable) Size() int { return len(c.nulls) + c.inner.Size() }

// Reset drops all rows.
func (c *Nullable) Reset() {
	c.nulls = c.nulls[:0]
	c.inner.Reset()
}

// Fresh is an empty column of the same type.
func (c *Nullable) Fresh() Column { return &Nullable{typ: c.typ, inner: c.inner.Fresh()} }
