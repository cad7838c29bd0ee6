package json

import (
	"fmt"
	"maps"
	"math"
	"math/big"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/waybill-data/waybill"
	"github.com/waybill-data/waybill/internal/column"
	"github.com/waybill-data/waybill/internal/contract"
)

// judged decodes a record as if the scanner could take nothing.
func judged(d *Decoder, rec *waybill.Record, epoch waybill.Epoch, b *column.Block) Outcome {
	d.bind(b)
	d.text, d.row = rec.Value, b.Columns[0].Rows()
	d.begin()
	if !d.judge() || !d.finish(rec, epoch) {
		b.Truncate(d.row)
		return Outcome{Kind: Rejected, Reject: d.reject}
	}
	return d.written(rec)
}

// row is what a record becomes, or what it is rejected for.
func rowOf(out Outcome, b *column.Block, columns int) string {
	if r := out.Reject; r != nil {
		return fmt.Sprintf("%s %s %s@%d", r.Code, r.Column, r.Path, r.ByteOffset)
	}
	var row []string
	for _, c := range b.Columns[:columns] {
		row = append(row, show(c, 0))
	}
	return strings.Join(row, "|")
}

func TestDecode_ArrayPaths(t *testing.T) {
	columns := []contract.Column{
		{Name: "first", Type: "String", From: "messages[0].role"},
		{Name: "second", Type: "Nullable(String)", From: "messages[1].content", As: "json"},
		{Name: "all", Type: "Array(String)", From: "messages[*].role"},
		{Name: "ids", Type: "Array(Nullable(UInt8))", From: "messages[*].id", OnInvalid: contract.Default},
		{Name: "deep", Type: "UInt8", From: "m[1][0]"},
		{Name: "v", Type: "Array(Float64)", From: "v", Length: 2, OnInvalid: contract.Default},
	}
	d := columnsDecoder(t, columns...)
	for _, tc := range []struct{ text, want string }{
		{`{}`, `|NULL|[]|[]|0|[]`},
		{`{"messages":[]}`, `|NULL|[]|[]|0|[]`},
		{`{"messages":null,"m":null}`, `|NULL|[]|[]|0|[]`},
		{`{"messages":[{"role":"a","id":1},{"content":[1, 2]},{"role":null,"id":null,"x":1}],"m":[0,[7,8],9],"v":[1,2]}`, `a|[1, 2]|[a ]|[1 NULL NULL]|7|[1 2]`},
		{`{ "messages" : [ { "role" : "a" } , { "role":"b","content" : {} } ] , "m" : [ [ ] , [ 3 ] ] }`, `a|{}|[a b]|[NULL NULL]|3|[]`},
		{`{"messages":[{"role":"a","id":1},{"role":"b","id":"no"},{"role":"c","id":3}]}`, `a|NULL|[a b c]|[]|0|[]`},
		{`{"messages":[{"role":1}]}`, `wrong_type all messages[*].role@21`},
		{`{"messages":[{},{"role":1}]}`, `wrong_type all messages[*].role@24`},
		{`{"messages":{"role":"a"}}`, `wrong_type first messages[0].role@12`},
		{`{"messages":["a"]}`, `wrong_type all messages[*].role@13`},
		{`{"messages":[{"role":"a","role":"b"}]}`, "duplicate_key  messages[0].role@25"},
		{`{"m":[0,{}]}`, `wrong_type deep m[1][0]@8`},
		{`{"v":[1]}`, `|NULL|[]|[]|0|[]`},
		{`{"v":[1,2,3]}`, `|NULL|[]|[]|0|[]`},
		{`{"v":[1,2`, `truncated  @9`},
		{`{"messages":[{"role":"a"},]}`, `invalid_json  @26`},
		{`{"messages":[{"role":"a"} {}]}`, `invalid_json  @26`},
	} {
		rec := &waybill.Record{Topic: "t", Value: []byte(tc.text)}
		b := d.NewBlock()
		got := rowOf(d.Decode(rec, 1, b), b, len(columns))
		b = d.NewBlock()
		byJudge := rowOf(judged(d, rec, 1, b), b, len(columns))
		// What all takes of an empty string for a missing role is counted; show writes it as nothing.
		if got = strings.ReplaceAll(got, "[a  ]", "[a ]"); got != strings.ReplaceAll(byJudge, "[a  ]", "[a ]") {
			t.Errorf("%s:\nscanner %s\njudge   %s", tc.text, got, byJudge)
		}
		if got != tc.want {
			t.Errorf("%s:\ngot  %s\nwant %s", tc.text, got, tc.want)
		}
	}
}

