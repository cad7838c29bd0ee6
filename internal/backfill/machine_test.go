package backfill

import (
	"errors"
	"slices"
	"testing"
	"time"
)

var noon = time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)

func planned() Job {
	return Job{ID: "1", Pipeline: "p", Sequence: 7, State: Planned, Table: "calls", Group: "g", FileEpoch: 1, BaseEpoch: 2, Begin: Positions{0: 0}}
}

// after applies events that must all be legal.
func after(t *testing.T, j Job, events ...Event) Job {
	t.Helper()
	for _, e := range events {
		next, err := j.Apply(e, noon)
		if err != nil {
			t.Fatal(err)
		}
		if next.Sequence != j.Sequence+1 {
			t.Fatalf("%s: sequence %d follows %d", e.event(), next.Sequence, j.Sequence)
		}
		j = next
	}
	return j
}

var (
	v      = Positions{0: 100}
	made   = []Event{Run{Epoch: 3}, Made{In: "b", Out: "a"}}
	ready  = append(slices.Clone(made), Caught{}, Verify{}, Verified{})
	held   = append(slices.Clone(ready), Promote{}, Done{Step: Prepare}, Done{Step: Follow}, Began{Round{To: v}}, Began{Round{To: v, Listed: true}}, Settled{}, Done{Step: Keep}, Done{Step: Hold})
	swaps  = append(slices.Clone(held), Done{Step: Position, Positions: v}, Done{Step: Reach}, Done{Step: Rest}, Done{Step: Check})
	in     = append(slices.Clone(swaps), Attempt{}, Done{Step: Exchange}, Done{Step: Feed}, Done{Step: Tell})
	goBack = []Event{Rollback{Epoch: 4}, Done{Step: Prepare}, Done{Step: Follow}, Done{Step: Keep}, Done{Step: Hold}, Done{Step: Position, Positions: Positions{0: 150}}, Done{Step: Reach}, Done{Step: Rest}, Done{Step: Check}, Done{Step: Exchange}, Done{Step: Feed}, Done{Step: Tell}}
	out    = append(slices.Clone(in), goBack...)
)

// states are a job in each state.
func states(t *testing.T) map[State]Job {
	t.Helper()
	return map[State]Job{
		Planned: planned(), Running: after(t, planned(), made...), CaughtUp: after(t, planned(), append(slices.Clone(made), Caught{})...),
		Verifying: after(t, planned(), append(slices.Clone(made), Caught{}, Verify{})...), Ready: after(t, planned(), ready...), Promoting: after(t, planned(), held...),
		Promoted: after(t, planned(), in...), RollingBack: after(t, planned(), append(slices.Clone(in), goBack[:3]...)...), RolledBack: after(t, planned(), out...),
		Failed: after(t, planned(), append(slices.Clone(made), Fail{Why: "x"})...), Canceled: after(t, planned(), Cancel{}),
	}
}

func TestApply_EachEventInEachState(t *testing.T) {
	all := states(t)
	for _, s := range States() {
		if all[s].State != s {
			t.Fatalf("a job that should be %s is %s", s, all[s].State)
		}
	}
	for _, c := range []struct {
		e  Event
		to map[State]State // all others are illegal
	}{
		{Plan{}, nil},
		{Run{Epoch: 9}, map[State]State{Planned: Running, Running: Running, CaughtUp: Running, Ready: Running, Failed: Running}},
		{Made{In: "b", Out: "a"}, map[State]State{Running: Running}},
		{Caught{}, map[State]State{Running: CaughtUp, CaughtUp: CaughtUp}},
		{Verify{}, map[State]State{CaughtUp: Verifying, Ready: Verifying, Verifying: Verifying}},
		{Verified{}, map[State]State{Verifying: Ready}},
		{Verified{Refusals: []string{"no"}}, map[State]State{Verifying: CaughtUp}},
		{Promote{Epoch: 9}, map[State]State{Ready: Promoting, RolledBack: Promoting}},
		{Promote{Epoch: 9, Force: true}, map[State]State{Ready: Promoting, RolledBack: Promoting, CaughtUp: Promoting, Verifying: Promoting}},
		{Rollback{Epoch: 9}, map[State]State{Promoted: RollingBack}},
		{Fail{}, map[State]State{Running: Failed}},
		{GiveUp{}, map[State]State{Promoting: Ready, RollingBack: Promoted}},
		{Cancel{}, map[State]State{Planned: Canceled, Running: Canceled, CaughtUp: Canceled, Verifying: Canceled, Ready: Canceled, Failed: Canceled}},
		{Clean{}, map[State]State{Promoted: Promoted, RolledBack: RolledBack, Canceled: Canceled}},
		{Attempt{}, nil}, {Anew{}, nil}, {Settled{}, nil}, {Attached{Done: 1}, nil}, {Began{}, nil}, {Fill{Filled: Filled{In: "d", Out: "c"}}, nil}, {Refill{}, map[State]State{RollingBack: RollingBack}},
		{Back{}, map[State]State{Promoting: Promoting}},
		{Claim{Owner: "o"}, map[State]State{Planned: Planned, Running: Running, CaughtUp: CaughtUp, Verifying: Verifying, Ready: Ready, Promoting: Promoting, Promoted: Promoted, RollingBack: RollingBack, RolledBack: RolledBack, Failed: Failed, Canceled: Canceled}},
	} {
		for s, j := range all {
			got, err := j.Apply(c.e, noon)
			want, legal := c.to[s]
			illegal := (*Illegal)(nil)
			switch {
			case legal && (err != nil || got.State != want):
				t.Errorf("%T in %s: %s, %v; want %s", c.e, s, got.State, err, want)
			case !legal && !errors.As(err, &illegal):
				t.Errorf("%T in %s: %s, %v; want it to be illegal", c.e, s, got.State, err)
			case !legal && got.Sequence != j.Sequence:
				t.Errorf("%T in %s is illegal and has changed the job", c.e, s)
			}
		}
	}
}

