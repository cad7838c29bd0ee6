package trial

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/waybill-data/waybill/internal/config"
	"github.com/waybill-data/waybill/internal/contract"
	decode "github.com/waybill-data/waybill/internal/decode/json"
)

// taken runs events through a pipeline whose contract is given in YAML and returns the outcomes and the summary.
func taken(t *testing.T, contractText string, whole bool, lines ...string) ([]string, Summary) {
	t.Helper()
	p, err := config.Parse("test.yaml", []byte(`name: calls
source: {kafka: {brokers: [localhost], topic: calls}}
contract: `+contractText+`
sink: {clickhouse: {url: "clickhouse://localhost/ai", table: calls}}`), nil)
	if err != nil {
		t.Fatal(err)
	}
	plan, err := contract.Compile(p.Contract, p.PromisedTable(), p.Sink.ClickHouse.Lineage, decode.Version)
	if err != nil {
		t.Fatal(err)
	}
	trial, err := New(plan, nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	events := ReadEvents(strings.NewReader(strings.Join(lines, "\n")), "calls", whole)
	for {
		r, err := events.Next()
		if errors.Is(err, io.EOF) {
			return out, trial.Summary([]Target{{p.Contract, p.PromisedTable(), ""}})
		}
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, string(trial.AppendOutcome(nil, trial.Take(&r), false)))
	}
}

const someColumns = `{new_fields: rescue, type_conflicts: {default: rescue, c: discard}, columns: {id: {type: UInt8, required: true},
  a: {type: "Nullable(UInt8)"}, c: {type: UInt8}, items: {type: "Array(UInt8)", from: "items[*].n"}}}`

func TestSummary_CountsByColumn(t *testing.T) {
	_, s := taken(t, someColumns, false,
		`{"id":1,"a":1,"c":1,"items":[{"n":1},{}]}`, `{"id":2,"a":null,"c":300,"items":[]}`, `{"id":3,"c":2,"items":[]}`, `{"id":4,"a":-1,"c":2,"items":[]}`, `{"id":256}`, `{"id":257}`, ``, `x`)
	if s.Records != 7 || s.Rows != 4 || s.RescuedRows != 1 || s.DeadLettered != 3 {
		t.Errorf("%+v", s)
	}
	got := ""
	for _, c := range s.Tables[0].Columns {
		filled := int64(-1)
		if c.Filled != nil {
			filled = *c.Filled
		}
		got += fmt.Sprintf("%s filled %d missing %d null %d invalid %d conflicts %d\n", c.Name, filled, c.Missing, c.Null, c.Invalid, c.Conflicts)
	}
	want := `id filled 4 missing 0 null 0 invalid 0 conflicts 0
a filled 1 missing 1 null 1 invalid 0 conflicts 1
c filled 3 missing 0 null 0 invalid 1 conflicts 0
items filled -1 missing 1 null 0 invalid 0 conflicts 0
`
	if got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
	if d := s.DeadLetters; len(d) != 2 || d[0].Code != "out_of_range" || d[0].Column != "id" || d[0].Count != 2 || d[0].Example.Offset != 4 {
		t.Errorf("%+v", d)
	}
}

func TestOutcome_IsOneLineWhateverTheEventHolds(t *testing.T) {
	out, _ := taken(t, someColumns, true, `{"value":"{\"id\":1,\n\"c\":2,\"new\":{\n}}"}`)
	if len(out) != 1 || out[0] != `{"row":{"id":1,"a":null,"c":2,"items":[],"_rescued":{"new":{"reason":"new_field","value":{}}}}}` {
		t.Errorf("%q", out)
	}
}

func TestCompare(t *testing.T) {
	for _, tt := range []struct{ want, got, differences string }{
		{`{"a":1,"b":[1,{"c":null}]}`, `{ "b":[1,{"c":null}], "a":1 }`, ""},
		{`{"a":1}`, `{"a":1.0}`, "line 0: a: want 1, got 1.0"},
		{`{"a":1}`, `{"a":"1"}`, `line 0: a: want 1, got "1"`},
		{`{"a":null}`, `{}`, "line 0: a: want null, got nothing"},
		{`{}`, `{"a":null}`, "line 0: a: want nothing, got null"},
		{`{"a":{"b":[1,2,3]}}`, `{"a":{"b":[1,4,3]}}`, "line 0: a.b[1]: want 2, got 4"},
		{`{"a":[1]}`, `{"a":[1,2]}`, "line 0: a: want [1], got [1,2]"},
		{`{"a":[]}`, `{"a":{}}`, "line 0: a: want [], got {}"},
		{`{"a":1}`, `{"a":{"b":"<"}}`, `line 0: a: want 1, got {"b":"<"}`},
		{`[1]`, `2`, "line 0: want [1], got 2"},
	} {
		found, err := Compare([]byte(tt.want), []byte(tt.got))
		if err != nil {
			t.Fatal(err)
		}
		var lines []string
		for _, d := range found {
			lines = append(lines, d.String())
		}
		if got := strings.Join(lines, "\n"); got != tt.differences {
			t.Errorf("%s and %s: %q, want %q", tt.want, tt.got, got, tt.differences)
		}
	}
	for _, broken := range []string{"", "{", `{} {}`} {
		if _, err := Compare([]byte(broken), []byte("{}")); err == nil {
			t.Errorf("%q is taken", broken)
		}
	}
}
