package engine

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/waybill-data/waybill"
	"github.com/waybill-data/waybill/internal/clickhouse"
	"github.com/waybill-data/waybill/internal/config"
	"github.com/waybill-data/waybill/internal/deadletter"
	"github.com/waybill-data/waybill/internal/delivery"
	"github.com/waybill-data/waybill/internal/ledger"
)

// Restored is what became of an offset of a repair.
type Restored struct {
	waybill.Position
	Is ledger.Fate
	// Letter is the record as it may be kept, of one that could not be written.
	Letter *deadletter.Envelope
}

// Restore is Place for records as the topic has them: of offsets that are settled, whose rows are gone or have been deleted.
func (r *Replayer) Restore(ctx context.Context, pl Placement) ([]Restored, error) {
	pl.Fresh = true
	p, err := r.place(ctx, &pl)
	if err != nil {
		return nil, err
	}
	present, err := r.p.target.presentAt(ctx, p.batch.Epoch, pl.Offsets)
	if err != nil {
		return nil, err
	}
	there := delivery.RowSet{}
	for _, rows := range present {
		there = there.Union(rows)
	}
	keep, err := r.p.target.keeper(ctx, p.batch)
	if err != nil {
		return nil, err
	}
	records := map[waybill.Position]*waybill.Record{}
	for i := range pl.Records {
		rec := &pl.Records[i]
		records[waybill.Position{Topic: rec.Topic, Partition: rec.Partition, Offset: rec.Offset}] = rec
	}
	var out []Restored
	for _, tp := range pl.Offsets.Partitions() {
		for _, sp := range pl.Offsets[tp].Spans() {
			for o := sp.First; o < sp.Next; o++ {
				at := waybill.Position{Topic: tp.Topic, Partition: tp.Partition, Offset: o}
				one := Restored{Position: at, Is: ledger.FateWritten}
				if !there[tp].Contains(o) {
					one = r.restored(p, at, records[at], keep)
				}
				out = append(out, one)
			}
		}
	}
	return out, nil
}

// restored is what an offset is that has no row.
func (r *Replayer) restored(p *placed, at waybill.Position, rec *waybill.Record, keep func(*waybill.Record) waybill.Record) Restored {
	out := Restored{Position: at, Is: ledger.FateNone}
	m, known := p.made[at]
	if !known || rec == nil {
		return out
	}
	reason := m.Reason
	switch m.Fate {
	case FateFiltered:
		out.Is = ledger.FateFiltered
		return out
	case FateTombstone:
		out.Is = ledger.FateTombstone
		return out
	case FateRow:
		reason = deadletter.Reason{Stage: deadletter.StageInsert, Code: "refused", Message: "the server refused the row"}
		if err := p.why.of(rec.TopicPartition(), at.Offset); err != nil {
			reason.Code, reason.Message = fmt.Sprintf("server_%d", err.Code), err.Err.Error()
		}
	case FateDead:
	}
	kept := keep(rec)
	letter := deadletter.Of(&kept, r.p.cfg.Name, p.batch, reason)
	letter.Expires = r.p.target.expires()
	out.Is, out.Letter = ledger.FateDead, &letter
	return out
}

// FateUnder is what a record counts as under a plan on record.
func (r *Replayer) FateUnder(ctx context.Context, id waybill.PlanID) (func(*waybill.Record) ledger.Fate, error) {
	plan, err := r.p.target.plan(ctx, id)
	if err != nil {
		return nil, err
	}
	proc, err := r.p.target.processor(plan)
	if err != nil {
		return nil, err
	}
	blocks := proc.NewBlocks()
	return func(rec *waybill.Record) ledger.Fate {
		blocks.Reset()
		switch proc.Process(rec, r.p.target.epoch, blocks).Fate {
		case FateFiltered:
			return ledger.FateFiltered
		case FateTombstone:
			return ledger.FateTombstone
		case FateDead:
			return ledger.FateDead
		case FateRow:
		}
		return ledger.FateWritten
	}, nil
}

// Present reads back which of some offsets have a row in a table of the pipeline.
func (r *Replayer) Present(ctx context.Context, offsets delivery.RowSet) (delivery.RowSet, error) {
	return r.PresentUnder(ctx, r.p.target.epoch, offsets)
}

