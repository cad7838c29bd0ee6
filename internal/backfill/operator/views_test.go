package operator_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/waybill-data/waybill/internal/backfill"
	"github.com/waybill-data/waybill/internal/backfill/operator"
	"github.com/waybill-data/waybill/internal/testenv"
)

// rebuilding is a plan with which views are made anew. It is not on record before the function is called.
func (w *world) rebuilding(b *operator.Bench, scope string) (*operator.Report, func() string) {
	w.Helper()
	ctx := context.Background()
	s, err := backfill.ParseScope(scope)
	if err != nil {
		w.Fatal(err)
	}
	p, err := b.Planner(ctx)
	if err != nil {
		w.Fatal(err)
	}
	p.Views, p.Rate = backfill.ViewsRebuild, 1000
	r, offsets, open, err := p.Survey(ctx, s)
	if err != nil {
		w.Fatal(err)
	}
	return r, func() string {
		w.Helper()
		if len(r.Refusals) > 0 {
			w.Fatalf("refused: %+v", r.Refusals)
		}
		id, err := operator.Record(ctx, b.Operator(), b.Ledger, b.Job(p, r, offsets, open), offsets)
		if err != nil {
			w.Fatal(err)
		}
		return id
	}
}

// aggregates makes a view that aggregates, and one that takes over rows.
func (w *world) aggregates() {
	w.exec("CREATE TABLE "+w.db+".daily (day Date, version UInt8, n SimpleAggregateFunction(sum, UInt64), ids AggregateFunction(uniqExact, UInt64)) ENGINE = AggregatingMergeTree PARTITION BY toMonday(day) ORDER BY (day, version) SETTINGS non_replicated_deduplication_window = 10000",
		"CREATE MATERIALIZED VIEW "+w.db+".by_day TO "+w.db+".daily AS SELECT day, version, count() AS n, uniqExactState(calls.id) AS ids FROM "+w.db+".calls GROUP BY day, version",
		"CREATE TABLE "+w.db+".none (id UInt64) ENGINE = MergeTree ORDER BY id SETTINGS non_replicated_deduplication_window = 10000",
		"CREATE MATERIALIZED VIEW "+w.db+".nothing TO "+w.db+".none AS SELECT id FROM "+w.db+".calls WHERE id > 1000000000",
		"CREATE TABLE "+w.db+".odd (id UInt64, version UInt8) ENGINE = MergeTree ORDER BY id SETTINGS non_replicated_deduplication_window = 10000",
		"CREATE MATERIALIZED VIEW "+w.db+".odds TO "+w.db+".odd AS SELECT id, version FROM "+w.db+".calls AS c WHERE c.id % 2 = 1")
}

// wantViews waits until the views hold what their queries make of the table's rows. A block is in the table a moment before it is in them.
func (w *world) wantViews(when string) {
	w.Helper()
	for what, sql := range map[string][2]string{
		"by_day": {"day, version, sum(n), uniqExactMerge(ids) FROM %s.daily GROUP BY day, version", "day, version, count(), uniqExact(id) FROM %s.calls GROUP BY day, version"},
		"odds":   {"id, version, 1, 1 FROM %s.odd", "id, version, 1, 1 FROM %s.calls WHERE id %% 2 = 1"},
	} {
		testenv.Eventually(w, 20*time.Second, when+": "+what+" holds what the table makes", func() bool {
			var got [2]string
			for i := range sql {
				got[i] = w.query("SELECT toString(arraySort(groupArray(tuple(*)))) FROM (SELECT " + fmt.Sprintf(sql[i], w.db) + ")")
			}
			return got[0] == got[1]
		})
	}
}

