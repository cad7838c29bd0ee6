package e2e

import (
	"fmt"
	"strings"
	"testing"
)

func TestHappyPath_EveryRecordOnceAndAccountedFor(t *testing.T) {
	w := newWorld(t, setup{})
	w.produce(2000, usual)
	p := w.start("")
	w.quiet()
	w.produce(1000, usual)
	w.quiet()
	p.stop()
	w.verify()
	w.observe("rows", int64(w.count()))
}

// An oracle that cannot fail proves nothing: each kind of damage must be seen.
func TestOracle_SeesEachKindOfDamage(t *testing.T) {
	w := newWorld(t, setup{partitions: 2, view: true})
	w.produce(400, usual)
	w.settle()
	w.produce(400, usual)
	w.settle()
	w.verify()
	sees := func(what, words string, damage ...string) {
		t.Helper()
		w.exec(damage...)
		problems := w.problems()
		for _, p := range problems {
			if strings.Contains(p, words) {
				w.observe(what+" seen", 1)
				return
			}
		}
		t.Errorf("%s: the oracle did not say %q, but %q", what, words, problems)
	}
	row := w.query("SELECT min(id) FROM " + w.db + ".events WHERE id > 100")
	again := "INSERT INTO " + w.db + ".events SELECT * FROM " + w.db + ".events WHERE id = " + row + " SETTINGS insert_deduplicate = 0"
	sees("a row twice", "row there 2 times", again)
	sees("a view that has counted twice", "the view says")
	sees("a row deleted", "row missing", "DELETE FROM "+w.db+".events WHERE id = "+row)
	at := fmt.Sprintf("pipeline = '%s'", w.pipeline)
	sees("a dead letter doubled", "dead letter there 2 times",
		"INSERT INTO waybill.dead_letters SELECT * FROM waybill.dead_letters WHERE "+at+" ORDER BY partition, offset LIMIT 1 SETTINGS insert_deduplicate = 0")
	sees("dead letters gone", "dead letter missing", "DELETE FROM waybill.dead_letters WHERE "+at+" AND partition = 0")
	sees("a dead letter changed", "holds other bytes", "ALTER TABLE waybill.dead_letters UPDATE value = concat(ifNull(value, ''), ' ') WHERE "+at+" SETTINGS mutations_sync = 2")
	sees("a ledger row doubled", "the ledger overlaps",
		"INSERT INTO waybill.ledger SELECT * FROM waybill.ledger WHERE "+at+" ORDER BY partition, first LIMIT 1 SETTINGS insert_deduplicate = 0")
	sees("a ledger row gone", "the ledger has a gap", "DELETE FROM waybill.ledger WHERE "+at+" AND partition = 1 AND first = 0")
	sees("a ledger row that counts wrong", "the oracle counts", "ALTER TABLE waybill.ledger UPDATE written = written + 1 WHERE "+at+" SETTINGS mutations_sync = 2")
	sees("a finding", "unexpected finding", fmt.Sprintf("INSERT INTO waybill.findings (opened_at, kind, pipeline, message) VALUES (now(), 'made_up', '%s', 'x')", w.pipeline))
	w.produce(1, mix{})
	sees("a group that is behind", "the group is not at the end")
}

func TestOracle_SeesARowInAnotherTable(t *testing.T) {
	w := newWorld(t, setup{partitions: 2, routed: true})
	w.produce(400, usual)
	w.settle()
	w.verify()
	for _, c := range []struct{ words, damage string }{
		{"rows in two tables; the oracle counts", "ALTER TABLE waybill.ledger UPDATE routed = mapApply((k, n) -> (k, n + 1), routed) WHERE pipeline = '" + w.pipeline + "' SETTINGS mutations_sync = 2"},
		{"is in table events", fmt.Sprintf("INSERT INTO %[1]s.events SELECT * FROM %[1]s.events_even LIMIT 1", w.db)},
		{"row missing", fmt.Sprintf("TRUNCATE TABLE %s.events_even", w.db)},
	} {
		w.exec(c.damage)
		problems := w.problems()
		if !strings.Contains(strings.Join(problems, "\n"), c.words) {
			t.Errorf("the oracle did not say %q, but %q", c.words, problems)
		}
		w.observe("problems seen", int64(len(problems)))
	}
}
