package json

import (
	"bytes"
	"slices"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/waybill-data/waybill/internal/contract"
)

// judge makes the row of a record that the scanner could not take, or says in d.reject why there is none. It
// validates the text first and then walks it, looking at each value as often as that is simplest.
func (d *Decoder) judge() bool {
	if d.reject = d.check(d.text); d.reject != nil {
		return false
	}
	return d.walkObject(d.root, skipSpace(d.text, 0))
}

// walkObject walks the object that starts at i.
func (d *Decoder) walkObject(n *node, i int) bool {
	seen := map[string]bool{}
	for c := enter(d.text, i); !c.done(); {
		at := c.i
		quoted := c.key()
		name := string(d.unquote(quoted))
		if seen[name] {
			return d.twice(append(slices.Clip(n.path), contract.Step{Name: name}), duplicate(at))
		}
		seen[name] = true
		start, end := c.value()
		ok := false
		if child := n.children[name]; child != nil {
			ok = d.walk(child, start, end)
		} else {
			ok = d.unmapped(n, name, span{at, at + len(quoted)}, span{start, end})
		}
		if !ok {
			return false
		}
	}
	return true
}

// unmapped treats a member that no path leads to.
func (d *Decoder) unmapped(n *node, name string, member, value span) bool {
	if n.taken {
		return true
	}
	s := n.slots[name]
	if s == nil {
		if s = d.newSlot(n, name); s != nil && plain(name) {
			n.spell(name, s)
		}
	}
	switch {
	case s != nil:
		return d.strayed(s.stray, value)
	case n.mode == contract.ModeFreeze:
		return d.frozen(append(slices.Clip(n.path), contract.Step{Name: name}).String(), value.start)
	}
	d.noteStranger(n, member, value)
	return true
}

// strayed treats a value that no column takes.
func (d *Decoder) strayed(s *stray, value span) bool {
	if s == nil {
		return true
	}
	if s.mode == contract.ModeFreeze {
		return d.frozen(s.path, value.start)
	}
	d.noteStray(s, value)
	return true
}

func (d *Decoder) frozen(path string, at int) bool {
	d.reject = &Reject{Code: NewField, Path: path, ByteOffset: at, Message: "no column takes this field, and new_fields is freeze"}
	return false
}

// walk hands a value to the columns that take it and goes down to those that take parts of it.
func (d *Decoder) walk(n *node, start, end int) bool {
	for _, f := range n.takers {
		if !d.put(f, n, start, end) {
			return false
		}
	}
	open := d.text[start]
	switch {
	case n.isLeaf() && len(n.takers) > 0:
		return true
	case !n.led():
		if !n.opens(open) || skipSpace(d.text, start+1) == end-1 {
			return d.strayed(n.stray, span{start, end})
		}
	case open == 'n':
		return true
	}
	if open != '{' && !d.unreachable(n, n.inObject, span{start, end}) || open != '[' && !d.unreachable(n, n.inArray, span{start, end}) {
		return false
	}
	switch {
	case open == '{' && (len(n.inObject) > 0 || !n.led()):
		return d.walkObject(n, start)
	case open == '[' && (len(n.inArray) > 0 || !n.led()):
		return d.walkArray(n, span{start, end})
	}
	return true
}

// walkArray walks an array.
func (d *Decoder) walkArray(n *node, array span) bool {
	elements, index := n.elements, 0
	n.each.array = array
	level := d.rescue.enter()
	for c := enter(d.text, array.start); !c.done(); index++ {
		start, end := c.value()
		d.rescue.around[level] = index
		e := n.each.node
		if len(elements) > 0 && elements[0].index == index {
			e, elements = elements[0].node, elements[1:]
		}
		if !d.collect(n.each, e, start, end) {
			return false
		}
	}
	d.rescue.leave()
	return d.endCollect(n, array)
}

// collect lets columns take their part of one element, whose node is n. A column that has got a substitute for the
// whole array takes no more.
func (d *Decoder) collect(e *each, n *node, start, end int) bool {
	for _, f := range e.fields {
		if f.mark != d.record {
			f.before = f.list.Elem().Rows()
		}
	}
	if !d.walk(n, start, end) {
		return false
	}
	for _, f := range e.fields {
		if f.mark != d.record && f.list.Elem().Rows() == f.before {
			d.emptyElement(f, &f.filled.Missing)
		}
	}
	return true
}

