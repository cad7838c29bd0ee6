package engine_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/waybill-data/waybill"
	"github.com/waybill-data/waybill/internal/status"
	"github.com/waybill-data/waybill/internal/testenv"
	"github.com/waybill-data/waybill/internal/trial"
)

const evolving = "new_fields: evolve\n  type_conflicts: evolve"

// version is one of five shapes in which producers write at once: fields are added, removed, renamed, nested and of another type.
func version(i int) string {
	switch i % 5 {
	case 0:
		return fmt.Sprintf(`{"id":%d,"model":"m%d","usage":{"tokens":%d}}`, i, i%3, i%1000)
	case 1:
		return fmt.Sprintf(`{"id":%d,"model":"m%d","usage":{"tokens":%d},"cost":%d.5,"user":{"name":"u%d","age":%d}}`, i, i%3, i%1000, i%10, i%7, i%90)
	case 2:
		return fmt.Sprintf(`{"id":%d,"model":"m%d","tokens":%d,"tags":["a","t%d"]}`, i, i%3, i%1000, i%4)
	case 3:
		return fmt.Sprintf(`{"id":%d,"model":"m%d","usage":{"tokens":"many %d"},"trace":"%08x-0000-4000-8000-%012x","at":"2026-11-25T10:00:%02dZ"}`, i, i%3, i, i, i, i%60)
	}
	return fmt.Sprintf(`{"id":%d,"model":"m%d","usage":{"tokens":%d},"user":{"name":"u%d","vip":true},"big":%d}`, i, i%3, 5_000_000_000+i, i%7, i)
}

// Five versions interleave, two workers take them, and nobody touches anything: no value is lost, and as much of it is typed as can be.
func TestEvolve_FiveVersionsInterleave(t *testing.T) {
	w := newWorld(t, 4)
	cfg := w.file(spec{modes: evolving})
	w.produceAs(1000, version)
	a := w.start(cfg)
	b := w.start(cfg)
	w.produceAs(2000, version)
	w.quiet(3000)
	w.produceAs(2000, version)
	w.quiet(5000)
	a.stop()
	b.stop()
	w.verify()
	w.wantCounts("5000 5000 0 0")
	for what, wrong := range map[string]string{
		"cost":          "countIf(id % 5 = 1 AND (cost IS NULL OR cost != (id % 10) + 0.5) OR id % 5 != 1 AND cost IS NOT NULL)",
		"user_name":     "countIf(id % 5 IN (1, 4) AND ifNull(user_name, '') != concat('u', toString(id % 7)) OR id % 5 NOT IN (1, 4) AND user_name IS NOT NULL)",
		"user_age":      "countIf(id % 5 = 1 AND ifNull(user_age, -1) != id % 90)",
		"user_vip":      "countIf(id % 5 = 4 AND NOT ifNull(user_vip, false))",
		"trace is UUID": "countIf(id % 5 = 3 AND (trace IS NULL OR toTypeName(trace) != 'Nullable(UUID)'))",
		"at is a time":  "countIf(id % 5 = 3 AND (at IS NULL OR NOT toTypeName(at) LIKE 'Nullable(DateTime64%'))",
		"tags":          "countIf(id % 5 = 2 AND tags != ['a', concat('t', toString(id % 4))])",
		"big":           "countIf(id % 5 = 4 AND ifNull(big, 0) != id)",
		// tokens was UInt32: it is wide enough for 5,000,000,000 by now, and what is text is rescued.
		"tokens": "countIf(id % 5 IN (0, 1) AND ifNull(tokens, 0) != id % 1000 OR id % 5 = 4 AND ifNull(tokens, 0) != 5000000000 + id)",
		"rescued": "countIf(id % 5 = 3 AND JSONExtractRaw(_rescued, 'fields', 'usage.tokens', 'value') != concat('\"many ', toString(id), '\"') OR " +
			"id % 5 NOT IN (2, 3) AND _rescued != '')",
	} {
		if got := w.query("SELECT " + wrong + " FROM " + w.db + ".calls"); got != "0" {
			t.Errorf("%s: %s rows are wrong, such as %s", what, got, w.query("SELECT concat(toString(id), ' ', _rescued) FROM "+w.db+".calls WHERE "+condition(wrong)+" LIMIT 1"))
		}
	}
	if got := w.query("SELECT countIf(plan_before = 0 OR plan_after = 0) FROM waybill.schema_changes WHERE outcome = 'applied' AND pipeline = '" + w.name + "'"); got != "0" {
		t.Errorf("%s changes do not say between which plans they lie", got)
	}
}

