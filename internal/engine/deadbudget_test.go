package engine

import (
	"strings"
	"testing"
	"time"

	"github.com/waybill-data/waybill/internal/config"
)

func TestDeadBudget(t *testing.T) {
	t.Parallel()
	start := time.Unix(1_700_000_000, 0)
	count := config.DeadLetters{MaxCount: 10, Window: time.Minute}
	share := config.DeadLetters{MaxShare: 0.05, Window: time.Minute}
	for name, c := range map[string]struct {
		budget           config.DeadLetters
		settled          []deadCount // at seconds after the start
		read, dead, open int64
		want             string
	}{
		"none":                          {config.DeadLetters{Window: time.Minute}, nil, 100, 100, 0, ""},
		"at the count":                  {count, nil, 1000, 10, 0, ""},
		"past the count":                {count, nil, 1000, 11, 0, "max_count is 10"},
		"past it with what has settled": {count, []deadCount{{start, 500, 6}}, 1000, 5, 30, "11 dead letters"},
		"what is older does not count":  {count, []deadCount{{start, 500, 6}}, 1000, 5, 61, ""},
		"at the share":                  {share, nil, 200, 10, 0, ""},
		"past the share":                {share, nil, 200, 11, 0, "max_share is 5%"},
		"too few for a share":           {share, nil, 99, 99, 0, ""},
		"enough with what has settled":  {share, []deadCount{{start, 50, 0}}, 99, 99, 1, "99 of 149 records"},
	} {
		b := &deadBudget{DeadLetters: c.budget, settled: c.settled}
		got := b.over(start.Add(time.Duration(c.open)*time.Second), c.read, c.dead)
		if (got == "") != (c.want == "") || !strings.Contains(got, c.want) {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

func TestDeadBudget_Settle(t *testing.T) {
	t.Parallel()
	start := time.Unix(1_700_000_000, 0)
	b := &deadBudget{DeadLetters: config.DeadLetters{MaxCount: 100, Window: 5 * time.Minute}}
	for i := range 100_000 { // a batch every ten milliseconds
		b.settle(start.Add(time.Duration(i)*10*time.Millisecond), 10, 0)
	}
	if n := len(b.settled); n > 1100 {
		t.Errorf("%d entries for a thousand seconds", n)
	}
	if why := b.over(start.Add(1000*time.Second), 0, 101); why == "" {
		t.Error("not over")
	}
	if n := len(b.settled); n > 301 {
		t.Errorf("%d entries for a window of 300 seconds", n)
	}
}
