package contract

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/waybill-data/waybill/internal/column"
)

func observe(deep bool, values ...string) *Observed {
	o := &Observed{Deep: deep}
	for _, v := range values {
		o.Add([]byte(v))
	}
	return o
}

func TestInfer(t *testing.T) {
	const uuid = `"00112233-4455-6677-8899-aabbccddeeff"`
	for _, tc := range []struct{ values, typ, as string }{
		{"1|-5|9223372036854775807", "Nullable(Int64)", ""},
		{"null|1", "Nullable(Int64)", ""},
		{"0|18446744073709551615", "Nullable(UInt64)", ""},
		{"-1|18446744073709551615", typeText, "json"},
		{"18446744073709551616", typeText, "json"},
		{"-0", "Nullable(Int64)", ""},
		{"1.0", "Nullable(Float64)", ""},
		{"1|2.5|1e3", "Nullable(Float64)", ""},
		{"0.1|-1.7976931348623157e308|5e-324", "Nullable(Float64)", ""},
		{"0.5|9007199254740993", "Nullable(Decimal(38, 18))", ""},
		{"0.5|9007199254740992", "Nullable(Float64)", ""},
		{"0.12345678901234567890", "Nullable(Decimal(76, 38))", ""},
		{"12345678901234567.89", "Nullable(Decimal(38, 18))", ""},
		{"12345678901234567890.123456789", "Nullable(Decimal(38, 18))", ""},
		{"123456789012345678901.123456789", "Nullable(Decimal(76, 38))", ""},
		{"1e400", typeText, "json"},
		{"0.1234567890123456789012345678901234567890", typeText, "json"},
		{"true|false", "Nullable(Bool)", ""},
		{`"x"|""`, "Nullable(String)", ""},
		{`"5"`, "Nullable(String)", ""},
		{uuid, "Nullable(UUID)", ""},
		{uuid + "|null", "Nullable(UUID)", ""},
		{strings.ToUpper(uuid), "Nullable(String)", ""},
		{uuid + `|""`, "Nullable(String)", ""},
		{`"2026-11-22T14:44:47Z"`, "Nullable(DateTime64(3, 'UTC'))", ""},
		{`"2026-11-22T14:44:47.1234Z"|"2026-11-22T14:44:47+00:00"`, "Nullable(DateTime64(6, 'UTC'))", ""},
		{`"2026-11-22T14:44:47.1234567Z"`, "Nullable(DateTime64(9, 'UTC'))", ""},
		{`"2026-11-22T14:44:47.1234567Z"|"2290-01-01T00:00:00Z"`, "Nullable(String)", ""},
		{`"2290-01-01T00:00:00Z"`, "Nullable(DateTime64(3, 'UTC'))", ""},
		{`"2300-01-01T00:00:00Z"`, "Nullable(String)", ""},
		{`"2026-11-22T14:44:47.1234567891Z"`, "Nullable(String)", ""},
		{`"2026-11-22T14:44:47+01:00"`, "Nullable(String)", ""},
		{`"2026-11-22t14:44:47Z"`, "Nullable(String)", ""},
		{`"2026-13-22T14:44:47Z"`, "Nullable(String)", ""},
		{`"2026-11-22T14:44:47\u005a"`, "Nullable(String)", ""},
		{`"2026-11-22"`, "Nullable(String)", ""},
		{"null", "", ""},
		{"[]|[]", "", ""},
		{"[1, 2]|[]", "Array(Int64)", ""},
		{"[1,null]", "Array(Nullable(Int64))", ""},
		{"[null]", "", ""},
		{"[0.5]|[1]", "Array(Float64)", ""},
		{`["a"]|null`, "Array(String)", ""},
		{"[true]", "Array(Bool)", ""},
		{"[[1]]", typeText, "json"},
		{`[{"a":1}]`, typeText, "json"},
		{`[1,"a"]`, typeText, "json"},
		{"[18446744073709551616]", typeText, "json"},
		{`1|"a"`, typeText, "json"},
		{`{"a":1}|[1]`, typeText, "json"},
		{`{}`, "", ""},
		{`{"a":"x"}|{"b":"y"}|{}`, typeMap, ""},
		{`{"a":"x"}|{"b":null}`, typeText, "json"},
		{`{ "a" : "x" , "b" : {"c":[1,"}"]} }`, typeText, "json"},
	} {
		in := observe(false, strings.Split(tc.values, "|")...).Infer()
		if in.Type != tc.typ || in.As != tc.as || in.Why == "" {
			t.Errorf("%s: %q as %q because %q, want %q as %q", tc.values, in.Type, in.As, in.Why, tc.typ, tc.as)
		}
	}
}

