package cli

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/waybill-data/waybill"
	"github.com/waybill-data/waybill/internal/backfill"
	"github.com/waybill-data/waybill/internal/backfill/operator"
	"github.com/waybill-data/waybill/internal/engine"
	"github.com/waybill-data/waybill/internal/failpoint"
	"github.com/waybill-data/waybill/internal/status"
	"github.com/waybill-data/waybill/internal/telemetry"
)

func newBackfill(s Streams) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "backfill",
		Short: "Make rows anew: plan, compare, verify, promote, roll back",
		Long: `Makes rows of a pipeline anew, in a table of their own, while it goes on; and
lets that table take the place of the pipeline's once it is known to be right.

A backfill is a job in waybill.jobs: plan puts it there, run fills its table,
verify compares that with the live one, promote lets them change places, and
rollback changes them back. Each can be killed at any time, and goes on when it
is run again, by whomever. A pipeline has one job at a time.`,
		Example: `  waybill backfill plan llm-calls.yaml --scope time:2026-11-01..2026-11-04
  waybill backfill run llm-calls.yaml
  waybill backfill verify llm-calls.yaml
  waybill backfill promote llm-calls.yaml
  waybill backfill rollback llm-calls.yaml
  waybill backfill cleanup llm-calls.yaml --yes`,
	}
	cmd.AddCommand(newBackfillPlan(s), newBackfillRun(s), newBackfillStatus(s), newBackfillVerify(s), newBackfillPromote(s), newBackfillRollback(s), newBackfillCancel(s), newBackfillCleanup(s),
		newBackfillDiff(s), newBackfillTry(s))
	return cmd
}

// sessionFlags are of a command that only one process may be at.
type sessionFlags struct {
	noWait bool
	lease  time.Duration
}

func (o *sessionFlags) add(cmd *cobra.Command) {
	f := cmd.Flags()
	f.BoolVar(&o.noWait, "no-wait", false, "fail if another process is, or was, at it")
	f.DurationVar(&o.lease, "lease", operator.LeaseTime, "for how long others wait if this process dies")
}

// minLease leaves time to renew it.
const minLease = time.Second

// waiting says whom a session waits for; nil: it does not wait.
func (o *sessionFlags) waiting(s Streams) func(string, time.Time, bool) {
	if o.noWait {
		return nil
	}
	return func(who string, until time.Time, longer bool) {
		if longer {
			tell(s.Err, "waybill: %s makes the table of this backfill: waiting until it is done, or until %s UTC, when its lease is over\n", who, moment(until))
			return
		}
		tell(s.Err, "waybill: %s is at this backfill: waiting until %s UTC, when its lease is over; if it is renewed by then, this command ends\n", who, moment(until))
	}
}

// defaultRate is how many records a second a process reads at most unless it is told otherwise, and what a plan counts with: live ingestion is to keep what it needs
// (docs/evidence/backfill-cost.txt).
const defaultRate = 50_000

// fillFlags say how a table is filled.
type fillFlags struct {
	sessionFlags
	rate   int64
	bytes  string
	memory string
}

func (o *fillFlags) add(cmd *cobra.Command) {
	o.sessionFlags.add(cmd)
	f := cmd.Flags()
	f.Int64Var(&o.rate, "rate", defaultRate, "read no more than `N` records a second in this process; 0: any number")
	f.StringVar(&o.bytes, "byte-rate", "0", "read no more than this `SIZE` a second in this process; 0: any")
	f.StringVar(&o.memory, "memory", "128MiB", "how much of it batches may take: a `SIZE`")
}

