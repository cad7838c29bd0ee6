// Package repair mends small faults in a pipeline's tables where they are: it makes rows again that the audit finds missing, and deletes and
// makes rows again that are wrong or there twice. What it does are batches in the pipeline's journal, beside replays and discards: begun by a
// compare-and-set, carried out by whoever finds them unfinished, and finished once what became of each offset is on record. See docs/adr/0017.
package repair

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/waybill-data/waybill"
	"github.com/waybill-data/waybill/internal/archive"
	"github.com/waybill-data/waybill/internal/audit"
	"github.com/waybill-data/waybill/internal/clickhouse"
	"github.com/waybill-data/waybill/internal/config"
	"github.com/waybill-data/waybill/internal/deadletter"
	"github.com/waybill-data/waybill/internal/delivery"
	"github.com/waybill-data/waybill/internal/engine"
	"github.com/waybill-data/waybill/internal/failpoint"
	"github.com/waybill-data/waybill/internal/kafka"
	"github.com/waybill-data/waybill/internal/ledger"
	"github.com/waybill-data/waybill/internal/replay"
)

// Source is the topic, and how far the pipeline's group has committed it.
type Source interface {
	audit.Source
	Committed(ctx context.Context) (map[int32]int64, error)
	TopicID() kafka.TopicID
}

// Deps is what a job works with.
type Deps struct {
	Engine *engine.Replayer
	Source Source
	Who    string // for the record
	// Records is how many a batch may have; 0: replay.MaxRecords.
	Records  int
	Progress func(Result) // is told between batches; may be nil
}

// Result is what came of it, in offsets.
type Result struct {
	Begun      int64 `json:"begun"`      // by this run
	Written    int64 `json:"written"`    // their rows are there
	Filtered   int64 `json:"filtered"`   // the plan leaves them out
	Dead       int64 `json:"dead"`       // they are dead letters now
	Tombstones int64 `json:"tombstones"` // they have no value, and so no row
	Lost       int64 `json:"lost"`       // their rows were deleted, and their records were gone before they could be written again
	Removed    int64 `json:"removed"`    // rows of older epochs that should not have been there are gone
	// Resumed are offsets of batches that others had begun and this run has carried out. They are not in the counts above.
	Resumed int64 `json:"resumed"`
	Left    Left  `json:"left"`
}

// Job repairs one pipeline.
type Job struct {
	Deps
	cfg     *config.Pipeline
	client  *clickhouse.Client
	store   *ledger.Store
	journal *replay.Job
	result  Result
	done    delivery.RowSet                   // offsets of the batches of this run
	removed map[waybill.Epoch]delivery.RowSet // offsets whose rows of an older epoch it has removed
}

// New makes a job.
func New(deps Deps, cfg *config.Pipeline) *Job {
	if deps.Records <= 0 {
		deps.Records = replay.MaxRecords
	}
	if deps.Progress == nil {
		deps.Progress = func(Result) {}
	}
	j := &Job{Deps: deps, cfg: cfg, client: deps.Engine.Client(), store: deps.Engine.Ledger(), done: delivery.RowSet{}, removed: map[waybill.Epoch]delivery.RowSet{}}
	j.journal = replay.New(replay.Deps{Engine: deps.Engine, Who: deps.Who, Others: j.takeOver}, cfg)
	return j
}

// Run carries out what a survey has found. It is safe to kill it, and to run it again, or several of it at once.
func (j *Job) Run(ctx context.Context, s *Survey) (Result, error) {
	j.result.Left.Untold = s.Untold
	before, err := j.journal.FinishLast(ctx)
	if err != nil {
		return j.result, err
	}
	for _, w := range s.wants {
		for left := w.offsets; !left.Empty(); {
			// Chosen after all before it is finished, and begun only if nobody else has begun anything since.
			c, rest, err := j.choose(ctx, w, left)
			if err != nil {
				return j.result, err
			}
			if c.offsets.Empty() {
				j.result.Left.Add(c.left)
				left = rest
				continue
			}
			failpoint.Hit(failpoint.ReplaySelected)
			r := j.batch(w, c, before+1)
			won, err := j.journal.Begin(ctx, r)
			if err != nil {
				return j.result, err
			}
			if !won {
				if before, err = j.journal.FinishLast(ctx); err != nil {
					return j.result, err
				}
				continue
			}
			before = r.Sequence
			failpoint.Hit(failpoint.ReplayBegun)
			j.result.Begun += r.Len()
			if w.kind == ledger.KindRemove {
				j.removed[w.of] = j.removed[w.of].Union(c.offsets)
			} else {
				j.done = j.done.Union(c.offsets)
			}
			if err := j.carryOut(ctx, r, c.records, false); err != nil {
				return j.result, err
			}
			j.result.Left.Add(c.left)
			left = rest
			j.Progress(j.result)
		}
	}
	return j.result, nil
}

