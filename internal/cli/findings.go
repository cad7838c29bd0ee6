package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/user"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/spf13/cobra"

	"github.com/waybill-data/waybill"
	"github.com/waybill-data/waybill/docs/runbook"
	"github.com/waybill-data/waybill/internal/clickhouse"
	"github.com/waybill-data/waybill/internal/finding"
	"github.com/waybill-data/waybill/internal/ledger"
)

// findingsOptions are the flags of `waybill findings`.
type findingsOptions struct {
	all      bool
	kinds    []string
	since    string
	severity string
}

func newFindings(s Streams) *cobra.Command {
	var o findingsOptions
	cmd := &cobra.Command{
		Use:   "findings FILE",
		Short: "What a person should know of a pipeline: what is open, since when, what to do",
		Long: `Shows a pipeline's findings, as all of its workers have written them down: what
is open, where, since when, how often it was seen, what shows it, what to do.

A finding is opened once, updated while its cause is seen, and closed by itself
when that is gone. What has happened and is not undone, such as a loss, is open
until somebody acknowledges it (findings ack), or until it is old: a day for
warnings, 30 days for errors. What only informs is never open; --all shows it.

It ends with 0 if none is open, with 1 if errors or warnings are open that the
flags ask for (--severity error: errors alone), and with 2 if that cannot be
told because the database has no journal of findings yet.`,
		Example: `  waybill findings llm-calls.yaml
  waybill findings llm-calls.yaml --all --since 24h -o json
  waybill findings ack llm-calls.yaml 3f2a --why "replayed from the archive"
  waybill findings explain retention_loss`,
		Args: args(cobra.ExactArgs(1)),
	}
	f := cmd.Flags()
	f.BoolVar(&o.all, "all", false, "those that are closed and those that were only told, too")
	f.StringArrayVar(&o.kinds, "kind", nil, "only of this `KIND`; may be given several times")
	f.StringVar(&o.since, "since", "", "only what was seen since: a `TIME` (RFC 3339), or a length of time ago")
	f.StringVar(&o.severity, "severity", "", "only of this severity or worse: `info`, warning or error")
	out := outputFlag(cmd)
	cmd.RunE = withDesk(func(ctx context.Context, d *desk, _ []string) error { return showFindings(ctx, s, *out, d, o) })
	cmd.AddCommand(newAck(s), newExplain(s))
	return cmd
}

func showFindings(ctx context.Context, s Streams, o output, d *desk, opts findingsOptions) error {
	of := ledger.FindingsOf{Pipeline: d.cfg.Name, All: opts.all, Kinds: opts.kinds}
	for _, k := range opts.kinds {
		if _, ok := finding.Of(k); !ok {
			return usage(fmt.Errorf("--kind %s: there are no such findings; `waybill findings explain` lists the kinds", k))
		}
	}
	severities := []waybill.Severity{waybill.SeverityInfo, waybill.SeverityWarning, waybill.SeverityError}
	if opts.severity != "" {
		i := slices.Index(severities, waybill.Severity(opts.severity))
		if i < 0 {
			return usage(fmt.Errorf("--severity %s: choose info, warning or error", opts.severity))
		}
		of.Severity = severities[i:]
	}
	now := d.client.ServerNow(time.Now())
	var err error
	if of.Since, err = momentOf(opts.since, now, time.Time{}); err != nil {
		return usage(fmt.Errorf("--since %s: %w", opts.since, err))
	}
	rows, err := d.findings(ctx, of)
	if code := exitCode(err); err != nil && code == ExitUnclear {
		printError(s.Err, err) // no matter of usage
		return &exitError{code: code, said: true, err: err}
	}
	if err != nil {
		return err
	}
	r := newFindingsReport(d.cfg.Name, now, rows)
	if o == outputJSON {
		err = printJSON(s.Out, r)
	} else {
		err = r.print(s.Out, opts.all)
	}
	if err == nil && r.Errors+r.Warnings > 0 {
		return &exitError{code: ExitFindings, said: true, err: errors.New("findings are open")}
	}
	return err
}

