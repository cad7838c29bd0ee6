package operator

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/waybill-data/waybill/internal/backfill"
)

// sameViews makes sure that the live table feeds the views that it fed when the backfill was planned, if something was decided about them. A way back is not barred
// by views that have been made since.
func (o *Operator) sameViews(ctx context.Context) error {
	j := o.Job()
	if j.Views == backfill.ViewsLeave {
		return nil
	}
	now, err := o.Tables.Feeds(ctx, j.Table)
	if err != nil {
		return err
	}
	others, made := missing(j.Rebuilt, now), missing(now, j.Rebuilt)
	if j.Leg.Number > 0 && len(others) == 0 {
		if len(made) > 0 {
			o.Log.Warn("materialized views were made since the backfill was planned: what they have made of rows stays as it is", "views", made)
		}
		return nil
	}
	hint := "cancel this backfill and plan it anew"
	if j.Leg.Number > 0 {
		hint = "put those back that were dropped or altered, as they were: `waybill backfill status -o json` has their queries"
	}
	others = append(others, made...)
	slices.Sort(others)
	if others = slices.Compact(others); len(others) > 0 {
		return o.refused(hint, "materialized views of %s.%s were made, dropped or altered since backfill %s was planned: %s", j.Database, j.Table, j.ID, strings.Join(others, ", "))
	}
	return nil
}

// missing are the names of views that others does not have as they are.
func missing(views, others []backfill.View) (names []string) {
	for _, v := range views {
		if !slices.Contains(others, v) {
			names = append(names, v.Database+"."+v.Name)
		}
	}
	return names
}

// shortRebuild is how long views may take to be made anew for it to be short enough to be done once more while everybody waits.
const shortRebuild = 5 * time.Second

// rebuildAhead has the views made anew of what is settled, while live goes on. What comes meanwhile is little, or it is done once more.
func (o *Operator) rebuildAhead(ctx context.Context) error {
	if len(o.Job().Rebuilt) == 0 {
		return nil
	}
	for range maxRounds {
		began := o.Now()
		to, err := o.settled(ctx)
		if err != nil {
			return err
		}
		if err := o.rebuild(ctx, to); err != nil || o.Now().Sub(began) < shortRebuild {
			return err
		}
		if _, err := o.follow(ctx, o.name); err != nil || ctx.Err() != nil {
			return err
		}
		if err := o.stay(ctx); err != nil {
			return err
		}
	}
	return nil
}

// settled is up to where all rows are in the table that comes in: those of its epoch, and those that stay.
func (o *Operator) settled(ctx context.Context) (backfill.Positions, error) {
	to, err := o.tips(ctx)
	if err != nil {
		return nil, err
	}
	for p, at := range to {
		if o.Job().Leg.Number == 0 {
			to[p] = min(at, o.Job().Leg.Kept[p])
		} else {
			to[p] = max(at, o.Job().Leg.From[p])
		}
	}
	return to, nil
}

// rebuild has all views made anew of the rows up to a position.
func (o *Operator) rebuild(ctx context.Context, to backfill.Positions) error {
	for i := range o.Job().Rebuilt {
		if err := o.fill(ctx, i, to); err != nil {
			return fmt.Errorf("view %s.%s: %w", o.Job().Rebuilt[i].Database, o.Job().Rebuilt[i].Name, err)
		}
	}
	return nil
}

// fill makes a table of what is made already and what the view makes of the rows that are new. It is another table each time, as parts can't be attached, nor rows
// inserted, so that they are there once whoever is killed: one that is not on record is dropped.
func (o *Operator) fill(ctx context.Context, i int, to backfill.Positions) error {
	j := o.Job()
	v := j.Rebuilt[i]
	var was backfill.Filled
	if i < len(j.Leg.Filled) {
		was = j.Leg.Filled[i]
	}
	if was.Through != nil && was.Through.Knows(to) && was.Through.Reached(to) {
		return nil
	}
	if err := o.dropUnfinished(ctx, i); err != nil {
		return err
	}
	name := j.RebuiltName(i, j.Sequence+1)
	if err := o.Tables.Make(ctx, name, v.Target); err != nil {
		return err
	}
	o.Passed("view table made")
	base := ""
	if was.In != "" {
		var err error
		if base, err = o.Tables.Name(ctx, was.In); err != nil {
			return err
		}
		if base == "" {
			return o.refused("cancel it and plan it anew", "the table of backfill %s that is to replace %s.%s is gone", j.ID, j.Database, v.Target)
		}
		if err := o.Tables.AttachAll(ctx, name, base); err != nil {
			return err
		}
		o.Passed("view rows attached")
	}
	lo := was.Through
	if base != "" && lo == nil { // what it had when it was left
		lo = j.Leg.From
	}
	if err := o.Tables.Fill(ctx, v, o.name, name, j.Topic, lo, to); err != nil {
		return err
	}
	o.Passed("view rows made")
	next := backfill.Filled{Out: was.Out, Through: to}
	var err error
	if next.In, err = o.Tables.UUID(ctx, name); err != nil {
		return err
	}
	if next.Out == "" {
		if next.Out, err = o.Tables.UUID(ctx, v.Target); err != nil {
			return err
		}
	}
	if err := o.apply(ctx, backfill.Fill{View: i, Filled: next}); err != nil {
		return err
	}
	o.Passed("view filled")
	if base == "" || was.Through == nil { // what was replaced before is needed until this leg is done
		return nil
	}
	return o.Tables.Drop(ctx, base)
}

