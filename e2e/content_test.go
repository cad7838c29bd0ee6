package e2e

import (
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/waybill-data/waybill/internal/testenv"
)

// longBodies has the case's events keep their bodies, all of which are longer than 64 bytes, elsewhere.
func (w *world) longBodies() mix {
	w.Helper()
	w.exec("ALTER TABLE "+w.db+".events ADD COLUMN body_ref String", "ALTER TABLE "+w.db+".events ADD COLUMN body_bytes UInt64")
	w.file = strings.Replace(w.pipelineFile(), "body: {type: String}", "body: {type: String, large: {inline: 64, preview: 4}}", 1) + "content: {table: bodies}\n"
	m := usual
	m.body = 90
	return m
}

// bodyProblems compares each row, and the value that it refers to, with what the event of its id had.
func (w *world) bodyProblems() (bad []string) {
	w.Helper()
	for _, row := range w.rowsOf(fmt.Sprintf(`SELECT toString(id), toString(body = substring(whole, 1, 4)), toString(body_bytes = length(whole)), toString(body_ref = lower(hex(SHA256(whole)))), toString(there)
		FROM (SELECT id, body, body_bytes, body_ref, concat('b', toString(id), repeat('x', 90)) AS whole, (body_ref, whole) IN (SELECT hash, content FROM %[1]s.bodies) AS there FROM %[1]s.events)
		WHERE NOT (body = substring(whole, 1, 4) AND body_bytes = length(whole) AND body_ref = lower(hex(SHA256(whole))) AND there) ORDER BY id LIMIT 5`, w.db)) {
		bad = append(bad, fmt.Sprintf("of event %s beginning, length, name, and value there: %v", row[0], row[1:]))
	}
	return bad
}

// reading follows references as fast as the server answers, until what it returns is called: how many were followed, and those that led nowhere. A whole look that begins
// after that call is the last one. It asks for the references first, so that what it finds of them is older than what it looks for.
func (w *world) reading() (stop func() (followed int, lost []string)) {
	var (
		wg       sync.WaitGroup
		stopping atomic.Bool
		followed int
		lost     []string
	)
	seen := map[string]bool{}
	// look says whether the server has answered.
	look := func() bool {
		text, err := testenv.Query(w.ch.HTTPAddr(), "SELECT DISTINCT body_ref FROM "+w.db+".events WHERE body_ref != ''")
		if err != nil {
			return false
		}
		var fresh []string
		for _, ref := range strings.Fields(text) {
			if !seen[ref] {
				fresh = append(fresh, "'"+ref+"'")
			}
		}
		if len(fresh) == 0 {
			return true
		}
		text, err = testenv.Query(w.ch.HTTPAddr(), "SELECT DISTINCT hash FROM "+w.db+".bodies WHERE hash IN ("+strings.Join(fresh, ",")+")")
		if err != nil {
			return false
		}
		for _, ref := range strings.Fields(text) {
			seen[ref] = true
			followed++
		}
		for _, ref := range fresh {
			if ref = strings.Trim(ref, "'"); !seen[ref] {
				seen[ref] = true
				lost = append(lost, ref)
			}
		}
		return true
	}
	wg.Go(func() {
		for w.Context().Err() == nil {
			last := stopping.Load()
			if look() && last {
				return
			}
		}
	})
	return func() (int, []string) {
		stopping.Store(true)
		wg.Wait()
		return followed, lost
	}
}

// TestContent_KilledAtEveryFailpoint kills a worker around the storing of long values and everywhere else. Whoever reads a row at any moment finds what it refers to.
func TestContent_KilledAtEveryFailpoint(t *testing.T) {
	t.Parallel()
	out, err := exec.Command(binary, "failpoints", "--contents").Output()
	if err != nil {
		t.Fatal(err)
	}
	names := strings.Fields(string(out))
	if len(names) != 2 {
		t.Fatalf("failpoints: %v", names)
	}
	names = append(names, "before-target", "during-target", "after-target", "after-read-back", "after-rebuild")
	for _, name := range names {
		if !full && !slices.Contains([]string{"after-content", "during-target"}, name) {
			continue
		}
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, setup{})
			m := w.longBodies()
			stop := w.reading()
			w.produce(900, m)
			if name == "after-rebuild" || name == "after-read-back" {
				w.start("after-content:1").died("after-content")
			}
			w.start(name + ":1").died(name)
			w.produce(600, m)
			w.settle()
			followed, lost := stop()
			if len(lost) > 0 {
				t.Errorf("%d references led nowhere when they were read, %s", len(lost), lost[0])
			}
			if followed == 0 {
				t.Error("no reference was followed")
			}
			w.observe("references that a reader followed", int64(followed))
			w.verify()
			for _, p := range w.bodyProblems() {
				t.Error(p)
			}
			if code := w.startWith("", "audit", w.writeFile(), "--content").exit(patience); code != 0 {
				t.Errorf("the audit ends with %d", code)
			}
		})
	}
}

// The case sees a value that is missing, and one that is another; and so does the audit.
func TestContent_TheOracleSeesDamage(t *testing.T) {
	w := newWorld(t, setup{})
	m := w.longBodies()
	w.produce(300, m)
	w.settle()
	if p := w.bodyProblems(); len(p) > 0 {
		t.Fatal(p)
	}
	w.exec("ALTER TABLE " + w.db + ".bodies DELETE WHERE content LIKE 'b17x%' SETTINGS mutations_sync = 2")
	p := w.bodyProblems()
	if len(p) != 1 {
		t.Errorf("one value is gone, and the case says %v", p)
	}
	w.observe("damage that the case sees", int64(len(p)))
	if _, lost := w.reading()(); len(lost) != 1 {
		t.Errorf("one value is gone, and the reader has missed %d", len(lost))
	}
	if code := w.startWith("", "audit", w.writeFile()).exit(patience); code != 1 {
		t.Errorf("one value is gone, and the audit ends with %d", code)
	}
}
