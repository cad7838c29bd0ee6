package e2e

import (
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// killed says how to get a worker to a failpoint, and what the next one finds.
type killed struct {
	name string
	nth  string // the n-th time, "1" if empty
	// earlier is a failpoint that kills a first worker, so that the second has something to recover.
	earlier string
	// run brings the armed worker to its failpoint; nil: it gets there by itself.
	run func(w *world, p *worker)
	// evolving: the pipeline gives new fields columns of their own, as the events have one.
	evolving bool
	// routed: it has two tables.
	routed bool
}

// scenarios: most failpoints lie on the way of any batch, some need a reason to be passed.
var scenarios = []killed{
	{name: "assigned"},
	{name: "offsets-fetched"},
	{name: "start-resolved"},
	{name: "before-alter", evolving: true},
	{name: "after-alter", evolving: true},
	{name: "batch-closed"},
	{name: "commit-built"},
	{name: "commit-built", nth: "3"},
	{name: "commit-answered"},
	{name: "commit-answered", nth: "3"},
	{name: "before-target"},
	{name: "during-target"},
	{name: "after-target"},
	{name: "after-target", nth: "3"},
	{name: "before-dead-letters"},
	{name: "after-dead-letters"},
	{name: "before-ledger"},
	{name: "after-ledger"},
	{name: "before-read-back"},
	{name: "after-read-back"},
	{name: "before-read-back", earlier: "after-target"},
	{name: "after-read-back", earlier: "before-target"},
	{name: "after-read-back", nth: "2", earlier: "before-ledger"},
	{name: "before-rebuild", earlier: "during-target"},
	{name: "after-rebuild", earlier: "after-dead-letters"},
	{name: "before-claim"},
	{name: "after-claim"},
	{name: "tail-checked"},
	{name: "tail-checked", earlier: "after-ledger"},
	{name: "revoked", run: func(w *world, p *worker) {
		w.eventually("the first worker owns all partitions", func() bool { return p.owns() == int(w.partitions) })
		w.start("") // the group now takes partitions from the first worker
	}},
	{name: "drained", run: func(w *world, p *worker) {
		w.awaitRows(1)
		p.cmd.Process.Signal(sigTerm) //nolint:errcheck // it may be gone, which died tells
	}},
}

// inShort are the failpoints of the short selection.
var inShort = []string{"after-target", "during-target", "after-ledger", "after-rebuild", "after-claim", "revoked", "before-alter", "after-alter"}

// TestFailpoints_NothingIsLostOrDoubled kills a worker at every place where the binary can be killed.
func TestFailpoints_NothingIsLostOrDoubled(t *testing.T) {
	t.Parallel()
	out, err := exec.Command(binary, "failpoints").Output()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range strings.Fields(string(out)) {
		if !slices.ContainsFunc(scenarios, func(s killed) bool { return s.name == name }) {
			t.Errorf("no scenario passes failpoint %s", name)
		}
	}
	shown := map[string]bool{}
	for _, s := range scenarios {
		if !full && (!slices.Contains(inShort, s.name) || shown[s.name]) {
			continue
		}
		shown[s.name] = true
		name := s.name
		if s.nth != "" {
			name += ":" + s.nth
		}
		if s.earlier != "" {
			name = s.earlier + ",then," + name
		}
		t.Run(name, func(t *testing.T) { s.play(t) })
	}
}

// A pipeline of two tables, whose inserts are under way side by side, is killed at the same places.
func TestFailpoints_OfSeveralTables(t *testing.T) {
	t.Parallel()
	for _, s := range scenarios {
		if s.evolving || s.run != nil || !full && (s.nth != "" || !slices.Contains([]string{"during-target", "after-target", "after-rebuild", "after-claim"}, s.name)) {
			continue
		}
		s.routed = true
		t.Run(strings.TrimSuffix(s.earlier+",then,"+s.name+":"+s.nth, ":"), func(t *testing.T) { s.play(t) })
	}
}

func (s killed) play(t *testing.T) {
	// A few rows are refused by the server, so that bisection and dead letters of both kinds are on the way.
	w := newWorld(t, setup{check: "tenant != 'cursed'", routed: s.routed})
	if s.evolving {
		w.file = strings.Replace(w.pipelineFile(), "new_fields: discard", "new_fields: evolve", 1)
		w.allow("column_added")
	}
	m := usual
	m.poisoned = 499
	w.produce(600, m)
	if s.earlier != "" {
		w.start(s.earlier + ":1").died(s.earlier)
	}
	nth := "1"
	if s.nth != "" {
		nth = s.nth
	}
	p := w.start(s.name + ":" + nth)
	if s.nth != "" { // later batches
		for range 3 {
			w.awaitSettledOrDead(p)
			if p.alive() {
				w.produce(100, m)
			}
		}
	}
	if s.run != nil {
		s.run(w, p)
	}
	p.died(s.name)
	w.produce(600, m)
	w.settle()
	w.verify()
	if s.evolving {
		if n := w.query("SELECT countIf(unknown_x != 1 OR unknown_x IS NULL) FROM " + w.db + ".events"); n != "0" {
			t.Errorf("%s rows lack the new field", n)
		}
	}
}

// awaitSettledOrDead waits until p has nothing left to do, or has died.
func (w *world) awaitSettledOrDead(p *worker) {
	w.Helper()
	w.eventually("all is settled or the worker is dead", func() bool { return !p.alive() || w.lag() == "" })
}
