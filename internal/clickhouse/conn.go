package clickhouse

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"time"

	"github.com/ClickHouse/ch-go"
)

// conn is one connection to the server. It belongs to one statement at a time.
type conn struct {
	ch  *ch.Client
	raw net.Conn // the TCP socket under a possible TLS layer
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
	session := raw
	if c.cfg.TLS != nil {
		session = tls.Client(raw, tlsConfig(c.cfg))
	}
	stop := context.AfterFunc(ctx, func() { _ = raw.Close() }) // ch-go's handshake may sit in a read
	client, err := ch.Connect(ctx, session, c.options())
	if !stop() && err == nil {
		err = context.Cause(ctx)
	}
	if err == nil {
		err = checkVersion(client.ServerInfo())
	}
	if err != nil {
		_ = raw.Close()
		return nil, &notSentError{err}
	}
	return &conn{ch: client, raw: raw}, nil
}

func (c *Client) options() ch.Options {
	o := ch.Options{
		User:             c.cfg.User,
		Password:         c.cfg.Password,
		Database:         c.cfg.Database,
		ClientName:       "waybill",
		HandshakeTimeout: c.cfg.DialTimeout,
		ReadTimeout:      ch.NoTimeout, // run closes the socket when its context ends
	}
	if c.cfg.Compress {
		o.Compression = ch.CompressionLZ4
	}
	return o
}

func tlsConfig(cfg Config) *tls.Config {
	t := cfg.TLS.Clone()
	if t.ServerName == "" && !t.InsecureSkipVerify {
		t.ServerName, _, _ = net.SplitHostPort(cfg.Addr)
	}
	return t
}

// run runs f and closes the socket when ctx ends first. ch-go arms a read deadline only for the first byte of a packet, so a
// server that stops in the middle of one would hold the caller for ever.
func (cn *conn) run(ctx context.Context, f func(*conn) error) error {
	stop := context.AfterFunc(ctx, func() { _ = cn.raw.Close() })
	err := f(cn)
	if !stop() {
		return errors.Join(context.Cause(ctx), err)
	}
	return err
}

func (cn *conn) close() {
	_ = cn.ch.Close()
	_ = cn.raw.Close()
}

// notSentError is a failure before any statement was sent.
type notSentError struct{ err error }

func (e *notSentError) Error() string { return e.err.Error() }
func (e *notSentError) Unwrap() error { return e.err }
