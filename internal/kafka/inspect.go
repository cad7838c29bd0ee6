package kafka

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/waybill-data/waybill"
)

// Inspection is what the brokers say of a topic and a group to whoever wants to know whether a pipeline can run: it goes on where it can
// after each fault.
type Inspection struct {
	Seeds []Endpoint // the addresses that were given
	// Brokers are the addresses that the cluster tells clients to connect to; none if no seed answered.
	Brokers []Endpoint
	// Asked: some seed answered, so that what follows was asked for.
	Asked  bool
	Topics map[string]TopicState // each that was wanted
	// Visible are the names of all topics that the user may see; only if one that was wanted is not there.
	Visible []string
	Group   GroupState
	// Limits of the brokers; LimitsErr is why they are not known.
	Limits    BrokerLimits
	LimitsErr error
}

// TopicState is what there is of a topic.
type TopicState struct {
	// Err is why nothing is known of it: kerr.UnknownTopicOrPartition or a right that lacks, as Missing and Denied say.
	Err             error
	Missing, Denied bool
	// MayRead and MayWrite are what the brokers say of the user's rights; RightsKnown is false if they do not tell.
	RightsKnown, MayRead, MayWrite bool
	Info                           TopicInfo
	ExtentsErr                     error   // why Info has no offsets
	Leaderless                     []int32 // partitions that nobody leads
	Replicas                       int     // of the partition that has the fewest
	Config                         TopicConfig
	ConfigErr                      error // why Config is not known
	// Expiring are the offsets below which records are older than retention less the given margin; nil: not known, or retention is without end.
	Expiring map[int32]int64
	// Newest is the latest time of a record, in milliseconds; -1: none, or not known.
	Newest int64
}

// TopicConfig are a topic's settings that matter to whoever reads it.
type TopicConfig struct {
	Compacted bool
	// Deletes: records are removed by age or size.
	Deletes        bool
	Retention      time.Duration // negative: no limit by age
	RetentionBytes int64         // negative: no limit by size
	MaxMessage     int64         // bytes of a batch of records, as it is stored
}

// BrokerLimits are settings of the brokers.
type BrokerLimits struct {
	OffsetMetadata     int
	MinSession         time.Duration
	MaxSession         time.Duration
	ConsumerMaxSession time.Duration // of the consumer protocol; 0: not known
}

// GroupState is what there is of a consumer group.
type GroupState struct {
	Denied bool
	Err    error // why it is not known, if it is not that
	// MayRead: the user may join and commit; RightsKnown is false if the brokers do not tell.
	RightsKnown, MayRead bool
	State                string
	Members              []GroupMember
	// Committed are the positions of the group in the topics that were wanted, with their metadata.
	Committed    map[waybill.TopicPartition]Committed
	CommittedErr error
}

// GroupMember is somebody in a group.
type GroupMember struct{ Client, Host string }

// Want says what Inspect is to look at.
type Want struct {
	Topics []string
	Group  string
	// Margin is how soon records must expire for TopicState.Expiring to have them.
	Margin time.Duration
}

// inspectTimeout bounds one question.
const inspectTimeout = 10 * time.Second

// groupTimeout bounds those about the group, whose coordinator the brokers may have yet to choose.
const groupTimeout = 30 * time.Second

// Inspect looks at brokers, topics and a group. It joins nothing, commits nothing and creates nothing. Of the config, what concerns
// connections is used.
func Inspect(ctx context.Context, cfg Config, want Want) Inspection {
	cfg = cfg.withDefaults()
	cfg.Log = slog.New(slog.DiscardHandler) // every fault is in the answer
	i := &inspector{cfg: cfg, want: want}
	i.out.Topics = map[string]TopicState{}
	i.out.Seeds = i.probeAll(ctx, cfg.Brokers)
	var good []string
	for _, s := range i.out.Seeds {
		if s.Reach == ReachOK {
			good = append(good, s.Addr)
		}
	}
	if len(good) == 0 {
		return i.out
	}
	i.cfg.Brokers = good
	i.ask(ctx)
	return i.out
}