// refill has the views made anew of all rows, if the table that comes in has rows that are about to be removed: what they had been made of is not known any more.
func (o *Operator) refill(ctx context.Context) error {
	j := o.Job()
	if !slices.ContainsFunc(j.Leg.Filled, func(f backfill.Filled) bool { return f.In != "" }) {
		return nil
	}
	n, err := o.Tables.CountOlder(ctx, o.name, j.Leg.Epoch, j.Topic, j.Leg.From, nil)
	if err != nil || n == 0 {
		return err
	}
	o.Log.Warn("the table that comes in has rows that came after it was left: they are removed, and what views have made of them is made anew of all other rows", "rows", n)
	err = o.apply(ctx, backfill.Refill{})
	o.Passed("refill")
	return err
}

// dropUnfinished drops what former sessions have made of a view, and what has been made part of another table. What is of a later session is left to that.
func (o *Operator) dropUnfinished(ctx context.Context, i int) error {
	j := o.Job()
	names, err := o.Tables.Like(ctx, j.RebuiltPrefix(i))
	if err != nil {
		return err
	}
	for _, name := range names {
		_, number, ok := strings.Cut(strings.TrimPrefix(name, j.RebuiltPrefix(i)), "_")
		if at, err := strconv.ParseUint(number, 10, 64); !ok || err != nil || at > j.Sequence {
			continue
		}
		uuid, err := o.Tables.UUID(ctx, name)
		if err != nil {
			return err
		}
		if i < len(j.Leg.Filled) && (uuid == j.Leg.Filled[i].In || uuid == j.Leg.Filled[i].Out) {
			continue
		}
		if err := o.Tables.Drop(ctx, name); err != nil {
			return err
		}
	}
	return nil
}

// feed lets what the views fill change places, and then takes rows again.
func (o *Operator) feed(ctx context.Context) error {
	j := o.Job()
	for i, v := range j.Rebuilt {
		f := j.Leg.Filled[i]
		if err := o.place(ctx, pair{in: f.In, out: f.Out, live: v.Target, name: func(j *backfill.Job) string { return j.RebuiltName(i, j.Sequence) }}); err != nil {
			return err
		}
	}
	if len(j.Rebuilt) == 0 {
		return nil
	}
	err := o.Tables.Reopen(ctx, j.Table, j.Leg.Epoch)
	o.Passed("opened")
	return err
}

// retire gives what the views have filled its name, and drops what it was made of when it was brought back.
func (o *Operator) retire(ctx context.Context) error {
	j := o.Job()
	for i := range j.Rebuilt {
		name, err := o.Tables.Name(ctx, j.Leg.Filled[i].Out)
		if err != nil {
			return err
		}
		if name != "" && name != j.RebuiltBefore(i) {
			if err := o.Tables.Rename(ctx, name, j.RebuiltBefore(i)); err != nil {
				return err
			}
		}
		o.Passed("replaced view table named")
		if j.Before == nil || j.Before.Filled[i].Out == j.Leg.Filled[i].In {
			continue
		}
		if err := o.dropTable(ctx, j.Before.Filled[i].Out, j.Rebuilt[i].Target); err != nil {
			return err
		}
	}
	return nil
}

// dropRebuilt drops what a job that is over has left of its views.
func (o *Operator) dropRebuilt(ctx context.Context) error {
	j := o.Job()
	for i, v := range j.Rebuilt {
		if uuid := j.StandbyOf(i); uuid != "" {
			if err := o.dropTable(ctx, uuid, v.Target); err != nil {
				return err
			}
		}
		if err := o.dropUnfinished(ctx, i); err != nil {
			return err
		}
	}
	return nil
}
