package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/waybill-data/waybill"
	"github.com/waybill-data/waybill/internal/clickhouse"
	"github.com/waybill-data/waybill/internal/config"
	"github.com/waybill-data/waybill/internal/contract"
	"github.com/waybill-data/waybill/internal/deadletter"
	"github.com/waybill-data/waybill/internal/delivery"
	"github.com/waybill-data/waybill/internal/ledger"
	"github.com/waybill-data/waybill/internal/transform/redact"
)

// Replayer puts records that were dead letters into a pipeline's tables, by the rules that a worker puts records there by, but without a
// group: what it does is in a journal (see package replay), and which of it is done is in the tables. A worker may run meanwhile.
type Replayer struct {
	p *Pipeline
}

// OpenReplayer connects, and checks what a worker checks before it reads its first record.
func OpenReplayer(ctx context.Context, cfg *config.Pipeline, deps Deps) (*Replayer, error) {
	p := New(cfg, deps)
	t, err := openTarget(ctx, cfg, p.log)
	if err != nil {
		return nil, err
	}
	p.under(t)
	if err := p.knowFindings(ctx, t); err != nil {
		t.close()
		return nil, err
	}
	p.workWith(t)
	return &Replayer{p}, nil
}

// Close closes the connections.
func (r *Replayer) Close() { r.p.closeTarget() }

// Client is the replayer's way to the server.
func (r *Replayer) Client() *clickhouse.Client { return r.p.target.client }

// Ledger is the replayer's way to Waybill's own tables.
func (r *Replayer) Ledger() *ledger.Store { return r.p.target.ledger }

// Plan is the plan that the file and the tables make now. It is on record.
func (r *Replayer) Plan() *contract.Plan { return r.p.target.now().plan }

// Rest is for how long after the time that a replay's end is on record under something of it may still arrive at the server: the end may land
// late by a deadline, and the last look before it allows sends for another.
func (r *Replayer) Rest() time.Duration {
	deadline := r.p.cfg.Sink.ClickHouse.InsertDeadline
	return 2*deadline + insertTimeout(deadline) + r.p.target.client.ClockMargin()
}

// Placement is records to be placed: a batch in the journal.
type Placement struct {
	Batch waybill.BatchID
	Plan  waybill.PlanID
	At    time.Time // when the batch was begun, by the server's clock
	// Records are those that are still to be had, in any order. Offsets are all that the batch is about.
	Records []waybill.Record
	Offsets delivery.RowSet
	// Fresh: the records are as the topic has them, and not as dead letters keep them.
	Fresh bool
	// Recovered: somebody may have begun to.
	Recovered bool
	// Over is asked after each look at the tables: if somebody else has finished the batch, there is nothing left to send.
	Over func(context.Context) (bool, error)
}

// Codes of records that a replay cannot write whatever the plan is.
const (
	CodeNotKept = "not_kept" // the dead letter holds no value, or what redaction left of one that it could not read
	CodeGone    = "gone"     // the dead letter itself is no longer there
)

// ErrOver: somebody else has finished the batch.
var ErrOver = errors.New("somebody else has finished the replay")

// Place puts the records' rows into the tables and says what became of each offset of the batch. It waits for a server that is away. Any number of
// replayers may place the same batch, at once or one after the other: each row is there once.
func (r *Replayer) Place(ctx context.Context, pl Placement) ([]ledger.LetterOutcome, error) {
	p, err := r.place(ctx, &pl)
	if err != nil {
		return nil, err
	}
	return r.outcomes(ctx, p.batch, p.data, &pl, p.made, p.why)
}

// placed is what came of a placement, beside what the tables say.
type placed struct {
	batch *waybill.Batch
	data  *data
	made  map[waybill.Position]Processed
	why   *refusals
}

