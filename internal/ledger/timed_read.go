package ledger

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/ClickHouse/ch-go/proto"

	waybill "github.com/waybill-data/waybill"
	"github.com/waybill-data/waybill/internal/clickhouse"
	"github.com/waybill-data/waybill/internal/contract"
	"github.com/waybill-data/waybill/internal/minutes"
)

// lastSecond is the last that a DateTime has.
const lastSecond = 1<<32 - 1

// seconds is a time as a DateTime, within what one holds.
func seconds(t time.Time) int64 { return min(max(t.Unix(), 0), lastSecond) }

// timedScope is the ledger rows with records of a time, and more.
func timedScope(pipeline string, epoch waybill.Epoch, topic string, from, to time.Time) string {
	return fmt.Sprintf("%s AND topic = %s AND event_first < toDateTime(%d) AND event_last >= toDateTime(%d)", scope(pipeline, epoch), clickhouse.Literal(topic), seconds(to), seconds(from))
}

// Minutes is what became of a topic's records by the minute of their time, in order: of the buckets that begin in a time.
func (s *Store) Minutes(ctx context.Context, pipeline string, epoch waybill.Epoch, topic string, from, to time.Time) ([]minutes.Bucket, error) {
	return s.MinutesOf(ctx, pipeline, epoch, topic, from, to, nil)
}

// MinutesOf is Minutes of the rows of the ledger that lie in one of some ranges; nil: of all.
func (s *Store) MinutesOf(ctx context.Context, pipeline string, epoch waybill.Epoch, topic string, from, to time.Time, ranges map[int32]waybill.OffsetSet) ([]minutes.Bucket, error) {
	some := ""
	if ranges != nil {
		some = " AND (0"
		for _, p := range slices.Sorted(maps.Keys(ranges)) {
			for _, sp := range ranges[p].Spans() {
				some += fmt.Sprintf(" OR partition = %d AND first >= %d AND next <= %d", p, sp.First, sp.Next)
			}
		}
		some += ")"
	}
	outcomes, keys, counts := minuteArrays()
	var key proto.ColUInt32
	var sums [minutes.Outcomes]proto.ColInt64
	columns, results := "", proto.Results{{Name: "k", Data: &key}}
	for o := range minutes.Outcomes {
		columns += fmt.Sprintf(", sumIf(n, outcome = '%s') AS n%d", o, o)
		results = append(results, proto.ResultColumn{Name: fmt.Sprintf("n%d", o), Data: &sums[o]})
	}
	var out []minutes.Bucket
	err := s.ch.Query(ctx, fmt.Sprintf(`
SELECT toUnixTimestamp(key) AS k%s FROM (
    SELECT %s AS outcomes, %s AS keys, %s AS counts FROM %s WHERE %s LIMIT 1 BY partition, first
) ARRAY JOIN outcomes AS outcome, keys AS key, counts AS n
WHERE key >= toDateTime(%d) AND key < toDateTime(%d) GROUP BY key ORDER BY key`,
		columns, outcomes, keys, counts, s.table(TableLedger), timedScope(pipeline, epoch, topic, from, to)+some, seconds(from), seconds(to)),
		results, func(rows int) error {
			for i := range rows {
				b := minutes.Bucket{Key: minutes.Key(key.Row(i))}
				for o := range sums {
					b.Counts[o] = sums[o].Row(i)
				}
				out = append(out, b)
			}
			return nil
		})
	return out, renamed("ledger.minutes", err)
}

// Dating is how many of a pipeline's records there is a time of.
type Dating struct {
	Read         int64
	Timed        int64 // those that are in a minute
	ByRecordTime int64 // of these: by their record's time for want of the event's
}

// Dating is of all that the ledger accounts for.
func (s *Store) Dating(ctx context.Context, pipeline string, epoch waybill.Epoch, topic string) (Dating, error) {
	var out Dating
	var read, timed, byRecord proto.ColInt64
	of := ""
	for o := range minutes.Rescued {
		of += " + arraySum(mapValues(minutes_" + o.String() + "))"
	}
	err := s.ch.Query(ctx, fmt.Sprintf(`
SELECT sum(read) AS r, sum(timed) AS t, sum(by_record_time) AS b FROM (
    SELECT read, 0%s AS timed, by_record_time FROM %s WHERE %s AND topic = %s LIMIT 1 BY partition, first
)`, of, s.table(TableLedger), scope(pipeline, epoch), clickhouse.Literal(topic)),
		proto.Results{{Name: "r", Data: &read}, {Name: "t", Data: &timed}, {Name: "b", Data: &byRecord}}, func(rows int) error {
			if rows > 0 {
				out = Dating{read.Row(0), timed.Row(0), byRecord.Row(0)}
			}
			return nil
		})
	return out, renamed("ledger.minutes", err)
}

// NotReplayed is a condition for rows of a table that no replay of a dead letter has written: by the account those are dead letters.
func (s *Store) NotReplayed(pipeline string, epoch waybill.Epoch, topic string, l contract.Lineage) string {
	return fmt.Sprintf("(toInt64(%s), toInt64(%s)) NOT IN (SELECT toInt64(partition), offset FROM %s WHERE %s AND topic = %s AND outcome = '%s')",
		clickhouse.Ident(l.Partition), clickhouse.Ident(l.Offset), s.table(TableOutcomes), scope(pipeline, epoch), clickhouse.Literal(topic), LetterReplayed)
}

// TimedSpan is a ledger row with the minutes of its written records.
type TimedSpan struct {
	waybill.TopicPartition
	waybill.Span
	Written  int64
	ByMinute map[minutes.Key]int64
}

// TimedSpans are the ledger rows that have records of a time, in the order of partitions and offsets.
func (s *Store) TimedSpans(ctx context.Context, pipeline string, epoch waybill.Epoch, topic string, from, to time.Time) ([]TimedSpan, error) {
	var out []TimedSpan
	var partition proto.ColInt32
	var first, next, written proto.ColInt64
	keys, counts := new(proto.ColUInt32).Array(), new(proto.ColInt64).Array()
	err := s.ch.Query(ctx, fmt.Sprintf(`
SELECT partition AS p, first AS f, next AS n, written AS w, arrayMap(k -> toUnixTimestamp(k), mapKeys(minutes_written)) AS k, mapValues(minutes_written) AS c
FROM %s WHERE %s ORDER BY partition, first LIMIT 1 BY partition, first`, s.table(TableLedger), timedScope(pipeline, epoch, topic, from, to)),
		proto.Results{{Name: "p", Data: &partition}, {Name: "f", Data: &first}, {Name: "n", Data: &next}, {Name: "w", Data: &written}, {Name: "k", Data: keys}, {Name: "c", Data: counts}},
		func(rows int) error {
			for i := range rows {
				t := TimedSpan{TopicPartition: waybill.TopicPartition{Topic: topic, Partition: partition.Row(i)}, Span: waybill.Span{First: first.Row(i), Next: next.Row(i)},
					Written: written.Row(i), ByMinute: map[minutes.Key]int64{}}
				n := counts.Row(i)
				for j, k := range keys.Row(i) {
					t.ByMinute[minutes.Key(k)] = n[j]
				}
				out = append(out, t)
			}
			return nil
		})
	return out, renamed("ledger.minutes", err)
}
