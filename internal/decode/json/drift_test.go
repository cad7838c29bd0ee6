package json

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/waybill-data/waybill"
	"github.com/waybill-data/waybill/internal/contract"
)

// sameValues compares what was observed by what is said of it.
var sameValues = cmp.Comparer(func(a, b contract.Observed) bool { return a.Kinds == b.Kinds && a.Infer() == b.Infer() })

func TestDrift_SaysWhereAndWhat(t *testing.T) {
	modes := contract.Modes{Default: contract.ModeRescue}.With("usage", contract.ModeEvolve).With("usage.secret", contract.ModeDiscard)
	d := newDecoder(t, contract.Contract{NewFields: modes, TypeConflicts: contract.Modes{Default: contract.ModeEvolve}, Columns: []contract.Column{
		{Name: "n", Type: "UInt8"},
		{Name: "v", Type: "Array(UInt8)", Length: 1},
		{Name: "low", Type: "UInt8", From: "low", OnInvalid: contract.Default},
		{Name: "in", Type: "String", From: "a.b"},
	}})
	b := d.NewBlock()
	for i, text := range []string{
		`{"n":1,"v":[1],"a":{"b":"x"}}`,
		`{"n":300,"usage":{"cost":1.5,"secret":"x"},"z":"` + strings.Repeat("é", 150) + `"}`,
		`{"n":null,"v":[1,2],"low":-1,"usage":{"cost":2},"a":7,"z":null}`,
		`{"n":1,"n":2,"z":1}`, // a dead letter is kept whole
		`{"n":"x","usage":{"cost":true}}`,
	} {
		d.Decode(&waybill.Record{Topic: "t", Partition: 2, Offset: int64(10 + i), Time: int64(1000 + i), Value: []byte(text)}, 1, b)
	}
	at := func(i int64) contract.At {
		return contract.At{Topic: "t", Partition: 2, Offset: 10 + i, Time: 1000 + i}
	}
	observed := func(mode contract.Mode, values ...string) contract.Observed {
		o := contract.Observed{Deep: mode == contract.ModeEvolve}
		for _, v := range values {
			o.Add([]byte(v))
		}
		return o
	}
	long := `"` + strings.Repeat("é", 150) + `"`
	conflict, field := contract.DriftTypeConflict, contract.DriftNewField
	evolve, rescue, discard := contract.ModeEvolve, contract.ModeRescue, contract.ModeDiscard
	want := []contract.FieldDrift{
		{Kind: conflict, Path: "a", Column: "in", Reason: "wrong_type", Mode: rescue, Count: 1, First: at(2), Last: at(2), Sample: "7", Observed: observed(rescue, "7")},
		{Kind: conflict, Path: "low", Column: "low", Reason: "out_of_range", Mode: discard, Count: 1, First: at(2), Last: at(2), Sample: "-1", Observed: observed(discard, "-1")},
		{Kind: conflict, Path: "n", Column: "n", Reason: "out_of_range", Mode: evolve, Count: 3, First: at(1), Last: at(4), Sample: "300", Observed: observed(evolve, "300", "null", `"x"`)},
		{Kind: field, Path: "usage.cost", Mode: evolve, Count: 3, First: at(1), Last: at(4), Sample: "1.5", Observed: observed(evolve, "1.5", "2", "true")},
		{Kind: field, Path: "usage.secret", Mode: discard, Count: 1, First: at(1), Last: at(1), Sample: `"x"`, Observed: observed(discard, `"x"`)},
		{Kind: conflict, Path: "v", Column: "v", Reason: "wrong_length", Mode: rescue, Count: 1, First: at(2), Last: at(2), Sample: "[1,2]", Observed: observed(rescue, "[1,2]")},
		{Kind: field, Path: "z", Mode: rescue, Count: 2, First: at(1), Last: at(2), Sample: long[:199], Observed: observed(rescue, long, "null")},
	}
	if diff := cmp.Diff(want, d.Drift(), sameValues); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
	if again := d.Drift(); len(again) > 0 {
		t.Errorf("the drift was not drained: %v", again)
	}
	if got := d.Defaulted(); got["n"] != (Defaults{}) || got["low"].Invalid != 1 {
		t.Errorf("what is rescued is not a default: %v", got)
	}
}

// Elements with a node of their own and those without are one path; what came first and last is that of both.
func TestDrift_ElementsAreOnePath(t *testing.T) {
	d := newDecoder(t, rescueEverything(contract.Column{Name: "b", Type: "String", From: "e[1].b"}, contract.Column{Name: "a", Type: "Array(UInt8)", From: "e[*].a"}))
	b := d.NewBlock()
	for i, text := range []string{`{"e":[{"new":1}]}`, `{"e":[{},{"new":2},{"new":"x"}]}`, `{"e":[{"new":null}]}`, `{"e":[{},{"new":3}]}`} {
		d.Decode(&waybill.Record{Topic: "t", Offset: int64(i), Value: []byte(text)}, 1, b)
	}
	got := d.Drift()
	if len(got) != 1 || got[0].Path != "e[*].new" || got[0].Count != 5 || got[0].First.Offset != 0 || got[0].Last.Offset != 3 || got[0].Sample != "1" {
		t.Errorf("got %+v", got)
	}
	if k := got[0].Observed.Kinds; k.Integer != 3 || k.String != 1 || k.Null != 1 {
		t.Errorf("kinds %+v", k)
	}
}

