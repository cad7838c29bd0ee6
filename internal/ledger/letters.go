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

// shapeOf is a message without its values, so that messages which differ in them alone are one group.
const shapeOf = `replaceRegexpAll(replaceRegexpAll(replaceRegexpAll(message, '"(?:[^"\\\\]|\\\\.)*"', '"…"'), '\'[^\']*\'', '\'…\''), '\\b[0-9]+(?:\\.[0-9]+)?\\b', 'N')`

const shapeID = `lower(leftPad(hex(toUInt32(sipHash64(stage, code, column, ` + shapeOf + `))), 8, '0'))`

func (f *LetterFilter) scope() string {
	s := scope(f.Pipeline, f.Epoch)
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
	return fmt.Sprintf("(SELECT * FROM (SELECT *, %s AS shape FROM (%s)) WHERE %s)", shapeID,
		strings.NewReplacer("%[1]s", clickhouse.Ident(s.db), "%[2]s", f.scope(), "%[3]s", "toString(d.version)").Replace(letters), s.where(f))
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
SELECT topic AS t, partition AS p, offset AS o, record_time, key, value, header_keys, header_values, version, batch, batch_time, plan,
       state, stage, code, column, message, attempt, sequence, state_at, target, who, note, shape
FROM %s ORDER BY %s`, s.from(f), by)
	if limit > 0 {
		sql += fmt.Sprintf(" LIMIT %d", limit)
	}
	r := newLetterResult()
	var stopped error
	err := s.ch.Query(ctx, sql, r.results(), func(rows int) error {
		for i := range rows {
			l := r.row(i)
			l.Epoch = f.Epoch
			if stopped = each(l); stopped != nil {
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
	attempt                                                                      proto.ColUInt32
}

func newLetterResult() *letterResult {
	return &letterResult{
		recordTime: millisColumn(), batchTime: millisColumn(), stateAt: millisColumn(), batch: proto.ColFixedStr{Size: 16},
		key: new(proto.ColStr).Nullable(), value: new(proto.ColStr).Nullable(), headerKeys: new(proto.ColStr).Array(), headerValues: new(proto.ColStr).Array(),
	}
}

func (r *letterResult) results() proto.Results {
	return proto.Results{
		{Name: "t", Data: &r.topic}, {Name: "p", Data: &r.partition}, {Name: "o", Data: &r.offset}, {Name: "record_time", Data: r.recordTime},
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
		State: LetterState(r.state.Row(i)), BatchTime: r.batchTime.Row(i), Plan: waybill.PlanID(r.plan.Row(i)),
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
