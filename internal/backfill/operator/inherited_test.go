package operator_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/waybill-data/waybill"
	"github.com/waybill-data/waybill/internal/audit"
	"github.com/waybill-data/waybill/internal/clickhouse"
	"github.com/waybill-data/waybill/internal/completeness"
	"github.com/waybill-data/waybill/internal/config"
	"github.com/waybill-data/waybill/internal/engine"
	"github.com/waybill-data/waybill/internal/erase"
	"github.com/waybill-data/waybill/internal/kafka"
	"github.com/waybill-data/waybill/internal/ledger"
	"github.com/waybill-data/waybill/internal/receipt"
	"github.com/waybill-data/waybill/internal/repair"
	"github.com/waybill-data/waybill/internal/replay"
	"github.com/waybill-data/waybill/internal/testenv"
)

// misfits produces events without an id: dead letters, until a contract does not ask for one.
func (w *world) misfits(n int) {
	w.Helper()
	cl, err := kgo.NewClient(kgo.SeedBrokers(w.kafka.ListenAddrs()...), kgo.DefaultProduceTopic(topic))
	if err != nil {
		w.Fatal(err)
	}
	defer cl.Close()
	for range n {
		if err := cl.ProduceSync(context.Background(), kgo.StringRecord(`{"day":"2026-11-01","ts":"2026-11-01T01:00:00Z","v1":1,"v2":2}`)).FirstErr(); err != nil {
			w.Fatal(err)
		}
	}
}

// lenient is a file that asks for no id.
func (w *world) lenient() *config.Pipeline {
	return w.parsed(strings.Replace(w.text(1), "id: {type: UInt64, required: true}", "id: {type: UInt64}", 1))
}

// inPart is a table that a backfill has made of the offsets 102 to 249: of what lies before, 99 is cut off, 100 and 101 have no id; of the rest, 201, 202 and
// 203 likewise.
func (w *world) inPart() (there, back func() waybill.Epoch) {
	w.Helper()
	ctx := context.Background()
	w.produce(100)
	w.misfits(2)
	w.produce(100)
	w.misfits(2)
	w.produce(96)
	w.live(w.file(1))
	w.wantCount(296)
	// A replay that was under way when its table was replaced may have written this one. It was taken along.
	w.exec("INSERT INTO " + w.db + ".calls SELECT * REPLACE (0 AS id, 101 AS _offset) FROM (SELECT * FROM " + w.db + ".calls WHERE _offset = 98)")
	b, old := w.bench(w.file(2), nil), w.bench(w.file(1), nil)
	id := w.plan(b, "offsets:0:102-249")
	if err := b.Operator().Run(ctx, id); err != nil {
		w.Fatal(err)
	}
	there = func() waybill.Epoch {
		w.Helper()
		o := b.Operator()
		if err := o.Promote(ctx, id, true); err != nil {
			w.Fatal(err)
		}
		return o.Job().Leg.Epoch
	}
	back = func() waybill.Epoch {
		w.Helper()
		o := old.Operator()
		if err := o.Rollback(ctx, id); err != nil {
			w.Fatal(err)
		}
		return o.Job().Leg.Epoch
	}
	return there, back
}

// replayer is the engine of a command, under the epoch that the table is of.
func (w *world) replayer(cfg *config.Pipeline) *engine.Replayer {
	w.Helper()
	d := w.deps()
	e, err := engine.OpenReplayer(context.Background(), cfg, d)
	if err != nil {
		w.Fatal(err)
	}
	w.Cleanup(e.Close)
	return e
}

// letters are the dead letters of a table that is written under an epoch: offset, epoch and state of each.
func (w *world) letters(epoch waybill.Epoch, older bool) string {
	w.Helper()
	ctx, store := context.Background(), w.bench(w.file(1), nil).Ledger
	f := ledger.LetterFilter{Pipeline: w.name, Epoch: epoch, Topic: topic}
	var err error
	if older {
		if f.Older, err = store.OlderLetters(ctx, w.name, epoch, topic, nil); err != nil {
			w.Fatal(err)
		}
	}
	var out []string
	err = store.Letters(ctx, &f, ledger.ByOffset, 0, func(l *ledger.Letter) error {
		out = append(out, fmt.Sprintf("%d/%d %s", l.Offset, l.Epoch, l.State))
		return nil
	})
	if err != nil {
		w.Fatal(err)
	}
	return strings.Join(out, ", ")
}

