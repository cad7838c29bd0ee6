package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/waybill-data/waybill"
	"github.com/waybill-data/waybill/internal/clickhouse"
	"github.com/waybill-data/waybill/internal/config"
	"github.com/waybill-data/waybill/internal/contract"
	"github.com/waybill-data/waybill/internal/decode/json"
	"github.com/waybill-data/waybill/internal/delivery"
	"github.com/waybill-data/waybill/internal/failpoint"
	"github.com/waybill-data/waybill/internal/kafka"
	"github.com/waybill-data/waybill/internal/ledger"
)

// fetchOffsets reads what Kafka and the ledger say about newly assigned partitions.
func (l *life) fetchOffsets(e delivery.FetchOffsets) {
	positions, err := l.positions(e.Parts)
	if errors.Is(err, errTwoGroups) {
		l.cancel(err)
		return
	}
	l.trouble(aboutOffsets, err, e.Attempt)
	if err == nil {
		l.p.cleared(aboutMembership)
		failpoint.Hit(failpoint.OffsetsFetched)
	}
	l.step(delivery.OffsetsFetched{Op: e.Op, Positions: positions, Err: err})
}

func (l *life) positions(parts []delivery.Held) ([]delivery.Position, error) {
	tps := make([]waybill.TopicPartition, len(parts))
	for i, h := range parts {
		tps[i] = h.TopicPartition
	}
	if err := l.p.ofGroup(l.ctx); err != nil {
		return nil, err
	}
	committed, err := l.sess.FetchOffsets(l.ctx, tps)
	if err != nil {
		return nil, err
	}
	topicID := l.sess.TopicID()
	first, err := l.firstSight()
	if err != nil {
		return nil, err
	}
	if err := l.knowErased(); err != nil {
		return nil, err
	}
	tips := map[waybill.Epoch]map[waybill.TopicPartition]int64{}
	tip := func(epoch waybill.Epoch, tp waybill.TopicPartition) (int64, error) {
		if tips[epoch] == nil {
			t, err := l.p.target.tips(l.ctx, epoch, l.p.cfg.Source.Kafka.Topic)
			if err != nil {
				return 0, err
			}
			tips[epoch] = t
		}
		if t, ok := tips[epoch][tp]; ok {
			return t, nil
		}
		return -1, nil
	}
	out := make([]delivery.Position, 0, len(parts))
	for _, h := range parts {
		pos := delivery.Position{Held: h, Committed: -1, OldTip: -1}
		copy(pos.TopicID[:], topicID[:])
		copy(pos.LedgerTopicID[:], first.TopicID[:])
		if c, ok := committed[h.TopicPartition]; ok {
			pos.Committed, pos.Metadata = c.Offset, c.Metadata
		}
		if pos.Tip, err = tip(l.p.target.epoch, h.TopicPartition); err != nil {
			return nil, err
		}
		if meta, perr := delivery.ParseMetadata(pos.Metadata); perr == nil && meta.Epoch < l.p.target.epoch {
			if pos.OldTip, err = tip(meta.Epoch, h.TopicPartition); err != nil {
				return nil, err
			}
		} else if perr == nil && meta.Epoch > l.p.target.epoch {
			if pos.Succeeded, err = l.p.target.begun(l.ctx, meta.Epoch); err != nil {
				return nil, err
			}
		}
		l.p.log.Debug("position", "partition", h.Partition, "committed", pos.Committed, "ledger", pos.Tip)
		out = append(out, pos)
	}
	return out, nil
}

// begun reports whether an epoch is on record as that of a table.
func (t *target) begun(ctx context.Context, epoch waybill.Epoch) (bool, error) {
	all, err := t.ledger.Generations(ctx, t.cfg.Name)
	return slices.ContainsFunc(all, func(g ledger.Generation) bool { return g.Epoch == epoch }), err
}

// firstSight is what this pipeline's topic was when any worker first saw it under this epoch.
// knowErased reads which records were erased: whoever reads the topic again must not bring them back.
func (l *life) knowErased() error {
	erased, err := l.p.target.ledger.Erased(l.ctx, l.p.cfg.Name, l.p.cfg.Source.Kafka.Topic, uuid.UUID(l.sess.TopicID()))
	if err == nil {
		l.erased.Store(&erased)
	}
	return err
}

// erasedPast are the offsets at or past one whose records were erased.
func (l *life) erasedPast(tp waybill.TopicPartition, offset int64) waybill.OffsetSet {
	all := l.erased.Load()
	if all == nil || (*all)[tp.Partition].Bounds().Next <= offset {
		return waybill.OffsetSet{}
	}
	return (*all)[tp.Partition]
}

func (l *life) firstSight() (ledger.Pipeline, error) {
	info, err := l.sess.Describe(l.ctx)
	if err != nil {
		return ledger.Pipeline{}, err
	}
	return l.p.target.firstSight(l.ctx, info)
}

