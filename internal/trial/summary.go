package trial

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/waybill-data/waybill/internal/contract"
	"github.com/waybill-data/waybill/internal/engine"
	"github.com/waybill-data/waybill/internal/transform/redact"
)

// Summary counts what would become of the records. Records is the sum of Rows, Filtered, Tombstones and DeadLettered.
type Summary struct {
	Records int64 `json:"records"`
	RowCounts
	Filtered     int64 `json:"filtered"`
	Tombstones   int64 `json:"tombstones"`
	DeadLettered int64 `json:"dead_lettered"`
	Redacted     int64 `json:"redacted"` // records with a value that redaction changed
	Upcast       int64 `json:"upcast"`   // records that were brought to the current version
	Assumed      int64 `json:"assumed"`  // records of an unknown version, which were taken for the current one

	DeadLetters []DeadLetters  `json:"dead_letters"` // most frequent first
	Tables      []Table        `json:"tables"`       // in the order of the pipeline's; its RowCounts are the sums of theirs
	RedactedBy  []redact.Count `json:"redacted_by"`  // values that each rule changed, in the policy's order
}

// RowCounts counts rows.
type RowCounts struct {
	Rows        int64 `json:"rows"`
	RescuedRows int64 `json:"rescued_rows"` // of Rows, those with something in the rescue column
	Blank       int64 `json:"blank"`        // of Rows, those of which no column was filled from the event
}

// Table says what the rows of one table would be.
type Table struct {
	Route string `json:"route,omitempty"`
	Table string `json:"table"` // database.table
	RowCounts
	Columns []Column `json:"columns"` // as the plan has them, without lineage and rescue column
	Drift   []Drift  `json:"drift"`   // most frequent first
	Changes []Change `json:"changes"` // of the table, that evolve would carry out for these records
	Held    []Held   `json:"held"`    // what evolve would leave to the rescue column
}

// DeadLetters are dead letters with one reason.
type DeadLetters struct {
	Code    string `json:"code"`
	Column  string `json:"column,omitempty"` // or path
	Count   int64  `json:"count"`
	Message string `json:"message"` // of the first
	Example Place  `json:"example"` // the first
}

// Place is a record's place.
type Place struct {
	Topic     string `json:"topic"`
	Partition int32  `json:"partition"`
	Offset    int64  `json:"offset"`
}

func (p Place) String() string { return fmt.Sprintf("%s/%d@%d", p.Topic, p.Partition, p.Offset) }

// Column says what the rows have in one column.
type Column struct {
	Name   string `json:"name"`
	Type   string `json:"type"`
	Source string `json:"source"` // the path in the event, or another source
	// Filled are rows whose value is the event's own. nil: the column collects from an array, where the counts below are
	// of elements, not of rows.
	Filled    *int64 `json:"filled,omitempty"`
	Missing   int64  `json:"missing"`   // the event has no such field
	Null      int64  `json:"null"`      // it says null
	Invalid   int64  `json:"invalid"`   // the value did not fit and was replaced
	Conflicts int64  `json:"conflicts"` // the value did not fit and is in the rescue column
	Rounded   int64  `json:"rounded"`   // of Filled, values that lost digits
}

// Drift is how the rows' events differ from the contract at one path.
type Drift struct {
	Kind   string `json:"kind"`
	Path   string `json:"path"`
	Column string `json:"column,omitempty"`
	Reason string `json:"reason,omitempty"`
	Mode   string `json:"mode"`
	Count  int64  `json:"count"`
	Type   string `json:"type,omitempty"` // that would take the values; empty if what was seen decides nothing
	Why    string `json:"why"`
	Sample string `json:"sample"` // after redaction
	First  Place  `json:"first"`
}

// Change is a change of the table.
type Change struct {
	Path string `json:"path"`
	SQL  string `json:"sql"`
	Why  string `json:"why"`
}

// Held is drift that makes no change.
type Held struct {
	Path string `json:"path"`
	Why  string `json:"why"`
}

// Target is a table that Summary asks evolution about.
type Target struct {
	Contract contract.Contract
	Schema   contract.TableSchema
	Cluster  string
}

// Summary of all records that were taken, into these tables. It ends the trial: what the decoder has noted is handed out once.
func (t *Trial) Summary(to []Target) Summary {
	s, _ := t.summary(to)
	return s
}

// summary is Summary, and what evolution would do with each table.
func (t *Trial) summary(to []Target) (Summary, []contract.Evolution) {
	s := t.sum
	s.RedactedBy = append([]redact.Count{}, t.proc.Redacted()...)
	slices.SortStableFunc(s.DeadLetters, func(a, b DeadLetters) int { return cmp.Compare(b.Count, a.Count) })
	var evolutions []contract.Evolution
	for i, notes := range t.proc.Notes() {
		evolutions = append(evolutions, t.sumTable(i, &s.Tables[i], notes, to[i]))
	}
	return s, evolutions
}

func (t *Trial) sumTable(route int, s *Table, notes engine.Notes, to Target) contract.Evolution {
	plan := t.routes[route].Plan
	slices.SortStableFunc(notes.Drift, func(a, b contract.FieldDrift) int {
		return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(a.Path, b.Path))
	})
	s.Columns, s.Drift, s.Changes, s.Held = []Column{}, []Drift{}, []Change{}, []Held{}
	conflicts := map[string]int64{}
	for i := range notes.Drift {
		d := &notes.Drift[i]
		s.Drift = append(s.Drift, driftOf(d))
		if d.Kind == contract.DriftTypeConflict && (d.Mode == contract.ModeRescue || d.Mode == contract.ModeEvolve) {
			conflicts[d.Column] += d.Count
		}
	}
	for _, c := range plan.Columns() {
		if !c.Lineage && c.Source != contract.SourceRescued {
			s.Columns = append(s.Columns, columnOf(c, s.Rows, conflicts[c.Name], &notes))
		}
	}
	e := contract.Evolve(to.Contract, plan, to.Schema, notes.Drift)
	for _, c := range e.Changes {
		s.Changes = append(s.Changes, Change{c.Path, c.SQL(to.Schema.Database, to.Schema.Table, to.Cluster), c.Why})
	}
	for _, h := range e.Held {
		s.Held = append(s.Held, Held{h.Path, h.Why})
	}
	return e
}

func driftOf(d *contract.FieldDrift) Drift {
	i := d.Observed.Infer()
	return Drift{Kind: string(d.Kind), Path: d.Path, Column: d.Column, Reason: d.Reason, Mode: string(d.Mode), Count: d.Count,
		Type: i.Type, Why: i.Why, Sample: d.Sample, First: Place{d.First.Topic, d.First.Partition, d.First.Offset}}
}

// columnOf puts together what the rows have in one column.
func columnOf(c contract.PlanColumn, rows, conflicts int64, notes *engine.Notes) Column {
	d := notes.Defaulted[c.Name]
	out := Column{Name: c.Name, Type: c.Type, Source: sourceOf(c), Missing: d.Missing, Null: d.Null + notes.Nulls[c.Name], Invalid: d.Invalid, Conflicts: conflicts, Rounded: notes.Rounded[c.Name]}
	if path, err := contract.ParsePath(c.Path); err != nil || path.Each() < 0 {
		filled := rows - out.Missing - out.Null - out.Invalid - out.Conflicts
		out.Filled = &filled
	}
	return out
}

// sourceOf names where a column's values come from.
func sourceOf(c contract.PlanColumn) string {
	switch c.Source {
	case contract.SourceField:
		return c.Path
	case contract.SourceHeader:
		return "header " + c.Header
	case contract.SourceExpr:
		return c.Expr
	}
	return string(c.Source)
}
