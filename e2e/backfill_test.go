package e2e

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/waybill-data/waybill/internal/testenv"
)

// Places at which a backfill is killed, in the order in which it passes them; and those of a case in CI.
var (
	runPoints      = []string{"claimed", "epoch-chosen", "shadow-made", "shadow-fenced", "epoch-on-record", "running"}
	promotePoints  = []string{"claimed", "swap-begun", "renamed", "before-prepare", "after-follow", "held", "after-hold", "after-position", "after-reach", "after-check", "before-exchange", "exchanged", "after-exchange", "after-tell"}
	rollbackPoints = []string{"swap-begun", "renamed", "epoch-on-record", "after-follow", "after-hold", "after-reach", "before-exchange", "exchanged", "after-exchange"}
	shortPoints    = map[string][]string{"run": {"shadow-made"}, "promote": {"after-hold", "exchanged"}, "rollback": {"before-exchange"}}
)

// marked is what the backfill's plan makes of a tenant.
const marked = "v2-"

// backfilling is a case with a live worker, and a file whose plan makes other rows.
type backfilling struct {
	*world
	live     *worker
	old, new string // pipeline files
}

// newBackfilling runs statements before anything is in the table.
func newBackfilling(t *testing.T, s setup, first ...string) *backfilling {
	t.Helper()
	w := &backfilling{world: newWorld(t, s)}
	for _, sql := range first {
		w.exec(strings.ReplaceAll(sql, "$", w.db))
	}
	w.allow("epoch_begun", "table_replaced")
	w.produce(1500, mix{truncated: 97, tombstones: 61})
	w.live = w.start("")
	w.quiet()
	w.old = w.writeFile()
	w.file = strings.Replace(w.pipelineFile(), "tenant: {type: LowCardinality(String)}", `tenant: {type: LowCardinality(String), expr: '"`+marked+`" + event.tenant'}`, 1)
	w.new = w.writeFile()
	w.file = ""
	return w
}

// backfill runs a command of `waybill backfill`, which is killed at each point on the way, and begun again until it is through.
func (w *backfilling) backfill(file string, points []string, args ...string) {
	w.Helper()
	args = append([]string{"backfill", args[0], file}, args[1:]...)
	if args[1] != "plan" {
		args = append(args, "--lease", longLease)
	}
	for _, point := range points {
		w.startWith("backfill-step/"+point+":1", args...).died("backfill-step/" + point)
		w.produce(40, mix{truncated: 97})
	}
	if slices.Contains(points, "after-tell") {
		return // nothing is left to do
	}
	if p := w.startWith("", args...); p.exit(patience) != 0 {
		w.Fatalf("waybill %s:\n%s", strings.Join(args, " "), p.log)
	}
}

// row is a row of the table; its tenant says which plan has made it.
type row struct {
	epoch, id, n int64
	tenant       string
}

// content is the table's rows by their record, and those records that have several.
func (w *backfilling) content() (rows map[place]row, twice []place) {
	w.Helper()
	rows = map[place]row{}
	for _, f := range w.rowsOf("SELECT _topic, _partition, _offset, _epoch, id, n, tenant FROM " + w.db + ".events") {
		at := placeOf(f[0], "0", f[1], f[2])
		if _, there := rows[at]; there {
			twice = append(twice, at)
		}
		rows[at] = row{integer(f[3]), integer(f[4]), integer(f[5]), f[6]}
	}
	return rows, twice
}

// mixed says which plans may have made rows.
type mixed uint8

const (
	noneOfIt   mixed = iota // the backfill's has made none
	itFirst                 // the backfill's has made those at the beginning of each partition
	inAnyOrder              // there were several swaps
)

// faults compares the table with what was produced: a row for each record that has one, with its values, made by a plan that may have, under an epoch that
// only grows. made is how many the backfill's plan has made.
func (w *backfilling) faults(m mixed) (made int, bad []string) {
	w.Helper()
	fault := func(format string, args ...any) { bad = append(bad, fmt.Sprintf(format, args...)) }
	rows, twice := w.content()
	for _, at := range twice {
		fault("offset %d of partition %d has two rows", at.offset, at.partition)
	}
	w.mu.Lock()
	records := slices.Clone(w.records)
	w.mu.Unlock()
	slices.SortFunc(records, func(a, b record) int { return int(a.offset - b.offset) })
	plain, epochs := map[int32]bool{}, map[int32]int64{}
	for i := range records {
		r := &records[i]
		at := r.place
		got, there := rows[at]
		delete(rows, at)
		if there != (r.fate == asRow) {
			fault("offset %d of partition %d: a row is there: %v", at.offset, at.partition, there)
		}
		if !there {
			continue
		}
		tenant, is := strings.CutPrefix(got.tenant, marked)
		if uint64(got.id) != r.id || uint64(got.n) != r.n || tenant != r.tenant { //nolint:gosec // neither is negative
			fault("offset %d of partition %d: %+v, produced was id %d, n %d, tenant %s", at.offset, at.partition, got, r.id, r.n, r.tenant)
		}
		if is && (m == noneOfIt || m == itFirst && plain[at.partition]) {
			fault("offset %d of partition %d was made by the plan of the backfill", at.offset, at.partition)
		}
		if got.epoch < epochs[at.partition] {
			fault("offset %d of partition %d: epoch %d comes after %d", at.offset, at.partition, got.epoch, epochs[at.partition])
		}
		plain[at.partition], epochs[at.partition] = plain[at.partition] || !is, got.epoch
		if is {
			made++
		}
	}
	for at := range rows {
		fault("offset %d of partition %d has a row, and was not produced", at.offset, at.partition)
	}
	return made, bad
}