// bench opens what a backfill's commands work with. close must be called.
func (d *desk) bench(ctx context.Context, s Streams, o fillFlags, progress func(status.Pipeline)) (*operator.Bench, error) {
	if err := failpoint.Arm(os.Getenv); err != nil {
		return nil, usage(err)
	}
	if err := d.recorded(ctx); err != nil {
		return nil, err
	}
	if o.lease != 0 && o.lease < minLease {
		return nil, usage(fmt.Errorf("--lease %s: no less than %s", o.lease, minLease))
	}
	var perSecond, memory int64
	var err error
	if o.bytes != "" && o.bytes != "0" {
		if perSecond, err = sizeOf("--byte-rate", o.bytes); err != nil {
			return nil, err
		}
	}
	if o.memory == "" {
		o.memory = "128MiB"
	}
	if memory, err = sizeOf("--memory", o.memory); err != nil {
		return nil, err
	}
	log := telemetry.NewLogger(s.Err, s.ErrTTY, slog.LevelWarn, false)
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	b, err := operator.Open(ctx, operator.Setup{Cfg: d.file, Client: d.client, Ledger: d.ledger, Log: log, Who: fmt.Sprintf("%s, process %d", host, os.Getpid()), Progress: progress,
		Engine: engine.Deps{Log: log, Metrics: telemetry.NewMetrics(version), Budget: engine.NewBudget(memory, nil)},
		Lease:  o.lease, Waiting: o.waiting(s), RecordsPerSecond: o.rate, BytesPerSecond: perSecond, Notify: engine.TellOfPromotion(d.cfg, d.client, d.ledger, log),
		Passed: func(point string) { failpoint.HitStep(failpoint.BackfillStep, point) }})
	if err != nil {
		return nil, unreached(err)
	}
	return b, nil
}

// withBench is a command's work on the pipeline's last job.
func (d *desk) withBench(ctx context.Context, s Streams, o fillFlags, fn func(*operator.Bench, backfill.Job) error) error {
	b, err := d.bench(ctx, s, o, fillProgress(s, time.Now()))
	if err != nil {
		return err
	}
	defer b.Close()
	j, err := b.Operator().Load(ctx, "")
	if err != nil {
		return noJob(d, err)
	}
	if err := fn(b, j); err != nil {
		return jobError(d, err)
	}
	return nil
}

func noJob(d *desk, err error) error {
	if !errors.Is(err, operator.ErrNone) {
		return unreached(err)
	}
	return usage(&waybill.Error{Op: "backfill", Pipeline: d.cfg.Name, Class: waybill.ClassConfig, Err: err, Hint: "`waybill backfill plan` makes one"})
}

// jobError gives what is not allowed now the exit code of wrong use.
func jobError(d *desk, err error) error {
	illegal := (*backfill.Illegal)(nil)
	switch {
	case errors.As(err, &illegal):
		return usage(&waybill.Error{Op: "backfill", Pipeline: d.cfg.Name, Class: waybill.ClassConfig, Err: err, Hint: hintOf(illegal)})
	case errors.Is(err, operator.ErrTaken):
		return &exitError{code: ExitFatal, err: err}
	case errors.Is(err, context.Canceled):
		return &exitError{code: ExitFatal, err: errors.New("stopped; run it again to go on")}
	}
	return unreached(err)
}

// hintOf says which command comes first.
func hintOf(e *backfill.Illegal) string {
	switch {
	case e.Event == "claim":
		return "wait until it has finished; the lease of one that has died is waited for unless --no-wait says not to"
	case e.State == backfill.Planned:
		return "`waybill backfill run` comes first"
	case e.State == backfill.Promoting:
		return "`waybill backfill promote` goes on with it, `waybill backfill cancel` gives it up"
	case e.State == backfill.RollingBack:
		return "`waybill backfill rollback` goes on with it"
	case e.State.Over():
		return "`waybill backfill plan` makes another one"
	case e.Event == "promote":
		return "`waybill backfill run` and `waybill backfill verify` come first"
	}
	return "`waybill backfill status` says how it stands"
}

