package through

import (
	"testing"
	"time"

	"pgregory.net/rapid"
)

func of(t *Tracker) int64 {
	for _, w := range t.Words() {
		if w.Partition == 0 {
			return w.Through
		}
	}
	return 0
}

// entry is a record of a partition that a test makes up.
type entry struct{ appended, time int64 }

// world is a partition with its records, of which a worker has settled the first.
type world struct {
	now      int64
	lateness int64
	log      []entry
	settled  int
	byBroker bool
	tracker  *Tracker
	before   int64
}

// append adds a record that is no later than allowed, and no earlier than that below one before it.
func (w *world) append(t *rapid.T) {
	e := entry{appended: w.now, time: w.now}
	if !w.byBroker {
		e.time -= rapid.Int64Range(0, w.lateness).Draw(t, "late")
	}
	w.log = append(w.log, e)
}

func (w *world) settle(t *rapid.T) {
	if w.settled == len(w.log) {
		return
	}
	next := rapid.IntRange(w.settled+1, len(w.log)).Draw(t, "settle up to")
	last := Times{Oldest: w.log[w.settled].time, Last: w.log[next-1].time, Appended: w.byBroker}
	for _, e := range w.log[w.settled:next] {
		last.Oldest = min(last.Oldest, e.time)
	}
	w.settled = next
	w.tracker.Settled(0, int64(next), &last)
}

// check: no record that is not settled, and none that may still come, has a time before what was said; and that never goes back.
func (w *world) check(t *rapid.T) {
	got := of(w.tracker)
	if got < w.before {
		t.Fatalf("it went back from %d to %d", w.before, got)
	}
	w.before = got
	for _, e := range w.log[w.settled:] {
		if e.time < got {
			t.Fatalf("complete through %d, but a record of %d, appended at %d, is not settled", got, e.time, e.appended)
		}
	}
	late := w.lateness
	if w.byBroker {
		late = 0
	}
	if got > w.now-late {
		t.Fatalf("complete through %d at %d", got, w.now)
	}
}

func TestTracker_NeverSaysMoreThanIsSettled(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		w := &world{now: 1_000_000, lateness: rapid.SampledFrom([]int64{0, 100, 20_000}).Draw(t, "lateness"), byBroker: rapid.Bool().Draw(t, "by broker")}
		w.tracker = New(time.Duration(w.lateness) * time.Millisecond)
		for range rapid.IntRange(1, 200).Draw(t, "steps") {
			w.now += rapid.Int64Range(0, 5000).Draw(t, "wait")
			switch rapid.IntRange(0, 2).Draw(t, "step") {
			case 0:
				for range rapid.IntRange(1, 5).Draw(t, "records") {
					w.append(t)
				}
			case 1:
				w.settle(t)
			case 2:
				w.tracker.Seen(0, w.now, int64(len(w.log)), int64(w.settled))
			}
			w.check(t)
		}
	})
}

func TestTracker_IdlePartitionsKeepUp(t *testing.T) {
	t.Parallel()
	k := New(2 * time.Second)
	k.Seen(0, 100_000, 7, 7)
	k.Seen(0, 200_000, 7, 7)
	if got := of(k); got != 198_000 {
		t.Errorf("through %d", got)
	}
	k.Seen(0, 300_000, 9, 7) // two are waiting: as far as was known before
	if got := of(k); got != 198_000 {
		t.Errorf("through %d with records waiting", got)
	}
	k.Seen(0, 310_000, 9, 7)
	k.Settled(0, 9, &Times{Oldest: 250_000, Last: 260_000})
	if got := of(k); got != 308_000 {
		t.Errorf("through %d after they were settled", got)
	}
}

// What was waiting before anybody asked is as complete as its records are old.
func TestTracker_Backlog(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		last Times
		want int64
	}{
		{"times by producers", Times{Oldest: 50_000, Last: 52_000}, 48_000},
		{"times by brokers", Times{Oldest: 50_000, Last: 52_000, Appended: true}, 52_000},
		{"a clock that is ahead", Times{Oldest: 9_000_000, Last: 9_000_000}, 998_000},
		{"records without a time", Times{Oldest: -1, Last: 52_000}, 0},
	} {
		k := New(2 * time.Second)
		k.Settled(0, 100, &Times{Oldest: 1}) // nobody has asked: it may be of another epoch
		k.Seen(0, 1_000_000, 1_000, 10)
		k.Settled(0, 100, &tt.last)
		if got := of(k); got != tt.want {
			t.Errorf("%s: through %d, want %d", tt.name, got, tt.want)
		}
	}
}

func TestTracker_RemembersFewEnds(t *testing.T) {
	t.Parallel()
	k := New(0)
	for i := range int64(10_000) {
		k.Seen(0, 1000*i, 10+i, 0)
	}
	if n := len(k.parts[0].sights); n > maxSights {
		t.Errorf("%d ends are remembered", n)
	}
	k.Settled(0, 10+9_999, nil)
	if got := of(k); got != 9_999_000 {
		t.Errorf("through %d", got)
	}
}

func TestTracker_LostPartitionsAreForgotten(t *testing.T) {
	t.Parallel()
	k := New(0)
	k.Seen(3, 1000, 1, 1)
	k.Lost(3)
	if len(k.Words()) != 0 {
		t.Errorf("%v", k.Words())
	}
}
