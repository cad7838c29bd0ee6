// Package replay puts dead letters into the tables after all, or gives them up on record. Both are batches in a journal of the pipeline,
// one after the other: a batch is begun by a compare-and-set, carried out by whoever finds it unfinished, and finished once its outcomes are on
// record. The rows go by delivery's rules (engine.Replayer). See docs/adr/0013.
package replay

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/waybill-data/waybill"
	"github.com/waybill-data/waybill/internal/clickhouse"
	"github.com/waybill-data/waybill/internal/config"
	"github.com/waybill-data/waybill/internal/deadletter"
	"github.com/waybill-data/waybill/internal/delivery"
	"github.com/waybill-data/waybill/internal/engine"
	"github.com/waybill-data/waybill/internal/failpoint"
	"github.com/waybill-data/waybill/internal/ledger"
)

// A batch is at most so many records, and about so many bytes of them.
const (
	MaxRecords = 2_000
	MaxBytes   = 32 << 20
)

// Deps is what a job works with.
type Deps struct {
	Engine *engine.Replayer
	Who    string // for the record
	// Records is how many a batch may have; 0: MaxRecords.
	Records  int
	Progress func(Result) // is told between batches; may be nil
	// Others carries out a batch that is neither a replay nor a discard and that somebody else has begun; nil: nobody here can.
	Others func(context.Context, *ledger.Replay) error
}

// Result is what came of it.
type Result struct {
	Selected  int64 `json:"selected"`  // dead letters that were begun with by this run
	Replayed  int64 `json:"replayed"`  // their rows are there
	Filtered  int64 `json:"filtered"`  // left out by the pipeline's filter
	Failed    int64 `json:"failed"`    // still no rows
	Discarded int64 `json:"discarded"` // given up
	// Resumed are dead letters of batches that others had begun and this run has carried out. They are not in the counts above.
	Resumed int64   `json:"resumed"`
	Skipped Skipped `json:"skipped"`
}

// Skipped counts dead letters that the filter selects, and that nothing was done about.
type Skipped struct {
	Replayed  int64 `json:"replayed"`  // before
	Filtered  int64 `json:"filtered"`  // before
	Discarded int64 `json:"discarded"` // before
	Unsettled int64 `json:"unsettled"` // their batch has not settled: a worker may still be about to write the ledger
	Resting   int64 `json:"resting"`   // the server has refused their rows in a replay so lately that something of it may still be on its way
}

// Job replays or discards dead letters of one pipeline.
type Job struct {
	Deps
	cfg    *config.Pipeline
	client *clickhouse.Client
	store  *ledger.Store
	result Result
}

// New makes a job.
func New(deps Deps, cfg *config.Pipeline) *Job {
	if deps.Records <= 0 {
		deps.Records = MaxRecords
	}
	if deps.Progress == nil {
		deps.Progress = func(Result) {}
	}
	// The record is under the epoch that the tables are of.
	cfg = cfg.Under(deps.Engine.Standing().Epoch)
	return &Job{Deps: deps, cfg: cfg, client: deps.Engine.Client(), store: deps.Engine.Ledger()}
}

// Replay replays the dead letters that the filter selects, but for those that are done with. It is safe to kill it, and to run it again, or
// several of it at once.
func (j *Job) Replay(ctx context.Context, f ledger.LetterFilter) (Result, error) {
	return j.run(ctx, f, ledger.KindReplay, "")
}

// Discard gives the dead letters that the filter selects up, on record.
func (j *Job) Discard(ctx context.Context, f ledger.LetterFilter, why string) (Result, error) {
	return j.run(ctx, f, ledger.KindDiscard, why)
}

