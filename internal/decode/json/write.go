package json

import (
	"errors"
	"fmt"

	"github.com/waybill-data/waybill/internal/column"
	"github.com/waybill-data/waybill/internal/contract"
)

// failure says why a value does not fit its column; the zero value is success.
type failure struct {
	code    Code
	at      int // offset in the record's value
	message string
	inner   contract.Path // of a DuplicateKey: from the column's value to the name, innermost step first
}

// write appends the value text[start:end] to c. On a failure c may be left half-written.
func (d *Decoder) write(c column.Column, f column.TimeFormat, start, end int) failure {
	raw := d.text[start:end]
	switch c := c.(type) {
	case *column.Nullable:
		if raw[0] == 'n' {
			c.AppendNull()
			return failure{}
		}
		fail := d.write(c.Inner(), f, start, end)
		if fail.code == "" {
			c.EndRow()
		}
		return fail
	case *column.LowCardinality:
		if raw[0] == 'n' && c.CanNull() {
			c.AppendNull()
			return failure{}
		}
		return d.writeString(c, raw, start)
	case *column.String:
		return d.writeString(c, raw, start)
	case *column.Bool:
		if raw[0] != 't' && raw[0] != 'f' {
			return wrongType(raw, start, "true or false")
		}
		c.Append(raw[0] == 't')
		return failure{}
	case *column.UUID, *column.Enum:
		if raw[0] != '"' {
			return wrongType(raw, start, "a string")
		}
		_, err := column.AppendText(c, d.unquote(raw), f)
		return failed(err, start)
	case *column.DateTime, *column.DateTime64:
		return d.writeTime(c, f, raw, start)
	case *column.Array:
		return d.writeArray(c, f, start)
	case *column.Map:
		return d.writeMap(c, f, start)
	case *column.Tuple:
		return d.writeTuple(c, f, start)
	}
	return d.writeOther(c, f, raw, start)
}

// writeOther writes the types that have no case of their own in write.
func (d *Decoder) writeOther(c column.Column, f column.TimeFormat, raw []byte, start int) failure {
	exact, err := column.AppendJSON(c, raw, f)
	if err == nil && !exact {
		d.rounded++
	}
	return failed(err, start)
}

func (d *Decoder) writeString(c column.Texter, raw []byte, start int) failure {
	if raw[0] != '"' {
		return wrongType(raw, start, "a string")
	}
	c.Append(d.unquote(raw))
	return failure{}
}

func (d *Decoder) writeTime(c column.Column, f column.TimeFormat, raw []byte, start int) failure {
	if f != column.RFC3339 {
		return d.writeOther(c, f, raw, start)
	}
	if raw[0] != '"' {
		return wrongType(raw, start, "a string")
	}
	exact, err := column.AppendTime(c, d.unquote(raw), f)
	if err == nil && !exact {
		d.rounded++
	}
	return failed(err, start)
}

func (d *Decoder) writeArray(c *column.Array, f column.TimeFormat, start int) failure {
	if d.text[start] != '[' {
		return wrongType(d.text[start:], start, "an array")
	}
	index := 0
	for cur := enter(d.text, start); !cur.done(); {
		from, to := cur.value()
		if fail := d.write(c.Elem(), f, from, to); fail.code != "" {
			return fail.below(contract.Step{Kind: contract.Element, Index: index})
		}
		index++
	}
	c.EndRow()
	return failure{}
}

func (d *Decoder) writeMap(c *column.Map, f column.TimeFormat, start int) failure {
	if d.text[start] != '{' {
		return wrongType(d.text[start:], start, "an object")
	}
	seen := map[string]bool{}
	for cur := enter(d.text, start); !cur.done(); {
		at := cur.i
		key := string(d.unquote(cur.key()))
		if seen[key] {
			return duplicate(at).below(contract.Step{Name: key})
		}
		seen[key] = true
		exact, err := column.AppendText(c.Keys(), []byte(key), f)
		if err != nil {
			return failed(err, at)
		}
		if !exact {
			d.rounded++
		}
		from, to := cur.value()
		if fail := d.write(c.Values(), f, from, to); fail.code != "" {
			return fail.below(contract.Step{Name: key})
		}
	}
	c.EndRow()
	return failure{}
}

// writeTuple takes an object with a member for each element of a named Tuple and no others, or an array with as many
// elements.
func (d *Decoder) writeTuple(c *column.Tuple, f column.TimeFormat, start int) failure {
	named := d.text[start] == '{' && len(c.Names()) > 0
	if !named && d.text[start] != '[' {
		return wrongType(d.text[start:], start, "an array, or an object if the Tuple has names")
	}
	filled, seen := 0, map[string]bool{}
	for cur := enter(d.text, start); !cur.done(); filled++ {
		at, index, step := cur.i, filled, contract.Step{Kind: contract.Element, Index: filled}
		if named {
			step = contract.Step{Name: string(d.unquote(cur.key()))}
			if seen[step.Name] {
				return duplicate(at).below(step)
			}
			seen[step.Name] = true
			index = indexOf(c, step.Name)
		}
		if index >= len(c.Elems()) {
			return failure{code: BadFormat, at: at, message: "the Tuple has no such element"}
		}
		from, to := cur.value()
		if fail := d.write(c.Elems()[index], f, from, to); fail.code != "" {
			return fail.below(step)
		}
	}
	if filled < len(c.Elems()) {
		return failure{code: BadFormat, at: start, message: "the Tuple has more elements"}
	}
	c.EndRow()
	return failure{}
}

// indexOf is the element of that name, or beyond the last.
func indexOf(c *column.Tuple, name string) int {
	if i, ok := c.Index([]byte(name)); ok {
		return i
	}
	return len(c.Elems())
}

// below notes a step from a column's value to what is wrong in it.
func (f failure) below(s contract.Step) failure {
	if f.code == DuplicateKey {
		f.inner = append(f.inner, s)
	}
	return f
}

func duplicate(at int) failure {
	return failure{code: DuplicateKey, at: at, message: "an object has two members of the same name"}
}

func wrongType(raw []byte, at int, want string) failure {
	return failure{code: WrongType, at: at, message: kindOf(raw[0]) + " where the column takes " + want}
}

// failed gives a parser's error its code.
func failed(err error, at int) failure {
	switch {
	case err == nil:
		return failure{}
	case errors.Is(err, column.ErrRange):
		return failure{code: OutOfRange, at: at, message: err.Error()}
	case errors.Is(err, column.ErrFraction):
		return failure{code: NotAnInteger, at: at, message: err.Error()}
	case errors.Is(err, column.ErrKind):
		return failure{code: WrongType, at: at, message: err.Error()}
	}
	return failure{code: BadFormat, at: at, message: err.Error()}
}

// appendText appends to a column of String, however wrapped.
func appendText(c column.Column, text []byte) {
	if n, ok := c.(*column.Nullable); ok {
		appendText(n.Inner(), text)
		n.EndRow()
		return
	}
	c.(column.Texter).Append(text)
}

func wrongLength(f *field, at int) failure {
	first, next := f.list.Span(f.list.Rows() - 1)
	return failure{code: WrongLength, at: at, message: fmt.Sprintf("the array has %d elements, the contract says %d", next-first, f.length)}
}

// canNull reports whether a column that has AppendNull takes it.
func canNull(c column.Column) bool {
	low, ok := c.(interface{ CanNull() bool })
	return !ok || low.CanNull()
}

// appendNull appends NULL; the plan has been checked to say so only of columns that can.
func appendNull(c column.Column) { c.(column.Nuller).AppendNull() }
