package kafka

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/waybill-data/waybill"
)

// TopicID is Kafka's own name of a topic: a topic that is created again has another.
type TopicID [16]byte

// Session is one membership of a consumer group. It is safe for concurrent use.
//
// Ownership is kept as instances: each time a partition is assigned it gets a number never used before in this Session.
// Invariants, all under mu:
//   - held has a partition if and only if Assigned was called for it and neither Revoked nor Lost since;
//   - a partition is known to the reader (the fetching client) only if held and started;
//   - once err is set, held is empty and stays so.
type Session struct {
	cfg       Config
	callbacks Callbacks
	clock     clock
	clusterID string
	topicID   TopicID
	timeout   time.Duration // of the broker's session, or the shorter one configured

	member *kgo.Client // the group's member; fetches nothing
	reader *kgo.Client // reads partitions; in no group
	asker  *kgo.Client // metadata, extents and spans: a fetch of the reader's that waits would hold up any other request to its broker
	dialer *dialer     // the member's connections
	beats  *heartbeats

	callbackMu sync.Mutex // one callback at a time

	mu       sync.Mutex
	polls    *sync.Cond // on mu: polling or starters changed
	held     map[waybill.TopicPartition]*instance
	instance uint64 // the last number given
	memberID string // set by the first assignment; the Session ends when it changes
	polling  bool
	starters int
	stopPoll context.CancelFunc
	err      error
	done     chan struct{}

	commit committer
}

// instance is one partition for as long as one assignment of it lasts.
type instance struct {
	number  uint64
	started bool
	next    int64 // the lowest offset that Poll may still return
}

// Open joins the group and returns at once: partitions come through the callbacks. It checks first that the brokers can
// be reached, that the topic exists, and what the session timeout is. The caller closes the Session.
func Open(ctx context.Context, cfg Config, callbacks Callbacks) (*Session, error) {
	cfg = cfg.withDefaults()
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	s := &Session{
		cfg:       cfg,
		callbacks: callbacks,
		clock:     clock{now: cfg.Now, base: cfg.Now()},
		dialer:    newDialer(cfg),
		held:      make(map[waybill.TopicPartition]*instance),
		done:      make(chan struct{}),
	}
	s.polls = sync.NewCond(&s.mu)
	s.beats = &heartbeats{clock: s.clock, log: cfg.Log}
	for _, open := range []func() error{s.openAsker, func() error { return s.prepare(ctx) }, s.openReader, s.openMember} {
		if err := open(); err != nil {
			s.closeClients()
			return nil, err
		}
	}
	return s, nil
}

func (s *Session) closeClients() {
	for _, cl := range []*kgo.Client{s.member, s.reader, s.asker} {
		if cl != nil {
			cl.CloseAllowingRebalance()
		}
	}
}

func (s *Session) openAsker() error {
	cl, err := s.newClient(newDialer(s.cfg), plainLog{s.cfg.Log}, kgo.BrokerMaxReadBytes(max(defaultReadLimit, s.cfg.FetchMaxBytes)))
	s.asker = cl
	return err
}

func (s *Session) newClient(d *dialer, log kgo.Logger, opts ...kgo.Opt) (*kgo.Client, error) {
	cl, err := kgo.NewClient(append(append(s.cfg.clientOpts(d), kgo.WithLogger(log)), opts...)...)
	if err != nil {
		return nil, configError("kafka.open", err.Error(), "check the Kafka settings")
	}
	return cl, nil
}

func (s *Session) openReader() error {
	lent := newPools()
	cl, err := s.newClient(newDialer(s.cfg), plainLog{s.cfg.Log},
		kgo.ConsumeResetOffset(kgo.NoResetOffset()), // an offset out of range is an error, never a new position
		kgo.FetchIsolationLevel(s.cfg.isolation()),
		kgo.KeepControlRecords(),
		kgo.WithPools(lent),
		kgo.WithHooks(lent),
		// A partition that is started while a fetch of others waits for records waits with it.
		kgo.FetchMaxWait(s.cfg.FetchMaxWait),
		kgo.FetchMinBytes(s.cfg.FetchMinBytes),
		kgo.FetchMaxBytes(s.cfg.FetchMaxBytes),
		kgo.FetchMaxPartitionBytes(s.cfg.PartitionMaxBytes),
		kgo.BrokerMaxReadBytes(max(s.cfg.readLimit, s.cfg.FetchMaxBytes)),
	)
	s.reader = cl
	return err
}

