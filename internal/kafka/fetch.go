package kafka

import (
	"cmp"
	"context"
	"errors"
	"slices"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/waybill-data/waybill"
)

// StartAt is a position to fetch from.
type StartAt struct {
	waybill.TopicPartition
	Offset int64
	// LeaderEpoch of the record before Offset, as committed; -1 skips the check that the log was not cut since.
	LeaderEpoch int32
}

// PartitionRecords is what one Poll brings of one partition.
type PartitionRecords struct {
	waybill.TopicPartition
	// Instance is the assignment for which the records were read. A receiver drops them if Session.Instance says otherwise
	// by the time it acts.
	Instance uint64
	// Records in offset order, transaction markers included (Control). Offsets have holes where records were compacted
	// away or belong to aborted transactions. They and their bytes are the receiver's until Fetched.Recycle: whatever
	// is kept for longer has to be copied.
	Records          []waybill.Record
	HighWatermark    int64
	LastStableOffset int64
	LogStartOffset   int64
}

// PartitionError is why a partition stopped. It stays stopped until the next Start.
type PartitionError struct {
	waybill.TopicPartition
	Instance uint64
	Problem  FetchProblem
	Err      *waybill.Error
}

// Fetched is the result of one Poll.
type Fetched struct {
	Partitions []PartitionRecords // at most one per partition, in order
	Errors     []PartitionError

	raw   kgo.Fetches
	arena *arena
}

// Recycle gives the memory of the records back, to be filled again by other fetches: no record of f, no key, value
// or header of one may be looked at any more. Not to call it is safe, and costs the garbage collector a fetch.
func (f *Fetched) Recycle() {
	f.raw.EachRecord((*kgo.Record).Recycle)
	if f.arena != nil {
		f.arena.free()
	}
	*f = Fetched{}
}

// Start begins fetching held partitions at the given positions, or moves those that are being fetched already. What an
// earlier position had buffered is dropped. Partitions that are not held are left out: their assignment is gone.
func (s *Session) Start(positions ...StartAt) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.awaitPollLocked()
	add := make(map[int32]kgo.Offset, len(positions))
	for _, at := range positions {
		in := s.held[at.TopicPartition]
		if in == nil || at.Topic != s.cfg.Topic {
			continue
		}
		s.stopLocked(at.TopicPartition)
		in.started, in.next = true, at.Offset
		add[at.Partition] = kgo.NewOffset().At(at.Offset).WithEpoch(at.LeaderEpoch)
	}
	s.reader.AddConsumePartitions(map[string]map[int32]kgo.Offset{s.cfg.Topic: add})
}

// awaitPollLocked makes a poll under way return what it has, and waits until it has done so: records read before a Start
// must never be taken for records read after it. mu is held on return.
func (s *Session) awaitPollLocked() {
	s.starters++
	if s.polling {
		s.stopPoll()
	}
	for s.polling {
		s.polls.Wait()
	}
	s.starters--
	s.polls.Broadcast()
}

// stopLocked makes the reader forget a partition and what it had buffered of it.
func (s *Session) stopLocked(tp waybill.TopicPartition) {
	if in := s.held[tp]; in == nil || !in.started {
		return
	}
	s.held[tp].started = false
	parts := map[string][]int32{tp.Topic: {tp.Partition}}
	s.reader.ResumeFetchPartitions(parts)
	s.reader.RemoveConsumePartitions(parts)
}

// Stop ends fetching of partitions and drops what is buffered of them; Start begins anew.
func (s *Session) Stop(tps ...waybill.TopicPartition) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, tp := range tps {
		s.stopLocked(tp)
	}
}

// Pause stops fetching of partitions where they are; Poll returns nothing of them until Resume. Heartbeats go on.
func (s *Session) Pause(tps ...waybill.TopicPartition) {
	s.reader.PauseFetchPartitions(byTopic(tps))
}

// Resume undoes Pause.
func (s *Session) Resume(tps ...waybill.TopicPartition) {
	s.reader.ResumeFetchPartitions(byTopic(tps))
}

func byTopic(tps []waybill.TopicPartition) map[string][]int32 {
	m := make(map[string][]int32)
	for _, tp := range tps {
		m[tp.Topic] = append(m[tp.Topic], tp.Partition)
	}
	return m
}

// Poll waits for records of started partitions and returns at most maxRecords of them (0: all that is buffered). It
// returns ctx's error when ctx ends first, and the Session's when the membership is over.
func (s *Session) Poll(ctx context.Context, maxRecords int) (Fetched, error) {
	for {
		fetched, err := s.poll(ctx, maxRecords)
		if err != nil || len(fetched.Partitions) > 0 || len(fetched.Errors) > 0 {
			return fetched, err
		}
	}
}

