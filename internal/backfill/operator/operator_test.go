package operator_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/waybill-data/waybill/internal/backfill"
	"github.com/waybill-data/waybill/internal/backfill/operator"
	"github.com/waybill-data/waybill/internal/config"
	"github.com/waybill-data/waybill/internal/testenv"
)

func TestPromote_WholeTopicUnderALiveWorker(t *testing.T) {
	w := newWorld(t, 2)
	w.produce(3000)
	w.live(w.file(1))
	w.wantRows(func(int, int64, int64) int { return 1 })
	b := w.bench(w.file(2), nil)
	id := w.plan(b, "all")
	ctx := context.Background()
	if err := b.Operator().Run(ctx, id); err != nil {
		t.Fatal(err)
	}
	w.produce(500)
	o := b.Operator()
	if err := o.Promote(ctx, id, true); err != nil {
		t.Fatal(err)
	}
	v := o.Job().Leg.V
	w.produce(300)
	w.wantRows(func(_ int, p, offset int64) int {
		if offset < v[int32(p)] { //nolint:gosec // few
			return 2
		}
		return 1
	})
	if j := o.Job(); j.State != backfill.Promoted {
		t.Errorf("it is %s", j.State)
	}
}

// inDays is a scope in the middle: of the second and the third day.
const inDays = "time:2026-11-02T12:00:00Z..2026-11-03T12:00:00Z"

func within(i int) bool {
	t := at(i)
	return !t.Before(day0.Add(36*time.Hour)) && t.Before(day0.Add(60*time.Hour))
}

func TestBackfill_RangeThereAndBackAndThere(t *testing.T) {
	w := newWorld(t, 2)
	w.produce(4 * perDay)
	w.live(w.file(1))
	w.wantRows(func(int, int64, int64) int { return 1 })
	b, old := w.bench(w.file(2), nil), w.bench(w.file(1), nil)
	id := w.plan(b, inDays)
	ctx := context.Background()
	if err := b.Operator().Run(ctx, id); err != nil {
		t.Fatal(err)
	}
	w.produce(200)
	if err := b.Operator().Promote(ctx, id, true); err != nil {
		t.Fatal(err)
	}
	w.produce(200)
	changed := func(i int, _, _ int64) int {
		if within(i) {
			return 2
		}
		return 1
	}
	w.wantRows(changed)
	if got := w.query("SELECT concat(kind, ' ', toString(rows_out), ' ', toString(rows_in), ' ', arrayStringConcat(partitions, ','), ' ', toString(event_first), ' ', toString(event_last)) FROM waybill.promotions WHERE pipeline = '" + w.name + "'"); got != "promotion 990 990 20261102,20261103 2026-11-02 12:00:00.000 2026-11-03 11:57:07.200" {
		t.Errorf("on record: %s", got)
	}
	o := old.Operator()
	if err := o.Rollback(ctx, id); err != nil {
		t.Fatal(err)
	}
	w.produce(200)
	w.wantRows(func(int, int64, int64) int { return 1 })
	again := b.Operator()
	if err := again.Promote(ctx, id, false); err != nil {
		t.Fatal(err)
	}
	w.produce(200)
	v := again.Job().Leg.V
	w.wantRows(func(i int, p, offset int64) int {
		// What came while the old table was in its place was read again, by the file of the promotion.
		if from, ok := again.Job().Leg.From[int32(p)]; ok && offset >= from && offset < v[int32(p)] { //nolint:gosec // few
			return 2
		}
		return changed(i, p, offset)
	})
	if err := b.Operator().Cleanup(ctx, id); err != nil {
		t.Fatal(err)
	}
	if got := w.query("SELECT arrayStringConcat(arraySort(groupArray(name)), ' ') FROM system.tables WHERE database = '" + w.db + "'"); got != "calls" {
		t.Errorf("tables: %s", got)
	}
	w.produce(100)
	testenv.Eventually(t, soon, "live goes on after cleanup", func() bool {
		return w.query("SELECT max(_epoch) FROM "+w.db+".calls") == fmt.Sprint(again.Job().Leg.Epoch)
	})
}

