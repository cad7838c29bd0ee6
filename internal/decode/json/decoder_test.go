package json

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/waybill-data/waybill"
	"github.com/waybill-data/waybill/internal/column"
	"github.com/waybill-data/waybill/internal/contract"
)

func text(s string) *string { return &s }

// show is a row of a column as text, for comparisons.
func show(c column.Column, row int) string {
	switch c := c.(type) {
	case *column.Nullable:
		if c.IsNull(row) {
			return "NULL"
		}
		return show(c.Inner(), row)
	case *column.LowCardinality:
		if c.IsNull(row) {
			return "NULL"
		}
		return string(c.Row(row))
	case *column.String:
		return string(c.Row(row))
	case *column.Array:
		var elems []string
		for i, next := c.Span(row); i < next; i++ {
			elems = append(elems, show(c.Elem(), i))
		}
		return "[" + strings.Join(elems, " ") + "]"
	case *column.Map:
		var elems []string
		for i, next := c.Span(row); i < next; i++ {
			elems = append(elems, show(c.Keys(), i)+"="+show(c.Values(), i))
		}
		return "{" + strings.Join(elems, " ") + "}"
	}
	return showScalar(c, row)
}

func showScalar(c column.Column, row int) string {
	switch c := c.(type) {
	case *column.Int8:
		return fmt.Sprint(c.Row(row))
	case *column.Int16:
		return fmt.Sprint(c.Row(row))
	case *column.Int32:
		return fmt.Sprint(c.Row(row))
	case *column.Int64:
		return fmt.Sprint(c.Row(row))
	case *column.UInt8:
		return fmt.Sprint(c.Row(row))
	case *column.UInt16:
		return fmt.Sprint(c.Row(row))
	case *column.UInt32:
		return fmt.Sprint(c.Row(row))
	case *column.UInt64:
		return fmt.Sprint(c.Row(row))
	case *column.Float32:
		return fmt.Sprint(c.Row(row))
	case *column.Float64:
		return fmt.Sprint(c.Row(row))
	case *column.Bool:
		return fmt.Sprint(c.Row(row))
	case *column.UUID:
		return fmt.Sprintf("%x", c.Row(row))
	case *column.DateTime:
		return fmt.Sprint(c.Row(row))
	case *column.DateTime64:
		return fmt.Sprint(c.Row(row))
	case *column.Enum:
		return fmt.Sprint(c.Row(row))
	}
	panic("no text for " + c.Type())
}

