package engine

import (
	"context"
	"math"
	"time"

	"github.com/google/uuid"

	"github.com/waybill-data/waybill"
	"github.com/waybill-data/waybill/internal/clickhouse"
	"github.com/waybill-data/waybill/internal/delivery"
	"github.com/waybill-data/waybill/internal/kafka"
	"github.com/waybill-data/waybill/internal/ledger"
	"github.com/waybill-data/waybill/internal/through"
)

// noTimes are those of a span without records.
func noTimes() through.Times { return through.Times{Oldest: math.MaxInt64, Appended: true} }

// noteTime takes in a record's time, and when its event happened.
func (s *spanData) noteTime(r *waybill.Record, event int64, eventTimes bool) {
	s.times.Oldest = min(s.times.Oldest, r.Time, event)
	s.times.Last = r.Time
	s.times.Appended = s.times.Appended && r.Appended && !eventTimes
}

// idleWord is how often is said that time goes on, while nothing is settled.
const idleWord = 15 * time.Second

// telling is what a life says of up to when its partitions are complete. tracker and times are guarded by life.mu, the rest is the watch's.
type telling struct {
	tracker *through.Tracker
	// times are those of spans that are not settled, by where they end.
	times map[waybill.TopicPartition]map[int64]through.Times

	partitions int32 // of the topic, as was said last; 0: nothing was said
	said       map[int32]through.Word
	saidAt     time.Time
	askedAt    int64 // when the brokers were asked last
	askedOf    int32 // and how many partitions there were
}

func newTelling(lateness time.Duration) telling {
	return telling{tracker: through.New(lateness), times: map[waybill.TopicPartition]map[int64]through.Times{}, said: map[int32]through.Word{}}
}

// timesOf notes the times of a batch's spans until they are settled. l.mu is held.
func (l *life) timesOf(d *data) {
	for _, s := range d.spans {
		b, ok := d.batch.Span(s.TopicPartition)
		if !ok || s.tally.Read == 0 {
			continue
		}
		if l.telling.times[s.TopicPartition] == nil {
			l.telling.times[s.TopicPartition] = map[int64]through.Times{}
		}
		l.telling.times[s.TopicPartition][b.Next] = s.times
	}
}

// passed is told that the committed offset of a partition has moved. l.mu is held.
func (l *life) passed(tp waybill.TopicPartition, offset int64) {
	newest, last := int64(-1), (*through.Times)(nil)
	for next, t := range l.telling.times[tp] {
		if next > offset {
			continue
		}
		if next > newest {
			newest, last = next, &t
		}
		delete(l.telling.times[tp], next)
	}
	l.telling.tracker.Settled(tp.Partition, offset, last)
}

// asked takes in where the brokers said that partitions end, when they were asked at a time. l.mu is held.
func (l *life) asked(at int64, info kafka.TopicInfo, held []delivery.PartitionStatus) {
	ends := map[int32]int64{}
	for _, p := range info.Partitions {
		ends[p.Partition] = p.End // not the stable end: what is in an open transaction was appended before, too
	}
	for _, p := range held {
		// Before it is running the position may be one that the ledger contradicts, or an older epoch's.
		if end, ok := ends[p.Partition]; ok && (p.State == "running" || p.State == "checking") && p.Committed >= 0 {
			l.telling.tracker.Seen(p.Partition, at, end, min(p.Committed, p.Next))
		}
	}
}

// clock is the time by the worker's clock or the server's, whichever is behind: one that is ahead must not make it claim too much.
func (t *target) clock() int64 {
	now := time.Now()
	return min(now.UnixMilli(), t.client.ServerNow(now).UnixMilli())
}

// tellThrough says in the table through what is new, and reads what is known of all partitions.
func (l *life) tellThrough(ctx context.Context, at int64, partitions int32) error {
	if l.p.backfill != nil {
		return nil // the account has holes where records are that are out of scope
	}
	t, k, topic := l.p.target, &l.telling, l.p.cfg.Source.Kafka.Topic
	k.askedAt, k.askedOf = at, partitions
	grown, err := l.grown(ctx, partitions)
	if err != nil {
		return err
	}
	l.mu.Lock()
	words := l.telling.tracker.Words()
	l.mu.Unlock()
	fresh, moved := k.news(words)
	if len(fresh) > 0 && (moved || len(grown) > 0 || time.Since(k.saidAt) >= idleWord) {
		a := t.client.Insert(ctx, clickhouse.Insert{Database: t.ledger.Database(), Table: ledger.TableThrough, Token: waybill.Token("through-" + uuid.NewString()),
			Input: ledger.ThroughBlock(l.p.cfg.Name, l.p.target.epoch, topic, append(fresh, grown...), partitions, at)})
		if a.Err != nil {
			return a.Err // said again the next time, with what has come to it
		}
		k.saidAt, k.partitions = time.Now(), partitions
		for _, w := range fresh {
			k.said[w.Partition] = w
		}
	}
	all, err := t.ledger.CompleteThrough(ctx, l.p.cfg.Name, l.p.target.epoch, topic)
	if err != nil {
		return err
	}
	l.p.complete.Store(max(l.p.complete.Load(), all.Through.UnixMilli()))
	if !all.Through.IsZero() {
		l.p.metrics.SetCompleteThrough(all.Through)
	}
	return nil
}

// tellEvery is how often is looked whether what was settled since the brokers were asked makes more complete.
const tellEvery = time.Second

// waitAndTell waits until it is time to look at things again, and says meanwhile what is complete by what has been settled.
func (l *life) waitAndTell() error {
	for range watchInterval / tellEvery {
		if err := wait(l.ctx, tellEvery); err != nil {
			return err
		}
		if l.telling.askedOf == 0 || !l.furtherThrough() {
			continue
		}
		if err := l.tellThrough(l.ctx, l.telling.askedAt, l.telling.askedOf); err != nil {
			l.p.log.Debug("up to when all is complete could not be said", "error", err)
		}
	}
	return nil
}

// furtherThrough reports whether some partition is complete further than was said.
func (l *life) furtherThrough() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, w := range l.telling.tracker.Words() {
		if w.Through > l.telling.said[w.Partition].Through {
			return true
		}
	}
	return false
}

// news are the words that say more than before, and whether that is because something was settled.
func (k *telling) news(words []through.Word) (fresh []through.Word, moved bool) {
	for _, w := range words {
		before, said := k.said[w.Partition]
		if said && w.Through <= before.Through && w.Settled <= before.Settled {
			continue
		}
		fresh = append(fresh, w)
		moved = moved || !said || w.Settled > before.Settled
	}
	return fresh, moved
}

// grown are words on partitions that were added since anybody has said how many there are: all their records came after the topic had been
// seen without them.
func (l *life) grown(ctx context.Context, partitions int32) (out []through.Word, err error) {
	if partitions == l.telling.partitions {
		return nil, nil
	}
	before, err := l.p.target.ledger.CompleteThrough(ctx, l.p.cfg.Name, l.p.target.epoch, l.p.cfg.Source.Kafka.Topic)
	if err != nil || before.Partitions == 0 {
		return nil, err
	}
	for p := before.Partitions; p < partitions; p++ {
		out = append(out, through.Word{Partition: p, Through: before.Seen.Add(-l.p.cfg.AllowedLateness).UnixMilli()})
	}
	return out, nil
}