// prepare learns what must stay true during the Session.
func (s *Session) prepare(ctx context.Context) error {
	meta, topic, err := s.metadata(ctx)
	if err != nil {
		return err
	}
	if meta.ClusterID != nil {
		s.clusterID = *meta.ClusterID
	}
	s.topicID = topic.TopicID
	if s.topicID == (TopicID{}) {
		return configError("kafka.open", "the broker gives topics no id", "use Apache Kafka 2.8 or later")
	}
	s.timeout = s.cfg.SessionTimeout
	if s.cfg.Protocol == ProtocolConsumer {
		return s.prepareConsumerProtocol(ctx)
	}
	return nil
}

func (s *Session) openMember() error {
	opts := []kgo.Opt{
		kgo.WithHooks(protocolHook{s}),
		kgo.ConsumerGroup(s.cfg.Group),
		kgo.ConsumeTopics(s.cfg.Topic),
		kgo.DisableAutoCommit(),
		kgo.OnPartitionsAssigned(s.onAssigned),
		kgo.OnPartitionsRevoked(s.onRevoked),
		kgo.OnPartitionsLost(s.onLost),
		kgo.AdjustFetchOffsetsFn(fetchNothing),
	}
	if s.cfg.InstanceID != "" {
		opts = append(opts, kgo.InstanceID(s.cfg.InstanceID))
	}
	if s.cfg.RebalanceTimeout > 0 {
		opts = append(opts, kgo.RebalanceTimeout(s.cfg.RebalanceTimeout))
	}
	if s.cfg.Protocol == ProtocolConsumer {
		opts = append(opts, kgo.ServerSideBalancer(), kgo.Balancers(kgo.StickyBalancer()))
	} else {
		opts = append(opts, kgo.Balancers(kgo.CooperativeStickyBalancer()),
			kgo.SessionTimeout(s.cfg.SessionTimeout), kgo.HeartbeatInterval(s.cfg.HeartbeatInterval))
	}
	cl, err := s.newClient(s.dialer, s.beats, opts...)
	s.member = cl
	return err
}

// fetchNothing leaves the member without a single position, so that it has nothing to fetch from.
func fetchNothing(context.Context, map[string]map[int32]kgo.Offset) (map[string]map[int32]kgo.Offset, error) {
	return nil, nil
}

// ClusterID is the cluster's own name for itself, as it was at Open.
func (s *Session) ClusterID() string { return s.clusterID }

// TopicID is the topic's id as it was at Open. Fetches and commits go to this topic and no other of its name.
func (s *Session) TopicID() TopicID { return s.topicID }

// Done is closed when the membership is over: lost, or closed.
func (s *Session) Done() <-chan struct{} { return s.done }

// Err says why the membership is over; nil while it is not. It is of ClassFenced unless a person is needed.
func (s *Session) Err() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

// Instance is the number of the current assignment of tp, and whether tp is held at all.
func (s *Session) Instance(tp waybill.TopicPartition) (uint64, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if in := s.held[tp]; in != nil {
		return in.number, true
	}
	return 0, false
}

// Lease is from when the last answered heartbeat was sent; the zero Lease, never valid, if there is none or the
// membership is over.
func (s *Session) Lease() Lease {
	l := s.beats.lease()
	l.Timeout = s.timeout
	return l
}

// Clock reads the wall clock and the monotonic clock on which Lease is measured.
func (s *Session) Clock() (wall time.Time, mono time.Duration) { return s.clock.read() }

// LeaseValid reports whether Lease is valid now.
func (s *Session) LeaseValid() bool { return s.Lease().Valid(s.Clock()) }

// leaveTimeout bounds the goodbye when the coordinator does not answer.
const leaveTimeout = 10 * time.Second