// endCollect finishes the rows of columns that collected from the array at n.
func (d *Decoder) endCollect(n *node, array span) bool {
	for _, f := range n.each.fields {
		switch {
		case f.mark == d.record:
		case f.endList():
			f.mark = d.record
		case !d.invalid(f, n, wrongLength(f, array.start), array):
			return false
		}
	}
	return true
}

// unreachable treats columns as invalid: the value at n is of no kind that their paths could go through.
func (d *Decoder) unreachable(n *node, fields []*field, value span) bool {
	for _, f := range fields {
		fail := failure{code: WrongType, at: value.start, message: "the path leads through " + kindOf(d.text[value.start])}
		if f.mark != d.record && !d.invalid(f, n, fail, value) {
			return false
		}
	}
	return true
}

// put appends the value at n to a column, by the column's policies.
func (d *Decoder) put(f *field, n *node, start, end int) bool {
	switch {
	case f.mark == d.record: // has got a substitute for the whole array
		return true
	case d.text[start] == 'n':
		return d.null(f, span{start, end})
	}
	before := d.rounded
	fail := d.fill(f, start, end)
	switch fail.code {
	case "":
	case DuplicateKey:
		slices.Reverse(fail.inner)
		return d.twice(slices.Concat(f.path, fail.inner), fail)
	default:
		d.rounded = before // what was rounded is not in the row
		return d.invalid(f, n, fail, span{start, end})
	}
	for range d.rounded - before {
		d.pending = append(d.pending, &f.rounded)
	}
	if !f.each {
		f.mark = d.record
	}
	return true
}

// fill appends a value to a column.
func (d *Decoder) fill(f *field, start, end int) (fail failure) {
	c := f.col
	if f.each {
		c = f.list.Elem()
	}
	if f.asJSON {
		appendText(c, d.text[start:end])
	} else {
		fail = d.write(c, f.format, start, end)
	}
	if fail.code == "" && f.length > 0 && !f.each && !f.hasLength() {
		fail = wrongLength(f, start)
	}
	return fail
}

// twice rejects a record for a duplicate name: no policy helps, since nobody knows what the event says.
func (d *Decoder) twice(path contract.Path, fail failure) bool {
	d.reject = &Reject{Code: fail.code, Path: path.String(), ByteOffset: fail.at, Message: fail.message}
	return false
}

// missing applies on_missing.
func (d *Decoder) missing(f *field) bool {
	if d.substitute(f, f.onMissing, &f.filled.Missing) {
		return true
	}
	return d.dead(f, failure{code: MissingRequired, at: -1, message: "the event has no such field"})
}

// null applies on_null. NULL for null is no substitution.
func (d *Decoder) null(f *field, value span) bool {
	fail := failure{code: NullRequired, at: value.start, message: "the field is null"}
	switch {
	case f.each:
		d.nullElement(f)
		return true
	case f.onNull == contract.Null:
		appendNull(f.col)
		f.mark = d.record
		d.pending = append(d.pending, &f.nulls)
		return true
	case f.onNull == contract.Rescue:
		d.refused(f, f.node, f.onNull, fail, value)
		return d.substitute(f, f.instead, nil)
	}
	return d.substitute(f, f.onNull, &f.filled.Null) || d.dead(f, fail)
}

// invalid applies on_invalid to the value at n, after taking back what a half-written value left.
func (d *Decoder) invalid(f *field, n *node, fail failure, value span) bool {
	f.col.Truncate(d.row)
	p, count := f.onInvalid, &f.filled.Invalid
	switch p {
	case contract.DeadLetter:
		return d.dead(f, fail)
	case contract.Rescue:
		p, count = f.instead, nil
	}
	d.refused(f, n, f.onInvalid, fail, value)
	return d.substitute(f, p, count)
}

// dead rejects the record for a field.
func (d *Decoder) dead(f *field, fail failure) bool {
	d.reject = &Reject{fail.code, f.name, f.path.String(), fail.at, fail.message}
	return false
}

// unquote is the text of a valid JSON string, aliasing the record or the decoder's scratch memory.
func (d *Decoder) unquote(quoted []byte) []byte {
	if bytes.IndexByte(quoted, '\\') < 0 {
		return quoted[1 : len(quoted)-1]
	}
	var err error
	if d.scratch, err = jsontext.AppendUnquote(d.scratch[:0], quoted); err != nil {
		panic("json: a validated string does not unquote: " + err.Error())
	}
	return d.scratch
}
