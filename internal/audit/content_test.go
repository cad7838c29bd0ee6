package audit_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/waybill-data/waybill"
	"github.com/waybill-data/waybill/internal/audit"
	"github.com/waybill-data/waybill/internal/clickhouse"
	"github.com/waybill-data/waybill/internal/config"
	"github.com/waybill-data/waybill/internal/kafka"
	"github.com/waybill-data/waybill/internal/ledger"
	"github.com/waybill-data/waybill/internal/testenv"
	"github.com/waybill-data/waybill/internal/testenv/chserver"
)

// change is a value that is changed behind Waybill's back, in a column of the table of everything.
type change struct{ column, value string }

// changes are one for each column; the i-th is made at offset 10 + i.
var changes = []change{
	{"u", "u + 1"}, {"f", "f + 1e-9"}, {"f32", "-f32"}, {"s", "concat(s, ' ')"}, {"lc", "'other'"}, {"ns", "NULL"}, {"ns", "''"}, {"lcn", "NULL"}, {"d", "d + toDecimal64(0.0001, 4)"}, {"dt", "dt + 1"},
	{"dt64", "dt64 + toIntervalMillisecond(1)"}, {"day", "day + 1"}, {"uid", "toUUID('11111111-9dad-11d1-80b4-00c04fd40000')"}, {"e", "if(e = 'a', 'b', 'a')"}, {"arr", "arrayReverse(arr)"}, {"m", "mapUpdate(m, map('x', toUInt32(7)))"},
	{"tup", "(tup.1 + 1, tup.2)"}, {"j", "'{\"k\":2}'"}, {"ip", "toIPv6('::7')"}, {"fs", "'zzzz'"}, {"b", "NOT b"}, {"big", "big + 1"}, {"dyn", "'text'"}, {"vari", "'text'"}, {"low", "low + 1"},
	{"o", "o + 1"}, {"at", "'b'"}, {"side", "2"}, {"v", "'w'"}, // names that queries like to use themselves
}

// everything is a world whose table has a column of every sort.
func everything(t *testing.T) *world {
	return newWorldOf(t, spec{n: 200, before: []string{`CREATE TABLE DB.calls (id UInt64, u UInt8, f Float64, f32 Float32, s String, lc LowCardinality(String), ns Nullable(String), lcn LowCardinality(Nullable(String)),
		d Decimal(18, 4), dt DateTime, dt64 DateTime64(3), day Date, uid UUID, e Enum8('a' = 1, 'b' = 2), arr Array(String), m Map(String, UInt32), tup Tuple(a UInt8, b String), j JSON, ip IPv6,
		fs FixedString(4), b Bool, big Int256, dyn Dynamic, vari Variant(String, UInt64), low LowCardinality(UInt16), o UInt64, at String, side UInt8, v String, asked String DEFAULT concat('of ', toString(id)), served UInt64 DEFAULT id * 2, upped String MATERIALIZED upper(s),
		seen DateTime64(6) DEFAULT now64(6), short String ALIAS left(s, 1), _topic LowCardinality(String), _partition UInt32, _offset UInt64, _epoch UInt32,
		PROJECTION waybill_offsets (SELECT _topic, _partition, _epoch, intDiv(_offset, 65536), count(), groupBitmapState(_offset) GROUP BY _topic, _partition, _epoch, intDiv(_offset, 65536)))
		ENGINE = MergeTree ORDER BY id SETTINGS non_replicated_deduplication_window = 10000, lightweight_mutation_projection_mode = 'rebuild', allow_suspicious_low_cardinality_types = 1`},
		contract: `{new_fields: discard, type_conflicts: freeze, columns: {id: {type: UInt64}, u: {type: UInt8}, f: {type: Float64}, f32: {type: Float32}, s: {type: String}, lc: {type: LowCardinality(String)}, ns: {type: Nullable(String)},
  lcn: {type: LowCardinality(Nullable(String))}, d: {type: "Decimal(18, 4)"}, dt: {type: DateTime}, dt64: {type: DateTime64(3)}, day: {type: Date, format: "%Y-%m-%d"}, uid: {type: UUID}, e: {type: "Enum8('a' = 1, 'b' = 2)"},
  arr: {type: Array(String)}, m: {type: "Map(String, UInt32)"}, tup: {type: "Tuple(a UInt8, b String)"}, j: {type: JSON}, ip: {type: IPv6}, fs: {type: FixedString(4)}, b: {type: Bool}, big: {type: Int256},
  dyn: {type: Dynamic}, vari: {type: "Variant(String, UInt64)"}, low: {type: LowCardinality(UInt16)}, o: {type: UInt64}, at: {type: String}, side: {type: UInt8}, v: {type: String}, asked: {type: String, on_missing: table_default}}}`,
		value: func(i int) string {
			null, asked := fmt.Sprintf(`"n%d"`, i), ""
			if i%3 == 0 {
				null, asked = "null", `,"asked":"given"`
			}
			return fmt.Sprintf(`{"id":%[1]d,"u":%[2]d,"f":%[1]d.125,"f32":%[1]d.5,"s":"text %[1]d","lc":"c%[3]d","ns":%[4]s,"lcn":%[4]s,"d":%[1]d.0625,"dt":"2026-11-28T10:00:%02[3]dZ","dt64":"2026-11-28T10:00:00.%03[1]dZ",`+
				`"day":"2026-11-%02[5]d","uid":"6ba7b810-9dad-11d1-80b4-00c04fd4%04[1]d","e":"a","arr":["x","y%[1]d"],"m":{"b":%[1]d,"a":1},"tup":{"a":%[2]d,"b":"t"},"j":{"z":%[1]d,"a":{"b":[1,2]}},"ip":"2001:db8::%[1]d",`+
				`"fs":"ab","b":true,"big":-12345678901234567890123%[1]d,"dyn":{"q":%[1]d},"vari":%[1]d,"low":%[1]d,"o":%[1]d,"at":"a","side":1,"v":"v"%[6]s}`, i, i%256, i%7, null, 1+i%28, asked)
		}})
}

