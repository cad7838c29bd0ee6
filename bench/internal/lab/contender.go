package lab

import (
	"context"
	"fmt"
	"time"

	"github.com/waybill-data/waybill/bench/internal/child"
	"github.com/waybill-data/waybill/bench/internal/result"
	"github.com/waybill-data/waybill/bench/internal/system"
	"github.com/waybill-data/waybill/bench/internal/workload"
)

// job is what a contender is to do: take each topic into its table, or tables.
type job struct {
	*Lab
	broker   *broker
	server   *server
	workload *workload.Workload
	topics   []string
	tables   int    // as many for each topic
	name     string // of this run: consumer groups and pipelines are called by it
}

// contender is one way to get a topic into a table.
type contender struct {
	name string
	// table makes the statement that creates a table it writes to.
	table func(w *workload.Workload, name string) string
	// tables of one topic.
	tables int
	start  func(ctx context.Context, j *job) (worker, error)
	// lineage: the tables have a rescue column, which stays empty.
	lineage bool
}

// worker is a contender at work.
type worker struct {
	process *system.Process // nil if the server does it all
	metrics string          // address of the Go runtime's metrics, if it serves them
}

// contenders in the order of the first round.
func contenders() []contender {
	return []contender{
		waybill(result.Waybill, setup{Delivery: "exactly-once"}),
		waybill(result.AtLeastOnce, setup{Delivery: "at-least-once"}),
		{name: result.KafkaEngine, table: (*workload.Workload).Table, tables: 1, start: startKafkaEngine},
		{name: result.PassThrough, table: (*workload.Workload).Table, tables: 1, start: startPeer(child.PassThrough)},
		{name: result.Typical, table: (*workload.Workload).Table, tables: 1, start: startPeer(child.Typical)},
	}
}

// waybill is Waybill with a pipeline file that says so.
func waybill(name string, s setup) contender {
	c := contender{name: name, table: (*workload.Workload).LineageTable, tables: 1, start: startWaybill(s), lineage: true}
	if s.When != "" {
		c.tables = 2
	}
	return c
}

// startKafkaEngine makes the source table and the view that moves rows: they are the worker. They end with their server:
// idle they cost nothing, but to drop them takes seconds of CPU, which are not to be held against them.
func startKafkaEngine(ctx context.Context, j *job) (worker, error) {
	queue, view := database+".queue", database+".view"
	err := exec(ctx, j.server.HTTPAddr(), j.workload.QueueTable(queue, j.broker.addr, j.topics[0], j.name, j.BatchRows),
		fmt.Sprintf("CREATE MATERIALIZED VIEW %s TO %s AS SELECT %s FROM %s", view, tableName(0), j.workload.Names(), queue))
	return worker{}, err
}

func startPeer(role child.Role) func(context.Context, *job) (worker, error) {
	return func(_ context.Context, j *job) (worker, error) {
		cmd, err := child.Command(child.Orders{Role: role, Kafka: j.broker.addr, Topic: j.topics[0], Group: j.name, Workload: j.workload.Name,
			HTTP: j.server.HTTPAddr(), TCP: j.server.TCPAddr(), Table: tableName(0), BatchRows: j.BatchRows, BatchAge: j.BatchAge})
		if err != nil {
			return worker{}, err
		}
		p, err := system.Start(string(role), cmd)
		return worker{process: p}, err
	}
}

// stopTimeout bounds how long a worker may take to settle what it holds.
const stopTimeout = 60 * time.Second

// stop ends the worker in good order and returns its CPU time, 0 if it had no process.
func (w worker) stop(ctx context.Context) (time.Duration, error) {
	if w.process == nil {
		return 0, nil
	}
	ctx, cancel := context.WithTimeout(ctx, stopTimeout)
	defer cancel()
	return w.process.Stop(ctx)
}

// kill ends what may still run after a failure. The Kafka engine ends with its server.
func (w worker) kill() {
	if w.process != nil {
		w.process.Kill()
	}
}

// ended is nil while the worker works.
func (w worker) ended() error {
	if w.process == nil {
		return nil
	}
	select {
	case <-w.process.Done():
		return w.process.Ended()
	default:
		return nil
	}
}

// said is what the worker wrote last.
func (w worker) said() string {
	if w.process == nil {
		return ""
	}
	return w.process.Tail()
}
