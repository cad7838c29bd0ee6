package cli

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"
)

// pollThrough is how often is asked whether a time has come; workers say so every five seconds at most.
const pollThrough = time.Second

func newWait(s Streams) *cobra.Command {
	var through string
	var timeout time.Duration
	cmd := &cobra.Command{
		Use:   "wait FILE --through TIME",
		Short: "Wait until everything up to a time is in",
		Long: `Waits until everything whose time is before TIME is accounted for, as the
workers say: in the tables, filtered, a dead letter, a tombstone, or lost. For
jobs that must not begin on half the data.

It ends with 0 once that is so, and with 2 if it is not within --timeout.`,
		Example: `  waybill wait llm-calls.yaml --through 2026-11-28T14:05:00Z && run-evaluation
  waybill wait llm-calls.yaml --through 0s --timeout 10m   # all that is there`,
		Args: args(cobra.ExactArgs(1)),
	}
	cmd.Flags().StringVar(&through, "through", "", "the `TIME` (RFC 3339), or a length of time ago")
	cmd.Flags().DurationVar(&timeout, "timeout", 0, "give up after so long (default: never)")
	cmd.RunE = withDesk(func(ctx context.Context, d *desk, _ []string) error {
		if through == "" {
			return usage(errors.New("--through is missing"))
		}
		until, err := momentOf(through, d.client.ServerNow(time.Now()), time.Time{})
		if err != nil {
			return usage(fmt.Errorf("--through %s: %w", through, err))
		}
		if timeout > 0 {
			var cancel context.CancelFunc
			ctx, cancel = context.WithTimeout(ctx, timeout)
			defer cancel()
		}
		return waitThrough(ctx, s, d, until, timeout)
	})
	return cmd
}

// waitThrough asks until the time has come. A server that does not answer is asked again: it is waited for like the data.
func waitThrough(ctx context.Context, s Streams, d *desk, until time.Time, timeout time.Duration) error {
	said := "no worker has said yet up to when it is complete"
	for {
		c, err := d.ledger.CompleteThrough(ctx, d.cfg.Name, d.cfg.Epoch, d.cfg.Source.Kafka.Topic)
		switch {
		case err != nil && ctx.Err() == nil && unreached(err) == err: //nolint:errorlint // unreached wraps what can heal
			return err
		case err != nil:
		case !c.Through.IsZero() && !c.Through.Before(until):
			tell(s.Out, "complete through %s\n", moment(c.Through))
			return nil
		case !c.Through.IsZero():
			said = fmt.Sprintf("complete through %s; partition %d holds it back", moment(c.Through), c.HeldBackBy)
		case c.Partitions > 0:
			said = fmt.Sprintf("nothing can be said yet of partition %d", c.HeldBackBy)
		}
		select {
		case <-ctx.Done():
			if timeout == 0 || !errors.Is(ctx.Err(), context.DeadlineExceeded) {
				return ctx.Err()
			}
			late := fmt.Errorf("not complete through %s within %s: %s", moment(until), timeout, said)
			tell(s.Err, "waybill: %v\n", late)
			return &exitError{code: ExitUnclear, said: true, err: late}
		case <-time.After(pollThrough):
		}
	}
}
