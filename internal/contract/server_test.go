package contract

import (
	"encoding/json"
	"fmt"
	"math/big"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/waybill-data/waybill/internal/testenv"
)

func TestMain(m *testing.M) { testenv.Main(m) }

// describe is the table as the server has it.
func describe(t *testing.T, addr, db, table string) TableSchema {
	t.Helper()
	s := TableSchema{Database: db, Table: table}
	body, err := testenv.Query(addr, fmt.Sprintf("SELECT name, type, default_kind, comment, compression_codec FROM system.columns WHERE database = '%s' AND table = '%s' ORDER BY position FORMAT JSONEachRow", db, table))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(body) {
		var c struct{ Name, Type, Default_kind, Comment, Compression_codec string }
		if err := json.Unmarshal([]byte(line), &c); err != nil {
			t.Fatal(err)
		}
		s.Columns = append(s.Columns, TableColumn{Name: c.Name, Type: c.Type, DefaultKind: c.Default_kind, DefaultExpr: c.Compression_codec, Comment: c.Comment})
	}
	return s
}

// The statements do what Evolve says, as often as they are carried out, and leave everything else of the column alone; the
// plan of the altered table has the columns.
func TestServer_ChangesAreMadeOnce(t *testing.T) {
	srv := testenv.SharedClickHouse(t)
	db := testenv.Database(t, srv)
	testenv.Exec(t, srv.HTTPAddr(), "CREATE TABLE "+db+".`t``x` (n Int8 COMMENT 'mine' CODEC(ZSTD(3)), d UInt8 DEFAULT 7 COMMENT 'too', _rescued String, "+
		"_topic String, _partition UInt16, _offset UInt64, _epoch UInt32) ENGINE = MergeTree ORDER BY _offset",
		"INSERT INTO "+db+".`t``x` (n, _offset) VALUES (-5, 1)")
	c := evolving(Column{Name: "n", Type: "Int8"}, Column{Name: "d", Type: "UInt8"})
	s := describe(t, srv.HTTPAddr(), db, "t`x")
	drift := []FieldDrift{conflictDrift("n", "300", "null"), conflictDrift("d", "-1"), newFieldDrift("it's.`a\\b.c`", `{"x":1,"tags":{"k":"v"}}`), newFieldDrift("mixed", `1`, `"x"`)}
	e := Evolve(c, compile(t, c, s), s, drift)
	if len(e.Changes) != 5 || len(e.Held) != 0 {
		t.Fatalf("%q", brief(e))
	}
	for range 2 {
		for _, change := range e.Changes {
			testenv.Exec(t, srv.HTTPAddr(), change.SQL(db, "t`x", ""))
		}
	}
	now := describe(t, srv.HTTPAddr(), db, "t`x")
	p := compile(t, c, now)
	for _, change := range e.Changes {
		if col, ok := p.column(change.Column); !ok || col.Type != change.Type || change.Kind == AddColumn && (col.Path != change.Path || col.As != change.As) {
			t.Errorf("%+v became %+v", change, col)
		}
	}
	for i, want := range []TableColumn{{"n", "Nullable(Int64)", "", "CODEC(ZSTD(3))", "mine", false}, {"d", "Int64", "DEFAULT", "", "too", false}} {
		if now.Columns[i] != want {
			t.Errorf("the column is %+v, want %+v", now.Columns[i], want)
		}
	}
	if rest := Evolve(c, p, now, drift); len(rest.Changes) > 0 {
		t.Errorf("the same drift changes the table again: %q", brief(rest))
	}
	if got := testenv.QueryRows(t, srv.HTTPAddr(), "SELECT n, d, mixed FROM "+db+".`t``x`"); fmt.Sprint(got) != `[[-5 7 \N]]` {
		t.Errorf("the old row is %q", got)
	}
}