func condition(countIf string) string { return countIf[len("countIf(") : len(countIf)-1] }

// The first event with a field has it in its column, though the column came with it.
func TestEvolve_FirstEventKeepsItsField(t *testing.T) {
	w := newWorld(t, 1)
	w.produceAs(100, func(i int) string { return fmt.Sprintf(`{"id":%d,"model":"m","usage":{"tokens":1}}`, i) })
	a := w.start(w.file(spec{modes: evolving}))
	w.quiet(100)
	w.produceAs(1, func(i int) string {
		return fmt.Sprintf(`{"id":%d,"model":"m","usage":{"tokens":1},"fresh":"first"}`, i)
	})
	w.quiet(101)
	w.wantFinding("column_added", 1)
	a.stop()
	w.verify()
	if got := w.query("SELECT groupArray((id, fresh, _rescued)) FROM " + w.db + ".calls WHERE fresh IS NOT NULL"); got != "[(100,'first','')]" {
		t.Errorf("the first event has %s", got)
	}
}

// tables: evolve makes the table, as `waybill plan` shows it.
func TestEvolve_MakesTheTable(t *testing.T) {
	w := newWorld(t, 2)
	w.exec("DROP TABLE " + w.db + ".calls SYNC")
	w.produce(500)
	a := w.start(w.file(spec{modes: "tables: evolve"}))
	w.quiet(500)
	a.stop()
	w.wantCounts("500 495 5 0")
	w.wantValues()
	if got := w.query("SELECT uniqExact(_partition, _offset) FROM " + w.db + ".calls"); got != "495" {
		t.Errorf("%s rows, want 495", got)
	}
}

// Somebody drops a column that Waybill has added: it is not fought over. The field goes to the rescue column from then on, in sight.
func TestEvolve_DroppedColumnIsNotAddedAgain(t *testing.T) {
	w := newWorld(t, 1)
	fresh := func(i int) string {
		return fmt.Sprintf(`{"id":%d,"model":"m","usage":{"tokens":1},"fresh":"f%d"}`, i, i)
	}
	w.produceAs(100, fresh)
	a := w.start(w.file(spec{modes: evolving}))
	w.quiet(100)
	before := a.plan()
	w.alter("DROP COLUMN fresh SETTINGS mutations_sync = 1")
	a.awaitOtherPlan(before)
	w.produceAs(100, fresh)
	w.quiet(200)
	w.wantFinding("evolve_held", 1)
	a.stop()
	w.verify()
	if got := w.query("SELECT countIf(JSONExtractString(_rescued, 'fields', 'fresh', 'value') = concat('f', toString(id))) FROM " + w.db + ".calls"); got != "100" {
		t.Errorf("%s values are rescued, want 100", got)
	}
}

// Somebody widens a column by hand, and an event comes that needs it, before a worker has looked at the table again: what was made by hand stays.
func TestEvolve_WidenedByHandIsNotUndone(t *testing.T) {
	w := newWorld(t, 1)
	w.produceAs(100, func(i int) string { return fmt.Sprintf(`{"id":%d,"model":"m","usage":{"tokens":1}}`, i) })
	a := w.start(w.file(spec{modes: evolving}))
	w.quiet(100)
	w.alter("MODIFY COLUMN tokens UInt64")
	w.produceAs(1, func(i int) string {
		return fmt.Sprintf(`{"id":%d,"model":"m","usage":{"tokens":5000000000}}`, i)
	})
	w.quiet(101)
	a.stop()
	w.verify()
	if got := w.query("SELECT concat(toTypeName(any(tokens)), ' ', toString(max(tokens))) FROM " + w.db + ".calls"); got != "UInt64 5000000000" {
		t.Errorf("the column is %s", got)
	}
}

