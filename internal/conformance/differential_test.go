package conformance_test

import (
	"cmp"
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/waybill-data/waybill/internal/conformance"
	"github.com/waybill-data/waybill/internal/testenv"
)

var histories = flag.Int("histories", 8, "random histories to compare the model with the server by")

// pair is a model and a real server that are told the same things.
type pair struct {
	t           *testing.T
	rnd         *rand.Rand
	model, real conformance.ClickHouse
	history     []string
	offset      int64
}

var pairTables = []string{"a", "b", "v", "w"}

// TestClickHouse_ModelAgreesWithReal draws random histories of inserts, faults and surgery over two
// tables and two views with small windows, and compares every answer and all rows after each step.
func TestClickHouse_ModelAgreesWithReal(t *testing.T) {
	testenv.SharedClickHouse(t)
	for seed := range uint64(*histories) {
		t.Run(fmt.Sprintf("seed%d", seed), func(t *testing.T) {
			p := &pair{t: t, rnd: rand.New(rand.NewPCG(seed, 1)), model: newModelQuiet(), real: newReal(t, false)}
			p.setUp()
			for range 30 {
				p.step()
			}
		})
	}
}

func (p *pair) both(what string, do func(c conformance.ClickHouse)) {
	p.history = append(p.history, what)
	do(p.model)
	do(p.real)
}

func (p *pair) setUp() {
	p.both("tables with windows", func(c conformance.ClickHouse) {
		for i, name := range pairTables {
			c.CreateTable(name, conformance.TableOptions{Window: 4 + i, Constraint: name == "a"})
		}
		c.CreateView("a", "v")
		c.CreateView("a", "w")
	})
}

func (p *pair) step() {
	p.t.Helper()
	partition := 1 + p.rnd.IntN(3)
	switch n := p.rnd.IntN(100); {
	case n < 60:
		p.insert()
	case n < 68:
		p.both(fmt.Sprintf("drop partition a %d", partition), func(c conformance.ClickHouse) { c.DropPartition("a", partition) })
	case n < 72:
		p.both("truncate v", func(c conformance.ClickHouse) { c.Truncate("v") })
	case n < 84:
		from, to := p.twoOf("a", "b")
		p.both(fmt.Sprintf("attach %d of %s to %s", partition, from, to), func(c conformance.ClickHouse) { c.AttachPartitionFrom(to, from, partition) })
	case n < 92:
		offset := p.rnd.Int64N(p.offset + 1)
		p.both(fmt.Sprintf("delete %d", offset), func(c conformance.ClickHouse) { c.DeleteOffsets("a", n%2 == 0, offset) })
	default:
		window := 2 + p.rnd.IntN(5)
		p.both(fmt.Sprintf("window %d", window), func(c conformance.ClickHouse) { c.SetWindow("a", window) })
	}
	p.compare()
}

func (p *pair) twoOf(a, b string) (from, to string) {
	if p.rnd.IntN(2) == 0 {
		return a, b
	}
	return b, a
}

// insert repeats one of a few tokens with new or old rows, sometimes into a broken view or past a
// broken rename.
func (p *pair) insert() {
	p.t.Helper()
	in := conformance.Insert{Table: "a", Token: fmt.Sprintf("T%d", p.rnd.IntN(5)), Blocks: [][]conformance.Row{p.block()}}
	in.Table = []string{"a", "a", "b"}[p.rnd.IntN(3)]
	in.NoDedup = p.rnd.IntN(20) == 0
	in.NoViewDedup = p.rnd.IntN(15) == 0
	in.Deadline = []conformance.Deadline{conformance.NoDeadline, conformance.DeadlineAhead, conformance.DeadlinePassed}[max(0, p.rnd.IntN(10)-7)]
	broken, view := p.rnd.IntN(6) == 0, p.rnd.IntN(6) == 0
	partition := 1 + p.rnd.IntN(3)
	victim := []string{"a", "v", "w"}[p.rnd.IntN(3)]
	var answers []conformance.Answer
	p.both(fmt.Sprintf("insert %+v broken=%v(%s %d) view fails=%v", in, broken, victim, partition, view), func(c conformance.ClickHouse) {
		if view {
			c.FailView("a", "w", true)
		}
		if broken {
			c.BreakRename(victim, partition)
		}
		answers = append(answers, c.Insert(in))
		if view {
			c.FailView("a", "w", false)
		}
	})
	model, real := answers[0], answers[1]
	if !model.OK {
		real.Duplicated, model.Duplicated = 0, 0 // an exception can come before the counters
	}
	if model != real {
		p.fail("the model answers %+v, the server %+v", model, real)
	}
}

func (p *pair) block() []conformance.Row {
	var out []conformance.Row
	for range 1 + p.rnd.IntN(4) {
		p.offset++
		out = append(out, conformance.Row{Offset: p.offset, TablePartition: 1 + p.rnd.IntN(3), Content: p.rnd.Uint64N(5), Poison: p.rnd.IntN(40) == 0})
	}
	return out
}

func (p *pair) compare() {
	p.t.Helper()
	for _, name := range pairTables {
		if d := gocmp.Diff(sorted(p.model.Rows(name)), sorted(p.real.Rows(name)), cmpopts.EquateEmpty()); d != "" {
			p.fail("table %s (-model +server):\n%s", name, d)
		}
	}
}

func (p *pair) fail(format string, args ...any) {
	p.t.Helper()
	for i, h := range p.history {
		p.t.Logf("%3d %s", i, h)
	}
	p.t.Fatalf(format, args...)
}

func sorted(rows []conformance.Row) []conformance.Row {
	slices.SortFunc(rows, func(a, b conformance.Row) int { return cmp.Compare(a.Offset, b.Offset) })
	return rows
}
