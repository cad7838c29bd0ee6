// Package transform does what a plan says about an event before its fields go to columns: it brings the event to the current
// version, redacts it, computes columns and filters. All of it is a function of the record and the plan alone.
package transform

import (
	"errors"

	"github.com/waybill-data/waybill"
	"github.com/waybill-data/waybill/internal/contract"
	"github.com/waybill-data/waybill/internal/transform/expr"
)

// Transformer applies a plan's transform. It belongs to one goroutine at a time.
type Transformer struct {
	filter   *expr.Expr // nil: all records are wanted
	computed []named

	record expr.Record
	out    []byte   // texts of computed values
	ends   []int    // where each ends in out; -1 for none
	values [][]byte // Result.Computed
}

// named is an expression with the name that dead letters call it by.
type named struct {
	name string
	*expr.Expr
}

// New compiles what a plan says. It is nil if the plan has nothing to do. secret is the key of redaction's hashes.
func New(p *contract.Plan, secret []byte) (*Transformer, error) {
	t := &Transformer{}
	for _, c := range p.Columns() {
		if c.Source != contract.SourceExpr {
			continue
		}
		e, err := expr.Compile(c.Expr)
		if err != nil {
			return nil, configError("the expression of column "+c.Name, err)
		}
		t.computed = append(t.computed, named{"column " + c.Name, e})
	}
	if tr := p.Transform(); tr != nil && tr.Filter != "" {
		e, err := expr.CompileBool(tr.Filter)
		if err != nil {
			return nil, configError("the filter", err)
		}
		t.filter = e
	}
	if t.filter == nil && t.computed == nil {
		return nil, nil
	}
	return t, nil
}

func configError(what string, err error) error {
	return &waybill.Error{Op: "transform.compile", Class: waybill.ClassConfig,
		Hint: "run `waybill validate` on the pipeline file with this version of Waybill", Err: errors.Join(errors.New(what+" cannot be compiled"), err)}
}

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
func (t *Transformer) Apply(r *waybill.Record) Result {
	out := Result{Text: r.Value}
	if r.Value == nil || !t.record.Set(r, out.Text) {
		return out
	}
	t.evaluate(&out)
	return out
}

// evaluate filters and computes.
func (t *Transformer) evaluate(out *Result) {
	if t.filter != nil {
		wanted, err := t.filter.Bool(&t.record)
		if err != nil {
			out.Reject = failed("filter", err)
			return
		}
		if out.Filtered = !wanted; out.Filtered {
			return
		}
	}
	out.Reject = t.compute()
	if out.Reject == nil {
		out.Computed = t.texts()
	}
}

// compute evaluates the computed columns.
func (t *Transformer) compute() *Reject {
	t.out, t.ends = t.out[:0], t.ends[:0]
	for _, c := range t.computed {
		out, ok, err := c.AppendJSON(t.out, &t.record)
		if err != nil {
			return failed(c.name, err)
		}
		t.out = out
		if end := len(out); ok {
			t.ends = append(t.ends, end)
		} else {
			t.ends = append(t.ends, -1)
		}
	}
	return nil
}

// texts are the computed values, once all are there: out may have moved while they were written.
func (t *Transformer) texts() [][]byte {
	t.values = t.values[:0]
	start := 0
	for _, end := range t.ends {
		if end < 0 {
			t.values = append(t.values, nil)
			continue
		}
		t.values = append(t.values, t.out[start:end:end])
		start = end
	}
	return t.values
}

func failed(name string, err error) *Reject {
	return &Reject{Code: ExpressionError, Name: name, Message: err.Error()}
}

// Keep is what may be stored of the record that was applied last, if it becomes a dead letter: without redaction the record
// itself; with it, what redaction left of it. It may alias the record and the transformer's memory.
func (t *Transformer) Keep(r *waybill.Record) waybill.Record { return *r }
