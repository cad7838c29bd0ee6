package engine_test

import (
	"testing"

	"github.com/waybill-data/waybill/internal/status"
)

func TestPipeline_RecordsLandOnceAndAreAccountedFor(t *testing.T) {
	w := newWorld(t, 4)
	w.produce(10_000)
	p := w.file(spec{})
	a := w.start(p)
	w.quiet(10_000)
	a.stop()
	w.verify()
	w.wantCounts("10000 9900 100 0")
	if got := w.query("SELECT uniqExact(partition, offset) FROM waybill.dead_letters WHERE code = 'truncated' AND pipeline='" + w.name + "'"); got != "100" {
		t.Errorf("dead letters %s", got)
	}
	s := a.p.Status()
	if s.State != status.Stopped || s.Totals.Read != 10_000 || s.Totals.Written != 9_900 || s.Totals.DeadLettered != 100 || s.Totals.DiscardedFields != 9_900 {
		t.Errorf("status %+v", s)
	}
	// A second worker goes on where the first one ended.
	w.produce(1_000)
	b := w.start(p)
	w.quiet(11_000)
	b.stop()
	w.verify()
	w.wantCounts("11000 10890 110 0")
}

func TestBudget_IsBoundedAndComesBack(t *testing.T) {
	w := newWorld(t, 4)
	const batch = 32 << 10
	w.budget = 4 * batch
	w.produce(20_000)
	a := w.start(w.file(spec{rows: 100_000, bytes: batch}))
	w.quiet(20_000)
	a.stop() // checks that nothing is held
	if high := a.highest.Load(); high < batch || high > w.budget+batch {
		t.Errorf("%d bytes held at most; the budget is %d, a batch %d", high, w.budget, batch)
	}
	if n := w.query(w.ofLedger("uniqExact(batch)")); len(n) < 2 {
		t.Errorf("%s batches: the bytes did not close any", n)
	}
}
