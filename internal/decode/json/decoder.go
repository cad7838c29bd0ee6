// Package json turns JSON events into rows of typed columns under a plan.
//
// A record is judged in two steps. First its whole text is validated, strictly, by jsontext. Then one
// walk over text that is known to be valid appends values straight into the columns, along the tree
// of the plan's paths. So a broken text is reported as such whatever its fields are, and the order of
// keys does not decide what a record is rejected for.
//
// Values are taken as they are: no string becomes a number, no number a string, no 1 a true. Numbers for
// integer columns never pass through a float; 1.0 and 1e3 are integers, 1.5 is not. A null or scalar
// where a path wants to go further down: null means that the fields below are missing, anything else
// that they are of the wrong type.
package json

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/waybill-data/waybill"
	"github.com/waybill-data/waybill/internal/column"
	"github.com/waybill-data/waybill/internal/contract"
)

// Version of the decoder's behaviour. It is part of every plan: a batch is rebuilt only by a decoder
// that makes the same rows of the same bytes.
const Version uint16 = 1

// Decoder turns records into rows of a plan's block. It belongs to one goroutine at a time.
type Decoder struct {
	plan    *contract.Plan
	block   *column.Block // empty; the pattern of NewBlock
	fields  []*field      // in plan order
	root    node
	lineage []lineage
	freeze  bool
	validator
	counters

	// Of the record at hand:
	text    []byte
	into    *column.Block
	row     int // the row being filled
	reject  *Reject
	rounded int
	scratch []byte // an unescaped string
}

// lineage is a column that is filled from the record's position.
type lineage struct {
	index  int // of the column in the block
	source contract.Source
}

// New compiles a decoder for a plan. A plan that was made for another version of the decoder is refused.
func New(p *contract.Plan) (*Decoder, error) {
	d := &Decoder{plan: p, freeze: p.NewFields() == contract.Freeze}
	if p.DecoderVersion() != Version {
		return nil, newError(fmt.Errorf("the plan is for decoder version %d, this is version %d", p.DecoderVersion(), Version))
	}
	if len(p.Columns()) == 0 {
		return nil, newError(errors.New("the plan has no columns"))
	}
	block, err := p.NewBlock()
	if err != nil {
		return nil, newError(err)
	}
	d.block = block
	for i, c := range p.Columns() {
		if c.Source != contract.SourceField {
			d.lineage = append(d.lineage, lineage{i, c.Source})
			continue
		}
		f, err := newField(i, c, block.Columns[i].Fresh())
		if err != nil {
			return nil, newError(fmt.Errorf("column %s: %w", c.Name, err))
		}
		d.fields = append(d.fields, f)
		d.root.add(f)
	}
	return d, nil
}

func newField(index int, c contract.PlanColumn, fallback column.Column) (*field, error) {
	format, err := column.ParseTimeFormat(c.Format, "")
	if err != nil {
		return nil, err
	}
	if c.Default == nil {
		fallback.AppendZero()
	} else if _, err := column.AppendText(fallback, []byte(*c.Default), format); err != nil {
		return nil, err
	}
	return &field{
		index: index, name: c.Name, path: c.Path, asJSON: c.As == "json", format: format, fallback: fallback,
		onMissing: c.OnMissing, onNull: c.OnNull, onInvalid: c.OnInvalid,
	}, nil
}

func newError(err error) error {
	return &waybill.Error{
		Op: "json.new_decoder", Class: waybill.ClassConfig, Err: err,
		Hint: "compile the contract anew; to rebuild an old batch, run the version of Waybill that made it",
	}
}

// NewBlock is an empty block for Decode.
func (d *Decoder) NewBlock() *column.Block { return d.block.Fresh() }

// Decode appends the record as one row to b, which came from this decoder's NewBlock. Unless the
// outcome is Written, b is exactly what it was. Control records are not the decoder's business. Decode
// keeps nothing of the record.
func (d *Decoder) Decode(rec *waybill.Record, epoch waybill.Epoch, b *column.Block) Outcome {
	if rec.Value == nil {
		return Outcome{Kind: Tombstone}
	}
	if reject := d.check(rec.Value); reject != nil {
		return Outcome{Kind: Rejected, Reject: reject}
	}
	d.text, d.into, d.row = rec.Value, b, b.Columns[0].Rows()
	d.reject, d.rounded, d.pending = nil, 0, d.pending[:0]
	if !d.fill(rec, epoch) {
		b.Truncate(d.row)
		return Outcome{Kind: Rejected, Reject: d.reject}
	}
	d.commit()
	return Outcome{Kind: Written, Rounded: d.rounded}
}

