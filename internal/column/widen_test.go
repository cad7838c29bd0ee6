package column

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/waybill-data/waybill/internal/testenv"
	"github.com/waybill-data/waybill/internal/testenv/chserver"
)

// widenTypes are types with the values at their bounds, as JSON.
var widenTypes = []struct {
	typ    string
	values []string
}{
	{"Int8", []string{"-128", "127"}},
	{"Int16", []string{"-32768", "32767"}},
	{"Int32", []string{"-2147483648", "2147483647"}},
	{"Int64", []string{"-9223372036854775808", "9223372036854775807"}},
	{"Int128", []string{"-170141183460469231731687303715884105728", "170141183460469231731687303715884105727"}},
	{"Int256", []string{"-57896044618658097711785492504343953926634992332820282019728792003956564819968", "7"}},
	{"UInt8", []string{"0", "255"}},
	{"UInt16", []string{"65535"}},
	{"UInt32", []string{"4294967295"}},
	{"UInt64", []string{"18446744073709551615"}},
	{"UInt128", []string{"340282366920938463463374607431768211455"}},
	{"UInt256", []string{"115792089237316195423570985008687907853269984665640564039457584007913129639935"}},
	{"BFloat16", []string{"1.5", "-0.0078125", "3.38953138925153547590470800371487866880e38"}},
	{"Float32", []string{"0.100000001490116119384765625", "-3.4028234663852886e38", "1.401298464324817e-45"}},
	{"Float64", []string{"0.1", "-1.7976931348623157e308", "5e-324"}},
	{"Decimal(9, 4)", []string{"99999.9999", "-0.0001"}},
	{"Decimal(18, 4)", []string{"99999999999999.9999", "-0.0001"}},
	{"Decimal(18, 10)", []string{"99999999.9999999999", "-0.0000000001"}},
	{"Decimal(38, 10)", []string{"9999999999999999999999999999.9999999999", "-1"}},
	{"Decimal(76, 36)", []string{"9999999999999999999999999999999999999999.999999999999999999999999999999999999", "-1"}},
	{"String", []string{`""`, `"é\u0000x"`}},
	{"FixedString(2)", []string{`""`, `"a"`, `"ab"`}},
	{"FixedString(3)", []string{`"a"`, `"abc"`}},
	{"LowCardinality(String)", []string{`""`, `"x"`}},
	{"LowCardinality(Nullable(String))", []string{`""`, "null"}},
	{"LowCardinality(FixedString(2))", []string{`"a"`}},
	{"LowCardinality(UInt16)", []string{"65535"}},
	{"Enum8('a' = -128, 'b\\'' = 127)", []string{`"a"`, `"b'"`}},
	{"Enum8('a' = -128, 'c' = 0, 'b\\'' = 127)", []string{`"a"`, `"c"`}},
	{"Enum8('c' = -128, 'a' = 0, 'b\\'' = 127)", []string{`"a"`, `"c"`}},
	{"Enum16('a' = -128, 'b\\'' = 127, 'far' = 300)", []string{`"a"`, `"far"`}},
	{"Bool", []string{"true", "false"}},
	{"UUID", []string{`"00112233-4455-6677-8899-aabbccddeeff"`}},
	{"IPv4", []string{`"1.2.3.4"`}},
	{"IPv6", []string{`"2001:db8::1"`}},
	{"Date", []string{`"1970-01-01"`, `"2149-06-06"`}},
	{"Date32", []string{`"1900-01-01"`, `"2299-12-31"`}},
	{"DateTime('UTC')", []string{`"1970-01-01T00:00:00Z"`, `"2106-02-07T06:28:15Z"`}},
	{"DateTime('Asia/Tokyo')", []string{`"1970-01-01T00:00:00Z"`}},
	{"DateTime64(0, 'UTC')", []string{`"1900-01-01T00:00:00Z"`, `"2299-12-31T23:59:59Z"`}},
	{"DateTime64(3, 'UTC')", []string{`"1900-01-01T00:00:00.001Z"`, `"2299-12-31T23:59:59.999Z"`}},
	{"DateTime64(6, 'Europe/Berlin')", []string{`"1900-01-01T00:00:00.000001Z"`, `"2299-12-31T23:59:59.999999Z"`}},
	{"DateTime64(9, 'UTC')", []string{`"1900-01-01T00:00:00.000000001Z"`, `"2262-04-11T23:47:16.854775807Z"`}},
	{"Time", []string{`"-999:59:59"`, `"999:59:59"`}},
	{"Time64(3)", []string{`"-999:59:59.999"`}},
	{"Time64(9)", []string{`"999:59:59.999999999"`}},
	{"Nullable(Int8)", []string{"null", "-128"}},
	{"Nullable(Int64)", []string{"null", "9223372036854775807"}},
	{"Nullable(Float64)", []string{"null", "0.1"}},
	{"Nullable(String)", []string{"null", `"x"`}},
	{"Nullable(FixedString(4))", []string{"null", `"x"`}},
	{"Nullable(Enum8('a' = 1))", []string{"null", `"a"`}},
	{"Nullable(UUID)", []string{"null"}},
	{"Nullable(Bool)", []string{"null", "false"}},
	{"Nullable(Date32)", []string{"null", `"1900-01-01"`}},
	{"Nullable(DateTime64(6, 'UTC'))", []string{"null", `"2299-12-31T23:59:59.999999Z"`}},
	{"Nullable(Decimal(38, 18))", []string{"null", "0.000000000000000001"}},
	{"Array(Int8)", []string{"[]", "[-128,127]"}},
	{"Array(Nullable(Int64))", []string{"[]", "[null,9223372036854775807]"}},
	{"Array(Float32)", []string{"[0.5]"}},
	{"Array(Nullable(Float64))", []string{"[0.1,null]"}},
	{"Array(String)", []string{`["","x"]`}},
	{"Array(FixedString(2))", []string{`["a","xy"]`}},
	{"Array(LowCardinality(String))", []string{`["","x"]`, `["x"]`}},
	{"Array(LowCardinality(Nullable(String)))", []string{`["",null]`}},
	{"Array(Nullable(String))", []string{`["",null]`}},
	{"Array(Enum8('a' = 1))", []string{`["a"]`}},
	{"Array(Array(UInt32))", []string{`[[1],[]]`}},
	{"Array(Array(Nullable(Int64)))", []string{`[[1,null],[]]`}},
	{"Map(String, UInt32)", []string{`{}`, `{"a":1,"b":4294967295}`}},
	{"Map(LowCardinality(String), UInt8)", []string{`{"a":1,"b":255}`}},
	{"Map(LowCardinality(String), Nullable(Int64))", []string{`{"a":1,"b":null}`}},
	{"Map(LowCardinality(String), String)", []string{`{"a":"x"}`}},
	{"Map(LowCardinality(String), Nullable(String))", []string{`{"a":"x","b":null}`}},
	{"Tuple(a Int8, b String)", []string{`{"a":1,"b":"x"}`}},
	{"Tuple(a Int64, b Nullable(String))", []string{`{"a":1,"b":null}`}},
	{"Tuple(Int8, String)", []string{`[1,"x"]`}},
	{"Tuple(b Int8, a String)", []string{`{"b":1,"a":"x"}`}},
	{"Nested(a UInt8, b String)", []string{`[{"a":1,"b":"x"}]`}},
	{"Point", []string{`[1.5,-2]`}},
	{"SimpleAggregateFunction(max, UInt32)", []string{"7"}},
	{"SimpleAggregateFunction(max, UInt64)", []string{"7"}},
	{"JSON", []string{`{"a":1}`}},
	{"Dynamic", []string{`1`}},
	{"Variant(String, UInt64)", []string{`1`}},
}

