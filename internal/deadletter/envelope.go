// Package deadletter wraps records that could not be written: whole, with the reason and the position.
package deadletter

import (
	"time"

	"github.com/ClickHouse/ch-go/proto"

	"github.com/waybill-data/waybill"
)

// Envelope is one dead letter. Its content is deterministic but for Message, which may quote a server.
type Envelope struct {
	Pipeline string
	Batch    *waybill.Batch
	// Record is the record with its raw bytes. A record that was gone before it could be kept has a
	// position only.
	Record waybill.Record
	Stage  string // decode, insert
	Code   string // from the stage's closed list, or server_NNN
	Column string // the column concerned, if any
	Path   string // the field's path in the event, if any
	// Message says what is wrong, for a person.
	Message string
}

// columnPath is what the table shows as the column concerned.
func (e *Envelope) columnPath() string {
	if e.Path == "" || e.Path == e.Column {
		return e.Column
	}
	if e.Column == "" {
		return e.Path
	}
	return e.Column + " <- " + e.Path
}

// Block encodes dead letters for an INSERT into waybill.dead_letters.
func Block(envelopes []Envelope) proto.Input {
	lc := func() *proto.ColLowCardinality[string] { return new(proto.ColStr).LowCardinality() }
	millis := func() *proto.ColDateTime64 {
		return new(proto.ColDateTime64).WithPrecision(proto.PrecisionMilli).WithLocation(time.UTC)
	}
	pipeline, topic, stage, code, column := lc(), lc(), lc(), lc(), lc()
	epoch, attempt := new(proto.ColUInt32), new(proto.ColUInt32)
	partition, offset, plan := new(proto.ColInt32), new(proto.ColInt64), new(proto.ColUInt64)
	recordTime, batchTime := millis(), millis()
	key, value := new(proto.ColBytes).Nullable(), new(proto.ColBytes).Nullable()
	headerKeys, headerValues := new(proto.ColStr).Array(), new(proto.ColBytes).Array()
	batch, message := &proto.ColFixedStr{Size: 16}, new(proto.ColStr)
	for i := range envelopes {
		e := &envelopes[i]
		r := &e.Record
		pipeline.Append(e.Pipeline)
		epoch.Append(uint32(e.Batch.Epoch))
		topic.Append(r.Topic)
		partition.Append(r.Partition)
		offset.Append(r.Offset)
		recordTime.AppendRaw(proto.DateTime64(r.Time))
		key.Append(proto.Nullable[[]byte]{Set: r.Key != nil, Value: r.Key})
		value.Append(proto.Nullable[[]byte]{Set: r.Value != nil, Value: r.Value})
		keys, values := make([]string, len(r.Headers)), make([][]byte, len(r.Headers))
		for j, h := range r.Headers {
			keys[j], values[j] = h.Key, h.Value
		}
		headerKeys.Append(keys)
		headerValues.Append(values)
		batch.Append(e.Batch.ID[:])
		batchTime.AppendRaw(proto.DateTime64(e.Batch.Time))
		plan.Append(uint64(e.Batch.Plan))
		stage.Append(e.Stage)
		code.Append(e.Code)
		column.Append(e.columnPath())
		message.Append(e.Message)
		attempt.Append(0)
	}
	return proto.Input{
		{Name: "pipeline", Data: pipeline}, {Name: "epoch", Data: epoch}, {Name: "topic", Data: topic},
		{Name: "partition", Data: partition}, {Name: "offset", Data: offset}, {Name: "record_time", Data: recordTime},
		{Name: "key", Data: key}, {Name: "value", Data: value}, {Name: "header_keys", Data: headerKeys}, {Name: "header_values", Data: headerValues},
		{Name: "batch", Data: batch}, {Name: "batch_time", Data: batchTime}, {Name: "plan", Data: plan}, {Name: "stage", Data: stage},
		{Name: "code", Data: code}, {Name: "column", Data: column}, {Name: "message", Data: message}, {Name: "attempt", Data: attempt},
	}
}