// resolveStart finds where a partition without any position begins.
func (l *life) resolveStart(e delivery.ResolveStart) {
	offset, err := l.start(e.Part.TopicPartition)
	l.trouble(aboutBeginning(e.Part.TopicPartition), err, e.Attempt)
	if err == nil {
		l.p.log.Info("starting", "partition", e.Part.Partition, "offset", offset, "start", l.p.cfg.Source.Kafka.Start.At)
		failpoint.Hit(failpoint.StartResolved)
	}
	l.step(delivery.StartResolved{Op: e.Op, Offset: offset, Err: err})
}

func (l *life) start(tp waybill.TopicPartition) (int64, error) {
	if l.p.backfill != nil {
		return 0, nil // what is not in its scope is a hole, also where the topic begins later
	}
	info, err := l.extents.ask(l.ctx, struct{}{}, func(ctx context.Context, _ []struct{}) (kafka.TopicInfo, error) { return l.sess.Describe(ctx) })
	if err != nil {
		return 0, err
	}
	pi, ok := partitionOf(info, tp.Partition)
	if !ok {
		return 0, l.startError(tp, fmt.Errorf("the brokers do not know partition %d", tp.Partition), "")
	}
	at := l.p.cfg.Source.Kafka.Start
	// What a backfill has not accounted for of a partition is all that there is: where the file would begin says nothing of that.
	if at.At == config.Earliest || l.p.target.standing.begun() {
		return pi.LogStart, nil
	}
	// A partition that was added since the pipeline began holds records that came after its start.
	first, err := l.firstSight()
	if err != nil {
		return 0, err
	}
	if tp.Partition >= first.Partitions {
		return pi.LogStart, nil
	}
	switch at.At {
	case config.Latest:
		return pi.StableEnd, nil
	case config.StartTimestamp:
		return l.startAfter(tp, pi, at.Time)
	case config.StartOffsets:
		return l.startAt(tp, pi, at.Offsets)
	case config.Earliest: // above
	}
	return pi.LogStart, nil
}

// startAfter is the first record at or after a time; without one, what is appended from now on.
func (l *life) startAfter(tp waybill.TopicPartition, pi kafka.PartitionInfo, t time.Time) (int64, error) {
	offset, found, err := l.sess.OffsetAfter(l.ctx, tp.Partition, t)
	if err != nil || !found {
		return pi.StableEnd, err
	}
	return max(offset, pi.LogStart), nil
}

// startAt is the offset that the file names. One whose record is gone is taken all the same: what is missing from there on is counted as lost.
func (l *life) startAt(tp waybill.TopicPartition, pi kafka.PartitionInfo, offsets map[int32]int64) (int64, error) {
	offset, named := offsets[tp.Partition]
	switch {
	case !named:
		return pi.LogStart, nil
	case offset > pi.End:
		return 0, l.startError(tp, fmt.Errorf("source.kafka.start is offset %d, and the partition ends at %d", offset, pi.End),
			"correct the offset; without a correction it waits until the partition is that long")
	}
	return offset, nil
}

func (l *life) startError(tp waybill.TopicPartition, err error, hint string) error {
	return &waybill.Error{Op: "kafka.start", Pipeline: l.p.cfg.Name, Class: waybill.ClassRetryable, Position: waybill.Position{Topic: tp.Topic, Partition: tp.Partition, Offset: -1}, Err: err, Hint: hint}
}

func partitionOf(info kafka.TopicInfo, partition int32) (kafka.PartitionInfo, bool) {
	for _, pi := range info.Partitions {
		if pi.Partition == partition {
			return pi, true
		}
	}
	return kafka.PartitionInfo{}, false
}

// rebuild reads the spans of a pending batch again and decodes them under its recorded plan and time.
func (l *life) rebuild(e delivery.Rebuild) {
	failpoint.Hit(failpoint.BeforeRebuild)
	ev, d, err := l.rebuilt(e)
	if err != nil {
		l.batchTrouble(e.Work, err, e.Attempt)
		if class := waybill.ClassOf(err); class == waybill.ClassConfig || class == waybill.ClassBug {
			l.step(delivery.Failed{Err: err})
			return
		}
		l.step(delivery.Rebuilt{Op: e.Op, Err: err})
		return
	}
	l.p.log.Info("carrying out a pending batch", "batch", e.Batch.ID.Short(), "spans", len(e.Batch.Spans), "rows", d.count)
	failpoint.Hit(failpoint.AfterRebuild)
	l.keep(e.Work, d, ev)
}

