package oracle

import (
	"fmt"
	"slices"
	"strings"

	"github.com/waybill-data/waybill/internal/contract"
)

// Lost are the leaves of a written event that are nowhere: not in a column, not in the rescue column, not counted as
// dropped. row is what was written, discarded are the drifts that were counted under ModeDiscard. It does not ask what the
// decoder should have done, only where each value is.
func (o *Oracle) Lost(event []byte, row []Value, discarded []DriftKey) []string {
	l := loss{oracle: o, row: row, discarded: discarded, rescued: map[string]string{}}
	for i, c := range o.plan.Columns() {
		if c.Source == contract.SourceRescued && row[i].Kind == KindScalar && row[i].Text != "" {
			l.readRescued(row[i].Text)
		}
	}
	l.value(parseTree(event), nil, false)
	return l.lost
}

type loss struct {
	oracle    *Oracle
	row       []Value
	discarded []DriftKey
	rescued   map[string]string // texts by path
	lost      []string
}

// readRescued reads the rescue column.
func (l *loss) readRescued(text string) {
	if r := judgeText([]byte(text)); r != nil {
		panic("oracle: the rescue column is " + r.Code)
	}
	for _, top := range parseTree([]byte(text)).members {
		if top.name != "fields" {
			continue
		}
		for _, field := range top.members {
			if _, twice := l.rescued[field.name]; twice {
				panic("oracle: the rescue column has " + field.name + " twice")
			}
			for _, m := range field.members {
				if m.name == "value" {
					l.rescued[field.name] = string(m.raw)
				}
			}
		}
	}
}

// value looks for a value and for what lies in it. found: it is part of a value that has been found.
func (l *loss) value(n node, place contract.Path, found bool) {
	found = found || l.isFound(n, place)
	if len(n.members)+len(n.elems) == 0 && !found && len(place) > 0 {
		l.lost = append(l.lost, fmt.Sprintf("%s: %s", place, n.raw))
	}
	for _, m := range n.members {
		l.value(m.node, append(slices.Clone(place), contract.Step{Name: m.name}), found)
	}
	for i, elem := range n.elems {
		l.value(elem, append(slices.Clone(place), contract.Step{Kind: contract.Element, Index: i}), found)
	}
}

func (l *loss) isFound(n node, place contract.Path) bool {
	if raw, ok := l.rescued[place.String()]; ok && raw == string(n.raw) {
		return true
	}
	for _, d := range l.discarded {
		if d.Path == general(place).String() || l.isDiscardedArray(d, place) {
			return true
		}
	}
	return slices.ContainsFunc(l.oracle.columns, func(c planColumn) bool { return l.isIn(c, n, place) })
}

// isDiscardedArray reports whether the place is an array for all of which a column has got something else.
func (l *loss) isDiscardedArray(d DriftKey, place contract.Path) bool {
	return slices.ContainsFunc(l.oracle.columns, func(c planColumn) bool {
		return c.Name == d.Column && c.each == len(place) && leads(c.path[:c.each], place)
	})
}

// isIn reports whether the value is in the column, or is a null that a column has taken note of, or nothing on the way
// to what the column takes.
func (l *loss) isIn(c planColumn, n node, place contract.Path) bool {
	if len(c.path) > len(place) {
		return leads(c.path[:len(place)], place) && (n.kind == 'n' || strings.TrimSpace(string(n.raw[1:len(n.raw)-1])) == "" && n.kind != '"')
	}
	if len(c.path) != len(place) || !leads(c.path, place) {
		return false
	}
	if n.kind == 'n' {
		return true
	}
	have, typ := l.row[c.index], c.typ
	if c.each >= 0 {
		i := place[c.each].Index
		if i >= len(have.Elems) {
			return false
		}
		have, typ = have.Elems[i], typ.Args[0]
	}
	if c.As == "json" {
		return have.Equal(Scalar(string(n.raw)))
	}
	want, fail := (&converter{format: c.Format, path: slices.Clone(c.path)}).convert(typ, n)
	return fail.code == "" && want.Equal(have)
}
