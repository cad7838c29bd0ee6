package expr_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/waybill-data/waybill"
	"github.com/waybill-data/waybill/internal/transform/expr"
)

// expressions touch every operation of the values of events.
var expressions = []string{
	`event`, `event.a`, `event.a.b`, `event["a"]`, `event.a[0]`, `event.?a.?b`, `has(event.a.b.c)`, `size(event)`, `size(event.a)`, `event.map(k, event[k])`,
	`event.filter(k, k != "a")`, `event.a.map(x, x)`, `event.a.exists(x, x == event.b)`, `event.a in event`, `event.b in event.a`, `event.a == event.b`,
	`event.a + event.b`, `event.a - event.b`, `event.a * event.b`, `event.a / event.b`, `event.a % event.b`, `event.a < event.b`, `-event.a`, `!event.a`,
	`event.a + 0.5`, `event.a * 3u`, `int(event.a)`, `uint(event.a)`, `double(event.a)`, `string(event.a)`, `type(event.a) == int`, `[event.a, event.b]`,
	`{"z": event.a, "y": event.b, "x": [1, 2u, 0.5]}`, `{"z": 1, "y": 2, "x": 3, "w": 4}.map(k, k)`, `{event.a: 1, event.b: 2}.map(k, k)`,
	`event.a ? 1 : 2`, `event.a && event.b`, `event.a || event.b`, `event.a.size() > 3 ? event.a.substring(1) : "x"`, `math.greatest(event.a, event.b)`,
	`event.a.join("-")`, `event.a.matches(event.b)`, `timestamp(event.a)`, `duration(event.a)`, `bytes(event.a)`, `event.a.contains(event.b)`,
	`sets.contains(event.a, event.b)`, `"%s %d".format([event.a, event.b])`, `kafka.headers`, `kafka.headers[event.a]`, `kafka.timestamp - duration("1s")`,
}

func compileAll(t testing.TB) []*expr.Expr {
	t.Helper()
	out := make([]*expr.Expr, len(expressions))
	for i, text := range expressions {
		e, err := expr.Compile(text)
		if err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		out[i] = e
	}
	return out
}

// outcome is all that is visible of an evaluation.
func outcome(e *expr.Expr, r *expr.Record) string {
	out, ok, err := e.AppendJSON(nil, r)
	return fmt.Sprint(string(out), ok, err)
}

// FuzzEval: whatever the event, no expression panics, gives something else the second time, or text that is no JSON; and
// what is taken for an object is one for encoding/json, too.
func FuzzEval(f *testing.F) {
	for _, seed := range []string{event, call, `{"a":[1,2.5,"x",null,{"b":1}],"b":1}`, `{"a":{"b":{"c":1}},"b":{"c":1}}`, `{"a":"x","b":"y"}`, `{"a":18446744073709551615,"b":-1}`,
		`{"a":9007199254740993,"b":1e308}`, `{"a":true,"b":false}`, `{"a":"(","b":"("}`, `{"a":"2026-01-01T00:00:00Z","b":"1h"}`, `{"a":"\ud83d\ude00","a":1}`, `{"a":-0,"b":0}`} {
		f.Add([]byte(seed))
	}
	all := compileAll(f)
	f.Fuzz(func(t *testing.T, text []byte) {
		record := &waybill.Record{Topic: "t", Headers: headers}
		var r, again expr.Record
		isObject := r.Set(record, text)
		if want := json.Valid(text) && strings.HasPrefix(strings.TrimLeft(string(text), " \t\r\n"), "{"); isObject && !want {
			t.Fatalf("%q is no object", text)
		}
		if !isObject {
			return
		}
		again.Set(record, append([]byte(nil), text...))
		for i, e := range all {
			got := outcome(e, &r)
			if second := outcome(e, &again); second != got {
				t.Fatalf("%s of %s gives %s, then %s", expressions[i], text, got, second)
			}
			if strings.Contains(got, "internal error") {
				t.Fatalf("%s of %s: %s", expressions[i], text, got)
			}
			if out, ok, _ := e.AppendJSON(nil, &r); ok && !json.Valid(out) {
				t.Fatalf("%s of %s gives %q, which is no JSON", expressions[i], text, out)
			}
		}
	})
}

// An event's number is given back as it is, or not at all.
func TestEval_NumbersAreExact(t *testing.T) {
	e, err := expr.Compile(`event.n`)
	if err != nil {
		t.Fatal(err)
	}
	taken := 0
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.StringMatching(`-?(0|[1-9][0-9]{0,22})`).Draw(t, "n")
		var r expr.Record
		if !r.Set(&waybill.Record{}, []byte(`{"n":`+n+`}`)) {
			t.Fatalf("%s is no number", n)
		}
		out, ok, err := e.AppendJSON(nil, &r)
		if err == nil {
			taken++
		}
		if err == nil && (!ok || string(out) != n && n != "-0") {
			t.Fatalf("%s became %s", n, out)
		}
	})
	if taken < 20 {
		t.Errorf("only %d numbers were taken", taken)
	}
}

// Evaluation of a map that an expression writes goes through it in one order.
func TestEval_MapsHaveAnOrder(t *testing.T) {
	r := record(t, `{"a":"q"}`)
	for range 200 {
		if got := eval(t, `{"d": 1, "b": 2, "c": 3, event.a: 4, "e": 5, "f": 6}.map(k, k)`, r); got != `["b","c","d","e","f","q"]` {
			t.Fatal(got)
		}
	}
}
