package diff_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/waybill-data/waybill"
	"github.com/waybill-data/waybill/internal/backfill/diff"
	"github.com/waybill-data/waybill/internal/clickhouse"
	"github.com/waybill-data/waybill/internal/testenv"
	"github.com/waybill-data/waybill/internal/testenv/chserver"
)

func TestMain(m *testing.M) { testenv.Main(m) }

// world is two tables, live and shadow, that no pipeline has written.
type world struct {
	*testing.T
	ch     *chserver.Server
	db     string
	client *clickhouse.Client
}

const lineage = "_topic LowCardinality(String), _partition UInt32, _offset UInt64, _epoch UInt32"

func newWorld(t *testing.T) *world {
	w := &world{T: t, ch: testenv.SharedClickHouse(t)}
	w.db = testenv.Database(t, w.ch)
	var err error
	if w.client, err = clickhouse.Open(t.Context(), clickhouse.Config{Addr: w.ch.TCPAddr()}, clickhouse.Deps{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.client.Close)
	return w
}

// exec runs statements; DB stands for the database.
func (w *world) exec(sql ...string) {
	w.Helper()
	for _, s := range sql {
		testenv.Exec(w, w.ch.HTTPAddr(), strings.ReplaceAll(s, "DB.", w.db+"."))
	}
}

// calls makes both tables alike, with n rows in each of two partitions of the topic and in three partitions of the tables; the shadow's are of epoch 1.
func (w *world) calls(n int) {
	w.Helper()
	for epoch, name := range []string{"live", "shadow"} {
		w.exec(fmt.Sprintf("CREATE TABLE DB.%s (id UInt64, day Date, model LowCardinality(String), cost Float64, note Nullable(String), %s) ENGINE = MergeTree PARTITION BY day ORDER BY (model, id)", name, lineage),
			fmt.Sprintf("INSERT INTO DB.%s SELECT number, toDate('2026-11-01') + number %% 3, concat('m-', toString(number %% 7)), number / 4, if(number %% 5 = 0, NULL, toString(number)), 'calls', number %% 2, intDiv(number, 2), %d FROM numbers(%d)", name, epoch, 2*n))
	}
}

func (w *world) compare(o diff.Options) *diff.Report {
	w.Helper()
	if o.Samples == 0 {
		o.Samples = 3
	}
	r, err := diff.Compare(w.Context(), w.client, diff.TableRef{Database: w.db, Table: "live"}, diff.TableRef{Database: w.db, Table: "shadow"}, o)
	if err != nil {
		w.Fatal(err)
	}
	return r
}

// said is what a report says of differences, in short.
func said(r *diff.Report) []string {
	out := []string{}
	add := func(n int64, what string, keys []diff.Key) {
		if n > 0 {
			out = append(out, strings.TrimSpace(fmt.Sprintf("%d %s %s", n, what, strings.Trim(fmt.Sprint(keys), "[]"))))
		}
	}
	add(r.Rows.OnlyLive, "only live", r.Samples.OnlyLive)
	add(r.Rows.OnlyShadow, "only shadow", r.Samples.OnlyShadow)
	add(r.Rows.DoubledLive, "doubled live", r.Samples.DoubledLive)
	add(r.Rows.DoubledShadow, "doubled shadow", r.Samples.DoubledShadow)
	add(r.Rows.Changed, "changed", nil)
	for i := range r.Columns {
		c := &r.Columns[i]
		if c.Changed > 0 {
			text := fmt.Sprintf("%d %s", c.Changed, c.Name)
			for _, s := range c.Samples {
				text += fmt.Sprintf(" %s:%s->%s", s.Key, s.Live, s.Shadow)
			}
			out = append(out, text)
		}
		if c.State == diff.New || c.State == diff.Gone {
			out = append(out, string(c.State)+" "+c.Name)
		}
	}
	return out
}

func (w *world) want(o diff.Options, want ...string) *diff.Report {
	w.Helper()
	r := w.compare(o)
	if got := said(r); !slices.Equal(got, want) && len(got)+len(want) > 0 {
		w.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	return r
}

// Tables with the same values are the same, whatever their parts and epochs.
func TestCompare_Equal(t *testing.T) {
	w := newWorld(t)
	w.calls(500)
	w.exec("OPTIMIZE TABLE DB.live FINAL")
	r := w.want(diff.Options{})
	if !r.Equal() || r.Rows.Same != 1000 || r.Rows.Both != 1000 || r.Live.Rows != 1000 || r.Shadow.Rows != 1000 || len(r.Partitions) != 3 || r.Cost.Slices != 0 {
		t.Errorf("%+v", r)
	}
	for _, p := range r.Partitions {
		for i, c := range p.Live.Columns {
			if c != p.Shadow.Columns[i] || c.Checksum == "" || c.Distinct == 0 {
				t.Errorf("%+v, %+v", c, p.Shadow.Columns[i])
			}
		}
	}
	if c := r.Column("note"); c.Values.Nulls != 200 || c.Values.NullRate.String() != "20%" || c.Values != c.Shadows {
		t.Errorf("%+v", c)
	}
	if c := r.Column("_epoch"); c.State != diff.NotCompared {
		t.Errorf("%+v", c)
	}
}

// Each sort of difference is told by its key, and nothing else is.
func TestCompare_NamesTheRows(t *testing.T) {
	for name, c := range map[string]struct {
		sql  string
		want []string
	}{
		"a lost row":    {"DELETE FROM DB.shadow WHERE _partition = 1 AND _offset = 17", []string{"1 only live calls 1 17"}},
		"an extra row":  {"DELETE FROM DB.live WHERE _partition = 0 AND _offset = 17", []string{"1 only shadow calls 0 17"}},
		"a doubled row": {"INSERT INTO DB.shadow SELECT * FROM DB.shadow WHERE _partition = 0 AND _offset = 3", []string{"1 doubled shadow calls 0 3"}},
		"a doubled row whose copy is changed": {"INSERT INTO DB.shadow SELECT * REPLACE (9.5 AS cost) FROM DB.shadow WHERE _partition = 0 AND _offset = 4",
			[]string{"1 doubled shadow calls 0 4", "1 changed", "1 cost"}},
		"a row that is doubled in both": {"INSERT INTO DB.shadow SELECT * FROM DB.shadow WHERE _partition = 0 AND _offset = 3; INSERT INTO DB.live SELECT * FROM DB.live WHERE _partition = 0 AND _offset = 3",
			[]string{"1 doubled live calls 0 3", "1 doubled shadow calls 0 3"}},
		"one value": {"ALTER TABLE DB.shadow UPDATE cost = cost + 1e-9 WHERE _partition = 1 AND _offset = 2 SETTINGS mutations_sync = 2",
			[]string{"1 changed", "1 cost calls 1 2:1.25->1.250000001"}},
		"two values that have changed places": {"ALTER TABLE DB.shadow UPDATE cost = if(_offset = 1, 1.5, 0.5) WHERE _partition = 0 AND _offset IN (1, 3) SETTINGS mutations_sync = 2",
			[]string{"2 changed", "2 cost calls 0 1:0.5->1.5 calls 0 3:1.5->0.5"}},
		"NULL against the type's zero": {"ALTER TABLE DB.shadow UPDATE note = '' WHERE _partition = 0 AND _offset IN (0, 5) SETTINGS mutations_sync = 2",
			[]string{"2 changed", `2 note calls 0 0:null->"" calls 0 5:null->""`}},
		"a row in another partition of the table": {"INSERT INTO DB.shadow SELECT * REPLACE (toDate('2026-12-24') AS day) FROM DB.shadow WHERE _partition = 0 AND _offset = 8; DELETE FROM DB.shadow WHERE _partition = 0 AND _offset = 8 AND day != '2026-12-24'",
			[]string{"1 changed", `1 day calls 0 8:"2026-11-02"->"2026-12-24"`}},
		"a column that is new, and one that is gone": {"ALTER TABLE DB.shadow ADD COLUMN extra UInt8; ALTER TABLE DB.shadow DROP COLUMN note", []string{"new extra", "gone note"}},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.calls(50)
			w.want(diff.Options{})
			w.exec(strings.Split(c.sql, "; ")...)
			r := w.compare(diff.Options{Samples: 3})
			got := said(r)
			if len(got) > 2 && got[0] == "1 doubled shadow calls 0 4" { // which of the copies is shown is not said
				got[2], _, _ = strings.Cut(got[2], " calls")
			}
			if !slices.Equal(got, c.want) || r.Equal() {
				t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(c.want, "\n"))
			}
		})
	}
}

