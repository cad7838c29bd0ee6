package engine_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/waybill-data/waybill"
	"github.com/waybill-data/waybill/internal/status"
	"github.com/waybill-data/waybill/internal/testenv"
)

// alter is an ALTER of the target.
func (w *world) alter(command string) {
	w.Helper()
	w.exec("ALTER TABLE " + w.db + ".calls " + command)
}

// plan that a worker gathers under.
func (r *worker) plan() string { return r.p.Status().Plan }

// awaitOtherPlan waits until a worker gathers under another plan.
func (r *worker) awaitOtherPlan(than string) {
	r.w.Helper()
	r.await("another plan", func(s status.Pipeline) bool { return s.Plan != than && s.State == status.Running })
}

// Another client adds and widens columns while records come. The plan is compiled anew in place: no rebalance, nothing lost, nothing twice.
func TestTable_ChangesByOthersAreTakenUpInPlace(t *testing.T) {
	w := newWorld(t, 4)
	w.produce(2000)
	a := w.start(w.file(spec{}))
	w.quiet(2000)
	first := a.plan()
	rebalances := a.rebalances()
	w.alter("ADD COLUMN note String DEFAULT concat('n', toString(id)) AFTER id")
	w.produce(1000)
	a.awaitOtherPlan(first)
	second := a.plan()
	w.alter("ADD COLUMN more UInt8 FIRST")
	w.produce(1000)
	a.awaitOtherPlan(second)
	w.produce(1000)
	w.quiet(5000)
	if n := a.rebalances(); n != rebalances {
		t.Errorf("%v rebalances for changes of columns", n-rebalances)
	}
	a.stop()
	w.verify()
	w.wantCounts("5000 4950 50 0")
	w.wantValues()
	if got := w.query("SELECT countIf(note != concat('n', toString(id))) + countIf(more != 0) FROM " + w.db + ".calls"); got != "0" {
		t.Errorf("%s rows with shifted values", got)
	}
}

// wantValues checks every value of every row against the event that it came from.
func (w *world) wantValues() {
	w.Helper()
	if got := w.query("SELECT countIf(model != concat('m', toString(id % 3))) + countIf(tokens != id % 1000) FROM " + w.db + ".calls"); got != "0" {
		w.Errorf("%s values are not those of the events", got)
	}
}

// Changes that the contract does not survive: the pipeline stops and says why. No row comes in whose values were cast, shifted or
// filled with zeros, though the server would have done any of that.
func TestTable_ChangesThatDoNotFitStopThePipeline(t *testing.T) {
	for name, c := range map[string]struct {
		commands []string
		reason   string
		// wrong counts rows that came after the change, and that should not have.
		wrong string
	}{
		"narrowed by drop and add": {[]string{"DROP COLUMN tokens", "ADD COLUMN tokens UInt8 DEFAULT 200"}, "the contract says UInt32, the table has UInt8", "tokens != 200"},
		"renamed":                  {[]string{"RENAME COLUMN tokens TO tokens_in"}, "has no such column", "id >= 2000"},
		"renamed, and another":     {[]string{"RENAME COLUMN tokens TO tokens_in", "ADD COLUMN tokens UInt16 DEFAULT 9999"}, "the table has UInt16", "tokens != 9999"},
		"dropped":                  {[]string{"DROP COLUMN model"}, "has no such column", "id >= 2000"},
		"another type":             {[]string{"MODIFY COLUMN tokens String"}, "the table has String", "id >= 2000"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, 2)
			w.produce(2000)
			a := w.start(w.file(spec{}))
			w.quiet(2000)
			for _, command := range c.commands {
				w.alter(command)
			}
			w.produce(1000)
			err := a.ended()
			if err == nil || !strings.Contains(err.Error(), c.reason) {
				t.Errorf("stopped with %v, want %q", err, c.reason)
			}
			if got := w.query("SELECT countIf(" + c.wrong + ") FROM " + w.db + ".calls"); got != "0" {
				t.Errorf("%s rows came in after the change", got)
			}
		})
	}
}

