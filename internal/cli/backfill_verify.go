package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/waybill-data/waybill"
	"github.com/waybill-data/waybill/internal/audit"
	"github.com/waybill-data/waybill/internal/backfill"
	"github.com/waybill-data/waybill/internal/backfill/diff"
	"github.com/waybill-data/waybill/internal/backfill/operator"
	"github.com/waybill-data/waybill/internal/backfill/verify"
	"github.com/waybill-data/waybill/internal/config"
)

func newBackfillVerify(s Streams) *cobra.Command {
	var o diffFlags
	var l limitFlags
	var claim sessionFlags
	content := true
	cmd := &cobra.Command{
		Use:   "verify FILE",
		Short: "Say whether a backfill's table may take the live one's place",
		Long: `Checks the table of a backfill, and puts on the job's record whether it may be
promoted, what it was held to, and what was found.

The laws must hold on it, as waybill audit says of a pipeline: each offset of
the scope is accounted for once, each row that was written is there once, and,
unless --content=false, has the values that its record gives. For that all
records are read again.

And it may differ from the live table only within the limits: by default no row
of the scope may be missing, extra or doubled, and any number may be changed.
Limits are numbers of rows, or shares like 0.5%. What the backfill has not come
to yet is no difference. See waybill backfill diff for how tables are compared.

Its checksums say what the table holds: the same scope under the same plan gives
the same ones again. A promotion makes sure that the table still has them.

It ends with 1 if the table must not be promoted.`,
		Example: `  waybill backfill verify llm-calls.yaml
  waybill backfill verify llm-calls.yaml --max-missing 120 --max-changed 5%
  waybill backfill verify llm-calls.yaml --max-changed cost=1% \
      --null-rate 0.1% --html verify.html`,
		Args: args(cobra.ExactArgs(1)),
	}
	addDiffFlags(cmd, &o)
	addLimitFlags(cmd, &l)
	claim.add(cmd)
	cmd.Flags().BoolVar(&content, "content", true, "compare all values with what their records give")
	out := outputFlag(cmd)
	cmd.RunE = withDesk(func(ctx context.Context, d *desk, _ []string) error {
		thresholds, err := l.thresholds()
		if err != nil {
			return err
		}
		memory, err := sizeOf("--memory", o.memory)
		if err != nil {
			return err
		}
		opts := verify.Options{Thresholds: thresholds, Content: content, Samples: o.samples, Memory: memory, Without: o.without}
		var result *verify.Result
		err = d.withBench(ctx, s, fillFlags{sessionFlags: claim}, func(b *operator.Bench, j backfill.Job) error {
			if err := b.SameFile(&j); err != nil {
				return err
			}
			result, err = runVerify(ctx, s, d, b, j, opts)
			return err
		})
		if err != nil {
			return err
		}
		return showVerified(s, *out, d, result, o.html)
	})
	return cmd
}

// runVerify verifies a job, and puts the result on its record.
func runVerify(ctx context.Context, s Streams, d *desk, b *operator.Bench, j backfill.Job, opts verify.Options) (result *verify.Result, err error) {
	err = b.Operator().Verify(ctx, j.ID, func(ctx context.Context, shadow string, j *backfill.Job) ([]string, json.RawMessage, error) {
		what, err := d.backfillOf(ctx, b, shadow, j)
		if err != nil {
			return nil, nil, err
		}
		deps := verify.Deps{Client: d.client, Ledger: d.ledger, Progress: sayOften(s)}
		reader, err := openTopic(ctx, d.cfg)
		if err != nil && !waybill.ClassOf(err).Heals() {
			return nil, nil, err
		}
		if deps.Unreached = err; err == nil {
			defer reader.Close()
			deps.Source = reader
		}
		if result, err = verify.Run(ctx, deps, what, opts); err != nil {
			return nil, nil, err
		}
		record, err := json.Marshal(result.Record())
		return result.Refusals, record, err
	})
	return result, err
}

func showVerified(s Streams, o output, d *desk, result *verify.Result, page string) (err error) {
	if page != "" {
		if err := writePage(page, pageOf(d, result)); err != nil {
			return err
		}
	}
	if o == outputJSON {
		err = printJSON(s.Out, result)
	} else {
		err = printVerified(s.Out, result)
	}
	if err == nil && !result.OK {
		err = &exitError{code: ExitFindings, said: true, err: errors.New("it must not be promoted")}
	}
	return err
}

