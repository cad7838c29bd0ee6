package column

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/ClickHouse/ch-go"
	"github.com/ClickHouse/ch-go/proto"

	"github.com/waybill-data/waybill/internal/testenv"
	"github.com/waybill-data/waybill/internal/testenv/chserver"
)

func TestMain(m *testing.M) { testenv.Main(m) }

// A value for the round trip: nil is NULL, a string is itself and what CAST reads, a moment differs
// between the two, list is an Array, tuple a Tuple and pairs a Map with keys and values in turn.
type (
	list   []any
	tuple  []any
	pairs  []any
	moment struct{ rfc3339, sql string }
)

// put appends a value to a column by our own appenders.
func put(t *testing.T, c Column, v any) {
	t.Helper()
	switch v := v.(type) {
	case nil:
		c.(Nuller).AppendNull()
	case string, moment:
		text, ok := v.(string)
		if !ok {
			text = v.(moment).rfc3339
		}
		if _, err := AppendText(c, []byte(text), RFC3339); err != nil {
			t.Fatalf("%s: %q: %v", c.Type(), text, err)
		}
	case list:
		a := c.(*Array)
		for _, e := range v {
			put(t, a.Elem(), e)
		}
		a.EndRow()
	case tuple:
		tup := c.(*Tuple)
		for i, e := range v {
			put(t, tup.Elems()[i], e)
		}
		tup.EndRow()
	case pairs:
		m := c.(*Map)
		for i := 0; i < len(v); i += 2 {
			put(t, m.Keys(), v[i])
			put(t, m.Values(), v[i+1])
		}
		m.EndRow()
	}
}

// sqlLiteral is the value as ClickHouse's own parser reads it.
func sqlLiteral(v any) string {
	elems := func(vs []any) string {
		out := make([]string, len(vs))
		for i, e := range vs {
			out[i] = sqlLiteral(e)
		}
		return strings.Join(out, ", ")
	}
	switch v := v.(type) {
	case string:
		return quote(v)
	case moment:
		return v.sql
	case list:
		return "[" + elems(v) + "]"
	case tuple:
		return "tuple(" + elems(v) + ")"
	case pairs:
		return "map(" + elems(v) + ")"
	}
	return "NULL"
}