// Likewise for a worker that did not add it, but has seen it there; and for one that starts later, though the worker that added it died before it could put
// that on record.
func TestEvolve_DroppedColumnIsNotAddedAgainByAnother(t *testing.T) {
	w := newWorld(t, 1)
	fresh := func(i int) string {
		return fmt.Sprintf(`{"id":%d,"model":"m","usage":{"tokens":1},"fresh":"f%d"}`, i, i)
	}
	cfg := w.file(spec{modes: evolving})
	a := w.start(cfg)
	b := w.start(cfg)
	w.produceAs(100, fresh)
	w.quiet(100)
	owner, other := a, b
	if !a.found("column_added") {
		owner, other = b, a
	}
	before := owner.plan()
	other.await("the owner's plan", func(s status.Pipeline) bool { return s.Plan == before })
	w.exec("ALTER TABLE waybill.schema_changes DELETE WHERE pipeline = '" + w.name + "' SETTINGS mutations_sync = 2")
	owner.stop()
	w.alter("DROP COLUMN fresh")
	other.awaitOtherPlan(before)
	w.produceAs(100, fresh)
	w.quiet(200)
	other.stop()
	c := w.start(cfg)
	w.produceAs(100, fresh)
	w.quiet(300)
	c.stop()
	w.verify()
	if got := w.query("SELECT count() FROM system.columns WHERE database = '" + w.db + "' AND table = 'calls' AND name = 'fresh'"); got != "0" {
		t.Error("the column was added again")
	}
	if got := w.query("SELECT countIf(JSONExtractString(_rescued, 'fields', 'fresh', 'value') = concat('f', toString(id))) FROM " + w.db + ".calls"); got != "200" {
		t.Errorf("%s values are rescued, want 200", got)
	}
}

// A materialized view would cast a widened column in silence: the column stays as it is, in sight, once; columns are added.
func TestEvolve_NothingIsWidenedUnderViews(t *testing.T) {
	w := newWorld(t, 1)
	w.alter("MODIFY COLUMN tokens REMOVE DEFAULT")
	w.exec("CREATE TABLE "+w.db+".sums (tokens UInt32) ENGINE = MergeTree ORDER BY tuple() SETTINGS non_replicated_deduplication_window = 10000",
		"CREATE MATERIALIZED VIEW "+w.db+".view TO "+w.db+".sums AS SELECT tokens FROM "+w.db+".calls")
	large := func(i int) string {
		return fmt.Sprintf(`{"id":%d,"model":"m","usage":{"tokens":5000000000},"fresh":%d}`, i, i)
	}
	w.produceAs(50, large)
	a := w.start(w.file(spec{modes: evolving}))
	w.quiet(50)
	w.produceAs(50, large)
	w.quiet(100)
	w.wantFinding("column_added", 1)
	a.stop()
	w.wantFinding("evolve_held", 1)
	w.verify()
	if got := w.query("SELECT countIf(toTypeName(tokens) = 'UInt32' AND tokens = 0 AND fresh = id AND position(_rescued, '\"value\":5000000000}') > 0) FROM " + w.db + ".calls"); got != "100" {
		t.Errorf("%s rows are as they should be, want 100", got)
	}
}

// Events that have no field of the contract stop the pipeline before they are written.
func TestBlank_StopsBeforeTheRowsAreWritten(t *testing.T) {
	w := newWorld(t, 1)
	w.exec("ALTER TABLE " + w.db + ".calls DROP COLUMN IF EXISTS nothing")
	cfg := w.file(spec{modes: "new_fields: rescue"})
	cfg.Contract.Columns[0].Required = false
	w.produceAs(300, func(i int) string { return fmt.Sprintf(`{"payload":{"id":%d}}`, i) })
	a := w.start(cfg)
	err := a.ended()
	if err == nil || a.p.Status().State != status.Stopped {
		t.Fatalf("ended with %v", err)
	}
	if !a.found("all_blank") {
		t.Error("no finding says so")
	}
	// A batch that was closed before there were enough to be sure may have gone.
	if got := w.query("SELECT count() < 100 FROM " + w.db + ".calls"); got != "1" {
		t.Errorf("%s blank rows were written", w.query("SELECT count() FROM "+w.db+".calls"))
	}
}

