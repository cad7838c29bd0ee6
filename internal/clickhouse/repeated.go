package clickhouse

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/ClickHouse/ch-go/proto"

	waybill "github.com/waybill-data/waybill"
)

// Repeated is which offsets have more than one row in a table, per partition of a topic; partitions without any have no entry. Only
// buckets that hold more rows than offsets are looked at row by row. With p.Spans only the buckets are looked at that they touch.
func (c *Client) Repeated(ctx context.Context, p Presence, topic string) (map[waybill.TopicPartition]waybill.OffsetSet, error) {
	if err := c.syncReplica(ctx, p); err != nil {
		return nil, err
	}
	where := fmt.Sprintf("%s = %s", Ident(p.Lineage.Topic), Literal(topic))
	if p.Lineage.Epoch != "" {
		where += fmt.Sprintf(" AND %s = %d", Ident(p.Lineage.Epoch), p.Epoch)
	}
	if p.Where != "" {
		where += " AND (" + p.Where + ")"
	}
	if len(p.Spans) > 0 {
		where += " AND (" + p.spansCondition(p.Spans) + ")"
	}
	partition, offset, table := Ident(p.Lineage.Partition), Ident(p.Lineage.Offset), Table(p.Database, p.Table)
	var buckets []string
	var part proto.ColInt32
	var number proto.ColInt64
	err := c.query(ctx, "clickhouse.repeated", fmt.Sprintf(`
SELECT p, b FROM (
    SELECT toInt32(%[1]s) AS p, toInt64(%[2]s) AS b, count() AS n, %[3]s AS m FROM %[4]s WHERE %[5]s GROUP BY %[6]s, %[2]s
) WHERE n != bitmapCardinality(m) ORDER BY p, b`, partition, bucket(p.Lineage), bitmap(p.Lineage), table, where, strings.Join(lineageKeys(p.Lineage), ", ")),
		proto.Results{{Name: "p", Data: &part}, {Name: "b", Data: &number}}, func(rows int) error {
			for i := range rows {
				buckets = append(buckets, fmt.Sprintf("(%s = %d AND %s BETWEEN %d AND %d)", partition, part.Row(i), offset, number.Row(i)*BucketOffsets, (number.Row(i)+1)*BucketOffsets-1))
			}
			return nil
		})
	out := map[waybill.TopicPartition]waybill.OffsetSet{}
	for some := range slices.Chunk(buckets, maxPastConditions) {
		if err != nil {
			break
		}
		err = c.query(ctx, "clickhouse.repeated", fmt.Sprintf("SELECT toInt32(%[1]s) AS p, toInt64(%[2]s) AS o FROM %[3]s WHERE %[4]s AND (%[5]s) GROUP BY p, o HAVING count() > 1 ORDER BY p, o",
			partition, offset, table, where, strings.Join(some, " OR ")),
			proto.Results{{Name: "p", Data: &part}, {Name: "o", Data: &number}}, func(rows int) error {
				for i := range rows {
					tp := waybill.TopicPartition{Topic: topic, Partition: part.Row(i)}
					set := out[tp]
					set.Add(number.Row(i))
					out[tp] = set
				}
				return nil
			})
	}
	return out, err
}

// CountBuckets is how many rows there are of each bucket of offsets, by number, in the buckets that p.Spans touch; buckets without any have no
// entry. From the projection the server reads one number for each bucket and part.
func (c *Client) CountBuckets(ctx context.Context, p Presence) (map[waybill.TopicPartition]map[int64]int64, error) {
	out := map[waybill.TopicPartition]map[int64]int64{}
	for spans := range slices.Chunk(p.Spans, maxSpansPerQuery) {
		where := "(" + p.spansCondition(spans) + ")"
		if p.Lineage.Epoch != "" {
			where = fmt.Sprintf("%s = %d AND %s", Ident(p.Lineage.Epoch), p.Epoch, where)
		}
		if p.Where != "" {
			where = "(" + p.Where + ") AND " + where
		}
		var topic proto.ColStr
		var partition proto.ColInt32
		var number, count proto.ColInt64
		err := c.query(ctx, "clickhouse.count_buckets", fmt.Sprintf("SELECT %[1]s AS t, toInt32(%[2]s) AS p, toInt64(%[3]s) AS b, toInt64(count()) AS n FROM %[4]s WHERE %[5]s GROUP BY %[1]s, %[2]s, %[3]s",
			Ident(p.Lineage.Topic), Ident(p.Lineage.Partition), bucket(p.Lineage), Table(p.Database, p.Table), where),
			proto.Results{{Name: "t", Data: &topic}, {Name: "p", Data: &partition}, {Name: "b", Data: &number}, {Name: "n", Data: &count}}, func(rows int) error {
				for i := range rows {
					tp := waybill.TopicPartition{Topic: topic.Row(i), Partition: partition.Row(i)}
					if out[tp] == nil {
						out[tp] = map[int64]int64{}
					}
					out[tp][number.Row(i)] += count.Row(i)
				}
				return nil
			})
		if err != nil {
			return nil, err
		}
	}
	return out, nil
}
