package json

import (
	"cmp"
	"fmt"
	"strings"
	"testing"

	"github.com/waybill-data/waybill"
	"github.com/waybill-data/waybill/internal/contract"
	"github.com/waybill-data/waybill/internal/decode/json/oracle"
)

// semanticsColumns have a path through an object, a map, an array of maps and subtrees kept as text.
func semanticsColumns(onInvalid contract.Policy) []contract.Column {
	return []contract.Column{
		{Name: "n", Type: "UInt64", From: "a.n", OnInvalid: onInvalid},
		{Name: "deep", Type: "Nullable(Int64)", From: "a.b.c", OnInvalid: onInvalid},
		{Name: "whole", Type: "String", From: "a.b", As: "json"},
		{Name: "raw", Type: "String", From: "r", As: "json"},
		{Name: "m", Type: "Map(String, UInt8)", OnInvalid: onInvalid},
		{Name: "mm", Type: "Array(Map(String, Map(String, Int8)))", OnInvalid: onInvalid},
		{Name: "s", Type: "String", OnInvalid: onInvalid},
		{Name: "t", Type: "DateTime64(3)", Format: "unix", OnInvalid: onInvalid},
		{Name: "i32", Type: "Int32", OnInvalid: onInvalid},
	}
}

// semanticsContract is the strict one.
func semanticsContract() contract.Contract {
	return contract.Contract{Columns: semanticsColumns(contract.DeadLetter)}
}

