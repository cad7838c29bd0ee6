package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/waybill-data/waybill/internal/engine"
	"github.com/waybill-data/waybill/internal/erase"
	"github.com/waybill-data/waybill/internal/failpoint"
	"github.com/waybill-data/waybill/internal/replay"
	"github.com/waybill-data/waybill/internal/telemetry"
)

func newErase(s Streams) *cobra.Command {
	var o erase.Options
	yes := false
	cmd := &cobra.Command{
		Use:   "erase FILE --where CONDITION",
		Short: "Remove a subject's records for good, on record",
		Long: `Removes what is kept of a subject's records: rows of the pipeline's tables, with
what the rescue column has of them, also those that were deleted before and are
still in the tables' parts; dead letters, and what was said of them.

--where is a condition in SQL for rows of the tables. --match is a text, and
finds dead letters that hold it and rows whose rescue column does: records that
never became rows have nothing else. --key is a Kafka key: the topic is read for
records that have it.

The offsets are on record as erased, in waybill.erasures: by whom, when and why.
The condition itself may name the subject: a salted hash of it is kept, and with
--keep-condition its words. The audit does not miss these records, and no
repair, replay or backfill brings them back.

Without --yes it says what there is, and changes nothing. It may be killed at
any moment and run again. In the end it looks whether anything is left, and says
what it cannot reach: the topic, backups, what views have made of the rows.

It ends with 0 if nothing is left that is in reach, else with 1.`,
		Example: `  waybill erase llm-calls.yaml --where "user_id = 'u-17'" --match u-17
  waybill erase llm-calls.yaml --where "user_id = 'u-17'" --why "no 4711" --yes`,
		Args: args(cobra.ExactArgs(1)),
	}
	f := cmd.Flags()
	f.StringVar(&o.Where, "where", "", "rows that meet this SQL `CONDITION`")
	f.StringArrayVar(&o.Match, "match", nil, "dead letters and rescued values that hold this `TEXT`; may be given several times")
	f.StringVar(&o.Key, "key", "", "records with this Kafka `KEY`")
	f.StringVar(&o.Why, "why", "", "for the record")
	f.BoolVar(&o.Keep, "keep-condition", false, "keep the condition's words on record")
	f.BoolVar(&yes, "yes", false, "do it")
	out := outputFlag(cmd)
	cmd.RunE = withDesk(func(ctx context.Context, d *desk, _ []string) error {
		if o.Where == "" && len(o.Match) == 0 && o.Key == "" {
			return usage(errors.New("say whose records: --where, --match or --key"))
		}
		if yes && strings.TrimSpace(o.Why) == "" {
			return usage(errors.New("say why with --why: it goes on record"))
		}
		if err := failpoint.Arm(os.Getenv); err != nil {
			return usage(err)
		}
		return runErase(ctx, s, *out, d, o, yes)
	})
	return cmd
}

// eraseReport is what `erase -o json` prints.
type eraseReport struct {
	Found  *erase.Found  `json:"found"`
	Result *erase.Result `json:"result,omitempty"`
	Check  *erase.Check  `json:"check,omitempty"`
}

func runErase(ctx context.Context, s Streams, o output, d *desk, opts erase.Options, yes bool) error {
	if err := d.recorded(ctx); err != nil {
		return err
	}
	log := telemetry.NewLogger(s.Err, s.ErrTTY, slog.LevelWarn, false)
	e, err := engine.OpenReplayer(ctx, d.file, engine.Deps{Log: log, Metrics: telemetry.NewMetrics(version), Budget: engine.NewBudget(replay.MaxBytes, nil)})
	if err != nil {
		return unreached(err)
	}
	defer e.Close()
	source, err := openTopic(ctx, d.cfg)
	if err != nil {
		return unreached(err)
	}
	defer source.Close()
	j := erase.New(erase.Deps{Engine: e, Source: source, Who: person() + " on " + thisProcess()}, d.cfg)
	r := eraseReport{}
	if r.Found, err = j.Find(ctx, opts); err != nil {
		return unreached(err)
	}
	if yes {
		done, err := j.Run(ctx, r.Found, opts)
		if err != nil {
			return unreached(err)
		}
		r.Result = &done
		if r.Check, err = j.Check(ctx, opts); err != nil {
			return unreached(err)
		}
	}
	if o == outputJSON {
		err = printJSON(s.Out, r)
	} else {
		err = printErase(s.Out, &r)
	}
	if err == nil && r.Check != nil && !r.Check.Clean() {
		err = &exitError{code: ExitFindings, said: true, err: errors.New("something is left")}
	}
	return err
}

