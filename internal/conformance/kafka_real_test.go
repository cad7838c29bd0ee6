package conformance_test

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/kversion"

	"github.com/waybill-data/waybill/internal/conformance"
	"github.com/waybill-data/waybill/internal/testenv"
)

// realSession is the session timeout of the suite's members; their rebalance timeout is two of them.
const realSession = time.Second

var fixtures atomic.Int64

// broker drives a Kafka broker through the suite's port: the group protocol by its bare requests.
type broker struct {
	t            *testing.T
	addr         string
	topic, group string
	partitions   int32
	cl           *kgo.Client // for everything but joining and syncing
	adm          *kadm.Client
	members      map[string]*process
	gone         map[string]conformance.Ticket // of members that were put out
	leader       string                        // member id
}

// process is one member with a connection of its own, as joining blocks.
type process struct {
	name       string
	cl         *kgo.Client
	ticket     conformance.Ticket
	generation int32 // of the latest join, not synced yet
	joined     chan joined
}

type joined struct {
	resp *kmsg.JoinGroupResponse
	err  error
}

var _ conformance.Kafka = (*broker)(nil)

func newBroker(addr string) func(t *testing.T, own bool) conformance.Kafka {
	return func(t *testing.T, _ bool) conformance.Kafka {
		n := fixtures.Add(1)
		b := &broker{t: t, addr: addr, topic: fmt.Sprintf("conformance-%d", n), group: fmt.Sprintf("group-%d", n), partitions: 2, members: map[string]*process{}, gone: map[string]conformance.Ticket{}}
		b.cl = b.client()
		b.adm = kadm.NewClient(b.cl)
		b.createTopic()
		testenv.Eventually(t, patience, "the group has a coordinator", func() bool {
			_, err := b.adm.DescribeGroups(t.Context(), b.group)
			return err == nil
		})
		return b
	}
}

func (b *broker) client(opts ...kgo.Opt) *kgo.Client {
	b.t.Helper()
	// Up to 3.0 requests name topics; later ones use ids, which these requests would have to look up.
	cl, err := kgo.NewClient(append(opts, kgo.SeedBrokers(b.addr), kgo.MetadataMinAge(100*time.Millisecond), kgo.MaxVersions(kversion.V3_0_0()))...)
	b.check(err)
	b.t.Cleanup(cl.Close)
	return cl
}

func (b *broker) check(err error) {
	b.t.Helper()
	if err != nil {
		b.t.Fatal(err)
	}
}

func (b *broker) createTopic() {
	b.t.Helper()
	testenv.Eventually(b.t, patience, "the topic is created", func() bool {
		_, err := b.adm.CreateTopic(b.t.Context(), b.partitions, 1, nil, b.topic)
		if err != nil && !errors.Is(err, kerr.TopicAlreadyExists) { // a deletion under way
			b.t.Fatal(err)
		}
		return err == nil
	})
	b.waitMetadata()
}

func (b *broker) waitMetadata() {
	b.t.Helper()
	testenv.Eventually(b.t, patience, "the topic has its partitions and leaders", func() bool {
		ends, err := b.adm.ListEndOffsets(b.t.Context(), b.topic)
		return err == nil && ends.Error() == nil && len(ends[b.topic]) == int(b.partitions)
	})
}

func (b *broker) Form(names ...string) {
	b.t.Helper()
	newcomer := false
	for _, name := range names {
		if b.members[name] == nil {
			newcomer = true
			b.rebalance(name)
		}
	}
	if !newcomer { // only the leader's joining again makes a stable group rebalance
		for name, p := range b.members {
			if p.ticket.MemberID == b.leader {
				b.rebalance(name)
				return
			}
		}
		b.t.Fatal("the group's leader is gone")
	}
}

// rebalance lets a process join, then all others, to the end.
func (b *broker) rebalance(first string) {
	b.t.Helper()
	b.startJoin(first)
	if len(b.members) > 1 {
		b.waitJoining(first)
	}
	for name := range b.members {
		b.startJoin(name)
	}
	b.Rejoin()
	b.Sync()
}

func (b *broker) Begin(name string) {
	b.t.Helper()
	b.startJoin(name)
	b.waitJoining(name)
}

// waitJoining waits until the coordinator knows of a newcomer: it has been given a member id, and the
// group does not count as stable.
func (b *broker) waitJoining(name string) {
	b.t.Helper()
	testenv.Eventually(b.t, patience, name+" is joining", func() bool { return b.State() != "Stable" && b.State() != "Empty" && b.State() != "Dead" })
}

