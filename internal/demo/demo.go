package demo

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/waybill-data/waybill"
	"github.com/waybill-data/waybill/internal/config"
	"github.com/waybill-data/waybill/internal/testenv/chserver"
)

// demo is one run.
type demo struct {
	Options
	dir    string
	logs   *os.File
	screen *screen

	broker     *broker
	clickhouse *chserver.Server
	server     server
	producer   *producer
	worker     *worker

	// expectEnd is set while the worker is killed on purpose.
	expectEnd atomic.Bool
	// Written by faults, read once it has returned.
	kills, hits, serverKills int
	// Written by watch, read once it has returned: sums taken on the way, and those that did not balance.
	sumsTaken, sumsWrong int
}

// Run runs the demo and returns the final balance; Pass says whether it holds. The error is about a demo that could not be
// carried through, or that was stopped: then there is no balance. Nothing is left behind when it returns, but for a directory
// that was asked for or is to be kept.
func Run(ctx context.Context, o Options) (b Balance, err error) {
	if err := o.Check(); err != nil {
		return Balance{}, err
	}
	if _, err := chserver.Locate(); err != nil {
		return Balance{}, configError("demo.clickhouse", err, chserver.WithoutCheckout())
	}
	d := &demo{Options: o, screen: newScreen(&o)}
	defer func() {
		if err != nil && ctx.Err() == nil && d.dir != "" {
			d.Keep = true // the logs say why
		}
		err = errors.Join(err, d.close())
	}()
	if err := d.open(ctx); err != nil {
		return Balance{}, err
	}
	d.introduce(ctx)
	if b, err = d.play(ctx); err != nil {
		return Balance{}, err
	}
	d.screen.balance(b)
	if d.OnBalance != nil {
		if err := d.OnBalance(b); err != nil {
			return b, err
		}
	}
	d.invite()
	if d.Stay {
		<-ctx.Done()
	}
	return b, nil
}

// open starts the servers and makes topic, table and pipeline file.
func (d *demo) open(ctx context.Context) error {
	if err := d.makeDir(); err != nil {
		return err
	}
	var err error
	if d.logs, err = os.Create(d.logPath()); err != nil {
		return err
	}
	d.screen.progress("starting the servers ...")
	if d.broker, err = startBroker(ctx, &d.Options, d.dir, d.logs); err != nil {
		return err
	}
	if err := d.broker.createTopic(ctx, d.Partitions); err != nil {
		return err
	}
	if d.clickhouse, err = chserver.Start(ctx, chserver.Options{Dir: filepath.Join(d.dir, "clickhouse"), Log: d.logs}); err != nil {
		return err
	}
	d.server = server{d.clickhouse.HTTPAddr()}
	if err := d.createTable(ctx); err != nil {
		return err
	}
	if err := d.writePipeline(); err != nil {
		return err
	}
	if d.producer, err = newProducer(d.broker.addr, &d.Options); err != nil {
		return err
	}
	if d.worker, err = newWorker(&d.Options, d.path(pipelineFile), d.logs); err != nil {
		return err
	}
	return d.worker.Start(ctx)
}

// makeDir makes the demo's directory. One that was asked for must be empty: old data in it would be taken for new.
func (d *demo) makeDir() (err error) {
	if d.Dir == "" {
		d.dir, err = os.MkdirTemp("", "waybill-demo-")
		return err
	}
	if d.dir, err = filepath.Abs(d.Dir); err != nil {
		return err
	}
	if err := os.MkdirAll(d.dir, 0o755); err != nil {
		return err
	}
	entries, err := os.ReadDir(d.dir)
	if err == nil && len(entries) > 0 {
		err = configError("demo.dir", fmt.Errorf("%s is not empty", d.dir), "name a new directory")
		d.dir = "" // it is not ours to remove
	}
	return err
}

func (d *demo) path(name string) string { return filepath.Join(d.dir, name) }
func (d *demo) logPath() string         { return d.path("demo.log") }

func (d *demo) createTable(ctx context.Context) error {
	sql, err := Table()
	if err != nil {
		return err
	}
	if err := os.WriteFile(d.path(tableFile), []byte(sql), 0o600); err != nil {
		return err
	}
	for _, statement := range []string{"CREATE DATABASE demo ENGINE = Atomic", sql} {
		if err := d.server.exec(ctx, statement); err != nil {
			return fmt.Errorf("create the table: %w", err)
		}
	}
	return nil
}

// writePipeline writes the pipeline file, and reads it as `waybill validate` would.
func (d *demo) writePipeline() error {
	text, err := Pipeline(d.broker.addr, d.clickhouse.TCPAddr())
	if err != nil {
		return err
	}
	if err := os.WriteFile(d.path(pipelineFile), []byte(text), 0o600); err != nil {
		return err
	}
	_, err = config.Load(d.path(pipelineFile))
	return err
}

// introduce says who is who.
func (d *demo) introduce(ctx context.Context) {
	version, err := row[struct{ V string }](ctx, d.server, "SELECT version() AS V")
	if err != nil {
		version.V = "of an unknown version"
	}
	d.screen.print(`Waybill: every event accounted for

  broker      %s  kfake, a stand-in for Apache Kafka (not the
              real thing): topic %s, %d partitions
  ClickHouse  http://%s  %s, the real engine
  worker      pid %d, waybill run, a process of its own
  pipeline    %s
  table       %s
  logs        %s
`, d.broker.addr, topic, d.Partitions, d.server.addr, version.V, d.worker.PID(),
		d.path(pipelineFile), d.path(tableFile), d.logPath())
}

