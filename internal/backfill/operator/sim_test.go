package operator

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/waybill-data/waybill"
	"github.com/waybill-data/waybill/internal/backfill"
)

// once checks what a reader of the live table sees, at any moment: each record that the table's epoch accounts for is there once.
func (m *model) once() error {
	uuid, t := m.byName("calls")
	if t == nil {
		return errors.New("there is no live table")
	}
	seen := map[[2]int64]int{}
	for r, n := range t.rows {
		seen[[2]int64{int64(r.p), r.offset}] += n
	}
	for at, n := range seen {
		if n > 1 {
			return fmt.Errorf("record %d/%d is there %d times", at[0], at[1], n)
		}
	}
	if err := m.fed(t); err != nil {
		return err
	}
	tips := m.account(m.effective(uuid))
	for p, tip := range tips {
		for o := range tip {
			if seen[[2]int64{int64(p), o}] != 1 {
				return fmt.Errorf("record %d/%d is missing: epoch %d accounts for it", p, o, m.effective(uuid))
			}
		}
	}
	return nil
}

// fed checks that what the view fills is what the live table holds, whenever that takes rows.
func (m *model) fed(live *modelTable) error {
	_, t := m.byName(sums)
	if !m.view || len(live.closed) > 0 {
		return nil
	}
	if t == nil {
		return errors.New("there is nothing that the view fills")
	}
	for r, n := range live.rows {
		if t.rows[r] != n {
			return fmt.Errorf("the view has %+v %d times, and the table %d times", r, t.rows[r], n)
		}
	}
	for r := range t.rows {
		if live.rows[r] == 0 {
			return fmt.Errorf("the view has %+v, and the table has not", r)
		}
	}
	return nil
}

// end ends all actors.
func (m *model) end() {
	for len(m.actors) > 0 {
		m.stop(m.actors[0])
	}
}

// walk runs operators, the live pipeline and what else may happen, in an order by the seed, until the job is in a state and everything has settled.
func (m *model) walk(t judge, seed uint64, want backfill.State, do func(context.Context, *Operator) error) {
	t.Helper()
	n := 0
	m.faults = m.rnd.IntN(40)
	fail := func(err error) {
		t.Helper()
		t.Fatalf("seed %d: %v\n%s", seed, err, strings.Join(m.trace[max(0, len(m.trace)-120):], "\n"))
	}
	for range 100_000 {
		if len(m.journal) > 0 && m.journal[len(m.journal)-1].State == want && len(m.actors) == 0 {
			return
		}
		switch x := m.rnd.IntN(100); {
		case len(m.actors) == 0 && x < 30 || len(m.actors) == 1 && x == 0: // two at once, now and then
			n++
			m.start(fmt.Sprintf("%s-%d", want, n), func(a *actor) error { return do(context.Background(), m.operator(a)) })
		case x < 60 && len(m.actors) > 0:
			m.grantTo(m.actors[m.rnd.IntN(len(m.actors))])
		case x < 75:
			m.liveStep()
		case x < 78:
			m.wake()
		case x < 82:
			m.arrive()
		case x < 83:
			m.finishOne("")
		case x < 84 && len(m.actors) > 0 && m.unlucky(10):
			m.stop(m.actors[m.rnd.IntN(len(m.actors))])
		case x < 90:
			m.now = m.now.Add(time.Second)
		case x < 92:
			if p := int32(m.rnd.IntN(2)); m.ends[p] < 100 { //nolint:gosec // two
				m.ends[p]++
			}
		}
		if err := m.once(); err != nil {
			fail(err)
		}
	}
	fail(fmt.Errorf("it never became %s", want))
}

// settle lets live write all there is, so that what it left can be looked at.
func (m *model) settle(t judge, seed uint64) {
	t.Helper()
	m.held, m.faults = time.Time{}, 0
	for range 5000 {
		m.now = m.now.Add(time.Second) // a hold that arrives late ends by itself
		m.liveStep()
		m.arrive()
		m.finishOne("")
		if len(m.late)+len(m.started) == 0 && m.live != nil && m.live.next[0] == m.ends[0] && m.live.next[1] == m.ends[1] {
			if uuid, _ := m.byName("calls"); m.effective(uuid) == m.live.epoch {
				break
			}
		}
		if err := m.once(); err != nil {
			t.Fatalf("seed %d, afterwards: %v\n%s", seed, err, strings.Join(m.trace[max(0, len(m.trace)-60):], "\n"))
		}
	}
}

