package cli

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/waybill-data/waybill"
	"github.com/waybill-data/waybill/internal/codes"
	"github.com/waybill-data/waybill/internal/config"
	"github.com/waybill-data/waybill/internal/engine"
	"github.com/waybill-data/waybill/internal/failpoint"
	"github.com/waybill-data/waybill/internal/server"
	"github.com/waybill-data/waybill/internal/status"
	"github.com/waybill-data/waybill/internal/telemetry"
)

// runOptions are the flags of `waybill run`.
type runOptions struct {
	listen    string
	pprof     string
	memory    string
	drain     time.Duration
	logLevel  string
	logFormat string
	quiet     bool
	reload    time.Duration
}

func newRun(s Streams) *cobra.Command {
	var o runOptions
	cmd := &cobra.Command{
		Use:   "run FILE|DIR...",
		Short: "Run pipelines until stopped",
		Long: `Runs the pipelines of the given files in this process until it is stopped.

Of a directory, all files that end in .yaml or .yml are run. Files are looked at
for changes while it runs (--reload), and at once when SIGHUP comes: a pipeline
whose file has changed settles what is in flight and goes on under the new file;
one whose file is gone from its directory settles and stops; the others are not
touched. A broken file changes nothing: its pipeline goes on as it was, and log,
/status and the metric waybill_pipeline_file_problems say so.

Start as many processes with the same files as you like: they share the
topic's partitions as members of one consumer group. An interrupt (Ctrl-C,
SIGTERM) stops reading, settles what is in flight and leaves the group. A
second one ends at once, which loses nothing either: the next start carries
out what was pending.

While it runs, it answers /status, /metrics, /healthz and /readyz over HTTP.
Started by systemd as Type=notify, it says when it listens and when it stops.`,
		Example: `  waybill run llm-calls.yaml
  waybill run --listen 127.0.0.1:0 --log-format json pipelines/`,
		Args: args(cobra.MinimumNArgs(1)),
		RunE: func(cmd *cobra.Command, files []string) error { return run(cmd.Context(), s, files, o) },
	}
	f := cmd.Flags()
	f.StringVar(&o.listen, "listen", server.DefaultListen, "address of /status, /metrics, /healthz and /readyz; empty for none")
	f.StringVar(&o.pprof, "pprof", "", "loopback address of Go's profiles (/debug/pprof/), as :6060; empty for none")
	f.StringVar(&o.memory, "memory", "", "memory to stay within, as 1GiB; half of it may be batches (default: GOMEMLIMIT,\nelse 400MiB and 32MiB for each further pipeline, at most half of the container's or machine's)")
	f.DurationVar(&o.drain, "drain", engine.DefaultDrain, "how long a stop may take to settle what is in flight")
	f.DurationVar(&o.reload, "reload", defaultReload, "how often the files are looked at for changes; 0: only on SIGHUP")
	f.StringVar(&o.logLevel, "log-level", "info", "debug, info, warn or error")
	f.StringVar(&o.logFormat, "log-format", "auto", "text, json, or auto: text on a terminal, json otherwise")
	f.BoolVarP(&o.quiet, "quiet", "q", false, "no live line on a terminal")
	return cmd
}

func run(ctx context.Context, s Streams, places []string, o runOptions) error {
	if err := failpoint.Arm(os.Getenv); err != nil {
		return usage(err)
	}
	var level slog.Level
	if err := level.UnmarshalText([]byte(o.logLevel)); err != nil {
		return usage(fmt.Errorf("--log-level %s: choose debug, info, warn or error", o.logLevel))
	}
	if o.logFormat != "auto" && o.logFormat != "text" && o.logFormat != "json" {
		return usage(fmt.Errorf("--log-format %s: choose auto, text or json", o.logFormat))
	}
	if o.reload < 0 {
		return usage(fmt.Errorf("--reload %s: a length of time, or 0", o.reload))
	}
	files, err := config.LoadPlaces(places, os.LookupEnv)
	if err != nil {
		return err
	}
	pipelines := config.Running(files)
	limit, err := memory(o.memory, os.DirFS("/"), len(pipelines))
	if err != nil {
		return usage(err)
	}
	limitMemory(limit, os.Getenv)
	live := newLiveLine(s, o)
	log := telemetry.NewLogger(live, s.ErrTTY || o.logFormat == "text", level, o.logFormat == "json")
	metrics := telemetry.NewMetrics(version)
	budget := budgetOf(limit)
	metrics.SetBudget(budget)
	deps := engine.Deps{Log: log, Metrics: metrics, Drain: o.drain, FetchBytes: fetchOf(limit, len(pipelines)), Budget: engine.NewBudget(budget, metrics.SetBudgetUsed)}
	e := engine.NewEngine(version, pipelines, deps)

	metrics.Registerer().MustRegister(server.States(e))

	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if o.listen != "" {
		stop, err := startServer(server.New(server.Options{Listen: o.listen, Source: e, Metrics: metrics.Handler(), Log: log}), log)
		if err != nil {
			return err
		}
		defer stop()
	}
	if o.pprof != "" {
		stop, err := startServer(server.NewProfiles(o.pprof, log), log)
		if err != nil {
			return err
		}
		defer stop()
	}
	notify("READY=1")
	defer context.AfterFunc(ctx, func() { notify("STOPPING=1") })()
	ended := live.follow(e.Status)
	stopLooking := (&reloader{engine: e, deps: deps, places: places, every: o.reload, memory: limit, running: files}).start(ctx)
	err = e.Run(ctx)
	stopLooking()
	ended()
	if err != nil && !errors.Is(err, context.Canceled) {
		return stopped(err)
	}
	return nil
}

// stopped gives the exit code of the worst error.
func stopped(err error) error {
	code := codes.Exit(waybill.ClassOf(err))
	var problems config.Problems
	if errors.As(err, &problems) {
		code = ExitUsage
	}
	return &exitError{code: code, err: err}
}

// sumLine is one pipeline in one line.
func sumLine(p *status.Pipeline) string {
	var lag int64
	for _, tp := range p.Partitions {
		lag += max(0, tp.Lag)
	}
	line := fmt.Sprintf("%s %s  read %s (%s/s)  written %s", p.Name, p.State, count(p.Totals.Read), count(int64(p.Rates.ReadPerSecond)), count(p.Totals.Written))
	if p.Totals.DeadLettered > 0 {
		line += "  dead " + count(p.Totals.DeadLettered)
	}
	if p.Totals.Lost > 0 {
		line += "  LOST " + count(p.Totals.Lost)
	}
	line += "  lag " + count(lag)
	if p.State == status.Stalled {
		line += "  " + p.Reason
	}
	line = strings.ReplaceAll(line, "\n", " ")
	if r := []rune(line); len(r) > lineWidth-1 {
		line = string(r[:lineWidth-2]) + "…"
	}
	return line
}

// stopServing bounds how long requests in flight may hold up the end.
const stopServing = 2 * time.Second

func startServer(srv *server.Server, log *slog.Logger) (stop func(), err error) {
	if err := srv.Start(); err != nil {
		return nil, err
	}
	return func() {
		ctx, cancel := context.WithTimeout(context.Background(), stopServing)
		defer cancel()
		if err := srv.Stop(ctx); err != nil {
			log.Debug("server stopped", "error", err)
		}
	}, nil
}
