package ledger

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/ClickHouse/ch-go/proto"

	waybill "github.com/waybill-data/waybill"
	"github.com/waybill-data/waybill/internal/clickhouse"
)

// ReplayKind says what a batch of the journal does with its records.
type ReplayKind string

// The kinds. The first two are about dead letters, the others about what is settled (docs/adr/0017).
const (
	KindReplay  ReplayKind = "replay"
	KindDiscard ReplayKind = "discard"
	KindFill    ReplayKind = "fill"    // rows that are missing are made again
	KindRewrite ReplayKind = "rewrite" // rows are deleted and made again
	KindErase   ReplayKind = "erase"   // what is kept of records is removed for good
	KindRemove  ReplayKind = "remove"  // rows of older epochs are deleted that should not be there; of offsets that were written one is left
)

// Replay is a batch of the journal.
type Replay struct {
	Pipeline string
	Sequence uint64
	Kind     ReplayKind
	Epoch    waybill.Epoch
	Batch    waybill.BatchID
	At       time.Time // when it was begun
	Plan     waybill.PlanID
	Topic    string
	Offsets  map[int32]waybill.OffsetSet // by partition
	// Was is what the ledger counts the offsets as, of the last three kinds.
	Was      map[int32]Fates
	By       string
	Note     string
	Cleared  bool // of a rewrite: the old rows are gone, nobody deletes any more
	Finished bool
}

// Len is how many records it is about.
func (r *Replay) Len() (n int64) {
	for _, set := range r.Offsets {
		n += set.Len()
	}
	return n
}

// Steps in the journal.
const (
	stepBegun    = "begun"
	stepCleared  = "cleared"
	stepFinished = "finished"
)

// BegunBlock encodes the beginning of a batch for an INSERT into TableReplays.
func BegunBlock(r *Replay) proto.Input { return replayBlock(r, stepBegun, r.At) }

// FinishedBlock encodes its end.
func FinishedBlock(r *Replay, at time.Time) proto.Input { return bareBlock(r, stepFinished, at) }

// ClearedBlock encodes that the old rows of a rewrite are gone.
func ClearedBlock(r *Replay, at time.Time) proto.Input { return bareBlock(r, stepCleared, at) }

func bareBlock(r *Replay, step string, at time.Time) proto.Input {
	bare := *r
	bare.Offsets, bare.Was = nil, nil
	return replayBlock(&bare, step, at)
}

func replayBlock(r *Replay, step string, when time.Time) proto.Input {
	pipeline, steps, kind, topic, at := lowCardinality(), lowCardinality(), lowCardinality(), lowCardinality(), millisColumn()
	batch, by, note := proto.ColFixedStr{Size: 16}, new(proto.ColStr), new(proto.ColStr)
	partitions, offsets, was := new(proto.ColInt32).Array(), new(proto.ColInt64).Array(), new(proto.ColUInt8).Array()
	pipeline.Append(r.Pipeline)
	steps.Append(step)
	kind.Append(string(r.Kind))
	topic.Append(r.Topic)
	at.Append(when)
	batch.Append(r.Batch[:])
	by.Append(r.By)
	note.Append(r.Note)
	var ps []int32
	var os []int64
	var ws []uint8
	for p, set := range r.Offsets {
		for _, sp := range set.Spans() {
			for o := sp.First; o < sp.Next; o++ {
				ps, os, ws = append(ps, p), append(os, o), append(ws, r.Was[p].code(o))
			}
		}
	}
	partitions.Append(ps)
	offsets.Append(os)
	was.Append(ws)
	return proto.Input{
		{Name: "pipeline", Data: pipeline}, {Name: "sequence", Data: proto.ColUInt64{r.Sequence}}, {Name: "step", Data: steps}, {Name: "kind", Data: kind},
		{Name: "epoch", Data: proto.ColUInt32{uint32(r.Epoch)}}, {Name: "batch", Data: batch}, {Name: "at", Data: at}, {Name: "plan", Data: proto.ColUInt64{uint64(r.Plan)}},
		{Name: "topic", Data: topic}, {Name: "partitions", Data: partitions}, {Name: "offsets", Data: offsets}, {Name: "was", Data: was}, {Name: "who", Data: by}, {Name: "note", Data: note},
	}
}

// LastReplay is the pipeline's batch with the highest sequence; nil: there is none. Two batches of one sequence are an error: a
// journal in which that can happen proves nothing.
func (s *Store) LastReplay(ctx context.Context, pipeline string) (*Replay, error) {
	all, err := s.replays(ctx, fmt.Sprintf("pipeline = %[1]s AND sequence = (SELECT max(sequence) FROM %[2]s WHERE pipeline = %[1]s)", clickhouse.Literal(pipeline), s.table(TableReplays)))
	if err != nil || len(all) == 0 {
		return nil, err
	}
	if len(all) > 1 {
		return nil, &waybill.Error{Op: "dlq", Pipeline: pipeline, Class: waybill.ClassBug,
			Err:  fmt.Errorf("two batches have the sequence %d in %s.%s: %s and %s", all[0].Sequence, s.db, TableReplays, all[0].Batch, all[1].Batch),
			Hint: "nothing more is replayed or discarded; find out what else writes into that table, and remove the row that is not followed by outcomes"}
	}
	return &all[0], nil
}

