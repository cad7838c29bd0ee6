package finding

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"time"

	waybill "github.com/waybill-data/waybill"
)

// State of a finding, as a row of the journal tells it. What a finding is now is what its latest row says.
type State string

// States.
const (
	Opened  State = "opened"  // seen for the first time, or again after it was closed
	Updated State = "updated" // seen again
	Closed  State = "closed"  // the cause is gone, or a person has acknowledged it
	Noted   State = "told"    // nothing to do, and never open
)

// Open reports whether the finding is open after such a row.
func (s State) Open() bool { return s == Opened || s == Updated }

// ID is a finding's name: the same for everybody who sees the same, in the same episode.
type ID string

// Row is a line of the journal, or, read back, what a finding is now.
type Row struct {
	waybill.Finding
	ID       ID
	Pipeline string
	Epoch    waybill.Epoch
	// Episode numbers the times that a cause comes: it is the hour in which this one began (since 1970), or one more than the last one's.
	Episode uint32
	State   State
	// At is when what the row tells was so: the latest row by this time is what counts, and of two of the same moment one that is open. FirstSeen <= LastSeen <= At, by the server's clock.
	At, FirstSeen, LastSeen time.Time
	// Seen is how often: in a row of the journal since the row before it of the same worker, read back in all.
	Seen int64
	// Reopened is how often it has been opened again in this episode.
	Reopened uint32
	// Until is when a finding that nothing closes is old; zero for all others.
	Until  time.Time
	Why    string // it was closed
	Worker string
}

// String is for logs.
func (r Row) String() string {
	return fmt.Sprintf("%s %s %s %s %s %s, seen %d times: %s", r.ID, r.State, r.Severity, r.Key(), r.Span, r.At.Format(time.TimeOnly), r.Seen, r.Message)
}

// identity is what findings have in common that are the same but for the episode. Batch and Span are zero where a kind closes by itself.
type identity struct {
	waybill.FindingKey
	batch string
	span  waybill.Span
}

func identityOf(f *waybill.Finding, k Kind) identity {
	id := identity{FindingKey: f.Key()}
	if k.Closes == Once {
		id.batch, id.span = f.Batch, f.Span
	}
	return id
}

func (id identity) in(pipeline string, epoch waybill.Epoch, episode uint32) ID {
	sum := sha256.Sum256(fmt.Appendf(nil, "%q %d %q %q %d %q %q %d %d %d", pipeline, epoch, id.Kind, id.Topic, id.Partition, id.Subject, id.batch, id.span.First, id.span.Next, episode))
	return ID(hex.EncodeToString(sum[:8]))
}

// hull is the shortest span that covers both; a zero span is none.
func hull(a, b waybill.Span) waybill.Span {
	switch {
	case a == waybill.Span{}:
		return b
	case b == waybill.Span{}:
		return a
	}
	return waybill.Span{First: min(a.First, b.First), Next: max(a.Next, b.Next)}
}

// Acknowledged is the row that closes a finding because somebody has looked at it.
func Acknowledged(r Row, by, why string, now time.Time) Row {
	r.State, r.Seen, r.Worker, r.At, r.Why = Closed, 0, by, later(now, r.At), "acknowledged by "+by
	if why != "" {
		r.Why += ": " + why
	}
	return r
}

// Repaired is the row that closes a finding whose cause a repair has removed.
func Repaired(r Row, by string, now time.Time) Row {
	r.State, r.Seen, r.Worker, r.At, r.Why = Closed, 0, by, later(now, r.At), "repaired by "+by
	return r
}
