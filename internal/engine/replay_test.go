package engine_test

import (
	"context"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

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
	// The worker's own audit has looked at what there is, and finds nothing wrong with the rows of dead letters.
	a.verified(float64(w.produced.Load()))
	a.rounds(2) // and once more, now that the replay is over
	if a.found("rows_unexpected") || a.found("rows_missing") {
		t.Errorf("findings: %+v", a.p.Status().Findings)
	}
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
	w.exec(`INSERT INTO waybill.replays (pipeline, sequence, step, kind, epoch, batch, at, plan, topic, partitions, offsets, who, note)
		SELECT '` + w.name + `', 1, 'begun', 'replay', 0, unhex('000102030405060708090a0b0c0d0e0f'), now64(3), ` + id + `, '` + topic + `',
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

func (w *world) dead() string {
	w.Helper()
	return w.query("SELECT count() FROM waybill.dead_letters WHERE pipeline = '" + w.name + "'")
}

func TestDeadLetters_BudgetStopsBeforeTheBatch(t *testing.T) {
	w := newWorld(t, 2)
	bounded := func(budget string) *config.Pipeline { return w.file(spec{top: "dead_letters: " + budget}) }
	w.produceAs(500, misfit) // a tenth of them
	a := w.start(bounded("{max_count: 80}"))
	w.quiet(500)
	a.stop()
	w.produceAs(500, misfit)
	// Neither of these begins to count anew, though each has room for what it reads itself.
	for range 2 {
		b := w.start(bounded("{max_count: 80}"))
		if err := b.ended(); waybill.ClassOf(err) != waybill.ClassConfig || !strings.Contains(err.Error(), "max_count is 80") {
			t.Fatalf("ended with %v", err)
		}
	}
	w.wantFinding("dead_letter_budget", 1)
	// A batch before the one that went past it may have been written, and be settled by the next start.
	if n, err := strconv.Atoi(w.dead()); err != nil || n > 80 {
		t.Errorf("%d dead letters are there (%v), and the budget is 80", n, err)
	}
	// With a larger budget it goes on where it stood, and the finding closes.
	c := w.start(bounded("{max_share: 50%, max_count: 10000}"))
	w.quiet(1000)
	testenv.Eventually(w, soon, "the finding closes", func() bool {
		return w.query("SELECT state FROM waybill.findings_now WHERE pipeline = '"+w.name+"' AND kind = 'dead_letter_budget'") == "closed"
	})
	c.stop()
	w.verify()
	w.wantCounts("1000 900 100 0")
}

// Batches before the record that the pipeline stopped at are within the budget, and say nothing of it: the finding stays open over every restart.
func TestDeadLetters_BudgetFindingStaysOpenUntilItIsPast(t *testing.T) {
	w := newWorld(t, 2)
	small := func(budget string) *config.Pipeline { return w.file(spec{rows: 20, top: "dead_letters: " + budget}) }
	half := func(i int) string { return misfit(2 + i%2) } // one partition has nothing but dead letters, the other none
	state := func() string {
		return w.query("SELECT concat(state, ' ', toString(reopened)) FROM waybill.findings_now WHERE pipeline = '" + w.name + "' AND kind = 'dead_letter_budget'")
	}
	for range 3 {
		w.produceAs(200, half)
		b := w.start(small("{max_count: 30}"))
		if err := b.ended(); waybill.ClassOf(err) != waybill.ClassConfig {
			t.Fatalf("ended with %v", err)
		}
		if got := state(); got != "open 0" {
			t.Fatalf("the finding is %q", got)
		}
	}
	c := w.start(small("{max_count: 1000}"))
	w.quiet(600)
	testenv.Eventually(w, soon, "the finding closes", func() bool { return state() == "closed 0" })
	c.stop()
}

func TestDeadLetters_ExpireByTheFilesTime(t *testing.T) {
	w := newWorldOn(t, testenv.ClickHouse(t), 1) // the table is merged
	w.rejected(100)
	w.produceAs(100, misfit)
	a := w.start(w.file(spec{top: "dead_letters: {ttl: 7d}"}))
	w.quiet(200)
	a.stop()
	if got := w.query("SELECT concat(toString(countIf(expires_at = 0)), ' ', toString(countIf(abs(dateDiff('second', expires_at, now() + INTERVAL 7 DAY)) < 600))) FROM waybill.dead_letters WHERE pipeline = '" + w.name + "'"); got != "10 10" {
		t.Fatalf("for ever, and for a week: %s", got)
	}
	// 0 is never; what has expired goes with the next merge.
	w.exec("OPTIMIZE TABLE waybill.dead_letters FINAL")
	if got := w.dead(); got != "20" {
		t.Errorf("%s dead letters after a merge", got)
	}
	w.exec("ALTER TABLE waybill.dead_letters UPDATE expires_at = now() - 10 WHERE expires_at != 0 SETTINGS mutations_sync = 1", "OPTIMIZE TABLE waybill.dead_letters FINAL")
	if got := w.dead(); got != "10" {
		t.Errorf("%s dead letters are left, want those that never expire", got)
	}
}

func TestDeadLetters_Mirror(t *testing.T) {
	w := newWorld(t, 1)
	w.admin(func(ctx context.Context, a *kadm.Client) error {
		_, err := a.CreateTopic(ctx, 1, 1, nil, "calls.dead")
		return err
	})
	w.produceAs(200, misfit)
	proxy := testenv.Proxy(t, w.ch.TCPAddr())
	proxy.Set(faultproxy.DropInsertReply(ledger.TableDeadLetters).Times(1))
	a := w.start(w.file(spec{addr: proxy.Addr(), top: "dead_letters: {mirror: {topic: calls.dead}}"}))
	w.quiet(200)
	a.stop()
	w.verify()
	cl := w.client(kgo.ConsumeTopics("calls.dead"))
	defer cl.Close()
	seen := map[string]int{}
	testenv.Eventually(w, soon, "the mirror has all", func() bool {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		cl.PollFetches(ctx).EachRecord(func(r *kgo.Record) {
			h := map[string]string{}
			for _, x := range r.Headers {
				h[x.Key] = string(x.Value)
			}
			if !strings.Contains(string(r.Value), "many") || h["waybill_pipeline"] != w.name || h["waybill_topic"] != topic || h["waybill_code"] != "wrong_type" || h["waybill_partition"] != "0" || h["waybill_message"] == "" || h["waybill_attempt"] != "0" {
				t.Errorf("%s with %v", r.Value, h)
			}
			seen[h["waybill_offset"]]++
		})
		return len(seen) == 20
	})
}

// A mirror that takes nothing holds the batch up, in sight: no dead letter is on record that is not in the mirror.
func TestDeadLetters_MirrorThatRefusesStalls(t *testing.T) {
	w := newWorld(t, 1)
	w.produceAs(100, misfit)
	a := w.start(w.file(spec{top: "dead_letters: {mirror: {topic: not.there}}"}))
	a.await("stalled", stalled("UNKNOWN_TOPIC"))
	if got := w.dead(); got != "0" {
		t.Errorf("%s dead letters on record", got)
	}
	w.admin(func(ctx context.Context, ad *kadm.Client) error {
		_, err := ad.CreateTopic(ctx, 1, 1, nil, "not.there")
		return err
	})
	w.quiet(100)
	a.stop()
	w.verify()
	w.wantCounts("100 90 10 0")
}

// A dead letter holds what redaction left: it replays as it is, and its hashes are those of other rows. Evolve changes no table for a replay:
// what no column takes is rescued.
func TestReplay_RedactedAndUnderEvolve(t *testing.T) {
	w := newWorld(t, 1)
	w.exec("ALTER TABLE " + w.db + ".calls ADD COLUMN user String")
	w.produceAs(100, func(i int) string {
		return strings.Replace(misfit(i), `"model"`, fmt.Sprintf(`"user":"u%d","more":%d,"model"`, i%2, i), 1)
	})
	file := func(modes string) *config.Pipeline {
		text := w.text(spec{modes: modes, columns: "\n    user: {type: String}", top: "redact: {version: 1, secret: \"${REDACT_SECRET}\", rules: [{path: user, do: hash}]}"})
		p, err := config.Parse("test.yaml", []byte(text), func(string) (string, bool) { return "0123456789abcdef", true })
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	a := w.start(file("new_fields: discard\n  type_conflicts: freeze"))
	w.quiet(100)
	a.stop()
	if got := w.query("SELECT countIf(value LIKE '%hmac_%' AND value NOT LIKE '%\"u1\"%') FROM waybill.dead_letters WHERE pipeline = '" + w.name + "'"); got != "10" {
		t.Fatalf("%s dead letters are redacted", got)
	}
	if r := w.replay(file("new_fields: evolve\n  type_conflicts: rescue"), ledger.LetterFilter{}); r.Replayed != 10 {
		t.Fatalf("%+v", r)
	}
	w.verifyReplayed()
	if got := w.query("SELECT concat(toString(uniqExact(user)), ' ', toString(countIf(_rescued LIKE '%\"more\"%')), ' ', toString(countIf(user NOT LIKE 'hmac_%'))) FROM " + w.db + ".calls"); got != "2 10 0" {
		t.Errorf("users, rows with the rescued field, rows with a user in the clear: %s", got)
	}
	if got := w.query("SELECT count() FROM system.columns WHERE database = '" + w.db + "' AND table = 'calls' AND name = 'more'"); got != "0" {
		t.Error("a replay has changed the table")
	}
}

// A view sees each row once, also if a reply is lost.
func TestReplay_FillsViews(t *testing.T) {
	w := newWorldOn(t, testenv.ClickHouse(t), 2)
	w.exec("CREATE TABLE "+w.db+".sums (n UInt64) ENGINE = MergeTree ORDER BY n SETTINGS non_replicated_deduplication_window = 10000",
		"CREATE MATERIALIZED VIEW "+w.db+".sums_mv TO "+w.db+".sums AS SELECT count() AS n FROM "+w.db+".calls")
	w.rejected(200)
	proxy := testenv.Proxy(t, w.ch.TCPAddr())
	s := lenient
	s.addr = proxy.Addr()
	proxy.Set(faultproxy.DropInsertReply("calls").Times(1))
	if r := w.replay(w.file(s), ledger.LetterFilter{}); r.Replayed != 20 {
		t.Fatalf("%+v", r)
	}
	if proxy.Applied(faultproxy.NameDropInsert) == 0 {
		t.Fatal("no reply was lost")
	}
	w.verifyReplayed()
	found := w.query("SELECT count() FROM waybill.findings WHERE kind = 'view_incomplete' AND pipeline = '" + w.name + "'")
	if got := w.query("SELECT sum(n) FROM " + w.db + ".sums"); got != "200" && found == "0" {
		t.Errorf("the view has counted %s rows of 200, and no finding says that it may not have", got)
	}
}
