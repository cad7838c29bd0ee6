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

// LetterState is what a dead letter is now.
type LetterState string

// The states. All but the first are the outcomes of a replay or a discard.
const (
	LetterWaiting   LetterState = "waiting"   // nothing has been done about it
	LetterReplayed  LetterState = "replayed"  // its row is in a table
	LetterFiltered  LetterState = "filtered"  // a replay found that the pipeline's filter leaves it out
	LetterFailed    LetterState = "failed"    // a replay could not write it either
	LetterDiscarded LetterState = "discarded" // somebody has given it up
)

// LetterStates are all states.
func LetterStates() []LetterState {
	return []LetterState{LetterWaiting, LetterReplayed, LetterFiltered, LetterFailed, LetterDiscarded}
}

// Open reports whether a dead letter in this state may be replayed or discarded.
func (s LetterState) Open() bool { return s == LetterWaiting || s == LetterFailed }

// Letter is a dead letter as it is now. Its reason is the latest.
type Letter struct {
	waybill.Record // Value is nil if the record could not be kept
	State          LetterState
	Epoch          waybill.Epoch
	Batch          waybill.BatchID
	BatchTime      time.Time // when it became a dead letter
	Plan           waybill.PlanID
	Stage          string
	Code           string
	Column         string // or path
	Message        string
	Attempt        uint32    // replays so far
	Sequence       uint64    // of the latest, in the journal; 0: none
	StateAt        time.Time // of it
	Target         string    // of replayed: database.table
	By             string    // who replayed or discarded it
	Note           string    // of discarded: why
	Shape          string    // the id of its group
}

// LetterFilter selects dead letters of a pipeline. Fields that are empty select all.
type LetterFilter struct {
	Pipeline string
	Epoch    waybill.Epoch
	// Older are epochs of which some dead letters are the table's as well: see Store.OlderLetters.
	Older    []LettersOf
	Topic    string
	States   []LetterState
	Stages   []string
	Codes    []string
	Columns  []string
	Plans    []waybill.PlanID
	Shapes   []string // ids of groups, see Shape
	Contains string   // in the message
	From, To time.Time
	Spans    map[int32]waybill.OffsetSet
	After    *waybill.Position // in the order of ByOffset
	// RestUntil leaves out those whose rows the server has refused in a replay that was finished since: see docs/adr/0013.
	RestUntil time.Time
}

// LettersOf are dead letters of an older epoch: those of offsets that backfills have left as they were. What a newer epoch has made anew it has judged anew, too.
type LettersOf struct {
	Epoch waybill.Epoch
	// Within are ranges of offsets, by partition. All dead letters of the epoch that lie in one of them are meant, and no others.
	Within map[int32]waybill.OffsetSet
}

// OlderLetters are the dead letters of older epochs that a table has inherited which is written under an epoch, of some offsets; none: of all. A filter that has them is
// about these offsets, too.
func (s *Store) OlderLetters(ctx context.Context, pipeline string, epoch waybill.Epoch, topic string, spans map[int32]waybill.OffsetSet) ([]LettersOf, error) {
	origins, err := s.LetterOrigins(ctx, pipeline, epoch, topic)
	if err != nil {
		return nil, err
	}
	var out []LettersOf
	for _, o := range origins[1:] {
		of := LettersOf{o.Epoch, map[int32]waybill.OffsetSet{}}
		var ours *waybill.Span // the range that the letter before is in; nil: it is another's
		last := int32(-1)
		keep := func(p int32) {
			if ours != nil {
				set := of.Within[p]
				set.AddSpan(*ours)
				of.Within[p] = set
			}
			ours = nil
		}
		// A backfill's scope may have any number of spans. The ranges part the epoch's dead letters, and nothing else, so there are few.
		some := LetterFilter{Pipeline: pipeline, Epoch: o.Epoch, Topic: topic, Spans: spans}
		err := s.spans(ctx, "dlq", fmt.Sprintf("SELECT topic AS t, partition AS p, offset AS f, offset + 1 AS n FROM %s WHERE %s ORDER BY p, f", s.table(TableDeadLetters), some.scope()), func(tp waybill.TopicPartition, sp waybill.Span) {
			if tp.Partition != last {
				keep(last)
				last = tp.Partition
			}
			switch {
			case !o.Rows[tp.Partition].Contains(sp.First):
				keep(last)
			case ours == nil:
				ours = &sp
			default:
				ours.Next = sp.Next
			}
		})
		if err != nil {
			return nil, err
		}
		if keep(last); len(of.Within) > 0 {
			out = append(out, of)
		}
	}
	return out, nil
}

