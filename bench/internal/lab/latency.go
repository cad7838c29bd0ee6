package lab

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"golang.org/x/sync/errgroup"

	"github.com/waybill-data/waybill/bench/internal/result"
	"github.com/waybill-data/waybill/bench/internal/workload"
)

// latency measures how long events take from the producer's call until they can be selected, at a steady rate.
func (l *Lab) latency(ctx context.Context, b *broker, w *workload.Workload, f *result.File) error {
	l.say("%s: latency of %s events, %s at %d rows/s", b.name, w.Name, l.Latency, l.LatencyRate)
	topics := []string{"latency-" + w.Name}
	if err := b.load(ctx, preload{workload: w, topics: topics, partitions: l.Partitions}); err != nil { // makes the topic
		return err
	}
	srv, err := l.startServer(ctx)
	if err != nil {
		return err
	}
	defer srv.stop()
	if err := exec(ctx, srv.HTTPAddr(), w.LineageTable(tableName(0))); err != nil {
		return err
	}
	wb, err := startWaybill(setup{Delivery: "exactly-once"})(ctx, &job{Lab: l, broker: b, server: srv, workload: w, topics: topics, tables: 1, name: l.nextName()})
	if err != nil {
		return err
	}
	defer wb.kill()
	if err := wb.awaitReady(ctx); err != nil {
		return err
	}
	got, err := l.steady(ctx, b, srv, w, topics[0])
	if err != nil {
		return errors.Join(err, wb.ended())
	}
	if _, err := wb.stop(ctx); err != nil {
		return err
	}
	l.say("%s: %s events visible after p50 %.2f s, p99 %.2f s, at most %.2f s", b.name, w.Name, got.P50, got.P99, got.Max)
	f.Latency = append(f.Latency, got)
	return b.deleteTopics(ctx, topics)
}

// awaitReady waits until the worker has its partitions.
func (w worker) awaitReady(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	for ctx.Err() == nil {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+w.metrics+"/readyz", nil)
		if err != nil {
			return err
		}
		resp, err := client.Do(req)
		if err == nil {
			_ = resp.Body.Close() // nothing in it is wanted
			if resp.StatusCode == http.StatusOK {
				return nil
			}
		}
		if err := w.ended(); err != nil {
			return err
		}
		pause(ctx, watchEvery)
	}
	return fmt.Errorf("the worker is not ready: %w\n%s", ctx.Err(), w.said())
}

// steady produces at the steady rate and watches the table until all is there.
func (l *Lab) steady(ctx context.Context, b *broker, srv *server, w *workload.Workload, topic string) (result.Latency, error) {
	base, err := b.ends(ctx, topic, l.Partitions)
	if err != nil {
		return result.Latency{}, err
	}
	s := &stream{topic: topic, base: base, produced: make([][]time.Time, l.Partitions), visible: make([][]time.Time, l.Partitions)}
	total := int64(l.Latency.Seconds() * float64(l.LatencyRate))
	var took time.Duration
	g, gctx := errgroup.WithContext(ctx)
	g.Go(func() (err error) {
		took, err = s.produce(gctx, b.addr, w.New(l.Seed), total, l.LatencyRate)
		return err
	})
	g.Go(func() error { return s.watch(gctx, srv, total) })
	if err := g.Wait(); err != nil {
		return result.Latency{}, err
	}
	waits := s.waits()
	return result.Latency{Broker: b.name, Workload: w.Name, Rows: total, Rate: float64(total) / took.Seconds(),
		P50: percentile(waits, 50), P99: percentile(waits, 99), Max: percentile(waits, 100)}, nil
}

// stream is what becomes of events, by partition, and by offset from where the partition ended before.
type stream struct {
	topic    string
	base     []int64
	produced [][]time.Time // by the producer alone
	visible  [][]time.Time // by the watcher alone
}

const paceInterval = 10 * time.Millisecond

// produce sends total events at a rate, and returns how long it took to send them.
func (s *stream) produce(ctx context.Context, addr string, gen workload.Generator, total int64, rate int) (time.Duration, error) {
	client, err := producer(addr)
	if err != nil {
		return 0, err
	}
	defer client.Close()
	var misplaced atomic.Int64
	tick := time.NewTicker(paceInterval)
	defer tick.Stop()
	start := time.Now()
	for sent := int64(0); sent < total; {
		select {
		case <-ctx.Done():
			return 0, ctx.Err()
		case <-tick.C:
		}
		for due := min(total, int64(time.Since(start).Seconds()*float64(rate))); sent < due; sent++ {
			lane := int(sent % int64(len(s.produced)))
			offset := s.base[lane] + int64(len(s.produced[lane]))
			s.produced[lane] = append(s.produced[lane], time.Now())
			r := &kgo.Record{Topic: s.topic, Partition: int32(lane), Value: gen.Append(make([]byte, 0, 1200))}
			client.Produce(ctx, r, func(r *kgo.Record, err error) {
				if err != nil || r.Offset != offset {
					misplaced.Add(1)
				}
			})
		}
	}
	took := time.Since(start)
	if err := client.Flush(ctx); err != nil {
		return 0, err
	}
	if n := misplaced.Load(); n > 0 {
		return 0, fmt.Errorf("%d events were not acknowledged at their offsets", n)
	}
	return took, nil
}

// visibleEvery is how often the table is looked at: by so much, at most, an event is taken to be later than it is.
const visibleEvery = 25 * time.Millisecond

// watch notes when rows could be selected first. Rows of a partition become visible in the order of their offsets, each
// once: how many there are says which.
func (s *stream) watch(ctx context.Context, srv *server, total int64) error {
	sql := "SELECT _partition, count() FROM " + tableName(0) + " GROUP BY _partition"
	moved := time.Now()
	for seen := int64(0); seen < total; {
		text, err := query(ctx, srv.HTTPAddr(), sql)
		if err != nil {
			return err
		}
		now := time.Now()
		before := seen
		for line := range strings.Lines(text) {
			var partition, rows int
			if _, err := fmt.Sscan(line, &partition, &rows); err != nil {
				return err
			}
			for len(s.visible[partition]) < rows-int(s.base[partition]) {
				s.visible[partition] = append(s.visible[partition], now)
				seen++
			}
		}
		if seen > before {
			moved = now
		}
		if now.Sub(moved) > stuckAfter {
			return fmt.Errorf("%d of %d rows, and no more for %s", seen, total, stuckAfter)
		}
		pause(ctx, visibleEvery)
	}
	return nil
}

// waits are the times from produced to visible, ascending, in seconds.
func (s *stream) waits() (out []float64) {
	for p, produced := range s.produced {
		for i, at := range produced {
			out = append(out, s.visible[p][i].Sub(at).Seconds())
		}
	}
	slices.Sort(out)
	return out
}

// percentile by nearest rank of ascending values.
func percentile(sorted []float64, p float64) float64 {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[max(0, int(math.Ceil(p/100*float64(len(sorted))))-1)]
}
