package kafka

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/waybill-data/waybill"
	"github.com/waybill-data/waybill/internal/testenv"
)

func factNothingBeforeStart(t *testing.T, base env) {
	e := base.with(t, 2, nil)
	e.produceN(0, 3)
	e.produceN(1, 3)
	first := e.open()
	tps := first.waitHeld(2)
	if _, err := first.commitAll(CommitEntry{Offset: 1, LeaderEpoch: -1}, tps...); err != nil {
		t.Fatal(err)
	}
	first.close(true)

	m := e.open()
	m.waitHeld(2)
	m.nothingFor(700 * time.Millisecond) // neither from the committed offset nor from either end
	m.Start(StartAt{e.tp(1), 2, -1})
	if got := m.collectN(1); got[0].Offset != 2 || got[0].Partition != 1 {
		t.Fatalf("got %+v", got)
	}
	m.nothingFor(300 * time.Millisecond)
}

func factStartMovesPosition(t *testing.T, base env) {
	e := base.with(t, 1, nil)
	e.produceN(0, 10)
	m := e.open()
	m.waitHeld(1)
	m.startAll(0)
	if got := offsets(m.collectN(10)); got[0] != 0 || got[9] != 9 {
		t.Fatalf("got %v", got)
	}
	result := make(chan []waybill.Record)
	go func() { // a poll that is already waiting must see the new position
		f, _ := m.Poll(t.Context(), 0)
		var r []waybill.Record
		for _, p := range f.Partitions {
			r = append(r, p.Records...)
		}
		result <- r
	}()
	testenv.Eventually(t, within, "the poll waits", func() bool {
		m.Session.mu.Lock()
		defer m.Session.mu.Unlock()
		return m.polling
	})
	m.Start(StartAt{e.tp(0), 6, 0})
	if got := offsets(<-result); len(got) == 0 || got[0] != 6 {
		t.Fatalf("after moving to 6: %v", got)
	}
}

func factPauseResume(t *testing.T, base env) {
	e := base.with(t, 1, nil)
	e.produceN(0, 20)
	m := e.open()
	tps := m.waitHeld(1)
	m.startAll(0)
	var got []int64
	for len(got) < 20 {
		f, err := m.Poll(t.Context(), 3)
		must(t, err)
		got = append(got, offsets(f.Partitions[0].Records)...)
		m.Pause(tps...)
		m.nothingFor(100 * time.Millisecond)
		m.Resume(tps...)
	}
	for i, o := range got {
		if o != int64(i) {
			t.Fatalf("got %v", got)
		}
	}
}

func factCooperativeMove(t *testing.T, base env) {
	e := base.with(t, 4, nil)
	a := e.open()
	all := a.waitHeld(4)
	before := make(map[waybill.TopicPartition]uint64)
	for _, tp := range all {
		before[tp], _ = a.Instance(tp)
	}
	a.startAll(0)
	b := e.open()
	kept := a.waitHeld(2)
	moved := b.waitHeld(2)
	for _, tp := range kept {
		if slices.Contains(moved, tp) {
			t.Fatalf("%s is held twice", tp)
		}
		if n, ok := a.Instance(tp); !ok || n != before[tp] {
			t.Errorf("%s stayed but its instance went from %d to %d", tp, before[tp], n)
		}
	}
	for _, tp := range all {
		e.produceN(tp.Partition, 2)
	}
	for _, r := range a.collectN(4) {
		if !slices.Contains(kept, r.TopicPartition()) {
			t.Errorf("a record of %s, which has moved away", r.TopicPartition())
		}
	}
	a.nothingFor(200 * time.Millisecond)
	b.close(true)
	a.waitHeld(4)
	for _, tp := range moved {
		if n, _ := a.Instance(tp); n <= before[tp] {
			t.Errorf("%s came back under instance %d, not a new one", tp, n)
		}
	}
	a.nothingFor(200 * time.Millisecond) // what came back waits for Start
}

func factRevokedFirst(t *testing.T, base env) {
	e := base.with(t, 2, nil)
	a := e.open()
	a.waitHeld(2)
	seen := make(chan int, 8)
	b := e.openWith(func([]waybill.TopicPartition) { seen <- len(a.holds()) })
	b.waitHeld(1)
	if n := <-seen; n != 1 {
		t.Fatalf("b was given a partition while a held %d of 2", n)
	}
}