// After a clean run there is nothing to say but of the column that the server fills with the time.
func TestContent_EveryTypeIsExact(t *testing.T) {
	w := everything(t)
	r := w.want(audit.Options{Content: true}, audit.Unclear)
	for _, u := range r.Unknown {
		if u.Law != "L5" || u.Column != "seen" || !strings.Contains(u.Message, "DEFAULT now64(6)") {
			t.Errorf("%+v", u)
		}
	}
	if len(r.Contents) != 1 || r.Contents[0].Rows != 400 || slices.Contains(r.Contents[0].Columns, "short") || !slices.Contains(r.Contents[0].Columns, "upped") || len(r.Unknown) != 2 {
		t.Errorf("%+v, unknown %+v", r.Contents, r.Unknown)
	}
	// One value of each column is changed, at an offset of its own.
	var updates, want []string
	for i, c := range changes {
		updates = append(updates, fmt.Sprintf("UPDATE %s = %s WHERE _partition = 1 AND _offset = %d", c.column, c.value, 10+i))
		if c.column != "ns" || i%3 == 0 { // ns is NULL at every third offset, and at 10 + i it is changed from, or to it
			want = append(want, fmt.Sprintf("L5 content_mismatch %s 1: %d", c.column, 10+i))
		}
	}
	w.exec("ALTER TABLE " + w.db + ".calls " + strings.Join(updates, ", ") + " SETTINGS mutations_sync = 2")
	r = w.audit(audit.Options{Content: true})
	got := said(r)
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	for _, v := range r.Violations {
		if len(v.Examples) != int(v.Count) || v.Examples[0].Expected == v.Examples[0].Found || v.Examples[0].Expected == "" {
			t.Errorf("%s: %+v", v.Column, v.Examples)
		}
	}
}