// startJoin sends a JoinGroup; its answer comes when all members have joined.
func (b *broker) startJoin(name string) {
	b.t.Helper()
	p := b.members[name]
	if p == nil {
		p = &process{name: name, cl: b.client()}
		b.members[name] = p
	}
	if p.joined != nil {
		return
	}
	p.joined = make(chan joined, 1)
	go func(done chan<- joined) {
		resp, err := b.join(p)
		done <- joined{resp, err}
	}(p.joined)
}

func (b *broker) join(p *process) (*kmsg.JoinGroupResponse, error) {
	meta := kmsg.NewConsumerMemberMetadata()
	meta.Version, meta.Topics = 1, []string{b.topic}
	proto := kmsg.NewJoinGroupRequestProtocol()
	proto.Name, proto.Metadata = "cooperative-sticky", meta.AppendTo(nil)
	req := kmsg.NewPtrJoinGroupRequest()
	req.Group, req.ProtocolType, req.MemberID = b.group, "consumer", p.ticket.MemberID
	req.SessionTimeoutMillis = int32(realSession.Milliseconds())
	req.RebalanceTimeoutMillis = 2 * req.SessionTimeoutMillis
	req.Protocols = append(req.Protocols, proto)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for {
		resp, err := req.RequestWith(ctx, p.cl)
		if err != nil {
			return nil, err
		}
		if err = kerr.ErrorForCode(resp.ErrorCode); errors.Is(err, kerr.MemberIDRequired) {
			req.MemberID = resp.MemberID
			continue
		}
		return resp, err
	}
}

func (b *broker) Rejoin(names ...string) {
	b.t.Helper()
	for _, name := range names {
		b.startJoin(name)
	}
	for _, p := range b.members {
		if p.joined == nil {
			continue
		}
		j := <-p.joined
		p.joined = nil
		b.check(j.err)
		p.ticket.MemberID, p.generation, b.leader = j.resp.MemberID, j.resp.Generation, j.resp.LeaderID
	}
}

func (b *broker) Sync() {
	b.t.Helper()
	for _, leaders := range []bool{true, false} {
		for _, p := range b.members {
			if p.generation != 0 && (p.ticket.MemberID == b.leader) == leaders {
				b.sync(p, leaders)
			}
		}
	}
}

// sync fetches an assignment; the leader brings one, in which everything is the leader's.
func (b *broker) sync(p *process, leader bool) {
	b.t.Helper()
	protocolType, protocol := "consumer", "cooperative-sticky"
	req := kmsg.NewPtrSyncGroupRequest()
	req.Group, req.MemberID, req.Generation, req.ProtocolType, req.Protocol = b.group, p.ticket.MemberID, p.generation, &protocolType, &protocol
	if leader {
		assigned := kmsg.NewConsumerMemberAssignment()
		assigned.Topics = []kmsg.ConsumerMemberAssignmentTopic{{Topic: b.topic, Partitions: []int32{0, 1}}}
		mine := kmsg.NewSyncGroupRequestGroupAssignment()
		mine.MemberID, mine.MemberAssignment = p.ticket.MemberID, assigned.AppendTo(nil)
		req.GroupAssignment = append(req.GroupAssignment, mine)
	}
	resp, err := req.RequestWith(b.t.Context(), p.cl)
	b.check(err)
	b.check(kerr.ErrorForCode(resp.ErrorCode))
	p.ticket.Generation, p.generation = p.generation, 0
}

func (b *broker) Leave(name string) {
	b.t.Helper()
	member := kmsg.NewLeaveGroupRequestMember()
	member.MemberID = b.members[name].ticket.MemberID
	req := kmsg.NewPtrLeaveGroupRequest()
	req.Group, req.MemberID, req.Members = b.group, member.MemberID, []kmsg.LeaveGroupRequestMember{member}
	resp, err := req.RequestWith(b.t.Context(), b.cl)
	b.check(err)
	b.check(kerr.ErrorForCode(resp.ErrorCode))
	delete(b.members, name)
}

func (b *broker) Silence(name string, others ...string) {
	b.t.Helper()
	testenv.Eventually(b.t, patience, name+" is put out", func() bool {
		for _, o := range others {
			if b.Heartbeat(b.Ticket(o)) == kerr.RebalanceInProgress.Code {
				return true
			}
		}
		return len(others) == 0 && b.State() == "Empty"
	})
	b.gone[name] = b.members[name].ticket
	delete(b.members, name)
}