// types are columns whose type differs between the tables, with a value in each that is equal, and one in the shadow that is not.
var types = []struct{ live, shadow, value, same, other string }{
	{"UInt8", "UInt8", "7", "7", "8"}, {"UInt8", "Int64", "7", "7", "-7"}, {"UInt64", "Nullable(UInt64)", "0", "0", "NULL"}, {"Nullable(UInt8)", "UInt16", "7", "7", "0"},
	{"String", "LowCardinality(String)", "'a'", "'a'", "'A'"}, {"LowCardinality(String)", "LowCardinality(Nullable(String))", "''", "''", "NULL"}, {"Nullable(String)", "LowCardinality(String)", "'x'", "'x'", "''"},
	{"Int64", "Float64", "5", "5", "5.5"}, {"UInt64", "String", "12", "'12'", "'12 '"}, {"Float32", "Float64", "0.5", "0.5", "0.25"}, {"Float64", "Float64", "nan", "-nan", "0"}, {"Nullable(Float64)", "Float64", "nan", "nan", "0"},
	{"Decimal(18, 4)", "Decimal(38, 6)", "1.5", "1.5", "1.500001"}, {"DateTime('UTC')", "DateTime64(3, 'UTC')", "'2026-11-28 10:00:00'", "'2026-11-28 10:00:00.000'", "'2026-11-28 10:00:00.001'"},
	{"Date", "Date32", "'2026-11-28'", "'2026-11-28'", "'2026-11-29'"}, {"Enum8('a' = 1, 'b' = 2)", "Enum8('a' = 1, 'b' = 2, 'c' = 3)", "'a'", "'a'", "'c'"}, {"Enum8('a' = 1, 'b' = 2)", "LowCardinality(String)", "'b'", "'b'", "'a'"},
	{"Array(String)", "Array(LowCardinality(String))", "['x', 'y']", "['x', 'y']", "['y', 'x']"}, {"Array(Nullable(UInt8))", "Array(Nullable(UInt8))", "[1, NULL]", "[1, NULL]", "[1, 0]"}, {"Array(UInt8)", "Array(UInt32)", "[1, 2]", "[1, 2]", "[1]"},
	{"Map(String, UInt32)", "Map(String, UInt32)", "map('a', 1)", "map('a', 1)", "map('a', 1, 'b', 0)"}, {"Map(String, UInt32)", "Map(LowCardinality(String), UInt64)", "map('a', 1)", "map('a', 1)", "map('b', 1)"},
	{"JSON", "JSON", `'{"b":1,"a":{"c":[1,"x"]}}'`, `'{"a":{"c":[1,"x"]},"b":1}'`, `'{"b":"1","a":{"c":[1,"x"]}}'`}, {"JSON", "JSON(a.b UInt8)", `'{"a":{"b":1}}'`, `'{"a":{"b":1}}'`, `'{"a":{"b":2}}'`},
	{"JSON(max_dynamic_paths = 1)", "JSON", `'{"a":1,"b":2,"c":3}'`, `'{"a":1,"b":2,"c":3}'`, `'{"a":1,"b":2}'`}, {"Tuple(a UInt8, b String)", "Tuple(a UInt8, b String)", "(1, 'x')", "(1, 'x')", "(1, 'y')"},
	{"UUID", "UUID", "'6ba7b810-9dad-11d1-80b4-00c04fd40000'", "'6ba7b810-9dad-11d1-80b4-00c04fd40000'", "'6ba7b810-9dad-11d1-80b4-00c04fd40001'"}, {"UUID", "String", "'6ba7b810-9dad-11d1-80b4-00c04fd40000'", "'6ba7b810-9dad-11d1-80b4-00c04fd40000'", "''"},
	{"Bool", "Bool", "true", "true", "false"}, {"IPv6", "IPv6", "'::1'", "'::1'", "'::2'"}, {"Dynamic", "Dynamic", "1::UInt8", "1::UInt8", "'1'"}, {"Variant(String, UInt64)", "Variant(String, UInt64)", "1::UInt64", "1::UInt64", "'1'"},
	{"Int256", "Int256", "-1", "-1", "1"}, {"FixedString(4)", "FixedString(4)", "'ab'", "'ab'", "'abc'"},
}

