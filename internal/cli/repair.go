package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/waybill-data/waybill"
	"github.com/waybill-data/waybill/internal/audit"
	"github.com/waybill-data/waybill/internal/engine"
	"github.com/waybill-data/waybill/internal/failpoint"
	"github.com/waybill-data/waybill/internal/repair"
	"github.com/waybill-data/waybill/internal/replay"
	"github.com/waybill-data/waybill/internal/telemetry"
)

func newRepair(s Streams) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "repair",
		Short: "Mend small faults in a table where they are",
		Long: `Mends small faults in a pipeline's tables where they are, from the records that
the topic still has:

  --missing     rows that the ledger counts as written and that are gone
  --repeated    rows that are there more than once: one is left
  --unexpected  rows of offsets that should have none
  --offsets     the rows of these offsets, made anew under the plan of now

The first three are what "waybill audit" finds. Their rows are made again under
the plan that wrote them; --now takes the plan of now. For more than a small
part of a table there is "waybill backfill", which makes rows in another table.

A repair may be killed at any moment and run again, and several people may run
it at once, while workers write: each row is there once in the end.`,
		Example: `  waybill repair plan llm-calls.yaml --missing --repeated
  waybill repair run llm-calls.yaml --missing --repeated
  waybill repair run llm-calls.yaml --offsets 3:1000-1999`,
	}
	cmd.AddCommand(newRepairPlan(s), newRepairRun(s))
	return cmd
}

// repairFlags say what to repair.
type repairFlags struct {
	missing, repeated, unexpected, now bool
	offsets                            []string
}

func (o *repairFlags) add(cmd *cobra.Command) {
	f := cmd.Flags()
	f.BoolVar(&o.missing, "missing", false, "rows that the ledger counts as written and that are gone")
	f.BoolVar(&o.repeated, "repeated", false, "rows that are there more than once")
	f.BoolVar(&o.unexpected, "unexpected", false, "rows of offsets that should have none")
	f.StringArrayVar(&o.offsets, "offsets", nil, "`PARTITION:FIRST-LAST` or PARTITION:OFFSET, made anew; may be given several times")
	f.BoolVar(&o.now, "now", false, "make what the audit finds under the plan of now, too")
}

func (o *repairFlags) options() (repair.Options, error) {
	out := repair.Options{Missing: o.missing, Repeated: o.repeated, Unexpected: o.unexpected, Now: o.now, Offsets: map[int32]waybill.OffsetSet{}}
	for _, text := range o.offsets {
		p, sp, err := parseSpan(text)
		if err != nil {
			return out, usage(fmt.Errorf("--offsets %s: %w", text, err))
		}
		set := out.Offsets[p]
		set.AddSpan(sp)
		out.Offsets[p] = set
	}
	if !o.missing && !o.repeated && !o.unexpected && len(o.offsets) == 0 {
		return out, usage(errors.New("say what to repair: --missing, --repeated, --unexpected or --offsets"))
	}
	return out, nil
}

func newRepairPlan(s Streams) *cobra.Command {
	var flags repairFlags
	cmd := &cobra.Command{
		Use:   "plan FILE",
		Short: "Say what a repair would do, and change nothing",
		Long: `Says what a repair would read, delete and write, and what it can do nothing about:
records that the topic no longer has, dead letters, offsets that are not settled.

It ends with 0 if all that was asked for can be repaired, else with 1.`,
		Example: `  waybill repair plan llm-calls.yaml --missing`,
		Args:    args(cobra.ExactArgs(1)),
	}
	flags.add(cmd)
	out := outputFlag(cmd)
	cmd.RunE = withDesk(func(ctx context.Context, d *desk, _ []string) error {
		opts, err := flags.options()
		if err != nil {
			return err
		}
		return withRepair(ctx, s, d, 0, func(j *repair.Job) error {
			survey, err := j.Survey(ctx, opts)
			if err != nil {
				return unreached(err)
			}
			p, err := j.Plan(ctx, survey)
			if err != nil {
				return unreached(err)
			}
			if *out == outputJSON {
				err = printJSON(s.Out, p)
			} else {
				err = printRepairPlan(s.Out, p)
			}
			if err == nil && p.Left.Sum() > 0 {
				err = &exitError{code: ExitFindings, said: true, err: errors.New("not all can be repaired")}
			}
			return err
		})
	})
	return cmd
}

