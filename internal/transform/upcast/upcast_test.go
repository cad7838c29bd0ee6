package upcast_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/waybill-data/waybill"
	"github.com/waybill-data/waybill/internal/contract"
	"github.com/waybill-data/waybill/internal/transform/expr"
	"github.com/waybill-data/waybill/internal/transform/upcast"
)

func move(from, to string) contract.UpcastStep {
	return contract.UpcastStep{Op: contract.OpMove, From: []string{from}, To: []string{to}}
}

func rename(from, to string) contract.UpcastStep {
	return contract.UpcastStep{Op: contract.OpRename, From: []string{from}, To: []string{to}}
}

func split(from, by string, to ...string) contract.UpcastStep {
	return contract.UpcastStep{Op: contract.OpSplit, From: []string{from}, By: by, To: to}
}

func merge(by, to string, from ...string) contract.UpcastStep {
	return contract.UpcastStep{Op: contract.OpMerge, From: from, By: by, To: []string{to}}
}

func literal(op contract.UpcastOp, path, value string) contract.UpcastStep {
	return contract.UpcastStep{Op: op, To: []string{path}, Value: value}
}

func compute(path, expr string) contract.UpcastStep {
	return contract.UpcastStep{Op: contract.OpCompute, To: []string{path}, Expr: expr}
}

// chain is what versions 1 to 2 by these steps.
func chain(steps ...contract.UpcastStep) contract.Versions {
	return contract.Versions{From: "v", Current: "2", Unknown: contract.UnknownDeadLetter, Upcast: []contract.Upcast{{From: "1", To: "2", Steps: steps}}}
}

