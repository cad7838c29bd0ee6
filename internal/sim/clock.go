package sim

import "container/heap"

// action is something that happens at a moment of virtual time.
type action struct {
	at  int64 // ms
	seq uint64
	do  func()
}

// agenda is a heap of actions by time, then by the order in which they were scheduled.
type agenda []action

func (a agenda) Len() int { return len(a) }
func (a agenda) Less(i, j int) bool {
	return a[i].at < a[j].at || a[i].at == a[j].at && a[i].seq < a[j].seq
}
func (a agenda) Swap(i, j int) { a[i], a[j] = a[j], a[i] }
func (a *agenda) Push(x any)   { *a = append(*a, x.(action)) }
func (a *agenda) Pop() any {
	old := *a
	last := old[len(old)-1]
	*a = old[:len(old)-1]
	return last
}

// after schedules an action that belongs to nobody: the network's, the servers', the operator's.
func (w *world) after(delay int64, do func()) {
	w.seq++
	heap.Push(&w.agenda, action{at: w.now + delay, seq: w.seq, do: do})
}

// runUntil lets time pass. It stops early if done says so after an action.
func (w *world) runUntil(end int64, done func() bool) {
	for len(w.agenda) > 0 && w.agenda[0].at <= end {
		next := heap.Pop(&w.agenda).(action)
		w.now = next.at
		next.do()
		if done != nil && done() {
			return
		}
	}
	w.now = max(w.now, end)
}

// latency of one step: mostly short, sometimes long enough for much else to happen.
func (w *world) latency() int64 {
	switch r := w.rng.IntN(100); {
	case r < 70:
		return 1 + w.rng.Int64N(15)
	case r < 95:
		return 5 + w.rng.Int64N(120)
	}
	return 100 + w.rng.Int64N(900)
}

// gap between a request's being built and its leaving: next to nothing, or a while on a busy machine.
func (w *world) gap() int64 {
	if w.chance(10) {
		return w.latency()
	}
	return w.between(0, 3)
}

// between is a number in [lo, hi].
func (w *world) between(lo, hi int64) int64 { return lo + w.rng.Int64N(hi-lo+1) }

func (w *world) chance(percent int) bool { return w.rng.IntN(100) < percent }
