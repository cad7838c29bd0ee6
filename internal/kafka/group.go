package kafka

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/waybill-data/waybill"
)

// Members are who is in a consumer group, by client id and host; none: it is empty, or there is no such group.
func (r *Reader) Members(ctx context.Context, group string) ([]string, error) {
	adm := kadm.NewClient(r.s.asker)
	described, err := adm.DescribeGroups(ctx, group)
	if err != nil {
		return nil, classify("kafka.describe_group", err, nowhere)
	}
	g := described[group]
	switch {
	case errors.Is(g.Err, kerr.GroupIDNotFound): // the broker has none, or it is one of the consumer protocol
		return r.consumerMembers(ctx, adm, group)
	case g.Err != nil:
		return nil, classify("kafka.describe_group", g.Err, nowhere)
	case g.State != "Empty" && g.State != "Dead" && len(g.Members) == 0:
		return []string{"a group that is " + g.State}, nil
	}
	var out []string
	for i := range g.Members {
		out = append(out, g.Members[i].ClientID+" at "+g.Members[i].ClientHost)
	}
	slices.Sort(out)
	return out, nil
}

// consumerMembers asks about a group of the consumer protocol.
func (r *Reader) consumerMembers(ctx context.Context, adm *kadm.Client, group string) ([]string, error) {
	described, err := adm.DescribeConsumerGroups(ctx, group)
	if err != nil {
		return nil, classify("kafka.describe_group", err, nowhere)
	}
	g := described[group]
	switch {
	case errors.Is(g.Err, kerr.GroupIDNotFound), errors.Is(g.Err, kerr.UnsupportedVersion):
		return nil, nil
	case g.Err != nil:
		return nil, classify("kafka.describe_group", g.Err, nowhere)
	}
	var out []string
	for i := range g.Members {
		out = append(out, g.Members[i].ClientID+" at "+g.Members[i].ClientHost)
	}
	slices.Sort(out)
	return out, nil
}

// GroupOffsets are what a group has committed for the topic. A partition without has no entry.
func (r *Reader) GroupOffsets(ctx context.Context, group string) (map[int32]int64, error) {
	answer, err := kadm.NewClient(r.s.asker).FetchOffsets(ctx, group)
	if errors.Is(err, kerr.GroupIDNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, classify("kafka.fetch_offsets", err, nowhere)
	}
	out := map[int32]int64{}
	for p, o := range answer[r.s.cfg.Topic] {
		switch {
		case o.Err != nil:
			return nil, classify("kafka.fetch_offsets", o.Err, position(waybill.TopicPartition{Topic: r.s.cfg.Topic, Partition: p}, -1))
		case o.At >= 0:
			out[p] = o.At
		}
	}
	return out, nil
}

// OffsetsAt are the first offsets of the topic's partitions whose records are of a time or later, by Kafka's own index; the end of the log where there are none.
func (r *Reader) OffsetsAt(ctx context.Context, millis int64) (map[int32]int64, error) {
	listed, err := kadm.NewClient(r.s.asker).ListOffsetsAfterMilli(ctx, millis, r.s.cfg.Topic)
	if err != nil {
		return nil, classify("kafka.list_offsets", err, nowhere)
	}
	out := map[int32]int64{}
	for p, o := range listed[r.s.cfg.Topic] {
		if o.Err != nil {
			return nil, classify("kafka.list_offsets", o.Err, position(waybill.TopicPartition{Topic: r.s.cfg.Topic, Partition: p}, -1))
		}
		out[p] = o.Offset
	}
	return out, nil
}

// DropGroup deletes a group that nobody is in. One that is not there is dropped.
func (r *Reader) DropGroup(ctx context.Context, group string) error {
	answer, err := kadm.NewClient(r.s.asker).DeleteGroup(ctx, group)
	if err == nil {
		err = answer.Err
	}
	if err == nil || errors.Is(err, kerr.GroupIDNotFound) {
		return nil
	}
	return classify("kafka.delete_group", fmt.Errorf("group %s: %w", group, err), nowhere)
}

// GroupMetadata are the metadata strings of what a group has committed, for all topics.
func (r *Reader) GroupMetadata(ctx context.Context, group string) ([]string, error) {
	answer, err := kadm.NewClient(r.s.asker).FetchOffsets(ctx, group)
	if errors.Is(err, kerr.GroupIDNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, classify("kafka.fetch_offsets", err, nowhere)
	}
	var out []string
	answer.Each(func(o kadm.OffsetResponse) { out = append(out, o.Metadata) })
	return out, nil
}

// CopyGroup has a group that nobody is in stand where another one does, metadata strings included.
func (r *Reader) CopyGroup(ctx context.Context, from, to string) error {
	adm := kadm.NewClient(r.s.asker)
	answer, err := adm.FetchOffsets(ctx, from)
	if err == nil {
		err = answer.Error()
	}
	if err != nil {
		return classify("kafka.fetch_offsets", err, nowhere)
	}
	if err := adm.CommitAllOffsets(ctx, to, answer.Offsets()); err != nil {
		return classify("kafka.commit", err, nowhere)
	}
	return nil
}