func (j *Job) run(ctx context.Context, f ledger.LetterFilter, kind ledger.ReplayKind, note string) (Result, error) {
	before, err := j.FinishLast(ctx)
	if err != nil {
		return j.result, err
	}
	open, err := j.narrow(ctx, f)
	if err != nil || open == nil {
		return j.result, err
	}
	for {
		// Chosen after all before it is finished, and begun only if nobody else has begun anything since: so it is in no other batch.
		r, last, err := j.choose(ctx, before+1, open, kind, note)
		if err != nil || r == nil {
			return j.result, err
		}
		if j.result.Selected > 0 {
			j.Progress(j.result)
		}
		failpoint.Hit(failpoint.ReplaySelected)
		won, err := j.Begin(ctx, r)
		if err != nil {
			return j.result, err
		}
		if !won {
			if before, err = j.FinishLast(ctx); err != nil {
				return j.result, err
			}
			continue
		}
		before = r.Sequence
		failpoint.Hit(failpoint.ReplayBegun)
		j.result.Selected += r.Len()
		if err := j.carryOut(ctx, r, false); err != nil {
			return j.result, err
		}
		open.After = last
	}
}

// narrow takes out of a selection what cannot be begun with now, and counts it; nil: nothing is left.
func (j *Job) narrow(ctx context.Context, f ledger.LetterFilter) (*ledger.LetterFilter, error) {
	f.Pipeline, f.Epoch, f.Topic = j.cfg.Name, j.cfg.Epoch, j.cfg.Source.Kafka.Topic
	older, err := j.store.OlderLetters(ctx, f.Pipeline, f.Epoch, f.Topic, f.Spans)
	if err != nil {
		return nil, err
	}
	f.Older = older
	all, err := j.store.CountLetters(ctx, &f)
	if err != nil {
		return nil, err
	}
	s := &j.result.Skipped
	s.Replayed, s.Filtered, s.Discarded = all[ledger.LetterReplayed], all[ledger.LetterFiltered], all[ledger.LetterDiscarded]
	if len(f.States) == 0 {
		f.States = []ledger.LetterState{ledger.LetterWaiting, ledger.LetterFailed}
	}
	var states []ledger.LetterState
	for _, state := range f.States {
		if state.Open() {
			states = append(states, state)
		}
	}
	var left int64
	for _, state := range states {
		left += all[state]
	}
	f.States = states
	if left == 0 {
		return nil, nil
	}
	if f.Spans, err = j.settled(ctx, f.Spans); err != nil {
		return nil, err
	}
	if len(f.Spans) == 0 {
		s.Unsettled = left
		return nil, nil
	}
	settled, err := j.count(ctx, &f)
	if err != nil {
		return nil, err
	}
	s.Unsettled = left - settled
	f.RestUntil = j.client.ServerNow(time.Now()).Add(-j.Engine.Rest())
	rested, err := j.count(ctx, &f)
	s.Resting = settled - rested
	return &f, err
}

func (j *Job) count(ctx context.Context, f *ledger.LetterFilter) (n int64, err error) {
	all, err := j.store.CountLetters(ctx, f)
	for _, some := range all {
		n += some
	}
	return n, err
}

// settled is what of the spans the ledger accounts for; nil spans are everything. Of what it does not, a worker may be about to write rows. Of an offset that a
// backfill has left as it was the account of its own epoch says so.
func (j *Job) settled(ctx context.Context, spans map[int32]waybill.OffsetSet) (map[int32]waybill.OffsetSet, error) {
	topic := j.cfg.Source.Kafka.Topic
	origins, err := j.store.LetterOrigins(ctx, j.cfg.Name, j.cfg.Epoch, topic)
	if err != nil {
		return nil, err
	}
	out := map[int32]waybill.OffsetSet{}
	for i := range origins {
		tips, err := j.store.Tips(ctx, j.cfg.Name, origins[i].Epoch, topic)
		if err != nil {
			return nil, err
		}
		for p, tip := range tips {
			set := waybill.OffsetsIn(append([]waybill.Span{{First: tip.First, Next: tip.Next}}, tip.Beyond...)...)
			if of, some := origins[i].Rows[p]; some || i > 0 {
				set = set.Intersect(of)
			}
			if len(spans) > 0 {
				set = set.Intersect(spans[p])
			}
			if !set.Empty() {
				out[p] = out[p].Union(set)
			}
		}
	}
	return out, nil
}

