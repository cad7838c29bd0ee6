package e2e

import (
	"fmt"
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

// inParts is a case whose table a backfill has made in part: rows of two epochs, of which some lack and others are there twice.
func inParts(t *testing.T) *backfilling {
	t.Helper()
	w := newBackfilling(t, setup{})
	w.live.stop()
	w.backfill(w.new, nil, "plan", "--scope", "offsets:0:100-249,1:200-399,2:0-99")
	w.backfill(w.new, nil, "run")
	w.backfill(w.new, nil, "promote", "--unverified")
	if odd := w.odd(); len(odd) > 0 {
		t.Fatalf("before there is damage: %v", odd)
	}
	fence := "ALTER TABLE " + w.db + ".events %s CONSTRAINT waybill_epoch"
	w.exec("DELETE FROM "+w.db+".events WHERE id % 10 = 3",
		fmt.Sprintf(fence, "DROP"), // it takes no rows of the older epoch
		"INSERT INTO "+w.db+".events SELECT * FROM "+w.db+".events WHERE id % 10 = 4 SETTINGS insert_deduplicate = 0",
		fmt.Sprintf(fence, "ADD")+" CHECK _epoch >= 1")
	if n := integer(w.query("SELECT least(countIf(_epoch = 0 AND id % 10 = 4), countIf(_epoch = 1 AND id % 10 = 4)) FROM " + w.db + ".events")); n < 40 || len(w.odd()) < 100 {
		t.Fatalf("there is not much damage: %d rows of each epoch are there twice; %d records in all", n, len(w.odd()))
	}
	return w
}

// odd are records that do not have the one row that they must have, or none, whichever plan has made it.
func (w *backfilling) odd() (out []string) {
	w.Helper()
	rows, twice := w.content()
	for _, at := range twice {
		out = append(out, fmt.Sprintf("%v has two rows", at))
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for i := range w.records {
		r := &w.records[i]
		got, there := rows[r.place]
		delete(rows, r.place)
		switch {
		case there != (r.fate == asRow):
			out = append(out, fmt.Sprintf("%v has a row: %v", r.place, there))
		case there && (uint64(got.id) != r.id || uint64(got.n) != r.n || strings.TrimPrefix(got.tenant, marked) != r.tenant): //nolint:gosec // neither is negative
			out = append(out, fmt.Sprintf("%v is %+v, produced was id %d, n %d, tenant %s", r.place, got, r.id, r.n, r.tenant))
		}
	}
	for at := range rows {
		out = append(out, fmt.Sprintf("%v was not produced", at))
	}
	return out
}

// TestRepairs_OfWhatABackfillHasLeftKilledAtEveryFailpoint: rows of the older epoch are made again under the table's, and those of the table's epoch as before,
// wherever the repair is killed; each record has one row then, and the audit finds nothing.
func TestRepairs_OfWhatABackfillHasLeftKilledAtEveryFailpoint(t *testing.T) {
	t.Parallel()
	out, err := exec.Command(binary, "failpoints", "--repairs").Output()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range strings.Fields(string(out)) {
		if !full && name != "repair-cleared" {
			continue
		}
		t.Run(name, func(t *testing.T) {
			w := inParts(t)
			repair := func(failpoint string) *worker {
				return w.startWith(failpoint, "repair", "run", w.old, "--missing", "--repeated", "--batch", "20")
			}
			repair(name + ":1").died(name)
			repair(name + ":2").died(name)
			if p := repair(""); p.exit(patience) != 0 {
				t.Errorf("the repair that finishes it:\n%s", p.log)
			}
			if odd := w.odd(); len(odd) > 0 {
				t.Errorf("%d records: %s", len(odd), strings.Join(odd[:min(len(odd), 10)], "; "))
			}
			if p := w.startWith("", "audit", w.old, "--reread"); p.exit(patience) != 0 {
				t.Errorf("the audit:\n%s", p.log)
			}
			w.observe("rows of the older epoch that are left", integer(w.query("SELECT countIf(_epoch = 0) FROM "+w.db+".events")))
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