func TestDecode_ArrayPathsAreCounted(t *testing.T) {
	d := columnsDecoder(t,
		contract.Column{Name: "a", Type: "Array(UInt8)", From: "e[*].a"},
		contract.Column{Name: "b", Type: "String", From: "e[0].b", Required: true})
	if out, _ := decode(d, `{"e":[{"b":"x","new":1},{"a":null,"new":1},{"a":3,"other":{}}]}`); out.Kind != Written {
		t.Fatal(out.Reject)
	}
	if got := d.Defaulted(); got["a"] != (Defaults{Missing: 1, Null: 1}) {
		t.Errorf("defaulted %+v", got)
	}
	want := map[string]int64{"e[*].new": 2, "e[*].other": 1}
	if got := unmapped(d); !maps.Equal(got, want) {
		t.Errorf("unmapped %v, want %v", got, want)
	}
	if out, _ := decode(d, `{"e":[]}`); out.Reject == nil || out.Reject.Code != MissingRequired || out.Reject.Path != "e[0].b" {
		t.Errorf("got %+v", out.Reject)
	}
}

func TestDecode_SourcesBesideTheEvent(t *testing.T) {
	value := "prod"
	columns := []contract.Column{
		{Name: "key", Type: "String", Kafka: "key"},
		{Name: "id", Type: "Nullable(UUID)", Kafka: "header.id", OnInvalid: contract.Null},
		{Name: "region", Type: "LowCardinality(String)", Kafka: "header.region", Required: true},
		{Name: "at", Type: "DateTime64(3)", Kafka: "timestamp"},
		{Name: "seconds", Type: "DateTime", Kafka: "timestamp"},
		{Name: "topic", Type: "String", Kafka: "topic"},
		{Name: "partition", Type: "UInt8", Kafka: "partition"},
		{Name: "pos", Type: "Int64", Kafka: "offset"},
		{Name: "env", Type: "LowCardinality(String)", Value: &value},
	}
	d := columnsDecoder(t, columns...)
	rec := waybill.Record{Topic: "calls", Partition: 7, Offset: 42, Time: 1795358687123, Key: []byte("k\xff"), Value: []byte(`{}`),
		Headers: []waybill.Header{{Key: "region", Value: []byte("eu")}, {Key: "id", Value: []byte("7f9c24e8-3b12-4fef-91e0-1d2b3c4d5e6f")}, {Key: "region", Value: []byte("us")}}}
	for _, tc := range []struct {
		name, want string
		change     func(*waybill.Record)
	}{
		{"all", "k\xff|7f9c24e83b124fef91e01d2b3c4d5e6f|eu|1795358687123|1795358687|calls|7|42|prod", func(*waybill.Record) {}},
		{"nothing", "|NULL|eu|1795358687123|1795358687|calls|7|42|prod", func(r *waybill.Record) { r.Key, r.Headers = nil, r.Headers[:1] }},
		{"null and invalid", "|NULL|eu|1795358687123|1795358687|calls|7|42|prod", func(r *waybill.Record) {
			r.Key, r.Headers = []byte{}, []waybill.Header{{Key: "region", Value: []byte("eu")}, {Key: "id", Value: []byte("x")}}
		}},
		{"no region", "missing_required region @-1", func(r *waybill.Record) { r.Headers = nil }},
		{"null region", "null_required region @-1", func(r *waybill.Record) { r.Headers = []waybill.Header{{Key: "region"}} }},
		{"partition", "out_of_range partition @-1", func(r *waybill.Record) { r.Partition = 256 }},
	} {
		r := rec
		tc.change(&r)
		b := d.NewBlock()
		if got := rowOf(d.Decode(&r, 1, b), b, len(columns)); got != tc.want {
			t.Errorf("%s:\ngot  %q\nwant %q", tc.name, got, tc.want)
		}
	}
	if got := d.Rounded()["seconds"]; got != 3 {
		t.Errorf("%d timestamps lost their milliseconds, want 3", got)
	}
	if got := d.Defaulted(); got["key"].Missing != 1 || got["id"] != (Defaults{Missing: 1, Invalid: 1}) {
		t.Errorf("defaulted %+v", got)
	}
}