// shapeOf is a message without its values, so that messages which differ in them alone are one group.
const shapeOf = `replaceRegexpAll(replaceRegexpAll(replaceRegexpAll(message, '"(?:[^"\\\\]|\\\\.)*"', '"…"'), '\'[^\']*\'', '\'…\''), '\\b[0-9]+(?:\\.[0-9]+)?\\b', 'N')`

const shapeID = `lower(leftPad(hex(toUInt32(sipHash64(stage, code, column, ` + shapeOf + `))), 8, '0'))`

// scope is what dead letters are read for.
func (f *LetterFilter) scope() string {
	some := []string{fmt.Sprintf("epoch = %d", f.Epoch)}
	for _, o := range f.Older {
		some = append(some, fmt.Sprintf("epoch = %d AND %s", o.Epoch, within(o.Within)))
	}
	return f.among("(" + strings.Join(some, " OR ") + ")")
}

// among is a condition for positions of the epochs that another one is about.
func (f *LetterFilter) among(epochs string) string {
	s := "pipeline = " + clickhouse.Literal(f.Pipeline) + " AND " + epochs
	if f.Topic != "" {
		s += " AND topic = " + clickhouse.Literal(f.Topic)
	}
	if len(f.Spans) > 0 {
		s += " AND " + within(f.Spans)
	}
	if a := f.After; a != nil {
		s += fmt.Sprintf(" AND (partition, offset) > (%d, %d)", a.Partition, a.Offset)
	}
	return s
}

// outcomes is where it is on record what became of the dead letters, and which column has their epoch. That of an older epoch may have been replayed under any
// since: a row is made under the epoch that the table is written under then.
func (s *Store) outcomes(f *LetterFilter) (from, of string) {
	if len(f.Older) == 0 {
		return s.table(TableOutcomes) + " WHERE " + f.scope(), "epoch"
	}
	epochs := []string{fmt.Sprint(uint32(f.Epoch))}
	for _, o := range f.Older {
		epochs = append(epochs, fmt.Sprint(uint32(o.Epoch)))
	}
	return fmt.Sprintf(`(SELECT * FROM %s WHERE %s) AS x
        INNER JOIN (SELECT DISTINCT topic, partition, offset, epoch AS letter_epoch FROM %s WHERE %s) AS y USING (topic, partition, offset)
        WHERE epoch >= letter_epoch`,
		s.table(TableOutcomes), f.among("epoch IN ("+strings.Join(epochs, ", ")+")"), s.table(TableDeadLetters), f.scope()), "letter_epoch"
}

// within is a condition for offsets: as ranges, or one by one where there are many small ones and not too many for a statement.
func within(spans map[int32]waybill.OffsetSet) string {
	const fewRanges, mostOffsets = 50, 4000
	var ranges, single []string
	var offsets int64
	for _, p := range slices.Sorted(maps.Keys(spans)) {
		for _, sp := range spans[p].Spans() {
			ranges = append(ranges, fmt.Sprintf("partition = %d AND offset >= %d AND offset < %d", p, sp.First, sp.Next))
			if offsets += sp.Len(); offsets > mostOffsets {
				continue
			}
			for o := sp.First; o < sp.Next; o++ {
				single = append(single, fmt.Sprintf("(%d,%d)", p, o))
			}
		}
	}
	if len(ranges) > fewRanges && offsets <= mostOffsets {
		return "(partition, offset) IN (" + strings.Join(single, ",") + ")"
	}
	return "(" + strings.Join(append(ranges, "0"), " OR ") + ")"
}

func (s *Store) where(f *LetterFilter) string {
	w := []string{"1"}
	in := func(column string, values []string) {
		if len(values) == 0 {
			return
		}
		quoted := make([]string, len(values))
		for i, v := range values {
			quoted[i] = clickhouse.Literal(v)
		}
		w = append(w, column+" IN ("+strings.Join(quoted, ", ")+")")
	}
	in("state", texts(f.States))
	in("stage", f.Stages)
	in("code", f.Codes)
	in("column", f.Columns)
	in("shape", f.Shapes)
	if len(f.Plans) > 0 {
		var ids []string
		for _, p := range f.Plans {
			ids = append(ids, fmt.Sprint(uint64(p)))
		}
		w = append(w, "plan IN ("+strings.Join(ids, ", ")+")")
	}
	if f.Contains != "" {
		w = append(w, fmt.Sprintf("position(message, %s) > 0", clickhouse.Literal(f.Contains)))
	}
	if !f.From.IsZero() {
		w = append(w, fmt.Sprintf("batch_time >= fromUnixTimestamp64Milli(%d)", f.From.UnixMilli()))
	}
	if !f.To.IsZero() {
		w = append(w, fmt.Sprintf("batch_time < fromUnixTimestamp64Milli(%d)", f.To.UnixMilli()))
	}
	if !f.RestUntil.IsZero() {
		w = append(w, fmt.Sprintf("NOT (state = 'failed' AND stage = 'insert' AND sequence IN (SELECT sequence FROM %s WHERE pipeline = %s AND step = '%s' AND at >= fromUnixTimestamp64Milli(%d)))",
			s.table(TableReplays), clickhouse.Literal(f.Pipeline), stepFinished, f.RestUntil.UnixMilli()))
	}
	return strings.Join(w, " AND ")
}