// Rows that stay, and that somebody deletes and changes after they were brought in, are brought in again as they are now.
func TestPromote_RowsThatStayAreAsTheLiveTableHasThem(t *testing.T) {
	w := newWorld(t, 2)
	w.produce(4 * perDay)
	w.live(w.file(1))
	w.wantRows(func(int, int64, int64) int { return 1 })
	ctx := context.Background()
	changed := 0
	b := w.bench(w.file(2), func(point string) {
		if point != "before hold" || changed > 0 {
			return
		}
		changed++ // of days that are attached as they are, of a day that is copied in part, and of the scope
		w.exec("ALTER TABLE "+w.db+".calls UPDATE version = 9 WHERE id IN (10, 1200, 2000, 3500) SETTINGS mutations_sync = 2",
			"DELETE FROM "+w.db+".calls WHERE id IN (11, 1201)", "ALTER TABLE "+w.db+".calls DELETE WHERE id = 3501 SETTINGS mutations_sync = 2")
	})
	id := w.plan(b, inDays)
	if err := b.Operator().Run(ctx, id); err != nil {
		t.Fatal(err)
	}
	if err := b.Operator().Promote(ctx, id, true); err != nil {
		t.Fatal(err)
	}
	if changed != 1 {
		t.Fatalf("rows were changed %d times", changed)
	}
	got := w.query("SELECT concat(toString(count()), ' ', toString(groupArray((id, version)))) FROM (SELECT * FROM " + w.db + ".calls WHERE id IN (10, 11, 1200, 1201, 2000, 3500, 3501) OR version NOT IN (1, 2) ORDER BY id)")
	if want := "4 [(10,9),(1200,9),(2000,2),(3500,9)]"; got != want {
		t.Errorf("there are %s, want %s", got, want)
	}
	if got := w.query("SELECT concat(toString(count()), ' ', toString(uniqExact(_partition, _offset))) FROM " + w.db + ".calls"); got != "3957 3957" {
		t.Errorf("%s rows, want 3957", got)
	}
}

// killer ends the goroutine that an operator runs in at each point that none was ended at yet. What is deferred runs, as connections end with a process; no
// row is written that says so.
type killer struct {
	killed map[string]bool
	points []string
}

func (k *killer) passed(point string) {
	// After a step it is where it is before anything is done for the next one, and so where it was when the one before was put on record.
	if k.killed[point] || strings.HasPrefix(point, "after ") || point == "claimed" || point == "swap begun" {
		return
	}
	k.killed[point] = true
	k.points = append(k.points, point)
	runtime.Goexit()
}

// through runs operators, one after the other, until one comes to the end.
func (k *killer) through(w *world, cfg *config.Pipeline, do func(context.Context, *operator.Operator) error) {
	w.Helper()
	for began := time.Now(); time.Since(began) < 10*time.Minute; {
		b := w.bench(cfg, k.passed)
		b.Lease = time.Second
		ended, err := false, error(nil)
		done := make(chan struct{})
		go func() {
			defer close(done)
			err = do(context.Background(), b.Operator())
			ended = true
		}()
		<-done
		illegal := (*backfill.Illegal)(nil)
		switch {
		case ended && err == nil:
			return
		case ended && errors.As(err, &illegal) && illegal.Event == "claim": // the lease of the one before
			time.Sleep(200 * time.Millisecond)
		case ended:
			w.Fatalf("after %v: %v", k.points, err)
		}
	}
	w.Fatalf("it never came to an end: %v", k.points)
}

func TestBackfill_KilledAtEachStep(t *testing.T) {
	if testing.Short() {
		t.Skip("some minutes: a session for each point")
	}
	w := newWorld(t, 2)
	w.produce(3 * perDay)
	w.live(w.file(1))
	w.wantRows(func(int, int64, int64) int { return 1 })
	id := w.plan(w.bench(w.file(2), nil), inDays)
	run := killer{killed: map[string]bool{}}
	run.through(w, w.file(2), func(ctx context.Context, o *operator.Operator) error { return o.Run(ctx, id) })
	promote := killer{killed: map[string]bool{}}
	stop := w.trickle()
	promote.through(w, w.file(2), func(ctx context.Context, o *operator.Operator) error {
		if j, err := o.Load(ctx, id); err == nil && j.State == backfill.Promoted {
			return nil
		}
		return o.Promote(ctx, id, true)
	})
	stop()
	w.wantRows(func(i int, _, _ int64) int {
		if within(i) {
			return 2
		}
		return 1
	})
	for _, point := range []string{"shadow made", "shadow fenced", "epoch on record"} {
		if !run.killed[point] {
			t.Errorf("run was not stopped at %q, but at %q", point, run.points)
		}
	}
	for _, step := range backfill.Steps() {
		if !promote.killed["before "+string(step)] {
			t.Errorf("promote was not stopped when %q was done, but at %q", step, promote.points)
		}
	}
	for _, point := range []string{"renamed", "third table filled", "before attach", "attached", "trimmed", "round settled", "held", "before exchange", "exchanged", "replaced table named", "released"} {
		if !promote.killed[point] {
			t.Errorf("promote was not stopped at %q, but at %q", point, promote.points)
		}
	}
}