func TestDecode_TableDefaultIsSentAsNull(t *testing.T) {
	schema := contract.TableSchema{Database: "d", Table: "t", Columns: []contract.TableColumn{
		{Name: "n", Type: "UInt32", DefaultKind: "DEFAULT", DefaultExpr: "7"},
		{Name: "lc", Type: "LowCardinality(String)", DefaultKind: "DEFAULT", DefaultExpr: "'x'"},
		{Name: "given", Type: "UInt32", DefaultKind: "DEFAULT", DefaultExpr: "7"},
		{Name: "arr", Type: "Array(UInt8)", DefaultKind: "DEFAULT", DefaultExpr: "[1]"},
		{Name: "_topic", Type: "String"}, {Name: "_partition", Type: "UInt32"}, {Name: "_offset", Type: "UInt64"}, {Name: "_epoch", Type: "UInt32"},
	}}
	nine := "9"
	p, err := contract.Compile(contract.Contract{NewFields: contract.Modes{Default: contract.ModeDiscard}, TypeConflicts: contract.Modes{Default: contract.ModeFreeze}, Columns: []contract.Column{{Name: "n", Type: "UInt32", OnInvalid: contract.TableDefault},
		{Name: "lc", Type: "LowCardinality(String)"}, {Name: "given", Type: "UInt32", Default: &nine}, {Name: "arr", Type: "Array(UInt8)"}}},
		schema, contract.DefaultLineage(), Version)
	if err != nil {
		t.Fatal(err)
	}
	d, err := New(p)
	if err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]string{
		`{}`:                        "NULL|NULL|9|[]",
		`{"n":null,"lc":null}`:      "NULL|NULL|9|[]",
		`{"n":"no","lc":"a"}`:       "NULL|a|9|[]",
		`{"n":0,"lc":"","arr":[2]}`: "0||9|[2]",
	} {
		out, b := decode(d, text)
		if got := rowOf(out, b, 4); got != want {
			t.Errorf("%s: got %s, want %s", text, got, want)
		}
	}
	if types := fmt.Sprint(d.NewBlock().Columns[0].Type(), d.NewBlock().Columns[1].Type()); types != "Nullable(UInt32)LowCardinality(Nullable(String))" {
		t.Errorf("sent as %s", types)
	}
	if got := d.Defaulted()["n"]; got != (Defaults{Missing: 1, Null: 1, Invalid: 1}) {
		t.Errorf("counted %+v", got)
	}
}

// Members that are not mapped and can no longer be learnt are counted together and still may not come twice.
func TestDecode_Strangers(t *testing.T) {
	d := columnsDecoder(t, contract.Column{Name: "n", Type: "UInt8", From: "a.n"})
	for i := range maxUnmapped {
		decode(d, fmt.Sprintf(`{"f%d":1}`, i))
	}
	for _, tc := range []struct {
		text string
		want Code
	}{
		{`{"s":1,"t":{"s":2},"a":{"s":1,"n":1},"u":[]}`, ""}, {`{"s":1,"s":1}`, DuplicateKey}, {`{"a":{"s":1,"t":1,"s":1}}`, DuplicateKey},
		{`{"s":1,"\u0073":1}`, DuplicateKey}, {`{"\u0073":1,"x":1}`, ""}, {`{"s":1,"t":01}`, InvalidJSON},
	} {
		out, _ := decode(d, tc.text)
		if got := out.Reject; (got == nil) != (tc.want == "") || got != nil && got.Code != tc.want {
			t.Errorf("%s: got %v, want %s", tc.text, got, tc.want)
		}
	}
	if got := unmapped(d)[contract.OtherPaths]; got != 6 {
		t.Errorf("%d others, want 6", got)
	}
}