func newRepairRun(s Streams) *cobra.Command {
	var flags repairFlags
	records := 0
	cmd := &cobra.Command{
		Use:   "run FILE",
		Short: "Repair, and look whether it is right",
		Long: `Repairs, and then looks at exactly the offsets that it has repaired. What a repair
or a replay that was killed has left unfinished is finished first.

It ends with 0 if all that was asked for is right now, else with 1.`,
		Example: `  waybill repair run llm-calls.yaml --missing
  waybill repair run llm-calls.yaml --offsets 3:1000-1999`,
		Args: args(cobra.ExactArgs(1)),
	}
	flags.add(cmd)
	cmd.Flags().IntVar(&records, "batch", replay.MaxRecords, "how many go into a batch, at most")
	out := outputFlag(cmd)
	cmd.RunE = withDesk(func(ctx context.Context, d *desk, _ []string) error {
		opts, err := flags.options()
		if err != nil {
			return err
		}
		if records < 1 || records > replay.MaxRecords {
			return usage(fmt.Errorf("--batch %d: 1 to %d", records, replay.MaxRecords))
		}
		if err := failpoint.Arm(os.Getenv); err != nil {
			return usage(err)
		}
		return withRepair(ctx, s, d, records, func(j *repair.Job) error { return runRepair(ctx, s, *out, d, j, opts) })
	})
	return cmd
}

// withRepair runs with a job that has a way to the topic.
func withRepair(ctx context.Context, s Streams, d *desk, records int, run func(*repair.Job) error) error {
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
	next := time.Now().Add(progressEvery)
	return run(repair.New(repair.Deps{Engine: e, Source: source, Who: thisProcess(), Records: records, Progress: func(r repair.Result) {
		if now := time.Now(); now.After(next) && r.Begun >= replay.MaxRecords {
			next = now.Add(progressEvery)
			tell(s.Err, "waybill: %s so far: %s\n", count(r.Begun), repaired(&r))
		}
	}}, d.cfg))
}

// thisProcess names who does something, for the record.
func thisProcess() string {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	return fmt.Sprintf("%s, process %d", host, os.Getpid())
}

// repairReport is what `repair run -o json` prints.
type repairReport struct {
	Pipeline string          `json:"pipeline"`
	Result   repair.Result   `json:"result"`
	Verdict  *repair.Verdict `json:"verified"`
}

func runRepair(ctx context.Context, s Streams, o output, d *desk, j *repair.Job, opts repair.Options) error {
	survey, err := j.Survey(ctx, opts)
	if err != nil {
		return unreached(err)
	}
	r, err := j.Run(ctx, survey)
	if err != nil {
		tell(s.Err, "waybill: before that: %s\n", repaired(&r))
		return unreached(err)
	}
	v, err := j.Verify(ctx, survey)
	if err != nil {
		return unreached(err)
	}
	if o == outputJSON {
		err = printJSON(s.Out, repairReport{d.cfg.Name, r, v})
	} else {
		err = printRepair(s.Out, d.cfg.Name, &r, v)
	}
	if err == nil && (!v.Right() || r.Left.Sum()+r.Lost > 0) {
		err = &exitError{code: ExitFindings, said: true, err: errors.New("not all is right")}
	}
	return err
}

// repaired is what has been done, in words.
func repaired(r *repair.Result) string {
	var out []string
	for _, x := range []struct {
		n    int64
		what string
	}{{r.Written, "have their row"}, {r.Filtered, "are filtered"}, {r.Dead, "are dead letters"}, {r.Tombstones, "are tombstones"}, {r.Lost, "are LOST"}, {r.Removed, "have a row of an older epoch less"}, {r.Resumed, "finished for a run that was killed"}} {
		if x.n > 0 {
			out = append(out, count(x.n)+" "+x.what)
		}
	}
	if len(out) == 0 {
		return "nothing was done"
	}
	return strings.Join(out, ", ")
}

