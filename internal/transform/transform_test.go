package transform_test

import (
	"errors"
	"strconv"
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

func transformer(t testing.TB, p *contract.Plan) *transform.Transformer {
	t.Helper()
	tr, err := transform.New(p, nil)
	if err != nil {
		t.Fatal(err)
	}
	return tr
}

func event(text string) *waybill.Record {
	return &waybill.Record{Topic: "t", Offset: 41, Time: 1764046800123, Value: []byte(text)}
}

func TestNew_NothingToDo(t *testing.T) {
	if tr := transformer(t, plan(t, contract.Transform{}, contract.Column{Name: "a"})); tr != nil {
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
	tr := transformer(t, plan(t, contract.Transform{Filter: `event.status != "debug"`}, contract.Column{Name: "status"}))
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
		contract.Column{Name: "b", Expr: "event.?b"}, contract.Column{Name: "c", Expr: "kafka.timestamp"}, contract.Column{Name: "d", Expr: "event.n / event.m"}))
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

// routed is a plan of two tables, and perhaps a third one for the rest.
func routed(t *testing.T, unrouted contract.Unrouted, rest bool) *contract.Plan {
	t.Helper()
	filter := contract.Transform{Filter: "!has(event.skip)"}
	routes := []contract.Route{
		{Name: "calls", When: `event.kind == "call"`, Plan: plan(t, filter, contract.Column{Name: "twice", Expr: "event.n * 2"})},
		{Name: "tools", When: `event.kind.startsWith("tool")`, Plan: plan(t, filter, contract.Column{Name: "n"}, contract.Column{Name: "a", Expr: "event.a"}, contract.Column{Name: "b", Expr: "event.?b"})},
	}
	if rest {
		routes = append(routes, contract.Route{Name: "rest", Plan: plan(t, filter, contract.Column{Name: "n"})})
	}
	p, err := contract.Join(routes, unrouted)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestApply_Routes(t *testing.T) {
	for _, tt := range []struct {
		unrouted contract.Unrouted
		rest     bool
		text     string
		want     string
	}{
		{contract.UnroutedDeadLetter, false, `{"kind":"call","n":3}`, `0 {"kind":"call","n":3} 6`},
		{contract.UnroutedDeadLetter, false, `{"kind":"tool","a":1,"b":2}`, `1 {"kind":"tool","a":1,"b":2} 1 2`},
		{contract.UnroutedDeadLetter, false, `{"kind":"toolbox","n":3}`, `1 expression_error route tools, column a: no such field: a (a)`},
		{contract.UnroutedDeadLetter, false, `{"kind":"call"}`, `0 expression_error route calls, column twice: no such field: n (twice)`},
		{contract.UnroutedDeadLetter, false, `{"n":1}`, `0 expression_error route calls: no such field: kind`},
		{contract.UnroutedDeadLetter, false, `{"kind":1}`, `1 expression_error route tools: an operator or a function does not take values of these types: look at them with has() and type(), or convert`},
		{contract.UnroutedDeadLetter, false, `{"kind":"x"}`, `1 no_route routes: no route takes the event`},
		{contract.UnroutedDiscard, false, `{"kind":"x"}`, `1 filtered`},
		{"", true, `{"kind":"x"}`, `2 {"kind":"x"}`},
		{"", true, `{"kind":"call","n":1}`, `0 {"kind":"call","n":1} 2`},
		{"", true, `{"kind":"call","skip":1}`, `0 filtered`},
		{"", true, `{"kind":"call"`, `0 {"kind":"call"`},
	} {
		out := transformer(t, routed(t, tt.unrouted, tt.rest)).Apply(event(tt.text))
		if got := strconv.Itoa(out.Route) + " " + described(out); got != tt.want {
			t.Errorf("%s\n got %s\nwant %s", tt.text, got, tt.want)
		}
	}
}

func TestNew_RefusesRoutesThatDoNotCompile(t *testing.T) {
	for want, r := range map[string]contract.Route{
		"the condition of route calls cannot be compiled": {Name: "calls", When: "event.kind =", Plan: plan(t, contract.Transform{}, contract.Column{Name: "n"})},
		"gives int, not true or false":                    {Name: "calls", When: "1", Plan: plan(t, contract.Transform{}, contract.Column{Name: "n"})},
		"the expression of column c cannot be compiled":   {Name: "calls", Plan: plan(t, contract.Transform{}, contract.Column{Name: "c", Expr: "evnt"})},
	} {
		p, err := contract.Join([]contract.Route{r}, "")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := transform.New(p, nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}

func TestApply_UpcastsBeforeAllElse(t *testing.T) {
	tr := transformer(t, plan(t, contract.Transform{
		Filter: `event.usage.tokens > 1`,
		Version: &contract.Versions{From: "v", Current: "2", Unknown: contract.UnknownDeadLetter, Upcast: []contract.Upcast{{From: "1", To: "2", Steps: []contract.UpcastStep{
			{Op: contract.OpMove, From: []string{"tokens"}, To: []string{"usage.tokens"}},
			{Op: contract.OpCompute, To: []string{"half"}, Expr: "event.usage.tokens / event.by"},
		}}}},
	}, contract.Column{Name: "twice", Expr: "event.usage.tokens * 2"}))
	for _, tt := range [][2]string{
		{`{"v":2,"usage":{"tokens":5}}`, `{"v":2,"usage":{"tokens":5}} 10`}, {`{"v":1,"tokens":6,"by":3}`, `upcast {"v":2,"by":3,"usage":{"tokens":6},"half":2} 12`},
		{`{"v":1,"tokens":1,"by":3}`, `upcast filtered`}, {`{"v":2,"usage":{"tokens":1}}`, `filtered`},
		{`{"v":1,"tokens":6,"by":0}`, `expression_error upcast 1 -> 2, step 2: compute: division by zero`},
		{`{"v":1,"tokens":6,"usage":3}`, `upcast_conflict upcast 1 -> 2, step 1: move: a value on the way is no object (usage.tokens)`},
		{`{"v":7}`, `unknown_version version: the event's version is none of 1, 2 (v)`}, {`{"v":7`, `{"v":7`},
	} {
		if got := described(tr.Apply(event(tt[0]))); got != tt[1] {
			t.Errorf("%s\n got %s\nwant %s", tt[0], got, tt[1])
		}
	}
}

// described is all of a result in words.
func described(out transform.Result) string {
	if r := out.Reject; r != nil {
		s := string(r.Code) + " " + r.Name + ": " + r.Message
		if r.Path != "" {
			s += " (" + r.Path + ")"
		}
		return s
	}
	var words []string
	if out.Upcast {
		words = append(words, "upcast")
	}
	if out.Assumed {
		words = append(words, "assumed")
	}
	if out.Filtered {
		return strings.Join(append(words, "filtered"), " ")
	}
	words = append(words, string(out.Text))
	for _, c := range out.Computed {
		words = append(words, string(c))
	}
	return strings.Join(words, " ")
}

func TestApply_UnknownVersionAsCurrent(t *testing.T) {
	tr := transformer(t, plan(t, contract.Transform{Version: &contract.Versions{Header: "v", Current: "2", Unknown: contract.UnknownCurrent}}))
	r := event(`{"a": 1}`)
	if got := described(tr.Apply(r)); got != `assumed {"a": 1}` {
		t.Error(got)
	}
	r.Headers = []waybill.Header{{Key: "v", Value: []byte("2")}}
	if out := tr.Apply(r); described(out) != `{"a": 1}` || &out.Text[0] != &r.Value[0] {
		t.Errorf("an event of the current version was touched: %+v", out)
	}
}

func TestNew_SecretOfAnotherPlan(t *testing.T) {
	p := plan(t, contract.Transform{Redact: &contract.Redact{SecretID: contract.SecretID([]byte("0123456789abcdef")), Rules: []contract.RedactRule{{Path: "a", Do: contract.RedactHash}}}})
	_, err := transform.New(p, []byte("fedcba9876543210"))
	var e *waybill.Error
	if !errors.As(err, &e) || e.Class != waybill.ClassConfig || !strings.Contains(err.Error(), "secret is not the one") {
		t.Errorf("got %v", err)
	}
}