// findings reads them. That the database has no journal yet is an answer of its own: it cannot be told.
func (d *desk) findings(ctx context.Context, of ledger.FindingsOf) ([]finding.Row, error) {
	if err := d.recorded(ctx); err != nil {
		if waybill.ClassOf(err).NeedsPerson() {
			return nil, &exitError{code: ExitUnclear, err: err}
		}
		return nil, err
	}
	rows, err := d.ledger.FindingsNow(ctx, of)
	return rows, unreached(err)
}

func newAck(s Streams) *cobra.Command {
	var why, by string
	cmd := &cobra.Command{
		Use:   "ack FILE ID...",
		Short: "Acknowledge findings: somebody has looked",
		Long: `Closes findings, on record with your name. ID is what "waybill findings" shows, or
the beginning of it.

It is meant for what has happened and is not undone. A finding whose cause is
still there is opened again when that is seen the next time.`,
		Example: `  waybill findings ack llm-calls.yaml 3f2a --why "replayed from the archive"`,
		Args:    args(cobra.MinimumNArgs(2)),
	}
	cmd.Flags().StringVar(&why, "why", "", "what you have found out or done, for whoever reads it later")
	cmd.Flags().StringVar(&by, "by", "", "who you are (default: your user's name)")
	cmd.RunE = withDesk(func(ctx context.Context, d *desk, ids []string) error {
		return acknowledge(ctx, s, d, ids, cmp.Or(by, person()), why)
	})
	return cmd
}

func acknowledge(ctx context.Context, s Streams, d *desk, ids []string, by, why string) error {
	var rows []finding.Row
	now := d.client.ServerNow(time.Now())
	for _, id := range ids {
		found, err := d.findings(ctx, ledger.FindingsOf{Pipeline: d.cfg.Name, IDs: []string{strings.ToLower(id)}})
		if err != nil {
			return err
		}
		if len(found) != 1 {
			return usage(&waybill.Error{Op: "findings", Pipeline: d.cfg.Name, Class: waybill.ClassConfig, Err: fmt.Errorf("%d findings that are open have an id that begins with %q", len(found), id),
				Hint: "`waybill findings` lists them"})
		}
		rows = append(rows, finding.Acknowledged(found[0], by, why, now))
	}
	a := d.client.Insert(ctx, clickhouse.Insert{Database: d.ledger.Database(), Table: ledger.TableFindings, Token: waybill.Token("ack-" + uuid.NewString()), Input: ledger.FindingBlock(rows)})
	if a.Err != nil {
		return unreached(a.Err)
	}
	for i := range rows {
		if _, err := fmt.Fprintf(s.Out, "%s %s is closed: %s\n", rows[i].Kind, rows[i].ID, rows[i].Why); err != nil {
			return err
		}
	}
	return nil
}

// person is who runs this command.
func person() string {
	if u, err := user.Current(); err == nil {
		return u.Username
	}
	if name := os.Getenv("USER"); name != "" {
		return name
	}
	return "somebody"
}

func newExplain(s Streams) *cobra.Command {
	return &cobra.Command{
		Use:   "explain [KIND]",
		Short: "The runbook's page of a kind of finding",
		Long: `Prints the runbook's page of a kind of finding: what it means, what it shows, how
to look, what to do, how it closes. Without a kind it lists all of them.`,
		Example: `  waybill findings explain retention_loss`,
		Args:    args(cobra.MaximumNArgs(1)),
		RunE: func(_ *cobra.Command, a []string) error {
			if len(a) == 0 {
				return listKinds(s)
			}
			text, ok := runbook.Page(a[0])
			if !ok {
				return usage(fmt.Errorf("there is no page for %q; `waybill findings explain` lists the kinds", a[0]))
			}
			_, err := fmt.Fprint(s.Out, text)
			return err
		},
	}
}

func listKinds(s Streams) error {
	var b strings.Builder
	for _, k := range finding.Kinds() {
		fmt.Fprintf(&b, "%-7s %-22s %s\n", k.Severity, k.Name, k.Title)
	}
	_, err := fmt.Fprint(s.Out, b.String())
	return err
}
