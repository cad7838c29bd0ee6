package repair

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/waybill-data/waybill"
	"github.com/waybill-data/waybill/internal/audit"
	"github.com/waybill-data/waybill/internal/clickhouse"
	"github.com/waybill-data/waybill/internal/delivery"
	"github.com/waybill-data/waybill/internal/finding"
	"github.com/waybill-data/waybill/internal/ledger"
)

// Range is offsets of a partition, Next not among them.
type Range struct {
	Partition int32 `json:"partition"`
	First     int64 `json:"first"`
	Next      int64 `json:"next"`
}

func (r Range) String() string {
	if r.Next == r.First+1 {
		return fmt.Sprintf("%d:%d", r.Partition, r.First)
	}
	return fmt.Sprintf("%d:%d-%d", r.Partition, r.First, r.Next-1)
}

// Step is what is to be done about offsets of one partition, before it is.
type Step struct {
	Why       Reason  `json:"why"`
	Kind      string  `json:"kind"`  // fill, rewrite or remove
	Epoch     uint32  `json:"epoch"` // on whose account the offsets are; of remove: whose rows would be deleted
	Partition int32   `json:"partition"`
	Plan      string  `json:"plan"`    // that the rows would be made under; empty: none would
	Offsets   []Range `json:"offsets"` // whose records are there
	Read      int64   `json:"read"`    // records
	Delete    int64   `json:"delete"`  // offsets whose rows would be deleted
	Write     int64   `json:"write"`   // rows that the records give
	Filtered  int64   `json:"filtered"`
	Dead      int64   `json:"dead"`
	Tombstone int64   `json:"tombstones"`
}

// Plan is what a run would do.
type Plan struct {
	Pipeline string        `json:"pipeline"`
	Epoch    uint32        `json:"epoch"`
	Topic    string        `json:"topic"`
	Steps    []Step        `json:"steps"`
	Left     Left          `json:"left"`
	Views    []string      `json:"views"`           // that rows which are made again feed, a second time if they were rewritten
	Verdict  audit.Verdict `json:"audit,omitempty"` // of the audit that was asked
}

// Plan says what Run would do. It changes nothing.
func (j *Job) Plan(ctx context.Context, s *Survey) (*Plan, error) {
	out := &Plan{Pipeline: j.cfg.Name, Epoch: uint32(j.cfg.Epoch), Topic: j.cfg.Source.Kafka.Topic, Steps: []Step{}, Left: Left{Untold: s.Untold}, Verdict: s.Verdict, Views: append([]string{}, j.Engine.Views()...)}
	for _, w := range s.wants {
		var under func(*waybill.Record) ledger.Fate
		if w.kind != ledger.KindRemove {
			var err error
			if under, err = j.Engine.FateUnder(ctx, w.plan); err != nil {
				return nil, err
			}
		}
		for _, tp := range w.offsets.Partitions() {
			step := Step{Why: w.why, Kind: string(w.kind), Epoch: uint32(w.of), Partition: tp.Partition, Offsets: []Range{}}
			if under != nil {
				step.Plan = w.plan.String()
			}
			var all waybill.OffsetSet
			for left := (delivery.RowSet{tp: w.offsets[tp]}); !left.Empty(); {
				c, rest, err := j.choose(ctx, w, left)
				if err != nil {
					return nil, err
				}
				if err := j.foresee(ctx, &step, w, c, under); err != nil {
					return nil, err
				}
				out.Left.Add(c.left)
				all, left = all.Union(c.offsets[tp]), rest
			}
			step.Offsets = ranges(delivery.RowSet{tp: all})
			if !all.Empty() {
				out.Steps = append(out.Steps, step)
			}
		}
	}
	return out, nil
}

// foresee adds a chunk to a step.
func (j *Job) foresee(ctx context.Context, step *Step, w *want, c *chunk, under func(*waybill.Record) ledger.Fate) error {
	step.Read += int64(len(c.records))
	if w.kind == ledger.KindRemove {
		step.Delete += c.offsets.Len()
	}
	if w.kind == ledger.KindRewrite {
		epochs, err := j.epochs(ctx)
		if err != nil {
			return err
		}
		there := delivery.RowSet{}
		for _, epoch := range epochs {
			some, err := j.Engine.PresentUnder(ctx, epoch, c.offsets)
			if err != nil {
				return err
			}
			there = there.Union(some)
		}
		step.Delete += there.Len()
	}
	for i := range c.records {
		switch under(&c.records[i]) {
		case ledger.FateWritten:
			step.Write++
		case ledger.FateFiltered:
			step.Filtered++
		case ledger.FateDead:
			step.Dead++
		case ledger.FateTombstone:
			step.Tombstone++
		case ledger.FateNone, ledger.FateErased:
		}
	}
	return nil
}

