package json

import (
	"os"
	"regexp"
	"testing"

	"github.com/waybill-data/waybill/internal/contract"
)

// The examples of docs/reference/json.md have the outcomes that it names.
func TestReference_JSONExamples(t *testing.T) {
	page, err := os.ReadFile("../../../docs/reference/json.md")
	if err != nil {
		t.Fatal(err)
	}
	d := columnsDecoder(t,
		contract.Column{Name: "n", Type: "UInt32"},
		contract.Column{Name: "s", Type: "String"},
		contract.Column{Name: "m", Type: "Map(String, UInt8)"},
		contract.Column{Name: "t", Type: "Tuple(a UInt8, b Nullable(String))"},
		contract.Column{Name: "raw", Type: "String", As: "json"},
		contract.Column{Name: "deep", Type: "UInt8", From: "a.n"})
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
