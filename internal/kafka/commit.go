package kafka

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/waybill-data/waybill"
)

// CommitEntry is one partition's part of a commit.
type CommitEntry struct {
	Offset      int64  // the next offset to read
	LeaderEpoch int32  // of the last record before Offset; -1 if unknown
	Metadata    string // UTF-8; the broker counts its characters against offset.metadata.max.bytes
}

// CommitError is one partition's answer to a commit.
type CommitError struct {
	Err *waybill.Error
	// NotApplied: the broker certainly did not write this offset, now or later. False means that it may have.
	NotApplied bool
}

func (e *CommitError) Error() string { return e.Err.Error() }

func (e *CommitError) Unwrap() error { return e.Err }

// NotApplied reports whether err says that a commit certainly changed nothing.
func NotApplied(err error) bool {
	var e *CommitError
	return errors.As(err, &e) && e.NotApplied
}

// committer keeps one commit outstanding and remembers the coordinator.
type committer struct {
	mu          sync.Mutex
	coordinator int32
	known       bool  // coordinator is set
	broken      error // a commit of unknown outcome: no further one in this membership
}

var (
	errUnanswered  = errors.New("the broker's answer leaves this partition out")
	errUnknown     = errors.New("an earlier commit's outcome is unknown; leave the group and join again")
	errNotHeld     = errors.New("the partition is not held")
	errOutstanding = errors.New("another commit is outstanding")
	errNotJoined   = errors.New("not a member of the group yet")
)

// Commit sends one OffsetCommit for what build returns, once, and waits for the answer.
//
// The member id and generation are taken first and build is called then, so that the ownership which build sees is never
// older than the generation that the broker will check. If build names a partition that is not held, nothing is sent.
// An empty map sends nothing.
//
// The map has an entry, nil for success, for each partition that build named. The error is set if the outcome of any of
// them is unknown: the request may still be applied, at any time until the membership ends, so this Session commits no
// more. If the error is a *CommitError with NotApplied, nothing was sent and nothing is broken.
func (s *Session) Commit(ctx context.Context, build func() map[waybill.TopicPartition]CommitEntry) (map[waybill.TopicPartition]error, error) {
	if !s.commit.mu.TryLock() {
		return nil, notSent(waybill.ClassBug, errOutstanding)
	}
	defer s.commit.mu.Unlock()
	if s.commit.broken != nil {
		return nil, notSent(waybill.ClassFenced, s.commit.broken)
	}
	node, err := s.coordinator(ctx)
	if err != nil {
		return nil, &CommitError{Err: classify("kafka.commit", err, nowhere), NotApplied: true}
	}
	req, err := s.beginCommit()
	if err != nil {
		return nil, err
	}
	entries := build()
	if len(entries) == 0 {
		return nil, nil
	}
	if refusals := s.unheld(entries); refusals != nil {
		return refusals, nil
	}
	fillCommit(req, s.cfg.Topic, s.topicID, entries)
	return s.send(ctx, node, req, entries)
}

// beginCommit fixes who commits: the member and its generation as they are before build looks at ownership.
func (s *Session) beginCommit() (*kmsg.OffsetCommitRequest, error) {
	memberID, generation := s.member.GroupMetadata()
	s.mu.Lock()
	ours, over := s.memberID, s.err
	s.mu.Unlock()
	switch {
	case over != nil:
		return nil, notSent(waybill.ClassFenced, over)
	case ours == "" || generation < 0:
		return nil, notSent(waybill.ClassRetryable, errNotJoined)
	case ours != memberID:
		return nil, notSent(waybill.ClassFenced, errNewMember)
	}
	req := kmsg.NewPtrOffsetCommitRequest()
	req.Group, req.MemberID, req.Generation = s.cfg.Group, memberID, generation
	return req, nil
}

