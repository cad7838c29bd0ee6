package clickhouse

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/ClickHouse/ch-go/proto"

	waybill "github.com/waybill-data/waybill"
	"github.com/waybill-data/waybill/internal/contract"
)

// BucketOffsets is how many offsets one bucket of the offset projection covers.
const BucketOffsets = 65536

// ProjectionName is the name under which the offset projection is created and looked for.
const ProjectionName = "waybill_offsets"

// ProjectionDDL declares the offset projection, for CREATE TABLE or ALTER TABLE ... ADD: one bitmap of offsets per bucket. It
// lives inside the data parts, so it is exactly as present as the rows are.
func ProjectionDDL(l contract.Lineage) string {
	keys := strings.Join(lineageKeys(l), ", ")
	return fmt.Sprintf("PROJECTION %s (SELECT %s, %s, count(), %s GROUP BY %s, %s)",
		ProjectionName, keys, bucket(l), bitmap(l), keys, bucket(l))
}

func lineageKeys(l contract.Lineage) []string {
	k := []string{Ident(l.Topic), Ident(l.Partition)}
	if l.Epoch != "" {
		k = append(k, Ident(l.Epoch))
	}
	return k
}

// bucket and bitmap must be the projection's expressions to the letter, or the server reads the rows instead.
func bucket(l contract.Lineage) string {
	return fmt.Sprintf("intDiv(%s, %d)", Ident(l.Offset), BucketOffsets)
}
func bitmap(l contract.Lineage) string { return fmt.Sprintf("groupBitmapState(%s)", Ident(l.Offset)) }

// PartitionSpan is a range of offsets of one partition.
type PartitionSpan struct {
	waybill.TopicPartition
	waybill.Span
}

// Presence asks which offsets a table holds.
type Presence struct {
	Database, Table string
	Lineage         contract.Lineage
	Epoch           waybill.Epoch // compared only if Lineage.Epoch is set
	// HasProjection: the table has the offset projection (TableInfo.OffsetProjection). It changes the cost, never the answer.
	HasProjection bool
	// Replicated: wait until this replica has what the others have. Without it the answer of a lagging replica is no proof.
	Replicated bool
	// Where is an additional condition in SQL, for tables that several pipelines share; empty: none. With a projection, its
	// columns must be in the projection's key.
	Where string
	Spans []PartitionSpan // any order; overlaps are fine
}

const (
	// maxSpansPerQuery keeps one statement small enough to parse quickly.
	maxSpansPerQuery = 2000
	// maxBucketsPerSpan: a longer span is asked for as a range instead of bucket by bucket. A set of buckets is a hundred times
	// cheaper for the server to plan than as many ranges.
	maxBucketsPerSpan = 256
)

// Present is the exact set of the asked-for offsets that have at least one row in the table, per partition. Partitions
// without any have no entry. It reads from the server that takes the inserts; the error is a *waybill.Error.
func (c *Client) Present(ctx context.Context, p Presence) (map[waybill.TopicPartition]waybill.OffsetSet, error) {
	asked := map[waybill.TopicPartition]*waybill.OffsetSet{}
	for _, s := range p.Spans {
		set := asked[s.TopicPartition]
		if set == nil {
			set = new(waybill.OffsetSet)
			asked[s.TopicPartition] = set
		}
		set.AddSpan(s.Span)
	}
	if err := c.syncReplica(ctx, p); err != nil {
		return nil, err
	}
	found := map[waybill.TopicPartition]*waybill.OffsetSet{}
	for spans := range slices.Chunk(p.Spans, maxSpansPerQuery) {
		if err := c.readRuns(ctx, p, p.spansCondition(spans), found); err != nil {
			return nil, err
		}
	}
	out := map[waybill.TopicPartition]waybill.OffsetSet{}
	for tp, set := range found {
		// Buckets reach past the spans; what was not asked for is cut off here.
		if in := set.Intersect(*asked[tp]); !in.Empty() {
			out[tp] = in
		}
	}
	return out, nil
}

// PresentPast is, for each partition, the set of offsets at or past from that have a row in the table. Partitions
// without any have no entry. p.Spans is not used.
func (c *Client) PresentPast(ctx context.Context, p Presence, from map[waybill.TopicPartition]int64) (map[waybill.TopicPartition]waybill.OffsetSet, error) {
	if err := c.syncReplica(ctx, p); err != nil {
		return nil, err
	}
	found := map[waybill.TopicPartition]*waybill.OffsetSet{}
	for conditions := range slices.Chunk(p.pastConditions(from), maxPastConditions) {
		if err := c.readRuns(ctx, p, strings.Join(conditions, " OR "), found); err != nil {
			return nil, err
		}
	}
	out := map[waybill.TopicPartition]waybill.OffsetSet{}
	for tp, set := range found {
		if past := set.Minus(waybill.OffsetsIn(waybill.Span{First: 0, Next: from[tp]})); !past.Empty() {
			out[tp] = past
		}
	}
	return out, nil
}

// maxPastConditions keeps one statement small enough to parse quickly.
const maxPastConditions = 200

// pastConditions select what lies past the offsets: one condition for all partitions of a topic that begin in the
// same bucket, or without a projection at the same offset.
func (p Presence) pastConditions(from map[waybill.TopicPartition]int64) []string {
	type beginning struct {
		topic string
		at    int64
	}
	column, unit := Ident(p.Lineage.Offset), int64(1)
	if p.HasProjection {
		column, unit = bucket(p.Lineage), BucketOffsets
	}
	partitions := map[beginning][]string{}
	for _, tp := range slices.SortedFunc(maps.Keys(from), waybill.TopicPartition.Compare) {
		b := beginning{tp.Topic, max(from[tp], 0) / unit}
		partitions[b] = append(partitions[b], strconv.Itoa(int(tp.Partition)))
	}
	var conditions []string
	for b, list := range partitions {
		conditions = append(conditions, fmt.Sprintf("%s = %s AND %s >= %d AND %s IN (%s)", Ident(p.Lineage.Topic), Literal(b.topic),
			column, b.at, Ident(p.Lineage.Partition), strings.Join(list, ", ")))
	}
	slices.Sort(conditions)
	return conditions
}

