package engine_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/waybill-data/waybill/internal/clickhouse"
	"github.com/waybill-data/waybill/internal/config"
	"github.com/waybill-data/waybill/internal/engine"
	"github.com/waybill-data/waybill/internal/ledger"
	"github.com/waybill-data/waybill/internal/promote"
)

// A rescued field gets its column while workers write: rows are filled under their hands, they take the column up and fill it themselves, and
// one more run covers what they wrote in between. No value is lost, none is doubled, none is another's.
func TestPromote_BesideWorkers(t *testing.T) {
	w := newWorld(t, 2)
	file := filepath.Join(t.TempDir(), "p.yaml")
	if err := os.WriteFile(file, []byte(w.text(spec{modes: "new_fields: rescue\n  type_conflicts: rescue", rows: 200})), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg, err := config.Load(file)
	if err != nil {
		t.Fatal(err)
	}
	client, err := clickhouse.Open(t.Context(), engine.Server(cfg.Sink.ClickHouse), clickhouse.Deps{})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	deps := promote.Deps{Client: client, Ledger: ledger.New(client, ""), Getenv: os.LookupEnv, Worker: "test", Page: 300}
	run := func(progress func(promote.Progress)) promote.Result {
		t.Helper()
		now, err := config.Load(file)
		if err != nil {
			t.Fatal(err)
		}
		j, err := promote.Prepare(t.Context(), deps, now.Tables()[0], "usage.cost", promote.Options{})
		if err != nil {
			t.Fatal(err)
		}
		r, err := j.Apply(t.Context(), progress)
		if err != nil || r.Wrong != 0 || r.Kept != 0 {
			t.Fatalf("%+v, %v", r, err)
		}
		return r
	}
	cost := func(i int) string {
		if i%4 == 0 {
			return fmt.Sprintf(`{"id":%d,"model":"m","usage":{"tokens":1}}`, i)
		}
		return fmt.Sprintf(`{"id":%d,"model":"m","usage":{"tokens":1,"cost":%d.25}}`, i, i)
	}
	w.produceAs(2000, cost)
	a, b := w.start(cfg), w.start(cfg)
	w.quiet(2000)
	before := a.plan()
	first := run(func(promote.Progress) { w.produceAs(300, cost) }) // they write while each page is filled
	a.awaitOtherPlan(before)
	b.awaitOtherPlan(before)
	w.produceAs(1000, cost)
	w.quiet(w.produced.Load())
	last := run(nil)
	if first.Filled == 0 || last.Rows < first.Rows || last.Already < first.Filled {
		t.Errorf("the first run: %+v, the last: %+v", first, last)
	}
	a.stop()
	b.stop()
	w.verify()
	for what, wrong := range map[string]string{
		"lost or another's": "countIf(id % 4 != 0 AND ifNull(usage_cost, 0) != id + 0.25)",
		"out of nothing":    "countIf(id % 4 = 0 AND usage_cost IS NOT NULL)",
		"rescued and lost":  "countIf(position(_rescued, 'usage.cost') > 0 AND usage_cost IS NULL)",
	} {
		if got := w.query("SELECT " + wrong + " FROM " + w.db + ".calls"); got != "0" {
			t.Errorf("%s: %s rows", what, got)
		}
	}
	// Rows that a worker filled by itself have nothing in the rescue column; there are such, and others.
	if got := w.query("SELECT toString((countIf(id % 4 != 0 AND _rescued = '') >= 700, countIf(_rescued != '') >= 1500)) FROM " + w.db + ".calls"); got != "(1,1)" {
		t.Errorf("filled by workers, by the command: %s", got)
	}
	if got := w.query("SELECT sum(usage_cost) = sumIf(id + 0.25, id % 4 != 0) FROM " + w.db + ".calls"); got != "1" {
		t.Error("the sum is not that of the events")
	}
}

// A column of integers sees fractions: they are rescued, and the finding says so. Whoever decides that it may be a Float64 alters it by hand, and
// the command fills what was rescued meanwhile.
func TestPromote_FractionsOfAnIntegerColumn(t *testing.T) {
	w := newWorld(t, 1)
	file := filepath.Join(t.TempDir(), "p.yaml")
	if err := os.WriteFile(file, []byte(w.text(spec{modes: evolving})), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg, err := config.Load(file)
	if err != nil {
		t.Fatal(err)
	}
	w.produceAs(100, func(i int) string { return fmt.Sprintf(`{"id":%d,"model":"m","usage":{"tokens":1,"cost":%d}}`, i, i) })
	a := w.start(cfg)
	w.quiet(100)
	fraction := func(i int) string {
		return fmt.Sprintf(`{"id":%d,"model":"m","usage":{"tokens":1,"cost":%d.5}}`, i, i)
	}
	w.produceAs(100, fraction)
	w.quiet(200)
	w.wantFinding("evolve_held", 1)
	before := a.plan()
	w.alter("MODIFY COLUMN usage_cost Nullable(Float64)")
	a.awaitOtherPlan(before)
	w.produceAs(100, fraction)
	w.quiet(300)
	client, err := clickhouse.Open(t.Context(), engine.Server(cfg.Sink.ClickHouse), clickhouse.Deps{})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	deps := promote.Deps{Client: client, Ledger: ledger.New(client, ""), Getenv: os.LookupEnv, Worker: "test"}
	j, err := promote.Prepare(t.Context(), deps, cfg.Tables()[0], "usage.cost", promote.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if r, err := j.Apply(t.Context(), nil); err != nil || r.Rows != 100 || r.Filled != 100 || r.Wrong != 0 {
		t.Fatalf("%+v, %v", r, err)
	}
	a.stop()
	w.verify()
	if got := w.query("SELECT countIf(ifNull(usage_cost, -1) != if(id < 100, id, id + 0.5)) FROM " + w.db + ".calls"); got != "0" {
		t.Errorf("%s rows are wrong", got)
	}
}
