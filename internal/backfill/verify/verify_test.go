package verify_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/waybill-data/waybill"
	"github.com/waybill-data/waybill/internal/backfill/diff"
	"github.com/waybill-data/waybill/internal/backfill/verify"
	"github.com/waybill-data/waybill/internal/clickhouse"
	"github.com/waybill-data/waybill/internal/config"
	"github.com/waybill-data/waybill/internal/engine"
	"github.com/waybill-data/waybill/internal/kafka"
	"github.com/waybill-data/waybill/internal/ledger"
	"github.com/waybill-data/waybill/internal/telemetry"
	"github.com/waybill-data/waybill/internal/testenv"
	"github.com/waybill-data/waybill/internal/testenv/chserver"
)

func TestMain(m *testing.M) { testenv.Main(m) }

const topic = "calls"

// world is a pipeline that has run.
type world struct {
	*testing.T
	ch    *chserver.Server
	kafka *kfake.Cluster
	db    string
	cfg   *config.Pipeline
	deps  verify.Deps
	sent  int // events in each of two partitions
}

const contractText = "{new_fields: discard, columns: {id: {type: UInt64, required: true}, kind: {type: LowCardinality(String)}, cost: {type: Nullable(Float64)}, tags: {type: \"Map(String, UInt32)\"}}}"

