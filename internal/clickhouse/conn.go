package clickhouse

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"time"
)

// conn is one connection to the server. It belongs to one statement at a time.
type conn struct {
	transport
	raw  net.Conn // the TCP socket under a possible TLS layer
	wire net.Conn // that layer, or raw
	host int      // which of the client's hosts it leads to
	// server is the serverUUID of who answers; empty: nobody has asked.
	server string
	born   time.Time
	age    time.Duration // after which no other statement is to begin on it
	now    func() time.Time
}

// dialHost connects to one of the hosts. The name is resolved each time, and what is in files is read anew.
func (c *Client) dialHost(ctx context.Context, number int) (*conn, error) {
	ctx, cancel := context.WithTimeout(ctx, c.cfg.DialTimeout)
	defer cancel()
	cfg := c.cfg
	cfg.Addr = c.hosts()[number]
	var err error
	if cfg.Password, err = cfg.password(); err != nil {
		return nil, &notSentError{err}
	}
	raw, err := c.tcp(ctx, "tcp", cfg.Addr)
	if err != nil {
		return nil, &notSentError{err}
	}
	cn := &conn{raw: raw, wire: raw, host: number, born: c.now(), age: c.cfg.ConnectionAge, now: c.now}
	if err := cn.run(ctx, func(ctx context.Context, cn *conn) error { return c.handshake(ctx, cn, cfg) }); err != nil {
		cn.close()
		return nil, &notSentError{err}
	}
	return cn, nil
}

// handshake makes the connection ready for statements and refuses a server that is too old.
func (c *Client) handshake(ctx context.Context, cn *conn, cfg Config) (err error) {
	if cfg.TLS != nil {
		secure, err := cfg.TLS.config(cfg.Addr)
		if err != nil {
			return err
		}
		over := tls.Client(cn.raw, secure)
		cn.wire = over
		if err := over.HandshakeContext(ctx); err != nil {
			return err
		}
	}
	if cfg.Protocol == HTTP {
		cn.transport, err = dialHTTP(ctx, cn.raw, cn.wire, cfg, c.now)
	} else {
		cn.transport, err = dialNative(ctx, cn.raw, cn.wire, cfg)
	}
	if err != nil {
		return err
	}
	return checkVersion(cn.hello())
}

// run runs f and closes the socket when ctx ends first: neither transport looks at ctx while it reads or writes. (ch-go arms a
// read deadline, but only for the first byte of a packet.)
func (cn *conn) run(ctx context.Context, f func(context.Context, *conn) error) error {
	stop := context.AfterFunc(ctx, func() { _ = cn.raw.Close() })
	err := f(ctx, cn)
	if !stop() {
		return errors.Join(context.Cause(ctx), err)
	}
	return err
}

// usable reports whether an idle connection may carry another statement.
func (cn *conn) usable() bool { return cn.reusable() && cn.young() && alive(cn.raw) }

// young: it is not time yet to look where the name leads now.
func (cn *conn) young() bool { return cn.now().Sub(cn.born) < cn.age }

func (cn *conn) close() {
	_ = cn.wire.Close()
	_ = cn.raw.Close()
}

// notSentError is a failure before any statement was sent.
type notSentError struct{ err error }

// NotSent reports whether an error came before anything was sent: there was no connection to be had.
func NotSent(err error) bool {
	var e *notSentError
	return errors.As(err, &e)
}

func (e *notSentError) Error() string { return e.err.Error() }
func (e *notSentError) Unwrap() error { return e.err }