func texts[T ~string](in []T) []string {
	out := make([]string, len(in))
	for i, s := range in {
		out[i] = string(s)
	}
	return out
}

// from is the dead letters that the filter selects, as a table expression.
func (s *Store) from(f *LetterFilter) string {
	outcomes, of := s.outcomes(f)
	return fmt.Sprintf("(SELECT * FROM (SELECT *, %s AS shape FROM (%s)) WHERE %s)", shapeID,
		strings.NewReplacer("%[1]s", clickhouse.Ident(s.db), "%[2]s", f.scope(), "%[3]s", "toString(d.version)", "%[4]s", outcomes, "%[5]s", of).Replace(letters), s.where(f))
}

// Order is the order in which dead letters are given.
type Order bool

// Orders.
const (
	ByOffset    Order = false
	NewestFirst Order = true
)

// Letters calls each with the dead letters that the filter selects, at most limit if that is not 0. The letter is its own.
func (s *Store) Letters(ctx context.Context, f *LetterFilter, order Order, limit int, each func(*Letter) error) error {
	by := "topic, partition, offset"
	if order == NewestFirst {
		by = "batch_time DESC, " + by
	}
	sql := fmt.Sprintf(`
SELECT topic AS t, partition AS p, offset AS o, epoch AS e, record_time, key, value, header_keys, header_values, version, batch, batch_time, plan,
       state, stage, code, column, message, attempt, sequence, state_at, target, who, note, shape
FROM %s ORDER BY %s`, s.from(f), by)
	if limit > 0 {
		sql += fmt.Sprintf(" LIMIT %d", limit)
	}
	r := newLetterResult()
	var stopped error
	err := s.ch.Query(ctx, sql, r.results(), func(rows int) error {
		for i := range rows {
			if stopped = each(r.row(i)); stopped != nil {
				return stopped
			}
		}
		return nil
	})
	if stopped != nil {
		return stopped
	}
	return renamed("dlq", err)
}

// letterResult is the columns of Letters.
type letterResult struct {
	topic, state, stage, code, column, message, target, by, note, shape, version proto.ColStr
	partition                                                                    proto.ColInt32
	offset                                                                       proto.ColInt64
	recordTime, batchTime, stateAt                                               *proto.ColDateTime64
	key, value                                                                   *proto.ColNullable[string]
	headerKeys, headerValues                                                     *proto.ColArr[string]
	batch                                                                        proto.ColFixedStr
	plan, sequence                                                               proto.ColUInt64
	attempt, epoch                                                               proto.ColUInt32
}

func newLetterResult() *letterResult {
	return &letterResult{
		recordTime: millisColumn(), batchTime: millisColumn(), stateAt: millisColumn(), batch: proto.ColFixedStr{Size: 16},
		key: new(proto.ColStr).Nullable(), value: new(proto.ColStr).Nullable(), headerKeys: new(proto.ColStr).Array(), headerValues: new(proto.ColStr).Array(),
	}
}

func (r *letterResult) results() proto.Results {
	return proto.Results{
		{Name: "t", Data: &r.topic}, {Name: "p", Data: &r.partition}, {Name: "o", Data: &r.offset}, {Name: "e", Data: &r.epoch}, {Name: "record_time", Data: r.recordTime},
		{Name: "key", Data: r.key}, {Name: "value", Data: r.value}, {Name: "header_keys", Data: r.headerKeys}, {Name: "header_values", Data: r.headerValues},
		{Name: "version", Data: &r.version}, {Name: "batch", Data: &r.batch}, {Name: "batch_time", Data: r.batchTime}, {Name: "plan", Data: &r.plan},
		{Name: "state", Data: &r.state}, {Name: "stage", Data: &r.stage}, {Name: "code", Data: &r.code}, {Name: "column", Data: &r.column},
		{Name: "message", Data: &r.message}, {Name: "attempt", Data: &r.attempt}, {Name: "sequence", Data: &r.sequence}, {Name: "state_at", Data: r.stateAt},
		{Name: "target", Data: &r.target}, {Name: "who", Data: &r.by}, {Name: "note", Data: &r.note}, {Name: "shape", Data: &r.shape},
	}
}