// Topics are the names of the topics that brokers show to whoever connects so, in order, without internal ones.
func Topics(ctx context.Context, cfg Config) ([]string, error) {
	cfg = cfg.withDefaults()
	i := &inspector{cfg: cfg}
	cl, err := i.newClient()
	if err != nil {
		return nil, err
	}
	defer cl.Close()
	i.cl = cl
	meta, err := i.metadata(ctx, nil)
	if err != nil {
		return nil, err
	}
	i.visible(meta)
	return i.out.Visible, nil
}

type inspector struct {
	cfg  Config
	want Want
	out  Inspection
	cl   *kgo.Client
	adm  *kadm.Client
}

// newClient is one that gives up soon: somebody waits for the answer.
func (i *inspector) newClient(opts ...kgo.Opt) (*kgo.Client, error) {
	opts = append(i.cfg.clientOpts(newDialer(i.cfg)), append([]kgo.Opt{kgo.RequestRetries(20), kgo.RetryTimeout(groupTimeout)}, opts...)...)
	return kgo.NewClient(opts...)
}

func (i *inspector) ask(ctx context.Context) {
	cl, err := i.newClient()
	if err != nil {
		i.out.LimitsErr = err
		return
	}
	defer cl.Close()
	i.cl, i.adm = cl, kadm.NewClient(cl)
	meta, err := i.metadata(ctx, i.want.Topics)
	if err != nil {
		i.out.LimitsErr = err
		return
	}
	i.out.Asked = true
	i.advertised(ctx, meta)
	for t := range meta.Topics {
		i.topic(ctx, meta, &meta.Topics[t])
	}
	for _, name := range i.want.Topics {
		if i.out.Topics[name].Missing && i.out.Visible == nil {
			if all, err := i.metadata(ctx, nil); err == nil {
				i.visible(all)
			}
		}
	}
	i.brokerLimits(ctx, meta)
	i.group(ctx)
}

// metadata of topics; nil: of all.
func (i *inspector) metadata(ctx context.Context, topics []string) (*kmsg.MetadataResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, inspectTimeout)
	defer cancel()
	req := kmsg.NewPtrMetadataRequest()
	req.IncludeTopicAuthorizedOperations = true
	for _, name := range topics {
		t := kmsg.NewMetadataRequestTopic()
		t.Topic = kmsg.StringPtr(name)
		req.Topics = append(req.Topics, t)
	}
	return req.RequestWith(ctx, i.cl)
}

// advertised are the brokers' addresses, which clients use once they have found the cluster.
func (i *inspector) advertised(ctx context.Context, meta *kmsg.MetadataResponse) {
	known := map[string]Endpoint{}
	for _, s := range i.out.Seeds {
		known[s.Addr] = s
	}
	var ask []string
	for _, b := range meta.Brokers {
		addr := net.JoinHostPort(b.Host, strconv.Itoa(int(b.Port)))
		if e, ok := known[addr]; ok {
			i.out.Brokers = append(i.out.Brokers, e)
		} else {
			ask = append(ask, addr)
		}
	}
	i.out.Brokers = append(i.out.Brokers, i.probeAll(ctx, ask)...)
}

func (i *inspector) visible(meta *kmsg.MetadataResponse) {
	i.out.Visible = []string{}
	for _, t := range meta.Topics {
		if t.Topic != nil && !t.IsInternal {
			i.out.Visible = append(i.out.Visible, *t.Topic)
		}
	}
	slices.Sort(i.out.Visible)
}

// The bits of authorized operations.
const (
	opRead  = 1 << 3
	opWrite = 1 << 4
)

// opsUnknown is what brokers without an answer say.
const opsUnknown = -1 << 31