// What was brought in is nothing if it was changed since: all of it comes in again, and so does all that depends on it.
func TestApply_AnewBeginsWithTheRowsThatStay(t *testing.T) {
	checking := swaps[:len(swaps)-1]
	j := after(t, planned(), append(slices.Clone(checking), Anew{})...)
	if j.Step != Keep || j.Leg.Kept != nil || j.Leg.V != nil || j.Leg.Mutation != 0 || !j.Leg.Held.IsZero() {
		t.Errorf("it is at %s, with %+v", j.Step, j.Leg)
	}
	j = after(t, j, Began{Round{To: v, Mutation: 7}}, Began{Round{To: v, Mutation: 7, Listed: true}}, Settled{}, Began{Round{To: v, Mutation: 9}}, Began{Round{To: v, Mutation: 9, Listed: true}}, Settled{})
	if j.Leg.Mutation != 7 {
		t.Errorf("mutation %d is said to be in all of it", j.Leg.Mutation)
	}
	if _, err := after(t, planned(), swaps...).Apply(Anew{}, noon); err == nil {
		t.Error("the tables may change places at any moment, and rows come in again")
	}
	back := after(t, planned(), append(slices.Clone(in), goBack[:8]...)...)
	if _, err := back.Apply(Anew{}, noon); back.Step != Check || err == nil {
		t.Errorf("at %s of a rollback rows come in again", back.Step)
	}
}

// What views make is in a table of its own before tables change places, goes back with them, and is made of more rows each time.
func TestApply_ViewsAreFilledUpToV(t *testing.T) {
	viewing := planned()
	viewing.Rebuilt = []View{{Name: "v", Target: "t"}}
	resting := append(slices.Clone(held), Done{Step: Position, Positions: v}, Done{Step: Reach})
	fill := func(in, out string, to Positions) Event { return Fill{Filled: Filled{In: in, Out: out, Through: to}} }
	j := after(t, viewing, resting...)
	for _, e := range []Event{Done{Step: Rest}, fill("", "c", v), fill("c", "c", v), Fill{View: 1, Filled: Filled{In: "d", Out: "c"}}, Refill{}} {
		if _, err := j.Apply(e, noon); err == nil {
			t.Errorf("%+v while nothing is made of the view", e)
		}
	}
	j = after(t, j, fill("d", "c", Positions{0: 99}))
	for _, e := range []Event{Done{Step: Rest}, fill("e", "c", Positions{0: 98}), fill("e", "x", v)} {
		if _, err := j.Apply(e, noon); err == nil {
			t.Errorf("%+v while rows up to 99 of 100 are in it", e)
		}
	}
	j = after(t, j, fill("e", "c", v), Done{Step: Rest}, Done{Step: Check}, Attempt{}, Done{Step: Exchange}, Attempt{}, Done{Step: Feed}, Done{Step: Tell})
	if j.StandbyOf(0) != "c" {
		t.Errorf("promoted: %+v", j.Leg.Filled)
	}
	j = after(t, j, goBack[:3]...)
	if f := j.Leg.Filled[0]; f.In != "c" || f.Out != "e" || f.Through != nil {
		t.Errorf("on the way back: %+v", f)
	}
	j = after(t, j, Refill{})
	if f := j.Leg.Filled[0]; f.In != "" || f.Out != "e" || f.Through != nil {
		t.Errorf("to be made anew of all rows: %+v", f)
	}
	j = after(t, j, GiveUp{})
	if f := j.Leg.Filled[0]; f.In != "e" || f.Out != "c" {
		t.Errorf("given up: %+v", f)
	}
}

