package config

import (
	"fmt"
	"slices"
	"strings"

	"github.com/waybill-data/waybill/internal/contract"
	"github.com/waybill-data/waybill/internal/transform/expr"
)

func cutHeader(s string) (name string, ok bool) { return strings.CutPrefix(s, "header.") }

// readStep reads one step of an upcaster: a mapping of one key, the operation.
func readStep(v value) (s contract.UpcastStep) {
	s.Line, s.Col = position(v.node)
	from := intoPaths(&s.From)
	to := intoPaths(&s.To)
	many := func(each func(value)) func(value) { return func(v value) { v.list(each) } }
	by := intoText(&s.By, notEmpty)
	literal := func(v value) { s.Value = v.jsonText() }
	op := func(op contract.UpcastOp, fields ...field) field {
		return optional(string(op), func(v value) {
			s.Op = op
			v.object(fields...)
			v.checkPaths(s)
		})
	}
	v.object(
		op(contract.OpRename, required("from", from), required("to", to)),
		op(contract.OpMove, required("from", from), required("to", to)),
		op(contract.OpSplit, required("from", from), required("by", by), required("into", many(to))),
		op(contract.OpMerge, required("from", many(from)), required("by", by), required("into", to)),
		op(contract.OpDefault, required("path", to), required("value", literal)),
		op(contract.OpConstant, required("path", to), required("value", literal)),
		op(contract.OpCompute, required("path", to), required("expr", intoExpr(&s.Expr, expr.Compile, nil))),
	)
	if v.describing() {
		v.shape.MinProperties, v.shape.MaxProperties = 1, 1
	}
	if entries, ok := v.entries(); ok && len(entries) != 1 {
		v.report(v.path+": a step is one operation", "write each as an item of its own: - rename: {from: a, to: b}")
	}
	return s
}

// intoPaths adds a path.
func intoPaths(to *[]string) func(value) {
	return func(v value) {
		var s string
		intoText(&s, notEmpty, aMember)(v)
		*to = append(*to, s) // empty: said already
	}
}

// checkPaths finds steps that cannot do what they say, whatever the event holds.
func (v value) checkPaths(s contract.UpcastStep) {
	if slices.Contains(s.From, "") || slices.Contains(s.To, "") {
		return
	}
	from, to := parsed(s.From), parsed(s.To)
	switch s.Op {
	case contract.OpRename:
		if len(from) == 1 && len(to) == 1 && !sameObject(from[0], to[0]) {
			v.report(v.path+": a rename stays within one object", "write move: {from: ..., to: ...}")
		}
	case contract.OpSplit:
		if len(to) == 1 {
			v.report(v.path+": a split makes at least two values", "")
		}
	case contract.OpMerge:
		if len(from) == 1 {
			v.report(v.path+": a merge takes at least two values", "")
		}
	}
	if s.Op == contract.OpRename || s.Op == contract.OpMove {
		if len(from) == 1 && len(to) == 1 && from[0].String() == to[0].String() {
			v.report(v.path+": from and to are the same", "")
		}
	}
	v.apart(from)
	v.apart(to)
}

// apart checks that of several paths none leads to another.
func (v value) apart(paths []contract.Path) {
	for i, p := range paths {
		for _, q := range paths[:i] {
			if n := min(len(p), len(q)); slices.Equal(p[:n], q[:n]) {
				v.report(fmt.Sprintf("%s: %s and %s lie within one another", v.path, q, p), "each value has a place of its own")
				return
			}
		}
	}
}

func parsed(texts []string) []contract.Path {
	out := make([]contract.Path, len(texts))
	for i, t := range texts {
		out[i], _ = contract.ParsePath(t) // checked when it was read
	}
	return out
}

// sameObject reports whether two paths lead to members of one object.
func sameObject(p, q contract.Path) bool {
	return len(p) == len(q) && slices.Equal(p[:len(p)-1], q[:len(q)-1])
}
