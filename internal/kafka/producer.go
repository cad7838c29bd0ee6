package kafka

import (
	"context"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/waybill-data/waybill"
)

// produceTimeout bounds one try to produce a record, so that a broker that does not take it is heard of.
const produceTimeout = 20 * time.Second

// Producer writes records to a topic, at least once each. It is safe for concurrent use.
type Producer struct {
	cl    *kgo.Client
	topic string
}

// NewProducer makes a producer; it connects when it is used. Of the config, what concerns groups and the topic that is read is not used.
func NewProducer(cfg Config, topic string) (*Producer, error) {
	cfg = cfg.withDefaults()
	// A record may be there twice, but what was given up must be forgotten: an idempotent producer would go on with it.
	cl, err := kgo.NewClient(append(cfg.clientOpts(newDialer(cfg)), kgo.WithLogger(plainLog{cfg.Log}), kgo.RequiredAcks(kgo.AllISRAcks()), kgo.DisableIdempotentWrite(),
		kgo.RecordDeliveryTimeout(produceTimeout), kgo.DefaultProduceTopic(topic))...)
	if err != nil {
		return nil, configError("kafka.produce", err.Error(), "check the Kafka settings")
	}
	return &Producer{cl, topic}, nil
}

// Produce returns once all records are acknowledged by all replicas in sync. After an error any of them may be there. Of the records, key, value, headers
// and time are used.
func (p *Producer) Produce(ctx context.Context, records []waybill.Record) error {
	wire := make([]*kgo.Record, len(records))
	for i := range records {
		r := &records[i]
		wire[i] = &kgo.Record{Key: r.Key, Value: r.Value, Timestamp: time.UnixMilli(r.Time)}
		for _, h := range r.Headers {
			wire[i].Headers = append(wire[i].Headers, kgo.RecordHeader{Key: h.Key, Value: h.Value})
		}
	}
	if err := p.cl.ProduceSync(ctx, wire...).FirstErr(); err != nil {
		return classify("kafka.produce", err, waybill.Position{Topic: p.topic, Partition: -1, Offset: -1})
	}
	return nil
}

// Close ends the connections.
func (p *Producer) Close() { p.cl.Close() }
