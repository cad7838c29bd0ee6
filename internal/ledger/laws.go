package ledger

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/ClickHouse/ch-go/proto"

	waybill "github.com/waybill-data/waybill"
	"github.com/waybill-data/waybill/internal/clickhouse"
)

// Kinds of violation; they are also the kinds of the findings made of them.
const (
	KindGap        = "ledger_gap"        // L1: offsets that no row accounts for
	KindOverlap    = "ledger_overlap"    // L1: offsets that two rows account for
	KindUnbalanced = "ledger_unbalanced" // L2: records read that are not accounted for, or rows of no table
)

// Violation is a broken law, with the offsets concerned.
type Violation struct {
	Kind string
	waybill.TopicPartition
	waybill.Span
	Message string
}

// Finding is the violation as a finding.
func (v Violation) Finding() waybill.Finding {
	return waybill.Finding{
		Kind: v.Kind, Severity: waybill.SeverityError, TopicPartition: v.TopicPartition, Span: v.Span, Message: v.Message,
		Action: "compare the span with the table and with Kafka (waybill audit)",
	}
}

// Laws checks continuity (L1) and conservation (L2) over all of a pipeline's ledger under one epoch. Partitions that tile and
// balance cost one aggregation; only the others are looked at row by row.
func (s *Store) Laws(ctx context.Context, pipeline string, epoch waybill.Epoch) ([]Violation, error) {
	out, err := s.Continuity(ctx, pipeline, epoch)
	if err != nil {
		return nil, err
	}
	found, err := s.conservation(ctx, scope(pipeline, epoch))
	return append(out, found...), err
}

// Continuity is law L1 alone: it reads the ledger's projection, a few rows for each part, unless a partition has a gap or an overlap.
func (s *Store) Continuity(ctx context.Context, pipeline string, epoch waybill.Epoch) ([]Violation, error) {
	untiled, err := s.untiled(ctx, pipeline, epoch)
	if err != nil {
		return nil, err
	}
	var out []Violation
	for _, tp := range untiled {
		found, err := s.continuity(ctx, pipeline, epoch, tp)
		if err != nil {
			return nil, err
		}
		out = append(out, found...)
	}
	return out, nil
}

// Conservation is law L2 alone, of the rows of some partitions that begin at or past an offset.
func (s *Store) Conservation(ctx context.Context, pipeline string, epoch waybill.Epoch, from map[waybill.TopicPartition]int64) ([]Violation, error) {
	some := []string{"0"}
	for tp, first := range from {
		// In the words of the table's key, so that little is read.
		some = append(some, fmt.Sprintf("topic = %s AND partition = %d AND intDiv(first, %d) >= %d AND first >= %d", clickhouse.Literal(tp.Topic), tp.Partition, GroupOffsets, first/GroupOffsets, first))
	}
	return s.conservation(ctx, scope(pipeline, epoch)+" AND ("+strings.Join(some, " OR ")+")")
}

func (s *Store) untiled(ctx context.Context, pipeline string, epoch waybill.Epoch) ([]waybill.TopicPartition, error) {
	var out []waybill.TopicPartition
	err := s.spans(ctx, "ledger.laws", fmt.Sprintf(`
SELECT topic AS t, partition AS p, min(first) AS f, max(next) AS n FROM %s WHERE %s
GROUP BY pipeline, epoch, topic, partition HAVING NOT (%s) ORDER BY t, p`, s.table(TableLedger), scope(pipeline, epoch), tiling),
		func(tp waybill.TopicPartition, _ waybill.Span) { out = append(out, tp) })
	return out, err
}