// What views have made is as if they had seen the rows of the table that is there now, and no others, whoever is killed: after a promotion, a rollback, and a
// promotion again, with events coming all the time.
func TestRebuild_ViewsChangePlacesWithTheTable(t *testing.T) {
	w := newWorld(t, 2)
	w.aggregates()
	w.produce(3 * perDay)
	w.live(w.file(1))
	w.wantRows(func(int, int64, int64) int { return 1 })
	w.wantViews("at first")
	r, record := w.rebuilding(w.bench(w.file(2), nil), inDays)
	if len(r.Dependents) != 3 || slices.ContainsFunc(r.Dependents, func(d operator.Dependent) bool { return d.Fate != operator.FateRebuilt }) {
		t.Fatalf("%+v", r.Dependents)
	}
	id := record()
	ctx := context.Background()
	if err := w.bench(w.file(2), nil).Operator().Run(ctx, id); err != nil {
		t.Fatal(err)
	}
	to := func(state backfill.State, file int, points []string, do func(context.Context, *operator.Operator) error) {
		t.Helper()
		k := killer{killed: map[string]bool{}}
		stop := w.trickle()
		k.through(w, w.file(file), func(ctx context.Context, o *operator.Operator) error {
			if j, err := o.Load(ctx, id); err == nil && j.State == state {
				return nil
			}
			return do(ctx, o)
		})
		stop()
		for _, p := range points {
			if !k.killed[p] {
				t.Errorf("%s: it was not stopped at %q, but at %q", state, p, k.points)
			}
		}
	}
	points := []string{"before keep", "before rest", "before exchange", "before feed", "view table made", "view rows made", "view filled", "closed", "exchanged", "opened", "replaced view table named"}
	if testing.Short() {
		points = nil
	}
	to(backfill.Promoted, 2, points, func(ctx context.Context, o *operator.Operator) error { return o.Promote(ctx, id, true) })
	w.wantRows(func(i int, _, _ int64) int {
		if within(i) {
			return 2
		}
		return 1
	})
	w.wantViews("promoted")
	if got := w.query("SELECT arrayStringConcat(arraySort(groupArray(name)), ' ') FROM system.tables WHERE database = '" + w.db + "'"); got != "by_day calls calls_before_1 daily daily_before_1 none none_before_1 nothing odd odd_before_1 odds" {
		t.Errorf("tables: %s", got)
	}
	to(backfill.RolledBack, 1, append(points, "view rows attached"), func(ctx context.Context, o *operator.Operator) error { return o.Rollback(ctx, id) })
	w.wantRows(func(int, int64, int64) int { return 1 })
	w.wantViews("rolled back")
	to(backfill.Promoted, 2, nil, func(ctx context.Context, o *operator.Operator) error { return o.Promote(ctx, id, false) })
	w.produce(200)
	n := int(w.n.Load())
	w.wantCount(n)
	w.wantViews("promoted again")
	told := strings.ReplaceAll("promotion [DB.daily DB.none DB.odd]; rollback [DB.daily DB.none DB.odd]; promotion [DB.daily DB.none DB.odd]", "DB", w.db)
	if got := w.query("SELECT arrayStringConcat(groupArray(concat(kind, ' [', arrayStringConcat(views, ' '), ']')), '; ') FROM (SELECT * FROM waybill.promotions WHERE pipeline = '" + w.name + "' ORDER BY as_of)"); got != told {
		t.Errorf("on record: %s, want %s", got, told)
	}
	if err := w.bench(w.file(2), nil).Operator().Cleanup(ctx, id); err != nil {
		t.Fatal(err)
	}
	if got := w.query("SELECT arrayStringConcat(arraySort(groupArray(name)), ' ') FROM system.tables WHERE database = '" + w.db + "'"); got != "by_day calls daily none nothing odd odds" {
		t.Errorf("tables: %s", got)
	}
	w.produce(100)
	w.wantCount(n + 100)
	w.wantViews("cleaned up")
}

// A view that was altered, made or dropped since the plan is another question than the one that was answered.
func TestRebuild_RefusedIfViewsAreOthers(t *testing.T) {
	w := newWorld(t, 1)
	w.aggregates()
	w.produce(200)
	w.live(w.file(1))
	w.wantRows(func(int, int64, int64) int { return 1 })
	b := w.bench(w.file(2), nil)
	_, record := w.rebuilding(b, "all")
	id := record()
	ctx := context.Background()
	if err := b.Operator().Run(ctx, id); err != nil {
		t.Fatal(err)
	}
	refused := func(do func() error, want, hint string) {
		t.Helper()
		if err := do(); err == nil || !strings.Contains(err.Error(), "were made, dropped or altered since backfill 1 was planned: "+want) || !strings.Contains(err.Error(), hint) {
			t.Fatalf("done: %v", err)
		}
	}
	promote := func() error { return b.Operator().Promote(ctx, id, true) }
	rollback := func() error { return w.bench(w.file(1), nil).Operator().Rollback(ctx, id) }
	alter := func(by int) {
		w.exec(fmt.Sprintf("ALTER TABLE %s.odds MODIFY QUERY SELECT id, version FROM %[1]s.calls AS c WHERE (c.id %% %d) = 1", w.db, by))
	}
	alter(4)
	w.exec("CREATE MATERIALIZED VIEW " + w.db + ".more TO " + w.db + ".odd AS SELECT id, version FROM " + w.db + ".calls WHERE id = 0")
	refused(promote, w.db+".more, "+w.db+".odds", "plan it anew")
	alter(2)
	refused(promote, w.db+".more", "plan it anew")
	w.exec("DROP VIEW " + w.db + ".more SYNC")
	if err := promote(); err != nil {
		t.Fatal(err)
	}
	// The way back is not barred by a view that was made since, but by one that is another.
	w.exec("CREATE MATERIALIZED VIEW " + w.db + ".more TO " + w.db + ".odd AS SELECT id, version FROM " + w.db + ".calls WHERE id = 0")
	alter(4)
	refused(rollback, w.db+".more, "+w.db+".odds", "put those back")
	alter(2)
	if err := rollback(); err != nil {
		t.Fatal(err)
	}
	w.wantViews("rolled back")
}

