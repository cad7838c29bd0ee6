package backfill

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/waybill-data/waybill"
)

// Event is something that was decided about a job, or done for it.
type Event interface{ event() string }

// Events.
type (
	// Plan: what it is about is known. It is what the first row of a job is made of.
	Plan struct{ Job Job }
	// Claim: a session begins, or goes on for as long as the lease says. An owner whose lease is over is no obstacle.
	Claim struct {
		Owner, Who string
		Until      time.Time
		Renew      bool
	}
	// Yield: the session ends.
	Yield struct{ Owner, Note string }
	// Run: the shadow is to be filled. Epoch is one that nobody has used; of a job that has run already it is not looked at.
	Run struct{ Epoch waybill.Epoch }
	// Made: the shadow is there.
	Made struct{ In, Out string }
	// Caught: it has caught up with live.
	Caught struct{}
	// Verify: live and shadow are to be compared.
	Verify struct{}
	// Verified: they have been. Refusals are why it must not be promoted, Result is what was found.
	Verified struct {
		Refusals []string
		Result   json.RawMessage
	}
	// Promote: it is to take the live table's place, or to take it again. Epoch is for a leg that is not the first. Force: whatever the comparison says.
	Promote struct {
		Epoch waybill.Epoch
		Force bool
	}
	// Rollback: what was replaced is to take its place back, under an epoch that nobody has used.
	Rollback struct{ Epoch waybill.Epoch }
	// Done: a step was taken, with what it has found.
	Done struct {
		Step      Step
		Positions Positions // of Position: V
		At        time.Time
	}
	// Began: the swap's next round was begun, or it is at a later point of it.
	Began struct{ Round Round }
	// Attached: so many of the round's pieces are.
	Attached struct{ Done int }
	// Settled: the round is done.
	Settled struct{}
	// Fill: what a view makes of the rows up to a position is in a table of its own.
	Fill struct {
		View   int
		Filled Filled
	}
	// Refill: what a view had made has rows that the table that comes in has lost since. It is made anew of all that the table has.
	Refill struct{}
	// Back: live may have gone on since it was asked to stop, as nobody has renewed that. Where it stands is read anew.
	Back struct{}
	// Anew: rows that stay were changed in the live table after they were brought in. They are brought in once more.
	Anew struct{}
	// Attempt: the tables are about to change places. It is on record so that each attempt has a sequence of its own.
	Attempt struct{}
	// GiveUp: the swap is not to be; all is as it was before it.
	GiveUp struct{ Why string }
	// Fail: the shadow cannot be filled.
	Fail struct{ Why string }
	// Cancel: the job is given up.
	Cancel struct{ Why string }
	// Clean: what was left of it has been dropped.
	Clean struct{}
)

func (Plan) event() string     { return "plan" }
func (Claim) event() string    { return "claim" }
func (Yield) event() string    { return "yield" }
func (Run) event() string      { return "run" }
func (Made) event() string     { return "made" }
func (Caught) event() string   { return "caught up" }
func (Verify) event() string   { return "verify" }
func (Verified) event() string { return "verified" }
func (Promote) event() string  { return "promote" }
func (Rollback) event() string { return "rollback" }
func (e Done) event() string   { return "done " + string(e.Step) }
func (Began) event() string    { return "began" }
func (Attached) event() string { return "attached" }
func (Settled) event() string  { return "settled" }
func (Fill) event() string     { return "fill" }
func (Refill) event() string   { return "refill" }
func (Back) event() string     { return "back" }
func (Anew) event() string     { return "anew" }
func (Attempt) event() string  { return "attempt" }
func (GiveUp) event() string   { return "give up" }
func (Fail) event() string     { return "fail" }
func (Cancel) event() string   { return "cancel" }
func (Clean) event() string    { return "clean" }

