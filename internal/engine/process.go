package engine

import (
	"github.com/waybill-data/waybill"
	"github.com/waybill-data/waybill/internal/column"
	"github.com/waybill-data/waybill/internal/contract"
	"github.com/waybill-data/waybill/internal/deadletter"
	"github.com/waybill-data/waybill/internal/decode/json"
	"github.com/waybill-data/waybill/internal/transform"
	"github.com/waybill-data/waybill/internal/transform/redact"
)

// Fate is what becomes of a record before it is sent anywhere.
type Fate uint8

// The fates.
const (
	FateRow       Fate = iota // a row of the block
	FateFiltered              // the pipeline's filter said so
	FateTombstone             // no value: no row, nothing wrong
	FateDead                  // a dead letter, for Processed.Reason
)

// Processed is what Process made of a record.
type Processed struct {
	Fate     Fate
	Reason   deadletter.Reason // of FateDead
	Byte     int               // of FateDead: where in the event's text as it was decoded, or about there; -1: nowhere in particular
	Rounded  int               // values that lost digits
	Rescued  int               // values in the rescue column
	Redacted int               // values that redaction changed
	Upcast   bool              // the event was brought to the current version
	Assumed  bool              // its version is not known, and was taken for the current one
	Blank    bool              // no column was filled from the event
}

// Processor makes rows of records under a plan: transform, then decode. What it makes is a function of the records, the plan and
// the secret. It belongs to one goroutine at a time.
type Processor struct {
	plan *contract.Plan
	tr   *transform.Transformer // nil: nothing to do
	dec  *json.Decoder
}

// NewProcessor compiles a plan. secret is the key of redaction's hashes.
func NewProcessor(plan *contract.Plan, secret []byte) (*Processor, error) {
	tr, err := transform.New(plan, secret)
	if err != nil {
		return nil, err
	}
	dec, err := json.New(plan)
	if err != nil {
		return nil, err
	}
	return &Processor{plan, tr, dec}, nil
}

// Plan that the processor was made for.
func (p *Processor) Plan() *contract.Plan { return p.plan }

// NewBlock is an empty block for Process.
func (p *Processor) NewBlock() *column.Block { return p.dec.NewBlock() }

// Process appends the record's row to b, which came from NewBlock; unless its fate is FateRow, b is as it was. Control records
// are not its business. It keeps nothing of the record.
func (p *Processor) Process(r *waybill.Record, epoch waybill.Epoch, b *column.Block) Processed {
	if p.tr == nil || r.Value == nil {
		return decoded(p.dec.Decode(r, epoch, b))
	}
	t := p.tr.Apply(r)
	out := Processed{Fate: FateFiltered}
	switch {
	case t.Reject != nil:
		out = Processed{Fate: FateDead, Reason: deadletter.Reason{Stage: deadletter.StageTransform, Code: string(t.Reject.Code),
			Column: t.Reject.Path, Message: t.Reject.Name + ": " + t.Reject.Message}, Byte: -1}
	case !t.Filtered:
		out = decoded(p.dec.DecodeEvent(t.Record, t.Text, t.Computed, epoch, b))
	}
	out.Redacted, out.Upcast, out.Assumed = t.Redacted, t.Upcast, t.Assumed
	return out
}

func decoded(o json.Outcome) Processed {
	out := Processed{Rounded: o.Rounded, Rescued: o.Rescued, Blank: o.Blank}
	switch o.Kind {
	case json.Tombstone:
		out.Fate = FateTombstone
	case json.Rejected:
		out.Fate, out.Reason, out.Byte = FateDead, reasonOf(o.Reject), o.Reject.ByteOffset
	}
	return out
}

// Keep is what may be stored of the record that was processed last, as a dead letter: a copy.
func (p *Processor) Keep(r *waybill.Record) waybill.Record {
	if p.tr == nil {
		return own(r)
	}
	kept := p.tr.Keep(r)
	return own(&kept)
}

// Notes are what processing did beside making rows, since the last call.
func (p *Processor) Notes() Notes {
	n := Notes{Drift: p.dec.Drift(), Defaulted: p.dec.Defaulted(), Rounded: p.dec.Rounded(), Nulls: p.dec.Nulls(), Rescued: p.dec.Rescued()}
	if p.tr != nil {
		n.Redacted = p.tr.RedactedBy()
	}
	return n
}

// Notes are what processing did beside making rows.
type Notes struct {
	Drift     []contract.FieldDrift
	Defaulted map[string]json.Defaults // by column
	Rounded   map[string]int64         // values that lost digits, by column
	Nulls     map[string]int64         // nulls that became NULL, by column
	Rescued   map[string]int64         // values in the rescue column, by reason
	Redacted  []redact.Count           // values by rule of redaction, dead letters' too; each rule is there
}
