package column

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/ClickHouse/ch-go/proto"
	"pgregory.net/rapid"
)

// everyType is one text for each type of the catalogue, and each way of nesting that matters.
var everyType = func() []string {
	types := []string{
		"DateTime", "DateTime64(0)", "DateTime64(6, 'Europe/Berlin')", "Time64(9)", `Enum8('ok' = 1, 'it\'s' = -5)`,
		"Nullable(String)", "Nullable(UUID)", "Nullable(DateTime64(3))", "Nullable(Bool)", "Nullable(Decimal(38, 2))",
		"Nullable(FixedString(3))", "Nullable(Date32)",
		"Array(String)", "Array(UInt16)", "Array(Nullable(Float64))", "Array(LowCardinality(String))",
		"Array(LowCardinality(Nullable(String)))", "Array(Array(LowCardinality(String)))",
		"Map(String, String)", "Map(LowCardinality(String), String)",
		"Map(LowCardinality(String), LowCardinality(Nullable(String)))", "Map(String, Array(LowCardinality(String)))",
		"Array(Map(LowCardinality(String), UInt64))", "Map(String, Map(LowCardinality(String), Nullable(Int8)))",
		"Map(Int128, FixedString(2))", "Tuple(a LowCardinality(String), b Array(Tuple(String, Nullable(Int8))))",
		"Map(String, Tuple(Int8, JSON))", "Array(Variant(LowCardinality(String), UInt8))", "Tuple(Dynamic, Array(Dynamic))",
	}
	for _, e := range catalogue {
		types = append(types, e.typ)
	}
	return types
}()

// draw draws one value of a type and returns what appends it.
func draw(rt *rapid.T, t Type) func(Column) {
	t = t.Wire().plain()
	switch t.Name {
	case "String":
		v := drawText(rt)
		return func(c Column) { c.(Texter).Append(v) }
	case "Bool":
		v := rapid.Bool().Draw(rt, "bool")
		return func(c Column) { c.(*Bool).Append(v) }
	case "UUID":
		v := [16]byte(rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(rt, "uuid"))
		return func(c Column) { c.(*UUID).Append(v) }
	case "DateTime":
		v := rapid.Uint32().Draw(rt, "seconds")
		return func(c Column) { c.(*DateTime).Append(v) }
	case "DateTime64":
		seconds := rapid.Int64Range(minSeconds, 9e9).Draw(rt, "seconds")
		return func(c Column) { c.(*DateTime64).Append(seconds * pow10[t.Precision]) }
	case "Float32":
		v := rapid.Float32().Draw(rt, "float")
		return func(c Column) { c.(*Float32).Append(v) }
	case "Float64":
		v := rapid.Float64().Draw(rt, "float")
		return func(c Column) { c.(*Float64).Append(v) }
	case "Enum8", "Enum16":
		v := rapid.SampledFrom(t.Enum).Draw(rt, "enum").Name
		return func(c Column) { c.(*Enum).AppendName([]byte(v)) }
	case "FixedString":
		v := rapid.SliceOfN(rapid.Byte(), 0, t.Width).Draw(rt, "bytes")
		return func(c Column) { _ = c.(*FixedString).Append(v) }
	case "JSON":
		v := fmt.Sprintf(`{"a":%d}`, rapid.Uint8().Draw(rt, "number"))
		return func(c Column) { mustAppend(c, v) }
	case "Variant":
		return drawVariant(rt, t)
	case "Dynamic":
		v := rapid.SampledFrom([]string{"null", "1", "1.5", `"x"`, "true", "[1]", `{"a":1}`, `[{"a":1}]`, "[]", "[null,0.5]", "18446744073709551615"}).Draw(rt, "dynamic")
		return func(c Column) { mustAppend(c, v) }
	case "Nullable", "LowCardinality", "Array", "Map", "Tuple":
		return drawNested(rt, t)
	case "Int128", "Int256", "UInt128", "UInt256", "Decimal", "IPv4", "IPv6", "Date", "Date32", "Time", "Time64", "BFloat16":
		v := rapid.SliceOfN(rapid.Byte(), 32, 32).Draw(rt, "bits")
		return func(c Column) { appendWire(c, v) }
	}
	v := rapid.Uint64().Draw(rt, "bits")
	return func(c Column) { appendBits(c, v) }
}

// mustAppend appends a JSON value that the column takes.
func mustAppend(c Column, json string) {
	if _, err := AppendJSON(c, []byte(json), RFC3339); err != nil {
		panic(err)
	}
}

