package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/waybill-data/waybill"
	"github.com/waybill-data/waybill/internal/config"
	"github.com/waybill-data/waybill/internal/delivery"
	"github.com/waybill-data/waybill/internal/kafka"
	"github.com/waybill-data/waybill/internal/ledger"
)

func newRename(s Streams) *cobra.Command {
	yes := false
	cmd := &cobra.Command{
		Use:   "rename FILE NAME",
		Short: "Give a pipeline another name, and keep its account",
		Long: `Has all that is on record of the file's pipeline go by another name: ledger,
dead letters, plans, findings, and where its group stands, if that is called
after the pipeline. Nothing is read again. Without --yes it says what there is,
and changes nothing.

Stop the pipeline first, in good order: take its file out of the directory, or
stop its workers. Then rename it, write the new name into the file, and start it
again. It is refused while workers are in the group, while batches are pending,
while a backfill is under way, while a replay, repair or erasure is not
finished, and if anything is on record under the new name. What was erased is
known under both names from then on.

It may be killed at any moment and run again; until it has ended the pipeline is
paused under both names. Run again after that, it says so and changes nothing.`,
		Example: `  waybill rename llm-calls.yaml model-calls
  waybill rename llm-calls.yaml model-calls --yes`,
		Args: args(cobra.ExactArgs(2)),
	}
	cmd.Flags().BoolVar(&yes, "yes", false, "do it")
	cmd.RunE = withDesk(func(ctx context.Context, d *desk, a []string) error { return renamePipeline(ctx, s, d, a[0], yes) })
	return cmd
}

// renaming is one pipeline of a file: itself, or the one that keeps its records.
type renaming struct{ from, to, group, newGroup string }

var errPending = errors.New("batches are pending: they bear the old name")

func renamePipeline(ctx context.Context, s Streams, d *desk, to string, yes bool) error {
	if !config.ValidName(to) {
		return usage(fmt.Errorf("%q is no name of a pipeline: lower-case letters, digits and dashes, at most 63", to))
	}
	if err := d.recorded(ctx); err != nil {
		return err
	}
	source, err := openTopic(ctx, d.cfg)
	if err != nil {
		return unreached(err)
	}
	defer source.Close()
	var all []renaming
	for _, p := range config.Running([]*config.Pipeline{d.cfg}) {
		suffix := strings.TrimPrefix(p.Name, d.cfg.Name)
		r := renaming{p.Name, to + suffix, p.Source.Kafka.Group, p.Source.Kafka.Group}
		if r.group == "waybill-"+p.Name {
			r.newGroup = "waybill-" + r.to
		}
		all = append(all, r)
	}
	if over, err := renamedBefore(ctx, d, all); err != nil || over {
		if err == nil {
			err = sayRenamed(s, d, to)
		}
		return err
	}
	mark := "it is being renamed to " + to
	pause, err := d.ledger.PauseOf(ctx, d.cfg.Name)
	if err != nil {
		return unreached(err)
	}
	again := pause.Paused && pause.Why == mark
	for _, r := range all {
		if err := r.object(ctx, d, source, again); err != nil {
			return err
		}
	}
	if !yes {
		return foreseeRename(ctx, s, d, all)
	}
	if err := d.ledger.SetPause(ctx, d.cfg.Name, ledger.Pause{Paused: true, Who: person(), Why: mark}); err != nil {
		return unreached(err)
	}
	// Who writes the new name into the file before all is there would begin with part of it.
	if err := d.ledger.SetPause(ctx, to, ledger.Pause{Paused: true, Who: person(), Why: "it is being renamed from " + d.cfg.Name + ": run `waybill rename` again if it was stopped"}); err != nil {
		return unreached(err)
	}
	for _, r := range all {
		if err := r.carryOut(ctx, d, source, again); err != nil {
			return err
		}
	}
	// The pause goes last, and with it the last that says that this was begun. Whoever is stopped while it goes can't know that it was done, and does it again.
	if err := d.ledger.SetPause(ctx, to, ledger.Pause{Who: person(), Why: renamedFrom(d.cfg.Name)}); err != nil {
		return unreached(err)
	}
	if err := d.ledger.Forget(ctx, d.cfg.Name); err != nil {
		return unreached(err)
	}
	return sayRenamed(s, d, to)
}

