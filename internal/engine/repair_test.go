package engine_test

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"

	"github.com/waybill-data/waybill"
	"github.com/waybill-data/waybill/internal/audit"
	"github.com/waybill-data/waybill/internal/clickhouse"
	"github.com/waybill-data/waybill/internal/config"
	"github.com/waybill-data/waybill/internal/delivery"
	"github.com/waybill-data/waybill/internal/engine"
	"github.com/waybill-data/waybill/internal/kafka"
	"github.com/waybill-data/waybill/internal/ledger"
	"github.com/waybill-data/waybill/internal/repair"
	"github.com/waybill-data/waybill/internal/telemetry"
	"github.com/waybill-data/waybill/internal/testenv"
	"github.com/waybill-data/waybill/internal/testenv/faultproxy"
)

// replayer is the engine of a job, as commands make one.
func (w *world) replayer(cfg *config.Pipeline) *engine.Replayer {
	w.Helper()
	level := slog.LevelError
	if testing.Verbose() {
		level = slog.LevelDebug
	}
	log := telemetry.NewLogger(w.Output(), false, level, false)
	e, err := engine.OpenReplayer(context.Background(), cfg, engine.Deps{Log: log, Metrics: telemetry.NewMetrics("test"), Budget: engine.NewBudget(1<<20, nil)})
	if err != nil {
		w.Fatal(err)
	}
	w.Cleanup(e.Close)
	return e
}

