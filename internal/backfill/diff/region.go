package diff

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/waybill-data/waybill"
	"github.com/waybill-data/waybill/internal/clickhouse"
	"github.com/waybill-data/waybill/internal/contract"
)

// Names of the queries' own begin with waybill_: ClickHouse would take another for the table's column of that name, or the column for it.

// extent is how far a table goes in one partition of a topic, and how many rows it has there.
type extent struct {
	next, rows int64
}

// lineageOf are the conditions of rows by their lineage.
type lineageOf struct{ contract.Lineage }

func (l lineageOf) topic(topic string) string {
	return fmt.Sprintf("%s = %s", clickhouse.Ident(l.Topic), clickhouse.Literal(topic))
}

func (l lineageOf) partition() string {
	return fmt.Sprintf("toInt32(%s)", clickhouse.Ident(l.Partition))
}
func (l lineageOf) offset() string { return fmt.Sprintf("toInt64(%s)", clickhouse.Ident(l.Offset)) }

// below is the condition for rows before the ends of their partitions; partitions without one have none.
func (l lineageOf) below(ends map[int32]int64) string {
	if len(ends) == 0 {
		return "0"
	}
	var partitions, offsets []string
	for _, p := range slices.Sorted(maps.Keys(ends)) {
		partitions, offsets = append(partitions, strconv.Itoa(int(p))), append(offsets, strconv.FormatInt(ends[p], 10))
	}
	return fmt.Sprintf("%s < transform(%s, CAST([%s], 'Array(Int32)'), CAST([%s], 'Array(Int64)'), toInt64(0))", l.offset(), l.partition(), strings.Join(partitions, ","), strings.Join(offsets, ","))
}

// in is the condition for rows of the scope.
func (l lineageOf) in(scope map[int32]waybill.OffsetSet) string {
	conditions := []string{"0"}
	for _, p := range slices.Sorted(maps.Keys(scope)) {
		if set := scope[p]; !set.Empty() {
			conditions = append(conditions, fmt.Sprintf("(%s = %d AND %s)", clickhouse.Ident(l.Partition), p, l.among(set.Spans())))
		}
	}
	return "(" + strings.Join(conditions, " OR ") + ")"
}

// fewSpans are looked at one after the other for each row; more of them are searched.
const fewSpans = 20

// among is the condition for offsets of any of these spans, in ascending order.
func (l lineageOf) among(spans []waybill.Span) string {
	if len(spans) <= fewSpans {
		var ranges []string
		for _, sp := range spans {
			ranges = append(ranges, fmt.Sprintf("%[1]s >= %[2]d AND %[1]s < %[3]d", clickhouse.Ident(l.Offset), sp.First, sp.Next))
		}
		return "(" + strings.Join(ranges, " OR ") + ")"
	}
	firsts, nexts := make([]string, len(spans)), make([]string, len(spans))
	for i, sp := range spans {
		firsts[i], nexts[i] = strconv.FormatInt(sp.First, 10), strconv.FormatInt(sp.Next, 10)
	}
	first := fmt.Sprintf("CAST([%s], 'Array(Int64)')", strings.Join(firsts, ","))
	return fmt.Sprintf("(%[1]s >= %[2]d AND %[1]s < %[3]d AND %[4]s < transform(roundDown(%[4]s, %[5]s), %[5]s, CAST([%[6]s], 'Array(Int64)'), toInt64(0)))",
		clickhouse.Ident(l.Offset), spans[0].First, spans[len(spans)-1].Next, l.offset(), first, strings.Join(nexts, ","))
}

// extents are how far a table goes, by topic and partition, among the rows that are asked for.
func (c *comparison) extents(ctx context.Context, s *side) error {
	where := "1"
	if c.opts.Topic != "" {
		where = s.by.topic(c.opts.Topic)
	}
	if c.opts.Scope != nil {
		where += " AND " + s.by.in(c.opts.Scope)
	}
	s.extents = map[waybill.TopicPartition]extent{}
	return c.texts(ctx, fmt.Sprintf("SELECT toString(%s) AS waybill_t, toString(%s) AS waybill_p, toString(max(%s) + 1) AS waybill_n, toString(count()) AS waybill_c FROM %s WHERE %s GROUP BY 1, 2",
		clickhouse.Ident(s.by.Topic), s.by.partition(), s.by.offset(), s.from(), where), []string{"waybill_t", "waybill_p", "waybill_n", "waybill_c"}, func(row []string) error {
		n, err := numbers(row[1:])
		if err == nil {
			s.extents[waybill.TopicPartition{Topic: row[0], Partition: int32(n[0])}] = extent{n[1], n[2]}
		}
		return err
	})
}

// ends are up to where both tables are compared, by topic and partition.
func (c *comparison) ends() map[string]map[int32]int64 {
	out := map[string]map[int32]int64{}
	for _, s := range c.sides() {
		for tp := range s.extents {
			if out[tp.Topic] == nil {
				out[tp.Topic] = map[int32]int64{}
			}
			out[tp.Topic][tp.Partition] = min(c.live.end(tp, c.opts), c.shadow.end(tp, c.opts))
		}
	}
	return out
}

// unbounded is behind all offsets.
const unbounded = 1<<63 - 1

// end is up to where a table is complete.
func (s *side) end(tp waybill.TopicPartition, o Options) int64 {
	switch {
	case o.Whole:
		return unbounded
	case s.ends != nil:
		return s.ends[tp.Partition]
	}
	return s.extents[tp].next
}

// pending counts the rows of s that are behind the end of the other table.
func (c *comparison) pending(ctx context.Context, s *side, ends map[string]map[int32]int64) ([]Pending, error) {
	out := []Pending{}
	for _, topic := range slices.Sorted(maps.Keys(ends)) {
		where := s.by.topic(topic) + " AND NOT (" + s.by.below(ends[topic]) + ")"
		if c.opts.Scope != nil {
			where += " AND " + s.by.in(c.opts.Scope)
		}
		err := c.texts(ctx, fmt.Sprintf("SELECT toString(%s) AS waybill_p, toString(count()) AS waybill_c FROM %s WHERE %s GROUP BY 1", s.by.partition(), s.from(), where), []string{"waybill_p", "waybill_c"}, func(row []string) error {
			n, err := numbers(row)
			if err == nil {
				out = append(out, Pending{Topic: topic, Partition: int32(n[0]), From: ends[topic][int32(n[0])], Rows: n[1]})
			}
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	slices.SortFunc(out, func(a, b Pending) int {
		return cmp.Or(cmp.Compare(a.Topic, b.Topic), cmp.Compare(a.Partition, b.Partition))
	})
	return out, nil
}

// numbers are signed numbers as the server writes them.
func numbers(texts []string) ([]int64, error) {
	out := make([]int64, len(texts))
	for i, text := range texts {
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return nil, err
		}
		out[i] = n
	}
	return out, nil
}