// spansCondition selects the buckets that the spans touch, and without a projection little else.
func (p Presence) spansCondition(spans []PartitionSpan) string {
	byTopic := map[string][]PartitionSpan{}
	for _, s := range spans {
		if s.First, s.Next = max(s.First, 0), max(s.Next, 0); s.First < s.Next {
			byTopic[s.Topic] = append(byTopic[s.Topic], s)
		}
	}
	conditions := []string{"0"}
	for _, topic := range slices.Sorted(maps.Keys(byTopic)) {
		conditions = append(conditions, p.topicCondition(topic, byTopic[topic]))
	}
	return strings.Join(conditions, " OR ")
}

func (p Presence) topicCondition(topic string, spans []PartitionSpan) string {
	var buckets, ranges []string
	first, last := spans[0].First, spans[0].Next-1
	for _, s := range spans {
		first, last = min(first, s.First), max(last, s.Next-1)
		from, to := s.First/BucketOffsets, (s.Next-1)/BucketOffsets
		if to-from >= maxBucketsPerSpan {
			ranges = append(ranges, fmt.Sprintf("%s = %d AND %s BETWEEN %d AND %d", Ident(p.Lineage.Partition), s.Partition, bucket(p.Lineage), from, to))
			continue
		}
		for b := from; b <= to; b++ {
			buckets = append(buckets, fmt.Sprintf("(%d,%d)", s.Partition, b))
		}
	}
	if len(buckets) > 0 {
		ranges = append(ranges, fmt.Sprintf("(%s, %s) IN (%s)", Ident(p.Lineage.Partition), bucket(p.Lineage), strings.Join(buckets, ",")))
	}
	condition := fmt.Sprintf("%s = %s AND (%s)", Ident(p.Lineage.Topic), Literal(topic), strings.Join(ranges, " OR "))
	if !p.HasProjection {
		// Prunes parts and granules by the offsets themselves; with a projection it would only be in the way.
		condition += fmt.Sprintf(" AND %s BETWEEN %d AND %d", Ident(p.Lineage.Offset), first, last)
	}
	return "(" + condition + ")"
}

// runsQuery ships, per bucket, where its runs of consecutive offsets begin and end: two numbers for a full bucket instead of
// 65,536. Lambdas take the steps as an argument: an array that a lambda captures is copied for each element, which costs
// gigabytes for one bucket with a hole.
func (p Presence) runsQuery(condition string) string {
	where := "(" + condition + ")"
	if p.Lineage.Epoch != "" {
		where = fmt.Sprintf("%s = %d AND %s", Ident(p.Lineage.Epoch), p.Epoch, where)
	}
	if p.Where != "" {
		where = "(" + p.Where + ") AND " + where
	}
	return fmt.Sprintf(`
WITH bitmapCardinality(m) = toUInt64(bitmapMax(m)) - toUInt64(bitmapMin(m)) + 1 AS whole,
     CAST(if(whole, [], arraySort(bitmapToArray(m))), 'Array(UInt64)') AS a,
     arrayDifference(a) AS step, -- to each offset from the one before it; 0 for the first
     arrayResize(arrayPopFront(step), length(a)) AS following
SELECT t, p,
       if(whole, [toUInt64(bitmapMin(m))], arrayFilter((o, d) -> d != 1, a, step)) AS first,
       if(whole, [toUInt64(bitmapMax(m))], arrayFilter((o, d) -> d != 1, a, following)) AS last
FROM (
    SELECT %[1]s AS t, toInt32(%[2]s) AS p, %[3]s AS m
    FROM %[4]s
    WHERE %[5]s
    GROUP BY %[1]s, %[2]s, %[6]s
)`,
		Ident(p.Lineage.Topic), Ident(p.Lineage.Partition), bitmap(p.Lineage), Table(p.Database, p.Table), where, bucket(p.Lineage))
}

func (c *Client) readRuns(ctx context.Context, p Presence, condition string, into map[waybill.TopicPartition]*waybill.OffsetSet) error {
	var topic proto.ColStr
	var partition proto.ColInt32
	first, last := new(proto.ColUInt64).Array(), new(proto.ColUInt64).Array()
	result := proto.Results{
		{Name: "t", Data: &topic}, {Name: "p", Data: &partition}, {Name: "first", Data: first}, {Name: "last", Data: last},
	}
	return c.query(ctx, "clickhouse.present", p.runsQuery(condition), result, func(rows int) error {
		for i := range rows {
			tp := waybill.TopicPartition{Topic: topic.Row(i), Partition: partition.Row(i)}
			set := into[tp]
			if set == nil {
				set = new(waybill.OffsetSet)
				into[tp] = set
			}
			ends := last.Row(i)
			for j, f := range first.Row(i) {
				set.AddSpan(waybill.Span{First: int64(f), Next: int64(ends[j]) + 1})
			}
		}
		return nil
	})
}

// syncReplica makes the read that follows linearizable on a replicated table.
func (c *Client) syncReplica(ctx context.Context, p Presence) error {
	if !p.Replicated {
		return nil
	}
	return c.Exec(ctx, "SYSTEM SYNC REPLICA "+Table(p.Database, p.Table)+" LIGHTWEIGHT")
}