// transitions are the states in which an event is legal. Of events that are not in the table (claims, rounds) Apply says itself when they are.
var transitions = map[string]map[State]State{
	"run":       {Planned: Running, Failed: Running, Running: Running, CaughtUp: Running, Ready: Running},
	"made":      {Running: Running},
	"caught up": {Running: CaughtUp, CaughtUp: CaughtUp},
	"verify":    {CaughtUp: Verifying, Ready: Verifying, Verifying: Verifying},
	"promote":   {Ready: Promoting, RolledBack: Promoting},
	"rollback":  {Promoted: RollingBack},
	"fail":      {Running: Failed},
	"cancel":    {Planned: Canceled, Running: Canceled, CaughtUp: Canceled, Verifying: Canceled, Ready: Canceled, Failed: Canceled},
	"clean":     {Promoted: Promoted, RolledBack: RolledBack, Canceled: Canceled},
}

// Illegal is the error of an event that a job in its state does not take.
type Illegal struct {
	Job   string
	State State
	Step  Step
	Event string
	Why   string
}

func (e *Illegal) Error() string {
	at := string(e.State)
	if e.Step != NoStep {
		at += ", step " + string(e.Step)
	}
	out := fmt.Sprintf("backfill %s is %s: it cannot take %q", e.Job, at, e.Event)
	if e.Why != "" {
		out += ": " + e.Why
	}
	return out
}

func (j *Job) illegal(e Event, why string) error {
	return &Illegal{j.ID, j.State, j.Step, e.event(), why}
}

// Apply is the job after an event, for the journal's next row: its sequence is one higher. What is not legal changes nothing and is an error.
func (j Job) Apply(e Event, at time.Time) (Job, error) {
	out := j.Clone()
	out.Sequence++
	out.At = at
	if to, ok := transitions[e.event()][j.State]; ok {
		out.State = to
	} else if _, known := transitions[e.event()]; known {
		if p, ok := e.(Promote); !ok || !p.Force || j.State != CaughtUp && j.State != Verifying {
			return j, j.illegal(e, "")
		}
		out.State = Promoting
	}
	if err := out.take(&j, e); err != nil {
		return j, err
	}
	return out, nil
}

// take changes a job that is in its next state already.
func (j *Job) take(was *Job, e Event) error {
	switch e := e.(type) {
	case Plan:
		return was.illegal(e, "it is planned")
	case Claim:
		return j.claim(was, e)
	case Yield:
		if j.Owner == e.Owner {
			j.Owner, j.Who, j.Lease = "", "", time.Time{}
		}
		j.Note = e.Note
	case Run:
		return j.run(was, e)
	case Made:
		return j.made(was, e)
	case Verified:
		return j.verified(was, e)
	case Promote, Rollback:
		return j.swap(was, e)
	case Clean:
		if !was.Cleaned.IsZero() {
			return was.illegal(e, "it is cleaned up")
		}
		j.Cleaned = j.At
	case GiveUp:
		return j.giveUp(was, e)
	case Done, Began, Attached, Settled, Fill, Refill, Back, Anew, Attempt:
		return j.advance(was, e)
	case Fail:
		j.Note = e.Why
	case Cancel:
		j.Note = e.Why
	}
	return nil
}

func (j *Job) claim(was *Job, e Claim) error {
	if was.Owner != "" && was.Owner != e.Owner && j.At.Before(was.Lease) {
		return was.illegal(e, was.Who+" is at it")
	}
	if e.Renew && was.Owner != e.Owner {
		return was.illegal(e, "somebody else has taken it over")
	}
	j.Owner, j.Who, j.Lease = e.Owner, e.Who, e.Until
	return nil
}

func (j *Job) run(was *Job, e Run) error {
	if was.State == Planned {
		if e.Epoch <= j.BaseEpoch || e.Epoch <= j.FileEpoch {
			return was.illegal(e, fmt.Sprintf("epoch %d has been used", e.Epoch))
		}
		j.Leg = Leg{Epoch: e.Epoch}
	}
	j.Note, j.Verdict, j.Verified = "", nil, nil
	return nil
}

