package engine_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"

	"github.com/waybill-data/waybill"
	"github.com/waybill-data/waybill/internal/clickhouse"
	"github.com/waybill-data/waybill/internal/config"
	"github.com/waybill-data/waybill/internal/engine"
	"github.com/waybill-data/waybill/internal/ledger"
	"github.com/waybill-data/waybill/internal/status"
	"github.com/waybill-data/waybill/internal/testenv"
)

// store is a way to Waybill's tables, as an operator has it.
func (w *world) store() (*ledger.Store, *clickhouse.Client) {
	w.Helper()
	c, err := clickhouse.Open(w.Context(), clickhouse.Config{Addr: w.ch.TCPAddr()}, clickhouse.Deps{})
	if err != nil {
		w.Fatal(err)
	}
	w.Cleanup(c.Close)
	return ledger.New(c, ""), c
}

func held(s status.Pipeline) bool    { return s.State == status.Held }
func running(s status.Pipeline) bool { return s.State == status.Running }

func (w *world) must(err error) {
	w.Helper()
	if err != nil {
		w.Fatal(err)
	}
}

// members of the pipeline's group.
func (w *world) members(cfg *config.Pipeline) (n int) {
	w.Helper()
	w.admin(func(ctx context.Context, a *kadm.Client) error {
		groups, err := a.DescribeGroups(ctx, cfg.Source.Kafka.Group)
		n = len(groups[cfg.Source.Kafka.Group].Members)
		return err
	})
	return n
}

// positions are the group's committed offsets by partition.
func (w *world) positions(cfg *config.Pipeline) map[int32]int64 {
	w.Helper()
	out := map[int32]int64{}
	w.admin(func(ctx context.Context, a *kadm.Client) error {
		all, err := a.FetchOffsets(ctx, cfg.Source.Kafka.Group)
		for p, o := range all[topic] {
			out[p] = o.At
		}
		return err
	})
	return out
}

// uuid of a table of the test's database.
func (w *world) uuid(table string) string {
	w.Helper()
	return w.query("SELECT uuid FROM system.tables WHERE database = '" + w.db + "' AND name = '" + table + "'")
}

func TestHold_WorkersSettleLeaveAndComeBack(t *testing.T) {
	w := newWorld(t, 4)
	cfg := w.file(spec{rows: 100})
	a, b := w.start(cfg), w.start(cfg)
	a.await("a has a share", some)
	b.await("b has a share", some)
	store, client := w.store()
	w.produce(2000)
	a.await("a has begun", func(s status.Pipeline) bool { return s.Totals.Written > 0 })
	w.must(store.Hold(t.Context(), w.name, "j7", client.ServerNow(time.Now()).Add(time.Hour)))
	for _, r := range []*worker{a, b} {
		r.await("held", held)
		s := r.p.Status()
		mine := slices.ContainsFunc(s.Partitions, func(at status.Partition) bool { return at.State != status.Frozen }) // those that are shown with their lag are nobody's
		if len(s.InFlight) > 0 || mine || !strings.Contains(s.Reason, "job j7") || r.gauge("held") != 1 {
			t.Errorf("held with %d batches, partitions %+v, reason %q, gauge %v", len(s.InFlight), s.Partitions, s.Reason, r.gauge("held"))
		}
		if why := (status.Status{Pipelines: []status.Pipeline{s}}).NotReady(); len(why) > 0 {
			t.Errorf("a process that is held is not ready: %v", why)
		}
	}
	testenv.Eventually(t, soon, "the group is empty", func() bool { return w.members(cfg) == 0 })
	// What was in flight has been settled, and nothing is pending.
	settled := int64(0)
	for _, at := range w.positions(cfg) {
		settled += at
	}
	if got := w.query(w.ofLedger("sum(next - first)")); got != fmt.Sprint(settled) {
		t.Errorf("the ledger accounts for %s offsets, the group has settled %d", got, settled)
	}
	w.produce(1000)
	w.must(store.Release(t.Context(), w.name, "j7"))
	a.await("a runs", running)
	b.await("b runs", running)
	w.quiet(3000)
	if a.gauge("held") != 0 {
		t.Error("the gauge says that it is held still")
	}
	a.stop()
	b.stop()
	w.verify()
	w.wantCounts("3000 2970 30 0")
}

