package json

import (
	"maps"
	"strings"
	"testing"

	"github.com/waybill-data/waybill/internal/column"
	"github.com/waybill-data/waybill/internal/contract"
)

// rescued is the text in the rescue column's first row without the plan's ID.
func rescued(t testing.TB, d *Decoder, b *column.Block) string {
	t.Helper()
	text := show(b.Columns[d.rescue.index], 0)
	if text == "" || text == "NULL" {
		return text
	}
	rest, ok := strings.CutPrefix(text, `{"plan":"`+d.plan.ID().String()+`","fields":`)
	if !ok || !strings.HasSuffix(rest, "}") {
		t.Fatalf("the rescue column has %s", text)
	}
	return strings.TrimSuffix(rest, "}")
}

func rescueEverything(columns ...contract.Column) contract.Contract {
	return contract.Contract{NewFields: contract.Modes{Default: contract.ModeRescue}, TypeConflicts: contract.Modes{Default: contract.ModeRescue}, Columns: columns}
}

func TestRescue_Texts(t *testing.T) {
	d := newDecoder(t, rescueEverything(
		contract.Column{Name: "n", Type: "UInt8"},
		contract.Column{Name: "n\"2", Type: "Int8", From: "n"},
		contract.Column{Name: "in", Type: "String", From: "a.b"},
		contract.Column{Name: "first", Type: "String", From: "items[0].name"},
		contract.Column{Name: "all", Type: "Array(UInt8)", From: "list[*].x"},
	))
	for _, tc := range []struct{ text, want string }{
		{`{}`, ``},
		{`{"n":1,"a":{"b":"x"},"items":[{"name":"a"}],"list":[{"x":1},{}]}`, ``},
		{`{"z": 1.50 , "é\n":[1, {"q":null}],"a.b":"\u0041","":0}`,
			"{\"z\":{\"reason\":\"new_field\",\"value\":1.50},\"é\\n\":{\"reason\":\"new_field\",\"value\":[1, {\"q\":null}]},\"`a.b`\":{\"reason\":\"new_field\",\"value\":\"\\u0041\"},\"``\":{\"reason\":\"new_field\",\"value\":0}}"},
		{`{"n":300}`, `{"n":{"reason":"out_of_range","column":"n","value":300}}`},
		{`{"n":200}`, `{"n":{"reason":"out_of_range","column":"n\"2","value":200}}`},
		{`{"n":null}`, ``},
		{`{"a":[1]}`, `{"a":{"reason":"wrong_type","column":"in","value":[1]}}`},
		{`{"a":{"b":{"c":1},"d":2}}`, `{"a.b":{"reason":"wrong_type","column":"in","value":{"c":1}},"a.d":{"reason":"new_field","value":2}}`},
		{`{"items":[{"name":"a","k":1},2,{"name":"b"}]}`,
			`{"items[0].k":{"reason":"new_field","value":1},"items[1]":{"reason":"new_field","value":2},"items[2]":{"reason":"new_field","value":{"name":"b"}}}`},
		{`{"items":{"name":"a"}}`, `{"items":{"reason":"wrong_type","column":"first","value":{"name":"a"}}}`},
		{`{"items":[7]}`, `{"items[0]":{"reason":"wrong_type","column":"first","value":7}}`},
		{`{"list":[{"x":1,"y":2},{"x":-1},{"x":"no"}],"after":true}`,
			`{"list":{"reason":"out_of_range","column":"all","value":[{"x":1,"y":2},{"x":-1},{"x":"no"}]},"list[0].y":{"reason":"new_field","value":2},"after":{"reason":"new_field","value":true}}`},
		{`{"list":[{"x":1},5]}`, `{"list":{"reason":"wrong_type","column":"all","value":[{"x":1},5]}}`},
		{`{"kafka:key":1,"expr:x":{}}`, "{\"`kafka:key`\":{\"reason\":\"new_field\",\"value\":1},\"`expr:x`\":{\"reason\":\"new_field\",\"value\":{}}}"},
	} {
		out, b := decode(d, tc.text)
		if out.Kind != Written {
			t.Errorf("%s: %v", tc.text, out.Reject)
			continue
		}
		if got := rescued(t, d, b); got != tc.want {
			t.Errorf("%s:\ngot  %s\nwant %s", tc.text, got, tc.want)
		}
		if n := strings.Count(tc.want, `"reason"`); out.Rescued != n {
			t.Errorf("%s: %d rescued, want %d", tc.text, out.Rescued, n)
		}
	}
}

