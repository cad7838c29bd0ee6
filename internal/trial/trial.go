// Package trial runs records through a pipeline's transform and decoder and lands them nowhere: it says what would become of each,
// and counts it. `waybill test` runs it over a file, `waybill plan` over what is in the topic.
package trial

import (
	"github.com/waybill-data/waybill"
	"github.com/waybill-data/waybill/internal/contract"
	"github.com/waybill-data/waybill/internal/engine"
)

// Trial takes records one after the other. It belongs to one goroutine.
type Trial struct {
	proc   *engine.Processor
	epoch  waybill.Epoch
	routes []contract.Route
	blocks engine.Blocks   // the row of the record that was taken last, or empty
	sum    Summary         // its Tables in the order of the routes
	dead   map[deadKey]int // indexes into sum.DeadLetters
}

// deadKey is what dead letters are grouped by.
type deadKey struct{ code, column string }

// maxDeadKinds bounds the groups of dead letters that are told apart. Codes and columns are from closed lists, paths of events are not.
const maxDeadKinds = 1000

// New makes a trial under a plan. secret is the key of redaction's hashes.
func New(plan *contract.Plan, secret []byte, epoch waybill.Epoch) (*Trial, error) {
	proc, err := engine.NewProcessor(plan, secret)
	if err != nil {
		return nil, err
	}
	t := &Trial{proc: proc, epoch: epoch, routes: plan.Routes(), blocks: proc.NewBlocks(), dead: map[deadKey]int{}, sum: Summary{DeadLetters: []DeadLetters{}}}
	for _, r := range t.routes {
		t.sum.Tables = append(t.sum.Tables, Table{Route: r.Name, Table: r.Plan.Database() + "." + r.Plan.Table()})
	}
	return t, nil
}

// Take says what would become of a record that is no control record.
func (t *Trial) Take(r *waybill.Record) engine.Processed {
	t.blocks.Reset()
	return t.Add(r)
}

// Blocks are the rows that Add has made since somebody has reset them, in the order of the plan's routes.
func (t *Trial) Blocks() engine.Blocks { return t.blocks }

// Add is Take, but that the rows of the records before stay in Blocks.
func (t *Trial) Add(r *waybill.Record) engine.Processed {
	out := t.proc.Process(r, t.epoch, t.blocks)
	s := &t.sum
	s.Records++
	s.Redacted += b2i(out.Redacted > 0)
	s.Upcast += b2i(out.Upcast)
	s.Assumed += b2i(out.Assumed)
	switch out.Fate {
	case engine.FateRow:
		to := &s.Tables[out.Route]
		for _, n := range []*RowCounts{&s.RowCounts, &to.RowCounts} {
			n.Rows++
			n.RescuedRows += b2i(out.Rescued > 0)
			n.Blank += b2i(out.Blank)
		}
	case engine.FateFiltered:
		s.Filtered++
	case engine.FateTombstone:
		s.Tombstones++
	case engine.FateDead:
		t.buried(r, &out)
	}
	return out
}

// buried counts a dead letter.
func (t *Trial) buried(r *waybill.Record, out *engine.Processed) {
	t.sum.DeadLettered++
	key := deadKey{out.Reason.Code, out.Reason.Column}
	if _, known := t.dead[key]; !known && len(t.dead) >= maxDeadKinds {
		key.column = contract.OtherPaths
	}
	i, known := t.dead[key]
	if !known {
		i = len(t.sum.DeadLetters)
		t.dead[key] = i
		t.sum.DeadLetters = append(t.sum.DeadLetters, DeadLetters{Code: key.code, Column: key.column, Message: out.Reason.Message,
			Example: Place{r.Topic, r.Partition, r.Offset}})
	}
	t.sum.DeadLetters[i].Count++
}

func b2i(b bool) int64 {
	if b {
		return 1
	}
	return 0
}
