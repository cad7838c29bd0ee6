package kafka

import (
	"context"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/waybill-data/waybill"
)

// Committed is what the group has committed for a partition.
type Committed struct {
	Offset      int64  // the next offset to read; -1 if nothing is committed
	LeaderEpoch int32  // -1 if unknown
	Metadata    string // empty if none
}

// FetchOffsets reads the group's committed offsets of the given partitions of the topic, or of all of them if parts is
// nil. Offsets that a transaction still holds back make it fail with ClassRetryable.
func (s *Session) FetchOffsets(ctx context.Context, parts []waybill.TopicPartition) (map[waybill.TopicPartition]Committed, error) {
	wanted := make([]int32, 0, len(parts))
	for _, tp := range parts {
		wanted = append(wanted, tp.Partition)
	}
	if parts == nil {
		_, topic, err := s.metadata(ctx)
		if err != nil {
			return nil, err
		}
		for _, p := range topic.Partitions {
			wanted = append(wanted, p.Partition)
		}
	}
	resp, err := s.offsetFetchRequest(wanted).RequestWith(ctx, s.member)
	if err != nil {
		return nil, classify("kafka.fetch_offsets", err, nowhere)
	}
	return s.committed(resp, wanted)
}

func (s *Session) offsetFetchRequest(wanted []int32) *kmsg.OffsetFetchRequest {
	topic := kmsg.NewOffsetFetchRequestGroupTopic()
	topic.Topic, topic.TopicID, topic.Partitions = s.cfg.Topic, s.topicID, wanted
	group := kmsg.NewOffsetFetchRequestGroup()
	group.Group = s.cfg.Group
	group.Topics = append(group.Topics, topic)
	req := kmsg.NewPtrOffsetFetchRequest()
	req.RequireStable = true
	req.Groups = append(req.Groups, group)
	return req
}

func (s *Session) committed(resp *kmsg.OffsetFetchResponse, wanted []int32) (map[waybill.TopicPartition]Committed, error) {
	out := make(map[waybill.TopicPartition]Committed, len(wanted))
	for _, g := range resp.Groups {
		if err := kerr.ErrorForCode(g.ErrorCode); err != nil {
			return nil, classify("kafka.fetch_offsets", err, nowhere)
		}
		for _, t := range g.Topics {
			for _, p := range t.Partitions {
				tp := waybill.TopicPartition{Topic: s.cfg.Topic, Partition: p.Partition}
				if err := kerr.ErrorForCode(p.ErrorCode); err != nil {
					return nil, classify("kafka.fetch_offsets", err, position(tp, -1))
				}
				c := Committed{Offset: max(p.Offset, -1), LeaderEpoch: p.LeaderEpoch}
				if p.Metadata != nil {
					c.Metadata = *p.Metadata
				}
				out[tp] = c
			}
		}
	}
	for _, p := range wanted {
		if tp := (waybill.TopicPartition{Topic: s.cfg.Topic, Partition: p}); !has(out, tp) {
			return nil, classify("kafka.fetch_offsets", errUnanswered, position(tp, -1))
		}
	}
	return out, nil
}

func has[K comparable, V any](m map[K]V, k K) bool {
	_, ok := m[k]
	return ok
}
