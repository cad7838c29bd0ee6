package delivery

import (
	"testing"

	"github.com/waybill-data/waybill"
)

// Every stage can be reached from the two in which a work begins, and can end.
func TestStages_ReachableAndEnding(t *testing.T) {
	t.Parallel()
	reached := map[Stage]bool{}
	var walk func(Stage)
	walk = func(s Stage) {
		if reached[s] {
			return
		}
		reached[s] = true
		for _, next := range moves[s] {
			walk(next)
		}
	}
	walk(StageGathered)
	walk(StageRebuilding)
	for _, s := range Stages() {
		if !reached[s] {
			t.Errorf("%s cannot be reached", s)
		}
		if s != StageGone && !legal(s, StageGone) {
			t.Errorf("a work in %s cannot be dropped", s)
		}
	}
	if len(moves[StageGone]) != 0 {
		t.Error("what is gone moves on")
	}
}

func legal(from, to Stage) bool {
	for _, s := range moves[from] {
		if s == to {
			return true
		}
	}
	return false
}

// A move that is not in the table is an error with its context, and changes nothing.
func TestWork_IllegalMovesAreRefused(t *testing.T) {
	t.Parallel()
	for _, from := range Stages() {
		for _, to := range Stages() {
			w := &work{stage: from, batch: &waybill.Batch{}}
			err := w.to(to)
			if (err == nil) != legal(from, to) {
				t.Errorf("%s to %s: %v", from, to, err)
			}
			if err != nil && w.stage != from {
				t.Errorf("%s to %s was refused, but done", from, to)
			}
		}
	}
}