func (j *Job) made(was *Job, e Made) error {
	if was.Leg.In != "" && (was.Leg.In != e.In || was.Leg.Out != e.Out) {
		return was.illegal(e, "it has another table")
	}
	if e.In == "" || e.Out == "" || e.In == e.Out {
		return was.illegal(e, "a job has two tables")
	}
	j.Leg.In, j.Leg.Out = e.In, e.Out
	return nil
}

func (j *Job) verified(was *Job, e Verified) error {
	if was.State != Verifying {
		return was.illegal(e, "nobody compares")
	}
	j.State, j.Verdict, j.Verified = Ready, nil, e.Result
	if len(e.Refusals) > 0 {
		j.State, j.Verdict = CaughtUp, e.Refusals
	}
	return nil
}

// swap begins a promotion or a rollback.
func (j *Job) swap(was *Job, e Event) error {
	if !was.Cleaned.IsZero() {
		return was.illegal(e, "the other table has been dropped")
	}
	j.Step = Prepare
	epoch := waybill.Epoch(0)
	switch e := e.(type) {
	case Promote:
		epoch, j.Forced = e.Epoch, e.Force && was.State != Ready && was.State != RolledBack
	case Rollback:
		epoch = e.Epoch
	}
	if was.State != Promoted && was.State != RolledBack {
		if was.Leg.In == "" {
			return was.illegal(e, "there is no table")
		}
		return nil
	}
	if epoch <= was.Leg.Epoch {
		return was.illegal(e, fmt.Sprintf("epoch %d has been used", epoch))
	}
	before := was.Leg.clone()
	j.Before = &before
	j.Spent = append(j.Spent, before.Epoch)
	// All that is in the table that comes in is before the position at which it was left.
	j.Leg = Leg{Number: before.Number + 1, Epoch: epoch, In: before.Out, Out: before.In, From: before.V}
	for _, f := range before.Filled {
		j.Leg.Filled = append(j.Leg.Filled, Filled{In: f.Out, Out: f.In})
	}
	j.Leg = j.Leg.clone()
	return nil
}

func (j *Job) giveUp(was *Job, e GiveUp) error {
	switch {
	case !was.State.Swapping():
		return was.illegal(e, "no tables are changing places")
	case !was.Step.Revocable():
		return was.illegal(e, "the tables may change places at any moment: it goes forward only")
	}
	j.Step, j.Note = NoStep, e.Why
	j.Leg.V, j.Leg.Held = nil, time.Time{}
	switch {
	case was.Before == nil && was.Forced:
		j.State = CaughtUp
	case was.Before == nil:
		j.State = Ready
	case was.State == RollingBack:
		j.State = Promoted
	default:
		j.State = RolledBack
	}
	if was.Before != nil {
		if n := len(j.Spent); n > 0 {
			j.Spent[n-1] = was.Leg.Epoch // the one before is not over
		}
		j.Leg, j.Before = was.Before.clone(), nil
	}
	return nil
}

// advance takes the steps of a swap.
func (j *Job) advance(was *Job, e Event) error {
	if !was.State.Swapping() {
		return was.illegal(e, "no tables are changing places")
	}
	switch e := e.(type) {
	case Done:
		return j.done(was, e)
	case Back:
		if !was.Step.Held() || !was.Step.Revocable() {
			return was.illegal(e, "live does not stand still, or the tables may change places at any moment")
		}
		// A position that is read later is never an earlier one: what was done up to the last one counts.
		j.Step, j.Leg.V, j.Leg.Held = Keep, nil, time.Time{}
		return nil
	case Anew:
		if was.Step != Check || was.Leg.Number > 0 {
			return was.illegal(e, "nobody looks whether rows that stay were changed")
		}
		j.Step, j.Leg.V, j.Leg.Held, j.Leg.Kept, j.Leg.Mutation, j.Leg.Filled = Keep, nil, time.Time{}, nil, 0, nil
		return nil
	case Attempt:
		if was.Step != Exchange && was.Step != Feed {
			return was.illegal(e, "it is not time")
		}
		return nil
	case Began, Attached, Settled:
		return j.round(was, e)
	case Fill:
		return j.fill(was, e)
	case Refill:
		if was.Step != Keep && was.Step != Rest || was.Leg.Number == 0 {
			return was.illegal(e, "views are not made anew now")
		}
		for i := range j.Leg.Filled {
			j.Leg.Filled[i].In, j.Leg.Filled[i].Through = "", nil
		}
	}
	return nil
}

