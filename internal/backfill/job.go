package backfill

import (
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"time"

	"github.com/waybill-data/waybill"
)

// State of a job.
type State string

// States.
const (
	Planned     State = "planned"      // what it is about is on record; nothing has been made
	Running     State = "running"      // the shadow is being filled
	CaughtUp    State = "caught-up"    // it was at the live position; it falls behind from now on
	Verifying   State = "verifying"    // live and shadow are being compared
	Ready       State = "ready"        // the comparison allows a promotion
	Promoting   State = "promoting"    // the shadow, or what was rolled back, takes the place of the live table: see Step
	Promoted    State = "promoted"     // it has
	RollingBack State = "rolling-back" // the table that was replaced takes its place back: see Step
	RolledBack  State = "rolled-back"  // it has
	Failed      State = "failed"       // the shadow could not be filled; run goes on with it
	Canceled    State = "canceled"     // given up; the live table is as it was
)

// States are all of them.
func States() []State {
	return []State{Planned, Running, CaughtUp, Verifying, Ready, Promoting, Promoted, RollingBack, RolledBack, Failed, Canceled}
}

// Swapping: one table is about to take another's place.
func (s State) Swapping() bool { return s == Promoting || s == RollingBack }

// Over: nothing goes on by itself, and another job may begin.
func (s State) Over() bool { return s == Promoted || s == RolledBack || s == Canceled }

// Step of a swap. They are taken in this order.
type Step string

// Steps.
const (
	NoStep   Step = ""
	Prepare  Step = "prepare"  // the table that comes in gets its epoch, its fence and its name
	Follow   Step = "follow"   // it catches up while live goes on
	Keep     Step = "keep"     // rows that stay get in, as far as live has settled
	Hold     Step = "hold"     // live is asked to stop
	Position Step = "position" // where live has stopped is read: V
	Reach    Step = "reach"    // the table reaches V
	Rest     Step = "rest"     // rows that stay get in up to V; rows of older epochs at V or behind it go
	Check    Step = "check"    // the account reaches V everywhere, and the table holds what it must
	Exchange Step = "exchange" // the two tables change places
	Feed     Step = "feed"     // what the views fill changes places likewise; until then the table takes no rows
	Tell     Step = "tell"     // live is let go, and downstream is told
)

// Steps are all of them, in order.
func Steps() []Step {
	return []Step{Prepare, Follow, Keep, Hold, Position, Reach, Rest, Check, Exchange, Feed, Tell}
}

func (s Step) next() Step {
	all := Steps()
	if i := slices.Index(all, s); i+1 < len(all) {
		return all[i+1]
	}
	return NoStep
}

// Revocable: the swap can still be given up after the step was begun. An exchange that was begun may be carried out at any time.
func (s Step) Revocable() bool { return slices.Index(Steps(), s) < slices.Index(Steps(), Exchange) }

// Held: live is asked to stand still during the step.
func (s Step) Held() bool {
	i := slices.Index(Steps(), s)
	return i >= slices.Index(Steps(), Hold) && i < slices.Index(Steps(), Tell)
}

// Positions are offsets by partition.
type Positions map[int32]int64

// Reached reports whether all partitions of to are at least there. A partition that p does not have has reached nothing but 0.
func (p Positions) Reached(to Positions) bool {
	for part, at := range to {
		if p[part] < at {
			return false
		}
	}
	return true
}

// Grown is the later of both in each partition.
func (p Positions) Grown(to Positions) Positions {
	out := Positions{}
	maps.Copy(out, p)
	for part, at := range to {
		out[part] = max(out[part], at)
	}
	return out
}

// Knows reports whether it has all partitions of to.
func (p Positions) Knows(to Positions) bool {
	for part := range to {
		if _, ok := p[part]; !ok {
			return false
		}
	}
	return true
}

// Partitions are those that it has, in order.
func (p Positions) Partitions() []int32 { return slices.Sorted(maps.Keys(p)) }

// Leg is one way of a job: a table that becomes the live one. The first is the shadow's; a rollback, and a promotion again, are the others.
type Leg struct {
	Number int           `json:"number"`
	Epoch  waybill.Epoch `json:"epoch"`
	// In is the table that comes in, Out the one that it replaces, by UUID.
	In  string `json:"in,omitempty"`
	Out string `json:"out,omitempty"`
	// From is where its account begins: at what its table was left at. nil: at the beginning of the topic.
	From Positions `json:"from,omitempty"`
	// Kept is up to where the rows that stay are in the table. nil: nothing is.
	Kept Positions `json:"kept,omitempty"`
	// Mutation is the last one of the live table that is in all rows that stay as they were brought in: what comes after it is not.
	Mutation uint64 `json:"mutation,omitempty"`
	// Round is what is being brought in; nil: nothing is.
	Round *Round `json:"round,omitempty"`
	// Filled is what the job's views make of the table's rows, in their order; empty: nothing is made yet.
	Filled []Filled `json:"filled,omitempty"`
	// V is where live stood when it had stopped; nil: not known yet. It is what the next leg begins at.
	V Positions `json:"v,omitempty"`

	Held      time.Time `json:"held,omitzero"`
	Exchanged time.Time `json:"exchanged,omitzero"`
	Released  time.Time `json:"released,omitzero"`
}

