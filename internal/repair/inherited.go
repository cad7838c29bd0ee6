package repair

import (
	"context"
	"maps"
	"slices"

	"github.com/waybill-data/waybill"
	"github.com/waybill-data/waybill/internal/audit"
	"github.com/waybill-data/waybill/internal/backfill"
	"github.com/waybill-data/waybill/internal/delivery"
	"github.com/waybill-data/waybill/internal/failpoint"
	"github.com/waybill-data/waybill/internal/ledger"
)

// A backfill of a part leaves rows of older epochs in the table, on the accounts of those. The table takes no more of them: that is what keeps a worker out which has
// slept through the promotion. So such a row is made again under the epoch of the table, and the amendment says that the table's account counts it as nothing
// (was: none) and that it is a row. From then on the offset is that epoch's: see backfill.Legs.Origins.
//
// A row of an older epoch that should not be there is only deleted. None can come again, so such a deletion may be as late as it likes.

// accounts are the epochs on whose accounts the table's offsets are, its own first.
func (j *Job) accounts(ctx context.Context) ([]backfill.Origin, error) {
	return j.store.LetterOrigins(ctx, j.cfg.Name, j.cfg.Epoch, j.cfg.Source.Kafka.Topic)
}

// epochs are those that rows of the table may be of, its own first.
func (j *Job) epochs(ctx context.Context) (out []waybill.Epoch, err error) {
	all, err := j.accounts(ctx)
	for i := range all {
		out = append(out, all[i].Epoch)
	}
	return out, err
}

// byAccount parts offsets by the epoch on whose account they are. What is on none is the table's own, and found to be so later.
func byAccount(all []backfill.Origin, rows delivery.RowSet) map[waybill.Epoch]delivery.RowSet {
	out := map[waybill.Epoch]delivery.RowSet{}
	own := rows
	for _, o := range all[1:] {
		if some := ofOrigin(o, rows); !some.Empty() {
			out[o.Epoch] = some
			own = own.Minus(some)
		}
	}
	out[all[0].Epoch] = own
	return out
}

func ofOrigin(o backfill.Origin, rows delivery.RowSet) delivery.RowSet {
	out := delivery.RowSet{}
	for tp, set := range rows {
		if some := set.Intersect(o.Rows[tp.Partition]); !some.Empty() {
			out[tp] = some
		}
	}
	return out
}

// since are the epochs from the table's own to an older one.
func since(all []backfill.Origin, of waybill.Epoch) (out []waybill.Epoch) {
	for i := range all {
		if all[i].Epoch >= of {
			out = append(out, all[i].Epoch)
		}
	}
	return out
}

// strays are rows of an older epoch that should not be there.
func (j *Job) strays(v *audit.Violation) *want {
	w := &want{why: Unexpected, kind: ledger.KindRemove, of: waybill.Epoch(*v.Inherited), offsets: delivery.RowSet{}}
	for _, x := range v.Offsets {
		set := w.offsets[j.in(v.Partition)]
		set.AddSpan(waybill.Span{First: x.First, Next: x.Next})
		w.offsets[j.in(v.Partition)] = set
	}
	return w
}

// chooseStrays is choose for rows that are to be removed. Of an offset whose rows are another epoch's that one is left. A dead letter that was found to be replayed
// meanwhile has its row by right.
func (j *Job) chooseStrays(ctx context.Context, w *want, some delivery.RowSet) (*chunk, error) {
	rows, err := j.store.Origins(ctx, j.cfg.Name, j.cfg.Epoch, j.cfg.Source.Kafka.Topic)
	if err != nil {
		return nil, err
	}
	replayed, _, err := j.store.Replayed(ctx, j.cfg.Name, w.of, j.cfg.Source.Kafka.Topic)
	if err != nil {
		return nil, err
	}
	there, err := j.Engine.PresentUnder(ctx, w.of, some)
	if err != nil {
		return nil, err
	}
	c := &chunk{offsets: there.Minus(delivery.RowSet(replayed)), was: map[int32]ledger.Fates{}}
	for _, o := range rows {
		if o.Epoch != w.of {
			continue
		}
		for tp, set := range c.offsets {
			own := set.Intersect(o.Rows[tp.Partition])
			c.was[tp.Partition] = ledger.Fates{ledger.FateNone: own, ledger.FateWritten: set.Minus(own)}
		}
	}
	return c, nil
}

// remove deletes rows of older epochs, as a batch says: see chooseStrays.
func (j *Job) remove(ctx context.Context, r *ledger.Replay, recovered bool) error {
	rows, err := j.store.Origins(ctx, j.cfg.Name, j.cfg.Epoch, j.cfg.Source.Kafka.Topic)
	if err != nil {
		return err
	}
	mark := r.Batch.String()
	for _, o := range rows[1:] {
		gone := delivery.RowSet{}
		for p, set := range r.Offsets {
			gone[j.in(p)] = r.Was[p][ledger.FateNone].Union(r.Was[p][ledger.FateWritten].Minus(o.Rows[p])).Intersect(set)
		}
		replayed, _, err := j.store.Replayed(ctx, j.cfg.Name, o.Epoch, r.Topic)
		if err != nil {
			return err
		}
		err = j.Engine.Clear(ctx, []waybill.Epoch{o.Epoch}, gone.Minus(delivery.RowSet(replayed)), "'"+mark+"' != ''", mark, func(context.Context) (bool, error) { return false, nil })
		if err != nil {
			return err
		}
	}
	failpoint.Hit(failpoint.RepairDeleted)
	if err := j.journal.Finish(ctx, r); err != nil {
		return err
	}
	failpoint.Hit(failpoint.ReplayFinished)
	if !recovered {
		j.result.Removed += r.Len()
	}
	return nil
}

// stray are offsets of this run that have a row of an older epoch which should be gone.
func (j *Job) stray(ctx context.Context, mended delivery.RowSet) (delivery.RowSet, error) {
	rows, err := j.store.Origins(ctx, j.cfg.Name, j.cfg.Epoch, j.cfg.Source.Kafka.Topic)
	if err != nil {
		return nil, err
	}
	out := delivery.RowSet{}
	for _, o := range rows[1:] {
		there, err := j.Engine.PresentUnder(ctx, o.Epoch, mended.Minus(ofOrigin(o, mended)).Union(j.removed[o.Epoch]))
		if err != nil {
			return nil, err
		}
		out = out.Union(there)
	}
	return out, nil
}

func sortedEpochs(of map[waybill.Epoch]delivery.RowSet) []waybill.Epoch {
	return slices.Sorted(maps.Keys(of))
}
