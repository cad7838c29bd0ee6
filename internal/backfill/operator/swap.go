package operator

import (
	"context"
	"errors"
	"fmt"
	"slices"
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

// errAnew: an earlier step has to be taken again, and the job says so.
var errAnew = errors.New("rows that stay are brought in again")

// maxAnew is how often rows that stay are brought in again because somebody has changed them.
const maxAnew = 3

// unchanged makes sure that rows that stay are as the live table has them. What somebody deletes or changes there after they were brought in is not in what was
// brought in: then they are brought in once more, while live goes on.
func (o *Operator) unchanged(ctx context.Context) error {
	if o.Job().Leg.Number > 0 {
		return nil
	}
	found, err := o.Tables.Changes(ctx, o.Job().Table, o.Job().Leg.Mutation)
	if err != nil || len(found) == 0 {
		return err
	}
	if o.anew++; o.anew > maxAnew {
		return o.refused("stop what changes rows, and run it again", "%s.%s is changed by somebody again and again while rows that stay are brought in, the last time by: %s", o.Job().Database, o.Job().Table, found[len(found)-1])
	}
	o.Log.Warn("rows that stay were changed in the live table after they were brought in: they are brought in again", "mutations", len(found), "last", found[len(found)-1])
	if err := o.apply(ctx, backfill.Anew{}); err != nil {
		return err
	}
	o.Passed("anew")
	if err := o.Live.Release(ctx, o.Job().ID); err != nil {
		return err
	}
	return errAnew
}

// still waits until the live table is at no mutation, and is the number of the last one: what is attached has them all.
func (o *Operator) still(ctx context.Context) (uint64, error) {
	for began, attempt := o.Now(), 0; ; attempt++ {
		last, underWay, err := o.Tables.LastMutation(ctx, o.Job().Table)
		switch {
		case err != nil || underWay == 0:
			return last, err
		case o.Now().Sub(began) > o.DrainTime:
			return 0, o.refused("wait until they are done, or kill them (system.mutations); then run it again", "%d mutations of %s.%s are under way: rows that stay would be brought in without what they do", underWay, o.Job().Database, o.Job().Table)
		}
		if err := o.Pause(ctx, attempt); err != nil {
			return 0, err
		}
	}
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
	case backfill.Tell:
		return o.tell(ctx)
	case backfill.NoStep:
	}
	return nil
}

// prepare: the epoch is on record before the table can come under the live name, and old rows are refused before anything relies on it.
func (o *Operator) prepare(ctx context.Context) error {
	if err := o.Live.Epoch(ctx, o.Job().Leg.In, o.Job().Leg.Epoch, o.Job().ID); err != nil {
		return err
	}
	o.Passed("epoch on record")
	return o.Tables.Fence(ctx, o.name, o.Job().Leg.Epoch)
}

// keep brings in the rows that stay, as far as live has settled.
func (o *Operator) keep(ctx context.Context) error {
	if o.Job().Leg.Number > 0 {
		return o.drop(ctx)
	}
	if o.Job().Leg.Round != nil {
		if err := o.round(ctx, o.Job().Leg.Round.To); err != nil {
			return err
		}
	}
	for range maxRounds {
		to, err := o.position(ctx)
		if err != nil {
			return err
		}
		rows, err := o.bring(ctx, to)
		if err != nil || rows < fewRows {
			return err
		}
	}
	return nil
}

// So many rounds are made while live goes on, so that the last one, while it stands still, is short.
const (
	maxRounds = 5
	fewRows   = 100_000
)

// drop removes what older epochs have left in a table behind the position that it begins at: once nothing can come any more that was sent when it was
// the live one. Under the names that it has had since then nobody writes.
func (o *Operator) drop(ctx context.Context) error {
	for attempt := 0; o.Job().Before != nil && o.Now().Before(o.Job().Before.Exchanged.Add(o.Grace)); attempt++ {
		if err := o.Pause(ctx, attempt); err != nil {
			return err
		}
	}
	return o.Tables.RemoveOlder(ctx, o.name, o.Job().Leg.Epoch, o.Job().Topic, o.Job().Leg.From, "")
}

// bring is a round from where the last one ended.
func (o *Operator) bring(ctx context.Context, to backfill.Positions) (int64, error) {
	if err := o.round(ctx, to); err != nil {
		return 0, err
	}
	return o.lastRows, nil
}