func factCommitReadBack(t *testing.T, base env) {
	e := base.with(t, 3, nil)
	m := e.open()
	m.waitHeld(3)
	const metadata = "wb1;ü;intent"
	results, err := m.commitAll(CommitEntry{Offset: 7, LeaderEpoch: 0, Metadata: metadata}, e.tp(0), e.tp(2))
	must(t, err)
	allOK(t, results, 2)
	got, err := m.FetchOffsets(t.Context(), nil)
	must(t, err)
	want := map[waybill.TopicPartition]Committed{
		e.tp(0): {7, 0, metadata}, e.tp(1): {-1, -1, ""}, e.tp(2): {7, 0, metadata},
	}
	for tp, w := range want {
		if got[tp] != w {
			t.Errorf("%s: got %+v, want %+v", tp, got[tp], w)
		}
	}
}

func allOK(t *testing.T, results map[waybill.TopicPartition]error, n int) {
	t.Helper()
	if len(results) != n {
		t.Fatalf("%d answers, expected %d", len(results), n)
	}
	for tp, err := range results {
		if err != nil {
			t.Errorf("%s: %v", tp, err)
		}
	}
}

func factCommitUnheldRefused(t *testing.T, base env) {
	e := base.with(t, 2, nil)
	w := newWire()
	a := e.open(func(c *Config) { c.Dialer = w.dial })
	a.waitHeld(2)
	b := e.open()
	moved := b.waitHeld(1)
	kept := a.waitHeld(1)
	results, err := a.commitAll(CommitEntry{Offset: 5, LeaderEpoch: -1}, moved[0], kept[0])
	must(t, err)
	for _, tp := range []waybill.TopicPartition{moved[0], kept[0]} {
		if waybill.ClassOf(results[tp]) != waybill.ClassFenced || !NotApplied(results[tp]) {
			t.Errorf("%s: %v", tp, results[tp])
		}
	}
	if n := w.count(kmsg.OffsetCommit); n != 0 {
		t.Errorf("%d commits were sent", n)
	}
}

// rawCommit is a commit by any member and generation, as a request that was on its way for a while would be.
func (e *env) rawCommit(memberID string, generation int32, id TopicID, tp waybill.TopicPartition, offset int64) error {
	e.t.Helper()
	req := kmsg.NewPtrOffsetCommitRequest()
	req.Group, req.MemberID, req.Generation = e.group, memberID, generation
	fillCommit(req, e.topic, id, map[waybill.TopicPartition]CommitEntry{tp: {Offset: offset, LeaderEpoch: -1}})
	resp, err := req.RequestWith(e.t.Context(), e.client())
	must(e.t, err)
	return kerr.ErrorForCode(resp.Topics[0].Partitions[0].ErrorCode)
}

func (e *env) committedOffset(m *member, tp waybill.TopicPartition) int64 {
	e.t.Helper()
	got, err := m.FetchOffsets(e.t.Context(), []waybill.TopicPartition{tp})
	must(e.t, err)
	return got[tp].Offset
}

func factOldGenerationFenced(t *testing.T, base env) {
	e := base.with(t, 2, nil)
	a := e.open()
	a.waitHeld(2)
	memberID, generation := a.member.GroupMetadata()
	b := e.open()
	moved := b.waitHeld(1)[0]
	err := e.rawCommit(memberID, generation, a.TopicID(), moved, 99)
	if e.engine == "kfake" && e.protocol == ProtocolConsumer { // docs/adr/0007
		if err != nil {
			t.Fatal("kfake fences it now: take it out of the list of differences")
		}
		return
	}
	if err == nil {
		t.Fatal("a commit from before the move was accepted for a partition that moved")
	}
	if r, _, known := ruleFor(err); !known || !r.refused {
		t.Errorf("%v is not known to be a refusal", err)
	}
	if got := e.committedOffset(b, moved); got != -1 {
		t.Errorf("committed offset is %d", got)
	}
}

