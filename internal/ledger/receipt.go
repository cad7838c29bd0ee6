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
	Count       int64
}

// DeadLetterKinds are the dead letters of spans, by kind.
func (s *Store) DeadLetterKinds(ctx context.Context, pipeline string, epoch waybill.Epoch, topic string, spans map[int32]waybill.Span) ([]DeadLetterKind, error) {
	var out []DeadLetterKind
	var stage, code proto.ColStr
	var n proto.ColInt64
	err := s.ch.Query(ctx, fmt.Sprintf(
		"SELECT toString(stage) AS s, toString(code) AS c, toInt64(uniqExact(partition, offset)) AS n FROM %s WHERE %s AND topic = %s AND attempt = 0 AND %s GROUP BY s, c ORDER BY s, c",
		s.table(TableDeadLetters), scope(pipeline, epoch), clickhouse.Literal(topic), withinSpans(spans, "offset", "offset + 1")),
		proto.Results{{Name: "s", Data: &stage}, {Name: "c", Data: &code}, {Name: "n", Data: &n}}, func(rows int) error {
			for i := range rows {
				out = append(out, DeadLetterKind{stage.Row(i), code.Row(i), n.Row(i)})
			}
			return nil
		})
	return out, renamed("ledger.receipt", err)
}

// FoundAbout is a finding, and when it was opened.
type FoundAbout struct {
	waybill.Finding
	At time.Time
}

// FindingsAbout are a pipeline's findings that are about offsets of the spans, or were opened in a time, oldest first.
func (s *Store) FindingsAbout(ctx context.Context, pipeline, topic string, spans map[int32]waybill.Span, from, to *time.Time) ([]FoundAbout, error) {
	when := "0"
	if from != nil && to != nil {
		when = fmt.Sprintf("opened_at >= fromUnixTimestamp64Milli(%d) AND opened_at < fromUnixTimestamp64Milli(%d)", from.UnixMilli(), to.UnixMilli())
	}
	var out []FoundAbout
	var kind, severity, message proto.ColStr
	var partition proto.ColInt32
	var at, first, next proto.ColInt64
	err := s.ch.Query(ctx, fmt.Sprintf(`
SELECT toUnixTimestamp64Milli(opened_at) AS at, toString(kind) AS k, toString(severity) AS s, partition AS p, first AS f, next AS n, message AS m FROM %s
WHERE pipeline = %s AND (%s OR topic = %s AND first < next AND %s) ORDER BY at, k, p, f, n, m`,
		s.table(ViewFindings), clickhouse.Literal(pipeline), when, clickhouse.Literal(topic), withinSpans(spans, "first", "next")),
		proto.Results{{Name: "at", Data: &at}, {Name: "k", Data: &kind}, {Name: "s", Data: &severity}, {Name: "p", Data: &partition}, {Name: "f", Data: &first}, {Name: "n", Data: &next}, {Name: "m", Data: &message}},
		func(rows int) error {
			for i := range rows {
				out = append(out, FoundAbout{At: time.UnixMilli(at.Row(i)).UTC(), Finding: waybill.Finding{Kind: kind.Row(i), Severity: waybill.Severity(severity.Row(i)),
					TopicPartition: waybill.TopicPartition{Topic: topic, Partition: partition.Row(i)}, Span: waybill.Span{First: first.Row(i), Next: next.Row(i)}, Message: message.Row(i)}})
			}
			return nil
		})
	return out, renamed("ledger.receipt", err)
}