// choose makes a batch of the next dead letters; nil: there are none. last is the last of them.
func (j *Job) choose(ctx context.Context, sequence uint64, f *ledger.LetterFilter, kind ledger.ReplayKind, note string) (r *ledger.Replay, last *waybill.Position, err error) {
	r = &ledger.Replay{Pipeline: j.cfg.Name, Sequence: sequence, Kind: kind, Epoch: f.Epoch, At: j.client.ServerNow(time.Now()), Plan: j.Engine.Plan().ID(), Topic: f.Topic,
		Offsets: map[int32]waybill.OffsetSet{}, By: j.Who, Note: note}
	_, _ = rand.Read(r.Batch[:]) // never fails, see its documentation
	bytes := 0
	err = j.store.Letters(ctx, f, ledger.ByOffset, j.Records, func(l *ledger.Letter) error {
		if bytes += len(l.Key) + len(l.Value); bytes > MaxBytes && last != nil && kind == ledger.KindReplay {
			return errFull
		}
		set := r.Offsets[l.Partition]
		set.Add(l.Offset)
		r.Offsets[l.Partition] = set
		last = &waybill.Position{Topic: l.Topic, Partition: l.Partition, Offset: l.Offset}
		return nil
	})
	if err != nil && !errors.Is(err, errFull) {
		return nil, nil, err
	}
	if last == nil {
		return nil, nil, nil
	}
	return r, last, nil
}

var errFull = errors.New("the batch is full")

// Begin claims the sequence for the batch: a compare-and-set (DESIGN 10). All who want the same sequence insert under the same tokens, so that one
// row of theirs lands; whose it is, is read back.
func (j *Job) Begin(ctx context.Context, r *ledger.Replay) (won bool, err error) {
	var of waybill.BatchID
	binary.BigEndian.PutUint64(of[8:], r.Sequence)
	for k, attempt := 0, 0; ; attempt++ {
		began := time.Now()
		there, err := j.store.LastReplay(ctx, j.cfg.Name)
		switch {
		case err != nil:
			return false, err
		case there != nil && there.Sequence >= r.Sequence:
			return there.Batch == r.Batch, nil
		}
		// The deadline counts from before the look: what was seen then may not hold any longer.
		a := j.client.Insert(ctx, clickhouse.Insert{Database: j.store.Database(), Table: ledger.TableReplays, Input: ledger.BegunBlock(r),
			Token:    waybill.ChainToken(j.cfg.Name, "dead letters", of, 0, ledger.TableReplays, k),
			Deadline: j.client.ServerNow(began.Add(j.cfg.Sink.ClickHouse.InsertDeadline))})
		switch {
		case a.Outcome.Answered():
			there, err := j.store.LastReplay(ctx, j.cfg.Name)
			if err != nil {
				return false, err
			}
			if there == nil || there.Sequence < r.Sequence {
				k++ // the token is used up, and its row is not there
			}
		case a.Err != nil && !a.Late && !a.Err.Class.Heals():
			return false, a.Err
		}
		if err := pause(ctx, attempt); err != nil {
			return false, err
		}
	}
}

// grace is for how long whoever has begun a batch is left to finish it. It is a courtesy: two that carry it out do no harm.
const grace = 5 * time.Second

// FinishLast carries out what somebody has begun and not finished. It answers with the sequence up to which all is.
func (j *Job) FinishLast(ctx context.Context) (uint64, error) {
	for {
		r, err := j.store.LastReplay(ctx, j.cfg.Name)
		switch {
		case err != nil || r == nil:
			return 0, err
		case r.Finished:
			return r.Sequence, nil
		case j.client.ServerNow(time.Now()).Sub(r.At) < grace:
			err = pause(ctx, 1)
		default:
			err = j.takeOver(ctx, r)
		}
		if err != nil {
			return 0, err
		}
	}
}