func (i *inspector) topic(ctx context.Context, meta *kmsg.MetadataResponse, t *kmsg.MetadataResponseTopic) {
	if t.Topic == nil {
		return
	}
	s := TopicState{Err: kerr.ErrorForCode(t.ErrorCode), Newest: -1}
	defer func() { i.out.Topics[*t.Topic] = s }()
	s.Missing = errors.Is(s.Err, kerr.UnknownTopicOrPartition)
	s.Denied = errors.Is(s.Err, kerr.TopicAuthorizationFailed)
	if s.Err != nil {
		return
	}
	s.RightsKnown = t.AuthorizedOperations != opsUnknown
	s.MayRead, s.MayWrite = t.AuthorizedOperations&opRead != 0, t.AuthorizedOperations&opWrite != 0
	s.Info.TopicID = t.TopicID
	if meta.ClusterID != nil {
		s.Info.ClusterID = *meta.ClusterID
	}
	for _, p := range t.Partitions {
		s.Info.Partitions = append(s.Info.Partitions, PartitionInfo{Partition: p.Partition})
		if p.Leader < 0 {
			s.Leaderless = append(s.Leaderless, p.Partition)
		}
		if s.Replicas == 0 || len(p.Replicas) < s.Replicas {
			s.Replicas = len(p.Replicas)
		}
	}
	slices.Sort(s.Leaderless)
	slices.SortFunc(s.Info.Partitions, func(a, b PartitionInfo) int { return int(a.Partition) - int(b.Partition) })
	s.Config, s.ConfigErr = i.topicConfig(ctx, *t.Topic)
	if len(s.Leaderless) == 0 {
		s.ExtentsErr = i.extents(ctx, *t.Topic, &s)
	}
}

// extents are where the topic's partitions begin and end, and which of its records go soon.
func (i *inspector) extents(ctx context.Context, topic string, s *TopicState) error {
	ctx, cancel := context.WithTimeout(ctx, inspectTimeout)
	defer cancel()
	of := &Session{cfg: i.cfg, asker: i.cl}
	of.cfg.Topic = topic
	if err := of.fillExtents(ctx, s.Info.Partitions); err != nil {
		return err
	}
	if newest, err := i.adm.ListMaxTimestampOffsets(ctx, topic); err == nil {
		newest.Each(func(o kadm.ListedOffset) { s.Newest = max(s.Newest, o.Timestamp) })
	}
	if s.ConfigErr != nil || !s.Config.Deletes || s.Config.Retention < 0 {
		return nil
	}
	edge := i.cfg.Now().Add(i.want.Margin - s.Config.Retention)
	listed, err := i.adm.ListOffsetsAfterMilli(ctx, edge.UnixMilli(), topic)
	if err != nil {
		return nil //nolint:nilerr // the extents are known; of what goes soon nothing is said
	}
	s.Expiring = map[int32]int64{}
	listed.Each(func(o kadm.ListedOffset) {
		if o.Err == nil {
			s.Expiring[o.Partition] = o.Offset
		}
	})
	return nil
}

func (i *inspector) topicConfig(ctx context.Context, topic string) (c TopicConfig, err error) {
	ctx, cancel := context.WithTimeout(ctx, inspectTimeout)
	defer cancel()
	answer, err := i.adm.DescribeTopicConfigs(ctx, topic)
	values, err := configValues(answer, err)
	if err != nil {
		return c, err
	}
	policy := values["cleanup.policy"]
	for _, word := range splitList(policy) {
		c.Compacted = c.Compacted || word == "compact"
		c.Deletes = c.Deletes || word == "delete"
	}
	c.Retention = time.Duration(number(values["retention.ms"], -1)) * time.Millisecond
	c.RetentionBytes = number(values["retention.bytes"], -1)
	c.MaxMessage = number(values["max.message.bytes"], 0)
	return c, nil
}

// configValues are the settings of the one resource that was asked for.
func configValues(answer kadm.ResourceConfigs, err error) (map[string]string, error) {
	if err != nil {
		return nil, err
	}
	values := map[string]string{}
	for _, r := range answer {
		if r.Err != nil {
			return nil, r.Err
		}
		for _, c := range r.Configs {
			values[c.Key] = c.MaybeValue()
		}
	}
	if len(values) == 0 {
		return nil, errUnanswered
	}
	return values, nil
}

