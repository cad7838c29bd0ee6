package expr_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/waybill-data/waybill"
	"github.com/waybill-data/waybill/internal/column"
	"github.com/waybill-data/waybill/internal/transform/expr"
)

const event = `{"id":"a1","n":7,"big":9223372036854775808,"huge":123456789012345678901234567890,"f":0.25,"far":1e400,"t":true,"nil":null,
"usage":{"in":12,"out":3,"cost":1.50},"tags":["x","y\u00e9"],"items":[{"p":1},{"p":2.5}],"when":"2026-11-25T05:00:00Z","twice":1,"twice":2,
"e\u0073c":"q\"\n","deep":{"a":{"b":[1,[2]]}},"odd":9007199254740993}`

var headers = []waybill.Header{{Key: "region", Value: []byte("eu")}, {Key: "region", Value: []byte("us")}, {Key: "raw", Value: []byte{0xff}}, {Key: "none"}}

func record(t testing.TB, text string) *expr.Record {
	t.Helper()
	r := &expr.Record{}
	if !r.Set(&waybill.Record{Topic: "t", Partition: 3, Offset: 41, Time: 1764046800123, Key: []byte("k"), Headers: headers}, []byte(text)) {
		t.Fatalf("not an object: %s", text)
	}
	return r
}

// eval is the result's JSON, "none", or "error: ...".
func eval(t testing.TB, text string, r *expr.Record) string {
	t.Helper()
	e, err := expr.Compile(text)
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	out, ok, err := e.AppendJSON(nil, r)
	switch {
	case err != nil:
		return "error: " + err.Error()
	case !ok:
		return "none"
	}
	return string(out)
}

