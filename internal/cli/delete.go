package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/waybill-data/waybill"
	"github.com/waybill-data/waybill/internal/config"
	"github.com/waybill-data/waybill/internal/ledger"
)

func newDelete(s Streams) *cobra.Command {
	yes := false
	cmd := &cobra.Command{
		Use:   "delete FILE",
		Short: "Remove what Waybill keeps of a pipeline; its tables stay",
		Long: `Deletes a pipeline's consumer group and its rows in Waybill's own tables: the
ledger, dead letters, plans, findings, jobs; with those of the one that keeps
its records. Without --yes it says what there is, and changes nothing.

What stays: the pipeline's tables with their rows, its archive, the topic, the
file; and which records were erased, so that nothing brings them back. The
account is gone after that: nothing can be audited, replayed or repaired.

It is refused while workers are in the group: stop them, or take the file out
of their directory, first; while a backfill is under way: end or cancel it; and
while a replay, repair or erasure is not finished: run it again.
Tables that backfills keep stay, and are named. Whoever runs the file again
reads the topic from where the file says, and does not write rows again that
the table still has of the same epoch.`,
		Example: `  waybill delete llm-calls.yaml
  waybill delete llm-calls.yaml --yes`,
		Args: args(cobra.ExactArgs(1)),
	}
	cmd.Flags().BoolVar(&yes, "yes", false, "do it")
	out := outputFlag(cmd)
	cmd.RunE = withDesk(func(ctx context.Context, d *desk, _ []string) error { return deletePipeline(ctx, s, *out, d, yes) })
	return cmd
}

// placed says what is to be known of a table that a backfill has put in place, once that is not on record any more; empty: none has.
func (d *desk) placed(ctx context.Context) (string, error) {
	if d.cfg.Epoch <= d.file.Epoch {
		return "", nil
	}
	text := fmt.Sprintf("a backfill has put it there: before the file is run again, write epoch %d into it", d.cfg.Epoch)
	origins, err := d.ledger.AccountOrigins(ctx, d.cfg.Name, d.cfg.Epoch)
	if len(origins) > 1 {
		text += ", and let it start behind the rows of older epochs, which would come once more"
	}
	return " (" + text + ")", err
}

// removal is what `delete` prints with -o json.
type removal struct {
	Pipeline string        `json:"pipeline"`
	Done     bool          `json:"done"` // false: nothing was changed
	Groups   []string      `json:"groups"`
	Rows     []ledger.Kept `json:"rows"`
	Stays    []string      `json:"stays"`
}

func deletePipeline(ctx context.Context, s Streams, o output, d *desk, yes bool) error {
	r := &removal{Pipeline: d.cfg.Name, Groups: []string{}, Rows: []ledger.Kept{}}
	version, err := d.ledger.Version(ctx)
	if err != nil {
		return unreached(err)
	}
	var kept, work []string
	placed := ""
	if version > 0 {
		if r.Rows, err = d.ledger.Kept(ctx, names(d.cfg)...); err != nil {
			return unreached(err)
		}
		jobs, err := backfillsOver(ctx, d.ledger, "delete", names(d.cfg)...)
		if err != nil {
			return err
		}
		if kept, err = keptTables(ctx, d.client, jobs); err != nil {
			return err
		}
		work = workGroups(jobs)
		if placed, err = d.placed(ctx); err != nil {
			return unreached(err)
		}
	}
	if r.Groups, err = dropGroups(ctx, d.cfg, false, work...); err != nil {
		return err
	}
	for _, of := range d.cfg.Tables() {
		r.Stays = append(r.Stays, "table "+of.Sink.ClickHouse.Place()+placed)
	}
	r.Stays = append(r.Stays, kept...)
	if a := d.cfg.Archiver(); a != nil {
		r.Stays = append(r.Stays, "archive "+a.Sink.ClickHouse.Place())
	}
	if c := d.cfg.Content; c != nil {
		place := d.cfg.Sink.ClickHouse.Database + "." + c.Table
		if c.S3 != nil {
			place = c.S3.Place()
		}
		r.Stays = append(r.Stays, "long values in "+place)
	}
	r.Stays = append(r.Stays, "topic "+d.cfg.Source.Kafka.Topic)
	if yes {
		// The group first: if it ends here, the ledger tells where to go on.
		if _, err := dropGroups(ctx, d.cfg, true, work...); err != nil {
			return err
		}
		if version > 0 {
			if err := d.ledger.Forget(ctx, names(d.cfg)...); err != nil {
				return unreached(err)
			}
		}
		r.Done = true
	}
	if o == outputJSON {
		return printJSON(s.Out, r)
	}
	return r.print(s.Out)
}

func (r *removal) print(w io.Writer) error {
	var b strings.Builder
	verb := "would delete"
	if r.Done {
		verb = "deleted"
	}
	if len(r.Groups)+len(r.Rows) == 0 {
		wrap(&b, "", fmt.Sprintf("there is nothing of %s to delete", r.Pipeline))
	}
	for _, g := range r.Groups {
		wrap(&b, "", verb+" group "+g)
	}
	for _, k := range r.Rows {
		wrap(&b, "", fmt.Sprintf("%s %s rows of %s.%s", verb, count(k.Rows), ledger.DefaultDatabase, k.Table))
	}
	wrap(&b, "", "stays: "+strings.Join(r.Stays, ", "))
	if !r.Done && len(r.Groups)+len(r.Rows) > 0 {
		b.WriteString("say --yes to do it\n")
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// dropGroups are the consumer groups of a pipeline that there are, and those of its backfills, and drops them if it is told to. One that somebody is in is refused.
func dropGroups(ctx context.Context, cfg *config.Pipeline, yes bool, work ...string) ([]string, error) {
	source, err := openTopic(ctx, cfg)
	if err != nil {
		return nil, unreached(err)
	}
	defer source.Close()
	groups, all := []string{}, slices.Clone(work)
	for _, p := range config.Running([]*config.Pipeline{cfg}) {
		all = append(all, p.Source.Kafka.Group)
	}
	for _, group := range all {
		members, err := source.Members(ctx, group)
		if err != nil {
			return nil, unreached(err)
		}
		if len(members) > 0 {
			return nil, usage(&waybill.Error{Op: "delete", Pipeline: cfg.Name, Class: waybill.ClassConfig, Err: fmt.Errorf("%w: %s has %s", errInUse, group, strings.Join(members, ", ")),
				Hint: "stop the processes that run the pipeline, or take its file out of their directories"})
		}
		at, err := source.GroupOffsets(ctx, group)
		if err != nil {
			return nil, unreached(err)
		}
		if len(at) > 0 {
			groups = append(groups, group)
		}
	}
	if !yes {
		return groups, nil
	}
	for _, g := range groups {
		if err := source.DropGroup(ctx, g); err != nil {
			return nil, unreached(err)
		}
	}
	return groups, nil
}

var errInUse = errors.New("workers are in its consumer group")
