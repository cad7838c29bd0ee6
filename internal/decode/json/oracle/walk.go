package oracle

import (
	"cmp"
	"slices"

	"github.com/waybill-data/waybill/internal/contract"
)

// walker fills one row. After the first rejection nothing that it does matters any more.
type walker struct {
	oracle  *Oracle
	row     []*Value
	verdict Verdict
	around  []node // the values that the one at hand lies in, the event first: around[i] is at the path's first i steps
	// collected are the elements that columns have got so far from the array at hand.
	collected map[int]*Value
	rescued   []rescued
	filled    int // columns that have what the event says
}

// reject keeps the first problem.
func (w *walker) reject(r Reject) {
	if w.verdict.Reject == nil {
		w.verdict.Reject = &r
	}
}

// value treats a value and all that lies in it. taken is true if some column takes a value around it whole.
func (w *walker) value(n node, path contract.Path, taken bool) {
	takers, below := w.oracle.at(path), w.oracle.below(path)
	for _, c := range takers {
		w.take(c, n, path)
	}
	taken = taken || len(takers) > 0
	switch {
	case len(below) == 0 && taken:
		return
	case len(below) == 0:
		if !w.oracle.apart(n, path) {
			w.stray(n, path)
			return
		}
	case n.kind == 'n':
		return
	}
	forObject, forArray := split(below, len(path))
	if n.kind != '{' {
		w.unreachable(forObject, n, path)
	}
	if n.kind != '[' {
		w.unreachable(forArray, n, path)
	}
	w.around = append(w.around, n)
	switch {
	case n.kind == '{' && (len(forObject) > 0 || len(below) == 0):
		w.object(n, path, taken)
	case n.kind == '[' && (len(forArray) > 0 || len(below) == 0):
		w.array(n, path, forArray, taken)
	}
	w.around = w.around[:len(w.around)-1]
}

// split parts columns by the kind of container that they want at a depth.
func split(columns []planColumn, depth int) (forObject, forArray []planColumn) {
	for _, c := range columns {
		if c.path[depth].Kind == contract.Member {
			forObject = append(forObject, c)
		} else {
			forArray = append(forArray, c)
		}
	}
	return forObject, forArray
}

func (w *walker) object(n node, path contract.Path, taken bool) {
	seen := map[string]bool{}
	for _, m := range n.members {
		at := append(slices.Clone(path), contract.Step{Name: m.name})
		if seen[m.name] {
			w.reject(Reject{Code: "duplicate_key", Path: w.oracle.known(at).String(), Offset: m.start})
		}
		seen[m.name] = true
		w.value(m.node, at, taken)
	}
}

// array walks an array; some of the columns collect from it.
func (w *walker) array(n node, path contract.Path, columns []planColumn, taken bool) {
	var collecting []planColumn
	for _, c := range columns {
		if c.path[len(path)].Kind == contract.Each {
			collecting = append(collecting, c)
			w.collected[c.index] = &Value{Kind: KindList}
		}
	}
	slices.SortFunc(collecting, func(a, b planColumn) int { return cmp.Compare(a.index, b.index) })
	for i, elem := range n.elems {
		w.value(elem, append(slices.Clone(path), contract.Step{Kind: contract.Element, Index: i}), taken)
		for _, c := range collecting {
			if list := w.collected[c.index]; w.row[c.index] == nil && len(list.Elems) == i {
				list.Elems = append(list.Elems, zero(c.typ.Args[0]))
				w.count(c, Defaults{Missing: 1})
			}
		}
	}
	for _, c := range collecting {
		switch {
		case w.row[c.index] != nil:
		case c.Length > 0 && len(n.elems) != c.Length:
			w.invalid(c, failure{code: "wrong_length", at: n.start}, n, path)
		default:
			w.fill(c, *w.collected[c.index])
		}
	}
}

// stray is a value that no column takes.
func (w *walker) stray(n node, path contract.Path) {
	mode := w.oracle.mode(path)
	if mode == contract.ModeFreeze {
		w.reject(Reject{Code: "new_field", Path: w.oracle.known(path).String(), Offset: n.start})
	}
	w.verdict.note(DriftKey{Path: general(path).String(), Mode: mode}, "", n)
	if mode == contract.ModeRescue || mode == contract.ModeEvolve {
		w.rescued = append(w.rescued, rescued{path.String(), "new_field", "", n})
	}
}