func TestEval(t *testing.T) {
	r := record(t, event)
	for _, tt := range [][2]string{
		// What an event holds.
		{`event.id`, `"a1"`}, {`event.n`, `7`}, {`event.f`, `0.25`}, {`event.t`, `true`}, {`event.nil`, `null`},
		{`event.usage`, `{"in":12,"out":3,"cost":1.50}`}, {`event.tags`, `["x","y\u00e9"]`}, {`event.tags[1]`, `"yé"`},
		{`event["n"]`, `7`}, {`event.esc`, `"q\"\n"`}, {`event.items[1].p`, `2.5`}, {`event.deep.a.b[1][0]`, `2`},
		{`event.usage == {"out": 3, "cost": 1.5, "in": 12}`, `true`}, {`event.tags == ["x", "yé"]`, `true`},
		{`event.usage.map(k, k)`, `["in","out","cost"]`}, {`size(event.usage) + size(event.tags)`, `5`}, {`"in" in event.usage`, `true`},
		{`"x" in event.tags`, `true`}, {`event.items.map(i, i.p)`, `[1,2.5]`}, {`event.tags + ["z"]`, `["x","yé","z"]`},
		{`event.items.filter(i, i.p > 1)[0].p`, `2.5`}, {`type(event.usage) == map && type(event.tags) == list`, `true`},
		{`event.id in ["a1", "a2"]`, `true`}, {`event.n in [1, 7]`, `true`}, {`event.tags.join("-")`, `"x-yé"`},
		// Integers are exact.
		{`event.big`, `9223372036854775808`}, {`event.odd`, `9007199254740993`}, {`event.big - 1`, `9223372036854775807`},
		{`event.big + event.big`, `error: integer overflow`}, {`event.big - event.n`, `9223372036854775801`}, {`event.big / 0`, `error: division by zero`},
		{`event.n / 0`, `error: division by zero`}, {`event.n % 0`, `error: division by zero`}, {`event.n / 2`, `3`}, {`-event.n`, `-7`},
		{`event.huge`, `error: an integer of the event is beyond 64 bits, an expression has no exact value for it`},
		{`has(event.huge)`, `true`}, {`size(event.deep.a.b)`, `2`},
		{`event.far`, `error: a number of the event is beyond what a double holds`},
		{`9223372036854775807 + event.n`, `error: integer overflow`},
		// Arithmetic of two types.
		{"event.usage.`in` * 0.5", `6`}, {`event.usage.cost * 2`, `3`}, {"event.usage.`in` * event.usage.cost", `18`}, {`2u * event.f`, `0.5`},
		{"event.usage.`in` + event.usage.cost", `13.5`}, {"event.usage.`in` - event.usage.cost", `10.5`}, {"event.usage.`in` / event.usage.cost", `8`},
		{`1 * 0.5`, `0.5`}, {`size(event.tags) * 0.5`, `1`}, {`1u + 2`, `3`}, {`1 - 2u`, `-1`}, {`event.n > 6.5 && event.big > event.n`, `true`},
		{`event.odd * 1.0`, `error: arithmetic of an integer and a double, and the integer is too large to be one exactly: convert the double with int()`},
		{`event.id + 1`, `error: an operator or a function does not take values of these types: look at them with has() and type(), or convert`},
		{`1 * event.t`, `error: an operator or a function does not take values of these types: look at them with has() and type(), or convert`},
		{`event.t * 1`, `error: no such overload: numbers take part in arithmetic, texts do not: convert with int() or double()`},
		{`0.1 + 0.2`, `0.30000000000000004`}, {`1.0`, `1`}, {`1e300 * 1e10`, `error: the result is not a finite number, which JSON does not have`},
		{`1e300 * 1e-10`, `1e+290`}, {`0.0000001`, `1e-07`}, {`int(event.f * 100)`, `25`}, {`math.greatest(event.n, event.f)`, `7`},
		// Missing fields.
		{`event.nope`, `error: no such field: nope`}, {`event.usage.nope`, `error: no such field: nope`}, {`event[event.id]`, `error: no such field`},
		{"has(event.usage.`in`)", `true`}, {`has(event.usage.nope)`, `false`}, {`has(event.nope.a.b)`, `false`}, {`has(event.id.a.b)`, `false`},
		{`has(event.nil)`, `true`}, {`has(event.nil.a)`, `false`}, {`event.tags[7]`, `error: a list has no element of that index`},
		{`event.tags[event.n]`, `error: a list has no element of that index`},
		{"event.?usage.?`in`.orValue(0)", `12`}, {"event.?nope.?`in`.orValue(0)", `0`}, {`event.?nope`, `none`}, {`event.?n`, `7`}, {`optional.none()`, `none`},
		{`has(event.nope) ? event.nope : "-"`, `"-"`}, {`event.nope == 1 || event.n == 7`, `true`},
		{`event.twice`, `error: an object of the event names this member twice`}, {`has(event.twice)`, `true`}, {`has(event.twice.a)`, `error: an object of the event names this member twice`},
		// The record.
		{`kafka.topic + "/" + string(kafka.partition) + "@" + string(kafka.offset)`, `"t/3@41"`}, {`kafka.timestamp`, `"2025-11-25T05:00:00.123Z"`},
		{`kafka.key`, `"k"`}, {`kafka.headers.region`, `"eu"`}, {`kafka.headers["region"]`, `"eu"`}, {`has(kafka.headers.region)`, `true`},
		{`has(kafka.headers.zone)`, `false`}, {`kafka.headers.none == null`, `true`}, {`"raw" in kafka.headers`, `true`}, {`size(kafka.headers)`, `3`},
		{`kafka.headers.raw`, `error: the header's value is not UTF-8`}, {`kafka.headers.map(k, k)`, `["region","raw","none"]`},
		{`kafka.headers.zone`, `error: no such field: zone`},
		// Times, bytes, maps.
		{`timestamp(event.when)`, `"2026-11-25T05:00:00Z"`}, {`timestamp(event.when) - kafka.timestamp`, `"31535999.877s"`}, {`b"ab"`, `"YWI="`},
		{`base64.encode(bytes(event.id))`, `"YTE="`}, {`{"b": 1, "a": event.n, "c": [null]}`, `{"a":7,"b":1,"c":[null]}`},
		{`{"b": 1, "a": 2, "d": 3, "c": 4}.map(k, k)`, `["a","b","c","d"]`}, {`{1: true}`, `{"1":true}`}, {`{1.5: true}`, `error: the result is a map with a key that is no text, number or bool`},
		{`timestamp(event.id)`, `error: a conversion or a function failed on the value it was given`}, {`type(1)`, `error: the result is of a type that JSON does not have`},
		{`int(event.id)`, `error: a conversion or a function failed on the value it was given`}, {`cel.bind(x, event.n, x * x)`, `49`},
	} {
		if got := eval(t, tt[0], r); got != tt[1] {
			t.Errorf("%s\n got %s\nwant %s", tt[0], got, tt[1])
		}
	}
}