// newWorld makes a pipeline of two partitions and n events in each: every tenth is filtered, every 25th a dead letter. The server fills two columns by itself, one of
// them with the time.
func newWorld(t *testing.T, n int) *world {
	t.Helper()
	k, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(2, topic))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(k.Close)
	w := &world{T: t, ch: testenv.SharedClickHouse(t), kafka: k}
	w.db = testenv.Database(t, w.ch)
	w.exec(`CREATE TABLE DB.calls (id UInt64, kind LowCardinality(String), cost Nullable(Float64), tags Map(String, UInt32), seen DateTime64(6) DEFAULT now64(6), day Date MATERIALIZED toDate(seen), double UInt64 DEFAULT id * 2, _rescued String,
		_topic LowCardinality(String), _partition UInt32, _offset UInt64, _epoch UInt32) ENGINE = MergeTree ORDER BY id SETTINGS non_replicated_deduplication_window = 10000`)
	w.cfg = w.config(contractText, 100)
	client, err := clickhouse.Open(t.Context(), engine.Server(w.cfg.Sink.ClickHouse), clickhouse.Deps{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	reader, err := kafka.OpenReader(t.Context(), kafka.Config{Brokers: k.ListenAddrs(), Topic: topic, Isolation: kafka.ReadCommitted, ClientID: "test", Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(reader.Close)
	w.deps = verify.Deps{Client: client, Ledger: ledger.New(client, ""), Source: reader}
	w.live(n)
	return w
}

func (w *world) config(contract string, batch int) *config.Pipeline {
	w.Helper()
	cfg, err := config.Parse("test.yaml", fmt.Appendf(nil, `
name: %s
source: {kafka: {brokers: [%q], topic: %s}}
contract: %s
sink: {clickhouse: {url: "clickhouse://default@%s/%s", table: calls}}
batch: {rows: %d, age: 100ms}
filter: event.id %% 10 != 0
`, strings.ReplaceAll(w.db, "_", "-"), w.kafka.ListenAddrs()[0], topic, contract, w.ch.TCPAddr(), w.db, batch), func(string) (string, bool) { return "", false })
	if err != nil {
		w.Fatal(err)
	}
	return cfg
}

func (w *world) exec(sql ...string) {
	w.Helper()
	for _, s := range sql {
		testenv.Exec(w, w.ch.HTTPAddr(), strings.ReplaceAll(s, "DB.", w.db+"."))
	}
}

// live produces n more events to each partition and has the pipeline read them.
func (w *world) live(n int) {
	w.Helper()
	cl, err := kgo.NewClient(kgo.SeedBrokers(w.kafka.ListenAddrs()...), kgo.DefaultProduceTopic(topic), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err != nil {
		w.Fatal(err)
	}
	defer cl.Close()
	for i := w.sent; i < w.sent+n; i++ {
		value := fmt.Sprintf(`{"id":%d,"kind":"K%d","cost":%d.25,"tags":{"b":%[1]d,"a":1}}`, i, i%3, i)
		if i%25 == 24 {
			value = `{"id":`
		}
		for p := range int32(2) {
			cl.Produce(w.Context(), &kgo.Record{Partition: p, Value: []byte(value)}, nil)
		}
	}
	w.sent += n
	if err := cl.Flush(w.Context()); err != nil {
		w.Fatal(err)
	}
	w.run(engine.New(w.cfg, w.engine()), 0)
}

func (w *world) engine() engine.Deps {
	return engine.Deps{Log: telemetry.NewLogger(io.Discard, false, slog.LevelError, false), Metrics: telemetry.NewMetrics("test"), Budget: engine.NewBudget(64<<20, nil)}
}

// run runs a pipeline until its epoch accounts for all that was sent.
func (w *world) run(p *engine.Pipeline, epoch waybill.Epoch) {
	w.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- p.Run(ctx) }()
	testenv.Eventually(w, 2*time.Minute, "all is accounted for", func() bool {
		select {
		case err := <-done:
			done <- err
			if err != nil {
				w.Fatal("the pipeline has ended: ", err)
			}
			return true
		default:
		}
		got, err := testenv.Query(w.ch.HTTPAddr(), fmt.Sprintf("SELECT sum(next - first) FROM waybill.ledger WHERE pipeline = '%s' AND epoch = %d", w.cfg.Name, epoch))
		return err == nil && strings.TrimSpace(got) == fmt.Sprint(2*w.sent)
	})
	cancel()
	if err := <-done; err != nil {
		w.Fatal(err)
	}
}

// backfill runs a backfill of a scope (nil: all) under an epoch and a pipeline file.
func (w *world) backfill(cfg *config.Pipeline, epoch waybill.Epoch, scope map[int32]waybill.OffsetSet) verify.Backfill {
	w.Helper()
	table := fmt.Sprintf("calls_backfill_%d", epoch)
	w.exec("CREATE TABLE DB." + table + " AS DB.calls")
	b := verify.Backfill{Job: fmt.Sprint("j", epoch), Live: w.cfg, Scope: scope, Shadow: cfg.Shadow(config.Shadow{Job: fmt.Sprint("j", epoch), Epoch: epoch, Group: fmt.Sprintf("%s-%d", w.db, epoch), Table: table})}
	all := engine.Scope{Offsets: scope, Until: map[int32]int64{0: int64(w.sent), 1: int64(w.sent)}, Final: true}
	if scope == nil {
		whole := waybill.OffsetsIn(waybill.Span{First: 0, Next: int64(w.sent)})
		all.Offsets = map[int32]waybill.OffsetSet{0: whole, 1: whole}
	}
	w.run(engine.NewBackfill(b.Shadow, w.engine(), engine.Backfill{Scope: func() engine.Scope { return all }}), epoch)
	return b
}

func (w *world) verify(b verify.Backfill) *verify.Result {
	w.Helper()
	r, err := verify.Run(w.Context(), w.deps, b, verify.Options{Thresholds: diff.DefaultThresholds(), Content: true, Samples: 3})
	if err != nil {
		w.Fatal(err)
	}
	return r
}

func (w *world) holds(b verify.Backfill, r *verify.Result) string {
	w.Helper()
	rec := r.Record()
	why, err := verify.Holds(w.Context(), w.deps.Client, b, &rec)
	if err != nil {
		w.Fatal(err)
	}
	return why
}

// A backfill that is as it should be may be promoted, and what is wrong with one is said.
func TestRun_AllowsAndRefuses(t *testing.T) {
	w := newWorld(t, 300)
	b := w.backfill(w.cfg, 1, nil)
	r := w.verify(b)
	if x := r.Tables[0].Diff; !r.OK || len(r.Refusals) > 0 || len(r.Audit.Violations) > 0 || x.Rows.Same != 2*258 || x.Rows != (diff.Rows{Both: 516, Same: 516}) {
		t.Fatalf("%q: %+v, %+v", r.Refusals, r.Audit.Violations, x.Rows)
	}
	if c := r.Tables[0].Diff.Column("seen"); c.State != diff.NotCompared || !strings.Contains(c.Why, "DEFAULT now64(6)") {
		t.Errorf("%+v", c)
	}
	if why := w.holds(b, r); why != "" {
		t.Error(why)
	}
	// Live goes on: what the shadow has not come to is no difference.
	w.live(50)
	if r = w.verify(b); !r.OK || len(r.Tables[0].Diff.NotReached) != 2 {
		t.Errorf("%+v, %+v", r.Refusals, r.Tables[0].Diff.NotReached)
	}
	if why := w.holds(b, r); why != "" {
		t.Error(why)
	}
	for name, c := range map[string]struct {
		sql   string
		law   string
		wrong string
	}{
		"a value":       {"ALTER TABLE DB.calls_backfill_1 UPDATE cost = 7 WHERE _partition = 1 AND _offset = 33 SETTINGS mutations_sync = 2", "law L5", "cost"},
		"a lost row":    {"DELETE FROM DB.calls_backfill_1 WHERE _partition = 0 AND _offset = 11", "law L3", "rows of live are missing"},
		"a doubled row": {"INSERT INTO DB.calls_backfill_1 SELECT * FROM DB.calls_backfill_1 WHERE _partition = 0 AND _offset = 13", "law L3", "several rows in the shadow"},
	} {
		w.exec(c.sql)
		bad := w.verify(b)
		if !slices.ContainsFunc(bad.Refusals, func(s string) bool { return strings.HasPrefix(s, c.law) }) || !strings.Contains(strings.Join(bad.Refusals, "; "), c.wrong) || bad.OK {
			t.Errorf("%s: %q", name, bad.Refusals)
		}
		if why := w.holds(b, r); why == "" {
			t.Errorf("%s: the result is taken to say something of what the shadow is now", name)
		}
	}
}

// What a backfill does not read is neither compared nor missed, and the laws hold of what it has read.
func TestRun_Scope(t *testing.T) {
	w := newWorld(t, 200)
	scope := map[int32]waybill.OffsetSet{0: waybill.OffsetsIn(waybill.Span{First: 50, Next: 120}), 1: {}}
	b := w.backfill(w.cfg, 1, scope)
	r := w.verify(b)
	if !r.OK || r.Tables[0].Diff.Live.Rows != r.Tables[0].Checksums.Rows || r.Tables[0].Checksums.Rows != 61 {
		t.Errorf("%q: %+v, %+v", r.Refusals, r.Tables[0].Diff.Live, r.Tables[0].Checksums)
	}
	// Control: against all of live, most rows are missing.
	b.Scope = nil
	if r := w.verify(b); r.OK {
		t.Errorf("%+v", r.Tables[0].Diff.Rows)
	}
}

// The same scope under the same plan gives the same checksums, whatever its batches and epoch; another plan does not, nor does one value that was changed. What the server
// makes up is left out by name.
func TestChecksums_AreReproducible(t *testing.T) {
	w := newWorld(t, 250)
	scope := map[int32]waybill.OffsetSet{0: waybill.OffsetsIn(waybill.Span{First: 20, Next: 230}), 1: waybill.OffsetsIn(waybill.Span{First: 0, Next: 99})}
	first := w.verify(w.backfill(w.cfg, 1, scope)).Tables[0].Checksums
	again := w.verify(w.backfill(w.config(contractText, 33), 2, scope)).Tables[0].Checksums
	if d := first.Differences(again); len(d) > 0 || first.All != again.All || first.Rows == 0 || first.Plan != again.Plan || first.Plan == "" {
		t.Errorf("%q: %+v, %+v", d, first, again)
	}
	left := []string{}
	for _, l := range first.Without {
		left = append(left, l.Name)
	}
	slices.Sort(left)
	if want := []string{"_epoch", "_offset", "_partition", "_topic", "day", "seen"}; !slices.Equal(left, want) {
		t.Errorf("%+v", first.Without)
	}
	if !slices.ContainsFunc(first.Columns, func(c diff.ColumnSum) bool { return c.Name == "double" }) {
		t.Errorf("%+v", first.Columns) // filled by the server, and a function of the row
	}
	other := w.verify(w.backfill(w.config(strings.Replace(contractText, "kind: {type: LowCardinality(String)}", "kind: {type: LowCardinality(String), expr: event.kind.lowerAscii()}", 1), 100), 3, scope)).Tables[0].Checksums
	if d := first.Differences(other); !slices.ContainsFunc(d, func(s string) bool { return strings.HasPrefix(s, "column kind: ") }) || first.All == other.All || first.Plan == other.Plan {
		t.Errorf("another plan: %q", d)
	}
	// One value of the second time is changed.
	w.exec("ALTER TABLE DB.calls_backfill_2 UPDATE cost = NULL WHERE _partition = 0 AND _offset = 21 SETTINGS mutations_sync = 2")
	ref := diff.TableRef{Database: w.db, Table: "calls_backfill_2"}
	changed, err := diff.Sum(t.Context(), w.deps.Client, ref, diff.Options{Topic: topic, Scope: scope, LiveEnds: first.Ends})
	if err != nil {
		t.Fatal(err)
	}
	if d := again.Contradicts(changed); !strings.HasPrefix(d, "column cost") {
		t.Errorf("%q", d)
	}
}
