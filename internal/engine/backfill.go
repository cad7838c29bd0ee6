package engine

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/waybill-data/waybill"
	"github.com/waybill-data/waybill/internal/config"
	"github.com/waybill-data/waybill/internal/delivery"
	"github.com/waybill-data/waybill/internal/status"
)

// Backfill is what a pipeline is to do that makes rows anew, see docs/adr/0015.
type Backfill struct {
	// Scope is asked once a second. It must be the same for all workers of the group; some may hear of its growth later than others.
	Scope func() Scope
	// RecordsPerSecond and BytesPerSecond bound what this worker reads, keys, values and headers as Kafka has them; 0: any. What is read again
	// to carry out a batch that another worker has promised is beyond them.
	RecordsPerSecond, BytesPerSecond int64
	// Archive is read where the topic no longer retains what is in scope; nil: there is none, and what is gone is lost.
	Archive ArchiveReader
}

// ArchiveReader reads the records that a pipeline has kept.
type ArchiveReader interface {
	// Holds are the offsets of a topic, by partition, of which the archive has the record, or knows that there is none to be had.
	Holds(ctx context.Context, topic string) (map[int32]waybill.OffsetSet, error)
	// Read gives the records of a span to fn, in offset order, and says up to where it has read. A record is fn's only until fn returns; fn's error
	// ends the reading and is returned. What it does not hold is an error, too.
	Read(ctx context.Context, tp waybill.TopicPartition, span waybill.Span, fn func(*waybill.Record) error) (next int64, err error)
}

// backfill is a backfill that runs in this process.
type backfill struct {
	Backfill
	limit limiter // the gatherer's
	scope atomic.Pointer[Scope]

	mu       sync.Mutex // guards what follows
	complete bool
	samples  []progressSample // oldest first
}

// NewBackfill makes a pipeline that has not started, and that ends by itself when the whole scope is on the account. cfg is what config.Pipeline.Shadow
// has derived. Any number of processes may run the same backfill: its group shares the partitions out.
func NewBackfill(cfg *config.Pipeline, deps Deps, b Backfill) *Pipeline {
	return newPipeline(cfg, deps, &backfill{Backfill: b, limit: newLimiter(b.RecordsPerSecond, b.BytesPerSecond)})
}

// errComplete ends the last life of a backfill.
var errComplete = errors.New("the whole scope is on the account")

// scopeInterval is how often a backfill asks what its scope is.
const scopeInterval = time.Second

// refresh asks for the scope; changed says that it is another one.
func (b *backfill) refresh() (changed bool, err error) {
	next := b.Scope()
	was := b.scope.Load()
	if was != nil {
		if was.Final == next.Final && maps.Equal(was.Until, next.Until) {
			return false, nil
		}
		if err := was.grown(&next); err != nil {
			return false, err
		}
	}
	b.scope.Store(&next)
	return true, nil
}

// keepScope looks how far the scope reaches, and ends the life when all of it is on the account.
func (l *life) keepScope() {
	b := l.p.backfill
	for failures := 0; ; {
		changed, err := b.refresh()
		if err != nil {
			l.step(delivery.Failed{Err: l.p.badScope(err)})
			return
		}
		if changed {
			poke(l.wake)
		}
		b.sample(time.Now(), l.settledOf())
		done, err := l.isComplete()
		l.trouble(aboutScope, err, tally(&failures, err))
		if done {
			b.mu.Lock()
			b.complete = true
			b.mu.Unlock()
			l.p.log.Info("the backfill is complete: the whole scope is on the account")
			l.cancel(errComplete)
			return
		}
		if wait(l.ctx, scopeInterval) != nil {
			return
		}
	}
}

// badScope: what is on the account may not be what the scope says now.
func (p *Pipeline) badScope(err error) error {
	return &waybill.Error{Op: "backfill", Pipeline: p.cfg.Name, Class: waybill.ClassBug, Err: err, Hint: "cancel the backfill, and plan another one"}
}

// settledOf are the committed offsets of the partitions that this worker has.
func (l *life) settledOf() map[int32]int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := map[int32]int64{}
	for _, p := range l.machine.Partitions() {
		if p.Committed >= 0 && p.State == "running" {
			out[p.Partition] = p.Committed
		}
	}
	return out
}

