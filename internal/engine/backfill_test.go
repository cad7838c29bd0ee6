package engine_test

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/waybill-data/waybill"
	"github.com/waybill-data/waybill/internal/audit"
	"github.com/waybill-data/waybill/internal/clickhouse"
	"github.com/waybill-data/waybill/internal/config"
	"github.com/waybill-data/waybill/internal/engine"
	"github.com/waybill-data/waybill/internal/kafka"
	"github.com/waybill-data/waybill/internal/ledger"
	"github.com/waybill-data/waybill/internal/status"
	"github.com/waybill-data/waybill/internal/testenv"
	"github.com/waybill-data/waybill/internal/testenv/faultproxy"
)

// job is a backfill under test.
type job struct {
	*world
	cfg        *config.Pipeline
	partitions int32
}

// job makes the table of a backfill, as the pipeline's with a fence, and derives its pipeline file.
func (w *world) job(cfg *config.Pipeline, epoch waybill.Epoch, partitions int32) *job {
	w.Helper()
	table := fmt.Sprintf("calls_j%d", epoch)
	w.exec(fmt.Sprintf("CREATE TABLE %[1]s.%[2]s AS %[1]s.calls", w.db, table),
		fmt.Sprintf("ALTER TABLE %s.%s ADD CONSTRAINT waybill_epoch CHECK _epoch >= %d", w.db, table, epoch))
	return &job{w, cfg.Shadow(config.Shadow{Job: fmt.Sprintf("j%d", epoch), Epoch: epoch, Group: fmt.Sprintf("%s-j%d", w.group(), epoch), Table: table}), partitions}
}

// run runs a worker of the backfill.
func (j *job) run(b engine.Backfill) *worker {
	j.Helper()
	return j.startAs(j.cfg, func(cfg *config.Pipeline, deps engine.Deps) *engine.Pipeline { return engine.NewBackfill(cfg, deps, b) })
}

// complete waits until the backfill has ended by itself, with its whole scope on the account.
func (r *worker) complete() {
	r.w.Helper()
	if err := r.ended(); err != nil {
		r.w.Fatal(err)
	}
	if b := r.p.Status().Backfill; b == nil || !b.Complete {
		r.w.Fatalf("it has ended, and is not complete: %+v", b)
	}
}

func always(s engine.Scope) func() engine.Scope { return func() engine.Scope { return s } }

// growing is a scope that a test lets grow.
type growing struct{ atomic.Pointer[engine.Scope] }

func (g *growing) set(s engine.Scope) { g.Store(&s) }

func (g *growing) get() engine.Scope { return *g.Load() }

// whole is the scope of all offsets of so many partitions before one.
func whole(partitions int32, until int64) engine.Scope {
	s := engine.Scope{Offsets: map[int32]waybill.OffsetSet{}, Until: map[int32]int64{}, Final: true}
	for p := range partitions {
		s.Offsets[p], s.Until[p] = waybill.OffsetsIn(waybill.Span{First: 0, Next: until}), until
	}
	return s
}

func span(first, next int64) waybill.Span { return waybill.Span{First: first, Next: next} }

// fill produces n events to each of the partitions: event i of a partition is number i*partitions + partition.
func (w *world) fill(partitions int32, from, n int) {
	w.Helper()
	cl := w.client(kgo.RecordPartitioner(kgo.ManualPartitioner()))
	defer cl.Close()
	for i := from; i < from+n; i++ {
		for p := range partitions {
			cl.Produce(context.Background(), &kgo.Record{Partition: p, Value: []byte(call(i*int(partitions) + int(p)))}, func(_ *kgo.Record, err error) {
				if err != nil {
					w.Errorf("produce: %v", err)
				}
			})
		}
	}
	if err := cl.Flush(context.Background()); err != nil {
		w.Fatal(err)
	}
}

// rows are what a table should hold of offsets: partition, offset and id of each.
func (j *job) rows(offsets map[int32]waybill.OffsetSet) (rows, dead string) {
	var written, rejected []string
	for _, p := range slices.Sorted(maps.Keys(offsets)) {
		for _, sp := range offsets[p].Spans() {
			for o := sp.First; o < sp.Next; o++ {
				if i := o*int64(j.partitions) + int64(p); i%100 == 99 {
					rejected = append(rejected, fmt.Sprintf("%d %d", p, o))
				} else {
					written = append(written, fmt.Sprintf("%d %d %d", p, o, i))
				}
			}
		}
	}
	return strings.Join(written, "\n"), strings.Join(rejected, "\n")
}

