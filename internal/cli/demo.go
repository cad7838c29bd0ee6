package cli

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/waybill-data/waybill/internal/demo"
)

func newDemo(s Streams) *cobra.Command {
	var o demo.Options
	var keep, spareServer bool
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Show it at work on this machine, kill it on the way, and prove the result",
		Long: `Starts a broker (a stand-in for Apache Kafka), a real ClickHouse and a worker
on this machine, produces LLM call events, some of them broken, and kills worker
and ClickHouse while inserts are in flight. All the while it adds up, in plain
SQL, what became of every event. The final balance decides the exit code: 0 if
every event is accounted for, 1 if not.

It listens on 127.0.0.1 only. On a terminal the servers stay up for your own
queries until Ctrl-C. Nothing is left behind, unless --keep says so.

ClickHouse is brought by tools/engines/fetch clickhouse, once: it is looked for
in the checkout around the working directory or around this program, in the
folder that WAYBILL_ENGINES_CACHE names, or is the file that WAYBILL_CHDB_LIB
names (a libchdb.so, as the npm package @chdb/lib-linux-x64-gnu has it).`,
		Example: `  waybill demo
  waybill demo --events 1000000 --rate 50000 --kills 5
  waybill demo -o json               the final balance as JSON, for scripts`,
		Args: args(cobra.NoArgs),
	}
	f := cmd.Flags()
	f.Int64Var(&o.Events, "events", demo.DefaultEvents, "events to produce")
	f.IntVar(&o.Rate, "rate", demo.DefaultRate, "events a second")
	f.Int32Var(&o.Partitions, "partitions", demo.DefaultPartitions, "partitions of the topic")
	f.IntVar(&o.Kills, "kills", demo.DefaultKills, "how often the worker is killed, with SIGKILL")
	f.BoolVar(&spareServer, "spare-clickhouse", false, "do not kill ClickHouse")
	f.Uint64Var(&o.Seed, "seed", demo.DefaultSeed, "of the events: the same seed makes the same ones")
	f.StringVar(&o.Dir, "dir", "", "new directory for data, logs and the pipeline file (default: a temporary one)")
	f.BoolVar(&keep, "keep", false, "keep the servers up until Ctrl-C, and the directory after it")
	out := outputFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		o.KillServer, o.Keep = !spareServer, keep
		o.Out, o.Live = s.Out, s.OutTTY
		o.Stay = keep || s.OutTTY
		o.Command = thisBinary
		if *out == outputJSON {
			o.Out, o.Live = s.Err, s.ErrTTY
			o.Stay = keep
			o.OnBalance = func(b demo.Balance) error { return printJSON(s.Out, b) }
		}
		if err := o.Check(); err != nil {
			return usage(err)
		}
		return runDemo(cmd.Context(), o)
	}
	cmd.AddCommand(newDemoBroker(s))
	return cmd
}

func runDemo(ctx context.Context, o demo.Options) error {
	b, err := demo.Run(ctx, o)
	switch {
	case errors.Is(err, context.Canceled):
		return &exitError{code: ExitFatal, err: errors.New("the demo was stopped before its balance")}
	case err != nil:
		return err
	case !b.Pass:
		return &exitError{code: ExitFindings, said: true, err: errors.New("the balance does not hold")}
	}
	return nil
}

// newDemoBroker is what the demo runs as its broker.
func newDemoBroker(s Streams) *cobra.Command {
	return &cobra.Command{
		Use:    demo.BrokerCommand + " DIR PORT",
		Short:  "The demo's stand-in for Apache Kafka",
		Hidden: true,
		Args:   args(cobra.ExactArgs(2)),
		RunE: func(cmd *cobra.Command, args []string) error {
			port, err := strconv.Atoi(args[1])
			if err != nil {
				return usage(err)
			}
			return demo.ServeBroker(cmd.Context(), args[0], port, s.In)
		},
	}
}

// thisBinary makes a command that runs this very program.
func thisBinary(args ...string) (*exec.Cmd, error) {
	exe, err := os.Executable()
	if err != nil {
		return nil, err
	}
	return exec.Command(exe, args...), nil
}