// The edge of every type: what becomes of one JSON value in a column of it.
func TestDecode_EveryTypeEdge(t *testing.T) {
	for _, tc := range []struct {
		typ, value string
		want       string // the row, or the code of the rejection
	}{
		{"String", `""`, ""},
		{"String", `"a\n\"\\\/\u00e9\ud83d\ude00"`, "a\n\"\\/é😀"},
		{"String", `"plain é"`, "plain é"},
		{"String", `1`, "wrong_type"}, {"String", `true`, "wrong_type"}, {"String", `{}`, "wrong_type"}, {"String", `[]`, "wrong_type"},
		{"LowCardinality(String)", `"\u0061"`, "a"}, {"LowCardinality(String)", `1`, "wrong_type"},
		{"LowCardinality(Nullable(String))", `"x"`, "x"}, {"LowCardinality(Nullable(String))", `null`, "NULL"},
		{"Nullable(String)", `null`, "NULL"}, {"Nullable(String)", `""`, ""}, {"Nullable(String)", `5`, "wrong_type"},
		{"Nullable(Int8)", `128`, "out_of_range"}, {"Nullable(Int8)", `-128`, "-128"},
		{"Int8", `127`, "127"}, {"Int8", `128`, "out_of_range"}, {"Int8", `-128`, "-128"}, {"Int8", `-129`, "out_of_range"},
		{"Int16", `32767`, "32767"}, {"Int16", `-32769`, "out_of_range"},
		{"Int32", `2147483647`, "2147483647"}, {"Int32", `2147483648`, "out_of_range"},
		{"Int64", `9223372036854775807`, "9223372036854775807"}, {"Int64", `9223372036854775808`, "out_of_range"},
		{"Int64", `-9223372036854775808`, "-9223372036854775808"}, {"Int64", `9007199254740993`, "9007199254740993"},
		{"UInt8", `255`, "255"}, {"UInt8", `256`, "out_of_range"}, {"UInt8", `-1`, "out_of_range"}, {"UInt8", `-0`, "0"},
		{"UInt16", `65535`, "65535"}, {"UInt16", `65536`, "out_of_range"},
		{"UInt32", `4294967295`, "4294967295"}, {"UInt32", `4294967296`, "out_of_range"},
		{"UInt64", `18446744073709551615`, "18446744073709551615"}, {"UInt64", `18446744073709551616`, "out_of_range"},
		{"UInt32", `1.0`, "1"}, {"UInt32", `1e3`, "1000"}, {"UInt32", `1.5`, "not_an_integer"}, {"UInt32", `1E+2`, "100"},
		{"UInt32", `"1"`, "wrong_type"}, {"UInt32", `true`, "wrong_type"}, {"UInt32", `[1]`, "wrong_type"}, {"UInt32", `{}`, "wrong_type"},
		{"Float64", `0.1`, "0.1"}, {"Float64", `1e400`, "out_of_range"}, {"Float64", `-0`, "-0"}, {"Float64", `"0.1"`, "wrong_type"},
		{"Float64", `3`, "3"}, {"Float32", `1e39`, "out_of_range"}, {"Float32", `0.5`, "0.5"}, {"Float32", `false`, "wrong_type"},
		{"Bool", `true`, "true"}, {"Bool", `false`, "false"}, {"Bool", `1`, "wrong_type"}, {"Bool", `"true"`, "wrong_type"},
		{"UUID", `"7f9c24e8-3b12-4fef-91e0-1d2b3c4d5e6f"`, "7f9c24e83b124fef91e01d2b3c4d5e6f"},
		{"UUID", `"7F9C24E8-3B12-4FEF-91E0-1D2B3C4D5E6F"`, "7f9c24e83b124fef91e01d2b3c4d5e6f"},
		{"UUID", `"7f9c24e83b124fef91e01d2b3c4d5e6f"`, "bad_format"}, {"UUID", `""`, "bad_format"}, {"UUID", `7`, "wrong_type"},
		{"Enum8('a' = 1, 'b' = 2)", `"b"`, "2"}, {"Enum8('a' = 1)", `"b"`, "out_of_range"}, {"Enum8('a' = 1)", `1`, "wrong_type"},
		{"DateTime", `"2026-11-22T14:44:47Z"`, "1795358687"}, {"DateTime", `"1969-12-31T23:59:59Z"`, "out_of_range"},
		{"DateTime64(3)", `"2026-11-22T14:44:47.123Z"`, "1795358687123"},
		{"DateTime64(3)", `"2026-11-22T15:44:47.123+01:00"`, "1795358687123"},
		{"DateTime64(3)", `"2026-11-22T14:44:47"`, "bad_format"}, {"DateTime64(3)", `1795358687`, "wrong_type"},
		{"DateTime64(3)", `"2300-01-01T00:00:00Z"`, "out_of_range"},
		{"Array(UInt8)", `[]`, "[]"}, {"Array(UInt8)", `[ 1 , 2 ]`, "[1 2]"}, {"Array(UInt8)", `[1,null]`, "wrong_type"},
		{"Array(UInt8)", `[1,256]`, "out_of_range"}, {"Array(UInt8)", `1`, "wrong_type"}, {"Array(UInt8)", `{}`, "wrong_type"},
		{"Array(Nullable(UInt8))", `[1,null]`, "[1 NULL]"},
		{"Array(Array(LowCardinality(String)))", `[["a","\u005d"],[]]`, "[[a ]] []]"},
		{"Map(String, UInt8)", `{}`, "{}"}, {"Map(String, UInt8)", `{"a":1, "\u0062" : 2 }`, "{a=1 b=2}"},
		{"Map(String, UInt8)", `{"a":"1"}`, "wrong_type"}, {"Map(String, UInt8)", `[]`, "wrong_type"},
		{"Map(LowCardinality(String), String)", `{"a":"x","b":"\\"}`, `{a=x b=\}`},
		{"Map(String, Map(String, Array(UInt8)))", `{"a":{"b":[1]},"c":{}}`, "{a={b=[1]} c={}}"},
		{"Map(String, String)", `{"a":null}`, "wrong_type"},
	} {
		d := columnsDecoder(t, contract.Column{Name: "v", Type: tc.typ})
		out, b := decode(d, ` { "v" : `+tc.value+` } `)
		got := ""
		if out.Kind == Rejected {
			got = string(out.Reject.Code)
			if out.Reject.Column != "v" || out.Reject.Path != "v" || out.Reject.ByteOffset < 9 || out.Reject.Message == "" {
				t.Errorf("%s %s: incomplete rejection %+v", tc.typ, tc.value, out.Reject)
			}
			if b.Rows() != 0 || wire(t, b) != wire(t, d.NewBlock()) {
				t.Errorf("%s %s: the rejected record left something", tc.typ, tc.value)
			}
		} else {
			got = show(b.Columns[0], 0)
		}
		if got != tc.want {
			t.Errorf("%s %s: got %s, want %s", tc.typ, tc.value, got, tc.want)
		}
	}
}

