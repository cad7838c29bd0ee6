package json

import (
	"github.com/waybill-data/waybill/internal/column"
	"github.com/waybill-data/waybill/internal/contract"
)

// field is one column that is filled from a path in the event.
type field struct {
	index                        int // of the column in the block
	name                         string
	path                         []string
	asJSON                       bool
	format                       column.TimeFormat
	onMissing, onNull, onInvalid contract.Policy
	// fallback is a column of the same type with one row: what policy default writes.
	fallback column.Column
	filled   Defaults
	rounded  int64 // moments that lost digits
}

// node is a place in the event that some column's path leads to or through.
type node struct {
	path     []string
	takers   []*field         // columns that take the value here
	children map[string]*node // by member name; nil if no path leads further
	// unmapped counts the members of the object here that no column takes, by name.
	unmapped map[string]*int64
}

// add puts a field into the tree below n.
func (n *node) add(f *field) {
	for i, name := range f.path {
		child := n.children[name]
		if child == nil {
			child = &node{path: f.path[: i+1 : i+1]}
			if n.children == nil {
				n.children = map[string]*node{}
			}
			n.children[name] = child
		}
		n = child
	}
	n.takers = append(n.takers, f)
}

// walk visits n and all nodes below it.
func (n *node) walk(visit func(*node)) {
	visit(n)
	for _, child := range n.children {
		child.walk(visit)
	}
}
