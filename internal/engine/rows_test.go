package engine_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/waybill-data/waybill"
	"github.com/waybill-data/waybill/internal/status"
	"github.com/waybill-data/waybill/internal/testenv"
	"github.com/waybill-data/waybill/internal/testenv/chserver"
)

func TestRows_RefusedByTheServerAreDeadLettersWithTheirOwnReason(t *testing.T) {
	w := newWorld(t, 2)
	w.table(", CONSTRAINT no_seven CHECK id != 7, CONSTRAINT no_eight CHECK id != 8")
	w.produce(500)
	a := w.start(w.file(spec{}))
	w.quiet(500)
	a.stop()
	w.verify()
	w.wantCounts("500 493 7 0") // 5 are cut off, 2 refused
	for name, n := range map[string]string{"no_seven": "1", "no_eight": "1"} {
		sql := "SELECT count() FROM waybill.dead_letters WHERE pipeline = '" + w.name + "' AND code = 'server_469' AND message LIKE '%" + name + "%' AND value LIKE '%\"id\":%" +
			map[string]string{"no_seven": "7", "no_eight": "8"}[name] + ",%'"
		if got := w.query(sql); got != n {
			t.Errorf("%s dead letters of constraint %s, want %s", got, name, n)
		}
	}
}

// Rows that the server refuses are no rows with rescued values, though they would have been.
func TestRows_RefusedOnesAreNotCountedAsRescued(t *testing.T) {
	w := newWorld(t, 2)
	w.table(", CONSTRAINT no_seven CHECK id % 100 != 7")
	w.produceAs(300, func(i int) string { return fmt.Sprintf(`{"id":%d,"more":{"x":%d}}`, i, i) })
	a := w.start(w.file(spec{modes: "new_fields: rescue"}))
	w.quiet(300)
	a.stop()
	w.verify()
	w.wantCounts("300 297 3 0")
	if got := w.query("SELECT concat(toString(sum(rescued)), ' ', (SELECT toString(countIf(_rescued != '')) FROM " + w.db + ".calls)) FROM waybill.ledger WHERE pipeline = '" + w.name + "'"); got != "297 297" {
		t.Errorf("rescued by the ledger, and in the table: %s", got)
	}
}

func TestRows_ServerThatRefusesTooManyStopsAndDeadLettersNone(t *testing.T) {
	w := newWorld(t, 1)
	w.table(", CONSTRAINT early CHECK id < 10")
	w.produceAs(1000, func(i int) string { return fmt.Sprintf(`{"id":%d}`, i) })
	a := w.start(w.file(spec{rows: 1000}))
	err := a.ended()
	if waybill.ClassOf(err) != waybill.ClassPoison {
		t.Fatalf("ended with %v", err)
	}
	if s := a.p.Status(); s.State != status.Stopped || s.Reason == "" {
		t.Errorf("status %+v", s)
	}
	if got := w.query("SELECT count() FROM waybill.dead_letters WHERE pipeline = '" + w.name + "'"); got != "0" {
		t.Errorf("%s dead letters", got)
	}
	if got := w.query("SELECT count() FROM waybill.decisions WHERE pipeline = '" + w.name + "'"); got != "0" {
		t.Errorf("%s decisions", got)
	}
	// Mended, it is carried out from where it stood.
	w.exec("ALTER TABLE " + w.db + ".calls DROP CONSTRAINT early")
	b := w.start(w.file(spec{rows: 1000}))
	w.quiet(1000)
	b.stop()
	w.verify()
	w.wantCounts("1000 1000 0 0")
}

// In the table itself every half that lands makes all others climb past its token: 50 rows would take minutes.
func TestRows_ManyRefusedAreFoundOnACopy(t *testing.T) {
	w := newWorldOn(t, testenv.ClickHouse(t), 2) // others make copies on the shared one
	w.table(", CONSTRAINT no_forties CHECK id % 40 != 1")
	w.produceAs(2000, func(i int) string { return fmt.Sprintf(`{"id":%d}`, i) })
	a := w.start(w.file(spec{rows: 2000}))
	w.quiet(2000)
	a.stop()
	w.verify()
	w.wantCounts("2000 1950 50 0")
	if got := w.query("SELECT count() FROM waybill.dead_letters WHERE pipeline = '" + w.name + "' AND message LIKE '%no_forties%'"); got != "50" {
		t.Errorf("%s dead letters say why, want 50", got)
	}
	if got := w.query("SELECT count() FROM system.tables WHERE database = 'waybill' AND name LIKE 'probe_%'"); got != "0" {
		t.Errorf("%s copies are left", got)
	}
}