// Close ends the membership and frees everything. With leave the broker is told and can give the partitions away at
// once; without, the connections are cut first and the broker finds out after the session timeout, as after a crash.
// Revoked is called for what was still held.
func (s *Session) Close(leave bool) {
	ctx, cancel := context.WithTimeout(context.Background(), leaveTimeout)
	defer cancel()
	if !leave {
		s.dialer.cutAll()
		cancel() // the client always says goodbye on closing; this one goes nowhere, and without waiting
	}
	memberID, _ := s.member.GroupMetadata()
	err := s.member.LeaveGroupContext(ctx)
	if leave && s.cfg.InstanceID != "" && s.cfg.Protocol == ProtocolConsumer {
		err = s.stepOut(ctx, memberID)
	}
	if err != nil && leave {
		s.cfg.Log.Info("leaving the group failed; the broker will notice by the session timeout", "group", s.cfg.Group, "error", err)
	}
	s.end(s.callbacks.Revoked, &waybill.Error{Op: "kafka.session", Position: nowhere, Class: waybill.ClassFenced, Err: errClosed})
	s.closeClients()
}

// stepOut tells the broker that a static member of KIP-848 will be back. The client has said so before, without the instance's id, which brokers
// refuse; the next member of the id would be kept out until the session times out.
func (s *Session) stepOut(ctx context.Context, memberID string) error {
	if memberID == "" {
		return nil // it never joined
	}
	const willBeBack = -2 // as a member's epoch
	req := kmsg.NewPtrConsumerGroupHeartbeatRequest()
	req.Group, req.MemberID, req.InstanceID, req.MemberEpoch = s.cfg.Group, memberID, &s.cfg.InstanceID, willBeBack
	resp, err := req.RequestWith(ctx, s.asker)
	if err != nil {
		return err
	}
	return kerr.ErrorForCode(resp.ErrorCode)
}

var (
	errClosed    = errors.New("session closed")
	errLost      = errors.New("membership lost")
	errNewMember = errors.New("membership lost: the client joined again as another member")
	errDowngrade = errors.New("the broker does not serve the consumer group protocol (KIP-848)")
)

func (s *Session) onAssigned(_ context.Context, cl *kgo.Client, parts map[string][]int32) {
	memberID, _ := cl.GroupMetadata()
	s.mu.Lock()
	if s.memberID == "" {
		s.memberID = memberID
	}
	same := s.memberID == memberID
	s.mu.Unlock()
	if !same {
		// The broker had forgotten us while we were rejoining. The client takes that in its stride and goes on as a new
		// member with the partitions it thinks it kept; meanwhile they may have had another owner.
		s.end(s.callbacks.Lost, fenced(errNewMember))
		return
	}
	tps := flatten(parts)
	s.mu.Lock()
	if s.err != nil {
		tps = nil // a membership that is over takes nothing on
	}
	for _, tp := range tps {
		s.instance++
		s.held[tp] = &instance{number: s.instance}
	}
	s.mu.Unlock()
	s.call(s.callbacks.Assigned, tps)
}

func (s *Session) onRevoked(_ context.Context, _ *kgo.Client, parts map[string][]int32) {
	s.call(s.callbacks.Revoked, s.drop(flatten(parts)))
}

func (s *Session) onLost(_ context.Context, _ *kgo.Client, _ map[string][]int32) {
	s.end(s.callbacks.Lost, fenced(errLost))
}

// drop forgets partitions, stops reading them and returns those that were held.
func (s *Session) drop(tps []waybill.TopicPartition) []waybill.TopicPartition {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.dropLocked(tps)
}

func (s *Session) dropLocked(tps []waybill.TopicPartition) []waybill.TopicPartition {
	var dropped []waybill.TopicPartition
	for _, tp := range tps {
		if s.held[tp] != nil {
			s.stopLocked(tp)
			delete(s.held, tp)
			dropped = append(dropped, tp)
		}
	}
	return dropped
}

