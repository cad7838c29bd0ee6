package engine_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/waybill-data/waybill"
	"github.com/waybill-data/waybill/internal/backfill"
	"github.com/waybill-data/waybill/internal/config"
	"github.com/waybill-data/waybill/internal/erase"
	"github.com/waybill-data/waybill/internal/ledger"
	"github.com/waybill-data/waybill/internal/repair"
)

// of is an event of one of five subjects: the model names it. Every tenth is a dead letter that names it too.
func of(i int) string {
	if i%10 == 3 {
		return fmt.Sprintf(`{"id":%d,"model":"subject-%d","usage":{"tokens":"many"}}`, i, i%5)
	}
	return fmt.Sprintf(`{"id":%d,"model":"subject-%d","usage":{"tokens":%d}}`, i, i%5, i)
}

// subjects runs a worker over n of them.
func (w *world) subjects(n int) *config.Pipeline {
	w.Helper()
	w.produceAs(n, of)
	cfg := w.file(spec{})
	a := w.start(cfg)
	w.quiet(w.produced.Load())
	a.stop()
	return cfg
}

func (w *world) eraser(cfg *config.Pipeline) *erase.Job {
	w.Helper()
	return erase.New(erase.Deps{Engine: w.replayer(cfg), Source: w.topicReader(cfg), Who: "test", Records: 11}, cfg)
}

// subject3 are the records of one subject: rows, and all dead letters.
var subject3 = erase.Options{Where: "model = 'subject-3'", Match: []string{"subject-3"}, Why: "a test"}

func (w *world) erase(cfg *config.Pipeline, o erase.Options) (*erase.Found, *erase.Check) {
	w.Helper()
	j := w.eraser(cfg)
	f, err := j.Find(context.Background(), o)
	if err != nil {
		w.Fatal(err)
	}
	if _, err = j.Run(context.Background(), f, o); err != nil {
		w.Fatal(err)
	}
	c, err := j.Check(context.Background(), o)
	if err != nil {
		w.Fatal(err)
	}
	return f, c
}

func TestErase_RemovesASubjectAndTheAuditKnows(t *testing.T) {
	w := newWorld(t, 2)
	w.exec("ALTER TABLE " + w.db + ".calls ADD PROJECTION by_model (SELECT * ORDER BY model)")
	cfg := w.subjects(200)
	w.exec("CREATE VIEW " + w.db + ".models AS SELECT model FROM " + w.db + ".calls")
	// Some were deleted before: they are masked, and still in the parts.
	w.exec("DELETE FROM " + w.db + ".calls WHERE id = 8")
	masked := "SELECT count() FROM " + w.db + ".calls WHERE model = 'subject-3' SETTINGS apply_deleted_mask = 0"
	if w.query(masked) != "20" {
		t.Fatal("no row is masked")
	}
	f, err := w.eraser(cfg).Find(t.Context(), subject3)
	if err != nil || f.Records != 40 || f.Tables[0].Rows != 19 || f.Tables[0].Masked != 1 || f.Letters != 20 || f.Unsettled != 0 || f.Beyond.InTopic != 40 || len(f.Beyond.Dependents) != 1 {
		t.Fatalf("%+v, %v", f, err)
	}
	if got := w.rows(); got != "179" {
		t.Fatalf("looking has left %s rows", got)
	}
	_, c := w.erase(cfg, subject3)
	if !c.Clean() || len(c.Projections) != 1 {
		t.Fatalf("%+v", c)
	}
	for what, sql := range map[string]string{
		"rows": "SELECT countIf(model = 'subject-3') FROM " + w.db + ".calls", "masked": masked, "dead letters": "SELECT count() FROM waybill.dead_letters WHERE pipeline = '" + w.name + "' AND value LIKE '%subject-3%'",
		"rows in the projection":  "SELECT countIf(model = 'subject-3') FROM mergeTreeProjection('" + w.db + "', 'calls', 'by_model')",
		"the condition on record": "SELECT countIf(condition != '' OR note LIKE '%subject%') FROM (SELECT condition, why AS note FROM waybill.erasures WHERE pipeline = '" + w.name + "')",
		"the server's mutations":  "SELECT count() FROM system.mutations WHERE command LIKE '%subject-3%' AND database = '" + w.db + "'",
	} {
		if got := w.query(sql); got != "0" {
			t.Errorf("%s: %s", what, got)
		}
	}
	if got := w.rows(); got != "160" {
		t.Errorf("%s rows are left", got)
	}
	if got := w.query("SELECT sum(arraySum(arrayMap((f, n) -> n - f, firsts, nexts))) FROM waybill.erasures WHERE pipeline = '" + w.name + "' AND who = 'test' AND why = 'a test'"); got != "40" {
		t.Errorf("%s offsets are on record", got)
	}
	w.sound(cfg) // the audit misses nothing
	// Nor does a repair bring them back.
	if r, _ := w.repair(cfg, repair.Options{Missing: true, Offsets: map[int32]waybill.OffsetSet{0: waybill.OffsetsIn(waybill.Span{First: 0, Next: 100})}}); r.Left.Erased == 0 || r.Dead+r.Filtered+r.Lost != 0 {
		t.Errorf("%+v", r)
	}
	w.sound(cfg)
	if got := w.query("SELECT countIf(model = 'subject-3') FROM " + w.db + ".calls"); got != "0" {
		t.Errorf("%s rows are back", got)
	}
	// The control: a row that is back is a violation, and so is an erased dead letter.
	w.exec("INSERT INTO " + w.db + ".calls (id, model, _topic, _partition, _offset) SELECT 1, 'subject-3', topic, partition, first FROM waybill.amendments WHERE outcome = 'erased' AND pipeline = '" + w.name + "' LIMIT 1")
	if got := w.audited(cfg); !strings.Contains(got, "rows_unexpected 1") {
		t.Errorf("the audit says %s", got)
	}
	if c, err := w.eraser(cfg).Check(t.Context(), subject3); err != nil || c.Clean() || c.Rows != 1 || c.Coordinates != 1 {
		t.Errorf("%+v, %v", c, err)
	}
}