// semantics are the cases that the text alone does not decide: which duplicate names matter, which problem is
// reported, where numbers may be in strings. want is the rejection as rejection writes it, cut after the
// code if only that matters, or the row of semanticsColumns in part.
var semantics = []struct {
	text    string
	lenient bool
	want    string
}{
	// Duplicates where paths lead.
	{`{"x":1,"x":2}`, false, `duplicate_key of "" at "x", byte 7`},
	{`{"x":1,"x":2}`, true, `duplicate_key of "" at "x", byte 7`},
	{`{"s":"a","s":"b"}`, false, `duplicate_key of "" at "s", byte 9`},
	{`{"s":"a","\u0073":"b"}`, false, `duplicate_key of "" at "s", byte 9`},
	{`{"":1,"":2}`, false, "duplicate_key of \"\" at \"``\", byte 6"},
	{`{"é":1,"\u00e9":2}`, false, `duplicate_key of "" at "é", byte 8`},
	{`{"😀":1,"\ud83d\ude00":2}`, false, `duplicate_key`},
	{`{"a":{"x":1,"x":2}}`, false, `duplicate_key of "" at "a.x", byte 12`},
	{`{"a":{"b":{"x":1,"x":2}}}`, false, `duplicate_key of "" at "a.b.x", byte 17`},
	{`{"a":{"b":{"c":1,"c":2}}}`, true, `duplicate_key of "" at "a.b.c", byte 17`},
	{`{"a":{},"a":{}}`, false, `duplicate_key of "" at "a", byte 8`},
	{`{"a":null,"a":{}}`, true, `duplicate_key of "" at "a", byte 10`},
	{`{"a.b":1,"a":{"b":{}}}`, false, `written`},
	{`{"a":{"n":1},"n":2,"N":3}`, false, `n="1"`},
	// Duplicates in values.
	{`{"m":{"k":1,"k":2}}`, false, `duplicate_key of "" at "m.k", byte 12`},
	{`{"m":{"k":1,"k":2}}`, true, `duplicate_key of "" at "m.k", byte 12`},
	{`{"m":{"k":1,"\u006b":1}}`, false, `duplicate_key of "" at "m.k", byte 12`},
	{`{"mm":[{"a":{}},{"a":{"b":1,"b":1}}]}`, false, `duplicate_key of "" at "mm[1].a.b", byte 28`},
	{`{"mm":[{"a":{},"a":{}}]}`, true, `duplicate_key of "" at "mm[0].a", byte 15`},
	{`{"mm":[{"a":{"x":1}},{"a":{"x":1}}]}`, false, `mm=[{"a" {"x" "1"}} {"a" {"x" "1"}}]`},
	// Not looked for: what is kept as text, what no column takes, what is no value of the column's type.
	{`{"r":{"x":1,"x":2}}`, false, `raw="{\"x\":1,\"x\":2}"`},
	{`{"r":[{"x":1,"x":2}]}`, false, `raw="[{\"x\":1,\"x\":2}]"`},
	{`{"z":{"x":1,"x":2},"y":[{"x":1,"x":2}]}`, false, `written`},
	{`{"a":{"z":{"x":1,"x":2}}}`, false, `written`},
	{`{"a":{"b":{"z":{"x":1,"x":2}}}}`, false, `written`},
	{`{"s":{"x":1,"x":2}}`, true, `s=""`},
	{`{"s":{"x":1,"x":2}}`, false, `wrong_type of "s" at "s", byte 5`},
	{`{"m":[{"x":1,"x":2}]}`, true, `m={}`},
	{`{"m":{"a":"no number","b":1,"b":2}}`, true, `m={}`},
	{`{"m":{"b":1,"b":2,"a":"no number"}}`, true, `duplicate_key of "" at "m.b", byte 12`},
	// Texts are strict everywhere, and come first.
	{`{"z":{"x":01}}`, false, `invalid_json`},
	{`{"r":{"x":"\ud800"}}`, false, `invalid_json of "" at "", byte 11`},
	{"{\"z\":\"\xff\"}", false, `invalid_utf8 of "" at "", byte 6`},
	{`{"x":1,"x":2,}`, false, `invalid_json of "" at "", byte 13`},
	{`{"x":1,"x":2`, false, `truncated of "" at "", byte 12`},
	{`{"x":1,"x":2}}`, false, `trailing_data of "" at "", byte 13`},
	{"{\"x\":1,\"x\":2,\"y\":\"\x80\"}", false, `invalid_utf8 of "" at "", byte 18`},
	{`{"s":1,"x":1,"x":2,"y":` + strings.Repeat("[", 128) + strings.Repeat("]", 128) + `}`, false, `too_deep of "" at "", byte 150`},
	{`[{"x":1,"x":1}]`, false, `not_an_object of "" at "", byte 0`},
	// Duplicates and fields in the order of the text, what is missing last.
	{`{"s":1,"x":1,"x":2}`, false, `wrong_type of "s" at "s", byte 5`},
	{`{"x":1,"x":2,"s":1}`, false, `duplicate_key of "" at "x", byte 7`},
	{`{"s":"x","s":1}`, false, `duplicate_key of "" at "s", byte 9`},
	{`{"i32":1.5,"s":1}`, false, `not_an_integer of "i32" at "i32", byte 7`},
	{`{"s":1,"i32":1.5}`, false, `wrong_type of "s" at "s", byte 5`},
	{`{"a":{"n":-1,"x":1,"x":1}}`, false, `out_of_range of "n" at "a.n", byte 10`},
	{`{"a":{"b":7,"n":-1}}`, false, `wrong_type of "deep" at "a.b.c", byte 10`},
	{`{"a":[]}`, false, `wrong_type of "n" at "a.n", byte 5`},
	// Numbers in strings: from 64 bits on, and moments in Unix time.
	{`{"a":{"n":"18446744073709551615"}}`, false, `n="18446744073709551615"`},
	{`{"a":{"n":"18446744073709551616"}}`, false, `out_of_range of "n" at "a.n", byte 10`},
	{`{"a":{"n":"1.8e1"}}`, false, `n="18"`},
	{`{"a":{"n":"1.5"}}`, false, `not_an_integer of "n" at "a.n", byte 10`},
	{`{"a":{"n":"\u0034\u0032"}}`, false, `n="42"`},
	{`{"a":{"n":""}}`, false, `bad_format of "n" at "a.n", byte 10`},
	{`{"a":{"n":"042"}}`, false, `bad_format`}, {`{"a":{"n":"+1"}}`, false, `bad_format`}, {`{"a":{"n":" 1"}}`, false, `bad_format`},
	{`{"a":{"n":"0x10"}}`, false, `bad_format`}, {`{"a":{"n":"1_0"}}`, false, `bad_format`}, {`{"a":{"n":"1."}}`, false, `bad_format`},
	{`{"a":{"n":"١"}}`, false, `bad_format`}, {`{"a":{"n":"1\u0000"}}`, false, `bad_format`}, {`{"a":{"n":"null"}}`, false, `bad_format`},
	{`{"a":{"n":"x"}}`, true, `n="0"`},
	{`{"a":{"b":{"c":"-9223372036854775808"}}}`, false, `deep="-9223372036854775808"`},
	{`{"a":{"b":{"c":"-9223372036854775809"}}}`, false, `out_of_range of "deep" at "a.b.c", byte 15`},
	{`{"i32":"1"}`, false, `wrong_type of "i32" at "i32", byte 7`},
	{`{"m":{"a":"1"}}`, false, `wrong_type of "m" at "m", byte 10`},
	{`{"t":"1.5"}`, false, `t="1500"`}, {`{"t":"1.0005"}`, false, `t="1000"`}, {`{"t":"-0.0001"}`, false, `t="-1"`},
	{`{"t":"1970-01-01T00:00:01Z"}`, false, `bad_format of "t" at "t", byte 5`},
	{`{"t":"1e400"}`, false, `out_of_range`}, {`{"t":true}`, false, `wrong_type`},
}