// Events of an unknown version that the file says to take as they are land, in sight, once.
func TestVersions_AssumedOnesAreNamed(t *testing.T) {
	w := newWorld(t, 1)
	unknown := func(i int) string { return fmt.Sprintf(`{"v":9,"id":%d,"model":"m","usage":{"tokens":1}}`, i) }
	w.produceAs(50, unknown)
	a := w.start(w.file(spec{top: "version: {from: v, current: 2, unknown: current}"}))
	w.quiet(50)
	w.produceAs(50, unknown)
	w.quiet(100)
	a.stop()
	w.wantFinding("unknown_version", 1)
	w.verify()
	w.wantCounts("100 100 0 0")
}

// With on_blank: continue they are written, and there is one finding, whatever the number of batches.
func TestBlank_ContinueWritesTheRowsAndSaysSoOnce(t *testing.T) {
	w := newWorld(t, 1)
	cfg := w.file(spec{modes: "new_fields: rescue", top: "on_blank: continue", rows: 50})
	cfg.Contract.Columns[0].Required = false
	w.produceAs(300, func(i int) string { return fmt.Sprintf(`{"payload":{"id":%d}}`, i) })
	a := w.start(cfg)
	w.quiet(300)
	w.wantFinding("all_blank", 1)
	a.stop()
	w.verify()
	w.wantCounts("300 300 0 0")
}

// `waybill test` evolves a table in memory as a worker does the real one: the same statements, the same rows, the same rescued fields.
func TestEvolve_TrialDoesTheSame(t *testing.T) {
	w := newWorld(t, 1)
	w.alter("MODIFY COLUMN tokens REMOVE DEFAULT") // the trial knows the contract alone
	cfg := w.file(spec{modes: evolving})
	w.produceAs(400, version)
	a := w.start(cfg)
	w.quiet(400)
	a.stop()
	w.verify()
	var records []waybill.Record
	for i := range 400 {
		records = append(records, waybill.Record{Topic: topic, Offset: int64(i), Value: []byte(version(i))})
	}
	lines, sum, err := trial.Batch(cfg, records, false)
	if err != nil {
		t.Fatal(err)
	}
	statements := ""
	for _, c := range sum.Tables[0].Changes {
		statements += c.SQL + "\n"
	}
	ran, err := testenv.Query(w.ch.HTTPAddr(), "SELECT statement FROM waybill.schema_changes WHERE pipeline = '"+w.name+"' ORDER BY at, path FORMAT TSVRaw")
	if err != nil || ran != statements {
		t.Errorf("the worker ran\n%s\nthe trial\n%s\n%v", ran, statements, err)
	}
	body, err := testenv.Query(w.ch.HTTPAddr(), "SELECT * EXCEPT (_topic, _partition, _offset, _epoch) FROM "+w.db+".calls ORDER BY _offset SETTINGS output_format_json_quote_64bit_integers = 0, "+
		"date_time_output_format = 'iso' FORMAT JSONEachRow")
	if err != nil {
		t.Fatal(err)
	}
	rows := strings.Split(strings.TrimSpace(body), "\n")
	if len(rows) != len(lines) {
		t.Fatalf("%d rows, %d lines", len(rows), len(lines))
	}
	for i, line := range lines {
		var landed map[string]any
		var tried struct{ Row map[string]any }
		if err := errors.Join(json.Unmarshal([]byte(rows[i]), &landed), json.Unmarshal(line, &tried)); err != nil {
			t.Fatal(err)
		}
		var rescued struct{ Fields any }
		if text, _ := landed["_rescued"].(string); json.Unmarshal([]byte(text), &rescued) == nil {
			landed["_rescued"] = rescued.Fields
		} else {
			delete(landed, "_rescued")
		}
		if diff := cmp.Diff(landed, tried.Row); diff != "" {
			t.Fatalf("event %d: -landed +tried\n%s", i, diff)
		}
	}
}