func mustParse(t *testing.T, text string) Type {
	t.Helper()
	typ, err := ParseType(text)
	if err != nil {
		t.Fatal(err)
	}
	return typ
}

// Each pair of types that Widens says yes to goes through a server twice: a block of the old type into a column of the new
// one, in both forms of INSERT, and rows stored as the old type altered to the new. Both must show what the same JSON
// values are in the new type.
func TestServer_WidensKeepsValues(t *testing.T) {
	srv := testenv.SharedClickHouse(t)
	db := testenv.Database(t, srv)
	pairs := 0
	for i, from := range widenTypes {
		var into []string
		for _, to := range widenTypes {
			if to.typ != from.typ && mustParse(t, to.typ).Widens(mustParse(t, from.typ)) {
				into = append(into, to.typ)
			}
		}
		for _, widest := range []Type{mustParse(t, from.typ).Widest(), mustParse(t, from.typ).Widest().NotNull()} {
			if text := widest.String(); text != from.typ && !slices.Contains(into, text) && widest.Widens(mustParse(t, from.typ)) {
				into = append(into, widest.String())
			}
		}
		if pairs += len(into); len(into) == 0 {
			continue
		}
		t.Run(from.typ, func(t *testing.T) {
			w := widening{t: t, srv: srv, table: fmt.Sprintf("%s.w%d", db, i), from: from.typ, to: into, values: from.values}
			w.check()
		})
	}
	t.Logf("%d pairs", pairs)
	if pairs < 200 {
		t.Errorf("only %d pairs were compared", pairs)
	}
}