func TestEval_RecordWithoutKey(t *testing.T) {
	r := &expr.Record{}
	r.Set(&waybill.Record{}, []byte("{}"))
	if got := eval(t, `kafka.key == null`, r); got != "true" {
		t.Error(got)
	}
	r.Set(&waybill.Record{Key: []byte{0xff}}, []byte("{}"))
	if got := eval(t, `kafka.key`, r); got != "error: the record's key is not UTF-8" {
		t.Error(got)
	}
}

func TestCompile_Problem(t *testing.T) {
	for _, tt := range []struct{ text, want string }{
		{`event.n ==`, `1:11: mismatched input '<EOF>'`},
		{"event.n\n  == evnt.n", `2:6: undeclared reference to 'evnt'`},
		{`kafka.offst > 1`, `1:6: undeclared reference to 'kafka.offst' (did you mean 'kafka.offset'?)`},
		{`"a" * 2`, `1:5: found no matching overload for '_*_' applied to '(string, int)'`},
		{`kafka.topic + 1`, `1:13: found no matching overload for '_+_'`},
		{`now() > kafka.timestamp`, `1:4: undeclared reference to 'now'`},
		{`has(event)`, `1:5: has() takes a field`},
		{`math.random()`, `1:1: undeclared reference to 'math'; 1:12: undeclared reference to 'random'`},
		{`event.a & 1`, `1:9: token recognition error`},
		{``, `1:1: mismatched input '<EOF>'`},
	} {
		_, err := expr.Compile(tt.text)
		var ps expr.Problems
		if !errors.As(err, &ps) || !strings.HasPrefix(ps.Error(), tt.want) {
			t.Errorf("%q: got %v, want %s", tt.text, err, tt.want)
		}
	}
}

func TestCompile_HintForWordsOfCEL(t *testing.T) {
	_, err := expr.Compile("event.usage.in + 1")
	var ps expr.Problems
	if !errors.As(err, &ps) || !strings.Contains(ps[0].Hint, "event.usage.`in`") {
		t.Errorf("%v", err)
	}
}

func TestCompileBool(t *testing.T) {
	for text, want := range map[string]string{
		`event.n > 1`: "", `event.t`: "", `has(event.n)`: "", `event.?t.orValue(false)`: "",
		`kafka.topic`: "1:1: the expression gives string, not true or false", `1`: "1:1: the expression gives int, not true or false", `[true]`: "gives list(bool)",
		`event.?t`: "gives optional_type(dyn)",
	} {
		_, err := expr.CompileBool(text)
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: got %v, want %q", text, err, want)
		}
	}
	e, err := expr.CompileBool(`event.n`)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := e.Bool(record(t, event)); err == nil || err.Error() != "the result is not true or false" {
		t.Errorf("a filter that gives a number: %v", err)
	}
}

func TestGives(t *testing.T) {
	for text, want := range map[string]column.Kinds{
		`1`: column.TakesNumber, `1u`: column.TakesNumber, `1.5`: column.TakesNumber, `"a"`: column.TakesString, `b"a"`: column.TakesString,
		`kafka.timestamp`: column.TakesString, `duration("1s")`: column.TakesString, `[1]`: column.TakesArray, `{"a":1}`: column.TakesObject,
		`null`: 0, `true`: column.TakesBool, `optional.of(1)`: column.TakesNumber, `kafka.key`: column.TakesString,
		`event.n`: column.TakesString | column.TakesNumber | column.TakesBool | column.TakesArray | column.TakesObject,
	} {
		e, err := expr.Compile(text)
		if err != nil {
			t.Errorf("%s: %v", text, err)
		} else if got := e.Gives(); got != want {
			t.Errorf("%s: %b, want %b", text, got, want)
		}
	}
}

func TestEval_CostLimit(t *testing.T) {
	r := record(t, `{"l":[`+strings.Repeat("1,", 999)+`1]}`)
	got := eval(t, `event.l.all(a, event.l.all(b, event.l.all(c, a + b + c > 0)))`, r)
	if got != "error: the evaluation went beyond its cost limit of 1000000" {
		t.Error(got)
	}
}

