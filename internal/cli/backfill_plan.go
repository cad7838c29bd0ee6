package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/waybill-data/waybill/internal/backfill"
	"github.com/waybill-data/waybill/internal/backfill/operator"
)

// planFlags say what a backfill is about.
type planFlags struct {
	scope, views string
	keep         bool
	rate         int64
}

func (o *planFlags) add(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&o.scope, "scope", "", "which records: a `SCOPE`, see backfill plan --help")
	f.StringVar(&o.views, "views", "refuse", "what becomes of materialized views: refuse, leave them as they are, or rebuild")
	f.BoolVar(&o.keep, "keep-unreachable", false, "leave rows as they are whose records the topic no longer has")
}

func newBackfillPlan(s Streams) *cobra.Command {
	var o planFlags
	cmd := &cobra.Command{
		Use:   "plan FILE --scope SCOPE",
		Short: "What a backfill would read, replace and need",
		Long: `Says what making rows anew by FILE would be: records to read, rows to replace,
table partitions touched, statements, disk and time, and what becomes of views
and dictionaries. It changes nothing of yours. If nothing speaks against it the
backfill is put on record, and run carries it out.

A SCOPE is one of

  all                        all that the topic has, and all that comes
  time:FROM..TO              events of a time, by the contract's event_time
  kafka-time:FROM..TO        records of a time, by Kafka's index
  offsets:P:FIRST-LAST,...   offsets of partitions
  plan:ID                    what a plan has written
  finding:ID                 what a finding is about
  dead-letters               dead letters that wait, or have failed again
  rescued                    rows with something in the rescue column

Rows out of the scope stay as they are. FROM and TO are dates or times, of UTC
if no zone is given; TO itself is not in it.

A materialized view holds what it has made of the old rows. With --views rebuild
what it fills is made anew of all rows of the new table, and changes places with
that; with leave it stays as it is, and goes on with new rows.

It ends with 1 if there can be no such backfill; each reason is shown with what
mends it.`,
		Example: `  waybill backfill plan llm-calls.yaml --scope all
  waybill backfill plan llm-calls.yaml --scope time:2026-11-01..2026-11-04
  waybill backfill plan llm-calls.yaml --scope offsets:0:0-999,1:0-499`,
		Args: args(cobra.ExactArgs(1)),
	}
	o.add(cmd)
	cmd.Flags().Int64Var(&o.rate, "rate", defaultRate, "how many records a second to count with")
	out := outputFlag(cmd)
	cmd.RunE = withDesk(func(ctx context.Context, d *desk, _ []string) error {
		if o.scope == "" {
			return usage(errors.New("say which records with --scope: " + backfill.ScopeForms))
		}
		return backfillPlan(ctx, s, *out, d, o)
	})
	return cmd
}

func backfillPlan(ctx context.Context, s Streams, out output, d *desk, o planFlags) error {
	scope, err := backfill.ParseScope(o.scope)
	if err != nil {
		return usage(err)
	}
	if !slices.Contains(backfill.AllViews(), backfill.Views(o.views)) {
		return usage(fmt.Errorf("--views %s: choose refuse, leave or rebuild", o.views))
	}
	if o.rate == 0 {
		o.rate = defaultRate
	}
	b, err := d.bench(ctx, s, fillFlags{}, nil)
	if err != nil {
		return err
	}
	defer b.Close()
	p, err := b.Planner(ctx)
	if err != nil {
		return unreached(err)
	}
	p.Views, p.KeepUnreachable, p.Rate = backfill.Views(o.views), o.keep, o.rate
	r, offsets, open, err := p.Survey(ctx, scope)
	if err != nil {
		return unreached(err)
	}
	if len(r.Refusals) == 0 {
		if r.Job, err = operator.Record(ctx, b.Operator(), d.ledger, b.Job(p, r, offsets, open), offsets); err != nil {
			return jobError(d, err)
		}
	}
	if out == outputJSON {
		err = printJSON(s.Out, r)
	} else {
		err = printBackfillPlan(s.Out, r)
	}
	if err == nil && len(r.Refusals) > 0 {
		err = &exitError{code: ExitFindings, said: true, err: errors.New("there can be no such backfill")}
	}
	return err
}

func printBackfillPlan(w io.Writer, r *operator.Report) error {
	var b strings.Builder
	wrap(&b, "", fmt.Sprintf("%s, scope %s of topic %s into %s, under plan %s", r.Pipeline, r.Scope, r.Topic, r.Target, r.Plan))
	if len(r.Partitions) > 0 {
		printToRead(&b, r)
	}
	for _, d := range r.Dependents {
		wrap(&b, "  ", fmt.Sprintf("%s %s: %s; %s", d.Kind, d.Name, d.Fate, d.Why))
	}
	for _, n := range r.Notes {
		wrap(&b, "  ", n)
	}
	for _, why := range r.Refusals {
		text := "refused: " + why.Message
		if why.Hint != "" {
			text += " (" + why.Hint + ")"
		}
		wrap(&b, "", text)
		if why.Statement != "" {
			tell(&b, "  %s\n", why.Statement)
		}
	}
	if r.Job != "" {
		wrap(&b, "", fmt.Sprintf("planned as backfill %s: `waybill backfill run` carries it out; nothing has been made yet", r.Job))
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// printToRead says what is read, replaced and needed.
func printToRead(b *strings.Builder, r *operator.Report) {
	rows := [][]string{{"partition", "topic has", "to read", "in spans"}}
	for i := range r.Partitions[:min(len(r.Partitions), maxShown)] {
		p := &r.Partitions[i]
		has := "nothing"
		if p.End > p.Begin {
			has = fmt.Sprintf("%d-%d", p.Begin, p.End-1)
		}
		rows = append(rows, []string{fmt.Sprint(p.Partition), has, count(p.Records), count(int64(p.Spans))})
	}
	table(b, narrow(rows), 4)
	more(b, len(r.Partitions)-maxShown, "partitions")
	wrap(b, "  ", fmt.Sprintf("to read: %s offsets, about %s; %s at %s a second", count(r.Records), size(r.Bytes), took(r.Took()), count(r.Rate)))
	touched := strings.Join(r.Touched[:min(len(r.Touched), maxShown)], ", ")
	if len(r.Touched) > maxShown {
		touched += ", ..."
	}
	if touched == "" {
		touched = "none"
	}
	wrap(b, "  ", fmt.Sprintf("to replace: %s of %s rows; table partitions touched: %s; %d others are taken over as they are", count(r.Rows), count(r.AllRows), touched, r.Untouched))
	wrap(b, "  ", fmt.Sprintf("disk: %s more while both tables are there", roughly(r.Disk)))
	for _, sql := range r.Statements {
		tell(b, "  %s\n", sql)
	}
}

// took is a length of time, to the second.
func took(d time.Duration) string {
	if d < time.Second {
		return "less than a second"
	}
	return d.Round(time.Second).String()
}

// roughly is a size that is estimated.
func roughly(n int64) string {
	if n < 1<<20 {
		return "less than 1 MiB"
	}
	return "about " + size(n)
}