// check holds the backfill against what was produced: its account has every offset of its scope exactly once, and there is no row out of scope.
// without are offsets of the scope that hold no record, or none that is left.
func (j *job) check(s engine.Scope, without map[int32]waybill.OffsetSet) {
	j.Helper()
	there := map[int32]waybill.OffsetSet{}
	for p, set := range s.Offsets {
		there[p] = set.Within(span(0, s.Until[p])).Minus(without[p])
	}
	rows, dead := j.rows(there)
	same(j, "rows", j.list("SELECT concat(toString(_partition), ' ', toString(_offset), ' ', toString(id)) FROM "+j.cfg.Sink.ClickHouse.Place()+" ORDER BY _partition, _offset"), rows)
	same(j, "dead letters", j.list(fmt.Sprintf("SELECT DISTINCT concat(toString(partition), ' ', toString(offset)) FROM waybill.dead_letters WHERE pipeline = '%s' AND epoch = %d ORDER BY partition, offset", j.name, j.cfg.Epoch)), dead)
	account := "SELECT %s FROM (SELECT * FROM waybill.ledger WHERE pipeline = '" + j.name + fmt.Sprintf("' AND epoch = %d LIMIT 1 BY partition, first)", j.cfg.Epoch)
	var tiled, read []string
	for _, p := range slices.Sorted(maps.Keys(s.Until)) {
		if s.Until[p] > 0 {
			tiled = append(tiled, fmt.Sprintf("%d 0 %[2]d %[2]d", p, s.Until[p]))
			read = append(read, fmt.Sprintf("%d %d", p, there[p].Len()))
		}
	}
	same(j, "spans", j.list(fmt.Sprintf(account, "concat(toString(partition), ' ', toString(min(first)), ' ', toString(max(next)), ' ', toString(sum(next - first)))")+" GROUP BY partition ORDER BY partition"), strings.Join(tiled, "\n"))
	same(j, "records read and not lost", j.list(fmt.Sprintf(account, "concat(toString(partition), ' ', toString(sum(read) - sum(lost)))")+" GROUP BY partition ORDER BY partition"), strings.Join(read, "\n"))
	same(j, "tables of the account", j.list(fmt.Sprintf(account, "DISTINCT target")), j.db+".calls")
	if got := j.query("SELECT count() FROM " + j.cfg.Sink.ClickHouse.Place() + fmt.Sprintf(" WHERE _epoch != %d", j.cfg.Epoch)); got != "0" {
		j.Errorf("%s rows of other epochs", got)
	}
	j.audit(s)
}

func same(t testing.TB, what, got, want string) {
	t.Helper()
	if got == want {
		return
	}
	a, b := strings.Split(got, "\n"), strings.Split(want, "\n")
	i := 0
	for i < len(a) && i < len(b) && a[i] == b[i] {
		i++
	}
	t.Errorf("%s: %d, want %d; from %d on they are %q, want %q", what, len(a), len(b), i, a[i:min(i+3, len(a))], b[i:min(i+3, len(b))])
}

func (w *world) list(sql string) string {
	w.Helper()
	got, err := testenv.Query(w.ch.HTTPAddr(), sql)
	if err != nil {
		w.Fatal(err)
	}
	return strings.TrimSpace(got)
}

// audit holds the laws L1 to L5 against the backfill.
func (j *job) audit(s engine.Scope) {
	j.Helper()
	report := j.audited(audit.Options{Content: true, Scope: s.Offsets})
	for _, v := range report.Violations {
		j.Errorf("law %s is broken: %s (%s)", v.Law, v.Message, v.Kind)
	}
}

func (j *job) audited(o audit.Options) *audit.Report {
	j.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), soon)
	defer cancel()
	client, err := clickhouse.Open(ctx, engine.Server(j.cfg.Sink.ClickHouse), clickhouse.Deps{})
	if err != nil {
		j.Fatal(err)
	}
	defer client.Close()
	reader, err := kafka.OpenReader(ctx, kafka.Config{Brokers: j.kafka.ListenAddrs(), Topic: topic, Isolation: kafka.ReadCommitted, ClientID: "test", Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		j.Fatal(err)
	}
	defer reader.Close()
	report, err := audit.Run(ctx, audit.Deps{Client: client, Ledger: ledger.New(client, ""), Source: reader}, j.cfg, o)
	if err != nil {
		j.Fatal(err)
	}
	return report
}