// The copy is of the table as it is, the batch of the table as it was: columns were renamed and dropped in between.
func TestRows_RefusedOnesOfAnOldPlanAreFoundOnACopy(t *testing.T) {
	w := newWorld(t, 2)
	w.table(", CONSTRAINT no_forties CHECK id % 40 != 1")
	more := func(i int) string { return fmt.Sprintf(`{"id":%d,"more":%d,"other":"o%d"}`, i, i, i) }
	w.produceAs(500, func(i int) string { return fmt.Sprintf(`{"id":%d,"more":%d,"other":"x"}`, i*40, i) })
	w.exec("SYSTEM STOP MERGES " + w.db + ".calls")
	cfg := w.file(spec{modes: evolving, deadline: "2s", rows: 2000})
	a := w.start(cfg)
	w.quiet(500)
	w.alter("MODIFY SETTING parts_to_throw_insert = 1, parts_to_delay_insert = 1")
	w.produceAs(1000, more)
	a.await("a batch that cannot be inserted", func(s status.Pipeline) bool { return s.State == status.Stalled && len(s.InFlight) > 0 })
	a.cancel()
	<-a.done
	w.exec("SYSTEM START MERGES " + w.db + ".calls")
	w.alter("RENAME COLUMN more TO other_name")
	w.alter("DROP COLUMN other")
	w.alter("RESET SETTING parts_to_throw_insert, parts_to_delay_insert")
	b := w.start(cfg)
	w.quiet(1500)
	if n := b.metric("inserts_total", ""); n > 20 {
		t.Errorf("%v inserts to write one batch: its refused rows were looked for in the table itself", n)
	}
	if n := w.query("SELECT max(n) FROM (SELECT count() AS n FROM waybill.findings WHERE pipeline = '" + w.name + "' AND kind = 'column_dropped' GROUP BY batch)"); n != "1" {
		t.Errorf("it was told %s times that a batch is written without a column", n)
	}
	b.stop()
	w.verify()
	if got := w.query("SELECT countIf(other_name = id OR id % 40 = 0) FROM " + w.db + ".calls"); got != w.query("SELECT count() FROM "+w.db+".calls") {
		t.Errorf("%s rows have the value under the new name", got)
	}
}

func TestRows_ThrowingViewHoldsTheBatchUntilItIsMended(t *testing.T) {
	// The part log is what proves that the window still remembers the batch.
	w := newWorldOn(t, testenv.ClickHouse(t, func(o *chserver.Options) { o.SystemLogs = true }), 1)
	w.exec("CREATE TABLE "+w.db+".per_model (model String, n UInt64) ENGINE = SummingMergeTree ORDER BY model SETTINGS non_replicated_deduplication_window = 10000",
		"CREATE MATERIALIZED VIEW "+w.db+".broken TO "+w.db+".per_model AS SELECT toString(model) AS model, count() + throwIf(max(id) = 150, 'the view is broken') AS n FROM "+w.db+".calls GROUP BY model")
	testenv.Eventually(t, soon, "the table is some seconds old", func() bool {
		return w.query("SELECT min(now() - metadata_modification_time) > 6 FROM system.tables WHERE database = '"+w.db+"'") == "1"
	})
	w.produceAs(151, func(i int) string { return fmt.Sprintf(`{"id":%d,"model":"m"}`, i) })
	a := w.start(w.file(spec{rows: 151}))
	a.await("stalled by the view", stalled("the view is broken"))
	if got := w.query("SELECT count() FROM waybill.dead_letters WHERE pipeline = '" + w.name + "'"); got != "0" {
		t.Errorf("%s dead letters", got)
	}
	w.exec("ALTER TABLE " + w.db + ".broken MODIFY QUERY SELECT toString(model) AS model, count() AS n FROM " + w.db + ".calls GROUP BY model")
	w.quiet(151)
	a.await("moving again", moving)
	a.stop()
	w.verify()
	if got := w.query("SELECT sum(n) FROM " + w.db + ".per_model"); got != "151" || a.found("view_incomplete") {
		t.Errorf("the view counts %s of 151", got)
	}
}

func TestTable_AddedColumnIsTakenUp(t *testing.T) {
	w := newWorld(t, 1)
	w.produce(200)
	a := w.start(w.file(spec{}))
	w.quiet(200)
	w.exec("ALTER TABLE " + w.db + ".calls ADD COLUMN region String DEFAULT 'eu'")
	w.produce(200)
	w.quiet(400)
	a.stop()
	w.verify()
	if got := w.query("SELECT countIf(region = 'eu') FROM " + w.db + ".calls"); got != "396" {
		t.Errorf("%s rows have the default", got)
	}
}