// fill appends the row; false if the record was rejected on the way.
func (d *Decoder) fill(rec *waybill.Record, epoch waybill.Epoch) bool {
	at := skipSpace(d.text, 0)
	if !d.object(&d.root, at, false) {
		return false
	}
	for _, f := range d.fields {
		if d.into.Columns[f.index].Rows() == d.row && !d.missing(f) {
			return false
		}
	}
	for _, l := range d.lineage {
		if !d.position(l, rec, epoch) {
			return false
		}
	}
	return true
}

// object walks the object that starts at i. taken is true if some column takes the whole object, so that
// no member of it is unmapped.
func (d *Decoder) object(n *node, i int, taken bool) bool {
	for c := enter(d.text, i); !c.done(); {
		name := d.unquote(c.key())
		child := n.children[string(name)]
		if child == nil && !taken && !d.unmapped(n, name, c.i) {
			return false
		}
		start, end := c.value()
		if child != nil && !d.value(child, start, end, taken) {
			return false
		}
	}
	return true
}

// unmapped counts or refuses a member that no column takes.
func (d *Decoder) unmapped(n *node, name []byte, at int) bool {
	if d.freeze {
		path := append(append([]string(nil), n.path...), string(name))
		d.reject = &Reject{Code: NewField, Path: contract.FormatPath(path), ByteOffset: at,
			Message: "no column takes this field, and new_fields is freeze"}
		return false
	}
	d.counters.unmapped(n, name)
	return true
}

// value hands a value to the columns that take it and goes down to those that take parts of it.
func (d *Decoder) value(n *node, start, end int, taken bool) bool {
	for _, f := range n.takers {
		if !d.take(f, start, end) {
			return false
		}
	}
	switch {
	case n.children == nil || d.text[start] == 'n':
		return true
	case d.text[start] == '{':
		return d.object(n, start, taken || len(n.takers) > 0)
	}
	return d.unreachable(n, start)
}

// unreachable treats all fields below n as invalid: the value at n is no object.
func (d *Decoder) unreachable(n *node, start int) bool {
	for _, f := range d.fields {
		if len(f.path) <= len(n.path) || !hasPrefix(f.path, n.path) {
			continue
		}
		fail := failure{WrongType, start, "the path leads through " + kindOf(d.text[start]) + ", not an object"}
		if !d.invalid(f, fail) {
			return false
		}
	}
	return true
}

func hasPrefix(path, prefix []string) bool {
	for i, name := range prefix {
		if path[i] != name {
			return false
		}
	}
	return true
}

// take appends a value to a column, by the column's policies.
func (d *Decoder) take(f *field, start, end int) bool {
	if d.text[start] == 'n' {
		return d.null(f, start)
	}
	c := d.into.Columns[f.index]
	if f.asJSON {
		appendText(c, d.text[start:end])
		return true
	}
	rounded := d.rounded
	fail := d.write(c, f.format, start, end)
	if fail.code == "" {
		for range d.rounded - rounded {
			d.pending = append(d.pending, &f.rounded)
		}
		return true
	}
	d.rounded = rounded // what was rounded is not in the row
	return d.invalid(f, fail)
}

// missing applies on_missing.
func (d *Decoder) missing(f *field) bool {
	return d.substitute(f, f.onMissing, &f.filled.Missing,
		failure{MissingRequired, -1, "the event has no such field"})
}

// null applies on_null. NULL for null is no substitution.
func (d *Decoder) null(f *field, at int) bool {
	if f.onNull == contract.Null {
		appendNull(d.into.Columns[f.index])
		return true
	}
	return d.substitute(f, f.onNull, &f.filled.Null, failure{NullRequired, at, "the field is null"})
}

// invalid applies on_invalid, after taking back what a half-written value left.
func (d *Decoder) invalid(f *field, fail failure) bool {
	d.into.Columns[f.index].Truncate(d.row)
	return d.substitute(f, f.onInvalid, &f.filled.Invalid, fail)
}

// substitute writes what the policy says instead of the event's value, or rejects the record.
func (d *Decoder) substitute(f *field, p contract.Policy, count *int64, fail failure) bool {
	c := d.into.Columns[f.index]
	switch p {
	case contract.Null:
		appendNull(c)
	case contract.Default:
		c.AppendFrom(f.fallback, 0)
	default:
		d.reject = &Reject{fail.code, f.name, contract.FormatPath(f.path), fail.at, fail.message}
		return false
	}
	d.pending = append(d.pending, count)
	return true
}

// unquote is the text of a JSON string, aliasing the record or the decoder's scratch memory.
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