// The whole topic goes into a shadow while the pipeline itself goes on. It is made twice: the same scope and plan give the same.
func TestBackfill_WholeTopicBesideALiveWorker(t *testing.T) {
	w := newWorld(t, 3)
	cfg := w.file(spec{})
	w.fill(3, 0, 1000)
	live := w.start(cfg)
	first, second := w.job(cfg, 1, 3), w.job(cfg, 2, 3)
	var scope growing
	s := whole(3, 700)
	s.Final = false
	scope.set(s)
	a := first.run(engine.Backfill{Scope: scope.get})
	w.fill(3, 1000, 500)
	s = whole(3, 1300)
	s.Final = false
	scope.set(s)
	w.fill(3, 1500, 500)
	scope.set(whole(3, 2000))
	a.complete()
	first.check(whole(3, 2000), nil)
	second.run(engine.Backfill{Scope: always(whole(3, 2000))}).complete()
	second.check(whole(3, 2000), nil)
	same(t, "sums over all records of the two", w.list("SELECT groupArray(c) FROM (SELECT partition, sum(checksum) AS c FROM (SELECT * FROM waybill.ledger WHERE pipeline = '"+w.name+
		"' AND epoch = 1 LIMIT 1 BY partition, first) GROUP BY partition ORDER BY partition)"),
		w.list("SELECT groupArray(c) FROM (SELECT partition, sum(checksum) AS c FROM (SELECT * FROM waybill.ledger WHERE pipeline = '"+w.name+"' AND epoch = 2 LIMIT 1 BY partition, first) GROUP BY partition ORDER BY partition)"))
	same(t, "plans", w.list("SELECT uniqExact(plan) FROM waybill.ledger WHERE pipeline = '"+w.name+"'"), "1") // by the name that the tables go by
	live.await("the live worker is through", func(s status.Pipeline) bool { return s.Totals.Read == 6000 })
	live.stop()
	same(t, "rows of the live table", w.list("SELECT count(), uniqExact(_partition, _offset), max(_epoch) FROM "+w.db+".calls"), "5940\t5940\t0")
}

// Spans in the middle: what lies far between is not read.
func TestBackfill_SpansInTheMiddle(t *testing.T) {
	w := newWorld(t, 3)
	cfg := w.file(spec{})
	w.fill(3, 0, 30_000)
	at := w.fetches()
	j := w.job(cfg, 1, 3)
	s := engine.Scope{Final: true, Until: map[int32]int64{0: 30_000, 1: 29_000, 2: 25_000}, Offsets: map[int32]waybill.OffsetSet{
		0: waybill.OffsetsIn(span(10, 20), span(25, 125), span(20_125, 20_126), span(29_990, 30_000)),
		1: waybill.OffsetsIn(span(15_000, 16_000)),
		2: waybill.OffsetsIn(span(0, 5), span(24_999, 40_000)), // its end is out of scope
	}}
	a := j.run(engine.Backfill{Scope: always(s)})
	a.complete()
	j.check(s, nil)
	for _, want := range []string{"0 10", "0 20125", "1 15000", "2 24999"} {
		if !at.has(want) {
			t.Errorf("nothing was fetched from %s on: what lies before was read, not leaped over", want)
		}
	}
	if got := a.p.Status().Totals.Read; got != 10+100+1+10+1000+5+1 {
		t.Errorf("%d records were read", got)
	}
}

// fetches notes from where fetches of the topic begin: "partition offset".
type fetches struct {
	mu sync.Mutex
	at map[string]bool
}

func (w *world) fetches() *fetches {
	f := &fetches{at: map[string]bool{}}
	w.kafka.ControlKey(int16(kmsg.Fetch), func(r kmsg.Request) (kmsg.Response, error, bool) {
		w.kafka.KeepControl()
		f.mu.Lock()
		defer f.mu.Unlock()
		for _, of := range r.(*kmsg.FetchRequest).Topics {
			for _, p := range of.Partitions {
				f.at[fmt.Sprintf("%d %d", p.Partition, p.FetchOffset)] = true
			}
		}
		return nil, nil, false
	})
	return f
}

