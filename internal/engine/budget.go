package engine

import (
	"context"
	"sync"
)

// Budget bounds the bytes of records that all pipelines of a process hold, from before they are
// decoded until their batch is done with. Safe for concurrent use.
type Budget struct {
	mu      sync.Mutex
	size    int64
	used    int64
	changed chan struct{} // closed and replaced when something is given back
	observe func(used int64)
}

// NewBudget of size bytes; observe, if not nil, is told of every change.
func NewBudget(size int64, observe func(used int64)) *Budget {
	return &Budget{size: size, changed: make(chan struct{}), observe: observe}
}

// Take waits until n bytes are free. A request larger than the whole budget is granted when nothing
// else is held, so that no pipeline waits for ever.
func (b *Budget) Take(ctx context.Context, n int64) error {
	for {
		b.mu.Lock()
		if b.used == 0 || b.used+n <= b.size {
			b.add(n)
			b.mu.Unlock()
			return nil
		}
		changed := b.changed
		b.mu.Unlock()
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-changed:
		}
	}
}

// Force takes n bytes whether they are free or not: for recovery, which must go on.
func (b *Budget) Force(n int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.add(n)
}

// Give returns n bytes.
func (b *Budget) Give(n int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.add(-n)
	close(b.changed)
	b.changed = make(chan struct{})
}

func (b *Budget) add(n int64) {
	b.used += n
	if b.observe != nil {
		b.observe(b.used)
	}
}
