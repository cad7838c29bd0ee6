package engine

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/waybill-data/waybill"
	"github.com/waybill-data/waybill/internal/kafka"
)

// What is out of scope is covered by the span that comes next: a span begins where the one before it ended, and ends after its last record, or where the
// scope ends. So no span tells of holes, and whoever rebuilds a batch leaves out what is out of scope in its span.

// keepToScope takes up how far the scope reaches now, and accounts for partitions in which nothing of it is left to be read.
func (g *gatherer) keepToScope() error {
	if g.scope == nil {
		return nil
	}
	g.takeUpScope(g.l.p.backfill.scope.Load())
	if err := g.takeUpHoles(); err != nil {
		return err
	}
	for tp, part := range g.parts {
		switch {
		case part.frozen || part.resume:
		case len(part.runs) > 0:
			g.lookForHole(tp, part)
		case part.next < part.until:
			if err := g.pass(tp, part, part.until); err != nil {
				return err
			}
		}
	}
	return nil
}

// takeUpScope goes on where the scope has grown.
func (g *gatherer) takeUpScope(now *Scope) {
	if now == g.scope {
		return
	}
	g.scope = now
	var at []kafka.StartAt
	for tp, part := range g.parts {
		if part.frozen || part.resume {
			continue
		}
		idle := len(part.runs) == 0
		part.until, part.runs = now.Until[tp.Partition], now.runs(tp.Partition, part.next)
		if idle && len(part.runs) > 0 {
			at = append(at, startAt(tp, part.position(part.next)))
			part.heardAt = time.Now()
		}
	}
	if len(at) > 0 {
		g.l.sess.Start(at...)
	}
}

// fromScope is from within a scope. A partition of which nothing is to be read is not read.
func (g *gatherer) fromScope(at []kafka.StartAt, tp waybill.TopicPartition, part *gathering) []kafka.StartAt {
	part.until, part.runs, part.kept = g.scope.Until[tp.Partition], g.scope.runs(tp.Partition, part.next), waybill.Span{}
	part.heardAt = time.Now()
	if len(part.runs) == 0 {
		g.l.sess.Stop(tp)
		return at
	}
	return append(at, startAt(tp, part.position(part.next)))
}

// pass accounts for offsets without records up to an offset.
func (g *gatherer) pass(tp waybill.TopicPartition, part *gathering, to int64) error {
	if err := g.ensureOpen(); err != nil {
		return err
	}
	g.span(tp, part).Next = to
	part.next = to
	return nil
}

// takeScoped decodes the records that are in scope. Where none is near any more it reads on elsewhere, or not at all.
func (g *gatherer) takeScoped(f *kafka.PartitionRecords, part *gathering) (read, bytes int64, err error) {
	now := time.Now()
	part.heardAt = now
	var all int64
	for i := range f.Records {
		all += recordBytes(&f.Records[i])
	}
	g.l.p.backfill.limit.spent(now, int64(len(f.Records)), all)
	for i := range f.Records {
		r := &f.Records[i]
		if r.Offset < part.next {
			continue
		}
		in, far := part.meets(r.Offset)
		if far {
			g.leap(f.TopicPartition, part)
			break
		}
		if !in {
			continue
		}
		if err := g.takeOne(f.TopicPartition, part, r); err != nil {
			return 0, 0, err
		}
		read++
		bytes += recordBytes(r)
	}
	return read, bytes, nil
}

// takeOne decodes a record that is in scope. The offsets before it count for nothing in the size of the batch.
func (g *gatherer) takeOne(tp waybill.TopicPartition, part *gathering, r *waybill.Record) error {
	if err := g.ensureOpen(); err != nil {
		return err
	}
	s := g.span(tp, part)
	s.Next = r.Offset
	g.open.add(g.proc, g.l.p.target.epoch, s, r)
	part.next = r.Offset + 1
	return nil
}

// leap goes on at the next offset in scope, if there is one.
func (g *gatherer) leap(tp waybill.TopicPartition, part *gathering) {
	if len(part.runs) == 0 {
		g.l.sess.Stop(tp)
		return
	}
	g.l.sess.Start(startAt(tp, part.runs[0].First))
}

func recordBytes(r *waybill.Record) int64 {
	n := len(r.Key) + len(r.Value)
	for i := range r.Headers {
		n += len(r.Headers[i].Key) + len(r.Headers[i].Value)
	}
	return int64(n)
}

// held is for how long nothing may be read, by the limits on what is read in a second.
func (g *gatherer) held() time.Duration {
	if g.scope == nil {
		return 0
	}
	left := g.l.p.backfill.limit.wait(time.Now())
	if left > 0 && g.open != nil {
		left = min(left, max(g.l.p.cfg.Batch.Age-time.Since(g.opened), time.Millisecond))
	}
	return left
}

