// Package column is the catalogue of typed columns that events are decoded into. A column keeps its
// rows in ClickHouse's native wire format from the first byte, so that sending a block is copying it.
//
// Columns implement ch-go's proto.ColInput and nothing more: their Type is fixed when they are made.
// They must never get an Infer method. ch-go would call it with the server's column type and relabel
// the rows: a DateTime64(6) sent into a DateTime64(3) column then lands in the year 9999.
package column

//go:generate go test -run ^(TestDocument_IsCurrent|TestGoldenBlocks)$ -update .

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
	// AppendZero appends the type's own default in ClickHouse: 0, "", NULL, [], {}, the epoch (of Date32, 1900-01-01), the
	// lowest enum value.
	AppendZero()
	// Size is the number of bytes that the rows hold, bookkeeping included, spare capacity not.
	Size() int
	// Reset drops all rows and keeps the memory.
	Reset()
	// AppendValue appends the value of one row to dst, as JSON text on one line; see value.go for its spelling.
	AppendValue(dst []byte, row int) []byte
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

// JSONTaker is a column whose values are taken as JSON texts, of whatever kind: JSON, Variant and Dynamic.
type JSONTaker interface {
	Column
	// AppendJSON appends a value, given as valid JSON text without blanks around it. exact is false if digits were lost.
	// On an error, which wraps ErrKind, ErrFormat, ErrRange or ErrFraction, nothing is appended.
	AppendJSON(text []byte, f TimeFormat) (exact bool, err error)
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

// New makes an empty column of the type. The column's own Type is that of Wire.
func (t Type) New() Column {
	t = t.Wire()
	if c := t.newFixed(); c != nil {
		return c
	}
	typ := proto.ColumnType(t.String())
	switch t.Name {
	case "String":
		return &String{}
	case "FixedString":
		return &FixedString{typ: typ, width: t.Width}
	case "JSON":
		return &JSON{typ: typ}
	case "LowCardinality":
		return newLowCardinality(typ, t.CanNull())
	case "Nullable":
		return &Nullable{typ: typ, inner: t.Elems[0].New()}
	case "Array":
		return &Array{typ: typ, elem: t.Elems[0].New()}
	case "Map":
		return &Map{typ: typ, keys: t.Elems[0].New(), values: t.Elems[1].New()}
	case "Tuple":
		return &Tuple{typ: typ, names: t.Names, elems: newAll(t.Elems)}
	case "Variant":
		return newVariant(typ, newAll(t.Elems))
	case "Dynamic":
		return newDynamic()
	}
	return t.newGeo(typ)
}

// newGeo makes a column of a geometric type.
func (t Type) newGeo(typ proto.ColumnType) Column {
	g, ok := geoTypes[t.Name]
	if !ok {
		panic("column: no column for type " + t.Name) // ParseType accepts nothing else
	}
	if g.Name == "Tuple" {
		return &Tuple{typ: typ, elems: newAll(g.Elems)}
	}
	return &Array{typ: typ, elem: g.Elems[0].New()}
}

func newAll(types []Type) []Column {
	columns := make([]Column, len(types))
	for i, t := range types {
		columns[i] = t.New()
	}
	return columns
}

// newFixed makes a column whose rows all have a width that is a power of two; nil if the type is not such a one.
func (t Type) newFixed() Column {
	base := fixed{typ: proto.ColumnType(t.String())}
	switch t.Name {
	case "Int8":
		return &Int8{base.wide(1)}
	case "Int16":
		return &Int16{base.wide(2)}
	case "Int32":
		return &Int32{base.wide(4)}
	case "Int64":
		return &Int64{base.wide(8)}
	case "Int128":
		return &WideInt{base.wide(16), true}
	case "Int256":
		return &WideInt{base.wide(32), true}
	case "UInt8":
		return &UInt8{base.wide(1)}
	case "UInt16":
		return &UInt16{base.wide(2)}
	case "UInt32":
		return &UInt32{base.wide(4)}
	case "UInt64":
		return &UInt64{base.wide(8)}
	case "UInt128":
		return &WideInt{base.wide(16), false}
	case "UInt256":
		return &WideInt{base.wide(32), false}
	case "BFloat16":
		return &BFloat16{base.wide(2)}
	case "Float32":
		return &Float32{base.wide(4)}
	case "Float64":
		return &Float64{base.wide(8)}
	case "Decimal":
		return newDecimals(base, t.Precision, t.Scale)
	case "Bool":
		return &Bool{base.wide(1)}
	case "UUID":
		return &UUID{base.wide(16)}
	case "IPv4":
		return &IPv4{base.wide(4)}
	case "IPv6":
		return &IPv6{base.wide(16)}
	case "Date":
		return &Date{base.wide(2)}
	case "Date32":
		return &Date32{base.wide(4)}
	case "DateTime":
		return &DateTime{base.wide(4)}
	case "DateTime64":
		return &DateTime64{base.wide(8), t.Precision}
	case "Time":
		return &Time{base.wide(4)}
	case "Time64":
		return &Time64{base.wide(8), t.Precision}
	case "Enum8":
		return newEnum(base.wide(1), t.Enum)
	case "Enum16":
		return newEnum(base.wide(2), t.Enum)
	}
	return nil
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
