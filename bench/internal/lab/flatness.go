package lab

import (
	"context"
	"fmt"
	"slices"

	"github.com/waybill-data/waybill/bench/internal/result"
	"github.com/waybill-data/waybill/bench/internal/workload"
)

// flatness measures what a row costs by the number of partitions of a topic, and by the number of pipelines in a process,
// each with a topic and a table of its own. The rows are the same, as is their number.
func (l *Lab) flatness(ctx context.Context, f *result.File) error {
	b, err := l.startBroker(ctx, result.KFake)
	if err != nil {
		return err
	}
	defer b.stop()
	if err := l.series(ctx, b, f, result.Partitions, l.FlatPartitions); err != nil {
		return err
	}
	return l.series(ctx, b, f, result.Pipelines, l.FlatPipelines)
}

func (l *Lab) series(ctx context.Context, b *broker, f *result.File, series string, sizes []int) error {
	var loads []preload
	for _, n := range sizes {
		p := preload{workload: workload.Small, partitions: 1, rows: l.FlatRows, seed: l.Seed}
		topics := n
		if series == result.Partitions {
			p.partitions, topics = n, 1
		}
		for i := range topics {
			p.topics = append(p.topics, fmt.Sprintf("%s-%d-%d", series, n, i))
		}
		l.say("%s: loading %d small events, %d %s", b.name, p.rows, n, series)
		if err := b.load(ctx, p); err != nil {
			return err
		}
		loads = append(loads, p)
	}
	for round := 1; round <= l.Rounds; round++ {
		for _, p := range loads {
			r, err := l.measure(ctx, b, p, contenders()[0])
			if err != nil {
				return fmt.Errorf("%d %s: %w", max(p.partitions, len(p.topics)), series, err)
			}
			r.Round, r.Series = round, series
			if err := l.same("flatness", r); err != nil {
				return err
			}
			l.sayRun(r, fmt.Sprintf("%d %s", r.Size(), series))
			f.Flatness = append(f.Flatness, r)
		}
		slices.Reverse(loads)
	}
	for _, p := range loads {
		if err := b.deleteTopics(ctx, p.topics); err != nil {
			return err
		}
	}
	return nil
}
