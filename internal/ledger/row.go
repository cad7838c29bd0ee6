package ledger

import (
	"github.com/ClickHouse/ch-go/proto"
	"github.com/google/uuid"

	waybill "github.com/waybill-data/waybill"
	"github.com/waybill-data/waybill/internal/minutes"
)

// rowFormat is the version of what a ledger row means.
const rowFormat = 4

// Row says what became of one batch's part of one partition. Its content is deterministic: whoever carries out the batch
// writes the same row, so there is no worker, attempt or clock of its own in it.
type Row struct {
	Pipeline string
	Epoch    waybill.Epoch
	waybill.TopicPartition
	waybill.Span
	Batch     waybill.BatchID
	BatchTime int64 // waybill.Batch.Time: milliseconds since the Unix epoch
	Plan      waybill.PlanID
	Decoder   uint16
	Target    string // database.table; of a pipeline with routes, all of them
	// Routed is how many of the written are in each table, by database.table; nil: all are in Target.
	Routed  map[string]int64
	TopicID uuid.UUID // Kafka's topic id
	Counts
	Checksum uint64 // order-free sum over the records read
	// Minutes is what became of the records by their time: of all whose time is known. Those that are lost have none.
	Minutes []minutes.Bucket
	// ByRecordTime is how many of the read are in the minute of their record's time for want of the event's.
	ByRecordTime int64
}

// Counts is the conservation of records in a span: Read equals the sum of the others, but for the last two, which say
// more of records that have been counted.
type Counts struct {
	Read, Written, Filtered, DeadLettered, Tombstones, Lost, Deduplicated int64

	Rescued  int64 // of the written: records with values in the rescue column
	Redacted int64 // of the read: records with values that were redacted
}

// Balanced reports whether law L2 holds.
func (c Counts) Balanced() bool {
	return c.Read == c.Written+c.Filtered+c.DeadLettered+c.Tombstones+c.Lost+c.Deduplicated
}

// Block encodes ledger rows for an INSERT into TableLedger.
func Block(rows []Row) proto.Input {
	var (
		pipeline, topic, target                                       = lowCardinality(), lowCardinality(), lowCardinality()
		epoch, batches                                                proto.ColUInt32
		partition                                                     proto.ColInt32
		first, next, offsets                                          proto.ColInt64
		read, written, filtered, dead, tombstones, lost, deduplicated proto.ColInt64
		rescued, redacted                                             proto.ColInt64
		checksum, plan                                                proto.ColUInt64
		decoder                                                       proto.ColUInt16
		format                                                        proto.ColUInt8
		topicID                                                       proto.ColUUID
		batch                                                         = proto.ColFixedStr{Size: 16}
		batchTime                                                     = millisColumn()
		timed                                                         = newMinuteBlock()
		routed                                                        = proto.NewMap(proto.ColumnOf[string](lowCardinality()), proto.ColumnOf[int64](new(proto.ColInt64)))
	)
	for i := range rows {
		r := &rows[i]
		pipeline.Append(r.Pipeline)
		epoch.Append(uint32(r.Epoch))
		topic.Append(r.Topic)
		partition.Append(r.Partition)
		first.Append(r.First)
		next.Append(r.Next)
		offsets.Append(r.Span.Len())
		batches.Append(1)
		read.Append(r.Read)
		written.Append(r.Written)
		filtered.Append(r.Filtered)
		dead.Append(r.DeadLettered)
		tombstones.Append(r.Tombstones)
		lost.Append(r.Lost)
		deduplicated.Append(r.Deduplicated)
		rescued.Append(r.Rescued)
		redacted.Append(r.Redacted)
		checksum.Append(r.Checksum)
		batch.Append(r.Batch[:])
		batchTime.AppendRaw(proto.DateTime64(r.BatchTime))
		plan.Append(uint64(r.Plan))
		decoder.Append(r.Decoder)
		target.Append(r.Target)
		if r.Routed == nil {
			routed.Append(map[string]int64{r.Target: r.Written})
		} else {
			routed.Append(r.Routed)
		}
		timed.append(r)
		topicID.Append(r.TopicID)
		format.Append(rowFormat)
	}
	return append(timed.input(), proto.Input{
		{Name: "pipeline", Data: pipeline}, {Name: "epoch", Data: epoch}, {Name: "topic", Data: topic},
		{Name: "partition", Data: partition}, {Name: "first", Data: first}, {Name: "next", Data: next},
		{Name: "offsets", Data: offsets}, {Name: "batches", Data: batches}, {Name: "read", Data: read},
		{Name: "written", Data: written}, {Name: "filtered", Data: filtered}, {Name: "dead_lettered", Data: dead},
		{Name: "tombstones", Data: tombstones}, {Name: "lost", Data: lost}, {Name: "deduplicated", Data: deduplicated},
		{Name: "rescued", Data: rescued}, {Name: "redacted", Data: redacted},
		{Name: "checksum", Data: checksum}, {Name: "batch", Data: batch}, {Name: "batch_time", Data: batchTime},
		{Name: "plan", Data: plan}, {Name: "decoder", Data: decoder}, {Name: "target", Data: target},
		{Name: "routed", Data: routed}, {Name: "topic_id", Data: topicID}, {Name: "format", Data: format},
	}...)
}

func lowCardinality() *proto.ColLowCardinality[string] { return new(proto.ColStr).LowCardinality() }
