package oracle

import (
	"cmp"
	"slices"

	"github.com/waybill-data/waybill/internal/contract"
)

// leads reports whether a path of a plan leads to or through the place of a value. [*] is any element.
func leads(p, place contract.Path) bool {
	if len(p) > len(place) {
		return false
	}
	for i, s := range p {
		if s != place[i] && (s.Kind != contract.Each || place[i].Kind != contract.Element) {
			return false
		}
	}
	return true
}

// below are the columns whose path goes on from a place, see ordered.
func (o *Oracle) below(place contract.Path) []planColumn {
	return o.ordered(place, func(c planColumn) bool {
		return len(c.path) > len(place) && leads(c.path[:len(place)], place)
	})
}

// at are the columns that take the value at a place, see ordered.
func (o *Oracle) at(place contract.Path) []planColumn {
	return o.ordered(place, func(c planColumn) bool {
		return len(c.path) == len(place) && leads(c.path, place)
	})
}

// ordered are columns in the order in which their problems count: those of any element before those of one, seen
// from the value; then as the plan has them.
func (o *Oracle) ordered(place contract.Path, is func(planColumn) bool) []planColumn {
	var found []planColumn
	for _, c := range o.columns {
		if is(c) {
			found = append(found, c)
		}
	}
	slices.SortStableFunc(found, func(a, b planColumn) int {
		for i := len(place) - 1; i >= 0; i-- {
			if a.path[i].Kind != b.path[i].Kind {
				return -cmp.Compare(a.path[i].Kind, b.path[i].Kind) // Each is after Element
			}
		}
		return 0
	})
	return found
}

// mode is that for a new field at a place.
func (o *Oracle) mode(place contract.Path) contract.Mode {
	mode, longest := o.plan.NewFields().Default, 0
	for i, p := range o.modes {
		if len(p) > longest && leads(p, place) {
			mode, longest = o.plan.NewFields().Paths[i].Mode, len(p)
		}
	}
	return mode
}

// apart reports whether a container that no column wants is taken apart, for a mode that is given below.
func (o *Oracle) apart(n node, place contract.Path) bool {
	if len(n.members)+len(n.elems) == 0 {
		return false
	}
	return slices.ContainsFunc(o.modes, func(p contract.Path) bool {
		return len(p) > len(place) && leads(p[:len(place)], place) && (p[len(place)].Kind == contract.Member) == (n.kind == '{')
	})
}

// known is a place with [*] for elements whose index the plan does not name.
func (o *Oracle) known(place contract.Path) contract.Path {
	paths := slices.Clone(o.modes)
	for _, c := range o.columns {
		paths = append(paths, c.path)
	}
	out := slices.Clone(place)
	for i, s := range place {
		if s.Kind == contract.Element && !slices.ContainsFunc(paths, func(p contract.Path) bool {
			return len(p) > i && p[i] == s && leads(p[:i], place)
		}) {
			out[i] = contract.Step{Kind: contract.Each}
		}
	}
	return out
}

// general is a place with [*] for all elements.
func general(place contract.Path) contract.Path {
	out := slices.Clone(place)
	for i, s := range out {
		if s.Kind == contract.Element {
			out[i] = contract.Step{Kind: contract.Each}
		}
	}
	return out
}