func (s *Session) poll(ctx context.Context, maxRecords int) (Fetched, error) {
	pollCtx, stop := context.WithCancel(ctx)
	defer stop()
	if err := s.beginPoll(stop); err != nil {
		return Fetched{}, err
	}
	fetches := s.reader.PollRecords(pollCtx, maxRecords)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.polling, s.stopPoll = false, nil
	s.polls.Broadcast()
	if s.err != nil {
		fetches.EachRecord((*kgo.Record).Recycle)
		return Fetched{}, s.err
	}
	fetched := s.collectLocked(fetches)
	if err := overlong(fetches); err != nil {
		return fetched, err
	}
	if len(fetched.Partitions) == 0 && len(fetched.Errors) == 0 {
		fetched.Recycle()
		return Fetched{}, ctx.Err()
	}
	return fetched, nil
}

// overlong is the error of an answer that is too large to be read, which the client can pin on no partition.
func overlong(fetches kgo.Fetches) error {
	for _, e := range fetches.Errors() {
		if e.Topic == "" && !isContext(e.Err) && !errors.Is(e.Err, kgo.ErrClientClosed) {
			out := classify("kafka.fetch", e.Err, nowhere)
			out.Hint = "a record batch of the topic is larger than Waybill reads, 100 MiB: have producers make smaller ones (max.message.bytes), and skip it with a raised epoch"
			return out
		}
	}
	return nil
}

func (s *Session) beginPoll(stop context.CancelFunc) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.err == nil && (s.polling || s.starters > 0) {
		s.polls.Wait()
	}
	if s.err != nil {
		return s.err
	}
	s.polling, s.stopPoll = true, stop
	return nil
}

// collectLocked keeps what belongs to started instances, and stops those that met an error.
func (s *Session) collectLocked(fetches kgo.Fetches) Fetched {
	out := Fetched{raw: fetches, arena: newArena(fetches.NumRecords())}
	at := make(map[waybill.TopicPartition]int)
	fetches.EachPartition(func(p kgo.FetchTopicPartition) {
		tp := waybill.TopicPartition{Topic: p.Topic, Partition: p.Partition}
		in := s.held[tp]
		if in == nil || !in.started {
			return
		}
		if len(p.Records) > 0 {
			i, seen := at[tp]
			if !seen {
				i = len(out.Partitions)
				at[tp] = i
				out.Partitions = append(out.Partitions, PartitionRecords{TopicPartition: tp, Instance: in.number})
			}
			out.Partitions[i].add(p.FetchPartition, in, out.arena)
		}
		if p.Err != nil {
			out.Errors = append(out.Errors, PartitionError{tp, in.number, fetchProblem(p.Err), classify("kafka.fetch", p.Err, position(tp, in.next))})
		}
	})
	for _, e := range out.Errors {
		s.stopLocked(e.TopicPartition)
	}
	out.dropAfterTruncation()
	slices.SortFunc(out.Partitions, func(a, b PartitionRecords) int { return a.Compare(b.TopicPartition) })
	slices.SortFunc(out.Errors, func(a, b PartitionError) int {
		return cmp.Or(a.Compare(b.TopicPartition), cmp.Compare(a.Problem, b.Problem))
	})
	return out
}

// dropAfterTruncation removes records of partitions whose log was cut: the client goes on by itself at the cut, and what
// it read from there on must not follow what was read before.
func (f *Fetched) dropAfterTruncation() {
	f.Partitions = slices.DeleteFunc(f.Partitions, func(p PartitionRecords) bool {
		return len(p.Records) == 0 || slices.ContainsFunc(f.Errors, func(e PartitionError) bool {
			return e.TopicPartition == p.TopicPartition && e.Problem == ProblemTruncated
		})
	})
}

// add converts a partition's records. Offsets below in.next have been returned before.
func (p *PartitionRecords) add(from kgo.FetchPartition, in *instance, a *arena) {
	p.HighWatermark, p.LastStableOffset, p.LogStartOffset = from.HighWatermark, from.LastStableOffset, from.LogStartOffset
	first := len(a.records)
	for _, r := range from.Records {
		if r.Offset < in.next {
			continue
		}
		in.next = r.Offset + 1
		a.add(r)
	}
	if added := a.records[first:len(a.records):len(a.records)]; p.Records == nil {
		p.Records = added
	} else { // two sources in one poll, which is when its leader has just moved
		p.Records = append(p.Records, added...)
	}
}

// logAppendTime is Kafka's number for timestamps that the broker sets.
const logAppendTime = 1

// record is r but for its headers. It aliases r's key and value.
func record(r *kgo.Record) waybill.Record {
	out := waybill.Record{
		Topic: r.Topic, Partition: r.Partition, Offset: r.Offset, LeaderEpoch: r.LeaderEpoch,
		Time: r.Timestamp.UnixMilli(), Appended: r.Attrs.TimestampType() == logAppendTime,
		Key: r.Key, Value: r.Value,
		Control: r.Attrs.IsControl(),
	}
	if out.Control {
		out.Key, out.Value = nil, nil // the marker's own encoding is nobody's data
	}
	return out
}

var errNoSuchTopic = errors.New("the topic does not exist")
