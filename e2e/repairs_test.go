package e2e

import (
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// damaged is a case whose table lacks some rows and has others twice.
func damaged(t *testing.T) *world {
	t.Helper()
	w := newWorld(t, setup{})
	w.produce(1200, mix{truncated: 97, tombstones: 61})
	w.settle()
	w.verify()
	w.exec("DELETE FROM "+w.db+".events WHERE id % 10 = 3",
		"INSERT INTO "+w.db+".events SELECT * FROM "+w.db+".events WHERE id % 10 = 4 SETTINGS insert_deduplicate = 0")
	if p := w.problems(); len(p) == 0 {
		t.Fatal("the case does not see the damage")
	}
	return w
}

// repair starts `waybill repair run`, in small batches.
func (w *world) repair(failpoint string) *worker {
	w.Helper()
	return w.startWith(failpoint, "repair", "run", w.writeFile(), "--missing", "--repeated", "--batch", "40")
}

func (w *world) sound() {
	w.Helper()
	w.verify()
	if code := w.startWith("", "audit", w.writeFile(), "--content").exit(patience); code != 0 {
		w.Errorf("the audit ends with %d", code)
	}
	// Several may finish one, each on record.
	if got := w.query("SELECT uniqExactIf((sequence, batch), step = 'begun') - uniqExactIf((sequence, batch), step = 'finished') FROM waybill.replays WHERE pipeline = '" + w.pipeline + "'"); got != "0" {
		w.Errorf("%s batches are not finished", got)
	}
}

// TestRepairs_KilledAtEveryFailpoint kills a repair at every place where the binary can be killed in one. The next one finishes what it has begun.
func TestRepairs_KilledAtEveryFailpoint(t *testing.T) {
	t.Parallel()
	out, err := exec.Command(binary, "failpoints", "--repairs").Output()
	if err != nil {
		t.Fatal(err)
	}
	names := strings.Fields(string(out))
	if len(names) < 12 {
		t.Fatalf("failpoints: %v", names)
	}
	short := []string{"repair-deleted", "repair-cleared", "during-target", "repair-buried"}
	for _, name := range names {
		if !full && !slices.Contains(short, name) {
			continue
		}
		t.Run(name, func(t *testing.T) {
			w := damaged(t)
			w.repair(name + ":1").died(name)
			w.repair(name + ":2").died(name) // now it has something to finish, and more to begin
			if code := w.repair("").exit(patience); code != 0 {
				t.Errorf("the repair that finishes it ends with %d", code)
			}
			w.sound()
		})
	}
}

func TestRepairs_SeveralAtOnceBesideAWorker(t *testing.T) {
	w := damaged(t)
	w.allow("rows_missing", "rows_repeated") // the worker looks, too
	live := w.start("")
	one := w.repair("repair-deleted:1")
	w.eventually("the first has begun a batch", func() bool {
		return w.query("SELECT count() FROM waybill.replays WHERE pipeline = '"+w.pipeline+"'") != "0"
	})
	other, third := w.repair(""), w.repair("")
	w.produce(600, mix{truncated: 97, tombstones: 61})
	one.died("repair-deleted")
	for _, p := range []*worker{other, third} {
		if code := p.exit(patience); code != 0 {
			t.Errorf("%s ends with %d", p.name, code)
		}
	}
	if code := w.repair("").exit(patience); code != 0 { // what the first had begun last, if the others had nothing left to do
		t.Errorf("the last repair ends with %d", code)
	}
	w.quiet()
	live.stop()
	w.sound()
}
