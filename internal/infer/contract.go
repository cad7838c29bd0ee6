package infer

import (
	"slices"
	"strings"

	"github.com/waybill-data/waybill/internal/contract"
)

// Contract is the proposal as a pipeline file's contract: nothing that fits no column is lost.
func (o *Proposal) Contract() contract.Contract {
	c := contract.Contract{
		NewFields: contract.Modes{Default: contract.ModeRescue}, TypeConflicts: contract.Modes{Default: contract.ModeRescue}, Tables: contract.ModeFreeze,
		MaxColumns: max(contract.DefaultMaxColumns, len(o.Fields)+50), RescueColumn: contract.DefaultRescueColumn, EventTime: o.EventTime,
	}
	for i := range o.Fields {
		c.Columns = append(c.Columns, o.Fields[i].Column)
	}
	return c
}

// Typed are the leaves of the sample that a column with a type of its own takes, and all leaves: values that are no objects and no arrays.
func (p *Profile) Typed(o *Proposal) (typed, all int64) {
	as := map[string]bool{} // by path: its values have a type
	for i := range o.Fields {
		f := &o.Fields[i]
		path := f.From
		if path == "" {
			path = contract.Names(f.Name).String()
		}
		as[path] = !f.Text
	}
	return leaves(&p.root, nil, as, -1)
}

// leaves counts below a node; under is 1 or 0 for what lies in a column with, or without types.
func leaves(n *node, path contract.Path, as map[string]bool, under int) (typed, all int64) {
	if len(path) > 0 && under < 0 {
		if is, there := as[path.String()]; there {
			under = 0
			if is {
				under = 1
			}
		}
	}
	k := n.kinds
	all = k.Null + k.Bool + k.Integer + k.Decimal + k.String
	if under > 0 {
		typed = all
	} else if below(as, path) && under < 0 && k.Object+k.Array > 0 {
		typed = k.Null // the columns of what lies below are NULL
	}
	for _, name := range n.names {
		t, a := leaves(n.members[name], append(slices.Clone(path), contract.Step{Kind: contract.Member, Name: name}), as, under)
		typed, all = typed+t, all+a
	}
	if n.elems != nil {
		step := contract.Step{Kind: contract.Each}
		if below(as, append(slices.Clone(path), contract.Step{Kind: contract.Element})) {
			step = contract.Step{Kind: contract.Element}
		}
		t, a := leaves(n.elems, append(slices.Clone(path), step), as, under)
		typed, all = typed+t, all+a
	}
	return typed, all
}

// below reports whether any column is taken from a path, or from below it.
func below(as map[string]bool, path contract.Path) bool {
	prefix := path.String()
	for p := range as {
		if strings.HasPrefix(p, prefix) {
			return true
		}
	}
	return false
}
