package json

import (
	"bytes"

	"github.com/waybill-data/waybill/internal/contract"
)

// The scanner's functions take the index where something begins in the text and return the index after it,
// or -1 if they cannot take it: the text may be broken there, or it may be a matter for the judge.

// object scans the object that opens at i, the depth-th container, and hands its members to their columns.
func (d *Decoder) object(t input, n *node, i, depth int) int {
	if depth > MaxDepth || len(n.inArray) > 0 {
		return -1
	}
	d.visit++
	visit, last, base := d.visit, &n.before, len(d.strangers)
	if i = blanks(t, i+1); t.at(i) == '}' {
		return i + 1
	}
	for {
		m := last.next[0]
		switch {
		case m != nil && m.at(t, i):
			i += m.size
		case t.at(i) != '"':
			return -1
		default:
			if m, i = d.lookup(t, n, last, i); i < 0 {
				return -1
			}
		}
		if m == nil {
			i = d.stranger(t, n, i, depth, base)
		} else {
			s := m.slot
			if s.seen == visit {
				return -1 // twice in one object
			}
			s.seen, last = visit, m
			if t.at(i) <= ' ' {
				i = blanks(t, i)
			}
			if s.only != nil {
				i = d.take(t, s.only, i, depth)
			} else {
				i = d.member(t, s, i, depth)
			}
		}
		if i < 0 {
			return -1
		}
		if t.at(i) <= ' ' {
			i = blanks(t, i)
		}
		c := t.at(i)
		i++
		if c != ',' {
			if c != '}' {
				return -1
			}
			d.strangers = d.strangers[:base]
			return i
		}
		if t.at(i) <= ' ' {
			i = blanks(t, i)
		}
	}
}

// member scans the value of a member that is no column's alone.
func (d *Decoder) member(t input, s *slot, i, depth int) int {
	if s.child != nil {
		return d.value(t, s.child, i, depth)
	}
	return d.stray(t, s.stray, i, depth)
}

// maxStrangers bounds the members of one object that could not be learnt: they are compared pair by pair.
const maxStrangers = 64

// stranger scans a member whose name, at i, is not known and cannot be learnt.
func (d *Decoder) stranger(t input, n *node, i, depth, base int) int {
	end := skipString(t, i)
	if end < 0 || d.learnt < maxUnmapped || len(d.strangers)-base >= maxStrangers {
		return -1
	}
	name := t.from(i, end)
	if bytes.IndexByte(name, '\\') >= 0 {
		return -1
	}
	for _, s := range d.strangers[base:] {
		if string(t.from(s.start, s.end)) == string(name) {
			return -1
		}
	}
	member := span{i, end}
	d.strangers = append(d.strangers, member)
	if i = colon(t, end); i < 0 || !n.taken && n.mode == contract.ModeFreeze {
		return -1
	}
	if end = skip(t, i, depth); end >= 0 && !n.taken {
		d.noteStranger(n, member, span{i, end})
	}
	return end
}

// colon steps over the colon at i and blanks around it.
func colon(t input, i int) int {
	if i = blanks(t, i); i < 0 || t.at(i) != ':' {
		return -1
	}
	return blanks(t, i+1)
}

// lookup finds the member that is named at i and did not come as predicted, and steps over its colon. It is nil,
// and i stays, if it is not known and cannot be learnt.
func (d *Decoder) lookup(t input, n *node, last *member, i int) (m *member, next int) {
	if m = last.next[1]; m != nil && m.at(t, i) {
		last.follows(m)
		return m, i + m.size
	}
	end := skipString(t, i)
	if end < 0 {
		return nil, -1
	}
	if m = n.find(t, i, end); m == nil {
		if m = d.learn(n, t.from(i, end)); m == nil {
			return nil, i
		}
	}
	last.follows(m)
	return m, colon(t, end)
}

// stray scans a value that no column takes.
func (d *Decoder) stray(t input, s *stray, i, depth int) int {
	next := skip(t, i, depth)
	if s == nil || next < 0 {
		return next
	}
	if s.mode == contract.ModeFreeze {
		return -1
	}
	d.noteStray(s, span{i, next})
	return next
}