// Nobody waits for an operator who has died; and a worker that is started meanwhile waits as the others do.
func TestHold_EndsByItself(t *testing.T) {
	w := newWorld(t, 2)
	cfg := w.file(spec{})
	store, client := w.store()
	w.must(store.Migrate(t.Context(), time.Now()))
	w.must(store.Hold(t.Context(), w.name, "j7", client.ServerNow(time.Now()).Add(6*time.Second)))
	w.produce(500)
	a := w.start(cfg)
	a.await("held", held)
	if n := w.members(cfg); n != 0 {
		t.Errorf("%d members of a group that is held", n)
	}
	w.quiet(500)
	a.stop()
	w.verify()
}

// A pipeline that is to stop does so while it is held.
func TestHold_StopsWhileHeld(t *testing.T) {
	w := newWorld(t, 2)
	store, client := w.store()
	w.must(store.Migrate(t.Context(), time.Now()))
	w.must(store.Hold(t.Context(), w.name, "j7", client.ServerNow(time.Now()).Add(time.Hour)))
	a := w.start(w.file(spec{}))
	a.await("held", held)
	a.stop()
}

// promotion is what an operator does in the test, by hand: a shadow that holds what the table holds before V, under the next epoch.
type promotion struct {
	*world
	store *ledger.Store
	from  string // the name of the table that is to be live
	epoch waybill.Epoch
}

func (w *world) promotion() *promotion {
	store, _ := w.store()
	return &promotion{w, store, "shadow1", 1}
}

// make the shadow: rows and ledger rows of the epoch before, up to where these are.
func (p *promotion) make(before waybill.Epoch) {
	p.Helper()
	shadow := p.db + "." + p.from
	p.exec(fmt.Sprintf("CREATE TABLE %s AS %s.calls", shadow, p.db),
		fmt.Sprintf("ALTER TABLE %[1]s DROP CONSTRAINT IF EXISTS %[2]s", shadow, clickhouse.FenceName),
		fmt.Sprintf("ALTER TABLE %s ADD %s", shadow, clickhouse.FenceConstraint(p.epoch)))
	p.must(p.store.PutGeneration(p.Context(), ledger.Generation{Pipeline: p.name, Table: p.uuid(p.from), Epoch: p.epoch, Job: fmt.Sprint("j", p.epoch)}))
	p.exec(fmt.Sprintf("INSERT INTO %s SELECT * REPLACE (%d AS _epoch) FROM %s.calls", shadow, p.epoch, p.db))
	for _, c := range []struct{ table, name, once string }{{"ledger", "pipeline", "partition, first"}, {"dead_letters", "pipeline", "partition, offset"}, {"pipelines", "name", "name"}} {
		p.exec(fmt.Sprintf("INSERT INTO waybill.%[1]s SELECT * REPLACE (%[2]d AS epoch) FROM (SELECT * FROM waybill.%[1]s WHERE %[3]s = '%[4]s' AND epoch = %[5]d LIMIT 1 BY %[6]s)",
			c.table, p.epoch, c.name, p.name, before, c.once))
	}
}

func (p *promotion) exchange() {
	p.Helper()
	p.exec(fmt.Sprintf("EXCHANGE TABLES %[1]s.calls AND %[1]s.%[2]s", p.db, p.from))
}