func (r *letterResult) row(i int) *Letter {
	l := &Letter{
		Record: waybill.Record{Topic: r.topic.Row(i), Partition: r.partition.Row(i), Offset: r.offset.Row(i), LeaderEpoch: -1, Time: r.recordTime.Row(i).UnixMilli(),
			Key: nullable(r.key.Row(i)), Value: nullable(r.value.Row(i)), Version: r.version.Row(i)},
		State: LetterState(r.state.Row(i)), Epoch: waybill.Epoch(r.epoch.Row(i)), BatchTime: r.batchTime.Row(i), Plan: waybill.PlanID(r.plan.Row(i)),
		Stage: r.stage.Row(i), Code: r.code.Row(i), Column: r.column.Row(i), Message: r.message.Row(i), Attempt: r.attempt.Row(i), Sequence: r.sequence.Row(i),
		StateAt: r.stateAt.Row(i), Target: r.target.Row(i), By: r.by.Row(i), Note: r.note.Row(i), Shape: r.shape.Row(i),
	}
	copy(l.Batch[:], r.batch.Row(i))
	keys, values := r.headerKeys.Row(i), r.headerValues.Row(i)
	for j := range min(len(keys), len(values)) {
		l.Headers = append(l.Headers, waybill.Header{Key: keys[j], Value: []byte(values[j])})
	}
	return l
}

// nullable keeps nil apart from empty.
func nullable(v proto.Nullable[string]) []byte {
	if !v.Set {
		return nil
	}
	return append([]byte{}, v.Value...)
}

// LetterGroup are dead letters with errors of one shape.
type LetterGroup struct {
	Shape       string // the id
	State       LetterState
	Stage, Code string
	Column      string
	Message     string // without values
	Count       int64
	First, Last time.Time // when they became dead letters
	Example     waybill.Position
	Says        string // the example's message
}

// LetterGroups are the groups of the dead letters that the filter selects, the largest first.
func (s *Store) LetterGroups(ctx context.Context, f *LetterFilter) ([]LetterGroup, error) {
	var out []LetterGroup
	var shape, state, stage, code, column, message, topic, says proto.ColStr
	var n proto.ColUInt64
	var partition proto.ColInt32
	var offset proto.ColInt64
	first, last := millisColumn(), millisColumn()
	err := s.ch.Query(ctx, fmt.Sprintf(`
SELECT shape, state AS s, any(stage) AS g, any(code) AS c, any(column) AS l, any(%s) AS m, count() AS n, min(batch_time) AS f, max(batch_time) AS z,
       argMin(topic, k) AS t, argMin(partition, k) AS p, argMin(offset, k) AS o, argMin(message, k) AS e
FROM (SELECT *, (batch_time, topic, partition, offset) AS k FROM %s) GROUP BY shape, state ORDER BY n DESC, shape, s`, shapeOf, s.from(f)),
		proto.Results{
			{Name: "shape", Data: &shape}, {Name: "s", Data: &state}, {Name: "g", Data: &stage}, {Name: "c", Data: &code}, {Name: "l", Data: &column}, {Name: "m", Data: &message},
			{Name: "n", Data: &n}, {Name: "f", Data: first}, {Name: "z", Data: last}, {Name: "t", Data: &topic}, {Name: "p", Data: &partition}, {Name: "o", Data: &offset},
			{Name: "e", Data: &says},
		}, func(rows int) error {
			for i := range rows {
				out = append(out, LetterGroup{
					Shape: shape.Row(i), State: LetterState(state.Row(i)), Stage: stage.Row(i), Code: code.Row(i), Column: column.Row(i), Message: message.Row(i),
					Count: int64(n.Row(i)), First: first.Row(i), Last: last.Row(i), //nolint:gosec // a count of rows
					Example: waybill.Position{Topic: topic.Row(i), Partition: partition.Row(i), Offset: offset.Row(i)}, Says: says.Row(i),
				})
			}
			return nil
		})
	return out, renamed("dlq", err)
}

// CountLetters counts the dead letters that the filter selects, by state.
func (s *Store) CountLetters(ctx context.Context, f *LetterFilter) (map[LetterState]int64, error) {
	out := map[LetterState]int64{}
	var state proto.ColStr
	var n proto.ColUInt64
	err := s.ch.Query(ctx, fmt.Sprintf("SELECT state AS s, count() AS n FROM %s GROUP BY s", s.from(f)),
		proto.Results{{Name: "s", Data: &state}, {Name: "n", Data: &n}}, func(rows int) error {
			for i := range rows {
				out[LetterState(state.Row(i))] = int64(n.Row(i)) //nolint:gosec // a count of rows
			}
			return nil
		})
	return out, renamed("dlq", err)
}