// play produces, strikes and watches until everything is settled, and takes the balance.
func (d *demo) play(ctx context.Context) (Balance, error) {
	d.screen.print(sumsHeader)
	g, running := errgroup.WithContext(ctx)
	busy, done := context.WithCancel(running)
	var left atomic.Int32
	left.Store(2)
	part := func(f func(context.Context) error) {
		g.Go(func() error {
			err := f(running)
			left.Add(-1)
			return err
		})
	}
	part(func(ctx context.Context) error { return d.producer.run(ctx, d.Events, d.Rate) })
	part(func(ctx context.Context) error {
		if err := d.awaitReady(ctx); err != nil {
			return err
		}
		return d.faults(ctx)
	})
	g.Go(func() error { return d.guard(busy) })
	g.Go(func() error {
		defer done()
		return d.watch(running, func() bool { return left.Load() == 0 })
	})
	err := g.Wait()
	done()
	d.screen.endProgress()
	if err != nil {
		return Balance{}, err
	}
	if d.BeforeBalance != nil {
		if err := d.BeforeBalance(ctx, d.server.addr); err != nil {
			return Balance{}, err
		}
	}
	b, err := d.balance(ctx)
	b.WorkerKills, b.KillsInFlight, b.ServerKills = d.kills, d.hits, d.serverKills
	b.Seconds = time.Since(d.screen.began).Seconds()
	return b, err
}

// guard fails the run when the worker ends by itself.
func (d *demo) guard(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-d.worker.Done():
		}
		if err := until(ctx, func() bool { return d.worker.PID() != 0 || !d.expectEnd.Load() }); err != nil {
			return nil //nolint:nilerr // the run is over
		}
		if d.worker.PID() == 0 {
			return fmt.Errorf("the worker has ended by itself:\n%s", d.worker.LogTail())
		}
	}
}

const (
	sumsInterval  = 3 * time.Second
	watchInterval = 250 * time.Millisecond
	// settleWait is how long the group may stand still after the last event before the run is given up.
	settleWait = 90 * time.Second
)

// watch shows the sums every few seconds until all has been produced and is settled.
func (d *demo) watch(ctx context.Context, produced func() bool) error {
	tick := time.NewTicker(watchInterval)
	defer tick.Stop()
	shown, moved, last := time.Now(), time.Now(), int64(-1)
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
		over := produced()
		settled, err := d.broker.committed(ctx, d.Partitions)
		if err != nil {
			return err
		}
		made, _ := d.producer.produced(settled)
		d.screen.progress("         %s of %s produced, %s settled", count(made), count(d.Events), count(total(settled)))
		if over && slices.Equal(settled, d.producer.nexts()) {
			return d.show(ctx)
		}
		if total(settled) != last || !over {
			last, moved = total(settled), time.Now()
		}
		if time.Since(moved) > settleWait {
			return fmt.Errorf("%s of %s events are settled, and nothing moves any more; the worker's last words:\n%s",
				count(last), count(made), d.worker.LogTail())
		}
		if time.Since(shown) >= sumsInterval {
			shown = time.Now()
			if err := d.show(ctx); err != nil && ctx.Err() == nil {
				d.screen.event("(no sums: ClickHouse does not answer)")
			}
		}
	}
}

func (d *demo) show(ctx context.Context) error {
	s, err := d.sums(ctx)
	if err != nil {
		return err
	}
	d.sumsTaken++
	if !s.OK() {
		d.sumsWrong++
	}
	d.screen.sums(s)
	return nil
}

// invite says how to go on by oneself. The SQL is the proof in two lines.
func (d *demo) invite() {
	if !d.Stay {
		d.screen.print("To query the tables yourself, run it with --keep.\n")
		return
	}
	d.screen.print(`
The servers stay up. Ask for yourself:

  curl http://%[1]s/ --data-binary \
    'SELECT count(), uniqExact(_partition, _offset) FROM demo.llm_calls'
  curl http://%[1]s/ --data-binary \
    'SELECT * FROM waybill.ledger ORDER BY partition, first FORMAT Vertical'
  curl http://%[1]s/ --data-binary \
    'SELECT code, message, value FROM waybill.dead_letters FORMAT Vertical'
  waybill status --addr %[2]s

  clickhouse-client --port %[3]s     Kafka: %[4]s

Ctrl-C ends everything.
`, d.server.addr, d.worker.addr, port(d.clickhouse.TCPAddr()), d.broker.addr)
}

// close ends every process and removes the directory.
func (d *demo) close() error {
	d.screen.endProgress()
	if d.producer != nil {
		d.producer.close()
	}
	if d.worker != nil {
		d.worker.Kill()
	}
	if d.broker != nil {
		d.broker.stop()
	}
	if d.clickhouse != nil {
		d.clickhouse.Kill()
	}
	if d.logs != nil {
		_ = d.logs.Close() // a log of processes that are gone
	}
	switch {
	case d.dir == "":
		return nil
	case d.Keep:
		d.screen.print("\nData and logs are kept in %s\n", d.dir)
		return nil
	}
	if err := os.RemoveAll(d.dir); err != nil {
		return &waybill.Error{Op: "demo.close", Class: waybill.ClassUnknown, Err: err}
	}
	return nil
}

func port(addr string) string {
	_, p, _ := net.SplitHostPort(addr) // an address of ours
	return p
}
