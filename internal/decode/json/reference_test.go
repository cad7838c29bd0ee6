package json

import (
	"os"
	"regexp"
	"testing"

	"github.com/waybill-data/waybill/internal/contract"
)

func referenceColumns() []contract.Column {
	return []contract.Column{
		{Name: "n", Type: "UInt32"},
		{Name: "s", Type: "String"},
		{Name: "m", Type: "Map(String, UInt8)"},
		{Name: "t", Type: "Tuple(a UInt8, b Nullable(String))"},
		{Name: "raw", Type: "String", As: "json"},
		{Name: "deep", Type: "UInt8", From: "a.n"},
	}
}

// The examples of docs/reference/json.md have the outcomes that it names.
func TestReference_JSONExamples(t *testing.T) {
	page, err := os.ReadFile("../../../docs/reference/json.md")
	if err != nil {
		t.Fatal(err)
	}
	d := columnsDecoder(t, referenceColumns()...)
	rows := regexp.MustCompile("(?m)^\\| .* \\| `(.*)` \\| `([a-z_]+)` \\|$").FindAllStringSubmatch(string(page), -1)
	if len(rows) != 34 {
		t.Errorf("%d examples, want 34: examples must not vanish", len(rows))
	}
	for _, row := range rows {
		out, _ := decode(d, row[1])
		got := out.Kind.String()
		if out.Reject != nil {
			got = string(out.Reject.Code)
		}
		if got != row[2] {
			t.Errorf("%s is %s, the page says %s", row[1], got, row[2])
		}
	}
}

// What docs/reference/json.md says is rescued is what is rescued.
func TestReference_RescuedExamples(t *testing.T) {
	page, err := os.ReadFile("../../../docs/reference/json.md")
	if err != nil {
		t.Fatal(err)
	}
	c := rescueEverything(append(referenceColumns(),
		contract.Column{Name: "first", Type: "UInt8", From: "list[0].n"},
		contract.Column{Name: "all", Type: "Array(UInt8)", From: "items[*].n"})...)
	c.NewFields = c.NewFields.With("x.must", contract.ModeFreeze).With("x.drop", contract.ModeDiscard)
	d := newDecoder(t, c)
	rows := regexp.MustCompile("(?m)^\\| .* \\| `(\\{.*\\})` \\| `(|\".*\\})` \\|$").FindAllStringSubmatch(string(page), -1)
	if len(rows) != 11 {
		t.Errorf("%d examples, want 11: examples must not vanish", len(rows))
	}
	for _, row := range rows {
		out, b := decode(d, row[1])
		if out.Kind != Written {
			t.Fatalf("%s: %v", row[1], out.Reject)
		}
		want := row[2]
		if want != "" {
			want = "{" + want + "}"
		}
		if got := rescued(t, d, b); got != want {
			t.Errorf("%s rescues %s, the page says %s", row[1], got, want)
		}
	}
	if out, _ := decode(d, `{"x":{"must":1}}`); out.Reject == nil || out.Reject.Code != NewField || out.Reject.Path != "x.must" {
		t.Errorf("got %+v", out.Reject)
	}
}