func TestApply_StepsInTheirOrder(t *testing.T) {
	for i := range swaps {
		j := after(t, planned(), swaps[:i]...)
		if !j.State.Swapping() {
			continue
		}
		for _, s := range Steps() {
			if s != j.Step {
				if _, err := j.Apply(Done{Step: s, Positions: v}, noon); err == nil {
					t.Errorf("in step %s, %s is done", j.Step, s)
				}
			}
		}
	}
	// Once the tables may change places there is no way but forward.
	j := after(t, planned(), swaps...)
	for _, e := range []Event{GiveUp{}, Back{}, Cancel{}} {
		if _, err := j.Apply(e, noon); err == nil {
			t.Errorf("%T when the tables may change places", e)
		}
	}
	if j.Step != Exchange {
		t.Errorf("it is at %s", j.Step)
	}
	// Rows that stay must be in up to V.
	j = after(t, planned(), append(slices.Clone(held), Done{Step: Position, Positions: Positions{0: 101}}, Done{Step: Reach})...)
	if _, err := j.Apply(Done{Step: Rest}, noon); err == nil {
		t.Error("rows that stay are missing between 100 and 101")
	}
}

func TestApply_LegsGoThereAndBack(t *testing.T) {
	j := after(t, planned(), in...)
	if j.Leg.In != "b" || j.Leg.Epoch != 3 || j.Standby() != "a" {
		t.Errorf("promoted: %+v", j.Leg)
	}
	if _, err := j.Apply(Rollback{Epoch: 3}, noon); err == nil {
		t.Error("an epoch was used twice")
	}
	j = after(t, j, goBack...)
	if j.Leg.In != "a" || j.Leg.Out != "b" || j.Leg.From[0] != 100 || j.Leg.V[0] != 150 || j.Standby() != "b" {
		t.Errorf("rolled back: %+v", j.Leg)
	}
	j = after(t, j, Promote{Epoch: 5})
	if j.Leg.In != "b" || j.Leg.From[0] != 150 || j.Leg.Number != 2 {
		t.Errorf("promoted again: %+v", j.Leg)
	}
	j = after(t, j, GiveUp{})
	if j.State != RolledBack || j.Leg.In != "a" || j.Standby() != "b" {
		t.Errorf("given up: %s, %+v", j.State, j.Leg)
	}
	j = after(t, j, Clean{})
	for _, e := range []Event{Promote{Epoch: 6}, Clean{}} {
		if _, err := j.Apply(e, noon); err == nil {
			t.Errorf("%T after cleanup", e)
		}
	}
}

func TestApply_OneOwnerAtATime(t *testing.T) {
	j := after(t, planned(), Claim{Owner: "a", Who: "A", Until: noon.Add(time.Minute)})
	if _, err := j.Apply(Claim{Owner: "b", Until: noon.Add(time.Hour)}, noon.Add(59*time.Second)); err == nil {
		t.Error("two owners")
	}
	b, err := j.Apply(Claim{Owner: "b", Until: noon.Add(time.Hour)}, noon.Add(61*time.Second))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.Apply(Claim{Owner: "a", Renew: true, Until: noon.Add(time.Hour)}, noon.Add(62*time.Second)); err == nil {
		t.Error("a lease was renewed that somebody else has")
	}
	if a := after(t, b, Yield{Owner: "a"}); a.Owner != "b" {
		t.Error("somebody has ended a session that is another's")
	}
}

// Names of tables of one job: none is ever that of two.
func TestNames_OfOneTableEach(t *testing.T) {
	seen := map[string]bool{}
	j := planned()
	for epoch := range 20 {
		j.Leg.Epoch++
		names := []string{j.WorkName(), j.ReplacedName()}
		for seq := range 20 {
			names = append(names, j.SessionName(uint64(100*epoch+seq)), j.ThirdName(uint64(100*epoch+seq)))
		}
		for _, n := range names {
			if seen[n] {
				t.Errorf("%s is there twice", n)
			}
			seen[n] = true
		}
	}
}
