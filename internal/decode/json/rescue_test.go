package json

import (
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
