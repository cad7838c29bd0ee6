package ledger

import (
	"context"
	"fmt"
	"math"
	"time"

	"github.com/ClickHouse/ch-go/proto"

	waybill "github.com/waybill-data/waybill"
	"github.com/waybill-data/waybill/internal/clickhouse"
	"github.com/waybill-data/waybill/internal/through"
)

// ThroughBlock encodes what a worker says of partitions for an INSERT into TableThrough. partitions is how many the topic had at the time seen,
// in milliseconds since the Unix epoch.
func ThroughBlock(pipeline string, epoch waybill.Epoch, topic string, words []through.Word, partitions int32, seen int64) proto.Input {
	pipelines, topics, epochs, partition, of := lowCardinality(), lowCardinality(), new(proto.ColUInt32), new(proto.ColInt32), new(proto.ColInt32)
	complete, asked, settled := millisColumn(), millisColumn(), new(proto.ColInt64)
	for _, w := range words {
		pipelines.Append(pipeline)
		epochs.Append(uint32(epoch))
		topics.Append(topic)
		partition.Append(w.Partition)
		complete.AppendRaw(proto.DateTime64(max(0, w.Through)))
		settled.Append(w.Settled)
		asked.AppendRaw(proto.DateTime64(seen))
		of.Append(partitions)
	}
	return proto.Input{
		{Name: "pipeline", Data: pipelines}, {Name: "epoch", Data: epochs}, {Name: "topic", Data: topics}, {Name: "partition", Data: partition},
		{Name: "through", Data: complete}, {Name: "settled", Data: settled}, {Name: "seen", Data: asked}, {Name: "partitions", Data: of},
	}
}

// CompleteThrough is up to when a pipeline's topic is complete, over all workers.
type CompleteThrough struct {
	// Through: everything whose time is before is accounted for. The zero time: nothing can be said yet.
	Through time.Time
	// HeldBackBy is the partition that is least complete.
	HeldBackBy int32
	Partitions int32     // of the topic; 0: nobody has said anything
	Seen       time.Time // when brokers were asked last
}

// CompleteThrough reads the view of that name.
func (s *Store) CompleteThrough(ctx context.Context, pipeline string, epoch waybill.Epoch, topic string) (CompleteThrough, error) {
	var out CompleteThrough
	var partition, partitions proto.ColInt32
	var through, seen proto.ColInt64
	said, least := int32(0), int64(math.MaxInt64)
	// As the view complete_through does it. Workers ask this all the time, and it takes the server longer to analyse a view than to read these rows.
	err := s.ch.Query(ctx, fmt.Sprintf("SELECT partition AS p, toUnixTimestamp64Milli(max(t.through)) AS c, toUnixTimestamp64Milli(max(t.seen)) AS s, toInt32(max(t.partitions)) AS n FROM %s AS t WHERE %s AND topic = %s GROUP BY partition ORDER BY p",
		s.table(TableThrough), scope(pipeline, epoch), clickhouse.Literal(topic)),
		proto.Results{{Name: "p", Data: &partition}, {Name: "c", Data: &through}, {Name: "s", Data: &seen}, {Name: "n", Data: &partitions}},
		func(rows int) error {
			for i := range rows {
				said++
				out.Partitions = max(out.Partitions, partitions.Row(i))
				if at := time.UnixMilli(seen.Row(i)).UTC(); at.After(out.Seen) {
					out.Seen = at
				}
				if through.Row(i) < least {
					least, out.HeldBackBy = through.Row(i), partition.Row(i)
				}
			}
			return nil
		})
	if said > 0 && said == out.Partitions && least > 0 {
		out.Through = time.UnixMilli(least).UTC()
	}
	return out, renamed("ledger.complete_through", err)
}