// UnfinishedReplays are the pipeline's batches that were begun and are not finished: one at most, unless rows of the journal are gone.
func (s *Store) UnfinishedReplays(ctx context.Context, pipeline string) ([]Replay, error) {
	all, err := s.replays(ctx, fmt.Sprintf("pipeline = %[1]s AND sequence NOT IN (SELECT sequence FROM %[2]s WHERE pipeline = %[1]s AND step = '%[3]s')",
		clickhouse.Literal(pipeline), s.table(TableReplays), stepFinished))
	return all, err
}

// replays reads batches, one for each sequence and batch.
func (s *Store) replays(ctx context.Context, where string) ([]Replay, error) {
	var out []Replay
	var pipeline, kind, topic, by, note proto.ColStr
	var sequence, plan proto.ColUInt64
	var epoch proto.ColUInt32
	var cleared, finished proto.ColUInt8
	batch, at := proto.ColFixedStr{Size: 16}, millisColumn()
	partitions, offsets, was := new(proto.ColInt32).Array(), new(proto.ColInt64).Array(), new(proto.ColUInt8).Array()
	err := s.ch.Query(ctx, fmt.Sprintf(`
SELECT pipeline AS l, sequence AS q, batch AS b, toString(argMax(kind, u)) AS k, argMax(epoch, u) AS e, argMax(at, u) AS a, argMax(plan, u) AS n, toString(argMax(topic, u)) AS t,
       argMax(partitions, u) AS p, argMax(offsets, u) AS o, argMax(was, u) AS w, argMax(who, u) AS y, argMax(note, u) AS x, max(step = '%s') AS c, max(step = '%s') AS f
FROM (SELECT *, step = '%s' AS u FROM %s WHERE %s)
GROUP BY pipeline, sequence, batch ORDER BY q, a`, stepCleared, stepFinished, stepBegun, s.table(TableReplays), where),
		proto.Results{
			{Name: "l", Data: &pipeline}, {Name: "q", Data: &sequence}, {Name: "b", Data: &batch}, {Name: "k", Data: &kind}, {Name: "e", Data: &epoch}, {Name: "a", Data: at},
			{Name: "n", Data: &plan}, {Name: "t", Data: &topic}, {Name: "p", Data: partitions}, {Name: "o", Data: offsets}, {Name: "w", Data: was}, {Name: "y", Data: &by}, {Name: "x", Data: &note},
			{Name: "c", Data: &cleared}, {Name: "f", Data: &finished},
		}, func(rows int) error {
			for i := range rows {
				r := Replay{Pipeline: pipeline.Row(i), Sequence: sequence.Row(i), Kind: ReplayKind(kind.Row(i)), Epoch: waybill.Epoch(epoch.Row(i)), At: at.Row(i),
					Plan: waybill.PlanID(plan.Row(i)), Topic: topic.Row(i), Offsets: map[int32]waybill.OffsetSet{}, Was: map[int32]Fates{}, By: by.Row(i), Note: note.Row(i), Cleared: cleared.Row(i) != 0, Finished: finished.Row(i) != 0}
				copy(r.Batch[:], batch.Row(i))
				r.takeOffsets(partitions.Row(i), offsets.Row(i), was.Row(i))
				out = append(out, r)
			}
			return nil
		})
	return out, renamed("dlq", err)
}

func (r *Replay) takeOffsets(partitions []int32, offsets []int64, was []uint8) {
	for i, p := range partitions {
		set := r.Offsets[p]
		set.Add(offsets[i])
		r.Offsets[p] = set
		if i < len(was) && was[i] > 0 {
			if r.Was[p] == nil {
				r.Was[p] = Fates{}
			}
			r.Was[p].Add(fateOf(was[i]), offsets[i])
		}
	}
}

// LetterOutcome is what became of a dead letter.
type LetterOutcome struct {
	waybill.Position
	// Epoch is that of the row, if it has one, else that of the batch. A dead letter of an older epoch is replayed under the one that the table is written under.
	Epoch   waybill.Epoch
	Outcome LetterState
	Attempt uint32
	Plan    waybill.PlanID
	Target  string // of replayed
	Stage   string // of failed, as the next three
	Code    string
	Column  string
	Message string
}

