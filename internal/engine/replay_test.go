package engine_test

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"

	"github.com/waybill-data/waybill"
	"github.com/waybill-data/waybill/internal/config"
	"github.com/waybill-data/waybill/internal/engine"
	"github.com/waybill-data/waybill/internal/ledger"
	"github.com/waybill-data/waybill/internal/replay"
	"github.com/waybill-data/waybill/internal/telemetry"
	"github.com/waybill-data/waybill/internal/testenv"
	"github.com/waybill-data/waybill/internal/testenv/faultproxy"
)

// misfit is an event that does not fit at every tenth: its tokens are words.
func misfit(i int) string {
	if i%10 == 3 {
		return fmt.Sprintf(`{"id":%d,"model":"m","usage":{"tokens":"many %d"}}`, i, i)
	}
	return fmt.Sprintf(`{"id":%d,"model":"m","usage":{"tokens":%d}}`, i, i)
}

// lenient takes what misfit's contract does not.
var lenient = spec{modes: "new_fields: discard\n  type_conflicts: rescue"}

// dlq is a job as `waybill dlq` makes one.
func (w *world) dlq(cfg *config.Pipeline, records int) *replay.Job {
	w.Helper()
	log := telemetry.NewLogger(w.Output(), false, slog.LevelError, false)
	e, err := engine.OpenReplayer(context.Background(), cfg, engine.Deps{Log: log, Metrics: telemetry.NewMetrics("test"), Budget: engine.NewBudget(1<<20, nil)})
	if err != nil {
		w.Fatal(err)
	}
	w.Cleanup(e.Close)
	return replay.New(replay.Deps{Engine: e, Who: "test", Records: records}, cfg)
}

func (w *world) replay(cfg *config.Pipeline, f ledger.LetterFilter) replay.Result {
	w.Helper()
	r, err := w.dlq(cfg, 7).Replay(context.Background(), f)
	if err != nil {
		w.Fatal(err)
	}
	return r
}

// letters is what the view says, as state=count.
func (w *world) letters() string {
	w.Helper()
	return w.query("SELECT arrayStringConcat(groupArray(s), ' ') FROM (SELECT concat(state, '=', toString(count())) AS s FROM waybill.dead_letters_now WHERE pipeline = '" + w.name + "' GROUP BY state ORDER BY state)")
}

// verifyReplayed is verify where dead letters have been replayed: exactly those have a row, and each has one.
func (w *world) verifyReplayed() {
	w.Helper()
	for law, sql := range map[string]string{
		"no row twice":                  "SELECT count() - uniqExact(_epoch, _partition, _offset) FROM " + w.db + ".calls",
		"written and replayed is there": "SELECT (" + w.ofLedger("sum(written)") + ") + (SELECT countIf(state = 'replayed') FROM waybill.dead_letters_now WHERE pipeline = '" + w.name + "') - (SELECT count() FROM " + w.db + ".calls)",
		"replayed has a row, others have none": "SELECT count() FROM waybill.dead_letters_now AS d WHERE d.pipeline = '" + w.name + "' AND (d.state = 'replayed') != ((d.partition, d.offset) IN (SELECT _partition, _offset FROM " +
			w.db + ".calls))",
		"what is begun is finished": "SELECT countIf(step = 'begun') - countIf(step = 'finished') FROM waybill.replays WHERE pipeline = '" + w.name + "'",
		"one batch for a sequence":  "SELECT count() - uniqExact(sequence) FROM waybill.replays WHERE step = 'begun' AND pipeline = '" + w.name + "'",
	} {
		if got := w.query(sql); got != "0" {
			w.Errorf("law %q is broken: %s", law, got)
		}
	}
}

// rejected runs a worker over events of which a tenth are dead letters.
func (w *world) rejected(n int) {
	w.Helper()
	w.produceAs(n, misfit)
	a := w.start(w.file(spec{}))
	w.quiet(w.produced.Load())
	a.stop()
}

func TestReplay_LandsOnceAndIsOnRecord(t *testing.T) {
	w := newWorld(t, 3)
	w.rejected(300)
	if got := w.letters(); got != "waiting=30" {
		t.Fatalf("letters: %s", got)
	}
	// Under the same contract they fail again, and say so.
	if r := w.replay(w.file(spec{}), ledger.LetterFilter{}); r.Failed != 30 || r.Replayed != 0 || r.Selected != 30 {
		t.Fatalf("%+v", r)
	}
	w.verifyReplayed()
	if got := w.query("SELECT concat(toString(min(attempt)), ' ', toString(max(attempt)), ' ', any(code)) FROM waybill.dead_letters_now WHERE pipeline = '" + w.name + "' AND state = 'failed'"); got != "1 1 wrong_type" {
		t.Errorf("attempts and code: %s", got)
	}
	if r := w.replay(w.file(lenient), ledger.LetterFilter{}); r.Replayed != 30 || r.Failed != 0 {
		t.Fatalf("%+v", r)
	}
	w.verifyReplayed()
	if got := w.letters(); got != "replayed=30" {
		t.Errorf("letters: %s", got)
	}
	if got := w.query("SELECT countIf(id % 10 = 3 AND _rescued LIKE '%many%' AND _topic = '" + topic + "') FROM " + w.db + ".calls"); got != "30" {
		t.Errorf("%s rows came of dead letters", got)
	}
	// What is done is done.
	if r := w.replay(w.file(lenient), ledger.LetterFilter{}); r.Selected != 0 || r.Skipped.Replayed != 30 {
		t.Fatalf("%+v", r)
	}
	w.verifyReplayed()
}

