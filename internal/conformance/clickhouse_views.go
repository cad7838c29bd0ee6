package conformance

import "testing"

// viewCases are section 3 of the facts: materialized views.
var viewCases = []Case[ClickHouse]{
	{Name: "view/repetition_is_exact_everywhere", Fact: "with a window on both tables and deduplication in views a repetition changes neither", Run: func(t *testing.T, c ClickHouse) {
		withView(c, 100)
		block := append(rows(1, 1), rows(2, 2)...)
		land(t, c, one("t", "T", block))
		dropped(t, c, one("t", "T", block))
		holds(t, c, "t", block)
		holds(t, c, "v", block)
	}},
	{Name: "view/same_rows_of_other_tokens_are_kept", Fact: "a view's id derives from the source's, not from its rows: equal rows of two tokens both land", Run: func(t *testing.T, c ClickHouse) {
		withView(c, 100)
		land(t, c, one("t", "T", rows(1, 1)))
		land(t, c, one("t", "U", rows(1, 1)))
		holds(t, c, "v", rows(1, 1, 1))
	}},
	{Name: "view/target_without_window_doubles", Fact: "a view into a table with window 0 doubles at each repetition", Run: func(t *testing.T, c ClickHouse) {
		withView(c, 0)
		land(t, c, one("t", "T", rows(1, 1)))
		c.Insert(one("t", "T", rows(1, 1)))
		holds(t, c, "t", rows(1, 1))
		holds(t, c, "v", rows(1, 1, 1))
	}},
	{Name: "view/without_its_dedup_doubles", Fact: "with deduplicate_blocks_in_dependent_materialized_views=0 views run for dropped blocks too and double", Run: func(t *testing.T, c ClickHouse) {
		withView(c, 100)
		in := one("t", "T", rows(1, 1))
		in.NoViewDedup = true
		land(t, c, in)
		c.Insert(in)
		holds(t, c, "t", rows(1, 1))
		holds(t, c, "v", rows(1, 1, 1))
	}},
	{Name: "view/throwing_refuses_after_landing", Fact: "a view that throws refuses the insert after the source's rows have landed, all table partitions", Run: func(t *testing.T, c ClickHouse) {
		withView(c, 100)
		c.FailView("t", "v", true)
		block := append(rows(1, 1), rows(2, 2)...)
		refused(t, c, one("t", "T", block), codeThrowIf)
		holds(t, c, "t", block)
		holds(t, c, "v")
	}},
	{Name: "view/repaired_and_repeated_converges", Fact: "the same token after the repair fills the view and leaves the source alone; once more changes nothing", Run: func(t *testing.T, c ClickHouse) {
		withView(c, 100)
		c.FailView("t", "v", true)
		block := append(rows(1, 1), rows(2, 2)...)
		refused(t, c, one("t", "T", block), codeThrowIf)
		c.FailView("t", "v", false)
		for range 2 {
			dropped(t, c, one("t", "T", block))
			holds(t, c, "t", block)
			holds(t, c, "v", block)
		}
	}},
	{Name: "view/one_of_two_throws", Fact: "if one view of two throws, the source and the other have the rows and the repetition after the repair fills both once", Run: func(t *testing.T, c ClickHouse) {
		withView(c, 100)
		table(c, "w", 100)
		c.CreateView("t", "w")
		c.FailView("t", "w", true)
		refused(t, c, one("t", "T", rows(1, 1)), codeThrowIf)
		holds(t, c, "t", rows(1, 1))
		holds(t, c, "v", rows(1, 1))
		holds(t, c, "w")
		c.FailView("t", "w", false)
		dropped(t, c, one("t", "T", rows(1, 1)))
		for _, tab := range []string{"t", "v", "w"} {
			holds(t, c, tab, rows(1, 1))
		}
	}},
	{Name: "view/first_of_two_throws", Fact: "a view after one that throws lands all the same", Run: func(t *testing.T, c ClickHouse) {
		withView(c, 100)
		table(c, "w", 100)
		c.CreateView("t", "w")
		c.FailView("t", "v", true)
		block := append(rows(1, 1), rows(2, 2)...)
		refused(t, c, one("t", "T", block), codeThrowIf)
		holds(t, c, "t", block)
		holds(t, c, "v")
		holds(t, c, "w", block)
	}},
	{Name: "view/altered_forgets_its_ids", Fact: "after ALTER ... MODIFY QUERY, even to what it was, a repetition doubles what the view had landed before, once", Run: func(t *testing.T, c ClickHouse) {
		withView(c, 100)
		land(t, c, one("t", "T", rows(1, 1)))
		dropped(t, c, one("t", "T", rows(1, 1)))
		c.FailView("t", "v", true)
		c.FailView("t", "v", false)
		for range 2 {
			dropped(t, c, one("t", "T", rows(1, 1)))
			holds(t, c, "t", rows(1, 1))
			holds(t, c, "v", rows(1, 1, 1))
			c.FailView("t", "v", false)
		}
	}},
	{Name: "view/ignored_errors_are_healed_by_repetition", Fact: "with materialized_views_ignore_errors the insert is acknowledged, the view empty, and the repetition fills it", Run: func(t *testing.T, c ClickHouse) {
		withView(c, 100)
		c.FailView("t", "v", true)
		in := one("t", "T", rows(1, 1))
		in.IgnoreViewErrors = true
		if a := c.Insert(in); !a.OK {
			t.Fatalf("%+v", a)
		}
		holds(t, c, "v")
		c.FailView("t", "v", false)
		dropped(t, c, one("t", "T", rows(1, 1)))
		holds(t, c, "t", rows(1, 1))
		holds(t, c, "v", rows(1, 1))
	}},
	{Name: "view/subset_leaves_it_without_the_rest", Fact: "a subset and the rest under the next token of the chain fill the view as well: each row once", Run: func(t *testing.T, c ClickHouse) {
		withView(c, 100)
		land(t, c, one("t", "T0", rows(1, 1)))
		dropped(t, c, one("t", "T0", rows(1, 2)))
		land(t, c, one("t", "T1", rows(1, 2)))
		holds(t, c, "t", rows(1, 1, 2))
		holds(t, c, "v", rows(1, 1, 2))
	}},
	{Name: "view/partial_landing_reaches_it_whole", Fact: "a block of which some slices are dropped is pushed to views whole, and their own ids sort it out", Run: func(t *testing.T, c ClickHouse) {
		withView(c, 100)
		land(t, c, one("t", "T", rows(1, 1)))
		dropped(t, c, one("t", "T", rows(1, 1), rows(2, 2)))
		holds(t, c, "t", rows(1, 1), rows(2, 2))
		holds(t, c, "v", rows(1, 1), rows(2, 2))
	}},
	{Name: "view/cascades", Fact: "a view on a view's target gets the rows once too", Run: func(t *testing.T, c ClickHouse) {
		withView(c, 100)
		table(c, "w", 100)
		c.CreateView("v", "w")
		land(t, c, one("t", "T", rows(1, 1)))
		dropped(t, c, one("t", "T", rows(1, 1)))
		holds(t, c, "w", rows(1, 1))
	}},
	{Name: "view/race_one_copy", Fact: "repetitions while the original runs: one copy in source and view", Run: func(t *testing.T, c ClickHouse) {
		withView(c, 100)
		block := append(rows(1, 1), rows(2, 2)...)
		for i, a := range c.InsertAtOnce(one("t", "T", block), one("t", "T", block), one("t", "T", block)) {
			if !a.OK {
				t.Errorf("client %d: %+v", i, a)
			}
		}
		holds(t, c, "t", block)
		holds(t, c, "v", block)
	}},
}

// withView makes t with a window of 100 and a view of it into v.
func withView(c ClickHouse, viewWindow int) {
	table(c, "t", 100)
	table(c, "v", viewWindow)
	c.CreateView("t", "v")
}