// Values that change places leave every sum of values as it was.
func TestContent_SwappedValues(t *testing.T) {
	w := newWorld(t, 300, "")
	w.want(audit.Options{Content: true}, audit.Clean)
	w.exec("ALTER TABLE " + w.db + ".calls UPDATE kind = if(_offset = 11, 'a', 'b') WHERE _partition = 0 AND _offset IN (11, 12) SETTINGS mutations_sync = 2")
	r := w.want(audit.Options{Content: true}, audit.Violated, "L5 content_mismatch kind 0: 11-12")
	want := []audit.Example{{Offset: 11, Expected: `"b"`, Found: `"a"`}, {Offset: 12, Expected: `"a"`, Found: `"b"`}}
	if got := r.Violations[0].Examples; !slices.Equal(got, want) {
		t.Errorf("%+v", got)
	}
	if got := r.Violations[0].Causes; len(got) != 1 || !slices.Equal(got[0].Offsets, []audit.Range{{First: 11, Next: 13}}) || !strings.Contains(got[0].Message, "an UPDATE changed kind") || got[0].At == "" {
		t.Errorf("%+v", got)
	}
	// Over HTTP, the same.
	var err error
	if w.client, err = clickhouse.Open(t.Context(), clickhouse.Config{Addr: w.ch.HTTPAddr(), Protocol: clickhouse.HTTP}, clickhouse.Deps{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.client.Close)
	w.deps.Client, w.deps.Ledger = w.client, ledger.New(w.client, "")
	w.want(audit.Options{Content: true}, audit.Violated, "L5 content_mismatch kind 0: 11-12")
	w.want(audit.Options{}, audit.Clean) // control: presence alone does not see it
}

// What is missing or doubled does not hide, and is not taken for, a value that is changed.
func TestContent_AmongMissingAndDoubledRows(t *testing.T) {
	w := newWorld(t, 300, "")
	w.exec("DELETE FROM "+w.db+".calls WHERE _partition = 0 AND _offset IN (31, 32)",
		"INSERT INTO "+w.db+".calls SELECT * FROM "+w.db+".calls WHERE _partition = 0 AND _offset = 35 SETTINGS insert_deduplicate = 0",
		"INSERT INTO "+w.db+".calls SELECT * REPLACE ('changed' AS kind) FROM "+w.db+".calls WHERE _partition = 0 AND _offset = 37 SETTINGS insert_deduplicate = 0",
		"ALTER TABLE "+w.db+".calls UPDATE kind = 'x' WHERE _partition = 0 AND _offset = 33 SETTINGS mutations_sync = 2")
	w.want(audit.Options{Content: true}, audit.Violated, "L3 rows_missing 0: 31-32", "L3 rows_repeated 0: 35 37", "L5 content_mismatch kind 0: 33 37")
}

func TestContent_SeveralTables(t *testing.T) {
	w := newWorld(t, 300, "routes:\n  - {name: a, when: event.kind == \"a\", table: ta}\n  - {name: b, table: tb}")
	w.want(audit.Options{Content: true}, audit.Clean)
	w.exec("ALTER TABLE " + w.db + ".tb UPDATE id = 7777 WHERE _partition = 1 AND _offset = 21 SETTINGS mutations_sync = 2")
	r := w.want(audit.Options{Content: true}, audit.Violated, "L5 content_mismatch id 1: 21")
	if r.Violations[0].Table != w.db+".tb" || len(r.Contents) != 2 || r.Contents[0].Rows+r.Contents[1].Rows != 576 {
		t.Errorf("%+v %+v", r.Violations[0], r.Contents)
	}
}

// A column that came later has its DEFAULT in old rows. What was filled in since is not known to be right.
func TestContent_TableThatHasChanged(t *testing.T) {
	w := newWorld(t, 100, "")
	w.exec("ALTER TABLE " + w.db + ".calls ADD COLUMN extra UInt64 DEFAULT id + 5")
	w.want(audit.Options{Content: true}, audit.Clean)
	w.exec("ALTER TABLE " + w.db + ".calls UPDATE extra = 1 WHERE _partition = 0 AND _offset = 3 SETTINGS mutations_sync = 2")
	r := w.want(audit.Options{Content: true}, audit.Unclear)
	if len(r.Unknown) != 1 || r.Unknown[0].Column != "extra" || !slices.Equal(r.Unknown[0].Offsets, []audit.Range{{First: 3, Next: 4}}) {
		t.Errorf("%+v", r.Unknown)
	}
	w.exec("ALTER TABLE "+w.db+".calls DROP COLUMN extra", "ALTER TABLE "+w.db+".calls MODIFY COLUMN kind LowCardinality(Nullable(String))")
	w.want(audit.Options{Content: true}, audit.Clean)
	w.exec("ALTER TABLE " + w.db + ".calls DROP COLUMN kind")
	if r := w.want(audit.Options{Content: true}, audit.Unclear); !strings.Contains(r.Unknown[0].Message, "column kind") {
		t.Errorf("%+v", r.Unknown)
	}
}

// A server that is asked for its DEFAULT gives what it gives: only where it was not asked is another value wrong.
func TestContent_DefaultsOfTheTable(t *testing.T) {
	w := everything(t)
	w.exec("ALTER TABLE " + w.db + ".calls UPDATE asked = 'changed' WHERE _partition = 0 AND _offset IN (9, 10) SETTINGS mutations_sync = 2")
	r := w.audit(audit.Options{Content: true})
	if got := said(r); !slices.Equal(got, []string{"L5 content_mismatch asked 0: 9"}) {
		t.Errorf("%q", got)
	}
	if !slices.ContainsFunc(r.Unknown, func(u audit.Unknown) bool {
		return u.Column == "asked" && slices.Equal(u.Offsets, []audit.Range{{First: 10, Next: 11}})
	}) {
		t.Errorf("%+v", r.Unknown)
	}
}

// What redaction hashed is compared as its hash. Whoever has put the value itself into the table does not have it printed.
func TestContent_Redaction(t *testing.T) {
	w := newWorldOf(t, spec{n: 60, contract: "{new_fields: discard, type_conflicts: freeze, tables: evolve, columns: {id: {type: UInt64}, mail: {type: String}}}",
		more:  "redact: {version: 1, secret: \"${SECRET}\", rules: [{path: mail, do: hash}]}",
		value: func(i int) string { return fmt.Sprintf(`{"id":%d,"mail":"someone%d@example.org"}`, i, i) }})
	w.want(audit.Options{Content: true}, audit.Clean)
	w.exec("ALTER TABLE " + w.db + ".calls UPDATE mail = 'someone5@example.org' WHERE _partition = 1 AND _offset = 5 SETTINGS mutations_sync = 2")
	r := w.want(audit.Options{Content: true}, audit.Violated, "L5 content_mismatch mail 1: 5")
	if e := r.Violations[0].Examples[0]; !e.Withheld || e.Found != "" || !strings.HasPrefix(e.Expected, `"hmac_`) {
		t.Errorf("%+v", e)
	}
	// With another secret the hashes cannot be made.
	w.cfg.RedactSecret = config.NewSecret("fedcba9876543210fedcba9876543210")
	if r := w.want(audit.Options{Content: true}, audit.Unclear); !strings.Contains(fmt.Sprint(r.Unknown), "not the one that the plan was made with") || r.Contents[0].Rows != 0 {
		t.Errorf("%+v", r.Unknown)
	}
}

// Of what Kafka no longer has, nothing is said to be right.
func TestContent_RecordsThatAreGone(t *testing.T) {
	w := newWorld(t, 200, "")
	w.exec("ALTER TABLE " + w.db + ".calls UPDATE kind = 'x' WHERE _partition = 0 AND _offset IN (21, 151) SETTINGS mutations_sync = 2")
	w.removeRecords(0, 101)
	r := w.want(audit.Options{Content: true}, audit.Violated, "L5 content_mismatch kind 0: 151")
	i := slices.IndexFunc(r.Unknown, func(u audit.Unknown) bool {
		return u.Law == "L5" && strings.Contains(u.Message, "were not compared: the records are no longer in the topic")
	})
	// Of 101 offsets that are gone, 11 were filtered and 4 were broken events.
	if i < 0 || !strings.HasPrefix(r.Unknown[i].Message, "86 rows of calls/0 (offsets 1-9, ") {
		t.Errorf("%+v", r.Unknown)
	}
	if got := r.Contents[0].Rows; got != 2*172-86 {
		t.Errorf("%d rows were compared", got)
	}
	w.removeRecords(0, 200)
	w.removeRecords(1, 200)
	if r := w.want(audit.Options{Content: true}, audit.Unclear); r.Contents[0].Rows != 0 {
		t.Errorf("%+v", r.Contents)
	}
}

// holey is a topic from which compaction has removed records.
type holey struct {
	audit.Source
	without []int64
}

func (h holey) ReadSpan(ctx context.Context, tp waybill.TopicPartition, span waybill.Span, fn func(*waybill.Record) error) (kafka.ReadResult, error) {
	return h.Source.ReadSpan(ctx, tp, span, func(r *waybill.Record) error {
		if slices.Contains(h.without, r.Offset) {
			return nil
		}
		return fn(r)
	})
}

// A compacted topic, and a plan that is no longer on record: what is left is compared, and the rest said.
func TestContent_RecordsThatNobodyCanMakeAgain(t *testing.T) {
	w := newWorld(t, 200, "")
	w.exec("ALTER TABLE " + w.db + ".calls UPDATE kind = 'x' WHERE _partition = 0 AND _offset IN (31, 32) SETTINGS mutations_sync = 2")
	w.deps.Source = holey{w.deps.Source, []int64{31, 52}}
	r := w.want(audit.Options{Content: true}, audit.Violated, "L5 content_mismatch kind 0: 32")
	if text := fmt.Sprint(r.Unknown); !strings.Contains(text, "2 rows of calls/0 (offsets 31, 52) were not compared") && !strings.Contains(text, "1 rows of calls/0 (offsets 31) were not compared") || !strings.Contains(text, "the topic is compacted") {
		t.Errorf("%s", text)
	}
	if r.Contents[0].Rows != 2*(172-2) {
		t.Errorf("%+v", r.Contents)
	}
	w.exec("ALTER TABLE waybill.plans DELETE WHERE pipeline = '" + w.cfg.Name + "' SETTINGS mutations_sync = 2")
	if r := w.want(audit.Options{Content: true}, audit.Unclear); !strings.Contains(fmt.Sprint(r.Unknown), "is not on record") || r.Contents[0].Rows != 0 {
		t.Errorf("%+v", r.Unknown)
	}
}

// A user who may not make a copy is told so, and nothing is taken for compared.
func TestContent_WithoutTheRightToMakeACopy(t *testing.T) {
	srv := testenv.ClickHouse(t, func(o *chserver.Options) {
		o.Users = []chserver.User{{Name: "reader", Grants: []string{"GRANT SELECT, SHOW ON *.*"}}}
	})
	w := newWorldOn(t, srv, spec{n: 50})
	client, err := clickhouse.Open(t.Context(), clickhouse.Config{Addr: srv.TCPAddr(), User: "reader"}, clickhouse.Deps{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	w.deps.Client, w.deps.Ledger = client, ledger.New(client, "")
	r := w.want(audit.Options{Content: true}, audit.Unclear)
	if !strings.Contains(fmt.Sprint(r.Unknown), "no copy of it can be made") || r.Contents[0].Rows != 0 {
		t.Errorf("%+v %+v", r.Unknown, r.Contents)
	}
}

// Spans of several buckets, whose rows go to the copy in several blocks.
func TestContent_AcrossBuckets(t *testing.T) {
	const n = 2*clickhouse.BucketOffsets + 1000
	pad := strings.Repeat("x", 300)
	w := newWorldOf(t, spec{n: n, batch: 50_000, contract: "{new_fields: discard, tables: evolve, columns: {id: {type: UInt64, required: true}, kind: {type: String}}}",
		value: func(i int) string { return fmt.Sprintf(`{"id":%d,"kind":"%d%s"}`, i, i, pad) }})
	started := time.Now()
	r := w.want(audit.Options{Content: true}, audit.Clean)
	if r.Contents[0].Rows != 2*n {
		t.Errorf("%+v", r.Contents)
	}
	t.Logf("%d rows of %d bytes in %s", 2*n, len(pad), time.Since(started).Round(time.Millisecond))
	w.exec("ALTER TABLE " + w.db + ".calls UPDATE kind = 'x' WHERE _partition = 0 AND _offset IN (0, 65535, 65536, 131072, 132071), UPDATE id = id + 1 WHERE _partition = 1 AND _offset IN (65530, 131071) SETTINGS mutations_sync = 2")
	w.want(audit.Options{Content: true}, audit.Violated, "L5 content_mismatch kind 0: 0 65535-65536 131072 132071", "L5 content_mismatch id 1: 65530 131071")
}

// Only what is asked for is compared: whole batches, as the ledger has them. A span in the middle of a bucket is no other span's.
func TestContent_Spans(t *testing.T) {
	w := newWorld(t, 1000, "")
	w.exec("ALTER TABLE " + w.db + ".calls UPDATE kind = 'x' WHERE _partition = 0 AND _offset IN (11, 991) SETTINGS mutations_sync = 2")
	var progress []audit.Progress
	w.deps.Progress = func(p audit.Progress) { progress = append(progress, p) }
	w.want(audit.Options{Content: true, Within: map[int32]waybill.Span{0: {First: 990, Next: 992}}}, audit.Violated, "L5 content_mismatch kind 0: 991")
	w.want(audit.Options{Content: true, Within: map[int32]waybill.Span{0: {First: 0, Next: 20}}}, audit.Violated, "L5 content_mismatch kind 0: 11")
	w.want(audit.Options{Content: true, Within: map[int32]waybill.Span{0: {First: 500, Next: 510}, 1: {First: 0, Next: 1000}}}, audit.Clean)
	if n := len(progress); n == 0 || progress[n-1].Partition != 1 || progress[n-1].Done != progress[n-1].Of {
		t.Errorf("%+v", progress)
	}
}

// The audit leaves nothing behind.
func TestContent_LeavesNoCopy(t *testing.T) {
	w := newWorld(t, 50, "")
	w.want(audit.Options{Content: true}, audit.Clean)
	if got := testenv.QueryValue(t, w.ch.HTTPAddr(), "SELECT count() FROM system.tables WHERE database = 'waybill' AND name LIKE 'probe_audit%'"); got != "0" {
		t.Errorf("%s copies are left", got)
	}
}
