package engine

import (
	"context"
	"errors"
	"time"

	"github.com/waybill-data/waybill"
	"github.com/waybill-data/waybill/internal/delivery"
	"github.com/waybill-data/waybill/internal/kafka"
	"github.com/waybill-data/waybill/internal/watchdog"
)

// watchInterval is how often a life looks at what no record tells of.
const watchInterval = 5 * time.Second

// outdated has the gatherer compile the plan anew before it goes on.
func (l *life) outdated() {
	l.stale.Store(true)
	poke(l.wake)
}

// lookAgain compares the table with what it was, and has what has changed taken up.
func (l *life) lookAgain() change {
	changed, err := l.p.target.changed(l.ctx)
	switch changed {
	case tableChanged:
		l.p.log.Warn("the table has changed: looking at it anew", "error", err)
		l.cancel(&replanError{})
	case columnsChanged:
		l.outdated()
	case unchanged:
		if err != nil {
			l.p.log.Debug("the table could not be looked at", "error", err)
		}
	}
	return changed
}

// outdatedSince reports whether the table is no longer as it was read. The gatherer may read it anew at the same time: that it is as it was
// read last says nothing then.
func (l *life) outdatedSince(s *shape) bool {
	return l.p.target.now() != s || l.lookAgain() != unchanged || l.p.target.now() != s
}

// watch looks at the table, measures the server's clock (deadlines depend on it), notices its
// restarts, and keeps end offsets, and so the lag, fresh for partitions that bring nothing.
func (l *life) watch() {
	var unanswered struct{ server, brokers int } // in a row
	for l.ctx.Err() == nil {
		err := l.p.target.client.MeasureClock(l.ctx)
		l.trouble(aboutServer, err, tally(&unanswered.server, err))
		if started, server, err := l.p.target.client.Boot(l.ctx); err == nil {
			if what := l.p.boots.Look(watchdog.Boot{Started: started, Server: server}); what != "" {
				l.p.metrics.ServerRestart()
				l.p.log.Warn("the server was restarted, or is another", "what", what)
				l.p.auditor.restarted(started, what)
				if l.p.target.content != nil {
					l.p.target.content.Forget()
				}
			}
		}
		err = l.measureLag(l.ctx)
		l.trouble(aboutBrokers, err, tally(&unanswered.brokers, err))
		if err == nil && l.sess.LeaseValid() {
			l.p.cleared(aboutMembership)
			l.p.assigned.Store(true) // a member that there are no partitions for is told nothing
		}
		if l.lookAgain() == tableChanged {
			return
		}
		if err := l.p.flushDrift(l.ctx, l.p.target); err != nil {
			l.p.log.Debug("drift not recorded yet", "error", err)
		}
		l.p.target.lookForDetours(l.ctx, l.p)
		l.measureBatches()
		l.mu.Lock()
		l.blocks.sweep()
		l.mu.Unlock()
		if l.waitAndTell() != nil {
			return
		}
	}
}

// measureBatches shows how many batches are in each stage, and how old the oldest is.
func (l *life) measureBatches() {
	counts := map[delivery.Stage]int{}
	var oldest time.Duration
	now := l.p.target.client.ServerNow(time.Now())
	l.mu.Lock()
	for _, w := range l.machine.Works() {
		counts[w.Stage]++
		oldest = max(oldest, now.Sub(time.UnixMilli(w.Batch.Time)))
	}
	l.mu.Unlock()
	for _, s := range delivery.Stages() {
		if s != delivery.StageGone {
			l.p.metrics.SetBatches(s.String(), counts[s])
		}
	}
	l.p.metrics.SetOldestUnsettled(oldest)
}

// tally counts errors in a row: it answers how many there were before this one.
func tally(n *int, err error) int {
	if err == nil {
		*n = 0
		return 0
	}
	*n++
	return *n - 1
}

// describeTimeout bounds one look at the brokers.
const describeTimeout = 10 * time.Second

// measureLag asks the brokers where the partitions end.
func (l *life) measureLag(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, describeTimeout)
	defer cancel()
	at := l.p.target.clock() // before the question: what is appended from here on may not be in the answer
	info, err := l.sess.Describe(ctx)
	if err != nil {
		return err
	}
	topic := l.p.cfg.Source.Kafka.Topic
	if info.TopicID != l.sess.TopicID() {
		l.p.found(waybill.Finding{Kind: "topic_recreated", Severity: waybill.SeverityError, TopicPartition: waybill.TopicPartition{Topic: topic, Partition: -1},
			Message: "the topic was deleted and created again: its offsets are different records under the same numbers", Action: "stopped; raise `epoch` in the pipeline file to read the new topic from its start"})
		l.step(delivery.Failed{Err: recreated(l.p.cfg.Name, topic)})
		return nil
	}
	l.noteExtents(at, info)
	if err := l.tellThrough(ctx, at, int32(len(info.Partitions))); err != nil { //nolint:gosec // few partitions
		l.p.log.Debug("up to when all is complete could not be said", "error", err)
	}
	return nil
}

// noteExtents takes in where the brokers said that partitions end.
func (l *life) noteExtents(at int64, info kafka.TopicInfo) {
	topic := l.p.cfg.Source.Kafka.Topic
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, pi := range info.Partitions {
		tp := waybill.TopicPartition{Topic: topic, Partition: pi.Partition}
		l.endsAt(tp, pi.StableEnd)
		l.begins[tp] = pi.LogStart
	}
	held := l.machine.Partitions()
	l.asked(at, info, held)
	l.p.forgetTroubles(held)
	for _, p := range held {
		if end, ok := l.ends[p.TopicPartition]; ok && p.Committed >= 0 {
			l.p.metrics.ForPartition(p.TopicPartition).SetLag(max(0, end-p.Committed))
		}
	}
}

// lastWord is how complete the partitions are as the worker leaves them.
func (l *life) lastWord(ctx context.Context) {
	l.telling.saidAt = time.Time{} // also if nothing was settled since
	if err := l.measureLag(ctx); err != nil {
		l.p.log.Debug("the brokers could not be asked at the end", "error", err)
	}
}

func recreated(pipeline, topic string) error {
	return &waybill.Error{Op: "kafka.watch", Pipeline: pipeline, Class: waybill.ClassConfig, Position: waybill.Position{Topic: topic, Partition: -1},
		Err: errors.New("the topic was deleted and created again"), Hint: "raise `epoch` in the pipeline file to read the new topic from its start"}
}

// heard notes the ends of partitions that records came from.
func (l *life) heard(fetched []kafka.PartitionRecords) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := range fetched {
		l.endsAt(fetched[i].TopicPartition, fetched[i].LastStableOffset)
	}
}

// endsAt notes a partition's end. l.mu is held.
func (l *life) endsAt(tp waybill.TopicPartition, end int64) { l.ends[tp] = max(end, l.ends[tp]) }
