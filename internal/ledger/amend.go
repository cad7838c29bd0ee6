package ledger

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/ClickHouse/ch-go/proto"

	waybill "github.com/waybill-data/waybill"
	"github.com/waybill-data/waybill/internal/clickhouse"
)

// Fate is what an offset counts as.
type Fate string

// The fates. The ledger counts an offset as one of the first five.
const (
	FateWritten   Fate = "written"
	FateFiltered  Fate = "filtered"
	FateDead      Fate = "dead_lettered"
	FateTombstone Fate = "tombstone"
	FateNone      Fate = "none" // there is no record, or none that was counted
	FateErased    Fate = "erased"
)

// fates in the order of their codes in the journal, from 1 on.
var fates = []Fate{FateWritten, FateFiltered, FateDead, FateTombstone, FateNone}

func fateOf(code uint8) Fate {
	if int(code) > len(fates) {
		return FateNone
	}
	return fates[code-1]
}

// AllFates are all of them.
func AllFates() []Fate { return append(slices.Clone(fates), FateErased) }

// Fates are offsets of one partition by what they count as.
type Fates map[Fate]waybill.OffsetSet

// Add puts an offset under a fate.
func (f Fates) Add(fate Fate, offset int64) {
	set := f[fate]
	set.Add(offset)
	f[fate] = set
}

// Of is what an offset counts as; empty: it is not there.
func (f Fates) Of(offset int64) Fate {
	for fate, set := range f {
		if set.Contains(offset) {
			return fate
		}
	}
	return ""
}

// code is that of an offset in the journal; 0: it has none.
func (f Fates) code(offset int64) uint8 {
	return uint8(slices.Index(fates, f.Of(offset)) + 1) //nolint:gosec // few
}

// Amendment is what a repair or an erasure has made of an offset.
type Amendment struct {
	waybill.Position
	Was, Is Fate
	Plan    waybill.PlanID // that the record went through; 0: none
}

// AmendmentBlock encodes what a batch has made of its offsets for an INSERT into TableAmendments. It may be there twice.
func AmendmentBlock(r *Replay, amendments []Amendment, when time.Time) proto.Input {
	pipeline, topic, was, outcome, by := lowCardinality(), lowCardinality(), lowCardinality(), lowCardinality(), lowCardinality()
	epoch, partition, first, next := new(proto.ColUInt32), new(proto.ColInt32), new(proto.ColInt64), new(proto.ColInt64)
	sequence, plan, note, at := new(proto.ColUInt64), new(proto.ColUInt64), new(proto.ColStr), millisColumn()
	for i := 0; i < len(amendments); {
		a := &amendments[i]
		end := a.Offset + 1
		for i++; i < len(amendments) && amendments[i].follows(a, end); i++ {
			end++
		}
		pipeline.Append(r.Pipeline)
		epoch.Append(uint32(r.Epoch))
		topic.Append(a.Topic)
		partition.Append(a.Partition)
		first.Append(a.Offset)
		next.Append(end)
		sequence.Append(r.Sequence)
		was.Append(string(a.Was))
		outcome.Append(string(a.Is))
		plan.Append(uint64(a.Plan))
		at.Append(when)
		by.Append(r.By)
		note.Append(r.Note)
	}
	return proto.Input{
		{Name: "pipeline", Data: pipeline}, {Name: "epoch", Data: epoch}, {Name: "topic", Data: topic}, {Name: "partition", Data: partition},
		{Name: "first", Data: first}, {Name: "next", Data: next}, {Name: "sequence", Data: sequence}, {Name: "was", Data: was}, {Name: "outcome", Data: outcome},
		{Name: "plan", Data: plan}, {Name: "at", Data: at}, {Name: "who", Data: by}, {Name: "note", Data: note},
	}
}

// follows: x is the same of the next offset.
func (a *Amendment) follows(x *Amendment, end int64) bool {
	return a.Topic == x.Topic && a.Partition == x.Partition && a.Offset == end && a.Was == x.Was && a.Is == x.Is && a.Plan == x.Plan
}

// Amended is what offsets of a topic are since the ledger accounted for them: the latest of each. The zero value says that nothing has
// been amended.
type Amended struct {
	pieces map[int32][]piece
}

// piece is offsets of one partition of which the same is known.
type piece struct {
	waybill.OffsetSet
	sequence uint64
	was, is  Fate // is: empty while the batch is under way
	plan     waybill.PlanID
}

// put takes in what was made of offsets by a batch no earlier than all before.
func (a *Amended) put(p int32, n piece) {
	if a.pieces == nil {
		a.pieces = map[int32][]piece{}
	}
	var kept []piece
	for _, old := range a.pieces[p] {
		if old.OffsetSet = old.Minus(n.OffsetSet); !old.Empty() {
			kept = append(kept, old)
		}
	}
	a.pieces[p] = append(kept, n)
}

func (a *Amended) collect(p int32, which func(*piece) bool) (out waybill.OffsetSet) {
	for i := range a.pieces[p] {
		if x := &a.pieces[p][i]; which(x) {
			out = out.Union(x.OffsetSet)
		}
	}
	return out
}