// widening compares what becomes of one type's values in columns of other types.
type widening struct {
	t      *testing.T
	srv    *chserver.Server
	table  string
	from   string
	to     []string
	values []string
}

func (w *widening) check() {
	w.create("_want", w.to)
	send := overTCP(w.t, w.srv)
	plain, input := insertForms["plain"], insertForms["input"]
	insert := func(suffix string, form func(string, *Block) string, types []string) {
		b := w.block(types)
		if err := send(w.t.Context(), form(w.table+suffix, b), b.Input()); err != nil {
			w.t.Fatalf("%s: %v", suffix, err)
		}
	}
	insert("_want", plain, w.to)
	want := w.show("_want")

	for suffix, form := range map[string]func(string, *Block) string{"_plain": plain, "_input": input} {
		w.create(suffix, w.to)
		insert(suffix, form, w.old())
		w.same(suffix, want)
	}
	w.create("_altered", w.old())
	insert("_altered", plain, w.old())
	modify := make([]string, len(w.to))
	for i, typ := range w.to {
		modify[i] = fmt.Sprintf("MODIFY COLUMN v%d %s", i, typ)
	}
	testenv.Exec(w.t, w.srv.HTTPAddr(), "ALTER TABLE "+w.table+"_altered "+strings.Join(modify, ", "))
	w.same("_altered", want)
}

// old is the old type for each of the columns.
func (w *widening) old() []string { return slices.Repeat([]string{w.from}, len(w.to)) }

func (w *widening) create(suffix string, types []string) {
	columns := make([]string, len(types))
	for i, typ := range types {
		columns[i] = fmt.Sprintf("v%d %s", i, typ)
	}
	testenv.Exec(w.t, w.srv.HTTPAddr(), fmt.Sprintf("CREATE TABLE %s%s (id UInt32, %s) ENGINE = MergeTree ORDER BY id"+tableSettings,
		w.table, suffix, strings.Join(columns, ", ")))
}

// block has the values in columns of the types.
func (w *widening) block(types []string) *Block {
	names := []string{"id"}
	for i := range types {
		names = append(names, fmt.Sprintf("v%d", i))
	}
	b, err := NewBlock(names, append([]string{"UInt32"}, types...))
	if err != nil {
		w.t.Fatal(err)
	}
	for row, value := range w.values {
		b.Columns[0].(*UInt32).Append(uint32(row))
		for i, c := range b.Columns[1:] {
			if exact, err := AppendJSON(c, []byte(value), RFC3339); err != nil || !exact {
				w.t.Fatalf("%s is no value of %s: %v", value, types[i], err)
			}
		}
	}
	return b
}

func (w *widening) show(suffix string) [][]string {
	return testenv.QueryRows(w.t, w.srv.HTTPAddr(), "SELECT * FROM "+w.table+suffix+" ORDER BY id")
}

func (w *widening) same(suffix string, want [][]string) {
	for row, got := range w.show(suffix) {
		for i, text := range got[1:] {
			if text != want[row][i+1] {
				w.t.Errorf("%s: %s of %s is %s in %s, want %s", suffix, w.values[row], w.from, text, w.to[i], want[row][i+1])
			}
		}
	}
}