// A nullable rescue column has NULL where nothing is rescued. One of the JSON type has texts that the server takes: no
// number that JSON columns cannot hold, no path twice.
func TestRescue_ColumnTypes(t *testing.T) {
	decoder := func(typ string) *Decoder {
		c := rescueEverything(contract.Column{Name: "first", Type: "UInt8", From: "a[0]"}, contract.Column{Name: "b", Type: "UInt8", From: "a.b"})
		schema := contract.TableSchema{Columns: []contract.TableColumn{{Name: "first", Type: "UInt8"}, {Name: "b", Type: "UInt8"},
			{Name: "_topic", Type: "String"}, {Name: "_partition", Type: "Int32"}, {Name: "_offset", Type: "Int64"}, {Name: "_rescued", Type: typ}}}
		p, err := contract.Compile(c, schema, contract.Lineage{Topic: "_topic", Partition: "_partition", Offset: "_offset"}, Version)
		if err != nil {
			t.Fatal(err)
		}
		d, err := New(p)
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	nullable := decoder("Nullable(String)")
	if out, b := decode(nullable, `{}`); rescued(t, nullable, b) != "NULL" || out.Rescued != 0 {
		t.Errorf("got %+v", out)
	}
	if _, b := decode(nullable, `{"x":1}`); rescued(t, nullable, b) != `{"x":{"reason":"new_field","value":1}}` {
		t.Errorf("got %s", rescued(t, nullable, b))
	}
	d := decoder("JSON")
	for _, tc := range []struct{ value, want string }{
		{`1.50`, `"value":1.50`},
		{`"a.b"`, `"value":"a.b"`},
		{`{"k":[1,{"l":"x.y"}]}`, `"value":{"k":[1,{"l":"x.y"}]}`},
		{`[1e400]`, `"value":"[1e400]","encoding":"json"`},
		{`18446744073709551616`, `"value":"18446744073709551616","encoding":"json"`},
		{`{"k":1,"k":2}`, `"value":"{\"k\":1,\"k\":2}","encoding":"json"`},
		{`[{"k.l":1,"k":{"l":2}}]`, `"value":"[{\"k.l\":1,\"k\":{\"l\":2}}]","encoding":"json"`},
		{`{"k\u002el":1}`, `"value":"{\"k\\u002el\":1}","encoding":"json"`},
	} {
		_, b := decode(d, `{"x":`+tc.value+`}`)
		if got, want := string(b.Columns[d.rescue.index].(*column.JSON).Row(0)), `{"plan":"`+d.plan.ID().String()+`","fields":{"x":{"reason":"new_field",`+tc.want+`}}}`; got != want {
			t.Errorf("%s:\ngot  %s\nwant %s", tc.value, got, want)
		}
	}
	_, b := decode(d, `{"a":{"b":1,"value":2,"reason":3}}`)
	if got := string(b.Columns[d.rescue.index].(*column.JSON).Row(0)); !strings.Contains(got, `"a":{"reason":"wrong_type","column":"first","value":"{\"b\":1,`) {
		t.Errorf("got %s", got)
	}
	if _, b := decode(d, `{}`); string(b.Columns[d.rescue.index].(*column.JSON).Row(0)) != "{}" {
		t.Error("nothing rescued is the empty object")
	}
}

// Of two columns that refuse one value, the one whose path is of any element comes first; an array of the wrong length is
// nothing that another type would help.
func TestRescue_TheFirstReasonIsKept(t *testing.T) {
	d := newDecoder(t, rescueEverything(
		contract.Column{Name: "one", Type: "UUID", From: "e[0].x.y"},
		contract.Column{Name: "all", Type: "Array(UInt8)", From: "e[*].x.y"},
		contract.Column{Name: "short", Type: "Array(UInt8)", From: "s", Length: 2}))
	_, b := decode(d, `{"e":[{"x":7}],"s":[1]}`)
	want := `{"e":{"reason":"wrong_type","column":"all","value":[{"x":7}]},"e[0].x":{"reason":"wrong_type","column":"one","value":7},"s":{"reason":"wrong_length","column":"short","value":[1]}}`
	if got := rescued(t, d, b); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

// What is counted by reason is what the rescue column holds.
func TestRescued_CountsByReason(t *testing.T) {
	d := newDecoder(t, rescueEverything(
		contract.Column{Name: "id", Type: "UInt64", Required: true},
		contract.Column{Name: "n", Type: "UInt8"},
		contract.Column{Name: "m", Type: "Int8", From: "n"},
		contract.Column{Name: "at", Type: "DateTime64(3)"},
	))
	for _, text := range []string{
		`{"id":1}`,
		`{"id":2,"n":-1,"x":1,"y":{"z":2}}`,
		`{"id":3,"n":300,"at":"soon"}`, // two columns refuse n: it is kept once
		`{"n":300,"x":1}`,              // a dead letter is kept whole
		`{"id":4,"n":"x","x":null}`,
	} {
		decode(d, text)
	}
	want := map[string]int64{"new_field": 3, "out_of_range": 2, "bad_format": 1, "wrong_type": 1}
	if got := d.Rescued(); !maps.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if again := d.Rescued(); len(again) > 0 {
		t.Errorf("counted twice: %v", again)
	}
}
