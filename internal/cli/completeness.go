package cli

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/waybill-data/waybill/internal/completeness"
)

func newCompleteness(s Streams) *cobra.Command {
	var from, to string
	cmd := &cobra.Command{
		Use:   "completeness FILE",
		Short: "What became of events by the minute of their time",
		Long: `What became of events by the minute of their time, how much of it is in the
tables, and up to when everything is in.

An event's time is that of the contract's event_time column; without one, and
for records that are no row, the record's own. VISIBLE are the rows in the
tables; COMPLETE is how much of what was read is there, or is no row by right
(filtered, a dead letter, a tombstone).

Everything whose time is before "complete through" is accounted for, if no
record comes later than the file's allowed_lateness. Minutes that end after it
are marked: more may come.

After a backfill of a part the minutes of the older epochs' accounts follow
those of the table's. The view waybill.minutes has them all, by epoch, but does
not know which rows are in the table.

It ends with 1 if a minute that has ended is less than 100 % complete.`,
		Example: `  waybill completeness llm-calls.yaml
  waybill completeness llm-calls.yaml --from 24h -o json
  waybill completeness llm-calls.yaml --from 2026-11-28T14:00:00Z --to 10m`,
		Args: args(cobra.ExactArgs(1)),
	}
	cmd.Flags().StringVar(&from, "from", "1h", "minutes since: a `TIME` (RFC 3339), or a length of time ago")
	cmd.Flags().StringVar(&to, "to", "", "minutes before: likewise (default: no bound)")
	o := outputFlag(cmd)
	cmd.RunE = withDesk(func(ctx context.Context, d *desk, _ []string) error {
		return runCompleteness(ctx, s, *o, d, from, to)
	})
	return cmd
}

// endOfTime is after all times that are counted.
var endOfTime = time.Date(2106, 2, 7, 6, 28, 15, 0, time.UTC)

func runCompleteness(ctx context.Context, s Streams, o output, d *desk, from, to string) error {
	if err := d.recorded(ctx); err != nil {
		return err
	}
	since, until, err := d.interval(from, to)
	if err != nil {
		return err
	}
	r, err := completeness.Run(ctx, completeness.Deps{Client: d.client, Ledger: d.ledger}, d.cfg, since, until)
	if err != nil {
		return unreached(err)
	}
	if o == outputJSON {
		err = printJSON(s.Out, r)
	} else {
		err = printCompleteness(s.Out, r)
	}
	if err != nil {
		return err
	}
	all := [][]completeness.Minute{r.Minutes}
	for i := range r.Inherited {
		all = append(all, r.Inherited[i].Minutes)
	}
	for _, some := range all {
		for i := range some {
			if m := &some[i]; m.Complete && m.Completeness < 100 {
				return &exitError{code: ExitFindings, said: true, err: fmt.Errorf("minute %s is not complete", moment(m.Begin))}
			}
		}
	}
	return nil
}

// interval reads --from and --to.
func (d *desk) interval(from, to string) (since, until time.Time, err error) {
	now := d.client.ServerNow(time.Now())
	if since, err = momentOf(from, now, time.Unix(0, 0).UTC()); err != nil {
		return since, until, usage(fmt.Errorf("--from %s: %w", from, err))
	}
	if until, err = momentOf(to, now, endOfTime); err != nil {
		return since, until, usage(fmt.Errorf("--to %s: %w", to, err))
	}
	return since.UTC(), until.UTC(), nil
}

func printCompleteness(w io.Writer, r *completeness.Report) error {
	var b strings.Builder
	wrap(&b, "", fmt.Sprintf("%s, epoch %d, topic %s: %s", r.Pipeline, r.Epoch, r.Topic, saidThrough(r)))
	open := printMinutes(&b, r.Minutes, &r.Total)
	if len(r.Minutes) == 0 {
		wrap(&b, "", "no records of that time")
	}
	for i := range r.Inherited {
		in := &r.Inherited[i]
		wrap(&b, "", fmt.Sprintf("rows of epoch %d, which a backfill has left as they were:", in.Epoch))
		open = printMinutes(&b, in.Minutes, &in.Total) || open
		if in.Partly > 0 {
			wrap(&b, "", fmt.Sprintf("%s batches of that time are still of it in part, with %s offsets: they are in no minute", count(in.Partly), count(in.Offsets)))
		}
	}
	if open {
		wrap(&b, "", "* more may come")
	}
	printCompletenessNotes(&b, r)
	_, err := io.WriteString(w, b.String())
	return err
}

// printMinutes says whether more may come of one.
func printMinutes(b *strings.Builder, all []completeness.Minute, total *completeness.Minute) (open bool) {
	rows := [][]string{{"minute", "read", "written", "visible", "filtered", "dead", "empty", "complete"}}
	row := func(name string, m *completeness.Minute, mark string) {
		rows = append(rows, []string{name, count(m.Read), count(m.Written), count(m.Visible), count(m.Filtered), count(m.DeadLettered), count(m.Tombstones), percentage(m.Completeness) + mark})
	}
	for i := range all {
		m, name, mark := &all[i], "", ""
		if name = m.Begin.Format("2006-01-02 15:04"); m.Width != "minute" {
			name = m.Begin.Format("2006-01-02 15h") + " (" + m.Width + ")"
		}
		if !m.Complete {
			mark, open = " *", true
		}
		row(name, m, mark)
	}
	if len(all) > 1 {
		row("all", total, "")
	}
	if len(all) > 0 {
		table(b, rows, 1)
	}
	return open
}

func printCompletenessNotes(b *strings.Builder, r *completeness.Report) {
	if r.Method == completeness.ByOffsets && r.Total.Visible < r.Total.Written {
		wrap(b, "", "rows are missing; of which minutes of their batches is not known, so each has so many less")
	}
	if r.Why != "" {
		wrap(b, "", "rows were looked for by offset, not by their time: "+r.Why)
	}
	if r.Amended > 0 {
		wrap(b, "", fmt.Sprintf("%s of the visible rows are none any more: they were repaired or erased since, on record", count(r.Amended)))
	}
	if r.Undated > 0 {
		wrap(b, "", fmt.Sprintf("%s records, of all times, are in no minute: lost, gone before their batch was carried out, or read by an older version", count(r.Undated)))
	}
}

// percentage writes one that is 100 only if it is.
func percentage(percent float64) string {
	if percent < 100 && percent > 99.99 {
		percent = 99.99
	}
	return fmt.Sprintf("%.2f%%", percent)
}

func saidThrough(r *completeness.Report) string {
	switch {
	case r.CompleteThrough != nil:
		return "complete through " + moment(*r.CompleteThrough)
	case r.HeldBackBy < 0:
		return "no worker has said yet up to when it is complete"
	}
	return fmt.Sprintf("nothing can be said yet of partition %d", r.HeldBackBy)
}
