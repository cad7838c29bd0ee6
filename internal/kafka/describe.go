package kafka

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/waybill-data/waybill"
)

// TopicInfo is a topic as it is now, under the name that the Session was opened for.
type TopicInfo struct {
	ClusterID string
	// TopicID as of now. If it differs from Session.TopicID, the topic was deleted and created again.
	TopicID    TopicID
	Partitions []PartitionInfo // in order
}

// PartitionInfo is the extent of one partition's log.
type PartitionInfo struct {
	Partition int32
	LogStart  int64 // the first offset that is still there
	End       int64 // the high watermark: one past the last offset that consumers may see
	StableEnd int64 // the last stable offset: like End, but before the first open transaction
}

// Describe asks the brokers, not a cache. A topic that does not exist is ClassConfig.
func (s *Session) Describe(ctx context.Context) (TopicInfo, error) {
	meta, topic, err := s.metadata(ctx)
	if err != nil {
		return TopicInfo{}, err
	}
	info := TopicInfo{TopicID: topic.TopicID}
	if meta.ClusterID != nil {
		info.ClusterID = *meta.ClusterID
	}
	for _, p := range topic.Partitions {
		info.Partitions = append(info.Partitions, PartitionInfo{Partition: p.Partition})
	}
	slices.SortFunc(info.Partitions, func(a, b PartitionInfo) int { return int(a.Partition) - int(b.Partition) })
	return info, s.fillExtents(ctx, info.Partitions)
}

func (s *Session) fillExtents(ctx context.Context, parts []PartitionInfo) error {
	adm := kadm.NewClient(s.asker)
	for _, list := range []struct {
		ask func(context.Context, ...string) (kadm.ListedOffsets, error)
		put func(*PartitionInfo, int64)
	}{
		// In this order an end is never below the start, whatever is written or deleted in between.
		{adm.ListStartOffsets, func(p *PartitionInfo, o int64) { p.LogStart = o }},
		{adm.ListCommittedOffsets, func(p *PartitionInfo, o int64) { p.StableEnd = o }},
		{adm.ListEndOffsets, func(p *PartitionInfo, o int64) { p.End = o }},
	} {
		listed, err := list.ask(ctx, s.cfg.Topic)
		if err != nil {
			return classify("kafka.describe", err, waybill.Position{Topic: s.cfg.Topic, Partition: -1})
		}
		for i := range parts {
			o, ok := listed.Lookup(s.cfg.Topic, parts[i].Partition)
			at := position(waybill.TopicPartition{Topic: s.cfg.Topic, Partition: parts[i].Partition}, -1)
			if !ok {
				return classify("kafka.describe", errUnanswered, at)
			}
			if o.Err != nil {
				return classify("kafka.describe", o.Err, at)
			}
			list.put(&parts[i], o.Offset)
		}
	}
	return nil
}

// OffsetAfter is the offset of a partition's first record at or after a time, by the records' own timestamps; not found: there is none.
func (s *Session) OffsetAfter(ctx context.Context, partition int32, t time.Time) (offset int64, found bool, err error) {
	at := position(waybill.TopicPartition{Topic: s.cfg.Topic, Partition: partition}, -1)
	listed, err := kadm.NewClient(s.asker).ListOffsetsAfterMilli(ctx, t.UnixMilli(), s.cfg.Topic)
	if err != nil {
		return 0, false, classify("kafka.offset_after", err, at)
	}
	o, ok := listed.Lookup(s.cfg.Topic, partition)
	switch {
	case !ok:
		return 0, false, classify("kafka.offset_after", errUnanswered, at)
	case o.Err != nil:
		return 0, false, classify("kafka.offset_after", o.Err, at)
	}
	// The client puts the end in place of "there is none", and no timestamp beside it.
	return o.Offset, o.Timestamp >= 0, nil
}

// metadata asks for the topic by name, uncached.
func (s *Session) metadata(ctx context.Context) (*kmsg.MetadataResponse, *kmsg.MetadataResponseTopic, error) {
	req := kmsg.NewPtrMetadataRequest()
	t := kmsg.NewMetadataRequestTopic()
	t.Topic = &s.cfg.Topic
	req.Topics = append(req.Topics, t)
	req.AllowAutoTopicCreation = false
	resp, err := req.RequestWith(ctx, s.asker)
	at := waybill.Position{Topic: s.cfg.Topic, Partition: -1}
	if err != nil {
		return nil, nil, classify("kafka.metadata", err, at)
	}
	if len(resp.Topics) != 1 {
		return nil, nil, classify("kafka.metadata", fmt.Errorf("%d topics answered for one", len(resp.Topics)), at)
	}
	topic := &resp.Topics[0]
	switch err := kerr.ErrorForCode(topic.ErrorCode); {
	case errors.Is(err, kerr.UnknownTopicOrPartition):
		e := classify("kafka.metadata", errNoSuchTopic, at)
		e.Code, e.Class, e.Hint = int(kerr.UnknownTopicOrPartition.Code), waybill.ClassConfig, "create the topic or correct its name"
		return nil, nil, e
	case err != nil:
		return nil, nil, classify("kafka.metadata", err, at)
	}
	return resp, topic, nil
}
