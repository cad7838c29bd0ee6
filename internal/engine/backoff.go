package engine

import (
	"context"
	"math/rand/v2"
	"time"
)

const (
	firstBackoff = 100 * time.Millisecond
	lastBackoff  = 15 * time.Second
)

// backoff is how long to wait before the given attempt, 0 being the first: exponential, with a jitter
// of half, so that workers which failed together do not come back together.
func backoff(attempt int) time.Duration {
	if attempt <= 0 {
		return 0
	}
	d := lastBackoff
	if attempt < 9 {
		d = min(firstBackoff<<(attempt-1), lastBackoff)
	}
	return d/2 + rand.N(d/2)
}

// wait lets d pass, unless ctx ends first.
func wait(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}