var serverValues = []struct {
	typ    string
	values []any
}{
	{"String", []any{"", "plain", "Größe \x01 'q' \\", strings.Repeat("x", 300)}},
	{"Int8", []any{"-128", "127"}},
	{"Int16", []any{"-32768", "32767"}},
	{"Int32", []any{"-2147483648", "2147483647"}},
	{"Int64", []any{"-9223372036854775808", "9223372036854775807"}},
	{"UInt8", []any{"0", "255"}},
	{"UInt16", []any{"65535"}},
	{"UInt32", []any{"4294967295"}},
	{"UInt64", []any{"18446744073709551615"}},
	{"Float32", []any{"1.5", "-3.4e38", "0.1"}},
	{"Float64", []any{"0.1", "-1.7976931348623157e308", "5e-324"}},
	{"Bool", []any{"true", "false"}},
	{"UUID", []any{"00112233-4455-6677-8899-aabbccddeeff"}},
	{"DateTime('UTC')", []any{
		moment{"2026-11-22T14:44:47Z", "'2026-11-22 14:44:47'"},
		moment{"2106-02-07T06:28:15Z", "4294967295"},
	}},
	{"DateTime64(3, 'UTC')", []any{
		moment{"2026-11-22T14:44:47.123Z", "'2026-11-22 14:44:47.123'"},
		moment{"1900-01-01T00:00:00Z", "'1900-01-01 00:00:00.000'"},
		moment{"2299-12-31T23:59:59.999Z", "'2299-12-31 23:59:59.999'"},
	}},
	{"DateTime64(6, 'Europe/Berlin')", []any{
		moment{"2026-07-01T12:00:00.000001+02:00", "'2026-07-01 12:00:00.000001'"},
		moment{"2026-11-22T00:30:00.5-05:00", "'2026-11-22 06:30:00.500000'"},
	}},
	{"DateTime64(9, 'UTC')", []any{
		moment{"2262-04-11T23:47:16.854775807Z", "'2262-04-11 23:47:16.854775807'"},
		moment{"1900-01-01T00:00:00.000000001Z", "'1900-01-01 00:00:00.000000001'"},
	}},
	{`Enum8('it\'s' = -5, 'ok' = 1)`, []any{"ok", "it's"}},
	{"Enum16('b' = -300, 'a' = 300)", []any{"a", "b"}},
	{"LowCardinality(String)", []any{"a", "", "a", "b"}},
	{"LowCardinality(Nullable(String))", []any{"a", nil, "", "a"}},
	{"Nullable(String)", []any{nil, "", "x"}},
	{"Nullable(Int64)", []any{nil, "-1"}},
	{"Nullable(UUID)", []any{nil, "00112233-4455-6677-8899-aabbccddeeff"}},
	{"Nullable(DateTime64(3, 'UTC'))", []any{nil, moment{"2026-11-22T14:44:47Z", "'2026-11-22 14:44:47.000'"}}},
	{"Nullable(Bool)", []any{nil, "true"}},
	{"Array(String)", []any{list{}, list{"a", ""}}},
	{"Array(UInt16)", []any{list{"1", "65535"}, list{}}},
	{"Array(Nullable(Float64))", []any{list{"1.5", nil}}},
	{"Array(LowCardinality(String))", []any{list{"a", "b"}, list{}, list{"a"}}},
	{"Array(LowCardinality(Nullable(String)))", []any{list{"a", nil, ""}}},
	{"Array(Array(LowCardinality(String)))", []any{list{list{"a"}, list{}}, list{}}},
	{"Map(String, String)", []any{pairs{}, pairs{"k", "v", "l", ""}}},
	{"Map(LowCardinality(String), String)", []any{pairs{"k", "v"}, pairs{"k", "w", "j", "v"}}},
	{"Map(LowCardinality(String), LowCardinality(Nullable(String)))", []any{pairs{"k", nil}, pairs{"k", "v"}}},
	{"Map(String, Array(LowCardinality(String)))", []any{pairs{"k", list{"a", "b"}, "l", list{}}}},
	{"Array(Map(LowCardinality(String), UInt64))", []any{list{pairs{"a", "1"}, pairs{}}, list{}}},
	{"Map(String, Map(LowCardinality(String), Nullable(Int8)))", []any{pairs{"k", pairs{"a", "-1", "b", nil}}}},
	{"Int128", []any{"-170141183460469231731687303715884105728", "170141183460469231731687303715884105727"}},
	{"Int256", []any{"-57896044618658097711785492504343953926634992332820282019728792003956564819968", "-1",
		"57896044618658097711785492504343953926634992332820282019728792003956564819967"}},
	{"UInt128", []any{"340282366920938463463374607431768211455"}},
	{"UInt256", []any{"115792089237316195423570985008687907853269984665640564039457584007913129639935"}},
	{"BFloat16", []any{"1.5", "-0.0078125", "0"}},
	{"Decimal(9, 4)", []any{"99999.9999", "-99999.9999", "0.0001", "1"}},
	{"Decimal(18, 0)", []any{"999999999999999999", "-1"}},
	{"Decimal(38, 10)", []any{"9999999999999999999999999999.9999999999", "-0.0000000001"}},
	{"Decimal(76, 76)", []any{"0.9999999999999999999999999999999999999999999999999999999999999999999999999999", "-0.1"}},
	{"FixedString(4)", []any{"", "ab", "abcd"}},
	{"IPv4", []any{"0.0.0.0", "1.2.3.4", "255.255.255.255"}},
	{"IPv6", []any{"::", "2001:db8::1", "::ffff:1.2.3.4", "1.2.3.4"}},
	{"Date", []any{"1970-01-01", "2149-06-06", "2026-11-22"}},
	{"Date32", []any{"1900-01-01", "2299-12-31", "1969-12-31"}},
	{"Time", []any{"-999:59:59", "999:59:59", "12:34:56"}},
	{"Time64(3)", []any{"-999:59:59.999", "12:34:56.789", "00:00:00.001"}},
	{"Time64(9)", []any{"999:59:59.999999999"}},
	{"Nullable(Decimal(18, 2))", []any{nil, "-1.25"}},
	{"Nullable(FixedString(2))", []any{nil, "a"}},
	{"Nullable(Date32)", []any{nil, "2026-11-22"}},
	{"Nullable(IPv6)", []any{nil, "::1"}},
	{"Nullable(BFloat16)", []any{nil, "2"}},
	{"Nullable(Time64(3))", []any{nil, "01:00:00.5"}},
	{"Nullable(JSON)", []any{nil, `{"a":1}`}},
	{"LowCardinality(FixedString(3))", []any{"abc", "", "abc", "x"}},
	{"LowCardinality(Nullable(FixedString(3)))", []any{"abc", nil, "", "abc"}},
	{"LowCardinality(UInt64)", []any{"1", "18446744073709551615", "1", "0"}},
	{"LowCardinality(Nullable(Int8))", []any{"-1", nil, "-1", "0"}},
	{"LowCardinality(Int256)", []any{"-1", "5"}},
	{"LowCardinality(Float64)", []any{"0.5", "-1e300"}},
	{"LowCardinality(Bool)", []any{"true", "false", "true"}},
	{"LowCardinality(UUID)", []any{"00112233-4455-6677-8899-aabbccddeeff", "00112233-4455-6677-8899-aabbccddeeff"}},
	{"LowCardinality(IPv4)", []any{"1.2.3.4"}},
	{"LowCardinality(IPv6)", []any{"::1"}},
	{"LowCardinality(Date)", []any{"2026-11-22", "2026-11-23", "2026-11-22"}},
	{"LowCardinality(Date32)", []any{"2026-11-22"}},
	{"LowCardinality(DateTime('UTC'))", []any{moment{"2026-11-22T14:44:47Z", "'2026-11-22 14:44:47'"}}},
	{"LowCardinality(Time)", []any{"01:00:00"}},
	{"LowCardinality(BFloat16)", []any{"1.5"}},
	{"Array(LowCardinality(Nullable(UInt16)))", []any{list{"1", nil}, list{}}},
	{"Map(UInt64, String)", []any{pairs{"18446744073709551615", "x"}, pairs{}}},
	{"Map(Int8, UInt8)", []any{pairs{"-1", "2"}}},
	{"Map(UUID, String)", []any{pairs{"00112233-4455-6677-8899-aabbccddeeff", "x"}}},
	{"Map(Date, UInt8)", []any{pairs{"2026-11-22", "1"}}},
	{"Map(Enum8('a' = 1), UInt8)", []any{pairs{"a", "1"}}},
	{"Map(FixedString(2), UInt8)", []any{pairs{"ab", "1"}}},
	{"Map(LowCardinality(FixedString(2)), UInt8)", []any{pairs{"ab", "1", "cd", "2"}}},
	{"Map(LowCardinality(UInt32), UInt8)", []any{pairs{"7", "1"}}},
	{"Map(IPv6, UInt8)", []any{pairs{"::1", "1"}}},
	{"Map(Bool, UInt8)", []any{pairs{"true", "1"}}},
	{"Map(Decimal(9, 2), UInt8)", []any{pairs{"1.25", "1"}}},
	{"Map(Int128, UInt8)", []any{pairs{"-1", "1"}}},
	{"Map(String, JSON)", []any{}},
	{"Tuple(Int8, String)", []any{tuple{"-1", "x"}, tuple{"0", ""}}},
	{"Tuple(a Int8, `b c` Nullable(String), d LowCardinality(String))", []any{tuple{"1", nil, "x"}, tuple{"2", "y", "x"}}},
	{"Array(Tuple(k String, v Array(Float32)))", []any{list{tuple{"a", list{"1.5", "2"}}, tuple{"b", list{}}}, list{}}},
	{"Nested(a Int8, b LowCardinality(String))", []any{list{tuple{"1", "x"}, tuple{"2", "y"}}, list{}}},
	{"Point", []any{tuple{"1.5", "-2"}}},
	{"Ring", []any{list{tuple{"0", "0"}, tuple{"1", "1"}}}},
	{"LineString", []any{list{tuple{"0", "0"}}}},
	{"MultiLineString", []any{list{list{tuple{"0", "0"}}, list{}}}},
	{"Polygon", []any{list{list{tuple{"0", "0"}, tuple{"1", "0"}}}}},
	{"MultiPolygon", []any{list{list{list{tuple{"0", "0"}}}}}},
	{"SimpleAggregateFunction(sum, UInt64)", []any{"7"}},
	{"SimpleAggregateFunction(groupArrayArray(3), Array(String))", []any{list{"a", "b"}}},
	{"SimpleAggregateFunction(anyLast, Nullable(String))", []any{"x", nil}},
	{"JSON", []any{`{}`, `{"a":{"b":[1,2]},"c":"x","d":null,"e":1.5}`}},
	{"JSON(max_dynamic_paths=4, `a.b` UInt32, SKIP x)", []any{`{"a":{"b":7},"x":1,"y":[{"z":1}]}`}},
	{"Array(JSON)", []any{}},
	{"Tuple(j JSON, n Int8)", []any{}},
	{"Variant(Array(String), String, UInt64)", []any{nil}},
	{"Dynamic", []any{nil, nil}},
	{"Dynamic(max_types=3)", []any{nil}},
	{"Array(Dynamic)", []any{}},
	// Nested columns without a single element, in a block that has rows.
	{"Array(LowCardinality(String))", []any{list{}, list{}}},
	{"Map(LowCardinality(String), LowCardinality(String))", []any{pairs{}}},
}