func TestWidens_RefusesWhatChangesValues(t *testing.T) {
	for _, tc := range [][2]string{
		{"Int8", "UInt64"}, {"UInt64", "Int64"}, {"Int64", "Float64"}, {"UInt32", "Float32"}, {"Float64", "Float32"}, {"Int64", "Int32"},
		{"Int8", "String"}, {"Bool", "UInt8"}, {"UInt8", "Bool"}, {"Bool", "String"}, {"Nullable(Int8)", "Int64"}, {"String", "FixedString(9)"},
		{"Enum8('a' = 1)", "Enum8('a' = 2)"}, {"Enum8('a' = 1, 'b' = 2)", "Enum8('a' = 1)"}, {"Date", "DateTime"}, {"DateTime64(3)", "DateTime64(9)"},
		{"DateTime64(6)", "DateTime64(3)"}, {"DateTime64(3)", "DateTime"}, {"IPv4", "IPv6"}, {"Decimal(9, 4)", "Decimal(18, 3)"}, {"Decimal(9, 4)", "Decimal(10, 6)"},
		{"Int64", "Decimal(18, 0)"}, {"Decimal(9, 0)", "Int64"}, {"Array(Nullable(Int8))", "Array(Int64)"}, {"Tuple(a Int8)", "Tuple(b Int8)"},
		{"Tuple(Int8)", "Tuple(Int8, Int8)"}, {"JSON", "String"}, {"UInt64", "Variant(String, UInt64)"}, {"FixedString(3)", "FixedString(2)"},
		{"LowCardinality(Nullable(String))", "String"},
	} {
		if mustParse(t, tc[1]).Widens(mustParse(t, tc[0])) {
			t.Errorf("%s is said to widen %s", tc[1], tc[0])
		}
	}
}

// Workers race, and one may be late: whatever two of them make of a column of one family, in whatever order, is the same.
func TestWidest_IsOneTypeOfTheFamily(t *testing.T) {
	for _, tc := range widenTypes {
		typ := mustParse(t, tc.typ)
		widest := typ.Widest()
		if !widest.Widens(typ) || widest.Widest().String() != widest.String() {
			t.Errorf("%s: the widest is %s, and of that %s", typ, widest, widest.Widest())
		}
		if _, err := ParseType(widest.String()); err != nil {
			t.Errorf("%s: %v", typ, err)
		}
	}
	for text, want := range map[string]string{
		"Int8": "Nullable(Int64)", "UInt32": "Nullable(Int64)", "Nullable(UInt8)": "Nullable(Int64)", "UInt64": "Nullable(UInt64)",
		"Float32": "Nullable(Float64)", "FixedString(3)": "Nullable(String)", "Enum8('a' = 1)": "LowCardinality(Nullable(String))",
		"LowCardinality(FixedString(3))": "LowCardinality(Nullable(String))", "LowCardinality(UInt8)": "LowCardinality(UInt8)",
		"Array(Int8)": "Array(Nullable(Int64))", "Map(String, Float32)": "Map(String, Nullable(Float64))", "Tuple(Int8)": "Tuple(Int8)",
		"Array(Tuple(Int8))": "Array(Tuple(Int8))", "JSON": "Nullable(JSON)", "Dynamic": "Dynamic", "Point": "Point",
		"DateTime64(3, 'UTC')": "Nullable(DateTime64(3, 'UTC'))", "SimpleAggregateFunction(max, UInt32)": "SimpleAggregateFunction(max, UInt32)",
	} {
		if got := mustParse(t, text).Widest().String(); got != want {
			t.Errorf("%s: the widest is %s, want %s", text, got, want)
		}
	}
}

