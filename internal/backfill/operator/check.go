package operator

import (
	"context"
	"errors"
)

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
	if err := o.sameViews(ctx); err != nil {
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