// The scanner and the judge make the same of any event, under paths that the oracle does not know.
func TestDecode_ScannerAndJudgeAgree(t *testing.T) {
	names := []string{"a", "b", "c"}
	value := rapid.Custom(func(rt *rapid.T) string { return drawValue(rt, names, 4) })
	rapid.Check(t, func(rt *rapid.T) {
		var columns []contract.Column
		for i := range rapid.IntRange(1, 5).Draw(rt, "columns") {
			path := contract.Names(rapid.SampledFrom(names).Draw(rt, "root"))
			for range rapid.IntRange(0, 3).Draw(rt, "steps") {
				path = append(path, drawStep(rt, names, path.Each() < 0))
			}
			c := contract.Column{Name: fmt.Sprintf("c%d", i), From: path.String(), Type: rapid.SampledFrom([]string{"UInt8", "Nullable(String)", "LowCardinality(String)", "Map(String, UInt8)",
				"Map(UInt64, Nullable(UInt8))", "Map(LowCardinality(String), String)", "Tuple(a UInt8, b Nullable(String))", "Decimal(9, 1)", "FixedString(1)", "Float32",
				"Int128", "LowCardinality(Nullable(UInt16))", "Nullable(Bool)", "Variant(String, UInt64)", "Dynamic", "JSON", "DateTime64(3)"}).Draw(rt, "type"),
				OnInvalid: rapid.SampledFrom([]contract.Policy{contract.DeadLetter, contract.Default, contract.Rescue, contract.Rescue}).Draw(rt, "policy")}
			if path.Each() >= 0 || rapid.Bool().Draw(rt, "array") {
				c.Type = "Array(" + c.Type + ")"
				c.Length = rapid.SampledFrom([]int{0, 0, 2}).Draw(rt, "length")
			}
			columns = append(columns, c)
		}
		c := contract.Contract{Columns: columns, NewFields: drawModes(rt, contract.ModeDiscard, contract.ModeRescue, contract.ModeRescue, contract.ModeFreeze)}
		scanning, judging := newDecoder(t, c), newDecoder(t, c)
		for range 4 {
			rec := &waybill.Record{Topic: "t", Value: []byte(value.Draw(rt, "event"))}
			sb, jb := scanning.NewBlock(), judging.NewBlock()
			s, j := scanning.Decode(rec, 1, sb), judged(judging, rec, 1, jb)
			got, want := rowOf(s, sb, 0), rowOf(j, jb, 0)
			if s.Kind == Written {
				got += wire(t, sb)
			}
			if j.Kind == Written {
				want += wire(t, jb)
			}
			if got != want || s.Kind == Written && s != j {
				rt.Fatalf("%s under %+v:\nscanner %q\njudge   %q", rec.Value, columns, got, want)
			}
		}
		if got, want := scanning.Defaulted(), judging.Defaulted(); !maps.Equal(got, want) {
			rt.Fatalf("under %+v:\nscanner counts %v\njudge   %v", columns, got, want)
		}
		if diff := cmp.Diff(judging.Drift(), scanning.Drift(), sameValues); diff != "" {
			rt.Fatalf("under %+v: drift: -judge +scanner\n%s", columns, diff)
		}
	})
}

func drawStep(rt *rapid.T, names []string, each bool) contract.Step {
	switch kind := rapid.IntRange(0, 3).Draw(rt, "step"); {
	case kind == 0 && each:
		return contract.Step{Kind: contract.Each}
	case kind <= 1:
		return contract.Step{Kind: contract.Element, Index: rapid.IntRange(0, 2).Draw(rt, "index")}
	}
	return contract.Step{Name: rapid.SampledFrom(names).Draw(rt, "name")}
}

