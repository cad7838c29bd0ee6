package ledger

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/ClickHouse/ch-go/proto"

	waybill "github.com/waybill-data/waybill"
	"github.com/waybill-data/waybill/internal/clickhouse"
	"github.com/waybill-data/waybill/internal/contract"
)

// maxSpansPerQuery keeps one statement small enough to parse quickly.
const maxSpansPerQuery = 500

// Present says which of the spans have their ledger row: the set of a partition holds the first offset of every such span.
// A span counts as there if some row covers its first offset, so that the answer is the same after the roll-up. (A gap inside
// a rolled-up row counts as covered as well: a batch that is recovered more than a week late does not fill it, and Laws goes
// on reporting it.)
func (s *Store) Present(ctx context.Context, pipeline string, epoch waybill.Epoch, spans []clickhouse.PartitionSpan) (map[waybill.TopicPartition]waybill.OffsetSet, error) {
	covered := map[waybill.TopicPartition]waybill.OffsetSet{}
	for chunk := range slices.Chunk(spans, maxSpansPerQuery) {
		conditions := make([]string, len(chunk))
		for i, sp := range chunk {
			conditions[i] = fmt.Sprintf("(topic = %s AND partition = %d AND intDiv(first, %d) <= %d AND first <= %d AND next > %d)",
				clickhouse.Literal(sp.Topic), sp.Partition, GroupOffsets, sp.First/GroupOffsets, sp.First, sp.First)
		}
		err := s.spans(ctx, "ledger.present", fmt.Sprintf(
			"SELECT topic AS t, partition AS p, first AS f, next AS n FROM %s WHERE %s AND (%s)",
			s.table(TableLedger), scope(pipeline, epoch), strings.Join(conditions, " OR ")),
			func(tp waybill.TopicPartition, sp waybill.Span) {
				set := covered[tp]
				set.AddSpan(sp)
				covered[tp] = set
			})
		if err != nil {
			return nil, err
		}
	}
	out := map[waybill.TopicPartition]waybill.OffsetSet{}
	for _, sp := range spans {
		if covered[sp.TopicPartition].Contains(sp.First) {
			set := out[sp.TopicPartition]
			set.Add(sp.First)
			out[sp.TopicPartition] = set
		}
	}
	return out, nil
}

// DeadLetterPresence asks which offsets of a pipeline are among the dead letters; hand it to the client's Present.
func (s *Store) DeadLetterPresence(pipeline string, epoch waybill.Epoch, spans []clickhouse.PartitionSpan) clickhouse.Presence {
	return clickhouse.Presence{
		Database: s.db, Table: TableDeadLetters,
		Lineage: contract.Lineage{Topic: "topic", Partition: "partition", Offset: "offset", Epoch: "epoch"},
		Epoch:   epoch,
		Where:   "pipeline = " + clickhouse.Literal(pipeline) + " AND attempt = 0",
		Spans:   spans,
	}
}

func (s *Store) table(name string) string { return clickhouse.Table(s.db, name) }

func scope(pipeline string, epoch waybill.Epoch) string {
	return fmt.Sprintf("pipeline = %s AND epoch = %d", clickhouse.Literal(pipeline), epoch)
}

// spans runs a query for columns t, p, f and n.
func (s *Store) spans(ctx context.Context, op, sql string, each func(waybill.TopicPartition, waybill.Span)) error {
	var topic proto.ColStr
	var partition proto.ColInt32
	var first, next proto.ColInt64
	result := proto.Results{{Name: "t", Data: &topic}, {Name: "p", Data: &partition}, {Name: "f", Data: &first}, {Name: "n", Data: &next}}
	err := s.ch.Query(ctx, sql, result, func(rows int) error {
		for i := range rows {
			each(waybill.TopicPartition{Topic: topic.Row(i), Partition: partition.Row(i)}, waybill.Span{First: first.Row(i), Next: next.Row(i)})
		}
		return nil
	})
	return renamed(op, err)
}
