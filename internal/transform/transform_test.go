package transform_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/waybill-data/waybill"
	"github.com/waybill-data/waybill/internal/contract"
	"github.com/waybill-data/waybill/internal/transform"
)

// plan compiles a contract of these columns, for a table that has all it needs.
func plan(t testing.TB, tr contract.Transform, columns ...contract.Column) *contract.Plan {
	t.Helper()
	table := contract.TableSchema{Database: "d", Table: "t", Columns: []contract.TableColumn{
		{Name: "_topic", Type: "String"}, {Name: "_partition", Type: "UInt32"}, {Name: "_offset", Type: "UInt64"}, {Name: "_epoch", Type: "UInt32"},
		{Name: "_rescued", Type: "String"},
	}}
	for i := range columns {
		if columns[i].Type == "" {
			columns[i].Type = "Nullable(String)"
		}
		table.Columns = append(table.Columns, contract.TableColumn{Name: columns[i].Name, Type: columns[i].Type})
	}
	p, err := contract.Compile(contract.Contract{Columns: columns, Transform: tr}, table, contract.DefaultLineage(), 1)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func transformer(t testing.TB, p *contract.Plan, secret string) *transform.Transformer {
	t.Helper()
	tr, err := transform.New(p, []byte(secret))
	if err != nil {
		t.Fatal(err)
	}
	return tr
}

func event(text string) *waybill.Record {
	return &waybill.Record{Topic: "t", Offset: 41, Time: 1764046800123, Value: []byte(text)}
}

func TestNew_NothingToDo(t *testing.T) {
	if tr := transformer(t, plan(t, contract.Transform{}, contract.Column{Name: "a"}), ""); tr != nil {
		t.Error("a transformer that has nothing to do")
	}
}

func TestNew_RefusesWhatDoesNotCompile(t *testing.T) {
	for want, p := range map[string]*contract.Plan{
		"the filter cannot be compiled":                 plan(t, contract.Transform{Filter: "event.a &&"}),
		"gives int, not true or false":                  plan(t, contract.Transform{Filter: "1"}),
		"the expression of column c cannot be compiled": plan(t, contract.Transform{}, contract.Column{Name: "c", Expr: "evnt"}),
		"1:1: undeclared reference to 'evnt'":           plan(t, contract.Transform{}, contract.Column{Name: "c", Expr: "evnt"}),
	} {
		_, err := transform.New(p, nil)
		var e *waybill.Error
		if !errors.As(err, &e) || e.Class != waybill.ClassConfig || e.Hint == "" || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}

func TestApply_Filter(t *testing.T) {
	tr := transformer(t, plan(t, contract.Transform{Filter: `event.status != "debug"`}, contract.Column{Name: "status"}), "")
	for text, want := range map[string]string{
		`{"status":"ok"}`: "kept", `{"status":"debug"}`: "filtered", `{"status":1}`: "kept",
		`{}`: "expression_error filter: no such field: status", `[]`: "kept", `{"status":"debug"`: "kept", ``: "kept",
	} {
		out := tr.Apply(event(text))
		got := "kept"
		switch {
		case out.Reject != nil:
			got = string(out.Reject.Code) + " " + out.Reject.Name + ": " + out.Reject.Message
		case out.Filtered:
			got = "filtered"
		}
		if got != want || string(out.Text) != text {
			t.Errorf("%s: %s %q, want %s", text, got, out.Text, want)
		}
	}
	if out := tr.Apply(&waybill.Record{}); out.Reject != nil || out.Filtered || out.Text != nil {
		t.Errorf("a tombstone became %+v", out)
	}
}

func TestApply_Computed(t *testing.T) {
	tr := transformer(t, plan(t, contract.Transform{Filter: "event.n > 0"}, contract.Column{Name: "a", Expr: "event.n * 0.5"}, contract.Column{Name: "n"},
		contract.Column{Name: "b", Expr: "event.?b"}, contract.Column{Name: "c", Expr: "kafka.timestamp"}, contract.Column{Name: "d", Expr: "event.n / event.m"}), "")
	for text, want := range map[string]string{
		`{"n":3,"m":2}`:            `1.5 - "2025-11-25T05:00:00.123Z" 1`,
		`{"n":4,"m":2,"b":[1, 2]}`: `2 [1, 2] "2025-11-25T05:00:00.123Z" 2`,
		`{"n":5,"m":1,"b":null}`:   `2.5 null "2025-11-25T05:00:00.123Z" 5`,
		`{"n":5,"m":0}`:            "column d: division by zero",
		`{"n":0}`:                  "",
	} {
		out := tr.Apply(event(text))
		var got []string
		for _, c := range out.Computed {
			if c == nil {
				got = append(got, "-")
			} else {
				got = append(got, string(c))
			}
		}
		if out.Reject != nil {
			got = append(got, out.Reject.Name+": "+out.Reject.Message)
		}
		if s := strings.Join(got, " "); s != want {
			t.Errorf("%s: %s, want %s", text, s, want)
		}
	}
}
