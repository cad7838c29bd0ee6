package oracle

import (
	"slices"

	"github.com/waybill-data/waybill/internal/contract"
)

// walker fills one row. After the first rejection nothing that it does matters any more.
type walker struct {
	oracle  *Oracle
	row     []*Value
	verdict Verdict
}

// reject keeps the first problem.
func (w *walker) reject(r Reject) {
	if w.verdict.Reject == nil {
		w.verdict.Reject = &r
	}
}

// object walks an object that a path leads to or through. taken is true if some column takes it whole.
func (w *walker) object(n node, path contract.Path, taken bool) {
	seen := map[string]bool{}
	for _, m := range n.members {
		at := append(slices.Clone(path), contract.Step{Name: m.name})
		if seen[m.name] {
			w.reject(Reject{Code: "duplicate_key", Path: at.String(), Offset: m.start})
		}
		seen[m.name] = true
		takers, below := w.oracle.at(at), w.oracle.below(at)
		if len(takers)+len(below) == 0 {
			if !taken {
				w.unmapped(at, m.node.start)
			}
			continue
		}
		for _, c := range takers {
			w.take(c, m.node)
		}
		switch {
		case len(below) == 0 || m.kind == 'n':
		case m.kind == '{':
			w.object(m.node, at, taken || len(takers) > 0)
		default: // a path leads through what is no object
			for _, c := range below {
				w.invalid(c, failure{code: "wrong_type", at: m.node.start})
			}
		}
	}
}

// unmapped is a field that no column takes.
func (w *walker) unmapped(path contract.Path, at int) {
	text := path.String()
	if w.oracle.plan.NewFields().Default == contract.ModeFreeze {
		w.reject(Reject{Code: "new_field", Path: text, Offset: at})
	}
	w.verdict.Unmapped[text]++
}

// take gives a value to a column.
func (w *walker) take(c planColumn, n node) {
	if n.kind == 'n' {
		w.null(c, n.start)
		return
	}
	if c.As == "json" {
		v := Scalar(string(n.raw))
		w.row[c.index] = &v
		return
	}
	k := converter{format: c.Format, path: slices.Clone(c.path)}
	v, fail := k.convert(c.typ, n)
	switch {
	case fail.code == "duplicate_key": // no policy helps: nobody knows what the event says
		w.reject(Reject{Code: fail.code, Path: fail.path.String(), Offset: fail.at})
	case fail.code != "":
		w.invalid(c, fail)
	default:
		w.row[c.index] = &v
		if k.rounded > 0 {
			w.verdict.Rounded[c.Name] += k.rounded
		}
	}
}

func (w *walker) null(c planColumn, at int) {
	if c.OnNull == contract.Null {
		v := Null()
		w.row[c.index] = &v
		return
	}
	w.substitute(c, c.OnNull, failure{code: "null_required", at: at}, Defaults{Null: 1})
}

func (w *walker) invalid(c planColumn, fail failure) {
	w.substitute(c, c.OnInvalid, fail, Defaults{Invalid: 1})
}

// missing treats the columns that have got nothing.
func (w *walker) missing() {
	for _, c := range w.oracle.columns {
		if w.row[c.index] == nil {
			w.substitute(c, c.OnMissing, failure{code: "missing_required", at: -1}, Defaults{Missing: 1})
		}
	}
}

// substitute does what a policy says.
func (w *walker) substitute(c planColumn, p contract.Policy, fail failure, count Defaults) {
	var v Value
	switch p {
	case contract.Null:
		v = Null()
	case contract.Default:
		v = defaultOf(c)
	default:
		w.reject(Reject{Code: fail.code, Column: c.Name, Path: c.path.String(), Offset: fail.at})
	}
	w.row[c.index] = &v
	sum := w.verdict.Defaulted[c.Name]
	w.verdict.Defaulted[c.Name] = Defaults{sum.Missing + count.Missing, sum.Null + count.Null, sum.Invalid + count.Invalid}
}