// end makes the membership over, once, and takes away what was held.
func (s *Session) end(tell func([]waybill.TopicPartition), why error) {
	s.beats.end()
	s.mu.Lock()
	if s.err != nil {
		s.mu.Unlock()
		return
	}
	s.err = why
	var held []waybill.TopicPartition
	for tp := range s.held {
		held = append(held, tp)
	}
	slices.SortFunc(held, waybill.TopicPartition.Compare)
	s.dropLocked(held)
	if s.stopPoll != nil {
		s.stopPoll()
	}
	s.polls.Broadcast()
	s.mu.Unlock()
	s.call(tell, held)
	close(s.done)
}

func (s *Session) call(tell func([]waybill.TopicPartition), tps []waybill.TopicPartition) {
	if tell == nil || len(tps) == 0 {
		return
	}
	s.callbackMu.Lock()
	defer s.callbackMu.Unlock()
	tell(tps)
}

func fenced(why error) error {
	return &waybill.Error{Op: "kafka.session", Position: nowhere, Class: waybill.ClassFenced, Err: why}
}

func flatten(parts map[string][]int32) []waybill.TopicPartition {
	var tps []waybill.TopicPartition
	for topic, ps := range parts {
		for _, p := range ps {
			tps = append(tps, waybill.TopicPartition{Topic: topic, Partition: p})
		}
	}
	slices.SortFunc(tps, waybill.TopicPartition.Compare)
	return tps
}

// protocolHook notices when the client, asked for the consumer protocol, falls back to the classic one by itself.
type protocolHook struct{ s *Session }

func (h protocolHook) OnBrokerWrite(_ kgo.BrokerMetadata, key int16, _ int, _, _ time.Duration, _ error) {
	if h.s.cfg.Protocol == ProtocolConsumer && key == kmsg.JoinGroup.Int16() {
		err := configError("kafka.session", errDowngrade.Error(), "enable group.version=1 on the brokers, or use the classic protocol")
		h.s.end(h.s.callbacks.Lost, err)
	}
}

// OnGroupManageError keeps the reason for which the client gave the membership up.
func (h protocolHook) OnGroupManageError(err error) {
	h.s.cfg.Log.Warn("the group session ended", "group", h.s.cfg.Group, "error", err)
}

// prepareConsumerProtocol asks the broker for its session timeout, which under KIP-848 is not the client's to choose.
func (s *Session) prepareConsumerProtocol(ctx context.Context) error {
	timeout, err := s.brokerSessionTimeout(ctx)
	switch {
	case err != nil && s.cfg.SessionTimeout == 0:
		return err
	case err != nil:
		s.cfg.Log.Warn("the broker does not tell its consumer session timeout; the configured one is used", "timeout", s.cfg.SessionTimeout, "error", err)
		return nil
	case s.timeout == 0 || timeout < s.timeout:
		s.timeout = timeout
	}
	return nil
}

func (s *Session) brokerSessionTimeout(ctx context.Context) (time.Duration, error) {
	const hint = "grant DESCRIBE_CONFIGS on the group, or set the session timeout to the broker's group.consumer.session.timeout.ms"
	req := kmsg.NewPtrDescribeConfigsRequest()
	group := kmsg.NewDescribeConfigsRequestResource()
	group.ResourceType, group.ResourceName = kmsg.ConfigResourceTypeGroupConfig, s.cfg.Group
	group.ConfigNames = []string{"consumer.session.timeout.ms"}
	req.Resources = append(req.Resources, group)
	resp, err := req.RequestWith(ctx, s.asker)
	if err != nil {
		return 0, classify("kafka.open", err, nowhere)
	}
	for _, r := range resp.Resources {
		if err := kerr.ErrorForCode(r.ErrorCode); err != nil {
			e := classify("kafka.open", err, nowhere)
			e.Class, e.Hint = waybill.ClassConfig, hint
			return 0, e
		}
		for _, c := range r.Configs {
			if c.Value == nil {
				continue
			}
			if d, err := time.ParseDuration(*c.Value + "ms"); err == nil && d > 0 {
				return d, nil
			}
			return 0, configError("kafka.open", fmt.Sprintf("%s is %q", c.Name, *c.Value), hint)
		}
	}
	return 0, configError("kafka.open", "the broker does not tell the consumer session timeout", hint)
}