func (f *fetches) has(at string) bool { f.mu.Lock(); defer f.mu.Unlock(); return f.at[at] }

// A partition in which nothing is in scope is on the account all the same, up to where the account goes; one whose account goes nowhere is not.
func TestBackfill_NothingInScopeIsASpanOfHoles(t *testing.T) {
	w := newWorld(t, 4)
	cfg := w.file(spec{})
	w.fill(4, 0, 300)
	j := w.job(cfg, 1, 4)
	s := engine.Scope{Final: true, Until: map[int32]int64{0: 300, 1: 200, 2: 300}, Offsets: map[int32]waybill.OffsetSet{2: waybill.OffsetsIn(span(100, 101))}}
	j.run(engine.Backfill{Scope: always(s)}).complete()
	j.check(s, nil)
	if got := w.query(w.ofLedger("toString(arraySort(groupArray((partition, first, next, read, written, lost))))")); !strings.Contains(got, "(0,0,300,0,0,0)") || !strings.Contains(got, "(1,0,200,0,0,0)") {
		t.Errorf("ledger %s", got)
	}
	client, err := clickhouse.Open(t.Context(), engine.Server(cfg.Sink.ClickHouse), clickhouse.Deps{})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	tips, err := ledger.New(client, "").Tips(t.Context(), w.name, 1, topic)
	if err != nil || tips[0].Next != 300 || tips[1].Next != 200 || tips[2].Next != 300 || len(tips) != 3 {
		t.Errorf("tips %+v, %v", tips, err)
	}
}

// While the scope grows nothing past its end is read into the table, and it is not over before it is final.
func TestBackfill_KeepsToAScopeThatGrows(t *testing.T) {
	w := newWorld(t, 2)
	cfg := w.file(spec{})
	w.fill(2, 0, 1000)
	j := w.job(cfg, 1, 2)
	var scope growing
	s := engine.Scope{Until: map[int32]int64{0: 100, 1: 50}, Offsets: map[int32]waybill.OffsetSet{0: waybill.OffsetsIn(span(10, 1000)), 1: waybill.OffsetsIn(span(60, 70))}}
	scope.set(s)
	a := j.run(engine.Backfill{Scope: scope.get})
	reaches := func(until ...int64) {
		t.Helper()
		a.await(fmt.Sprintf("the account reaches %d", until), func(s status.Pipeline) bool {
			if s.Backfill == nil || len(s.Backfill.Partitions) != len(until) || s.Backfill.Complete {
				return false
			}
			for i, p := range s.Backfill.Partitions {
				if p.Settled != until[i] || p.Until != until[i] || p.Left != 0 || p.ETASeconds != 0 {
					return false
				}
			}
			return s.Backfill.Left == 0 && !s.Backfill.Final && s.Backfill.Job == "j1"
		})
		j.check(scope.get(), nil)
	}
	reaches(100, 50)
	s.Until = map[int32]int64{0: 100, 1: 65}
	scope.set(s)
	reaches(100, 65)
	s.Until = map[int32]int64{0: 500, 1: 500}
	scope.set(s)
	reaches(500, 500)
	w.fill(2, 1000, 100)
	s.Until, s.Final = map[int32]int64{0: 1100, 1: 500}, true
	scope.set(s)
	a.complete()
	j.check(s, nil)
}

// What is on the account may not be what a scope says that has changed.
func TestBackfill_ScopeThatChangesStopsIt(t *testing.T) {
	w := newWorld(t, 1)
	w.fill(1, 0, 100)
	j := w.job(w.file(spec{}), 1, 1)
	var scope growing
	s := whole(1, 50)
	s.Final = false
	scope.set(s)
	a := j.run(engine.Backfill{Scope: scope.get})
	a.await("it has begun", func(s status.Pipeline) bool { return s.Totals.Read == 50 })
	s = whole(1, 100)
	s.Offsets[0] = waybill.OffsetsIn(span(10, 100))
	scope.set(s)
	if err := a.ended(); waybill.ClassOf(err) != waybill.ClassBug || !strings.Contains(err.Error(), "[0,10) were in it") {
		t.Errorf("ended with %v", err)
	}
}