// learn makes a spelling, quotes included, known at n; nil if there are too many already.
func (d *Decoder) learn(n *node, quoted []byte) *member {
	if len(quoted) > maxMember {
		return nil
	}
	name := string(d.unquote(quoted))
	s := n.slots[name]
	if s == nil {
		if s = d.newSlot(n, name); s == nil {
			return nil
		}
	} else if len(n.known) > 4*len(n.slots)+16 {
		return nil // a producer that spells one name in ever new ways
	}
	return n.spell(string(quoted[1:len(quoted)-1]), s)
}

// value hands the value at i to the columns that take it and goes on to those that take parts of it.
func (d *Decoder) value(t input, n *node, i, depth int) int {
	if n.only != nil {
		return d.take(t, n.only, i, depth)
	}
	end := -1
	for _, f := range n.takers {
		if end = d.take(t, f, i, depth); end < 0 {
			return -1
		}
	}
	c := t.at(i)
	switch {
	case n.isLeaf() && len(n.takers) > 0:
		return end
	case !n.led():
		if !n.opens(c) || t.at(blanks(t, i+1)) == c+2 {
			return d.stray(t, n.stray, i, depth)
		}
	case c == 'n':
		return literal(t, i, "null")
	}
	switch {
	case c == '{' && n.object:
		return d.object(t, n, i, depth+1)
	case c == '[' && n.each != nil:
		return d.array(t, n, i, depth+1)
	}
	return -1 // the columns below have a value of the wrong type
}

// array scans the array that opens at i, of which columns take parts.
func (d *Decoder) array(t input, n *node, i, depth int) int {
	if depth > MaxDepth || len(n.inObject) > 0 {
		return -1
	}
	elements := n.elements
	next := i
	level := d.rescue.enter()
	for index := 0; ; index++ {
		if next = nextElement(t, next, index); next < 0 || t.at(next) == ']' {
			break
		}
		d.rescue.around[level] = index
		e := n.each.node
		if len(elements) > 0 && elements[0].index == index {
			e, elements = elements[0].node, elements[1:]
		}
		if next = d.eachOf(t, n.each, e, next, depth); next < 0 {
			return -1
		}
	}
	if next < 0 || !d.endEach(n.each) {
		return -1
	}
	d.rescue.leave()
	return next + 1
}

// nextElement is where an array's next element begins, or its closing bracket: i is at the opening bracket
// if index is 0, else after the element before.
func nextElement(t input, i, index int) int {
	if index == 0 {
		return blanks(t, i+1)
	}
	i = blanks(t, i)
	switch t.at(i) {
	case ']':
		return i
	case ',':
		if i = blanks(t, i+1); t.at(i) != ']' {
			return i
		}
	}
	return -1
}

// eachOf lets columns take their part of one element, whose node is n.
func (d *Decoder) eachOf(t input, e *each, n *node, i, depth int) int {
	for _, f := range e.fields {
		f.before = f.list.Elem().Rows()
	}
	end := d.value(t, n, i, depth)
	if end < 0 {
		return -1
	}
	for _, f := range e.fields {
		if f.list.Elem().Rows() == f.before {
			d.emptyElement(f, &f.filled.Missing)
		}
	}
	return end
}

// emptyElement stands for an element that has no value for the column: NULL, or the element type's zero.
func (d *Decoder) emptyElement(f *field, count *int64) {
	f.list.Elem().AppendZero()
	d.pending = append(d.pending, count)
}

// endEach finishes the rows of columns that collected from an array.
func (d *Decoder) endEach(e *each) bool {
	for _, f := range e.fields {
		if !f.endList() {
			return false
		}
		f.mark = d.record
	}
	return true
}

// endList finishes an Array's row; false if it has not as many elements as the contract says.
func (f *field) endList() bool {
	f.list.EndRow()
	return f.length == 0 || f.hasLength()
}

// hasLength reports whether the last row of the Array has as many elements as the contract says.
func (f *field) hasLength() bool {
	first, next := f.list.Span(f.list.Rows() - 1)
	return next-first == f.length
}