// fillProgress says on standard error how far a table is filled.
func fillProgress(s Streams, began time.Time) func(status.Pipeline) {
	next := began.Add(progressEvery)
	return func(p status.Pipeline) {
		now := time.Now()
		if now.Before(next) || p.Backfill == nil {
			return
		}
		next = now.Add(progressEvery)
		f := p.Backfill
		line := fmt.Sprintf("%s records left, %s a second%s", count(f.Left), count(int64(f.Rate)), eta(f.ETASeconds))
		for i, part := range f.Partitions {
			if i == maxShown {
				line += "; ..."
				break
			}
			line += fmt.Sprintf("; partition %d: at %d of %d%s", part.Partition, max(part.Settled, 0), part.Until, eta(part.ETASeconds))
		}
		tell(s.Err, "waybill: %s\n", line)
	}
}

func eta(seconds float64) string {
	if seconds <= 0 {
		return ""
	}
	return ", " + duration(time.Duration(seconds*float64(time.Second)).Round(time.Second)) + " to go"
}

func newBackfillRun(s Streams) *cobra.Command {
	var o fillFlags
	var p planFlags
	cmd := &cobra.Command{
		Use:   "run FILE",
		Short: "Fill a backfill's table until it has caught up with the live one",
		Long: `Makes the table of the backfill that was planned last, and fills it: under an
epoch and a consumer group of its own, while the pipeline goes on. It ends when
it has caught up.

Ctrl-C settles what is in flight; run it again to go on. Several processes may
run it at once: they share the topic's partitions. --rate bounds each of them,
so that the pipeline keeps what it needs of brokers and server; if that gets
more records than that, a backfill never catches up with it: raise the rate, or
let several processes run it.
With --scope it plans first, as plan does.`,
		Example: `  waybill backfill run llm-calls.yaml
  waybill backfill run llm-calls.yaml --scope all --rate 20000`,
		Args: args(cobra.ExactArgs(1)),
	}
	o.add(cmd)
	p.add(cmd)
	out := outputFlag(cmd)
	cmd.RunE = withDesk(func(ctx context.Context, d *desk, _ []string) error {
		if p.scope != "" {
			if err := backfillPlan(ctx, s, outputText, d, p); err != nil {
				return err
			}
		}
		return d.withBench(ctx, s, o, func(b *operator.Bench, j backfill.Job) error {
			if err := b.SameFile(&j); err != nil {
				return err
			}
			err := b.Operator().Run(ctx, j.ID)
			if err == nil {
				err = ctx.Err()
			}
			if err != nil {
				return err
			}
			return showJob(ctx, s, *out, d, b)
		})
	})
	return cmd
}

func newBackfillPromote(s Streams) *cobra.Command {
	var o fillFlags
	unverified := false
	cmd := &cobra.Command{
		Use:   "promote FILE",
		Short: "Let a backfill's table take the live one's place",
		Long: `Lets the table of a backfill, which has been verified, take the place of the
pipeline's, at one moment. It catches up first; then the workers stand still
for some seconds, rows that stay are taken over, and the tables change places.
The workers go on by themselves, under the backfill's epoch. The table that was
replaced is kept: rollback puts it back, cleanup drops it.

It can be killed at any time; run it again to go on. Until the tables change
places, cancel gives it up. waybill.promotions says what has changed, and since
when; whoever is told of findings (alerts) is told of it.

After a rollback it promotes the same table again.`,
		Example: `  waybill backfill promote llm-calls.yaml`,
		Args:    args(cobra.ExactArgs(1)),
	}
	o.add(cmd)
	cmd.Flags().BoolVar(&unverified, "unverified", false, "even if verify has not been run, or does not allow it")
	out := outputFlag(cmd)
	cmd.RunE = withDesk(func(ctx context.Context, d *desk, _ []string) error {
		return d.withBench(ctx, s, o, func(b *operator.Bench, j backfill.Job) error {
			if err := b.SameFile(&j); err != nil {
				return err
			}
			if !unverified {
				if err := stillVerified(ctx, d, b, &j); err != nil {
					return err
				}
			}
			o := b.Operator()
			if err := o.Promote(ctx, j.ID, unverified); err != nil {
				return err
			}
			tellPause(s, o)
			return showJob(ctx, s, *out, d, b)
		})
	})
	return cmd
}

