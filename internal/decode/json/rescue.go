package json

import (
	"cmp"
	"encoding/base64"
	"fmt"
	"slices"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/waybill-data/waybill/internal/column"
	"github.com/waybill-data/waybill/internal/contract"
)

// entry is one value for the rescue column.
type entry struct {
	place   *place
	member  span // the name of the member of place that it is, in quotes; none: it is at place
	indices int  // where the indices of its elements begin in the decoder's
	value   span
	aside   bool // it does not come from the event: the value lies in the decoder's aside
	base64  bool // the value is encoded
	reason  Code
	column  *field // nil: no column takes it
}

// rescuer fills the rescue column.
type rescuer struct {
	column  column.Column // of the block at hand
	index   int           // in the block; -1 without one
	open    string        // what a text begins with
	entries []entry
	around  []int // the indices of the elements around the place at hand, outermost first
	indices []int // those of entries
	aside   []byte
	out     []byte
	probe   []byte
}

func newRescuer(p *contract.Plan) rescuer {
	r := rescuer{open: fmt.Sprintf(`{"plan":"%v","fields":{`, p.ID())}
	r.index = slices.IndexFunc(p.Columns(), func(c contract.PlanColumn) bool { return c.Source == contract.SourceRescued })
	return r
}

// begin forgets the record before.
func (r *rescuer) begin() {
	r.entries, r.around, r.indices, r.aside = r.entries[:0], r.around[:0], r.indices[:0], r.aside[:0]
}

// enter goes into an array.
func (r *rescuer) enter() (level int) {
	r.around = append(r.around, 0)
	return len(r.around) - 1
}

// leave goes back out.
func (r *rescuer) leave() { r.around = r.around[:len(r.around)-1] }

// keep adds an entry for a value of the event at the place at hand.
func (r *rescuer) keep(e entry) {
	e.indices = len(r.indices)
	r.indices = append(r.indices, r.around...)
	r.entries = append(r.entries, e)
}

// valueOf is the text of a value.
func (d *Decoder) valueOf(s span, aside bool) []byte {
	if aside {
		return d.rescue.aside[s.start:s.end]
	}
	return d.text[s.start:s.end]
}

// keepAside adds an entry for a value that is not in the event, unless there is one for its place.
func (r *rescuer) keepAside(e entry) {
	e.aside = true
	if !slices.ContainsFunc(r.entries, func(o entry) bool { return o.aside && o.place.parts[0] == e.place.parts[0] }) {
		r.entries = append(r.entries, e)
	}
}

// setAside keeps a value that is not in the event: a JSON text, or bytes that become a JSON string.
func (r *rescuer) setAside(value []byte, isJSON bool) (s span, encoded bool) {
	s.start = len(r.aside)
	switch {
	case isJSON:
		r.aside = append(r.aside, value...)
	case utf8.Valid(value):
		var err error
		if r.aside, err = jsontext.AppendQuote(r.aside, value); err != nil {
			panic("json: valid UTF-8 is no string: " + err.Error())
		}
	default:
		r.aside = append(r.aside, '"')
		r.aside = base64.StdEncoding.AppendEncode(r.aside, value)
		r.aside, encoded = append(r.aside, '"'), true
	}
	s.end = len(r.aside)
	return s, encoded
}

// finishRescue fills the rescue column.
func (d *Decoder) finishRescue() {
	if d.rescue.index < 0 {
		return
	}
	if len(d.rescue.entries) == 0 {
		d.rescue.column.AppendZero()
		return
	}
	d.order()
	d.rescue.out = append(d.rescue.out[:0], d.rescue.open...)
	for i := range d.rescue.entries {
		if i > 0 {
			d.rescue.out = append(d.rescue.out, ',')
		}
		d.writeEntry(&d.rescue.entries[i])
	}
	d.rescue.out = append(d.rescue.out, "}}"...)
	appendRescued(d.rescue.column, d.rescue.out)
}

// appendRescued appends a text to the rescue column.
func appendRescued(c column.Column, text []byte) {
	if j, ok := c.(*column.JSON); ok {
		if _, err := j.AppendJSON(text, column.RFC3339); err != nil {
			panic("json: what was rescued is no JSON column's value: " + err.Error())
		}
		return
	}
	appendText(c, text)
}

// order brings the entries into the order of the text, those from elsewhere last, and leaves one for each value.
func (d *Decoder) order() {
	if !slices.IsSortedFunc(d.rescue.entries, entry.compare) {
		slices.SortStableFunc(d.rescue.entries, entry.compare)
	}
	d.rescue.entries = slices.CompactFunc(d.rescue.entries, entry.same)
}

func (e entry) compare(o entry) int {
	if e.aside != o.aside {
		return b2i(e.aside) - b2i(o.aside)
	}
	if e.aside {
		return 0
	}
	return cmp.Compare(e.value.start, o.value.start)
}

// same reports whether two neighbours are of one value, which two columns have refused.
func (e entry) same(o entry) bool {
	return !e.aside && !o.aside && e.value.start == o.value.start
}

func b2i(b bool) int {
	if b {
		return 1
	}
	return 0
}

// writeEntry appends an entry to the text at hand.
func (d *Decoder) writeEntry(e *entry) {
	out := d.rescue.out
	out = append(out, '"')
	out = e.place.append(out, d.rescue.indices[e.indices:])
	if e.member.end > 0 {
		out = appendMember(out, string(d.unquote(d.text[e.member.start:e.member.end])), e.place.isRoot())
	}
	out = append(append(append(out, `":{"reason":"`...), e.reason...), '"')
	if e.column != nil {
		out = append(append(append(out, `,"column":"`...), e.column.escaped...), '"')
	}
	out = append(out, `,"value":`...)
	value := d.valueOf(e.value, e.aside)
	switch {
	case e.base64:
		out = append(append(out, value...), `,"encoding":"base64"`...)
	case d.rescue.isPlain(value, e.column != nil):
		out = append(out, value...)
	default:
		out = append(append(out, quoted(value)...), `,"encoding":"json"`...)
	}
	out = append(out, '}')
	d.rescue.out = out
}
