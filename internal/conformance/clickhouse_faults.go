package conformance

import "testing"

// ClickHouseFaults is what a model can be told to do besides, and a real server only by force from
// outside (strace, deleted files, a patched build). Model-only cases ask for it.
type ClickHouseFaults interface {
	ClickHouse
	// InsertAt is Insert at a given time, ms.
	InsertAt(in Insert, now int64) Answer
	// KillDuring kills the server after so many slices of the insert were committed.
	KillDuring(in Insert, slices int)
	// Cleanup runs the cleanup thread of a Replicated table.
	Cleanup(table string)
	// AttachAndDie and ReplaceAndDie kill the server after so many parts.
	AttachAndDie(dst, src string, p, parts int)
	ReplaceAndDie(dst, src string, p, parts int)
}

const (
	byReplicated = "ReplicatedMergeTree is read-only on the server under test; the outcome was recorded on a patched build"
)

func faulty(c ClickHouse) ClickHouseFaults { return c.(ClickHouseFaults) }

// faultCases are the swallowed, partial and lost landings of section 1, sections 5 and 6.
var faultCases = []Case[ClickHouse]{
	{Name: "crash/partial_landing_is_completed", Where: ModelOnly, Reason: "random kill -9 runs belong to the end-to-end tests", Fact: "a kill between slices leaves some; the repetition completes the rest", Run: func(t *testing.T, c ClickHouse) {
		tab := table(c, "t", 100)
		in := one(tab, "T", rows(1, 1), rows(2, 2), rows(3, 3))
		for n := range 4 {
			tab, in := tab, in
			if n > 0 {
				tab = table(c, string(rune('a'+n)), 100)
				in.Table = tab
			}
			faulty(c).KillDuring(in, n)
			holds(t, c, tab, in.Blocks[0][:n])
			if a := c.Insert(in); !a.OK || (a.Duplicated > 0) != (n > 0) {
				t.Fatalf("repetition after %d slices: %+v", n, a)
			}
			holds(t, c, tab, in.Blocks...)
		}
	}},
	{Name: "crash/view_missed_is_healed", Kills: true, Fact: "a kill -9 between source and view leaves the view empty; the repetition fills it", Run: func(t *testing.T, c ClickHouse) {
		missesView(t, c, ServerKilled)
		holds(t, c, "v")
		dropped(t, c, one("t", "T", rows(1, 1)))
		holds(t, c, "t", rows(1, 1))
		holds(t, c, "v", rows(1, 1))
	}},
	{Name: "view/zombie_goes_on", Fact: "a client killed while a view runs: the server goes on and fills the view", Run: func(t *testing.T, c ClickHouse) {
		missesView(t, c, ClientKilled)
		holds(t, c, "v", rows(1, 1))
	}},
	{Name: "view/kill_query", Fact: "KILL QUERY while a view runs leaves the source filled and the view empty; the repetition heals it", Run: func(t *testing.T, c ClickHouse) {
		missesView(t, c, QueryKilled)
		holds(t, c, "v")
		dropped(t, c, one("t", "T", rows(1, 1)))
		holds(t, c, "t", rows(1, 1))
		holds(t, c, "v", rows(1, 1))
	}},
	{Name: "swallow/failed_rename", Fact: "MergeTree, the rename of one part fails: an error, later slices do not happen, and the repetition is acknowledged and loses those rows; the next token of the chain lands them", Run: func(t *testing.T, c ClickHouse) {
		tab := table(c, "t", 100)
		c.BreakRename(tab, 2)
		in := one(tab, "T", rows(1, 1), rows(2, 2), rows(3, 3))
		if a := c.Insert(in); a.OK || a.Duplicated != 0 {
			t.Fatalf("%+v, want an error", a)
		}
		holds(t, c, tab, rows(1, 1))
		dropped(t, c, in)
		holds(t, c, tab, rows(1, 1), rows(3, 3))
		land(t, c, one(tab, "T1", rows(2, 2)))
		holds(t, c, tab, in.Blocks...)
	}},
	{Name: "swallow/outlives_drop_partition", Fact: "ids are forgotten with their parts: dropping the table partition, or truncating, does not free a swallowed token", Run: func(t *testing.T, c ClickHouse) {
		tab := table(c, "t", 100)
		c.BreakRename(tab, 1)
		if a := c.Insert(one(tab, "T", rows(1, 1))); a.OK {
			t.Fatalf("%+v, want an error", a)
		}
		land(t, c, one(tab, "U", rows(1, 2)))
		c.DropPartition(tab, 1)
		dropped(t, c, one(tab, "T", rows(1, 1)))
		land(t, c, one(tab, "U", rows(1, 2)))
		c.Truncate(tab)
		dropped(t, c, one(tab, "T", rows(1, 1)))
		land(t, c, one(tab, "U", rows(1, 2)))
		holds(t, c, tab, rows(1, 2))
	}},
	{Name: "swallow/last_slice_after_the_view", Fact: "a block's last slice is committed when its input ends, while views work: if its rename fails, a view has the other slices", Run: func(t *testing.T, c ClickHouse) {
		withView(c, 100)
		c.BreakRename("t", 3)
		in := one("t", "T", rows(1, 1), rows(2, 2), rows(3, 3))
		if a := c.Insert(in); a.OK {
			t.Fatalf("%+v, want an error", a)
		}
		holds(t, c, "t", rows(1, 1), rows(2, 2))
		holds(t, c, "v", rows(1, 1), rows(2, 2))
		dropped(t, c, in)
		holds(t, c, "t", rows(1, 1), rows(2, 2))
		holds(t, c, "v", in.Blocks...)
	}},
	{Name: "swallow/in_a_view", Fact: "the same in a view's target: the source is whole, the view lacks the rows, and no repetition heals it", Run: func(t *testing.T, c ClickHouse) {
		withView(c, 100)
		c.BreakRename("v", 1)
		if a := c.Insert(one("t", "T", rows(1, 1))); a.OK {
			t.Fatalf("%+v, want an error", a)
		}
		holds(t, c, "t", rows(1, 1))
		dropped(t, c, one("t", "T", rows(1, 1)))
		holds(t, c, "v")
	}},
	{Name: "loss/part_gone_id_kept", Fact: "an acknowledged part lost with its id kept: the repetition is acknowledged and dropped", Run: func(t *testing.T, c ClickHouse) {
		tab := table(c, "t", 100)
		land(t, c, one(tab, "T", rows(1, 1), rows(2, 2)))
		c.LosePart(tab, 1)
		holds(t, c, tab, rows(2, 2))
		dropped(t, c, one(tab, "T", rows(1, 1), rows(2, 2)))
		holds(t, c, tab, rows(2, 2))
	}},
	{Name: "loss/id_gone_part_kept", Fact: "the last line of the token log lost: the repetition doubles", Run: func(t *testing.T, c ClickHouse) {
		tab := table(c, "t", 100)
		land(t, c, one(tab, "S", rows(1, 0)))
		land(t, c, one(tab, "T", rows(1, 1)))
		c.LoseLastID(tab)
		land(t, c, one(tab, "T", rows(1, 1)))
		dropped(t, c, one(tab, "S", rows(1, 0)))
		holds(t, c, tab, rows(1, 0, 1, 1))
	}},
	{Name: "replicated/like_mergetree", Where: ModelOnly, Reason: byReplicated, Fact: "section 1 holds on Replicated, with 1 deduplicated block per slice", Run: func(t *testing.T, c ClickHouse) {
		replicated(c, 100, 3600)
		land(t, c, one("t", "T", rows(1, 1), rows(2, 2)))
		if a := dropped(t, c, one("t", "T", rows(1, 7), rows(2, 8), rows(3, 3))); a.Duplicated != 2 {
			t.Errorf("deduplicated blocks: %d, want 2", a.Duplicated)
		}
		holds(t, c, "t", rows(1, 1), rows(2, 2), rows(3, 3))
		c.DropPartition("t", 1)
		dropped(t, c, one("t", "T", rows(1, 1), rows(2, 2)))
		holds(t, c, "t", rows(1, 1), rows(2, 2), rows(3, 3))
	}},
	{Name: "replicated/window_is_soft", Where: ModelOnly, Reason: byReplicated, Fact: "ids past the window stay until the cleanup thread runs", Run: func(t *testing.T, c ClickHouse) {
		replicated(c, 3, 3600)
		for o := range int64(8) {
			land(t, c, one("t", string(rune('a'+o)), rows(1, o)))
		}
		dropped(t, c, one("t", "a", rows(1, 0)))
		faulty(c).Cleanup("t")
		dropped(t, c, one("t", "h", rows(1, 7)))
		land(t, c, one("t", "a", rows(1, 0)))
		holds(t, c, "t", rows(1, 0), span(1, 0, 8))
	}},
	{Name: "replicated/age_counts_from_the_newest", Where: ModelOnly, Reason: byReplicated, Fact: "a lone id never expires; age is measured against the newest id", Run: func(t *testing.T, c ClickHouse) {
		replicated(c, 100, 2)
		f := faulty(c)
		f.InsertAt(one("t", "a", rows(1, 1)), 0)
		f.Cleanup("t")
		if a := f.InsertAt(one("t", "a", rows(1, 1)), 1_000_000); a.Duplicated == 0 {
			t.Fatalf("a lone id expired: %+v", a)
		}
		f.InsertAt(one("t", "b", rows(1, 2)), 1_000_000)
		f.Cleanup("t")
		f.InsertAt(one("t", "a", rows(1, 1)), 1_000_001)
		holds(t, c, "t", rows(1, 1, 1, 2))
	}},
	{Name: "replicated/repeated_attach_is_dropped", Where: ModelOnly, Reason: byReplicated, Fact: "ATTACH PARTITION FROM repeated is dropped on Replicated; REPLACE drops the ids of what it replaced", Run: func(t *testing.T, c ClickHouse) {
		replicated(c, 100, 3600)
		table(c, "src", 100)
		land(t, c, one("src", "S", rows(1, 5)))
		c.AttachPartitionFrom("t", "src", 1)
		c.AttachPartitionFrom("t", "src", 1)
		holds(t, c, "t", rows(1, 5))
		land(t, c, one("t", "T", rows(1, 6)))
		c.ReplacePartition("t", "src", 1)
		land(t, c, one("t", "T", rows(1, 6)))
		holds(t, c, "t", rows(1, 5, 6))
	}},
	{Name: "attach/not_crash_atomic", Where: ModelOnly, Reason: "SIGKILL in the middle of 300 parts; recorded in the facts", Fact: "a kill leaves some parts attached; a rerun doubles those", Run: func(t *testing.T, c ClickHouse) {
		table(c, "a", 100)
		table(c, "b", 100)
		for o := range int64(3) {
			land(t, c, one("a", string(rune('a'+o)), rows(1, o)))
		}
		faulty(c).AttachAndDie("b", "a", 1, 1)
		holds(t, c, "b", rows(1, 0))
		c.AttachPartitionFrom("b", "a", 1)
		holds(t, c, "b", rows(1, 0, 0, 1, 2))
	}},
	{Name: "replace/not_crash_atomic", Where: ModelOnly, Reason: "SIGKILL in the middle of 150 parts; recorded in the facts", Fact: "a kill leaves new and old rows; a rerun converges", Run: func(t *testing.T, c ClickHouse) {
		table(c, "a", 100)
		table(c, "b", 100)
		land(t, c, one("a", "T", rows(1, 1)))
		land(t, c, one("b", "U", rows(1, 8)))
		faulty(c).ReplaceAndDie("b", "a", 1, 1)
		holds(t, c, "b", rows(1, 1, 8))
		c.ReplacePartition("b", "a", 1)
		holds(t, c, "b", rows(1, 1))
	}},
	{Name: "replicated/replica_lag_and_quorum", Where: NotProvedHere, Reason: "one replica is all that the server under test can have; the model has PresentLagged", Fact: "a read from a replica that lags says absent of what landed"},
	{Name: "replicated/keeper_reply_lost", Where: NotProvedHere, Reason: byReplicated, Fact: "a Keeper commit whose reply was lost is resolved by the server itself: one copy"},
	{Name: "durability/no_fsync", Where: NotProvedHere, Reason: "needs strace and a real power loss", Fact: "nothing is fsynced by default, and the token log never"},
	{Name: "transactions/tokens_outlive_rollback", Where: NotProvedHere, Reason: "Waybill pins implicit_transaction=0", Fact: "a rolled back insert leaves its token: the repetition lands nothing"},
}

func replicated(c ClickHouse, window, seconds int) {
	c.CreateTable("t", TableOptions{Replicated: true, Window: window, WindowSeconds: seconds})
}

// missesView interrupts an insert of one row between t and its view v.
func missesView(t *testing.T, c ClickHouse, how Interrupt) {
	t.Helper()
	withView(c, 100)
	c.InterruptInView(one("t", "T", rows(1, 1)), "v", how)
	holds(t, c, "t", rows(1, 1))
}
