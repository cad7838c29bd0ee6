package top

import (
	"slices"
	"time"

	"github.com/waybill-data/waybill/internal/status"
)

// Window is what rates are averages over: the polls of this long, or the last two if those are further apart. Records are counted when their
// batch has settled, so that two polls a second apart show as a rule either nothing or a whole batch.
const Window = 10 * time.Second

// Poll is what came of asking one worker for its status.
type Poll struct {
	Worker string         // its address, as it was given
	At     time.Time      // when it was known, by the clock of whoever asked
	Status *status.Status // nil if there was no answer
	Err    string         // why, then
}

// Model is what is known of some workers. It is not safe for concurrent use.
type Model struct {
	workers []*worker // in the order in which they were named
	settled map[place][]mark
}

// place is a partition of a pipeline.
type place struct {
	pipeline  key
	topic     string
	partition int32
}

// key tells pipelines apart: a backfill is not its pipeline.
type key struct{ name, job string }

func keyOf(p *status.Pipeline) key {
	if p.Backfill != nil {
		return key{p.Name, p.Backfill.Job}
	}
	return key{p.Name, ""}
}

// mark is up to where a partition was settled at a time.
type mark struct {
	at     time.Time
	offset int64
}

// worker is one process, or an address where there should be one.
type worker struct {
	address string
	last    *status.Status // its last answer; nil: there was none
	at      time.Time      // of that answer
	down    time.Time      // since when it does not answer; zero: it does, or has not been heard of
	err     string         // why it does not
	flows   map[key][]step
}

// step is what a pipeline has done on a worker from one answer to the next.
type step struct {
	at            time.Time
	seconds       float64
	read, written int64
	inserts       int64
	insertSeconds float64
}

// New is a model of the workers at the given addresses, which have not been asked yet.
func New(addresses []string) *Model {
	m := &Model{settled: map[place][]mark{}}
	for _, a := range addresses {
		m.workers = append(m.workers, &worker{address: a, flows: map[key][]step{}})
	}
	return m
}

// Take takes in what came of asking a worker.
func (m *Model) Take(p Poll) {
	i := slices.IndexFunc(m.workers, func(w *worker) bool { return w.address == p.Worker })
	if i < 0 {
		return
	}
	w := m.workers[i]
	if p.Status == nil {
		if w.down.IsZero() {
			w.down = p.At
		}
		w.err = p.Err
		return
	}
	w.flow(p)
	w.last, w.at, w.down, w.err = p.Status, p.At, time.Time{}, ""
	m.mark(p)
}

// Heard reports whether every worker has answered or failed to, once.
func (m *Model) Heard() bool {
	return !slices.ContainsFunc(m.workers, func(w *worker) bool { return w.last == nil && w.down.IsZero() })
}

// flow adds what has happened since the last answer.
func (w *worker) flow(p Poll) {
	if w.last == nil {
		return
	}
	seconds, anew := p.At.Sub(w.at).Seconds(), !p.Status.Started.Equal(w.last.Started)
	if seconds <= 0 {
		return
	}
	if anew && p.Status.Now.Sub(p.Status.Started).Seconds() > seconds {
		// It has not started since, so it is another process than the one that answered before: nothing can be said of what lies between.
		clear(w.flows)
		return
	}
	flows := map[key][]step{}
	for i := range p.Status.Pipelines {
		now := &p.Status.Pipelines[i]
		k := keyOf(now)
		before := find(w.last, k)
		if before == nil && !anew {
			continue // it is new here: what it counts began at a time that is not known
		}
		s := step{at: p.At, seconds: seconds}
		if before == nil || anew || less(now, before) {
			before = &status.Pipeline{} // its counters have begun at 0 since
		}
		s.read, s.written = now.Totals.Read-before.Totals.Read, now.Totals.Written-before.Totals.Written
		s.inserts, s.insertSeconds = now.Inserts.Count-before.Inserts.Count, now.Inserts.Seconds-before.Inserts.Seconds
		flows[k] = append(recent(w.flows[k], p.At), s)
	}
	w.flows = flows
}

// less reports whether a counter is smaller than it was.
func less(now, before *status.Pipeline) bool {
	a, b := now.Totals, before.Totals
	return a.Read < b.Read || a.Written < b.Written || now.Inserts.Count < before.Inserts.Count
}

// recent are the steps of the window that ends at a time.
func recent(steps []step, at time.Time) []step {
	return slices.DeleteFunc(steps, func(s step) bool { return at.Sub(s.at) >= Window })
}

func find(s *status.Status, k key) *status.Pipeline {
	for i := range s.Pipelines {
		if keyOf(&s.Pipelines[i]) == k {
			return &s.Pipelines[i]
		}
	}
	return nil
}

// mark notes up to where the worker's partitions are settled.
func (m *Model) mark(p Poll) {
	for i := range p.Status.Pipelines {
		of := &p.Status.Pipelines[i]
		for _, tp := range of.Partitions {
			if tp.Settled < 0 {
				continue
			}
			at := place{keyOf(of), tp.Topic, tp.Partition}
			marks := m.settled[at]
			if n := len(marks); n > 0 && marks[n-1].offset > tp.Settled {
				marks = nil // it was rewound, or this is what a former owner has seen: no rate follows from that
			}
			for len(marks) > 1 && p.At.Sub(marks[0].at) > Window {
				marks = marks[1:]
			}
			m.settled[at] = append(marks, mark{p.At, tp.Settled})
		}
	}
	for at, marks := range m.settled {
		if n := len(marks); p.At.Sub(marks[n-1].at) > 6*Window {
			delete(m.settled, at) // nobody speaks of it any more
		}
	}
}

// perSecond is how fast a partition is settled; nil: not known.
func (m *Model) perSecond(at place) *float64 {
	marks := m.settled[at]
	if len(marks) < 2 {
		return nil
	}
	first, last := marks[0], marks[len(marks)-1]
	if !last.at.After(first.at) {
		return nil
	}
	rate := float64(last.offset-first.offset) / last.at.Sub(first.at).Seconds()
	return &rate
}
