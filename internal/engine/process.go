package engine

import (
	"slices"

	"github.com/waybill-data/waybill"
	"github.com/waybill-data/waybill/internal/column"
	"github.com/waybill-data/waybill/internal/contract"
	"github.com/waybill-data/waybill/internal/deadletter"
	"github.com/waybill-data/waybill/internal/decode/json"
	"github.com/waybill-data/waybill/internal/decode/raw"
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
	Route    int               // of FateRow: which of the plan's routes has the row
	Reason   deadletter.Reason // of FateDead
	Byte     int               // of FateDead: where in the event's text as it was decoded, or about there; -1: nowhere in particular
	Rounded  int               // values that lost digits
	Rescued  int               // values in the rescue column
	Redacted int               // values that redaction changed
	Upcast   bool              // the event was brought to the current version
	Assumed  bool              // its version is not known, and was taken for the current one
	Blank    bool              // no column was filled from the event
	// Time is when the event happened, in milliseconds since the Unix epoch: by the plan's column, if its row has a value there, and then
	// it is Timed; else by its record.
	Time  int64
	Timed bool
}

// Processor makes rows of records under a plan: transform, then decode. What it makes is a function of the records, the plan and
// the secret. It belongs to one goroutine at a time.
type Processor struct {
	plan   *contract.Plan
	tr     *transform.Transformer // nil: nothing to do
	routes []contract.Route
	decs   []*json.Decoder // one for each route
	raw    *raw.Writer     // of a plan of records, which has no decoders; else nil
	times  []int           // the column of event times of each route's block; -1: none
	// sumLeft: checksums are over what redaction leaves of records, see checksum.
	sumLeft bool
	// eventTimes: there is one.
	eventTimes bool
	buried     bool // tombstones are dead letters
}

// Blocks are rows for each of a plan's routes, in their order.
type Blocks []*column.Block

// Size is about how many bytes the blocks take.
func (b Blocks) Size() (n int) {
	for _, one := range b {
		n += one.Size()
	}
	return n
}

// Reset empties the blocks.
func (b Blocks) Reset() {
	for _, one := range b {
		one.Reset()
	}
}

// Reserve makes room for factor times the rows that are there.
func (b Blocks) Reserve(factor float64) {
	for _, one := range b {
		one.Reserve(factor)
	}
}

// codeTombstone is the reason of dead letters that are tombstones.
const codeTombstone = "tombstone"

// NewProcessor compiles a plan. secret is the key of redaction's hashes.
func NewProcessor(plan *contract.Plan, secret []byte) (*Processor, error) {
	tr, err := transform.New(plan, secret)
	if err != nil {
		return nil, err
	}
	p := &Processor{plan: plan, tr: tr, routes: plan.Routes()}
	p.buried = plan.Transform() != nil && plan.Transform().Tombstones == contract.TombstonesDeadLetter
	if plan.Raw() {
		p.times = []int{-1}
		p.raw, err = raw.New(plan)
		return p, err
	}
	for _, r := range p.routes {
		dec, err := json.New(r.Plan)
		if err != nil {
			return nil, err
		}
		p.decs = append(p.decs, dec)
		p.times = append(p.times, slices.Index(r.Plan.ColumnNames(), r.Plan.EventTime()))
		p.eventTimes = p.eventTimes || r.Plan.EventTime() != ""
	}
	return p, nil
}

// Plan that the processor was made for.
func (p *Processor) Plan() *contract.Plan { return p.plan }

// NewBlocks are empty blocks for Process.
func (p *Processor) NewBlocks() Blocks {
	if p.raw != nil {
		return Blocks{p.raw.NewBlock()}
	}
	out := make(Blocks, len(p.decs))
	for i, d := range p.decs {
		out[i] = d.NewBlock()
	}
	return out
}

// Process appends the record's row to one of b, which came from NewBlocks; unless its fate is FateRow, b is as it was. Control
// records are not its business. It keeps nothing of the record.
func (p *Processor) Process(r *waybill.Record, epoch waybill.Epoch, b Blocks) Processed {
	out := p.process(r, epoch, b)
	out.Time = r.Time
	if at := p.times[out.Route]; at >= 0 && out.Fate == FateRow {
		times := b[out.Route].Columns[at]
		if millis, ok := column.Moment(times, times.Rows()-1); ok {
			out.Time, out.Timed = millis, true
		}
	}
	return out
}