// Empty: nothing has been amended.
func (a *Amended) Empty() bool { return len(a.pieces) == 0 }

// Partitions with amendments, in order.
func (a *Amended) Partitions() []int32 { return slices.Sorted(maps.Keys(a.pieces)) }

// Offsets of a partition that were amended, or are being.
func (a *Amended) Offsets(p int32) waybill.OffsetSet {
	return a.collect(p, func(*piece) bool { return true })
}

// UnderWay are offsets of batches that are not finished: nobody can tell what they are.
func (a *Amended) UnderWay(p int32) waybill.OffsetSet {
	return a.collect(p, func(x *piece) bool { return x.is == "" })
}

// Was are offsets that the ledger counts so.
func (a *Amended) Was(p int32, fate Fate) waybill.OffsetSet {
	return a.collect(p, func(x *piece) bool { return x.was == fate })
}

// Is are offsets that count so now.
func (a *Amended) Is(p int32, fate Fate) waybill.OffsetSet {
	return a.collect(p, func(x *piece) bool { return x.is == fate })
}

// At is what is known of an offset; ok is false if it was not amended. is is empty while that is under way.
func (a *Amended) At(p int32, offset int64) (was, is Fate, plan waybill.PlanID, ok bool) {
	for i := range a.pieces[p] {
		if x := &a.pieces[p][i]; x.Contains(offset) {
			return x.was, x.is, x.plan, true
		}
	}
	return "", "", 0, false
}

// Same are offsets of which a and a later reading say the same, and that are not under way.
func (a *Amended) Same(p int32, after *Amended) (out waybill.OffsetSet) {
	for _, x := range a.pieces[p] {
		for _, y := range after.pieces[p] {
			if x.sequence == y.sequence && y.is != "" {
				out = out.Union(x.Intersect(y.OffsetSet))
			}
		}
	}
	return out
}

// Frame is what is there as the ledger counts it: offsets that are not any more what they were there, or of which that cannot be told, are
// taken for what they were. before is what was on record before it was looked at: of what was done since nothing can be told.
func (a *Amended) Frame(p int32, before *Amended, present, dead waybill.OffsetSet) (rows, letters waybill.OffsetSet) {
	if len(a.pieces[p]) == 0 {
		return present, dead
	}
	moved := a.Moved(p, before)
	rows = present.Minus(moved).Union(a.Was(p, FateWritten).Intersect(moved))
	letters = dead.Minus(a.Offsets(p)).Union(a.Was(p, FateDead)) // one that is a row again, by a replay, is history
	return rows, letters
}

// Moved are offsets that do not count any more as rows that were written and are again, or of which that cannot be told: see Frame.
func (a *Amended) Moved(p int32, before *Amended) waybill.OffsetSet {
	asIs := a.collect(p, func(x *piece) bool { return x.was == FateWritten && x.is == FateWritten })
	return a.Offsets(p).Minus(asIs.Intersect(before.Same(p, a)))
}

// Untouched: no record of the pipeline has ever been replayed, repaired or erased, nor has anybody begun to, under any epoch. Asking that costs
// less than reading what there is.
func (s *Store) Untouched(ctx context.Context, pipeline string) (bool, error) {
	var parts []string
	for _, table := range []string{TableReplays, TableAmendments, TableOutcomes, TableArchiveErased} {
		parts = append(parts, fmt.Sprintf("SELECT 1 AS x FROM %s WHERE pipeline = %s LIMIT 1", s.table(table), clickhouse.Literal(pipeline)))
	}
	var n proto.ColUInt64
	sum := uint64(0)
	err := s.ch.Query(ctx, "SELECT count() AS n FROM ("+strings.Join(parts, " UNION ALL ")+") SETTINGS max_threads = 1", proto.Results{{Name: "n", Data: &n}}, func(rows int) error {
		for i := range rows {
			sum += n.Row(i)
		}
		return nil
	})
	return sum == 0, renamed("ledger.amended", err)
}

// Amended reads what repairs and erasures have made of offsets. Who compares with what a table holds reads it before it looks there, and
// again after: see Same.
func (s *Store) Amended(ctx context.Context, pipeline string, epoch waybill.Epoch, topic string) (*Amended, error) {
	under, err := s.UnfinishedReplays(ctx, pipeline)
	if err != nil {
		return nil, err
	}
	return s.amendedBy(ctx, pipeline, epoch, topic, under)
}

// Mended are offsets that repairs and replays under an epoch have made rows of, or no rows by right, and those that one is at, by partition. What was erased is
// not among them, nor what a repair could not make again.
func (s *Store) Mended(ctx context.Context, pipeline string, epoch waybill.Epoch, topic string) (done, underWay map[int32]waybill.OffsetSet, err error) {
	return s.mended(ctx, pipeline, epoch, topic, KindFill, KindRewrite, KindReplay)
}