func upcaster(t testing.TB, v contract.Versions) *upcast.Upcaster {
	t.Helper()
	u, err := upcast.New(v)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

var outcomes = [...]string{"current", "assumed", "", "unknown", "failed"}

// apply is the text that came of it, or the outcome and why.
func apply(t testing.TB, u *upcast.Upcaster, text string, headers ...waybill.Header) string {
	t.Helper()
	r := &waybill.Record{Value: []byte(text), Headers: headers}
	var seen expr.Record
	if !seen.Set(r, r.Value) {
		t.Fatalf("no object: %s", text)
	}
	o, out, p := u.Apply(&seen, r)
	if string(r.Value) != text {
		t.Errorf("the record was changed: %s", r.Value)
	}
	switch {
	case o == upcast.Upcast:
		return string(out)
	case p != nil:
		return strings.TrimSpace(fmt.Sprintf("%s %s %s: %s", outcomes[o], p.Step, p.Path, p.Message))
	}
	return outcomes[o]
}

func TestApply_Steps(t *testing.T) {
	for _, tt := range []struct {
		step       contract.UpcastStep
		text, want string
	}{
		// What no step touches stays as it is, to the letter, in its place.
		{rename("a", "b"), `{ "x" : 1.50 , "a": [1, 2], "v":1, "y":"\u00e9"}`, `{"x":1.50,"v":2,"y":"\u00e9","b":[1, 2]}`},
		{rename("a", "b"), `{"v":1}`, `{"v":2}`}, {rename("a", "b"), `{"v":"1","a":null}`, `{"v":"2","b":null}`},
		{rename("a", "b"), `{"v":1,"a":1,"b":2}`, "failed upcast 1 -> 2, step 1: rename b: there is a value already"},
		{rename("a", "b"), `{"v":1,"a":1,"b":null}`, "failed upcast 1 -> 2, step 1: rename b: there is a value already"},
		{rename("a", "b"), `{"v":1,"a":1,"\u0061":2}`, "failed upcast 1 -> 2, step 1: rename a: an object on the way names a member twice"},
		{rename("o.a", "o.b"), `{"v":1,"o":{"a":1,"c":2}}`, `{"v":2,"o":{"c":2,"b":1}}`}, {rename("o.a", "o.b"), `{"v":1,"o":[1]}`, `{"v":2,"o":[1]}`},
		{rename("`a.b`", "c"), `{"v":1,"a.b":1,"a":{"b":2}}`, `{"v":2,"a":{"b":2},"c":1}`},
		{move("a.b", "c.d.e"), `{"v":1,"a":{"b":{"x":[ ]},"z":1}}`, `{"v":2,"a":{"z":1},"c":{"d":{"e":{"x":[ ]}}}}`},
		{move("a.b", "a"), `{"v":1,"a":{"b":1,"z":2}}`, "failed upcast 1 -> 2, step 1: move a: there is a value already"},
		{move("a", "a.b"), `{"v":1,"a":7}`, `{"v":2,"a":{"b":7}}`}, {move("a.b", "c"), `{"v":1,"a":{"b":1}}`, `{"v":2,"a":{},"c":1}`},
		{move("a", "b.c"), `{"v":1,"a":1,"b":"x"}`, "failed upcast 1 -> 2, step 1: move b.c: a value on the way is no object"},
		{move("a", "b.c"), `{"v":1,"a":1,"b":null}`, "failed upcast 1 -> 2, step 1: move b.c: a value on the way is no object"},
		{move("l[1].a", "b"), `{"v":1,"l":[0,{"a":1,"c":2},3]}`, `{"v":2,"l":[0,{"c":2},3],"b":1}`}, {move("l[9].a", "b"), `{"v":1,"l":[]}`, `{"v":2,"l":[]}`},
		{move("a", "l[0].b"), `{"v":1,"a":1,"l":[{"x":2}]}`, `{"v":2,"l":[{"x":2,"b":1}]}`},
		{move("a", "l[1].b"), `{"v":1,"a":1,"l":[{"x":2}]}`, "failed upcast 1 -> 2, step 1: move l[1].b: an array on the way has no such element"},
		{split("n", " ", "n", "m"), `{"v":1,"n":"Ada von Lovelace"}`, `{"v":2,"n":"Ada","m":"von Lovelace"}`}, {split("n", " ", "a", "b"), `{"v":1,"n":"Ada"}`, `{"v":2,"a":"Ada"}`},
		{split("n", ",", "a", "b"), `{"v":1,"n":",\""}`, `{"v":2,"a":"","b":"\""}`}, {split("n", ",", "a", "b"), `{"v":1}`, `{"v":2}`},
		{split("n", ",", "a", "b"), `{"v":1,"n":5}`, "failed upcast 1 -> 2, step 1: split n: the value is no text"},
		{split("n", ",", "a", "b"), `{"v":1,"n":"1,2","b":1}`, "failed upcast 1 -> 2, step 1: split b: there is a value already"},
		{merge("-", "c", "a", "b"), `{"v":1,"a":"x","b":"y"}`, `{"v":2,"c":"x-y"}`}, {merge(", ", "a", "a", "b"), `{"v":1,"a":"x","b":"y"}`, `{"v":2,"a":"x, y"}`},
		{merge("-", "c", "a", "b"), `{"v":1,"a":"x"}`, `{"v":2,"a":"x"}`}, {merge("-", "c", "a", "b"), `{"v":1,"b":7}`, `{"v":2,"b":7}`},
		{merge("-", "c", "a", "b"), `{"v":1,"a":"x","b":null}`, "failed upcast 1 -> 2, step 1: merge b: the value is no text"},
		{merge("-", "c", "a", "b"), `{"v":1,"a":"x","b":"y","c":1}`, "failed upcast 1 -> 2, step 1: merge c: there is a value already"},
		{literal(contract.OpDefault, "a", `{"x":1.0}`), `{"v":1}`, `{"v":2,"a":{"x":1.0}}`}, {literal(contract.OpDefault, "a", `1`), `{"v":1,"a":null}`, `{"v":2,"a":null}`},
		{literal(contract.OpDefault, "a.b", `1`), `{"v":1,"a":7}`, "failed upcast 1 -> 2, step 1: default a.b: a value on the way is no object"},
		{literal(contract.OpConstant, "a.b", `"c"`), `{"v":1,"a":{"b":[1]}}`, `{"v":2,"a":{"b":"c"}}`}, {literal(contract.OpConstant, "a.b", `1`), `{"v":1}`, `{"v":2,"a":{"b":1}}`},
		{compute("t", "event.a + event.b"), `{"v":1,"a":1,"b":0.5}`, `{"v":2,"a":1,"b":0.5,"t":1.5}`}, {compute("a", "[event.a]"), `{"v":1,"a":1}`, `{"v":2,"a":[1]}`},
		{compute("t", "event.?a"), `{"v":1,"t":3}`, `{"v":2,"t":3}`}, {compute("t", "event.v"), `{"v":1}`, `{"v":2,"t":1}`},
		{compute("t", "event.a"), `{"v":1}`, "failed upcast 1 -> 2, step 1: compute : no such field: a"},
	} {
		if got := apply(t, upcaster(t, chain(tt.step)), tt.text); got != tt.want {
			t.Errorf("%+v of %s\n got %s\nwant %s", tt.step, tt.text, got, tt.want)
		}
	}
}

func TestApply_Versions(t *testing.T) {
	inEvent := contract.Versions{From: "meta.v", Current: "v3", Missing: "v1", Unknown: contract.UnknownDeadLetter, Upcast: []contract.Upcast{
		{From: "2", To: "v3", Steps: []contract.UpcastStep{rename("b", "c")}}, {From: "v1", To: "2", Steps: []contract.UpcastStep{rename("a", "b")}},
	}}
	assumed := inEvent
	assumed.Missing, assumed.Unknown = "", contract.UnknownCurrent
	inHeader := chain(rename("a", "b"))
	inHeader.From, inHeader.Header = "", "version"
	one, other := waybill.Header{Key: "version", Value: []byte("1")}, waybill.Header{Key: "version", Value: []byte("2")}
	for _, tt := range []struct {
		v          contract.Versions
		text, want string
		headers    []waybill.Header
	}{
		{inEvent, ` {"meta":{"v":"v3"},"a":1}`, "current", nil}, {inEvent, `{"meta":{"v":"v1"},"a":1}`, `{"meta":{"v":"v3"},"c":1}`, nil},
		{inEvent, `{"meta":{"v":2},"b":1,"a":2}`, `{"meta":{"v":"v3"},"a":2,"c":1}`, nil}, {inEvent, `{"a":1}`, `{"c":1}`, nil},
		{inEvent, `{"meta":{"v":null},"a":1}`, `{"meta":{"v":null},"c":1}`, nil}, {inEvent, `{"meta":{"\u0076":"v\u0031"},"a":1}`, `{"meta":{"v":"v3"},"c":1}`, nil},
		{inEvent, `{"meta":{"v":"v9"}}`, "unknown version meta.v: the event's version is none of 2, v1, v3", nil},
		{inEvent, `{"meta":{"v":{}}}`, "unknown version meta.v: the event's version is none of 2, v1, v3", nil},
		{inEvent, `{"meta":{"v":2.0}}`, "unknown version meta.v: the event's version is none of 2, v1, v3", nil},
		{inEvent, `{"meta":{"v":"v1","v":"v3"},"a":1}`, "failed version meta.v: an object on the way names a member twice", nil},
		{assumed, `{"meta":{"v":"v9"}}`, "assumed", nil}, {assumed, `{}`, "assumed", nil}, {assumed, `{"meta":{"v":"v3"}}`, "current", nil},
		{inHeader, `{"a":1}`, `{"b":1}`, []waybill.Header{{Key: "x"}, one, other}}, {inHeader, `{"a":1}`, "current", []waybill.Header{other, one}},
		{inHeader, `{"a":1}`, "unknown version : the event's version is none of 1, 2", nil},
		{inHeader, `{"a":1}`, "unknown version : the event's version is none of 1, 2", []waybill.Header{{Key: "version"}}},
	} {
		if got := apply(t, upcaster(t, tt.v), tt.text, tt.headers...); got != tt.want {
			t.Errorf("%s %v\n got %s\nwant %s", tt.text, tt.headers, got, tt.want)
		}
	}
}

func TestNew_Refuses(t *testing.T) {
	both := chain(move("a", "b"))
	both.Header = "h"
	circle := chain(move("a", "b"))
	circle.Upcast = append(circle.Upcast, contract.Upcast{From: "4", To: "4"})
	twice := chain(move("a", "b"))
	twice.Upcast = append(twice.Upcast, twice.Upcast[0])
	element := chain(move("a", "b"))
	element.From = "a[0]"
	for want, v := range map[string]contract.Versions{
		"has no place, or two": both, "version 4 never becomes": circle, "two ways lead away from version 1": twice, "a[0] does not lead to one member": element,
		"step 1: move: from: a[*].b does not lead": chain(move("a[*].b", "b")), "step 1: move: to: a name in the path": chain(move("b", "")), "there is no such step": chain(contract.UpcastStep{Op: "swap"}),
		"by is empty": chain(split("a", "", "b", "c")), "to: 1 paths": chain(split("a", "-", "b")), "no JSON": chain(literal(contract.OpDefault, "a", "{")),
		"step 1: compute: 1:1: undeclared reference to 'evnt'": chain(compute("a", "evnt")),
	} {
		if _, err := upcast.New(v); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}

func BenchmarkApply(b *testing.B) {
	u := upcaster(b, chain(rename("usage.prompt_tokens", "usage.input_tokens"), move("model", "request.model"), literal(contract.OpDefault, "region", `"eu"`)))
	for _, version := range []string{"2", "1"} {
		b.Run("version="+version, func(b *testing.B) {
			text := `{"v":` + version + `,"model":"gpt-6","usage":{"prompt_tokens":1234,"output_tokens":567},"messages":[{"role":"system","content":"` + strings.Repeat("word ", 80) + `"}]}`
			r := &waybill.Record{Value: []byte(text)}
			var seen expr.Record
			b.SetBytes(int64(len(text)))
			b.ReportAllocs()
			for b.Loop() {
				seen.Set(r, r.Value)
				u.Apply(&seen, r)
			}
		})
	}
}