// factMembersNotPartitions: the broker does not check who owns what, which is why Commit does.
func factMembersNotPartitions(t *testing.T, base env) {
	e := base.with(t, 2, nil)
	a := e.open()
	a.waitHeld(2)
	b := e.open()
	moved := b.waitHeld(1)[0]
	var err error
	testenv.Eventually(t, within, "a has a settled generation", func() bool {
		memberID, generation := a.member.GroupMetadata()
		err = e.rawCommit(memberID, generation, a.TopicID(), moved, 42)
		return !errors.Is(err, kerr.RebalanceInProgress) && !errors.Is(err, kerr.IllegalGeneration) && !errors.Is(err, kerr.StaleMemberEpoch)
	})
	if err != nil {
		t.Fatalf("the broker refused it: %v", err)
	}
	if got := e.committedOffset(b, moved); got != 42 {
		t.Errorf("committed offset is %d", got)
	}
}

func factLeftMemberFenced(t *testing.T, base env) {
	e := base.with(t, 1, nil)
	a := e.open()
	a.waitHeld(1)
	memberID, generation := a.member.GroupMetadata()
	a.close(true)
	if err := e.rawCommit(memberID, generation, a.TopicID(), e.tp(0), 99); err == nil {
		t.Error("an empty group took a commit of a member that had left")
	}
	b := e.open()
	b.waitHeld(1)
	err := e.rawCommit(memberID, generation, a.TopicID(), e.tp(0), 99)
	if err == nil {
		t.Fatal("a commit of a member that had left was accepted")
	}
	if r, _, known := ruleFor(err); !known || !r.refused || r.class != waybill.ClassFenced {
		t.Errorf("%v: %+v", err, r)
	}
	if got := e.committedOffset(b, e.tp(0)); got != -1 {
		t.Errorf("committed offset is %d", got)
	}
}

func factLostReplyNotRetried(t *testing.T, base env) {
	e := base.with(t, 1, nil)
	w := newWire()
	m := e.open(func(c *Config) { c.Dialer = w.dial })
	m.waitHeld(1)
	w.dropAnswers(kmsg.OffsetCommit)
	results, err := m.commitAll(CommitEntry{Offset: 3, LeaderEpoch: -1, Metadata: "x"}, e.tp(0))
	if err == nil || results != nil || NotApplied(err) || waybill.ClassOf(err) != waybill.ClassRetryable {
		t.Fatalf("results %v, error %v", results, err)
	}
	_, err = m.commitAll(CommitEntry{Offset: 4, LeaderEpoch: -1}, e.tp(0))
	if !NotApplied(err) || waybill.ClassOf(err) != waybill.ClassFenced {
		t.Fatalf("the next commit: %v", err)
	}
	m.close(true)
	next := e.open()
	next.waitHeld(1)
	if got := e.committedOffset(next, e.tp(0)); got != 3 {
		t.Errorf("committed offset is %d: the request was meant to arrive", got)
	}
	if n := w.count(kmsg.OffsetCommit); n != 1 {
		t.Errorf("%d commits were sent", n)
	}
}

// factClientRetriesCommits is the reason for not using the client's own commit.
func factClientRetriesCommits(t *testing.T, base env) {
	e := base.with(t, 1, nil)
	w := newWire()
	assigned := make(chan struct{}, 8)
	opts := []kgo.Opt{
		kgo.Dialer(w.dial), kgo.ConsumerGroup(e.group), kgo.ConsumeTopics(e.topic), kgo.DisableAutoCommit(),
		kgo.OnPartitionsAssigned(func(_ context.Context, _ *kgo.Client, parts map[string][]int32) {
			if len(parts) > 0 {
				assigned <- struct{}{}
			}
		}),
	}
	if e.protocol == ProtocolConsumer {
		opts = append(opts, kgo.ServerSideBalancer(), kgo.Balancers(kgo.StickyBalancer()))
	}
	cl := e.client(opts...)
	<-assigned
	w.dropAnswers(kmsg.OffsetCommit)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		cl.CommitOffsetsSync(ctx, map[string]map[int32]kgo.EpochOffset{e.topic: {0: {Epoch: -1, Offset: 1}}}, nil)
	}()
	testenv.Eventually(t, within, "a second request for one commit", func() bool { return w.count(kmsg.OffsetCommit) > 1 })
	cancel()
	<-done
}