// A worker promises a batch with holes in it, and is gone; another one, which knows the scope by itself, carries the batch out.
func TestBackfill_AnotherWorkerCarriesOutWhatOneHasPromised(t *testing.T) {
	w := newWorld(t, 2)
	proxy := testenv.Proxy(t, w.ch.TCPAddr())
	proxy.Set(faultproxy.Answer(252, "DB::Exception", "no ledger now").On(faultproxy.Insert("ledger")))
	w.fill(2, 0, 2000)
	s := engine.Scope{Final: true, Until: map[int32]int64{0: 2000, 1: 2000}, Offsets: map[int32]waybill.OffsetSet{
		0: waybill.OffsetsIn(span(100, 150), span(200, 250), span(260, 261), span(1000, 1500)), 1: waybill.OffsetsIn(span(7, 8))}}
	first := w.job(w.file(spec{addr: proxy.Addr(), kafka: quickSession}), 1, 2)
	a := first.run(engine.Backfill{Scope: always(s)})
	a.await("batches are promised", stalled("no ledger now"))
	a.sockets.cutAll()
	a.cancel()
	<-a.done
	a.checkBudget()
	second := &job{w, w.file(spec{kafka: quickSession}).Shadow(config.Shadow{Job: "j1", Epoch: 1, Group: first.cfg.Source.Kafka.Group, Table: "calls_j1"}), 2}
	b := second.run(engine.Backfill{Scope: always(s)})
	b.complete()
	second.check(s, nil)
	for _, kind := range []string{"records_gone", "records_changed", "rows_past_position"} {
		if b.found(kind) {
			t.Errorf("finding %s: the batch was not rebuilt as it was gathered", kind)
		}
	}
	if got := b.p.Status().Totals.Read; got != 50+50+1+500+1 {
		t.Errorf("the second worker has %d records on its account", got)
	}
}

// A worker has promised a batch up to where the scope has grown, and is gone; the next one has not heard of that yet. It must not take what it does not know to be in
// scope for holes.
func TestBackfill_WorkerThatKnowsOfAShorterScopeWaits(t *testing.T) {
	w := newWorld(t, 1)
	proxy := testenv.Proxy(t, w.ch.TCPAddr())
	proxy.Set(faultproxy.Answer(252, "DB::Exception", "no ledger now").On(faultproxy.Insert("ledger")))
	w.fill(1, 0, 300)
	first := w.job(w.file(spec{addr: proxy.Addr(), kafka: quickSession}), 1, 1)
	a := first.run(engine.Backfill{Scope: always(whole(1, 300))})
	a.await("a batch is promised", stalled("no ledger now"))
	a.sockets.cutAll()
	a.cancel()
	<-a.done
	second := &job{w, w.file(spec{kafka: quickSession}).Shadow(config.Shadow{Job: "j1", Epoch: 1, Group: first.cfg.Source.Kafka.Group, Table: "calls_j1"}), 1}
	var scope growing
	s := whole(1, 100)
	s.Final = false
	scope.set(s)
	b := second.run(engine.Backfill{Scope: scope.get})
	b.await("it waits to hear of it", stalled("past the end of the scope as it is known here"))
	scope.set(whole(1, 300))
	b.complete()
	second.check(whole(1, 300), nil)
	if b.found("records_gone") || b.found("records_changed") {
		t.Errorf("findings %+v", b.p.Status().Findings)
	}
}

// Two workers share the partitions; one is cut off in the middle of its work and takes no leave.
func TestBackfill_TwoWorkersOneStoppedHard(t *testing.T) {
	w := newWorld(t, 4)
	w.fill(4, 0, 1200)
	s := whole(4, 1200)
	s.Offsets[1] = waybill.OffsetsIn(span(200, 400), span(500, 1150))
	s.Offsets[3] = waybill.OffsetSet{}
	j := w.job(w.file(spec{rows: 100, kafka: quickSession}), 1, 4)
	b := engine.Backfill{Scope: always(s), RecordsPerSecond: 800}
	one := j.run(b)
	one.await("one has begun", func(s status.Pipeline) bool { return s.Totals.Written > 0 })
	two := j.run(b)
	two.await("two has a share", func(s status.Pipeline) bool { return len(s.Partitions) == 2 && s.Totals.Written > 0 })
	one.sockets.cutAll()
	one.cancel()
	<-one.done
	two.complete()
	j.check(s, nil)
}

