package engine_test

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/waybill-data/waybill/internal/clickhouse"
	"github.com/waybill-data/waybill/internal/config"
	"github.com/waybill-data/waybill/internal/contract"
	"github.com/waybill-data/waybill/internal/engine"
	"github.com/waybill-data/waybill/internal/telemetry"
	"github.com/waybill-data/waybill/internal/testenv"
	"github.com/waybill-data/waybill/internal/testenv/chserver"
)

func TestMain(m *testing.M) { testenv.Main(m) }

const topic = "calls"

// world is a broker and a server with one table, for one test.
type world struct {
	*testing.T
	kafka *kfake.Cluster
	ch    *chserver.Server
	db    string
}

func newWorld(t *testing.T, partitions int32) *world {
	ch := testenv.SharedClickHouse(t)
	k, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(partitions, topic))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(k.Close)
	w := &world{T: t, kafka: k, ch: ch, db: testenv.Database(t, ch)}
	w.exec(fmt.Sprintf(`CREATE TABLE %s.calls (id UInt64, model LowCardinality(String), tokens UInt32 DEFAULT 7,
		_topic LowCardinality(String), _partition Int32, _offset Int64, _epoch UInt32, %s)
		ENGINE = MergeTree ORDER BY id SETTINGS non_replicated_deduplication_window = 10000, lightweight_mutation_projection_mode = 'rebuild'`,
		w.db, clickhouse.ProjectionDDL(contract.DefaultLineage())))
	return w
}

func (w *world) exec(sql ...string) { w.Helper(); testenv.Exec(w, w.ch.HTTPAddr(), sql...) }

func (w *world) query(sql string) string {
	w.Helper()
	return testenv.QueryValue(w, w.ch.HTTPAddr(), sql)
}

func (w *world) file(name, extra string) *config.Pipeline {
	w.Helper()
	text := fmt.Sprintf(`
name: %s
source:
  kafka: {brokers: [%q], topic: %s}
  format: json
contract:
  columns:
    id: {type: UInt64, required: true}
    model: {type: LowCardinality(String)}
    tokens: {type: UInt32, from: usage.tokens}
sink:
  clickhouse: {url: "clickhouse://default@%s/%s", table: calls}
batch: {rows: 500, age: 200ms}
%s`, name, w.kafka.ListenAddrs()[0], topic, w.ch.TCPAddr(), w.db, extra)
	p, err := config.Parse("test.yaml", []byte(text), os.LookupEnv)
	if err != nil {
		w.Fatal(err)
	}
	return p
}

func (w *world) produce(first, n int) {
	w.Helper()
	cl, err := kgo.NewClient(kgo.SeedBrokers(w.kafka.ListenAddrs()...), kgo.DefaultProduceTopic(topic), kgo.RecordPartitioner(kgo.RoundRobinPartitioner()))
	if err != nil {
		w.Fatal(err)
	}
	defer cl.Close()
	for i := first; i < first+n; i++ {
		value := fmt.Sprintf(`{"id":%d,"model":"m%d","usage":{"tokens":%d},"extra":1}`, i, i%3, i%1000)
		if i%100 == 99 {
			value = `{"id":` // cut off
		}
		cl.Produce(w.Context(), kgo.StringRecord(value), nil)
	}
	if err := cl.Flush(w.Context()); err != nil {
		w.Fatal(err)
	}
}

// start runs a pipeline until the returned function is called, which answers how it ended.
func (w *world) start(p *config.Pipeline) (stop func() error) {
	ctx, cancel := context.WithCancel(context.Background())
	level := slog.LevelWarn
	if testing.Verbose() {
		level = slog.LevelDebug
	}
	e := engine.New(p, engine.Deps{Log: telemetry.NewLogger(w.Output(), false, level, false), Metrics: telemetry.NewMetrics("test"), Budget: engine.NewBudget(64<<20, nil)})
	done := make(chan error, 1)
	go func() { done <- e.Run(ctx) }()
	w.Cleanup(cancel)
	return func() error { cancel(); return <-done }
}

func (w *world) await(what, sql, want string) {
	w.Helper()
	testenv.Eventually(w, 60*time.Second, what, func() bool { return w.query(sql) == want })
}

func TestPipeline_RecordsLandOnceAndAreAccountedFor(t *testing.T) {
	w := newWorld(t, 4)
	w.produce(0, 10_000)
	p := w.file("calls-"+strings.ReplaceAll(w.db, "_", "-"), "")
	ledger := "SELECT concat(toString(sum(read)), ' ', toString(sum(written)), ' ', toString(sum(dead_lettered)), ' ', toString(sum(next-first))) FROM waybill.ledger WHERE pipeline='" + p.Name + "'"
	stop := w.start(p)
	w.await("rows", "SELECT count() FROM "+w.db+".calls", "9900")
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	if got := w.query("SELECT uniqExact(_partition, _offset) FROM " + w.db + ".calls"); got != "9900" {
		t.Errorf("distinct rows %s", got)
	}
	if got := w.query(ledger); got != "10000 9900 100 10000" {
		t.Errorf("ledger %s", got)
	}
	if got := w.query("SELECT uniqExact(partition, offset) FROM waybill.dead_letters WHERE code = 'truncated' AND pipeline='" + p.Name + "'"); got != "100" {
		t.Errorf("dead letters %s", got)
	}
	// A second worker goes on where the first one ended.
	w.produce(10_000, 1_000)
	stop = w.start(p)
	w.await("more rows", "SELECT count() FROM "+w.db+".calls", "10890")
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	if got := w.query(ledger); got != "11000 10890 110 11000" {
		t.Errorf("ledger %s", got)
	}
}
