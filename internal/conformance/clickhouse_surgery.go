package conformance

import "testing"

// surgeryCases are section 8 of the facts: moving parts and names.
var surgeryCases = []Case[ClickHouse]{
	{Name: "exchange/ids_stay_with_the_table", Fact: "EXCHANGE swaps rows and ids with the names: a repetition by name lands in the other table", Run: func(t *testing.T, c ClickHouse) {
		table(c, "a", 100)
		table(c, "b", 100)
		land(t, c, one("a", "T", rows(1, 1)))
		c.Exchange("a", "b")
		holds(t, c, "a")
		holds(t, c, "b", rows(1, 1))
		dropped(t, c, one("b", "T", rows(1, 1)))
		land(t, c, one("a", "T", rows(1, 1)))
		holds(t, c, "a", rows(1, 1))
	}},
	{Name: "exchange/views_go_by_name", Fact: "a view reads from and writes to whatever table has the name now", Run: func(t *testing.T, c ClickHouse) {
		withView(c, 100)
		table(c, "shadow", 100)
		table(c, "view_shadow", 100)
		c.Exchange("t", "shadow")
		land(t, c, one("t", "T", rows(1, 1)))
		land(t, c, one("shadow", "U", rows(1, 2)))
		holds(t, c, "v", rows(1, 1))
		c.Exchange("v", "view_shadow")
		land(t, c, one("t", "W", rows(1, 3)))
		holds(t, c, "v", rows(1, 3))
		holds(t, c, "view_shadow", rows(1, 1))
	}},
	{Name: "fence/goes_with_the_table", Fact: "a constraint on the epoch keeps older rows out of a physical table, whatever name it has; rows that are there already, and those that are attached, do not count", Run: func(t *testing.T, c ClickHouse) {
		table(c, "a", 100)
		table(c, "b", 100)
		land(t, c, one("a", "T", rows(1, 2)))
		land(t, c, one("b", "T", rows(1, 1)))
		c.Fence("b", 5)
		refused(t, c, one("b", "U", rows(1, 3)), 469)
		land(t, c, one("b", "U", rows(1, 5)))
		c.Exchange("a", "b")
		refused(t, c, one("a", "V", rows(1, 4)), 469)
		land(t, c, one("b", "V", rows(1, 4)))
		c.AttachPartitionFrom("a", "b", 1)
		holds(t, c, "a", rows(1, 1, 2, 4, 5))
		holds(t, c, "b", rows(1, 2, 4))
	}},
	{Name: "fence/refuses_the_block", Fact: "of a block with a row of an older epoch nothing lands in any table partition, and its token stays unused", Run: func(t *testing.T, c ClickHouse) {
		table(c, "t", 100)
		c.Fence("t", 5)
		refused(t, c, one("t", "T", rows(1, 7), rows(2, 3)), 469)
		holds(t, c, "t")
		land(t, c, one("t", "T", rows(1, 7), rows(2, 8)))
		holds(t, c, "t", rows(1, 7), rows(2, 8))
	}},
	{Name: "attach/ids_do_not_come_along", Fact: "ATTACH PARTITION FROM copies rows and no ids: a repetition lands again in the target", Run: func(t *testing.T, c ClickHouse) {
		table(c, "a", 100)
		table(c, "b", 100)
		land(t, c, one("a", "T", rows(1, 1), rows(2, 2)))
		c.AttachPartitionFrom("b", "a", 1)
		holds(t, c, "a", rows(1, 1), rows(2, 2))
		holds(t, c, "b", rows(1, 1))
		land(t, c, one("b", "T", rows(1, 1)))
		holds(t, c, "b", rows(1, 1, 1))
		dropped(t, c, one("a", "T", rows(1, 1)))
	}},
	{Name: "attach/repeated_doubles", Fact: "ATTACH PARTITION FROM repeated doubles on MergeTree", Run: func(t *testing.T, c ClickHouse) {
		table(c, "a", 100)
		table(c, "b", 100)
		land(t, c, one("a", "T", rows(1, 1)))
		c.AttachPartitionFrom("b", "a", 1)
		c.AttachPartitionFrom("b", "a", 1)
		holds(t, c, "b", rows(1, 1, 1))
	}},
	{Name: "replace/wipes_what_was_there", Fact: "REPLACE PARTITION wipes the partition's other rows; a rerun converges", Run: func(t *testing.T, c ClickHouse) {
		table(c, "a", 100)
		table(c, "b", 100)
		land(t, c, one("a", "T", rows(1, 1)))
		land(t, c, one("b", "U", rows(1, 8), rows(2, 9)))
		for range 2 {
			c.ReplacePartition("b", "a", 1)
			holds(t, c, "b", rows(1, 1), rows(2, 9))
		}
		holds(t, c, "a", rows(1, 1))
	}},
	{Name: "replace/keeps_ids", Fact: "on MergeTree the ids of replaced parts stay: what was wiped cannot be inserted again under its token", Run: func(t *testing.T, c ClickHouse) {
		table(c, "a", 100)
		table(c, "b", 100)
		land(t, c, one("a", "T", rows(1, 1)))
		land(t, c, one("b", "U", rows(1, 8)))
		c.ReplacePartition("b", "a", 1)
		dropped(t, c, one("b", "U", rows(1, 8)))
		holds(t, c, "b", rows(1, 1))
	}},
	{Name: "move/quiet_source_is_exact", Fact: "MOVE PARTITION of a source nobody writes to moves every row; the source's ids survive on MergeTree", Run: func(t *testing.T, c ClickHouse) {
		table(c, "a", 100)
		table(c, "b", 100)
		land(t, c, one("a", "T", rows(1, 1), rows(2, 2)))
		c.MovePartition("a", "b", 1)
		holds(t, c, "a", rows(2, 2))
		holds(t, c, "b", rows(1, 1))
		dropped(t, c, one("a", "T", rows(1, 1)))
		holds(t, c, "a", rows(2, 2))
	}},
	{Name: "exchange/against_writers", Where: NotProvedHere, Reason: "a race; tried by hand, 1 to 2 % of inserts fail with 741", Fact: "an insert that meets EXCHANGE fails cleanly with 741 or finishes in the old physical table"},
	{Name: "move/against_writers", Where: NotProvedHere, Reason: "a race on Replicated tables; tried by hand, rows were lost in 5 of 5 runs", Fact: "MOVE PARTITION with writers loses rows on Replicated: never used"},
	{Name: "surgery/structure_checks", Where: NotProvedHere, Reason: "tested with the backfill, which compares both tables first", Fact: "columns, keys and projections must match for ATTACH and REPLACE"},
	{Name: "delete/refused_with_projections", Where: NotProvedHere, Reason: "tested with preflight", Fact: "lightweight DELETE is refused on tables with projections unless lightweight_mutation_projection_mode allows it"},
}
