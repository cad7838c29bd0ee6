package watchdog

import (
	"fmt"
	"time"

	waybill "github.com/waybill-data/waybill"
)

// Commit is where the group stands by the broker's account, and where this worker knows that it has put it.
type Commit struct {
	waybill.TopicPartition
	Offset int64 // the broker's; -1: none
	// Before and After are what this worker had been told of its commits before the question was asked and after it was answered; Next is how far it has gathered.
	Before, After, Next int64
}

// Kinds of finding about a group's position: the same as those of delivery at an assignment.
const (
	KindGroupMissing = "group_missing"
	KindMovedForward = "position_moved_forward"
	KindMovedBack    = "position_moved_back"
)

// Group notices that somebody else moves the group's position while this worker holds the partition.
type Group struct {
	states states
	odd    map[waybill.TopicPartition]int64 // offsets that may be of a commit under way, as seen once
}

// Look compares.
func (d *Group) Look(_ time.Time, all []Commit) (out Said) {
	if d.states == nil {
		d.states, d.odd = states{}, map[waybill.TopicPartition]int64{}
	}
	held := map[waybill.TopicPartition]bool{}
	for _, c := range all {
		held[c.TopicPartition] = true
		kind, msg := d.judge(c)
		for _, k := range []string{KindGroupMissing, KindMovedForward, KindMovedBack} {
			f := waybill.Finding{Kind: k, Severity: waybill.SeverityWarning, TopicPartition: c.TopicPartition, Span: waybill.Span{First: min(c.Offset, c.After), Next: max(c.Offset, c.After)},
				Message: msg, Action: "the next commit of this worker sets it right; find out who moves the group while its members run"}
			f.Span.First = max(f.Span.First, 0)
			if k == kind {
				d.states.tell(&out, f, fmt.Sprint(c.Offset))
			} else if st := d.states[f.Key()]; st != nil && st.open { // what delivery has said at the assignment is not ours to close
				d.states.clear(&out, f.Key(), fmt.Sprintf("the group stands at %d again", c.Offset))
			}
		}
	}
	for key := range d.states {
		if !held[key.TopicPartition] {
			delete(d.states, key)
			delete(d.odd, key.TopicPartition)
		}
	}
	return out
}

func (d *Group) judge(c Commit) (kind, message string) {
	last, seen := d.odd[c.TopicPartition]
	delete(d.odd, c.TopicPartition)
	switch {
	case c.Before < 0:
		return "", "" // nothing has been committed yet
	case c.Offset < 0:
		return KindGroupMissing, fmt.Sprintf("the group has no committed offset of %s any more, and this worker has put it at %d", c.TopicPartition, c.After)
	case c.Offset < c.Before:
		return KindMovedBack, fmt.Sprintf("the group stands at %d in %s, and this worker has put it at %d", c.Offset, c.TopicPartition, c.After)
	case c.Offset > c.Next, c.Offset > c.After && seen && last == c.Offset:
		return KindMovedForward, fmt.Sprintf("the group stands at %d in %s, and this worker has put it at %d", c.Offset, c.TopicPartition, c.After)
	case c.Offset > c.After: // a commit whose answer is under way, or not
		d.odd[c.TopicPartition] = c.Offset
	}
	return "", ""
}