// A batch that is past its intent when columns go or widen is carried out all the same: what is left of its plan.
func TestTable_PendingBatchesFitWhatIsLeft(t *testing.T) {
	w := newWorld(t, 2)
	w.produce(1000)
	w.exec("SYSTEM STOP MERGES " + w.db + ".calls")
	cfg := w.file(spec{deadline: "2s"})
	a := w.start(cfg)
	w.quiet(1000)
	// Inserts fail while the quota of parts is used up; the batch with its intent stays.
	w.alter("MODIFY SETTING parts_to_throw_insert = 1, parts_to_delay_insert = 1")
	w.produce(500)
	a.await("a batch that cannot be inserted", func(s status.Pipeline) bool { return s.State == status.Stalled && len(s.InFlight) > 0 })
	a.cancel()
	<-a.done
	w.exec("SYSTEM START MERGES " + w.db + ".calls")
	w.alter("DROP COLUMN model")
	w.alter("MODIFY COLUMN tokens UInt64")
	w.alter("RESET SETTING parts_to_throw_insert, parts_to_delay_insert")
	file := w.file(spec{})
	for i := range file.Contract.Columns {
		if file.Contract.Columns[i].Name == "tokens" {
			file.Contract.Columns[i].Type = "UInt64"
		}
	}
	file.Contract.Columns = append(file.Contract.Columns[:1:1], file.Contract.Columns[2:]...)
	b := w.start(file)
	w.produce(500)
	w.quiet(2000)
	w.wantFinding("column_dropped", 1)
	b.stop()
	w.verify()
	w.wantCounts("2000 1980 20 0")
	if got := w.query("SELECT countIf(tokens != id % 1000) FROM " + w.db + ".calls"); got != "0" {
		t.Errorf("%s values are not those of the events", got)
	}
}

// A column goes after a plan was compiled and before its first insert, for which the server is asked what types the table's columns have: the
// pipeline goes on without it.
func TestTable_ColumnGoesBeforeThePlansFirstInsert(t *testing.T) {
	w := newWorld(t, 2)
	w.produceAs(500, func(i int) string {
		return fmt.Sprintf(`{"id":%d,"model":"m%d","usage":{"tokens":%d},"more":%d}`, i, i%3, i%1000, i)
	})
	a := w.start(w.file(spec{modes: evolving}))
	w.quiet(500)
	first := a.plan()
	w.alter("ADD COLUMN note String COMMENT 'waybill: {\"from\":\"note\"}'")
	a.awaitOtherPlan(first)
	w.alter("DROP COLUMN more")
	w.produceAs(500, func(i int) string {
		return fmt.Sprintf(`{"id":%d,"model":"m%d","usage":{"tokens":%d}}`, i, i%3, i%1000)
	})
	w.quiet(1000)
	a.stop()
	w.verify()
	w.wantValues()
}

// The table changes while the pipeline stops in good order: what is in flight is settled all the same.
func TestTable_ChangesDuringAStop(t *testing.T) {
	w := newWorld(t, 2)
	w.produce(500)
	w.exec("SYSTEM STOP MERGES " + w.db + ".calls")
	a := w.start(w.file(spec{deadline: "2s", modes: "new_fields: discard\n  type_conflicts: evolve"}))
	w.quiet(500)
	w.alter("MODIFY SETTING parts_to_throw_insert = 1, parts_to_delay_insert = 1")
	w.produce(500)
	a.await("a batch that cannot be inserted", func(s status.Pipeline) bool { return s.State == status.Stalled && len(s.InFlight) > 0 })
	a.cancel()
	a.await("a stop", func(s status.Pipeline) bool { return s.State == status.Draining || s.State == status.Stalled })
	w.exec("SYSTEM START MERGES " + w.db + ".calls")
	w.alter("MODIFY COLUMN tokens UInt64")
	w.alter("RESET SETTING parts_to_throw_insert, parts_to_delay_insert")
	a.stop()
	w.verify()
	w.wantCounts("1000 990 10 0")
}