func (b *broker) Spend(sessions float64, goOn func() bool) {
	tick := time.NewTicker(realSession / 5)
	defer tick.Stop()
	for end := time.Now().Add(time.Duration(sessions * float64(realSession))); time.Now().Before(end); {
		<-tick.C
		if !goOn() {
			return
		}
	}
}

func (b *broker) Ticket(name string) conformance.Ticket {
	if p := b.members[name]; p != nil {
		return p.ticket
	}
	return b.gone[name]
}

func (b *broker) Heartbeat(as conformance.Ticket) int16 {
	b.t.Helper()
	req := kmsg.NewPtrHeartbeatRequest()
	req.Group, req.MemberID, req.Generation = b.group, as.MemberID, as.Generation
	resp, err := req.RequestWith(b.t.Context(), b.cl)
	b.check(err)
	return resp.ErrorCode
}

func (b *broker) Commit(as conformance.Ticket, entries ...conformance.Entry) map[int32]int16 {
	b.t.Helper()
	topic := kmsg.NewOffsetCommitRequestTopic()
	topic.Topic = b.topic
	for _, e := range entries {
		p := kmsg.NewOffsetCommitRequestTopicPartition()
		p.Partition, p.Offset, p.LeaderEpoch, p.Metadata = e.Partition, e.Offset, e.LeaderEpoch, &e.Metadata
		topic.Partitions = append(topic.Partitions, p)
	}
	req := kmsg.NewPtrOffsetCommitRequest()
	req.Group, req.MemberID, req.Generation = b.group, as.MemberID, as.Generation
	req.Topics = append(req.Topics, topic)
	resp, err := req.RequestWith(b.t.Context(), b.cl)
	b.check(err)
	out := map[int32]int16{}
	for _, t := range resp.Topics {
		for _, p := range t.Partitions {
			out[p.Partition] = p.ErrorCode
		}
	}
	return out
}

func (b *broker) AdminCommit(e conformance.Entry) int16 {
	b.t.Helper()
	return b.Commit(conformance.Ticket{Generation: -1}, e)[e.Partition]
}

func (b *broker) Committed(p int32) conformance.Entry {
	b.t.Helper()
	topic := kmsg.NewOffsetFetchRequestTopic()
	topic.Topic, topic.Partitions = b.topic, []int32{p}
	req := kmsg.NewPtrOffsetFetchRequest()
	req.Group, req.Topics = b.group, []kmsg.OffsetFetchRequestTopic{topic}
	resp, err := req.RequestWith(b.t.Context(), b.cl)
	b.check(err)
	if len(resp.Groups) == 1 && resp.Groups[0].ErrorCode == kerr.GroupIDNotFound.Code {
		return conformance.Entry{Partition: p, Offset: -1, LeaderEpoch: -1} // kfake's way of saying none
	}
	if len(resp.Topics) != 1 || len(resp.Topics[0].Partitions) != 1 {
		b.t.Fatalf("offset fetch answers %+v", resp)
	}
	got := resp.Topics[0].Partitions[0]
	b.check(kerr.ErrorForCode(got.ErrorCode))
	e := conformance.Entry{Partition: p, Offset: got.Offset, LeaderEpoch: got.LeaderEpoch}
	if got.Metadata != nil {
		e.Metadata = *got.Metadata
	}
	return e
}

func (b *broker) DeleteGroup() int16 {
	b.t.Helper()
	req := kmsg.NewPtrDeleteGroupsRequest()
	req.Groups = []string{b.group}
	resp, err := req.RequestWith(b.t.Context(), b.cl)
	b.check(err)
	return resp.Groups[0].ErrorCode
}

func (b *broker) State() string {
	b.t.Helper()
	groups, err := b.adm.DescribeGroups(b.t.Context(), b.group)
	b.check(err)
	return groups[b.group].State
}

func (b *broker) record(p int32) *kgo.Record {
	return &kgo.Record{Topic: b.topic, Partition: p, Value: []byte("x")}
}

func (b *broker) Produce(p int32, n int) {
	b.t.Helper()
	cl := b.client(kgo.RecordPartitioner(kgo.ManualPartitioner()))
	for range n {
		b.check(cl.ProduceSync(b.t.Context(), b.record(p)).FirstErr())
	}
}

