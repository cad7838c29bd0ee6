package operator

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/waybill-data/waybill/internal/backfill"
)

// keep brings in the rows that stay, as far as live has settled, and has the views made anew of what is there.
func (o *Operator) keep(ctx context.Context) error {
	if err := o.stay(ctx); err != nil {
		return err
	}
	return o.rebuildAhead(ctx)
}

func (o *Operator) stay(ctx context.Context) error {
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
	if err := o.refill(ctx); err != nil {
		return err
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

// rest brings in the last rows that stay, now that live stands still.
func (o *Operator) rest(ctx context.Context) error {
	if o.Job().Leg.Number > 0 {
		if err := o.drop(ctx); err != nil {
			return err
		}
	} else if err := o.round(ctx, o.Job().Leg.V); err != nil {
		return err
	}
	return o.rebuild(ctx, o.Job().Leg.V)
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