func factMetadataTooLarge(t *testing.T, base env) {
	e := base.with(t, 2, nil)
	m := e.open()
	m.waitHeld(2)
	long := fmt.Sprintf("%5000d", 0)
	results, err := m.Commit(t.Context(), func() map[waybill.TopicPartition]CommitEntry {
		return map[waybill.TopicPartition]CommitEntry{
			e.tp(0): {Offset: 5, LeaderEpoch: -1, Metadata: long}, e.tp(1): {Offset: 6, LeaderEpoch: -1, Metadata: "short"},
		}
	})
	must(t, err)
	if results[e.tp(1)] != nil {
		t.Errorf("the partition beside it: %v", results[e.tp(1)])
	}
	if e.engine == "kfake" { // docs/adr/0007
		if results[e.tp(0)] != nil {
			t.Fatal("kfake has a limit now: take it out of the list of differences")
		}
		return
	}
	if !NotApplied(results[e.tp(0)]) || waybill.ClassOf(results[e.tp(0)]) != waybill.ClassConfig {
		t.Errorf("got %v", results[e.tp(0)])
	}
	if got := e.committedOffset(m, e.tp(0)); got != -1 {
		t.Errorf("committed offset is %d", got)
	}
	if got := e.committedOffset(m, e.tp(1)); got != 6 {
		t.Errorf("committed offset beside it is %d", got)
	}
}

// factMetadataLimitCountsUTF16: 4096 is the default limit, in the units of a Java string.
func factMetadataLimitCountsUTF16(t *testing.T, base env) {
	e := base.with(t, 1, nil)
	m := e.open()
	m.waitHeld(1)
	for _, c := range []struct {
		name, unit string
		n          int
		accepted   bool
	}{
		{"4096 of one byte", "x", 4096, true},
		{"4097 of one byte", "x", 4097, false},
		{"4096 of two bytes", "ü", 4096, true},
		{"2049 outside the basic plane", "😀", 2049, false},
	} {
		var s []byte
		for range c.n {
			s = append(s, c.unit...)
		}
		results, err := m.commitAll(CommitEntry{Offset: 1, LeaderEpoch: -1, Metadata: string(s)}, e.tp(0))
		must(t, err)
		accepted := c.accepted || e.engine == "kfake" // docs/adr/0007
		if got := results[e.tp(0)] == nil; got != accepted {
			t.Errorf("%s: %v", c.name, results[e.tp(0)])
		}
	}
}

func factUnknownPartitionBesideKnown(t *testing.T, base env) {
	e := base.with(t, 1, nil)
	m := e.open()
	m.waitHeld(1)
	ghost := e.tp(7)
	m.Session.mu.Lock()
	m.Session.held[ghost] = &instance{number: 1000}
	m.Session.mu.Unlock()
	defer m.drop([]waybill.TopicPartition{ghost})
	results, err := m.commitAll(CommitEntry{Offset: 1, LeaderEpoch: -1}, e.tp(0), ghost)
	must(t, err)
	if results[e.tp(0)] != nil {
		t.Errorf("the known partition: %v", results[e.tp(0)])
	}
	if !NotApplied(results[ghost]) {
		t.Errorf("the unknown partition: %v", results[ghost])
	}
}

func (e *env) transaction(cl *kgo.Client, p int32, n int, end kgo.TransactionEndTry) {
	e.t.Helper()
	must(e.t, cl.BeginTransaction())
	for i := range n {
		must(e.t, cl.ProduceSync(e.t.Context(), &kgo.Record{Topic: e.topic, Partition: p, Value: fmt.Appendf(nil, "t%d", i)}).FirstErr())
	}
	must(e.t, cl.EndTransaction(e.t.Context(), end))
}

func (e *env) transactional() *kgo.Client {
	return e.client(kgo.TransactionalID(e.topic), kgo.DefaultProduceTopic(e.topic))
}