// holeAfter is for how long nothing has come of a partition that should bring something before it is looked whether there is anything.
const holeAfter = time.Second

// passed is what a look for a hole has found.
type passed struct {
	waybill.TopicPartition
	part *gathering
	span waybill.Span
	hole bool
	err  error
}

// lookForHole looks whether the offsets that should come next hold any record, once they stay out for a while: where the scope ends in a hole, which
// compaction or an aborted transaction has left, and the log ends with it, nothing comes that would show that it is passed.
func (g *gatherer) lookForHole(tp waybill.TopicPartition, part *gathering) {
	if part.looking || part.retry > 0 || part.kept.Len() > 0 || time.Since(part.heardAt) < holeAfter {
		return
	}
	l, span := g.l, waybill.Span{First: part.position(part.next), Next: part.runs[0].Next}
	l.mu.Lock()
	end, known := l.ends[tp]
	l.mu.Unlock()
	if !known || end < span.Next {
		return
	}
	part.looking = true
	l.perform(func() {
		hole, err := l.isHole(tp, span)
		l.mu.Lock()
		defer l.mu.Unlock()
		l.holes = append(l.holes, passed{tp, part, span, hole, err})
		poke(l.wake)
	})
}

var errNoHole = errors.New("there is a record")

// isHole reports whether a span holds no record, by the brokers' word on what comes after it.
func (l *life) isHole(tp waybill.TopicPartition, span waybill.Span) (bool, error) {
	res, err := l.sess.ReadSpan(l.ctx, tp, span, func(*waybill.Record) error { return errNoHole })
	switch {
	case errors.Is(err, errNoHole):
		return false, nil
	case err != nil:
		return false, err
	}
	return res.Next >= span.Next && res.LogStart <= span.First, nil // before the log's start is no hole, but a loss
}

// takeUpHoles passes the holes that have been found.
func (g *gatherer) takeUpHoles() error {
	g.l.mu.Lock()
	found := g.l.holes
	g.l.holes = nil
	g.l.mu.Unlock()
	for _, p := range found {
		part := g.parts[p.TopicPartition]
		if part != p.part || part.frozen || part.resume {
			continue
		}
		part.looking, part.heardAt = false, time.Now()
		g.l.trouble(aboutFetch(p.TopicPartition), p.err, tally(&part.looks, p.err))
		if !p.hole || len(part.runs) == 0 || part.position(part.next) != p.span.First {
			continue
		}
		if err := g.pass(p.TopicPartition, part, p.span.Next); err != nil {
			return err
		}
		part.meets(part.next)
	}
	return nil
}

// keptHere reports whether the archive has what is to be read next of a partition and the topic no longer retains, and has it read from there. If it has
// what comes later only, lost is up to where neither has anything.
func (g *gatherer) keptHere(tp waybill.TopicPartition, part *gathering, logStart int64) (kept bool, lost int64, err error) {
	b := g.l.p.backfill
	if b == nil || b.Archive == nil {
		return false, logStart, nil
	}
	holds, err := b.Archive.Holds(g.l.ctx, tp.Topic)
	if err != nil {
		return false, 0, err
	}
	at := part.position(part.next)
	held := holds[tp.Partition].Within(waybill.Span{First: at, Next: logStart})
	switch run := held.Bounds(); {
	case held.Empty():
		return false, logStart, nil
	case run.First > at:
		return false, run.First, nil
	}
	part.kept = held.Spans()[0]
	return true, 0, nil
}

// takeKept decodes records that the archive has and the topic no longer retains; some reports whether there were any partitions to be read there.
func (g *gatherer) takeKept() (some bool, err error) {
	if g.scope == nil {
		return false, nil
	}
	for tp, part := range g.parts {
		if part.frozen || part.resume || part.kept.Len() == 0 {
			continue
		}
		some = true
		if err := g.takeKeptOf(tp, part); err != nil {
			return true, err
		}
		if full, _ := g.due(); full {
			break
		}
	}
	return some, nil
}