func TestReplay_SeveralAtOnce(t *testing.T) {
	w := newWorld(t, 3)
	w.rejected(600)
	var wg sync.WaitGroup
	results := make([]replay.Result, 4)
	for i := range results {
		job := w.dlq(w.file(lenient), 5)
		wg.Go(func() {
			var err error
			if results[i], err = job.Replay(context.Background(), ledger.LetterFilter{}); err != nil {
				w.Errorf("replay: %v", err)
			}
		})
	}
	wg.Wait()
	w.verifyReplayed()
	if got := w.letters(); got != "replayed=60" {
		t.Errorf("letters: %s", got)
	}
	var selected int64
	for _, r := range results {
		selected += r.Selected
	}
	if selected != 60 {
		t.Errorf("%d dead letters were begun with, by all: %+v", selected, results)
	}
}

func TestReplay_BesideALiveWorker(t *testing.T) {
	w := newWorld(t, 2)
	w.rejected(300)
	a := w.start(w.file(spec{}))
	w.produceAs(2000, misfit)
	for w.letters() != "replayed=230" {
		w.replay(w.file(lenient), ledger.LetterFilter{})
	}
	w.quiet(w.produced.Load())
	a.stop()
	w.verifyReplayed()
}

func TestReplay_LostRepliesAreReadBack(t *testing.T) {
	w := newWorld(t, 2)
	w.rejected(200)
	proxy := testenv.Proxy(t, w.ch.TCPAddr())
	s := lenient
	s.addr = proxy.Addr()
	for _, table := range []string{"calls", ledger.TableReplays, ledger.TableOutcomes} {
		proxy.Set(faultproxy.DropInsertReply(table).Times(2))
		w.replay(w.file(s), ledger.LetterFilter{})
		if n := proxy.Applied(faultproxy.NameDropInsert); n == 0 {
			t.Fatalf("no reply of %s was lost", table)
		}
		w.verifyReplayed()
		w.rejected(100)
	}
}

func TestReplay_RowsThatTheServerRefuses(t *testing.T) {
	w := newWorld(t, 1)
	w.table(", CONSTRAINT none_of_these CHECK id % 20 != 3")
	w.rejected(200)
	cfg := w.file(lenient)
	if r := w.replay(cfg, ledger.LetterFilter{}); r.Replayed != 10 || r.Failed != 10 {
		t.Fatalf("%+v", r)
	}
	w.verifyReplayed()
	if got := w.query("SELECT count() FROM waybill.dead_letters_now WHERE pipeline = '" + w.name + "' AND stage = 'insert' AND code = 'server_469' AND message LIKE '%none_of_these%'"); got != "10" {
		t.Errorf("%s say why", got)
	}
	// Something of that replay may still be on its way: they rest.
	w.exec("ALTER TABLE " + w.db + ".calls DROP CONSTRAINT none_of_these")
	if r := w.replay(cfg, ledger.LetterFilter{}); r.Selected != 0 || r.Skipped.Resting != 10 || r.Skipped.Replayed != 10 {
		t.Fatalf("%+v", r)
	}
	w.exec("ALTER TABLE waybill.replays UPDATE at = at - INTERVAL 1 HOUR WHERE pipeline = '" + w.name + "' SETTINGS mutations_sync = 1")
	if r := w.replay(cfg, ledger.LetterFilter{}); r.Replayed != 10 {
		t.Fatalf("%+v", r)
	}
	w.verifyReplayed()
}

