// Package clickhouse is the adapter to ClickHouse, over its native protocol (by ch-go) or over HTTP: the only place that knows
// what is on the wire, the server's settings and its error codes.
//
// What it answers with are facts, not decisions: an [Answer] says what the server said about one INSERT, [Client.Present]
// says which offsets a table holds. What follows from them is package delivery's to decide.
package clickhouse

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strconv"
	"time"

	"github.com/ClickHouse/ch-go"
	"github.com/ClickHouse/ch-go/proto"

	waybill "github.com/waybill-data/waybill"
)

// The oldest server that Waybill works with: the first LTS release that has nowInBlock64, which the server-side deadline of an
// INSERT rests on.
const (
	minMajor = 25
	minMinor = 8
)

// Defaults of Config.
const (
	DefaultDialTimeout   = 5 * time.Second
	DefaultInsertTimeout = 60 * time.Second
	DefaultQueryTimeout  = 60 * time.Second
	DefaultConnections   = 4
	DefaultConnectionAge = 10 * time.Minute
)

// Config says where the server is and how long it may take.
type Config struct {
	Addr string // host:port where Protocol is spoken, as in "localhost:9000"
	// Others are further hosts, for when those before do not answer: replicas of the same tables, see Guard.
	Others   []string
	Protocol Protocol
	User     string // empty: "default"
	Password string
	// PasswordFile holds the password instead; it is read for each new connection.
	PasswordFile string
	Database     string // the session's database; empty: "default"
	TLS          *TLS   // nil: no TLS

	DialTimeout   time.Duration // connect and handshake; 0: DefaultDialTimeout
	InsertTimeout time.Duration // one INSERT, from acquiring the connection to the answer; 0: DefaultInsertTimeout
	QueryTimeout  time.Duration // any other statement; 0: DefaultQueryTimeout
	Connections   int           // at most this many at once; 0: DefaultConnections
	// ConnectionAge is how long a connection is used before another takes its place, which resolves the host's name anew, and reads
	// password and certificates again; 0: DefaultConnectionAge.
	ConnectionAge time.Duration
	// Quorum is the server's insert_quorum: on how many replicas a block must be before it is acknowledged, or "auto"; empty: not said.
	Quorum string

	// Compression of blocks on their way to the server; empty: CompressionAuto.
	Compression Compression
	// Background: statements give way to the inserts of clients that are not, see rank.go.
	Background bool
}

// Deps is what the client needs from its surroundings.
type Deps struct {
	Clock  func() time.Time // nil: time.Now
	Logger *slog.Logger     // nil: discards
	// Dial opens a TCP connection; nil: a dialer of our own, which asks the resolver each time.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
}

// Client is a small pool of connections to one server. It is safe for concurrent use. Connections are made when they are
// needed, so that a server that went away and came back is simply used again.
type Client struct {
	cfg  Config
	now  func() time.Time
	log  *slog.Logger
	tcp  func(ctx context.Context, network, address string) (net.Conn, error)
	pool *pool
	host host // which of the hosts is spoken to

	// Fixed by Open; a server that is upgraded while the worker runs is noticed at the next dial (see conn.go).
	server   Server
	settings insertSettings
	reads    []ch.Setting // of SELECTs

	clock serverClock
}

// Server is what the server said of itself when the client was opened.
type Server struct {
	Version  string // "26.7.2"
	Timezone string // IANA name
	Host     string // its own display name
}