func (b *broker) Transaction(p int32, n int, commit bool) {
	b.t.Helper()
	cl := b.client(kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.TransactionalID(b.topic))
	_, before := b.LogEnds(p)
	b.check(cl.BeginTransaction())
	for range n {
		b.check(cl.ProduceSync(b.t.Context(), b.record(p)).FirstErr())
	}
	b.check(cl.EndTransaction(b.t.Context(), kgo.TransactionEndTry(commit)))
	testenv.Eventually(b.t, patience, "the marker is written", func() bool { // the answer may come before
		_, end := b.LogEnds(p)
		return end == before+int64(n)+1
	})
}

func (b *broker) Trim(p int32, offset int64) {
	b.t.Helper()
	var to kadm.Offsets
	to.Add(kadm.Offset{Topic: b.topic, Partition: p, At: offset})
	resp, err := b.adm.DeleteRecords(b.t.Context(), to)
	b.check(errors.Join(err, resp.Error()))
}

func (b *broker) Offsets(p int32) (data, control []int64) {
	b.t.Helper()
	start, end := b.LogEnds(p)
	cl := b.client(kgo.KeepControlRecords(), kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{b.topic: {p: kgo.NewOffset().At(start)}}))
	ctx, cancel := context.WithTimeout(b.t.Context(), patience)
	defer cancel()
	for last := start - 1; last < end-1; { // the suite's logs end in a record or a marker
		fetches := cl.PollFetches(ctx)
		b.check(fetches.Err())
		fetches.EachRecord(func(r *kgo.Record) {
			last = r.Offset
			if r.Attrs.IsControl() {
				control = append(control, r.Offset)
				return
			}
			data = append(data, r.Offset)
		})
	}
	return data, control
}

func (b *broker) LogEnds(p int32) (start, end int64) {
	b.t.Helper()
	starts, err := b.adm.ListStartOffsets(b.t.Context(), b.topic)
	b.check(err)
	ends, err := b.adm.ListEndOffsets(b.t.Context(), b.topic)
	b.check(err)
	s, _ := starts.Lookup(b.topic, p)
	e, _ := ends.Lookup(b.topic, p)
	b.check(errors.Join(s.Err, e.Err))
	return s.Offset, e.Offset
}

func (b *broker) FetchCode(p int32, offset int64) int16 {
	b.t.Helper()
	part := kmsg.NewFetchRequestTopicPartition()
	part.Partition, part.FetchOffset, part.PartitionMaxBytes = p, offset, 1<<20
	topic := kmsg.NewFetchRequestTopic()
	topic.Topic, topic.Partitions = b.topic, []kmsg.FetchRequestTopicPartition{part}
	req := kmsg.NewPtrFetchRequest()
	req.MaxBytes, req.MaxWaitMillis, req.Topics = 1<<20, 10, []kmsg.FetchRequestTopic{topic}
	resp, err := req.RequestWith(b.t.Context(), b.cl)
	b.check(err)
	if len(resp.Topics) != 1 || len(resp.Topics[0].Partitions) != 1 {
		b.t.Fatalf("fetch answers %+v", resp)
	}
	return resp.Topics[0].Partitions[0].ErrorCode
}

// TopicID asks the broker: kadm answers from a cache, in which a recreated topic has its old id for a while.
func (b *broker) TopicID() string {
	b.t.Helper()
	req := kmsg.NewPtrMetadataRequest()
	topic := kmsg.NewMetadataRequestTopic()
	topic.Topic = &b.topic
	req.Topics = append(req.Topics, topic)
	resp, err := req.RequestWith(b.t.Context(), b.cl)
	b.check(err)
	if len(resp.Topics) != 1 {
		b.t.Fatalf("%d topics answered for one", len(resp.Topics))
	}
	b.check(kerr.ErrorForCode(resp.Topics[0].ErrorCode))
	return fmt.Sprintf("%x", resp.Topics[0].TopicID)
}

func (b *broker) RecreateTopic() {
	b.t.Helper()
	_, err := b.adm.DeleteTopic(b.t.Context(), b.topic)
	b.check(err)
	b.createTopic()
}

func (b *broker) AddPartition() {
	b.t.Helper()
	resp, err := b.adm.CreatePartitions(b.t.Context(), 1, b.topic)
	b.check(errors.Join(err, resp.Error()))
	b.partitions++
	b.waitMetadata()
}

func TestKafka_Kfake(t *testing.T) {
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.GroupMinSessionTimeout(realSession))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cluster.Close)
	conformance.KafkaSuite.Run(t, "kfake", false, newBroker(cluster.ListenAddrs()[0]))
}

func TestKafka_Real(t *testing.T) {
	srv := testenv.SharedKafka(t)
	conformance.KafkaSuite.Run(t, "Kafka", false, newBroker(srv.Addr()))
}
