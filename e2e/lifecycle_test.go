package e2e

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/waybill-data/waybill/internal/testenv"
)

// startDir starts a worker on a directory of pipeline files.
func (w *world) startDir(dir string, reload string) *worker {
	w.Helper()
	return w.startWith("", "run", "--listen", "127.0.0.1:0", "--log-format", "json", "--log-level", "debug", "--drain", "20s", "--reload", reload, dir)
}

// put replaces a file as editors and kubelets do: at once.
func (w *world) put(dir, name, text string) {
	w.Helper()
	tmp := filepath.Join(dir, "."+name)
	if err := os.WriteFile(tmp, []byte(text), 0o600); err != nil {
		w.Fatal(err)
	}
	if err := os.Rename(tmp, filepath.Join(dir, name)); err != nil {
		w.Fatal(err)
	}
}

// get is what the worker answers.
func (p *worker) get(path string) (code int, body string) {
	p.w.Helper()
	req, err := http.NewRequestWithContext(p.w.Context(), http.MethodGet, p.url()+path, nil)
	if err != nil {
		p.w.Fatal(err)
	}
	resp, err := statusClient.Do(req)
	if err != nil {
		p.w.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		p.w.Fatal(err)
	}
	return resp.StatusCode, string(text)
}

// Pipeline files are edited, broken, mended, renamed and removed under load: no record is lost or repeated, and what is wrong is there to be seen.
func TestReload_FilesChangeUnderLoad(t *testing.T) {
	w := newWorld(t, setup{rows: 100})
	dir := w.TempDir()
	text := w.pipelineFile()
	edited := strings.Replace(text, "batch: {rows: 100,", "batch: {rows: 150,", 1)
	broken := strings.Replace(text, "batch: {", "bach: {", 1)
	w.put(dir, "a.yaml", text)
	p := w.startDir(dir, "200ms")
	w.produce(2000, usual)
	w.awaitRows(100)
	w.put(dir, "a.yaml", edited) // while it writes
	p.awaitSaid("pipeline edited", w.pipeline)
	w.produce(1000, usual)
	w.put(dir, "a.yaml", broken)
	p.awaitSaid("pipeline file refused", "bach")
	w.produce(500, usual)
	w.quiet() // it goes on as it was
	if code, body := p.get("/readyz"); code != http.StatusOK || !strings.Contains(body, "pipeline files: ") || !strings.Contains(body, "bach") {
		t.Errorf("with a broken file /readyz says %d %s", code, body)
	}
	if _, body := p.get("/metrics"); !strings.Contains(body, "\nwaybill_pipeline_file_problems 2\n") || !strings.Contains(body, `waybill_reloads_total{outcome="refused"} 1`) {
		t.Error("the metrics do not say that a file is broken")
	}
	w.put(dir, "z.yaml", edited) // another name for the file
	if err := os.Remove(filepath.Join(dir, "a.yaml")); err != nil {
		t.Fatal(err)
	}
	p.awaitSaid("pipeline file renamed", "z.yaml")
	w.eventually("with all mended /readyz says no more than ready", func() bool {
		_, body := p.get("/readyz")
		return body == "ready\n"
	})
	if n := p.said("pipeline edited"); n != 1 {
		t.Errorf("a file that was renamed has restarted the pipeline: edited %d times", n)
	}
	w.produce(1000, usual)
	w.quiet()
	p.stop()
	w.observe("files edited, broken, mended and renamed", 4)
	w.verify()
}

// SIGHUP has the files read at once; without --reload that is the only way.
func TestReload_OnSIGHUP(t *testing.T) {
	w := newWorld(t, setup{rows: 100})
	dir := w.TempDir()
	text := w.pipelineFile()
	w.put(dir, "a.yaml", text)
	p := w.startDir(dir, "0")
	w.produce(500, usual)
	w.awaitRows(10)
	w.put(dir, "a.yaml", strings.Replace(text, "batch: {rows: 100,", "batch: {rows: 150,", 1))
	p.signal(syscall.SIGHUP)
	p.awaitSaid("pipeline edited", w.pipeline)
	w.produce(500, usual)
	w.quiet()
	p.stop()
	w.observe("files read on SIGHUP", 1)
	w.verify()
}

// Workers of one group join, leave, crash and are restarted one after the other under load, and the topic gets more partitions: eight of them, or four in the
// short selection.
func TestWorkers_ComeAndGoUnderLoad(t *testing.T) {
	most := 4
	if full {
		most = 8
	}
	w := newWorld(t, setup{rows: 200, partitions: 6})
	load := func() { w.produce(1500, usual) }
	workers := []*worker{w.start("")}
	load()
	for len(workers) < most { // join
		workers = append(workers, w.start(""))
		load()
	}
	w.observe("workers at once", int64(most))
	load()
	workers[0].kill() // crash
	workers[most/2].kill()
	load()
	workers[1].stop() // leave
	load()
	for _, i := range []int{0, 1, most / 2} {
		workers[i] = w.start("")
	}
	load()
	if _, err := w.adm.CreatePartitions(w.Context(), 4, w.topic); err != nil {
		t.Fatal(err)
	}
	w.eventually("the partitions are there", func() bool { return len(w.ended()) == 10 })
	w.partitions = 10
	w.connect() // a client that knows of them
	load()
	for i := range workers { // a rolling restart
		load()
		workers[i].stop()
		workers[i] = w.start("")
	}
	load()
	w.quiet()
	for _, p := range workers {
		p.stop()
	}
	w.observe("workers killed", 2)
	w.observe("workers stopped and started again", int64(most)+1)
	w.observe("partitions added", 4)
	w.verify()
}