// batch is a chunk as the journal has it.
func (j *Job) batch(w *want, c *chunk, sequence uint64) *ledger.Replay {
	r := &ledger.Replay{Pipeline: j.cfg.Name, Sequence: sequence, Kind: w.kind, Epoch: j.cfg.Epoch, At: j.client.ServerNow(time.Now()), Plan: w.plan, Topic: j.cfg.Source.Kafka.Topic,
		Offsets: map[int32]waybill.OffsetSet{}, Was: c.was, By: j.Who, Note: string(w.why)}
	_, _ = rand.Read(r.Batch[:]) // never fails, see its documentation
	for tp, set := range c.offsets {
		r.Offsets[tp.Partition] = set
	}
	return r
}

// takeOver carries out a batch that somebody else has begun.
func (j *Job) takeOver(ctx context.Context, r *ledger.Replay) error {
	if r.Kind != ledger.KindFill && r.Kind != ledger.KindRewrite && r.Kind != ledger.KindRemove {
		return replay.NotOurs(r)
	}
	err := j.carryOut(ctx, r, nil, true)
	if err == nil {
		j.result.Resumed += r.Len()
	}
	return err
}

// carryOut does what a batch in the journal says. Any number may do so. records are those of its offsets, if they have been read already.
func (j *Job) carryOut(ctx context.Context, r *ledger.Replay, records []waybill.Record, recovered bool) error {
	if r.Kind == ledger.KindRemove {
		return j.remove(ctx, r, recovered)
	}
	restored, err := j.restore(ctx, r, records, recovered)
	if errors.Is(err, engine.ErrOver) {
		return nil // what it came to is on record
	}
	if err != nil {
		return err
	}
	failpoint.Hit(failpoint.ReplayLanded)
	var letters []deadletter.Envelope
	var amendments []ledger.Amendment
	lost := int64(0)
	for i := range restored {
		x := &restored[i]
		if x.Letter != nil {
			letters = append(letters, *x.Letter)
		}
		a := ledger.Amendment{Position: x.Position, Was: r.Was[x.Partition].Of(x.Offset), Is: x.Is, Plan: r.Plan}
		if a.Was == ledger.FateNone && a.Is == ledger.FateNone { // of an older epoch, whose account goes on to say what is missing
			lost++
			continue
		}
		amendments = append(amendments, a)
	}
	if err := j.Engine.Bury(ctx, r.Batch, letters); err != nil {
		return err
	}
	failpoint.Hit(failpoint.RepairBuried)
	// An amendment on record twice is as good as once, so a token that nobody else has will do.
	token := waybill.Token("amendment-" + uuid.NewString())
	if len(amendments) > 0 {
		err = j.journal.Record(ctx, func(now time.Time) clickhouse.Insert {
			return clickhouse.Insert{Table: ledger.TableAmendments, Token: token, Input: ledger.AmendmentBlock(r, amendments, now)}
		})
		if err != nil {
			return err
		}
	}
	failpoint.Hit(failpoint.ReplayOutcomes)
	if err := j.journal.Finish(ctx, r); err != nil {
		return err
	}
	failpoint.Hit(failpoint.ReplayFinished)
	if !recovered {
		j.tally(amendments)
		j.result.Lost += lost
	}
	return nil
}

func (j *Job) tally(amendments []ledger.Amendment) {
	for i := range amendments {
		switch a := &amendments[i]; a.Is {
		case ledger.FateWritten:
			j.result.Written++
		case ledger.FateFiltered:
			j.result.Filtered++
		case ledger.FateDead:
			j.result.Dead++
		case ledger.FateTombstone:
			j.result.Tombstones++
		case ledger.FateNone, ledger.FateErased:
			if a.Was == ledger.FateWritten {
				j.result.Lost++
			}
		}
	}
}

// restore carries a batch out, up to what became of its offsets.
func (j *Job) restore(ctx context.Context, r *ledger.Replay, records []waybill.Record, recovered bool) ([]engine.Restored, error) {
	pl := engine.Placement{Batch: r.Batch, Plan: r.Plan, At: r.At, Records: records, Offsets: delivery.RowSet{}, Recovered: recovered, Over: func(ctx context.Context) (bool, error) { return j.journal.Over(ctx, r) }}
	for p, set := range r.Offsets {
		pl.Offsets[waybill.TopicPartition{Topic: r.Topic, Partition: p}] = set
	}
	if pl.Records == nil {
		var err error
		if pl.Records, _, err = j.read(ctx, pl.Offsets); err != nil {
			return nil, err
		}
	}
	if r.Kind == ledger.KindRewrite {
		if err := j.clear(ctx, r, pl.Records); err != nil {
			return nil, err
		}
	}
	return j.Engine.Restore(ctx, pl)
}