// PresentUnder reads back which of some offsets have a row of an epoch in a table of the pipeline: one that a backfill has left as it was may be of an older one.
func (r *Replayer) PresentUnder(ctx context.Context, epoch waybill.Epoch, offsets delivery.RowSet) (delivery.RowSet, error) {
	present, err := r.p.target.presentAt(ctx, epoch, offsets)
	out := delivery.RowSet{}
	for _, rows := range present {
		out = out.Union(rows)
	}
	return out, err
}

// PlacedUnder says of offsets whose row of an epoch is there that they are replayed.
func (r *Replayer) PlacedUnder(ctx context.Context, epoch waybill.Epoch, plan waybill.PlanID, offsets delivery.RowSet) (out []ledger.LetterOutcome, err error) {
	present, err := r.p.target.presentAt(ctx, epoch, offsets)
	for i, rows := range present {
		for _, tp := range rows.Partitions() {
			for _, sp := range rows[tp].Spans() {
				for o := sp.First; o < sp.Next; o++ {
					out = append(out, ledger.LetterOutcome{Position: waybill.Position{Topic: tp.Topic, Partition: tp.Partition, Offset: o}, Epoch: epoch,
						Outcome: ledger.LetterReplayed, Plan: plan, Target: r.p.target.tables[i].name()})
				}
			}
		}
	}
	return out, err
}

// Repeated reads back which of some offsets have several rows, in one table or in several.
func (r *Replayer) Repeated(ctx context.Context, offsets delivery.RowSet) (delivery.RowSet, error) {
	t, once, out := r.p.target, delivery.RowSet{}, delivery.RowSet{}
	present, err := t.presentAt(ctx, r.p.target.epoch, offsets)
	if err != nil {
		return nil, err
	}
	s := t.now()
	for i, one := range t.tables {
		twice, err := t.client.Repeated(ctx, one.presence(s.tables[i], r.p.target.epoch, spansOf(offsets)), r.p.cfg.Source.Kafka.Topic)
		if err != nil {
			return nil, err
		}
		out = out.Union(twice).Union(once.Intersect(present[i]))
		once = once.Union(present[i])
	}
	return out.Intersect(offsets), nil
}

func spansOf(offsets delivery.RowSet) (list []clickhouse.PartitionSpan) {
	for _, tp := range offsets.Partitions() {
		for _, sp := range offsets[tp].Spans() {
			list = append(list, clickhouse.PartitionSpan{TopicPartition: tp, Span: sp})
		}
	}
	return list
}

// Mends says why rows of the pipeline's tables cannot be deleted and made again; nil: they can.
func (r *Replayer) Mends() error {
	refuse := func(format string, args ...any) error {
		return &waybill.Error{Op: "repair", Pipeline: r.p.cfg.Name, Class: waybill.ClassConfig, Err: fmt.Errorf(format, args...),
			Hint: "make the rows anew in another table: waybill backfill"}
	}
	if r.p.cfg.Delivery == config.AtLeastOnce {
		return refuse("the pipeline runs at-least-once: its tables do not tell what they hold")
	}
	for i, s := range r.p.target.now().tables {
		if !keepsRows(s.info.Engine) {
			return refuse("table %s is a %s, which merges or removes rows", r.p.target.tables[i].name(), s.info.Engine)
		}
	}
	return nil
}

// Rewrites says why rows cannot be deleted safely while others may be at it; nil: they can.
func (r *Replayer) Rewrites() error {
	for i, s := range r.p.target.now().tables {
		if s.info.Replicated {
			return &waybill.Error{Op: "repair", Pipeline: r.p.cfg.Name, Class: waybill.ClassConfig,
				Err:  fmt.Errorf("table %s is replicated: its replicas carry a deletion out each for itself, and cannot ask the journal whether it still holds", r.p.target.tables[i].name()),
				Hint: "make the rows anew in another table: waybill backfill"}
		}
	}
	return r.Mends()
}

// Views are the materialized views that inserts into the tables feed: a deletion takes nothing out of them.
func (r *Replayer) Views() (names []string) {
	for _, s := range r.p.target.now().tables {
		for _, v := range s.info.Views {
			names = append(names, v.Database+"."+v.View)
		}
	}
	return names
}

