package demo

import (
	"context"
	"fmt"
	"time"
)

// strike is one blow, due when a share of the events has been produced.
type strike struct {
	at   float64 // 0..1
	blow func(context.Context) error
}

// strikes spreads the blows over the run: the worker's evenly, ClickHouse's half-way between two of them.
func (d *demo) strikes() []strike {
	var out []strike
	parts := float64(d.Kills + 1)
	if d.KillServer {
		parts++
	}
	n := 0.0
	add := func(blow func(context.Context) error) { n++; out = append(out, strike{n / parts, blow}) }
	for i := range d.Kills {
		if d.KillServer && i == d.Kills/2 {
			add(d.killServer)
		}
		add(d.killWorker)
	}
	if d.KillServer && d.Kills == 0 {
		add(d.killServer)
	}
	return out
}

// faults deals the blows, each when it is due.
func (d *demo) faults(ctx context.Context) error {
	for _, s := range d.strikes() {
		due := int64(s.at * float64(d.Events))
		err := until(ctx, func() bool { n, _ := d.producer.produced(make([]int64, d.Partitions)); return n >= due })
		if err == nil {
			err = s.blow(ctx)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

const (
	// inFlightWait bounds how long a blow waits for an insert to be in flight.
	inFlightWait = 15 * time.Second
	// readyWait bounds how long a fresh worker may take to have its partitions and to recover them.
	readyWait = 90 * time.Second
)

// inFlight waits for an INSERT into the target to be executed, as ClickHouse sees it.
func (d *demo) inFlight(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, inFlightWait)
	defer cancel()
	tick := time.NewTicker(time.Millisecond) // an insert may last no longer than a few of them
	defer tick.Stop()
	for ; ctx.Err() == nil; <-tick.C {
		inserts, err := row[struct{ N int }](ctx, d.server,
			"SELECT count() AS N FROM system.processes WHERE query_kind = 'Insert' AND query LIKE '%llm_calls%'")
		if err == nil && inserts.N > 0 {
			return true
		}
	}
	return false
}

// killWorker kills the worker in the middle of an insert, starts it again and waits until it has recovered.
func (d *demo) killWorker(ctx context.Context) error {
	hit := d.inFlight(ctx)
	if err := ctx.Err(); err != nil {
		return err
	}
	pid := d.worker.PID()
	d.expectEnd.Store(true)
	d.worker.Kill()
	d.kills++
	how := "no insert was in flight"
	if hit {
		d.hits++
		how = "its INSERT was running"
	}
	d.screen.event("kill -9 the worker (pid %d): %s", pid, how)
	began := time.Now()
	if err := d.worker.Start(ctx); err != nil {
		return err
	}
	d.expectEnd.Store(false)
	d.screen.event("another one starts (pid %d); Kafka gives it the partitions", d.worker.PID())
	d.screen.event("once the dead one's session is over (%s)", sessionTimeout)
	if err := d.awaitReady(ctx); err != nil {
		return err
	}
	d.screen.event("it has the partitions and has settled what was in doubt (%.1f s)", time.Since(began).Seconds())
	return nil
}

// killServer kills ClickHouse in the middle of an insert and starts it again on the same data.
func (d *demo) killServer(ctx context.Context) error {
	hit := d.inFlight(ctx)
	if err := ctx.Err(); err != nil {
		return err
	}
	d.clickhouse.Kill()
	d.serverKills++
	how := "no insert was running"
	if hit {
		how = "an INSERT was running"
	}
	d.screen.event("kill -9 ClickHouse: %s", how)
	if err := d.clickhouse.Start(ctx); err != nil {
		return err
	}
	d.screen.event("ClickHouse is back on the same data (pid %d)", d.clickhouse.PID())
	return nil
}

// awaitReady waits until the worker has its partitions.
func (d *demo) awaitReady(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, readyWait, fmt.Errorf("the worker does not get ready within %s; see %s", readyWait, d.logPath()))
	defer cancel()
	return until(ctx, func() bool { return d.worker.ready(ctx) == nil })
}

const pollInterval = 50 * time.Millisecond

// until polls a condition. Its error is the cause of the context's end.
func until(ctx context.Context, cond func() bool) error {
	tick := time.NewTicker(pollInterval)
	defer tick.Stop()
	for !cond() {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-tick.C:
		}
	}
	return nil
}
