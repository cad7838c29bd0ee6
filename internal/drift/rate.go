package drift

import (
	"time"

	waybill "github.com/waybill-data/waybill"
)

// window counts the events that shares are of: those of the window that is open, and those before, each window weighing
// less than the one after it.
type window struct {
	started time.Time // zero until the first flush
	now     int64
	before  float64
	closed  int // windows in before
}

// ends reports whether the window is long enough and holds enough events to say something.
func (w *window) ends(now time.Time, c Config) bool {
	if w.started.IsZero() {
		w.started = now
	}
	return now.Sub(w.started) >= c.Window && w.now >= c.MinEvents
}

// roll begins the next window.
func (w *window) roll(now time.Time, c Config) {
	w.before = w.before*c.keep() + float64(w.now)
	w.started, w.now = now, 0
	w.closed++
}

// warm reports whether there is enough before to compare with.
func (w *window) warm(c Config) bool { return w.closed >= c.Warm }

// keep is the weight of the past after one more window.
func (c Config) keep() float64 { return 1 - 1/float64(c.History) }

// rate is a share of events, now and before, and whether what it does is a finding.
type rate struct {
	now    int64   // in the open window
	before float64 // in those before, weighted as the window weighs them
	absent int     // windows in a row with none, though there usually are some
	alarm
}

// share is that of the open window.
func (r *rate) share(w *window) float64 { return float64(r.now) / float64(max(w.now, 1)) }

// usual is the share before. With no events before it is zero.
func (r *rate) usual(w *window) float64 { return r.before / max(w.before, 1) }

// roll begins the next window. While an alarm is open what is usual stays what it was, so that the alarm neither ends by
// itself nor comes twice.
func (r *rate) roll(w *window, frozen bool, c Config) {
	usual := r.usual(w)
	r.before = r.before*c.keep() + float64(r.now)
	if frozen {
		r.before = usual * (w.before*c.keep() + float64(w.now))
	}
	r.now = 0
}

// alarm is a state that is a finding when it begins. It begins and ends by different measures, so that it does not flap.
type alarm struct {
	open  bool
	told  bool // there was a finding; there is none if the last one is not long ago
	since time.Time
	last  time.Time // when there was a finding
	said  waybill.Finding
	// accepted says that what it was about is usual now, and nobody has been told yet.
	accepted bool
}

// says keeps the finding that an alarm has begun with.
func (a *alarm) says(f *waybill.Finding) *waybill.Finding {
	a.said = *f
	return f
}

// What a step of an alarm is to a person.
const (
	stays = iota
	opens
	closes
	accepts // without a word
)

// step moves the alarm on, see alarm.step. What is accepted is what is usual from now on.
func (r *rate) step(now time.Time, begun, over bool, w *window, c Config) int {
	s := r.alarm.step(now, begun, over, c)
	if s == accepts {
		r.before, r.absent = r.share(w)*w.before, 0
	}
	return s
}

// step moves the alarm on: begun and over are what the window says.
func (a *alarm) step(now time.Time, begun, over bool, c Config) int {
	switch {
	case !a.open && begun:
		a.open, a.since = true, now
		a.told = a.last.IsZero() || now.Sub(a.last) >= c.Quiet
		if a.told {
			a.last = now
			return opens
		}
	case a.open && over:
		a.open = false
		if a.told {
			return closes
		}
	case a.open && now.Sub(a.since) >= c.Accept:
		a.open, a.accepted = false, a.told
		return accepts
	}
	return stays
}

// quota is how many findings on new fields there have been within a minute.
type quota struct {
	minute time.Time
	used   int
}

// left is how many more there may be.
func (q *quota) left(now time.Time, c Config) int {
	if m := now.Truncate(time.Minute); m.After(q.minute) {
		q.minute, q.used = m, 0
	}
	return c.Findings - q.used
}
