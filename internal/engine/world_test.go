package engine_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl"
	"go.uber.org/goleak"

	"github.com/waybill-data/waybill/internal/clickhouse"
	"github.com/waybill-data/waybill/internal/config"
	"github.com/waybill-data/waybill/internal/contract"
	"github.com/waybill-data/waybill/internal/engine"
	"github.com/waybill-data/waybill/internal/kafka"
	"github.com/waybill-data/waybill/internal/status"
	"github.com/waybill-data/waybill/internal/telemetry"
	"github.com/waybill-data/waybill/internal/testenv"
	"github.com/waybill-data/waybill/internal/testenv/chserver"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(exit{m}, goleak.IgnoreTopFunction("os/exec.(*Cmd).Wait"))
}

// exit lets testenv stop its shared servers before goroutines are counted.
type exit struct{ m *testing.M }

func (e exit) Run() int { return testenv.Run(e.m) }

const topic = "calls"

// soon is how long a test waits for what should come.
const soon = 60 * time.Second

// world is a broker and a server with one table, for one test.
type world struct {
	testing.TB
	kafka    *kfake.Cluster
	ch       *chserver.Server
	db       string
	name     string // of the pipeline
	produced atomic.Int64
	budget   int64          // bytes, of each worker
	sasl     sasl.Mechanism // of the test's own clients; nil: none
}

func newWorld(t testing.TB, partitions int32) *world {
	return newWorldOn(t, testenv.SharedClickHouse(t), partitions)
}

func newWorldOn(t testing.TB, ch *chserver.Server, partitions int32) *world {
	k, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(partitions, topic), kfake.GroupMinSessionTimeout(time.Second))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(k.Close)
	return newWorldWith(t, ch, k)
}

func newWorldWith(t testing.TB, ch *chserver.Server, k *kfake.Cluster) *world {
	if t, ok := t.(*testing.T); ok {
		t.Parallel() // they wait more than they work
	}
	w := &world{TB: t, kafka: k, ch: ch, db: testenv.Database(t, ch), budget: 8 << 20}
	w.name = "calls-" + strings.ReplaceAll(w.db, "_", "-")
	w.table("")
	return w
}

// table makes the target anew, with more columns or constraints.
func (w *world) table(extra string) {
	w.Helper()
	w.exec("DROP TABLE IF EXISTS "+w.db+".calls SYNC", fmt.Sprintf(`CREATE TABLE %s.calls (id UInt64, model LowCardinality(String), tokens UInt32 DEFAULT 7,
		_topic LowCardinality(String), _partition Int32, _offset Int64, _epoch UInt32, _rescued String, %s%s)
		ENGINE = MergeTree ORDER BY id SETTINGS non_replicated_deduplication_window = 10000, lightweight_mutation_projection_mode = 'rebuild'`,
		w.db, clickhouse.ProjectionDDL(contract.DefaultLineage()), extra))
}

func (w *world) exec(sql ...string) { w.Helper(); testenv.Exec(w, w.ch.HTTPAddr(), sql...) }

func (w *world) query(sql string) string {
	w.Helper()
	return testenv.QueryValue(w, w.ch.HTTPAddr(), sql)
}

// spec of a pipeline file: what differs from the usual.
type spec struct {
	kafka, top  string // more of each section, in YAML
	deadline    string // of inserts
	scheme      string // of ClickHouse's URL, if not the native protocol's
	addr        string // of ClickHouse, if not the server itself
	sink        string // more of its section, in YAML
	columns     string // more of the contract's, in YAML
	modes       string // of the contract, in YAML: new fields are discarded, misfits dead letters
	rows, bytes int    // of a batch
}

func (w *world) file(s spec) *config.Pipeline {
	w.Helper()
	p, err := config.Parse("test.yaml", []byte(w.text(s)), os.LookupEnv)
	if err != nil {
		w.Fatal(err)
	}
	return p
}

