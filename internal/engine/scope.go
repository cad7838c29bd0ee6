package engine

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/waybill-data/waybill"
)

// Scope is what a backfill is about. It may grow at its end while the backfill runs: behind Until it never changes, since what is there may be on
// the account already, and is what others rebuild pending batches by.
type Scope struct {
	// Offsets are those in scope, by partition. What they hold at Until or past it is not looked at.
	Offsets map[int32]waybill.OffsetSet
	// Until is for each partition the offset up to which the account goes. Offsets behind it that are out of scope are holes: covered by a span, and
	// never read.
	Until map[int32]int64
	// Final: it does not grow any more.
	Final bool
}

// runs are the runs of a partition's offsets in scope that do not lie behind an offset.
func (s *Scope) runs(partition int32, from int64) []waybill.Span {
	return s.Offsets[partition].Within(waybill.Span{First: from, Next: s.Until[partition]}).Spans()
}

// count is how many offsets in scope lie in a span.
func (s *Scope) count(partition int32, span waybill.Span) int64 {
	span.Next = min(span.Next, s.Until[partition])
	return s.Offsets[partition].Within(span).Len()
}

// grown says why next cannot follow s; nil if it can.
func (s *Scope) grown(next *Scope) error {
	for _, p := range slices.Sorted(maps.Keys(s.Until)) {
		until := s.Until[p]
		switch {
		case next.Until[p] < until:
			return fmt.Errorf("the scope of partition %d ended at %d, and now ends at %d: it may only grow", p, until, next.Until[p])
		case s.Final && next.Until[p] > until:
			return fmt.Errorf("the scope of partition %d was final, and has grown from %d to %d", p, until, next.Until[p])
		}
		behind := waybill.Span{First: 0, Next: until}
		if was, is := s.Offsets[p].Within(behind), next.Offsets[p].Within(behind); !was.Equal(is) {
			return fmt.Errorf("the scope of partition %d has changed before %d: %s were in it, and now %s", p, until, was.Minus(is), is.Minus(was))
		}
	}
	return nil
}

// farGap is over how many offsets that are out of scope reading jumps; shorter gaps are read, which costs less than to begin to fetch anew.
const farGap = 10_000

// scoped is where a partition stands in a scope.
type scoped struct {
	until int64
	// runs of offsets in scope that have not been passed, in order.
	runs []waybill.Span
	// kept is what is to be read from the archive; empty: the topic is read.
	kept    waybill.Span
	heardAt time.Time // when there was something of it last, or it was looked for
	looking bool      // for a hole, see gatherer.lookForHole
	looks   int       // that failed, in a row
}

// meets says whether an offset that was read is in scope, and passes the runs that lie behind it. If it is not, far says that the next offset that
// is lies so far off that it is not to be read up to.
func (s *scoped) meets(offset int64) (in, far bool) {
	for len(s.runs) > 0 && offset >= s.runs[0].Next {
		s.runs = s.runs[1:]
	}
	if len(s.runs) == 0 {
		return false, true
	}
	return offset >= s.runs[0].First, s.runs[0].First-offset > farGap
}

// position is what is to be read next of a partition whose account goes up to next.
func (s *scoped) position(next int64) int64 {
	if len(s.runs) == 0 {
		return next
	}
	return max(next, s.runs[0].First)
}
