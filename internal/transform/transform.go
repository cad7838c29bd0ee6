// Package transform does what a plan says about an event before its fields go to columns: it brings the event to the current
// version, redacts it, filters, chooses the table and computes columns. All of it is a function of the record and the plan alone.
package transform

import (
	"errors"
	"strings"

	"github.com/waybill-data/waybill"
	"github.com/waybill-data/waybill/internal/contract"
	"github.com/waybill-data/waybill/internal/transform/expr"
	"github.com/waybill-data/waybill/internal/transform/upcast"
)

// Transformer applies a plan's transform. It belongs to one goroutine at a time.
type Transformer struct {
	upcast   *upcast.Upcaster // nil: there is one version
	redact   redactor         // nil: nothing is redacted
	filter   *expr.Expr       // nil: all records are wanted
	routes   []route          // at least one
	unrouted contract.Unrouted

	keepRaw         bool   // what could not be redacted is kept as it is
	header, current string // of the version, if it is in a header

	kept   kept
	record expr.Record
	out    []byte   // texts of computed values
	ends   []int    // where each ends in out; -1 for none
	values [][]byte // Result.Computed
}

// named is an expression with the name that dead letters call it by, and the column that it is for, if it is for one.
type named struct {
	name, column string
	*expr.Expr
}

// route is what is done for one table.
type route struct {
	when     named // nil expression: every event that gets here
	computed []named
}

// New compiles what a plan says. It is nil if the plan has nothing to do. secret is the key of redaction's hashes.
func New(p *contract.Plan, secret []byte) (*Transformer, error) {
	t := &Transformer{unrouted: p.Unrouted()}
	for _, r := range p.Routes() {
		if err := t.compileRoute(r); err != nil {
			return nil, err
		}
	}
	if tr := p.Transform(); tr != nil {
		if err := t.compile(tr, secret); err != nil {
			return nil, err
		}
	}
	if t.upcast == nil && t.redact == nil && t.filter == nil && !p.Routed() && t.routes[0].computed == nil {
		return nil, nil
	}
	return t, nil
}

// compileRoute compiles the condition and the computed columns of one table.
func (t *Transformer) compileRoute(from contract.Route) (err error) {
	of := "" // names the route, where there are several
	if from.Name != "" {
		of = "route " + from.Name
	}
	r := route{when: named{name: of}}
	if from.When != "" {
		if r.when.Expr, err = expr.CompileBool(from.When); err != nil {
			return configError("the condition of "+of, err)
		}
	}
	for _, c := range from.Plan.Columns() {
		if c.Source != contract.SourceExpr {
			continue
		}
		e, err := expr.Compile(c.Expr)
		if err != nil {
			return configError("the expression of column "+c.Name, err)
		}
		r.computed = append(r.computed, named{strings.TrimPrefix(of+", column "+c.Name, ", "), c.Name, e})
	}
	t.routes = append(t.routes, r)
	return nil
}

// compile compiles what is the same for all columns.
func (t *Transformer) compile(tr *contract.Transform, secret []byte) (err error) {
	if tr.Version != nil {
		if t.upcast, err = upcast.New(*tr.Version); err != nil {
			return configError("version", err)
		}
		t.header, t.current = tr.Version.Header, tr.Version.Current
	}
	if tr.Filter != "" {
		if t.filter, err = expr.CompileBool(tr.Filter); err != nil {
			return configError("the filter", err)
		}
	}
	return t.compileRedact(tr.Redact, secret)
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
	NotKept         Code = "not_kept"         // what there is of the record is what redaction left of a value that it could not read
	NoRoute         Code = "no_route"         // no route takes the event
)

// Reject is why a record could not be transformed. Its message never quotes the record's values.
type Reject struct {
	Code    Code
	Name    string // of the expression ("filter", "route calls", "column cost") or the step ("upcast 1 -> 2, step 3: move")
	Path    string // the field or column concerned, if one
	Message string
}