// Workers that read under an epoch that the backfill knows nothing of have written records into the live table alone.
func TestPromote_RefusedIfTheFilesEpochWasRaised(t *testing.T) {
	w := newWorld(t, 1)
	w.produce(200)
	l := w.live(w.file(1))
	w.wantRows(func(int, int64, int64) int { return 1 })
	b := w.bench(w.file(2), nil)
	id := w.plan(b, "all")
	ctx := context.Background()
	if err := b.Operator().Run(ctx, id); err != nil {
		t.Fatal(err)
	}
	l.stop()
	raised := *w.file(1)
	raised.Epoch = 5
	w.live(&raised)
	testenv.Eventually(w, time.Minute, "the topic is read again", func() bool {
		return w.query("SELECT sum(next - first) FROM waybill.ledger WHERE pipeline = '"+w.name+"' AND epoch = 5") == "200"
	})
	uuid := "SELECT uuid FROM system.tables WHERE database = '" + w.db + "' AND name = 'calls'"
	before := w.query(uuid)
	if err := b.Operator().Promote(ctx, id, true); err == nil || !strings.Contains(err.Error(), "workers run under epoch 5") {
		t.Fatalf("promoted: %v", err)
	}
	if w.query(uuid) != before {
		t.Error("the tables have changed places")
	}
}

// Rows that others have written into the live table would go with it.
func TestPromote_RefusedIfOthersWriteIntoTheTable(t *testing.T) {
	w := newWorld(t, 1)
	w.produce(100)
	w.live(w.file(1))
	w.wantRows(func(int, int64, int64) int { return 1 })
	b := w.bench(w.file(2), nil)
	id := w.plan(b, "all")
	ctx := context.Background()
	if err := b.Operator().Run(ctx, id); err != nil {
		t.Fatal(err)
	}
	w.exec("INSERT INTO " + w.db + ".calls (_topic, _partition, _offset) VALUES ('of another', 0, 7)")
	uuid := "SELECT uuid FROM system.tables WHERE database = '" + w.db + "' AND name = 'calls'"
	before := w.query(uuid)
	if err := b.Operator().Promote(ctx, id, true); err == nil || !strings.Contains(err.Error(), "1 rows of "+w.db+".calls are not of topic") {
		t.Fatalf("promoted: %v", err)
	}
	if w.query(uuid) != before {
		t.Fatal("the tables have changed places")
	}
}

func TestRollback_RefusedWhereTheTopicHasNoMore(t *testing.T) {
	w := newWorld(t, 1)
	w.produce(200)
	w.live(w.file(1))
	w.wantRows(func(int, int64, int64) int { return 1 })
	b := w.bench(w.file(2), nil)
	id := w.plan(b, "all")
	ctx := context.Background()
	if err := b.Operator().Run(ctx, id); err != nil {
		t.Fatal(err)
	}
	// Only what was compared is promoted, unless it is said that it need not be.
	illegal := (*backfill.Illegal)(nil)
	if err := b.Operator().Promote(ctx, id, false); !errors.As(err, &illegal) {
		t.Fatalf("promoted without a comparison: %v", err)
	}
	if err := b.Operator().Promote(ctx, id, true); err != nil {
		t.Fatal(err)
	}
	w.produce(100)
	w.wantRows(func(_ int, _, offset int64) int {
		if offset < 200 {
			return 2
		}
		return 1
	})
	w.deleteBefore(0, 250)
	o := b.Operator()
	if err := o.Rollback(ctx, id); err == nil || !strings.Contains(err.Error(), "up to offset 200 of partition 0, and the topic begins at 250") {
		t.Fatalf("rolled back: %v", err)
	}
	if j, err := o.Load(ctx, id); err != nil || j.State != backfill.Promoted || j.Owner != "" {
		t.Errorf("it is %s, of %q, %v", j.State, j.Owner, err)
	}
}