// factTransactions: 0..2 committed, marker 3, 4..5 aborted, marker 6, 7 plain.
func factTransactions(t *testing.T, base env) {
	e := base.with(t, 1, nil)
	cl := e.transactional()
	e.transaction(cl, 0, 3, kgo.TryCommit)
	e.transaction(cl, 0, 2, kgo.TryAbort)
	e.produce(0, "plain")
	m := e.open()
	m.waitHeld(1)
	m.startAll(0)
	got := m.collectN(6)
	if want := []int64{0, 1, 2, 3, 6, 7}; !slices.Equal(offsets(got), want) {
		t.Fatalf("got %v, want %v", offsets(got), want)
	}
	for _, r := range got {
		if marker := r.Offset == 3 || r.Offset == 6; r.Control != marker {
			t.Errorf("offset %d: control %v", r.Offset, r.Control)
		}
	}
	for _, c := range []struct {
		span    waybill.Span
		records int64
		last    int64
	}{
		{waybill.Span{First: 0, Next: 8}, 4, 7},
		{waybill.Span{First: 0, Next: 7}, 3, 2},
		{waybill.Span{First: 4, Next: 6}, 0, -1},
		{waybill.Span{First: 5, Next: 7}, 0, -1},
		{waybill.Span{First: 3, Next: 4}, 0, -1},
	} {
		out := m.readSpan(c.span, nil)
		if out.Records != c.records || out.Next != c.span.Next || out.LastOffset != c.last {
			t.Errorf("%s: %+v", c.span, out)
		}
	}
}

func (m *member) readSpan(span waybill.Span, fn func(*waybill.Record) error) ReadResult {
	m.t.Helper()
	if fn == nil {
		fn = func(*waybill.Record) error { return nil }
	}
	ctx, cancel := context.WithTimeout(m.t.Context(), within)
	defer cancel()
	out, err := m.ReadSpan(ctx, waybill.TopicPartition{Topic: m.cfg.Topic}, span, fn)
	must(m.t, err)
	return out
}

func factStableEnd(t *testing.T, base env) {
	e := base.with(t, 1, nil)
	e.produceN(0, 2)
	cl := e.transactional()
	must(t, cl.BeginTransaction())
	must(t, cl.ProduceSync(t.Context(), &kgo.Record{Topic: e.topic, Value: []byte("open")}).FirstErr())
	m := e.open()
	m.waitHeld(1)
	info, err := m.Describe(t.Context())
	must(t, err)
	if got := info.Partitions[0]; got.LogStart != 0 || got.StableEnd != 2 || got.End != 3 {
		t.Errorf("got %+v", got)
	}
	m.startAll(0)
	if got := offsets(m.collectN(2)); !slices.Equal(got, []int64{0, 1}) {
		t.Errorf("got %v", got)
	}
	m.nothingFor(200 * time.Millisecond)
	if out := m.readSpan(waybill.Span{First: 0, Next: 3}, nil); out.Records != 2 || out.Next != 2 || out.End != 2 {
		t.Errorf("read %+v", out)
	}
	must(t, cl.EndTransaction(t.Context(), kgo.TryCommit))
	if got := offsets(m.collectN(2)); !slices.Equal(got, []int64{2, 3}) {
		t.Errorf("after the commit got %v", got)
	}
}

func factUnstableOffsets(t *testing.T, base env) {
	e := base.with(t, 1, nil)
	cl := e.transactional()
	must(t, cl.BeginTransaction())
	must(t, cl.ProduceSync(t.Context(), &kgo.Record{Topic: e.topic, Value: []byte("x")}).FirstErr())
	m := e.open()
	m.waitHeld(1) // the group exists
	e.commitInTransaction(cl, m.TopicID())
	_, err := m.FetchOffsets(t.Context(), []waybill.TopicPartition{e.tp(0)})
	if waybill.ClassOf(err) != waybill.ClassRetryable {
		t.Fatalf("pending offsets: %v", err)
	}
	must(t, cl.EndTransaction(t.Context(), kgo.TryCommit))
	testenv.Eventually(t, within, "the transaction's offset", func() bool {
		got, err := m.FetchOffsets(t.Context(), []waybill.TopicPartition{e.tp(0)})
		return err == nil && got[e.tp(0)].Offset == 17
	})
}

