// Package json turns JSON events into rows of typed columns under a plan.
//
// A record is scanned once: each value goes straight from the text into its column, along the tree of the
// plan's paths (scan*.go, object.go). The scanner knows one answer only, "a row"; whatever it cannot take
// (broken text, a value that makes the record a dead letter, a rare shape) it leaves to the judge (judge.go),
// which is slow and simple: it validates the whole text with jsontext, walks it, and either makes the row
// or says what the record is rejected for. So a broken text is reported as such whatever its fields are, and
// the order of keys does not decide what a record is rejected for. Scanner and judge agree on every text:
// that is what the fuzz tests are about.
//
// Values are taken as they are: no number becomes a string, no 1 a true; a string becomes a number only where
// producers have to quote it, see column.Type.Takes. Numbers for integer columns never pass through a float;
// 1.0 and 1e3 are integers, 1.5 is not. A null or scalar where a path wants to go further down: null means that
// the fields below are missing, anything else that they are of the wrong type.
//
// What no column takes (strays) or a column refuses (conflicts) is noted as a span of the text while the record is scanned:
// for the rescue column, which is written when the row is finished (rescue.go), and for the drift, which is counted
// once the row is written (drift.go). Modes are resolved when a member is first met, never for a record.
package json

import (
	"errors"
	"fmt"

	"github.com/waybill-data/waybill"
	"github.com/waybill-data/waybill/internal/column"
	"github.com/waybill-data/waybill/internal/contract"
)

// Decoder turns records into rows of a plan's block. It belongs to one goroutine at a time.
type Decoder struct {
	plan   *contract.Plan
	block  *column.Block // empty; the pattern of NewBlock
	fields []*field      // those that events fill, in plan order
	root   *node
	others []*source // columns that do not come from the event
	// counted are the fields of both that have policies.
	counted []*field
	exprs   int      // SourceExpr columns
	larges  []*large // columns whose long values are kept elsewhere
	modes   contract.Modes
	learnt  int // slots of unmapped members, in all nodes
	rescue  rescuer
	validator
	counters

	// Of the record at hand:
	text    []byte
	into    *column.Block
	row     int    // the row being filled
	record  uint64 // its number: what marks of fields are compared with
	visit   uint64 // of an object, ever growing: what marks of members are compared with
	rounded int
	reject  *Reject
	// substituted are the columns that have got something else than what the event says, or nothing.
	substituted int
	blank       bool
	computed    [][]byte
	padded      []byte // the memory of its text, see inputOf
	moments     column.Moments
	scratch     []byte // an unescaped string
	keys        []span // of the map being filled
	// strangers are the names, in quotes, that the objects being scanned have and no node knows.
	strangers []span
	hashes    hashSet // of the keys of a large map
}

// span is a part of the text.
type span struct{ start, end int }

// New compiles a decoder for a plan. A plan that was made for another version of the decoder is refused.
func New(p *contract.Plan) (*Decoder, error) {
	d := &Decoder{plan: p, modes: p.NewFields(), rescue: newRescuer(p), root: newNode(nil)}
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
		if err := d.compile(i, c); err != nil {
			return nil, newError(fmt.Errorf("column %s: %w", c.Name, err))
		}
	}
	d.compileLarge()
	for _, m := range d.modes.Paths {
		path, err := contract.ParsePath(m.Path)
		if err != nil {
			return nil, newError(fmt.Errorf("new_fields: %s: %w", m.Path, err))
		}
		d.root.addMode(path)
	}
	d.root.finish(d.modes, false)
	d.root.visit(d.teach)
	return d, nil
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
	return d.DecodeEvent(rec, rec.Value, nil, epoch, b)
}

// DecodeEvent is Decode for a record whose event has been transformed: text is what its value has become, and computed are the
// values of the plan's SourceExpr columns, in plan order, as JSON texts; nil for one without a value.
func (d *Decoder) DecodeEvent(rec *waybill.Record, text []byte, computed [][]byte, epoch waybill.Epoch, b *column.Block) Outcome {
	if rec.Value == nil {
		return Outcome{Kind: Tombstone}
	}
	if d.into != b {
		d.bind(b)
	}
	d.text, d.computed, d.row = text, computed, b.Columns[0].Rows()
	d.begin()
	ok := !changed(text) && d.scanRecord() && d.finish(rec, epoch)
	if !ok {
		b.Truncate(d.row)
		d.begin()
		if changed(text) {
			return Outcome{Kind: Rejected, Reject: &Reject{Code: NotAnObject, ByteOffset: -1, Message: "the decoder of a test takes no text of this length"}}
		}
		if ok = d.judge() && d.finish(rec, epoch); !ok {
			b.Truncate(d.row)
			return Outcome{Kind: Rejected, Reject: d.reject}
		}
	}
	return d.written(rec)
}

// written counts what the row at hand brought.
func (d *Decoder) written(rec *waybill.Record) Outcome {
	d.commit()
	if len(d.notes) > 0 {
		d.commitNotes(rec)
		d.countRescued()
	}
	return Outcome{Kind: Written, Rounded: d.rounded, Rescued: len(d.rescue.entries), Blank: d.blank}
}

// begin forgets what was noted of a record.
func (d *Decoder) begin() {
	d.record++
	d.rounded, d.substituted, d.reject = 0, 0, nil
	d.pending, d.notes, d.strangers = d.pending[:0], d.notes[:0], d.strangers[:0]
	d.rescue.begin()
}

// scanRecord takes the whole text as one row's fields; false if it cannot.
func (d *Decoder) scanRecord() bool {
	var t input
	t, d.padded = inputOf(d.text, d.padded)
	i := blanks(t, 0)
	if t.at(i) != '{' {
		return false
	}
	i = d.object(t, d.root, i, 1)
	return i >= 0 && blanks(t, i) == t.n
}

// finish fills the columns that the event has not filled; false if the record is rejected.
func (d *Decoder) finish(rec *waybill.Record, epoch waybill.Epoch) bool {
	for _, f := range d.fields {
		if f.mark != d.record && !d.missing(f) {
			return false
		}
	}
	d.blank = d.substituted == len(d.fields) && d.substituted > 0
	for _, s := range d.others {
		if !d.fromRecord(s, rec, epoch) {
			return false
		}
	}
	d.finishRescue()
	for _, l := range d.larges {
		l.cut(d.into, d.row)
	}
	return true
}