// round makes sure that all rows that stay, up to a position, are in the table once.
func (o *Operator) round(ctx context.Context, to backfill.Positions) error {
	if r := o.Job().Leg.Round; r == nil || !r.Listed {
		if err := o.list(ctx, to); err != nil {
			return err
		}
	} else if err := o.undo(ctx); err != nil {
		return err
	}
	for r := o.Job().Leg.Round; r.Done < len(r.Pieces); r = o.Job().Leg.Round {
		piece := r.Pieces[r.Done]
		from := o.Job().Table
		if piece.Third {
			from = r.Third
		}
		o.Passed("before attach")
		if err := o.Tables.Attach(ctx, o.name, piece.ID, from); err != nil {
			return err
		}
		o.Passed("attached")
		if err := o.apply(ctx, backfill.Attached{Done: r.Done + 1}); err != nil {
			return err
		}
	}
	r := o.Job().Leg.Round
	// What was attached from the live table has rows that live had not settled then.
	if err := o.Tables.RemoveOlder(ctx, o.name, o.Job().Leg.Epoch, o.Job().Topic, r.To, ""); err != nil {
		return err
	}
	o.Passed("trimmed")
	if err := o.counted(ctx, r); err != nil {
		return err
	}
	third := r.Third
	o.lastRows = r.Rows
	if err := o.apply(ctx, backfill.Settled{}); err != nil {
		return err
	}
	o.Passed("round settled")
	if third == "" {
		return nil
	}
	return o.Tables.Drop(ctx, third)
}

// undo removes what a former session may have attached of the piece that it was at.
func (o *Operator) undo(ctx context.Context) error {
	r := o.Job().Leg.Round
	if r.Done == len(r.Pieces) {
		return nil
	}
	return o.Tables.RemoveOlder(ctx, o.name, o.Job().Leg.Epoch, o.Job().Topic, r.From, r.Pieces[r.Done].ID)
}

// list says what is to be attached: table partitions of the live one as they are, where they hold nothing of the scope, and of a third table.
func (o *Operator) list(ctx context.Context, to backfill.Positions) error {
	r := backfill.Round{From: o.Job().Leg.Kept, To: to}
	if o.Job().Open && r.From != nil && o.Job().Begin.Knows(to) { // what stays lies before the scope, and is in
		r.Listed = false
		if err := o.apply(ctx, backfill.Began{Round: r}); err != nil {
			return err
		}
		r.Listed = true
		return o.apply(ctx, backfill.Began{Round: r})
	}
	r.Third = o.Job().ThirdName(o.Job().Sequence + 1)
	var err error
	if r.Mutation, err = o.still(ctx); err != nil {
		return err
	}
	if r.From == nil {
		// What was brought in before it had to be done anew.
		if err := o.Tables.RemoveOlder(ctx, o.name, o.Job().Leg.Epoch, o.Job().Topic, nil, ""); err != nil {
			return err
		}
	}
	if err := o.apply(ctx, backfill.Began{Round: r}); err != nil {
		return err
	}
	o.Passed("round begun")
	if err := o.dropThirds(ctx, r.Third); err != nil {
		return err
	}
	whole, some, err := o.parted(ctx, r.From == nil)
	if err != nil {
		return err
	}
	if err := o.Tables.Make(ctx, r.Third, o.name); err != nil {
		return err
	}
	if err := o.Tables.Unfence(ctx, r.Third); err != nil {
		return err
	}
	if some == nil || len(some) > 0 {
		if err := o.Tables.Copy(ctx, o.Job().Table, r.Third, o.Job(), some, r.From, to); err != nil {
			return err
		}
	}
	o.Passed("third table filled")
	for _, id := range whole {
		r.Pieces = append(r.Pieces, backfill.Piece{ID: id})
	}
	copied, err := o.Tables.Pieces(ctx, r.Third)
	if err != nil {
		return err
	}
	for _, id := range copied {
		r.Pieces = append(r.Pieces, backfill.Piece{ID: id, Third: true})
	}
	if r.Rows, err = o.Tables.CountStaying(ctx, o.Job().Table, o.Job(), r.From, to); err != nil {
		return err
	}
	r.Listed = true
	return o.apply(ctx, backfill.Began{Round: r})
}

