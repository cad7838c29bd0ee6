package column

import "github.com/ClickHouse/ch-go/proto"

// LowCardinalityOf is a column of LowCardinality(T) or LowCardinality(Nullable(T)) where T has values of a fixed width:
// numbers, dates, FixedString, UUID. To add a value, append it to Inner and call EndRow.
type LowCardinalityOf struct {
	dict  LowCardinality // its strings are the wire forms of the values
	value fixedWidth     // empty, or the value of the row that is being filled
	width int            // of a value in bytes
}

// fixedWidth is a column whose rows are of the same width on the wire.
type fixedWidth interface {
	Column
	wire(row int) []byte
}

func newLowCardinalityOf(typ proto.ColumnType, nullable bool, value fixedWidth) *LowCardinalityOf {
	value.AppendZero()
	width := len(value.wire(0))
	value.Reset()
	return &LowCardinalityOf{*newLowCardinality(typ, nullable), value, width}
}

// Inner takes the value of the next row.
func (c *LowCardinalityOf) Inner() Column { return c.value }

// EndRow finishes a row whose value was appended to Inner.
func (c *LowCardinalityOf) EndRow() {
	c.dict.Append(c.value.wire(0))
	c.value.Reset()
}

// CanNull reports whether the column is LowCardinality(Nullable(T)).
func (c *LowCardinalityOf) CanNull() bool { return c.dict.nullable }

// AppendNull adds NULL; only for LowCardinality(Nullable(T)).
func (c *LowCardinalityOf) AppendNull() { c.dict.AppendNull() }

// AppendZero adds NULL if the type has it, otherwise T's default.
func (c *LowCardinalityOf) AppendZero() {
	if c.dict.nullable {
		c.dict.AppendNull()
		return
	}
	c.value.AppendZero()
	c.EndRow()
}

// AppendFrom appends one row of src.
func (c *LowCardinalityOf) AppendFrom(src Column, row int) {
	c.dict.AppendFrom(&same(c, src).dict, row)
}

// Row is the wire form of one row's value, empty for NULL; it aliases the column's memory until the next append.
func (c *LowCardinalityOf) Row(row int) []byte { return c.dict.Row(row) }

// Type is the ClickHouse type; it never changes.
func (c *LowCardinalityOf) Type() proto.ColumnType { return c.dict.typ }

// Rows is the number of finished rows.
func (c *LowCardinalityOf) Rows() int { return c.dict.Rows() }

// EncodeState writes the state prefix.
func (c *LowCardinalityOf) EncodeState(b *proto.Buffer) { c.dict.EncodeState(b) }

// EncodeColumn appends dictionary and keys to b; a column without rows is nothing at all.
func (c *LowCardinalityOf) EncodeColumn(b *proto.Buffer) {
	if c.Rows() == 0 {
		return
	}
	c.dict.encodeHead(b)
	for i := range c.dict.dict.Rows() {
		value := c.dict.dict.Row(i)
		b.PutRaw(value)
		b.PutRaw(make([]byte, c.width-len(value))) // NULL's entry
	}
	c.dict.encodeKeys(b)
}

// WriteColumn hands the rows to w.
func (c *LowCardinalityOf) WriteColumn(w *proto.Writer) { w.ChainBuffer(c.EncodeColumn) }

// Truncate drops all rows from index rows on, and an unfinished one.
func (c *LowCardinalityOf) Truncate(rows int) {
	c.value.Reset()
	c.dict.Truncate(rows)
}

// Size in bytes.
func (c *LowCardinalityOf) Size() int { return c.dict.Size() }

// Reset drops all rows and the dictionary.
func (c *LowCardinalityOf) Reset() {
	c.value.Reset()
	c.dict.Reset()
}

// Fresh is an empty column of the same type.
func (c *LowCardinalityOf) Fresh() Column {
	return newLowCardinalityOf(c.dict.typ, c.dict.nullable, c.value.Fresh().(fixedWidth))
}
