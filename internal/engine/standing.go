package engine

import (
	"context"
	"time"

	"github.com/waybill-data/waybill"
	"github.com/waybill-data/waybill/internal/kafka"
	"github.com/waybill-data/waybill/internal/status"
)

// lagEvery is how often a pipeline that stands still asks how far its group is behind: all of its workers do, about all partitions.
const lagEvery = 10 * time.Second

// lags reports how far a group is behind while nobody is in it.
type lags struct {
	p      *Pipeline
	reader *kafka.Reader
	next   time.Time
	told   map[waybill.TopicPartition]bool
}

func (p *Pipeline) newLags() *lags { return &lags{p: p, told: map[waybill.TopicPartition]bool{}} }

// look asks, if it is time to. What cannot be asked is asked again later: the pipeline stands still for another reason.
func (g *lags) look(ctx context.Context) {
	if time.Now().Before(g.next) {
		return
	}
	g.next = time.Now().Add(lagEvery)
	ctx, cancel := context.WithTimeout(ctx, heedTimeout)
	defer cancel()
	parts, err := g.ask(ctx)
	if err != nil {
		g.p.log.Warn("how far the group is behind could not be read", "error", err)
		g.end()
		return
	}
	for _, at := range parts {
		tp := waybill.TopicPartition{Topic: at.Topic, Partition: at.Partition}
		if at.Lag >= 0 {
			g.p.metrics.ForPartition(tp).SetLag(at.Lag)
			g.told[tp] = true
		}
	}
	g.p.lags.Store(&parts)
}

func (g *lags) ask(ctx context.Context) ([]status.Partition, error) {
	if g.reader == nil {
		to := g.p.kafkaConfig()
		reader, err := kafka.OpenReader(ctx, to)
		if err != nil {
			return nil, err
		}
		g.reader = reader
	}
	info, err := g.reader.Describe(ctx)
	if err != nil {
		return nil, err
	}
	committed, err := g.reader.GroupOffsets(ctx, g.p.cfg.Source.Kafka.Group)
	if err != nil {
		return nil, err
	}
	out := make([]status.Partition, 0, len(info.Partitions))
	for _, pi := range info.Partitions {
		at := status.Partition{Topic: g.p.cfg.Source.Kafka.Topic, Partition: pi.Partition, State: status.Frozen, Position: -1, Settled: -1, End: pi.StableEnd, Lag: -1}
		if offset, ok := committed[pi.Partition]; ok {
			at.Position, at.Settled, at.Lag = offset, offset, max(0, pi.StableEnd-offset)
		}
		out = append(out, at)
	}
	return out, nil
}

// end withdraws what was reported: who is in the group says it from here on.
func (g *lags) end() {
	g.p.lags.Store(nil)
	for tp := range g.told {
		g.p.metrics.ForPartition(tp).Release()
	}
	clear(g.told)
	if g.reader != nil {
		g.reader.Close()
		g.reader = nil
	}
}