func (r *Replayer) place(ctx context.Context, pl *Placement) (*placed, error) {
	b, err := r.batch(ctx, pl)
	if err != nil {
		return nil, err
	}
	out := &placed{batch: b}
	if out.data, out.made, err = r.decode(ctx, b, pl); err != nil {
		return nil, err
	}
	for out.data.count > 0 {
		out.why, err = r.land(ctx, b, out.data, pl)
		var replan *replanError
		if !errors.As(err, &replan) {
			return out, err
		}
		if replan.fence != "" {
			return nil, r.superseded(errors.New(replan.fence))
		}
		pl.Recovered = true
		if err := r.lookAnew(ctx); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// batch is the placement as delivery knows batches. Its spans bound the offsets; other rows lie in them.
func (r *Replayer) batch(ctx context.Context, pl *Placement) (*waybill.Batch, error) {
	plan, err := r.p.target.plan(ctx, pl.Plan)
	if err != nil {
		return nil, err
	}
	b := &waybill.Batch{ID: pl.Batch, Epoch: r.p.target.epoch, Plan: pl.Plan, Decoder: plan.DecoderVersion(), Table: r.p.target.tableID, Time: pl.At.UnixMilli()}
	for _, tp := range pl.Offsets.Partitions() {
		b.Spans = append(b.Spans, waybill.BatchSpan{TopicPartition: tp, Span: pl.Offsets[tp].Bounds(), Count: pl.Offsets[tp].Len()})
	}
	return b, nil
}

// decode makes rows of the records under the batch's plan.
func (r *Replayer) decode(ctx context.Context, b *waybill.Batch, pl *Placement) (*data, map[waybill.Position]Processed, error) {
	plan, err := r.p.target.plan(ctx, b.Plan)
	if err != nil {
		return nil, nil, err
	}
	proc, err := r.p.target.processor(plan)
	if err != nil {
		return nil, nil, err
	}
	d := newData(proc.NewBlocks())
	d.batch, d.plan, d.made = b, b.Plan, plan
	spans := map[waybill.TopicPartition]*spanData{}
	for _, s := range b.Spans {
		spans[s.TopicPartition] = d.open(s.TopicPartition, 0, s.First)
	}
	slices.SortFunc(pl.Records, func(x, y waybill.Record) int {
		return compareRecords(&x, &y)
	})
	made := map[waybill.Position]Processed{}
	for i := range pl.Records {
		rec := &pl.Records[i]
		at := waybill.Position{Topic: rec.Topic, Partition: rec.Partition, Offset: rec.Offset}
		if _, twice := made[at]; twice {
			continue // a dead letter that is there twice is one record
		}
		out := pl.remake(proc, rec, b.Epoch, d.blocks)
		if out.Fate == FateRow {
			d.written(out.Route, spans[rec.TopicPartition()], rec.Offset)
		}
		made[at] = out
	}
	return d, made, nil
}

func compareRecords(x, y *waybill.Record) int {
	if c := x.TopicPartition().Compare(y.TopicPartition()); c != 0 {
		return c
	}
	return int(min(max(x.Offset-y.Offset, -1), 1))
}

// Remake is Process for the record of a dead letter. What could not be kept of a record when it became one cannot be made a row now.
func Remake(proc *Processor, r *waybill.Record, epoch waybill.Epoch, blocks Blocks) Processed {
	switch {
	case r.Value == nil:
		return Processed{Fate: FateDead, Byte: -1, Reason: deadletter.Reason{Stage: deadletter.StageDecode, Code: CodeNotKept,
			Message: "the dead letter holds no value: the record was gone from the topic when it was to be kept"}}
	case redact.IsDigest(r.Value):
		return Processed{Fate: FateDead, Byte: -1, Reason: deadletter.Reason{Stage: deadletter.StageDecode, Code: CodeNotKept,
			Message: "the dead letter holds no value, as it could not be redacted; it is in the topic, for as long as that keeps it"}}
	}
	return proc.Process(r, epoch, blocks)
}

func (pl *Placement) remake(proc *Processor, r *waybill.Record, epoch waybill.Epoch, blocks Blocks) Processed {
	if pl.Fresh {
		return proc.Process(r, epoch, blocks)
	}
	return Remake(proc, r, epoch, blocks)
}

// lookAnew reads the tables again and goes on with them as they are.
func (r *Replayer) lookAnew(ctx context.Context) error {
	s, err := r.p.target.look(ctx)
	if errors.Is(err, errExchanged) {
		return r.superseded(err)
	}
	if err != nil {
		return err
	}
	return r.p.target.adopt(ctx, s)
}

// superseded: the dead letters are of a table that is no longer the pipeline's.
func (r *Replayer) superseded(err error) error {
	return &waybill.Error{Op: "dlq", Pipeline: r.p.cfg.Name, Class: waybill.ClassFenced, Err: err, Hint: "run the command again: it looks at the table as it is now"}
}

// Standing is under which epoch the tables are written.
func (r *Replayer) Standing() Standing { return r.p.target.standing }

// placing is what a life is about that places dead letters, and has no group.
type placing struct {
	*Placement
	done  chan delivery.Placed // cap 1
	since time.Time            // when the last look at the tables began. life.mu guards it.
}

// land has delivery place the rows. It answers with why the server refused some.
func (r *Replayer) land(ctx context.Context, b *waybill.Batch, d *data, pl *Placement) (*refusals, error) {
	l := &life{p: r.p, data: map[delivery.WorkID]*data{}, doubts: map[delivery.WorkID]func(delivery.RowSet){}, refusals: map[delivery.WorkID]*refusals{},
		wake: make(chan struct{}, 1), idle: make(chan struct{}, 1), placing: &placing{Placement: pl, done: make(chan delivery.Placed, 1)}}
	l.machine = delivery.New(r.p.machineConfig("dead letters")) // there is no cluster to tell apart: the batch's id is drawn
	l.ctx, l.cancel = context.WithCancelCause(ctx)
	rows := delivery.RowSet{}
	for _, s := range d.spans {
		if !s.tally.Rows.Empty() {
			rows[s.TopicPartition] = s.tally.Rows
		}
	}
	l.perform(l.keepUp)
	l.mu.Lock()
	work := l.machine.NewWork()
	l.data[work] = d
	why := &refusals{rows: map[waybill.Position]*waybill.Error{}}
	l.refusals[work] = why
	l.do(l.machine.Step(delivery.Place{Work: work, Batch: b, Rows: rows, Recovered: pl.Recovered}))
	l.mu.Unlock()
	var err error
	select {
	case <-l.placing.done:
	case <-l.ctx.Done():
		err = context.Cause(l.ctx)
		var stopped *stopError
		if errors.As(err, &stopped) {
			err = stopped.err
		}
	}
	l.cancel(nil)
	l.mu.Lock()
	l.closed = true
	l.mu.Unlock()
	l.wg.Wait()
	return why, err
}

// keepUp reads the tables anew when an insert was refused because they have changed.
func (l *life) keepUp() {
	for {
		select {
		case <-l.ctx.Done():
			return
		case <-l.wake:
		}
		if !l.stale.Swap(false) {
			continue
		}
		s, err := l.p.target.look(l.ctx)
		if err == nil {
			err = l.p.target.adopt(l.ctx, s)
		}
		switch {
		case err == nil || l.ctx.Err() != nil:
		case waybill.ClassOf(err).Heals():
			l.trouble(aboutTable, err, 1)
			l.outdated()
			_ = wait(l.ctx, firstBackoff) // the loop ends with the context
		default:
			l.step(delivery.Failed{Err: err})
		}
	}
}

// look answers a read-back of a placement: of its own offsets, each for itself, since many other rows lie between them. Whoever finds that
// somebody else has finished the batch has nothing left to send.
func (l *life) look() (delivery.RowSet, error) {
	since := time.Now()
	present, err := l.p.target.presentAt(l.ctx, l.p.target.epoch, l.placing.Offsets)
	if err != nil {
		return nil, err
	}
	over, err := l.placing.Over(l.ctx)
	if err != nil {
		return nil, err
	}
	if over {
		l.cancel(ErrOver)
		return nil, ErrOver
	}
	l.mu.Lock()
	l.placing.since = since
	l.mu.Unlock()
	all := delivery.RowSet{}
	for _, rows := range present {
		all = all.Union(rows)
	}
	return all, nil
}

// placeDeadline is until when the server may begin to process an insert of a placement: what was seen to be absent is sent for so long
// and no longer, so that after a batch is finished nothing of it comes any more. ok is false if it has to be looked at again.
func (l *life) placeDeadline() (time.Time, bool) {
	l.mu.Lock()
	until := l.placing.since.Add(l.p.cfg.Sink.ClickHouse.InsertDeadline)
	l.mu.Unlock()
	if l.p.cfg.Delivery == config.AtLeastOnce { // nothing is looked at
		until = time.Now().Add(l.p.cfg.Sink.ClickHouse.InsertDeadline)
	}
	return l.p.target.client.ServerNow(until), time.Now().Before(until)
}

// errOldLook: the insert was held up for so long that what it is based on may no longer hold.
var errOldLook = errors.New("the look at the table is too old to send on it")

// presentAt reads back which of some offsets each table holds.
func (t *target) presentAt(ctx context.Context, epoch waybill.Epoch, offsets delivery.RowSet) ([]delivery.RowSet, error) {
	var list []clickhouse.PartitionSpan
	for _, tp := range offsets.Partitions() {
		for _, sp := range offsets[tp].Spans() {
			list = append(list, clickhouse.PartitionSpan{TopicPartition: tp, Span: sp})
		}
	}
	s := t.now()
	out := make([]delivery.RowSet, len(t.tables))
	for i, one := range t.tables {
		rows, err := t.client.Present(ctx, one.presence(s.tables[i], epoch, list))
		if err != nil {
			return nil, err
		}
		out[i] = rows
	}
	return out, nil
}

// outcomes are what the tables say. A row that is there was replayed, whatever anybody else has met on the way.
func (r *Replayer) outcomes(ctx context.Context, b *waybill.Batch, d *data, pl *Placement, made map[waybill.Position]Processed, why *refusals) ([]ledger.LetterOutcome, error) {
	present := make([]delivery.RowSet, len(r.p.target.tables))
	if r.p.cfg.Delivery == config.AtLeastOnce { // a table that may have no lineage; what was acknowledged is there
		for i, part := range d.landed() {
			present[i] = part.Minus(why.all())
		}
	} else {
		var err error
		if present, err = r.p.target.presentAt(ctx, b.Epoch, pl.Offsets); err != nil {
			return nil, err
		}
	}
	var out []ledger.LetterOutcome
	for _, tp := range pl.Offsets.Partitions() {
		for _, sp := range pl.Offsets[tp].Spans() {
			for o := sp.First; o < sp.Next; o++ {
				at := waybill.Position{Topic: tp.Topic, Partition: tp.Partition, Offset: o}
				out = append(out, r.outcome(at, tp, present, made, why, b.Plan))
			}
		}
	}
	return out, nil
}

func (r *Replayer) outcome(at waybill.Position, tp waybill.TopicPartition, present []delivery.RowSet, made map[waybill.Position]Processed, why *refusals, plan waybill.PlanID) ledger.LetterOutcome {
	out := ledger.LetterOutcome{Position: at, Epoch: r.p.target.epoch, Outcome: ledger.LetterFailed, Plan: plan}
	for i, rows := range present {
		if rows[tp].Contains(at.Offset) {
			out.Outcome, out.Target = ledger.LetterReplayed, r.p.target.tables[i].name()
			return out
		}
	}
	m, known := made[at]
	reason := m.Reason
	switch {
	case !known:
		reason = deadletter.Reason{Stage: deadletter.StageDecode, Code: CodeGone, Message: "the dead letter is no longer there to be replayed"}
	case m.Fate == FateFiltered:
		out.Outcome = ledger.LetterFiltered
		return out
	case m.Fate == FateRow:
		reason = deadletter.Reason{Stage: deadletter.StageInsert, Code: "refused", Message: "the server refused the row"}
		if err := why.of(tp, at.Offset); err != nil {
			reason.Code, reason.Message = fmt.Sprintf("server_%d", err.Code), err.Err.Error()
		}
	}
	out.Stage, out.Code, out.Column, out.Message = string(reason.Stage), reason.Code, reason.Column, reason.Message
	return out
}

// landed is the rows of each table.
func (d *data) landed() []delivery.RowSet {
	out := make([]delivery.RowSet, len(d.tables))
	for i := range d.tables {
		out[i] = delivery.RowSet{}
		for _, run := range d.tables[i].rows {
			for _, s := range d.spans {
				if s.index == run.span {
					set := out[i][s.TopicPartition]
					set.AddSpan(waybill.Span{First: run.first, Next: run.next})
					out[i][s.TopicPartition] = set
				}
			}
		}
	}
	return out
}

// all rows that were refused for themselves.
func (r *refusals) all() delivery.RowSet {
	out := delivery.RowSet{}
	if r == nil {
		return out
	}
	for at := range r.rows {
		tp := waybill.TopicPartition{Topic: at.Topic, Partition: at.Partition}
		set := out[tp]
		set.Add(at.Offset)
		out[tp] = set
	}
	return out
}