// replay is `waybill dlq replay`.
func (w *world) replay(cfg *config.Pipeline) replay.Result {
	w.Helper()
	r, err := replay.New(replay.Deps{Engine: w.replayer(cfg), Who: "test", Records: 2}, cfg).Replay(context.Background(), ledger.LetterFilter{})
	if err != nil {
		w.Fatal(err)
	}
	return r
}

// wantSound audits in each way there is, and wants no record to have two rows.
func (w *world) wantSound(epoch waybill.Epoch, damage ...string) {
	w.Helper()
	for _, opts := range []audit.Options{{}, {Reread: true}, {Content: true}} {
		r := w.audit(w.file(1), epoch, opts)
		var got []string
		for i := range r.Violations {
			v := &r.Violations[i]
			of := "new"
			if v.Inherited != nil {
				of = fmt.Sprintf("of epoch %d", *v.Inherited)
			}
			got = append(got, fmt.Sprintf("%s %s %v", v.Kind, of, v.Offsets))
		}
		slices.Sort(got)
		if !slices.Equal(got, damage) || len(r.Unknown) > 0 {
			w.Errorf("epoch %d, %+v: %q, want %q; %+v", epoch, opts, got, damage, r.Unknown)
		}
	}
	if got := w.query("SELECT count() - uniqExact(_partition, _offset) FROM " + w.db + ".calls"); got != "0" && len(damage) == 0 {
		w.Errorf("%s records have a second row", got)
	}
}

// Dead letters of offsets that a backfill has left as they were are the table's, under the epoch before, and are replayed under that of the table; those of offsets
// that it has made anew are there once. A table that comes back has its own, as they were.
func TestReplay_DeadLettersThatABackfillHasLeft(t *testing.T) {
	w := newWorld(t, 1)
	e, there, back := w.partThere()
	if got := w.letters(0, false); !strings.Contains(got, "101/0 waiting, 201/0 waiting, 202/0 waiting, 203/0 waiting") {
		t.Fatalf("of the epoch before there are %s: nothing that could be shown twice", got)
	}
	newer := fmt.Sprintf("201/%[1]d waiting, 202/%[1]d waiting, 203/%[1]d waiting, 303/%[1]d waiting", e)
	if got := w.letters(e, false); got != newer {
		t.Fatalf("of the table's epoch alone: %s, want %s", got, newer)
	}
	if got, want := w.letters(e, true), "99/0 waiting, 100/0 waiting, 101/0 waiting, "+newer; got != want {
		t.Fatalf("of the table: %s, want %s", got, want)
	}
	w.wantSound(e, "rows_unexpected of epoch 0 [101]")
	if r := w.replay(w.lenient()); r.Replayed != 4 || r.Failed != 3 || r.Skipped.Unsettled != 0 {
		t.Errorf("%+v, want 4 replayed, and 3 that are cut off", r)
	}
	replayed := fmt.Sprintf("99/0 failed, 100/0 replayed, 101/0 replayed, 201/%[1]d failed, 202/%[1]d replayed, 203/%[1]d replayed, 303/%[1]d failed", e)
	if got := w.letters(e, true); got != replayed {
		t.Errorf("%s, want %s", got, replayed)
	}
	epochs := func() string {
		return w.query("SELECT arrayStringConcat(groupArray(concat(toString(_offset), '/', toString(_epoch))), ' ') FROM (SELECT * FROM " + w.db + ".calls WHERE _offset IN (99, 100, 101, 201, 202, 203, 303) ORDER BY _offset)")
	}
	if got, want := epochs(), fmt.Sprintf("100/%[1]d 101/0 202/%[1]d 203/%[1]d", e); got != want {
		t.Errorf("rows %s, want %s", got, want)
	}
	w.wantSound(e)
	if r := w.replay(w.lenient()); r.Replayed != 0 || r.Skipped.Replayed != 4 {
		t.Errorf("%+v, want nothing to be replayed twice", r)
	}
	back()
	rolled := w.letters(e+1, true)
	if !strings.HasPrefix(rolled, "99/0 waiting, 100/0 waiting, 101/0 replayed, 201/0 waiting, 202/0 waiting, 203/0 waiting") {
		t.Errorf("of the table that has come back: %s", rolled)
	}
	testenv.Eventually(t, soon, "what came meanwhile is there", func() bool { return epochs() == "101/0" && w.query("SELECT count() FROM "+w.db+".calls") == "298" })
	w.wantSound(e + 1)
	e2 := there()
	if got := w.letters(e2, true); !strings.HasPrefix(got, strings.TrimSuffix(replayed, fmt.Sprintf(", 303/%d failed", e))) {
		t.Errorf("of the table that was promoted again: %s, want what it was: %s", got, replayed)
	}
	w.wantSound(e2)
	if got := w.query("SELECT arrayStringConcat(groupArray(concat(kind, ' ', message)), '; ') FROM waybill.findings WHERE pipeline = '" + w.name + "' AND epoch > 0 AND startsWith(kind, 'rows_')"); got != "" {
		t.Errorf("the worker's own audit has found %s", got)
	}
	// Whatever is done to such a row is found, as long as it is on record.
	w.exec("ALTER TABLE " + w.db + ".calls DELETE WHERE _offset = 100 SETTINGS mutations_sync = 2")
	w.wantSound(e2, "rows_missing of epoch "+fmt.Sprint(e)+" [100]")
}