// exact fails unless everything is as it must be.
func (w *backfilling) exact(m mixed) (made int) {
	w.Helper()
	made, bad := w.faults(m)
	if len(bad) > 0 {
		w.Fatalf("%d faults:\n  %s", len(bad), strings.Join(bad[:min(len(bad), 20)], "\n  "))
	}
	return made
}

// reading asks the table all the time, until done is called: each answer must be the old rows' or the new ones', with each record once.
func (w *backfilling) reading(before int64) (done func()) {
	ctx, cancel := context.WithCancel(w.Context())
	var wg sync.WaitGroup
	answers, newer := int64(0), int64(0)
	wg.Go(func() {
		for ctx.Err() == nil {
			time.Sleep(20 * time.Millisecond)
			got, err := testenv.Query(w.ch.HTTPAddr(), "SELECT concat(toString(count() - uniqExact(_partition, _offset)), ' ', toString(countIf(startsWith(tenant, '"+marked+"'))), ' ', toString(count())) FROM "+w.db+".events")
			if err != nil {
				continue // the server says so when tables change places under a query
			}
			f := strings.Fields(got)
			answers++
			if made, all := integer(f[1]), integer(f[2]); f[0] != "0" || all < before || made != 0 && made < before {
				w.Errorf("a reader saw %s rows twice, %d of the backfill's and %d in all, where there were %d", f[0], made, all, before)
				return
			} else if made > 0 {
				newer++
			}
		}
	})
	return func() {
		cancel()
		wg.Wait()
		w.observe("answers to a reader", answers)
		w.observe("answers from the backfill's rows", newer)
	}
}

// points are those of a command in this run.
func points(command string, all []string) []string {
	if full {
		return all
	}
	return shortPoints[command]
}

// TestBackfill_KilledAtEachStep makes all rows anew under another plan, while events keep coming, and puts them in place, back, and in place again.
// The command is killed at each step, the worker between them.
func TestBackfill_KilledAtEachStep(t *testing.T) {
	w := newBackfilling(t, setup{})
	before := integer(w.query("SELECT count() FROM " + w.db + ".events"))
	done := w.reading(before)
	w.backfill(w.new, nil, "plan", "--scope", "all")
	w.backfill(w.new, points("run", runPoints), "run")
	w.exact(noneOfIt)
	w.backfill(w.new, points("promote", promotePoints), "promote", "--unverified")
	w.live.kill()
	w.live = w.start("")
	w.produce(200, mix{truncated: 97})
	w.quiet()
	promoted := w.exact(itFirst)
	if promoted < int(before) {
		t.Fatalf("%d rows are the backfill's; there were %d", promoted, before)
	}
	w.observe("rows of the backfill in the live table", int64(promoted))
	done()

	w.backfill(w.old, points("rollback", rollbackPoints), "rollback")
	w.live.kill()
	w.live = w.start("")
	w.produce(200, mix{truncated: 97})
	w.quiet()
	w.exact(noneOfIt)
	w.observe("epochs after the rollback", integer(w.query("SELECT uniqExact(_epoch) FROM "+w.db+".events")))

	w.backfill(w.new, nil, "promote", "--unverified")
	w.produce(200, mix{truncated: 97})
	w.quiet()
	if made := w.exact(inAnyOrder); made < promoted {
		t.Fatalf("%d rows are the backfill's; they were %d", made, promoted)
	}
	w.live.stop()
	if p := w.startWith("", "audit", w.old); p.exit(patience) != 0 {
		t.Errorf("the audit:\n%s", p.log)
	}
}