// otherBinary is the binary of a version whose decoder makes dead letters of some records that ours makes rows of.
var otherBinary = sync.OnceValues(func() (string, error) {
	path := filepath.Join(filepath.Dir(binary), "waybill-other")
	return path, build1(path, "..", "-tags", "waybill_other_decoder")
})

func build1(to, dir string, flags ...string) error {
	cmd := exec.Command("go", append(append([]string{"build"}, flags...), "-o", to, "./cmd/waybill")...)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build %s: %w\n%s", to, err, out)
	}
	return nil
}

// judgedAs is what became of records that two versions of the decoder judge otherwise: whichever it was, it is to have been that alone.
func (w *world) judgedAs() (byOther int64) {
	w.Helper()
	dead := map[place]bool{}
	for _, f := range w.rowsOf(fmt.Sprintf("SELECT topic, epoch, partition, offset FROM waybill.dead_letters WHERE pipeline = '%s' AND message LIKE '%%of this length%%'", w.pipeline)) {
		dead[placeOf(f[0], f[1], f[2], f[3])] = true
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for i := range w.records {
		if r := &w.records[i]; r.fate == asRow && len(r.value)%7 == 3 && dead[r.place] {
			r.fate = asDead
			byOther++
		}
	}
	return byOther
}

// Two versions in one group, each killed where it hurts, and each carries out what the other has promised. Their decoders judge one record in seven
// otherwise: each is a row or a dead letter, and the ledger counts it as what it is.
func TestUpgrade_BatchesOfAnotherDecoder(t *testing.T) {
	other, err := otherBinary()
	if err != nil {
		t.Fatal(err)
	}
	points := []string{"commit-answered", "after-target"}
	if full {
		points = append(points, "before-ledger", "after-dead-letters", "during-target", "after-ledger", "before-dead-letters", "after-read-back")
	}
	// Who gets which batch is chance, so that one world alone may show nothing.
	var judged, batches atomic.Int64
	t.Cleanup(func() {
		if !t.Failed() && (judged.Load() == 0 || batches.Load() == 0) {
			t.Errorf("%d records were judged by the other decoder, and %d batches carried out by another version than had promised them", judged.Load(), batches.Load())
		}
	})
	for i, point := range points {
		t.Run(point, func(t *testing.T) {
			w := newWorld(t, setup{rows: 150})
			w.allow("decoder_changed")
			programs := []string{binary, other}
			if i%2 == 1 {
				programs = []string{other, binary}
			}
			w.produce(1200, usual)
			for n := range 2 {
				w.program = programs[n]
				name := point
				if name == "after-read-back" && n == 0 {
					name = "after-target"
				}
				w.start(name + ":2").died(name)
				w.produce(300, usual)
			}
			w.program = programs[0]
			a := w.start("")
			w.program = programs[1]
			b := w.start("")
			w.produce(600, usual)
			w.quiet()
			a.stop()
			b.stop()
			judged.Add(w.judgedAs())
			batches.Add(integer(w.query(fmt.Sprintf("SELECT count() FROM waybill.findings WHERE pipeline = '%s' AND kind = 'decoder_changed'", w.pipeline))))
			w.observe("workers killed", 2)
			w.verify()
		})
	}
}

// previous is the commit whose binary runs beside ours: the last one before workers knew of pauses, groups and migrations that older binaries may outlive.
// It is to be moved on with each release.
const previous = "4bb2d09"

// The binary of an earlier commit and this one in one group under load, with kills: a rolling upgrade. The earlier one, once it has ended, does not start
// again on the newer tables, and says so.
func TestUpgrade_PreviousVersionInOneGroup(t *testing.T) {
	fullOnly(t)
	tree, err := exec.Command("git", "-C", "..", "archive", previous).Output()
	if err != nil {
		t.Fatalf("commit %s is not there (git fetch --unshallow): %v", previous, err)
	}
	dir := t.TempDir()
	unpack := exec.Command("tar", "-x", "-C", dir)
	unpack.Stdin = bytes.NewReader(tree)
	if out, err := unpack.CombinedOutput(); err != nil {
		t.Fatalf("unpack: %v\n%s", err, out)
	}
	before := filepath.Join(t.TempDir(), "waybill-before")
	if err := build1(before, dir); err != nil {
		t.Fatal(err)
	}
	w := newWorld(t, setup{rows: 200, ch: testenv.ClickHouse(t), kafka: testenv.Kafka(t)}) // tables that nobody has migrated
	load := func() { w.produce(1500, usual) }
	w.program = before
	old := []*worker{w.start(""), w.start(""), w.start("")}
	load()
	w.awaitRows(500)
	w.program = binary
	neu := []*worker{w.start("")}
	load()
	w.awaitRows(2500)
	old[0].kill() // its promises are carried out by either version
	load()
	dying := w.start("after-target:2")
	w.eventually("the worker with a failpoint dies", func() bool { // what has come before it has partitions is the others'
		w.produce(100, usual)
		return !dying.alive()
	})
	dying.died("after-target")
	neu = append(neu, w.start(""))
	old[1].stop()
	load()
	w.program = before
	again := w.start("")
	if code := again.exit(patience); code != 4 || again.said("has schema version") == 0 {
		t.Errorf("an older binary on newer tables ended with %d", code)
	}
	w.program = binary
	neu = append(neu, w.start(""))
	load()
	old[2].kill()
	load()
	w.quiet()
	for _, p := range neu {
		p.stop()
	}
	w.observe("workers of commit "+previous+" killed or stopped", 3)
	w.observe("workers of it refused on newer tables", 1)
	w.verify()
}