// parted are the live table's partitions that are attached as they are, and those that rows are copied from; some nil: from all. After the first round all that is
// new is copied.
func (o *Operator) parted(ctx context.Context, first bool) (whole, some []string, err error) {
	same, missing, err := o.Tables.SameColumns(ctx, o.Job().Table, o.name)
	switch {
	case err != nil:
		return nil, nil, err
	case len(missing) > 0:
		return nil, nil, o.refused(fmt.Sprintf("add them: ALTER TABLE %s.%s ADD COLUMN ...", o.Job().Database, o.name), "the live table has columns that the table of the backfill lacks: %s", strings.Join(missing, ", "))
	case !first || !same:
		return nil, nil, nil
	}
	all, err := o.Tables.Pieces(ctx, o.Job().Table)
	if err != nil {
		return nil, nil, err
	}
	touched, err := o.Tables.Touched(ctx, o.Job().Table, o.Job())
	if err != nil {
		return nil, nil, err
	}
	some = []string{}
	for _, id := range all {
		if slices.Contains(touched, id) {
			some = append(some, id)
		} else {
			whole = append(whole, id)
		}
	}
	return whole, some, nil
}

// dropThirds drops what former sessions have copied.
func (o *Operator) dropThirds(ctx context.Context, but string) error {
	names, err := o.Tables.Like(ctx, fmt.Sprintf("%s_keep_%d_", o.Job().Table, o.Job().Leg.Epoch))
	if err != nil {
		return err
	}
	for _, name := range names {
		if name == but {
			continue
		}
		if err := o.Tables.Drop(ctx, name); err != nil {
			return err
		}
	}
	return nil
}

// counted makes sure that a round has brought in what it was to.
func (o *Operator) counted(ctx context.Context, r *backfill.Round) error {
	exact, err := o.Tables.Exact(ctx, o.Job().Table)
	if err != nil || !exact {
		return err
	}
	got, err := o.Tables.CountOlder(ctx, o.name, o.Job().Leg.Epoch, o.Job().Topic, r.From, r.To)
	if err != nil {
		return err
	}
	if got == r.Rows {
		return nil
	}
	return o.refused("find out what deletes or writes rows; then cancel this backfill and plan it anew", "%d rows are to stay, and %d of them are in the other table: %s.%s is changed by somebody else", r.Rows, got, o.Job().Database, o.Job().Table)
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
			return o.refused("stop them, or update them to this version; then run it again", "%d members of group %s have not stopped within %s: %s", len(members), o.Job().Group, o.DrainTime, strings.Join(members, ", "))
		}
		if err := o.Pause(ctx, min(attempt, 2)); err != nil {
			return err
		}
	}
}

// rest brings in the last rows that stay, now that live stands still.
func (o *Operator) rest(ctx context.Context) error {
	if o.Job().Leg.Number > 0 {
		return o.drop(ctx)
	}
	return o.round(ctx, o.Job().Leg.V)
}

// check makes sure that the table holds what it must before it is shown to anybody.
func (o *Operator) check(ctx context.Context) error {
	if raised, err := o.Live.Raised(ctx, o.Job().BaseEpoch); err != nil {
		return err
	} else if raised > 0 {
		return o.refused("cancel it, and plan it anew with the file as it is now",
			"workers run under epoch %d, which is the pipeline file's: it was raised after backfill %s was planned, and what they have written since is in the live table alone", raised, o.Job().ID)
	}
	if err := o.unchanged(ctx); err != nil {
		return err
	}
	if err := o.alone(ctx); err != nil {
		return err
	}
	tips, err := o.tips(ctx)
	if err != nil {
		return err
	}
	leg := &o.Job().Leg
	for _, p := range leg.V.Partitions() {
		if tips[p] != leg.V[p] {
			return o.refused("run it again; if that does not help, please report it", "the account of epoch %d ends at offset %d of partition %d, and live stands at %d", leg.Epoch, tips[p], p, leg.V[p])
		}
	}
	behind := leg.V
	if leg.Number > 0 {
		behind = leg.From
	}
	if n, err := o.Tables.CountOlder(ctx, o.name, leg.Epoch, o.Job().Topic, behind, nil); err != nil || n > 0 {
		return errors.Join(err, o.unless(n == 0, "%d rows of older epochs lie behind the position from which epoch %d accounts", n, leg.Epoch))
	}
	exact, err := o.Tables.Exact(ctx, o.name)
	if err != nil || !exact {
		return err
	}
	there, err := o.Tables.CountEpoch(ctx, o.name, leg.Epoch, o.Job().Topic)
	if err != nil {
		return err
	}
	written, err := o.Live.Written(ctx, leg.Epoch)
	if err != nil {
		return err
	}
	return o.unless(there == written, "the table holds %d rows of epoch %d, and its account says %d", there, leg.Epoch, written)
}

// alone makes sure that nobody else has rows in the live table: they would go with it.
func (o *Operator) alone(ctx context.Context) error {
	j := o.Job()
	n, err := o.Tables.CountForeign(ctx, j.Table, j.Topic)
	if err != nil || n == 0 {
		return err
	}
	return o.refused("have whoever writes them write into another table, and delete them from this one; then cancel this backfill and plan it anew",
		"%d rows of %s.%s are not of topic %s: others have written into the table since the backfill was planned, and their rows would go with it", n, j.Database, j.Table, j.Topic)
}