// takeOver carries out a batch that somebody else has begun.
func (j *Job) takeOver(ctx context.Context, r *ledger.Replay) error {
	if (r.Kind == ledger.KindReplay || r.Kind == ledger.KindRemove) && r.Epoch < j.Engine.Standing().Superseded {
		var outcomes []ledger.LetterOutcome // of rows that were to go: those of the table as it was
		if r.Kind == ledger.KindReplay {
			outcomes = superseded(r, j.cfg.Epoch)
		}
		err := j.finish(ctx, r, outcomes)
		if err == nil {
			j.result.Resumed += r.Len()
		}
		return err
	}
	writes := r.Kind != ledger.KindDiscard && r.Kind != ledger.KindErase
	if writes && (r.Epoch != j.cfg.Epoch || r.Topic != j.cfg.Source.Kafka.Topic) {
		return &waybill.Error{Op: "dlq", Pipeline: j.cfg.Name, Class: waybill.ClassConfig,
			Err:  fmt.Errorf("a %s of topic %s under epoch %d was begun at %s and is not finished; the file says topic %s and epoch %d", r.Kind, r.Topic, r.Epoch, r.At.Format(time.RFC3339), j.cfg.Source.Kafka.Topic, j.cfg.Epoch),
			Hint: "run the command again with the file as it was then: it finishes what was begun"}
	}
	var err error
	switch {
	case r.Kind == ledger.KindReplay || r.Kind == ledger.KindDiscard:
		err = j.carryOut(ctx, r, true)
	case j.Others == nil:
		err = NotOurs(r)
	default:
		err = j.Others(ctx, r)
	}
	if err == nil {
		j.result.Resumed += r.Len()
	}
	return err
}

// NotOurs is the error of a command that cannot finish what another has begun. Nothing else can be begun before it is finished.
func NotOurs(r *ledger.Replay) error {
	hint := "run `waybill repair run`: it finishes what was begun before it does anything else"
	switch r.Kind {
	case ledger.KindErase:
		hint = "run `waybill erase --yes` again: it finishes what was begun before it does anything else"
	case ledger.KindReplay, ledger.KindDiscard:
		hint = "run `waybill dlq replay`: it finishes what was begun before it does anything else"
	case ledger.KindFill, ledger.KindRewrite, ledger.KindRemove:
	}
	return &waybill.Error{Op: "journal", Pipeline: r.Pipeline, Class: waybill.ClassConfig, Hint: hint,
		Err: fmt.Errorf("a batch of the kind %s was begun by %s at %s and is not finished", r.Kind, r.By, r.At.Format(time.RFC3339))}
}

// carryOut does what a batch in the journal says. Any number may do so.
func (j *Job) carryOut(ctx context.Context, r *ledger.Replay, recovered bool) error {
	outcomes, err := j.outcomes(ctx, r, recovered)
	if errors.Is(err, engine.ErrOver) {
		if recovered {
			return nil
		}
		return j.tallyTaken(ctx, r)
	}
	if err != nil {
		return err
	}
	failpoint.Hit(failpoint.ReplayLanded)
	if err := j.finish(ctx, r, outcomes); err != nil {
		return err
	}
	if !recovered {
		j.tally(outcomes)
	}
	return nil
}

// finish puts outcomes on record, and then that the batch is finished.
func (j *Job) finish(ctx context.Context, r *ledger.Replay, outcomes []ledger.LetterOutcome) error {
	// An outcome on record twice is as good as once, so a token that nobody else has will do: another's may say something else.
	token := waybill.Token("outcome-" + uuid.NewString())
	if len(outcomes) > 0 {
		err := j.Record(ctx, func(now time.Time) clickhouse.Insert {
			return clickhouse.Insert{Table: ledger.TableOutcomes, Token: token, Input: ledger.OutcomeBlock(r, outcomes, now)}
		})
		if err != nil {
			return err
		}
	}
	failpoint.Hit(failpoint.ReplayOutcomes)
	if err := j.Finish(ctx, r); err != nil {
		return err
	}
	failpoint.Hit(failpoint.ReplayFinished)
	return nil
}

