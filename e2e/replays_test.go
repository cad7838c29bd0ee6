package e2e

import (
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// unidentified are events of which every 13th has no id, which the usual pipeline file requires.
var unidentified = mix{truncated: 97, missing: 13, tombstones: 61}

// rejected is a case with dead letters, whose file has been mended since: an event may do without an id.
func rejected(t *testing.T, s setup) *world {
	t.Helper()
	w := newWorld(t, s)
	w.produce(1200, unidentified)
	w.settle()
	w.verify()
	w.file = strings.Replace(w.pipelineFile(), "id: {type: UInt64, required: true}", "id: {type: UInt64}", 1)
	return w
}

// replay starts `waybill dlq replay` for the dead letters that the mended file takes.
func (w *world) replay(failpoint string) *worker {
	w.Helper()
	return w.startWith(failpoint, "dlq", "replay", w.writeFile(), "--code", "missing_required", "--batch", "40")
}

// replayed is what must be so when all of them have been.
func (w *world) replayed() {
	w.Helper()
	n := 0
	for i := range w.records {
		if r := &w.records[i]; r.fate == asDead && strings.HasPrefix(string(r.value), `{"tenant"`) && strings.HasSuffix(string(r.value), "}") {
			r.replayed, r.id = true, 0
			n++
		}
	}
	if n < 80 {
		w.Fatalf("only %d dead letters to be replayed", n)
	}
	w.verify()
	w.observe("dead letters replayed", int64(n))
	if got := w.query("SELECT concat(toString(countIf(state = 'replayed')), ' ', toString(countIf(state != 'waiting'))) FROM waybill.dead_letters_now WHERE pipeline = '" + w.pipeline + "'"); got != fmt.Sprintf("%d %d", n, n) {
		w.Errorf("on record as replayed, and as anything: %s; replayed were %d", got, n)
	}
	if code := w.startWith("", "audit", w.writeFile()).exit(patience); code != 0 {
		w.Errorf("the audit ends with %d", code)
	}
}

// TestReplays_KilledAtEveryFailpoint kills a replay at every place where the binary can be killed in one. The next one finishes what it has begun.
func TestReplays_KilledAtEveryFailpoint(t *testing.T) {
	t.Parallel()
	out, err := exec.Command(binary, "failpoints", "--replays").Output()
	if err != nil {
		t.Fatal(err)
	}
	names := strings.Fields(string(out))
	if len(names) < 10 {
		t.Fatalf("failpoints: %v", names)
	}
	short := []string{"replay-begun", "during-target", "after-target", "replay-landed"}
	for _, name := range names {
		if !full && !slices.Contains(short, name) {
			continue
		}
		t.Run(name, func(t *testing.T) {
			w := rejected(t, setup{})
			w.replay(name + ":1").died(name)
			w.replay(name + ":2").died(name) // now it has something to finish, and more to begin
			if code := w.replay("").exit(patience); code != 0 {
				t.Errorf("the replay that finishes it ends with %d", code)
			}
			w.replayed()
		})
	}
}

func TestReplays_SeveralAtOnceBesideAWorker(t *testing.T) {
	w := rejected(t, setup{})
	live := w.start("")
	one := w.replay("after-target:1")
	w.eventually("the first has begun a batch", func() bool {
		return w.query("SELECT count() FROM waybill.replays WHERE pipeline = '"+w.pipeline+"'") != "0"
	})
	other, third := w.replay(""), w.replay("")
	w.produce(600, mix{truncated: 97, tombstones: 61})
	one.died("after-target")
	for _, p := range []*worker{other, third} {
		if code := p.exit(patience); code != 0 {
			t.Errorf("%s ends with %d", p.name, code)
		}
	}
	if code := w.replay("").exit(patience); code != 0 { // what the first had begun last, if the others had nothing left to do
		t.Errorf("the last replay ends with %d", code)
	}
	w.quiet()
	live.stop()
	w.replayed()
}

func TestReplays_SeveralTables(t *testing.T) {
	w := rejected(t, setup{routed: true})
	w.replay("after-target:1").died("after-target")
	if code := w.replay("").exit(patience); code != 0 {
		t.Errorf("the replay ends with %d", code)
	}
	for i := range w.records {
		if r := &w.records[i]; r.fate == asDead && strings.HasPrefix(string(r.value), `{"tenant"`) && strings.HasSuffix(string(r.value), "}") {
			r.replayed, r.id = true, 0
		}
	}
	if n := w.query("SELECT count() - uniqExact(_partition, _offset) FROM (SELECT _partition, _offset FROM " + w.db + ".events UNION ALL SELECT _partition, _offset FROM " + w.db + ".events_even)"); n != "0" {
		t.Errorf("%s rows are there twice", n)
	}
}

// What the case compares would show it if a replay lost a row or wrote one twice, and so would the audit.
func TestReplays_OracleSeesALostOrDoubledOne(t *testing.T) {
	w := rejected(t, setup{})
	if code := w.replay("").exit(patience); code != 0 {
		t.Fatalf("the replay ends with %d", code)
	}
	w.replayed()
	w.exec("INSERT INTO " + w.db + ".events SELECT * FROM " + w.db + ".events WHERE id = 0 AND tenant = 't5' LIMIT 1")
	if p := w.problems(); len(p) != 1 || !strings.Contains(p[0], "there 2 times") {
		t.Errorf("a doubled one: %v", p)
	}
	if code := w.startWith("", "audit", w.writeFile()).exit(patience); code != 1 {
		t.Errorf("a doubled one: the audit ends with %d", code)
	}
	w.exec("DELETE FROM " + w.db + ".events WHERE id = 0 AND tenant = 't5'")
	if p := w.problems(); len(p) == 0 || !strings.Contains(p[0], "row missing") {
		t.Errorf("lost ones: %v", p)
	}
	if code := w.startWith("", "audit", w.writeFile()).exit(patience); code != 1 {
		t.Errorf("lost ones: the audit ends with %d", code)
	}
	// A row of a dead letter that was not replayed is a violation as before.
	w.exec("DELETE FROM waybill.dead_letter_outcomes WHERE pipeline = '" + w.pipeline + "'")
	p := w.startWith("", "audit", w.writeFile())
	if code := p.exit(patience); code != 1 {
		t.Errorf("not on record: the audit ends with %d", code)
	}
}