func TestTable_ChangedSoThatThePlanDoesNotFitStopsWithTheReason(t *testing.T) {
	for what, c := range map[string]struct{ alter, words string }{
		"type":    {"MODIFY COLUMN tokens String", "tokens"},
		"dropped": {"DROP COLUMN tokens", "tokens"},
	} {
		t.Run(what, func(t *testing.T) {
			w := newWorld(t, 1)
			w.produce(200)
			a := w.start(w.file(spec{}))
			w.quiet(200)
			w.exec("ALTER TABLE " + w.db + ".calls " + c.alter + " SETTINGS mutations_sync = 1")
			err := a.ended()
			if err == nil || !strings.Contains(err.Error(), c.words) {
				t.Fatalf("ended with %v", err)
			}
			if s := a.p.Status(); s.State != status.Stopped || !strings.Contains(s.Reason, c.words) {
				t.Errorf("status %+v", s)
			}
			w.wantCounts("200 198 2 0")
		})
	}
}

// What is not simply a field of the event: the record's header, key and timestamp, constants, elements of arrays, nested
// columns, layouts, and the table's own DEFAULTs. Both transports write the same table.
func TestRows_SourcesNestedAndTableDefaults(t *testing.T) {
	var hashes []string
	for _, scheme := range []string{"clickhouse", "http"} {
		hashes = append(hashes, rowsOf(t, scheme))
	}
	if hashes[0] != hashes[1] {
		t.Errorf("over TCP %s, over HTTP %s", hashes[0], hashes[1])
	}
}

func rowsOf(t *testing.T, scheme string) (hash string) {
	t.Run(scheme, func(t *testing.T) {
		w := newWorldOn(quietly{t}, testenv.SharedClickHouse(t), 1)
		w.exec("ALTER TABLE " + w.db + ".calls ADD COLUMN k String, ADD COLUMN region LowCardinality(String) DEFAULT 'none', ADD COLUMN at DateTime64(3, 'UTC'), " +
			"ADD COLUMN env String, ADD COLUMN first String, ADD COLUMN items Nested(name String, price Decimal(9, 2)), ADD COLUMN day Date, " +
			"ADD COLUMN doubled UInt64 DEFAULT tokens * 2, ADD COLUMN label LowCardinality(String) DEFAULT concat('m-', model)")
		columns := `
    k: {type: String, kafka: key}
    region: {type: LowCardinality(String), kafka: header.region}
    at: {type: DateTime64(3), kafka: timestamp}
    env: {type: String, value: prod}
    first: {type: String, from: "items[0].name"}
    items.name: {type: Array(String), from: "items[*].name"}
    items.price: {type: "Array(Decimal(9, 2))", from: "items[*].price"}
    day: {type: Date, format: "%d.%m.%Y"}
    doubled: {type: UInt64}
    label: {type: LowCardinality(String)}`
		cl := w.client()
		defer cl.Close()
		for i, value := range []string{
			`{"id":1,"model":"a","usage":{"tokens":3},"items":[{"name":"x","price":1.25},{"price":"0.10"}],"day":"24.12.2026"}`,
			`{"id":2,"model":"b","items":[],"doubled":5,"label":"given"}`,
			`{"id":3,"model":"c","usage":{"tokens":null},"label":null}`,
		} {
			r := &kgo.Record{Key: []byte(fmt.Sprint("k", i)), Value: []byte(value), Timestamp: time.UnixMilli(1795358687123 + int64(i))}
			if i == 0 {
				r.Headers = []kgo.RecordHeader{{Key: "region", Value: []byte("eu")}}
			}
			if err := cl.ProduceSync(t.Context(), r).FirstErr(); err != nil {
				t.Fatal(err)
			}
			w.produced.Add(1)
		}
		addr := w.ch.TCPAddr()
		if scheme == "http" {
			addr = w.ch.HTTPAddr()
		}
		a := w.start(w.file(spec{columns: columns, scheme: scheme, addr: addr}))
		w.quiet(3)
		a.stop()
		const fields = "id, tokens, k, region, at, env, first, arrayStringConcat(items.name, '+'), arrayStringConcat(items.price, '+'), day, doubled, label"
		for id, want := range map[int]string{
			1: "1,3,k0,eu,2026-11-22 14:44:47.123,prod,x,x+,1.25+0.1,2026-12-24,6,m-a",
			2: "2,7,k1,none,2026-11-22 14:44:47.124,prod,,,,1970-01-01,5,given",
			3: "3,7,k2,none,2026-11-22 14:44:47.125,prod,,,,1970-01-01,14,m-c",
		} {
			if got := w.query(fmt.Sprintf("SELECT concatWithSeparator(',', %s) FROM %s.calls WHERE id = %d", fields, w.db, id)); got != want {
				t.Errorf("row %d:\ngot  %s\nwant %s", id, got, want)
			}
		}
		hash = w.query("SELECT sum(cityHash64(*)) FROM " + w.db + ".calls")
	})
	return hash
}

// quietly is a test that newWorldOn does not make parallel: its parent waits for what it finds.
type quietly struct{ testing.TB }