// Round brings rows that stay, which lie between two positions, into a table.
type Round struct {
	From Positions `json:"from,omitempty"` // nil: from the beginning
	To   Positions `json:"to"`
	// Mutation is the live table's last one when the round was begun: it had been carried out.
	Mutation uint64 `json:"mutation,omitempty"`
	// Listed: Pieces are all there are. Before that the third table is being filled, and nothing is attached.
	Listed bool    `json:"listed,omitempty"`
	Third  string  `json:"third,omitempty"` // name of the third table, empty until it is made
	Rows   int64   `json:"rows,omitempty"`  // that stay, between the positions
	Pieces []Piece `json:"pieces,omitempty"`
	// Done is how many of the pieces are attached. The one after them may have been begun.
	Done int `json:"done,omitempty"`
}

// Piece is a table partition that is attached.
type Piece struct {
	ID    string `json:"id"`              // of the table partition
	Third bool   `json:"third,omitempty"` // from the third table, else from the live one
}

// Views says what becomes of materialized views that the live table feeds.
type Views string

// What may become of them.
const (
	ViewsRefuse  Views = "refuse"  // there must be none
	ViewsLeave   Views = "leave"   // they keep what they have made of the old rows, and go on with new ones
	ViewsRebuild Views = "rebuild" // what they fill is made anew of all rows, and changes places with the table
)

// AllViews are all of them.
func AllViews() []Views { return []Views{ViewsRefuse, ViewsLeave, ViewsRebuild} }

// View is a materialized view that the live table feeds.
type View struct {
	Database string `json:"database"`
	Name     string `json:"name"`
	Target   string `json:"target"` // the table that it fills, of the live table's database
	Query    string `json:"query"`  // its SELECT, as the server writes it
}

// Filled is what a view makes of the rows of the table that comes in.
type Filled struct {
	// In is the table that holds it, and Out the one that it replaces, by UUID. In is empty if it is to be made anew of all rows.
	In  string `json:"in,omitempty"`
	Out string `json:"out"`
	// Through is up to where rows are in it. nil: what the table had when it was left is.
	Through Positions `json:"through,omitempty"`
}

// Job is a backfill of a pipeline, as its last row in the journal has it. It is a value: Apply makes another.
type Job struct {
	ID       string `json:"id"`
	Pipeline string `json:"pipeline"`
	Sequence uint64 `json:"sequence"` // of the row; counts all rows of the pipeline's jobs
	State    State  `json:"state"`
	Step     Step   `json:"step,omitempty"`

	Database string `json:"database"`
	Table    string `json:"table"` // the live one's name
	Topic    string `json:"topic"`
	Group    string `json:"group"` // live's
	Scope    string `json:"scope"` // as it was written
	// Offsets and Spans are how many offsets, in how many spans, the scope is up to Ends; the rest of it, if it is open, is all that comes.
	Spans int       `json:"spans"`
	Open  bool      `json:"open"`
	Begin Positions `json:"begin"` // where the topic began, when it was planned
	Ends  Positions `json:"ends"`  // where it ended
	Plan  string    `json:"plan"`  // that the scope goes through
	// Contract is a hash of the pipeline file's, so that nobody goes on with another one.
	Contract string `json:"contract"`
	Views    Views  `json:"views,omitempty"`
	// Rebuilt are the views that are made anew.
	Rebuilt []View `json:"rebuilt,omitempty"`
	Keeps   bool   `json:"keeps_unreachable,omitempty"`

	FileEpoch waybill.Epoch `json:"file_epoch"`
	BaseEpoch waybill.Epoch `json:"base_epoch"` // that live had when it was planned
	Leg       Leg           `json:"leg"`
	// Before is the leg that was done last; the next one begins where it ended.
	Before *Leg `json:"before,omitempty"`
	// Spent are the epochs of legs that are over or were given up: their groups are still there.
	Spent []waybill.Epoch `json:"spent,omitempty"`

	Owner   string    `json:"owner,omitempty"` // of the session; empty: nobody
	Who     string    `json:"who,omitempty"`   // in words
	Lease   time.Time `json:"lease,omitzero"`  // until when the owner is left alone, by the server's clock
	Planned time.Time `json:"planned"`
	At      time.Time `json:"at"` // of the row
	Note    string    `json:"note,omitempty"`
	Verdict []string  `json:"verdict,omitempty"` // why the comparison does not allow a promotion
	// Verified is what the last comparison was held to and has found, as package verify writes it; nil: there was none.
	Verified json.RawMessage `json:"verified,omitempty"`
	// Forced: it was promoted without a comparison that allows it.
	Forced  bool      `json:"forced,omitempty"`
	Cleaned time.Time `json:"cleaned,omitzero"` // when what was left of it was dropped
}