func TestDecode_TimeFormatsAndRounding(t *testing.T) {
	for _, tc := range []struct {
		format, typ, value, want string
		rounded                  int
	}{
		{"unix", "DateTime64(3)", `1795358687`, "1795358687000", 0},
		{"unix", "DateTime64(3)", `1795358687.1239`, "1795358687123", 1},
		{"unix_ms", "DateTime64(3)", `1795358687123`, "1795358687123", 0},
		{"unix_ms", "DateTime", `1795358687123`, "1795358687", 1},
		{"unix_us", "DateTime64(6)", `1795358687123456`, "1795358687123456", 0},
		{"unix_ns", "DateTime64(9)", `1795358687123456789`, "1795358687123456789", 0},
		{"unix", "DateTime64(3)", `1795358687123`, "out_of_range", 0},
		{"unix", "DateTime64(3)", `"1795358687"`, "1795358687000", 0},
		{"", "DateTime64(3)", `"2026-11-22T14:44:47.123000Z"`, "1795358687123", 0},
		{"", "DateTime64(3)", `"2026-11-22T14:44:47.123456Z"`, "1795358687123", 1},
		{"unix", "Array(DateTime64(0))", `[1.5, 2, 3.5]`, "[1 2 3]", 2},
		{"unix", "Map(String, Nullable(DateTime))", `{"a":1.5,"b":null}`, "{a=1 b=NULL}", 1},
	} {
		d := columnsDecoder(t, contract.Column{Name: "v", Type: tc.typ, Format: tc.format})
		out, b := decode(d, `{"v":`+tc.value+`}`)
		got := ""
		if out.Kind == Rejected {
			got = string(out.Reject.Code)
		} else {
			got = show(b.Columns[0], 0)
		}
		if got != tc.want || out.Rounded != tc.rounded {
			t.Errorf("%s %s %s: got %s, rounded %d, want %s, %d", tc.format, tc.typ, tc.value, got, out.Rounded, tc.want, tc.rounded)
		}
		if n := d.Rounded()["v"]; n != int64(tc.rounded) || len(d.Rounded()) != 0 {
			t.Errorf("%s %s %s: column v has %d rounded, want %d, once", tc.format, tc.typ, tc.value, n, tc.rounded)
		}
	}
	// What was rounded and then replaced by the policy is not in the row.
	d := columnsDecoder(t, contract.Column{Name: "v", Type: "Array(DateTime)", Format: "unix", OnInvalid: contract.Default})
	if out, b := decode(d, `{"v":[1.5,"x"]}`); out.Kind != Written || out.Rounded != 0 || show(b.Columns[0], 0) != "[]" {
		t.Errorf("got %+v", out)
	}
}