// OutcomeBlock encodes outcomes of a batch for an INSERT into TableOutcomes. They may be there twice.
func OutcomeBlock(r *Replay, outcomes []LetterOutcome, when time.Time) proto.Input {
	pipeline, topic, outcome, target, stage, code, column, by := lowCardinality(), lowCardinality(), lowCardinality(), lowCardinality(), lowCardinality(), lowCardinality(), lowCardinality(), lowCardinality()
	epoch, partition, offset, sequence := new(proto.ColUInt32), new(proto.ColInt32), new(proto.ColInt64), new(proto.ColUInt64)
	attempt, plan, message, note, at := new(proto.ColUInt32), new(proto.ColUInt64), new(proto.ColStr), new(proto.ColStr), millisColumn()
	for i := range outcomes {
		o := &outcomes[i]
		pipeline.Append(r.Pipeline)
		epoch.Append(uint32(o.Epoch))
		topic.Append(o.Topic)
		partition.Append(o.Partition)
		offset.Append(o.Offset)
		sequence.Append(r.Sequence)
		outcome.Append(string(o.Outcome))
		at.Append(when)
		attempt.Append(o.Attempt)
		plan.Append(uint64(o.Plan))
		target.Append(o.Target)
		stage.Append(o.Stage)
		code.Append(o.Code)
		column.Append(o.Column)
		message.Append(o.Message)
		by.Append(r.By)
		note.Append(r.Note)
	}
	return proto.Input{
		{Name: "pipeline", Data: pipeline}, {Name: "epoch", Data: epoch}, {Name: "topic", Data: topic}, {Name: "partition", Data: partition}, {Name: "offset", Data: offset},
		{Name: "sequence", Data: sequence}, {Name: "outcome", Data: outcome}, {Name: "at", Data: at}, {Name: "attempt", Data: attempt}, {Name: "plan", Data: plan},
		{Name: "target", Data: target}, {Name: "stage", Data: stage}, {Name: "code", Data: code}, {Name: "column", Data: column}, {Name: "message", Data: message},
		{Name: "who", Data: by}, {Name: "note", Data: note},
	}
}

// ReplayPlans are the plans that dead letters of some offsets were replayed under, under any of some epochs.
func (s *Store) ReplayPlans(ctx context.Context, pipeline string, epochs []waybill.Epoch, topic string, within map[int32]waybill.OffsetSet) (map[waybill.Position]waybill.PlanID, error) {
	out := map[waybill.Position]waybill.PlanID{}
	var list []string
	for _, e := range epochs {
		list = append(list, fmt.Sprint(uint32(e)))
	}
	f := LetterFilter{Pipeline: pipeline, Topic: topic, Spans: within}
	var partition proto.ColInt32
	var offset proto.ColInt64
	var plan proto.ColUInt64
	err := s.ch.Query(ctx, fmt.Sprintf("SELECT partition AS p, offset AS o, argMax(plan, sequence) AS l FROM %s WHERE %s AND outcome = '%s' GROUP BY partition, offset",
		s.table(TableOutcomes), f.among("epoch IN ("+strings.Join(list, ", ")+")"), LetterReplayed),
		proto.Results{{Name: "p", Data: &partition}, {Name: "o", Data: &offset}, {Name: "l", Data: &plan}}, func(rows int) error {
			for i := range rows {
				out[waybill.Position{Topic: topic, Partition: partition.Row(i), Offset: offset.Row(i)}] = waybill.PlanID(plan.Row(i))
			}
			return nil
		})
	return out, renamed("ledger.replayed", err)
}

// Replayed is which offsets of a pipeline's topic have a row by a replay, by partition: those that are on record as replayed must have
// one; those of batches that are under way may. Offsets that were repaired or erased are not among the former: see Amended.
//
// Who compares with what a table holds asks for must before it looks there, and for may after.
func (s *Store) Replayed(ctx context.Context, pipeline string, epoch waybill.Epoch, topic string) (must, may map[waybill.TopicPartition]waybill.OffsetSet, err error) {
	must, may = map[waybill.TopicPartition]waybill.OffsetSet{}, map[waybill.TopicPartition]waybill.OffsetSet{}
	under, err := s.UnfinishedReplays(ctx, pipeline)
	if err != nil {
		return nil, nil, err
	}
	for _, r := range under {
		if r.Kind != KindReplay || r.Epoch != epoch || r.Topic != topic {
			continue
		}
		for p, set := range r.Offsets {
			tp := waybill.TopicPartition{Topic: topic, Partition: p}
			may[tp] = may[tp].Union(set)
		}
	}
	err = s.spans(ctx, "ledger.replayed", fmt.Sprintf("SELECT DISTINCT topic AS t, partition AS p, offset AS f, offset + 1 AS n FROM %s WHERE %s AND topic = %s AND outcome = '%s' ORDER BY t, p, f",
		s.table(TableOutcomes), scope(pipeline, epoch), clickhouse.Literal(topic), LetterReplayed), func(tp waybill.TopicPartition, sp waybill.Span) {
		set := must[tp]
		set.AddSpan(sp)
		must[tp] = set
	})
	if err != nil {
		return nil, nil, err
	}
	amended, err := s.amendedBy(ctx, pipeline, epoch, topic, under)
	if err != nil {
		return nil, nil, err
	}
	for tp, set := range must {
		if must[tp] = set.Minus(amended.Offsets(tp.Partition)); must[tp].Empty() {
			delete(must, tp)
		}
	}
	return must, may, nil
}