func (o *Operator) unless(ok bool, format string, args ...any) error {
	if ok {
		return nil
	}
	return o.refused("`waybill audit` and `waybill backfill verify` say which", format, args...)
}

// exchange lets the tables change places, once: each attempt is about a name that no other attempt knows.
func (o *Operator) exchange(ctx context.Context) error {
	leg := &o.Job().Leg
	for attempt := 0; ; attempt++ {
		name, err := o.Tables.Name(ctx, leg.In)
		switch {
		case err != nil:
			return err
		case name == o.Job().Table:
			return nil
		case name == "":
			return o.refused("restore it from a backup, or cancel", "the table of backfill %s is gone", o.Job().ID)
		}
		out, err := o.Tables.Name(ctx, leg.Out)
		if err != nil {
			return err
		}
		if out != o.Job().Table && attempt == 0 {
			// It may be that they have changed places since the name was read.
			if name, err = o.Tables.Name(ctx, leg.In); err != nil || name == o.Job().Table {
				return err
			}
			return o.refused("cancel it and plan it anew", "%s.%s is not the table any more that it was when the backfill was planned", o.Job().Database, o.Job().Table)
		}
		if err := o.apply(ctx, backfill.Attempt{}); err != nil {
			return err
		}
		o.name = o.Job().SessionName(o.Job().Sequence)
		if err := o.Tables.Rename(ctx, name, o.name); err != nil && !settles(err) {
			return err
		}
		o.Passed("before exchange")
		if name, err = o.Tables.Name(ctx, leg.In); err != nil {
			return err
		}
		if name == o.name {
			err = o.Tables.Exchange(ctx, o.Job().Table, o.name)
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
	if err := o.Live.Release(ctx, o.Job().ID); err != nil {
		return err
	}
	o.Passed("released")
	j := o.Job().Clone()
	j.Leg.Released = o.Now()
	return o.Live.Tell(ctx, &j)
}

// Cancel gives a job up. What it has made stays until it is cleaned up; the live table is as it was.
func (o *Operator) Cancel(ctx context.Context, id, why string) error {
	return o.session(ctx, id, func(ctx context.Context) error {
		if o.Job().State.Swapping() {
			if err := o.giveUp(ctx, why); err != nil {
				return err
			}
			if o.Job().State.Over() {
				return nil
			}
		}
		return o.apply(ctx, backfill.Cancel{Why: why})
	})
}

// Cleanup drops what a job that is over has left: the table that is not the live one, third tables, the groups.
func (o *Operator) Cleanup(ctx context.Context, id string) error {
	return o.session(ctx, id, func(ctx context.Context) error {
		if !o.Job().State.Over() || !o.Job().Cleaned.IsZero() {
			return o.apply(ctx, backfill.Clean{}) // says why not
		}
		if err := o.dropThirds(ctx, ""); err != nil {
			return err
		}
		if uuid := o.Job().Standby(); uuid != "" {
			if err := o.dropTable(ctx, uuid); err != nil {
				return err
			}
		}
		o.Passed("dropped")
		if o.Job().Leg.Epoch > 0 {
			if err := o.Live.DropGroup(ctx, o.Job().WorkGroup()); err != nil {
				return err
			}
		}
		return o.apply(ctx, backfill.Clean{})
	})
}

// dropTable drops a table by its UUID: under a name that is nobody else's.
func (o *Operator) dropTable(ctx context.Context, uuid string) error {
	name, err := o.Tables.Name(ctx, uuid)
	if err != nil || name == "" {
		return err
	}
	if name == o.Job().Table {
		return o.refused("please report it", "what is to be dropped is the live table")
	}
	last := fmt.Sprintf("%s_drop_%d", o.Job().Table, o.Job().Sequence)
	if err := o.Tables.Rename(ctx, name, last); err != nil {
		return err
	}
	o.Passed("renamed to be dropped")
	is, err := o.Tables.UUID(ctx, last)
	if err != nil || is != uuid {
		return errors.Join(err, o.unless(is == uuid, "%s is another table", last))
	}
	return o.Tables.Drop(ctx, last)
}

// Paused is for how long live stood still: from when it was asked to stop until it was let go.
func Paused(l *backfill.Leg) time.Duration {
	if l.Held.IsZero() || l.Released.IsZero() {
		return 0
	}
	return l.Released.Sub(l.Held)
}
