package ledger

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/ClickHouse/ch-go/proto"
	"github.com/google/uuid"

	waybill "github.com/waybill-data/waybill"
	"github.com/waybill-data/waybill/internal/clickhouse"
)

// Written is a part of a partition's account: how many of its records have rows.
type Written struct {
	waybill.Span
	Written int64
}

// RowlessSpans are the ledger's rows that count records as lost or as dead letters, by partition, in the order of offsets. After the roll-up such
// a row is about a million offsets, of which some have no row.
func (s *Store) RowlessSpans(ctx context.Context, pipeline string, epoch waybill.Epoch, topic string) (map[int32][]waybill.Span, error) {
	out := map[int32][]waybill.Span{}
	err := s.spans(ctx, "ledger.lost", fmt.Sprintf("SELECT topic AS t, partition AS p, first AS f, next AS n FROM %s WHERE %s AND topic = %s AND lost + dead_lettered > 0 ORDER BY p, f",
		s.table(TableLedger), scope(pipeline, epoch), clickhouse.Literal(topic)),
		func(tp waybill.TopicPartition, sp waybill.Span) { out[tp.Partition] = append(out[tp.Partition], sp) })
	return out, err
}

// WrittenFrom is, for each partition, the account of the rows of the ledger that begin at an offset or past it; all of them where from has
// none. A partition without such rows has no entry.
func (s *Store) WrittenFrom(ctx context.Context, pipeline string, epoch waybill.Epoch, topic string, from map[int32]int64) (map[int32]Written, error) {
	condition := "1"
	if len(from) > 0 {
		var some []string
		for p, first := range from {
			some = append(some, fmt.Sprintf("partition = %d AND first >= %d", p, first))
		}
		condition = "(" + strings.Join(some, " OR ") + ")"
	}
	out := map[int32]Written{}
	var partition proto.ColInt32
	var first, next, written proto.ColInt64
	err := s.ch.Query(ctx, fmt.Sprintf("SELECT partition AS p, min(first) AS f, max(next) AS n, sum(written) AS w FROM %s WHERE %s AND topic = %s AND %s GROUP BY p",
		s.table(TableLedger), scope(pipeline, epoch), clickhouse.Literal(topic), condition),
		proto.Results{{Name: "p", Data: &partition}, {Name: "f", Data: &first}, {Name: "n", Data: &next}, {Name: "w", Data: &written}},
		func(rows int) error {
			for i := range rows {
				out[partition.Row(i)] = Written{waybill.Span{First: first.Row(i), Next: next.Row(i)}, written.Row(i)}
			}
			return nil
		})
	return out, renamed("ledger.written", err)
}

// ArchiveErased are the offsets whose records were erased from an archive, by partition.
func (s *Store) ArchiveErased(ctx context.Context, pipeline, topic string) (map[int32]waybill.OffsetSet, error) {
	out := map[int32]waybill.OffsetSet{}
	err := s.spans(ctx, "ledger.archive", fmt.Sprintf("SELECT topic AS t, partition AS p, first AS f, next AS n FROM %s WHERE pipeline = %s AND topic = %s ORDER BY p, f, n",
		s.table(TableArchiveErased), clickhouse.Literal(pipeline), clickhouse.Literal(topic)),
		func(tp waybill.TopicPartition, sp waybill.Span) {
			set := out[tp.Partition]
			set.AddSpan(sp)
			out[tp.Partition] = set
		})
	return out, err
}

// EraseFromArchive puts on record that offsets of a partition are erased. Twice is as good as once.
func (s *Store) EraseFromArchive(ctx context.Context, pipeline string, tp waybill.TopicPartition, offsets waybill.OffsetSet, why string, at time.Time) error {
	names, topics, partition := lowCardinality(), lowCardinality(), proto.ColInt32{}
	first, next, whys, when := proto.ColInt64{}, proto.ColInt64{}, new(proto.ColStr), millisColumn()
	for _, sp := range offsets.Spans() {
		names.Append(pipeline)
		topics.Append(tp.Topic)
		partition.Append(tp.Partition)
		first.Append(sp.First)
		next.Append(sp.Next)
		whys.Append(why)
		when.Append(at)
	}
	a := s.ch.Insert(ctx, clickhouse.Insert{Database: s.db, Table: TableArchiveErased, Token: waybill.Token("archive-erased-" + uuid.NewString()),
		Input: proto.Input{{Name: "pipeline", Data: names}, {Name: "topic", Data: topics}, {Name: "partition", Data: partition}, {Name: "first", Data: first},
			{Name: "next", Data: next}, {Name: "why", Data: whys}, {Name: "at", Data: when}}})
	if a.Err != nil {
		return a.Err
	}
	return nil
}
