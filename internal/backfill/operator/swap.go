package operator

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/waybill-data/waybill"
	"github.com/waybill-data/waybill/internal/backfill"
)

// Promote puts the table that comes in in the live table's place, or goes on with what somebody has begun. force: whatever the comparison says.
func (o *Operator) Promote(ctx context.Context, id string, force bool) error {
	return o.swapping(ctx, id, backfill.Promoting, func(j *backfill.Job) (backfill.Event, error) {
		e := backfill.Promote{Force: force}
		if j.State != backfill.RolledBack {
			return e, nil
		}
		var err error
		e.Epoch, err = o.Live.NextEpoch(ctx)
		return e, err
	})
}

// Rollback puts the table that was replaced back, or goes on with what somebody has begun.
func (o *Operator) Rollback(ctx context.Context, id string) error {
	return o.swapping(ctx, id, backfill.RollingBack, func(*backfill.Job) (backfill.Event, error) {
		epoch, err := o.Live.NextEpoch(ctx)
		return backfill.Rollback{Epoch: epoch}, err
	})
}

// swapping begins a swap unless one of the kind is under way, and carries it out.
func (o *Operator) swapping(ctx context.Context, id string, to backfill.State, begin func(*backfill.Job) (backfill.Event, error)) error {
	return o.session(ctx, id, func(ctx context.Context) error {
		if o.Job().State != to {
			if err := o.retained(ctx); err != nil {
				return err
			}
			e, err := begin(o.Job())
			if err != nil {
				return err
			}
			if err := o.apply(ctx, e); err != nil {
				return err
			}
		}
		o.Passed("swap begun")
		err := o.swap(ctx)
		if j := o.Job(); err != nil && !errors.Is(err, ErrTaken) && j.Step.Held() && j.Step.Revocable() {
			// Live need not wait until the hold ends by itself. Whoever goes on asks it anew.
			_ = o.Live.Release(context.WithoutCancel(ctx), j.ID)
		}
		if err == nil || ctx.Err() != nil || errors.Is(err, ErrTaken) || !o.Job().State.Swapping() || !o.Job().Step.Revocable() || waybill.ClassOf(err).Heals() {
			return err
		}
		// What waiting does not mend is given up, so that live goes on.
		return errors.Join(err, o.giveUp(ctx, err.Error()))
	})
}

// retained makes sure that what the table lacks can be read: it is to begin at where it was left.
func (o *Operator) retained(ctx context.Context) error {
	if o.Job().State != backfill.Promoted && o.Job().State != backfill.RolledBack {
		return nil
	}
	begins, err := o.Live.Begins(ctx)
	if err != nil {
		return err
	}
	for _, p := range o.Job().Leg.V.Partitions() {
		if at := o.Job().Leg.V[p]; begins[p] > at {
			return o.refused("plan another backfill with the file that the table is to be written with", "the other table holds records up to offset %d of partition %d, and the topic begins at %d: what lies between cannot be read any more",
				at, p, begins[p])
		}
	}
	return nil
}

// giveUp ends a swap that has not changed the live table, and lets live go.
func (o *Operator) giveUp(ctx context.Context, why string) error {
	if err := o.apply(ctx, backfill.GiveUp{Why: why}); err != nil {
		return err
	}
	if err := o.Live.Release(ctx, o.Job().ID); err != nil || o.name == "" || o.Job().Leg.Number > 0 {
		return err
	}
	return o.Tables.Rename(ctx, o.name, o.Job().WorkName()) // where it is filled, if it is to be
}

// swap takes step after step.
func (o *Operator) swap(ctx context.Context) error {
	if o.Job().Step.Held() && o.Job().Step.Revocable() {
		if err := o.apply(ctx, backfill.Back{}); err != nil {
			return err
		}
	}
	if err := o.takeOver(ctx); err != nil {
		return err
	}
	for o.Job().State.Swapping() {
		step := o.Job().Step
		done := backfill.Done{Step: step}
		err := o.step(ctx, step, &done)
		if errors.Is(err, errAnew) {
			continue // at the step that the job is at now
		}
		if err != nil {
			return fmt.Errorf("%s: %w", step, err)
		}
		if err := ctx.Err(); err != nil {
			return context.Cause(ctx)
		}
		o.Passed("before " + string(step))
		done.At = o.Now()
		if err := o.apply(ctx, done); err != nil {
			return err
		}
		o.Passed("after " + string(step))
	}
	return nil
}

// takeOver gives the table that comes in a name that no former session knows, and waits until nothing of those is being carried out.
func (o *Operator) takeOver(ctx context.Context) error {
	name, err := o.Tables.Name(ctx, o.Job().Leg.In)
	if err != nil {
		return err
	}
	switch {
	case name == "":
		return o.refused("cancel it and plan it anew", "the table of backfill %s is gone", o.Job().ID)
	case name == o.Job().Table: // they have changed places
		return nil
	}
	o.name = o.Job().SessionName(o.Job().Sequence)
	if err := o.Tables.Rename(ctx, name, o.name); err != nil {
		return err
	}
	o.Passed("renamed")
	return o.Tables.Await(ctx, o.Job().WorkName())
}

