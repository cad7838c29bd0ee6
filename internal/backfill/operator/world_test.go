package operator_test

import (
	"context"

	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"go.uber.org/goleak"

	"github.com/waybill-data/waybill/internal/backfill"
	"github.com/waybill-data/waybill/internal/backfill/operator"
	"github.com/waybill-data/waybill/internal/clickhouse"
	"github.com/waybill-data/waybill/internal/config"
	"github.com/waybill-data/waybill/internal/contract"
	"github.com/waybill-data/waybill/internal/engine"
	"github.com/waybill-data/waybill/internal/kafka"
	"github.com/waybill-data/waybill/internal/ledger"
	"github.com/waybill-data/waybill/internal/telemetry"
	"github.com/waybill-data/waybill/internal/testenv"
	"github.com/waybill-data/waybill/internal/testenv/chserver"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(exit{m}, goleak.IgnoreTopFunction("os/exec.(*Cmd).Wait"))
}

type exit struct{ m *testing.M }

func (e exit) Run() int { return testenv.Run(e.m) }

const (
	topic = "calls"
	soon  = 120 * time.Second
)

// world is a broker, a server, a pipeline that runs, and whoever produces.
type world struct {
	testing.TB
	kafka    *kfake.Cluster
	ch       *chserver.Server
	db, name string

	mu       sync.Mutex
	produced map[[2]int64]int // what was produced: partition and offset, and the event's number
	n        atomic.Int64
}

func newWorld(t *testing.T, partitions int32) *world {
	k, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(partitions, topic), kfake.GroupMinSessionTimeout(time.Second))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(k.Close)
	t.Parallel()
	ch := testenv.SharedClickHouse(t)
	w := &world{TB: t, kafka: k, ch: ch, db: testenv.Database(t, ch), produced: map[[2]int64]int{}}
	w.name = "calls-" + strings.ReplaceAll(w.db, "_", "-")
	w.exec(fmt.Sprintf(`CREATE TABLE %s.calls (id UInt64, day Date, ts DateTime64(3, 'UTC'), version UInt8,
		_topic LowCardinality(String), _partition Int32, _offset Int64, _epoch UInt32, _rescued String, %s)
		ENGINE = MergeTree PARTITION BY day ORDER BY id SETTINGS non_replicated_deduplication_window = 10000, lightweight_mutation_projection_mode = 'rebuild'`,
		w.db, clickhouse.ProjectionDDL(contract.DefaultLineage())))
	return w
}

func (w *world) exec(sql ...string) { w.Helper(); testenv.Exec(w, w.ch.HTTPAddr(), sql...) }

func (w *world) query(sql string) string {
	w.Helper()
	return testenv.QueryValue(w, w.ch.HTTPAddr(), sql)
}

// file is a pipeline file; the versions of its contract differ in a column, so that rows tell which one made them.
func (w *world) file(version int) *config.Pipeline {
	w.Helper()
	return w.parsed(w.text(version))
}

func (w *world) parsed(text string) *config.Pipeline {
	w.Helper()
	p, err := config.Parse("test.yaml", []byte(text), os.LookupEnv)
	if err != nil {
		w.Fatal(err)
	}
	return p
}

func (w *world) text(version int) string {
	return fmt.Sprintf(`
name: %s
source:
  kafka: {brokers: [%q], topic: %s, session_timeout: 6s}
  format: json
contract:
  new_fields: discard
  type_conflicts: rescue
  event_time: ts
  columns:
    id: {type: UInt64, required: true}
    day: {type: Date}
    ts: {type: "DateTime64(3, 'UTC')"}
    version: {type: UInt8, from: v%d}
sink:
  clickhouse: {url: "clickhouse://default@%s/%s", table: calls, insert_deadline: 2s}
batch: {rows: 500, age: 100ms}
`, w.name, w.kafka.ListenAddrs()[0], topic, version, w.ch.TCPAddr(), w.db)
}

// day0 is the first event's; each day has a thousand events.
var day0 = time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)

const perDay = 1000

func at(i int) time.Time { return day0.Add(time.Duration(i) * 24 * time.Hour / perDay) }

// event of a number. Every hundredth is cut off.
func event(i int) string {
	if i%100 == 99 {
		return `{"id":`
	}
	t := at(i)
	return fmt.Sprintf(`{"id":%d,"day":%q,"ts":%q,"v1":1,"v2":2}`, i, t.Format(time.DateOnly), t.Format(time.RFC3339Nano))
}

// produce n events, and remember what went where.
func (w *world) produce(n int) {
	w.Helper()
	cl, err := kgo.NewClient(kgo.SeedBrokers(w.kafka.ListenAddrs()...), kgo.DefaultProduceTopic(topic), kgo.RecordPartitioner(kgo.RoundRobinPartitioner()))
	if err != nil {
		w.Fatal(err)
	}
	defer cl.Close()
	for range n {
		i := int(w.n.Add(1) - 1)
		cl.Produce(context.Background(), kgo.StringRecord(event(i)), func(r *kgo.Record, err error) {
			if err != nil {
				w.Errorf("produce: %v", err)
				return
			}
			w.mu.Lock()
			w.produced[[2]int64{int64(r.Partition), r.Offset}] = i
			w.mu.Unlock()
		})
	}
	if err := cl.Flush(context.Background()); err != nil {
		w.Fatal(err)
	}
}

// trickle produces a few events again and again, until stop is called.
func (w *world) trickle() (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		for ctx.Err() == nil {
			w.produce(20)
			select {
			case <-ctx.Done():
			case <-time.After(200 * time.Millisecond):
			}
		}
	})
	stop = sync.OnceFunc(func() { cancel(); wg.Wait() })
	w.Cleanup(stop)
	return stop
}

