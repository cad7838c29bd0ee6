package e2e

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
)

// wantLeaves fails the case if any leaf is not where it has to be.
func (w *world) wantLeaves(other *otherClient, s shaper) leafTally {
	w.Helper()
	problems, tally := w.leafProblems(other, s.steady)
	if len(problems) > 0 {
		w.Errorf("the oracle of leaves found %d kinds of problem:\n  %s", len(problems), strings.Join(problems[:min(len(problems), 40)], "\n  "))
	}
	return tally
}

// An oracle that cannot fail proves nothing: each kind of damage to a value must be seen. Without damage it finds every leaf, and all of those whose type
// never changes in columns.
func TestLeaves_OracleSeesEachKindOfDamage(t *testing.T) {
	w := newWorld(t, setup{check: "tenant != 'cursed'"})
	w.shaped()
	s := shaper{seed: seed(t), every: 100}
	p := w.start("")
	for range 6 {
		w.produceShaped(s, 250)
	}
	w.quiet()
	p.stop()
	w.verify()
	tally := w.wantLeaves(newOtherClient(), s)
	w.observe("leaves", tally.leaves)
	w.observe("of them in typed columns", tally.typed)
	if tally.steady < 1000 || tally.typedSteady != tally.steady {
		t.Errorf("%d of %d leaves of one type are typed", tally.typedSteady, tally.steady)
	}
	known := map[string]bool{}
	sees := func(what, words string, damage ...string) {
		t.Helper()
		w.exec(damage...)
		problems, _ := w.leafProblems(newOtherClient(), s.steady)
		defer func() {
			for _, p := range problems {
				known[p] = true
			}
		}()
		for _, p := range problems {
			if strings.Contains(p, words) && !known[p] {
				w.observe(what+" seen", 1)
				return
			}
		}
		t.Errorf("%s: the oracle did not say %q, but %q", what, words, problems)
	}
	one := func(condition string) string {
		return "id = " + w.query("SELECT min(id) FROM "+w.db+".events WHERE "+condition)
	}
	update := func(set, condition string) string {
		return fmt.Sprintf("ALTER TABLE %s.events UPDATE %s WHERE %s SETTINGS mutations_sync = 2", w.db, set, one(condition))
	}
	sees("a value changed", "has user_name (Nullable(String))", update("user_name = concat(assumeNotNull(user_name), 'x')", "user_name IS NOT NULL"))
	sees("a number changed", "lacks usage.n", update("n = n + 1", "n > 0"))
	sees("a value made up", "has flags_on (Nullable(Bool)) = true", update("flags_on = true", "flags_on IS NULL"))
	sees("a value gone", "lacks trace", update("trace = NULL", "trace IS NOT NULL"))
	sees("an element gone", "lacks words[", update("words = ['a']", "length(words) = 2"))
	sees("a member of a map changed", "has tags (Map", update("tags = map('team', 't9')", "length(tags) = 2"))
	sees("a rescued value gone", "nowhere: row", update("_rescued = ''", "_rescued LIKE '%\"raw\"%' OR _rescued LIKE '%only_null%'"))

	if !slices.ContainsFunc(slices.Collect(maps.Keys(known)), func(p string) bool { return strings.HasPrefix(p, "ledger: it says") }) {
		t.Error("the oracle did not see that the ledger counts one more")
	}
	sees("a rescued value changed", "rescued from nowhere", update("_rescued = replaceOne(_rescued, '\"only_null\":{\"reason\":\"new_field\",\"value\":null', '\"only_null\":{\"reason\":\"new_field\",\"value\":0')", "_rescued LIKE '%only_null%'"))
	sees("the rescue column unreadable", "unreadable", update("_rescued = substring(_rescued, 1, 40)", "length(_rescued) > 60"))
	sees("a column dropped by nobody", "lacks deep.l1.l2.l3", "ALTER TABLE "+w.db+".events DROP COLUMN deep_l1_l2_l3")
	sees("a comment changed", "lacks when", "ALTER TABLE "+w.db+".events COMMENT COLUMN `when` 'mine'")
}
