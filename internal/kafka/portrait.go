package kafka

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Portrait is what the brokers say of themselves, of topics and of groups, for somebody who helps from afar. It has settings as brokers tell them,
// without those that they call sensitive, and nothing of any record.
type Portrait struct {
	ClusterID string           `json:"cluster_id"`
	Brokers   []BrokerPortrait `json:"brokers"`
	Topics    []TopicPortrait  `json:"topics"`
	Groups    []GroupPortrait  `json:"groups"`
	// Lacks are questions that were not answered, and why.
	Lacks []string `json:"-"`
}

// BrokerPortrait is a broker as the cluster tells of it.
type BrokerPortrait struct {
	ID       int32     `json:"id"`
	Host     string    `json:"host"`
	Port     int32     `json:"port"`
	Rack     string    `json:"rack,omitempty"`
	Settings []Setting `json:"settings,omitempty"`
}

// Setting is one of a broker or a topic.
type Setting struct {
	Name   string `json:"name"`
	Value  string `json:"value"`
	Source string `json:"source"`
}

// TopicPortrait is a topic.
type TopicPortrait struct {
	Name       string              `json:"name"`
	ID         string              `json:"id"`
	Partitions []PartitionPortrait `json:"partitions"`
	Settings   []Setting           `json:"settings"`
}

// PartitionPortrait is a partition; offsets are -1 where they are not known.
type PartitionPortrait struct {
	Partition int32   `json:"partition"`
	Leader    int32   `json:"leader"`
	Replicas  []int32 `json:"replicas"`
	InSync    []int32 `json:"in_sync"`
	Start     int64   `json:"start"`
	StableEnd int64   `json:"stable_end"`
	End       int64   `json:"end"`
}

// GroupPortrait is a consumer group with what it has committed.
type GroupPortrait struct {
	Name      string             `json:"name"`
	State     string             `json:"state"`
	Protocol  string             `json:"protocol"`
	Members   []MemberPortrait   `json:"members"`
	Committed []PositionPortrait `json:"committed"`
}

// MemberPortrait is somebody in a group.
type MemberPortrait struct {
	ID       string `json:"id"`
	Instance string `json:"instance,omitempty"`
	Client   string `json:"client"`
	Host     string `json:"host"`
	Assigned string `json:"assigned"`
}

// PositionPortrait is what a group has committed of a partition. Lag is -1 where it is not known.
type PositionPortrait struct {
	Topic     string `json:"topic"`
	Partition int32  `json:"partition"`
	Offset    int64  `json:"offset"`
	Metadata  string `json:"metadata"`
	Lag       int64  `json:"lag"`
}

// Draw asks for a Portrait of topics and groups. It changes nothing, and goes on after each fault; the error is one of the connection.
func Draw(ctx context.Context, cfg Config, topics, groups []string) (Portrait, error) {
	cfg = cfg.withDefaults()
	cfg.Log = slog.New(slog.DiscardHandler)
	i := &inspector{cfg: cfg}
	cl, err := i.newClient()
	if err != nil {
		return Portrait{}, err
	}
	defer cl.Close()
	i.cl, i.adm = cl, kadm.NewClient(cl)
	meta, err := i.metadata(ctx, topics)
	if err != nil {
		return Portrait{}, err
	}
	p := &painter{inspector: i}
	p.out.Brokers, p.out.Topics, p.out.Groups = []BrokerPortrait{}, []TopicPortrait{}, []GroupPortrait{}
	if meta.ClusterID != nil {
		p.out.ClusterID = *meta.ClusterID
	}
	p.brokers(ctx, meta)
	p.topics(ctx, topics)
	for _, name := range groups {
		p.group(ctx, name)
	}
	return p.out, nil
}

type painter struct {
	*inspector
	out Portrait
}

func (p *painter) lacks(what string, err error) {
	if err != nil {
		p.out.Lacks = append(p.out.Lacks, fmt.Sprintf("%s: %v", what, err))
	}
}

func (p *painter) brokers(ctx context.Context, meta *kmsg.MetadataResponse) {
	for _, b := range meta.Brokers {
		one := BrokerPortrait{ID: b.NodeID, Host: b.Host, Port: b.Port}
		if b.Rack != nil {
			one.Rack = *b.Rack
		}
		p.out.Brokers = append(p.out.Brokers, one)
	}
	slices.SortFunc(p.out.Brokers, func(a, b BrokerPortrait) int { return cmp.Compare(a.ID, b.ID) })
	for i := range p.out.Brokers {
		b := &p.out.Brokers[i]
		ctx, cancel := context.WithTimeout(ctx, inspectTimeout)
		answer, err := p.adm.DescribeBrokerConfigs(ctx, b.ID)
		cancel()
		b.Settings, err = settingsOf(answer, err)
		p.lacks(fmt.Sprintf("settings of broker %d", b.ID), err)
	}
}

