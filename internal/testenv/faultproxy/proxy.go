// Package faultproxy stands between a client and a server and does to their connections what networks do, on command, and
// counts what it really did: a test whose fault was never applied has shown nothing.
//
// It forwards TCP and knows just enough of ClickHouse's native protocol to answer for the server and to tell when an INSERT
// is done. It shares no code with the product.
package faultproxy

import (
	"errors"
	"fmt"
	"maps"
	"net"
	"sync"
	"sync/atomic"

	"github.com/waybill-data/waybill/internal/testenv/proc"
)

// Proxy listens on a port of 127.0.0.1, which it keeps over Down and Up, and forwards to its target.
type Proxy struct {
	addr    string
	workers sync.WaitGroup

	upBytes, downBytes atomic.Int64

	mu       sync.Mutex
	target   string
	fault    Fault
	gen      int           // counts Set; connections start anew on each
	changed  chan struct{} // closed by the next Set
	left     int           // connections that fault may still hit, if fault.times > 0
	applied  map[string]int64
	conns    map[*conn]struct{}
	listener net.Listener // nil while down
	closed   bool
}

// Start starts a proxy that passes everything to target ("host:port"). The target may be set later, by SetTarget.
func Start(target string) (*Proxy, error) {
	port, err := proc.FreePort()
	if err != nil {
		return nil, err
	}
	p := &Proxy{
		addr:    proc.Loopback(port),
		target:  target,
		changed: make(chan struct{}),
		applied: make(map[string]int64),
		conns:   make(map[*conn]struct{}),
	}
	return p, p.Up()
}

// Addr is where clients connect.
func (p *Proxy) Addr() string { return p.addr }

// SetTarget has new connections go to another server. A Kafka broker, which must be told its advertised address before it
// starts, is put behind a proxy this way.
func (p *Proxy) SetTarget(target string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.target = target
}

// Set replaces the fault, for open connections too. Connections that hang go on.
func (p *Proxy) Set(f Fault) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.fault, p.left = f, f.times
	p.gen++
	close(p.changed)
	p.changed = make(chan struct{})
}

// Stats says how often each fault was really applied since the proxy was started, by name.
func (p *Proxy) Stats() map[string]int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return maps.Clone(p.applied)
}

// Applied is one count of Stats.
func (p *Proxy) Applied(name string) int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.applied[name]
}

// Bytes says how many bytes were forwarded to the server and to the client.
func (p *Proxy) Bytes() (toServer, toClient int64) { return p.upBytes.Load(), p.downBytes.Load() }

// Connections says how many connections are open.
func (p *Proxy) Connections() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.conns)
}

// KillConnections resets all connections and says how many those were.
func (p *Proxy) KillConnections() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.killLocked()
}

func (p *Proxy) killLocked() int {
	n := len(p.conns)
	for c := range p.conns {
		c.reset()
		delete(p.conns, c)
	}
	p.applied[NameKill] += int64(n)
	return n
}

// Down closes the port and resets all connections, as if the server's process had ended.
func (p *Proxy) Down() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.listener == nil {
		return nil
	}
	err := p.listener.Close()
	p.listener = nil
	p.applied[NameDown]++
	p.killLocked()
	return err
}

// Up opens the port again.
func (p *Proxy) Up() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return errors.New("faultproxy: closed")
	}
	if p.listener != nil {
		return nil
	}
	l, err := net.Listen("tcp", p.addr)
	if err != nil {
		return fmt.Errorf("faultproxy: %w", err)
	}
	p.listener = l
	p.workers.Go(func() { p.accept(l) })
	return nil
}

// Close ends the proxy and its connections; nothing of it runs afterwards.
func (p *Proxy) Close() error {
	p.mu.Lock()
	p.closed = true
	var err error
	if p.listener != nil {
		err = p.listener.Close()
		p.listener = nil
	}
	for c := range p.conns {
		c.reset()
	}
	p.mu.Unlock()
	p.workers.Wait()
	return err
}

func (p *Proxy) accept(l net.Listener) {
	for {
		client, err := l.Accept()
		if err != nil {
			return // closed by Down or Close
		}
		p.workers.Go(func() { p.serve(client.(*net.TCPConn)) })
	}
}

func (p *Proxy) serve(client *net.TCPConn) {
	target, refused := p.admit()
	if refused {
		resetConn(client)
		return
	}
	server, err := net.Dial("tcp", target)
	if err != nil {
		resetConn(client) // the server is down: so are we
		return
	}
	c := &conn{p: p, client: client, server: server.(*net.TCPConn), gone: make(chan struct{})}
	if !p.add(c) {
		c.reset()
		return
	}
	c.run()
	p.remove(c)
}

// admit applies Refuse to a new connection.
func (p *Proxy) admit() (target string, refused bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.fault.kind != kindRefuse || p.fault.times > 0 && p.left == 0 {
		return p.target, false
	}
	p.left--
	p.applied[NameRefuse]++
	return "", true
}

func (p *Proxy) add(c *conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed || p.listener == nil {
		return false
	}
	p.conns[c] = struct{}{}
	return true
}

func (p *Proxy) remove(c *conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	c.release()
	delete(p.conns, c)
}

// resetConn closes with RST: the other side sees an error, not an orderly end.
func resetConn(c *net.TCPConn) {
	_ = c.SetLinger(0)
	_ = c.Close()
}