func (o *Operator) step(ctx context.Context, s backfill.Step, done *backfill.Done) error {
	switch s {
	case backfill.Prepare:
		return o.prepare(ctx)
	case backfill.Follow:
		_, err := o.follow(ctx, o.name)
		return err
	case backfill.Keep:
		return o.keep(ctx)
	case backfill.Hold:
		return o.hold(ctx)
	case backfill.Position:
		v, err := o.position(ctx)
		done.Positions = v
		return err
	case backfill.Reach:
		return o.Deps.Run(ctx, Work{Job: o.Job(), Table: o.name, Until: func() (backfill.Positions, bool) { return o.Job().Leg.V, true }})
	case backfill.Rest:
		return o.rest(ctx)
	case backfill.Check:
		return o.check(ctx)
	case backfill.Exchange:
		return o.exchange(ctx)
	case backfill.Feed:
		return o.feed(ctx)
	case backfill.Tell:
		return o.tell(ctx)
	case backfill.NoStep:
	}
	return nil
}

// prepare: the epoch is on record before the table can come under the live name, and old rows are refused before anything relies on it.
func (o *Operator) prepare(ctx context.Context) error {
	if err := o.sameViews(ctx); err != nil {
		return err
	}
	if err := o.Live.Epoch(ctx, o.Job().Leg.In, o.Job().Leg.Epoch, o.Job().ID); err != nil {
		return err
	}
	o.Passed("epoch on record")
	return o.Tables.Fence(ctx, o.name, o.Job().Leg.Epoch)
}

// hold asks live to stop, and waits until it has.
func (o *Operator) hold(ctx context.Context) error {
	began := o.Now()
	for attempt := 0; ; attempt++ {
		if err := o.Live.Hold(ctx, o.Job().ID, o.Now().Add(HoldTime)); err != nil {
			return err
		}
		o.Passed("held")
		members, err := o.Live.Members(ctx)
		switch {
		case err != nil:
			return err
		case len(members) == 0:
			return nil
		case o.Now().Sub(began) > o.DrainTime:
			return o.refused("stop them, or update them to this version; then run it again", "%d members of the pipeline's group have not stopped within %s: %s", len(members), o.DrainTime, strings.Join(members, ", "))
		}
		if err := o.Pause(ctx, min(attempt, 2)); err != nil {
			return err
		}
	}
}

// exchange lets the tables change places. If what its views fill does so too, it takes no rows until that has happened: one of them would go to the wrong table.
func (o *Operator) exchange(ctx context.Context) error {
	j := o.Job()
	return o.place(ctx, pair{in: j.Leg.In, out: j.Leg.Out, live: j.Table, name: func(j *backfill.Job) string { return j.SessionName(j.Sequence) }, ready: func(name string) error {
		if len(j.Rebuilt) == 0 {
			return nil
		}
		err := o.Tables.Close(ctx, name, j.Leg.Epoch)
		o.Passed("closed")
		return err
	}})
}

// pair are two tables that are to change places.
type pair struct {
	in, out string // by UUID
	live    string // name of the one that is replaced
	name    func(*backfill.Job) string
	ready   func(name string) error // nil: there is nothing to be done before
}

// place lets two tables change places, once: each attempt is about a name that no other attempt knows.
func (o *Operator) place(ctx context.Context, p pair) error {
	for attempt := 0; ; attempt++ {
		name, err := o.Tables.Name(ctx, p.in)
		switch {
		case err != nil:
			return err
		case name == p.live:
			return nil
		case name == "":
			return o.refused("restore it from a backup, or cancel", "a table of backfill %s that is to replace %s.%s is gone", o.Job().ID, o.Job().Database, p.live)
		}
		out, err := o.Tables.Name(ctx, p.out)
		if err != nil {
			return err
		}
		if out != p.live && attempt == 0 {
			// It may be that they have changed places since the name was read.
			if name, err = o.Tables.Name(ctx, p.in); err != nil || name == p.live {
				return err
			}
			return o.refused("cancel it and plan it anew", "%s.%s is not the table any more that it was when the backfill was planned", o.Job().Database, p.live)
		}
		if p.ready != nil {
			if err := p.ready(name); err != nil {
				return err
			}
		}
		if err := o.apply(ctx, backfill.Attempt{}); err != nil {
			return err
		}
		own := p.name(o.Job())
		if err := o.Tables.Rename(ctx, name, own); err != nil && !settles(err) {
			return err
		}
		o.Passed("before exchange")
		if name, err = o.Tables.Name(ctx, p.in); err != nil {
			return err
		}
		if name == own {
			err = o.Tables.Exchange(ctx, p.live, own)
			o.Passed("exchanged")
			if err != nil && !settles(err) {
				return err
			}
		}
		if err != nil && attempt > maxAttempts {
			return err
		}
		if err != nil {
			if err := o.Pause(ctx, attempt); err != nil {
				return err
			}
		}
	}
}

const maxAttempts = 10

// settles: another look at the tables may show another state of affairs.
func settles(err error) bool {
	class := waybill.ClassOf(err)
	return class.Heals() || class == waybill.ClassSchema
}

// tell gives the replaced table its name, lets live go, and tells those downstream.
func (o *Operator) tell(ctx context.Context) error {
	name, err := o.Tables.Name(ctx, o.Job().Leg.Out)
	if err != nil {
		return err
	}
	if name != "" && name != o.Job().ReplacedName() {
		if err := o.Tables.Rename(ctx, name, o.Job().ReplacedName()); err != nil {
			return err
		}
	}
	o.Passed("replaced table named")
	if err := o.retire(ctx); err != nil {
		return err
	}
	if err := o.Live.Release(ctx, o.Job().ID); err != nil {
		return err
	}
	o.Passed("released")
	j := o.Job().Clone()
	j.Leg.Released = o.Now()
	return o.Live.Tell(ctx, &j)
}

// Paused is for how long live stood still: from when it was asked to stop until it was let go.
func Paused(l *backfill.Leg) time.Duration {
	if l.Held.IsZero() || l.Released.IsZero() {
		return 0
	}
	return l.Released.Sub(l.Held)
}
