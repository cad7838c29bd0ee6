package ledger

import (
	"context"
	"fmt"

	"github.com/ClickHouse/ch-go/proto"

	waybill "github.com/waybill-data/waybill"
	"github.com/waybill-data/waybill/internal/clickhouse"
)

// Tip is how far the ledger accounts for one partition.
type Tip struct {
	First int64 // first offset that has ever been accounted for
	Next  int64 // end of the gapless prefix that begins at First
	// Beyond are the spans accounted for past a gap at Next, as maximal runs in ascending order; empty when all is well.
	Beyond []waybill.Span
}

// tiling aggregates one partition's rows so that they can be seen to tile without being sorted. With 64-bit hashes of both
// ends of every row, sum(hash(next)) - sum(hash(first)) telescopes to hash(max) - hash(min) if and only if (but for a hash
// collision) each row begins where another ends: spans are never empty, so there are no cycles, and what begins and ends
// evenly is one path from min to max. Unlike a sum of lengths, a gap and an overlap of the same size do not cancel.
const tiling = `sum(sipHash64(next)) - sum(sipHash64(first)) = sipHash64(max(next)) - sipHash64(min(first)) AND sum(offsets) = sum(next - first)`

// Tips are the tips of a topic's partitions; a partition without rows has no entry. It reads the ledger's projection, a few
// rows for each part, unless a partition has a gap.
func (s *Store) Tips(ctx context.Context, pipeline string, epoch waybill.Epoch, topic string) (map[int32]Tip, error) {
	tips, broken := map[int32]Tip{}, []int32{}
	var partition proto.ColInt32
	var first, next proto.ColInt64
	var tiled proto.ColUInt8
	err := s.ch.Query(ctx, fmt.Sprintf(
		"SELECT partition AS p, min(first) AS f, max(next) AS n, %s AS tiled FROM %s WHERE %s AND topic = %s GROUP BY pipeline, epoch, topic, partition",
		tiling, s.table(TableLedger), scope(pipeline, epoch), clickhouse.Literal(topic)),
		proto.Results{{Name: "p", Data: &partition}, {Name: "f", Data: &first}, {Name: "n", Data: &next}, {Name: "tiled", Data: &tiled}},
		func(rows int) error {
			for i := range rows {
				tips[partition.Row(i)] = Tip{First: first.Row(i), Next: next.Row(i)}
				if tiled.Row(i) == 0 {
					broken = append(broken, partition.Row(i))
				}
			}
			return nil
		})
	if err != nil {
		return nil, renamed("ledger.tips", err)
	}
	for _, p := range broken {
		tip, err := s.brokenTip(ctx, pipeline, epoch, waybill.TopicPartition{Topic: topic, Partition: p})
		if err != nil {
			return nil, err
		}
		tips[p] = tip
	}
	return tips, nil
}

// brokenTip finds the end of the gapless prefix of a partition that does not tile. A rolled-up row that hides a gap ends the
// prefix where it begins: what is missing inside it cannot be told.
func (s *Store) brokenTip(ctx context.Context, pipeline string, epoch waybill.Epoch, tp waybill.TopicPartition) (Tip, error) {
	covered, holed, smallest := waybill.OffsetSet{}, []waybill.Span{}, int64(0)
	err := s.spans(ctx, "ledger.tips", fmt.Sprintf(`
SELECT topic AS t, partition AS p, min(first) AS f, max(next) AS n
FROM (
    SELECT topic, partition, first, next,
           sum(begins) OVER (ORDER BY first, next ROWS UNBOUNDED PRECEDING) AS run
    FROM (
        SELECT topic, partition, first, next,
               first > max(next) OVER (ORDER BY first, next ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS begins
        FROM %[1]s WHERE %[2]s AND offsets = next - first
    )
)
GROUP BY topic, partition, run ORDER BY f`, s.table(TableLedger), scope(pipeline, epoch)+partitionScope(tp)),
		func(_ waybill.TopicPartition, sp waybill.Span) { covered.AddSpan(sp) })
	if err != nil {
		return Tip{}, err
	}
	err = s.spans(ctx, "ledger.tips", fmt.Sprintf(
		"SELECT topic AS t, partition AS p, first AS f, next AS n FROM %s WHERE %s AND offsets != next - first ORDER BY f",
		s.table(TableLedger), scope(pipeline, epoch)+partitionScope(tp)),
		func(_ waybill.TopicPartition, sp waybill.Span) { holed = append(holed, sp) })
	if err != nil {
		return Tip{}, err
	}
	smallest = covered.Bounds().First
	if len(holed) > 0 && (covered.Empty() || holed[0].First < smallest) {
		smallest = holed[0].First
	}
	return tipOf(smallest, covered, holed), nil
}

// tipOf puts runs and holed rows together.
func tipOf(first int64, covered waybill.OffsetSet, holed []waybill.Span) Tip {
	tip := Tip{First: first, Next: first}
	if runs := covered.Spans(); len(runs) > 0 && runs[0].First == first {
		tip.Next = runs[0].Next
	}
	beyond := covered.Clone()
	for _, h := range holed {
		beyond.AddSpan(h)
		if h.First < tip.Next {
			tip.Next = max(h.First, first)
		}
	}
	tip.Beyond = beyond.Minus(waybill.OffsetsIn(waybill.Span{First: first, Next: tip.Next})).Spans()
	return tip
}

func partitionScope(tp waybill.TopicPartition) string {
	return fmt.Sprintf(" AND topic = %s AND partition = %d", clickhouse.Literal(tp.Topic), tp.Partition)
}