func (e *env) commitInTransaction(cl *kgo.Client, id TopicID) {
	e.t.Helper()
	pid, epoch, err := cl.ProducerID(e.t.Context())
	must(e.t, err)
	add := kmsg.NewPtrAddOffsetsToTxnRequest()
	add.TransactionalID, add.ProducerID, add.ProducerEpoch, add.Group = e.topic, pid, epoch, e.group
	added, err := add.RequestWith(e.t.Context(), cl)
	must(e.t, err)
	must(e.t, kerr.ErrorForCode(added.ErrorCode))
	req := kmsg.NewPtrTxnOffsetCommitRequest()
	req.TransactionalID, req.ProducerID, req.ProducerEpoch, req.Group, req.Generation = e.topic, pid, epoch, e.group, -1
	p := kmsg.NewTxnOffsetCommitRequestTopicPartition()
	p.Offset = 17
	topic := kmsg.NewTxnOffsetCommitRequestTopic()
	topic.Topic, topic.TopicID, topic.Partitions = e.topic, id, append(topic.Partitions, p)
	req.Topics = append(req.Topics, topic)
	resp, err := req.RequestWith(e.t.Context(), cl)
	must(e.t, err)
	must(e.t, kerr.ErrorForCode(resp.Topics[0].Partitions[0].ErrorCode))
}

func factCompactionHoles(t *testing.T, base env) {
	e := base.with(t, 1, configs("cleanup.policy", "compact", "min.cleanable.dirty.ratio", "0.001", "segment.ms", "100",
		"min.compaction.lag.ms", "0", "delete.retention.ms", "100"))
	e.produceKeyed(0, 10) // 0..9, all superseded
	e.produceKeyed(0, 10) // 10..19
	m := e.open()
	m.waitHeld(1)
	filler := 0
	testenv.Eventually(t, within, "the first ten are compacted away", func() bool {
		filler++
		e.produceRecords(&kgo.Record{Topic: e.topic, Key: fmt.Appendf(nil, "filler%d", filler), Value: []byte("roll the segment")})
		if e.fake != nil {
			e.fake.Compact()
		}
		return m.readSpan(waybill.Span{First: 0, Next: 10}, nil).Records == 0
	})
	if out := m.readSpan(waybill.Span{First: 0, Next: 10}, nil); out.Next != 10 || out.LogStart > 10 {
		t.Errorf("the hole: %+v", out)
	}
	if out := m.readSpan(waybill.Span{First: 5, Next: 12}, nil); out.Next != 12 || out.Records != 2 {
		t.Errorf("half a hole: %+v", out)
	}
	info, err := m.Describe(t.Context())
	must(t, err)
	if moved := info.Partitions[0].LogStart > 0; moved != (e.engine == "kfake") { // docs/adr/0007
		t.Errorf("log start after compaction: %d", info.Partitions[0].LogStart)
	}
	m.startAll(info.Partitions[0].LogStart)
	if got := offsets(m.collectN(10)); got[0] != 10 {
		t.Errorf("fetched %v", got)
	}
}

func configs(kv ...string) map[string]*string {
	m := make(map[string]*string)
	for i := 0; i < len(kv); i += 2 {
		m[kv[i]] = &kv[i+1]
	}
	return m
}

func (e *env) produceKeyed(p int32, n int) {
	var rs []*kgo.Record
	for i := range n {
		rs = append(rs, &kgo.Record{Topic: e.topic, Partition: p, Key: fmt.Appendf(nil, "k%d", i), Value: []byte("v")})
	}
	e.produceRecords(rs...)
}

func (e *env) deleteBelow(p int32, offset int64) {
	e.t.Helper()
	var upTo kadm.Offsets
	upTo.Add(kadm.Offset{Topic: e.topic, Partition: p, At: offset})
	resp, err := e.adm.DeleteRecords(e.t.Context(), upTo)
	must(e.t, err)
	must(e.t, resp.Error())
}