// What a backfill keeps of what views fill is named: it holds what they have made of the subject's rows, and no view fills it.
func TestErase_NamesWhatABackfillKeepsOfViews(t *testing.T) {
	w := newWorld(t, 1)
	cfg := w.subjects(20)
	job := &backfill.Job{ID: "1", Pipeline: w.name, Sequence: 1, State: backfill.Promoted, Database: w.db, Table: "calls", Topic: topic, Scope: "all", At: time.Now(),
		Rebuilt: []backfill.View{{Database: w.db, Name: "add_up", Target: "costs.of"}}, Leg: backfill.Leg{Epoch: 2}}
	store, _ := w.store()
	if won, err := store.AddJob(t.Context(), job, time.Minute); err != nil || !won {
		t.Fatal(won, err)
	}
	others := []string{"costs.of", "costs_of_before_2", "costs.of_before_x", "x_costs.of_before_2", "costs.of_rebuilt_2"}
	kept := []string{job.RebuiltBefore(0), job.RebuiltName(0, 7)}
	for _, name := range slices.Concat(others, kept) {
		w.exec("CREATE TABLE " + w.db + ".`" + name + "` (n UInt64) ENGINE = MergeTree ORDER BY n")
	}
	f, err := w.eraser(cfg).Find(t.Context(), subject3)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{}
	for _, name := range kept {
		want = append(want, fmt.Sprintf("table %s.%s, of what view %[1]s.add_up fills, which a backfill keeps: `waybill backfill cleanup` drops it", w.db, name))
	}
	if !slices.Equal(f.Beyond.Dependents, want) {
		t.Errorf("%q, want %q", f.Beyond.Dependents, want)
	}
}

