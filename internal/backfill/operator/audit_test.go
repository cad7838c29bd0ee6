package operator_test

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/waybill-data/waybill"
	"github.com/waybill-data/waybill/internal/audit"
	"github.com/waybill-data/waybill/internal/config"
	"github.com/waybill-data/waybill/internal/kafka"
)

// audit audits the live table under the epoch that a job has given it.
func (w *world) audit(cfg *config.Pipeline, epoch waybill.Epoch, opts audit.Options) *audit.Report {
	w.Helper()
	b := w.bench(cfg, nil)
	reader, err := kafka.OpenReader(context.Background(), kafka.Config{Brokers: w.kafka.ListenAddrs(), Topic: topic, Isolation: kafka.Isolation(cfg.Source.Kafka.Isolation), ClientID: "test"})
	if err != nil {
		w.Fatal(err)
	}
	defer reader.Close()
	r, err := audit.Run(context.Background(), audit.Deps{Client: b.Client, Ledger: b.Ledger, Source: reader}, cfg.Under(epoch), opts)
	if err != nil {
		w.Fatal(err)
	}
	return r
}

// wantClean audits in each way there is: nothing is wrong, and so many rows of older epochs were looked at.
func (w *world) wantClean(cfg *config.Pipeline, epoch waybill.Epoch, inherited map[uint32]int64) {
	w.Helper()
	for _, opts := range []audit.Options{{}, {Reread: true}, {Content: true}} {
		r := w.audit(cfg, epoch, opts)
		got, compared, rows := map[uint32]int64{}, int64(0), int64(0)
		for _, in := range r.Inherited {
			got[in.Epoch] = in.Present
			rows += in.Present
		}
		for _, p := range r.Partitions {
			rows += p.Present
		}
		for _, c := range r.Contents {
			compared += c.Rows
		}
		if r.Verdict != audit.Clean || !maps.Equal(got, inherited) || opts.Content && compared != rows {
			w.Errorf("epoch %d, %+v: %s, rows of older epochs %v, want %v; values of %d rows compared, of %d: %+v, %+v", epoch, opts, r.Verdict, got, inherited, compared, rows, r.Violations, r.Unknown)
		}
	}
}

// damage is what an audit has found: kind, whether of rows that were left as they were, and the events of the offsets.
func (w *world) damage(r *audit.Report) []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	var out []string
	for i := range r.Violations {
		v := &r.Violations[i]
		of := "new"
		if v.Inherited != nil {
			of = fmt.Sprintf("of epoch %d", *v.Inherited)
		}
		for _, x := range v.Offsets {
			for o := x.First; o < x.Next; o++ {
				out = append(out, fmt.Sprintf("%s %s %d", v.Kind, of, w.produced[[2]int64{int64(v.Partition), o}]))
			}
		}
		if !v.Exact {
			out = append(out, "not exact: "+v.Message)
		}
	}
	slices.Sort(out)
	return out
}

// A table that holds rows of several epochs is audited under the account of each, as far as its rows are the table's: nothing is wrong with it, there and back
// and there; and what is done to rows behind its back is found, whichever epoch they are of.
func TestAudit_OfATableThatABackfillHasMadeInPart(t *testing.T) {
	w := newWorld(t, 2)
	w.produce(4 * perDay)
	w.live(w.file(1))
	w.wantRows(func(int, int64, int64) int { return 1 })
	ctx := context.Background()
	b, old := w.bench(w.file(2), nil), w.bench(w.file(1), nil)
	id := w.plan(b, inDays)
	if err := b.Operator().Run(ctx, id); err != nil {
		t.Fatal(err)
	}
	there := b.Operator()
	if err := there.Promote(ctx, id, true); err != nil {
		t.Fatal(err)
	}
	first := uint32(there.Job().Leg.Epoch)
	w.produce(100) // 99 rows, of the epoch of the backfill
	w.wantCount(4*perDay + 100)
	w.wantClean(w.file(1), there.Job().Leg.Epoch, map[uint32]int64{0: 2970})
	back := old.Operator()
	if err := back.Rollback(ctx, id); err != nil {
		t.Fatal(err)
	}
	w.wantCount(4*perDay + 100)
	w.wantClean(w.file(1), back.Job().Leg.Epoch, map[uint32]int64{0: 3960})
	again := b.Operator()
	if err := again.Promote(ctx, id, false); err != nil {
		t.Fatal(err)
	}
	epoch := again.Job().Leg.Epoch
	w.produce(100)
	w.wantCount(4*perDay + 200)
	w.wantClean(w.file(1), epoch, map[uint32]int64{0: 2970, first: 1089})

	// One row of each kind is deleted, and one is changed; one that was made anew is there again as it was.
	w.exec("ALTER TABLE "+w.db+".calls DELETE WHERE id IN (10, 1600, 4110) SETTINGS mutations_sync = 2",
		"ALTER TABLE "+w.db+".calls UPDATE version = 9 WHERE id IN (20, 1620, 4120) SETTINGS mutations_sync = 2",
		"ALTER TABLE "+w.db+".calls DROP CONSTRAINT waybill_epoch",
		"INSERT INTO "+w.db+".calls SELECT * REPLACE (0 AS _epoch) FROM "+w.db+".calls WHERE id = 1700")
	rows := []string{"rows_missing new 4110", "rows_missing of epoch 0 10", fmt.Sprintf("rows_missing of epoch %d 1600", first), "rows_unexpected of epoch 0 1700"}
	if got := w.damage(w.audit(w.file(1), epoch, audit.Options{})); !slices.Equal(got, rows) {
		t.Errorf("found\n %s, want\n %s", strings.Join(got, "\n "), strings.Join(rows, "\n "))
	}
	values := []string{"content_mismatch new 4120", "content_mismatch of epoch 0 20", fmt.Sprintf("content_mismatch of epoch %d 1620", first)}
	if got := w.damage(w.audit(w.file(1), epoch, audit.Options{Content: true})); !slices.Equal(got, append(values, rows...)) {
		t.Errorf("with content: found\n %s", strings.Join(got, "\n "))
	}
}