// once checks that the live table and the dead letters of its epoch hold each of n events once, and that the epoch's ledger accounts for all.
func (p *promotion) once(n int64) {
	p.Helper()
	of := fmt.Sprintf(" AND epoch = %d", p.epoch)
	testenv.Eventually(p, soon, fmt.Sprintf("epoch %d accounts for %d offsets", p.epoch, n), func() bool {
		return p.query("SELECT sum(next - first) FROM (SELECT * FROM waybill.ledger WHERE pipeline = '"+p.name+"'"+of+" LIMIT 1 BY partition, first)") == fmt.Sprint(n)
	})
	for what, c := range map[string]struct{ sql, want string }{
		"rows":                 {"SELECT count() FROM " + p.db + ".calls", fmt.Sprint(n - n/100)},
		"different records":    {"SELECT uniqExact(_partition, _offset) FROM " + p.db + ".calls", fmt.Sprint(n - n/100)},
		"different events":     {"SELECT uniqExact(id) FROM " + p.db + ".calls", fmt.Sprint(n - n/100)},
		"rows of other epochs": {fmt.Sprintf("SELECT countIf(_epoch != %d) FROM %s.calls", p.epoch, p.db), "0"},
		"dead letters":         {"SELECT uniqExact(partition, offset) FROM waybill.dead_letters WHERE pipeline = '" + p.name + "'" + of, fmt.Sprint(n / 100)},
		"written":              {"SELECT sum(written) FROM (SELECT * FROM waybill.ledger WHERE pipeline = '" + p.name + "'" + of + " LIMIT 1 BY partition, first)", fmt.Sprint(n - n/100)},
		"refused rows":         {"SELECT count() FROM waybill.decisions WHERE pipeline = '" + p.name + "'", "0"},
	} {
		if got := p.query(c.sql); got != c.want {
			p.Errorf("%s: %s, want %s", what, got, c.want)
		}
	}
}

// noFindings: nothing of a promotion is a person's business.
func (r *worker) noFindings() {
	r.w.Helper()
	for _, f := range r.p.Status().Findings {
		if f.Severity != waybill.SeverityInfo {
			r.w.Errorf("finding %s: %s", f.Kind, f.Message)
		}
	}
}

func TestPromotion_HeldWorkerGoesOnUnderTheEpochOfTheTable(t *testing.T) {
	w := newWorld(t, 3)
	cfg := w.file(spec{rows: 100})
	a := w.start(cfg)
	p := w.promotion()
	w.produce(2000)
	w.quiet(2000)
	w.must(p.store.Hold(t.Context(), w.name, "j1", time.Now().Add(time.Hour)))
	a.await("held", held)
	p.make(0)
	w.produce(500)
	p.exchange()
	a.await("it runs, though the hold is not lifted: the table is another", running)
	w.must(p.store.Release(t.Context(), w.name, "j1"))
	p.once(2500)
	if e := a.p.Status().Epoch; e != 1 {
		t.Errorf("epoch %d", e)
	}
	// And back, to a table that the first one has become.
	back := &promotion{w, p.store, "back", 2}
	w.must(p.store.Hold(t.Context(), w.name, "j2", time.Now().Add(time.Hour)))
	a.await("held", held)
	back.make(1)
	back.exchange()
	w.produce(500)
	w.must(p.store.Release(t.Context(), w.name, "j2"))
	back.once(3000)
	a.noFindings()
	a.stop()
	b := w.start(cfg) // one that was not there
	w.produce(500)
	back.once(3500)
	b.noFindings()
	b.stop()
}

// A worker that was never told, and goes on inserting: its rows are kept out, none of them is a dead letter, and it goes on under the new epoch.
func TestFence_WorkerThatWasNotToldIsKeptOut(t *testing.T) {
	for _, scheme := range []string{"clickhouse", "http"} {
		t.Run(scheme, func(t *testing.T) {
			w := newWorld(t, 3)
			s := spec{rows: 50, scheme: scheme}
			if scheme == "http" {
				s.addr = w.ch.HTTPAddr()
			}
			a := w.start(w.file(s))
			w.produce(400)
			w.quiet(400)
			p := w.promotion()
			p.make(0)
			p.exchange()
			for range 4 { // it meets the fence, or sees that the table is another
				w.produce(100)
			}
			p.once(800)
			a.noFindings()
			a.stop()
		})
	}
}