// A column that Waybill has added is renamed while a batch that fills it is past its intent: its values go where those of the rows before went.
func TestTable_PendingBatchFollowsARename(t *testing.T) {
	w := newWorld(t, 2)
	more := func(i int) string {
		return fmt.Sprintf(`{"id":%d,"model":"m%d","usage":{"tokens":%d},"more":%d}`, i, i%3, i%1000, i)
	}
	w.produceAs(500, more)
	cfg := w.file(spec{modes: evolving, deadline: "2s"})
	a := w.start(cfg)
	w.quiet(500)
	w.exec("SYSTEM STOP MERGES " + w.db + ".calls")
	w.alter("MODIFY SETTING parts_to_throw_insert = 1, parts_to_delay_insert = 1")
	w.produceAs(500, more)
	a.await("a batch that cannot be inserted", func(s status.Pipeline) bool { return s.State == status.Stalled && len(s.InFlight) > 0 })
	a.cancel()
	<-a.done
	w.exec("SYSTEM START MERGES " + w.db + ".calls")
	w.alter("RENAME COLUMN more TO other_name") // that Waybill has added
	w.alter("RENAME COLUMN model TO model_name")
	w.alter("RESET SETTING parts_to_throw_insert, parts_to_delay_insert")
	for i := range cfg.Contract.Columns { // as does the file
		if c := &cfg.Contract.Columns[i]; c.Name == "model" {
			c.Name, c.From = "model_name", "model"
		}
	}
	b := w.start(cfg)
	w.produceAs(500, more)
	w.quiet(1500)
	b.stop()
	w.verify()
	if b.found("column_dropped") {
		t.Error("a column that was renamed is taken for one that was dropped")
	}
	if got := w.query("SELECT countIf(other_name = id AND model_name = concat('m', toString(id % 3)) AND _rescued = '') FROM " + w.db + ".calls"); got != "1500" {
		t.Errorf("%s rows have their values under the new names, want 1500", got)
	}
}

// A rename meets an insert that is under way: its values stay under the old name, which ClickHouse does and Waybill says.
func TestTable_RenameThatMeetsAnInsertIsTold(t *testing.T) {
	w := newWorld(t, 1)
	more := func(i int) string { return fmt.Sprintf(`{"id":%d,"model":"m","usage":{"tokens":1},"more":%d}`, i, i) }
	w.produceAs(100, more)
	a := w.start(w.file(spec{modes: evolving}))
	w.quiet(100)
	first := a.plan()
	w.alter("ADD COLUMN slow UInt8 MATERIALIZED sleep(2)")
	a.awaitOtherPlan(first)
	w.produceAs(100, more)
	testenv.Eventually(w, soon, "the insert is under way", func() bool {
		return w.query("SELECT count() FROM system.processes WHERE query LIKE 'INSERT INTO%"+w.db+"%' AND elapsed > 0.3") == "1"
	})
	w.alter("RENAME COLUMN more TO other_name")
	w.quiet(200)
	w.wantFinding("column_renamed", 1)
	w.produceAs(100, more)
	w.quiet(300)
	w.wantFinding("column_renamed", 1)
	a.stop()
	w.verify()
	if got := w.query("SELECT countIf(other_name = id) FROM " + w.db + ".calls WHERE id NOT BETWEEN 100 AND 199"); got != "200" {
		t.Errorf("%s rows of the other batches have the value, want 200", got)
	}
}