// clear deletes the rows that are to be made again: those whose records are at hand, and no other.
func (j *Job) clear(ctx context.Context, r *ledger.Replay, records []waybill.Record) error {
	cleared := func(ctx context.Context) (bool, error) {
		last, err := j.store.LastReplay(ctx, j.cfg.Name)
		switch {
		case err != nil:
			return false, err
		case last == nil || last.Sequence > r.Sequence || last.Finished:
			return true, engine.ErrOver
		}
		return last.Cleared, nil
	}
	rows := delivery.RowSet{}
	for i := range records {
		tp := records[i].TopicPartition()
		set := rows[tp]
		set.Add(records[i].Offset)
		rows[tp] = set
	}
	mark := r.Batch.String()
	if done, err := cleared(ctx); done || err != nil {
		return err
	}
	epochs, err := j.epochs(ctx)
	if err != nil {
		return err
	}
	if err := j.Engine.Clear(ctx, epochs, rows, Guard(j.store.Database(), r), mark, cleared); err != nil {
		return err
	}
	failpoint.Hit(failpoint.RepairDeleted)
	token := waybill.Token("cleared-" + uuid.NewString()) // twice is as good as once
	err = j.journal.Record(ctx, func(now time.Time) clickhouse.Insert {
		return clickhouse.Insert{Table: ledger.TableReplays, Token: token, Input: ledger.ClearedBlock(r, now)}
	})
	failpoint.Hit(failpoint.RepairCleared)
	return err
}

// Guard is the condition under which rows of a rewrite may be deleted: nobody has put on record yet that the old ones are gone. What is there
// after that has been made anew.
func Guard(database string, r *ledger.Replay) string {
	return fmt.Sprintf("(SELECT count() FROM %s WHERE pipeline = %s AND sequence = %d AND step != 'begun' AND batch = unhex('%s')) = 0",
		clickhouse.Table(database, ledger.TableReplays), clickhouse.Literal(r.Pipeline), r.Sequence, r.Batch)
}

// nearby is up to how many offsets lie between two spans that are read at once: a broker is asked three things before the first record comes.
const nearby = 2000

// read reads the records of some offsets from the topic. gone are offsets that lie before the beginning of the log.
func (j *Job) read(ctx context.Context, offsets delivery.RowSet) (records []waybill.Record, gone delivery.RowSet, err error) {
	gone = delivery.RowSet{}
	for _, tp := range offsets.Partitions() {
		set := offsets[tp]
		for _, span := range joined(set) {
			res, err := j.Source.ReadSpan(ctx, tp, span, func(rec *waybill.Record) error {
				if !rec.Control && set.Contains(rec.Offset) {
					records = append(records, *own(rec))
				}
				return nil
			})
			if err != nil {
				return nil, nil, err
			}
			before := set.Within(waybill.Span{First: span.First, Next: min(span.Next, res.LogStart)})
			kept, err := j.unarchive(ctx, tp, before)
			if err != nil {
				return nil, nil, err
			}
			records = append(records, kept...)
			for i := range kept {
				before = before.Minus(waybill.OffsetsOf(kept[i].Offset))
			}
			if !before.Empty() {
				gone[tp] = gone[tp].Union(before)
			}
		}
	}
	return records, gone, nil
}

// unarchive reads records that the topic no longer has from the pipeline's archive, if it keeps one.
func (j *Job) unarchive(ctx context.Context, tp waybill.TopicPartition, offsets waybill.OffsetSet) (records []waybill.Record, err error) {
	a, err := engine.OpenArchive(j.client, j.store, j.cfg)
	if a == nil || err != nil {
		return nil, err
	}
	for _, span := range offsets.Spans() {
		for span.First < span.Next {
			next, err := a.Read(ctx, tp, span, func(rec *waybill.Record) error {
				records = append(records, *own(rec))
				return nil
			})
			var gap *archive.Gap
			switch {
			case errors.As(err, &gap):
				next = gap.Next
			case err != nil:
				return nil, err
			case next <= span.First:
				next = span.Next
			}
			span.First = next
		}
	}
	return records, nil
}

// joined are the set's spans, those together that lie near one another.
func joined(set waybill.OffsetSet) (out []waybill.Span) {
	for _, sp := range set.Spans() {
		if n := len(out); n > 0 && sp.First-out[n-1].Next <= nearby {
			out[n-1].Next = sp.Next
			continue
		}
		out = append(out, sp)
	}
	return out
}

// own is a copy that outlives the reading.
func own(r *waybill.Record) *waybill.Record {
	c := *r
	c.Key, c.Value, c.Headers = slices.Clone(r.Key), slices.Clone(r.Value), slices.Clone(r.Headers)
	for i := range c.Headers {
		c.Headers[i].Value = slices.Clone(c.Headers[i].Value)
	}
	return &c
}