// Finish puts the end of a batch on record. Twice is as good as once; under a token that it shares with others it might be swallowed, if the server has died
// with the token on disk and the row not.
func (j *Job) Finish(ctx context.Context, r *ledger.Replay) error {
	token := waybill.Token("finished-" + uuid.NewString())
	return j.Record(ctx, func(now time.Time) clickhouse.Insert {
		return clickhouse.Insert{Table: ledger.TableReplays, Token: token, Input: ledger.FinishedBlock(r, now)}
	})
}

// Over reports whether a batch is finished, or the journal no longer knows it.
func (j *Job) Over(ctx context.Context, r *ledger.Replay) (bool, error) {
	last, err := j.store.LastReplay(ctx, j.cfg.Name)
	return err == nil && (last == nil || last.Sequence > r.Sequence || last.Finished), err
}

// tallyTaken counts what others have made of a batch of this run that they took over.
func (j *Job) tallyTaken(ctx context.Context, r *ledger.Replay) error {
	older, err := j.store.OlderLetters(ctx, r.Pipeline, r.Epoch, r.Topic, r.Offsets)
	if err != nil {
		return err
	}
	n, err := j.store.CountLetters(ctx, &ledger.LetterFilter{Pipeline: r.Pipeline, Epoch: r.Epoch, Older: older, Topic: r.Topic, Spans: r.Offsets})
	j.result.Replayed += n[ledger.LetterReplayed]
	j.result.Filtered += n[ledger.LetterFiltered]
	j.result.Failed += n[ledger.LetterFailed]
	j.result.Discarded += n[ledger.LetterDiscarded]
	return err
}

func (j *Job) tally(outcomes []ledger.LetterOutcome) {
	for i := range outcomes {
		switch outcomes[i].Outcome {
		case ledger.LetterReplayed:
			j.result.Replayed++
		case ledger.LetterFiltered:
			j.result.Filtered++
		case ledger.LetterFailed:
			j.result.Failed++
		case ledger.LetterDiscarded:
			j.result.Discarded++
		case ledger.LetterWaiting:
		}
	}
}

// outcomes carries a batch out, up to its outcomes.
func (j *Job) outcomes(ctx context.Context, r *ledger.Replay, recovered bool) ([]ledger.LetterOutcome, error) {
	letters := map[waybill.Position]*ledger.Letter{}
	pl := engine.Placement{Batch: r.Batch, Plan: r.Plan, At: r.At, Offsets: delivery.RowSet{}, Recovered: recovered, Over: func(ctx context.Context) (bool, error) { return j.Over(ctx, r) }}
	for p, set := range r.Offsets {
		pl.Offsets[waybill.TopicPartition{Topic: r.Topic, Partition: p}] = set
	}
	f := ledger.LetterFilter{Pipeline: r.Pipeline, Epoch: r.Epoch, Topic: r.Topic, Spans: r.Offsets}
	older, err := j.store.OlderLetters(ctx, r.Pipeline, r.Epoch, r.Topic, r.Offsets)
	if err != nil {
		return nil, err
	}
	f.Older = older
	err = j.store.Letters(ctx, &f, ledger.ByOffset, 0, func(l *ledger.Letter) error {
		letters[waybill.Position{Topic: l.Topic, Partition: l.Partition, Offset: l.Offset}] = l
		pl.Records = append(pl.Records, l.Record)
		return nil
	})
	if err != nil {
		return nil, err
	}
	out := discarded(r)
	if r.Kind == ledger.KindReplay {
		there, err := j.older(ctx, r, letters, &pl)
		if err != nil {
			return nil, err
		}
		if out, err = j.Engine.Place(ctx, pl); err != nil {
			return nil, err
		}
		out = append(out, there...)
	}
	for i := range out {
		l := letters[out[i].Position]
		if l == nil {
			continue
		}
		if out[i].Attempt = l.Attempt; r.Kind == ledger.KindReplay && l.Sequence < r.Sequence {
			out[i].Attempt++
		}
	}
	return out, nil
}

