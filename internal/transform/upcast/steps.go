package upcast

import (
	"errors"
	"fmt"
	"strings"

	"github.com/waybill-data/waybill"
	"github.com/waybill-data/waybill/internal/contract"
	"github.com/waybill-data/waybill/internal/transform/expr"
)

// step is a compiled contract.UpcastStep.
type step struct {
	name     string // "upcast 1 -> 2, step 3: move"
	op       contract.UpcastOp
	from, to []contract.Path
	by       string
	value    []byte
	expr     *expr.Expr
}

var (
	errNoString = errors.New("the value is no text")
	errNotJSON  = errors.New("the step's value is no JSON")
)

// arity says how many paths each operation has: from, to; -1 is at least two.
var arity = map[contract.UpcastOp][2]int{
	contract.OpRename: {1, 1}, contract.OpMove: {1, 1}, contract.OpSplit: {1, -1}, contract.OpMerge: {-1, 1},
	contract.OpDefault: {0, 1}, contract.OpConstant: {0, 1}, contract.OpCompute: {0, 1},
}

func compileStep(name string, s contract.UpcastStep) (out step, err error) {
	out = step{name: name, op: s.Op, by: s.By, value: []byte(s.Value)}
	want, known := arity[s.Op]
	if !known {
		return out, fmt.Errorf("%s: there is no such step", name)
	}
	if out.from, err = paths(s.From, want[0]); err != nil {
		return out, fmt.Errorf("%s: from: %w", name, err)
	}
	if out.to, err = paths(s.To, want[1]); err != nil {
		return out, fmt.Errorf("%s: to: %w", name, err)
	}
	switch s.Op {
	case contract.OpSplit, contract.OpMerge:
		if s.By == "" {
			err = errors.New("by is empty")
		}
	case contract.OpDefault, contract.OpConstant:
		if !valid(out.value) {
			err = errNotJSON
		}
	case contract.OpCompute:
		out.expr, err = expr.Compile(s.Expr)
	}
	if err != nil {
		err = fmt.Errorf("%s: %w", name, err)
	}
	return out, err
}

func paths(texts []string, want int) ([]contract.Path, error) {
	if want < 0 && len(texts) < 2 || want >= 0 && len(texts) != want {
		return nil, fmt.Errorf("%d paths", len(texts))
	}
	var out []contract.Path
	for _, text := range texts {
		p, err := contract.ParsePath(text)
		if err != nil {
			return nil, err
		}
		if p.Each() >= 0 || p[len(p)-1].Kind != contract.Member {
			return nil, fmt.Errorf("%s does not lead to one member", text)
		}
		out = append(out, p)
	}
	return out, nil
}

// do changes the event. at is the path concerned, if the step cannot be done. Only Compute looks at the record.
func (s *step) do(event *value, u *Upcaster, r *waybill.Record) (at contract.Path, err error) {
	switch s.op {
	case contract.OpRename, contract.OpMove:
		return s.move(event)
	case contract.OpSplit:
		return s.split(event)
	case contract.OpMerge:
		return s.merge(event)
	case contract.OpDefault:
		return s.missing(event)
	case contract.OpConstant:
		return s.to[0], event.put(s.to[0], &value{text: s.value}, true)
	}
	return s.compute(event, u, r)
}

func (s *step) move(event *value) (contract.Path, error) {
	x, err := event.take(s.from[0])
	if x == nil || err != nil {
		return s.from[0], err
	}
	return s.to[0], event.put(s.to[0], x, false)
}

// split leaves out the targets that there is no part for.
func (s *step) split(event *value) (contract.Path, error) {
	x, err := event.take(s.from[0])
	if x == nil || err != nil {
		return s.from[0], err
	}
	text, ok := x.str()
	if !ok {
		return s.from[0], errNoString
	}
	for i, part := range strings.SplitN(text, s.by, len(s.to)) {
		if err := event.put(s.to[i], ofString(part), false); err != nil {
			return s.to[i], err
		}
	}
	return nil, nil
}

// merge does nothing unless all sources are there.
func (s *step) merge(event *value) (contract.Path, error) {
	texts := make([]string, len(s.from))
	for i, p := range s.from {
		x, err := event.at(p)
		if x == nil || err != nil {
			return p, err
		}
		var ok bool
		if texts[i], ok = x.str(); !ok {
			return p, errNoString
		}
	}
	for _, p := range s.from {
		if _, err := event.take(p); err != nil {
			return p, err
		}
	}
	return s.to[0], event.put(s.to[0], ofString(strings.Join(texts, s.by)), false)
}

// missing is OpDefault.
func (s *step) missing(event *value) (contract.Path, error) {
	err := event.put(s.to[0], &value{text: s.value}, false)
	if errors.Is(err, errTaken) {
		err = nil
	}
	return s.to[0], err
}

// compute does nothing if the expression gives optional.none().
func (s *step) compute(event *value, u *Upcaster, r *waybill.Record) (contract.Path, error) {
	u.scratch = event.append(u.scratch[:0])
	u.record.Set(r, u.scratch)
	text, ok, err := s.expr.AppendJSON(nil, &u.record)
	if err != nil {
		return nil, expressionError{err}
	}
	if !ok {
		return nil, nil
	}
	return s.to[0], event.put(s.to[0], &value{text: text}, true)
}

// expressionError is an error of an expression, not of the step.
type expressionError struct{ error }