// backfillOf is what a job is about.
func (d *desk) backfillOf(ctx context.Context, b *operator.Bench, shadow string, j *backfill.Job) (verify.Backfill, error) {
	epoch, err := b.Pipeline.Effective(ctx, b.Table.UUID)
	if err != nil {
		return verify.Backfill{}, err
	}
	scope, err := d.ledger.JobScope(ctx, j.Pipeline, j.ID)
	if err != nil {
		return verify.Backfill{}, err
	}
	live := *d.cfg
	live.Epoch = epoch
	return verify.Backfill{Job: j.ID, Live: &live, Scope: scope,
		Shadow: d.cfg.Shadow(config.Shadow{Job: j.ID, Epoch: j.Leg.Epoch, Group: j.WorkGroup(), Table: shadow})}, nil
}

// stillVerified makes sure that what was verified is what would be promoted now. Whether it may be promoted at all is the job's to say.
func stillVerified(ctx context.Context, d *desk, b *operator.Bench, j *backfill.Job) error {
	if j.State != backfill.Ready {
		return nil
	}
	why := "there is no record of what was verified"
	if len(j.Verified) > 0 {
		var record verify.Record
		if err := json.Unmarshal(j.Verified, &record); err != nil {
			return err
		}
		name, err := b.Server.Name(ctx, j.Leg.In)
		if err != nil {
			return err
		}
		what, err := d.backfillOf(ctx, b, name, j)
		if err != nil {
			return err
		}
		if why, err = verify.Holds(ctx, d.client, what, &record); err != nil {
			return err
		}
	}
	if why == "" {
		return nil
	}
	return &waybill.Error{Op: "backfill", Pipeline: j.Pipeline, Class: waybill.ClassConfig, Err: fmt.Errorf("the table is not as it was when it was verified: %s", why), Hint: "`waybill backfill verify` it again"}
}

// sayOften says on standard error what is being done, now and then.
func sayOften(s Streams) func(string) {
	next := time.Now().Add(progressEvery)
	return func(what string) {
		if now := time.Now(); now.After(next) {
			next = now.Add(progressEvery)
			tell(s.Err, "waybill: %s\n", what)
		}
	}
}

// pageOf is a result as a page.
func pageOf(d *desk, r *verify.Result) diff.Page {
	p := diff.Page{Title: "Backfill " + r.Job + " of " + r.Pipeline, About: fmt.Sprintf("topic %s, epoch %d", d.cfg.Source.Kafka.Topic, r.Epoch), At: r.At, Verdict: &diff.Verdict{OK: r.OK, Refusals: r.Refusals}}
	for _, u := range r.Audit.Unknown {
		p.Verdict.Notes = append(p.Verdict.Notes, u.Law+" not told: "+u.Message)
	}
	for _, t := range r.Tables {
		p.Tables = append(p.Tables, diff.PageTable{Route: t.Route, Report: t.Diff, Checksums: t.Checksums})
	}
	return p
}

func printVerified(w io.Writer, r *verify.Result) error {
	var b strings.Builder
	verdict := "it may be promoted"
	if !r.OK {
		verdict = "it MUST NOT be promoted"
	}
	wrap(&b, "", fmt.Sprintf("backfill %s of %s, epoch %d: %s", r.Job, r.Pipeline, r.Epoch, verdict))
	var read, written int64
	for _, p := range r.Audit.Partitions {
		read, written = read+p.Read, written+p.Written
	}
	laws := map[audit.Verdict]string{audit.Clean: "every law holds", audit.Violated: "a law is broken", audit.Unclear: "no law is known to be broken, and something could not be told"}[r.Audit.Verdict]
	if !r.Content {
		laws += "; values were not compared with their records (--content)"
	}
	wrap(&b, "", fmt.Sprintf("%s records read, %s rows written: %s", count(read), count(written), laws))
	for _, u := range r.Audit.Unknown {
		wrap(&b, "  ", fmt.Sprintf("%s not told: %s", u.Law, u.Message))
	}
	for _, t := range r.Tables {
		printDiff(&b, t.Diff)
		sums := t.Checksums
		wrap(&b, "", fmt.Sprintf("checksum of the shadow's %s rows: %s", count(sums.Rows), sums.All))
		var without []string
		for _, x := range sums.Without {
			if x.Why != diff.ByKey {
				without = append(without, x.Name)
			}
		}
		if len(without) > 0 {
			wrap(&b, "  ", "without "+strings.Join(without, ", ")+", which differ from one time to the next")
		}
	}
	printRefusals(&b, r.Refusals)
	_, err := io.WriteString(w, b.String())
	return err
}