// Equal values are equal across types that take both, and others are not.
func TestCompare_Types(t *testing.T) {
	w := newWorld(t)
	for i, name := range []string{"live", "shadow"} {
		var columns, values []string
		for j, c := range types {
			columns = append(columns, fmt.Sprintf("c%d %s", j, []string{c.live, c.shadow}[i]))
			values = append(values, []string{c.value, c.same}[i])
		}
		w.exec(fmt.Sprintf("CREATE TABLE DB.%s (%s, %s) ENGINE = MergeTree ORDER BY _offset SETTINGS allow_suspicious_low_cardinality_types = 1", name, strings.Join(columns, ", "), lineage))
		for offset := range len(types) + 3 {
			row := slices.Clone(values)
			if i == 1 && offset < len(types) {
				row[offset] = types[offset].other
			}
			w.exec(fmt.Sprintf("INSERT INTO DB.%s SETTINGS async_insert = 0 VALUES (%s, 'calls', 0, %d, %d)", name, strings.Join(row, ", "), offset, i))
		}
	}
	r := w.compare(diff.Options{Samples: 2})
	if n := int64(len(types)); r.Rows.Changed != n || r.Rows.Same != 3 || r.Rows.Both != n+3 {
		t.Errorf("%+v", r.Rows)
	}
	for j, c := range types {
		col := r.Column(fmt.Sprintf("c%d", j))
		if col.State != diff.Compared || col.Changed != 1 || len(col.Samples) != 1 || col.Samples[0].Key.String() != fmt.Sprintf("calls 0 %d", j) || col.Samples[0].Live == col.Samples[0].Shadow {
			t.Errorf("%s, %s: %+v", c.live, c.shadow, col)
		}
		if (c.live == c.shadow) == (col.As != "") && c.live != "String" && !strings.Contains(c.live+c.shadow, "LowCardinality(String)") {
			t.Errorf("%s, %s: compared as %q", c.live, c.shadow, col.As)
		}
	}
}

