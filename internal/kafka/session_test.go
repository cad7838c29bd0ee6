package kafka

import (
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/kversion"

	"github.com/waybill-data/waybill"
)

// TestSession_NewMemberIDEndsIt: a client that is told UNKNOWN_MEMBER_ID while it joins again becomes another member
// without a word, keeping its assignment. For the Session that is a loss.
func TestSession_NewMemberIDEndsIt(t *testing.T) {
	e := kfakeEnv(t, ProtocolClassic).with(t, 1, nil)
	a := e.open()
	a.waitHeld(1)
	var forgotten atomic.Bool
	e.fake.ControlKey(kmsg.JoinGroup.Int16(), func(req kmsg.Request) (kmsg.Response, error, bool) {
		join := req.(*kmsg.JoinGroupRequest)
		if join.MemberID != a.memberID || forgotten.Swap(true) {
			e.fake.KeepControl()
			return nil, nil, false
		}
		resp := join.ResponseKind().(*kmsg.JoinGroupResponse)
		resp.ErrorCode = kerr.UnknownMemberID.Code
		return resp, nil, true
	})
	a.member.ForceRebalance()
	select {
	case <-a.Done():
	case <-time.After(within):
		t.Fatal("the Session lives on under another member id")
	}
	if !forgotten.Load() {
		t.Fatal("the fault was not seen")
	}
	if !errors.Is(a.Err(), errNewMember) {
		t.Errorf("error %v", a.Err())
	}
	if len(a.lost) != 1 || len(a.holds()) != 0 || a.LeaseValid() {
		t.Errorf("lost %v, holds %v, lease %v", a.lost, a.holds(), a.LeaseValid())
	}
}

// TestOpen_NoSilentFallbackToClassic: asked for KIP-848 of a broker that has it switched off, the client would quietly
// use the classic protocol.
func TestOpen_NoSilentFallbackToClassic(t *testing.T) {
	c, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.MaxVersions(kversion.V3_7_0()))
	must(t, err)
	t.Cleanup(c.Close)
	e := (env{engine: "kfake", protocol: ProtocolClassic, brokers: c.ListenAddrs(), fake: c}).with(t, 1, nil)
	m := e.open(func(c *Config) { c.Protocol, c.SessionTimeout = ProtocolConsumer, 10*time.Second })
	select {
	case <-m.Done():
	case <-time.After(within):
		t.Fatal("it goes on under another protocol")
	}
	if waybill.ClassOf(m.Err()) != waybill.ClassConfig {
		t.Errorf("error %v", m.Err())
	}
	if len(m.holds()) != 0 {
		t.Errorf("holds %v", m.holds())
	}
}

func TestOpen_Refuses(t *testing.T) {
	e := kfakeEnv(t, ProtocolClassic).with(t, 1, nil)
	for name, edit := range map[string]func(*Config){
		"no group":           func(c *Config) { c.Group = "" },
		"unknown protocol":   func(c *Config) { c.Protocol = "eager" },
		"unknown isolation":  func(c *Config) { c.Isolation = "dirty" },
		"a topic not there":  func(c *Config) { c.Topic = "nowhere" },
		"an impossible name": func(c *Config) { c.Topic = "a/b" },
	} {
		c := e.config()
		edit(&c)
		s, err := Open(t.Context(), c, Callbacks{})
		if waybill.ClassOf(err) != waybill.ClassConfig {
			t.Errorf("%s: %v", name, err)
		}
		if s != nil {
			s.Close(true)
		}
	}
}

// TestCommit_BuiltAfterGeneration: what build sees of ownership is never older than the generation that is sent.
func TestCommit_BuiltAfterGeneration(t *testing.T) {
	e := kfakeEnv(t, ProtocolClassic).with(t, 2, nil)
	a := e.open()
	a.waitHeld(2)
	_, before := a.member.GroupMetadata()
	var sent atomic.Int32
	watch := e.fake.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.OffsetCommit}, Observe: true, Count: -1, When: func(req kmsg.Request) bool {
		sent.Store(req.(*kmsg.OffsetCommitRequest).Generation)
		return true
	}})
	results, err := a.Commit(t.Context(), func() map[waybill.TopicPartition]CommitEntry {
		b := e.open() // a whole rebalance happens inside build
		b.waitHeld(1)
		return map[waybill.TopicPartition]CommitEntry{a.waitHeld(1)[0]: {Offset: 1, LeaderEpoch: -1}}
	})
	must(t, err)
	must(t, watch.Wait(t.Context(), 1))
	if sent.Load() != before {
		t.Errorf("generation %d was sent, %d was taken", sent.Load(), before)
	}
	for tp, err := range results {
		if waybill.ClassOf(err) != waybill.ClassFenced || !NotApplied(err) {
			t.Errorf("%s: %v", tp, err)
		}
	}
}