// topicReader is a way to the topic, as commands make one.
func (w *world) topicReader(cfg *config.Pipeline) *kafka.Reader {
	w.Helper()
	k := cfg.Source.Kafka
	r, err := kafka.OpenReader(context.Background(), kafka.Config{Brokers: k.Brokers, Topic: k.Topic, Group: k.Group, Isolation: kafka.ReadCommitted, ClientID: "test", Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		w.Fatal(err)
	}
	w.Cleanup(r.Close)
	return r
}

// mender is a job as `waybill repair` makes one.
func (w *world) mender(cfg *config.Pipeline, records int) *repair.Job {
	w.Helper()
	return repair.New(repair.Deps{Engine: w.replayer(cfg), Source: w.topicReader(cfg), Who: "test", Records: records}, cfg)
}

// repair is `waybill repair run`.
func (w *world) repair(cfg *config.Pipeline, o repair.Options) (repair.Result, *repair.Verdict) {
	w.Helper()
	r, v, err := repaired(w.mender(cfg, 25), o)
	if err != nil {
		w.Fatal(err)
	}
	return r, v
}

func repaired(j *repair.Job, o repair.Options) (repair.Result, *repair.Verdict, error) {
	s, err := j.Survey(context.Background(), o)
	if err != nil {
		return repair.Result{}, nil, err
	}
	r, err := j.Run(context.Background(), s)
	if err != nil {
		return r, nil, err
	}
	v, err := j.Verify(context.Background(), s)
	return r, v, err
}

// audited is what `waybill audit --content` says: the violations, and what could not be told.
func (w *world) audited(cfg *config.Pipeline) string {
	w.Helper()
	e := w.replayer(cfg)
	r, err := audit.Run(context.Background(), audit.Deps{Client: e.Client(), Ledger: e.Ledger(), Source: w.topicReader(cfg)}, cfg, audit.Options{Content: true})
	if err != nil {
		w.Fatal(err)
	}
	var out []string
	for i := range r.Violations {
		out = append(out, fmt.Sprintf("%s %d", r.Violations[i].Kind, r.Violations[i].Count))
	}
	for i := range r.Unknown {
		out = append(out, "unknown: "+r.Unknown[i].Message)
	}
	return strings.Join(out, "\n")
}

func (w *world) sound(cfg *config.Pipeline) {
	w.Helper()
	if got := w.audited(cfg); got != "" {
		w.Errorf("the audit says:\n%s", got)
	}
	if got := w.query("SELECT count() - uniqExact(_epoch, _partition, _offset) FROM " + w.db + ".calls"); got != "0" {
		w.Errorf("%s rows are there twice", got)
	}
	if got := w.query("SELECT countIf(step = 'begun') - countIf(step = 'finished') FROM waybill.replays WHERE pipeline = '" + w.name + "'"); got != "0" {
		w.Errorf("%s batches are not finished", got)
	}
}

// ran runs a worker over n events, of which a tenth are dead letters.
func (w *world) ran(n int) *config.Pipeline {
	w.Helper()
	w.rejected(n)
	return w.file(spec{})
}

func (w *world) rows() string {
	w.Helper()
	return w.query("SELECT count() FROM " + w.db + ".calls")
}

func TestRepair_FillsWhatIsMissing(t *testing.T) {
	w := newWorld(t, 3)
	cfg := w.ran(300)
	w.sound(cfg)
	w.exec("DELETE FROM " + w.db + ".calls WHERE id % 10 = 7")
	if got := w.audited(cfg); !strings.Contains(got, "rows_missing 10") {
		t.Fatalf("the audit says %s", got)
	}
	r, v := w.repair(cfg, repair.Options{Missing: true})
	if r.Written != 30 || r.Left.Sum() != 0 || !v.Right() || v.Offsets != 30 {
		t.Fatalf("%+v %+v", r, v)
	}
	w.sound(cfg)
	if got := w.rows(); got != "270" {
		t.Errorf("%s rows", got)
	}
	if r, _ := w.repair(cfg, repair.Options{Missing: true, Repeated: true, Unexpected: true}); r.Begun != 0 {
		t.Errorf("once more: %+v", r)
	}
	// Another plan does not change what a gap is filled with: it is the one that wrote the rows.
	w.exec("DELETE FROM " + w.db + ".calls WHERE id % 10 = 8")
	other := w.file(spec{top: "filter: event.id < 0"})
	if r, v := w.repair(other, repair.Options{Missing: true}); r.Written != 30 || !v.Right() {
		t.Fatalf("%+v %+v", r, v)
	}
	w.sound(other)
}

// Rows made anew under another plan: some of them become filtered, some dead letters. Ledger and audit balance, also by content.
func TestRepair_RewritesUnderThePlanOfNow(t *testing.T) {
	w := newWorld(t, 1)
	w.ran(100)
	s := spec{modes: lenient.modes, columns: "\n    more: {type: String, from: model}", top: "filter: event.id % 10 != 5"}
	w.exec("ALTER TABLE " + w.db + ".calls ADD COLUMN more String, ADD CONSTRAINT none_of_these CHECK id % 10 != 6 OR more = ''")
	cfg := w.file(s)
	r, v := w.repair(cfg, repair.Options{Offsets: map[int32]waybill.OffsetSet{0: waybill.OffsetsIn(waybill.Span{First: 0, Next: 50}, waybill.Span{First: 90, Next: 200})}})
	// Of 60 offsets 6 are dead letters, 6 are filtered now, and 6 the server refuses.
	want := repair.Result{Begun: 54, Written: 42, Filtered: 6, Dead: 6, Left: repair.Left{Letters: 6, Unaccounted: 100}}
	if r != want || !v.Right() {
		t.Fatalf("%+v %+v", r, v)
	}
	w.sound(cfg)
	if got := w.query("SELECT concat(toString(countIf(more = 'm')), ' ', toString(count())) FROM " + w.db + ".calls"); got != "42 78" {
		t.Errorf("rows made anew, and all: %s", got)
	}
	if got := w.letters(); got != "waiting=16" {
		t.Errorf("letters: %s", got)
	}
	// What a repair has made a dead letter can be replayed, once its reason is gone.
	w.exec("ALTER TABLE " + w.db + ".calls DROP CONSTRAINT none_of_these")
	if r := w.replay(cfg, ledger.LetterFilter{Codes: []string{"server_469"}}); r.Replayed != 6 {
		t.Fatalf("%+v", r)
	}
	w.sound(cfg)
	// And back again, to the first plan.
	first := w.file(spec{})
	r, v = w.repair(first, repair.Options{Offsets: map[int32]waybill.OffsetSet{0: waybill.OffsetsIn(waybill.Span{First: 0, Next: 50}, waybill.Span{First: 90, Next: 100})}})
	if r.Written != 54 || !v.Right() {
		t.Fatalf("%+v %+v", r, v)
	}
	w.sound(first)
	if got := w.rows(); got != "90" {
		t.Errorf("%s rows", got)
	}
}

func TestRepair_LeavesOneOfSeveral(t *testing.T) {
	w := newWorld(t, 2)
	cfg := w.ran(200)
	w.exec("INSERT INTO " + w.db + ".calls SELECT * FROM " + w.db + ".calls WHERE id % 10 = 1 SETTINGS insert_deduplicate = 0")
	w.exec("INSERT INTO " + w.db + ".calls SELECT * FROM " + w.db + ".calls WHERE id % 10 = 1 SETTINGS insert_deduplicate = 0")
	// And rows of dead letters that nobody has replayed.
	w.exec("INSERT INTO " + w.db + ".calls (id, _topic, _partition, _offset) SELECT 1, topic, partition, offset FROM waybill.dead_letters WHERE pipeline = '" + w.name + "' LIMIT 3")
	if got := w.audited(cfg); !strings.Contains(got, "rows_repeated") || !strings.Contains(got, "rows_unexpected") {
		t.Fatalf("the audit says %s", got)
	}
	r, v := w.repair(cfg, repair.Options{Repeated: true})
	if r.Written != 20 || !v.Right() {
		t.Fatalf("%+v %+v", r, v)
	}
	r, v = w.repair(cfg, repair.Options{Unexpected: true})
	if r.Begun != 3 || r.Dead != 3 || !v.Right() {
		t.Fatalf("%+v %+v", r, v)
	}
	w.sound(cfg)
	w.verify()
}

func TestRepair_SeveralAtOnce(t *testing.T) {
	w := newWorld(t, 2)
	cfg := w.ran(400)
	w.exec("DELETE FROM " + w.db + ".calls WHERE id % 10 = 7")
	w.exec("INSERT INTO " + w.db + ".calls SELECT * FROM " + w.db + ".calls WHERE id % 10 = 1 SETTINGS insert_deduplicate = 0")
	all := waybill.OffsetsIn(waybill.Span{First: 0, Next: 40})
	var wg sync.WaitGroup
	for i := range 4 {
		job := w.mender(cfg, 25+i)
		o := repair.Options{Missing: true, Repeated: true}
		if i%2 == 1 {
			o = repair.Options{Offsets: map[int32]waybill.OffsetSet{0: all, 1: all}}
		}
		wg.Go(func() {
			if _, _, err := repaired(job, o); err != nil {
				w.Errorf("repair %d: %v", i, err)
			}
		})
	}
	wg.Wait()
	w.sound(cfg)
	w.verify()
}

// The worker's own audit sees the damage and the repair, and takes no repair for damage.
func TestRepair_BesideALiveWorker(t *testing.T) {
	w := newWorld(t, 2)
	cfg := w.ran(300)
	a := w.start(cfg)
	w.produceAs(1000, misfit)
	w.quiet(1300)
	a.verified(1300)
	w.exec("DELETE FROM " + w.db + ".calls WHERE id % 10 = 7")
	open := func(kind string) bool {
		return w.query("SELECT count() FROM waybill.findings_now WHERE pipeline = '"+w.name+"' AND kind = '"+kind+"' AND state = 'open'") != "0"
	}
	testenv.Eventually(t, soon, "the worker finds that rows are missing", func() bool { return open("rows_missing") })
	r, v := w.repair(cfg, repair.Options{Missing: true})
	if r.Left.Sum() != 0 || !v.Right() {
		t.Fatalf("%+v %+v", r, v)
	}
	testenv.Eventually(t, soon, "the finding is closed", func() bool { return !open("rows_missing") })
	// Rows that are filtered since are no damage.
	filtered := w.file(spec{top: "filter: event.id % 10 > 1"})
	if r, v := w.repair(filtered, repair.Options{Offsets: map[int32]waybill.OffsetSet{0: waybill.OffsetsIn(waybill.Span{First: 0, Next: 100})}}); r.Filtered == 0 || !v.Right() {
		t.Fatalf("%+v %+v", r, v)
	}
	w.produceAs(500, misfit)
	w.quiet(1800)
	a.verified(1800)
	a.rounds(4) // a bucket whose count is not what it was is compared again every ten seconds, and rounds are five apart
	if open("rows_missing") || open("rows_unexpected") || open("rows_repeated") {
		t.Errorf("findings: %+v", a.p.Status().Findings)
	}
	a.stop()
	w.sound(filtered)
}

func TestRepair_LostRepliesAreReadBack(t *testing.T) {
	w := newWorld(t, 1)
	cfg := w.ran(100)
	proxy := testenv.Proxy(t, w.ch.TCPAddr())
	through := w.file(spec{addr: proxy.Addr(), modes: lenient.modes, top: "filter: event.id % 10 != 5"})
	for _, table := range []string{"calls", ledger.TableReplays, ledger.TableAmendments} {
		proxy.Set(faultproxy.DropInsertReply(table).Times(2))
		if _, v := w.repair(through, repair.Options{Offsets: map[int32]waybill.OffsetSet{0: waybill.OffsetsIn(waybill.Span{First: 0, Next: 40})}}); !v.Right() {
			t.Fatalf("%+v", v)
		}
		if n := proxy.Applied(faultproxy.NameDropInsert); n == 0 {
			t.Fatalf("no reply of %s was lost", table)
		}
		w.sound(through)
	}
	_ = cfg
}

// Somebody who was held up after he had looked whether the old rows are still to be deleted deletes nothing that was made anew since: the server
// looks for itself. Without that look he would delete all of it.
func TestRepair_ADeletionThatComesLateDeletesNothing(t *testing.T) {
	w := newWorld(t, 1)
	cfg := w.ran(100)
	span := waybill.OffsetsIn(waybill.Span{First: 0, Next: 40})
	if r, v := w.repair(cfg, repair.Options{Offsets: map[int32]waybill.OffsetSet{0: span}}); r.Written != 36 || !v.Right() {
		t.Fatalf("%+v %+v", r, v)
	}
	e := w.replayer(cfg)
	last, err := e.Ledger().LastReplay(t.Context(), w.name)
	if err != nil || last.Kind != ledger.KindRewrite || !last.Finished {
		t.Fatalf("%+v, %v", last, err)
	}
	rows := delivery.RowSet{waybill.TopicPartition{Topic: topic}: last.Offsets[0]}
	late := func(guard string) {
		looks := 0
		err := e.Clear(t.Context(), []waybill.Epoch{0}, rows, guard, last.Batch.String(), func(context.Context) (bool, error) { looks++; return looks > 1, nil })
		if err != nil {
			t.Fatal(err)
		}
	}
	late(repair.Guard("waybill", last))
	w.sound(cfg)
	if got := w.rows(); got != "90" {
		t.Fatalf("%s rows are left", got)
	}
	late("position('" + last.Batch.String() + "', 'x') = 0") // the control: no guard
	if got := w.rows(); got == "90" {
		t.Error("the control deletes nothing")
	}
}

// The same while the deletion waits in the server: it was told when the rows were old, and comes to it when they are new.
func TestRepair_ADeletionThatWaitsInTheServer(t *testing.T) {
	w := newWorld(t, 1)
	cfg := w.ran(100)
	e := w.replayer(cfg)
	r := &ledger.Replay{Pipeline: w.name, Sequence: 900, Kind: ledger.KindRewrite, Topic: topic, At: time.Now(), Offsets: map[int32]waybill.OffsetSet{0: waybill.OffsetsIn(waybill.Span{First: 0, Next: 40})}}
	r.Batch[0] = 0xab
	w.exec("SYSTEM STOP MERGES " + w.db + ".calls")
	told := make(chan error)
	rows := delivery.RowSet{waybill.TopicPartition{Topic: topic}: r.Offsets[0]}
	looks := 0
	go func() {
		told <- e.Clear(context.Background(), []waybill.Epoch{0}, rows, repair.Guard("waybill", r), r.Batch.String(), func(context.Context) (bool, error) { looks++; return looks > 1, nil })
	}()
	testenv.Eventually(t, soon, "the deletion waits", func() bool {
		return w.query("SELECT count() FROM system.mutations WHERE database = '"+w.db+"' AND NOT is_done") == "1"
	})
	a := e.Client().Insert(t.Context(), clickhouse.Insert{Database: "waybill", Table: ledger.TableReplays, Input: ledger.ClearedBlock(r, time.Now()), Token: waybill.Token("test-" + w.name)})
	if a.Err != nil {
		t.Fatal(a.Err)
	}
	w.exec("SYSTEM START MERGES " + w.db + ".calls")
	if err := <-told; err != nil {
		t.Fatal(err)
	}
	if got := w.rows(); got != "90" {
		t.Fatalf("%s rows are left", got)
	}
	w.exec("ALTER TABLE waybill.replays DELETE WHERE pipeline = '" + w.name + "' SETTINGS mutations_sync = 2")
}

// A batch that somebody has begun and not finished is finished by the next, whatever it had come to.
func TestRepair_UnfinishedOneIsFinishedFirst(t *testing.T) {
	for _, step := range []string{"begun", "deleted", "cleared"} {
		t.Run(step, func(t *testing.T) {
			w := newWorld(t, 1)
			cfg := w.ran(100)
			w.replayer(cfg) // puts the plan on record
			id := w.query("SELECT id FROM waybill.plans WHERE pipeline = '" + w.name + "' ORDER BY first_seen DESC LIMIT 1")
			row := func(step string) {
				w.exec(`INSERT INTO waybill.replays (pipeline, sequence, step, kind, epoch, batch, at, plan, topic, partitions, offsets, was, who)
					SELECT '` + w.name + `', 1, '` + step + `', 'rewrite', 0, unhex(leftPad(hex(sipHash128('` + w.name + `')), 32, '0')), now64(3) - 60, ` + id + `, '` + topic + `', [0, 0, 0, 0], [4, 5, 6, 7], [1, 1, 1, 1], 'somebody who died'`)
			}
			row("begun")
			if step != "begun" {
				w.exec("DELETE FROM " + w.db + ".calls WHERE _offset BETWEEN 4 AND 7")
			}
			if step == "cleared" {
				row("cleared")
			}
			r, v := w.repair(cfg, repair.Options{Missing: true})
			if r.Resumed != 4 || r.Begun != 0 || !v.Right() {
				t.Fatalf("%+v %+v", r, v)
			}
			w.sound(cfg)
			w.verify()
		})
	}
}

// What cannot be repaired is left as it is, and said.
func TestRepair_WhatCannotBeRepaired(t *testing.T) {
	w := newWorld(t, 1)
	cfg := w.ran(100)
	w.exec("DELETE FROM " + w.db + ".calls WHERE id IN (2, 40)")
	w.admin(func(ctx context.Context, c *kadm.Client) error {
		_, err := c.DeleteRecords(ctx, kadm.Offsets{topic: {0: kadm.Offset{Topic: topic, Partition: 0, At: 20}}})
		return err
	})
	r, v := w.repair(cfg, repair.Options{Missing: true})
	if r.Written != 1 || r.Left.Gone != 1 || !v.Right() {
		t.Fatalf("%+v %+v", r, v)
	}
	// Rows whose records are gone are not deleted.
	r, v = w.repair(cfg, repair.Options{Offsets: map[int32]waybill.OffsetSet{0: waybill.OffsetsIn(waybill.Span{First: 0, Next: 30})}})
	if r.Begun != 9 || r.Written != 9 || r.Left.Gone != 18 || r.Left.Letters != 3 || !v.Right() {
		t.Fatalf("%+v %+v", r, v)
	}
	if got := w.rows(); got != "89" {
		t.Errorf("%s rows", got)
	}
	// What the group has not committed may still be carried out again by a worker.
	w.move(25)
	r, _ = w.repair(cfg, repair.Options{Offsets: map[int32]waybill.OffsetSet{0: waybill.OffsetsIn(waybill.Span{First: 20, Next: 30})}})
	if r.Begun != 4 || r.Left.Unsettled != 5 || r.Left.Letters != 1 {
		t.Fatalf("%+v", r)
	}
}
