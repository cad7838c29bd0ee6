package engine_test

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/waybill-data/waybill"
	"github.com/waybill-data/waybill/internal/config"
	"github.com/waybill-data/waybill/internal/engine"
	"github.com/waybill-data/waybill/internal/kafka"
	"github.com/waybill-data/waybill/internal/ledger"
	"github.com/waybill-data/waybill/internal/status"
	"github.com/waybill-data/waybill/internal/telemetry"
	"github.com/waybill-data/waybill/internal/testenv"
)

func paused(s status.Pipeline) bool { return s.State == status.Paused }

// A person's pause and a job's hold do not know of each other: the pipeline goes on when both are over.
func TestPause_LastsAcrossRestartsAndBesideAHold(t *testing.T) {
	w := newWorld(t, 2)
	cfg := w.file(spec{rows: 100})
	a := w.start(cfg)
	store, client := w.store()
	w.produce(1000)
	a.await("a has begun", func(s status.Pipeline) bool { return s.Totals.Written > 0 })
	w.must(store.SetPause(t.Context(), w.name, ledger.Pause{Paused: true, Who: "ann", Why: "moving"}))
	a.await("paused", paused)
	testenv.Eventually(t, soon, "the group is empty", func() bool { return w.members(cfg) == 0 })
	w.produce(500)
	a.await("its lag is told", func(s status.Pipeline) bool {
		var lag int64
		for _, tp := range s.Partitions {
			lag += tp.Lag
		}
		return lag >= 500
	})
	s := a.p.Status()
	if len(s.InFlight) > 0 || !strings.Contains(s.Reason, "paused by ann") || !strings.Contains(s.Reason, "moving") || a.gauge("paused") != 1 || a.gauge("held") != 0 {
		t.Errorf("paused with %d batches, reason %q, gauges %v %v", len(s.InFlight), s.Reason, a.gauge("paused"), a.gauge("held"))
	}
	st := status.Status{Pipelines: []status.Pipeline{s}}
	if why, notes := st.NotReady(), st.Notes(); len(why) > 0 || len(notes) != 1 || !strings.Contains(notes[0], "paused by ann") {
		t.Errorf("not ready: %q, notes %q", why, notes)
	}
	a.stop()
	b := w.start(cfg) // it waits too
	b.await("paused", paused)
	w.must(store.Hold(t.Context(), w.name, "j7", client.ServerNow(time.Now()).Add(time.Hour)))
	w.must(store.Release(t.Context(), w.name, "j7")) // a hold that ends does not end the pause
	time.Sleep(1500 * time.Millisecond)              // longer than a worker takes to look
	if s := b.p.Status(); !paused(s) {
		t.Errorf("the end of a hold has ended the pause: %s", s.State)
	}
	w.must(store.Hold(t.Context(), w.name, "j8", client.ServerNow(time.Now()).Add(time.Hour)))
	w.must(store.SetPause(t.Context(), w.name, ledger.Pause{Who: "bob"}))
	b.await("held", held)
	w.must(store.Release(t.Context(), w.name, "j8"))
	b.await("runs", running)
	w.quiet(1500)
	if b.gauge("paused") != 0 {
		t.Error("the gauge says that it is paused still")
	}
	b.stop()
	w.verify()
}

// A table that is exchanged while the pipeline is paused does not end the pause, as it ends a hold.
func TestPause_OutlivesTheTable(t *testing.T) {
	w := newWorld(t, 1)
	a := w.start(w.file(spec{}))
	store, _ := w.store()
	a.await("runs", running)
	w.must(store.SetPause(t.Context(), w.name, ledger.Pause{Paused: true, Who: "ann"}))
	a.await("paused", paused)
	w.table("")
	w.produce(100)
	time.Sleep(2500 * time.Millisecond) // longer than a worker takes to look
	if s := a.p.Status(); !paused(s) {
		t.Errorf("%s", s.State)
	}
	w.must(store.SetPause(t.Context(), w.name, ledger.Pause{}))
	w.quiet(100)
	a.stop()
}

// run starts an engine over pipeline files.
func (w *world) engine(files ...*config.Pipeline) (e *engine.Engine, deps engine.Deps, stop func() error) {
	w.Helper()
	metrics := telemetry.NewMetrics("test")
	deps = engine.Deps{Log: telemetry.NewLogger(w.Output(), false, slog.LevelError, false), Metrics: metrics, Budget: engine.NewBudget(w.budget, nil),
		Drain: 20 * time.Second, Kafka: func(k *kafka.Config) { k.HeartbeatInterval, k.MetadataMaxAge = 100*time.Millisecond, time.Second }}
	e = engine.NewEngine("test", files, deps)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- e.Run(ctx) }()
	ended := false
	stop = func() error {
		cancel()
		if ended {
			return nil
		}
		ended = true
		return <-done
	}
	w.Cleanup(func() { _ = stop() })
	return e, deps, stop
}

func pipeline(e *engine.Engine, name string) (out status.Pipeline) {
	for _, p := range e.Status().Pipelines {
		if p.Name == name {
			return p
		}
	}
	return out
}