func (g *gatherer) takeKeptOf(tp waybill.TopicPartition, part *gathering) error {
	l := g.l
	part.meets(part.kept.First)
	if len(part.runs) == 0 {
		part.kept = waybill.Span{}
		return nil
	}
	first := max(part.kept.First, part.runs[0].First)
	span := waybill.Span{First: first, Next: min(part.kept.Next, part.runs[0].Next, first+int64(g.room()))}
	if span.Len() <= 0 { // the scope goes on where the topic has it
		g.unkept(tp, part)
		return nil
	}
	var n, bytes int64
	var refused error
	next, err := l.p.backfill.Archive.Read(l.ctx, tp, span, func(r *waybill.Record) error {
		if r.Offset < part.next {
			return nil
		}
		refused = g.takeOne(tp, part, r)
		n, bytes = n+1, bytes+recordBytes(r)
		return refused
	})
	l.p.noteRead(n, bytes)
	l.p.backfill.limit.spent(time.Now(), n, bytes)
	if g.open != nil {
		if over := g.open.size() - g.taken; over > 0 {
			l.p.budget.force(over)
			g.taken += over
		}
	}
	if refused != nil {
		return refused
	}
	if err == nil && next < span.Next {
		err = fmt.Errorf("the archive gave nothing past %d of %s", next, span)
	}
	if err != nil {
		l.trouble(aboutFetch(tp), err, part.retry)
		part.retry++
		part.kept = waybill.Span{}
		g.again(tp, part)
		return l.ctx.Err()
	}
	part.retry = 0
	l.p.cleared(aboutFetch(tp))
	if part.kept.First = span.Next; part.next < span.Next {
		if err := g.pass(tp, part, span.Next); err != nil {
			return err
		}
	}
	if part.kept.Len() == 0 {
		g.unkept(tp, part)
	}
	return nil
}

// unkept goes on with a partition where the topic has it.
func (g *gatherer) unkept(tp waybill.TopicPartition, part *gathering) {
	if at := g.fromScope(nil, tp, part); len(at) > 0 {
		g.l.sess.Start(at...)
	}
}

// rereadScoped is reread of a batch that was gathered in a scope.
func (l *life) rereadScoped(span waybill.BatchSpan, fn func(*waybill.Record) error) (lost int64, err error) {
	scope, err := l.p.backfill.pendingScope(l.p.cfg.Name, span)
	if err != nil {
		return 0, err
	}
	want := scope.Offsets[span.Partition].Within(span.Span)
	var gone waybill.OffsetSet
	for _, piece := range want.Joined(farGap) {
		out, err := l.readKept(l.ctx, span.TopicPartition, piece, func(r *waybill.Record) error {
			if !want.Contains(r.Offset) {
				return nil
			}
			return fn(r)
		})
		if err != nil {
			return 0, err
		}
		gone = gone.Union(out)
	}
	if span.Count > 0 {
		return 0, nil
	}
	// It was gathered without records: it is an account of losses as far as the topic has lost it, and of holes where it has not. Holes that the topic
	// has lost since cannot be told from losses any more.
	return want.Intersect(gone).Len(), nil
}

// readKept reads a span again, from the archive where the topic no longer has it. gone is what neither of them has.
func (l *life) readKept(ctx context.Context, tp waybill.TopicPartition, span waybill.Span, fn func(*waybill.Record) error) (gone waybill.OffsetSet, err error) {
	if b := l.p.backfill; b != nil && b.Archive != nil {
		if span.First, gone, err = l.readArchive(ctx, tp, span, fn); err != nil || span.Len() <= 0 {
			return gone, err
		}
	}
	res, err := l.sess.ReadSpan(ctx, tp, span, fn)
	if err == nil && res.LogStart > span.First {
		gone.AddSpan(waybill.Span{First: span.First, Next: min(res.LogStart, span.Next)})
	}
	return gone, err
}

// readArchive reads what the archive has of a span and the topic has not. It says from where on the topic is to be read, and what of the offsets
// before nobody has.
func (l *life) readArchive(ctx context.Context, tp waybill.TopicPartition, span waybill.Span, fn func(*waybill.Record) error) (from int64, gone waybill.OffsetSet, err error) {
	info, err := l.sess.Describe(ctx)
	if err != nil {
		return 0, gone, err
	}
	from = span.First
	for _, p := range info.Partitions {
		if p.Partition == tp.Partition {
			from = max(span.First, min(p.LogStart, span.Next))
		}
	}
	if from == span.First {
		return from, gone, nil
	}
	holds, err := l.p.backfill.Archive.Holds(ctx, tp.Topic)
	if err != nil {
		return 0, gone, err
	}
	lost := waybill.OffsetsIn(waybill.Span{First: span.First, Next: from})
	for _, kept := range lost.Intersect(holds[tp.Partition]).Spans() {
		next, err := l.p.backfill.Archive.Read(ctx, tp, kept, fn)
		if err != nil {
			return 0, gone, err
		}
		if next < kept.Next {
			return 0, gone, &waybill.Error{Op: "archive.read", Pipeline: l.p.cfg.Name, Class: waybill.ClassRetryable, Err: fmt.Errorf("the archive gave nothing past %d of %s", next, kept)}
		}
		lost = lost.Minus(waybill.OffsetsIn(kept))
	}
	return from, lost, nil
}
