package column

import (
	"fmt"
	"strings"
	"testing"

	"github.com/ClickHouse/ch-go"

	"github.com/waybill-data/waybill/internal/testenv"
)

func TestMain(m *testing.M) { testenv.Main(m) }

// A value for the round trip: nil is NULL, a string is itself and what CAST reads, a moment differs
// between the two, list is an Array and pairs a Map with keys and values in turn.
type (
	list   []any
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
	// Nested columns without a single element, in a block that has rows.
	{"Array(LowCardinality(String))", []any{list{}, list{}}},
	{"Map(LowCardinality(String), LowCardinality(String))", []any{pairs{}}},
}

// Every type goes through a real server twice: our block over the native protocol, and the same values
// as SQL literals. The server must show the same rows, and its default must be our zero.
func TestServer_RoundTripOfEveryType(t *testing.T) {
	srv := testenv.SharedClickHouse(t)
	db := testenv.Database(t, srv)
	client, err := ch.Dial(t.Context(), ch.Options{Address: srv.TCPAddr(), Database: db})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	for i, tc := range serverValues {
		t.Run(tc.typ, func(t *testing.T) {
			ours, theirs := fmt.Sprintf("%s.ours_%d", db, i), fmt.Sprintf("%s.theirs_%d", db, i)
			for _, table := range []string{ours, theirs} {
				testenv.Exec(t, srv.HTTPAddr(), fmt.Sprintf("CREATE TABLE %s (id UInt32, v %s) ENGINE = MergeTree ORDER BY id", table, tc.typ))
			}
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
				testenv.Exec(t, srv.HTTPAddr(), fmt.Sprintf("INSERT INTO %s SELECT %d, CAST(%s AS %s)", theirs, id, sqlLiteral(v), tc.typ))
			}
			in := b.Input()
			if err := client.Do(t.Context(), ch.Query{Body: "INSERT INTO " + ours + " (id, v) VALUES", Input: in}); err != nil {
				t.Fatal(err)
			}
			show := func(table string) string {
				return fmt.Sprint(testenv.QueryRows(t, srv.HTTPAddr(), "SELECT id, v FROM "+table+" ORDER BY id"))
			}
			if got, want := show(ours), show(theirs); got != want {
				t.Errorf("native block:\n%s\nSQL literals:\n%s", got, want)
			}
			typ, err := ParseType(tc.typ)
			if err != nil {
				t.Fatal(err)
			}
			described := testenv.QueryRows(t, srv.HTTPAddr(), "DESCRIBE TABLE "+ours)[1][1]
			if got := strings.NewReplacer(`\\`, `\`, `\'`, `'`).Replace(described); got != typ.String() {
				t.Errorf("DESCRIBE says %s, we say %s", got, typ)
			}
		})
	}
}

// Dictionaries with keys of one, two and four bytes.
func TestServer_LowCardinalityKeyWidths(t *testing.T) {
	srv := testenv.SharedClickHouse(t)
	db := testenv.Database(t, srv)
	client, err := ch.Dial(t.Context(), ch.Options{Address: srv.TCPAddr(), Database: db})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
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
		if err := client.Do(t.Context(), ch.Query{Body: "INSERT INTO " + table + " (id, v) VALUES", Input: b.Input()}); err != nil {
			t.Fatal(err)
		}
		wrong := testenv.QueryValue(t, srv.HTTPAddr(),
			fmt.Sprintf("SELECT count() - countIf(v = concat('v', toString(id %% %d))) + abs(count() - %d) FROM %s", distinct, distinct+10, table))
		if wrong != "0" {
			t.Errorf("%d distinct values: %s rows differ", distinct, wrong)
		}
	}
}
