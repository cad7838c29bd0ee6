// Package deadletter keeps records that could not be written: whole, with the reason and the position.
package deadletter

import (
	"time"

	"github.com/ClickHouse/ch-go/proto"

	waybill "github.com/waybill-data/waybill"
)

// Stage says where a record was rejected.
type Stage string

// Stages.
const (
	StageDecode    Stage = "decode"    // the bytes are not what the format says
	StageTransform Stage = "transform" // an expression or an upcaster failed
	StageContract  Stage = "contract"  // a value does not fit its column
	StageInsert    Stage = "insert"    // the server refused the row
)

// Envelope is one dead letter. Like a ledger row it is a function of the record and the plan: whoever rejects the record
// writes the same envelope.
type Envelope struct {
	Pipeline   string
	Epoch      waybill.Epoch
	Topic      string
	Partition  int32
	Offset     int64
	RecordTime int64  // waybill.Record.Time
	Key        []byte // nil: the record has none
	Value      []byte // nil: a tombstone
	Headers    []waybill.Header
	Version    string // waybill.Record.Version
	Batch      waybill.BatchID
	BatchTime  int64 // waybill.Batch.Time
	Plan       waybill.PlanID
	Reason
	Attempt uint32 // 0: as it was consumed; replays count up
	// Expires is when the row may be removed, in seconds since the Unix epoch; 0: never. Alone of all fields it depends on who writes, and when.
	Expires uint32
}

// Reason says why a record was rejected.
type Reason struct {
	Stage   Stage
	Code    string // a snake_case word to group by, or the server's error name
	Column  string // path of the column concerned; empty if it is not about one
	Message string // one sentence for people; it must not hold what redaction removes
}

// Of puts a record into an envelope. The envelope aliases the record's bytes.
func Of(r *waybill.Record, pipeline string, b *waybill.Batch, why Reason) Envelope {
	return Envelope{
		Pipeline: pipeline, Epoch: b.Epoch, Topic: r.Topic, Partition: r.Partition, Offset: r.Offset, RecordTime: r.Time,
		Key: r.Key, Value: r.Value, Headers: r.Headers, Version: r.Version, Batch: b.ID, BatchTime: b.Time, Plan: b.Plan, Reason: why,
	}
}

// Size is how many bytes the envelope's record takes in a block, for the memory budget.
func (e *Envelope) Size() int {
	n := len(e.Key) + len(e.Value) + len(e.Message)
	for i := range e.Headers {
		n += len(e.Headers[i].Key) + len(e.Headers[i].Value)
	}
	return n
}

// Block encodes envelopes for an INSERT into the table dead_letters. It copies their bytes.
func Block(envelopes []Envelope) proto.Input {
	b := newBlock()
	for i := range envelopes {
		b.append(&envelopes[i])
	}
	return b.input()
}

type block struct {
	pipeline, topic, stage, code, column, version *proto.ColLowCardinality[string]
	epoch, attempt                                proto.ColUInt32
	partition                                     proto.ColInt32
	offset                                        proto.ColInt64
	recordTime, batchTime                         *proto.ColDateTime64
	key, value                                    nullableBytes
	headerKeys                                    *proto.ColArr[string]
	headerValues                                  *proto.ColArr[[]byte]
	batch                                         proto.ColFixedStr
	plan                                          proto.ColUInt64
	message                                       proto.ColStr
	expires                                       proto.ColDateTime
}

func newBlock() *block {
	lowCardinality := func() *proto.ColLowCardinality[string] { return new(proto.ColStr).LowCardinality() }
	millis := func() *proto.ColDateTime64 {
		return new(proto.ColDateTime64).WithPrecision(proto.PrecisionMilli).WithLocation(time.UTC)
	}
	return &block{
		pipeline: lowCardinality(), topic: lowCardinality(), stage: lowCardinality(), code: lowCardinality(), column: lowCardinality(), version: lowCardinality(),
		recordTime: millis(), batchTime: millis(),
		headerKeys: new(proto.ColStr).Array(), headerValues: proto.NewArray[[]byte](new(proto.ColBytes)),
		batch: proto.ColFixedStr{Size: 16}, expires: proto.ColDateTime{Location: time.UTC},
	}
}

func (b *block) append(e *Envelope) {
	b.pipeline.Append(e.Pipeline)
	b.epoch.Append(uint32(e.Epoch))
	b.topic.Append(e.Topic)
	b.partition.Append(e.Partition)
	b.offset.Append(e.Offset)
	b.recordTime.AppendRaw(proto.DateTime64(e.RecordTime))
	b.key.append(e.Key)
	b.value.append(e.Value)
	keys, values := make([]string, len(e.Headers)), make([][]byte, len(e.Headers))
	for i, h := range e.Headers {
		keys[i], values[i] = h.Key, h.Value
	}
	b.headerKeys.Append(keys)
	b.headerValues.Append(values)
	b.version.Append(e.Version)
	b.batch.Append(e.Batch[:])
	b.batchTime.AppendRaw(proto.DateTime64(e.BatchTime))
	b.plan.Append(uint64(e.Plan))
	b.stage.Append(string(e.Stage))
	b.code.Append(e.Code)
	b.column.Append(e.Column)
	b.message.Append(e.Message)
	b.attempt.Append(e.Attempt)
	b.expires.AppendRaw(proto.DateTime(e.Expires))
}

func (b *block) input() proto.Input {
	return proto.Input{
		{Name: "pipeline", Data: b.pipeline}, {Name: "epoch", Data: b.epoch}, {Name: "topic", Data: b.topic},
		{Name: "partition", Data: b.partition}, {Name: "offset", Data: b.offset}, {Name: "record_time", Data: b.recordTime},
		{Name: "key", Data: b.key.column()}, {Name: "value", Data: b.value.column()},
		{Name: "header_keys", Data: b.headerKeys}, {Name: "header_values", Data: b.headerValues},
		{Name: "version", Data: b.version}, {Name: "batch", Data: b.batch}, {Name: "batch_time", Data: b.batchTime}, {Name: "plan", Data: b.plan},
		{Name: "stage", Data: b.stage}, {Name: "code", Data: b.code}, {Name: "column", Data: b.column},
		{Name: "message", Data: b.message}, {Name: "attempt", Data: b.attempt}, {Name: "expires_at", Data: b.expires},
	}
}

// nullableBytes keeps nil apart from empty: a tombstone is not an empty value.
type nullableBytes struct {
	nulls proto.ColUInt8
	bytes proto.ColStr
}

func (n *nullableBytes) append(b []byte) {
	isNull := uint8(0)
	if b == nil {
		isNull = 1
	}
	n.nulls.Append(isNull)
	n.bytes.AppendBytes(b)
}

func (n *nullableBytes) column() proto.ColInput {
	return &proto.ColNullable[string]{Nulls: n.nulls, Values: &n.bytes}
}
