package promote

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/waybill-data/waybill/internal/clickhouse"
	"github.com/waybill-data/waybill/internal/config"
	"github.com/waybill-data/waybill/internal/contract"
	"github.com/waybill-data/waybill/internal/failpoint"
	"github.com/waybill-data/waybill/internal/ledger"
	"github.com/waybill-data/waybill/internal/testenv"
)

func TestMain(m *testing.M) {
	if file := os.Getenv("PROMOTE_FILE"); file != "" {
		child(file)
		return
	}
	testenv.Main(m)
}

// child is a process that promotes n in the pipeline file, and that a failpoint may kill.
func child(file string) {
	fail := func(err error) {
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	fail(failpoint.Arm(os.Getenv))
	cfg, err := config.Load(file)
	fail(err)
	c := cfg.Sink.ClickHouse
	client, err := clickhouse.Open(context.Background(), clickhouse.Config{Addr: c.Addr}, clickhouse.Deps{})
	fail(err)
	deps := Deps{Client: client, Ledger: ledger.New(client, c.Database), Getenv: os.LookupEnv, Worker: "child", Page: 7}
	j, err := Prepare(context.Background(), deps, cfg.Tables()[0], "n", Options{})
	fail(err)
	j.replicated = os.Getenv("PROMOTE_SPELT") != ""
	_, err = j.Apply(context.Background(), nil)
	fail(err)
}

// Killed before or after anything that it does, and run again: each value is in its row once, and nothing is left behind.
func TestApply_KilledAtEachStep(t *testing.T) {
	for _, spelt := range []string{"", "1"} {
		t.Run("spelt "+spelt, func(t *testing.T) {
			t.Parallel() // they wait more than they work
			stride := 1
			if spelt != "" {
				stride = 3 // only how rows are mutated is different
			}
			for step := 1; ; step += stride {
				w := newWorld(t, 12) // a page of each partition
				cmd := exec.Command(os.Args[0])
				cmd.Env = append(os.Environ(), "PROMOTE_FILE="+w.file, "PROMOTE_SPELT="+spelt, fmt.Sprintf("%s=%s:%d", failpoint.Env, failpoint.PromoteStep, step))
				out, err := cmd.CombinedOutput()
				if err == nil {
					if step < 30 {
						t.Errorf("it was done after %d steps", step)
					}
					break
				}
				if !strings.Contains(string(out), "failpoint promote-step: killing the process") {
					t.Fatalf("step %d: %s", step, out)
				}
				again := w.prepare()
				again.replicated = spelt != ""
				r, err := again.Apply(t.Context(), nil)
				if err != nil || r.Rows != 10 || r.Filled+r.Already != 10 || r.Wrong != 0 || w.filled() != "10" {
					t.Fatalf("killed at step %d, then run again: %+v, %v, %s rows filled", step, r, err, w.filled())
				}
				if got := w.value("SELECT count() FROM system.tables WHERE database = '" + w.db + "' AND name LIKE 'promote_%'"); got != "0" {
					t.Errorf("step %d: %s tables left", step, got)
				}
				if text, err := os.ReadFile(w.file); err != nil || strings.Count(string(text), "Nullable(Int64)") != 1 {
					t.Errorf("step %d: the file is %s, %v", step, text, err)
				}
			}
		})
	}
}

// world is a table with n rows on a real server; row i holds i at the path n, but for every tenth.
type world struct {
	testing.TB
	http, db, file string
	deps           Deps
}

func newWorld(t testing.TB, n int) *world {
	t.Helper()
	srv := testenv.SharedClickHouse(t)
	client, err := clickhouse.Open(t.Context(), clickhouse.Config{Addr: srv.TCPAddr()}, clickhouse.Deps{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	w := &world{TB: t, http: srv.HTTPAddr(), db: testenv.Database(t, srv), file: filepath.Join(t.TempDir(), "p.yaml")}
	w.deps = Deps{Client: client, Ledger: ledger.New(client, w.db), Getenv: os.LookupEnv, Worker: "test", Page: 7}
	if err := w.deps.Ledger.Migrate(t.Context(), time.Now()); err != nil {
		t.Fatal(err)
	}
	testenv.Exec(t, w.http, "CREATE TABLE "+w.db+`.calls (id UInt64, _rescued String,
    _topic LowCardinality(String), _partition UInt32, _offset UInt64, _epoch UInt32) ENGINE = MergeTree PARTITION BY id % 2 ORDER BY id`)
	w.rows(0, n)
	text := fmt.Sprintf(`name: p
source: {kafka: {brokers: ["localhost:9092"], topic: t}}
sink: {clickhouse: {url: "clickhouse://default@%s/%s", table: calls}}
contract: {new_fields: rescue, type_conflicts: rescue, columns: {id: {type: UInt64}}}
`, srv.TCPAddr(), w.db)
	if err := os.WriteFile(w.file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return w
}

func (w *world) rows(from, n int) {
	testenv.Exec(w, w.http, fmt.Sprintf(`INSERT INTO %s.calls (id, _rescued, _topic, _partition, _offset, _epoch) SELECT number, if(number %% 10 = 0, '', concat('{"plan":"1","fields":{"n":{"reason":"new_field","value":', toString(number), '}}}')),
't', number %% 3, number, 0 FROM numbers(%d, %d)`, w.db, from, n))
}

func (w *world) prepare() *Job {
	w.Helper()
	cfg, err := config.Load(w.file)
	if err != nil {
		w.Fatal(err)
	}
	j, err := Prepare(w.Context(), w.deps, cfg.Tables()[0], "n", Options{})
	if err != nil {
		w.Fatal(err)
	}
	return j
}

func (w *world) value(sql string) string {
	w.Helper()
	return testenv.QueryValue(w, w.http, sql)
}

// filled counts the rows that have their value, and fails if one has another's.
func (w *world) filled() string {
	w.Helper()
	if got := w.value("SELECT countIf(n IS NOT NULL AND n != id OR n IS NOT NULL AND id % 10 = 0) FROM " + w.db + ".calls"); got != "0" {
		w.Errorf("%s rows have a value that is not theirs", got)
	}
	return w.value("SELECT count(n) FROM " + w.db + ".calls")
}

func TestApply_CanBeStoppedAnywhereAndRunAgain(t *testing.T) {
	w := newWorld(t, 100)
	for after := 1; ; after += 6 {
		j := w.prepare()
		ctx, cancel := context.WithCancel(t.Context())
		pages := 0
		r, err := j.Apply(ctx, func(Progress) {
			if pages++; pages == after {
				cancel()
			}
		})
		cancel()
		if err == nil {
			if r.Rows != 90 || r.Filled+r.Already != 90 || r.Already == 0 || r.Wrong != 0 {
				t.Errorf("result %+v", r)
			}
			break
		}
		if !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
	}
	if got := w.filled(); got != "90" {
		t.Errorf("%s rows filled, want 90", got)
	}
	if got := w.value("SELECT count() FROM system.tables WHERE database = '" + w.db + "' AND name LIKE 'promote_%'"); got != "0" {
		t.Errorf("%s tables left", got)
	}
}

// Rows come meanwhile from workers that do not know of the column.
func TestApply_WhileRowsCome(t *testing.T) {
	w := newWorld(t, 100)
	w.deps.Page = 40
	j := w.prepare()
	var writer sync.WaitGroup
	started := make(chan struct{})
	writer.Go(func() {
		for i := range 20 {
			w.rows(100+10*i, 10)
			if i == 2 {
				close(started)
			}
		}
	})
	<-started
	if _, err := j.Apply(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	writer.Wait()
	r, err := w.prepare().Apply(t.Context(), nil)
	if err != nil || r.Rows != 270 || r.Filled+r.Already != 270 || r.Wrong != 0 {
		t.Errorf("result %+v, error %v", r, err)
	}
	if got := w.filled(); got != "270" {
		t.Errorf("%s rows filled, want 270", got)
	}
}

// Two runs at once: one of them may fail, no row gets a wrong value, and one more run is enough.
func TestApply_TwoAtOnce(t *testing.T) {
	w := newWorld(t, 100)
	jobs := []*Job{w.prepare(), w.prepare()}
	jobs[1].After = nil // the file is the first one's
	var both sync.WaitGroup
	for _, j := range jobs {
		both.Go(func() {
			if _, err := j.Apply(t.Context(), nil); err != nil {
				t.Logf("one of two: %v", err)
			}
		})
	}
	both.Wait()
	w.filled()
	if r, err := w.prepare().Apply(t.Context(), nil); err != nil || r.Rows != 90 || r.Wrong != 0 || w.filled() != "90" {
		t.Errorf("%+v, %v", r, err)
	}
}

// A mutation that the server cannot carry out does not stay to block others.
func TestApply_TakesBackWhatFails(t *testing.T) {
	w := newWorld(t, 10)
	j := w.prepare()
	f := &filler{Job: j}
	f.name()
	testenv.Exec(t, w.http, fmt.Sprintf("ALTER TABLE %s.calls UPDATE _rescued = toString(throwIf(id > 0, '%s')) WHERE 1 SETTINGS mutations_sync = 0", w.db, f.lookup))
	testenv.Eventually(t, 10*time.Second, "the mutation fails", func() bool {
		return w.value("SELECT count() FROM system.mutations WHERE database = '"+w.db+"' AND latest_fail_reason != ''") == "1"
	})
	if _, err := j.Apply(t.Context(), nil); err == nil || !strings.Contains(err.Error(), "the mutation was taken back") {
		t.Fatalf("error %v", err)
	}
	if r, err := w.prepare().Apply(t.Context(), nil); err != nil || r.Filled+r.Already != 9 || w.filled() != "9" {
		t.Errorf("again: %+v, %v", r, err)
	}
}

func TestApply_PutsRightWhatOthersChanged(t *testing.T) {
	w := newWorld(t, 10)
	if _, err := w.prepare().Apply(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	testenv.Exec(t, w.http, "ALTER TABLE "+w.db+".calls UPDATE n = 77 WHERE id = 2 SETTINGS mutations_sync = 1")
	r, err := w.prepare().Apply(t.Context(), nil)
	if err != nil || r.Filled != 1 || r.Already != 8 || w.filled() != "9" {
		t.Errorf("%+v, %v", r, err)
	}
}

// Rows that are gone between the look and the mutation are said.
func TestPage_CountsRowsThatAreNotThere(t *testing.T) {
	w := newWorld(t, 10)
	j := w.prepare()
	if err := j.addColumn(t.Context()); err != nil {
		t.Fatal(err)
	}
	m, err := newMaker(j.Column, j.source.lineage, j.table)
	if err != nil {
		t.Fatal(err)
	}
	f := &filler{Job: j, ctx: t.Context(), maker: m, progress: func(Progress) {}}
	f.name()
	if err := f.prepare(w.db); err != nil {
		t.Fatal(err)
	}
	var s Survey
	for _, at := range []place{{topic: "t", partition: 1, offset: 4}, {topic: "t", partition: 0, offset: 999}} {
		s.take(m, at, `{"fields":{"n":{"value":4}}}`, newFinder(j.source.paths))
	}
	if err := f.page("0", s); err != nil || f.result.Filled != 1 || f.result.Wrong != 1 || w.filled() != "1" {
		t.Errorf("%+v, %v", f.result, err)
	}
}

func TestFind(t *testing.T) {
	const column = `{"plan":"1","fields":{"a":{"reason":"new_field","value":{"b.c":{"d":[1.50,{"e":null}]}}},"x.y":{"reason":"r","value":" 1 "},` +
		`"big":{"reason":"r","value":"1e999","encoding":"json"},"raw":{"reason":"r","value":"AA==","encoding":"base64"},"l[3]":{"reason":"r","value":7}}}`
	for path, want := range map[string]string{
		"a.`b.c`.d[0]": "1.50 true true", "a.`b.c`.d[1].e": "null true true", "a.`b.c`.d[2]": " false false", "a.b": " false false",
		"x.y": `" 1 " true true`, "x": " false false", "big": "1e999 true true", "raw": " true false", "raw.x": " false false", "l[3]": "7 true true", "l[4]": " false false",
	} {
		p, err := contract.ParsePath(path)
		if err != nil {
			t.Fatal(err)
		}
		text, has, readable := newFinder(prefixes(p)).find(column)
		if got := fmt.Sprint(string(text), " ", has, " ", readable); got != want {
			t.Errorf("%s: %s, want %s", path, got, want)
		}
	}
	f := newFinder(prefixes(contract.Path{{Name: "a"}}))
	for _, text := range []string{"{broken", "", "7", `{"fields":7}`, `{"fields":{"a":1}}`, `{"fields":{"a":{"value":1}}} x`, `{"fields":{"a":{"value":1}}`} {
		if _, has, readable := f.find(text); !has || readable {
			t.Errorf("%s: %v %v", text, has, readable)
		}
	}
	if text, _, readable := f.find(`{"fields":{"\u0061":{"value":1}},"plan":"1"}`); string(text) != "1" || !readable {
		t.Errorf("an escaped name: %s %v", text, readable)
	}
	if _, has, _ := f.find(`{"plan":"1"}`); has {
		t.Error("a text without fields has one")
	}
}

// A field may be called as anything is that the command asks for.
func TestApply_NamesThatAreNobodys(t *testing.T) {
	for _, name := range []string{"a", "b", "w", "rows", "w_topic"} {
		w := newWorld(t, 20)
		testenv.Exec(t, w.http, "ALTER TABLE "+w.db+".calls UPDATE _rescued = replaceOne(_rescued, '\"n\"', '\""+name+"\"') WHERE 1 SETTINGS mutations_sync = 1")
		cfg, err := config.Load(w.file)
		if err != nil {
			t.Fatal(err)
		}
		j, err := Prepare(w.Context(), w.deps, cfg.Tables()[0], name, Options{})
		if err != nil {
			t.Fatal(err)
		}
		if r, err := j.Apply(t.Context(), nil); err != nil || r.Rows != 18 || r.Filled != 18 {
			t.Errorf("%s: %+v, %v", name, r, err)
		}
	}
}
