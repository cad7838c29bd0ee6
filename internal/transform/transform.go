// Package transform does what a plan says about an event before its fields go to columns: it brings the event to the current
// version, redacts it, computes columns and filters. All of it is a function of the record and the plan alone.
package transform

import (
	"github.com/waybill-data/waybill"
	"github.com/waybill-data/waybill/internal/contract"
)

// Transformer applies a plan's transform. It belongs to one goroutine at a time.
type Transformer struct{}

// New compiles what a plan says. It is nil if the plan has nothing to do. secret is the key of redaction's hashes.
func New(p *contract.Plan, secret []byte) (*Transformer, error) { return nil, nil }

// Code is the reason of a rejection, from a closed list that dead letters are grouped by.
type Code string

// The reasons.
const (
	ExpressionError Code = "expression_error" // an expression failed on this record
	UnknownVersion  Code = "unknown_version"  // no upcaster for the event's version
	UpcastConflict  Code = "upcast_conflict"  // a step would overwrite a value, or cannot take what is there
)

// Reject is why a record could not be transformed. Its message never quotes the record's values.
type Reject struct {
	Code    Code
	Name    string // of the expression ("filter", "column cost") or the step ("upcast 1 -> 2, step 3: move")
	Path    string // the field concerned, if one
	Message string
}

// Result is what became of one record.
type Result struct {
	// Text is the event to decode: the record's own value, or what was made of it. It is valid until the next Apply.
	Text []byte
	// Computed are the values of the plan's SourceExpr columns, in the order of the plan, as JSON texts; nil for a column
	// that got none. Valid until the next Apply.
	Computed [][]byte
	Filtered bool
	Reject   *Reject
	Redacted int // values that redaction changed
	Upcast   bool
}

// Apply transforms one record. A tombstone and a text that is no JSON object are not its business: they come back as they are.
func (t *Transformer) Apply(r *waybill.Record) Result { return Result{Text: r.Value} }

// Keep is what may be stored of the record that was applied last, if it becomes a dead letter: without redaction the record
// itself; with it, what redaction left of it. It may alias the record and the transformer's memory.
func (t *Transformer) Keep(r *waybill.Record) waybill.Record { return *r }
