package cli

import (
	"cmp"
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/waybill-data/waybill/internal/ledger"
)

func newPause(s Streams) *cobra.Command {
	var why, by string
	cmd := &cobra.Command{
		Use:   "pause FILE",
		Short: "Have all workers of a pipeline stand still until it is resumed",
		Long: `Pauses a pipeline, and the one that keeps its records: within a second or two
all of its workers, in whatever process, settle what is in flight, leave the
group and wait. It lasts until "waybill resume", also across restarts: workers
that are started meanwhile wait too. Nothing is lost as long as the topic keeps
the records; how far the group is behind is still reported.

/status says who has paused it and why, and so does the metric waybill_paused. A
process whose pipelines are paused is ready: a restart would not help.

A backfill of the pipeline goes on: it has limits of its own. A hold of a job
and a pause do not know of each other: the pipeline goes on when both are over.`,
		Example: `  waybill pause llm-calls.yaml --why "ClickHouse is being moved"
  waybill resume llm-calls.yaml`,
		Args: args(cobra.ExactArgs(1)),
	}
	cmd.Flags().StringVar(&why, "why", "", "for whoever wonders why it stands still")
	cmd.Flags().StringVar(&by, "by", "", "who you are (default: your user's name)")
	cmd.RunE = withDesk(func(ctx context.Context, d *desk, _ []string) error {
		return setPause(ctx, s, d, ledger.Pause{Paused: true, Who: cmp.Or(by, person()), Why: why})
	})
	return cmd
}

func newResume(s Streams) *cobra.Command {
	var by string
	cmd := &cobra.Command{
		Use:   "resume FILE",
		Short: "Have the workers of a pipeline that is paused go on",
		Long: `Ends a pause (see "waybill pause"): the workers join the group again and go on
where they were.`,
		Example: `  waybill resume llm-calls.yaml`,
		Args:    args(cobra.ExactArgs(1)),
	}
	cmd.Flags().StringVar(&by, "by", "", "who you are (default: your user's name)")
	cmd.RunE = withDesk(func(ctx context.Context, d *desk, _ []string) error {
		return setPause(ctx, s, d, ledger.Pause{Who: cmp.Or(by, person())})
	})
	return cmd
}

func setPause(ctx context.Context, s Streams, d *desk, p ledger.Pause) error {
	if err := d.recorded(ctx); err != nil {
		return err
	}
	was, err := d.ledger.PauseOf(ctx, d.cfg.Name)
	if err != nil {
		return unreached(err)
	}
	if was.Paused == p.Paused && !p.Paused {
		_, err := fmt.Fprintf(s.Out, "%s is not paused\n", d.cfg.Name)
		return err
	}
	if err := d.ledger.SetPause(ctx, d.cfg.Name, p); err != nil {
		return unreached(err)
	}
	var b strings.Builder
	switch {
	case !p.Paused:
		wrap(&b, "", fmt.Sprintf("%s is resumed; it was paused by %s for %s", d.cfg.Name, was.Who, duration(d.client.ServerNow(time.Now()).Sub(was.At))))
	case was.Paused:
		wrap(&b, "", fmt.Sprintf("%s was paused already, by %s; now it is by %s", d.cfg.Name, was.Who, p.Who))
	default:
		wrap(&b, "", fmt.Sprintf("%s is paused: its workers settle what is in flight and leave the group. `waybill resume` ends it", d.cfg.Name))
	}
	_, err = fmt.Fprint(s.Out, b.String())
	return err
}