func (s *Store) mended(ctx context.Context, pipeline string, epoch waybill.Epoch, topic string, kinds ...ReplayKind) (done, underWay map[int32]waybill.OffsetSet, err error) {
	done, underWay = map[int32]waybill.OffsetSet{}, map[int32]waybill.OffsetSet{}
	under, err := s.UnfinishedReplays(ctx, pipeline)
	if err != nil {
		return nil, nil, err
	}
	for i := range under {
		if r := &under[i]; r.Epoch == epoch && r.Topic == topic && slices.Contains(kinds, r.Kind) {
			for p, set := range r.Offsets {
				underWay[p] = underWay[p].Union(set)
			}
		}
	}
	take := func(tp waybill.TopicPartition, sp waybill.Span) {
		set := done[tp.Partition]
		set.AddSpan(sp)
		done[tp.Partition] = set
	}
	of := scope(pipeline, epoch) + " AND topic = " + clickhouse.Literal(topic)
	err = s.spans(ctx, "ledger.amended", fmt.Sprintf("SELECT DISTINCT topic AS t, partition AS p, first AS f, next AS n FROM %s WHERE %s AND outcome NOT IN ('%s', '%s') ORDER BY p, f",
		s.table(TableAmendments), of, FateErased, FateNone), take)
	if err == nil && slices.Contains(kinds, KindReplay) {
		err = s.spans(ctx, "ledger.amended", fmt.Sprintf("SELECT DISTINCT topic AS t, partition AS p, offset AS f, offset + 1 AS n FROM %s WHERE %s AND outcome = '%s' ORDER BY p, f",
			s.table(TableOutcomes), of, LetterReplayed), take)
	}
	return done, underWay, err
}

// amendedBy is Amended; under are the batches that are under way, read before.
func (s *Store) amendedBy(ctx context.Context, pipeline string, epoch waybill.Epoch, topic string, under []Replay) (*Amended, error) {
	out := &Amended{}
	var partition proto.ColInt32
	var sequence, plan proto.ColUInt64
	var first, next proto.ColInt64
	var was, outcome proto.ColStr
	err := s.ch.Query(ctx, fmt.Sprintf("SELECT partition AS p, sequence AS q, first AS f, next AS n, was AS w, outcome AS o, plan AS l FROM %s WHERE %s AND topic = %s ORDER BY q, p, f",
		s.table(TableAmendments), scope(pipeline, epoch), clickhouse.Literal(topic)),
		proto.Results{{Name: "p", Data: &partition}, {Name: "q", Data: &sequence}, {Name: "f", Data: &first}, {Name: "n", Data: &next}, {Name: "w", Data: &was}, {Name: "o", Data: &outcome}, {Name: "l", Data: &plan}},
		func(rows int) error {
			for i := range rows {
				out.put(partition.Row(i), piece{waybill.OffsetsIn(waybill.Span{First: first.Row(i), Next: next.Row(i)}), sequence.Row(i), Fate(was.Row(i)), Fate(outcome.Row(i)), waybill.PlanID(plan.Row(i))})
			}
			return nil
		})
	if err != nil {
		return nil, renamed("ledger.amended", err)
	}
	for i := range under {
		if r := &under[i]; r.Epoch == epoch && r.Topic == topic && r.Kind != KindRemove {
			for p, by := range r.Was {
				for fate, set := range by {
					out.put(p, piece{OffsetSet: set, sequence: r.Sequence, was: fate})
				}
			}
		}
	}
	// Of an archive: what was erased there was written, as every record is, and is not missing.
	erased, err := s.ArchiveErased(ctx, pipeline, topic)
	if err != nil {
		return nil, err
	}
	for p, set := range erased {
		out.put(p, piece{OffsetSet: set, was: FateWritten, is: FateErased})
	}
	if out.Empty() {
		return out, nil
	}
	return out, s.replayedSince(ctx, pipeline, epoch, topic, out)
}

// replayedSince takes in replays of dead letters that repairs have made.
func (s *Store) replayedSince(ctx context.Context, pipeline string, epoch waybill.Epoch, topic string, a *Amended) error {
	var partition proto.ColInt32
	var offset proto.ColInt64
	var sequence, plan proto.ColUInt64
	err := s.ch.Query(ctx, fmt.Sprintf("SELECT partition AS p, offset AS o, max(sequence) AS q, argMax(plan, sequence) AS l FROM %s WHERE %s AND topic = %s AND outcome = '%s' GROUP BY partition, offset",
		s.table(TableOutcomes), scope(pipeline, epoch), clickhouse.Literal(topic), LetterReplayed),
		proto.Results{{Name: "p", Data: &partition}, {Name: "o", Data: &offset}, {Name: "q", Data: &sequence}, {Name: "l", Data: &plan}}, func(rows int) error {
			for i := range rows {
				for _, x := range a.pieces[partition.Row(i)] {
					if x.Contains(offset.Row(i)) && x.sequence < sequence.Row(i) {
						a.put(partition.Row(i), piece{waybill.OffsetsOf(offset.Row(i)), sequence.Row(i), x.was, FateWritten, waybill.PlanID(plan.Row(i))})
						break
					}
				}
			}
			return nil
		})
	return renamed("ledger.amended", err)
}