// sender sends a statement with one block of data to a database. The round trips run over any of them.
type sender func(ctx context.Context, statement string, in proto.Input) error

// transports are what the round trips run over.
var transports = map[string]func(t *testing.T, srv *chserver.Server) sender{"tcp": overTCP}

// ways are the transports, each with both forms of INSERT.
func ways(t *testing.T, srv *chserver.Server, run func(name string, send func(table string, b *Block) error)) {
	t.Helper()
	for transport, open := range transports {
		send := open(t, srv)
		for form, statement := range insertForms {
			run(transport+"_"+form, func(table string, b *Block) error {
				return send(t.Context(), statement(table, b), b.Input())
			})
		}
	}
}

// overTCP sends over the native protocol.
func overTCP(t *testing.T, srv *chserver.Server) sender {
	t.Helper()
	return func(ctx context.Context, statement string, in proto.Input) error {
		client, err := ch.Dial(ctx, ch.Options{Address: srv.TCPAddr()})
		if err != nil {
			return err
		}
		defer client.Close()
		return client.Do(ctx, ch.Query{Body: statement, Input: in, Settings: []ch.Setting{
			{Key: "async_insert", Value: "0", Important: true},
			{Key: "insert_null_as_default", Value: "0", Important: true},
		}})
	}
}

