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

// Erasure is a batch of an erasure, for the record.
type Erasure struct {
	*Replay
	Erasure   [16]byte // of the run
	TopicID   uuid.UUID
	Condition string // empty: it is not kept
	Salt      [16]byte
	Hash      [32]byte // of the salt and the condition
}

// ErasureBlock encodes an erasure for an INSERT into TableErasures. It may be there twice.
func ErasureBlock(e *Erasure, when time.Time) proto.Input {
	pipeline, topic, at := lowCardinality(), lowCardinality(), millisColumn()
	id, salt, hash := proto.ColFixedStr{Size: 16}, proto.ColFixedStr{Size: 16}, proto.ColFixedStr{Size: 32}
	who, why, condition := new(proto.ColStr), new(proto.ColStr), new(proto.ColStr)
	partitions, firsts, nexts := new(proto.ColInt32).Array(), new(proto.ColInt64).Array(), new(proto.ColInt64).Array()
	pipeline.Append(e.Pipeline)
	topic.Append(e.Topic)
	at.Append(when)
	id.Append(e.Erasure[:])
	salt.Append(e.Salt[:])
	hash.Append(e.Hash[:])
	who.Append(e.By)
	why.Append(e.Note)
	condition.Append(e.Condition)
	var ps []int32
	var fs, ns []int64
	for p, set := range e.Offsets {
		for _, sp := range set.Spans() {
			ps, fs, ns = append(ps, p), append(fs, sp.First), append(ns, sp.Next)
		}
	}
	partitions.Append(ps)
	firsts.Append(fs)
	nexts.Append(ns)
	return proto.Input{
		{Name: "pipeline", Data: pipeline}, {Name: "erasure", Data: id}, {Name: "sequence", Data: proto.ColUInt64{e.Sequence}}, {Name: "epoch", Data: proto.ColUInt32{uint32(e.Epoch)}},
		{Name: "topic", Data: topic}, {Name: "topic_id", Data: proto.ColUUID{e.TopicID}}, {Name: "at", Data: at}, {Name: "who", Data: who}, {Name: "why", Data: why},
		{Name: "condition", Data: condition}, {Name: "salt", Data: salt}, {Name: "hash", Data: hash},
		{Name: "partitions", Data: partitions}, {Name: "firsts", Data: firsts}, {Name: "nexts", Data: nexts},
	}
}

// Erased is which offsets of a topic were erased, or are being, by partition: under any epoch, since their records are the same. Nothing may
// bring them back. topicID is that of the topic as it is now: records of a topic that was deleted and created again are others. Zero means that
// it is not known; then those of all are given.
func (s *Store) Erased(ctx context.Context, pipeline, topic string, topicID uuid.UUID) (map[int32]waybill.OffsetSet, error) {
	out := map[int32]waybill.OffsetSet{}
	of := ""
	if topicID != (uuid.UUID{}) {
		of = fmt.Sprintf(" AND topic_id IN (toUUID('%s'), toUUID('%s'))", topicID, uuid.UUID{})
	}
	// A batch that is begun, too: it will be erased. It is on record among the erasures before anything is deleted.
	err := s.spans(ctx, "ledger.erased", fmt.Sprintf(
		"SELECT DISTINCT topic AS t, p, f, n FROM %s ARRAY JOIN partitions AS p, firsts AS f, nexts AS n WHERE pipeline = %s AND topic = %s%s ORDER BY p, f",
		s.table(TableErasures), clickhouse.Literal(pipeline), clickhouse.Literal(topic), of), func(tp waybill.TopicPartition, sp waybill.Span) {
		set := out[tp.Partition]
		set.AddSpan(sp)
		out[tp.Partition] = set
	})
	return out, err
}
