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

// withinSpans is a condition for what overlaps spans of offsets; first and next are SQL.
func withinSpans(spans map[int32]waybill.Span, first, next string) string {
	if len(spans) == 0 {
		return "0"
	}
	var some []string
	for _, p := range slices.Sorted(maps.Keys(spans)) {
		some = append(some, fmt.Sprintf("partition = %d AND %s < %d AND %s > %d", p, first, spans[p].Next, next, spans[p].First))
	}
	return "(" + strings.Join(some, " OR ") + ")"
}

// EventTimes are the first minute and the last of the records of spans; zero times if none is known.
func (s *Store) EventTimes(ctx context.Context, pipeline string, epoch waybill.Epoch, topic string, spans map[int32]waybill.Span) (first, last time.Time, err error) {
	var f, l proto.ColInt64
	err = s.ch.Query(ctx, fmt.Sprintf(
		"SELECT toInt64(toUnixTimestamp(minIf(event_first, event_last > 0))) AS f, toInt64(toUnixTimestamp(max(event_last))) AS l FROM %s WHERE %s AND topic = %s AND %s",
		s.table(TableLedger), scope(pipeline, epoch), clickhouse.Literal(topic), withinSpans(spans, "first", "next")),
		proto.Results{{Name: "f", Data: &f}, {Name: "l", Data: &l}}, func(rows int) error {
			if rows > 0 && l.Row(0) > 0 {
				first, last = time.Unix(f.Row(0), 0).UTC(), time.Unix(l.Row(0)/60*60, 0).UTC()
			}
			return nil
		})
	return first, last, renamed("ledger.receipt", err)
}

// DeadLetterKind is how many dead letters there are of one kind.
type DeadLetterKind struct {
	Stage, Code string
	State       LetterState
	Count       int64
}

// DeadLetterKinds are the dead letters of spans, by kind and by what has become of them since.
func (s *Store) DeadLetterKinds(ctx context.Context, pipeline string, epoch waybill.Epoch, topic string, spans map[int32]waybill.Span) ([]DeadLetterKind, error) {
	var out []DeadLetterKind
	var stage, code, state proto.ColStr
	var n proto.ColInt64
	err := s.ch.Query(ctx, fmt.Sprintf(
		"SELECT toString(stage) AS s, toString(code) AS c, state AS st, toInt64(uniqExact(partition, offset)) AS n FROM %s WHERE %s AND topic = %s AND %s GROUP BY s, c, st ORDER BY s, c, st",
		s.table(ViewLetters), scope(pipeline, epoch), clickhouse.Literal(topic), withinSpans(spans, "offset", "offset + 1")),
		proto.Results{{Name: "s", Data: &stage}, {Name: "c", Data: &code}, {Name: "st", Data: &state}, {Name: "n", Data: &n}}, func(rows int) error {
			for i := range rows {
				out = append(out, DeadLetterKind{stage.Row(i), code.Row(i), LetterState(state.Row(i)), n.Row(i)})
			}
			return nil
		})
	return out, renamed("ledger.receipt", err)
}

// OlderLetterKinds are the dead letters of older epochs that a filter selects, by epoch, by kind and by what has become of them since.
func (s *Store) OlderLetterKinds(ctx context.Context, f *LetterFilter) (map[waybill.Epoch][]DeadLetterKind, error) {
	out := map[waybill.Epoch][]DeadLetterKind{}
	if len(f.Older) == 0 {
		return out, nil
	}
	var epoch proto.ColUInt32
	var stage, code, state proto.ColStr
	var n proto.ColInt64
	err := s.ch.Query(ctx, fmt.Sprintf(
		"SELECT epoch AS e, toString(stage) AS g, toString(code) AS c, state AS st, toInt64(uniqExact(partition, offset)) AS n FROM %s WHERE epoch != %d GROUP BY e, g, c, st ORDER BY e, g, c, st", s.from(f), f.Epoch),
		proto.Results{{Name: "e", Data: &epoch}, {Name: "g", Data: &stage}, {Name: "c", Data: &code}, {Name: "st", Data: &state}, {Name: "n", Data: &n}}, func(rows int) error {
			for i := range rows {
				e := waybill.Epoch(epoch.Row(i))
				out[e] = append(out[e], DeadLetterKind{stage.Row(i), code.Row(i), LetterState(state.Row(i)), n.Row(i)})
			}
			return nil
		})
	return out, renamed("ledger.receipt", err)
}