// Whoever reads the topic again leaves out what was erased: a pipeline under a raised epoch, and so a backfill.
func TestErase_TheTopicReadAgainBringsNothingBack(t *testing.T) {
	w := newWorld(t, 1)
	cfg := w.subjects(100)
	if _, c := w.erase(cfg, subject3); !c.Clean() {
		t.Fatalf("%+v", c)
	}
	again := w.file(spec{top: "epoch: 1"})
	a := w.start(again)
	w.quiet(200)
	a.stop()
	back := "SELECT concat(toString(countIf(_epoch = 1)), ' ', toString(countIf(model = 'subject-3')), ' ', toString((SELECT count() FROM waybill.dead_letters WHERE pipeline = '" + w.name + "'))) FROM " + w.db + ".calls"
	if got := w.query(back); got != "80 0 0" {
		t.Errorf("rows under the new epoch, of the subject, and dead letters: %s", got)
	}
	if got := w.query(w.ofLedger("sumIf(filtered, epoch = 1)")); got != "20" {
		t.Errorf("%s are on the account as filtered", got)
	}
	if c, err := w.eraser(again).Check(t.Context(), subject3); err != nil || !c.Clean() {
		t.Errorf("%+v, %v", c, err)
	}
	// The control: without the record of the erasure they are back.
	w.exec("ALTER TABLE waybill.erasures DELETE WHERE pipeline = '" + w.name + "' SETTINGS mutations_sync = 2")
	a = w.start(w.file(spec{top: "epoch: 2"}))
	w.quiet(300)
	a.stop()
	if got := w.query("SELECT countIf(model = 'subject-3') FROM " + w.db + ".calls"); got != "10" {
		t.Errorf("the control: %s rows are back", got)
	}
}

// An erasure that was begun is finished by whoever comes next, without the condition.
func TestErase_UnfinishedOneIsFinishedFirst(t *testing.T) {
	w := newWorld(t, 1)
	cfg := w.subjects(100)
	w.exec(`INSERT INTO waybill.replays (pipeline, sequence, step, kind, epoch, batch, at, topic, partitions, offsets, was, who)
		SELECT '` + w.name + `', 1, 'begun', 'erase', 0, unhex(leftPad(hex(sipHash128('` + w.name + `')), 32, '0')), now64(3) - 60, '` + topic + `', [0, 0], [3, 8], [3, 1], 'somebody who died'`)
	// Other commands do not get past it, and say so.
	if _, _, err := repaired(w.mender(cfg, 25), repair.Options{Missing: true}); err == nil || !strings.Contains(err.Error(), "waybill erase") {
		t.Errorf("a repair: %v", err)
	}
	o := erase.Options{Where: "id = 18", Why: "a test"}
	f, c := w.erase(cfg, o)
	if f.Records != 1 || !c.Clean() {
		t.Fatalf("%+v %+v", f, c)
	}
	if got := w.query("SELECT concat(toString(countIf(id IN (8, 18))), ' ', toString(count())) FROM " + w.db + ".calls"); got != "0 88" {
		t.Errorf("rows: %s", got)
	}
	w.sound(cfg)
}

// A dead letter that was replayed has a row by right, until both are erased.
func TestErase_AReplayedDeadLetter(t *testing.T) {
	w := newWorld(t, 1)
	w.subjects(100)
	cfg := w.file(lenient)
	if r := w.replay(cfg, ledger.LetterFilter{}); r.Replayed != 10 {
		t.Fatalf("%+v", r)
	}
	if _, c := w.erase(cfg, erase.Options{Where: "id IN (13, 14)", Why: "a test"}); !c.Clean() {
		t.Fatalf("%+v", c)
	}
	w.sound(cfg)
	if got := w.letters(); got != "replayed=9" {
		t.Errorf("letters: %s", got)
	}
	if r := w.replay(cfg, ledger.LetterFilter{}); r.Selected != 0 {
		t.Errorf("%+v", r)
	}
}

// What a worker may still carry out again is not erased yet.
func TestErase_LeavesWhatIsNotSettled(t *testing.T) {
	w := newWorld(t, 1)
	cfg := w.subjects(100)
	w.move(50)
	f, c := w.erase(cfg, erase.Options{Where: "model = 'subject-1'", Why: "a test"})
	if f.Records != 20 || f.Unsettled != 10 || c.Clean() || c.Unsettled != 10 || c.Rows != 10 {
		t.Fatalf("%+v %+v", f, c)
	}
	if got := w.rows(); got != "80" {
		t.Errorf("%s rows", got)
	}
}
