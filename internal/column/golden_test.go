package column

import (
	"bytes"
	"encoding/hex"
	"os"
	"path/filepath"
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
		{"Int128", []string{"-2", "18446744073709551616"}, "feffffffffffffff ffffffffffffffff 0000000000000000 0100000000000000"},
		{"UInt256", []string{"258"}, "0201000000000000 0000000000000000 0000000000000000 0000000000000000"},
		{"BFloat16", []string{"1.5", "-0"}, "c03f 0080"},
		{"Decimal(9, 2)", []string{"1.5", "-0.01"}, "96000000 ffffffff"},
		{"Decimal(18, 2)", []string{"1.5"}, "9600000000000000"},
		{"Decimal(38, 0)", []string{"-1"}, "ffffffffffffffff ffffffffffffffff"},
		{"Decimal(76, 1)", []string{"0.1"}, "0100000000000000 0000000000000000 0000000000000000 0000000000000000"},
		{"FixedString(3)", []string{"ab", "abc"}, "616200 616263"},
		{"IPv4", []string{"1.2.3.4"}, "04030201"},
		{"IPv6", []string{"1:2::3"}, "00010002000000000000000000000003"},
		{"Date", []string{"1970-01-03"}, "0200"},
		{"Date32", []string{"1969-12-31"}, "ffffffff"},
		{"Time", []string{"00:01:00", "-00:00:01"}, "3c000000 ffffffff"},
		{"Time64(3)", []string{"00:00:01.5"}, "dc05000000000000"},
		{"Tuple(n Int8, s LowCardinality(String))", []string{`[1, "a"]`, `{"s": "a", "n": 2}`},
			"0100000000000000 01 02 0006000000000000 0100000000000000 0161 0200000000000000 00 00"},
		{"Array(Tuple(UInt8, UInt8))", []string{"[[1, 2], [3, 4]]", "[]"}, "0200000000000000 0200000000000000 01 03 02 04"},
		{"JSON", []string{"{}"}, "0100000000000000 02 7b7d"},
		{"Variant(Array(UInt8), String)", []string{`"a"`, "null", "[5]", `"b"`},
			"0000000000000000 01 ff 00 01 0100000000000000 05 0161 0162"},
		{"Dynamic", []string{"true", `"a"`, "null", "false"},
			"0100000000000000 20 02 04426f6f6c 06537472696e67 0000000000000000 00 02 ff 00 01 00 0161"},
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

// The examples of each type as one block, column names and types included, as it is sent: raw for tools, and in
// hexadecimal for people. A server has shown what is in them (TestServer_ShowsTheExamples).
func TestGoldenBlocks(t *testing.T) {
	for _, e := range catalogue {
		b, _ := e.block(t)
		var raw proto.Buffer
		block := proto.Block{Columns: len(b.Columns), Rows: b.Rows()}
		if err := block.EncodeRawBlock(&raw, 54451, b.Input()); err != nil {
			t.Fatal(err)
		}
		name := filepath.Join("testdata", "blocks", fileName(e.typ))
		golden(t, name+".raw", raw.Buf)
		golden(t, name+".hex", []byte(hex.Dump(raw.Buf)))
	}
}

// fileName is a type's text in characters that file names have.
func fileName(typ string) string {
	words := strings.FieldsFunc(typ, func(r rune) bool { return !isAlnum(byte(r)) || r > 127 })
	return strings.ToLower(strings.Join(words, "_"))
}

// golden compares content with a file, or writes the file if -update is given.
func golden(t *testing.T, name string, content []byte) {
	t.Helper()
	if *update {
		if err := os.WriteFile(name, content, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(want, content) {
		t.Errorf("%s differs from what is sent now (go generate ./internal/column writes it)", name)
	}
}