// What the shadow has not come to is no difference, and is said.
func TestCompare_NotReachedYet(t *testing.T) {
	w := newWorld(t)
	w.calls(50)
	w.exec("DELETE FROM DB.shadow WHERE _partition = 1 AND _offset >= 40 OR _offset = 7")
	r := w.want(diff.Options{}, "2 only live calls 0 7 calls 1 7")
	if len(r.NotReached) != 1 || r.NotReached[0] != (diff.Pending{Topic: "calls", Partition: 1, From: 40, Rows: 10}) || len(r.Ahead) != 0 || r.Live.Rows != 90 {
		t.Errorf("%+v, ahead %+v, %+v", r.NotReached, r.Ahead, r.Live)
	}
	// By its account the shadow ends elsewhere than its last row: what is missing before it is missing.
	ends := map[int32]int64{0: 50, 1: 45}
	r = w.want(diff.Options{Topic: "calls", LiveEnds: map[int32]int64{0: 50, 1: 50}, ShadowEnds: ends}, "7 only live calls 0 7 calls 1 7 calls 1 40")
	if len(r.NotReached) != 1 || r.NotReached[0].Rows != 5 {
		t.Errorf("%+v", r.NotReached)
	}
	// A partition that the shadow has nothing of.
	r = w.want(diff.Options{Topic: "calls", LiveEnds: map[int32]int64{0: 50, 1: 50}, ShadowEnds: map[int32]int64{0: 50}}, "1 only live calls 0 7")
	if len(r.NotReached) != 1 || r.NotReached[0].Rows != 50 {
		t.Errorf("%+v", r.NotReached)
	}
	w.want(diff.Options{Whole: true}, "12 only live calls 0 7 calls 1 7 calls 1 40")
	// Live has not come to what the shadow has.
	w.exec("DELETE FROM DB.live WHERE _partition = 0 AND _offset >= 30")
	r = w.want(diff.Options{}, "2 only live calls 0 7 calls 1 7")
	if len(r.Ahead) != 1 || r.Ahead[0] != (diff.Pending{Topic: "calls", Partition: 0, From: 30, Rows: 20}) {
		t.Errorf("%+v", r.Ahead)
	}
}

// Only what is in the scope is compared, however many spans it has.
func TestCompare_Scope(t *testing.T) {
	w := newWorld(t)
	w.calls(500)
	w.exec("DELETE FROM DB.shadow WHERE _partition = 0 AND _offset IN (3, 8, 300)", "ALTER TABLE DB.shadow UPDATE cost = 0.25 WHERE _partition = 1 AND _offset = 8 SETTINGS mutations_sync = 2")
	scope := map[int32]waybill.OffsetSet{0: waybill.OffsetsIn(waybill.Span{First: 5, Next: 200})}
	r := w.want(diff.Options{Topic: "calls", Scope: scope}, "1 only live calls 0 8")
	if r.Live.Rows != 195 || len(r.NotReached) != 0 {
		t.Errorf("%+v, %+v", r.Live, r.NotReached)
	}
	var many waybill.OffsetSet
	for o := int64(0); o < 450; o += 4 {
		many.AddSpan(waybill.Span{First: o, Next: o + 2}) // 300 and 301 are among them, 3 is not, 8 is
	}
	if r := w.want(diff.Options{Topic: "calls", Scope: map[int32]waybill.OffsetSet{0: many, 1: {}}}, "2 only live calls 0 8 calls 0 300"); r.Live.Rows != many.Len() || r.Shadow.Rows != many.Len()-2 {
		t.Errorf("%+v, want %d", r.Live, many.Len())
	}
	if r := w.want(diff.Options{Topic: "other"}); r.Live.Rows != 0 {
		t.Errorf("%+v", r.Live)
	}
}

