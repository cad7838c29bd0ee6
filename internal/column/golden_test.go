package column

import (
	"bytes"
	"encoding/hex"
	"strings"
	"testing"

	"github.com/ClickHouse/ch-go/proto"
)

// The wire form of a few rows of each type, worked out by hand from ClickHouse's native format.
func TestGoldenWire(t *testing.T) {
	for _, tc := range []struct {
		typ  string
		rows []string // as AppendText takes them
		hex  string
	}{
		{"String", []string{"", "hé"}, "00 03 68c3a9"},
		{"Int8", []string{"-128", "127"}, "80 7f"},
		{"Int16", []string{"-2"}, "feff"},
		{"Int32", []string{"-2"}, "feffffff"},
		{"Int64", []string{"-9223372036854775808"}, "0000000000000080"},
		{"UInt8", []string{"255"}, "ff"},
		{"UInt16", []string{"258"}, "0201"},
		{"UInt32", []string{"4294967295"}, "ffffffff"},
		{"UInt64", []string{"18446744073709551615"}, "ffffffffffffffff"},
		{"Float32", []string{"1.5"}, "0000c03f"},
		{"Float64", []string{"-0"}, "0000000000000080"},
		{"Bool", []string{"true", "false"}, "01 00"},
		{"UUID", []string{"00112233-4455-6677-8899-AABBCCDDEEFF"}, "7766554433221100 ffeeddccbbaa9988"},
		{"DateTime", []string{"1970-01-01T00:01:00Z"}, "3c000000"},
		{"DateTime64(3)", []string{"1970-01-01T00:00:01.5Z", "1969-12-31T23:59:59Z"}, "dc05000000000000 18fcffffffffffff"},
		{"Enum8('b' = -2, 'a' = 1)", []string{"b"}, "fe"},
		{"Enum16('a' = 258)", []string{"a"}, "0201"},
		{"Nullable(UInt8)", []string{"7", "null"}, "00 01 07 00"},
		{"LowCardinality(String)", []string{"a", "b", "a"},
			"0100000000000000 0006000000000000 0200000000000000 0161 0162 0300000000000000 00 01 00"},
		{"LowCardinality(Nullable(String))", []string{"null", "", "null"},
			"0100000000000000 0006000000000000 0200000000000000 00 00 0300000000000000 00 01 00"},
		{"LowCardinality(String)", nil, "0100000000000000"},
		{"Array(String)", []string{"[]"}, "0000000000000000"},
		{"Map(LowCardinality(String), LowCardinality(String))", []string{"{}"},
			"0100000000000000 0100000000000000 0000000000000000"},
	} {
		c := mustNew(t, tc.typ)
		for _, row := range tc.rows {
			if _, err := AppendText(c, []byte(row), RFC3339); err != nil {
				t.Fatalf("%s: %v", tc.typ, err)
			}
		}
		if got, want := hex.EncodeToString(encoded(c)), strings.ReplaceAll(tc.hex, " ", ""); got != want {
			t.Errorf("%s %q:\n%s, want\n%s", tc.typ, tc.rows, got, want)
		}
		if string(c.Type()) != tc.typ {
			t.Errorf("type %s, want %s", c.Type(), tc.typ)
		}
		if _, ok := c.(proto.Inferable); ok {
			t.Errorf("%s lets ch-go infer its type", tc.typ)
		}
	}
}

// ch-go's own columns are a second opinion on nesting.
func TestNestedWire_AgreesWithChGo(t *testing.T) {
	ours := mustNew(t, "Map(String, Array(Nullable(Int32)))").(*Map)
	theirs := proto.NewMap[string, []proto.Nullable[int32]](new(proto.ColStr),
		proto.NewArray[proto.Nullable[int32]](new(proto.ColInt32).Nullable()))
	values := ours.Values().(*Array)
	inner := values.Elem().(*Nullable)
	for _, row := range [][]string{{"a"}, {}, {"b", "c"}} {
		var pairs []proto.KV[string, []proto.Nullable[int32]]
		for i, k := range row {
			ours.Keys().(Texter).AppendString(k)
			inner.Inner().(*Int32).Append(int32(i))
			inner.EndRow()
			inner.AppendNull()
			values.EndRow()
			pairs = append(pairs, proto.KV[string, []proto.Nullable[int32]]{
				Key: k, Value: []proto.Nullable[int32]{proto.NewNullable(int32(i)), proto.Null[int32]()},
			})
		}
		ours.EndRow()
		theirs.AppendKV(pairs)
	}
	var want proto.Buffer
	theirs.EncodeState(&want)
	theirs.EncodeColumn(&want)
	if got := encoded(ours); !bytes.Equal(got, want.Buf) {
		t.Errorf("ours\n%x, ch-go's\n%x", got, want.Buf)
	}
	if ours.Type() != theirs.Type() {
		t.Errorf("ours %s, ch-go's %s", ours.Type(), theirs.Type())
	}
}