// drawValue is an object at the outermost level and anything further in.
func drawValue(rt *rapid.T, names []string, depth int) string {
	kind := rapid.IntRange(0, 5).Draw(rt, "kind")
	if depth == 4 || depth > 0 && kind < 3 && kind > 0 {
		var members []string
		for range rapid.IntRange(0, 3).Draw(rt, "members") {
			members = append(members, fmt.Sprintf("%q: %s", rapid.SampledFrom(append(names, "7")).Draw(rt, "member"), drawValue(rt, names, depth-1)))
		}
		if kind == 1 && depth < 4 {
			for i := range members {
				_, members[i], _ = strings.Cut(members[i], ": ")
			}
			return "[" + strings.Join(members, ",") + "]"
		}
		return "{" + strings.Join(members, " ,") + "}"
	}
	return rapid.SampledFrom([]string{"1", "7", "300", "null", `"s"`, `"\u0041"`, `"7"`, "true", "-1", "1.25", "1e400", `"2026-11-22T14:44:47.1234Z"`, "16777217"}).Draw(rt, "scalar")
}

// Maps of any size have each key once; of large ones the keys are hashed.
func TestDecode_LargeMapsHaveEachKeyOnce(t *testing.T) {
	d := columnsDecoder(t, contract.Column{Name: "m", Type: "Map(String, UInt16)", OnInvalid: contract.Default})
	for _, n := range []int{few, few + 1, 100, 5000} {
		for twice := range min(n, 20) {
			var members []string
			for i := range n {
				members = append(members, fmt.Sprintf(`"k%d":%d`, i, i))
			}
			text := "{\"m\":{" + strings.Join(members, ",") + "}}"
			if out, _ := decode(d, text); out.Kind != Written {
				t.Fatalf("%d keys: %v", n, out.Reject)
			}
			members = append(members, fmt.Sprintf(`"k%d":0`, n-1-twice))
			out, _ := decode(d, "{\"m\":{"+strings.Join(members, ",")+"}}")
			if out.Reject == nil || out.Reject.Code != DuplicateKey || out.Reject.Path != fmt.Sprintf("m.k%d", n-1-twice) {
				t.Fatalf("%d keys and one twice: %+v", n, out.Reject)
			}
		}
	}
	if got := d.Defaulted(); len(got) > 0 {
		t.Errorf("defaulted %v", got)
	}
}

// The short way to floats gives the nearest one, and counts integers that it cannot hold.
func TestDecode_FloatsAreTheNearest(t *testing.T) {
	d := columnsDecoder(t, contract.Column{Name: "f", Type: "Float64"}, contract.Column{Name: "g", Type: "Float32", From: "f"})
	rapid.Check(t, func(rt *rapid.T) {
		text := rapid.StringMatching(`-?(0|[1-9][0-9]{0,18})(\.[0-9]{1,20})?`).Draw(rt, "number")
		out, b := decode(d, `{"f":`+text+`}`)
		want, err := strconv.ParseFloat(text, 64)
		want32, err32 := strconv.ParseFloat(text, 32)
		if err != nil || err32 != nil || out.Kind != Written {
			rt.Fatal(err, err32, out.Reject)
		}
		f, g := b.Columns[0].(*column.Float64).Row(0), b.Columns[1].(*column.Float32).Row(0)
		if math.Float64bits(f) != math.Float64bits(want) || math.Float32bits(g) != math.Float32bits(float32(want32)) {
			rt.Fatalf("%s is %v and %v, want %v and %v", text, f, g, want, want32)
		}
		lost := 0
		if i, ok := new(big.Int).SetString(text, 10); ok {
			for _, v := range []float64{want, want32} {
				if exact, _ := new(big.Float).SetFloat64(v).Int(nil); exact.Cmp(i) != 0 {
					lost++
				}
			}
		}
		if out.Rounded != lost {
			rt.Fatalf("%s: %d rounded, want %d", text, out.Rounded, lost)
		}
	})
}