// text is a pipeline file's.
func (w *world) text(s spec) string {
	if s.scheme == "" {
		s.scheme = "clickhouse"
	}
	if s.addr == "" {
		s.addr = w.ch.TCPAddr()
	}
	if s.deadline == "" {
		s.deadline = "5s"
	}
	if s.rows == 0 {
		s.rows = 500
	}
	if s.bytes == 0 {
		s.bytes = 1 << 20
	}
	if s.modes == "" {
		s.modes = "new_fields: discard\n  type_conflicts: freeze"
	}
	return fmt.Sprintf(`
name: %s
source:
  kafka: {brokers: [%q], topic: %s%s}
  format: json
contract:
  %s
  columns:
    id: {type: UInt64, required: true}
    model: {type: LowCardinality(String)}
    tokens: {type: UInt32, from: usage.tokens}%s
sink:
  clickhouse: {url: "%s://default@%s/%s", table: calls, insert_deadline: %s%s}
batch: {rows: %d, bytes: %d, age: 200ms}
%s`, w.name, w.kafka.ListenAddrs()[0], topic, s.kafka, s.modes, s.columns, s.scheme, s.addr, w.db, s.deadline, s.sink, s.rows, s.bytes, s.top)
}

func (w *world) client(opts ...kgo.Opt) *kgo.Client {
	w.Helper()
	if w.sasl != nil {
		opts = append(opts, kgo.SASL(w.sasl))
	}
	cl, err := kgo.NewClient(append([]kgo.Opt{kgo.SeedBrokers(w.kafka.ListenAddrs()...), kgo.DefaultProduceTopic(topic)}, opts...)...)
	if err != nil {
		w.Fatal(err)
	}
	return cl
}

// call is an event. Every hundredth is cut off.
func call(i int) string {
	if i%100 == 99 {
		return `{"id":`
	}
	return fmt.Sprintf(`{"id":%d,"model":"m%d","usage":{"tokens":%d},"extra":1}`, i, i%3, i%1000)
}

// produce n events, numbered from what has been produced before, round robin.
func (w *world) produce(n int) { w.Helper(); w.produceAs(n, call) }

func (w *world) produceAs(n int, value func(int) string) {
	w.Helper()
	cl := w.client(kgo.RecordPartitioner(kgo.RoundRobinPartitioner()))
	defer cl.Close()
	for range n {
		cl.Produce(context.Background(), kgo.StringRecord(value(int(w.produced.Add(1)-1))), func(_ *kgo.Record, err error) {
			if err != nil {
				w.Errorf("produce: %v", err)
			}
		})
	}
	if err := cl.Flush(context.Background()); err != nil {
		w.Fatal(err)
	}
}

// admin runs fn with an administrative client.
func (w *world) admin(fn func(context.Context, *kadm.Client) error) {
	w.Helper()
	cl := w.client()
	defer cl.Close()
	ctx, cancel := context.WithTimeout(context.Background(), soon)
	defer cancel()
	if err := fn(ctx, kadm.NewClient(cl)); err != nil {
		w.Fatal(err)
	}
}

// worker is one pipeline that runs.
type worker struct {
	w       *world
	p       *engine.Pipeline
	cancel  context.CancelFunc
	done    chan struct{}
	err     error
	budget  *engine.Budget
	metrics *telemetry.Metrics
	highest atomic.Int64 // of the budget
	held    atomic.Int64
	sockets sockets
}

func (w *world) start(cfg *config.Pipeline) *worker { w.Helper(); return w.startAs(cfg, engine.New) }

// startAs starts what build makes.
func (w *world) startAs(cfg *config.Pipeline, build func(*config.Pipeline, engine.Deps) *engine.Pipeline) *worker {
	w.Helper()
	return w.startDraining(cfg, build, 20*time.Second)
}

// startWith starts a worker that has so long to settle what is in flight when it is to stop.
func (w *world) startWith(cfg *config.Pipeline, drain time.Duration) *worker {
	w.Helper()
	return w.startDraining(cfg, engine.New, drain)
}