// drawValue draws a JSON text, mostly one that looks like others, and often at the edge between two types.
func drawValue(rt *rapid.T, depth int) string {
	scalars := []string{"null", "true", "false", "0", "-0", "1", "-1", "127", "9223372036854775807", "9223372036854775808", "-9223372036854775809",
		"18446744073709551615", "18446744073709551616", "0.5", "1.0", "1e3", "1E-7", "9007199254740993", "0.30000000000000004", "0.1234567890123456789",
		"12345678901234567.891", "1e308", "1e309", "5e-324", "1e-400", "123456789012345678901234567890.5",
		`""`, `"a"`, `"a\"b\\"`, `"]}"`, `"00112233-4455-6677-8899-aabbccddeeff"`, `"00112233-4455-6677-8899-AABBCCDDEEFF"`,
		`"2026-11-22T14:44:47Z"`, `"2026-11-22T14:44:47.123456Z"`, `"2026-11-22T14:44:47.123456789Z"`, `"2026-11-22T14:44:47.120000000+00:00"`,
		`"2026-11-22T14:44:47+01:00"`, `"2299-12-31T23:59:59Z"`, `"1899-12-31T23:59:59Z"`}
	top := 5
	if depth == 0 {
		top = 3
	}
	switch rapid.IntRange(0, top).Draw(rt, "kind") {
	case 4:
		return "[" + strings.Join(drawValues(rt, depth-1), ", ") + "]"
	case 5:
		var members []string
		for i, v := range drawValues(rt, depth-1) {
			name := rapid.SampledFrom([]string{"a", "b", "c", "metadata", `a\u0062`, "x.y", ""}).Draw(rt, "name")
			members = append(members, fmt.Sprintf(`"%s%d" : %s`, name, i, v))
		}
		return "{" + strings.Join(members, ",") + "}"
	}
	return rapid.SampledFrom(scalars).Draw(rt, "scalar")
}

func drawValues(rt *rapid.T, depth int) []string {
	values := make([]string, rapid.IntRange(0, 4).Draw(rt, "n"))
	for i := range values {
		values[i] = drawValue(rt, depth)
	}
	return values
}

// manyMembers is an object with numbers of members that are around the bounds, at several depths.
func manyMembers(rt *rapid.T, depth int) string {
	var members []string
	for range rapid.SampledFrom([]int{1, 3, 40, 120}).Draw(rt, "members") {
		value := "1"
		if depth > 0 && rapid.IntRange(0, 9).Draw(rt, "deeper") == 0 {
			value = manyMembers(rt, depth-1)
		}
		members = append(members, fmt.Sprintf(`"m%d":%s`, rapid.IntRange(0, 150).Draw(rt, "name"), value))
	}
	return "{" + strings.Join(members, ",") + "}"
}

// shape is all that can be asked of an Observed.
func shape(o *Observed) string {
	var b strings.Builder
	var walk func(path string, o *Observed)
	walk = func(path string, o *Observed) {
		fmt.Fprintf(&b, "%s %+v %+v\n", path, o.Kinds, o.Infer())
		if names, ok := o.apart(path); ok {
			for _, name := range names {
				walk(path+"/"+name, o.object.members[name])
			}
		}
	}
	walk("root", o)
	return b.String()
}

// What is known of values does not depend on their order, nor on how they are split among workers and batches.
func TestObserved_AnySplitAndOrderGivesTheSame(t *testing.T) {
	check := func(t *testing.T, draw func(rt *rapid.T) []string) {
		rapid.Check(t, func(rt *rapid.T) {
			values, deep := draw(rt), rapid.Bool().Draw(rt, "deep")
			want := observe(deep, values...)
			chance := rand.New(rand.NewPCG(rapid.Uint64().Draw(rt, "order"), 1))
			chance.Shuffle(len(values), func(i, j int) { values[i], values[j] = values[j], values[i] })
			parts := make([]Observed, 3)
			for i := range parts {
				parts[i].Deep = deep
			}
			for _, v := range values {
				parts[chance.IntN(3)].Add([]byte(v))
			}
			before := shape(&parts[2])
			parts[1].Merge(&parts[2])
			parts[0].Merge(&parts[1])
			if got := shape(&parts[0]); got != shape(want) {
				rt.Fatalf("%v in parts:\n%s, at once:\n%s", values, got, shape(want))
			}
			if shape(&parts[2]) != before {
				rt.Fatal("merging changed what was merged")
			}
		})
	}
	t.Run("values", func(t *testing.T) { check(t, func(rt *rapid.T) []string { return drawValues(rt, 3) }) })
	t.Run("objects with many members", func(t *testing.T) {
		check(t, func(rt *rapid.T) []string {
			values := make([]string, rapid.IntRange(0, 4).Draw(rt, "n"))
			for i := range values {
				values[i] = manyMembers(rt, 3)
			}
			return values
		})
	})
}

// members counts what is kept below.
func members(o *Observed) int {
	n := 0
	if o.object != nil {
		for _, m := range o.object.members {
			n += 1 + members(m)
		}
	}
	return n
}

