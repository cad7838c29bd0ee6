package engine_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"syscall"
	"testing"
	"text/template"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/waybill-data/waybill"
	"github.com/waybill-data/waybill/internal/clickhouse"
	"github.com/waybill-data/waybill/internal/config"
	"github.com/waybill-data/waybill/internal/contract"
	"github.com/waybill-data/waybill/internal/demo/events"
	"github.com/waybill-data/waybill/internal/engine"
	"github.com/waybill-data/waybill/internal/telemetry"
	"github.com/waybill-data/waybill/internal/testenv"
)

// benchEvents is how many events the topic holds; the demo's table and contract take them.
const benchEvents = 200_000

// BenchmarkPipeline takes a preloaded topic into a table. CPU is that of this process, which is also
// where kfake answers fetches; the server is another process.
func BenchmarkPipeline(b *testing.B) {
	benchPipeline(b, func(_ *world, cfg *config.Pipeline, deps engine.Deps) *engine.Pipeline { return engine.New(cfg, deps) })
}

// BenchmarkBackfill does the same as a backfill of the whole topic.
func BenchmarkBackfill(b *testing.B) {
	benchPipeline(b, func(w *world, cfg *config.Pipeline, deps engine.Deps) *engine.Pipeline {
		s := engine.Scope{Offsets: map[int32]waybill.OffsetSet{}, Until: map[int32]int64{}, Final: true}
		w.admin(func(ctx context.Context, adm *kadm.Client) error {
			ends, err := adm.ListEndOffsets(ctx, topic)
			ends.Each(func(o kadm.ListedOffset) {
				s.Offsets[o.Partition], s.Until[o.Partition] = waybill.OffsetsIn(span(0, o.Offset)), o.Offset
			})
			return err
		})
		shadow := cfg.Shadow(config.Shadow{Job: "j1", Epoch: 1, Group: cfg.Source.Kafka.Group + "-j1", Table: "llm_calls"})
		return engine.NewBackfill(shadow, deps, engine.Backfill{Scope: always(s)})
	})
}

func benchPipeline(b *testing.B, build func(*world, *config.Pipeline, engine.Deps) *engine.Pipeline) {
	w := newWorld(b, 4)
	w.exec(strings.Replace(filled(b, "../demo/table.sql", map[string]any{"Projection": clickhouse.ProjectionDDL(contract.DefaultLineage())}), "demo.", w.db+".", 1))
	bytes := w.load(benchEvents)
	b.SetBytes(bytes)
	var rows int64
	var cpu time.Duration
	for b.Loop() {
		b.StopTimer()
		w.exec("TRUNCATE TABLE " + w.db + ".llm_calls")
		w.name = fmt.Sprintf("%s-%d", w.name, b.N)
		p := build(w, w.demoFile(), benchDeps())
		b.StartTimer()
		before := cpuTime(b)
		w.runAs(p, benchEvents)
		cpu += cpuTime(b) - before
		rows += benchEvents
	}
	b.ReportMetric(float64(rows)/b.Elapsed().Seconds(), "rows/s")
	b.ReportMetric(cpu.Seconds()/float64(rows)*1e6, "cpu-s/Mrow")
}

func filled(b *testing.B, path string, values any) string {
	text, err := os.ReadFile(path)
	if err != nil {
		b.Fatal(err)
	}
	var out strings.Builder
	if err := template.Must(template.New(path).Parse(string(text))).Execute(&out, values); err != nil {
		b.Fatal(err)
	}
	return out.String()
}

func (w *world) demoFile() *config.Pipeline {
	b := w.TB.(*testing.B)
	text := filled(b, "../demo/pipeline.yaml", map[string]any{"Broker": w.kafka.ListenAddrs()[0], "ClickHouse": w.ch.TCPAddr(), "SessionTimeout": "45s"})
	text = strings.NewReplacer("name: llm-calls", "name: "+w.name, "/demo\"", "/"+w.db+"\"", "topic: llm.calls", "topic: "+topic).Replace(text)
	p, err := config.Parse("bench.yaml", []byte(text), os.LookupEnv)
	if err != nil {
		w.Fatal(err)
	}
	return p
}

// load fills the topic and is the number of bytes in it.
func (w *world) load(n int) int64 {
	cl := w.client(kgo.ProducerBatchCompression(kgo.NoCompression()))
	defer cl.Close()
	gen := events.New(1)
	var bytes int64
	for range n {
		key, value, _ := gen.Next()
		bytes += int64(len(key) + len(value))
		cl.Produce(context.Background(), &kgo.Record{Key: key, Value: value}, nil)
	}
	if err := cl.Flush(context.Background()); err != nil {
		w.Fatal(err)
	}
	return bytes
}

// run a worker until the ledger accounts for n offsets.
func (w *world) run(cfg *config.Pipeline, n int64) { w.runAs(engine.New(cfg, benchDeps()), n) }

func benchDeps() engine.Deps {
	return engine.Deps{Log: slog.New(slog.NewTextHandler(io.Discard, &slog.HandlerOptions{Level: slog.LevelError})),
		Metrics: telemetry.NewMetrics("bench"), Budget: engine.NewBudget(256<<20, nil)}
}

func (w *world) runAs(p *engine.Pipeline, n int64) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- p.Run(ctx) }()
	testenv.Eventually(w, soon, "all is accounted for", func() bool {
		t := p.Status().Totals
		return t.Written+t.DeadLettered+t.Tombstones == n
	})
	cancel()
	if err := <-done; err != nil {
		w.Fatal(err)
	}
}

func cpuTime(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
