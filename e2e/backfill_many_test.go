package e2e

import (
	"strings"
	"testing"
)

// shares are how many partitions each member of the backfill's group has.
func (w *backfilling) shares() (out []int) {
	w.Helper()
	group := w.group + "-backfill-1"
	all, err := w.adm.DescribeGroups(w.Context(), group)
	if err != nil || all[group].Err != nil {
		return nil
	}
	for _, m := range all[group].Members {
		n := 0
		if c, ok := m.Assigned.AsConsumer(); ok {
			for _, topic := range c.Topics {
				n += len(topic.Partitions)
			}
		}
		out = append(out, n)
	}
	return out
}

// sharing waits until so many members have a share, and all partitions are shared out.
func (w *backfilling) sharing(members int) {
	w.Helper()
	w.eventually("the group shares its partitions", func() bool {
		shares, all := w.shares(), 0
		for _, n := range shares {
			if n == 0 {
				return false
			}
			all += n
		}
		return len(shares) == members && all == int(w.partitions)
	})
	w.observe("processes that share a backfill", int64(members))
}

// TestBackfill_SeveralProcesses: any number of processes run one backfill. They share its partitions; one is killed, two are stopped, others join.
func TestBackfill_SeveralProcesses(t *testing.T) {
	w := newBackfilling(t, setup{partitions: 6})
	w.produce(12_000, mix{truncated: 97})
	w.quiet()
	before := integer(w.query("SELECT count() FROM " + w.db + ".events"))
	w.backfill(w.new, nil, "plan", "--scope", "all")
	run := func(rate string) *worker {
		return w.startWith("", "backfill", "run", w.new, "--rate", rate, "--lease", longLease)
	}
	// So slow that none of them comes to an end by itself.
	var slow []*worker
	for range 3 {
		slow = append(slow, run("60"))
	}
	w.sharing(3)
	w.eventually("each partition has rows", func() bool {
		return w.query("SELECT uniqExact(_partition) FROM "+w.db+".events_backfill_1") == "6"
	})
	slow[0].kill()
	w.produce(500, mix{truncated: 97})
	w.sharing(2)
	fast := []*worker{run("0"), run("0")}
	w.sharing(4)
	for _, p := range slow[1:] {
		p.signal(sigTerm)
		if code := p.exit(patience); code == -1 || !strings.Contains(p.log.String(), "run it again to go on") {
			t.Errorf("%s ended with exit code %d: %s", p.name, code, p.log)
		}
	}
	for _, p := range fast {
		if code := p.exit(patience); code != 0 {
			t.Errorf("%s ended with exit code %d: %s", p.name, code, p.log)
		}
	}
	w.exact(noneOfIt)
	w.backfill(w.new, nil, "promote", "--unverified")
	w.produce(200, mix{truncated: 97})
	w.quiet()
	if made := w.exact(itFirst); made < int(before) {
		t.Fatalf("%d rows are the backfill's; there were %d", made, before)
	}
	w.live.stop()
	if p := w.startWith("", "audit", w.old); p.exit(patience) != 0 {
		t.Errorf("the audit:\n%s", p.log)
	}
}

// TestBackfill_WaitsForTheLease: a command that finds the session of one that was killed waits until its lease is over, and says so; unless it is not to.
func TestBackfill_WaitsForTheLease(t *testing.T) {
	fullOnly(t) // the rules are tested beside them, in milliseconds
	w := newBackfilling(t, setup{partitions: 1})
	w.backfill(w.new, nil, "plan", "--scope", "all")
	w.startWith("backfill-step/shadow-made:1", "backfill", "run", w.new, "--lease", "25s").died("backfill-step/shadow-made")
	p := w.startWith("", "backfill", "cancel", w.new, "--no-wait")
	if code := p.exit(patience); code != 2 || !strings.Contains(p.log.String(), "is at it") {
		t.Fatalf("it ends with %d: %s", code, p.log)
	}
	p = w.startWith("", "backfill", "cancel", w.new)
	if code := p.exit(patience); code != 0 || !strings.Contains(p.log.String(), "is at this backfill: waiting until") {
		t.Fatalf("it ends with %d: %s", code, p.log)
	}
	w.exact(noneOfIt)
}
