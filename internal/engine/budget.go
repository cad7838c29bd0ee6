package engine

import (
	"context"
	"slices"
	"sync"
)

// Budget bounds the bytes that the batches of all pipelines of a process take in memory, from before their
// records are decoded until they are done with. Safe for concurrent use.
//
// Half of it is divided among the pipelines, each of which can have its share at any time, a backfill a quarter of what a pipeline has; the other
// half is for whoever needs more. So pipelines whose server does not answer cannot hold up the rest. Nobody waits for bytes while
// holding a batch that could be closed (see gatherer.reserve): what is waited for always comes back.
type Budget struct {
	mu       sync.Mutex
	size     int64
	used     int64 // by all accounts
	accounts []*account
	changed  chan struct{} // closed and replaced when something is given back
	observe  func(used int64)
}

// NewBudget of size bytes; observe, if not nil, is told of every change.
func NewBudget(size int64, observe func(used int64)) *Budget {
	return &Budget{size: size, changed: make(chan struct{}), observe: observe}
}

// account is one pipeline's part in a budget.
type account struct {
	budget *Budget
	weight int64
	used   int64 // budget.mu guards it
}

// Weights of shares.
const (
	weightLive     = 4
	weightBackfill = 1
)

// account opens one more.
func (b *Budget) account(weight int64) *account {
	b.mu.Lock()
	defer b.mu.Unlock()
	a := &account{budget: b, weight: weight}
	b.accounts = append(b.accounts, a)
	return a
}

// close ends an account: its share is the others' from here on. What it may hold still stays taken.
func (a *account) close() {
	b := a.budget
	b.mu.Lock()
	defer b.mu.Unlock()
	b.accounts = slices.DeleteFunc(b.accounts, func(o *account) bool { return o == a })
	close(b.changed)
	b.changed = make(chan struct{})
}

// share is what a pipeline can have at any time.
func (b *Budget) share(a *account) int64 {
	var all int64
	for _, other := range b.accounts {
		all += other.weight
	}
	return b.size / 2 * a.weight / all
}

// step is the largest request of at most n bytes that is granted to an account that holds nothing, whatever others hold.
func (a *account) step(n int64) int64 {
	a.budget.mu.Lock()
	defer a.budget.mu.Unlock()
	return max(min(n, a.budget.share(a)), 1)
}

// try takes n bytes if they are free and no other pipeline's share. When nothing at all is held it takes any number.
func (a *account) try(n int64) bool {
	a.budget.mu.Lock()
	defer a.budget.mu.Unlock()
	return a.tryLocked(n)
}

func (a *account) tryLocked(n int64) bool {
	b := a.budget
	free := b.size - b.used
	for _, other := range b.accounts {
		if other != a {
			free -= max(0, b.share(other)-other.used)
		}
	}
	if n > free && b.used != 0 && a.used+n > b.share(a) {
		return false
	}
	a.add(n)
	return true
}

// take waits until n bytes can be had.
func (a *account) take(ctx context.Context, n int64) error {
	b := a.budget
	for {
		b.mu.Lock()
		if a.tryLocked(n) {
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

// force takes n bytes whether they are free or not: for recovery, which must go on, and for what is there already.
func (a *account) force(n int64) {
	a.budget.mu.Lock()
	defer a.budget.mu.Unlock()
	a.add(n)
}

// give returns n bytes.
func (a *account) give(n int64) {
	if n == 0 {
		return
	}
	b := a.budget
	b.mu.Lock()
	defer b.mu.Unlock()
	a.add(-n)
	close(b.changed)
	b.changed = make(chan struct{})
}

func (a *account) add(n int64) {
	b := a.budget
	a.used += n
	b.used += n
	if b.observe != nil {
		b.observe(b.used)
	}
}
