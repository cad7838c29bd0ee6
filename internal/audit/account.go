package audit

import (
	"context"
	"errors"
	"fmt"

	"github.com/waybill-data/waybill"
	"github.com/waybill-data/waybill/internal/ledger"
)

// holdings are what the tables hold of one partition, and what the ledger says of it.
type holdings struct {
	Partition
	tp      waybill.TopicPartition
	tables  []waybill.OffsetSet // offsets with a row, by table
	all     waybill.OffsetSet   // in any of them
	several waybill.OffsetSet   // in more than one
	dead    waybill.OffsetSet   // dead letters
	byRight waybill.OffsetSet   // dead letters that may have a row, as they were replayed
	gone    waybill.OffsetSet   // that should have a row, and have none
	rows    []ledger.Account
	ahead   map[int64]*again             // what has been read of coming rows of the ledger, by their first offset
	unread  map[string]waybill.OffsetSet // spans whose counts agree and whose records cannot be read again, by the reason
}

func (h *holdings) add(present waybill.OffsetSet) {
	h.several = h.several.Union(h.all.Intersect(present))
	h.all = h.all.Union(present)
	h.tables = append(h.tables, present)
}

func (h *holdings) count(r *ledger.Account) {
	h.Spans++
	h.Read += r.Read
	h.Written += r.Written
	h.Filtered += r.Filtered
	h.DeadLettered += r.DeadLettered
	h.Tombstones += r.Tombstones
	h.Lost += r.Lost
}

// account compares one row of the ledger with what the tables hold of its span.
func (a *auditor) account(ctx context.Context, h *holdings, r *ledger.Account) error {
	present, dead := h.all.Within(r.Span).Minus(h.byRight), h.dead.Within(r.Span)
	// Dead letters that have expired by dead_letters.ttl are gone by right.
	expired := a.cfg.DeadLetters.TTL > 0 && dead.Len() < r.DeadLettered
	switch full := r.Written+r.DeadLettered == r.Span.Len(); {
	case full && !a.opts.Reread && !expired: // every offset is a row or a dead letter, so it is plain which should be which
		a.rows(h, a.mine(h.tp.Partition, waybill.OffsetsIn(r.Span)).Minus(dead), present, r)
	case !a.opts.Reread && a.wholly(h.tp.Partition, r.Span) && present.Len() == r.Written && (expired || dead.Len() == r.DeadLettered) && present.Intersect(dead).Empty():
	default:
		if err := a.lookUp(ctx, h, r, present, dead); err != nil {
			return err
		}
	}
	if n := dead.Len(); expired {
		a.unknown("L3", "audit spans that are younger than that", "%d of %d dead letters of %s %s are not there, which may be right: dead_letters.ttl is %s", r.DeadLettered-n, r.DeadLettered, h.tp, r.Span, a.cfg.DeadLetters.TTL)
	} else if n < r.DeadLettered {
		a.report.Violations = append(a.report.Violations, Violation{Law: "L3", Kind: KindDeadMissing, Topic: h.tp.Topic, Partition: h.tp.Partition, Count: r.DeadLettered - n,
			Offsets: rangesOf(waybill.OffsetsIn(r.Span).Minus(present).Minus(dead)),
			Message: fmt.Sprintf("the ledger says that %d records of %s %s are dead letters, and %d are there", r.DeadLettered, h.tp, r.Span, n)})
	}
	a.shares(h, r)
	return nil
}

// rows compares the rows that there should be with those that there are.
func (a *auditor) rows(h *holdings, want, have waybill.OffsetSet, r *ledger.Account) {
	if missing := want.Minus(have); !missing.Empty() {
		a.missing(h, missing, missing.Len(), true, r)
	}
	if extra := have.Minus(want); !extra.Empty() {
		a.broken("L3", KindUnexpected, h.tp, "", extra, "have a row, and are dead letters or no rows by their plan")
	}
}

