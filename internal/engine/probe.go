package engine

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/waybill-data/waybill"
	"github.com/waybill-data/waybill/internal/clickhouse"
	"github.com/waybill-data/waybill/internal/delivery"
)

// probe finds the rows that the table refuses by halving the block in an empty copy of the table: with its
// constraints, keys, indices and projections, but without its views, rows and deduplication log.
func (l *life) probe(e delivery.Probe) {
	d, alive := l.dataOf(e.Work)
	defer l.doneWith(d, false)
	if !alive {
		return // dropped meanwhile; nobody waits for the answer
	}
	shape := l.p.target.now()
	ev := delivery.Probed{Op: e.Op}
	ev.Refused, ev.Unable, ev.Err = l.p.target.probe(l.ctx, shape, e, d, func(rows delivery.RowSet, err *waybill.Error) { l.refused(e.Work, rows, err) })
	if ev.Unable && !shape.replicated() && l.outdatedSince(shape) { // the copy is of another table than the block is for
		ev.Unable, ev.Err = false, &waybill.Error{Op: "probe", Pipeline: l.p.cfg.Name, Class: waybill.ClassRetryable, Err: errShapeMoves}
	}
	if ev.Err != nil {
		l.batchTrouble(e.Work, ev.Err, e.Attempt)
	}
	l.p.log.Info("looked for refused rows on a copy of the table", "batch", e.Batch.ID.Short(), "rows", e.Rows.Len(), "refused", ev.Refused.Len(), "unable", ev.Unable, "error", ev.Err)
	l.step(ev)
}

// probePrefix begins the names of copies, in Waybill's database.
const probePrefix = "probe_"

// probe answers with the refused rows, at least Limit+1 of them if there are more; unable if the server
// lets us make no copy of a table. tell is told of each refusal.
func (t *target) probe(ctx context.Context, s *shape, e delivery.Probe, d *data, tell func(delivery.RowSet, *waybill.Error)) (refused delivery.RowSet, unable bool, err error) {
	refused = delivery.RowSet{}
	parts := d.pick(e.Rows)
	if parts == nil {
		return nil, false, t.notInBatch(e.Rows)
	}
	if s.replicated() {
		return nil, true, nil
	}
	for _, part := range parts {
		found, unable, err := t.probeTable(ctx, s, part.table, part.rows, e.Limit-refused.Len(), d, tell)
		if unable || err != nil {
			return nil, unable, err
		}
		if refused = refused.Union(found); refused.Len() > e.Limit {
			break
		}
	}
	return refused, false, nil
}

// probeTable looks for refused rows of one table.
func (t *target) probeTable(ctx context.Context, s *shape, number int, rows delivery.RowSet, limit int64, d *data, tell func(delivery.RowSet, *waybill.Error)) (refused delivery.RowSet, unable bool, err error) {
	name := probePrefix + uuid.NewString()
	copied := clickhouse.Table(t.ledger.Database(), name)
	c := t.tables[number].cfg.Sink.ClickHouse
	if err := t.client.Exec(ctx, fmt.Sprintf("CREATE TABLE %s AS %s COMMENT 'an empty copy that Waybill looks for refused rows with; may be dropped'",
		copied, clickhouse.Table(c.Database, c.Table))); err != nil {
		if waybill.ClassOf(err).Heals() {
			return nil, false, err
		}
		return nil, true, nil
	}
	defer func() {
		// Also when the life is ending: a copy that stays is dropped by the next start.
		_ = t.client.Exec(context.WithoutCancel(ctx), "DROP TABLE IF EXISTS "+copied)
	}()
	p := prober{target: t, number: number, shape: s.tables[number], table: name, data: d, limit: limit, refused: delivery.RowSet{}, tell: tell}
	if err = p.try(ctx, rows); err != nil && !waybill.ClassOf(err).Heals() {
		return nil, true, nil // the copy is not like the table; the batch is halved in the table itself
	}
	return p.refused, false, err
}

func (t *target) notInBatch(rows delivery.RowSet) error {
	return &waybill.Error{Op: "probe", Pipeline: t.cfg.Name, Class: waybill.ClassBug, Err: fmt.Errorf("rows to be tried are not in the batch: %s", rows)}
}

// prober halves a block in a copy of the table.
type prober struct {
	target  *target
	number  int // of the table that the copy is of
	shape   *tableShape
	table   string
	data    *data
	limit   int64
	refused delivery.RowSet
	tell    func(delivery.RowSet, *waybill.Error)
}

// try inserts rows into the copy, and where they are refused their halves, until more than the limit are known.
func (p *prober) try(ctx context.Context, rows delivery.RowSet) error {
	parts := p.data.pick(rows) // of one table
	if len(parts) != 1 {
		return p.target.notInBatch(rows)
	}
	block, _, err := p.target.tables[p.number].fitBlock(p.shape, p.data.made.Routes()[p.number].Plan, parts[0].block)
	if err != nil {
		return err
	}
	a := p.target.client.Insert(ctx, clickhouse.Insert{Database: p.target.ledger.Database(), Table: p.table,
		Token: waybill.Token("probe-" + uuid.NewString()), Input: block.Input()})
	switch answerOf(a) {
	case delivery.Landed, delivery.Deduplicated:
		return nil
	case delivery.Refused:
	default:
		return a.Err
	}
	p.tell(rows, a.Err)
	if rows.Len() == 1 {
		p.refused = p.refused.Union(rows)
		return nil
	}
	lo, hi := rows.Halve()
	if err := p.try(ctx, lo); err != nil || p.refused.Len() > p.limit {
		return err
	}
	return p.try(ctx, hi)
}

// staleProbe is the age at which nobody can be using a copy any more.
const staleProbe = time.Hour

// dropProbes removes copies that a crash has left behind.
func (t *target) dropProbes(ctx context.Context) error {
	names, err := t.client.TablesLike(ctx, t.ledger.Database(), probePrefix, staleProbe)
	if err != nil {
		return err
	}
	for _, name := range names {
		if err := t.client.Exec(ctx, "DROP TABLE IF EXISTS "+clickhouse.Table(t.ledger.Database(), name)); err != nil {
			return err
		}
	}
	return nil
}