// appendWire appends a row of given bytes to a column of fixed width.
func appendWire(c Column, bits []byte) {
	f := c.(interface{ base() *fixed }).base()
	f.buf = append(f.buf, bits[:1<<f.shift]...)
}

func drawVariant(rt *rapid.T, t Type) func(Column) {
	member := rapid.IntRange(-1, len(t.Elems)-1).Draw(rt, "member")
	if member < 0 {
		return func(c Column) { c.(Nuller).AppendNull() }
	}
	value := draw(rt, t.Elems[member])
	return func(c Column) {
		value(c.(*Variant).Members()[member])
		c.(*Variant).EndRow(member)
	}
}

// drawText draws few distinct short texts and, now and then, a long one.
func drawText(rt *rapid.T) []byte {
	n := rapid.SampledFrom([]int{0, 1, 2, 130}).Draw(rt, "length")
	return bytes.Repeat([]byte{rapid.Byte().Draw(rt, "letter")}, n)
}

func drawNested(rt *rapid.T, t Type) func(Column) {
	if t.CanNull() && rapid.Bool().Draw(rt, "null") {
		return func(c Column) { c.(Nuller).AppendNull() }
	}
	switch t.Name {
	case "LowCardinality":
		return draw(rt, Type{Name: "String"})
	case "Nullable":
		value := draw(rt, t.Elems[0])
		return func(c Column) {
			value(c.(*Nullable).Inner())
			c.(*Nullable).EndRow()
		}
	}
	var elems []func(Column)
	if t.Name == "Tuple" {
		for _, e := range t.Elems {
			elems = append(elems, draw(rt, e))
		}
		return func(c Column) {
			for i, e := range elems {
				e(c.(*Tuple).Elems()[i])
			}
			c.(*Tuple).EndRow()
		}
	}
	for range rapid.IntRange(0, 3).Draw(rt, "length") {
		for _, e := range t.Elems {
			elems = append(elems, draw(rt, e))
		}
	}
	return func(c Column) {
		if a, ok := c.(*Array); ok {
			for _, e := range elems {
				e(a.Elem())
			}
			a.EndRow()
			return
		}
		m := c.(*Map)
		for i := 0; i < len(elems); i += 2 {
			elems[i](m.Keys())
			elems[i+1](m.Values())
		}
		m.EndRow()
	}
}

func appendBits(c Column, v uint64) {
	switch c := c.(type) {
	case *Int8:
		c.Append(int8(v))
	case *Int16:
		c.Append(int16(v))
	case *Int32:
		c.Append(int32(v))
	case *Int64:
		c.Append(int64(v))
	case *UInt8:
		c.Append(uint8(v))
	case *UInt16:
		c.Append(uint16(v))
	case *UInt32:
		c.Append(uint32(v))
	case *UInt64:
		c.Append(v)
	}
}

// halfRow leaves in a column what a row leaves that fails half-way.
func halfRow(c Column) {
	switch c := c.(type) {
	case *Nullable:
		c.Inner().AppendZero()
	case *Array:
		halfRow(c.Elem())
		c.Elem().Truncate(c.Elem().Rows())
		c.Elem().AppendZero()
		halfRow(c.Elem())
	case *Map:
		halfRow(c.Keys())
		c.Keys().Truncate(c.Keys().Rows())
		c.Keys().AppendZero()
		halfRow(c.Values())
	case *Tuple:
		c.Elems()[0].AppendZero()
		halfRow(c.Elems()[len(c.Elems())-1])
	case *Variant:
		c.Members()[0].AppendZero()
		halfRow(c.Members()[len(c.Members())-1])
	case *Dynamic:
		halfRow(&c.Variant)
	}
}

func mustNew(t testing.TB, typeText string) Column {
	t.Helper()
	c, err := New(typeText)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// encoded is state and rows of a column as EncodeColumn writes them.
func encoded(c Column) []byte {
	var b proto.Buffer
	encodeState(c, &b)
	c.EncodeColumn(&b)
	return b.Buf
}

// written is the same as WriteColumn writes it.
func written(t testing.TB, c Column) []byte {
	t.Helper()
	var out bytes.Buffer
	w := proto.NewWriter(&out, new(proto.Buffer))
	w.ChainBuffer(func(b *proto.Buffer) { encodeState(c, b) })
	c.WriteColumn(w)
	if _, err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}