// However many paths events have, what is told apart is bounded, and every value is rescued all the same.
func TestDrift_IsBoundedAndRescuesBeyond(t *testing.T) {
	c := rescueEverything(contract.Column{Name: "n", Type: "UInt8", From: "a.n"})
	c.NewFields = c.NewFields.With("a.kept", contract.ModeDiscard).With("a.x", contract.ModeEvolve)
	d, byJudge := newDecoder(t, c), newDecoder(t, c)
	for i := range maxUnmapped + 500 {
		text := fmt.Sprintf(`{"f%d":%d,"a":{"g\u0061.%d":"x","kept":1}}`, i, i, i)
		out, b := decode(d, text)
		want := fmt.Sprintf("{\"f%d\":{\"reason\":\"new_field\",\"value\":%d},\"a.`ga.%d`\":{\"reason\":\"new_field\",\"value\":\"x\"}}", i, i, i)
		if got := rescued(t, d, b); out.Rescued != 2 || got != want {
			t.Fatalf("%s: %d rescued: %s, want %s", text, out.Rescued, got, want)
		}
		jb := byJudge.NewBlock()
		judged(byJudge, &waybill.Record{Topic: "t", Value: []byte(text)}, 1, jb)
		if got := rescued(t, byJudge, jb); got != want {
			t.Fatalf("%s: the judge rescues %s, want %s", text, got, want)
		}
	}
	for name, d := range map[string]*Decoder{"scanner": d, "judge": byJudge} {
		got := d.Drift()
		var kept, others, total int64
		for _, f := range got {
			total += f.Count
			switch f.Path {
			case "a.kept":
				kept += f.Count
			case contract.OtherPaths:
				others += f.Count
			}
		}
		if len(got) != maxUnmapped+2 || kept != maxUnmapped+500 || others != 2*(maxUnmapped+500)-maxUnmapped || total != 3*(maxUnmapped+500) {
			t.Errorf("%s: %d paths, %d kept, %d others, %d in all", name, len(got), kept, others, total)
		}
	}
}

// A name of any length is rescued and counted, but not kept.
func TestDrift_LongNamesAreNotKept(t *testing.T) {
	d := newDecoder(t, rescueEverything())
	name := strings.Repeat("k", maxMember+1)
	if _, b := decode(d, `{"`+name+`":1}`); rescued(t, d, b) != `{"`+name+`":{"reason":"new_field","value":1}}` {
		t.Error("the value is not rescued")
	}
	if got := d.Drift(); len(got) != 1 || got[0].Path != contract.OtherPaths || d.learnt != 0 {
		t.Errorf("%d paths, %d learnt", len(got), d.learnt)
	}
}

// Only values of a mode other than evolve may be looked at less closely; the kind of each is counted.
func TestDrift_KindOfEveryValueCounts(t *testing.T) {
	d := newDecoder(t, rescueEverything())
	b := d.NewBlock()
	for range 10 {
		for _, v := range []string{"null", "true", "false", "1", "-2", `"s"`, "[1.5]", "{}"} {
			d.Decode(&waybill.Record{Topic: "t", Value: []byte(`{"z":` + v + `}`)}, 1, b)
		}
	}
	if got, want := d.Drift()[0].Observed.Kinds, (contract.Kinds{Null: 10, Bool: 20, Integer: 20, String: 10, Array: 10, Object: 10}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

// Under evolve every value is looked at: a single one may decide what type a column needs.
func TestDrift_EveryValueIsObservedUnderEvolve(t *testing.T) {
	c := rescueEverything()
	c.NewFields.Default = contract.ModeEvolve
	d := newDecoder(t, c)
	b := d.NewBlock()
	want := contract.Observed{Deep: true}
	for i := range 3 * maxObserved {
		value := fmt.Sprintf(`{"k%d":%d.5}`, i, i)
		if i%2 == 0 {
			value = fmt.Sprintf("%d.5", i)
		}
		want.Add([]byte(value))
		d.Decode(&waybill.Record{Topic: "t", Value: []byte(`{"z": ` + value + ` }`)}, 1, b)
	}
	if diff := cmp.Diff(want, d.Drift()[0].Observed, sameValues); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
}

func TestDecode_BlankAndNulls(t *testing.T) {
	d := newDecoder(t, rescueEverything(
		contract.Column{Name: "a", Type: "Nullable(UInt8)"},
		contract.Column{Name: "b", Type: "UInt8"},
		contract.Column{Name: "topic", Type: "String", Kafka: "topic"}))
	for text, blank := range map[string]bool{
		`{}`: true, `{"x":1}`: true, `{"b":null}`: true, `{"a":"x"}`: true, `{"a":null}`: false, `{"b":0}`: false,
	} {
		if out, _ := decode(d, text); out.Blank != blank {
			t.Errorf("%s: blank %v", text, out.Blank)
		}
	}
	if got := d.Nulls(); len(got) != 1 || got["a"] != 1 || len(d.Nulls()) > 0 {
		t.Errorf("nulls %v", got)
	}
	if out, _ := decode(newDecoder(t, rescueEverything()), `{"x":1}`); out.Blank {
		t.Error("a plan that takes nothing from events has no blank ones")
	}
}