// A batch that could not be settled before the worker left is dropped: its records are read again, under the new epoch.
func TestPromotion_WhatIsPendingBehindVIsNobodys(t *testing.T) {
	w := newWorld(t, 2)
	cfg := w.file(spec{rows: 100})
	a := w.startWith(cfg, 2*time.Second)
	w.produce(1000)
	w.quiet(1000)
	w.exec("ALTER TABLE "+w.db+".calls MODIFY SETTING parts_to_throw_insert = 1, parts_to_delay_insert = 1, max_delay_to_insert = 1",
		"SYSTEM STOP MERGES "+w.db+".calls")
	w.produce(500)
	a.await("stalled", func(s status.Pipeline) bool { return s.State == status.Stalled })
	p := w.promotion()
	w.must(p.store.Hold(t.Context(), w.name, "j1", time.Now().Add(time.Hour)))
	a.await("it has left, though it could not settle", held)
	testenv.Eventually(t, soon, "the group is empty", func() bool { return w.members(cfg) == 0 })
	p.make(0)
	w.exec("ALTER TABLE " + w.db + "." + p.from + " MODIFY SETTING parts_to_throw_insert = 3000, parts_to_delay_insert = 1000")
	p.exchange()
	w.must(p.store.Release(t.Context(), w.name, "j1"))
	p.once(1500)
	a.noFindings()
	a.stop()
}

// A fence without a later epoch on record: it says what is wrong, retries, and goes on once that is mended. No row is taken for broken.
func TestFence_WithoutALaterEpochSaysWhatIsWrong(t *testing.T) {
	w := newWorld(t, 2)
	a := w.start(w.file(spec{rows: 100}))
	w.produce(500)
	w.quiet(500)
	w.exec("ALTER TABLE " + w.db + ".calls ADD " + clickhouse.FenceConstraint(5))
	w.produce(500)
	a.await("stalled with what is wrong", func(s status.Pipeline) bool {
		return s.State == status.Stalled && strings.Contains(s.Reason, "no later epoch than 0 in waybill.generations") && strings.Contains(s.Reason, w.uuid("calls"))
	})
	if n := w.query("SELECT count() FROM waybill.decisions WHERE pipeline = '" + w.name + "'"); n != "0" {
		t.Errorf("%s rows are on record as refused", n)
	}
	store, _ := w.store()
	w.must(store.PutGeneration(t.Context(), ledger.Generation{Pipeline: w.name, Table: w.uuid("calls"), Epoch: 5, Job: "by hand"}))
	a.await("it runs under that epoch", func(s status.Pipeline) bool { return s.Epoch == 5 && s.State == status.Running })
	testenv.Eventually(t, soon, "all is read again under it", func() bool {
		return w.query("SELECT countIf(_epoch = 5) FROM "+w.db+".calls") == "990"
	})
	a.stop()
}

// Between the exchanges of a backfill that makes views anew its table takes no rows: whoever finds it then waits, and says for what; no row is taken for a bad one.
func TestClosed_IsWaitedFor(t *testing.T) {
	w := newWorld(t, 2)
	closed := "ALTER TABLE " + w.db + ".calls ADD " + clickhouse.ClosedConstraint("_epoch", 5)
	opened := "ALTER TABLE " + w.db + ".calls DROP CONSTRAINT " + clickhouse.ClosedName(5)
	w.exec(closed)
	w.produce(300)
	a := w.start(w.file(spec{rows: 100}))
	waits := func(s status.Pipeline) bool {
		return s.State != status.Running && strings.Contains(s.Reason, "takes no rows: a backfill is putting it and what its views fill in place")
	}
	a.await("it waits", waits)
	w.exec(opened)
	w.quiet(300)
	w.exec(closed) // under a life that goes on
	w.produce(300)
	a.await("it waits again", waits)
	w.exec(opened)
	w.quiet(600)
	if n := w.query("SELECT count() FROM waybill.decisions WHERE pipeline = '" + w.name + "'"); n != "0" {
		t.Errorf("%s rows are on record as refused", n)
	}
	a.stop()
}

func TestEpoch_OneThatABackfillHasUsedIsRefused(t *testing.T) {
	w := newWorld(t, 2)
	store, _ := w.store()
	w.must(store.Migrate(t.Context(), time.Now()))
	w.must(store.PutGeneration(t.Context(), ledger.Generation{Pipeline: w.name, Table: w.uuid("calls"), Epoch: 3, FileEpoch: 1, Job: "j"}))
	w.produce(10)
	for file, words := range map[waybill.Epoch]string{3: "raise `epoch` to 4", 2: "raise `epoch` to 4", 0: "use the newer pipeline file"} {
		err := w.start(w.file(spec{top: fmt.Sprintf("epoch: %d\n", file)})).ended()
		if err == nil || waybill.ClassOf(err) != waybill.ClassConfig || !strings.Contains(err.Error(), words) {
			t.Errorf("epoch %d: %v, want %q", file, err, words)
		}
	}
	if n := w.query("SELECT count() FROM " + w.db + ".calls"); n != "0" {
		t.Errorf("%s rows were written", n)
	}
	a := w.start(w.file(spec{top: "epoch: 1\n"})) // as it was
	a.await("it runs", running)
	if e := a.p.Status().Epoch; e != 3 {
		t.Errorf("epoch %d, want the table's", e)
	}
	a.stop()
	b := w.start(w.file(spec{top: "epoch: 4\n"}))
	b.await("it runs", running)
	if e := b.p.Status().Epoch; e != 4 {
		t.Errorf("epoch %d, want the file's", e)
	}
	b.stop()
}