func TestObserved_MemoryIsBounded(t *testing.T) {
	o := observe(true)
	for i := range 300 {
		o.Add(fmt.Appendf(nil, `{"same":1,"k%d":{"x%d":{"y":%d}},"%s":1}`, i, i, i, strings.Repeat("n", i)))
		if n := members(o); n > maxMembers {
			t.Fatalf("%d members after %d values", n, i)
		}
	}
	wide := strings.Builder{}
	for i := range 100_000 {
		fmt.Fprintf(&wide, `"w%d":1,`, i)
	}
	allocs := testing.AllocsPerRun(1, func() { observe(true, "{"+wide.String()+`"z":2}`) })
	if allocs > 1000 {
		t.Errorf("an object of 100,000 members took %v allocations", allocs)
	}
	deep := observe(true, strings.Repeat(`{"a":`, 1000)+"1"+strings.Repeat("}", 1000))
	if n := members(deep); n != maxLevels {
		t.Errorf("%d levels are kept, want %d", n, maxLevels)
	}
}

// A level that has too many members is given up, the levels above stay.
func TestObserved_GivesUpTheDeepestLevel(t *testing.T) {
	o := observe(true)
	for i := range 300 {
		o.Add(fmt.Appendf(nil, `{"name":"x","by_user":{"u%d":1}}`, i))
	}
	names, ok := o.apart("payload")
	if !ok || !reflect.DeepEqual(names, []string{"by_user", "name"}) {
		t.Fatalf("taken apart: %v, %v", names, ok)
	}
	if in := o.object.members["by_user"].Infer(); in.As != "json" {
		t.Errorf("by_user: %+v", in)
	}
	if _, ok := o.object.members["by_user"].apart("by_user"); ok {
		t.Error("by_user is taken apart")
	}
}

func TestObserved_WhichObjectsAreTakenApart(t *testing.T) {
	keys := func(n int) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, `,"k%d":%d`, i, i)
		}
		return "{" + b.String()[1:] + "}"
	}
	for _, tc := range []struct {
		name, value string
		apart       bool
	}{
		{"usage", `{"cost":1}`, true},
		{"usage", `{"cost":1}|null`, true},
		{"usage", `{"cost":1}|5`, false},
		{"usage", `{}`, false},
		{"Metadata", `{"cost":1}`, false},
		{"usage", keys(maxKeys), true},
		{"usage", keys(maxKeys + 1), false},
		{"usage", `{"` + strings.Repeat("n", maxName+1) + `":1}`, false},
		{"usage", `{"a\ud800":1}`, false},
		{"usage", `{"cost":1,"` + strings.Repeat("n", maxName+1) + `":1}`, false}, // as a column of the others alone would lose that one
		{"usage", `{"\u0061.b":1}`, true},
	} {
		if _, ok := observe(true, strings.Split(tc.value, "|")...).apart(tc.name); ok != tc.apart {
			t.Errorf("%s: %.60s: taken apart: %v", tc.name, tc.value, ok)
		}
	}
}

// The inferred type takes every value that was observed, exactly: columns say so, which share no code with inference but parsers.
func TestInfer_TypeTakesEveryValueExactly(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		values := drawValues(rt, 1)
		in := observe(false, values...).Infer()
		if in.Type == "" {
			return
		}
		c, err := column.New(in.Type)
		if err != nil {
			rt.Fatalf("%v: %v", values, err)
		}
		nullable := in.As == "" && (strings.HasPrefix(in.Type, "Array") || strings.HasPrefix(in.Type, "Map"))
		for _, v := range values {
			if v == "null" && nullable {
				continue // said in Why
			}
			text := []byte(v)
			if in.As == "json" && v != "null" {
				text, err = json.Marshal(v)
			}
			if err != nil {
				rt.Fatal(err)
			}
			if exact, err := column.AppendJSON(c, text, column.RFC3339); err != nil || !exact {
				rt.Fatalf("%v: %s does not take %s: %v, exact %v", values, in.Type, v, err, exact)
			}
		}
	})
}

func TestObserved_AddDoesNotAllocateForWhatItKnows(t *testing.T) {
	for _, v := range []string{"1", "-12345678901234567890123", "0.1234567890123456789", "1e308", `"some text"`, "null", "true",
		`"00112233-4455-6677-8899-aabbccddeeff"`, `"2026-11-22T14:44:47.123Z"`, `[1,"a",null]`, `{"a":{"b":[1]},"c":"x"}`} {
		o, text := observe(true, v), []byte(v)
		if allocs := testing.AllocsPerRun(100, func() { o.Add(text) }); allocs > 0 {
			t.Errorf("%s: %v allocations", v, allocs)
		}
	}
}

func BenchmarkObserved_Add(b *testing.B) {
	for _, v := range []string{"12345", "0.125", "0.1234567890123456", `"a text of some length, which is no moment"`, `"00112233-4455-6677-8899-aabbccddeeff"`,
		`"2026-11-22T14:44:47.123Z"`, `{"cost":0.25,"tokens":{"in":1,"out":2}}`} {
		b.Run(v, func(b *testing.B) {
			o, text := observe(true), []byte(v)
			b.ReportAllocs()
			for b.Loop() {
				o.Add(text)
			}
		})
	}
}
