package operator_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/waybill-data/waybill/internal/backfill"
	"github.com/waybill-data/waybill/internal/backfill/operator"
	"github.com/waybill-data/waybill/internal/testenv"
)

// survey is a plan, as it would be.
func (w *world) survey(b *operator.Bench, scope string, with func(*operator.Planner)) (*operator.Report, map[int32]string) {
	w.Helper()
	s, err := backfill.ParseScope(scope)
	if err != nil {
		w.Fatal(err)
	}
	p, err := b.Planner(context.Background())
	if err != nil {
		w.Fatal(err)
	}
	p.Rate = 100
	if with != nil {
		with(p)
	}
	r, offsets, _, err := p.Survey(context.Background(), s)
	if err != nil {
		w.Fatal(err)
	}
	out := map[int32]string{}
	for part, set := range offsets {
		out[part] = set.String()
	}
	return r, out
}

func TestPlan_EachScope(t *testing.T) {
	w := newWorld(t, 1)
	w.produce(300)
	l := w.live(w.file(1))
	w.wantRows(func(int, int64, int64) int { return 1 })
	plans := func() string {
		return w.query("SELECT arrayStringConcat(arraySort(groupUniqArray(lower(leftPad(hex(plan), 16, '0')))), ' ') FROM waybill.ledger WHERE pipeline = '" + w.name + "'")
	}
	testenv.Eventually(t, soon, "the ledger knows the plan", func() bool { return plans() != "" })
	first := plans()
	l.stop()
	w.produce(200)
	l.start(w.file(2))
	w.wantRows(func(i int, _, _ int64) int {
		if i < 300 {
			return 1
		}
		return 2
	})
	testenv.Eventually(t, soon, "the ledger accounts for all", func() bool {
		return w.query("SELECT sum(next - first) FROM waybill.ledger WHERE pipeline = '"+w.name+"'") == "500"
	})
	w.exec("ALTER TABLE " + w.db + ".calls UPDATE _rescued = '{}' WHERE id IN (7, 8, 400) SETTINGS mutations_sync = 2")
	b := w.bench(w.file(2), nil)
	for scope, want := range map[string]string{
		"all":                               "[0,9223372036854775807)",
		"offsets:0:5-9,0:20":                "[5,10) [20,21)",
		"offsets:0:490-99999":               "[490,500)",
		"plan:" + first:                     "[0,300)",
		"dead-letters":                      "[99,100) [199,200) [299,300) [399,400) [499,500)",
		"rescued":                           "[7,9) [400,401)",
		"time:2026-11-01..2026-11-02":       "[0,500)",
		"kafka-time:2026-01-01..2100-01-01": "[0,500)",
	} {
		r, got := w.survey(b, scope, nil)
		if len(r.Refusals) > 0 || got[0] != want {
			t.Errorf("%s: %s, want %s; refused: %v", scope, got[0], want, r.Refusals)
		}
	}
	r, got := w.survey(b, "time:2026-11-01T01:00..2026-11-01T02:00", nil) // 41.7 to 83.3
	if !strings.Contains(got[0]+" ", "[42,84) ") || r.Rows != 42 {
		t.Errorf("an hour: %s, %d rows", got[0], r.Rows)
	}
	for scope, want := range map[string]string{
		"plan:ffffffffffffffff":       "0 plans whose ids begin",
		"finding:nosuch":              "0 findings",
		"offsets:7:1-2":               "no partition 7",
		"time:1999-01-01..1999-01-02": "holds no record",
	} {
		if r, _ := w.survey(b, scope, nil); len(r.Refusals) != 1 || !strings.Contains(r.Refusals[0].Message, want) {
			t.Errorf("%s: %v, want %q", scope, r.Refusals, want)
		}
	}
	r, _ = w.survey(b, "offsets:0:0-99", nil)
	if r.Records != 100 || r.Rows != 99 || r.AllRows != 495 || r.Seconds != 1 || r.Bytes < 5000 || strings.Join(r.Touched, " ") != "20261101" {
		t.Errorf("%+v", r)
	}
}