// continuity finds the exact gaps and overlaps of one partition.
func (s *Store) continuity(ctx context.Context, pipeline string, epoch waybill.Epoch, tp waybill.TopicPartition) ([]Violation, error) {
	var out []Violation
	where := scope(pipeline, epoch) + partitionScope(tp)
	// end is where all earlier rows end. A row that begins past it leaves the gap [end, first); one that begins before it
	// overlaps in [first, least(next, end)), which comes out reversed.
	err := s.spans(ctx, "ledger.laws", fmt.Sprintf(`
SELECT topic AS t, partition AS p, if(first > end, end, least(next, end)) AS f, first AS n
FROM (
    SELECT topic, partition, first, next,
           max(next) OVER (ORDER BY first, next ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS end,
           row_number() OVER (ORDER BY first, next) AS i
    FROM %s WHERE %s
) WHERE i > 1 AND first != end ORDER BY n`, s.table(TableLedger), where),
		func(tp waybill.TopicPartition, sp waybill.Span) {
			if sp.First < sp.Next {
				out = append(out, Violation{KindGap, tp, sp, fmt.Sprintf("no ledger row covers offsets %s of %s", sp, tp)})
				return
			}
			sp.First, sp.Next = sp.Next, sp.First
			out = append(out, Violation{KindOverlap, tp, sp, fmt.Sprintf("several ledger rows cover offsets %s of %s", sp, tp)})
		})
	if err != nil {
		return nil, err
	}
	// Rolled-up rows whose parts did not tile. Which offsets inside them is not known any more.
	var first, next, offsets proto.ColInt64
	err = s.ch.Query(ctx, fmt.Sprintf("SELECT first AS f, next AS n, offsets AS o FROM %s WHERE %s AND offsets != next - first ORDER BY f",
		s.table(TableLedger), where),
		proto.Results{{Name: "f", Data: &first}, {Name: "n", Data: &next}, {Name: "o", Data: &offsets}}, func(rows int) error {
			for i := range rows {
				out = append(out, rolledUp(tp, waybill.Span{First: first.Row(i), Next: next.Row(i)}, offsets.Row(i)))
			}
			return nil
		})
	return out, renamed("ledger.laws", err)
}

func rolledUp(tp waybill.TopicPartition, sp waybill.Span, offsets int64) Violation {
	if offsets < sp.Len() {
		return Violation{KindGap, tp, sp, fmt.Sprintf("%d of the offsets %s of %s are in no ledger row (rolled up)", sp.Len()-offsets, sp, tp)}
	}
	return Violation{KindOverlap, tp, sp, fmt.Sprintf("%d of the offsets %s of %s are in several ledger rows (rolled up)", offsets-sp.Len(), sp, tp)}
}

// conservation finds the rows whose counts do not add up.
func (s *Store) conservation(ctx context.Context, where string) ([]Violation, error) {
	var out []Violation
	var topic proto.ColStr
	var partition proto.ColInt32
	var first, next, read, accounted, written, routed proto.ColInt64
	err := s.ch.Query(ctx, fmt.Sprintf(`
SELECT topic AS t, partition AS p, first AS f, next AS n, read AS r,
       written + filtered + dead_lettered + tombstones + lost + deduplicated AS a, written AS w, arraySum(mapValues(routed)) AS o
FROM %s WHERE %s AND (r != a OR w != o) ORDER BY t, p, f`, s.table(TableLedger), where),
		proto.Results{
			{Name: "t", Data: &topic}, {Name: "p", Data: &partition}, {Name: "f", Data: &first}, {Name: "n", Data: &next},
			{Name: "r", Data: &read}, {Name: "a", Data: &accounted},
			{Name: "w", Data: &written}, {Name: "o", Data: &routed},
		}, func(rows int) error {
			for i := range rows {
				tp, sp := waybill.TopicPartition{Topic: topic.Row(i), Partition: partition.Row(i)}, waybill.Span{First: first.Row(i), Next: next.Row(i)}
				if read.Row(i) != accounted.Row(i) {
					out = append(out, Violation{KindUnbalanced, tp, sp,
						fmt.Sprintf("%d records of %s %s were read, %d are accounted for", read.Row(i), tp, sp, accounted.Row(i))})
				}
				if written.Row(i) != routed.Row(i) {
					out = append(out, Violation{KindUnbalanced, tp, sp,
						fmt.Sprintf("%d records of %s %s were written, and the tables have %d of them", written.Row(i), tp, sp, routed.Row(i))})
				}
			}
			return nil
		})
	return out, renamed("ledger.laws", err)
}

// renamed gives an adapter's error the operation that a person asked for.
func renamed(op string, err error) error {
	var e *waybill.Error
	if !errors.As(err, &e) {
		return err
	}
	c := *e
	c.Op = op
	return &c
}