func (w *world) startDraining(cfg *config.Pipeline, build func(*config.Pipeline, engine.Deps) *engine.Pipeline, drain time.Duration) *worker {
	w.Helper()
	level := slog.LevelError
	if testing.Verbose() {
		level = slog.LevelDebug
	}
	r := &worker{w: w, done: make(chan struct{}), metrics: telemetry.NewMetrics("test")}
	r.budget = engine.NewBudget(w.budget, func(used int64) {
		r.held.Store(used)
		r.highest.Store(max(used, r.highest.Load()))
	})
	r.p = build(cfg, engine.Deps{Log: telemetry.NewLogger(w.Output(), false, level, false), Metrics: r.metrics, Budget: r.budget,
		Drain: drain, Kafka: func(k *kafka.Config) {
			k.HeartbeatInterval, k.MetadataMaxAge = 100*time.Millisecond, time.Second
			k.Dialer = r.sockets.dial
		}})
	var ctx context.Context
	ctx, r.cancel = context.WithCancel(context.Background())
	go func() { defer close(r.done); r.err = r.p.Run(ctx) }()
	w.Cleanup(func() { r.cancel(); <-r.done })
	return r
}

// stop asks for a graceful stop and checks that it was one.
func (r *worker) stop() {
	r.w.Helper()
	r.cancel()
	<-r.done
	if r.err != nil {
		r.w.Errorf("stop: %v", r.err)
	}
	r.checkBudget()
}

func (r *worker) checkBudget() {
	r.w.Helper()
	if n := r.held.Load(); n != 0 {
		r.w.Errorf("%d bytes of the budget were never given back", n)
	}
}

// ended waits until the pipeline has given up by itself, and is its error.
func (r *worker) ended() error {
	r.w.Helper()
	select {
	case <-r.done:
	case <-time.After(soon):
		r.w.Fatalf("still running: %+v", r.p.Status())
	}
	r.checkBudget()
	return r.err
}

func (r *worker) await(what string, cond func(status.Pipeline) bool) {
	r.w.Helper()
	testenv.Eventually(r.w, soon, what, func() bool { return cond(r.p.Status()) })
}

func (r *worker) found(kind string) bool {
	for _, f := range r.p.Status().Findings {
		if f.Kind == kind {
			return true
		}
	}
	return false
}

// sockets are a worker's connections to Kafka.
type sockets struct {
	mu   sync.Mutex
	open []net.Conn
	cut  bool
}

var errCut = errors.New("cut off")

func (s *sockets) dial(ctx context.Context, network, address string) (net.Conn, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cut {
		return nil, errCut
	}
	c, err := (&net.Dialer{}).DialContext(ctx, network, address)
	if err == nil {
		s.open = append(s.open, c)
	}
	return c, err
}

// cutAll closes all connections and refuses new ones.
func (s *sockets) cutAll() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cut = true
	for _, c := range s.open {
		_ = c.Close()
	}
}

func (s *sockets) mend() { s.mu.Lock(); defer s.mu.Unlock(); s.cut = false }

// quiet waits until the ledger accounts for n offsets.
func (w *world) quiet(n int64) {
	w.Helper()
	sql := w.ofLedger("sum(next - first)")
	testenv.Eventually(w, soon, fmt.Sprintf("the ledger accounts for %d offsets", n), func() bool {
		got, err := testenv.Query(w.ch.HTTPAddr(), sql) // an error before there is a ledger
		return err == nil && strings.TrimSpace(got) == fmt.Sprint(n)
	})
}

// ofLedger is a query over the ledger's rows, one per key.
func (w *world) ofLedger(expr string) string {
	return "SELECT " + expr + " FROM (SELECT * FROM waybill.ledger WHERE pipeline = '" + w.name + "' LIMIT 1 BY pipeline, epoch, topic, partition, first)"
}