// fill replaces what a view makes of the rows up to one position by what it makes of those up to a later one.
func (j *Job) fill(was *Job, e Fill) error {
	switch {
	case was.Step != Keep && was.Step != Rest || was.Leg.Round != nil:
		return was.illegal(e, "views are not made anew now")
	case e.View >= len(was.Rebuilt) || e.View > len(was.Leg.Filled):
		return was.illegal(e, "no such view")
	case e.Filled.In == "" || e.Filled.Out == "" || e.Filled.In == e.Filled.Out:
		return was.illegal(e, "a view has two tables")
	}
	if e.View == len(was.Leg.Filled) {
		j.Leg.Filled = append(j.Leg.Filled, e.Filled)
		return nil
	}
	switch f := was.Leg.Filled[e.View]; {
	case f.Out != e.Filled.Out:
		return was.illegal(e, "the view fills another table")
	case !e.Filled.Through.Reached(f.Through):
		return was.illegal(e, "it would end before it begins")
	}
	j.Leg.Filled[e.View] = e.Filled
	return nil
}

// filled reports whether everything that the views make of rows up to a position is made.
func (j *Job) filled(to Positions) bool {
	if len(j.Leg.Filled) != len(j.Rebuilt) {
		return false
	}
	for _, f := range j.Leg.Filled {
		if f.Through == nil || !f.Through.Reached(to) {
			return false
		}
	}
	return true
}

func (j *Job) done(was *Job, e Done) error {
	if e.Step != was.Step {
		return was.illegal(e, "that is not the step")
	}
	switch e.Step {
	case Hold:
		j.Leg.Held = e.At
	case Position:
		if len(e.Positions) == 0 {
			return was.illegal(e, "without positions")
		}
		j.Leg.V = e.Positions
	case Keep, Rest:
		if was.Leg.Round != nil {
			return was.illegal(e, "a round is under way")
		}
		if e.Step == Rest && was.Leg.Number == 0 && !was.Leg.Kept.Reached(was.Leg.V) {
			return was.illegal(e, "rows that stay are not all in")
		}
		if e.Step == Rest && !was.filled(was.Leg.V) {
			return was.illegal(e, "views are not made anew")
		}
	case Exchange:
		j.Leg.Exchanged = e.At
	case Tell:
		j.Leg.Released = e.At
		j.Step, j.Note, j.Before = NoStep, "", nil
		j.State = Promoted
		if was.State == RollingBack {
			j.State = RolledBack
		}
		return nil
	case NoStep, Prepare, Follow, Reach, Check, Feed:
	}
	j.Step = was.Step.next()
	return nil
}

// round goes on with what is being brought in.
func (j *Job) round(was *Job, e Event) error {
	if was.Step != Keep && was.Step != Rest || was.Leg.Number > 0 {
		return was.illegal(e, "rows are not brought in now")
	}
	r := j.Leg.Round
	switch e := e.(type) {
	case Began:
		switch {
		case r == nil && e.Round.Listed, r != nil && r.Listed:
			return was.illegal(e, "a round is filled before it is listed, once")
		case !e.Round.To.Reached(was.Leg.Kept):
			return was.illegal(e, "it would end before it begins")
		}
		next := e.Round
		j.Leg.Round = &next
		if was.Leg.Kept == nil {
			j.Leg.Mutation = next.Mutation
		}
	case Attached:
		if r == nil || !r.Listed || e.Done < r.Done || e.Done > len(r.Pieces) {
			return was.illegal(e, "no such piece")
		}
		r.Done = e.Done
	case Settled:
		if r == nil || !r.Listed || r.Done != len(r.Pieces) {
			return was.illegal(e, "pieces are missing")
		}
		j.Leg.Kept, j.Leg.Round = r.To, nil
	}
	return nil
}
