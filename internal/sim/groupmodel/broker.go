// Package groupmodel is a deterministic, in-memory model of a Kafka broker that holds one topic and
// the coordinator of one classic consumer group with the cooperative protocol. It has no goroutines,
// no clock and no chance: time is handed in as milliseconds, and requests are values that a simulator
// may deliver late, twice or never. What it claims is what the conformance suite
// (internal/conformance) also asks of real brokers.
//
// A member has two sides here. The coordinator's knows member ids, generations and sessions; the
// client's (Poll, AckRevoked) does what a well-behaved consumer does, and only when it is asked to:
// a client that is not polled is a zombie, and is kicked when its session ends.
package groupmodel

import (
	"fmt"
	"maps"
	"slices"
)

// Code is a Kafka error code; 0 is none.
type Code int16

// Codes that the model answers with, as Kafka numbers them.
const (
	OK                     Code = 0
	OffsetOutOfRange       Code = 1
	UnknownTopicPartition  Code = 3
	OffsetMetadataTooLarge Code = 12
	IllegalGeneration      Code = 22
	UnknownMemberID        Code = 25
	RebalanceInProgress    Code = 27
	NonEmptyGroup          Code = 68
	GroupIDNotFound        Code = 69
)

var codeNames = map[Code]string{
	OK: "OK", OffsetOutOfRange: "OFFSET_OUT_OF_RANGE", UnknownTopicPartition: "UNKNOWN_TOPIC_OR_PARTITION",
	OffsetMetadataTooLarge: "OFFSET_METADATA_TOO_LARGE", IllegalGeneration: "ILLEGAL_GENERATION",
	UnknownMemberID: "UNKNOWN_MEMBER_ID", RebalanceInProgress: "REBALANCE_IN_PROGRESS",
	NonEmptyGroup: "NON_EMPTY_GROUP", GroupIDNotFound: "GROUP_ID_NOT_FOUND",
}

func (c Code) String() string {
	if name, ok := codeNames[c]; ok {
		return name
	}
	return fmt.Sprintf("code %d", int16(c))
}

// Config of a broker. Durations are milliseconds; zero values get Kafka's defaults.
type Config struct {
	Topic            string
	Partitions       int
	SessionTimeout   int64 // 45,000
	RebalanceTimeout int64 // 60,000
	// MaxMetadata is offset.metadata.max.bytes: 4,096.
	MaxMetadata int
}

// Broker is the model. Not safe for concurrent use.
type Broker struct {
	// Trace, if set, is told of everything that the broker does, one line each.
	Trace func(string)

	cfg     Config
	topicID uint64
	logs    []*log
	group   group
	clients map[string]*client // by name
	joins   int                // number of member ids given out
}

// New is a broker with an empty topic and no group.
func New(cfg Config) *Broker {
	if cfg.SessionTimeout == 0 {
		cfg.SessionTimeout = 45_000
	}
	if cfg.RebalanceTimeout == 0 {
		cfg.RebalanceTimeout = 60_000
	}
	if cfg.MaxMetadata == 0 {
		cfg.MaxMetadata = 4096
	}
	b := &Broker{cfg: cfg, topicID: 1, clients: map[string]*client{}, group: newGroup()}
	b.grow(cfg.Partitions)
	return b
}

// Config of the broker, defaults filled in.
func (b *Broker) Config() Config { return b.cfg }

// Topic is the topic's name.
func (b *Broker) Topic() string { return b.cfg.Topic }

// TopicID changes when the topic is recreated.
func (b *Broker) TopicID() uint64 { return b.topicID }

// Partitions is the topic's number of partitions.
func (b *Broker) Partitions() int32 { return int32(len(b.logs)) }

func (b *Broker) trace(format string, args ...any) {
	if b.Trace != nil {
		b.Trace("kafka: " + fmt.Sprintf(format, args...))
	}
}

// Beside is a broker for another group on the same topic: what is produced to b is there, too. b may not grow or be recreated.
func (b *Broker) Beside() *Broker {
	return &Broker{Trace: b.Trace, cfg: b.cfg, topicID: b.topicID, logs: b.logs, group: newGroup(), clients: map[string]*client{}}
}

// Clone is a broker that shares nothing with b that either may change.
func (b *Broker) Clone() *Broker {
	c := *b
	c.logs = make([]*log, len(b.logs))
	for i, l := range b.logs {
		d := *l
		d.records = slices.Clone(l.records)
		c.logs[i] = &d
	}
	c.clients = map[string]*client{}
	for name, x := range b.clients {
		y := *x
		y.owned, y.revoking = slices.Clone(x.owned), slices.Clone(x.revoking)
		c.clients[name] = &y
	}
	c.group = b.group.clone()
	return &c
}

func sortedKeys[K ~int32 | ~string, V any](m map[K]V) []K { return slices.Sorted(maps.Keys(m)) }
