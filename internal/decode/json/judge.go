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
	if !d.unreachable(n.inArray, i) {
		return false
	}
	seen := map[string]bool{}
	for c := enter(d.text, i); !c.done(); {
		at := c.i
		name := string(d.unquote(c.key()))
		if seen[name] {
			return d.twice(append(slices.Clip(n.path), contract.Step{Name: name}), duplicate(at))
		}
		seen[name] = true
		child := n.children[name]
		if child == nil && !n.taken && !d.unmapped(n, name, c.i) {
			return false
		}
		start, end := c.value()
		if child != nil && !d.walk(child, start, end) {
			return false
		}
	}
	return true
}

func memberPath(n *node, name string) string {
	return append(slices.Clip(n.path), contract.Step{Name: name}).String()
}

// unmapped counts or refuses a member that no column takes.
func (d *Decoder) unmapped(n *node, name string, at int) bool {
	if d.freeze {
		d.reject = &Reject{Code: NewField, Path: memberPath(n, name), ByteOffset: at,
			Message: "no column takes this field, and new_fields is freeze"}
		return false
	}
	s := n.slots[name]
	if s == nil {
		if s = d.newSlot(n, name); s == nil {
			d.pending = append(d.pending, &d.other)
			return true
		}
		if plain(name) && len(name) < maxMember {
			n.spell(name, s)
		}
	}
	d.pending = append(d.pending, &s.count)
	return true
}

// walk hands a value to the columns that take it and goes down to those that take parts of it.
func (d *Decoder) walk(n *node, start, end int) bool {
	for _, f := range n.takers {
		if !d.put(f, start, end) {
			return false
		}
	}
	if n.isLeaf() {
		return true
	}
	switch d.text[start] {
	case 'n':
		return true
	case '{':
		if len(n.inObject) > 0 || n.taken {
			return d.walkObject(n, start)
		}
	case '[':
		if len(n.inArray) > 0 {
			return d.walkArray(n, start)
		}
	}
	return d.unreachable(n.inObject, start) && d.unreachable(n.inArray, start)
}

// walkArray walks the array that starts at i.
func (d *Decoder) walkArray(n *node, i int) bool {
	if !d.unreachable(n.inObject, i) {
		return false
	}
	elements, index := n.elements, 0
	for c := enter(d.text, i); !c.done(); index++ {
		start, end := c.value()
		if n.each != nil && !d.collect(n.each, start, end) {
			return false
		}
		if len(elements) > 0 && elements[0].index == index {
			if !d.walk(elements[0].node, start, end) {
				return false
			}
			elements = elements[1:]
		}
	}
	return n.each == nil || d.endCollect(n.each, i)
}

// collect lets columns take their part of one element. A column that has got a substitute for the whole array
// takes no more.
func (d *Decoder) collect(e *each, start, end int) bool {
	for _, f := range e.fields {
		if f.mark != d.record {
			f.before = f.list.Elem().Rows()
		}
	}
	if !d.walk(e.node, start, end) {
		return false
	}
	for _, f := range e.fields {
		if f.mark != d.record && f.list.Elem().Rows() == f.before {
			d.emptyElement(f, &f.filled.Missing)
		}
	}
	return true
}

func (d *Decoder) endCollect(e *each, at int) bool {
	for _, f := range e.fields {
		switch {
		case f.mark == d.record:
		case f.endList():
			f.mark = d.record
		case !d.invalid(f, wrongLength(f, at)):
			return false
		}
	}
	return true
}

// unreachable treats columns as invalid: the value at i is of no kind that their paths could go through.
func (d *Decoder) unreachable(fields []*field, i int) bool {
	for _, f := range fields {
		fail := failure{code: WrongType, at: i, message: "the path leads through " + kindOf(d.text[i])}
		if f.mark != d.record && !d.invalid(f, fail) {
			return false
		}
	}
	return true
}

// put appends a value to a column, by the column's policies.
func (d *Decoder) put(f *field, start, end int) bool {
	switch {
	case f.mark == d.record: // has got a substitute for the whole array
		return true
	case d.text[start] == 'n':
		return d.null(f, start)
	}
	c := f.col
	if f.each {
		c = f.list.Elem()
	}
	before := d.rounded
	fail := failure{}
	if f.asJSON {
		appendText(c, d.text[start:end])
	} else {
		fail = d.write(c, f.format, start, end)
	}
	if fail.code == "" && f.length > 0 && !f.each && !f.hasLength() {
		fail = wrongLength(f, start)
	}
	switch fail.code {
	case "":
	case DuplicateKey:
		slices.Reverse(fail.inner)
		return d.twice(slices.Concat(f.path, fail.inner), fail)
	default:
		d.rounded = before // what was rounded is not in the row
		return d.invalid(f, fail)
	}
	for range d.rounded - before {
		d.pending = append(d.pending, &f.rounded)
	}
	if !f.each {
		f.mark = d.record
	}
	return true
}

// twice rejects a record for a duplicate name: no policy helps, since nobody knows what the event says.
func (d *Decoder) twice(path contract.Path, fail failure) bool {
	d.reject = &Reject{Code: fail.code, Path: path.String(), ByteOffset: fail.at, Message: fail.message}
	return false
}

// missing applies on_missing.
func (d *Decoder) missing(f *field) bool {
	return d.instead(f, f.onMissing, &f.filled.Missing,
		failure{code: MissingRequired, at: -1, message: "the event has no such field"})
}

// null applies on_null. NULL for null is no substitution.
func (d *Decoder) null(f *field, at int) bool {
	switch {
	case f.each:
		d.nullElement(f)
		return true
	case f.onNull == contract.Null:
		appendNull(f.col)
		f.mark = d.record
		return true
	}
	return d.instead(f, f.onNull, &f.filled.Null, failure{code: NullRequired, at: at, message: "the field is null"})
}

// invalid applies on_invalid, after taking back what a half-written value left.
func (d *Decoder) invalid(f *field, fail failure) bool {
	f.col.Truncate(d.row)
	return d.instead(f, f.onInvalid, &f.filled.Invalid, fail)
}

// instead writes what the policy says instead of the event's value, or rejects the record.
func (d *Decoder) instead(f *field, p contract.Policy, count *int64, fail failure) bool {
	if d.substitute(f, p, count) {
		return true
	}
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