// Two tables that change places one after the other: between the two nothing is written, and it says why.
func TestEpoch_TablesOfRoutesMustAgree(t *testing.T) {
	w := newWorld(t, 2)
	for _, table := range []string{"calls", "tools", "others"} {
		w.routeTable(table, "")
	}
	cfg := w.routed(threeRoutes, "", spec{})
	store, client := w.store()
	w.must(store.Migrate(t.Context(), time.Now()))
	tables := cfg.Tables()
	put := func(i int) {
		t.Helper()
		id, err := client.TableUUID(t.Context(), w.db, tables[i].Sink.ClickHouse.Table)
		w.must(err)
		w.must(store.PutGeneration(t.Context(), ledger.Generation{Pipeline: w.name, Table: id, Epoch: 3, Job: "j"}))
	}
	put(0)
	_, err := engine.EffectiveEpoch(t.Context(), client, store, cfg)
	if err == nil || !waybill.ClassOf(err).Heals() || !strings.Contains(err.Error(), "one after the other") {
		t.Fatalf("tables of epochs 3 and 0: %v", err)
	}
	a := w.start(cfg)
	a.await("it waits and says why", func(s status.Pipeline) bool {
		return s.State == status.Stalled && strings.Contains(s.Reason, "one after the other")
	})
	put(1)
	put(2)
	a.await("it runs under the epoch of all", func(s status.Pipeline) bool { return s.State == status.Running && s.Epoch == 3 })
	a.stop()
}

// A replay that was under way when its table was replaced is finished without a row: its records were read again for the new table.
func TestReplay_OfATableThatHasBeenReplaced(t *testing.T) {
	w := newWorld(t, 1)
	w.rejected(30)
	p := w.promotion()
	store, client := w.store()
	begun := &ledger.Replay{Pipeline: w.name, Sequence: 1, Kind: ledger.KindReplay, Batch: waybill.BatchID{7}, At: client.ServerNow(time.Now()).Add(-time.Minute), Topic: topic,
		Offsets: map[int32]waybill.OffsetSet{0: waybill.OffsetsOf(3, 13)}, By: "somebody who died"}
	if a := client.Insert(t.Context(), clickhouse.Insert{Database: store.Database(), Table: ledger.TableReplays, Input: ledger.BegunBlock(begun), Token: "begun-" + waybill.Token(w.name)}); a.Err != nil {
		t.Fatal(a.Err)
	}
	p.make(0)
	p.exchange()
	if r := w.replay(w.file(lenient), ledger.LetterFilter{}); r.Replayed != 3 || r.Resumed != 2 {
		t.Errorf("%+v, want the 3 of the new epoch, and 2 that were finished for the old one", r)
	}
	if got := w.query("SELECT arrayStringConcat(groupArray(concat(toString(epoch), ' ', outcome, ' ', code)), ', ') FROM (SELECT * FROM waybill.dead_letter_outcomes WHERE pipeline = '" + w.name + "' ORDER BY epoch, offset)"); got != "0 failed superseded, 0 failed superseded, 1 replayed , 1 replayed , 1 replayed " {
		t.Errorf("outcomes: %s", got)
	}
	if got := w.query("SELECT concat(toString(count()), ' ', toString(uniqExact(_offset)), ' ', toString(min(_epoch))) FROM " + w.db + ".calls"); got != "30 30 1" {
		t.Errorf("rows, records, least epoch: %s", got)
	}
}
