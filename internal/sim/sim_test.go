package sim_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/waybill-data/waybill/internal/sim"
)

func report(t *testing.T, r sim.Result) {
	t.Helper()
	t.Errorf("seed %d: %s\nfaults:\n%sreplay: waybill-sim -seed %d -v", r.Seed, strings.Join(r.Problems, "\n"), sim.Script(r.Faults), r.Seed)
}

// seeds is how many of them a test runs.
func seeds(short, long uint64) uint64 {
	if testing.Short() {
		return short
	}
	return long
}

func TestSeeds_Clean(t *testing.T) {
	t.Parallel()
	struck := 0
	for seed := range seeds(200, 600) {
		r := sim.Run(seed, sim.Options{})
		if r.Failed() {
			report(t, r)
			return
		}
		struck += len(r.Faults) - r.NotHit
	}
	if struck == 0 {
		t.Error("no fault has struck: the run proves nothing")
	}
}

func TestSeeds_CleanWithoutFaults(t *testing.T) {
	t.Parallel()
	for seed := range seeds(50, 100) {
		r := sim.Run(seed, sim.Options{Faults: []sim.Fault{}})
		if r.Failed() {
			report(t, r)
			return
		}
	}
}

func TestSeeds_AtLeastOnceLosesNothing(t *testing.T) {
	t.Parallel()
	for seed := range seeds(60, 200) {
		r := sim.Run(seed, sim.Options{AtLeastOnce: true})
		if r.Failed() {
			report(t, r)
			return
		}
	}
}

// A pipeline of several tables keeps the laws for each of them.
func TestSeeds_RoutedToSeveralTables(t *testing.T) {
	t.Parallel()
	for seed := range seeds(150, 500) {
		for _, alo := range []bool{false, seed%10 == 0} {
			if r := sim.Run(seed, sim.Options{Routed: true, AtLeastOnce: alo}); r.Failed() {
				t.Error("with -routed:")
				report(t, r)
				return
			}
		}
	}
}

// An operator puts backfills in the place of the table, and takes them back, dies at any step, sleeps, or has a double; workers never hear of it, or
// too late. The table that is live at the end holds each record once.
func TestSeeds_Handover(t *testing.T) {
	t.Parallel()
	promoted := 0
	for seed := range seeds(120, 600) {
		r := sim.Run(seed, sim.Options{Handover: true})
		if r.Failed() {
			t.Error("with -handover:")
			report(t, r)
			return
		}
		promoted += r.Promoted
	}
	if promoted == 0 {
		t.Error("no table has taken another's place: the run proves nothing")
	}
}

// A seed replays exactly, faults and transcript.
func TestRun_ReplaysExactly(t *testing.T) {
	t.Parallel()
	for seed := uint64(1000); seed < 1030; seed++ {
		a := sim.Run(seed, sim.Options{Transcript: true})
		b := sim.Run(seed, sim.Options{Transcript: true})
		if a.Hash != b.Hash {
			t.Fatalf("seed %d gives two transcripts:\n%s", seed, cmp.Diff(a.Transcript, b.Transcript))
		}
		c := sim.Run(seed, sim.Options{Transcript: true, Faults: reparsed(t, a.Faults)})
		if a.Hash != c.Hash {
			t.Fatalf("seed %d replayed from its printed script gives another transcript", seed)
		}
	}
}

func reparsed(t *testing.T, faults []sim.Fault) []sim.Fault {
	t.Helper()
	out, err := sim.ParseScript(sim.Script(faults))
	if err != nil {
		t.Fatal(err)
	}
	if out == nil {
		out = []sim.Fault{}
	}
	if diff := cmp.Diff(faults, out); diff != "" && len(faults) > 0 {
		t.Fatalf("a script does not survive being printed:\n%s", diff)
	}
	return out
}

func TestParseScript_Refuses(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"crash", "at x crash", "at 3 melt", "at 3 crash worker", "at 3 crash worker one", "at 3 crash colour 4"} {
		if _, err := sim.ParseScript(text); err == nil {
			t.Errorf("%q was accepted", text)
		}
	}
}

// Each rule that is taken back is caught, and its mix of faults does no harm to the real rules.
func TestControls_Caught(t *testing.T) {
	t.Parallel()
	for _, c := range sim.Controls() {
		t.Run(string(c.Mutant), func(t *testing.T) {
			for seed := range uint64(500) {
				if r := sim.Run(seed, sim.Options{Mutant: c.Mutant, Mix: c.Mix}); r.Failed() {
					t.Logf("caught by seed %d: %s", seed, r.Problems[0])
					return
				}
			}
			t.Error("not caught in 500 seeds")
		})
		t.Run(string(c.Mutant)+"/real rules", func(t *testing.T) {
			for seed := range seeds(15, 60) {
				if r := sim.Run(seed, sim.Options{Mix: c.Mix}); r.Failed() {
					report(t, r)
					return
				}
			}
		})
	}
}

func TestMatrix_NoEmptyCellIsAlsoUnreachable(t *testing.T) {
	t.Parallel()
	m := sim.Matrix{}
	for seed := range seeds(150, 400) {
		m.Merge(sim.Run(seed, sim.Options{}).Matrix)
	}
	for kind, row := range m {
		for stage, n := range row {
			if why := sim.Unreachable(kind, stage); why != "" {
				t.Errorf("%s x %s was hit %d times, though %q", kind, stage, n, why)
			}
		}
	}
	for _, k := range sim.FaultKinds() {
		if len(m[k]) == 0 {
			t.Errorf("%s never struck", k)
		}
	}
}

// A fault that had nothing to strike is not counted as one that was survived.
func TestRun_CountsFaultsThatStruckNothing(t *testing.T) {
	t.Parallel()
	faults, err := sim.ParseScript("at 500 lose-offsets partition 99; at 600 crash worker 1 for 100 after never")
	if err != nil {
		t.Fatal(err)
	}
	if r := sim.Run(1, sim.Options{Faults: faults}); r.NotHit != 2 || len(r.Matrix) != 0 {
		t.Errorf("not hit: %d of 2; matrix %v", r.NotHit, r.Matrix)
	}
}