// keep holds what was rebuilt for as long as its work lasts.
func (l *life) keep(id delivery.WorkID, d *data, ev delivery.Rebuilt) {
	d.held = d.size()
	l.p.budget.force(d.held)
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		l.p.budget.give(d.held)
		return
	}
	l.data[id] = d
	l.timesOf(d)
	l.do(l.machine.Step(ev))
	if !l.alive(id) { // dropped while it was being read
		l.release(id, false)
	}
}

func (l *life) rebuilt(e delivery.Rebuild) (delivery.Rebuilt, *data, error) {
	plan, err := l.p.target.plan(l.ctx, e.Batch.Plan)
	if err != nil {
		return delivery.Rebuilt{}, nil, err
	}
	plan, foreign, err := readable(plan)
	if err != nil {
		return delivery.Rebuilt{}, nil, err
	}
	if foreign, err = l.p.target.decoders(l.ctx, e.Batch, plan.DecoderVersion(), foreign); err != nil {
		return delivery.Rebuilt{}, nil, err
	}
	proc, err := l.processor(plan)
	if err != nil {
		return delivery.Rebuilt{}, nil, err
	}
	d := newData(proc.NewBlocks())
	d.batch, d.made, d.soiled = e.Batch, plan, true // its block may be of another plan
	ev := delivery.Rebuilt{Op: e.Op, Foreign: foreign}
	for _, span := range e.Batch.Spans {
		s := d.open(span.TopicPartition, 0, span.First)
		s.erased = l.erasedPast(span.TopicPartition, span.First)
		s.tally.Lost, err = l.reread(span, s, func(r *waybill.Record) error {
			d.add(proc, e.Batch.Epoch, s, r)
			return nil
		})
		if err != nil {
			return delivery.Rebuilt{}, nil, err
		}
		ev.Tallies = append(ev.Tallies, s.tally)
		ev.Checksums = append(ev.Checksums, s.Checksum)
	}
	d.takeNotes(proc)
	ev.Refused, err = l.p.target.decisions(l.ctx, e.Batch)
	return ev, d, err
}

// readable is a plan that this binary's decoder takes. foreign: the plan was made for another version of the decoder, which may have made other rows, or
// none, of the same records.
func readable(p *contract.Plan) (ours *contract.Plan, foreign bool, err error) {
	version := json.Version
	if p.Raw() {
		version = contract.RawVersion
	}
	if p.DecoderVersion() == version {
		return p, false, nil
	}
	ours, err = p.For(version)
	return ours, true, err
}

// markTarget is what a row of the table waybill.decisions names in place of a table if it says that a decoder has been at a batch which another version has
// gathered; its version is in place of the offset.
const markTarget = "(decoder)"

// decoders reports whether a decoder of another version than ours has been at the batch: who gathered it (foreign), or who carried it out in between. If it
// is we who come in between, that is put on record before anything of the batch is sent: should it go back to who gathered it, what we have made of it counts.
func (t *target) decoders(ctx context.Context, b *waybill.Batch, ours uint16, foreign bool) (bool, error) {
	marks, err := t.ledger.Decisions(ctx, t.cfg.Name, b.Epoch, b.ID, markTarget)
	if err != nil {
		return false, err
	}
	marked := slices.ContainsFunc(marks, func(m ledger.Decision) bool { return m.Offset == int64(ours) })
	if slices.ContainsFunc(marks, func(m ledger.Decision) bool { return m.Offset != int64(ours) }) {
		foreign = true
	}
	if !foreign || marked {
		return foreign, nil
	}
	mark := ledger.Decision{Pipeline: t.cfg.Name, Epoch: b.Epoch, Batch: b.ID, Target: markTarget, TopicPartition: b.Spans[0].TopicPartition, Offset: int64(ours),
		Reason: "a decoder of this version has carried out what another one has gathered", At: t.client.ServerNow(time.Now())}
	a := t.client.Insert(ctx, clickhouse.Insert{Database: t.ledger.Database(), Table: ledger.TableDecisions, Token: waybill.Token("decoder-" + uuid.NewString()),
		Input: ledger.DecisionBlock([]ledger.Decision{mark})})
	if a.Err != nil {
		return false, a.Err
	}
	return true, nil
}

// reread reads the records of a pending batch's span again, and says how many offsets of it were gone when it was gathered.
func (l *life) reread(span waybill.BatchSpan, s *spanData, fn func(*waybill.Record) error) (lost int64, err error) {
	if l.p.backfill != nil {
		return l.rereadScoped(span, fn)
	}
	if _, err := l.sess.ReadSpan(l.ctx, span.TopicPartition, span.Span, fn); err != nil {
		return 0, err
	}
	return lostOf(span, s), nil
}

// lostOf: a span that was gathered without records, and in which there is nothing to be read, is an
// account of losses (see gatherer.lose). One of transaction markers still has its markers.
func lostOf(span waybill.BatchSpan, s *spanData) int64 {
	if span.Count == 0 && s.Next == span.First {
		return span.Len()
	}
	return 0
}
