package json

import (
	"slices"

	"github.com/waybill-data/waybill/internal/contract"
)

// node is a place in the event that some column's path, or that of a mode for new fields, leads to or through.
type node struct {
	path   contract.Path
	place  place
	takers []*field // columns that take the value here
	// children are the members that some path goes on to; nil if none does.
	children map[string]*node
	elements []element // likewise of an array, ascending; each also has what each.node has
	each     *each     // the other elements; nil if the value is not taken apart as an array
	// object: the value is taken apart as an object.
	object bool
	// inObject and inArray are columns that take parts of the value here, if it is an object or an array.
	inObject, inArray []*field
	// taken: some column takes this value or one around it as a whole, so that no part of it is a new field.
	taken bool
	only  *field        // the one taker, if there is nothing else here
	mode  contract.Mode // for new fields here
	// named are members that no column takes and that have a mode of their own.
	named map[string]bool
	// stray is for values here that no column takes; nil if there are none.
	stray *stray
	members
}

// element is one element of an array that a path goes on to.
type element struct {
	index int
	node  *node
}

// each is what columns collect from the elements of an array.
type each struct {
	node   *node // an element
	fields []*field
	array  span // the one at hand
}

func newNode(path contract.Path) *node { return &node{path: slices.Clip(path), place: placeOf(path)} }

// add puts a field into the tree below n.
func (n *node) add(f *field) {
	f.node = nil
	for i, step := range f.path {
		if step.Kind == contract.Member {
			n.inObject = append(n.inObject, f)
		} else {
			n.inArray = append(n.inArray, f)
		}
		if step.Kind == contract.Each {
			f.node = n
		}
		n = n.step(step, f.path[:i+1])
		if step.Kind == contract.Each {
			f.node.each.fields = append(f.node.each.fields, f)
		}
	}
	n.takers = append(n.takers, f)
	if f.node == nil {
		f.node = n
	}
}

// addMode makes a place for values at a path that has a mode of its own.
func (n *node) addMode(path contract.Path) {
	for i, step := range path {
		if step.Kind == contract.Member && i == len(path)-1 {
			n.name(step.Name)
			return
		}
		n = n.step(step, path[:i+1])
	}
}

func (n *node) name(member string) {
	if n.object = true; n.named == nil {
		n.named = map[string]bool{}
	}
	n.named[member] = true
}

// step is the node one step below n.
func (n *node) step(s contract.Step, path contract.Path) *node {
	if s.Kind == contract.Member {
		if n.object = true; n.children == nil {
			n.children = map[string]*node{}
		}
		if n.children[s.Name] == nil {
			n.children[s.Name] = newNode(path)
		}
		return n.children[s.Name]
	}
	if n.each == nil {
		n.each = &each{node: newNode(append(slices.Clip(path[:len(path)-1]), contract.Step{Kind: contract.Each}))}
	}
	if s.Kind == contract.Each {
		return n.each.node
	}
	return n.at(s.Index, path)
}

func (n *node) at(index int, path contract.Path) *node {
	at, found := slices.BinarySearchFunc(n.elements, index, func(e element, i int) int { return e.index - i })
	if !found {
		n.elements = slices.Insert(n.elements, at, element{index, newNode(path)})
	}
	return n.elements[at].node
}

// merge puts all that is in and below o, the node of any element, into and below n, the node of one of them. The one [*]
// of the fields there is above: they do not begin to collect below o.
func (n *node) merge(o *node) {
	n.takers = slices.Concat(o.takers, n.takers)
	n.inObject, n.inArray = slices.Concat(o.inObject, n.inObject), slices.Concat(o.inArray, n.inArray)
	n.object = n.object || o.object
	for name := range o.named {
		n.name(name)
	}
	below := func(s contract.Step) *node { return n.step(s, append(slices.Clip(n.path), s)) }
	for name, child := range o.children {
		below(contract.Step{Name: name}).merge(child)
	}
	if o.each != nil {
		below(contract.Step{Kind: contract.Each}).merge(o.each.node)
	}
	for _, e := range o.elements {
		below(contract.Step{Kind: contract.Element, Index: e.index}).merge(e.node)
	}
}

// finish completes the tree below n, once all paths are in it.
func (n *node) finish(modes contract.Modes, taken bool) {
	n.taken = taken || len(n.takers) > 0
	n.mode = modes.Of(n.path)
	if n.taken && !n.led() {
		n.object, n.children, n.elements, n.each, n.named = false, nil, nil, nil, nil
	}
	for _, e := range n.elements {
		e.node.merge(n.each.node)
	}
	if len(n.takers) == 1 && n.isLeaf() {
		n.only = n.takers[0]
	}
	if !n.taken && !n.led() {
		n.stray = newStray(n.path, n.mode)
	}
	for _, child := range n.inner() {
		child.finish(modes, n.taken)
	}
}

// isLeaf: no path goes on from here.
func (n *node) isLeaf() bool { return !n.object && n.each == nil }

// led: some column's path goes on from here.
func (n *node) led() bool { return len(n.inObject)+len(n.inArray) > 0 }

// opens reports whether a container that begins with open, and is not empty, is taken apart although no column's path
// goes on.
func (n *node) opens(open byte) bool {
	return open == '{' && n.object || open == '[' && n.each != nil
}

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