// Tables without lineage are compared by columns that are named.
func TestCompare_ByKey(t *testing.T) {
	w := newWorld(t)
	for _, name := range []string{"live", "shadow"} {
		w.exec("CREATE TABLE DB."+name+" (id UInt64, part String, cost Float64) ENGINE = MergeTree ORDER BY id", "INSERT INTO DB."+name+" SELECT number, concat('it''s ', toString(number % 3)), number FROM numbers(1000)")
	}
	w.exec("DELETE FROM DB.shadow WHERE id = 7", "INSERT INTO DB.shadow VALUES (2000, 'x', 1), (5, 'it\\'s 2', 5)", "ALTER TABLE DB.shadow UPDATE cost = 0 WHERE id IN (20, 30) SETTINGS mutations_sync = 2")
	r := w.want(diff.Options{Key: []string{"id", "part"}}, `1 only live 7 "it's 1"`, `1 only shadow 2000 "x"`, `1 doubled shadow 5 "it's 2"`, "2 changed", `2 cost 20 "it's 2":20->0 30 "it's 0":30->0`)
	if r.Rows.Same != 997 || !slices.Equal(r.By, []string{"id", "part"}) {
		t.Errorf("%+v", r.Rows)
	}
	// Without a key there is no way.
	if _, err := diff.Compare(t.Context(), w.client, diff.TableRef{Database: w.db, Table: "live"}, diff.TableRef{Database: w.db, Table: "shadow"}, diff.Options{}); err == nil || !strings.Contains(err.Error(), "no column _topic") {
		t.Error(err)
	}
}

// Many slices give what one gives.
func TestCompare_SmallSlices(t *testing.T) {
	w := newWorld(t)
	for i, name := range []string{"live", "shadow"} {
		w.exec(fmt.Sprintf("CREATE TABLE DB.%s (id UInt64, v String, %s) ENGINE = MergeTree ORDER BY id", name, lineage),
			fmt.Sprintf("INSERT INTO DB.%s SELECT number, toString(number + %d * (number %% 3 = 0)), 'calls', number %% 2, intDiv(number, 2), %d FROM numbers(600000)", name, i, i))
	}
	w.exec("DELETE FROM DB.shadow WHERE _partition = 1 AND _offset IN (5, 299999, 70000)", "INSERT INTO DB.shadow SELECT * FROM DB.shadow WHERE _partition = 0 AND _offset = 123456")
	for _, memory := range []int64{0, 100 << 20} {
		r := w.compare(diff.Options{Topic: "calls", Samples: 2, Memory: memory, Whole: true})
		if r.Rows != (diff.Rows{Both: 599997, Same: 399998, Changed: 199999, OnlyLive: 3, DoubledShadow: 1}) {
			t.Errorf("%+v", r.Rows)
		}
		if got := fmt.Sprint(r.Samples.OnlyLive); got != "[calls 1 5 calls 1 70000]" || len(r.Column("v").Samples) != 2 {
			t.Errorf("%s, %+v", got, r.Column("v").Samples)
		}
		if memory > 0 && r.Cost.Slices < 3 {
			t.Errorf("%+v", r.Cost)
		}
	}
}

// A rescue column names the plan that wrote the row; that alone is no difference. What was rescued is.
func TestCompare_RescueColumn(t *testing.T) {
	w := newWorld(t)
	for i, name := range []string{"live", "shadow"} {
		w.exec("CREATE TABLE DB." + name + " (_rescued " + []string{"String", "JSON"}[i] + ", " + lineage + ") ENGINE = MergeTree ORDER BY _offset")
		for offset, fields := range []string{`{"cost":{"reason":"wrong_type","value":"2"}}`, `{"cost":{"reason":"wrong_type","value":` + []string{"2", "3"}[i] + `}}`} {
			w.exec(fmt.Sprintf(`INSERT INTO DB.%s VALUES ('{"plan":"%016x","fields":%s}', 'calls', 0, %d, 0)`, name, 77+i, fields, offset))
		}
	}
	r := w.compare(diff.Options{})
	if c := r.Column("_rescued"); c.Changed != 1 || len(c.Samples) != 1 || c.Samples[0].Key.String() != "calls 0 1" {
		t.Errorf("%+v", c)
	}
	// Control: a column of another name is compared to the letter.
	if c := w.compare(diff.Options{Rescue: "other"}).Column("_rescued"); c.Changed != 2 {
		t.Errorf("%+v", c)
	}
}
