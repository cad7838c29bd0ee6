package column

import (
	"bytes"
	"fmt"

	"github.com/ClickHouse/ch-go/proto"
)

// JSON is a column of JSON objects, sent as their texts: the server parses them, by the rules of the type's arguments.
type JSON struct {
	typ  proto.ColumnType
	text String
}

// jsonAsText is the version of the serialization, the column's state prefix.
const jsonAsText = 1

// AppendJSON adds one object, given as its text. A number in it that the server's parser does not take, an integer beyond
// 64 bits or a float beyond a float64, is ErrRange: it would cost the whole block. The caller has made sure that the text
// is valid JSON and that no object in it has a name twice. The format is not used.
func (c *JSON) AppendJSON(text []byte, _ TimeFormat) (exact bool, err error) {
	if kind := kindOf(text); kind != TakesObject {
		return true, kindError{kind, TakesObject}
	}
	if !fitNumbers(text) {
		return true, errJSONNumber
	}
	c.text.Append(text)
	return true, nil
}

var errJSONNumber = fmt.Errorf("%w: a number in the object exceeds what JSON columns hold", ErrRange)

// fitNumbers reports whether the numbers in a valid JSON text fit an Int64, UInt64 or Float64.
func fitNumbers(text []byte) bool {
	for i := 0; i < len(text); {
		switch c := text[i]; {
		case c == '"':
			i = afterString(text, i)
		case c == '-' || '0' <= c && c <= '9':
			end := i + 1
			for end < len(text) && isNumberByte(text[end]) {
				end++
			}
			if !fitsNumber(text[i:end]) {
				return false
			}
			i = end
		default:
			i++
		}
	}
	return true
}

// afterString is the index after the string that starts at i.
func afterString(text []byte, i int) int {
	for i++; i < len(text) && text[i] != '"'; i++ {
		if text[i] == '\\' {
			i++
		}
	}
	return i + 1
}

func isNumberByte(c byte) bool {
	return '0' <= c && c <= '9' || c == '.' || c|0x20 == 'e' || c == '+' || c == '-'
}

func fitsNumber(text []byte) bool {
	if len(text) < mantDigits && bytes.IndexByte(text, 'e') < 0 && bytes.IndexByte(text, 'E') < 0 {
		return true
	}
	l, _ := scanNumber(text)
	if !l.integral {
		_, _, err := ParseFloat(text, 64)
		return err == nil
	}
	if l.neg {
		_, err := ParseInt(text, 64)
		return err == nil
	}
	_, err := ParseUint(text, 64)
	return err == nil
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