// older takes dead letters out of a placement that have their row already, of an older epoch: a replay that was under way when a backfill was promoted may have
// written it. The table takes no more of those, so what is not there now never will be.
func (j *Job) older(ctx context.Context, r *ledger.Replay, letters map[waybill.Position]*ledger.Letter, pl *engine.Placement) (out []ledger.LetterOutcome, err error) {
	inherited := delivery.RowSet{}
	for at, l := range letters {
		if l.Epoch != r.Epoch {
			tp := waybill.TopicPartition{Topic: at.Topic, Partition: at.Partition}
			set := inherited[tp]
			set.Add(at.Offset)
			inherited[tp] = set
		}
	}
	if inherited.Empty() {
		return nil, nil
	}
	origins, err := j.store.LetterOrigins(ctx, r.Pipeline, r.Epoch, r.Topic)
	if err != nil {
		return nil, err
	}
	for _, o := range origins[1:] {
		there, err := j.Engine.PlacedUnder(ctx, o.Epoch, r.Plan, inherited)
		if err != nil {
			return nil, err
		}
		for i := range there {
			tp := waybill.TopicPartition{Topic: there[i].Topic, Partition: there[i].Partition}
			one := delivery.RowSet{tp: waybill.OffsetsOf(there[i].Offset)}
			inherited, pl.Offsets = inherited.Minus(one), pl.Offsets.Minus(one)
		}
		out = append(out, there...)
	}
	pl.Records = slices.DeleteFunc(pl.Records, func(rec waybill.Record) bool { return !pl.Offsets[rec.TopicPartition()].Contains(rec.Offset) })
	return out, nil
}

// CodeSuperseded: a backfill has put another table in the place of the one that the dead letter was to be replayed into.
const CodeSuperseded = "superseded"

// superseded are the outcomes of a replay that was not finished when its table was replaced: its record was read again for the other one, or it is a dead letter still.
func superseded(r *ledger.Replay, epoch waybill.Epoch) []ledger.LetterOutcome {
	out := discarded(r)
	for i := range out {
		out[i].Outcome, out[i].Stage, out[i].Code = ledger.LetterFailed, string(deadletter.StageInsert), CodeSuperseded
		out[i].Message = fmt.Sprintf("another table, of epoch %d, has taken the place of the one that it was being replayed into", epoch)
	}
	return out
}

func discarded(r *ledger.Replay) (out []ledger.LetterOutcome) {
	for p, set := range r.Offsets {
		for _, sp := range set.Spans() {
			for o := sp.First; o < sp.Next; o++ {
				out = append(out, ledger.LetterOutcome{Position: waybill.Position{Topic: r.Topic, Partition: p, Offset: o}, Epoch: r.Epoch, Outcome: ledger.LetterDiscarded})
			}
		}
	}
	return out
}

// Record inserts into a table of Waybill's own until the server has answered. The row says when; it lands within the deadline of that.
func (j *Job) Record(ctx context.Context, made func(now time.Time) clickhouse.Insert) error {
	for attempt := 0; ; attempt++ {
		now := j.client.ServerNow(time.Now())
		in := made(now)
		in.Database, in.Deadline = j.store.Database(), now.Add(j.cfg.Sink.ClickHouse.InsertDeadline)
		a := j.client.Insert(ctx, in)
		if a.Err == nil {
			return nil
		}
		if !a.Late && !a.Err.Class.Heals() {
			return a.Err
		}
		if err := pause(ctx, attempt+1); err != nil {
			return errors.Join(err, a.Err)
		}
	}
}

// pause waits before the next attempt.
func pause(ctx context.Context, attempt int) error {
	if attempt == 0 {
		return ctx.Err()
	}
	t := time.NewTimer(min(100*time.Millisecond<<min(attempt, 8), 10*time.Second))
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}
