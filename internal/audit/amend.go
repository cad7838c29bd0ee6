package audit

import (
	"context"

	"github.com/waybill-data/waybill"
	"github.com/waybill-data/waybill/internal/ledger"
)

// amendments looks whether offsets that were repaired or erased are what they are said to be since, and then takes them for what the ledger
// counts them as. before is what was on record before the tables were looked at; only what is the same after is sure.
func (a *auditor) amendments(ctx context.Context, h *holdings, whole waybill.Span, before *ledger.Amended) error {
	after, err := a.Ledger.Amended(ctx, a.cfg.Name, a.cfg.Epoch, a.report.Topic)
	if err != nil {
		return err
	}
	a.amended = after
	p := h.tp.Partition
	if after.Offsets(p).Empty() {
		return nil
	}
	sure := a.mine(p, before.Same(p, after).Within(whole))
	is := func(fates ...ledger.Fate) (set waybill.OffsetSet) {
		for _, fate := range fates {
			set = set.Union(after.Is(p, fate).Intersect(sure))
		}
		return set
	}
	erased := is(ledger.FateErased)
	h.Erased, h.Repaired = erased.Len(), a.mine(p, after.Offsets(p).Within(whole)).Minus(erased).Len()
	// Those that were written and are again are looked at with all others.
	a.lack(h, is(ledger.FateWritten).Minus(after.Was(p, ledger.FateWritten)).Minus(h.all), "were made rows by a repair, on record, and have none")
	a.lack(h, is(ledger.FateNone).Intersect(after.Was(p, ledger.FateWritten)).Minus(h.all), "had rows that a repair has deleted, and their records were gone before they could be made again")
	a.surplus(h, is(ledger.FateFiltered, ledger.FateDead, ledger.FateTombstone).Intersect(h.all).Minus(h.byRight), "have a row, and are no rows since a repair, on record")
	a.surplus(h, erased.Intersect(h.all), "were erased, on record, and have a row")
	a.surplus(h, erased.Intersect(h.dead), "were erased, on record, and are among the dead letters")
	if dead := is(ledger.FateDead).Minus(h.dead); !dead.Empty() && a.cfg.DeadLetters.TTL == 0 {
		a.broken("L3", KindDeadMissing, h.tp, "", dead, "are dead letters since a repair, on record, and are not there")
	}
	h.frame(before, after)
	h.all = a.mine(p, h.all)
	for i := range h.tables {
		h.tables[i] = a.mine(p, h.tables[i])
	}
	return nil
}

func (a *auditor) surplus(h *holdings, set waybill.OffsetSet, what string) {
	if !set.Empty() {
		a.broken("L3", KindUnexpected, h.tp, "", set, what)
	}
}

// frame takes offsets for what the ledger counts them as.
func (h *holdings) frame(before, after *ledger.Amended) {
	p := h.tp.Partition
	h.byRight = h.byRight.Minus(after.Offsets(p))
	h.all, h.dead = after.Frame(p, before, h.all, h.dead)
	for i := range h.tables {
		h.tables[i] = h.tables[i].Minus(after.Moved(p, before))
	}
}
