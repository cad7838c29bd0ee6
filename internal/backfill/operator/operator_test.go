package operator_test

import (
	"context"
	"testing"

	"github.com/waybill-data/waybill/internal/backfill"
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
