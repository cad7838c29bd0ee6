package clickhouse

import (
	"context"
	"errors"
	"sync"
)

var errPoolClosed = errors.New("client is closed")

// pool keeps idle connections, newest first, and bounds how many there are.
type pool struct {
	dial  func(context.Context) (*conn, error)
	fit   func(*conn) bool // an idle connection that is not is closed
	slots chan struct{}    // one element per connection in use

	mu     sync.Mutex
	idle   []*conn // len(idle) + len(slots) <= cap(slots) when nobody is between get and put
	closed bool
}

func newPool(size int, dial func(context.Context) (*conn, error), fit func(*conn) bool) *pool {
	return &pool{dial: dial, fit: fit, slots: make(chan struct{}, size)}
}

// get takes an idle connection that is still open, or dials. The caller gives it back with put.
func (p *pool) get(ctx context.Context) (*conn, error) {
	select {
	case p.slots <- struct{}{}:
	case <-ctx.Done():
		return nil, &notSentError{context.Cause(ctx)}
	}
	for {
		cn, err := p.popIdle()
		if err != nil {
			<-p.slots
			return nil, err
		}
		if cn == nil {
			break
		}
		if cn.usable() && p.fit(cn) {
			return cn, nil
		}
		cn.close()
	}
	cn, err := p.dial(ctx)
	if err != nil {
		<-p.slots
		return nil, err
	}
	return cn, nil
}

func (p *pool) popIdle() (*conn, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return nil, &notSentError{errPoolClosed}
	}
	n := len(p.idle)
	if n == 0 {
		return nil, nil
	}
	cn := p.idle[n-1]
	p.idle = p.idle[:n-1]
	return cn, nil
}

// put gives a connection back; one that is not reusable is closed.
func (p *pool) put(cn *conn, reusable bool) {
	p.mu.Lock()
	keep := reusable && !p.closed && cn.reusable()
	if keep {
		p.idle = append(p.idle, cn)
	}
	var old *conn // the newest are used first, so that the oldest may lie here for ever
	if len(p.idle) > 0 && !p.idle[0].young() {
		old, p.idle = p.idle[0], p.idle[1:]
	}
	p.mu.Unlock()
	if old != nil {
		old.close()
	}
	if !keep {
		cn.close()
	}
	<-p.slots
}

func (p *pool) close() {
	p.mu.Lock()
	idle := p.idle
	p.idle, p.closed = nil, true
	p.mu.Unlock()
	for _, cn := range idle {
		cn.close()
	}
}