// The two forms of an INSERT that deliveries are made with: see clickhouse.Insert.
var insertForms = map[string]func(table string, b *Block) string{
	"plain": func(table string, b *Block) string {
		return fmt.Sprintf("INSERT INTO %s (%s) FORMAT Native", table, strings.Join(b.Names, ", "))
	},
	"input": func(table string, b *Block) string {
		structure := make([]string, len(b.Names))
		for i, n := range b.Names {
			structure[i] = n + " " + string(b.Columns[i].Type())
		}
		list := strings.Join(b.Names, ", ")
		return fmt.Sprintf("INSERT INTO %s (%s) SELECT %s FROM input(%s) WHERE throwIf(nowInBlock64(3) > fromUnixTimestamp64Milli(%d), 'late') = 0 FORMAT Native",
			table, list, list, quote(strings.Join(structure, ", ")), time.Now().Add(time.Hour).UnixMilli())
	},
}

// createTable makes a table with a column v of a type.
func createTable(t *testing.T, srv *chserver.Server, table, typ string) {
	t.Helper()
	testenv.Exec(t, srv.HTTPAddr(), fmt.Sprintf("CREATE TABLE %s (id UInt32, v %s) ENGINE = MergeTree ORDER BY id"+tableSettings, table, typ))
}

// tableSettings allow what some of the types need: a Nested that stays one column, and LowCardinality of numbers.
const tableSettings = " SETTINGS flatten_nested = 0, allow_suspicious_low_cardinality_types = 1"

// Every type goes through a real server: our block in both forms of INSERT, and the same values as SQL literals. The server
// must show the same rows, and its default must be our zero.
func TestServer_RoundTripOfEveryType(t *testing.T) {
	srv := testenv.SharedClickHouse(t)
	db := testenv.Database(t, srv)
	for i, tc := range serverValues {
		t.Run(tc.typ, func(t *testing.T) {
			theirs := fmt.Sprintf("%s.theirs_%d", db, i)
			createTable(t, srv, theirs, tc.typ)
			b, err := NewBlock([]string{"id", "v"}, []string{"UInt32", tc.typ})
			if err != nil {
				t.Fatal(err)
			}
			for id, v := range append(tc.values, "zero") {
				b.Columns[0].(*UInt32).Append(uint32(id))
				if id == len(tc.values) {
					b.Columns[1].AppendZero()
					testenv.Exec(t, srv.HTTPAddr(), fmt.Sprintf("INSERT INTO %s (id) VALUES (%d)", theirs, id))
					continue
				}
				put(t, b.Columns[1], v)
				testenv.Exec(t, srv.HTTPAddr(), fmt.Sprintf("INSERT INTO %s SELECT %d, CAST(%s AS %s)"+tableSettings, theirs, id, sqlLiteral(v), tc.typ))
			}
			ways(t, srv, func(way string, send func(string, *Block) error) {
				ours := fmt.Sprintf("%s.%s_%d", db, way, i)
				createTable(t, srv, ours, tc.typ)
				if err := send(ours, b); err != nil {
					t.Fatalf("%s: %v", way, err)
				}
				if got, want := showTable(t, srv, ours), showTable(t, srv, theirs); got != want {
					t.Errorf("native block, %s:\n%s\nSQL literals:\n%s", way, got, want)
				}
			})
			checkDescribed(t, srv, theirs, tc.typ)
		})
	}
}

