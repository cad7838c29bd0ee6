package conformance

import (
	"slices"
	"testing"
)

// ClickHouse error codes that cases expect.
const (
	codeTooManyPartitions = 252
	codeThrowIf           = 395
	codeConstraint        = 469
)

// blockCases are section 2 of the facts, as far as a native sink meets it, and the server-side deadline.
var blockCases = []Case[ClickHouse]{
	{Name: "block/one_part_per_partition", Fact: "one native block becomes one part per table partition and its repetition is exact", Run: func(t *testing.T, c ClickHouse) {
		tab := table(c, "t", 100)
		block := slices.Concat(span(1, 0, 20_000), span(2, 20_000, 40_000), span(3, 40_000, 60_000))
		land(t, c, one(tab, "T", block))
		wantParts(t, c, tab, 3)
		dropped(t, c, one(tab, "T", block))
		wantParts(t, c, tab, 3)
	}},
	{Name: "block/loose_limits_do_not_split", Fact: "max_insert_block_size has no effect on one native block", Run: func(t *testing.T, c ClickHouse) {
		tab := table(c, "t", 100)
		land(t, c, Insert{Table: tab, Token: "T", Blocks: [][]Row{span(1, 0, 1000)}, LooseRows: 10})
		wantParts(t, c, tab, 1)
	}},
	{Name: "block/strict_limits_split", Fact: "use_strict_insert_block_limits splits a block; the repetition with the same settings is exact", Run: func(t *testing.T, c ClickHouse) {
		tab := table(c, "t", 1000)
		in := Insert{Table: tab, Token: "T", Blocks: [][]Row{span(1, 0, 1000)}, StrictRows: 100}
		land(t, c, in)
		holds(t, c, tab, span(1, 0, 1000))
		dropped(t, c, in)
		holds(t, c, tab, span(1, 0, 1000))
	}},
	{Name: "block/native_blocks_are_squashed", Fact: "several native blocks of one INSERT become one part", Run: func(t *testing.T, c ClickHouse) {
		tab := table(c, "t", 100)
		land(t, c, Insert{Table: tab, Token: "T", Blocks: [][]Row{rows(1, 0, 1), rows(1, 2, 3), rows(1, 4, 5)}})
		wantParts(t, c, tab, 1)
		holds(t, c, tab, span(1, 0, 6))
	}},
	{Name: "block/separate_blocks_have_numbers", Fact: "blocks kept apart are numbered under the token: three parts, and an exact repetition", Run: func(t *testing.T, c ClickHouse) {
		tab := table(c, "t", 100)
		in := Insert{Table: tab, Token: "T", Blocks: [][]Row{rows(1, 0, 1), rows(1, 2, 3), rows(1, 4, 5)}, Separate: true}
		land(t, c, in)
		wantParts(t, c, tab, 3)
		dropped(t, c, in)
		holds(t, c, tab, span(1, 0, 6))
	}},
	{Name: "block/partly_landed_then_whole_is_lost", Fact: "blocks kept apart of which some landed, repeated as one block: dropped, the rest is lost", Run: func(t *testing.T, c ClickHouse) {
		tab := table(c, "t", 100)
		in := Insert{Table: tab, Token: "T", Blocks: [][]Row{rows(1, 0, 1), rows(1, 2, 3), rows(1, 4, 5), rows(1, 6, 7)}, Separate: true}
		c.InsertAndDie(in, 3)
		landed := len(c.Rows(tab))
		if landed == 0 || landed >= 8 {
			t.Fatalf("%d rows landed, want some and not all", landed)
		}
		dropped(t, c, one(tab, "T", in.Blocks...))
		holds(t, c, tab, span(1, 0, int64(landed)))
		dropped(t, c, in)
		holds(t, c, tab, span(1, 0, 8))
	}},
	{Name: "block/client_death_before_the_end_lands_nothing", Fact: "a client that dies before the end of a one-block INSERT leaves nothing and no id", Run: func(t *testing.T, c ClickHouse) {
		tab := table(c, "t", 100)
		in := one(tab, "T", rows(1, 0, 1))
		c.InsertAndDie(in, 1)
		holds(t, c, tab)
		land(t, c, in)
		holds(t, c, tab, rows(1, 0, 1))
	}},
	{Name: "block/too_many_partitions_refused_before_writing", Fact: "max_partitions_per_insert_block refuses with nothing written and no token used", Run: func(t *testing.T, c ClickHouse) {
		tab := table(c, "t", 100)
		in := one(tab, "T", rows(1, 1), rows(2, 2), rows(3, 3))
		in.MaxPartitions = 2
		refused(t, c, in, codeTooManyPartitions)
		holds(t, c, tab)
		in.MaxPartitions = 0
		land(t, c, in)
		holds(t, c, tab, in.Blocks...)
	}},
	{Name: "poison/constraint_refuses_before_writing", Fact: "a row that violates a constraint refuses the whole block, all table partitions, with no token used", Run: func(t *testing.T, c ClickHouse) {
		c.CreateTable("t", TableOptions{Window: 100, Constraint: true})
		bad := []Row{{Offset: 3, TablePartition: 2, Content: 3, Poison: true}}
		refused(t, c, one("t", "T", rows(1, 1), bad), codeConstraint)
		holds(t, c, "t")
		land(t, c, one("t", "T", rows(1, 1)))
		holds(t, c, "t", rows(1, 1))
	}},
	{Name: "deadline/ahead_is_like_none", Fact: "an insert with a deadline ahead makes the same part under the same id as one without", Run: func(t *testing.T, c ClickHouse) {
		tab, view := table(c, "t", 100), table(c, "v", 100)
		c.CreateView(tab, view)
		in := one(tab, "T", rows(1, 1, 2), rows(2, 3))
		in.Deadline = DeadlineAhead
		land(t, c, in)
		wantParts(t, c, tab, 2)
		dropped(t, c, in)
		in.Deadline = NoDeadline
		dropped(t, c, in)
		holds(t, c, tab, in.Blocks...)
		holds(t, c, view, in.Blocks...)
	}},
	{Name: "deadline/passed_writes_nothing", Fact: "past its deadline an insert is refused, with nothing written and no token used, whatever became of the token", Run: func(t *testing.T, c ClickHouse) {
		tab, view := table(c, "t", 100), table(c, "v", 100)
		c.CreateView(tab, view)
		in := one(tab, "T", rows(1, 1, 2), rows(2, 3))
		in.Deadline = DeadlinePassed
		refused(t, c, in, codeThrowIf)
		holds(t, c, tab)
		holds(t, c, view)
		in.Deadline = NoDeadline
		land(t, c, in)
		in.Deadline = DeadlinePassed
		refused(t, c, in, codeThrowIf)
		holds(t, c, tab, in.Blocks...)
		holds(t, c, view, in.Blocks...)
	}},
	{Name: "deadline/checked_when_the_block_is_processed", Fact: "a block that comes after the deadline is refused although its statement came before (nowInBlock64, not now64)", Run: func(t *testing.T, c ClickHouse) {
		tab := table(c, "t", 100)
		in := one(tab, "T", rows(1, 1), rows(2, 2))
		in.Deadline = DeadlinePassesMeanwhile
		refused(t, c, in, codeThrowIf)
		holds(t, c, tab)
	}},
	{Name: "block/http_formats", Where: NotProvedHere, Reason: "Waybill inserts FORMAT Native only, with those limits lifted (TestInsert_MillionsOfRowsAreOnePart)", Fact: "HTTP formats split blocks by their own rules unless four limits are lifted"},
	{Name: "block/chgo_tail_rule", Where: NotProvedHere, Reason: "a property of the client; the suite's own driver depends on it", Fact: "ch-go's OnInput that answers io.EOF without resetting columns sends the last block twice"},
	{Name: "block/column_lists_are_not_checked", Where: NotProvedHere, Reason: "tested with the sink, which compares block, list and table", Fact: "a column missing from the block is filled with zeros, an extra one is ignored"},
	{Name: "async/queue", Where: NotProvedHere, Reason: "the server under test has no async-insert queue", Fact: "async_insert defaults to 1 on 26.7 and must be pinned to 0"},
}

func wantParts(t *testing.T, c ClickHouse, table string, want int) {
	t.Helper()
	if got := c.Parts(table); got != want {
		t.Fatalf("%s has %d parts, want %d", table, got, want)
	}
}