func TestCommit_Answers(t *testing.T) {
	for _, c := range []struct {
		err        *kerr.Error
		class      waybill.Class
		notApplied bool
	}{
		{kerr.IllegalGeneration, waybill.ClassFenced, true},
		{kerr.UnknownMemberID, waybill.ClassFenced, true},
		{kerr.RebalanceInProgress, waybill.ClassRetryable, true},
		{kerr.CoordinatorLoadInProgress, waybill.ClassRetryable, true},
		{kerr.OffsetMetadataTooLarge, waybill.ClassConfig, true},
		{kerr.GroupAuthorizationFailed, waybill.ClassDenied, true},
		{kerr.NotCoordinator, waybill.ClassRetryable, false},
		{kerr.CoordinatorNotAvailable, waybill.ClassRetryable, false},
		{kerr.RequestTimedOut, waybill.ClassRetryable, false},
		{kerr.UnknownServerError, waybill.ClassRetryable, false},
		{kerr.PolicyViolation, waybill.ClassUnknown, false}, // not in the table: assume nothing
	} {
		t.Run(c.err.Message, func(t *testing.T) {
			e := kfakeEnv(t, ProtocolClassic).with(t, 1, nil)
			m := e.open()
			m.waitHeld(1)
			sent := e.fake.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.OffsetCommit}, Observe: true, Count: -1})
			e.fake.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.OffsetCommit}, Group: e.group, Err: c.err, Count: -1})
			results, err := m.commitAll(CommitEntry{Offset: 1, LeaderEpoch: -1}, e.tp(0))
			if (err == nil) != c.notApplied {
				t.Errorf("error %v", err)
			}
			got := results[e.tp(0)]
			if waybill.ClassOf(got) != c.class || NotApplied(got) != c.notApplied {
				t.Errorf("got %v (%s), not applied: %v", got, waybill.ClassOf(got), NotApplied(got))
			}
			if sent.Hits() > 1 {
				t.Errorf("%d requests", sent.Hits())
			}
			_, err = m.commitAll(CommitEntry{Offset: 1, LeaderEpoch: -1}, e.tp(0))
			if broken := errors.Is(err, errUnknown); broken == c.notApplied {
				t.Errorf("the next commit: %v", err)
			}
		})
	}
}

// TestPoll_TruncatedLogStops: the log was cut below the position since it was committed. The client would report it and
// go on from the cut by itself.
func TestPoll_TruncatedLogStops(t *testing.T) {
	e := kfakeEnv(t, ProtocolClassic).with(t, 1, nil)
	e.produceN(0, 10)
	e.fake.ControlKey(kmsg.OffsetForLeaderEpoch.Int16(), func(kreq kmsg.Request) (kmsg.Response, error, bool) {
		req := kreq.(*kmsg.OffsetForLeaderEpochRequest)
		resp := req.ResponseKind().(*kmsg.OffsetForLeaderEpochResponse)
		p := kmsg.NewOffsetForLeaderEpochResponseTopicPartition()
		p.LeaderEpoch, p.EndOffset = 0, 4
		topic := kmsg.NewOffsetForLeaderEpochResponseTopic()
		topic.Topic, topic.Partitions = e.topic, append(topic.Partitions, p)
		resp.Topics = append(resp.Topics, topic)
		return resp, nil, true
	})
	m := e.open()
	m.waitHeld(1)
	m.Start(StartAt{e.tp(0), 8, 0})
	records, errs := m.collect(func(r []waybill.Record, errs []PartitionError) bool { return len(r)+len(errs) > 0 })
	if len(records) > 0 || errs[0].Problem != ProblemTruncated || errs[0].Err.Class != waybill.ClassFenced {
		t.Fatalf("got %v, %+v", offsets(records), errs)
	}
	m.nothingFor(200 * time.Millisecond)
}