func TestPlan_ViewsThatCannotBeMadeAnew(t *testing.T) {
	w := newWorld(t, 1)
	w.produce(100)
	l := w.live(w.file(1))
	w.wantRows(func(int, int64, int64) int { return 1 })
	l.stop() // it would refuse some of these views
	w.exec("CREATE DATABASE "+w.db+"_other", "CREATE TABLE "+w.db+"_other.t (id UInt64) ENGINE = MergeTree ORDER BY id", "CREATE TABLE "+w.db+".t (id UInt64) ENGINE = MergeTree ORDER BY id", "CREATE TABLE "+w.db+".t2 (id UInt64) ENGINE = MergeTree ORDER BY id",
		"CREATE TABLE "+w.db+".dim (id UInt64, name String) ENGINE = MergeTree ORDER BY id", "CREATE TABLE "+w.db+".void (id UInt64) ENGINE = Null")
	t.Cleanup(func() { w.exec("DROP DATABASE " + w.db + "_other SYNC") })
	for name, c := range map[string]struct {
		views []string
		want  string
	}{
		"join":      {[]string{"TO $.t AS SELECT c.id AS id FROM $.calls AS c INNER JOIN $.dim AS d ON c.id = d.id"}, "reads other tables as well"},
		"in":        {[]string{"TO $.t AS SELECT id FROM $.calls WHERE id IN (SELECT id FROM $.dim)"}, "reads other tables as well"},
		"union":     {[]string{"TO $.t AS SELECT id FROM $.calls UNION ALL SELECT id + 1 AS id FROM $.calls"}, "does not read the table once"},
		"limit":     {[]string{"TO $.t AS SELECT id FROM $.calls LIMIT 5"}, "a LIMIT"},
		"limit by":  {[]string{"TO $.t AS SELECT id FROM $.calls LIMIT 5 BY version"}, "a LIMIT"},
		"distinct":  {[]string{"TO $.t AS SELECT DISTINCT id FROM $.calls"}, "a DISTINCT"},
		"window":    {[]string{"TO $.t AS SELECT toUInt64(row_number() OVER (ORDER BY id)) AS id FROM $.calls"}, "a window function"},
		"qualified": {[]string{"TO $.t AS SELECT $.calls.id AS id FROM $.calls"}, "calls.id"},
		"inner":     {[]string{"(id UInt64) ENGINE = MergeTree ORDER BY id AS SELECT id FROM $.calls"}, "make it with TO"},
		"elsewhere": {[]string{"TO $_other.t AS SELECT id FROM $.calls"}, "a table of another database"},
		"null":      {[]string{"TO $.void AS SELECT id FROM $.calls"}, "engine Null"},
		"shared":    {[]string{"TO $.t AS SELECT id FROM $.calls", "TO $.t AS SELECT id + 1 AS id FROM $.calls"}, "as well"},
		"foreign":   {[]string{"TO $.t AS SELECT id FROM $.calls", "TO $.t AS SELECT id FROM $.dim"}, "v1 fills its table t as well"},
		"refreshed": {[]string{"TO $.t AS SELECT id FROM $.calls", "REFRESH EVERY 1 DAY APPEND TO $.t AS SELECT id FROM $.dim"}, "fills its table t as well"},
		"chain":     {[]string{"TO $.t AS SELECT id FROM $.calls", "TO $.t2 AS SELECT id FROM $.t"}, "feeds another view"},
	} {
		for i, sql := range c.views {
			w.exec(fmt.Sprintf("CREATE MATERIALIZED VIEW %s.v%d %s", w.db, i, strings.ReplaceAll(sql, "$", w.db)))
		}
		r, _ := w.rebuilding(w.bench(w.file(2), nil), "all")
		if len(r.Refusals) == 0 || !strings.Contains(r.Refusals[0].Message, c.want) || !strings.Contains(r.Refusals[0].Message, w.db+".v0 can't be made anew") {
			t.Errorf("%s: refused: %+v, want %q", name, r.Refusals, c.want)
		}
		for i := range c.views {
			w.exec(fmt.Sprintf("DROP VIEW %s.v%d SYNC", w.db, i))
		}
	}
	w.exec("CREATE MATERIALIZED VIEW "+w.db+".v0 TO "+w.db+".t AS SELECT id FROM "+w.db+".calls", "ALTER TABLE "+w.db+".calls MODIFY TTL toDateTime(ts) + INTERVAL 30 YEAR")
	r, _ := w.rebuilding(w.bench(w.file(2), nil), "all")
	if len(r.Refusals) != 1 || !strings.Contains(r.Refusals[0].Message, "the table has a TTL") {
		t.Errorf("TTL: refused: %+v", r.Refusals)
	}
	w.exec("ALTER TABLE " + w.db + ".calls REMOVE TTL")
	if r, _ := w.rebuilding(w.bench(w.file(2), nil), "all"); len(r.Refusals) > 0 {
		t.Errorf("refused: %+v", r.Refusals)
	}
}
