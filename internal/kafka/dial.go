package kafka

import (
	"context"
	"errors"
	"net"
	"sync"
)

// dialer opens a client's connections and can cut them all, for good: that is how a membership is dropped without the
// goodbye that the client would otherwise send.
type dialer struct {
	cfg Config

	mu    sync.Mutex
	cut   bool
	conns map[*trackedConn]struct{}
}

var errCut = errors.New("connections of this session were cut")

func newDialer(cfg Config) *dialer {
	return &dialer{cfg: cfg, conns: make(map[*trackedConn]struct{})}
}

func (d *dialer) dial(ctx context.Context, network, address string) (net.Conn, error) {
	raw, err := d.cfg.Dialer(ctx, network, address)
	if err != nil {
		return nil, err
	}
	conn, err := d.secure(ctx, raw, address)
	if err != nil {
		_ = raw.Close() // the handshake's error says more
		return nil, err
	}
	t := &trackedConn{Conn: conn, d: d}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.cut {
		_ = conn.Close()
		return nil, errCut
	}
	d.conns[t] = struct{}{}
	return t, nil
}

func (d *dialer) secure(ctx context.Context, raw net.Conn, address string) (net.Conn, error) {
	if d.cfg.TLS == nil {
		return raw, nil
	}
	return d.cfg.TLS.Client(ctx, raw, address)
}

func (d *dialer) cutAll() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.cut = true
	for c := range d.conns {
		_ = c.Conn.Close()
	}
}

type trackedConn struct {
	net.Conn
	d *dialer
}

func (c *trackedConn) Close() error {
	c.d.mu.Lock()
	delete(c.d.conns, c)
	c.d.mu.Unlock()
	return c.Conn.Close()
}