func (w *world) deps() engine.Deps {
	level := slog.LevelError
	if testing.Verbose() {
		level = slog.LevelInfo
	}
	return engine.Deps{Log: telemetry.NewLogger(w.Output(), false, level, false), Metrics: telemetry.NewMetrics("test"), Budget: engine.NewBudget(16<<20, nil), Drain: 20 * time.Second,
		Kafka: func(k *kafka.Config) { k.HeartbeatInterval, k.MetadataMaxAge = 100*time.Millisecond, time.Second }}
}

// live is the pipeline, as it runs.
type live struct {
	w      *world
	p      *engine.Pipeline // the last
	mu     sync.Mutex
	cancel context.CancelFunc
	done   chan struct{}
	err    error
}

// live runs the pipeline until the test ends.
func (w *world) live(cfg *config.Pipeline) *live {
	w.Helper()
	l := &live{w: w}
	l.start(cfg)
	w.Cleanup(l.stop)
	w.Cleanup(func() {
		if w.Failed() {
			l.mu.Lock()
			defer l.mu.Unlock()
			w.Logf("live: %+v", l.p.Status())
		}
	})
	return l
}

func (l *live) start(cfg *config.Pipeline) {
	l.mu.Lock()
	defer l.mu.Unlock()
	p := engine.New(cfg, l.w.deps())
	l.p = p
	var ctx context.Context
	ctx, l.cancel = context.WithCancel(context.Background())
	done := make(chan struct{})
	l.done = done
	go func() { defer close(done); l.err = p.Run(ctx) }()
}

func (l *live) stop() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.cancel == nil {
		return
	}
	l.cancel()
	<-l.done
	if l.err != nil {
		l.w.Errorf("live: %v", l.err)
	}
	l.cancel = nil
}

// bench opens what an operator works with. passed may stop it.
func (w *world) bench(cfg *config.Pipeline, passed func(string)) *operator.Bench {
	w.Helper()
	server := engine.Server(cfg.Sink.ClickHouse)
	client, err := clickhouse.Open(context.Background(), server, clickhouse.Deps{})
	if err != nil {
		w.Fatal(err)
	}
	w.Cleanup(client.Close)
	d := w.deps()
	b, err := operator.Open(context.Background(), operator.Setup{Cfg: cfg, Client: client, Ledger: ledger.New(client, ""), Engine: d, Log: d.Log, Who: "test", Passed: passed})
	if err != nil {
		w.Fatal(err)
	}
	w.Cleanup(b.Close)
	return b
}

// plan puts a scope on record.
func (w *world) plan(b *operator.Bench, scope string) string {
	w.Helper()
	ctx := context.Background()
	s, err := backfill.ParseScope(scope)
	if err != nil {
		w.Fatal(err)
	}
	p, err := b.Planner(ctx)
	if err != nil {
		w.Fatal(err)
	}
	p.Rate = 1000
	r, offsets, open, err := p.Survey(ctx, s)
	if err != nil || len(r.Refusals) > 0 {
		w.Fatalf("%v, refused: %+v", err, r)
	}
	id, err := operator.Record(ctx, b.Operator(), b.Ledger, b.Job(p, r, offsets, open), offsets)
	if err != nil {
		w.Fatal(err)
	}
	return id
}

// wantRows waits until the live table holds exactly one row for each event that is one, and then checks which version of the contract made each: by
// the events that were produced, not by the ledger.
func (w *world) wantRows(version func(i int, partition, offset int64) int) {
	w.Helper()
	w.mu.Lock()
	rows := 0
	for _, i := range w.produced {
		if i%100 != 99 {
			rows++
		}
	}
	w.mu.Unlock()
	testenv.Eventually(w, soon, fmt.Sprintf("%d rows", rows), func() bool {
		return w.query("SELECT count() FROM "+w.db+".calls") == fmt.Sprint(rows)
	})
	got := map[[2]int64][2]int{}
	for _, r := range testenv.QueryRows(w, w.ch.HTTPAddr(), "SELECT _partition, _offset, id, version FROM "+w.db+".calls") {
		var p, o int64
		var id, v int
		if _, err := fmt.Sscan(strings.Join(r, " "), &p, &o, &id, &v); err != nil {
			w.Fatal(err)
		}
		if _, twice := got[[2]int64{p, o}]; twice {
			w.Fatalf("%d/%d is there twice", p, o)
		}
		got[[2]int64{p, o}] = [2]int{id, v}
	}
	wrong := 0
	for at, i := range w.produced {
		if i%100 == 99 {
			continue
		}
		if want := [2]int{i, version(i, at[0], at[1])}; got[at] != want {
			if wrong++; wrong < 5 {
				w.Errorf("%d/%d: id and version are %v, want %v", at[0], at[1], got[at], want)
			}
		}
	}
	if wrong > 0 {
		w.Fatalf("%d rows are wrong", wrong)
	}
}

// wantCount waits until as many events have their row as are whole of the first n.
func (w *world) wantCount(n int) {
	w.Helper()
	testenv.Eventually(w, soon, fmt.Sprintf("rows of %d events", n), func() bool {
		return w.query("SELECT count() FROM "+w.db+".calls") == fmt.Sprint(n-n/100)
	})
}

// deleteBefore has the broker remove what lies before an offset, as retention does.
func (w *world) deleteBefore(partition int32, offset int64) {
	w.Helper()
	cl, err := kgo.NewClient(kgo.SeedBrokers(w.kafka.ListenAddrs()...))
	if err != nil {
		w.Fatal(err)
	}
	defer cl.Close()
	var o kadm.Offsets
	o.AddOffset(topic, partition, offset, -1)
	if _, err := kadm.NewClient(cl).DeleteRecords(context.Background(), o); err != nil {
		w.Fatal(err)
	}
}
