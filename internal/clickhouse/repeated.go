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
// buckets that hold more rows than offsets are looked at row by row. p.Spans is not used.
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
