package column

import (
	"strings"
	"testing"
)

// typical is a value of each type as events have it, for benchmarks and the allocation budget. The key may name a format.
var typical = []struct{ typ, format, json string }{
	{"String", "", `"The quick brown fox jumps over it"`}, {"FixedString(16)", "", `"0123456789abcdef"`},
	{"Int8", "", `-42`}, {"Int16", "", `-4242`}, {"Int32", "", `-424242`}, {"Int64", "", `-4242424242`},
	{"Int128", "", `-4242424242`}, {"Int128", "", `170141183460469231731687303715884105727`}, {"Int256", "", `4242424242`},
	{"UInt8", "", `42`}, {"UInt16", "", `4242`}, {"UInt32", "", `424242`}, {"UInt64", "", `"4242424242424242424"`}, {"UInt128", "", `4242`}, {"UInt256", "", `4242`},
	{"Float64", "", `0.0042`}, {"Float64", "", `37.774929499999998`}, {"Float64", "", `42`}, {"Float32", "", `0.7`}, {"BFloat16", "", `0.7`},
	{"Decimal(9, 2)", "", `12.34`}, {"Decimal(18, 4)", "", `1234.5678`}, {"Decimal(38, 10)", "", `0.00421`}, {"Decimal(38, 10)", "", `12345678901234567.8901234567`}, {"Decimal(76, 20)", "", `1234.5678`},
	{"Bool", "", `true`}, {"UUID", "", `"00112233-4455-6677-8899-aabbccddeeff"`}, {"IPv4", "", `"192.0.2.17"`}, {"IPv6", "", `"2001:db8::8a2e:370:7334"`},
	{"Date", "", `"2026-11-22"`}, {"Date32", "", `"2026-11-22"`}, {"DateTime", "", `"2026-11-22T14:44:47Z"`}, {"DateTime", "unix", `1795358687`},
	{"DateTime64(3)", "", `"2026-11-22T14:44:47.123Z"`}, {"DateTime64(3)", "unix_ms", `1795358687123`}, {"DateTime64(3)", "unix", `1795358687.123`},
	{"DateTime64(6)", "%F %T.%f in UTC", `"2026-11-22 14:44:47.123456"`}, {"DateTime64(6)", "%F %T.%f in Europe/Berlin", `"2026-11-22 14:44:47.123456"`},
	{"Time", "", `"14:44:47"`}, {"Time64(6)", "", `"14:44:47.123456"`},
	{"Enum8('error' = 1, 'ok' = 2)", "", `"ok"`}, {"Enum16('error' = 1, 'ok' = 2)", "", `"ok"`},
	{"Nullable(Int64)", "", `42`}, {"Nullable(String)", "", `null`}, {"LowCardinality(String)", "", `"gpt-5-mini"`}, {"LowCardinality(FixedString(8))", "", `"abcdefgh"`},
	{"JSON", "", `{"a":{"b":1},"c":"text","d":[1,2,3]}`},
	{"Variant(Bool, Float64, String)", "", `"text"`}, {"Variant(Bool, Float64, String)", "", `1.5`}, {"Dynamic", "", `42`}, {"Dynamic", "", `"text"`},
}

// bulk is about how many rows a column holds before it is emptied.
const bulk = 10_000

// appender returns what appends the value once, by the function that decoders use for a token of its kind.
func appender(tb testing.TB, c Column, format, json string) func() {
	tb.Helper()
	f, err := example{format: format}.parse()
	if err != nil {
		tb.Fatal(err)
	}
	raw := []byte(json)
	text := raw
	if kindOf(text) == TakesString {
		text = text[1 : len(text)-1]
	}
	run := func() error {
		switch c := c.(type) {
		case JSONTaker:
			_, err = c.AppendJSON(raw, f)
		case Texter:
			c.Append(text)
		default:
			_, err = AppendText(c, text, f)
		}
		return err
	}
	if err := run(); err != nil {
		tb.Fatalf("%s %s: %v", c.Type(), json, err)
	}
	return func() {
		if c.Rows() >= bulk {
			c.Reset()
		}
		if run() != nil {
			panic("column: refused now, taken before")
		}
	}
}

func BenchmarkAppend(b *testing.B) {
	for _, v := range typical {
		name := strings.ReplaceAll(v.typ+" "+v.format+" "+v.json, "/", "|")
		b.Run(name, func(b *testing.B) {
			run := appender(b, mustNew(b, v.typ), v.format, v.json)
			b.ReportAllocs()
			for b.Loop() {
				run()
			}
		})
	}
}

// A vector of an embedding, element by element.
func BenchmarkAppend_Embedding(b *testing.B) {
	for _, elem := range []string{"Float32", "Float64", "BFloat16"} {
		b.Run(elem, func(b *testing.B) {
			c := mustNew(b, "Array("+elem+")").(*Array)
			value := []byte("-0.018284912")
			b.ReportAllocs()
			for b.Loop() {
				if c.Rows() == 100 {
					c.Reset()
				}
				for c.Pending() < 1536 {
					if _, err := AppendNumber(c.Elem(), value); err != nil {
						b.Fatal(err)
					}
				}
				c.EndRow()
			}
		})
	}
}

// A value of any type is appended without an allocation once the column has grown.
func TestAppend_AllocatesNothing(t *testing.T) {
	covered := map[string]bool{}
	for _, v := range typical {
		c := mustNew(t, v.typ)
		run := appender(t, c, v.format, v.json)
		for range bulk {
			run()
		}
		c.Reset()
		if n := testing.AllocsPerRun(bulk/2, run); n != 0 {
			t.Errorf("%s %s %s: %v allocations for a value", v.typ, v.format, v.json, n)
		}
		covered[nameOf(t, v.typ)] = true
	}
	for _, e := range catalogue {
		switch name := nameOf(t, e.typ); name {
		case "Array", "Map", "Tuple", "Nested", "Point", "Ring", "LineString", "MultiLineString", "Polygon", "MultiPolygon", "SimpleAggregateFunction":
			// Made of others: see TestAppend_ContainersAllocateNothing.
		default:
			if !covered[name] {
				t.Errorf("%s has no typical value", name)
			}
		}
	}
}

func nameOf(tb testing.TB, typ string) string {
	tb.Helper()
	t, err := ParseType(typ)
	if err != nil {
		tb.Fatal(err)
	}
	return t.Name
}

func TestAppend_ContainersAllocateNothing(t *testing.T) {
	tags := mustNew(t, "Array(Tuple(LowCardinality(String), Nullable(Float64)))").(*Array)
	attributes := mustNew(t, "Map(String, UInt64)").(*Map)
	pair := tags.Elem().(*Tuple)
	run := func() {
		pair.Elems()[0].(Texter).AppendString("tag")
		score := pair.Elems()[1].(*Nullable)
		if _, err := AppendNumber(score.Inner(), []byte("0.5")); err != nil {
			panic(err)
		}
		score.EndRow()
		pair.EndRow()
		tags.EndRow()
		attributes.Keys().(Texter).AppendString("key")
		attributes.Values().(*UInt64).Append(1)
		attributes.EndRow()
	}
	for range bulk {
		run()
	}
	tags.Reset()
	attributes.Reset()
	if n := testing.AllocsPerRun(bulk/2, run); n != 0 {
		t.Errorf("%v allocations for a row", n)
	}
}