func TestReplay_OutcomesThatAreNoRows(t *testing.T) {
	w := newWorld(t, 1)
	w.rejected(100)
	s := lenient
	s.top = "filter: event.id != 13"
	if r := w.replay(w.file(s), ledger.LetterFilter{Contains: "", Spans: map[int32]waybill.OffsetSet{0: waybill.OffsetsIn(waybill.Span{First: 0, Next: 50})}}); r.Filtered != 1 || r.Replayed != 4 {
		t.Fatalf("%+v", r)
	}
	job := w.dlq(w.file(lenient), 0)
	r, err := job.Discard(context.Background(), ledger.LetterFilter{Spans: map[int32]waybill.OffsetSet{0: waybill.OffsetsOf(53)}}, "a test")
	if err != nil || r.Discarded != 1 {
		t.Fatalf("%+v, %v", r, err)
	}
	if got := w.query("SELECT concat(who, ' ', note) FROM waybill.dead_letters_now WHERE state = 'discarded' AND pipeline = '" + w.name + "'"); got != "test a test" {
		t.Errorf("on record: %s", got)
	}
	// Neither comes back.
	if r := w.replay(w.file(lenient), ledger.LetterFilter{}); r.Replayed != 4 || r.Skipped.Discarded != 1 || r.Skipped.Filtered != 1 || r.Skipped.Replayed != 4 {
		t.Fatalf("%+v", r)
	}
	w.verifyReplayed()
}

// A dead letter without the record's value is no tombstone, and one past the ledger's tip is its worker's.
func TestReplay_WhatCannotBeReplayed(t *testing.T) {
	w := newWorld(t, 1)
	w.rejected(100)
	w.exec("ALTER TABLE waybill.dead_letters UPDATE value = NULL WHERE offset = 3 AND pipeline = '"+w.name+"' SETTINGS mutations_sync = 1",
		"ALTER TABLE waybill.dead_letters UPDATE value = '{\"waybill_redacted\":{\"bytes\":57}}' WHERE offset = 13 AND pipeline = '"+w.name+"' SETTINGS mutations_sync = 1",
		"INSERT INTO waybill.dead_letters SELECT * REPLACE (1000 AS offset) FROM (SELECT * FROM waybill.dead_letters WHERE offset = 23 AND pipeline = '"+w.name+"')")
	if r := w.replay(w.file(spec{columns: "", modes: lenient.modes}), ledger.LetterFilter{}); r.Replayed != 8 || r.Failed != 2 || r.Skipped.Unsettled != 1 {
		t.Fatalf("%+v", r)
	}
	if got := w.query("SELECT groupArray((offset, code)) FROM (SELECT offset, code FROM waybill.dead_letters_now WHERE state = 'failed' AND pipeline = '" + w.name + "' ORDER BY offset)"); got != "[(3,'not_kept'),(13,'not_kept')]" {
		t.Errorf("failed: %s", got)
	}
}

// A replay that was begun and not finished is finished by the next, whatever that one is asked for.
func TestReplay_UnfinishedOneIsFinishedFirst(t *testing.T) {
	w := newWorld(t, 2)
	w.rejected(100)
	w.dlq(w.file(lenient), 0) // puts the plan on record
	id := w.query("SELECT id FROM waybill.plans WHERE pipeline = '" + w.name + "' ORDER BY first_seen DESC LIMIT 1")
	w.exec(`INSERT INTO waybill.replays SELECT '` + w.name + `', 1, 'begun', 'replay', 0, unhex('000102030405060708090a0b0c0d0e0f'), now64(3), ` + id + `, '` + topic + `',
		groupArray(partition), groupArray(offset), 'somebody who died', '' FROM (SELECT * FROM waybill.dead_letters WHERE pipeline = '` + w.name + `' ORDER BY partition, offset LIMIT 4)`)
	// It had come as far as to land two of them.
	if r := w.replay(w.file(lenient), ledger.LetterFilter{Codes: []string{"no such"}}); r.Resumed != 4 || r.Selected != 0 {
		t.Fatalf("%+v", r)
	}
	w.verifyReplayed()
	if got := w.letters(); got != "replayed=4 waiting=6" {
		t.Errorf("letters: %s", got)
	}
}

func TestReplay_Routes(t *testing.T) {
	w := routedWorld(t, 2)
	w.produceAs(200, func(i int) string {
		if i%10 == 1 { // a tool without a name
			return fmt.Sprintf(`{"id":%d,"kind":"tool"}`, i)
		}
		return mixed(i - i%4)
	})
	a := w.start(w.routed(threeRoutes, "", spec{}))
	w.quiet(200)
	a.stop()
	w.verifyRouted("calls", "tools", "others")
	before := w.letters()
	r := w.replay(w.routed(strings.Replace(threeRoutes, ", required: true", "", 1), "", spec{}), ledger.LetterFilter{Codes: []string{"missing_required"}})
	if r.Replayed != 20 || r.Failed != 0 {
		t.Fatalf("%+v; letters before: %s", r, before)
	}
	got := w.query("SELECT concat(toString((SELECT count() FROM " + w.db + ".tools WHERE id % 10 = 1 AND name = '')), ' ', toString((SELECT countIf(target = '" + w.db + ".tools') FROM waybill.dead_letters_now WHERE pipeline = '" + w.name + "')))")
	if got != "20 20" {
		t.Errorf("rows in their table, and targets on record: %s", got)
	}
}