// An expression that is evaluated without counting costs next to nothing, however large the event's values are.
func TestEval_WhatIsNotCountedIsCheap(t *testing.T) {
	large, list := strings.Repeat("x", 100*expr.BoundedCost), "["+strings.Repeat("1,", 2*expr.BoundedCost)+"1]"
	var members strings.Builder
	for i := range 2 * expr.BoundedCost {
		fmt.Fprintf(&members, `"k%d":%d,`, i, i)
	}
	text, object, nested := `"`+large+`"`, "{"+members.String()+`"z":1}`, `[`+list+`,"`+large+`"]`
	values := [][2]string{{text, `"x"`}, {`"x"`, text}, {list, list}, {list, `1`}, {object, object}, {object, `"k7"`}, {nested, nested}, {`7`, `0.5`}}
	texts := append([]string{`event.a == "call"`, `event.a != ""`, `event.a == event.a`, `event.a in ["x", "y"]`, `event.?a.orValue("").startsWith("x")`, `event.a.endsWith("x")`,
		`event.a.contains("y")`, `event.a.matches("x*y")`, `event.a + event.a`, `event.a > 3 && event.b < 4 || has(event.a.b)`, `event.a == {"x": 1}`, `event.a == [1, 2]`, `"k7" in event.a`,
		`event.a.lowerAscii() == "x"`, `event.a.size() > 7`, `string(event.a) == "x"`, `timestamp(event.a) < kafka.timestamp`, `event.a.split("x")[0] == ""`, `event.a.reverse() == "x"`,
		`event.a.indexOf("y") == 1`, `event.a.replace("x", "y") == ""`, `base64.encode(bytes(event.a)) == ""`, `sets.contains(event.a, [1])`, `sets.intersects([1], event.a)`,
		`math.greatest(event.a) > 1`, `event.a.all(x, x == 1)`, `cel.bind(x, event.a, x == x)`, `[event.a] == [event.b]`, `"%s".format([event.a]) == ""`, `event.a * 2 > event.b - 1`}, expressions...)
	counted := 0
	for _, v := range values {
		r := record(t, `{"a":`+v[0]+`,"b":`+v[1]+`}`)
		for _, text := range texts {
			cost, uncounted, err := expr.CostOf(text, r)
			switch {
			case err != nil:
				t.Fatalf("%s: %v", text, err)
			case !uncounted:
				counted++
			case cost > expr.BoundedCost:
				t.Errorf("%s costs %d with a as %.20s and b as %.20s, and nobody counts", text, cost, v[0], v[1])
			}
		}
	}
	if n := len(values) * len(texts); counted < n/4 || counted > n*3/4 {
		t.Errorf("%d of %d evaluations are counted: one of the two kinds is hardly tried", counted, n)
	}
}

// An error is stored with the dead letter, so it must not give away what the record holds.
func TestEval_ErrorsDoNotQuoteTheRecord(t *testing.T) {
	r := record(t, `{"s":"hunter2","l":["hunter2"],"o":{"hunter2":1},"n":4242424242}`)
	for _, text := range []string{
		`int(event.s)`, `double(event.s)`, `timestamp(event.s)`, `duration(event.s)`, `event[event.s]`, `event.l[event.n]`, `event.o[event.n]`,
		`event.s + 1`, `event.s.matches("(") || event.l == 1 && event.s`, `bool(event.s)`, `event.s.charAt(99)`, `event.s.substring(99)`,
		`kafka.timestamp.getHours(event.s)`, `event.s.format([1])`, `("%d").format([event.s])`, `base64.decode(event.s)`, `uint(event.s)`,
		`event.s.nope`, `event.l.join(1)`, `int(event.n) / 0`, `{event.s: 1, event.s: 2}[event.l]`, `event.s < 1`, `!event.s`, `-event.s`,
		`event.o.map(k, int(k))`, `event.s ? 1 : 2`, `event.s in event.n`, `size(event.n)`, `event.s.replace(1, 2)`, `event.l[event.s]`,
		`event.s.matches(event.s + "(")`, `{event.l: 1}`, `event.l[0][event.l[0]]`, `math.greatest(event.s, 1)`, `dyn([1]).map(x, event.s.charAt(event.n))`,
	} {
		e, err := expr.Compile(text)
		if err != nil {
			continue // said at once
		}
		out, _, err := e.AppendJSON(nil, r)
		if err == nil {
			t.Logf("%s gives %s", text, out)
		} else if s := err.Error(); strings.Contains(s, "hunter2") || strings.Contains(s, "4242") {
			t.Errorf("%s: %s", text, s)
		}
	}
}

