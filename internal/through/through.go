// Package through says up to when a partition is complete: all its records whose time is before that are accounted for. It is pure; what
// it promises, and what not, is argued in docs/adr/0014.
//
// Two things tell. First, what the brokers said: if a partition ended at an offset when it was asked, and everything before that offset is settled
// by now, then all that was appended before the question is in, and what came later has a time that is no earlier than the question,
// less what records may be late. That holds for idle partitions too, and asks nothing of the records. Second, for what had been waiting before
// anybody asked: the times of the records that were settled last, since no record is earlier than one before it in its partition, less the same.
package through

import (
	"time"
)

// AppendLateness is how late a record may be whose time is the broker's: until it is replicated, and for want of clocks that agree.
const AppendLateness = 10 * time.Second

// maxSights bounds the ends that are remembered of a partition. Beyond, every second one is forgotten.
const maxSights = 64

// Times are what a span's records say of time, in milliseconds since the Unix epoch.
type Times struct {
	Oldest int64 // the smallest time of a record or its event
	Last   int64 // of the last record
	// Appended: every record has the time at which its broker appended it, and events have no time of their own.
	Appended bool
}

// Tracker follows the partitions of a topic that a worker holds. It belongs to whoever locks it.
type Tracker struct {
	lateness int64
	parts    map[int32]*partition
}

type partition struct {
	through  int64 // 0: nothing can be said
	settled  int64
	asked    int64 // when the brokers were asked last
	sights   []sight
	appended bool // by the records that were settled last
}

// sight is what the brokers said at a time: where the partition ended. Its records are not settled yet.
type sight struct{ at, end int64 }

// New tracks a topic whose records come at most so long after their time.
func New(lateness time.Duration) *Tracker {
	return &Tracker{lateness: lateness.Milliseconds(), parts: map[int32]*partition{}}
}

// Seen: a partition, asked for at a time, ended at an offset, and everything before settled was accounted for.
func (t *Tracker) Seen(number int32, at, end, settled int64) {
	p := t.parts[number]
	if p == nil {
		p = &partition{}
		t.parts[number] = p
	}
	p.asked = max(p.asked, at)
	p.settled = max(p.settled, settled)
	switch n := len(p.sights); {
	case n > 0 && p.sights[n-1].end >= end: // it has not grown since
		p.sights[n-1].at = max(p.sights[n-1].at, at)
	default:
		p.sights = append(p.sights, sight{at, end})
	}
	t.passed(p)
	if len(p.sights) > maxSights {
		p.thin()
	}
}

// Settled: everything before an offset is accounted for. last is of the records that were settled last; nil if there were none.
func (t *Tracker) Settled(number int32, offset int64, last *Times) {
	p := t.parts[number]
	if p == nil {
		return // nothing is known of it yet
	}
	p.settled = max(p.settled, offset)
	t.passed(p)
	if last == nil {
		return
	}
	p.appended = last.Appended
	bound := last.Oldest - t.lateness
	if p.appended {
		bound = last.Last
	}
	p.reach(min(bound, p.asked-t.late(p))) // a clock that is ahead must not carry it into the future
}

// passed takes out the ends that have been passed.
func (t *Tracker) passed(p *partition) {
	n := 0
	for n < len(p.sights) && p.sights[n].end <= p.settled {
		p.reach(p.sights[n].at - t.late(p))
		n++
	}
	p.sights = append(p.sights[:0], p.sights[n:]...)
}

// late is how late records of the partition may be.
func (t *Tracker) late(p *partition) int64 {
	if p.appended {
		return min(t.lateness, AppendLateness.Milliseconds())
	}
	return t.lateness
}

func (p *partition) reach(through int64) { p.through = max(p.through, through) }

// thin forgets every second end, not the last.
func (p *partition) thin() {
	kept := p.sights[:0]
	for i, s := range p.sights {
		if i%2 == 1 || i == len(p.sights)-1 {
			kept = append(kept, s)
		}
	}
	p.sights = kept
}

// Lost: the worker holds the partition no longer.
func (t *Tracker) Lost(number int32) { delete(t.parts, number) }

// Word is what can be said of a partition.
type Word struct {
	Partition int32
	// Through is in milliseconds since the Unix epoch: all records whose time is before are accounted for. 0: nothing can be said.
	Through int64
	Settled int64 // all offsets before are
	Asked   int64 // when the brokers were asked last
}

// Words are what can be said of the partitions that are held.
func (t *Tracker) Words() []Word {
	out := make([]Word, 0, len(t.parts))
	for number, p := range t.parts {
		out = append(out, Word{number, p.through, p.settled, p.asked})
	}
	return out
}
