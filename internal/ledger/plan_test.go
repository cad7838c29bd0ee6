package ledger

import (
	"reflect"
	"testing"
	"time"

	"github.com/waybill-data/waybill/internal/contract"

	waybill "github.com/waybill-data/waybill"
)

func TestPlans_RoundTripByPipeline(t *testing.T) {
	w := newWorld(t)
	first := Plan{
		ID: 1<<63 + 1, Pipeline: "p'q", Database: "ai", Table: "t", Decoder: 4, Text: "a: 'b'\n\x00", Contract: `{"columns":[]}`,
		Schema: `[{"name":"a"}]`, FirstSeen: now,
	}
	if _, found, err := w.s.Plan(t.Context(), first.Pipeline, first.ID); found || err != nil {
		t.Fatalf("found %v, error %v", found, err)
	}
	later, other, again := first, first, first
	later.ID, later.FirstSeen = 5, now.Add(time.Second)
	other.Pipeline, other.FirstSeen = "other", now.Add(-time.Second)
	again.FirstSeen = now.Add(time.Minute) // the pipeline went back to its first plan, by a worker that did not see the row
	for _, p := range []Plan{again, later, first, other} {
		w.insert(TablePlans, PlanBlock(p))
	}
	if p, found, err := w.s.Plan(t.Context(), first.Pipeline, first.ID); !found || err != nil || p != first {
		t.Errorf("%+v, found %v, error %v", p, found, err)
	}
	if p, found, err := w.s.Plan(t.Context(), "", first.ID); !found || err != nil || p != other {
		t.Errorf("of any pipeline: %+v, found %v, error %v", p, found, err)
	}
	if list, err := w.s.Plans(t.Context(), first.Pipeline); err != nil || !reflect.DeepEqual(list, []Plan{first, later}) {
		t.Errorf("%+v, error %v", list, err)
	}
}

// A plan's first offsets do not change when its rows are rolled up.
func TestPlanUses_AreExactAfterTheRollUp(t *testing.T) {
	w := newWorld(t)
	old := now.AddDate(0, 0, -20)
	under := func(plan waybill.PlanID, r Row) Row { r.Plan = plan; return r }
	w.exec("SYSTEM STOP TTL MERGES " + w.s.db + ".ledger")
	w.insert(TableLedger, Block([]Row{
		under(9, row(0, 0, 10, old)), under(9, row(0, 10, 20, old)), under(3, row(0, 20, 30, old)), under(3, row(1, 5, 10, old)),
	}))
	w.insert(TableLedger, Block([]Row{under(9, row(0, 30, 40, old)), under(3, row(0, 40, 50, now))}))
	firsts := func() map[waybill.PlanID]map[int32]int64 {
		uses, err := w.s.PlanUses(t.Context(), "p", 1)
		if err != nil {
			t.Fatal(err)
		}
		out := map[waybill.PlanID]map[int32]int64{3: {}, 9: {}}
		read := int64(0)
		for _, u := range uses {
			out[u.Plan][u.Partition] = u.First
			read += u.Read
		}
		if read != 55 {
			t.Errorf("%d records under plans, want 55", read)
		}
		return out
	}
	want := map[waybill.PlanID]map[int32]int64{9: {0: 0}, 3: {0: 20, 1: 5}}
	if got := firsts(); !reflect.DeepEqual(got, want) {
		t.Errorf("before: %v, want %v", got, want)
	}
	w.exec("SYSTEM START TTL MERGES "+w.s.db+".ledger", "ALTER TABLE "+w.s.db+".ledger MODIFY SETTING merge_with_ttl_timeout = 0")
	w.exec("OPTIMIZE TABLE "+w.s.db+".ledger FINAL", "OPTIMIZE TABLE "+w.s.db+".ledger FINAL")
	if n := w.value("SELECT count() FROM " + w.s.db + ".ledger"); n != "3" {
		t.Fatalf("%s rows, want 2 that were rolled up and a new one", n)
	}
	if got := firsts(); !reflect.DeepEqual(got, want) {
		t.Errorf("after the roll-up: %v, want %v", got, want)
	}
}

func TestPlanOf_SaysWhatThePlanWasCompiledFrom(t *testing.T) {
	text := "x"
	c := contract.Contract{
		NewFields: contract.Modes{Default: contract.ModeDiscard}, TypeConflicts: contract.Modes{Default: contract.ModeFreeze},
		Columns: []contract.Column{{Name: "a", Type: "Int64", From: "b.c", Default: &text, OnNull: contract.Default, Line: 3, Col: 4}},
	}
	schema := contract.TableSchema{Database: "ai", Table: "t", Columns: []contract.TableColumn{
		{Name: "a", Type: "Int64", DefaultKind: "DEFAULT", DefaultExpr: "1 < 2", Comment: "it's", InKey: true}, {Name: "b", Type: "String"},
	}}
	if got, want := ContractText(c), `{"new_fields":{"default":"discard"},"type_conflicts":{"default":"freeze"},"columns":[{"name":"a","type":"Int64","from":"b.c","default":"x","on_null":"default"}]}`; got != want {
		t.Errorf("contract %s\nwant     %s", got, want)
	}
	got, err := ParseSchema(SchemaText(schema))
	want := []SchemaColumn{{"a", "Int64", "DEFAULT", "1 < 2", "it's", true}, {Name: "b", Type: "String"}}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("schema %+v, error %v", got, err)
	}
	if _, err := ParseSchema("[{"); waybill.ClassOf(err) != waybill.ClassConfig {
		t.Errorf("a damaged text: %v", err)
	}
}