// This is why Widest gives Enums no further names: the server takes an Enum in which a value has another name, and rows that have
// it are then shown under that. A server that refuses it would let Enums stay Enums.
func TestServer_EnumNamesAreNotCompared(t *testing.T) {
	srv := testenv.SharedClickHouse(t)
	table := testenv.Database(t, srv) + ".e"
	testenv.Exec(t, srv.HTTPAddr(), "CREATE TABLE "+table+" (v Enum8('a' = 1, 'mine' = 2)) ENGINE = MergeTree ORDER BY ()",
		"INSERT INTO "+table+" VALUES ('mine')",
		"ALTER TABLE "+table+" MODIFY COLUMN v Enum8('a' = 1, 'theirs' = 2)")
	if got := testenv.QueryValue(t, srv.HTTPAddr(), "SELECT v FROM "+table); got != "theirs" {
		t.Errorf("the row shows %s", got)
	}
}

// Blocks that are under way when their column is altered. Widened, they are read as the wider type. Renamed or dropped, the part has a column that the
// table does not have: its values are read by nobody, and every later mutation fails at it. Adding the column again mends both. (The statement is
// analysed before the ALTER, and its part is written after it.)
func TestServer_InsertsUnderWayAndAlters(t *testing.T) {
	srv := testenv.SharedClickHouse(t)
	db := testenv.Database(t, srv)
	for name, c := range map[string]struct {
		alter, want, later, mended string
	}{
		"widened":   {alter: "MODIFY COLUMN v Nullable(Int64)", want: "0,7,0|1,7,0"},
		"made text": {alter: "MODIFY COLUMN v Nullable(String)", want: "0,7,0|1,7,0"},
		"renamed":   {alter: "RENAME COLUMN v TO w", want: "0,7,0|1,0,0", later: "Unknown expression identifier `v`", mended: "0,7,0,0|1,0,0,7"},
		"dropped":   {alter: "DROP COLUMN v", want: "0,0|1,0", later: "Unknown expression identifier `v`", mended: "0,0,0|1,0,7"},
	} {
		table := db + ".`" + name + "`"
		rows := func() string {
			return testenv.QueryValue(t, srv.HTTPAddr(), "SELECT arrayStringConcat(groupArray(trim(BOTH '()' FROM replaceAll(toString(tuple(*)), '\\'', ''))), '|') FROM (SELECT * FROM "+table+" ORDER BY id)")
		}
		testenv.Exec(t, srv.HTTPAddr(), "CREATE TABLE "+table+" (id UInt8, v Int32, n UInt8) ENGINE = MergeTree ORDER BY id", "INSERT INTO "+table+" VALUES (0, 7, 0)")
		done := make(chan error)
		go func() {
			_, err := testenv.Query(srv.HTTPAddr(), "INSERT INTO "+table+" SELECT 1, 7, 0 FROM numbers(1) WHERE sleep(1.5) = 0")
			done <- err
		}()
		testenv.Eventually(t, time.Minute, "the insert is under way", func() bool {
			return testenv.QueryValue(t, srv.HTTPAddr(), "SELECT count() FROM system.processes WHERE query LIKE 'INSERT INTO%"+name+"%' AND elapsed > 0.2") == "1"
		})
		testenv.Exec(t, srv.HTTPAddr(), "ALTER TABLE "+table+" "+c.alter)
		if err := <-done; err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if got := rows(); got != c.want {
			t.Errorf("%s: the rows from before and under way are %s, want %s", name, got, c.want)
		}
		_, err := testenv.Query(srv.HTTPAddr(), "ALTER TABLE "+table+" MODIFY COLUMN n Int32")
		if failed := err != nil; failed != (c.later != "") || failed && !strings.Contains(err.Error(), c.later) {
			t.Errorf("%s: a later mutation: %v", name, err)
		}
		if c.mended == "" {
			continue
		}
		testenv.Exec(t, srv.HTTPAddr(), "ALTER TABLE "+table+" ADD COLUMN v Int32")
		testenv.Eventually(t, time.Minute, "the mutation goes on", func() bool {
			return testenv.QueryValue(t, srv.HTTPAddr(), "SELECT count() FROM system.mutations WHERE database = '"+db+"' AND table = '"+name+"' AND NOT is_done") == "0"
		})
		if got := rows(); got != c.mended {
			t.Errorf("%s: with the column added again the rows are %s, want %s", name, got, c.mended)
		}
	}
}