// verify the laws: the spans tile, records balance, what was said to be written is there once.
func (w *world) verify() {
	w.Helper()
	for law, sql := range map[string]string{
		"spans tile": "SELECT count() FROM (SELECT epoch, partition, sum(next - first) AS covered, max(next) - min(first) AS extent FROM (" +
			w.ofLedger("*") + ") GROUP BY epoch, partition HAVING covered != extent)",
		"one content per key": "SELECT count() FROM (SELECT epoch, partition, first, uniqExact(next, batch, written, dead_lettered) AS n FROM waybill.ledger WHERE pipeline = '" + w.name +
			"' GROUP BY epoch, partition, first HAVING n > 1)",
		"records balance":        w.ofLedger("countIf(read != written + filtered + dead_lettered + tombstones + lost)"),
		"no row twice":           "SELECT count() - uniqExact(_epoch, _partition, _offset) FROM " + w.db + ".calls",
		"written is there":       "SELECT (" + w.ofLedger("sum(written)") + ") - (SELECT count() FROM " + w.db + ".calls)",
		"dead letters are there": "SELECT (" + w.ofLedger("sum(dead_lettered)") + ") - (SELECT uniqExact(epoch, partition, offset) FROM waybill.dead_letters WHERE pipeline = '" + w.name + "')",
		"row or dead letter": "SELECT count() FROM waybill.dead_letters AS d INNER JOIN " + w.db + ".calls AS c ON d.partition = c._partition AND d.offset = c._offset AND d.epoch = c._epoch WHERE d.pipeline = '" +
			w.name + "'",
	} {
		if got := w.query(sql); got != "0" {
			w.Errorf("law %q is broken: %s", law, got)
		}
	}
}

// counts of the ledger: read, written, dead-lettered, lost.
func (w *world) wantCounts(want string) {
	w.Helper()
	if got := w.query(w.ofLedger("concat(toString(sum(read)), ' ', toString(sum(written)), ' ', toString(sum(dead_lettered)), ' ', toString(sum(lost)))")); got != want {
		w.Errorf("read, written, dead-lettered, lost: %s, want %s", got, want)
	}
}

// wantFinding waits for findings of a kind on record, and checks how many there are.
func (w *world) wantFinding(kind string, n int) {
	w.Helper()
	sql := "SELECT count() FROM waybill.findings_now WHERE pipeline = '" + w.name + "' AND kind = '" + kind + "'"
	testenv.Eventually(w, soon, "finding "+kind, func() bool { return w.query(sql) != "0" })
	if got := w.query(sql); got != fmt.Sprint(n) {
		w.Errorf("%s findings of kind %s, want %d", got, kind, n)
	}
}

// rebalances of the worker so far.
func (r *worker) rebalances() float64 { r.w.Helper(); return r.metric("rebalances_total", "") }

// gauge is the sum of a gauge's series.
func (r *worker) gauge(name string) (n float64) {
	r.w.Helper()
	families, err := r.metrics.Gatherer().Gather()
	if err != nil {
		r.w.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == "waybill_"+name {
			for _, m := range f.GetMetric() {
				n += m.GetGauge().GetValue()
			}
		}
	}
	return n
}

// metric is the sum of a counter's series whose labels other than the pipeline have these values, joined by blanks; of all, if there are none.
func (r *worker) metric(name, labels string) (n float64) {
	r.w.Helper()
	families, err := r.metrics.Gatherer().Gather()
	if err != nil {
		r.w.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() != "waybill_"+name {
			continue
		}
		for _, m := range f.GetMetric() {
			var values []string
			for _, l := range m.GetLabel() {
				if l.GetName() != "pipeline" {
					values = append(values, l.GetValue())
				}
			}
			if labels == "" || labels == strings.Join(values, " ") {
				n += m.GetCounter().GetValue() + m.GetGauge().GetValue()
			}
		}
	}
	return n
}