// It goes on where it was.
func TestBackfill_StartedAnewGoesOnWhereItWas(t *testing.T) {
	w := newWorld(t, 2)
	w.fill(2, 0, 3000)
	s := engine.Scope{Final: true, Until: map[int32]int64{0: 3000, 1: 3000}, Offsets: map[int32]waybill.OffsetSet{
		0: waybill.OffsetsIn(span(100, 2000), span(2500, 2600)), 1: waybill.OffsetsIn(span(0, 1000), span(1001, 3000))}}
	j := w.job(w.file(spec{rows: 100}), 1, 2)
	a := j.run(engine.Backfill{Scope: always(s), RecordsPerSecond: 1000, BytesPerSecond: 1 << 20})
	a.await("a part of it is done", func(s status.Pipeline) bool {
		return s.Totals.Read > 300 && s.Backfill.Left > 0 && s.Backfill.Left < 4999 && s.Backfill.Rate > 0 && s.Backfill.ETASeconds > 0
	})
	a.stop()
	if s := a.p.Status(); s.Backfill.Complete || s.Totals.Read == 4999 {
		t.Fatalf("it was over before it was stopped: %+v", s)
	}
	b := j.run(engine.Backfill{Scope: always(s)})
	b.complete()
	j.check(s, nil)
	if got := a.p.Status().Totals.Read + b.p.Status().Totals.Read; got != 4999 {
		t.Errorf("%d records on the account of the two, want 4999", got)
	}
	// Once more: there is nothing left to do.
	c := j.run(engine.Backfill{Scope: always(s)})
	c.complete()
	if got := c.p.Status().Totals.Read; got != 0 {
		t.Errorf("%d records were read though all were on the account", got)
	}
}

// Offsets in scope that hold no record, at its end and where the log ends: of an aborted transaction, and its marker.
func TestBackfill_ScopeThatEndsInATransaction(t *testing.T) {
	w := newWorld(t, 2)
	w.fill(2, 0, 100)
	cl := w.client(kgo.TransactionalID(w.name), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	defer cl.Close()
	for p := range int32(2) {
		if err := cl.BeginTransaction(); err != nil {
			t.Fatal(err)
		}
		for i := range 10 {
			cl.Produce(t.Context(), &kgo.Record{Partition: p, Value: []byte(call(i))}, nil)
		}
		if err := cl.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := cl.EndTransaction(t.Context(), kgo.TryAbort); err != nil {
			t.Fatal(err)
		}
	}
	// Partition 0 ends with the marker at 110; the scope of partition 1 ends among the aborted records.
	s := engine.Scope{Final: true, Until: map[int32]int64{0: 111, 1: 105}, Offsets: map[int32]waybill.OffsetSet{
		0: waybill.OffsetsIn(span(50, 111)), 1: waybill.OffsetsIn(span(50, 105))}}
	j := w.job(w.file(spec{}), 1, 2)
	j.run(engine.Backfill{Scope: always(s)}).complete()
	aborted := waybill.OffsetsIn(span(100, 111))
	j.check(s, map[int32]waybill.OffsetSet{0: aborted, 1: aborted})
}

// Offsets in scope that compaction has emptied, at the end of the scope and within it.
func TestBackfill_ScopeWithCompactedOffsets(t *testing.T) {
	k, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.GroupMinSessionTimeout(time.Second))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(k.Close)
	w := newWorldWith(t, testenv.SharedClickHouse(t), k)
	w.admin(func(ctx context.Context, adm *kadm.Client) error {
		_, err := adm.CreateTopic(ctx, 1, 1, map[string]*string{"cleanup.policy": kadm.StringPtr("compact"), "min.cleanable.dirty.ratio": kadm.StringPtr("0.001"),
			"segment.ms": kadm.StringPtr("100"), "min.compaction.lag.ms": kadm.StringPtr("0")}, topic)
		return err
	})
	cl := w.client(kgo.RecordPartitioner(kgo.ManualPartitioner()))
	defer cl.Close()
	next := 0
	produce := func(key string) {
		t.Helper()
		if err := cl.ProduceSync(t.Context(), &kgo.Record{Key: []byte(key), Value: []byte(call(next))}).FirstErr(); err != nil {
			t.Fatal(err)
		}
		next++
	}
	for i := range 20 {
		produce(fmt.Sprintf("stays %d", i))
	}
	for range 10 { // 20..29: of which the last is superseded by 60
		produce("same")
	}
	for i := range 30 {
		produce(fmt.Sprintf("stays %d", i+20))
	}
	produce("same")
	gone := waybill.OffsetsIn(span(20, 30))
	testenv.Eventually(t, soon, "the offsets are compacted away", func() bool {
		produce(fmt.Sprintf("filler %d", next))
		k.Compact()
		return !w.holdsAny(gone)
	})
	s := engine.Scope{Final: true, Until: map[int32]int64{0: 28}, Offsets: map[int32]waybill.OffsetSet{0: waybill.OffsetsIn(span(5, 10), span(15, 24), span(26, 28))}}
	j := w.job(w.file(spec{}), 1, 1)
	j.run(engine.Backfill{Scope: always(s)}).complete()
	j.check(s, map[int32]waybill.OffsetSet{0: gone})
	s = engine.Scope{Final: true, Until: map[int32]int64{0: 60}, Offsets: map[int32]waybill.OffsetSet{0: waybill.OffsetsIn(span(22, 40))}}
	j = w.job(w.file(spec{}), 2, 1)
	j.run(engine.Backfill{Scope: always(s)}).complete()
	j.check(s, map[int32]waybill.OffsetSet{0: gone})
}