// unreachable is for columns whose paths lead through a value of another kind.
func (w *walker) unreachable(columns []planColumn, n node, path contract.Path) {
	for _, c := range columns {
		if w.row[c.index] == nil {
			w.invalid(c, failure{code: "wrong_type", at: n.start}, n, path)
		}
	}
}

func (w *walker) fill(c planColumn, v Value) {
	w.row[c.index] = &v
	w.filled++
}

// take gives a value to a column.
func (w *walker) take(c planColumn, n node, path contract.Path) {
	if w.row[c.index] != nil { // it has a substitute for the whole array
		return
	}
	if n.kind == 'n' {
		w.null(c, n, path)
		return
	}
	typ := c.typ
	if c.each >= 0 {
		typ = typ.Args[0]
	}
	k := converter{format: c.Format, path: slices.Clone(c.path)}
	v, fail := Scalar(string(n.raw)), failure{}
	if c.As != "json" {
		v, fail = k.convert(typ, n)
	}
	if fail.code == "" && c.each < 0 && c.Length > 0 && len(v.Elems) != c.Length {
		fail = failure{code: "wrong_length", at: n.start}
	}
	switch {
	case fail.code == "duplicate_key": // no policy helps: nobody knows what the event says
		w.reject(Reject{Code: fail.code, Path: fail.path.String(), Offset: fail.at})
		return
	case fail.code != "":
		w.invalid(c, fail, n, path)
		return
	case c.each >= 0:
		list := w.collected[c.index]
		list.Elems = append(list.Elems, v)
	default:
		w.fill(c, v)
	}
	if k.rounded > 0 {
		w.verdict.Rounded[c.Name] += k.rounded
	}
}

func (w *walker) null(c planColumn, n node, path contract.Path) {
	fail := failure{code: "null_required", at: n.start}
	switch {
	case c.each >= 0:
		list := w.collected[c.index]
		list.Elems = append(list.Elems, zero(c.typ.Args[0]))
		if !c.typ.Args[0].canNull() {
			w.count(c, Defaults{Null: 1})
		}
	case c.OnNull == contract.Null:
		w.fill(c, Null())
		w.verdict.Nulls[c.Name]++
	case c.OnNull == contract.Rescue:
		w.conflict(c, fail, n, path, c.OnNull)
		w.substitute(c, c.Instead, fail, Defaults{})
	default:
		w.substitute(c, c.OnNull, fail, Defaults{Null: 1})
	}
}

func (w *walker) invalid(c planColumn, fail failure, n node, path contract.Path) {
	switch c.OnInvalid {
	case contract.Rescue:
		w.conflict(c, fail, n, path, c.OnInvalid)
		w.substitute(c, c.Instead, fail, Defaults{})
	case contract.DeadLetter:
		w.substitute(c, c.OnInvalid, fail, Defaults{Invalid: 1})
	default:
		w.conflict(c, fail, n, path, c.OnInvalid)
		w.substitute(c, c.OnInvalid, fail, Defaults{Invalid: 1})
	}
}

// conflict notes a value that a column refuses.
func (w *walker) conflict(c planColumn, fail failure, n node, path contract.Path, p contract.Policy) {
	mode := contract.ModeDiscard
	if p == contract.Rescue {
		mode = contract.ModeRescue
		if c.Evolve && fail.code != "wrong_length" && len(path) == len(c.path) {
			mode = contract.ModeEvolve
		}
		kept, at := n, path
		if c.each >= 0 && len(path) > c.each {
			kept, at = w.around[c.each], path[:c.each]
		}
		w.rescued = append(w.rescued, rescued{at.String(), fail.code, c.Name, kept})
	}
	w.verdict.note(DriftKey{Path: general(path).String(), Column: c.Name, Mode: mode}, fail.code, n)
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
	w.count(c, count)
}

func (w *walker) count(c planColumn, n Defaults) {
	sum := w.verdict.Defaulted[c.Name]
	sum = Defaults{sum.Missing + n.Missing, sum.Null + n.Null, sum.Invalid + n.Invalid}
	if sum != (Defaults{}) {
		w.verdict.Defaulted[c.Name] = sum
	}
}
