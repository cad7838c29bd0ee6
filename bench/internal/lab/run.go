package lab

import (
	"context"
	"fmt"
	"time"

	"github.com/waybill-data/waybill/bench/internal/result"
	"github.com/waybill-data/waybill/bench/internal/system"
)

// measure has one contender take preloaded topics into fresh tables of a fresh server. It fails unless the tables then hold
// each event exactly once.
func (l *Lab) measure(ctx context.Context, b *broker, p preload, c contender) (r result.Run, err error) {
	srv, err := l.startServer(ctx)
	if err != nil {
		return r, err
	}
	defer srv.stop()
	j := &job{Lab: l, broker: b, server: srv, workload: p.workload, topics: p.topics, tables: len(p.topics) * c.tables, name: l.nextName()}
	for i := range j.tables {
		if err := exec(ctx, srv.HTTPAddr(), c.table(p.workload, tableName(i))); err != nil {
			return r, err
		}
	}
	columns, err := j.columns(ctx)
	if err != nil {
		return r, err
	}
	r = result.Run{Broker: b.name, Workload: p.workload.Name, Contender: c.name, Partitions: p.partitions, Pipelines: len(p.topics), Rows: p.rows}
	if err := j.timed(ctx, c, &r); err != nil {
		return r, fmt.Errorf("%s: %w", c.name, err)
	}
	r.Load = system.Load()
	if err := j.check(ctx, &r); err != nil || !c.lineage {
		return r, err
	}
	return r, j.checkDrift(ctx, &r, columns)
}

// timed is the part of a run that is measured.
func (j *job) timed(ctx context.Context, c contender, r *result.Run) error {
	before, err := j.others()
	if err != nil {
		return err
	}
	start := time.Now()
	w, err := c.start(ctx, j)
	if err != nil {
		return err
	}
	defer w.kill()
	if err := j.watch(ctx, w, start, r); err != nil {
		return err
	}
	if err := w.read(ctx, r); err != nil {
		return err
	}
	cpu, err := w.stop(ctx)
	if err != nil {
		return err
	}
	if r.Quiet, err = j.server.awaitQuiet(ctx, j.QuietFor); err != nil {
		return err
	}
	after, err := j.others()
	r.WorkerCPU = perMillion(cpu, r.Rows)
	r.ServerCPU = perMillion(after.server-before.server, r.Rows)
	r.BrokerCPU = perMillion(after.broker-before.broker, r.Rows)
	return err
}

// costs are the CPU times of the processes that outlive the worker.
type costs struct{ server, broker time.Duration }

func (j *job) others() (c costs, err error) {
	if c.server, err = j.server.cpu(); err == nil {
		c.broker, err = system.CPU(j.broker.pid)
	}
	return c, err
}

func perMillion(cpu time.Duration, rows int64) float64 { return cpu.Seconds() * 1e6 / float64(rows) }

// read asks a worker that still runs.
func (w worker) read(ctx context.Context, r *result.Run) (err error) {
	if w.process == nil {
		return nil
	}
	allocations, err := w.allocations(ctx)
	if err != nil {
		return err
	}
	r.Allocations = allocations / float64(r.Rows)
	r.RSS, err = system.PeakRSS(w.process.PID())
	return err
}

const (
	watchEvery = 100 * time.Millisecond // 1 to 2 % of a core, for all contenders alike
	stuckAfter = 2 * time.Minute
	rateShare  = 0.8 // of the rows, over which the rate is taken
)

// watch waits until all rows can be selected, and notes when that was so of how many.
func (j *job) watch(ctx context.Context, w worker, start time.Time, r *result.Run) error {
	var seen int64
	moved := time.Now()
	for {
		rows, err := j.server.rows(ctx, j.tables)
		if err != nil {
			return err
		}
		now := time.Now()
		if rows != seen {
			note(r, rows, seen, now.Sub(start).Seconds())
			seen, moved = rows, now
		}
		if rows >= r.Rows {
			return nil
		}
		if err := w.ended(); err != nil {
			return err
		}
		if now.Sub(moved) > stuckAfter {
			return fmt.Errorf("%d of %d rows, and no more for %s\n%s", rows, r.Rows, stuckAfter, w.said())
		}
		pause(ctx, watchEvery)
	}
}

// check counts and hashes what is in the tables.
func (j *job) check(ctx context.Context, r *result.Run) error {
	rows, err := j.server.rows(ctx, j.tables)
	if err != nil {
		return err
	}
	if rows != r.Rows {
		return fmt.Errorf("%s: %d rows for %d events", r.Contender, rows, r.Rows)
	}
	r.Hash, err = query(ctx, j.server.HTTPAddr(), fmt.Sprintf("SELECT %s FROM merge('%s', '^rows_')", j.workload.Hash(), database))
	return err
}

// columns is a hash over those of the run's tables.
func (j *job) columns(ctx context.Context) (string, error) {
	return query(ctx, j.server.HTTPAddr(), "SELECT sum(cityHash64(table, name, type)) FROM system.columns WHERE database = '"+database+"' AND startsWith(table, 'rows_')")
}

// checkDrift fails if events were not what the contract says of them: then something else was measured.
func (j *job) checkDrift(ctx context.Context, r *result.Run, columns string) error {
	now, err := j.columns(ctx)
	if err != nil {
		return err
	}
	if now != columns {
		return fmt.Errorf("%s: a table was changed, though it had a column for each field", r.Contender)
	}
	rescued, err := queryInt(ctx, j.server.HTTPAddr(), fmt.Sprintf("SELECT countIf(_rescued != '') FROM merge('%s', '^rows_')", database))
	if err == nil && rescued > 0 {
		err = fmt.Errorf("%s: %d rows have rescued values, though there is a column for each field", r.Contender, rescued)
	}
	return err
}

// note that rows were there, after so many seconds, where there had been seen.
func note(r *result.Run, rows, seen int64, seconds float64) {
	if seen == 0 {
		r.FirstSeconds = seconds
	}
	if need := int64(rateShare * float64(r.Rows)); seen < need && rows >= need {
		r.RowsPerSecond = float64(rows) / seconds
	}
	r.Seconds = seconds
}
