package conformance

import (
	"strconv"
	"testing"
)

// tokenCases are section 1 of the facts: tokens and their window on plain MergeTree.
var tokenCases = []Case[ClickHouse]{
	{Name: "token/window_zero_does_nothing", Fact: "with the window at 0, its default, a token protects nothing", Run: func(t *testing.T, c ClickHouse) {
		tab := table(c, "t", 0)
		land(t, c, one(tab, "T", rows(1, 1)))
		land(t, c, one(tab, "T", rows(1, 1)))
		holds(t, c, tab, rows(1, 1, 1))
	}},
	{Name: "token/repetition_is_dropped", Fact: "same token, same rows: acknowledged and dropped; a MergeTree counts 2 deduplicated blocks per slice", Run: func(t *testing.T, c ClickHouse) {
		tab := table(c, "t", 100)
		land(t, c, one(tab, "T", rows(1, 1, 2), rows(2, 3)))
		if a := dropped(t, c, one(tab, "T", rows(1, 1, 2), rows(2, 3))); a.Duplicated != 4 {
			t.Errorf("deduplicated blocks: %d, want 4 for two slices", a.Duplicated)
		}
		holds(t, c, tab, rows(1, 1, 2), rows(2, 3))
	}},
	{Name: "token/other_rows_are_lost", Fact: "same token, other rows, same table partition: acknowledged and lost", Run: func(t *testing.T, c ClickHouse) {
		tab := table(c, "t", 100)
		land(t, c, one(tab, "T", rows(1, 1, 2)))
		dropped(t, c, one(tab, "T", rows(1, 8, 9)))
		holds(t, c, tab, rows(1, 1, 2))
	}},
	{Name: "token/other_table_partition_lands", Fact: "ids are kept per table partition: the same token lands in another one", Run: func(t *testing.T, c ClickHouse) {
		tab := table(c, "t", 100)
		land(t, c, one(tab, "T", rows(1, 1)))
		land(t, c, one(tab, "T", rows(2, 2)))
		holds(t, c, tab, rows(1, 1), rows(2, 2))
	}},
	{Name: "token/partial_block_is_completed", Fact: "of a block over partitions 1, 2, 3 where 1 and 2 know the token only the slice for 3 lands", Run: func(t *testing.T, c ClickHouse) {
		tab := table(c, "t", 100)
		land(t, c, one(tab, "T", rows(1, 1), rows(2, 2)))
		dropped(t, c, one(tab, "T", rows(1, 1), rows(2, 2), rows(3, 3)))
		holds(t, c, tab, rows(1, 1), rows(2, 2), rows(3, 3))
	}},
	{Name: "token/apart_from_content", Fact: "an insert with a token and the same rows without one do not know each other", Run: func(t *testing.T, c ClickHouse) {
		tab := table(c, "t", 100)
		land(t, c, one(tab, "T", rows(1, 1)))
		land(t, c, one(tab, "", rows(1, 1)))
		holds(t, c, tab, rows(1, 1, 1))
		land(t, c, one(tab, "", rows(1, 2)))
		land(t, c, one(tab, "U", rows(1, 2)))
		holds(t, c, tab, rows(1, 1, 1, 2, 2))
	}},
	{Name: "content/repetition_is_dropped", Fact: "without a token the id is a hash of the block", Run: func(t *testing.T, c ClickHouse) {
		tab := table(c, "t", 100)
		land(t, c, one(tab, "", rows(1, 1, 2)))
		dropped(t, c, one(tab, "", rows(1, 1, 2)))
		land(t, c, one(tab, "", rows(1, 1, 3)))
		holds(t, c, tab, rows(1, 1, 2, 1, 3))
	}},
	{Name: "content/whole_block_counts", Fact: "without a token {p1, p2} followed by {p1} alone is not deduplicated", Run: func(t *testing.T, c ClickHouse) {
		tab := table(c, "t", 100)
		land(t, c, one(tab, "", rows(1, 1), rows(2, 2)))
		land(t, c, one(tab, "", rows(1, 1)))
		holds(t, c, tab, rows(1, 1, 1), rows(2, 2))
	}},
	{Name: "dedup/disabled_insert_leaves_no_id", Fact: "deduplicate_insert=disable lands again and leaves no id behind", Run: func(t *testing.T, c ClickHouse) {
		tab := table(c, "t", 100)
		land(t, c, Insert{Table: tab, Token: "T", Blocks: [][]Row{rows(1, 1)}, NoDedup: true})
		land(t, c, one(tab, "T", rows(1, 1)))
		land(t, c, Insert{Table: tab, Token: "T", Blocks: [][]Row{rows(1, 1)}, NoDedup: true})
		holds(t, c, tab, rows(1, 1, 1, 1))
	}},
	{Name: "window/is_exact", Fact: "window 5: after 4 other tokens the repetition is dropped, after a fifth it lands", Run: func(t *testing.T, c ClickHouse) {
		tab := table(c, "t", 5)
		land(t, c, one(tab, "T", rows(1, 0)))
		for o := int64(1); o <= 4; o++ {
			land(t, c, one(tab, string(rune('a'+o)), rows(1, o)))
		}
		dropped(t, c, one(tab, "T", rows(1, 0)))
		land(t, c, one(tab, "z", rows(1, 5)))
		land(t, c, one(tab, "T", rows(1, 0)))
		holds(t, c, tab, rows(1, 0, 0, 1, 2, 3, 4, 5))
	}},
	{Name: "window/counts_slices_per_table", Fact: "each slice takes an entry, whatever its table partition", Run: func(t *testing.T, c ClickHouse) {
		tab := table(c, "t", 3)
		land(t, c, one(tab, "T", rows(1, 0)))
		land(t, c, one(tab, "U", rows(2, 1), rows(3, 2), rows(4, 3)))
		land(t, c, one(tab, "T", rows(1, 0)))
		holds(t, c, tab, rows(1, 0, 0), rows(2, 1), rows(3, 2), rows(4, 3))
	}},
	{Name: "window/insert_evicts_its_own_ids", Fact: "window 5, one insert into 8 partitions, at once repeated: all 8 land again", Run: func(t *testing.T, c ClickHouse) {
		tab := table(c, "t", 5)
		var block []Row
		for p := range 8 {
			block = append(block, rows(p, int64(p))...)
		}
		land(t, c, one(tab, "T", block))
		land(t, c, one(tab, "T", block))
		holds(t, c, tab, block, block)
	}},
	{Name: "window/hit_does_not_renew", Fact: "a deduplicated repetition does not make an id younger", Run: func(t *testing.T, c ClickHouse) {
		tab := table(c, "t", 2)
		land(t, c, one(tab, "T", rows(1, 0)))
		land(t, c, one(tab, "a", rows(1, 1)))
		dropped(t, c, one(tab, "T", rows(1, 0)))
		land(t, c, one(tab, "b", rows(1, 2)))
		land(t, c, one(tab, "T", rows(1, 0)))
		holds(t, c, tab, rows(1, 0, 0, 1, 2))
	}},
	{Name: "window/enabled_later_knows_nothing", Fact: "inserts made before the window was enabled are unknown to it", Run: func(t *testing.T, c ClickHouse) {
		tab := table(c, "t", 0)
		land(t, c, one(tab, "T", rows(1, 1)))
		c.SetWindow(tab, 100)
		land(t, c, one(tab, "T", rows(1, 1)))
		dropped(t, c, one(tab, "T", rows(1, 1)))
		holds(t, c, tab, rows(1, 1, 1))
	}},
	{Name: "ids/survive_merge_and_delete", Fact: "after a merge, a lightweight DELETE and an ALTER DELETE repetitions are still dropped, deleted rows included", Run: func(t *testing.T, c ClickHouse) {
		tab := table(c, "t", 100)
		land(t, c, one(tab, "T", rows(1, 1, 2)))
		land(t, c, one(tab, "U", rows(1, 3, 4)))
		c.Merge(tab)
		dropped(t, c, one(tab, "T", rows(1, 1, 2)))
		c.DeleteOffsets(tab, true, 1)
		c.DeleteOffsets(tab, false, 3, 4)
		dropped(t, c, one(tab, "T", rows(1, 1, 2)))
		dropped(t, c, one(tab, "U", rows(1, 3, 4)))
		holds(t, c, tab, rows(1, 2))
	}},
	{Name: "ids/forgotten_by_drop_partition", Fact: "DROP PARTITION forgets the ids of that partition and of no other", Run: func(t *testing.T, c ClickHouse) {
		forgets(t, c, func() { c.DropPartition("t", 1) }, rows(2, 2))
	}},
	{Name: "ids/forgotten_by_detach_partition", Fact: "DETACH PARTITION forgets the ids of that partition and of no other", Run: func(t *testing.T, c ClickHouse) {
		forgets(t, c, func() { c.DetachPartition("t", 1) }, rows(2, 2))
	}},
	{Name: "ids/forgotten_by_truncate", Fact: "TRUNCATE forgets every id", Run: func(t *testing.T, c ClickHouse) {
		tab := table(c, "t", 100)
		block := append(rows(1, 1), rows(2, 2)...)
		land(t, c, one(tab, "T", block))
		c.Truncate(tab)
		land(t, c, one(tab, "T", block))
		holds(t, c, tab, block)
	}},
	{Name: "ids/survive_reattach_and_alter", Fact: "ids survive DETACH/ATTACH of the table, another window and ADD COLUMN", Run: func(t *testing.T, c ClickHouse) {
		tab := table(c, "t", 100)
		land(t, c, one(tab, "T", rows(1, 1)))
		c.Reattach(tab)
		dropped(t, c, one(tab, "T", rows(1, 1)))
		c.SetWindow(tab, 50)
		c.AddColumn(tab)
		dropped(t, c, one(tab, "T", rows(1, 1)))
		holds(t, c, tab, rows(1, 1))
	}},
	{Name: "race/one_copy", Fact: "clients racing with one token over several partitions: all are acknowledged, one copy lands", Run: func(t *testing.T, c ClickHouse) {
		tab := table(c, "t", 100)
		block := append(append(rows(1, 1), rows(2, 2)...), append(rows(3, 3), rows(4, 4)...)...)
		var ins []Insert
		for range 6 {
			ins = append(ins, one(tab, "T", block))
		}
		for i, a := range c.InsertAtOnce(ins...) {
			if !a.OK {
				t.Errorf("client %d: %+v", i, a)
			}
		}
		holds(t, c, tab, block)
	}},
	{Name: "race/acknowledged_is_visible", Fact: "who is told that its block was deduplicated can read the rows at once: token and part appear together", Run: func(t *testing.T, c ClickHouse) {
		tab := table(c, "t", 1000)
		for round := range int64(30) {
			block := append(rows(1, 2*round), rows(2, 2*round+1)...)
			for i, a := range c.InsertAtOnce(one(tab, token(round), block), one(tab, token(round), block), one(tab, token(round), block)) {
				if want := int(2*round) + 2; !a.OK || len(a.Rows) != want {
					t.Fatalf("round %d, client %d: %+v and then %d rows, want %d", round, i, a.Answer, len(a.Rows), want)
				}
			}
		}
	}},
	{Name: "chain/subsets_by_many_workers", Fact: "a subset under T0, the rest swallowed by T0 and landed by T1, then a late full block under T0 and the rest again under T1: each row once", Run: func(t *testing.T, c ClickHouse) {
		tab := table(c, "t", 100)
		land(t, c, one(tab, "T0", rows(1, 0, 1), rows(2, 2, 3)))
		rest := append(rows(1, 4, 5), append(rows(2, 6), rows(3, 7, 8, 9)...)...)
		dropped(t, c, one(tab, "T0", rest)) // 7, 8, 9 land: their partition did not know T0
		holds(t, c, tab, rows(1, 0, 1), rows(2, 2, 3), rows(3, 7, 8, 9))
		land(t, c, one(tab, "T1", rows(1, 4, 5), rows(2, 6)))
		dropped(t, c, one(tab, "T0", rows(1, 0, 1, 4, 5), rows(2, 2, 3, 6), rows(3, 7, 8, 9)))
		dropped(t, c, one(tab, "T1", rows(1, 4, 5), rows(2, 6)))
		holds(t, c, tab, rows(1, 0, 1, 4, 5), rows(2, 2, 3, 6), rows(3, 7, 8, 9))
	}},
	{Name: "answer/written_rows_prove_nothing", Where: NotProvedHere, Reason: "tried by hand; Waybill never looks at written_rows", Fact: "written_rows, progress and X-ClickHouse-Summary report the full count for dropped blocks too"},
	{Name: "answer/part_log_389", Where: NotProvedHere, Reason: "needs part_log; Waybill does not read it", Fact: "dropped parts are in part_log with error 389"},
	{Name: "window/big_windows_are_cheap", Where: NotProvedHere, Reason: "a measurement", Fact: "a window of 1,000,000 costs 1.7 s at start and 66 MB of log"},
}

func token(n int64) string { return "T" + strconv.FormatInt(n, 10) }

// forgets lands T in partitions 1 and 2, lets op remove partition 1, and expects a repetition to land
// there alone.
func forgets(t *testing.T, c ClickHouse, op func(), kept []Row) {
	t.Helper()
	tab := table(c, "t", 100)
	block := append(rows(1, 1), rows(2, 2)...)
	land(t, c, one(tab, "T", block))
	op()
	holds(t, c, tab, kept)
	dropped(t, c, one(tab, "T", block))
	holds(t, c, tab, block)
}