func sayRenamed(s Streams, d *desk, to string) error {
	_, err := fmt.Fprintf(s.Out, "%s is %s now: write that into the file before you start it\n", d.cfg.Name, to)
	return err
}

// renamedFrom is what is on record under the new name in place of a pause, once all else is.
func renamedFrom(name string) string { return "it was renamed from " + name }

// renamedBefore says whether it has been done: nothing goes by the old name, and the new one says where it is from.
func renamedBefore(ctx context.Context, d *desk, all []renaming) (bool, error) {
	for _, r := range all {
		if left, err := d.ledger.Kept(ctx, r.from); err != nil || len(left) > 0 {
			return false, unreached(err)
		}
	}
	now, err := d.ledger.PauseOf(ctx, all[0].to)
	return !now.Paused && now.Why == renamedFrom(d.cfg.Name), unreached(err)
}

func foreseeRename(ctx context.Context, s Streams, d *desk, all []renaming) error {
	var b strings.Builder
	for _, r := range all {
		rows, err := d.ledger.Kept(ctx, r.from)
		if err != nil {
			return unreached(err)
		}
		for _, k := range rows {
			if k.Table == ledger.TablePauses { // it is paused while it is renamed, and not afterwards
				continue
			}
			wrap(&b, "", fmt.Sprintf("would rename %s rows of %s.%s", count(k.Rows), ledger.DefaultDatabase, k.Table))
		}
		if r.newGroup != r.group {
			wrap(&b, "", fmt.Sprintf("would have group %s stand where %s does, and drop that", r.newGroup, r.group))
		}
	}
	_, err := fmt.Fprint(s.Out, b.String()+"say --yes to do it\n")
	return err
}

// object says what speaks against it.
func (r renaming) object(ctx context.Context, d *desk, source *kafka.Reader, again bool) error {
	refuse := func(err error, hint string) error {
		return usage(&waybill.Error{Op: "rename", Pipeline: r.from, Class: waybill.ClassConfig, Err: err, Hint: hint})
	}
	for _, group := range []string{r.group, r.newGroup} {
		members, err := source.Members(ctx, group)
		if err != nil {
			return unreached(err)
		}
		if len(members) > 0 {
			return refuse(fmt.Errorf("%w: %s has %s", errInUse, group, strings.Join(members, ", ")), "stop the processes that run the pipeline, or take its file out of their directories")
		}
	}
	metadata, err := source.GroupMetadata(ctx, r.group)
	if err != nil {
		return unreached(err)
	}
	for _, text := range metadata {
		if meta, err := delivery.ParseMetadata(text); err == nil && len(meta.Intents) > 0 {
			return refuse(errPending, "start a worker, and stop it in good order (SIGTERM)")
		}
	}
	if _, err := backfillsOver(ctx, d.ledger, "rename", r.from); err != nil {
		return err
	}
	there, err := d.ledger.Kept(ctx, r.to)
	if err == nil && len(there) > 0 && !again {
		return refuse(fmt.Errorf("a pipeline %s is on record already", r.to), "choose a name that no pipeline has had")
	}
	return unreached(err)
}

// carryOut renames one pipeline. The old group goes last: as long as it is there, it can be copied again.
func (r renaming) carryOut(ctx context.Context, d *desk, source *kafka.Reader, again bool) error {
	at, err := source.GroupOffsets(ctx, r.group)
	if err != nil {
		return unreached(err)
	}
	if r.newGroup != r.group && len(at) > 0 {
		if err := source.CopyGroup(ctx, r.group, r.newGroup); err != nil {
			return unreached(err)
		}
	}
	if err := d.ledger.Rename(ctx, r.from, r.to, again); err != nil {
		return unreached(err)
	}
	if r.newGroup == r.group {
		return nil
	}
	if err := d.ledger.SetGroup(ctx, r.to, r.newGroup); err != nil {
		return unreached(err)
	}
	return unreached(source.DropGroup(ctx, r.group))
}