// The oracle says what the list says, and so does the decoder.
func TestDecoder_Semantics(t *testing.T) {
	for _, tc := range semantics {
		policy := contract.DeadLetter
		if tc.lenient {
			policy = contract.Default
		}
		c := contract.Contract{Columns: semanticsColumns(policy)}
		plan := compileVersion(t, c, 2)
		v := oracle.New(plan).Judge(&waybill.Record{Topic: "t", Value: []byte(tc.text)}, 1)
		if got := describe(v, plan.ColumnNames()); !strings.Contains(got, tc.want) {
			t.Errorf("the oracle of %s:\ngot  %s\nwant %s", tc.text, got, tc.want)
		}
		j := newJudge(t, "semantics", c)
		j.check(t, j.d.NewBlock(), []byte(tc.text))
	}
}

// describe is a verdict as the list above writes it.
func describe(v oracle.Verdict, names []string) string {
	if v.Reject != nil {
		return wantedRejection(v.Reject)
	}
	s := Written.String()
	for i, value := range v.Row {
		s += fmt.Sprintf(" %s=%v", names[i], value)
	}
	return s
}

// compileVersion compiles a contract against a table of just its columns for one version of the decoder.
func compileVersion(t testing.TB, c contract.Contract, version uint16) *contract.Plan {
	t.Helper()
	schema := contract.TableSchema{Database: "d", Table: "t", Columns: []contract.TableColumn{
		{Name: "_topic", Type: "String"}, {Name: "_partition", Type: "Int32"}, {Name: "_offset", Type: "Int64"}, {Name: "_epoch", Type: "UInt32"},
	}}
	for _, col := range c.Columns {
		schema.Columns = append(schema.Columns, contract.TableColumn{Name: col.Name, Type: col.Type})
	}
	c.NewFields.Default, c.TypeConflicts.Default = cmp.Or(c.NewFields.Default, contract.ModeDiscard), cmp.Or(c.TypeConflicts.Default, contract.ModeFreeze)
	p, err := contract.Compile(c, schema, contract.DefaultLineage(), version)
	if err != nil {
		t.Fatal(err)
	}
	return p
}