// Open connects, refuses a server that is too old, checks that the user may set everything an exactly-once INSERT needs and
// measures the server's clock. The error is a *waybill.Error: retryable when nobody answers, config when a person must act.
func Open(ctx context.Context, cfg Config, deps Deps) (*Client, error) {
	c := newClient(cfg, deps)
	if err := c.start(ctx); err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

func newClient(cfg Config, deps Deps) *Client {
	if cfg.User == "" {
		cfg.User = "default"
	}
	if cfg.DialTimeout <= 0 {
		cfg.DialTimeout = DefaultDialTimeout
	}
	if cfg.InsertTimeout <= 0 {
		cfg.InsertTimeout = DefaultInsertTimeout
	}
	if cfg.QueryTimeout <= 0 {
		cfg.QueryTimeout = DefaultQueryTimeout
	}
	if cfg.Connections <= 0 {
		cfg.Connections = DefaultConnections
	}
	if cfg.ConnectionAge <= 0 {
		cfg.ConnectionAge = DefaultConnectionAge
	}
	if deps.Dial == nil {
		d := net.Dialer{
			KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: 10 * time.Second, Interval: 5 * time.Second, Count: 3},
			Control:         socketOptions,
		}
		deps.Dial = d.DialContext
	}
	if deps.Clock == nil {
		deps.Clock = time.Now
	}
	if deps.Logger == nil {
		deps.Logger = slog.New(slog.DiscardHandler)
	}
	c := &Client{cfg: cfg, now: deps.Clock, log: deps.Logger, tcp: deps.Dial, reads: readSettings}
	c.pool = newPool(cfg.Connections, c.dial, c.current)
	return c
}

func (c *Client) start(ctx context.Context) error {
	if err := c.cfg.Compression.check(); err != nil {
		return &waybill.Error{Op: "clickhouse.open", Class: waybill.ClassConfig, Err: err}
	}
	ctx, cancel := context.WithTimeout(ctx, c.cfg.DialTimeout)
	defer cancel()
	err := c.withConn(ctx, "clickhouse.open", func(ctx context.Context, cn *conn) error {
		hello := cn.hello()
		c.server = Server{
			Version:  fmt.Sprintf("%d.%d.%d", hello.Major, hello.Minor, hello.Patch),
			Timezone: hello.Timezone,
			Host:     hello.DisplayName,
		}
		if err := c.measure(ctx, cn); err != nil {
			return err
		}
		return c.pinSettings(ctx, cn)
	})
	if err != nil {
		return err
	}
	if c.cfg.Quorum != "" {
		// Several at once, as batches are; the wait for the replicas is part of the statement's time.
		c.settings = c.settings.with(ch.Setting{Key: "insert_quorum", Value: c.cfg.Quorum, Important: true}, ch.Setting{Key: "insert_quorum_parallel", Value: "1", Important: true},
			ch.Setting{Key: "insert_quorum_timeout", Value: strconv.FormatInt(c.cfg.InsertTimeout.Milliseconds(), 10), Important: true})
	}
	return c.rankSelf(ctx)
}

// checkVersion refuses servers that lack what the protocol rests on.
func checkVersion(hello proto.ServerHello) error {
	if hello.Major > minMajor || hello.Major == minMajor && hello.Minor >= minMinor {
		return nil
	}
	return &waybill.Error{
		Op:    "clickhouse.open",
		Class: waybill.ClassConfig,
		Hint:  "upgrade the server",
		Err:   fmt.Errorf("ClickHouse %d.%d is too old: Waybill needs %d.%d or newer", hello.Major, hello.Minor, minMajor, minMinor),
	}
}

// Server is what the server said of itself at Open.
func (c *Client) Server() Server { return c.server }

// Close closes the idle connections; those in use are closed when their statement ends.
func (c *Client) Close() { c.pool.close() }

// withConn runs f on a connection and gives the connection back if f succeeded. After any error it is closed: what is still
// on the wire of a failed statement must not be read as the answer to the next one.
func (c *Client) withConn(ctx context.Context, op string, f func(context.Context, *conn) error) error {
	cn, err := c.pool.get(ctx)
	if err != nil {
		return opError(op, err)
	}
	err = cn.run(ctx, f)
	c.pool.put(cn, err == nil)
	return opError(op, err)
}

// opError makes err a classified *waybill.Error of operation op; nil stays nil.
func opError(op string, err error) error {
	if err == nil {
		return nil
	}
	var e *waybill.Error
	if errors.As(err, &e) {
		return err
	}
	return Classify(op, err)
}