func (p *Processor) process(r *waybill.Record, epoch waybill.Epoch, b Blocks) Processed {
	if p.raw != nil {
		return p.archive(r, epoch, b[0])
	}
	if p.tr == nil && r.NotKept {
		return Processed{Fate: FateDead, Byte: -1, Reason: deadletter.Reason{Stage: deadletter.StageTransform, Code: string(transform.NotKept),
			Message: "of the value only size and hash are left: it could not be redacted when the record was archived"}}
	}
	if r.Value == nil && p.buried {
		return Processed{Fate: FateDead, Byte: -1, Reason: deadletter.Reason{Stage: deadletter.StageDecode, Code: codeTombstone, Message: "the record has no value"}}
	}
	if p.tr == nil || r.Value == nil {
		return decoded(p.decs[0].Decode(r, epoch, b[0]))
	}
	t := p.tr.Apply(r)
	out := Processed{Fate: FateFiltered}
	switch {
	case t.Reject != nil:
		out = Processed{Fate: FateDead, Reason: deadletter.Reason{Stage: deadletter.StageTransform, Code: string(t.Reject.Code),
			Column: t.Reject.Path, Message: t.Reject.Name + ": " + t.Reject.Message}, Byte: -1}
	case !t.Filtered:
		out = decoded(p.decs[t.Route].DecodeEvent(t.Record, t.Text, t.Computed, epoch, b[t.Route]))
		out.Route = t.Route
		if name := p.routes[t.Route].Name; name != "" && out.Fate == FateDead {
			out.Reason.Message = "route " + name + ", " + out.Reason.Message
		}
	}
	out.Redacted, out.Upcast, out.Assumed = t.Redacted, t.Upcast, t.Assumed
	return out
}

// archive makes a row of the record itself, or of what redaction leaves of it. Whatever would become of its event, it is a record.
func (p *Processor) archive(r *waybill.Record, epoch waybill.Epoch, b *column.Block) Processed {
	if p.tr == nil {
		p.raw.Append(r, contract.KeptWhole, epoch, b)
		return Processed{Fate: FateRow}
	}
	t := p.tr.Apply(r)
	left, how := p.tr.Keep(r), contract.KeptWhole
	switch {
	case redact.IsDigest(left.Value):
		how = contract.KeptDigest
	case t.Redacted > 0 || t.Upcast:
		how = contract.KeptRedacted
	}
	p.raw.Append(&left, how, epoch, b)
	return Processed{Fate: FateRow, Redacted: t.Redacted, Upcast: t.Upcast, Assumed: t.Assumed}
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
	kept := p.Left(r)
	return own(&kept)
}

// checksum is the share that the record that was processed last has in that of its span. A backfill that may read an archive takes it over what
// redaction leaves, which is the same for the record and for what the archive has kept of it.
func (p *Processor) checksum(r *waybill.Record) uint64 {
	if !p.sumLeft {
		return waybill.RecordChecksum(r)
	}
	left := p.Left(r)
	return waybill.RecordChecksum(&left)
}

// PassOver takes in a record that is to become no row, whatever it says: for Left and Keep.
func (p *Processor) PassOver(r *waybill.Record) {
	if p.tr != nil {
		p.tr.Apply(r)
	}
}

// Left is what redaction leaves of the record that was processed last. It aliases the record and the processor's memory.
func (p *Processor) Left(r *waybill.Record) waybill.Record {
	if p.tr == nil {
		return *r
	}
	if r.Value == nil {
		p.tr.Apply(r) // a tombstone is no row, and was not redacted for one
	}
	return p.tr.Keep(r)
}

// Notes are what processing did beside making rows, since the last call, for each of the plan's routes.
func (p *Processor) Notes() []Notes {
	if p.raw != nil {
		return make([]Notes, 1)
	}
	out := make([]Notes, len(p.decs))
	for i, d := range p.decs {
		out[i] = Notes{Drift: d.Drift(), Defaulted: d.Defaulted(), Rounded: d.Rounded(), Nulls: d.Nulls(), Rescued: d.Rescued(), Moved: d.Moved()}
	}
	return out
}

// Redacted is how many values redaction changed since the last call, by rule, those of dead letters included. Each rule is there.
func (p *Processor) Redacted() []redact.Count {
	if p.tr == nil {
		return nil
	}
	return p.tr.RedactedBy()
}

// Notes are what processing did beside making rows of one table.
type Notes struct {
	Drift     []contract.FieldDrift
	Defaulted map[string]json.Defaults // by column
	Rounded   map[string]int64         // values that lost digits, by column
	Nulls     map[string]int64         // nulls that became NULL, by column
	Rescued   map[string]int64         // values in the rescue column, by reason
	Moved     map[string]json.Moved    // long values that the rows only refer to, by column
}