// isComplete: nothing is to come any more, in whichever worker's partitions. A committed offset is past nothing that is not on the account.
func (l *life) isComplete() (bool, error) {
	scope := l.p.backfill.scope.Load()
	if !scope.Final || !l.p.assigned.Load() { // before somebody has joined it there is no group to be asked
		return false, nil
	}
	for p, settled := range l.settledOf() {
		if settled < scope.Until[p] {
			return false, nil
		}
	}
	var parts []waybill.TopicPartition
	for _, p := range slices.Sorted(maps.Keys(scope.Until)) {
		if scope.Until[p] > 0 {
			parts = append(parts, waybill.TopicPartition{Topic: l.p.cfg.Source.Kafka.Topic, Partition: p})
		}
	}
	if len(parts) == 0 {
		return true, nil
	}
	committed, err := l.sess.FetchOffsets(l.ctx, parts)
	if err != nil {
		return false, err
	}
	for _, tp := range parts {
		if committed[tp].Offset < scope.Until[tp.Partition] {
			return false, nil
		}
	}
	return true, nil
}

// pendingScope is the scope that a batch with this span was gathered in: the span ends where a scope ended or before. Whoever gathered it may have heard
// of a growth that this worker has not heard of yet.
func (b *backfill) pendingScope(pipeline string, span waybill.BatchSpan) (*Scope, error) {
	if s := b.scope.Load(); span.Next <= s.Until[span.Partition] {
		return s, nil
	}
	return nil, &waybill.Error{Op: "recover", Pipeline: pipeline, Class: waybill.ClassRetryable, Position: waybill.Position{Topic: span.Topic, Partition: span.Partition, Offset: span.Next},
		Err: fmt.Errorf("a pending batch ends at %d, which is past the end of the scope as it is known here", span.Next)}
}

// progressSample is how many offsets of the scope were settled at a time, by partition.
type progressSample struct {
	at   time.Time
	done map[int32]int64
}

// progressWindow is what rates are averaged over.
const progressWindow = 15 * time.Second

// sample notes how far the partitions of this worker are.
func (b *backfill) sample(now time.Time, settled map[int32]int64) {
	scope := b.scope.Load()
	s := progressSample{now, map[int32]int64{}}
	for p, at := range settled {
		s.done[p] = scope.count(p, waybill.Span{First: 0, Next: at})
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.samples = append(b.samples, s)
	for len(b.samples) > 2 && now.Sub(b.samples[1].at) > progressWindow {
		b.samples = b.samples[1:]
	}
}

// rate is how many offsets of a partition's scope were settled in a second, since this worker has had it or in the last while. b.mu is held.
func (b *backfill) rate(partition int32) float64 {
	if len(b.samples) < 2 {
		return 0
	}
	last := b.samples[len(b.samples)-1]
	for _, s := range b.samples[:len(b.samples)-1] {
		if was, known := s.done[partition]; known {
			return max(0, float64(last.done[partition]-was)/last.at.Sub(s.at).Seconds())
		}
	}
	return 0
}

// progress is how far the partitions of this worker are.
func (b *backfill) progress(job string, parts []status.Partition) *status.Backfill {
	out := &status.Backfill{Job: job, ETASeconds: -1, RecordsPerSecond: b.RecordsPerSecond, BytesPerSecond: b.BytesPerSecond, Partitions: []status.BackfillPartition{}}
	b.mu.Lock()
	defer b.mu.Unlock()
	out.Complete = b.complete
	scope := b.scope.Load()
	if scope == nil {
		return out
	}
	out.Final = scope.Final
	for i := range parts {
		p := &parts[i]
		until := scope.Until[p.Partition]
		one := status.BackfillPartition{Topic: p.Topic, Partition: p.Partition, Position: p.Position, Settled: p.Settled, Until: until,
			Left: scope.count(p.Partition, waybill.Span{First: max(0, p.Settled), Next: until}), Rate: b.rate(p.Partition)}
		one.ETASeconds = eta(one.Left, one.Rate)
		out.Left, out.Rate = out.Left+one.Left, out.Rate+one.Rate
		out.ETASeconds = max(out.ETASeconds, one.ETASeconds)
		out.Partitions = append(out.Partitions, one)
	}
	for _, one := range out.Partitions {
		if one.ETASeconds < 0 {
			out.ETASeconds = -1
		}
	}
	return out
}

// eta is how long the rest takes at a rate; -1 if that cannot be told.
func eta(left int64, rate float64) float64 {
	switch {
	case left == 0:
		return 0
	case rate == 0:
		return -1
	}
	return float64(left) / rate
}
