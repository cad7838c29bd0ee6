package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/waybill-data/waybill/internal/engine"
	"github.com/waybill-data/waybill/internal/failpoint"
	"github.com/waybill-data/waybill/internal/ledger"
	"github.com/waybill-data/waybill/internal/replay"
	"github.com/waybill-data/waybill/internal/telemetry"
)

func newDLQReplay(s Streams) *cobra.Command {
	var flags letterFlags
	dry, records := false, 0
	cmd := &cobra.Command{
		Use:   "replay FILE",
		Short: "Put dead letters into the table after all",
		Long: `Puts dead letters into the pipeline's tables under the plan that the file and the
tables make now: each lands once, whatever is killed on the way. A worker may
run meanwhile. What cannot be written either stays a dead letter, with the new
reason. Those that have been replayed or discarded are skipped.

What a replay that was killed has left unfinished is finished first, by whoever
runs the next one.

It ends with 0 if nothing failed, and with 1 if some could not be written.`,
		Example: `  waybill dlq replay llm-calls.yaml --dry-run
  waybill dlq replay llm-calls.yaml --code out_of_range
  waybill dlq replay llm-calls.yaml --offsets 3:1041`,
		Args: args(cobra.ExactArgs(1)),
	}
	flags.add(cmd)
	cmd.Flags().IntVar(&records, "batch", replay.MaxRecords, "how many go into a batch, at most")
	cmd.Flags().BoolVar(&dry, "dry-run", false, "say what would become of each group, and change nothing")
	o := outputFlag(cmd)
	cmd.RunE = withDesk(func(ctx context.Context, d *desk, _ []string) error {
		if dry {
			return dlqForesee(ctx, s, *o, d, &flags)
		}
		if records < 1 || records > replay.MaxRecords {
			return usage(fmt.Errorf("--batch %d: 1 to %d", records, replay.MaxRecords))
		}
		return dlqRun(ctx, s, *o, d, &flags, records, func(j *replay.Job, f ledger.LetterFilter) (replay.Result, error) { return j.Replay(ctx, f) })
	})
	return cmd
}

func newDLQDiscard(s Streams) *cobra.Command {
	var flags letterFlags
	why, all := "", false
	cmd := &cobra.Command{
		Use:   "discard FILE --reason WHY",
		Short: "Give dead letters up, on record",
		Long: `Gives dead letters up: they are not replayed any more. Nothing is removed, and
who did it, when and why is on record. Say which ones, or --all.`,
		Example: `  waybill dlq discard llm-calls.yaml --shape 5d1c02fa --reason "test traffic"
  waybill dlq discard llm-calls.yaml --all --reason "before the launch"`,
		Args: args(cobra.ExactArgs(1)),
	}
	flags.add(cmd)
	cmd.Flags().StringVar(&why, "reason", "", "`WHY`, for the record")
	cmd.Flags().BoolVar(&all, "all", false, "all that are waiting or failed")
	o := outputFlag(cmd)
	cmd.RunE = withDesk(func(ctx context.Context, d *desk, _ []string) error {
		switch {
		case strings.TrimSpace(why) == "":
			return usage(errors.New("say why with --reason: it goes on record"))
		case flags.none() != all:
			return usage(errors.New("say which dead letters to discard, or --all"))
		}
		return dlqRun(ctx, s, *o, d, &flags, 0, func(j *replay.Job, f ledger.LetterFilter) (replay.Result, error) { return j.Discard(ctx, f, why) })
	})
	return cmd
}

// none: the flags select everything.
func (o *letterFlags) none() bool {
	return len(o.states)+len(o.stages)+len(o.codes)+len(o.columns)+len(o.shapes)+len(o.plans)+len(o.offsets) == 0 && o.contains+o.from+o.to == ""
}

func dlqRun(ctx context.Context, s Streams, o output, d *desk, flags *letterFlags, records int, run func(*replay.Job, ledger.LetterFilter) (replay.Result, error)) error {
	if err := failpoint.Arm(os.Getenv); err != nil {
		return usage(err)
	}
	if err := d.recorded(ctx); err != nil {
		return err
	}
	f, err := flags.filter(ctx, d)
	if err != nil {
		return err
	}
	if len(flags.states) == 0 {
		f.States = nil // what is skipped is to be counted
	}
	log := telemetry.NewLogger(s.Err, s.ErrTTY, slog.LevelWarn, false)
	e, err := engine.OpenReplayer(ctx, d.file, engine.Deps{Log: log, Metrics: telemetry.NewMetrics(version), Budget: engine.NewBudget(replay.MaxBytes, nil)})
	if err != nil {
		return unreached(err)
	}
	defer e.Close()
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	next := time.Now().Add(progressEvery)
	job := replay.New(replay.Deps{Engine: e, Records: records, Who: fmt.Sprintf("%s, process %d", host, os.Getpid()), Progress: func(r replay.Result) {
		if now := time.Now(); now.After(next) {
			next = now.Add(progressEvery)
			tell(s.Err, "waybill: %s so far: %s\n", count(r.Selected), inWords(&r))
		}
	}}, d.cfg)
	result, err := run(job, f)
	if err != nil {
		tell(s.Err, "waybill: before that: %s\n", inWords(&result))
		return unreached(err)
	}
	if o == outputJSON {
		err = printJSON(s.Out, result)
	} else {
		err = printReplay(s.Out, d.cfg.Name, &result)
	}
	if err == nil && result.Failed > 0 {
		err = &exitError{code: ExitFindings, said: true, err: errors.New("some dead letters could not be written")}
	}
	return err
}

