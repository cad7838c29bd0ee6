package finding

import "time"

// superseded is why a finding is closed that two workers have opened under two ids.
const superseded = "it goes on as "

// Adopt takes in what findings are by the journal: what this worker wrote before it was started anew, and what others have seen since.
// The rows are the latest episodes of each, and all that are open, as they were at some moment before now.
func (t *Tracker) Adopt(rows []Row, now time.Time) {
	for i := range rows {
		r := &rows[i]
		k, known := Of(r.Kind)
		if !known {
			k.Closes = Once
		}
		switch {
		case r.State == Noted:
		case r.Epoch < t.epoch:
			if r.State.Open() && k.Closes == ByItself {
				t.end1(*r, "the pipeline runs under another epoch", now)
			}
		case r.Epoch == t.epoch:
			t.adopt(identityOf(&r.Finding, k), *r, now)
		}
	}
}

// end1 closes a finding that there is no entry for.
func (t *Tracker) end1(r Row, why string, now time.Time) {
	r.State, r.Why, r.At, r.Seen, r.Worker = Closed, why, later(now, r.LastSeen), 0, t.worker
	t.extra = append(t.extra, r)
}

func (t *Tracker) adopt(id identity, r Row, now time.Time) {
	e := t.entries[id]
	switch {
	case e == nil:
		if !r.State.Open() && now.Sub(r.At) > remember || !t.room() {
			return
		}
		e = &entry{Row: r, wrote: r.At}
		t.entries[id] = e
	case r.Episode > e.Episode:
		t.overtake(e, r, now)
	case r.Episode < e.Episode:
		if r.State.Open() {
			t.end1(r, superseded+string(e.ID), now)
		}
	default:
		e.merge(&r)
	}
	if m, marked := t.marks[id.FindingKey]; marked && e.State.Open() && !m.at.Before(e.LastSeen) {
		t.close(e, m.how, m.at)
		delete(t.marks, id.FindingKey)
	}
}

// overtake goes on under the later of two episodes.
func (t *Tracker) overtake(e *entry, r Row, now time.Time) {
	was, unsaid, wrote := e.Row, e.unsaid, e.wrote
	*e = entry{Row: r, wrote: r.At}
	if !was.State.Open() {
		return
	}
	if wrote.IsZero() { // nobody has heard of the earlier one
		e.unsaid = unsaid
	} else {
		t.end1(was, superseded+string(r.ID), now)
	}
	if was.LastSeen.After(r.At) {
		e.seenAfter(was)
	}
}

// merge takes in what is on record of the same episode. The later of both tells what it is.
func (e *entry) merge(r *Row) {
	e.Reopened = max(e.Reopened, r.Reopened)
	e.Seen = max(e.Seen, r.Seen+e.unsaid)
	e.Span = hull(e.Span, r.Span)
	if r.FirstSeen.Before(e.FirstSeen) {
		e.FirstSeen = r.FirstSeen
	}
	switch {
	case r.At.After(e.At) || r.At.Equal(e.At) && r.State.Open() && !e.State.Open():
		e.State, e.Why, e.At, e.over = r.State, r.Why, r.At, time.Time{}
		if r.LastSeen.After(e.LastSeen) {
			e.LastSeen = r.LastSeen
		}
		e.due = false
	case e.State.Open() && !r.State.Open():
		e.due = true // it has been seen since: the journal must say so
	}
}

// seenAfter: the earlier episode's cause was still seen after the later one's last row.
func (e *entry) seenAfter(was Row) {
	if !e.State.Open() {
		e.due = true
	}
	e.State, e.Why, e.LastSeen, e.At = Updated, "", was.LastSeen, was.LastSeen
}
