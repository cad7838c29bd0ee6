package operator

import (
	"context"
	"errors"
	"fmt"

	"github.com/waybill-data/waybill/internal/backfill"
)

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
			if err := o.dropTable(ctx, uuid, o.Job().Table); err != nil {
				return err
			}
		}
		if err := o.dropRebuilt(ctx); err != nil {
			return err
		}
		o.Passed("dropped")
		for _, group := range o.Job().WorkGroups() {
			if err := o.Live.DropGroup(ctx, group); err != nil {
				return err
			}
		}
		return o.apply(ctx, backfill.Clean{})
	})
}

// dropTable drops a table by its UUID: under a name that is nobody else's. live is the name that it must not have.
func (o *Operator) dropTable(ctx context.Context, uuid, live string) error {
	name, err := o.Tables.Name(ctx, uuid)
	if err != nil || name == "" {
		return err
	}
	if name == live {
		return o.refused("please report it", "what is to be dropped is the live table")
	}
	last := fmt.Sprintf("%s_drop_%d", live, o.Job().Sequence)
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