// What the case compares would show a lost, a doubled and a changed row.
func TestBackfill_OracleSeesIt(t *testing.T) {
	w := newBackfilling(t, setup{})
	w.live.stop()
	w.exact(noneOfIt)
	for name, sql := range map[string]string{
		"doubled": "INSERT INTO %s.events SELECT * FROM %[1]s.events WHERE id = 7 SETTINGS insert_deduplicate = 0",
		"lost":    "DELETE FROM %s.events WHERE id = 8",
		"changed": "ALTER TABLE %s.events UPDATE n = n + 1 WHERE id = 9 SETTINGS mutations_sync = 1",
	} {
		w.exec(fmt.Sprintf("CREATE OR REPLACE TABLE %s.kept ENGINE = MergeTree ORDER BY () AS SELECT * FROM %[1]s.events", w.db))
		w.exec(fmt.Sprintf(sql, w.db))
		if _, bad := w.faults(noneOfIt); len(bad) != 1 {
			t.Errorf("%s: %v", name, bad)
		}
		w.observe(name+" row seen", 1)
		w.exec("TRUNCATE TABLE "+w.db+".events", fmt.Sprintf("INSERT INTO %s.events SELECT * FROM %[1]s.kept SETTINGS insert_deduplicate = 0", w.db))
	}
}

// viewed makes sure that the view holds what its query makes of the table's rows. A block is in the table a moment before it is in what the view fills.
func (w *backfilling) viewed(when string) {
	w.Helper()
	w.eventually(when+": the view holds what the table does", func() bool {
		both := w.rowsOf("SELECT (SELECT arraySort(groupArray(tuple(*))) FROM (SELECT tenant, toString(_epoch), sum(n), uniqExactMerge(ids) FROM " + w.db + ".totals GROUP BY ALL)) AS a," +
			" (SELECT arraySort(groupArray(tuple(*))) FROM (SELECT tenant, toString(_epoch), count(), uniqExact(id) FROM " + w.db + ".events GROUP BY ALL)) AS b, a = b, length(a)")
		return both[0][2] == "1" && both[0][3] != "0"
	})
}

// What a view fills changes places with the table: it holds what its query makes of the rows that are there, after a promotion, a rollback and a promotion again,
// though each command is killed on the way, and the server with it while workers stand still.
func TestBackfill_ViewsAreMadeAnew(t *testing.T) {
	w := newBackfilling(t, setup{ch: testenv.ClickHouse(t)},
		"CREATE TABLE $.totals (tenant LowCardinality(String), _epoch UInt32, n SimpleAggregateFunction(sum, UInt64), ids AggregateFunction(uniqExact, UInt64)) ENGINE = AggregatingMergeTree ORDER BY (tenant, _epoch) SETTINGS non_replicated_deduplication_window = 10000",
		"CREATE MATERIALIZED VIEW $.totaling TO $.totals AS SELECT tenant, _epoch, count() AS n, uniqExactState(id) AS ids FROM $.events GROUP BY tenant, _epoch")
	w.viewed("before")
	w.backfill(w.new, nil, "plan", "--scope", "all", "--views", "rebuild")
	w.backfill(w.new, nil, "run")
	killed := func(file, command string, points []string, args ...string) {
		w.Helper()
		args = append([]string{"backfill", command, file, "--lease", longLease}, args...)
		for _, point := range points {
			w.startWith("backfill-step/"+point+":1", args...).died("backfill-step/" + point)
			if point == "closed" || point == "exchanged" || point == "before-feed" {
				w.ch.Kill()
				w.restart()
				w.observe("server killed at "+point, 1)
			}
			w.produce(40, mix{truncated: 97})
		}
		if p := w.startWith("", args...); p.exit(patience) != 0 {
			w.Fatalf("waybill %s:\n%s", strings.Join(args, " "), p.log)
		}
		w.produce(200, mix{truncated: 97})
		w.quiet()
		w.viewed(command)
	}
	there, back := []string{"closed", "before-feed"}, []string{"exchanged"}
	if full {
		there = []string{"view-table-made", "view-rows-made", "view-filled", "after-keep", "after-rest", "closed", "exchanged", "after-exchange", "before-feed", "opened", "replaced-view-table-named"}
	}
	killed(w.new, "promote", there, "--unverified")
	w.exact(itFirst)
	if full {
		back = append([]string{"view-rows-attached"}, there...)
	}
	killed(w.old, "rollback", back)
	w.exact(noneOfIt)
	killed(w.new, "promote", nil)
	w.exact(inAnyOrder)
	w.observe("rows in what the view fills", integer(w.query("SELECT count() FROM "+w.db+".totals")))
	if p := w.startWith("", "backfill", "cleanup", w.new, "--yes"); p.exit(patience) != 0 {
		t.Fatalf("cleanup:\n%s", p.log)
	}
	if got := w.query("SELECT arrayStringConcat(arraySort(groupArray(name)), ' ') FROM system.tables WHERE database = '" + w.db + "'"); got != "events totaling totals" {
		t.Errorf("tables after the cleanup: %s", got)
	}
	w.viewed("cleaned up")
	w.live.stop()
	if p := w.startWith("", "audit", w.old); p.exit(patience) != 0 {
		t.Errorf("the audit:\n%s", p.log)
	}
}