func showTable(t *testing.T, srv *chserver.Server, table string) string {
	t.Helper()
	return fmt.Sprint(testenv.QueryRows(t, srv.HTTPAddr(), "SELECT id, v, toTypeName(v) FROM "+table+" ORDER BY id"))
}

// checkDescribed compares how we spell a type with how the server does.
func checkDescribed(t *testing.T, srv *chserver.Server, table, typ string) {
	t.Helper()
	parsed, err := ParseType(typ)
	if err != nil {
		t.Fatal(err)
	}
	described := testenv.QueryRows(t, srv.HTTPAddr(), "SELECT type FROM system.columns WHERE name = 'v' AND database || '.' || table = '"+table+"'")[0][0]
	if got := strings.NewReplacer(`\\`, `\`, `\'`, `'`).Replace(described); got != parsed.String() {
		t.Errorf("DESCRIBE says %s, we say %s", got, parsed)
	}
}

// The document says so: the server refuses input() of a Variant of similar types, and only that.
func TestServer_VariantOfSimilarTypes(t *testing.T) {
	const typ = "Variant(Float64, UInt32)"
	srv := testenv.SharedClickHouse(t)
	db := testenv.Database(t, srv)
	b, err := NewBlock([]string{"id", "v"}, []string{"UInt32", typ})
	if err != nil {
		t.Fatal(err)
	}
	for i, json := range []string{"-1.5", "4294967295"} {
		b.Columns[0].(*UInt32).Append(uint32(i))
		mustAppend(b.Columns[1], json)
	}
	ways(t, srv, func(way string, send func(string, *Block) error) {
		table := db + "." + way
		testenv.Exec(t, srv.HTTPAddr(), "CREATE TABLE "+table+" (id UInt32, v "+typ+") ENGINE = MergeTree ORDER BY id SETTINGS allow_suspicious_variant_types = 1")
		err := send(table, b)
		if strings.HasSuffix(way, "input") {
			if err == nil || !strings.Contains(err.Error(), "allow_suspicious_variant_types") {
				t.Errorf("%s: %v", way, err)
			}
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		want := "[[-1.5 Float64] [4294967295 UInt32]]"
		if got := fmt.Sprint(testenv.QueryRows(t, srv.HTTPAddr(), "SELECT v, variantType(v) FROM "+table+" ORDER BY id")); got != want {
			t.Errorf("%s: %s, want %s", way, got, want)
		}
	})
}

// Dictionaries with keys of one, two and four bytes.
func TestServer_LowCardinalityKeyWidths(t *testing.T) {
	srv := testenv.SharedClickHouse(t)
	db := testenv.Database(t, srv)
	send := overTCP(t, srv)
	for _, distinct := range []int{256, 257, 65_536, 65_537} {
		table := fmt.Sprintf("%s.lc_%d", db, distinct)
		testenv.Exec(t, srv.HTTPAddr(), "CREATE TABLE "+table+" (id UInt32, v LowCardinality(String)) ENGINE = MergeTree ORDER BY id")
		b, err := NewBlock([]string{"id", "v"}, []string{"UInt32", "LowCardinality(String)"})
		if err != nil {
			t.Fatal(err)
		}
		for i := range distinct + 10 {
			b.Columns[0].(*UInt32).Append(uint32(i))
			b.Columns[1].(Texter).AppendString(fmt.Sprintf("v%d", i%distinct))
		}
		if err := send(t.Context(), insertForms["plain"](table, b), b.Input()); err != nil {
			t.Fatal(err)
		}
		wrong := testenv.QueryValue(t, srv.HTTPAddr(),
			fmt.Sprintf("SELECT count() - countIf(v = concat('v', toString(id %% %d))) + abs(count() - %d) FROM %s", distinct, distinct+10, table))
		if wrong != "0" {
			t.Errorf("%d distinct values: %s rows differ", distinct, wrong)
		}
	}
}
