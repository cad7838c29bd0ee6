package kafka

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/waybill-data/waybill"
)

// ReadResult says how far a span could be read.
type ReadResult struct {
	// Next is where reading stopped: the span's own end, or the log's if that is lower.
	Next int64
	// LogStart and End are the partition's extent as last seen; End is the last stable offset under read_committed. What
	// of the span lies outside [LogStart, End) is gone.
	LogStart, End int64
	// Records is how many records were given to fn, markers not counted; LastOffset the last of them, -1 if none.
	Records    int64
	LastOffset int64
}

// ReadSpan reads the records of a span again, apart from the group and from what is being fetched, and gives each to fn
// in offset order, control records included. It stops by position, never by waiting for a record: a span may end in
// holes. A span that begins before the log start is read from there; the result tells. The record is fn's only
// until fn returns; fn's error ends the reading and is returned.
func (s *Session) ReadSpan(ctx context.Context, tp waybill.TopicPartition, span waybill.Span, fn func(*waybill.Record) error) (ReadResult, error) {
	if tp.Topic != s.cfg.Topic {
		return ReadResult{}, &waybill.Error{Op: "kafka.read_span", Position: position(tp, span.First), Class: waybill.ClassBug, Err: errors.New("not the session's topic")}
	}
	r := &spanReader{s: s, tp: tp, span: span, fn: fn, out: ReadResult{Next: span.First, LastOffset: -1}}
	if err := r.findExtent(ctx); err != nil {
		return r.out, err
	}
	for r.out.Next < min(span.Next, r.out.End) {
		if err := r.step(ctx); err != nil {
			return r.out, err
		}
	}
	return r.out, nil
}

type spanReader struct {
	s        *Session
	tp       waybill.TopicPartition
	span     waybill.Span
	fn       func(*waybill.Record) error
	out      ReadResult
	leader   int32
	known    bool // leader is set
	failures int  // in a row
}

// findExtent asks how far the log reaches now and puts the position inside it.
func (r *spanReader) findExtent(ctx context.Context) error {
	parts := []PartitionInfo{{Partition: r.tp.Partition}}
	if err := r.s.fillExtents(ctx, parts); err != nil {
		return err
	}
	r.out.LogStart, r.out.End = parts[0].LogStart, parts[0].StableEnd
	if r.s.cfg.Isolation == ReadUncommitted {
		r.out.End = parts[0].End
	}
	r.out.Next = min(max(r.out.Next, r.out.LogStart), max(r.span.Next, r.span.First))
	return nil
}

// step fetches once. The wait is the broker's: it answers as soon as it has a byte.
func (r *spanReader) step(ctx context.Context) error {
	if !r.known {
		if err := r.findLeader(ctx); err != nil {
			return r.failed(ctx, err)
		}
	}
	part, err := r.fetch(ctx)
	if err != nil {
		r.known = false
		return r.failed(ctx, err)
	}
	opts := kgo.ProcessFetchPartitionOpts{
		KeepControlRecords: true, Offset: r.out.Next, IsolationLevel: r.s.cfg.isolation(), Topic: r.tp.Topic, Partition: r.tp.Partition,
	}
	fp, next := kgo.ProcessFetchPartition(opts, part, kgo.DefaultDecompressor(), nil)
	if fp.Err != nil && len(fp.Records) == 0 {
		return r.failed(ctx, fp.Err)
	}
	if next <= r.out.Next { // an empty answer: the end may have moved back
		return r.failed(ctx, errNoProgress)
	}
	r.failures = 0
	return r.deliver(fp.Records, next)
}

func (r *spanReader) deliver(records []*kgo.Record, next int64) error {
	a := newArena(1)
	defer a.free()
	for _, kr := range records {
		if kr.Offset >= r.span.Next {
			break
		}
		a.records, a.headers = a.records[:0], a.headers[:0]
		a.add(kr)
		rec := &a.records[0]
		if !rec.Control {
			r.out.Records++
			r.out.LastOffset = rec.Offset
		}
		if err := r.fn(rec); err != nil {
			return err
		}
		r.out.Next = rec.Offset + 1
	}
	r.out.Next = min(next, r.span.Next)
	return nil
}

var errNoProgress = errors.New("the broker answers without records below the end of the log")

const (
	spanMaxWait    = 500 * time.Millisecond
	spanRetryPause = 50 * time.Millisecond
	spanTries      = 10 // a topic id may be unknown for a moment, a leader may be moving: then the caller decides
)

// failed decides whether to try again: what heals is tried again a few times, with fresh metadata and extent.
func (r *spanReader) failed(ctx context.Context, err error) error {
	e := classify("kafka.read_span", err, position(r.tp, r.out.Next))
	r.failures++
	passing := e.Class.Heals() || errors.Is(err, kerr.OffsetOutOfRange) || errors.Is(err, kerr.UnknownTopicID)
	if !passing || r.failures >= spanTries {
		return e
	}
	if err := pause(ctx, time.Duration(r.failures)*spanRetryPause); err != nil {
		return classify("kafka.read_span", err, e.Position)
	}
	if err := r.findExtent(ctx); err != nil && ctx.Err() != nil {
		return err
	}
	return nil
}

func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}

func (r *spanReader) findLeader(ctx context.Context) error {
	_, topic, err := r.s.metadata(ctx)
	if err != nil {
		return err
	}
	if topic.TopicID != r.s.topicID {
		return kerr.InconsistentTopicID
	}
	for _, p := range topic.Partitions {
		if p.Partition == r.tp.Partition {
			r.leader, r.known = p.Leader, p.Leader >= 0
			return kerr.ErrorForCode(p.ErrorCode)
		}
	}
	return kerr.UnknownTopicOrPartition
}

func (r *spanReader) fetch(ctx context.Context) (*kmsg.FetchResponseTopicPartition, error) {
	part := kmsg.NewFetchRequestTopicPartition()
	part.Partition, part.FetchOffset = r.tp.Partition, r.out.Next
	part.PartitionMaxBytes = r.s.cfg.PartitionMaxBytes
	topic := kmsg.NewFetchRequestTopic()
	topic.Topic, topic.TopicID = r.tp.Topic, r.s.topicID
	topic.Partitions = append(topic.Partitions, part)
	req := kmsg.NewPtrFetchRequest()
	req.MaxWaitMillis = int32(spanMaxWait.Milliseconds())
	req.MinBytes, req.MaxBytes = 1, r.s.cfg.FetchMaxBytes
	req.SessionEpoch = -1 // no fetch session
	if r.s.cfg.Isolation == ReadCommitted {
		req.IsolationLevel = 1
	}
	req.Topics = append(req.Topics, topic)
	answer, err := r.s.asker.Broker(int(r.leader)).RetriableRequest(ctx, req)
	if err != nil {
		return nil, err
	}
	return onlyPartition(answer.(*kmsg.FetchResponse))
}

func onlyPartition(resp *kmsg.FetchResponse) (*kmsg.FetchResponseTopicPartition, error) {
	if err := kerr.ErrorForCode(resp.ErrorCode); err != nil {
		return nil, err
	}
	if len(resp.Topics) != 1 || len(resp.Topics[0].Partitions) != 1 {
		return nil, fmt.Errorf("fetch: %d topics answered for one partition", len(resp.Topics))
	}
	p := &resp.Topics[0].Partitions[0]
	return p, kerr.ErrorForCode(p.ErrorCode)
}