func TestPlan_RefusesWhatCannotBe(t *testing.T) {
	w := newWorld(t, 1)
	w.produce(100)
	w.live(w.file(1))
	w.wantRows(func(int, int64, int64) int { return 1 })
	says := func(scope, want string, with func(*operator.Planner)) {
		t.Helper()
		r, _ := w.survey(w.bench(w.file(1), nil), scope, with)
		if len(r.Refusals) == 0 || !strings.Contains(fmt.Sprint(r.Refusals), want) {
			t.Errorf("%s: %+v, want %q", scope, r.Refusals, want)
		}
	}
	w.exec("CREATE MATERIALIZED VIEW "+w.db+".counts ENGINE = SummingMergeTree ORDER BY version SETTINGS non_replicated_deduplication_window = 10000 AS SELECT version, count() AS n FROM "+w.db+".calls GROUP BY version",
		"CREATE VIEW "+w.db+".plain AS SELECT * FROM "+w.db+".calls")
	says("all", w.db+".counts holds what it has made", nil)
	r, _ := w.survey(w.bench(w.file(1), nil), "all", func(p *operator.Planner) { p.Views = backfill.ViewsLeave })
	if len(r.Refusals) > 0 || len(r.Dependents) != 2 || r.Dependents[0].Fate != operator.FateLeft || r.Dependents[1].Fate != operator.FateFollows {
		t.Errorf("%+v", r)
	}
	w.exec("INSERT INTO " + w.db + ".calls (id, _topic) VALUES (1, 'another')")
	says("all", "are not of topic", nil)
	w.exec("ALTER TABLE " + w.db + ".calls DELETE WHERE _topic = 'another' SETTINGS mutations_sync = 2")

	// Records that the topic no longer has.
	w.deleteBefore(0, 40)
	says("all", "40 rows of the scope are of records that the topic no longer has", func(p *operator.Planner) { p.Views = backfill.ViewsLeave })
	r, got := w.survey(w.bench(w.file(1), nil), "all", func(p *operator.Planner) { p.Views, p.KeepUnreachable = backfill.ViewsLeave, true })
	if len(r.Refusals) > 0 || got[0] != "[40,9223372036854775807)" || !strings.Contains(strings.Join(r.Notes, " "), "40 rows") {
		t.Errorf("%s: %+v", got[0], r)
	}
}

// A view that is left alone goes on with what live writes, into whichever table.
func TestPromote_ViewsFollowTheName(t *testing.T) {
	w := newWorld(t, 1)
	w.exec("CREATE TABLE "+w.db+".counted (id UInt64) ENGINE = MergeTree ORDER BY id SETTINGS non_replicated_deduplication_window = 10000",
		"CREATE MATERIALIZED VIEW "+w.db+".counting TO "+w.db+".counted AS SELECT id FROM "+w.db+".calls")
	w.produce(200)
	w.live(w.file(1))
	w.wantRows(func(int, int64, int64) int { return 1 })
	b := w.bench(w.file(2), nil)
	s, _ := backfill.ParseScope("all")
	ctx := context.Background()
	p, err := b.Planner(ctx)
	if err != nil {
		t.Fatal(err)
	}
	p.Views = backfill.ViewsLeave
	r, offsets, open, err := p.Survey(ctx, s)
	if err != nil || len(r.Refusals) > 0 {
		t.Fatalf("%v, %+v", err, r)
	}
	id, err := operator.Record(ctx, b.Operator(), b.Ledger, b.Job(p, r, offsets, open), offsets)
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Operator().Run(ctx, id); err != nil {
		t.Fatal(err)
	}
	if err := b.Operator().Promote(ctx, id, true); err != nil {
		t.Fatal(err)
	}
	if got := w.query("SELECT count() FROM " + w.db + ".counted"); got != "198" {
		t.Errorf("the view has %s rows, of 198", got)
	}
	w.produce(100)
	testenv.Eventually(t, soon, "the view goes on", func() bool {
		return w.query("SELECT concat(toString(count()), ' ', toString(uniqExact(id))) FROM "+w.db+".counted") == "297 297"
	})
}