// Clone shares nothing with j.
func (j Job) Clone() Job {
	out := j
	out.Begin, out.Ends, out.Verdict = maps.Clone(j.Begin), maps.Clone(j.Ends), slices.Clone(j.Verdict)
	out.Rebuilt, out.Spent = slices.Clone(j.Rebuilt), slices.Clone(j.Spent)
	out.Leg = j.Leg.clone()
	if j.Before != nil {
		before := j.Before.clone()
		out.Before = &before
	}
	return out
}

func (l Leg) clone() Leg {
	out := l
	out.From, out.Kept, out.V = maps.Clone(l.From), maps.Clone(l.Kept), maps.Clone(l.V)
	out.Filled = slices.Clone(l.Filled)
	for i := range out.Filled {
		out.Filled[i].Through = maps.Clone(out.Filled[i].Through)
	}
	if l.Round != nil {
		r := *l.Round
		r.From, r.To, r.Pieces = maps.Clone(r.From), maps.Clone(r.To), slices.Clone(r.Pieces)
		out.Round = &r
	}
	return out
}

// WorkName is the name of the table that comes in, while whoever wants to may fill it.
func (j *Job) WorkName() string { return fmt.Sprintf("%s_backfill_%d", j.Table, j.Leg.Epoch) }

// SessionName is its name in the session that begins with a sequence: nobody else's statements name it.
func (j *Job) SessionName(sequence uint64) string {
	return fmt.Sprintf("%s_%d", j.WorkName(), sequence)
}

// ReplacedName is the name of the table that was replaced by the leg.
func (j *Job) ReplacedName() string { return fmt.Sprintf("%s_before_%d", j.Table, j.Leg.Epoch) }

// ThirdName is the name of the table that rows that stay are copied into.
func (j *Job) ThirdName(sequence uint64) string {
	return fmt.Sprintf("%s_keep_%d_%d", j.Table, j.Leg.Epoch, sequence)
}

// RebuiltName is the name of a table that holds what a view makes, made or tried to be put in its place by the row of a sequence: nobody else's statements name
// it. RebuiltPrefix is how all such names of its target begin.
func (j *Job) RebuiltName(view int, sequence uint64) string {
	return fmt.Sprintf("%s%d_%d", j.RebuiltPrefix(view), j.Leg.Epoch, sequence)
}

// RebuiltPrefix is how RebuiltName begins, whatever the leg.
func (j *Job) RebuiltPrefix(view int) string { return j.Rebuilt[view].Target + "_rebuilt_" }

// RebuiltBefore is the name of what a view had filled before the leg.
func (j *Job) RebuiltBefore(view int) string {
	return fmt.Sprintf("%s_before_%d", j.Rebuilt[view].Target, j.Leg.Epoch)
}

// RebuiltPattern is a regular expression for the names of tables that hold what a view makes or has made, whatever the leg and the job, but for the one that it fills.
func (j *Job) RebuiltPattern(view int) string {
	return "^" + regexp.QuoteMeta(j.Rebuilt[view].Target) + "_(before_[0-9]+|rebuilt_[0-9]+_[0-9]+)$"
}

// WorkGroup is the consumer group that reads for the leg.
func (j *Job) WorkGroup() string { return j.workGroup(j.Leg.Epoch) }

func (j *Job) workGroup(epoch waybill.Epoch) string {
	return fmt.Sprintf("%s-backfill-%d", j.Group, epoch)
}

// WorkGroups are the consumer groups of all of its legs, until it is cleaned up.
func (j *Job) WorkGroups() (out []string) {
	if !j.Cleaned.IsZero() || j.Leg.Epoch == 0 {
		return nil
	}
	for _, e := range j.Spent {
		out = append(out, j.workGroup(e))
	}
	return append(out, j.WorkGroup())
}

// Standby is the UUID of the table that is kept so that the last swap can be taken back, or that was given up; empty: there is none.
func (j *Job) Standby() string {
	switch {
	case !j.Cleaned.IsZero():
		return ""
	case j.State == Promoted || j.State == RolledBack:
		return j.Leg.Out
	}
	return j.Leg.In
}

// StandbyOf is the UUID of what a view fills that is kept beside Standby; empty: there is none.
func (j *Job) StandbyOf(view int) string {
	switch {
	case !j.Cleaned.IsZero() || view >= len(j.Leg.Filled):
		return ""
	case j.State == Promoted || j.State == RolledBack:
		return j.Leg.Filled[view].Out
	}
	return j.Leg.Filled[view].In
}
