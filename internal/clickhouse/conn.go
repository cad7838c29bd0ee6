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
}

func (c *Client) dial(ctx context.Context) (*conn, error) {
	ctx, cancel := context.WithTimeout(ctx, c.cfg.DialTimeout)
	defer cancel()
	d := net.Dialer{
		KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: 10 * time.Second, Interval: 5 * time.Second, Count: 3},
		Control:         socketOptions,
	}
	raw, err := d.DialContext(ctx, "tcp", c.cfg.Addr)
	if err != nil {
		return nil, &notSentError{err}
	}
	cn := &conn{raw: raw, wire: raw}
	if c.cfg.TLS != nil {
		cn.wire = tls.Client(raw, tlsConfig(c.cfg))
	}
	if err := cn.run(ctx, c.handshake); err != nil {
		cn.close()
		return nil, &notSentError{err}
	}
	return cn, nil
}

// handshake makes the connection ready for statements and refuses a server that is too old.
func (c *Client) handshake(ctx context.Context, cn *conn) (err error) {
	if c.cfg.Protocol == HTTP {
		cn.transport, err = dialHTTP(ctx, cn.raw, cn.wire, c.cfg, c.now)
	} else {
		cn.transport, err = dialNative(ctx, cn.raw, cn.wire, c.cfg)
	}
	if err != nil {
		return err
	}
	return checkVersion(cn.hello())
}

func tlsConfig(cfg Config) *tls.Config {
	t := cfg.TLS.Clone()
	if t.ServerName == "" && !t.InsecureSkipVerify {
		t.ServerName, _, _ = net.SplitHostPort(cfg.Addr)
	}
	return t
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
func (cn *conn) usable() bool { return cn.reusable() && alive(cn.raw) }

func (cn *conn) close() {
	_ = cn.wire.Close()
	_ = cn.raw.Close()
}

// notSentError is a failure before any statement was sent.
type notSentError struct{ err error }

func (e *notSentError) Error() string { return e.err.Error() }
func (e *notSentError) Unwrap() error { return e.err }