func (i *inspector) brokerLimits(ctx context.Context, meta *kmsg.MetadataResponse) {
	if len(meta.Brokers) == 0 {
		i.out.LimitsErr = errUnanswered
		return
	}
	ctx, cancel := context.WithTimeout(ctx, inspectTimeout)
	defer cancel()
	answer, err := i.adm.DescribeBrokerConfigs(ctx, meta.Brokers[0].NodeID)
	values, err := configValues(answer, err)
	if err != nil {
		i.out.LimitsErr = err
		return
	}
	millis := func(key string) time.Duration { return time.Duration(number(values[key], 0)) * time.Millisecond }
	i.out.Limits = BrokerLimits{OffsetMetadata: int(number(values["offset.metadata.max.bytes"], 0)), MinSession: millis("group.min.session.timeout.ms"),
		MaxSession: millis("group.max.session.timeout.ms"), ConsumerMaxSession: millis("group.consumer.max.session.timeout.ms")}
}

func (i *inspector) group(ctx context.Context) {
	if i.want.Group == "" {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, groupTimeout)
	defer cancel()
	g := &i.out.Group
	for {
		*g = GroupState{}
		i.describeGroup(ctx, g)
		// The brokers' own log of offsets may be in the making.
		if !kerr.IsRetriable(g.Err) || !sleep(ctx, 100*time.Millisecond) {
			break
		}
	}
	if g.Denied || g.Err != nil {
		return
	}
	g.Committed, g.CommittedErr = i.committed(ctx)
}

func (i *inspector) describeGroup(ctx context.Context, g *GroupState) {
	req := kmsg.NewPtrDescribeGroupsRequest()
	req.Groups = []string{i.want.Group}
	req.IncludeAuthorizedOperations = true
	answer, err := req.RequestWith(ctx, i.cl)
	if err == nil && len(answer.Groups) == 0 {
		err = errUnanswered
	}
	if err != nil {
		g.Denied, g.Err = errors.Is(err, kerr.GroupAuthorizationFailed), err
		return
	}
	of := &answer.Groups[0]
	g.State = of.State
	g.RightsKnown = of.AuthorizedOperations != opsUnknown
	g.MayRead = of.AuthorizedOperations&opRead != 0
	for m := range of.Members {
		g.Members = append(g.Members, GroupMember{of.Members[m].ClientID, of.Members[m].ClientHost})
	}
	switch err := kerr.ErrorForCode(of.ErrorCode); {
	case errors.Is(err, kerr.GroupAuthorizationFailed):
		g.Denied, g.Err = true, err
	case errors.Is(err, kerr.GroupIDNotFound): // there is none, or it is one of the consumer protocol
		g.RightsKnown = g.RightsKnown && of.AuthorizedOperations != 0
		i.consumerGroup(ctx, g)
	default:
		g.Err = err
	}
}

// consumerGroup asks about a group of the consumer protocol.
func (i *inspector) consumerGroup(ctx context.Context, g *GroupState) {
	described, err := i.adm.DescribeConsumerGroups(ctx, i.want.Group)
	of := described[i.want.Group]
	if err != nil || of.Err != nil {
		return // there is none
	}
	g.State = of.State
	for m := range of.Members {
		g.Members = append(g.Members, GroupMember{of.Members[m].ClientID, of.Members[m].ClientHost})
	}
}

func (i *inspector) committed(ctx context.Context) (map[waybill.TopicPartition]Committed, error) {
	answer, err := i.adm.FetchOffsets(ctx, i.want.Group)
	if errors.Is(err, kerr.GroupIDNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	out := map[waybill.TopicPartition]Committed{}
	for _, topic := range i.want.Topics {
		for p, o := range answer[topic] {
			if o.Err != nil {
				return nil, o.Err
			}
			if o.At >= 0 {
				out[waybill.TopicPartition{Topic: topic, Partition: p}] = Committed{Offset: o.At, Metadata: o.Metadata}
			}
		}
	}
	return out, nil
}

// sleep reports false if the context ends first.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}

// probeAll asks each address on its own, all at once.
func (i *inspector) probeAll(ctx context.Context, addrs []string) []Endpoint {
	out := make([]Endpoint, len(addrs))
	var wg sync.WaitGroup
	for n, addr := range addrs {
		wg.Go(func() { out[n] = i.probe(ctx, addr) })
	}
	wg.Wait()
	return out
}

func number(text string, otherwise int64) int64 {
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return otherwise
	}
	return n
}