// Values go into a real column of the type that is inferred for them, and read back as the same numbers, strings, moments.
func TestServer_InferredTypesReadBack(t *testing.T) {
	srv := testenv.SharedClickHouse(t)
	db := testenv.Database(t, srv)
	gen := rapid.Custom(func(rt *rapid.T) []string { return drawValues(rt, 1) })
	types := map[string]int{}
	for i := range 400 {
		values := gen.Example(i)
		in := observe(false, values...).Infer()
		if in.Type == "" {
			continue
		}
		types[in.Type+" "+in.As]++
		table := fmt.Sprintf("%s.t%d", db, i)
		var rows, sent []string
		for id, v := range values {
			if v == "null" && !strings.HasPrefix(in.Type, "Nullable") {
				continue // rescued, and Why says so
			}
			text := v
			if in.As == "json" && v != "null" {
				quoted, err := json.Marshal(v)
				if err != nil {
					t.Fatal(err)
				}
				text = string(quoted)
			}
			sent = append(sent, text)
			rows = append(rows, fmt.Sprintf(`{"id":%d,"v":%s}`, id, text))
		}
		testenv.Exec(t, srv.HTTPAddr(), fmt.Sprintf("CREATE TABLE %s (id UInt32, v %s) ENGINE = MergeTree ORDER BY id", table, in.Type))
		if len(rows) > 0 {
			testenv.Exec(t, srv.HTTPAddr(), "INSERT INTO "+table+" SETTINGS date_time_input_format = 'best_effort', precise_float_parsing = 1 FORMAT JSONEachRow\n"+strings.Join(rows, "\n"))
		}
		body, err := testenv.Query(srv.HTTPAddr(), "SELECT v FROM "+table+" ORDER BY id SETTINGS output_format_json_quote_64bit_integers = 0, output_format_json_quote_decimals = 0, date_time_output_format = 'iso' FORMAT JSONEachRow")
		if err != nil {
			t.Fatal(err)
		}
		back := strings.Split(strings.TrimSpace(body), "\n")
		for row, text := range sent {
			if got := strings.TrimSuffix(strings.TrimPrefix(back[row], `{"v":`), "}"); plainValue(t, got) != plainValue(t, text) {
				t.Errorf("%v: %s reads back from %s as %s", values, text, in.Type, got)
			}
		}
	}
	if len(types) < 15 {
		t.Errorf("only these types were tried: %v", types)
	}
}

// plainValue is a JSON value in a form in which equal values are equal texts: numbers as fractions, moments in nanoseconds.
func plainValue(t *testing.T, text string) string {
	t.Helper()
	dec := json.NewDecoder(strings.NewReader(text))
	dec.UseNumber()
	var v any
	if err := dec.Decode(&v); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	var plain func(v any) any
	plain = func(v any) any {
		switch v := v.(type) {
		case json.Number:
			r, ok := new(big.Rat).SetString(v.String())
			if !ok {
				t.Fatalf("%s is no number", v)
			}
			return r.String()
		case string:
			if at, err := time.Parse(time.RFC3339Nano, v); err == nil {
				return at.UTC().Format(time.RFC3339Nano)
			}
		case []any:
			for i := range v {
				v[i] = plain(v[i])
			}
		}
		return v
	}
	return fmt.Sprintf("%#v", plain(v))
}

// Why an integer column gets no type with fractions (docs/guide/evolve.md): each of these happens in silence.
func TestServer_WhyIntegersGetNoFractions(t *testing.T) {
	srv := testenv.SharedClickHouse(t)
	db := testenv.Database(t, srv)
	const id = "9007199254740993" // 2^53 + 1
	for name, c := range map[string]struct {
		steps []string
		want  string
	}{
		"Float64 changes integers beyond 2^53": {[]string{"MODIFY COLUMN v Nullable(Float64)"}, "9007199254740992"},
		"Decimal keeps them":                   {[]string{"MODIFY COLUMN v Nullable(Decimal(38, 18))"}, id},
		"a late ALTER of a worker that saw a large integer cuts fractions off": {
			[]string{"MODIFY COLUMN v Nullable(Decimal(38, 18))", "UPDATE v = '1.5' WHERE 1", "MODIFY COLUMN v Nullable(Int64)"}, "1"},
		"and makes NULL of them where they are text": {
			[]string{"MODIFY COLUMN v Nullable(String)", "UPDATE v = '1.5' WHERE 1", "MODIFY COLUMN v Nullable(Int64)"}, `\N`},
	} {
		testenv.Exec(t, srv.HTTPAddr(), "DROP TABLE IF EXISTS "+db+".t SYNC", "CREATE TABLE "+db+".t (v Nullable(Int64)) ENGINE = MergeTree ORDER BY tuple()", "INSERT INTO "+db+".t VALUES ("+id+")")
		for _, step := range c.steps {
			testenv.Exec(t, srv.HTTPAddr(), "ALTER TABLE "+db+".t "+step+" SETTINGS mutations_sync = 1, alter_sync = 1")
		}
		if got := testenv.QueryRows(t, srv.HTTPAddr(), "SELECT toString(toDecimal128(v, 2)) FROM "+db+".t")[0][0]; got != c.want {
			t.Errorf("%s: got %s, want %s", name, got, c.want)
		}
	}
}