// unheld refuses the commit as a whole if any partition of it is not ours: an intent in part is none.
func (s *Session) unheld(entries map[waybill.TopicPartition]CommitEntry) map[waybill.TopicPartition]error {
	s.mu.Lock()
	defer s.mu.Unlock()
	ok := true
	for tp := range entries {
		ok = ok && s.held[tp] != nil
	}
	if ok {
		return nil
	}
	refusals := make(map[waybill.TopicPartition]error, len(entries))
	for tp := range entries {
		refusals[tp] = &CommitError{
			Err:        &waybill.Error{Op: "kafka.commit", Position: position(tp, -1), Class: waybill.ClassFenced, Err: errNotHeld},
			NotApplied: true,
		}
	}
	return refusals
}

func fillCommit(req *kmsg.OffsetCommitRequest, topic string, id TopicID, entries map[waybill.TopicPartition]CommitEntry) {
	t := kmsg.NewOffsetCommitRequestTopic()
	t.Topic, t.TopicID = topic, id
	for tp, e := range entries {
		p := kmsg.NewOffsetCommitRequestTopicPartition()
		p.Partition, p.Offset, p.LeaderEpoch, p.Metadata = tp.Partition, e.Offset, e.LeaderEpoch, &e.Metadata
		t.Partitions = append(t.Partitions, p)
	}
	req.Topics = append(req.Topics, t)
}

// send issues the request to one broker, which the client does without any retry, and reads the answer.
func (s *Session) send(ctx context.Context, node int32, req *kmsg.OffsetCommitRequest, entries map[waybill.TopicPartition]CommitEntry) (map[waybill.TopicPartition]error, error) {
	answer, err := s.member.Broker(int(node)).Request(ctx, req)
	if err != nil {
		s.commit.known = false
		return nil, s.breakCommit(classify("kafka.commit", err, nowhere))
	}
	codes := commitCodes(answer.(*kmsg.OffsetCommitResponse))
	results := make(map[waybill.TopicPartition]error, len(entries))
	var unknown *waybill.Error
	for tp := range entries {
		result := commitResult(tp, codes)
		if result == nil {
			results[tp] = nil
			continue
		}
		results[tp] = result
		if !result.NotApplied {
			s.commit.known = false
			unknown = result.Err
		}
	}
	if unknown != nil {
		return results, s.breakCommit(unknown)
	}
	return results, nil
}

func (s *Session) breakCommit(err *waybill.Error) error {
	s.commit.broken = fmt.Errorf("%w (%w)", errUnknown, err.Err)
	return err
}

func commitCodes(resp *kmsg.OffsetCommitResponse) map[int32]int16 {
	codes := make(map[int32]int16)
	for _, t := range resp.Topics { // one topic was asked for, by id or by name
		for _, p := range t.Partitions {
			codes[p.Partition] = p.ErrorCode
		}
	}
	return codes
}

func commitResult(tp waybill.TopicPartition, codes map[int32]int16) *CommitError {
	code, answered := codes[tp.Partition]
	if !answered {
		return &CommitError{Err: classify("kafka.commit", errUnanswered, position(tp, -1))}
	}
	err := kerr.ErrorForCode(code)
	if err == nil {
		return nil
	}
	r, _, _ := ruleFor(err)
	return &CommitError{Err: classify("kafka.commit", err, position(tp, -1)), NotApplied: r.refused}
}

func notSent(class waybill.Class, err error) error {
	return &CommitError{Err: &waybill.Error{Op: "kafka.commit", Position: nowhere, Class: class, Err: err}, NotApplied: true}
}

// coordinator finds the broker that keeps the group's offsets; asking changes nothing, so the client may retry that.
func (s *Session) coordinator(ctx context.Context) (int32, error) {
	if s.commit.known {
		return s.commit.coordinator, nil
	}
	req := kmsg.NewPtrFindCoordinatorRequest()
	req.CoordinatorType, req.CoordinatorKey, req.CoordinatorKeys = 0, s.cfg.Group, []string{s.cfg.Group}
	resp, err := req.RequestWith(ctx, s.member)
	if err != nil {
		return 0, err
	}
	node, code := resp.NodeID, resp.ErrorCode
	for _, c := range resp.Coordinators {
		node, code = c.NodeID, c.ErrorCode
	}
	if err := kerr.ErrorForCode(code); err != nil {
		return 0, err
	}
	s.commit.coordinator, s.commit.known = node, true
	return node, nil
}