// partThere is inPart, with the table of the backfill in place under epoch e, and some events since.
func (w *world) partThere() (e waybill.Epoch, there, back func() waybill.Epoch) {
	w.Helper()
	there, back = w.inPart()
	e = there()
	w.produce(4) // 299 is cut off
	w.wantEventsAndOne()
	return e, there, back
}

// wantEventsAndOne waits for the rows of 300 events, and one row more.
func (w *world) wantEventsAndOne() {
	w.Helper()
	const n, more = 300, 1
	testenv.Eventually(w, soon, fmt.Sprintf("rows of %d events and %d more", n, more), func() bool {
		return w.query("SELECT count() FROM "+w.db+".calls") == fmt.Sprint(n-n/100+more)
	})
}

// mend is `waybill repair run`.
func (w *world) mend(cfg *config.Pipeline, o repair.Options) (repair.Result, *repair.Verdict) {
	w.Helper()
	ctx, e := context.Background(), w.replayer(cfg)
	cfg = cfg.Under(e.Standing().Epoch)
	source, err := kafka.OpenReader(ctx, kafka.Config{Brokers: w.kafka.ListenAddrs(), Topic: topic, Group: cfg.Source.Kafka.Group, Isolation: kafka.ReadCommitted, ClientID: "test"})
	if err != nil {
		w.Fatal(err)
	}
	defer source.Close()
	j := repair.New(repair.Deps{Engine: e, Source: source, Who: "test", Records: 3}, cfg)
	s, err := j.Survey(ctx, o)
	if err != nil {
		w.Fatal(err)
	}
	r, err := j.Run(ctx, s)
	if err != nil {
		w.Fatal(err)
	}
	v, err := j.Verify(ctx, s)
	if err != nil {
		w.Fatal(err)
	}
	return r, v
}

// whose are the epochs and versions of the rows of some offsets.
func (w *world) whose(offsets string) string {
	w.Helper()
	return w.query("SELECT arrayStringConcat(groupArray(concat(toString(_offset), '/', toString(_epoch), ' v', toString(version))), ', ') FROM (SELECT * FROM " + w.db + ".calls WHERE _offset IN (" + offsets + ") ORDER BY _offset, _epoch)")
}