func TestEngine_ChangesWhileItRuns(t *testing.T) {
	w := newWorld(t, 2)
	a := w.file(spec{rows: 100})
	other := func(name, more string) *config.Pipeline {
		p, err := config.Parse(name, []byte(strings.NewReplacer("name: "+w.name, "name: "+name, "table: calls", "table: calls_"+name[:1]).Replace(w.text(spec{top: more}))), func(string) (string, bool) { return "", false })
		w.must(err)
		return p
	}
	w.exec("CREATE TABLE "+w.db+".calls_b AS "+w.db+".calls", "CREATE TABLE "+w.db+".calls_c AS "+w.db+".calls")
	b, c := other("b-"+w.name, ""), other("c-"+w.name, "")
	e, deps, stop := w.engine(a, b)
	rows := func(table string, n int) {
		t.Helper()
		testenv.Eventually(t, soon, table+" has its rows", func() bool { return w.query("SELECT count() FROM "+w.db+"."+table) == fmt.Sprint(n) })
	}
	w.produce(1000)
	rows("calls", 990)
	rows("calls_b", 990)
	first := pipeline(e, b.Name)
	e.Change([]string{a.Name}, []*config.Pipeline{w.file(spec{rows: 200, top: "allowed_lateness: 1h\n"}), c}, deps) // a is edited, c is new, b is not touched
	w.produce(1000)
	rows("calls", 1980)
	rows("calls_b", 1980)
	rows("calls_c", 1980)
	if now := pipeline(e, b.Name); now.Totals.Read != 2000 || len(now.Partitions) != 2 || first.Totals.Read == 0 {
		t.Errorf("what was not touched has read %d", now.Totals.Read)
	}
	e.Change([]string{b.Name, b.Name + config.ArchiveSuffix}, nil, deps) // b is gone
	if got := e.Status().Pipelines; len(got) != 2 || got[0].Name != a.Name || got[1].Name != c.Name {
		t.Errorf("%+v", got)
	}
	families, err := deps.Metrics.Gatherer().Gather()
	w.must(err)
	for _, f := range families {
		for _, m := range f.GetMetric() {
			for _, l := range m.GetLabel() {
				if l.GetValue() == b.Name {
					t.Errorf("%s still has the pipeline that is gone", f.GetName())
				}
			}
		}
	}
	w.produce(1000)
	rows("calls", 2970)
	rows("calls_c", 2970)
	w.must(stop())
	w.verify()
	for table, want := range map[string]string{"calls": "2970,2970", "calls_b": "1980,1980", "calls_c": "2970,2970"} {
		if got := w.query("SELECT concat(toString(count()), ',', toString(uniqExact(_partition, _offset))) FROM " + w.db + "." + table); got != want {
			t.Errorf("%s has %s rows, want %s", table, got, want)
		}
	}
	e.Change(nil, []*config.Pipeline{b}, deps) // too late
	if got := e.Status().Pipelines; len(got) != 2 {
		t.Errorf("%+v", got)
	}
}

func TestIdentity_AnotherTableUnderTheSameEpochIsRefused(t *testing.T) {
	w := newWorld(t, 1)
	cfg := w.file(spec{})
	w.produce(200)
	a := w.start(cfg)
	w.quiet(200)
	a.stop()
	w.exec("CREATE TABLE " + w.db + ".others AS " + w.db + ".calls")
	moved := func(more string) *config.Pipeline {
		p, err := config.Parse("test.yaml", []byte(strings.Replace(w.text(spec{top: more}), "table: calls", "table: others", 1)), func(string) (string, bool) { return "", false })
		w.must(err)
		return p
	}
	err := w.start(moved("")).ended()
	if waybill.ClassOf(err) != waybill.ClassConfig || !strings.Contains(err.Error(), ".calls, which is there") || !strings.Contains(err.Error(), "raise `epoch` to 1") {
		t.Errorf("%v", err)
	}
	// A table that was renamed is the same table.
	w.exec("DROP TABLE "+w.db+".others SYNC", "RENAME TABLE "+w.db+".calls TO "+w.db+".others")
	w.produce(100)
	b := w.start(moved(""))
	testenv.Eventually(t, soon, "it goes on in the renamed table", func() bool { return w.query("SELECT count() FROM "+w.db+".others") == "297" })
	b.stop()
	// A later epoch fills another one from the beginning.
	w.table("")
	c := w.start(w.file(spec{top: "epoch: 1\n"}))
	testenv.Eventually(t, soon, "the new table is filled", func() bool { return w.query("SELECT count() FROM "+w.db+".calls") == "297" })
	c.stop()
}

// Two groups would each read everything: a worker with another group waits until the first is empty.
func TestIdentity_AnotherGroupWaitsForTheFirst(t *testing.T) {
	w := newWorld(t, 2)
	w.produce(500)
	first, second := w.file(spec{rows: 100, deadline: "1s", kafka: ", session_timeout: 2s"}), w.file(spec{rows: 100, deadline: "1s", kafka: ", session_timeout: 2s, group: second-" + w.name})
	a := w.start(first)
	w.quiet(500)
	b := w.start(second)
	b.await("waits", func(s status.Pipeline) bool {
		return s.State == status.Stalled && strings.Contains(s.Reason, "is in waybill-"+w.name)
	})
	w.produce(500)
	w.quiet(1000)
	a.stop()
	testenv.Eventually(t, soon, "it has taken over", func() bool { return w.members(second) == 1 })
	c := w.start(first) // with the old file
	c.await("waits", func(s status.Pipeline) bool { return s.State == status.Stalled && w.members(first) == 0 })
	w.produce(500)
	b.await("it has read what is new", func(s status.Pipeline) bool { return s.Totals.Read == 500 })
	b.stop()
	c.cancel()
	<-c.done
	if got := w.query("SELECT concat(toString(count()), ',', toString(uniqExact(_partition, _offset))) FROM " + w.db + ".calls"); got != "1485,1485" {
		t.Errorf("rows %s", got)
	}
}
