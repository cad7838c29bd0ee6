package engine

import (
	"time"

	"github.com/waybill-data/waybill"
)

// watchInterval is how often a life looks at what no record tells of.
const watchInterval = 5 * time.Second

// watch measures the server's clock (deadlines depend on it), notices its restarts, and keeps end
// offsets, and so the lag, fresh for partitions that bring nothing.
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

// heard notes a partition's end.
func (l *life) heard(tp waybill.TopicPartition, end int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ends[tp] = max(end, l.ends[tp])
}
