// Package column is the catalogue of typed columns that events are decoded into. A column keeps its
// rows in ClickHouse's native wire format from the first byte, so that sending a block is copying it.
//
// Columns implement ch-go's proto.ColInput and nothing more: their Type is fixed when they are made.
// They must never get an Infer method. ch-go would call it with the server's column type and relabel
// the rows: a DateTime64(6) sent into a DateTime64(3) column then lands in the year 9999.
package column

import (
	"fmt"

	"github.com/ClickHouse/ch-go/proto"
)

// Column is one column of a block. Rows are appended through the methods of the concrete type.
// A Column belongs to one goroutine at a time.
type Column interface {
	proto.ColInput
	// Truncate drops all rows from index rows on, and whatever a row that failed half-way left in
	// nested columns: afterwards the column is byte for byte what it was when it had that many rows.
	Truncate(rows int)
	// AppendFrom appends row number row of src, which must be a column of the same type.
	AppendFrom(src Column, row int)
	// AppendZero appends the type's own default: 0, "", NULL, [], {}, the epoch, the lowest enum value.
	AppendZero()
	// Size is the number of bytes that the rows hold, bookkeeping included, spare capacity not.
	Size() int
	// Reset drops all rows and keeps the memory.
	Reset()
	// Fresh is an empty column of the same type that shares no memory with this one.
	Fresh() Column
}

// Nuller is a column that can hold NULL.
type Nuller interface {
	Column
	AppendNull()
}

// Texter is a column whose values are byte strings.
type Texter interface {
	Column
	// Append adds one value; v is copied.
	Append(v []byte)
	// AppendString adds one value.
	AppendString(v string)
}

// New makes an empty column of a ClickHouse type, given as text ("Map(String, UInt64)").
// A type that is misspelt or not supported is an error that names it.
func New(typeText string) (Column, error) {
	t, err := ParseType(typeText)
	if err != nil {
		return nil, err
	}
	return t.New(), nil
}

// New makes an empty column of the type.
func (t Type) New() Column {
	base := fixed{typ: proto.ColumnType(t.String())}
	switch t.Name {
	case "String":
		return &String{}
	case "Int8":
		return &Int8{base.wide(1)}
	case "Int16":
		return &Int16{base.wide(2)}
	case "Int32":
		return &Int32{base.wide(4)}
	case "Int64":
		return &Int64{base.wide(8)}
	case "UInt8":
		return &UInt8{base.wide(1)}
	case "UInt16":
		return &UInt16{base.wide(2)}
	case "UInt32":
		return &UInt32{base.wide(4)}
	case "UInt64":
		return &UInt64{base.wide(8)}
	case "Float32":
		return &Float32{base.wide(4)}
	case "Float64":
		return &Float64{base.wide(8)}
	case "Bool":
		return &Bool{base.wide(1)}
	case "UUID":
		return &UUID{base.wide(16)}
	case "DateTime":
		return &DateTime{base.wide(4)}
	case "DateTime64":
		return &DateTime64{base.wide(8), t.Precision}
	case "Enum8":
		return newEnum(base.wide(1), t.Enum)
	case "Enum16":
		return newEnum(base.wide(2), t.Enum)
	case "LowCardinality":
		return newLowCardinality(base.typ, t.Elems[0].Name == "Nullable")
	case "Nullable":
		return &Nullable{typ: base.typ, inner: t.Elems[0].New()}
	case "Array":
		return &Array{typ: base.typ, elem: t.Elems[0].New()}
	case "Map":
		return &Map{typ: base.typ, keys: t.Elems[0].New().(Texter), values: t.Elems[1].New()}
	}
	panic("column: no column for type " + t.Name) // ParseType accepts nothing else
}

// encodeState writes the state prefix of a nested column, if it has one.
func encodeState(c Column, b *proto.Buffer) {
	if s, ok := c.(proto.StateEncoder); ok {
		s.EncodeState(b)
	}
}

// same returns src as the caller's own type; anything else is a bug of the caller.
func same[C Column](dst C, src Column) C {
	c, ok := src.(C)
	if !ok || c.Type() != dst.Type() {
		panic(fmt.Sprintf("column: rows of %s appended to %s", src.Type(), dst.Type()))
	}
	return c
}
