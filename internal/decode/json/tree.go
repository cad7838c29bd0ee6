package json

import (
	"slices"

	"github.com/waybill-data/waybill/internal/contract"
)

// node is a place in the event that some column's path leads to or through.
type node struct {
	path   contract.Path
	takers []*field // columns that take the value here
	// children are the members that some path goes on to; nil if none does.
	children map[string]*node
	elements []element // likewise of an array, ascending
	each     *each     // columns that collect from the array here
	// inObject and inArray are columns that take parts of the value here, if it is an object or an array.
	inObject, inArray []*field
	// taken: some column takes this value or one around it as a whole, so that no member of it is unmapped.
	taken bool
	only  *field // the one taker, if there is nothing else here
	members
}

// element is one element of an array that a path goes on to.
type element struct {
	index int
	node  *node
}

// each is what columns collect from every element of an array.
type each struct {
	node   *node // the element
	fields []*field
}

// add puts a field into the tree below n.
func (n *node) add(f *field) {
	for i, step := range f.path {
		switch step.Kind {
		case contract.Member:
			n.inObject = append(n.inObject, f)
			n = n.child(step.Name, f.path[:i+1])
		case contract.Element:
			n.inArray = append(n.inArray, f)
			n = n.at(step.Index, f.path[:i+1])
		case contract.Each:
			n.inArray = append(n.inArray, f)
			if n.each == nil {
				n.each = &each{node: &node{path: f.path[:i+1]}}
			}
			n.each.fields = append(n.each.fields, f)
			n = n.each.node
		}
	}
	n.takers = append(n.takers, f)
}

func (n *node) child(name string, path contract.Path) *node {
	if n.children == nil {
		n.children = map[string]*node{}
	}
	if n.children[name] == nil {
		n.children[name] = &node{path: slices.Clip(path)}
	}
	return n.children[name]
}

func (n *node) at(index int, path contract.Path) *node {
	at, found := slices.BinarySearchFunc(n.elements, index, func(e element, i int) int { return e.index - i })
	if !found {
		n.elements = slices.Insert(n.elements, at, element{index, &node{path: slices.Clip(path)}})
	}
	return n.elements[at].node
}

// finish completes the tree below n, once all fields are in it.
func (n *node) finish(taken bool) {
	n.taken = taken || len(n.takers) > 0
	if len(n.takers) == 1 && n.isLeaf() {
		n.only = n.takers[0]
	}
	for _, child := range n.inner() {
		child.finish(n.taken)
	}
	n.learn(n.children)
}

// isLeaf: no path goes on from here.
func (n *node) isLeaf() bool { return len(n.inObject) == 0 && len(n.inArray) == 0 }

// inner are the nodes right below n.
func (n *node) inner() []*node {
	var out []*node
	for _, child := range n.children {
		out = append(out, child)
	}
	for _, e := range n.elements {
		out = append(out, e.node)
	}
	if n.each != nil {
		out = append(out, n.each.node)
	}
	return out
}

// visit calls back with n and all nodes below it.
func (n *node) visit(back func(*node)) {
	back(n)
	for _, child := range n.inner() {
		child.visit(back)
	}
}