// inWords is what has been done.
func inWords(r *replay.Result) string {
	var out []string
	for _, x := range []struct {
		n    int64
		what string
	}{{r.Replayed, "replayed"}, {r.Filtered, "filtered"}, {r.Failed, "failed again"}, {r.Discarded, "discarded"}, {r.Resumed, "finished for a replay that was killed"}} {
		if x.n > 0 {
			out = append(out, count(x.n)+" "+x.what)
		}
	}
	if len(out) == 0 {
		return "nothing to do"
	}
	return strings.Join(out, ", ")
}

func printReplay(w io.Writer, pipeline string, r *replay.Result) error {
	var b strings.Builder
	wrap(&b, "", pipeline+": "+inWords(r))
	s := &r.Skipped
	for _, x := range []struct {
		n    int64
		what string
	}{
		{s.Replayed, "had been replayed before"}, {s.Filtered, "had been filtered before"}, {s.Discarded, "had been discarded before"},
		{s.Unsettled, "are of batches that have not settled yet: run it again once they have"},
		{s.Resting, "were refused by the server in a replay a moment ago: run it again in a few minutes"},
	} {
		if x.n > 0 {
			wrap(&b, "  ", "skipped: "+count(x.n)+" "+x.what)
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// foreseen is what `dlq replay --dry-run -o json` prints.
type foreseen struct {
	Pipeline string            `json:"pipeline"`
	Plan     string            `json:"plan"`
	Groups   []replay.Forecast `json:"groups"`
}

func dlqForesee(ctx context.Context, s Streams, o output, d *desk, flags *letterFlags) error {
	if err := d.recorded(ctx); err != nil {
		return err
	}
	f, err := flags.filter(ctx, d)
	if err != nil {
		return err
	}
	f.States = open(f.States)
	if len(f.States) == 0 {
		return usage(errors.New("--state: only those that are waiting or failed can be replayed"))
	}
	plan, _, err := d.current(ctx)
	if err != nil {
		return err
	}
	proc, err := engine.NewProcessor(plan, []byte(d.cfg.RedactSecret.Reveal()))
	if err != nil {
		return err
	}
	groups, err := replay.Foresee(ctx, d.ledger, proc, &f)
	if err != nil {
		return unreached(err)
	}
	out := foreseen{Pipeline: d.cfg.Name, Plan: plan.ID().String(), Groups: groups}
	if o == outputJSON {
		return printJSON(s.Out, out)
	}
	return out.print(s.Out)
}

func open(states []ledger.LetterState) (out []ledger.LetterState) {
	for _, s := range states {
		if s.Open() {
			out = append(out, s)
		}
	}
	return out
}

func (x *foreseen) print(w io.Writer) error {
	var b strings.Builder
	var rows, filtered, failed int64
	for i := range x.Groups {
		g := &x.Groups[i]
		rows, filtered, failed = rows+g.Rows, filtered+g.Filtered, failed+g.Count-g.Rows-g.Filtered
	}
	wrap(&b, "", fmt.Sprintf("%s, under plan %s: %s would be rows, %s filtered, %s would fail again; nothing was changed", x.Pipeline, x.Plan, count(rows), count(filtered), count(failed)))
	for i := range x.Groups {
		g := &x.Groups[i]
		wrap(&b, "", fmt.Sprintf("%s: %s, %s", g.Shape, count(g.Count), g.Message))
		if g.Rows > 0 {
			rescued := ""
			if g.Rescued > 0 {
				rescued = fmt.Sprintf(", %s with rescued values", count(g.Rescued))
			}
			wrap(&b, "  ", count(g.Rows)+" would be rows"+rescued)
		}
		if g.Filtered > 0 {
			wrap(&b, "  ", count(g.Filtered)+" would be filtered")
		}
		for _, f := range g.Failed {
			wrap(&b, "  ", fmt.Sprintf("%s would fail again: %s", count(f.Count), cmp.Or(f.Message, f.Code)))
		}
	}
	if rows > 0 {
		wrap(&b, "", "what the server says to the rows (constraints) shows when they are replayed")
	}
	_, err := io.WriteString(w, b.String())
	return err
}
