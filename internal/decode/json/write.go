package json

import (
	"errors"
	"fmt"
	"math"

	"github.com/waybill-data/waybill"
	"github.com/waybill-data/waybill/internal/column"
	"github.com/waybill-data/waybill/internal/contract"
)

// failure says why a value does not fit its column; the zero value is success.
type failure struct {
	code    Code
	at      int // offset in the record's value
	message string
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
	for cur := enter(d.text, start); !cur.done(); {
		from, to := cur.value()
		if fail := d.write(c.Elem(), f, from, to); fail.code != "" {
			return fail
		}
	}
	c.EndRow()
	return failure{}
}

func (d *Decoder) writeMap(c *column.Map, f column.TimeFormat, start int) failure {
	if d.text[start] != '{' {
		return wrongType(d.text[start:], start, "an object")
	}
	for cur := enter(d.text, start); !cur.done(); {
		if _, err := column.AppendText(c.Keys(), d.unquote(cur.key()), f); err != nil {
			return failed(err, start)
		}
		from, to := cur.value()
		if fail := d.write(c.Values(), f, from, to); fail.code != "" {
			return fail
		}
	}
	c.EndRow()
	return failure{}
}

func wrongType(raw []byte, at int, want string) failure {
	return failure{WrongType, at, kindOf(raw[0]) + " where the column takes " + want}
}

// failed gives a parser's error its code.
func failed(err error, at int) failure {
	switch {
	case err == nil:
		return failure{}
	case errors.Is(err, column.ErrRange):
		return failure{OutOfRange, at, err.Error()}
	case errors.Is(err, column.ErrFraction):
		return failure{NotAnInteger, at, err.Error()}
	case errors.Is(err, column.ErrKind):
		return failure{WrongType, at, err.Error()}
	}
	return failure{BadFormat, at, err.Error()}
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

// appendNull appends NULL; the plan has been checked to say so only of columns that can.
func appendNull(c column.Column) { c.(column.Nuller).AppendNull() }

// position appends what a lineage column says of the record.
func (d *Decoder) position(l lineage, rec *waybill.Record, epoch waybill.Epoch) bool {
	switch c := d.into.Columns[l.index].(type) {
	case column.Texter:
		c.AppendString(rec.Topic)
	case *column.UInt16:
		if rec.Partition > math.MaxUint16 {
			name := d.into.Names[l.index]
			d.reject = &Reject{Code: OutOfRange, Column: name, ByteOffset: -1,
				Message: fmt.Sprintf("partition %d does not fit %s", rec.Partition, c.Type())}
			return false
		}
		c.Append(uint16(rec.Partition))
	case *column.Int32:
		c.Append(rec.Partition)
	case *column.UInt32:
		if l.source == contract.SourceEpoch {
			c.Append(uint32(epoch))
		} else {
			c.Append(uint32(rec.Partition))
		}
	case *column.Int64:
		c.Append(rec.Offset)
	case *column.UInt64:
		c.Append(uint64(rec.Offset))
	}
	return true
}
