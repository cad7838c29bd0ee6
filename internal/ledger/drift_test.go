package ledger

import (
	"reflect"
	"testing"
	"time"

	"github.com/waybill-data/waybill/internal/contract"
	"github.com/waybill-data/waybill/internal/drift"
)

func TestChanges_RoundTrip(t *testing.T) {
	w := newWorld(t)
	c := Change{
		At: now, Pipeline: "p'q", Database: "ai", Table: "t",
		Change: contract.Change{
			Kind: contract.ModifyColumn, Column: "a", Path: "u.a", From: "Int8", Type: "Int64", Why: "it's 300",
			First: contract.At{Topic: "t", Partition: 3, Offset: 12, Time: now.UnixMilli() - 5},
		},
		Statement: "ALTER ...", Outcome: OutcomeApplied, Before: 1 << 63, After: 2, Worker: "w",
	}
	refused := c
	refused.At, refused.Outcome, refused.Error, refused.After = now.Add(-time.Second), OutcomeRefused, "no rights", 0
	w.insert(TableChanges, ChangeBlock([]Change{c, refused}))
	got, err := w.s.Changes(t.Context(), c.Pipeline)
	if err != nil || !reflect.DeepEqual(got, []Change{refused, c}) {
		t.Errorf("got %+v, error %v", got, err)
	}
}

// What Waybill has added is known from its record, and where that is missing from plans that know the column.
func TestAdded_ByRecordAndByPlans(t *testing.T) {
	w := newWorld(t)
	add := func(column string, outcome Outcome) Change {
		return Change{At: now, Pipeline: "p'q", Database: "ai", Table: "t", Change: contract.Change{Kind: contract.AddColumn, Column: column}, Outcome: outcome}
	}
	widened, elsewhere := add("n", OutcomeApplied), add("e", OutcomeApplied)
	widened.Kind, elsewhere.Table = contract.ModifyColumn, "other"
	w.insert(TableChanges, ChangeBlock([]Change{add("b", OutcomeApplied), add("r", OutcomeRefused), widened, elsewhere}))
	w.insert(TablePlans, PlanBlock(Plan{ID: 1, Pipeline: "p'q", Database: "ai", Table: "t", FirstSeen: now,
		Text: `{"format":3,"columns":[{"name":"id","type":"UInt64"},{"name":"a","type":"String","added":true},{"name":"b","added":true}],"left_to_server":[]}`}))
	got, err := w.s.Added(t.Context(), "p'q", "ai", "t")
	if err != nil || !reflect.DeepEqual(got, []string{"a", "b"}) {
		t.Errorf("got %q, error %v", got, err)
	}
}

func TestDrift_AddsUp(t *testing.T) {
	w := newWorld(t)
	at := func(partition int32, offset int64, seconds int) contract.At {
		return contract.At{Topic: "t", Partition: partition, Offset: offset, Time: now.UnixMilli() + int64(seconds)*1000}
	}
	today := now.Truncate(24 * time.Hour)
	key := drift.Key{Kind: drift.KindNewField, Path: "usage.cost"}
	early := drift.Row{
		Key: key, Day: today.AddDate(0, 0, -1), Count: 3, First: at(1, 7, -10), Last: at(0, 9, -5),
		Kinds: contract.Kinds{Integer: 3}, Type: "Int64", Mode: contract.ModeRescue, Sample: "1",
	}
	late := drift.Row{
		Key: key, Day: today, Count: 4, First: at(0, 10, -6), Last: at(1, 99, 3), Kinds: contract.Kinds{Integer: 1, Decimal: 2, Null: 1},
		Type: "Float64", Mode: contract.ModeDiscard, Sample: "1.5",
	}
	conflict := drift.Row{
		Key: drift.Key{Kind: drift.KindTypeConflict, Path: "a", Column: "a"}, Day: today, Count: 1, First: at(0, 1, 0), Last: at(0, 1, 0),
		Kinds: contract.Kinds{String: 1}, Mode: contract.ModeRescue, Reason: "out_of_range", Sample: `"x"`,
	}
	w.insert(TableDrift, DriftBlock("p", 1, []drift.Row{late, conflict}))
	w.insert(TableDrift, DriftBlock("p", 1, []drift.Row{early}))
	w.insert(TableDrift, DriftBlock("p", 2, []drift.Row{early}))
	other := conflict // in another table of the pipeline
	other.Target = "ai.t"
	w.insert(TableDrift, DriftBlock("p", 1, []drift.Row{other}))
	sum := drift.Row{
		Key: key, Day: early.Day, Count: 7, First: early.First, Last: late.Last, Kinds: contract.Kinds{Integer: 4, Decimal: 2, Null: 1},
		Type: "Float64", Mode: contract.ModeDiscard, Sample: "1",
	}
	for _, merged := range []bool{false, true} {
		got, err := w.s.Drift(t.Context(), "p", 1, time.Time{})
		if err != nil || !reflect.DeepEqual(got, []drift.Row{sum, conflict, other}) {
			t.Errorf("merged %v: got %+v\nwant %+v, error %v", merged, got, sum, err)
		}
		w.exec("OPTIMIZE TABLE " + w.s.db + ".drift FINAL")
	}
	got, err := w.s.Drift(t.Context(), "p", 1, now)
	if err != nil || !reflect.DeepEqual(got, []drift.Row{late, conflict, other}) {
		t.Errorf("since today: %+v, error %v", got, err)
	}
}
