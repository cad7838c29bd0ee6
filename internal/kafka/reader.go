package kafka

import (
	"cmp"
	"context"
	"slices"

	"github.com/waybill-data/waybill"
)

// Reader looks at a topic from outside any consumer group: it joins none and commits nothing. It is safe for concurrent use.
type Reader struct{ s *Session }

// OpenReader connects and checks that the topic exists. Of the config, what concerns groups is not used. The caller closes the Reader.
func OpenReader(ctx context.Context, cfg Config) (*Reader, error) {
	cfg = cfg.withDefaults()
	switch {
	case len(cfg.Brokers) == 0 || cfg.Topic == "":
		return nil, configError("kafka.open", "brokers and topic are required", "name both in the source")
	case cfg.Isolation != ReadCommitted && cfg.Isolation != ReadUncommitted:
		return nil, configError("kafka.open", "unknown isolation "+string(cfg.Isolation), "use read_committed or read_uncommitted")
	}
	cfg.Protocol = ProtocolClassic // so that no group is asked about its session timeout
	s := &Session{cfg: cfg}
	for _, open := range []func() error{s.openAsker, func() error { return s.prepare(ctx) }} {
		if err := open(); err != nil {
			s.closeClients()
			return nil, err
		}
	}
	return &Reader{s}, nil
}

// Describe is Session.Describe.
func (r *Reader) Describe(ctx context.Context) (TopicInfo, error) { return r.s.Describe(ctx) }

// ReadSpan is Session.ReadSpan.
func (r *Reader) ReadSpan(ctx context.Context, tp waybill.TopicPartition, span waybill.Span, fn func(*waybill.Record) error) (ReadResult, error) {
	return r.s.ReadSpan(ctx, tp, span, fn)
}

// Committed is the group's committed offset of each partition of the topic; -1 where it has committed nothing. The config names the group.
func (r *Reader) Committed(ctx context.Context) (map[int32]int64, error) {
	_, topic, err := r.s.metadata(ctx)
	if err != nil {
		return nil, err
	}
	wanted := make([]int32, 0, len(topic.Partitions))
	for _, p := range topic.Partitions {
		wanted = append(wanted, p.Partition)
	}
	resp, err := r.s.offsetFetchRequest(wanted).RequestWith(ctx, r.s.asker)
	if err != nil {
		return nil, classify("kafka.fetch_offsets", err, nowhere)
	}
	at, err := r.s.committed(resp, wanted)
	out := make(map[int32]int64, len(at))
	for tp, c := range at {
		out[tp.Partition] = c.Offset
	}
	return out, err
}

// TopicID is the topic's id.
func (r *Reader) TopicID() TopicID { return r.s.topicID }

// Close ends the connections.
func (r *Reader) Close() { r.s.closeClients() }

// Sample says where to read about n records of a topic: spans of the partitions, as even as their lengths allow, from their ends or
// from their beginnings. Offsets are counted, so topics with holes (compacted, transactional) give fewer records.
func Sample(info TopicInfo, isolation Isolation, n int64, fromStart bool) map[int32]waybill.Span {
	out := map[int32]waybill.Span{}
	open := make([]PartitionInfo, 0, len(info.Partitions))
	for _, p := range info.Partitions {
		if isolation != ReadUncommitted {
			p.End = p.StableEnd
		}
		if p.End > p.LogStart {
			open = append(open, p)
		}
	}
	for len(open) > 0 && n > 0 {
		each := n / int64(len(open))
		if short := shortest(open); short.End-short.LogStart <= each { // all of it, and the others share what is left
			out[short.Partition] = waybill.Span{First: short.LogStart, Next: short.End}
			n -= short.End - short.LogStart
			open = slices.DeleteFunc(open, func(p PartitionInfo) bool { return p.Partition == short.Partition })
			continue
		}
		for i, p := range open {
			out[p.Partition] = p.part(each+b2i(int64(i) < n%int64(len(open))), fromStart)
		}
		break
	}
	return out
}

// part is n offsets of the partition.
func (p PartitionInfo) part(n int64, fromStart bool) waybill.Span {
	if fromStart {
		return waybill.Span{First: p.LogStart, Next: p.LogStart + n}
	}
	return waybill.Span{First: p.End - n, Next: p.End}
}

func b2i(b bool) int64 {
	if b {
		return 1
	}
	return 0
}

func shortest(parts []PartitionInfo) PartitionInfo {
	return slices.MinFunc(parts, func(a, b PartitionInfo) int { return cmp.Compare(a.End-a.LogStart, b.End-b.LogStart) })
}
