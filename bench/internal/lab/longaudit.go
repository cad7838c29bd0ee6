package lab

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/waybill-data/waybill/bench/internal/result"
	"github.com/waybill-data/waybill/bench/internal/system"
	"github.com/waybill-data/waybill/bench/internal/workload"
)

// LongAudit measures what the continuous audit costs at a steady rate, over many of its rounds: a pipeline without it, one with it, and again
// the other way round, Latency long each, with events of the first workload. It writes what it has measured to out.
func LongAudit(ctx context.Context, o Options, out io.Writer) error {
	l := newLab(o)
	machine, err := l.describe(ctx)
	if err != nil {
		return err
	}
	w, err := workload.ByName(l.Workloads[0])
	if err != nil {
		return err
	}
	b, err := l.startBroker(ctx, result.KFake)
	if err != nil {
		return err
	}
	defer b.stop()
	if _, err := fmt.Fprintf(out, "commit %s, %s\n%s events at %d rows/s for %s, %d partitions, kfake; CPU-s per million rows\n\n", machine.Commit, machine.CPU, w.Name, l.LatencyRate, l.Latency, l.Partitions); err != nil {
		return err
	}
	order := []contender{waybill(result.Unaudited, setup{Unaudited: "what it costs is measured"}), waybill(result.Audited, setup{})}
	var runs []result.Run
	for range 2 {
		for _, c := range order {
			r, err := l.paced(ctx, b, w, c)
			if err != nil {
				return fmt.Errorf("%s: %w", c.name, err)
			}
			runs = append(runs, r)
			if _, err := fmt.Fprintf(out, "%-20s %9d rows   worker %6.3f   server %6.3f   load %.1f\n", c.name, r.Rows, r.WorkerCPU, r.ServerCPU, r.Load); err != nil {
				return err
			}
		}
		slices.Reverse(order)
	}
	_, err = fmt.Fprintf(out, "\nwith the audit / without: worker %.3f, server %.3f\n", auditRatio(runs, func(r result.Run) float64 { return r.WorkerCPU }), auditRatio(runs, func(r result.Run) float64 { return r.ServerCPU }))
	return err
}

func auditRatio(runs []result.Run, value func(result.Run) float64) float64 {
	sums := map[string]float64{}
	for _, r := range runs {
		sums[r.Contender] += value(r)
	}
	return sums[result.Audited] / sums[result.Unaudited]
}

// paced has one contender take what is produced at the steady rate.
func (l *Lab) paced(ctx context.Context, b *broker, w *workload.Workload, c contender) (r result.Run, err error) {
	name := l.nextName()
	topics := []string{"paced-" + name}
	if err := b.load(ctx, preload{workload: w, topics: topics, partitions: l.Partitions}); err != nil { // makes the topic
		return r, err
	}
	srv, err := l.startServer(ctx)
	if err != nil {
		return r, err
	}
	defer srv.stop()
	if err := exec(ctx, srv.HTTPAddr(), c.table(w, tableName(0))); err != nil {
		return r, err
	}
	j := &job{Lab: l, broker: b, server: srv, workload: w, topics: topics, tables: 1, name: name}
	total := int64(l.Latency.Seconds() * float64(l.LatencyRate))
	r = result.Run{Broker: b.name, Workload: w.Name, Contender: c.name, Partitions: l.Partitions, Pipelines: 1, Rows: total}
	l.say("%s: %d rows at %d rows/s", c.name, total, l.LatencyRate)
	before, err := j.others()
	if err != nil {
		return r, err
	}
	start := time.Now()
	worker, err := c.start(ctx, j)
	if err != nil {
		return r, err
	}
	defer worker.kill()
	s := &stream{topic: topics[0], base: make([]int64, l.Partitions), produced: make([][]time.Time, l.Partitions)}
	if _, err := s.produce(ctx, b.addr, w.New(l.Seed), total, l.LatencyRate); err != nil {
		return r, errors.Join(err, worker.ended())
	}
	if err := j.watch(ctx, worker, start, &r); err != nil {
		return r, err
	}
	cpu, err := worker.stop(ctx)
	if err != nil {
		return r, err
	}
	if r.Quiet, err = srv.awaitQuiet(ctx, l.QuietFor); err != nil {
		return r, err
	}
	after, err := j.others()
	if err != nil {
		return r, err
	}
	r.Load = system.Load()
	r.WorkerCPU, r.ServerCPU = perMillion(cpu, total), perMillion(after.server-before.server, total)
	if err := j.check(ctx, &r); err != nil {
		return r, err
	}
	return r, b.deleteTopics(ctx, topics)
}