// Rows of older epochs that a backfill has left are mended like all others: made again under the epoch of the table, by the plan that made them, and taken out of the
// older account. What should not be there is removed. A table that comes back is what it was.
func TestRepair_RowsThatABackfillHasLeft(t *testing.T) {
	w := newWorld(t, 1)
	e, there, back := w.partThere()
	w.exec("ALTER TABLE "+w.db+".calls DROP CONSTRAINT waybill_epoch",
		"ALTER TABLE "+w.db+".calls DELETE WHERE _offset IN (10, 11, 12, 13, 260, 150) SETTINGS mutations_sync = 2",
		// Twice, and one of a row that was made anew, as it was before.
		"INSERT INTO "+w.db+".calls SELECT * FROM (SELECT * FROM "+w.db+".calls WHERE _offset = 20) SETTINGS insert_deduplicate = 0",
		"INSERT INTO "+w.db+".calls SELECT * REPLACE (0 AS _epoch) FROM (SELECT * FROM "+w.db+".calls WHERE _offset = 160)",
		fmt.Sprintf("ALTER TABLE %s.calls ADD CONSTRAINT waybill_epoch CHECK _epoch >= %d", w.db, e))
	report := w.audit(w.file(1), e, audit.Options{})
	var found []string
	for i := range report.Violations {
		v := &report.Violations[i]
		found = append(found, fmt.Sprintf("%s %v %t", v.Kind, v.Offsets, v.Inherited != nil))
	}
	slices.Sort(found)
	if want := []string{"rows_missing [10-13 260] true", "rows_missing [150] false", "rows_repeated [20] true", "rows_unexpected [101] true", "rows_unexpected [160] true"}; !slices.Equal(found, want) {
		t.Fatalf("before: %q, want %q", found, want)
	}
	r, v := w.mend(w.file(1), repair.Options{Missing: true, Repeated: true, Unexpected: true})
	if !v.Right() || r.Written != 7 || r.Removed != 2 || r.Lost+r.Left.Sum() != 0 {
		t.Errorf("%+v, %+v: want 7 rows written and 2 removed", r, v)
	}
	if got, want := w.whose("10, 11, 12, 13, 20, 101, 150, 160, 260"), fmt.Sprintf("10/%[1]d v1, 11/%[1]d v1, 12/%[1]d v1, 13/%[1]d v1, 20/%[1]d v1, 150/%[1]d v2, 160/%[1]d v2, 260/%[1]d v1", e); got != want {
		t.Errorf("rows %s, want %s", got, want)
	}
	w.wantSound(e)
	// What somebody names is made anew whichever epoch it is of, under the plan of now; a dead letter that was replayed likewise.
	if r := w.replay(w.lenient()); r.Replayed != 4 {
		t.Errorf("%+v, want 4 replayed", r)
	}
	w.exec("ALTER TABLE " + w.db + ".calls DELETE WHERE _offset IN (100, 202) SETTINGS mutations_sync = 2")
	r, v = w.mend(w.file(2), repair.Options{Missing: true, Offsets: map[int32]waybill.OffsetSet{0: waybill.OffsetsIn(waybill.Span{First: 10, Next: 12}, waybill.Span{First: 30, Next: 32}, waybill.Span{First: 150, Next: 151})}})
	if !v.Right() || r.Written != 7 || r.Left.Sum() != 0 {
		t.Errorf("%+v, %+v: want 7 rows written", r, v)
	}
	if got, want := w.whose("10, 12, 30, 31, 100, 150, 202"), fmt.Sprintf("10/%[1]d v2, 12/%[1]d v1, 30/%[1]d v2, 31/%[1]d v2, 100/%[1]d v1, 150/%[1]d v2, 202/%[1]d v1", e); got != want {
		t.Errorf("rows %s, want %s", got, want)
	}
	w.wantSound(e)
	// It is found if such a row goes again, and if the older one is back.
	w.exec("ALTER TABLE " + w.db + ".calls DELETE WHERE _offset = 12 SETTINGS mutations_sync = 2")
	w.wantSound(e, "rows_missing new [12]")
	if r, v := w.mend(w.file(1), repair.Options{Missing: true}); !v.Right() || r.Written != 1 {
		t.Errorf("%+v, %+v: want 1 row written", r, v)
	}
	w.wantSound(e)
	back()
	testenv.Eventually(t, soon, "what came meanwhile is there", func() bool { return w.query("SELECT count() FROM "+w.db+".calls") == "298" })
	if got, want := w.whose("10, 12, 30, 150"), "10/0 v1, 12/0 v1, 30/0 v1, 150/0 v1"; got != want {
		t.Errorf("rows of the table that has come back: %s, want %s", got, want)
	}
	w.wantSound(e+1, "rows_unexpected of epoch 0 [101]")
	e2 := there()
	w.wantSound(e2)
	w.exec("ALTER TABLE " + w.db + ".calls DELETE WHERE _offset = 12 SETTINGS mutations_sync = 2")
	w.wantSound(e2, fmt.Sprintf("rows_missing of epoch %d [12]", e))
	if r, v := w.mend(w.file(1), repair.Options{Missing: true}); !v.Right() || r.Written != 1 {
		t.Errorf("%+v, %+v: want 1 row written", r, v)
	}
	w.wantSound(e2)
}

