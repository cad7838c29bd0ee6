package audit

import (
	"context"
	"errors"
	"fmt"

	"github.com/waybill-data/waybill"
	"github.com/waybill-data/waybill/internal/contract"
	"github.com/waybill-data/waybill/internal/engine"
	"github.com/waybill-data/waybill/internal/kafka"
	"github.com/waybill-data/waybill/internal/ledger"
)

// errUntold: the records that would tell are gone, or there is no way to them.
var errUntold = errors.New("the records are no longer in the topic, or the brokers were not asked")

// maker makes rows under a plan.
type maker struct {
	proc   *engine.Processor
	blocks engine.Blocks
	aside  engine.Blocks // rows that are not looked at
}

// again is what came of the records of a ledger's row when they were read again.
type again struct {
	made    waybill.OffsetSet // offsets that become rows, of the records that are left
	records int64
	sum     uint64
	left    uint64 // likewise, of what redaction leaves of them: a backfill that may read an archive goes by that
	err     error  // not all of them could be read
}

// Rows of the ledger that follow one another are read at once, within bounds: a broker is asked three things before the first record comes.
const (
	rowsAtOnce    = 1000
	offsetsAtOnce = 1 << 20
)

// made is which offsets of a span become rows, by the records and the plans that they were read under. If only some of the records are left, it is
// which of those do, with an error.
func (a *auditor) made(ctx context.Context, h *holdings, r *ledger.Account) (waybill.OffsetSet, error) {
	if a.Source == nil || a.info == nil {
		return waybill.OffsetSet{}, errUntold
	}
	got := h.ahead[r.First]
	if got == nil {
		a.readAgain(ctx, h, a.run(h, r))
		got = h.ahead[r.First]
	}
	delete(h.ahead, r.First)
	switch {
	case got.err != nil:
		return got.made, got.err
	case got.records < r.Read-r.Lost:
		return got.made, fmt.Errorf("%w (%d of %d are: the topic is compacted, or was)", errUntold, got.records, r.Read-r.Lost)
	case got.sum != r.Checksum && got.left != r.Checksum:
		a.broken("L5", KindChanged, h.tp, "", waybill.OffsetsIn(r.Span), "hold other records now than those that were read")
	}
	return got.made, nil
}

// run is r, and if all records are read again the rows of the ledger that follow it without a gap.
func (a *auditor) run(h *holdings, r *ledger.Account) []ledger.Account {
	for i := range h.rows {
		if h.rows[i].First != r.First {
			continue
		}
		n := i + 1
		for a.opts.Reread && n < len(h.rows) && n-i < rowsAtOnce && h.rows[n].First == h.rows[n-1].Next && h.rows[n].Next-r.First <= offsetsAtOnce {
			n++
		}
		return h.rows[i:n]
	}
	return []ledger.Account{*r}
}

// readAgain reads the records of rows of the ledger that follow one another.
func (a *auditor) readAgain(ctx context.Context, h *holdings, rows []ledger.Account) {
	h.ahead = map[int64]*again{}
	for i := range rows {
		h.ahead[rows[i].First] = &again{}
	}
	at := 0
	scope := a.inScope(h.tp.Partition, waybill.Span{First: rows[0].First, Next: rows[len(rows)-1].Next})
	res, err := a.readScope(ctx, h.tp, scope, func(rec *waybill.Record) error {
		for rec.Offset >= rows[at].Next {
			at++
		}
		if rec.Control || !scope.Contains(rec.Offset) {
			return nil
		}
		a.report.Reread++
		return a.record(ctx, h.ahead[rows[at].First], &rows[at], rec)
	})
	for i := range rows {
		got, of := h.ahead[rows[i].First], scope.Within(rows[i].Span).Bounds()
		switch {
		case got.err != nil || of.Len() == 0:
		case err != nil && of.Next > res.Next:
			got.err = err
		case res.LogStart > of.First || res.Next < of.Next:
			got.err = errUntold
		}
	}
}

// leapOver is over how many offsets that are out of scope reading leaps.
const leapOver = 10_000