// Result is what became of one record.
type Result struct {
	// Record has the key and the headers to decode: the record's own, or what redaction left of them.
	Record *waybill.Record
	// Text is the event to decode: the record's own value, or what was made of it. It is valid until the next Apply.
	Text []byte
	// Route is which of the plan's routes takes the event.
	Route int
	// Computed are the values of the route's SourceExpr columns, in the order of its plan, as JSON texts; nil for a column
	// that got none. Valid until the next Apply.
	Computed [][]byte
	Filtered bool
	Reject   *Reject
	Redacted int  // values that redaction changed
	Upcast   bool // the event was brought to the current version
	// Assumed: the event's version is not known, and was taken for the current one.
	Assumed bool
}

// Apply transforms one record. A tombstone and a text that is no JSON object are not its business: they come back as they are.
func (t *Transformer) Apply(r *waybill.Record) Result {
	out := Result{Record: r, Text: r.Value}
	t.redactRecord(r, &out)
	if r.Value == nil || !t.record.Set(r, out.Text) {
		return out
	}
	if r.NotKept {
		t.kept.text = r.Value // there is no more to be taken away
		out.Reject = &Reject{NotKept, "redact", "", "of the value only size and hash are left: it could not be redacted when the record was archived"}
		return out
	}
	if t.upcast != nil && !t.toCurrent(r, &out) {
		return out
	}
	if t.redact != nil {
		t.redactEvent(&out)
		t.record.Set(out.Record, out.Text)
	}
	t.evaluate(&out)
	return out
}

// toCurrent brings the event to the current version; it reports false if that failed.
func (t *Transformer) toCurrent(r *waybill.Record, out *Result) bool {
	outcome, text, problem := t.upcast.Apply(&t.record, r)
	switch outcome {
	case upcast.Current:
	case upcast.Assumed:
		out.Assumed = true
	case upcast.Upcast:
		out.Upcast, out.Text = true, text
		t.record.Set(r, text)
	default:
		out.Reject = &Reject{codeOf(outcome, problem), problem.Step, problem.Path, problem.Message}
	}
	return out.Reject == nil
}

func codeOf(o upcast.Outcome, p *upcast.Problem) Code {
	switch {
	case o == upcast.Unknown:
		return UnknownVersion
	case p.Expression:
		return ExpressionError
	}
	return UpcastConflict
}

// evaluate filters, chooses the route and computes.
func (t *Transformer) evaluate(out *Result) {
	if t.filter != nil {
		wanted, err := t.filter.Bool(&t.record)
		if err != nil {
			out.Reject = named{name: "filter"}.failed(err)
			return
		}
		if out.Filtered = !wanted; out.Filtered {
			return
		}
	}
	if t.choose(out); out.Reject != nil || out.Filtered {
		return
	}
	out.Reject = t.compute(t.routes[out.Route].computed)
	if out.Reject == nil {
		out.Computed = t.texts()
	}
}

// choose finds the first route that takes the event.
func (t *Transformer) choose(out *Result) {
	for i := range t.routes {
		when := &t.routes[i].when
		if out.Route = i; when.Expr == nil {
			return
		}
		takes, err := when.Bool(&t.record)
		if err != nil {
			out.Reject = when.failed(err)
			return
		}
		if takes {
			return
		}
	}
	if out.Filtered = t.unrouted == contract.UnroutedDiscard; !out.Filtered {
		out.Reject = &Reject{Code: NoRoute, Name: "routes", Message: "no route takes the event"}
	}
}

// compute evaluates computed columns.
func (t *Transformer) compute(columns []named) *Reject {
	t.out, t.ends = t.out[:0], t.ends[:0]
	for _, c := range columns {
		out, ok, err := c.AppendJSON(t.out, &t.record)
		if err != nil {
			return c.failed(err)
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

func (n named) failed(err error) *Reject {
	return &Reject{Code: ExpressionError, Name: n.name, Path: n.column, Message: err.Error()}
}
