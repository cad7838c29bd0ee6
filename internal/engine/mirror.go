package engine

import (
	"context"
	"strconv"

	"github.com/waybill-data/waybill"
	"github.com/waybill-data/waybill/internal/deadletter"
	"github.com/waybill-data/waybill/internal/kafka"
)

// mirror sends dead letters to the topic that the pipeline file names, before they are put on record: so a dead letter that is on record is in
// the topic, at least once. It is made when there is something to send.
func (p *Pipeline) mirror(ctx context.Context, envelopes []deadletter.Envelope) error {
	topic := p.cfg.DeadLetters.Mirror
	if topic == "" || len(envelopes) == 0 {
		return nil
	}
	to, err := p.producer(topic)
	if err != nil {
		return err
	}
	records := make([]waybill.Record, len(envelopes))
	for i := range envelopes {
		records[i] = mirrored(&envelopes[i])
	}
	return to.Produce(ctx, records)
}

// producer is the mirror's. It lives as long as the pipeline runs.
func (p *Pipeline) producer(topic string) (*kafka.Producer, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.mirrorTo != nil {
		return p.mirrorTo, nil
	}
	cfg := KafkaConfig(p.cfg, p.log)
	if p.deps.Kafka != nil {
		p.deps.Kafka(&cfg)
	}
	to, err := kafka.NewProducer(cfg, topic)
	p.mirrorTo = to
	return to, err
}

func (p *Pipeline) closeMirror() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.mirrorTo != nil {
		p.mirrorTo.Close()
		p.mirrorTo = nil
	}
}

// mirrored is a dead letter as a record: the record it was, and headers that say what it is.
func mirrored(e *deadletter.Envelope) waybill.Record {
	r := waybill.Record{Key: e.Key, Value: e.Value, Time: e.RecordTime, Headers: e.Headers[:len(e.Headers):len(e.Headers)]}
	for _, h := range [...]struct{ key, value string }{
		{"waybill_pipeline", e.Pipeline}, {"waybill_epoch", strconv.FormatUint(uint64(e.Epoch), 10)}, {"waybill_topic", e.Topic},
		{"waybill_partition", strconv.FormatInt(int64(e.Partition), 10)}, {"waybill_offset", strconv.FormatInt(e.Offset, 10)},
		{"waybill_stage", string(e.Stage)}, {"waybill_code", e.Code}, {"waybill_column", e.Column}, {"waybill_message", e.Message},
		{"waybill_plan", e.Plan.String()}, {"waybill_attempt", strconv.FormatUint(uint64(e.Attempt), 10)},
	} {
		r.Headers = append(r.Headers, waybill.Header{Key: h.key, Value: []byte(h.value)})
	}
	return r
}