// A repair that was killed is finished by the next one: rows of older epochs are deleted and made again under the epoch of the table, or removed.
func TestRepair_UnfinishedOneOfRowsThatABackfillHasLeft(t *testing.T) {
	w := newWorld(t, 1)
	e, _, _ := w.partThere()
	r := w.replayer(w.file(1))
	w.exec("ALTER TABLE "+w.db+".calls DROP CONSTRAINT waybill_epoch",
		"INSERT INTO "+w.db+".calls SELECT * REPLACE (0 AS _epoch) FROM (SELECT * FROM "+w.db+".calls WHERE _offset = 160)",
		fmt.Sprintf("ALTER TABLE %s.calls ADD CONSTRAINT waybill_epoch CHECK _epoch >= %d", w.db, e))
	begin := func(sequence uint64, kind ledger.ReplayKind, was ledger.Fates) {
		t.Helper()
		b := &ledger.Replay{Pipeline: w.name, Sequence: sequence, Kind: kind, Epoch: e, Batch: waybill.BatchID{7, byte(sequence)}, At: r.Client().ServerNow(time.Now()).Add(-time.Minute), Plan: r.Plan().ID(), Topic: topic,
			Offsets: map[int32]waybill.OffsetSet{0: {}}, Was: map[int32]ledger.Fates{0: was}, By: "somebody who died"}
		for _, set := range was {
			b.Offsets[0] = b.Offsets[0].Union(set)
		}
		if a := r.Client().Insert(t.Context(), clickhouse.Insert{Database: r.Ledger().Database(), Table: ledger.TableReplays, Input: ledger.BegunBlock(b), Token: waybill.Token(fmt.Sprintf("begun-%s-%d", w.name, sequence))}); a.Err != nil {
			t.Fatal(a.Err)
		}
	}
	begin(1, ledger.KindRewrite, ledger.Fates{ledger.FateNone: waybill.OffsetsOf(20, 21)})
	// While it is under way nobody can tell whose rows these are: the old ones are there, or the new ones, or none.
	w.wantSound(e, "rows_unexpected of epoch 0 [101]", "rows_unexpected of epoch 0 [160]")
	w.exec("ALTER TABLE " + w.db + ".calls DELETE WHERE _offset = 20 SETTINGS mutations_sync = 2")
	w.wantSound(e, "rows_unexpected of epoch 0 [101]", "rows_unexpected of epoch 0 [160]")
	if res, v := w.mend(w.file(1), repair.Options{Missing: true}); !v.Right() || res.Resumed != 2 || res.Begun != 0 {
		t.Errorf("%+v, %+v: want 2 to be finished, and nothing else", res, v)
	}
	if got, want := w.whose("20, 21, 22"), fmt.Sprintf("20/%[1]d v1, 21/%[1]d v1, 22/0 v1", e); got != want {
		t.Errorf("rows %s, want %s", got, want)
	}
	begin(2, ledger.KindRemove, ledger.Fates{ledger.FateNone: waybill.OffsetsOf(101), ledger.FateWritten: waybill.OffsetsOf(160)})
	if res, v := w.mend(w.file(1), repair.Options{Missing: true}); !v.Right() || res.Resumed != 2 || res.Begun != 0 {
		t.Errorf("%+v, %+v: want 2 to be finished, and nothing else", res, v)
	}
	if got, want := w.whose("101, 160"), fmt.Sprintf("160/%d v2", e); got != want {
		t.Errorf("rows %s, want %s", got, want)
	}
	w.wantSound(e)
}