// holdsAny reports whether partition 0 still holds a record at one of the offsets.
func (w *world) holdsAny(offsets waybill.OffsetSet) bool {
	w.Helper()
	r, err := kafka.OpenReader(context.Background(), kafka.Config{Brokers: w.kafka.ListenAddrs(), Topic: topic, Isolation: kafka.ReadCommitted, ClientID: "test", Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		w.Fatal(err)
	}
	defer r.Close()
	any := false
	_, err = r.ReadSpan(context.Background(), waybill.TopicPartition{Topic: topic}, offsets.Bounds(), func(r *waybill.Record) error {
		any = any || offsets.Contains(r.Offset)
		return nil
	})
	if err != nil {
		w.Fatal(err)
	}
	return any
}

// deleteBefore removes records of a partition.
func (w *world) deleteBefore(partition int32, offset int64) {
	w.Helper()
	w.admin(func(ctx context.Context, adm *kadm.Client) error {
		var to kadm.Offsets
		to.Add(kadm.Offset{Topic: topic, Partition: partition, At: offset})
		_, err := adm.DeleteRecords(ctx, to)
		return err
	})
}

// What retention has removed is lost as far as it is in scope, and a hole as far as it is not.
func TestBackfill_LostAsFarAsItIsInScope(t *testing.T) {
	w := newWorld(t, 3)
	w.fill(3, 0, 400)
	w.deleteBefore(0, 150)
	w.deleteBefore(1, 150)
	w.deleteBefore(2, 350)
	s := engine.Scope{Final: true, Until: map[int32]int64{0: 300, 1: 300, 2: 300}, Offsets: map[int32]waybill.OffsetSet{
		0: waybill.OffsetsIn(span(10, 20), span(100, 250)), 1: waybill.OffsetsIn(span(200, 250)), 2: waybill.OffsetsIn(span(290, 320))}}
	j := w.job(w.file(spec{}), 1, 3)
	a := j.run(engine.Backfill{Scope: always(s)})
	a.complete()
	gone := map[int32]waybill.OffsetSet{0: waybill.OffsetsIn(span(0, 150)), 1: waybill.OffsetsIn(span(0, 150)), 2: waybill.OffsetsIn(span(0, 350))}
	j.check(s, gone)
	if got := w.query(w.ofLedger("toString(arraySort(groupArrayIf((partition, lost), lost > 0)))")); got != "[(0,60),(2,10)]" {
		t.Errorf("lost %s", got)
	}
	w.wantFinding("retention_loss", 2)
}

// shelf is an archive in memory of what the topic has had.
type shelf struct {
	partitions int32
	span       waybill.Span
	reads      atomic.Int64
}

func (a *shelf) Holds(context.Context, string) (map[int32]waybill.OffsetSet, error) {
	out := map[int32]waybill.OffsetSet{}
	for p := range a.partitions {
		out[p] = waybill.OffsetsIn(a.span)
	}
	return out, nil
}

func (a *shelf) Read(_ context.Context, tp waybill.TopicPartition, span waybill.Span, fn func(*waybill.Record) error) (int64, error) {
	a.reads.Add(1)
	for o := max(span.First, a.span.First); o < min(span.Next, a.span.Next); o++ {
		r := waybill.Record{Topic: tp.Topic, Partition: tp.Partition, Offset: o, LeaderEpoch: -1, Value: []byte(call(int(o*int64(a.partitions) + int64(tp.Partition))))}
		if err := fn(&r); err != nil {
			return o, err
		}
	}
	return span.Next, nil
}

// What the topic no longer retains comes from the archive; what neither has is lost. A worker that takes over reads there too.
func TestBackfill_ReadsTheArchiveWhereTheTopicEnds(t *testing.T) {
	w := newWorld(t, 2)
	proxy := testenv.Proxy(t, w.ch.TCPAddr())
	proxy.Set(faultproxy.Answer(252, "DB::Exception", "no ledger now").On(faultproxy.Insert("ledger")))
	w.fill(2, 0, 2000)
	w.deleteBefore(0, 1000)
	w.deleteBefore(1, 1000)
	kept := &shelf{partitions: 2, span: span(300, 1200)}
	s := engine.Scope{Final: true, Until: map[int32]int64{0: 2000, 1: 2000}, Offsets: map[int32]waybill.OffsetSet{
		0: waybill.OffsetsIn(span(100, 110), span(290, 700), span(900, 1500)), 1: waybill.OffsetsIn(span(400, 401), span(999, 1001))}}
	first := w.job(w.file(spec{addr: proxy.Addr(), kafka: quickSession, rows: 200}), 1, 2)
	a := first.run(engine.Backfill{Scope: always(s), Archive: kept})
	a.await("batches are promised", func(s status.Pipeline) bool { return stalled("no ledger now")(s) && len(s.InFlight) > 1 })
	a.sockets.cutAll()
	a.cancel()
	<-a.done
	second := &job{w, w.file(spec{kafka: quickSession, rows: 200}).Shadow(config.Shadow{Job: "j1", Epoch: 1, Group: first.cfg.Source.Kafka.Group, Table: "calls_j1"}), 2}
	kept.reads.Store(0)
	b := second.run(engine.Backfill{Scope: always(s), Archive: kept})
	b.complete()
	if kept.reads.Load() == 0 || b.found("records_gone") || b.found("records_changed") {
		t.Errorf("the archive was read %d times by the second worker; findings %+v", kept.reads.Load(), b.p.Status().Findings)
	}
	second.check(s, map[int32]waybill.OffsetSet{0: waybill.OffsetsIn(span(0, 300))})
	if got := w.query(w.ofLedger("toString(arraySort(groupArrayIf((partition, lost), lost > 0)))")); got != "[(0,20)]" {
		t.Errorf("lost %s", got)
	}
}

// What a backfill finds is no finding of the pipeline's, and what is open of the pipeline's is not over because there is a backfill.
func TestBackfill_FindingsAreItsOwn(t *testing.T) {
	w := newWorld(t, 1)
	w.exec("ALTER TABLE " + w.db + ".calls MODIFY SETTING non_replicated_deduplication_window = 500")
	cfg := w.file(spec{})
	w.fill(1, 0, 100)
	live := w.start(cfg)
	w.quiet(100)
	w.wantFinding("small_window", 1)
	w.deleteBefore(0, 50)
	j := w.job(cfg, 1, 1)
	w.exec("ALTER TABLE " + j.cfg.Sink.ClickHouse.Place() + " MODIFY SETTING non_replicated_deduplication_window = 10000")
	j.run(engine.Backfill{Scope: always(whole(1, 100))}).complete()
	findings := func() string {
		return w.query("SELECT arrayStringConcat(arraySort(groupArray(concat(toString(epoch), ' ', kind, ' ', state))), ', ') FROM waybill.findings_now WHERE pipeline = '" + w.name + "' AND kind IN ('small_window', 'retention_loss')")
	}
	const want = "0 small_window open, 1 retention_loss open"
	if got := findings(); got != want {
		t.Errorf("findings %s, want %s", got, want)
	}
	live.stop()
	again := w.start(cfg) // which reads what is open
	again.await("it runs, and knows what was open", func(s status.Pipeline) bool { return owns(1)(s) && again.found("small_window") })
	if again.found("retention_loss") {
		t.Error("the live worker takes the backfill's finding for its own")
	}
	again.stop()
	if got := findings(); got != want {
		t.Errorf("findings in the end %s, want %s", got, want)
	}
}