func printErase(w io.Writer, r *eraseReport) error {
	var b strings.Builder
	f := r.Found
	wrap(&b, "", fmt.Sprintf("%s, topic %s: %s records", f.Pipeline, f.Topic, count(f.Records)))
	for i := range f.Tables {
		t := &f.Tables[i]
		wrap(&b, "  ", fmt.Sprintf("%s rows of %s", count(t.Rows), t.Table))
		if t.Masked > 0 {
			wrap(&b, "  ", fmt.Sprintf("%s rows of %s that were deleted before, and are still in its parts", count(t.Masked), t.Table))
		}
		if t.Foreign > 0 {
			wrap(&b, "  ", fmt.Sprintf("%s rows of %s did not come from the topic: they are not erased here; DELETE them by hand", count(t.Foreign), t.Table))
		}
		if r.Result == nil {
			for _, x := range t.Samples {
				tell(&b, "    %s\n", clip(x, shownValue))
			}
		}
	}
	wrap(&b, "  ", fmt.Sprintf("%s dead letters", count(f.Letters)))
	if f.Archived > 0 {
		wrap(&b, "  ", fmt.Sprintf("%s records in the archive", count(f.Archived)))
	}
	if f.Drift > 0 {
		wrap(&b, "  ", fmt.Sprintf("%s sample values of fields that the contract does not know", count(f.Drift)))
	}
	if f.Unsettled > 0 {
		wrap(&b, "  ", fmt.Sprintf("%s of the records have not settled: a worker may still be about to write them; run it again in a moment", count(f.Unsettled)))
	}
	beyond := f.Beyond
	if r.Result == nil {
		wrap(&b, "", "nothing was changed; --yes erases them")
	} else {
		wrap(&b, "", fmt.Sprintf("erased: %s, on record as %s", count(r.Result.Erased), r.Result.Erasure))
		if r.Result.Resumed > 0 {
			wrap(&b, "", fmt.Sprintf("finished for a run that was killed: %s", count(r.Result.Resumed)))
		}
		if r.Result.Contents > 0 {
			wrap(&b, "", fmt.Sprintf("removed: %s long values that no row refers to any more", count(r.Result.Contents)))
		}
		printCheck(&b, r.Check)
		beyond = r.Check.Beyond
		beyond.InTopic = f.Beyond.InTopic
	}
	printBeyond(&b, &beyond)
	_, err := io.WriteString(w, b.String())
	return err
}

// printCheck says what is left.
func printCheck(b *strings.Builder, c *erase.Check) {
	if c.Clean() {
		wrap(b, "", "verified: nothing is left in the tables, their parts and projections, and among the dead letters")
	}
	for _, x := range []struct {
		n    int64
		what string
	}{
		{c.Rows, "rows meet the condition"}, {c.Masked, "deleted rows meet it, and are still in parts"}, {c.Foreign, "rows meet it that did not come from the topic"},
		{c.Letters, "dead letters hold it"}, {c.Archived, "records in the archive hold it"}, {c.Drift, "sample values hold it"}, {c.Findings, "findings hold it in their words"}, {c.Unsettled, "records have not settled"},
		{c.Contents, "long values are there that no row refers to, and that were stored less than two hours ago: run it again then"},
		{c.Coordinates, "rows or dead letters are there of offsets that were erased"}, {c.Beyond.Mutations, "mutations of the tables are not done"},
	} {
		if x.n > 0 {
			wrap(b, "", fmt.Sprintf("LEFT: %s %s", count(x.n), x.what))
		}
	}
	for _, name := range c.Unread {
		wrap(b, "", fmt.Sprintf("not told: projection %s has no columns to tell by; the server has made it anew with the rows", name))
	}
	for name, n := range c.Projections {
		if n > 0 {
			wrap(b, "", fmt.Sprintf("LEFT: %s rows in projection %s", count(n), name))
		}
	}
}

// printBeyond says what is not reached.
func printBeyond(b *strings.Builder, x *erase.Beyond) {
	wrap(b, "", "not reached:")
	if x.InTopic > 0 {
		wrap(b, "  ", fmt.Sprintf("the topic: it may still have %s of the records, for as long as it keeps them", count(x.InTopic)))
	}
	for _, t := range x.Dependents {
		wrap(b, "  ", t)
	}
	for _, t := range x.Detached {
		wrap(b, "  ", "detached part "+t)
	}
	if x.Outdated > 0 {
		wrap(b, "  ", fmt.Sprintf("%s parts that the server has replaced, until it removes their files", count(x.Outdated)))
	}
	wrap(b, "  ", fmt.Sprintf("backups: the server remembers %s that it has made itself; there may be others", count(x.Backups)))
}