func factOutOfRange(t *testing.T, base env) {
	e := base.with(t, 1, nil)
	e.produceN(0, 10)
	e.deleteBelow(0, 5)
	m := e.open()
	m.waitHeld(1)
	for _, at := range []int64{0, 100} {
		m.Start(StartAt{e.tp(0), at, -1})
		records, errs := m.collect(func(r []waybill.Record, errs []PartitionError) bool { return len(r) > 0 || len(errs) > 0 })
		if len(records) > 0 || errs[0].Problem != ProblemOutOfRange || errs[0].Err.Position.Offset != at {
			t.Fatalf("at %d: %v, %+v", at, offsets(records), errs)
		}
		m.nothingFor(200 * time.Millisecond)
	}
	m.Start(StartAt{e.tp(0), 5, -1})
	if got := offsets(m.collectN(5)); got[0] != 5 {
		t.Errorf("got %v", got)
	}
	if out := m.readSpan(waybill.Span{First: 2, Next: 8}, nil); out.LogStart != 5 || out.Records != 3 || out.Next != 8 {
		t.Errorf("read %+v", out)
	}
	if out := m.readSpan(waybill.Span{First: 0, Next: 4}, nil); out.LogStart != 5 || out.Records != 0 || out.Next != 4 {
		t.Errorf("read %+v", out)
	}
	if out := m.readSpan(waybill.Span{First: 8, Next: 20}, nil); out.End != 10 || out.Records != 2 || out.Next != 10 {
		t.Errorf("read %+v", out)
	}
}

func factTopicRecreated(t *testing.T, base env) {
	e := base.with(t, 1, nil)
	e.produceN(0, 3)
	m := e.open()
	m.waitHeld(1)
	m.startAll(0)
	m.collectN(3)
	before, _ := m.Instance(e.tp(0))
	_, err := e.adm.DeleteTopic(t.Context(), e.topic)
	must(t, err)
	testenv.Eventually(t, within, "created again", func() bool {
		_, err := e.adm.CreateTopic(t.Context(), 1, 1, nil, e.topic)
		return err == nil
	})
	testenv.Eventually(t, within, "records in the new topic", func() bool {
		return e.client().ProduceSync(t.Context(), &kgo.Record{Topic: e.topic, Value: []byte("new")}).FirstErr() == nil
	})
	testenv.Eventually(t, 3*within, "told, or revoked", func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
		defer cancel()
		f, err := m.Poll(ctx, 0)
		if len(f.Partitions) > 0 {
			t.Fatalf("a record of the new topic: %+v", f.Partitions[0].Records)
		}
		if len(f.Errors) > 0 {
			if pe := f.Errors[0]; pe.Problem != ProblemRecreated {
				t.Errorf("got %+v", pe)
			}
			return true
		}
		// KIP-848: the broker takes the old topic's partition away, and may give the new one's.
		n, held := m.Instance(e.tp(0))
		return !held || n != before || (err != nil && !isContext(err))
	})
	info, err := m.Describe(t.Context())
	must(t, err)
	if info.TopicID == m.TopicID() {
		t.Error("the new topic has the old id")
	}
	memberID, generation := m.member.GroupMetadata()
	if err := e.rawCommit(memberID, generation, m.TopicID(), e.tp(0), 3); err == nil {
		t.Error("a commit under the old topic's id was accepted")
	}
	if _, err := m.ReadSpan(t.Context(), e.tp(0), waybill.Span{First: 0, Next: 1}, func(*waybill.Record) error { return nil }); err == nil {
		t.Error("a span of the old topic was read from the new one")
	}
}

func factPartitionsAdded(t *testing.T, base env) {
	e := base.with(t, 1, nil)
	m := e.open()
	m.waitHeld(1)
	before, _ := m.Instance(e.tp(0))
	resp, err := e.adm.CreatePartitions(t.Context(), 2, e.topic)
	must(t, err)
	must(t, resp.Error())
	m.waitHeld(3)
	if n, _ := m.Instance(e.tp(0)); n != before {
		t.Errorf("partition 0 changed its instance from %d to %d", before, n)
	}
	info, err := m.Describe(t.Context())
	must(t, err)
	if len(info.Partitions) != 3 {
		t.Errorf("%d partitions described", len(info.Partitions))
	}
	e.produce(2, "x")
	m.Start(StartAt{e.tp(2), 0, -1})
	m.collectN(1)
}

