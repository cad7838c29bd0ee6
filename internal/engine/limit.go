package engine

import "time"

// limiter bounds how much is read in a second. What one poll brings may go beyond it, and is waited off before the next. The zero value bounds nothing.
type limiter struct {
	records, bytes bucket
}

// bucket of tokens: it fills at a rate, and holds what comes in a second at most.
type bucket struct {
	rate float64 // 0: no bound
	left float64 // below 0: owed
	at   time.Time
}

func newLimiter(records, bytes int64) limiter {
	return limiter{records: bucket{rate: float64(records)}, bytes: bucket{rate: float64(bytes)}}
}

// spent takes off what has been read.
func (l *limiter) spent(now time.Time, records, bytes int64) {
	l.records.spend(now, records)
	l.bytes.spend(now, bytes)
}

// wait is for how long nothing may be read.
func (l *limiter) wait(now time.Time) time.Duration {
	return max(l.records.wait(now), l.bytes.wait(now))
}

// most is how many records may be asked for at once: so few that they come evenly.
func (l *limiter) most(n int) int {
	if l.records.rate == 0 {
		return n
	}
	return min(n, max(int(l.records.rate/10), 1))
}

func (b *bucket) fill(now time.Time) {
	if b.at.IsZero() {
		b.at = now
	}
	b.left = min(b.left+b.rate*now.Sub(b.at).Seconds(), b.rate)
	b.at = now
}

func (b *bucket) spend(now time.Time, n int64) {
	if b.rate > 0 {
		b.fill(now)
		b.left -= float64(n)
	}
}

func (b *bucket) wait(now time.Time) time.Duration {
	if b.rate == 0 {
		return 0
	}
	b.fill(now)
	return time.Duration(max(0, -b.left) / b.rate * float64(time.Second))
}