// missing notes rows that are not there. Where a table may forget rows by right, that is no violation, and no proof either. Those whose
// offsets are known are explained later.
func (a *auditor) missing(h *holdings, set waybill.OffsetSet, count int64, exact bool, r *ledger.Account) {
	if exact {
		h.gone = h.gone.Union(set)
		return
	}
	for i := range a.tables {
		if why := a.tables[i].may(); why != "" && (len(a.tables) == 1 || r.Routed[a.tables[i].name] > 0) {
			a.unknown("L3", "audit spans that are younger than that", "%d rows of %s %s are not in table %s, which may be right: %s", count, h.tp, r.Span, a.tables[i].name, why)
			return
		}
	}
	a.report.Violations = append(a.report.Violations, Violation{Law: "L3", Kind: KindMissing, Topic: h.tp.Topic, Partition: h.tp.Partition, Count: count, Offsets: rangesOf(set),
		Message: fmt.Sprintf("%d rows of %s %s, which the ledger says were written, are not in the table; which ones cannot be told any more: they are among those offsets of the span that have neither a row nor a dead letter", count, h.tp, r.Span)})
}

// inScope are the offsets of a span that the account is about.
func (a *auditor) inScope(partition int32, span waybill.Span) waybill.OffsetSet {
	if a.opts.Scope != nil {
		return a.opts.Scope[partition].Within(span)
	}
	if len(a.origins) > 0 {
		if of, some := a.origins[0].Account[partition]; some {
			return of.Within(span)
		}
	}
	return waybill.OffsetsIn(span)
}

// lookUp finds out from the records which offsets of a span should have rows: it has offsets that are neither, and the counts do not agree.
func (a *auditor) lookUp(ctx context.Context, h *holdings, r *ledger.Account, present, dead waybill.OffsetSet) error {
	neither := a.mine(h.tp.Partition, a.inScope(h.tp.Partition, r.Span)).Minus(present).Minus(dead)
	lack := r.Written - present.Len()
	whole := a.wholly(h.tp.Partition, r.Span)
	if !a.opts.Reread && whole && lack == neither.Len() && present.Intersect(dead).Empty() {
		a.missing(h, neither, lack, true, r)
		return nil
	}
	made, err := a.made(ctx, h, r)
	if err != nil && a.contents != nil {
		a.contents.skip(present.Minus(made), "were not compared: "+err.Error())
	}
	switch {
	case err != nil && !waybill.ClassOf(err).Heals() && !errors.Is(err, errUntold) || ctx.Err() != nil:
		return errors.Join(err, ctx.Err())
	case err == nil:
		a.rows(h, made.Minus(dead), present, r)
	case !whole:
		if !neither.Empty() {
			a.unknown("L3", "", "%s %s: offsets %s, which a backfill has left as they were, have neither a row nor a dead letter, and whether they should cannot be told: %v", h.tp, r.Span, shortly(neither), err)
		}
	case lack > 0:
		a.missing(h, neither, lack, false, r)
	case lack < 0:
		a.report.Violations = append(a.report.Violations, Violation{Law: "L3", Kind: KindUnexpected, Topic: h.tp.Topic, Partition: h.tp.Partition, Count: -lack, Offsets: rangesOf(present),
			Message: fmt.Sprintf("the table has %d rows of %s %s, %d more than the ledger says were written; which ones cannot be told: %v", present.Len(), h.tp, r.Span, -lack, err)})
	case a.opts.Reread:
		if h.unread == nil {
			h.unread = map[string]waybill.OffsetSet{}
		}
		h.unread[err.Error()] = h.unread[err.Error()].Union(waybill.OffsetsIn(r.Span))
	default:
		a.unknown("L3", "", "%s %s: rows and dead letters are as many as they should be, and whether they are the right ones cannot be told: %v", h.tp, r.Span, err)
	}
	return nil
}

// shares is law L2 by table.
func (a *auditor) shares(h *holdings, r *ledger.Account) {
	if len(a.tables) == 1 || a.only != nil {
		return
	}
	for i := range a.tables {
		t := &a.tables[i]
		have, want := h.tables[i].Within(r.Span).Minus(h.byRight), r.Routed[t.name]
		if have.Len() > want {
			a.report.Violations = append(a.report.Violations, Violation{Law: "L2", Kind: KindElsewhere, Topic: h.tp.Topic, Partition: h.tp.Partition, Table: t.name, Count: have.Len() - want,
				Offsets: rangesOf(have), Message: fmt.Sprintf("table %s has %d rows of %s %s, and the ledger says %d", t.name, have.Len(), h.tp, r.Span, want)})
		}
	}
}