// Texts that are no single, strict JSON object. ok must stay valid, so the contract takes nothing.
func TestDecode_StrictText(t *testing.T) {
	deep := func(n int) string { return strings.Repeat(`{"a":`, n) + "1" + strings.Repeat("}", n) }
	for _, tc := range []struct {
		text, want string
		at         int
	}{
		{`{}`, "", 0}, {" \t\r\n{ } \n", "", 0}, {`{"a":{"b":[1,{"c":null}]}}`, "", 0},
		{"", "truncated", 0}, {"  ", "truncated", 2}, {`{`, "truncated", 1}, {`{"a":1`, "truncated", 6}, {`{"a`, "truncated", 3},
		{`{"a":tru`, "truncated", 8}, {`{"a":"x\`, "truncated", 8}, {"{\"a\":\"\xc3", "truncated", 7},
		{`{}{}`, "trailing_data", 2}, {`{} x`, "trailing_data", 3}, {`{},`, "trailing_data", 2}, {"{}\x00", "trailing_data", 2},
		{`[]`, "not_an_object", 0}, {`null`, "not_an_object", 0}, {` "x"`, "not_an_object", 1}, {`12`, "not_an_object", 0},
		{`{"a":1,}`, "invalid_json", 7}, {`{a:1}`, "invalid_json", 1}, {`{"a":01}`, "invalid_json", 6}, {`{"a":1.}`, "invalid_json", 7},
		{`{"a":+1}`, "invalid_json", 5}, {`{"a":NaN}`, "invalid_json", 5}, {`{"a":'x'}`, "invalid_json", 5}, {`{"a":.5}`, "invalid_json", 5},
		{"{\"a\":\"x\ny\"}", "invalid_json", 7}, {`{"a":"\x41"}`, "invalid_json", 6}, {`{"a":"\u12"}`, "invalid_json", 6},
		{`{"a" 1}`, "invalid_json", 5}, {`{"a":1 "b":2}`, "invalid_json", 7}, {`{1:2}`, "invalid_json", 1}, {`{"a":[1,]}`, "invalid_json", 8},
		{`{"a":[}`, "invalid_json", 6}, {`{"a":1]`, "invalid_json", 6}, {`{"a":trux}`, "invalid_json", 8}, {`/**/{}`, "invalid_json", 0},
		{"\xef\xbb\xbf{}", "invalid_json", 0},
		{`{"a":"\ud800"}`, "invalid_json", 6}, {`{"a":"\udc00\ud800"}`, "invalid_json", 6}, {`{"\ud800":1}`, "invalid_json", 2},
		{"{\"a\":\"\xff\"}", "invalid_utf8", 6}, {"{\"\xc3\x28\":1}", "invalid_utf8", 2}, {"{\"a\":\"\xed\xa0\x80\"}", "invalid_utf8", 6}, {"\xff", "invalid_utf8", 0},
		{`{"a":1,"a":2}`, "duplicate_key", 7}, {`{"a":1,"\u0061":2}`, "duplicate_key", 7}, {`{"x":[{"b":{"c":1,"c":1}}]}`, "", 0},
		{deep(MaxDepth), "", 0}, {deep(MaxDepth + 1), "too_deep", 5 * MaxDepth}, {deep(20_000), "too_deep", 5 * MaxDepth},
		{`{"a":` + strings.Repeat("[", 20_000), "too_deep", 5 + MaxDepth - 1},
		{`{"a":"` + strings.Repeat("[{", 200) + `"}`, "", 0},
	} {
		d := columnsDecoder(t)
		out, b := decode(d, tc.text)
		name := tc.text[:min(len(tc.text), 40)]
		switch {
		case tc.want == "" && out.Kind != Written:
			t.Errorf("%q: rejected: %v", name, out.Reject)
		case tc.want != "" && (out.Kind != Rejected || string(out.Reject.Code) != tc.want || out.Reject.ByteOffset != tc.at):
			t.Errorf("%q: got %+v %+v, want %s at %d", name, out, out.Reject, tc.want, tc.at)
		case tc.want != "" && (b.Rows() != 0 || out.Reject.Message == ""):
			t.Errorf("%q: %d rows, message %q", name, b.Rows(), out.Reject.Message)
		}
	}
	out, _ := decode(columnsDecoder(t, contract.Column{Name: "n", Type: "UInt8", From: "x[1].`b.c`.n"}), `{"x":[0,{"b.c":{"c":1,"\u0063":1}}]}`)
	if out.Reject == nil || out.Reject.Path != "x[1].`b.c`.c" || out.Reject.ByteOffset != 22 {
		t.Errorf("path of a duplicate key: %+v", out.Reject)
	}
}

func TestDecode_SyntaxComesBeforeFields(t *testing.T) {
	d := columnsDecoder(t, contract.Column{Name: "v", Type: "UInt8", Required: true})
	if out, _ := decode(d, `{"v":"x","w":}`); out.Reject == nil || out.Reject.Code != InvalidJSON {
		t.Errorf("got %+v", out.Reject)
	}
}

func TestDecode_Policies(t *testing.T) {
	for _, tc := range []struct {
		col  contract.Column
		text string
		want string
		def  Defaults
	}{
		{contract.Column{Type: "UInt8", Required: true}, `{}`, "missing_required", Defaults{}},
		{contract.Column{Type: "UInt8", Required: true}, `{"v":null}`, "null_required", Defaults{}},
		{contract.Column{Type: "UInt8", Required: true}, `{"v":300}`, "out_of_range", Defaults{}},
		{contract.Column{Type: "UInt8"}, `{}`, "0", Defaults{Missing: 1}},
		{contract.Column{Type: "UInt8"}, `{"v":null}`, "0", Defaults{Null: 1}},
		{contract.Column{Type: "UInt8"}, `{"v":300}`, "out_of_range", Defaults{}},
		{contract.Column{Type: "UInt8", Default: text("7")}, `{}`, "7", Defaults{Missing: 1}},
		{contract.Column{Type: "UInt8", Default: text("7")}, `{"v":null}`, "7", Defaults{Null: 1}},
		{contract.Column{Type: "UInt8", Default: text("7"), OnInvalid: contract.Default}, `{"v":300}`, "7", Defaults{Invalid: 1}},
		{contract.Column{Type: "UInt8", OnMissing: contract.DeadLetter}, `{}`, "missing_required", Defaults{}},
		{contract.Column{Type: "UInt8", OnMissing: contract.DeadLetter}, `{"v":null}`, "0", Defaults{Null: 1}},
		{contract.Column{Type: "UInt8", OnNull: contract.DeadLetter}, `{"v":null}`, "null_required", Defaults{}},
		{contract.Column{Type: "Nullable(UInt8)"}, `{}`, "NULL", Defaults{Missing: 1}},
		{contract.Column{Type: "Nullable(UInt8)"}, `{"v":null}`, "NULL", Defaults{}},
		{contract.Column{Type: "Nullable(UInt8)", OnInvalid: contract.Null}, `{"v":"x"}`, "NULL", Defaults{Invalid: 1}},
		{contract.Column{Type: "Nullable(UInt8)", Default: text("7")}, `{"v":null}`, "7", Defaults{Null: 1}},
		{contract.Column{Type: "Nullable(UInt8)", Default: text("7"), OnNull: contract.Null}, `{"v":null}`, "NULL", Defaults{}},
		{contract.Column{Type: "LowCardinality(Nullable(String))", OnInvalid: contract.Null}, `{"v":1}`, "NULL", Defaults{Invalid: 1}},
		{contract.Column{Type: "LowCardinality(String)", Default: text("none")}, `{}`, "none", Defaults{Missing: 1}},
		{contract.Column{Type: "Array(LowCardinality(String))", OnInvalid: contract.Default}, `{"v":["a",["b"]]}`, "[]", Defaults{Invalid: 1}},
		{contract.Column{Type: "Map(String, Array(UInt8))", OnInvalid: contract.Default}, `{"v":{"a":[1],"b":[1,2,"x"]}}`, "{}", Defaults{Invalid: 1}},
		{contract.Column{Type: "DateTime64(3)", Format: "unix_ms", Default: text("5")}, `{}`, "5", Defaults{Missing: 1}},
	} {
		tc.col.Name = "v"
		d := columnsDecoder(t, tc.col)
		out, b := decode(d, tc.text)
		got := ""
		if out.Kind == Rejected {
			got = string(out.Reject.Code)
		} else {
			got = show(b.Columns[0], 0)
		}
		if got != tc.want {
			t.Errorf("%+v %s: got %s, want %s", tc.col, tc.text, got, tc.want)
		}
		want := map[string]Defaults{}
		if tc.def != (Defaults{}) {
			want["v"] = tc.def
		}
		if counted := d.Defaulted(); !maps.Equal(counted, want) {
			t.Errorf("%+v %s: counted %v, want %v", tc.col, tc.text, counted, want)
		}
		if again := d.Defaulted(); len(again) != 0 {
			t.Errorf("the counters were not drained: %v", again)
		}
	}
}

func TestDecode_Paths(t *testing.T) {
	d := columnsDecoder(t,
		contract.Column{Name: "whole", Type: "String", From: "usage", As: "json"},
		contract.Column{Name: "tokens", Type: "UInt32", From: "usage.tokens.in"},
		contract.Column{Name: "again", Type: "Nullable(Float64)", From: "usage.tokens.in"},
		contract.Column{Name: "dotted", Type: "String", From: "`a.b`.c"},
		contract.Column{Name: "opt", Type: "Nullable(String)", From: "usage.tokens", As: "json", OnInvalid: contract.Null},
	)
	for _, tc := range []struct{ text, want string }{
		{`{"usage": {"tokens" : {"in":5 , "x":[1]}, "y":"}"} ,"a.b":{"\u0063":"z"}}`,
			`{"tokens" : {"in":5 , "x":[1]}, "y":"}"}|5|5|z|{"in":5 , "x":[1]}`},
		{`{"usage":null}`, `|0|NULL||NULL`},
		{`{"usage":{"tokens":null}}`, `{"tokens":null}|0|NULL||NULL`},
		{`{"usage":{"tokens":[]}}`, "wrong_type tokens usage.tokens.in@19"},
		{`{"usage":7}`, "wrong_type tokens usage.tokens.in@9"},
		{`{"a.b":"c"}`, "wrong_type dotted `a.b`.c@7"},
	} {
		out, b := decode(d, tc.text)
		got := ""
		if r := out.Reject; r != nil {
			got = fmt.Sprintf("%s %s %s@%d", r.Code, r.Column, r.Path, r.ByteOffset)
		} else {
			var row []string
			for _, c := range b.Columns[:5] {
				row = append(row, show(c, 0))
			}
			got = strings.Join(row, "|")
		}
		if got != tc.want {
			t.Errorf("%s:\ngot  %s\nwant %s", tc.text, got, tc.want)
		}
	}
	lenient := columnsDecoder(t, contract.Column{Name: "n", Type: "UInt8", From: "a.n", OnInvalid: contract.Default})
	if out, b := decode(lenient, `{"a":"no object"}`); out.Kind != Written || show(b.Columns[0], 0) != "0" {
		t.Errorf("got %+v", out)
	}
	if got := lenient.Defaulted()["n"]; got != (Defaults{Invalid: 1}) {
		t.Errorf("counted %+v", got)
	}
}

func TestDecode_UnmappedFieldsAreCounted(t *testing.T) {
	columns := []contract.Column{
		{Name: "n", Type: "UInt8", From: "a.n"},
		{Name: "j", Type: "String", From: "b", As: "json"},
		{Name: "jn", Type: "UInt8", From: "b.n"},
		{Name: "m", Type: "Map(String, String)"},
	}
	event := `{"a":{"n":1,"x.y":{"deep":1}},"b":{"n":2,"z":1},"m":{"k":"v"},"new":[1],"\u006eew2":null}`
	d := newDecoder(t, contract.Contract{Columns: columns})
	for range 3 {
		if out, _ := decode(d, event); out.Kind != Written {
			t.Fatal(out.Reject)
		}
	}
	decode(d, `{"rejected":1,"a":{"n":-1}}`) // kept whole as a dead letter, so not counted
	want := map[string]int64{"a.`x.y`": 3, "new": 3, "new2": 3}
	if got := unmapped(d); !maps.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	decode(d, `{"new":1}`)
	if got := unmapped(d); !maps.Equal(got, map[string]int64{"new": 1}) {
		t.Errorf("after draining: %v", got)
	}
	frozen := newDecoder(t, contract.Contract{Columns: columns, NewFields: contract.Modes{Default: contract.ModeFreeze}})
	out, b := decode(frozen, event)
	if out.Reject == nil || out.Reject.Code != NewField || out.Reject.Path != "a.`x.y`" || out.Reject.ByteOffset != 18 || b.Rows() != 0 {
		t.Errorf("freeze: %+v", out.Reject)
	}
	if out, _ := decode(frozen, `{"a":{},"b":{"any":1},"m":{"any":"v"}}`); out.Kind != Written {
		t.Errorf("freeze: %v", out.Reject)
	}
}

func TestDecode_UnmappedIsBounded(t *testing.T) {
	d := columnsDecoder(t)
	for i := range maxUnmapped + 7 {
		decode(d, fmt.Sprintf(`{"f%d":1}`, i))
	}
	decode(d, `{"f0":1,"one more":1}`)
	got := unmapped(d)
	if len(got) != maxUnmapped+1 || got[contract.OtherPaths] != 8 || got["f0"] != 2 {
		t.Errorf("%d paths, %d others, f0 %d", len(got), got[contract.OtherPaths], got["f0"])
	}
	decode(d, `{"one more":1}`)
	if got := unmapped(d); !maps.Equal(got, map[string]int64{"one more": 1}) {
		t.Errorf("after draining: %v", got)
	}
}

func TestDecode_TombstoneAndLineage(t *testing.T) {
	d := columnsDecoder(t)
	b := d.NewBlock()
	rec := &waybill.Record{Topic: "llm.calls", Partition: 65535, Offset: 1 << 40}
	if out := d.Decode(rec, 9, b); out.Kind != Tombstone || b.Rows() != 0 {
		t.Errorf("a tombstone is %v with %d rows", out.Kind, b.Rows())
	}
	rec.Value = []byte("{}")
	if out := d.Decode(rec, 9, b); out.Kind != Written {
		t.Fatal(out.Reject)
	}
	var got []string
	for _, c := range b.Columns {
		got = append(got, show(c, 0))
	}
	if !slices.Equal(got, []string{"llm.calls", "65535", "1099511627776", "9"}) {
		t.Errorf("lineage %v", got)
	}
	rec.Partition++
	if out := d.Decode(rec, 9, b); out.Reject == nil || out.Reject.Code != OutOfRange || out.Reject.Column != "_partition" || b.Rows() != 1 {
		t.Errorf("a partition that UInt16 cannot hold: %+v", out)
	}
}

func TestDecode_LineageOfOtherTypes(t *testing.T) {
	s := contract.TableSchema{Columns: []contract.TableColumn{{Name: "_topic", Type: "String"}, {Name: "_partition", Type: "Int32"}, {Name: "_offset", Type: "Int64"}}}
	for _, partition := range []string{"Int32", "UInt32"} {
		s.Columns[1].Type = partition
		p, err := contract.Compile(contract.Contract{NewFields: contract.Modes{Default: contract.ModeDiscard}}, s, contract.Lineage{Topic: "_topic", Partition: "_partition", Offset: "_offset"}, Version)
		if err != nil {
			t.Fatal(err)
		}
		d, err := New(p)
		if err != nil {
			t.Fatal(err)
		}
		_, b := decode(d, "{}")
		if got := show(b.Columns[0], 0) + show(b.Columns[1], 0) + show(b.Columns[2], 0); got != "t07" {
			t.Errorf("lineage %s", got)
		}
	}
}

func TestDecode_Event(t *testing.T) {
	d := newDecoder(t, contract.Contract{Columns: llmCall()})
	value, err := os.ReadFile("testdata/llm_call.json")
	if err != nil {
		t.Fatal(err)
	}
	out, b := decode(d, string(value))
	if out.Kind != Written {
		t.Fatal(out.Reject)
	}
	var got []string
	for i, c := range b.Columns {
		got = append(got, b.Names[i]+": "+show(c, 0))
	}
	want, err := os.ReadFile("testdata/llm_call.row")
	if err != nil {
		t.Fatal(err)
	}
	if text := strings.Join(got, "\n") + "\n"; text != string(want) {
		t.Errorf("got\n%s\nwant\n%s", text, want)
	}
	if u := unmapped(d); !maps.Equal(u, map[string]int64{"event.kind": 1}) {
		t.Errorf("unmapped %v", u)
	}
}

func TestNew_RefusesAnotherDecoderVersion(t *testing.T) {
	s := contract.TableSchema{Columns: []contract.TableColumn{{Name: "_topic", Type: "String"}, {Name: "_partition", Type: "Int32"}, {Name: "_offset", Type: "Int64"}}}
	p, err := contract.Compile(contract.Contract{NewFields: contract.Modes{Default: contract.ModeDiscard}}, s, contract.Lineage{Topic: "_topic", Partition: "_partition", Offset: "_offset"}, Version+1)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := New(p); waybill.ClassOf(err) != waybill.ClassConfig {
		t.Errorf("got %v", err)
	}
}

// A quadratic scan of escapes would take this test many minutes.
func TestDecode_ManyEscapesTakeLinearTime(t *testing.T) {
	d := columnsDecoder(t, contract.Column{Name: "s", Type: "String"}, contract.Column{Name: "j", Type: "String", From: "x", As: "json"})
	escaped := `"` + strings.Repeat(`\n\"`, 2<<20) + `"`
	out, b := decode(d, `{"s":`+escaped+`,"x":{"y":`+escaped+`}}`)
	if out.Kind != Written {
		t.Fatal(out.Reject)
	}
	if got := len(show(b.Columns[0], 0)); got != 4<<20 {
		t.Errorf("%d bytes", got)
	}
	if got := len(show(b.Columns[1], 0)); got != len(escaped)+len(`{"y":}`) {
		t.Errorf("%d bytes", got)
	}
}

func TestReject_SaysWhere(t *testing.T) {
	d := columnsDecoder(t, contract.Column{Name: "n", Type: "UInt8"})
	out, _ := decode(d, `{"n":"secret"}`)
	if got, want := out.Reject.Error(), "column n: wrong_type: a string where the column takes a number"; got != want || out.Kind.String() != "rejected" {
		t.Errorf("%v: got %q, want %q", out.Kind, got, want)
	}
}
