package audit

import (
	"context"
	"fmt"
	"maps"

	"github.com/waybill-data/waybill"
)

// A table that a backfill has made holds rows of its own epoch, and rows that the backfill has left as they were: these are on the accounts of the epochs that
// wrote them. Each such account is audited as far as it is about them, and no further: what it says of other offsets was so once.

// askOrigins finds out which epochs the tables' rows are of, and what the account of this one is about.
func (a *auditor) askOrigins(ctx context.Context) (err error) {
	if a.opts.Scope != nil {
		return nil
	}
	// What a repair is at is read before it is known whose rows the offsets are: one of these may still have the row that it had.
	if _, a.mending, err = a.Ledger.Mended(ctx, a.cfg.Name, a.cfg.Epoch, a.report.Topic); err != nil {
		return err
	}
	a.origins, err = a.Ledger.Origins(ctx, a.cfg.Name, a.cfg.Epoch, a.report.Topic)
	return err
}

// askInherited audits the rows of older epochs.
func (a *auditor) askInherited(ctx context.Context) error {
	for i := 1; i < len(a.origins); i++ {
		of := newAuditor(a.Deps, a.cfg.Under(a.origins[i].Epoch), a.opts)
		of.info, of.origins, of.only, of.mending, of.newest = a.info, a.origins[i:i+1], a.origins[i].Rows, a.mending, a.cfg.Epoch
		for _, step := range []func(context.Context) error{of.askTables, of.askLaws, of.askContents, of.askPartitions} {
			if err := step(ctx); err != nil {
				return err
			}
		}
		a.inherit(of)
	}
	return nil
}

// release lets go of offsets that a repair has made rows of the table's own epoch of since it was known whose they are; to be called when the tables have been looked at.
func (a *auditor) release(ctx context.Context, partition int32) error {
	if a.only == nil {
		return nil
	}
	done, underWay, err := a.Ledger.Mended(ctx, a.cfg.Name, a.newest, a.report.Topic)
	if err != nil {
		return err
	}
	taken := a.only[partition].Intersect(done[partition].Union(underWay[partition]))
	if taken.Empty() {
		return nil
	}
	a.only, a.mending = maps.Clone(a.only), maps.Clone(a.mending)
	a.only[partition], a.mending[partition] = a.only[partition].Minus(taken), a.mending[partition].Union(taken)
	return nil
}

// beyond are the offsets of a partition of which the table should have rows of this epoch though its account is not about them: rows of older epochs that were
// repaired, and dead letters that were replayed.
func (a *auditor) beyond(partition int32) waybill.Span {
	if len(a.origins) == 0 {
		return waybill.Span{}
	}
	return a.mine(partition, a.origins[0].Taken[partition]).Bounds()
}

// inherit takes over what was found of an older epoch.
func (a *auditor) inherit(of *auditor) {
	in := Inherited{Epoch: of.report.Epoch}
	for _, p := range of.report.Partitions {
		in.Present += p.Present
		in.Spans += p.Spans
	}
	if in.Spans == 0 {
		return
	}
	a.report.Inherited = append(a.report.Inherited, in)
	about := fmt.Sprintf(" (rows of epoch %d, which a backfill has left as they were)", in.Epoch)
	for _, v := range of.report.Violations {
		v.Inherited = &in.Epoch
		v.Message += about
		a.report.Violations = append(a.report.Violations, v)
	}
	for _, u := range of.report.Unknown {
		u.Message += about
		a.report.Unknown = append(a.report.Unknown, u)
	}
	a.report.Reread += of.report.Reread
	a.report.ByRight = append(a.report.ByRight, of.report.ByRight...)
	if a.contents == nil {
		return
	}
	for i, t := range of.contents.tables { // what is said of whole columns has been said
		a.report.Contents[i].Rows += t.compared
	}
}

// mine are those of some offsets of which the rows are looked at.
func (a *auditor) mine(partition int32, set waybill.OffsetSet) waybill.OffsetSet {
	if a.only == nil {
		return set
	}
	return set.Intersect(a.only[partition])
}

func (a *auditor) isMine(partition int32, offset int64) bool {
	return a.only == nil || a.only[partition].Contains(offset)
}

// concerns: the account of a span says something of rows that are looked at.
func (a *auditor) concerns(partition int32, span waybill.Span) bool {
	return a.only == nil || !a.only[partition].Within(span).Empty()
}

// wholly: all rows of a span are looked at.
func (a *auditor) wholly(partition int32, span waybill.Span) bool {
	return a.only == nil || a.only[partition].Within(span).Len() == span.Len()
}

// ours are those of the offsets with a row that are looked at. Others should not have one: a backfill has made them anew.
func (a *auditor) ours(tp waybill.TopicPartition, t *table, found waybill.OffsetSet) waybill.OffsetSet {
	mine := a.mine(tp.Partition, found)
	if extra := found.Minus(mine).Minus(a.mending[tp.Partition]); !extra.Empty() {
		a.broken("L3", KindUnexpected, tp, t.name, extra, "have a row of an epoch that no longer accounts for them: a backfill has made them anew")
	}
	return mine
}