// Clear deletes the rows of some offsets from all of the pipeline's tables, of each of some epochs, and comes back when none is there. The server asks guard, an
// SQL condition, when it carries the deletion out, and not only when it is told to: so a deletion that comes late deletes nothing. over says that
// the guard no longer holds. mark is a text in guard that nobody else has.
func (r *Replayer) Clear(ctx context.Context, epochs []waybill.Epoch, offsets delivery.RowSet, guard, mark string, over func(context.Context) (bool, error)) error {
	for attempt := 0; ; attempt++ {
		done, err := over(ctx)
		if done || err != nil {
			return err
		}
		none := true
		for _, epoch := range epochs {
			left, err := r.p.target.presentAt(ctx, epoch, offsets)
			if err != nil {
				return err
			}
			for i, rows := range left {
				if rows.Empty() {
					continue
				}
				none = false
				if err := r.p.target.delete(ctx, i, epoch, rows, guard, mark); err != nil {
					return err
				}
			}
		}
		if none {
			return nil
		}
		if err := wait(ctx, backoff(attempt+1)); err != nil {
			return err
		}
	}
}

// delete has the server delete rows of a table. The table is the one that has been looked at, or nothing is deleted: another may have taken its name.
func (t *target) delete(ctx context.Context, i int, epoch waybill.Epoch, rows delivery.RowSet, guard, mark string) error {
	one, s := t.tables[i], t.now().tables[i]
	c := one.cfg.Sink.ClickHouse
	where := []string{guard, fmt.Sprintf("(SELECT count() FROM system.tables WHERE database = %s AND name = %s AND toString(uuid) = %s) = 1",
		clickhouse.Literal(c.Database), clickhouse.Literal(c.Table), clickhouse.Literal(s.schema.UUID))}
	if one.lineage.Epoch != "" {
		where = append(where, fmt.Sprintf("%s = %d", clickhouse.Ident(one.lineage.Epoch), epoch))
	}
	where = append(where, clickhouse.AtOffsets(one.lineage, rows))
	return t.client.Mutate(ctx, clickhouse.Mutation{Database: c.Database, Table: c.Table, Command: "DELETE WHERE " + strings.Join(where, " AND "), Mark: mark})
}

// Bury puts dead letters of a repair on record, each once, whoever carries the repair out.
func (r *Replayer) Bury(ctx context.Context, batch waybill.BatchID, letters []deadletter.Envelope) error {
	t := r.p.target
	for k, attempt := 0, 0; len(letters) > 0; attempt++ {
		since := time.Now()
		there, err := t.client.Present(ctx, t.ledger.DeadLetterPresence(r.p.cfg.Name, r.p.target.epoch, spansOf(positionsOf(letters))))
		if err != nil {
			return err
		}
		letters = slices.DeleteFunc(slices.Clone(letters), func(e deadletter.Envelope) bool {
			return there[waybill.TopicPartition{Topic: e.Topic, Partition: e.Partition}].Contains(e.Offset)
		})
		if len(letters) == 0 {
			return nil
		}
		if err := r.p.mirror(ctx, letters); err != nil {
			return err
		}
		a := t.client.Insert(ctx, clickhouse.Insert{Database: t.ledger.Database(), Table: ledger.TableDeadLetters, Input: deadletter.Block(letters),
			Token:    waybill.ChainToken(r.p.cfg.Name, "repairs", batch, r.p.target.epoch, ledger.TableDeadLetters, k),
			Deadline: t.client.ServerNow(since.Add(r.p.cfg.Sink.ClickHouse.InsertDeadline))})
		switch {
		case a.Outcome.Answered():
			k++ // if some are still absent by the next look
		case a.Err != nil && !a.Late && !a.Err.Class.Heals():
			return a.Err
		}
		if err := wait(ctx, backoff(attempt)); err != nil {
			return err
		}
	}
	return nil
}

func positionsOf(letters []deadletter.Envelope) delivery.RowSet {
	out := delivery.RowSet{}
	for i := range letters {
		tp := waybill.TopicPartition{Topic: letters[i].Topic, Partition: letters[i].Partition}
		set := out[tp]
		set.Add(letters[i].Offset)
		out[tp] = set
	}
	return out
}