// tellPause says for how long workers stood still.
func tellPause(s Streams, o *operator.Operator) {
	tell(s.Err, "waybill: workers stood still for %.1f s\n", operator.Paused(&o.Job().Leg).Seconds())
}

func newBackfillRollback(s Streams) *cobra.Command {
	var o fillFlags
	cmd := &cobra.Command{
		Use:   "rollback FILE",
		Short: "Put back the table that a backfill has replaced",
		Long: `Puts back the table that was replaced. It lacks what has come since then: that
is read from the topic first, and made into rows by the contract of FILE. So
give the file that the table was written with; and start the workers with it.

It goes by the same steps as promote, can be killed like it, and goes on when it
is run again. It is refused if the topic no longer has what the table lacks.`,
		Example: `  waybill backfill rollback llm-calls-old.yaml`,
		Args:    args(cobra.ExactArgs(1)),
	}
	o.add(cmd)
	out := outputFlag(cmd)
	cmd.RunE = withDesk(func(ctx context.Context, d *desk, _ []string) error {
		return d.withBench(ctx, s, o, func(b *operator.Bench, j backfill.Job) error {
			o := b.Operator()
			if err := o.Rollback(ctx, j.ID); err != nil {
				return err
			}
			tellPause(s, o)
			return showJob(ctx, s, *out, d, b)
		})
	})
	return cmd
}

func newBackfillCancel(s Streams) *cobra.Command {
	var o sessionFlags
	why := ""
	cmd := &cobra.Command{
		Use:   "cancel FILE",
		Short: "Give a backfill up; the live table stays as it is",
		Long: `Gives the backfill up, on record. The live table is as it was: a promotion that
has got to where the tables change places can only go on, and be rolled back.
What the backfill has made stays until it is cleaned up.`,
		Example: `  waybill backfill cancel llm-calls.yaml --reason "wrong price list"`,
		Args:    args(cobra.ExactArgs(1)),
	}
	o.add(cmd)
	cmd.Flags().StringVar(&why, "reason", "canceled by a person", "`WHY`, for the record")
	out := outputFlag(cmd)
	cmd.RunE = withDesk(func(ctx context.Context, d *desk, _ []string) error {
		return d.withBench(ctx, s, fillFlags{sessionFlags: o}, func(b *operator.Bench, j backfill.Job) error {
			if err := b.Operator().Cancel(ctx, j.ID, why); err != nil {
				return err
			}
			return showJob(ctx, s, *out, d, b)
		})
	})
	return cmd
}

func newBackfillCleanup(s Streams) *cobra.Command {
	var claim sessionFlags
	id, yes := "", false
	cmd := &cobra.Command{
		Use:   "cleanup FILE",
		Short: "Drop what a backfill that is over has left",
		Long: `Drops what is left of a backfill that is over: the table that is not the live
one, and its consumer group. After that there is no rollback. Without --yes it
says what it would drop, and changes nothing.

The constraint that refuses rows of older epochs stays on the live table: it
keeps out a worker that slept through everything.`,
		Example: `  waybill backfill cleanup llm-calls.yaml
  waybill backfill cleanup llm-calls.yaml --yes`,
		Args: args(cobra.ExactArgs(1)),
	}
	claim.add(cmd)
	f := cmd.Flags()
	f.StringVar(&id, "job", "", "the `ID` of the backfill (default: the last one)")
	f.BoolVar(&yes, "yes", false, "do it")
	out := outputFlag(cmd)
	cmd.RunE = withDesk(func(ctx context.Context, d *desk, _ []string) error {
		return d.withBench(ctx, s, fillFlags{sessionFlags: claim}, func(b *operator.Bench, _ backfill.Job) error {
			o := b.Operator()
			j, err := o.Load(ctx, id)
			if err != nil {
				return noJob(d, err)
			}
			if !yes {
				return foreseeCleanup(ctx, s, *out, b, &j)
			}
			if err := o.Cleanup(ctx, j.ID); err != nil {
				return err
			}
			return showJob(ctx, s, *out, d, b)
		})
	})
	return cmd
}