// An erasure removes rows and dead letters whichever epoch they are of, and the accounts of all of them know of it.
func TestErase_RowsThatABackfillHasLeft(t *testing.T) {
	w := newWorld(t, 1)
	e, _, _ := w.partThere()
	ctx, r := context.Background(), w.replayer(w.file(1))
	cfg := w.file(1).Under(e)
	source, err := kafka.OpenReader(ctx, kafka.Config{Brokers: w.kafka.ListenAddrs(), Topic: topic, Group: cfg.Source.Kafka.Group, Isolation: kafka.ReadCommitted, ClientID: "test"})
	if err != nil {
		t.Fatal(err)
	}
	defer source.Close()
	o := erase.Options{Where: "id IN (10, 150) AND _offset != 101", Match: []string{`{"id":`}, Why: "a test"}
	j := erase.New(erase.Deps{Engine: r, Source: source, Who: "test", Records: 2}, cfg)
	found, err := j.Find(ctx, o)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := j.Run(ctx, found, o); err != nil {
		t.Fatal(err)
	}
	if check, err := j.Check(ctx, o); err != nil || !check.Clean() {
		t.Errorf("%+v, %v", check, err)
	}
	if got, want := w.letters(e, true), fmt.Sprintf("100/0 waiting, 101/0 waiting, 202/%[1]d waiting, 203/%[1]d waiting", e); got != want {
		t.Errorf("dead letters %s, want %s", got, want)
	}
	if got := w.query("SELECT count() FROM waybill.dead_letters WHERE pipeline = '" + w.name + "' AND offset IN (99, 201, 303)"); got != "0" {
		t.Errorf("%s dead letters of the subject are left", got)
	}
	if got := w.query("SELECT count() FROM " + w.db + ".calls"); got != "296" {
		t.Errorf("%s rows, want 2 of 298 less", got)
	}
	w.wantSound(e, "rows_unexpected of epoch 0 [101]")
	// What is erased is not repaired, by the older account or by the newer one.
	if r, v := w.mend(w.file(1), repair.Options{Missing: true, Offsets: map[int32]waybill.OffsetSet{0: waybill.OffsetsOf(10, 152)}}); !v.Right() || r.Written != 0 || r.Left.Erased != 2 {
		t.Errorf("%+v, %+v: want both to be left alone", r, v)
	}
}