// readScope reads the offsets of a set, and those that lie between them where it does not pay to leap.
func (a *auditor) readScope(ctx context.Context, tp waybill.TopicPartition, scope waybill.OffsetSet, fn func(*waybill.Record) error) (all kafka.ReadResult, err error) {
	for _, piece := range scope.Joined(leapOver) {
		var res kafka.ReadResult
		res, err = a.Source.ReadSpan(ctx, tp, piece, fn)
		all.Next, all.LogStart = res.Next, max(all.LogStart, res.LogStart)
		if err != nil || res.Next < piece.Next {
			return all, err
		}
	}
	return all, nil
}

// record takes in one record. An error that is about its plan alone is kept for its row of the ledger.
func (a *auditor) record(ctx context.Context, got *again, r *ledger.Account, rec *waybill.Record) error {
	got.records++
	got.sum += waybill.RecordChecksum(rec)
	if !a.isMine(rec.Partition, rec.Offset) {
		a.leave(ctx, got, r, rec)
		return nil
	}
	was, is, _, amended := a.amended.At(rec.Partition, rec.Offset)
	if amended && was == ledger.FateWritten {
		got.made.Add(rec.Offset) // as the ledger counts it
	}
	if amended && (is != ledger.FateWritten || a.contents == nil) {
		a.leave(ctx, got, r, rec)
		return nil // what its plan would make of it is no longer of interest
	}
	m, err := a.maker(ctx, a.planOf(r, rec.Offset))
	if errors.Is(err, errUntold) {
		got.err = err
		return nil
	}
	if err != nil {
		return err
	}
	row, err := a.process(ctx, m, rec)
	got.left += m.left(rec)
	if row && !amended {
		got.made.Add(rec.Offset)
	}
	return err
}

// leave takes in a record whose row is not looked at.
func (a *auditor) leave(ctx context.Context, got *again, r *ledger.Account, rec *waybill.Record) {
	if m, err := a.maker(ctx, a.planOf(r, rec.Offset)); err == nil {
		m.aside.Reset()
		m.proc.Process(rec, a.cfg.Epoch, m.aside) // what is gathered in blocks is left alone
		got.left += m.left(rec)
	}
}

// planOf is the plan that an offset's row was made under: that of the latest repair, or the one that the ledger names.
func (a *auditor) planOf(r *ledger.Account, offset int64) waybill.PlanID {
	if _, is, plan, ok := a.amended.At(r.Partition, offset); ok && is == ledger.FateWritten && plan != 0 {
		return plan
	}
	return r.PlanAt(offset)
}

// left is the checksum of what redaction leaves of the record that was processed last.
func (m *maker) left(rec *waybill.Record) uint64 {
	if !m.proc.Plan().Redacts() {
		return waybill.RecordChecksum(rec)
	}
	left := m.proc.Left(rec)
	return waybill.RecordChecksum(&left)
}

// process says whether a record becomes a row, and hands it to contents if they are compared.
func (a *auditor) process(ctx context.Context, m *maker, rec *waybill.Record) (row bool, err error) {
	if a.contents == nil {
		m.blocks.Reset()
		return m.proc.Process(rec, a.cfg.Epoch, m.blocks).Fate == engine.FateRow, nil
	}
	if err := a.contents.reach(ctx, rec.Offset); err != nil {
		return false, err
	}
	p := m.proc.Process(rec, a.cfg.Epoch, m.blocks)
	if !isRow(p) {
		return false, nil
	}
	return true, a.contents.add(ctx, m, p, rec.Offset)
}

// maker is that of a plan on record.
func (a *auditor) maker(ctx context.Context, id waybill.PlanID) (*maker, error) {
	if m := a.makers[id]; m != nil {
		return m, nil
	}
	stored, found, err := a.Ledger.Plan(ctx, "", id)
	if err != nil {
		return nil, err
	}
	if !found {
		return nil, fmt.Errorf("%w (plan %s is not on record)", errUntold, id)
	}
	plan, err := contract.ParsePlan([]byte(stored.Text))
	if err != nil {
		return nil, err
	}
	proc, err := engine.NewProcessor(plan, []byte(a.cfg.RedactSecret.Reveal()))
	if err != nil {
		return nil, fmt.Errorf("%w (plan %s: %w)", errUntold, id, err)
	}
	m := &maker{proc, proc.NewBlocks(), proc.NewBlocks()}
	a.makers[id] = m
	return m, nil
}

func isRow(p engine.Processed) bool { return p.Fate == engine.FateRow }
