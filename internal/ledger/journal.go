package ledger

import (
	"context"
	"fmt"
	"time"

	"github.com/ClickHouse/ch-go/proto"
	"github.com/google/uuid"

	waybill "github.com/waybill-data/waybill"
	"github.com/waybill-data/waybill/internal/clickhouse"
)

// Decision is one record's fate that is not in the record: the server refused its row.
type Decision struct {
	Pipeline string
	Epoch    waybill.Epoch
	Batch    waybill.BatchID
	Target   string // database.table
	waybill.TopicPartition
	Offset int64
	Code   int // the server's error code
	Reason string
	At     time.Time
}

// DecisionBlock encodes decisions for an INSERT into TableDecisions.
func DecisionBlock(decisions []Decision) proto.Input {
	pipeline, target, topic := lowCardinality(), lowCardinality(), lowCardinality()
	epoch, batch := new(proto.ColUInt32), &proto.ColFixedStr{Size: 16}
	partition, offset, code := new(proto.ColInt32), new(proto.ColInt64), new(proto.ColInt32)
	reason, at := new(proto.ColStr), millisColumn()
	for _, d := range decisions {
		pipeline.Append(d.Pipeline)
		epoch.Append(uint32(d.Epoch))
		batch.Append(d.Batch[:])
		target.Append(d.Target)
		topic.Append(d.Topic)
		partition.Append(d.Partition)
		offset.Append(d.Offset)
		code.Append(int32(d.Code))
		reason.Append(d.Reason)
		at.Append(d.At)
	}
	return proto.Input{
		{Name: "pipeline", Data: pipeline}, {Name: "epoch", Data: epoch}, {Name: "batch", Data: batch},
		{Name: "target", Data: target}, {Name: "topic", Data: topic}, {Name: "partition", Data: partition},
		{Name: "offset", Data: offset}, {Name: "code", Data: code}, {Name: "reason", Data: reason}, {Name: "decided_at", Data: at},
	}
}

// Decisions are a batch's decisions for one target, the first for each offset, in order of partition and offset.
func (s *Store) Decisions(ctx context.Context, pipeline string, epoch waybill.Epoch, batch waybill.BatchID, target string) ([]Decision, error) {
	var out []Decision
	var topic, reason proto.ColStr
	var partition, code proto.ColInt32
	var offset proto.ColInt64
	at := millisColumn()
	err := s.ch.Query(ctx, fmt.Sprintf(`
SELECT topic AS t, partition AS p, offset AS o, argMin(code, k) AS c, argMin(reason, k) AS r, min(decided_at) AS at
FROM (SELECT *, (decided_at, code, reason) AS k FROM %s WHERE %s AND batch = unhex('%s') AND target = %s)
GROUP BY t, p, o ORDER BY t, p, o`, s.table(TableDecisions), scope(pipeline, epoch), batch, clickhouse.Literal(target)),
		proto.Results{
			{Name: "t", Data: &topic}, {Name: "p", Data: &partition}, {Name: "o", Data: &offset},
			{Name: "c", Data: &code}, {Name: "r", Data: &reason}, {Name: "at", Data: at},
		}, func(rows int) error {
			for i := range rows {
				out = append(out, Decision{
					Pipeline: pipeline, Epoch: epoch, Batch: batch, Target: target,
					TopicPartition: waybill.TopicPartition{Topic: topic.Row(i), Partition: partition.Row(i)},
					Offset:         offset.Row(i), Code: int(code.Row(i)), Reason: reason.Row(i), At: at.Row(i),
				})
			}
			return nil
		})
	return out, renamed("ledger.decisions", err)
}

// Pipeline is what a pipeline was when a worker first saw it so.
type Pipeline struct {
	Name, ClusterID, Topic string
	TopicID                uuid.UUID
	Epoch                  waybill.Epoch
	Partitions             int32  // of the topic, so that partitions which were added later can be told
	Target                 string // database.table
	FileHash               string
	FirstSeen              time.Time
}

// PipelineBlock encodes one appearance for an INSERT into TablePipelines.
func PipelineBlock(p Pipeline) proto.Input {
	name, topic, target, at := lowCardinality(), lowCardinality(), lowCardinality(), millisColumn()
	cluster, hash := new(proto.ColStr), new(proto.ColStr)
	name.Append(p.Name)
	topic.Append(p.Topic)
	target.Append(p.Target)
	at.Append(p.FirstSeen)
	cluster.Append(p.ClusterID)
	hash.Append(p.FileHash)
	return proto.Input{
		{Name: "name", Data: name}, {Name: "cluster_id", Data: cluster}, {Name: "topic", Data: topic},
		{Name: "topic_id", Data: proto.ColUUID{p.TopicID}}, {Name: "epoch", Data: proto.ColUInt32{uint32(p.Epoch)}},
		{Name: "partitions", Data: proto.ColInt32{p.Partitions}},
		{Name: "target", Data: target}, {Name: "file_hash", Data: hash}, {Name: "first_seen", Data: at},
	}
}

// Pipelines are all appearances of a pipeline, oldest first; the last one is what it is now.
func (s *Store) Pipelines(ctx context.Context, name string) ([]Pipeline, error) {
	var out []Pipeline
	var cluster, topic, target, hash proto.ColStr
	var id proto.ColUUID
	var epoch proto.ColUInt32
	var partitions proto.ColInt32
	at := millisColumn()
	err := s.ch.Query(ctx, fmt.Sprintf(`
SELECT cluster_id, topic AS t, topic_id, epoch, partitions, target AS g, file_hash, first_seen
FROM %s WHERE name = %s ORDER BY epoch, first_seen`, s.table(TablePipelines), clickhouse.Literal(name)),
		proto.Results{
			{Name: "cluster_id", Data: &cluster}, {Name: "t", Data: &topic}, {Name: "topic_id", Data: &id},
			{Name: "epoch", Data: &epoch}, {Name: "partitions", Data: &partitions}, {Name: "g", Data: &target}, {Name: "file_hash", Data: &hash}, {Name: "first_seen", Data: at},
		}, func(rows int) error {
			for i := range rows {
				out = append(out, Pipeline{
					Name: name, ClusterID: cluster.Row(i), Topic: topic.Row(i), TopicID: id.Row(i), Epoch: waybill.Epoch(epoch.Row(i)), Partitions: partitions.Row(i),
					Target: target.Row(i), FileHash: hash.Row(i), FirstSeen: at.Row(i),
				})
			}
			return nil
		})
	return out, renamed("ledger.pipelines", err)
}
