package column

import "github.com/ClickHouse/ch-go/proto"

// JSON is a column of JSON objects, sent as their texts: the server parses them, by the rules of the type's arguments.
type JSON struct {
	typ  proto.ColumnType
	text String
}

// jsonAsText is the version of the serialization, the column's state prefix.
const jsonAsText = 1

// AppendJSON adds one object, given as its text. The caller has made sure that it is valid JSON and that no object in it
// has a name twice: the server would refuse the whole block. The format is not used.
func (c *JSON) AppendJSON(text []byte, _ TimeFormat) (exact bool, err error) {
	if kind := kindOf(text); kind != TakesObject {
		return true, kindError{kind, TakesObject}
	}
	c.text.Append(text)
	return true, nil
}

// AppendZero adds the empty object.
func (c *JSON) AppendZero() { c.text.AppendString("{}") }

// AppendFrom appends one row of src.
func (c *JSON) AppendFrom(src Column, row int) { c.text.AppendFrom(&same(c, src).text, row) }

// Row is the text of one row; it aliases the column's memory until the next append.
func (c *JSON) Row(row int) []byte { return c.text.Row(row) }

// Type is the ClickHouse type; it never changes.
func (c *JSON) Type() proto.ColumnType { return c.typ }

// Rows is the number of rows.
func (c *JSON) Rows() int { return c.text.Rows() }

// EncodeState writes the state prefix.
func (c *JSON) EncodeState(b *proto.Buffer) { b.PutUInt64(jsonAsText) }

// EncodeColumn appends the texts.
func (c *JSON) EncodeColumn(b *proto.Buffer) { c.text.EncodeColumn(b) }

// WriteColumn hands the rows to w without copying them.
func (c *JSON) WriteColumn(w *proto.Writer) { c.text.WriteColumn(w) }

// Truncate drops all rows from index rows on.
func (c *JSON) Truncate(rows int) { c.text.Truncate(rows) }

// Size in bytes.
func (c *JSON) Size() int { return c.text.Size() }

// Reset drops all rows.
func (c *JSON) Reset() { c.text.Reset() }

// Fresh is an empty column of the same type.
func (c *JSON) Fresh() Column { return &JSON{typ: c.typ} }