func TestSet_WhatIsNoObject(t *testing.T) {
	var r expr.Record
	for _, text := range []string{"", " ", "[]", "1", "null", `{`, `{"a"}`, `{"a":}`, `{"a":1,}`, `{,}`, `{"a":01}`, `{"a":1}x`, `{"a":+1}`, `{"a":1.}`, `{"a":.5}`,
		`{"a":"\x"}`, `{"a":"\ud800"}`, `{"a":"\udc00"}`, `{"a":"\u12g4"}`, "{\"a\":\"\xff\"}", "{\"a\":\"\n\"}", `{"a":[1,]}`, `{"a":[1}`, `{"a":tru}`, `{'a':1}`,
		`{"a":1 "b":2}`, `{"a":1e}`, `{"a":-}`, strings.Repeat(`{"a":`, 129) + "1" + strings.Repeat("}", 129)} {
		if r.Set(&waybill.Record{}, []byte(text)) {
			t.Errorf("%q is taken for an object", text)
		}
	}
	for _, text := range []string{"{}", " { } ", `{"a":[],"b":{},"c":[[],{}]}`, `{"a":-0.5e+3,"b":1E2}`, `{"":""}`, `{"a":"\ud83d\ude00\/"}`,
		strings.Repeat(`{"a":`, 127) + "{}" + strings.Repeat("}", 127)} {
		if !r.Set(&waybill.Record{}, []byte(text)) {
			t.Errorf("%q is not taken for an object", text)
		}
	}
}

// Strings are read eight bytes at a time: what is not plain is seen wherever it stands among them, whatever comes before and behind.
func TestSet_SeesEveryByteOfAString(t *testing.T) {
	for _, filler := range []string{"x", "\x7f", " ", "é", "\U0001f600", "!", "#", "[", "]"} {
		for _, special := range []string{"\x00", "\x1f", "\n", `\"`, `\\`, `\n`, `\u00e9`, `\x`, `"`, `"}`, "\xff", "\x80"} {
			for before := range 20 {
				text := []byte(`{"a":"` + strings.Repeat(filler, before) + special + strings.Repeat(filler, 9) + `"}`)
				var r expr.Record
				var want struct{ A string }
				err := json.Unmarshal(text, &want)
				if is := err == nil && utf8.Valid(text); r.Set(&waybill.Record{}, text) != is {
					t.Errorf("%q is an object: %v, want %v", text, !is, is)
				} else if is {
					if got := eval(t, `event.a == `+strconv.Quote(want.A), &r); got != "true" {
						t.Errorf("%q: %s", text, got)
					}
				}
			}
		}
	}
}

// Objects that are searched often are indexed: what is found stays the same.
func TestEval_LargeObject(t *testing.T) {
	var text strings.Builder
	for i := range 200 {
		fmt.Fprintf(&text, `,"k%d":%d,"\u006d%d":[{"x":%d}]`, i, i, i, i)
	}
	r := record(t, `{"o":{"twice":1,"twice":2`+text.String()+`}}`)
	for _, tt := range [][2]string{
		{`event.o.filter(k, k.startsWith("k")).map(k, event.o[k]).map(v, string(v)).join(",").size()`, "689"},
		{`event.o.filter(k, k.startsWith("m")).all(k, "k" + string(event.o[k][0].x) in event.o)`, "true"},
		{`event.o.map(k, event.o[k]).size()`, "error: an object of the event names this member twice"},
		{`event.o.filter(k, k != "twice").map(k, has(event.o.k7) && !("nope" in event.o)).all(b, b)`, "true"},
	} {
		if got := eval(t, tt[0], r); got != tt[1] {
			t.Errorf("%s\n got %s\nwant %s", tt[0], got, tt[1])
		}
	}
}