// A column that is renamed while an insert is under way, and renamed back, looks as if nothing had been, to who looks then.
func TestTable_RenameThereAndBackThatMeetsAnInsertIsTold(t *testing.T) {
	w := newWorld(t, 1)
	w.produce(100)
	a := w.start(w.file(spec{}))
	w.quiet(100)
	first := a.plan()
	w.alter("ADD COLUMN slow UInt8 MATERIALIZED sleep(2)")
	a.awaitOtherPlan(first)
	w.produce(99)
	testenv.Eventually(w, soon, "the insert is under way", func() bool {
		return w.query("SELECT count() FROM system.processes WHERE query LIKE 'INSERT INTO%"+w.db+"%' AND elapsed > 0.3") == "1"
	})
	w.alter("RENAME COLUMN model TO `other name`")
	w.alter("RENAME COLUMN `other name` TO model")
	w.quiet(199)
	testenv.Eventually(w, soon, "it is told", func() bool { return a.found("column_renamed") })
	time.Sleep(4 * time.Second) // longer than clocks may differ by: later batches have nothing to do with it
	w.produce(99)
	w.quiet(298)
	a.stop()
	w.wantFinding("column_renamed", 1)
	w.verify()
}

// The table is changed after it was read and before the first block is sent: the types that the server is told to compare are those that the
// block was made for, not those that the table has by then.
func TestTable_ChangedBeforeTheFirstBlock(t *testing.T) {
	w := newWorld(t, 1)
	a := w.start(w.file(spec{}))
	a.await("it runs", func(s status.Pipeline) bool { return s.State == status.Running && len(s.Partitions) == 1 })
	w.alter("MODIFY COLUMN tokens String")
	w.produceAs(100, func(i int) string { return fmt.Sprintf(`{"id":%d,"model":"m","usage":{"tokens":%d}}`, i, i) })
	err := a.ended()
	if err == nil || !strings.Contains(err.Error(), "the table has String") {
		t.Errorf("ended with %v", err)
	}
	if got := w.query("SELECT count() FROM " + w.db + ".calls"); got != "0" {
		t.Errorf("%s rows were cast", got)
	}
}

// The table is exchanged for another one under the pipeline: rows go on into the one that has the name, and only whole.
func TestTable_Exchanged(t *testing.T) {
	w := newWorld(t, 2)
	w.produce(1000)
	a := w.start(w.file(spec{}))
	w.quiet(1000)
	w.exec("CREATE TABLE "+w.db+".next AS "+w.db+".calls", "ALTER TABLE "+w.db+".next ADD COLUMN note String DEFAULT 'next' FIRST",
		fmt.Sprintf("EXCHANGE TABLES %[1]s.calls AND %[1]s.next", w.db))
	w.produce(1000)
	w.quiet(2000)
	a.stop()
	if got := w.query("SELECT concat(toString((SELECT count() FROM " + w.db + ".calls)), ' ', toString((SELECT count() FROM " + w.db + ".next)), ' ', toString((SELECT countIf(note != 'next' OR tokens != id % 1000) FROM " + w.db + ".calls)))"); got != "990 990 0" {
		t.Errorf("rows after and before, wrong ones: %s, want 990 990 0", got)
	}
}

// A table of the very same columns and settings is another one all the same: everything is looked at anew.
func TestTable_ExchangedForItsLike(t *testing.T) {
	w := newWorld(t, 1)
	w.produce(100)
	a := w.start(w.file(spec{}))
	w.quiet(100)
	rebalances := a.rebalances()
	w.exec("CREATE TABLE "+w.db+".next AS "+w.db+".calls", fmt.Sprintf("EXCHANGE TABLES %[1]s.calls AND %[1]s.next", w.db))
	testenv.Eventually(t, soon, "it is looked at anew", func() bool { return a.rebalances() > rebalances })
	w.produce(100)
	w.quiet(200)
	a.stop()
	if got := w.query("SELECT count() FROM " + w.db + ".calls"); got != "99" {
		t.Errorf("%s rows in the new table, want 99", got)
	}
}

// A table that is gone ends the pipeline with the reason, though nothing comes that would have to go there.
func TestTable_DroppedEndsAQuietPipeline(t *testing.T) {
	w := newWorld(t, 1)
	w.produce(100)
	a := w.start(w.file(spec{}))
	w.quiet(100)
	w.exec("DROP TABLE " + w.db + ".calls SYNC")
	if err := a.ended(); waybill.ClassOf(err) != waybill.ClassSchema {
		t.Errorf("ended with %v", err)
	}
}
