package json

import (
	"bytes"
	"unicode/utf8"
)

// The scanner's functions take the index where something begins in the text and return the index after it,
// or -1 if they cannot take it: the text may be broken there, or it may be a matter for the judge.

// object scans the object that opens at i, the depth-th container, and hands its members to their columns.
func (d *Decoder) object(text []byte, n *node, i, depth int) int {
	if depth > MaxDepth || len(n.inArray) > 0 {
		return -1
	}
	d.visit++
	visit, last, base := d.visit, &n.first, len(d.strangers)
	if i = blanks(text, i+1); i < len(text) && text[i] == '}' {
		return i + 1
	}
	for uint(i) < uint(len(text)) && text[i] == '"' {
		m := last.next[0]
		if m == nil || !m.at(text, i+1) {
			m = d.lookup(text, n, last, i+1)
		}
		if m == nil {
			i = d.stranger(text, n, i, depth, base)
		} else {
			s := m.slot
			if s.seen == visit {
				return -1 // twice in one object
			}
			s.seen, last = visit, m
			if i += 1 + m.size; uint(i+1) < uint(len(text)) && text[i] == ':' && text[i+1] > ' ' {
				i++
			} else if i = colon(text, i); i < 0 {
				return -1
			}
			if s.only != nil {
				i = d.take(text, s.only, i, depth)
			} else {
				i = d.member(text, n, s, i, depth)
			}
		}
		if uint(i) < uint(len(text)) && text[i] <= ' ' {
			i = blanks(text, i)
		}
		if uint(i) >= uint(len(text)) {
			return -1
		}
		c := text[i]
		i++
		if c != ',' {
			if c != '}' {
				return -1
			}
			d.strangers = d.strangers[:base]
			return i
		}
		if uint(i) < uint(len(text)) && text[i] <= ' ' {
			i = blanks(text, i)
		}
	}
	return -1
}

// member scans the value of a member that is no column's alone.
func (d *Decoder) member(text []byte, n *node, s *slot, i, depth int) int {
	if s.child != nil {
		return d.value(text, s.child, i, depth)
	}
	return d.ignore(text, n, &s.count, i, depth)
}

// maxStrangers bounds the members of one object that could not be learnt: they are compared pair by pair.
const maxStrangers = 64

// stranger scans a member whose name, at i, is not known and cannot be learnt.
func (d *Decoder) stranger(text []byte, n *node, i, depth, base int) int {
	end := skipString(text, i)
	if end < 0 || d.learnt < maxUnmapped || len(d.strangers)-base >= maxStrangers {
		return -1
	}
	name := text[i:end]
	if bytes.IndexByte(name, '\\') >= 0 {
		return -1
	}
	for _, s := range d.strangers[base:] {
		if string(text[s.start:s.end]) == string(name) {
			return -1
		}
	}
	d.strangers = append(d.strangers, span{i, end})
	if i = colon(text, end); i < 0 {
		return -1
	}
	return d.ignore(text, n, &d.other, i, depth)
}

// colon steps over the colon at i and blanks around it.
func colon(text []byte, i int) int {
	if i = blanks(text, i); uint(i) < uint(len(text)) && text[i] == ':' {
		return blanks(text, i+1)
	}
	return -1
}

// lookup finds the member that is named at i and did not come as predicted.
func (d *Decoder) lookup(text []byte, n *node, last *member, i int) *member {
	m := last.next[1]
	if m == nil || !m.at(text, i) {
		if m = d.find(text, n, i); m == nil {
			return nil
		}
	}
	last.follows(m)
	return m
}

// find looks a member up, or learns it; nil if there is none that can be learnt.
func (d *Decoder) find(text []byte, n *node, i int) *member {
	end := skipString(text, i-1) - 1
	if end < 0 {
		return nil
	}
	if m := n.members.find(text, i, end); m != nil {
		return m
	}
	return d.learn(n, text[i:end], i)
}

// ignore counts and skips the value of a member that no column takes.
func (d *Decoder) ignore(text []byte, n *node, count *int64, i, depth int) int {
	if !n.taken {
		if d.freeze {
			return -1
		}
		d.pending = append(d.pending, count)
	}
	return skip(text, i, depth)
}

// learn makes a spelling known at n.
func (d *Decoder) learn(n *node, spelling []byte, i int) *member {
	if !utf8.Valid(spelling) || len(spelling) >= maxMember {
		return nil
	}
	name := string(d.unquote(d.text[i-1 : i+len(spelling)+1]))
	s := n.slots[name]
	if s == nil {
		if s = d.newSlot(n, name); s == nil {
			return nil
		}
	} else if len(n.known) > 4*len(n.slots)+16 {
		return nil // a producer that spells one name in ever new ways
	}
	return n.spell(string(spelling), s)
}

// value hands the value at i to the columns that take it and goes on to those that take parts of it.
func (d *Decoder) value(text []byte, n *node, i, depth int) int {
	if i >= len(text) {
		return -1
	}
	if n.only != nil {
		return d.take(text, n.only, i, depth)
	}
	end := -1
	for _, f := range n.takers {
		if end = d.take(text, f, i, depth); end < 0 {
			return -1
		}
	}
	if n.isLeaf() {
		return end
	}
	switch text[i] {
	case 'n':
		return literal(text, i, "null")
	case '{':
		return d.object(text, n, i, depth+1)
	case '[':
		return d.array(text, n, i, depth+1)
	}
	return -1 // the columns below have a value of the wrong type
}

// array scans the array that opens at i, of which columns take parts.
func (d *Decoder) array(text []byte, n *node, i, depth int) int {
	if depth > MaxDepth || len(n.inObject) > 0 {
		return -1
	}
	elements := n.elements
	next := i
	for index := 0; ; index++ {
		if next = nextElement(text, next, index); next < 0 || text[next] == ']' {
			break
		}
		start := next
		next = -1
		if n.each != nil {
			if next = d.eachOf(text, n.each, start, depth); next < 0 {
				return -1
			}
		}
		switch {
		case len(elements) > 0 && elements[0].index == index:
			next = d.value(text, elements[0].node, start, depth)
			elements = elements[1:]
		case n.each == nil:
			next = skip(text, start, depth)
		}
		if next < 0 {
			return -1
		}
	}
	if next < 0 || n.each != nil && !d.endEach(n.each) {
		return -1
	}
	return next + 1
}

// nextElement is where an array's next element begins, or its closing bracket: i is at the opening bracket
// if index is 0, else after the element before.
func nextElement(text []byte, i, index int) int {
	if index == 0 {
		i = blanks(text, i+1)
		if i >= len(text) {
			return -1
		}
		return i
	}
	if i = blanks(text, i); i >= len(text) || text[i] != ',' && text[i] != ']' {
		return -1
	}
	if text[i] == ',' {
		if i = blanks(text, i+1); i >= len(text) || text[i] == ']' {
			return -1
		}
	}
	return i
}

// eachOf lets columns take their part of one element.
func (d *Decoder) eachOf(text []byte, e *each, i, depth int) int {
	for _, f := range e.fields {
		f.before = f.list.Elem().Rows()
	}
	end := d.value(text, e.node, i, depth)
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