// content checks each record of the live table against what the job was to make of it.
func (m *model) content(t judge, seed uint64, of func(r row) error) {
	t.Helper()
	_, live := m.byName("calls")
	there := map[int32]int64{}
	for _, r := range sorted(live.rows) {
		if err := of(r); err != nil {
			t.Fatalf("seed %d: %v\n%s", seed, err, strings.Join(m.trace[max(0, len(m.trace)-120):], "\n"))
		}
		there[r.p] += int64(live.rows[r])
	}
	for p, end := range m.ends {
		if there[p] != end {
			t.Fatalf("seed %d: partition %d has %d rows for %d records; live is %+v under epoch %d at %v, the account is %v\n%s", seed, p, there[p], end, m.live, m.liveEpoch, m.committed, m.ledger, strings.Join(m.trace[max(0, len(m.trace)-120):], "\n"))
		}
	}
}

// judge hears what is wrong with a walk, which ends there.
type judge interface {
	Helper()
	Fatalf(format string, args ...any)
}

// wrong is what a walk of a mutant ends with.
type wrong string

// catcher is a judge who wants something to be wrong.
type catcher struct{}

func (catcher) Helper()                           {}
func (catcher) Fatalf(format string, args ...any) { panic(wrong(fmt.Sprintf(format, args...))) }

func simulate(t judge, seed uint64, not mutants) *model {
	m := newModel(seed)
	m.mutants = not
	defer m.end()
	m.open = seed%3 == 0
	m.scope = func(r row) bool { return m.open || r.offset >= 10 && r.offset < 22 }
	for range 200 { // live has been running
		m.liveStep()
	}
	m.journal = []backfill.Job{{ID: "1", Pipeline: "calls", Sequence: 1, State: backfill.Planned, Database: "db", Table: "calls", Topic: "calls", Group: "g", Open: m.open, Begin: backfill.Positions{0: 0, 1: 0}, Views: backfill.ViewsRebuild, Rebuilt: m.feeds(), At: m.now}}
	m.walk(t, seed, backfill.CaughtUp, func(ctx context.Context, o *Operator) error { return o.Run(ctx, "1") })
	m.walk(t, seed, backfill.Promoted, func(ctx context.Context, o *Operator) error { return o.Promote(ctx, "1", true) })
	first := m.journal[len(m.journal)-1]
	m.settle(t, seed)
	m.content(t, seed, func(r row) error {
		switch e, behind := first.Leg.Epoch, r.offset >= first.Leg.V[r.p]; {
		case (behind || m.scope(r)) && r.epoch != e:
			return fmt.Errorf("%+v is not of the backfill's epoch %d; V is %v", r, e, first.Leg.V)
		case !behind && !m.scope(r) && r.epoch != 0:
			return fmt.Errorf("%+v was to stay", r)
		}
		return nil
	})
	m.walk(t, seed, backfill.RolledBack, func(ctx context.Context, o *Operator) error { return o.Rollback(ctx, "1") })
	back := m.journal[len(m.journal)-1]
	m.settle(t, seed)
	m.content(t, seed, func(r row) error {
		want := waybill.Epoch(0)
		if r.offset >= first.Leg.V[r.p] {
			want = back.Leg.Epoch
		}
		if r.epoch != want {
			return fmt.Errorf("%+v was to be of epoch %d again", r, want)
		}
		return nil
	})
	m.walk(t, seed, backfill.Promoted, func(ctx context.Context, o *Operator) error { return o.Promote(ctx, "1", false) })
	again := m.journal[len(m.journal)-1]
	m.settle(t, seed)
	m.content(t, seed, func(r row) error {
		if r.offset >= back.Leg.From[r.p] && r.offset >= again.Leg.From[r.p] && r.epoch != again.Leg.Epoch {
			return fmt.Errorf("%+v was to be of epoch %d", r, again.Leg.Epoch)
		}
		return nil
	})
	return m
}

func TestOperator_EachRecordOnceWhoeverIsKilled(t *testing.T) {
	seeds := uint64(60)
	if testing.Short() {
		seeds = 20
	}
	refills := 0
	for seed := range seeds {
		refills += simulate(t, seed, mutants{}).refills
	}
	if t.Logf("views were made anew of all rows %d times", refills); refills == 0 && !testing.Short() {
		t.Error("no view was ever made anew of all rows")
	}
}

// The walks see it if a rule about views is not kept.
func TestOperator_ViewMutants(t *testing.T) {
	for name, not := range map[string]mutants{"never closes": {neverCloses: true}, "fills all": {fillsAll: true}, "attaches none": {attachesNone: true}, "never refills": {neverRefills: true}} {
		caught := ""
		for seed := uint64(0); seed < 400 && caught == ""; seed += 2 {
			func() {
				defer func() {
					r := recover()
					if w, ok := r.(wrong); ok {
						caught = string(w)
					} else if r != nil {
						panic(r)
					}
				}()
				simulate(catcher{}, seed, not)
			}()
		}
		what, _, _ := strings.Cut(caught, "\n")
		if !strings.Contains(what, "the view has") {
			t.Errorf("%s: %q", name, what)
		}
		t.Logf("%s: %s", name, what)
	}
}
