package engine

import (
	"errors"
	"time"

	"github.com/waybill-data/waybill"
	"github.com/waybill-data/waybill/internal/delivery"
)

// watchInterval is how often a life looks at what no record tells of.
const watchInterval = 5 * time.Second

// replanError ends a life because the table is no longer what the plan was compiled against.
type replanError struct{}

func (*replanError) Error() string { return "the table has changed" }

// watch looks at the table, measures the server's clock (deadlines depend on it), notices its
// restarts, and keeps end offsets, and so the lag, fresh for partitions that bring nothing.
func (l *life) watch() {
	var uptime time.Duration
	for l.ctx.Err() == nil {
		if err := l.p.target.client.MeasureClock(l.ctx); err != nil {
			l.p.log.Debug("clock of the server not measured", "error", err)
		}
		if up, err := l.p.target.client.Uptime(l.ctx); err == nil {
			if up < uptime {
				l.p.metrics.ServerRestart()
				l.p.log.Warn("the ClickHouse server was restarted", "uptime", up)
			}
			uptime = up
		}
		l.measureLag()
		if changed, err := l.p.target.changed(l.ctx); changed {
			l.p.log.Warn("the table has changed: compiling the plan anew", "error", err)
			l.cancel(&replanError{})
			return
		}
		if wait(l.ctx, watchInterval) != nil {
			return
		}
	}
}

func (l *life) measureLag() {
	info, err := l.sess.Describe(l.ctx)
	if err != nil {
		return
	}
	topic := l.p.cfg.Source.Kafka.Topic
	if info.TopicID != l.sess.TopicID() {
		l.p.found(l.ctx, waybill.Finding{Kind: "topic_recreated", Severity: waybill.SeverityError, TopicPartition: waybill.TopicPartition{Topic: topic, Partition: -1},
			Message: "the topic was deleted and created again: its offsets are different records under the same numbers", Action: "stopped; raise `epoch` in the pipeline file to read the new topic from its start"})
		l.step(delivery.Failed{Err: recreated(l.p.cfg.Name, topic)})
		return
	}
	for _, pi := range info.Partitions {
		l.heard(waybill.TopicPartition{Topic: topic, Partition: pi.Partition}, pi.StableEnd)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, p := range l.machine.Partitions() {
		if end, ok := l.ends[p.TopicPartition]; ok && p.Committed >= 0 {
			l.p.metrics.ForPartition(p.TopicPartition).SetLag(max(0, end-p.Committed))
		}
	}
}

func recreated(pipeline, topic string) error {
	return &waybill.Error{Op: "kafka.watch", Pipeline: pipeline, Class: waybill.ClassConfig, Position: waybill.Position{Topic: topic, Partition: -1},
		Err: errors.New("the topic was deleted and created again"), Hint: "raise `epoch` in the pipeline file to read the new topic from its start"}
}

// heard notes a partition's end.
func (l *life) heard(tp waybill.TopicPartition, end int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ends[tp] = max(end, l.ends[tp])
}
