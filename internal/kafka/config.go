package kafka

import (
	"context"
	"log/slog"
	"net"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl"

	"github.com/waybill-data/waybill"
	"github.com/waybill-data/waybill/internal/kafka/auth"
)

// Protocol is how the group's members agree on who owns what.
type Protocol string

// The protocols of a consumer group.
const (
	ProtocolClassic  Protocol = "classic"  // JoinGroup and SyncGroup with the cooperative-sticky balancer
	ProtocolConsumer Protocol = "consumer" // KIP-848: the broker assigns; Kafka 4.0 and later
)

// Isolation says which records of transactions are read.
type Isolation string

// The isolation levels.
const (
	ReadCommitted   Isolation = "read_committed"
	ReadUncommitted Isolation = "read_uncommitted"
)

// Defaults for what Config leaves zero.
const (
	DefaultSessionTimeout    = 45 * time.Second
	DefaultHeartbeatInterval = 3 * time.Second
	DefaultMetadataMaxAge    = 30 * time.Second
	DefaultFetchMaxBytes     = 8 << 20
	DefaultPartitionMaxBytes = 1 << 20
)

// fetchMaxWait is how long, if nobody says otherwise, a broker may hold a fetch that finds nothing.
const fetchMaxWait = 250 * time.Millisecond

// Config describes a membership. Brokers, Topic and Group are required.
type Config struct {
	Brokers  []string // host:port
	Topic    string
	Group    string
	Protocol Protocol // empty means classic

	// SessionTimeout is after how long without a heartbeat the broker gives the member up. Under the consumer protocol the
	// broker's own setting rules; it is read at Open, and a smaller value here only shortens the lease.
	SessionTimeout    time.Duration
	HeartbeatInterval time.Duration // classic only; zero means a third of a short session timeout, else the default
	RebalanceTimeout  time.Duration // zero means the client's default, 60 s

	Isolation Isolation // empty means read_committed
	ClientID  string

	// InstanceID makes the membership static; empty: dynamic. Two members of one id throw each other out.
	InstanceID string
	// Rack is where this client is: a broker may have it read from a replica there. Empty: from leaders.
	Rack string

	// MetadataMaxAge bounds how long added partitions stay unnoticed.
	MetadataMaxAge time.Duration
	// FetchMaxBytes and PartitionMaxBytes bound one fetch response; a single larger batch still comes through.
	FetchMaxBytes     int32
	PartitionMaxBytes int32
	FetchMinBytes     int32         // what a broker waits for, as long as FetchMaxWait; zero: one byte
	FetchMaxWait      time.Duration // zero: 250 ms

	// TLS, if not nil, is laid over every connection. Its files are read for each.
	TLS *auth.TLS
	// SASL, if not nil, is how each connection says who it is.
	SASL sasl.Mechanism
	// Dialer opens connections; nil means TCP. TLS, if set, is laid over what it returns.
	Dialer func(ctx context.Context, network, address string) (net.Conn, error)
	Log    *slog.Logger // nil discards
	// Now is the wall clock with its monotonic reading, as time.Now gives it; nil means time.Now.
	Now func() time.Time
}

func (c Config) withDefaults() Config {
	set(&c.Protocol, ProtocolClassic)
	set(&c.Isolation, ReadCommitted)
	set(&c.MetadataMaxAge, DefaultMetadataMaxAge)
	set(&c.FetchMaxBytes, DefaultFetchMaxBytes)
	set(&c.PartitionMaxBytes, DefaultPartitionMaxBytes)
	set(&c.FetchMinBytes, 1)
	set(&c.FetchMaxWait, fetchMaxWait)
	if c.Protocol == ProtocolClassic {
		set(&c.SessionTimeout, DefaultSessionTimeout)
		set(&c.HeartbeatInterval, min(DefaultHeartbeatInterval, c.SessionTimeout/3))
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Dialer == nil {
		c.Dialer = (&net.Dialer{Timeout: 10 * time.Second}).DialContext
	}
	return c
}

func set[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

func (c Config) validate() error {
	switch {
	case len(c.Brokers) == 0, c.Topic == "", c.Group == "":
		return configError("kafka.open", "brokers, topic and group are required", "name all three in the source")
	case c.Protocol != ProtocolClassic && c.Protocol != ProtocolConsumer:
		return configError("kafka.open", "unknown group protocol "+string(c.Protocol), "use classic or consumer")
	case c.Isolation != ReadCommitted && c.Isolation != ReadUncommitted:
		return configError("kafka.open", "unknown isolation "+string(c.Isolation), "use read_committed or read_uncommitted")
	}
	return nil
}

// metadataMinAge lets a Start find its partition's leader without the client's default pause of 5 s.
const metadataMinAge = 250 * time.Millisecond

// clientOpts are the options of both clients.
func (c Config) clientOpts(dial *dialer) []kgo.Opt {
	opts := []kgo.Opt{
		kgo.SeedBrokers(c.Brokers...),
		kgo.Dialer(dial.dial),
		kgo.MetadataMaxAge(max(c.MetadataMaxAge, metadataMinAge)),
		kgo.MetadataMinAge(metadataMinAge),
	}
	if c.ClientID != "" {
		opts = append(opts, kgo.ClientID(c.ClientID))
	}
	if c.Rack != "" {
		opts = append(opts, kgo.Rack(c.Rack))
	}
	if c.SASL != nil {
		opts = append(opts, kgo.SASL(c.SASL))
	}
	return opts
}

// maxReadBytes is the largest response that is read: a single batch may exceed FetchMaxBytes.
func (c Config) maxReadBytes() int32 { return max(100<<20, c.FetchMaxBytes) }

func (c Config) isolation() kgo.IsolationLevel {
	if c.Isolation == ReadUncommitted {
		return kgo.ReadUncommitted()
	}
	return kgo.ReadCommitted()
}

// Callbacks tell about ownership. They run inside the client's own callbacks, before those return: the group waits for
// them. They must not block on the Session (Close, Poll, Commit); Start may be called later, from elsewhere.
// They are never called twice at once, and never with an empty list.
type Callbacks struct {
	// Assigned gives partitions, each under a new instance number (see Session.Instance). Nothing is fetched yet.
	Assigned func([]waybill.TopicPartition)
	// Revoked takes partitions in good order: until it returns, nobody else is given them.
	Revoked func([]waybill.TopicPartition)
	// Lost takes partitions that may have another owner already. The Session is over.
	Lost func([]waybill.TopicPartition)
}