// Receipts and completeness speak of all of the table: of each older epoch, as far as a backfill has left its rows as they were.
func TestReceipt_OfATableThatABackfillHasMadeInPart(t *testing.T) {
	w := newWorld(t, 1)
	w.live(w.file(1))
	for n := 100; n <= 300; n += 100 { // no batch reaches over a hundred
		w.produce(100)
		w.wantCount(n)
	}
	ctx, b := context.Background(), w.bench(w.file(2), nil)
	before := b.Client.ServerNow(time.Now())
	id := w.plan(b, "offsets:0:100-249")
	o := b.Operator()
	if err := o.Run(ctx, id); err != nil {
		t.Fatal(err)
	}
	if err := o.Promote(ctx, id, true); err != nil {
		t.Fatal(err)
	}
	e := o.Job().Leg.Epoch
	cfg := w.file(1).Under(e)
	// By the batches that there were: of those that end by 100 all is left, of one that reaches over 250 a part is.
	whole := w.query("SELECT concat(toString(sum(read)), ' ', toString(sum(written)), ' ', toString(sum(dead_lettered))) FROM waybill.ledger WHERE pipeline = '" + w.name + "' AND epoch = 0 AND (next <= 100 OR first >= 250)")
	parts := w.query("SELECT concat('0: ', toString(min(first)), '-', toString(max(next)), ' ', toString(sum(read)), ' ', toString(sum(written))) FROM waybill.ledger WHERE pipeline = '" + w.name + "' AND epoch = 0 AND (next <= 100 OR first >= 250)")
	partly := w.query("SELECT toString(countIf(first < 250 AND next > 250)) FROM waybill.ledger WHERE pipeline = '" + w.name + "' AND epoch = 0")
	receipts := func(s receipt.Scope) *receipt.Receipt {
		t.Helper()
		d := receipt.Deps{Client: b.Client, Ledger: b.Ledger, Version: "test", Audit: func(_ context.Context, within map[int32]waybill.Span) (*audit.Report, error) {
			return w.audit(w.file(1), e, audit.Options{Within: within}), nil
		}}
		doc, err := receipt.Make(ctx, d, cfg, s)
		if err != nil {
			t.Fatal(err)
		}
		return &doc.Receipt
	}
	is := func(r *receipt.Receipt) string {
		if len(r.Inherited) != 1 || r.Inherited[0].Epoch != 0 {
			return fmt.Sprintf("%+v", r.Inherited)
		}
		in, each := &r.Inherited[0], ""
		for _, p := range in.Partitions {
			each += fmt.Sprintf("; %d: %d-%d %d %d", p.Partition, p.First, p.Next, p.Read, p.Written)
		}
		return fmt.Sprintf("%d %d %d%s; %d; %+v; %d gaps, %s", in.Total.Read, in.Total.Written, in.Total.DeadLettered, each, len(in.Partly), in.DeadLetters, len(r.Gaps), r.Audit.Verdict)
	}
	letters := "[{Stage:decode Code:truncated State:waiting Count:2}]" // 99 and 299; 199 was made anew
	all := receipts(receipt.Scope{})
	if got, want := is(all), fmt.Sprintf("%s; %s; %s; %s; 0 gaps, clean", whole, parts, partly, letters); got != want || all.Total.Read != 150 || all.Total.Written != 149 {
		t.Errorf("receipt %s, want %s; of the table's epoch %+v, want 150 read and 149 written", got, want, all.Total)
	}
	from := before.Add(-time.Hour)
	if r := receipts(receipt.Scope{From: &from, To: &before}); len(r.Partitions) != 0 || !strings.HasPrefix(is(r), whole+"; "+parts+"; "+partly+"; ") {
		t.Errorf("of the time before the backfill: %+v, %s", r.Partitions, is(r))
	}
	minutes := func() (epochs []uint32, read, visible int64) {
		t.Helper()
		r, err := completeness.Run(ctx, completeness.Deps{Client: b.Client, Ledger: b.Ledger}, cfg, day0, day0.Add(30*24*time.Hour))
		if err != nil {
			t.Fatal(err)
		}
		if r.Total.Read != 150 || r.Total.Visible != 149 {
			t.Errorf("of the table's epoch %+v", r.Total)
		}
		for _, in := range r.Inherited {
			epochs, read, visible = append(epochs, in.Epoch), read+in.Total.Read, visible+in.Total.Visible
			if fmt.Sprint(in.Partly) != partly {
				t.Errorf("%d batches in part, want %s", in.Partly, partly)
			}
		}
		return epochs, read, visible
	}
	wantMinutes := func() {
		t.Helper()
		epochs, read, visible := minutes()
		if got, want := fmt.Sprintf("%v %d %d", epochs, read, visible), "[0] "+whole[:strings.LastIndex(whole, " ")]; got != want {
			t.Errorf("by the minute %s, want %s", got, want)
		}
	}
	wantMinutes()
	w.exec("ALTER TABLE " + w.db + ".calls DELETE WHERE _offset IN (5, 6) SETTINGS mutations_sync = 2")
	// Of which minutes of their batch they are is not known, so that none of these is said to be whole.
	if _, _, visible := minutes(); visible != 0 {
		t.Errorf("%d rows by the minute of a batch that lacks two, in minutes of one row each", visible)
	}
	if r := receipts(receipt.Scope{}); r.Audit.Verdict != audit.Violated {
		t.Errorf("audit of rows that are gone: %+v", r.Audit)
	}
	if r, v := w.mend(w.file(1), repair.Options{Missing: true}); !v.Right() || r.Written != 2 {
		t.Errorf("%+v, %+v", r, v)
	}
	wantMinutes()
	r := receipts(receipt.Scope{})
	if got, want := is(r), is(all); got != want || len(r.Amended) != 1 || r.Amended[0] != (receipt.Amended{Was: ledger.FateNone, Is: ledger.FateWritten, Count: 2}) {
		t.Errorf("after a repair %s, want %s; amended %+v", got, want, r.Amended)
	}
}
