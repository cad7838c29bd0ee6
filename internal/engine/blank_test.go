package engine

import (
	"testing"

	"github.com/waybill-data/waybill/internal/config"
)

func TestBlanks_StopsOrTellsOncePerRun(t *testing.T) {
	type batch struct {
		rows, blank int64
		want        string // "", "tell", "stop" (which tells)
	}
	for name, tc := range map[string]struct {
		policy  config.OnBlank
		batches []batch
	}{
		"the first events of all": {config.BlankStop, []batch{{3, 3, "tell"}, {60, 60, ""}, {36, 36, ""}, {1, 1, "stop"}}},
		"in one batch":            {config.BlankStop, []batch{{100, 100, "stop"}}},
		"one that matches":        {config.BlankStop, []batch{{3, 3, "tell"}, {60, 59, ""}, {99, 99, ""}, {1, 0, ""}, {99, 99, ""}, {1, 1, "stop"}}},
		"nothing between":         {config.BlankStop, []batch{{10, 9, ""}, {50, 50, ""}, {0, 0, ""}, {50, 50, "stop"}}},
		"a few now and then":      {config.BlankStop, []batch{{10, 0, ""}, {1, 1, ""}, {10, 0, ""}, {1, 1, ""}, {1, 1, ""}}},
		"continue":                {config.BlankContinue, []batch{{3, 3, "tell"}, {60, 60, ""}, {100, 100, ""}, {5000, 5000, ""}, {5, 4, ""}, {99, 99, ""}, {1, 1, "tell"}, {1000, 1000, ""}}},
	} {
		var b blanks
		for i, x := range tc.batches {
			stop, tell := b.take(x.rows, x.blank, tc.policy)
			got := ""
			switch {
			case stop && tell:
				got = "stop"
			case stop:
				got = "stop without a word"
			case tell:
				got = "tell"
			}
			if got != x.want {
				t.Errorf("%s: batch %d: %q, want %q", name, i, got, x.want)
			}
		}
	}
}