func printRepairPlan(w io.Writer, p *repair.Plan) error {
	var b strings.Builder
	wrap(&b, "", fmt.Sprintf("%s, epoch %d, topic %s; nothing was changed", p.Pipeline, p.Epoch, p.Topic))
	if len(p.Steps) == 0 {
		wrap(&b, "", "there is nothing to repair")
	}
	for i := range p.Steps {
		x := &p.Steps[i]
		deleted, of := "", ""
		if x.Epoch != p.Epoch {
			of = fmt.Sprintf(" of epoch %d", x.Epoch)
		}
		if x.Kind == "remove" {
			wrap(&b, "", fmt.Sprintf("partition %d, %s%s: the rows of %s offsets deleted", x.Partition, x.Why, of, count(x.Delete)))
			wrap(&b, "  ", "offsets "+listedRanges(x.Offsets))
			continue
		}
		if x.Kind == "rewrite" {
			deleted = fmt.Sprintf("the rows of %s deleted, and ", count(x.Delete))
		}
		wrap(&b, "", fmt.Sprintf("partition %d, %s%s: %s records would be read, %stheir rows made again under plan %s", x.Partition, x.Why, of, count(x.Read), deleted, x.Plan))
		wrap(&b, "  ", "offsets "+listedRanges(x.Offsets))
		wrap(&b, "  ", fmt.Sprintf("%s rows, %s filtered, %s dead letters, %s tombstones", count(x.Write), count(x.Filtered), count(x.Dead), count(x.Tombstone)))
	}
	if len(p.Steps) > 0 && len(p.Views) > 0 {
		wrap(&b, "", "materialized views are fed by what is made again, and lose nothing by what is deleted: "+strings.Join(p.Views, ", "))
	}
	printLeft(&b, &p.Left)
	_, err := io.WriteString(w, b.String())
	return err
}

// listedRanges is ranges of offsets for people.
func listedRanges(all []repair.Range) string {
	var out []audit.Range
	for _, x := range all {
		out = append(out, audit.Range{First: x.First, Next: x.Next})
	}
	return listed(out)
}

// printLeft says what nothing is done about.
func printLeft(b *strings.Builder, l *repair.Left) {
	for _, x := range []struct {
		n    int64
		what string
	}{
		{l.Gone, "have no record in the topic any more"},
		{l.Holes, "have no record: compaction has removed it, or there never was one"},
		{l.Letters, "are dead letters: `waybill dlq replay` is for them"},
		{l.Unsettled, "are not settled yet: run it again once the group has committed them"},
		{l.Unaccounted, "are on nobody's account"},
		{l.Erased, "were erased, on record"},
		{l.Untold, "rows are missing of which nobody can tell which offsets they are"},
	} {
		if x.n > 0 {
			wrap(b, "", "left alone: "+count(x.n)+" "+x.what)
		}
	}
}

func printRepair(w io.Writer, pipeline string, r *repair.Result, v *repair.Verdict) error {
	var b strings.Builder
	wrap(&b, "", fmt.Sprintf("%s: %s", pipeline, repaired(r)))
	printLeft(&b, &r.Left)
	if v.Right() {
		wrap(&b, "", fmt.Sprintf("verified: the %s offsets are what they should be", count(v.Offsets)))
	}
	for _, x := range []struct {
		list []repair.Range
		what string
	}{{v.Missing, "have no row"}, {v.Repeated, "have several rows"}, {v.Unexpected, "have a row, and should have none"}} {
		if len(x.list) > 0 {
			var all []string
			for _, one := range x.list[:min(len(x.list), shownRanges)] {
				all = append(all, one.String())
			}
			wrap(&b, "", fmt.Sprintf("NOT RIGHT: offsets %s %s", strings.Join(all, ", "), x.what))
		}
	}
	for _, f := range v.Closed {
		wrap(&b, "", "closed: "+f)
	}
	_, err := io.WriteString(w, b.String())
	return err
}