// settingsOf are the settings of the one resource that was asked for, by name.
func settingsOf(answer kadm.ResourceConfigs, err error) ([]Setting, error) {
	out := []Setting{}
	for _, r := range answer {
		if err == nil {
			err = r.Err
		}
		for _, c := range r.Configs {
			if !c.Sensitive {
				out = append(out, Setting{Name: c.Key, Value: c.MaybeValue(), Source: c.Source.String()})
			}
		}
	}
	slices.SortFunc(out, func(a, b Setting) int { return cmp.Compare(a.Name, b.Name) })
	return out, err
}

func (p *painter) topics(ctx context.Context, names []string) {
	ctx, cancel := context.WithTimeout(ctx, groupTimeout)
	defer cancel()
	described := kadm.TopicDetails{}
	for _, name := range names {
		all, err := p.adm.ListTopics(ctx, name)
		p.lacks("topic "+name, errors.Join(err, all.Error()))
		if t, ok := all[name]; ok && t.Err == nil {
			described[name] = t
		}
	}
	start, err := p.adm.ListStartOffsets(ctx, names...)
	p.lacks("where topics begin", err)
	stable, err := p.adm.ListCommittedOffsets(ctx, names...)
	p.lacks("where topics end before open transactions", err)
	end, err := p.adm.ListEndOffsets(ctx, names...)
	p.lacks("where topics end", err)
	at := func(listed kadm.ListedOffsets, topic string, partition int32) int64 {
		if o, ok := listed.Lookup(topic, partition); ok && o.Err == nil {
			return o.Offset
		}
		return -1
	}
	for _, name := range names {
		t, ok := described[name]
		if !ok {
			continue
		}
		one := TopicPortrait{Name: name, ID: t.ID.String(), Partitions: []PartitionPortrait{}}
		for _, q := range t.Partitions.Sorted() {
			one.Partitions = append(one.Partitions, PartitionPortrait{Partition: q.Partition, Leader: q.Leader, Replicas: q.Replicas, InSync: q.ISR,
				Start: at(start, name, q.Partition), StableEnd: at(stable, name, q.Partition), End: at(end, name, q.Partition)})
		}
		answer, err := p.adm.DescribeTopicConfigs(ctx, name)
		one.Settings, err = settingsOf(answer, err)
		p.lacks("settings of topic "+name, err)
		p.out.Topics = append(p.out.Topics, one)
	}
}

func (p *painter) group(ctx context.Context, name string) {
	ctx, cancel := context.WithTimeout(ctx, groupTimeout)
	defer cancel()
	g := GroupPortrait{Name: name, Members: []MemberPortrait{}, Committed: []PositionPortrait{}}
	classic, err := p.adm.DescribeGroups(ctx, name)
	if of, ok := classic[name]; err == nil && ok && of.Err == nil {
		g.State, g.Protocol = of.State, of.Protocol
		for _, m := range of.Members {
			one := MemberPortrait{ID: m.MemberID, Client: m.ClientID, Host: m.ClientHost}
			if m.InstanceID != nil {
				one.Instance = *m.InstanceID
			}
			if assigned, ok := m.Assigned.AsConsumer(); ok {
				for _, t := range assigned.Topics {
					one.Assigned += fmt.Sprintf("%s%v", t.Topic, t.Partitions)
				}
			}
			g.Members = append(g.Members, one)
		}
	} else if err == nil {
		err = of.Err
	}
	if len(g.Members) == 0 { // it may be one of the other protocol
		if newer, otherwise := p.adm.DescribeConsumerGroups(ctx, name); otherwise == nil && newer[name].Err == nil && newer[name].State != "" {
			err = nil
			g.State, g.Protocol = newer[name].State, "consumer"
			for _, m := range newer[name].Members {
				one := MemberPortrait{ID: m.MemberID, Client: m.ClientID, Host: m.ClientHost, Assigned: fmt.Sprint(m.Assignment)}
				if m.InstanceID != nil {
					one.Instance = *m.InstanceID
				}
				g.Members = append(g.Members, one)
			}
		}
	}
	p.lacks("group "+name, err)
	slices.SortFunc(g.Members, func(a, b MemberPortrait) int { return cmp.Compare(a.ID, b.ID) })
	committed, err := p.adm.FetchOffsets(ctx, name)
	p.lacks("positions of group "+name, err)
	for _, o := range committed.Sorted() {
		if o.Err != nil {
			p.lacks(fmt.Sprintf("position of group %s in %s/%d", name, o.Topic, o.Partition), o.Err)
			continue
		}
		g.Committed = append(g.Committed, PositionPortrait{Topic: o.Topic, Partition: o.Partition, Offset: o.At, Metadata: o.Metadata, Lag: p.lag(o.Topic, o.Partition, o.At)})
	}
	p.out.Groups = append(p.out.Groups, g)
}

// lag is how many offsets a position is behind the end of its partition.
func (p *painter) lag(topic string, partition int32, at int64) int64 {
	for i := range p.out.Topics {
		if p.out.Topics[i].Name != topic {
			continue
		}
		for _, q := range p.out.Topics[i].Partitions {
			if q.Partition == partition && q.StableEnd >= 0 {
				return max(0, q.StableEnd-at)
			}
		}
	}
	return -1
}
