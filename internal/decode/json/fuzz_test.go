package json

import (
	"bytes"
	"math/big"
	"os"
	"testing"

	jsonv2 "github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/waybill-data/waybill"
	"github.com/waybill-data/waybill/internal/column"
	"github.com/waybill-data/waybill/internal/contract"
)

// fuzzColumns has a column of every kind of writer; lenient ones never reject a record for a value.
func fuzzColumns(onInvalid contract.Policy) []contract.Column {
	types := []struct{ name, typ, from, as string }{
		{"raw", "String", "a", "json"}, {"s", "String", "s", ""}, {"lc", "LowCardinality(Nullable(String))", "s", ""},
		{"u", "UInt64", "u", ""}, {"i", "Int64", "u", ""}, {"i8", "Nullable(Int8)", "u", ""}, {"f", "Float64", "u", ""},
		{"f32", "Float32", "u", ""}, {"b", "Bool", "b", ""}, {"id", "UUID", "s", ""}, {"t", "DateTime64(3)", "s", ""},
		{"dt", "DateTime", "s", ""}, {"e", "Enum8('x' = 1)", "s", ""}, {"arr", "Array(LowCardinality(String))", "arr", ""},
		{"nest", "Array(Array(Nullable(Int32)))", "arr", ""}, {"m", "Map(LowCardinality(String), Array(String))", "a", ""},
		{"deep", "Nullable(String)", "a.s.s", ""},
	}
	var columns []contract.Column
	for _, c := range types {
		columns = append(columns, contract.Column{Name: c.name, Type: c.typ, From: c.from, As: c.as, OnInvalid: onInvalid})
	}
	return columns
}

func FuzzDecode(f *testing.F) {
	event, err := os.ReadFile("testdata/llm_call.json")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(event)
	for _, s := range []string{
		`{"a":{"s":{"s":"\ud83d\ude00"}},"s":"x","u":1e3,"b":true,"arr":[["1"],[null]]}`,
		`{"s":"2026-11-22T14:44:47.123Z","u":18446744073709551615,"arr":["a","b"],"x":1}`,
		`{"s":"7f9c24e8-3b12-4fef-91e0-1d2b3c4d5e6f","u":-1.5e-3}`, `{"u":1,"u":2}`, `[1]`, `{}x`, "{\"\xff\":1}", `{"s":"\ud800"}`,
	} {
		f.Add([]byte(s))
	}
	strict := newDecoder(f, contract.Contract{Columns: fuzzColumns(contract.DeadLetter), NewFields: contract.Modes{Default: contract.ModeFreeze}})
	lenient := newDecoder(f, contract.Contract{Columns: fuzzColumns(contract.Default)})
	f.Fuzz(func(t *testing.T, value []byte) {
		if value == nil {
			value = []byte{}
		}
		checkRejectedLeavesNothing(t, strict, value)
		checkRejectedLeavesNothing(t, lenient, value)
		checkAgainstJSONv2(t, lenient, value)
	})
}

// checkRejectedLeavesNothing decodes after a row that is already there.
func checkRejectedLeavesNothing(t *testing.T, d *Decoder, value []byte) {
	b := d.NewBlock()
	d.Decode(&waybill.Record{Topic: "t", Value: []byte(`{"s":"x","arr":["1"],"a":{"k":["v"]}}`)}, 1, b)
	rows, before := b.Rows(), wire(t, b)
	out := d.Decode(&waybill.Record{Topic: "t", Value: value}, 1, b)
	switch {
	case out.Kind == Tombstone:
		t.Fatal("a value is not a tombstone")
	case out.Kind == Written && b.Rows() != rows+1:
		t.Fatalf("a written record has left %d rows", b.Rows()-rows)
	case out.Kind == Rejected && (b.Rows() != rows || wire(t, b) != before):
		t.Fatalf("%q: the rejected record left something", value)
	}
	wire(t, b) // fails if the columns differ in length
}

// checkAgainstJSONv2 has another implementation say what is valid and what the values are.
func checkAgainstJSONv2(t *testing.T, d *Decoder, value []byte) {
	unmapped(d)
	b := d.NewBlock()
	out := d.Decode(&waybill.Record{Topic: "t", Value: value}, 1, b)
	var members map[string]jsontext.Value
	err := jsonv2.Unmarshal(value, &members)
	_, deep := tooDeep(value)
	if valid := err == nil && members != nil && !deep; valid != (out.Kind == Written) {
		t.Fatalf("%q: json/v2 says %v, we say %v %v", value, err, out.Kind, out.Reject)
	}
	if out.Kind != Written {
		return
	}
	col := func(name string) column.Column {
		for i, n := range b.Names {
			if n == name {
				return b.Columns[i]
			}
		}
		panic(name)
	}
	if raw := members["a"]; raw != nil && raw.Kind() != 'n' && show(col("raw"), 0) != string(raw) {
		t.Fatalf("as json: got %q, want %q", show(col("raw"), 0), raw)
	}
	var s string
	if raw := members["s"]; raw.Kind() == '"' && jsonv2.Unmarshal(raw, &s) == nil && show(col("s"), 0) != s {
		t.Fatalf("string: got %q, want %q", show(col("s"), 0), s)
	}
	checkInteger(t, members["u"], show(col("u"), 0))
	known := map[string]bool{"a": true, "s": true, "u": true, "b": true, "arr": true}
	var fields int64
	for name := range members {
		if !known[name] {
			fields++
		}
	}
	for _, n := range unmapped(d) {
		fields -= n
	}
	if fields != 0 {
		t.Fatalf("%q: %d unmapped fields are not counted", value, fields)
	}
}

// checkInteger compares with exact arithmetic; long exponents would take it too long.
func checkInteger(t *testing.T, raw jsontext.Value, got string) {
	if e := bytes.IndexAny(raw, "eE"); raw.Kind() != '0' || e >= 0 && len(raw)-e > 4 {
		return
	}
	want := "0" // what the policy writes
	exact, ok := new(big.Rat).SetString(string(raw))
	if !ok {
		t.Fatalf("big.Rat does not read %s", raw)
	}
	if exact.IsInt() && exact.Num().IsUint64() {
		want = exact.Num().String()
	}
	if got != want {
		t.Fatalf("%s as UInt64 is %s, want %s", raw, got, want)
	}
}