// factExpiry: the lease is over before anyone else is given the partition; afterwards the Session is too.
func factExpiry(t *testing.T, base env) {
	e := base.with(t, 1, nil)
	w := newWire()
	a := e.open(func(c *Config) { c.Dialer = w.dial })
	a.waitHeld(1)
	testenv.Eventually(t, within, "a lease", a.LeaseValid)
	valid := make(chan bool, 8)
	e.openWith(func([]waybill.TopicPartition) { valid <- a.LeaseValid() })
	w.freeze(true)
	defer w.freeze(false)
	select {
	case v := <-valid:
		if v {
			t.Error("b was given the partition while a's lease was valid")
		}
	case <-time.After(within):
		t.Fatal("b never got the partition")
	}
	w.freeze(false)
	select {
	case <-a.Done():
	case <-time.After(within):
		t.Fatal("a never noticed")
	}
	if waybill.ClassOf(a.Err()) != waybill.ClassFenced || a.LeaseValid() {
		t.Errorf("error %v, lease valid: %v", a.Err(), a.LeaseValid())
	}
	if len(a.holds()) != 0 || len(a.lost) != 1 {
		t.Errorf("holds %v, lost %v", a.holds(), a.lost)
	}
	if _, err := a.commitAll(CommitEntry{Offset: 1}, e.tp(0)); !NotApplied(err) {
		t.Errorf("commit: %v", err)
	}
	if _, err := a.Poll(t.Context(), 0); waybill.ClassOf(err) != waybill.ClassFenced {
		t.Errorf("poll: %v", err)
	}
}

// factCrash: without a goodbye the partitions wait for the session timeout.
func factCrash(t *testing.T, base env) {
	e := base.with(t, 1, nil)
	a := e.open()
	a.waitHeld(1)
	b := e.open()
	start := time.Now()
	a.close(false)
	b.waitHeld(1)
	if d := time.Since(start); d < time.Second {
		t.Errorf("taken over after %s: the broker was told", d)
	}
}

func factRecordsWhole(t *testing.T, base env) {
	// The records are old, and the broker would delete them whenever it looks for such.
	e := base.with(t, 1, configs("max.message.bytes", "8000000", "retention.ms", "-1"))
	big := make([]byte, 5<<20)
	for i := range big {
		big[i] = byte(i * 7)
	}
	when := time.UnixMilli(1_700_000_000_123)
	e.produceRecords(
		&kgo.Record{Topic: e.topic, Key: []byte("k"), Value: nil, Timestamp: when, Headers: []kgo.RecordHeader{{Key: "h", Value: []byte("1")}, {Key: "h", Value: nil}}},
		&kgo.Record{Topic: e.topic, Key: nil, Value: []byte{}, Timestamp: when},
	)
	e.produceRecords(&kgo.Record{Topic: e.topic, Value: big, Timestamp: when})
	m := e.open()
	m.waitHeld(1)
	m.startAll(0)
	fetched := m.collectN(3)
	var read []waybill.Record
	m.readSpan(waybill.Span{First: 0, Next: 3}, func(r *waybill.Record) error {
		kept := *r
		kept.Headers = slices.Clone(r.Headers)
		read = append(read, kept)
		return nil
	})
	if len(read) != 3 {
		t.Fatalf("%d records read again", len(read))
	}
	for i, r := range fetched {
		if waybill.RecordChecksum(&r) != waybill.RecordChecksum(&read[i]) {
			t.Errorf("record %d is not the same read again", i)
		}
		if r.Time != when.UnixMilli() {
			t.Errorf("record %d: time %d", i, r.Time)
		}
	}
	switch tomb, empty := fetched[0], fetched[1]; {
	case tomb.Value != nil || string(tomb.Key) != "k":
		t.Errorf("tombstone: %+v", tomb)
	case len(tomb.Headers) != 2 || string(tomb.Headers[0].Value) != "1" || tomb.Headers[1].Value != nil:
		t.Errorf("headers: %+v", tomb.Headers)
	case empty.Value == nil || len(empty.Value) != 0 || empty.Key != nil:
		t.Errorf("empty value: %+v", empty)
	case !slices.Equal(fetched[2].Value, big):
		t.Error("the big value differs")
	}
}
