package cli

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/waybill-data/waybill"
	"github.com/waybill-data/waybill/internal/contract"
	"github.com/waybill-data/waybill/internal/promote"
)

// promoteOptions are the flags of `waybill schema promote`.
type promoteOptions struct {
	promote.Options
	route string
	yes   bool
}

func newSchemaPromote(s Streams) *cobra.Command {
	var o promoteOptions
	cmd := &cobra.Command{
		Use:   "promote FILE PATH",
		Short: "Give a rescued field a column, and fill its old rows",
		Long: `Give a field that is being rescued a column of its own: add the column to the
table and to the pipeline file, and fill the rows that are there from their
rescue column. Without --yes it says what it would do, and changes nothing.

The type is one that takes all values that are rescued, each of them exactly,
unless --type says another. Values that do not fit it keep the command from
doing anything; with --partial they stay in the rescue column and are counted.
The rescue column is not changed: it goes on saying what the event carried.

Rows are filled by mutations, one after the other, each within one partition of
the table. The command can be killed and run again at any time: what is filled
is recognised. Workers go on writing meanwhile; rows that one of them writes
before it knows of the column are filled by running the command once more.`,
		Example: `  waybill schema promote llm-calls.yaml usage.cost
  waybill schema promote llm-calls.yaml usage.cost --yes
  waybill schema promote llm-calls.yaml usage.cost --type 'Decimal(18, 6)' --yes`,
		Args: args(cobra.ExactArgs(2)),
	}
	f := cmd.Flags()
	f.StringVar(&o.route, "route", "", "the `ROUTE` whose table it is, of a pipeline with several")
	f.StringVar(&o.Type, "type", "", "the column's `TYPE` (default: what takes all values)")
	f.StringVar(&o.Column, "column", "", "the column's `NAME` (default: made of the path)")
	f.BoolVar(&o.Partial, "partial", false, "leave values that do not fit in the rescue column")
	f.BoolVar(&o.NoFill, "no-fill", false, "leave the rows that are there as they are")
	f.BoolVar(&o.yes, "yes", false, "do it")
	out := outputFlag(cmd)
	cmd.RunE = withDesk(func(ctx context.Context, d *desk, paths []string) error {
		return schemaPromote(ctx, s, *out, d, paths[0], o)
	})
	return cmd
}

// promotion is what `schema promote -o json` prints.
type promotion struct {
	Pipeline  string          `json:"pipeline"`
	Path      string          `json:"path"`
	Column    string          `json:"column"`
	Type      string          `json:"type"`
	Why       string          `json:"why,omitempty"`
	Statement string          `json:"statement,omitempty"` // empty: the table has the column
	Line      string          `json:"line,omitempty"`      // added to the file; empty: it has the column
	Survey    promote.Survey  `json:"survey"`
	Unread    bool            `json:"unread,omitempty"` // rows were not looked at: their values cannot be told
	Applied   bool            `json:"applied"`
	Result    *promote.Result `json:"result,omitempty"` // of filling; nil: not asked for
}

func schemaPromote(ctx context.Context, s Streams, o output, d *desk, path string, opts promoteOptions) error {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	deps := promote.Deps{Client: d.client, Ledger: d.ledger, Getenv: os.LookupEnv, Worker: "schema promote on " + host}
	of, err := d.cfg.Table(opts.route)
	if err != nil {
		return usage(fmt.Errorf("--route: %w", err))
	}
	job, err := promote.Prepare(ctx, deps, of, path, opts.Options)
	if err != nil {
		return unreached(err)
	}
	p := &promotion{
		Pipeline: d.cfg.Name, Path: job.Column.From, Column: job.Column.Name, Type: job.Column.Type, Why: job.Why, Statement: job.Statement, Survey: job.Survey, Unread: job.Unread,
	}
	if job.After != nil {
		p.Line = promote.Line(job.Column)
	}
	if o == outputText {
		if err := p.print(s.Out, d.cfg.File, opts); err != nil {
			return err
		}
	}
	if opts.yes {
		if err := p.apply(ctx, s, d, job); err != nil {
			return err
		}
	}
	if o == outputJSON {
		err = printJSON(s.Out, p)
	} else if p.Result != nil {
		err = p.printResult(s.Out)
	}
	if err == nil && p.Result != nil && p.Result.Wrong > 0 {
		err = &exitError{code: ExitFindings, err: &waybill.Error{
			Op: "schema.promote", Pipeline: d.cfg.Name, Class: waybill.ClassRetryable, Hint: "run it again; if they remain, find out what changes the table meanwhile",
			Err: fmt.Errorf("%d rows do not have their value", p.Result.Wrong),
		}}
	}
	return err
}

func (p *promotion) apply(ctx context.Context, s Streams, d *desk, job *promote.Job) error {
	if err := d.ledger.Migrate(ctx, d.client.ServerNow(time.Now())); err != nil {
		return unreached(err)
	}
	result, err := job.Apply(ctx, func(x promote.Progress) {
		tell(s.Err, "partition %s: %s of %s rows, %s filled\n", x.Partition, count(x.Done), count(x.Of), count(x.Filled))
	})
	if err != nil {
		return unreached(err)
	}
	p.Applied = true
	if !job.NoFill {
		p.Result = &result
	}
	return nil
}

func (p *promotion) print(w io.Writer, file string, o promoteOptions) error {
	var b strings.Builder
	wrap(&b, "", fmt.Sprintf("%s becomes column %s %s", p.Path, p.Column, p.Type))
	if p.Why != "" {
		wrap(&b, "  ", p.Why)
	}
	if p.Statement != "" {
		wrap(&b, "  ", "table: "+p.Statement)
	} else {
		wrap(&b, "  ", "table: has the column")
	}
	if p.Line != "" {
		where := "contract.columns"
		if o.route != "" {
			where += " of route " + o.route
		}
		wrap(&b, "  ", file+", "+where+":")
		b.WriteString("    + " + p.Line + "\n")
	} else {
		wrap(&b, "  ", file+": has the column")
	}
	what := fmt.Sprintf("rows: %s have a value in the rescue column", count(p.Survey.Rows))
	switch {
	case p.Unread:
		what = "rows: those that are there stay as they are"
	case o.NoFill:
		what += "; they stay as they are"
	}
	wrap(&b, "  ", what)
	p.misfits(&b, p.Survey.Misfits, p.Survey.Samples)
	if !o.yes {
		wrap(&b, "", "nothing was changed: say --yes to do it")
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func (p *promotion) misfits(b *strings.Builder, n int64, samples []promote.Misfit) {
	if n == 0 {
		return
	}
	wrap(b, "  ", fmt.Sprintf("%s of them do not fit, and stay in the rescue column alone, as", count(n)))
	for _, m := range samples {
		wrap(b, "    ", fmt.Sprintf("%s/%d offset %d: %s (%s)", m.Topic, m.Partition, m.Offset, clip(m.Text, contract.SampleBytes/2), m.Why))
	}
}

func (p *promotion) printResult(w io.Writer) error {
	var b strings.Builder
	r := p.Result
	wrap(&b, "", fmt.Sprintf("%s rows have a value in the rescue column: %s filled now, %s had it, %s stay there alone, %s wrong",
		count(r.Rows), count(r.Filled), count(r.Already), count(r.Kept), count(r.Wrong)))
	wrap(&b, "", "restart workers of this file where it lies elsewhere, and run this once more for what they wrote meanwhile")
	_, err := io.WriteString(w, b.String())
	return err
}