// Verdict is what the tables hold of the offsets of a run, after it.
type Verdict struct {
	Offsets    int64    `json:"offsets"`    // that were looked at
	Missing    []Range  `json:"missing"`    // they should have a row, and have none
	Repeated   []Range  `json:"repeated"`   // they have several
	Unexpected []Range  `json:"unexpected"` // they have a row, and should have none
	Closed     []string `json:"closed"`     // findings that are no longer so
}

// Right reports whether all is as it should be.
func (v *Verdict) Right() bool { return len(v.Missing)+len(v.Repeated)+len(v.Unexpected) == 0 }

// Verify looks at the offsets of this run, and at those of a survey that others have repaired, and closes findings that are mended.
func (j *Job) Verify(ctx context.Context, s *Survey) (*Verdict, error) {
	amended, err := j.store.Amended(ctx, j.cfg.Name, j.cfg.Epoch, j.cfg.Source.Kafka.Topic)
	if err != nil {
		return nil, err
	}
	all := j.done
	for _, w := range s.wants {
		for tp, set := range w.offsets {
			all = all.Union(delivery.RowSet{tp: set.Intersect(amended.Offsets(tp.Partition))})
		}
	}
	present, err := j.Engine.Present(ctx, all)
	if err != nil {
		return nil, err
	}
	repeated, err := j.Engine.Repeated(ctx, all)
	if err != nil {
		return nil, err
	}
	should, other := delivery.RowSet{}, delivery.RowSet{}
	for tp, set := range all {
		should[tp] = set.Intersect(amended.Is(tp.Partition, ledger.FateWritten))
		other[tp] = set.Minus(should[tp]).Minus(amended.UnderWay(tp.Partition))
	}
	stray, err := j.stray(ctx, all)
	if err != nil {
		return nil, err
	}
	looked := all
	for _, rows := range j.removed {
		looked = looked.Union(rows)
	}
	v := &Verdict{Offsets: looked.Len(), Missing: ranges(should.Minus(present)), Repeated: ranges(repeated), Unexpected: ranges(present.Intersect(other).Union(stray)), Closed: []string{}}
	if v.Right() && !all.Empty() {
		err = j.mended(ctx, v)
	}
	return v, err
}

// ranges are offsets, for people.
func ranges(rows delivery.RowSet) []Range {
	out := []Range{}
	for _, tp := range rows.Partitions() {
		for _, sp := range rows[tp].Spans() {
			out = append(out, Range{tp.Partition, sp.First, sp.Next})
		}
	}
	return out
}

// mended closes the findings about rows that an audit of their offsets no longer finds. A worker that runs does so by itself, a little later.
func (j *Job) mended(ctx context.Context, v *Verdict) error {
	open, err := j.store.FindingsNow(ctx, ledger.FindingsOf{Pipeline: j.cfg.Name, Kinds: []string{audit.KindMissing, audit.KindRepeated, audit.KindUnexpected}})
	if err != nil {
		return err
	}
	now := j.client.ServerNow(time.Now())
	var rows []finding.Row
	for i := range open {
		f := &open[i]
		if f.Epoch != j.cfg.Epoch || f.Topic != j.cfg.Source.Kafka.Topic || f.Span.Len() == 0 {
			continue
		}
		r, err := audit.Run(ctx, audit.Deps{Client: j.client, Ledger: j.store, Source: j.Source}, j.cfg, audit.Options{Within: map[int32]waybill.Span{f.Partition: f.Span}})
		if err != nil {
			return err
		}
		if !broken(r, f.Kind) {
			rows = append(rows, finding.Repaired(*f, j.Who, now))
			v.Closed = append(v.Closed, fmt.Sprintf("%s %s", f.Kind, f.ID))
		}
	}
	if len(rows) == 0 {
		return nil
	}
	a := j.client.Insert(ctx, clickhouse.Insert{Database: j.store.Database(), Table: ledger.TableFindings, Token: waybill.Token("repaired-" + uuid.NewString()), Input: ledger.FindingBlock(rows)})
	if a.Err != nil {
		return a.Err
	}
	return nil
}

func broken(r *audit.Report, kind string) bool {
	for i := range r.Violations {
		if r.Violations[i].Kind == kind && r.Violations[i].Inherited == nil {
			return true
		}
	}
	return false
}
