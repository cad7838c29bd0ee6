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

// Present says which of the spans have their ledger row: the set of a partition holds the first offset of every such span.
// A span counts as there if some row covers its first offset, so that the answer is the same after the roll-up. (A gap inside
// a rolled-up row counts as covered as well: a batch that is recovered more than a week late does not fill it, and Laws goes
// on reporting it.)
func (s *Store) Present(ctx context.Context, pipeline string, epoch waybill.Epoch, spans []clickhouse.PartitionSpan) (map[waybill.TopicPartition]waybill.OffsetSet, error) {
	c := coverage{s, scope(pipeline, epoch), map[waybill.TopicPartition]waybill.OffsetSet{}}
	for chunk := range slices.Chunk(spans, 2000) {
		if err := c.exactly(ctx, chunk); err != nil {
			return nil, err
		}
	}
	// A span without a row of its own lies past the last row, nearly always. The rest may be inside a rolled-up row; asking for
	// those costs the server a millisecond each.
	rest, err := c.belowEnd(ctx, slices.DeleteFunc(slices.Clone(spans), c.covers))
	if err != nil {
		return nil, err
	}
	for chunk := range slices.Chunk(rest, 500) {
		if err := c.anywhere(ctx, chunk); err != nil {
			return nil, err
		}
	}
	out := map[waybill.TopicPartition]waybill.OffsetSet{}
	for _, sp := range spans {
		if c.covers(sp) {
			set := out[sp.TopicPartition]
			set.Add(sp.First)
			out[sp.TopicPartition] = set
		}
	}
	return out, nil
}

// coverage collects the ledger rows that may cover the first offsets of some spans.
type coverage struct {
	*Store
	scope string
	rows  map[waybill.TopicPartition]waybill.OffsetSet
}

func (c coverage) covers(sp clickhouse.PartitionSpan) bool {
	return c.rows[sp.TopicPartition].Contains(sp.First)
}

// exactly reads the rows that begin where the spans do.
func (c coverage) exactly(ctx context.Context, spans []clickhouse.PartitionSpan) error {
	keys := map[string][]string{}
	for _, sp := range spans {
		keys[sp.Topic] = append(keys[sp.Topic], fmt.Sprintf("(%d,%d,%d)", sp.Partition, sp.First/GroupOffsets, sp.First))
	}
	for topic, list := range keys {
		if err := c.read(ctx, fmt.Sprintf("topic = %s AND (partition, intDiv(first, %d), first) IN (%s)",
			clickhouse.Literal(topic), GroupOffsets, strings.Join(list, ","))); err != nil {
			return err
		}
	}
	return nil
}

// belowEnd keeps the spans that begin before the last row of their partition ends.
func (c coverage) belowEnd(ctx context.Context, spans []clickhouse.PartitionSpan) ([]clickhouse.PartitionSpan, error) {
	if len(spans) == 0 {
		return nil, nil
	}
	end := map[waybill.TopicPartition]int64{}
	err := c.spans(ctx, "ledger.present", fmt.Sprintf(
		"SELECT topic AS t, partition AS p, min(first) AS f, max(next) AS n FROM %s WHERE %s GROUP BY pipeline, epoch, topic, partition",
		c.table(TableLedger), c.scope), func(tp waybill.TopicPartition, sp waybill.Span) { end[tp] = sp.Next })
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(spans, func(sp clickhouse.PartitionSpan) bool { return sp.First >= end[sp.TopicPartition] }), nil
}

// anywhere reads the rows that cover the spans' first offsets, wherever they begin.
func (c coverage) anywhere(ctx context.Context, spans []clickhouse.PartitionSpan) error {
	conditions := make([]string, len(spans))
	for i, sp := range spans {
		conditions[i] = fmt.Sprintf("(topic = %s AND partition = %d AND intDiv(first, %d) <= %d AND first <= %d AND next > %d)",
			clickhouse.Literal(sp.Topic), sp.Partition, GroupOffsets, sp.First/GroupOffsets, sp.First, sp.First)
	}
	return c.read(ctx, "("+strings.Join(conditions, " OR ")+")")
}

func (c coverage) read(ctx context.Context, condition string) error {
	return c.spans(ctx, "ledger.present", fmt.Sprintf("SELECT topic AS t, partition AS p, first AS f, next AS n FROM %s WHERE %s AND %s",
		c.table(TableLedger), c.scope, condition), func(tp waybill.TopicPartition, sp waybill.Span) {
		set := c.rows[tp]
		set.AddSpan(sp)
		c.rows[tp] = set
	})
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
