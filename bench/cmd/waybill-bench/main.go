// Command waybill-bench measures Waybill beside what else people move events from Kafka to ClickHouse with. See
// docs/performance.md for what it measures and how.
//
// It ends with 0 if all targets were met or their shortfalls are named in that document, with 1 if not, or if something
// went wrong.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/waybill-data/waybill/bench/internal/child"
	"github.com/waybill-data/waybill/bench/internal/lab"
	"github.com/waybill-data/waybill/bench/internal/result"
	"github.com/waybill-data/waybill/internal/testenv/chserver"
)

func main() {
	chserver.MaybeRunChild()
	child.MaybeRun()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "waybill-bench:", err)
		os.Exit(1)
	}
}

// paths of what is read and written.
type paths struct{ out, doc string }

// mode is what the command is to do.
type mode struct{ quick, report, check bool }

func run(ctx context.Context) error {
	o, p, m, err := parse()
	switch {
	case err != nil:
		return err
	case m.report:
		return writeReport(p)
	case m.check:
		return checkReport(p)
	case m.quick:
		return quick(ctx, o)
	default:
		return measure(ctx, o, p)
	}
}

func parse() (o lab.Options, p paths, m mode, err error) {
	o = lab.Options{FlatPartitions: []int{1, 32, 1000}, FlatPipelines: []int{1, 10, 50}, Progress: os.Stderr}
	llm, small := flag.Int64("llm-rows", 300_000, "LLM events of a run"), flag.Int64("small-rows", 1_500_000, "small events of a run")
	brokers := flag.String("broker", "kfake,kafka", "brokers, separated by commas")
	workloads := flag.String("workload", "llm,small", "kinds of events, separated by commas")
	flag.StringVar(&o.Binary, "waybill", "bin/waybill", "the binary that is measured")
	flag.IntVar(&o.Partitions, "partitions", 4, "partitions of the topics")
	flag.IntVar(&o.Rounds, "rounds", 3, "how often each contender runs")
	flag.IntVar(&o.BatchRows, "batch-rows", 100_000, "rows of a batch, or of a block of the Kafka engine")
	flag.DurationVar(&o.BatchAge, "batch-age", time.Second, "age at which a batch is inserted though it is not full")
	flag.Uint64Var(&o.Seed, "seed", 1, "of the events")
	flag.DurationVar(&o.Latency, "latency", 30*time.Second, "how long latency is measured; 0 leaves it out")
	flag.IntVar(&o.LatencyRate, "latency-rate", 20_000, "rows a second meanwhile")
	flag.Int64Var(&o.FlatRows, "flat-rows", 3_000_000, "small events of a run by number of partitions and pipelines; 0 leaves it out")
	flag.DurationVar(&o.QuietFor, "quiet-for", 2*time.Second, "a server that has not merged for so long has no merges left")
	flag.StringVar(&p.out, "out", "docs/evidence/bench.json", "where the results are kept")
	flag.StringVar(&p.doc, "doc", "docs/performance.md", "the document that names known shortfalls and shows the results")
	flag.BoolVar(&m.quick, "quick", false, "a minute's run on kfake: all checks, no verdict, nothing kept")
	flag.BoolVar(&m.report, "report", false, "measure nothing: put the results that are kept into the document")
	flag.BoolVar(&m.check, "check", false, "measure nothing: fail if the document does not show the results that are kept, or hides a shortfall")
	flag.Parse()
	if flag.NArg() > 0 {
		return o, p, m, fmt.Errorf("no arguments are taken: %q", flag.Args())
	}
	o.Rows = map[string]int64{"llm": *llm, "small": *small}
	o.Brokers, o.Workloads = strings.Split(*brokers, ","), strings.Split(*workloads, ",")
	return o, p, m, nil
}

func quick(ctx context.Context, o lab.Options) error {
	return within(func(dir string) error {
		o = o.Quick()
		o.Dir = dir
		f, err := lab.Run(ctx, o)
		if err != nil {
			return err
		}
		f.Targets = nil // these numbers decide nothing
		return f.Print(os.Stdout)
	})
}

// within lends f a directory.
func within(f func(dir string) error) error {
	dir, err := os.MkdirTemp("", "waybill-bench-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }() // what is left of it is in the way of nothing
	return f(dir)
}

func measure(ctx context.Context, o lab.Options, p paths) error {
	var f *result.File
	err := within(func(dir string) (err error) {
		o.Dir = dir
		f, err = lab.Run(ctx, o)
		return err
	})
	if err != nil {
		return err
	}
	if err := f.Print(os.Stdout); err != nil {
		return err
	}
	if err := f.Save(p.out); err != nil {
		return err
	}
	document, err := os.ReadFile(p.doc)
	if err != nil {
		return err
	}
	return verdict(f, string(document), p)
}

// verdict is an error if a target was missed that the document does not own up to.
func verdict(f *result.File, document string, p paths) error {
	shortfalls := result.Shortfalls(document)
	for _, id := range f.Kept(shortfalls) {
		fmt.Fprintf(os.Stderr, "%s names %s as a shortfall, which was not missed\n", p.doc, id)
	}
	var errs []error
	for _, t := range f.Unnamed(shortfalls) {
		errs = append(errs, fmt.Errorf("%s was missed, and is no known shortfall in %s", t.ID, p.doc))
	}
	return errors.Join(errs...)
}

// load reads both files. Medians and verdicts are worked out again: they follow from the runs, whatever the file says.
func load(p paths) (*result.File, string, error) {
	f, err := result.Load(p.out)
	if err != nil {
		return nil, "", err
	}
	f.Complete()
	document, err := os.ReadFile(p.doc)
	return f, string(document), err
}

func writeReport(p paths) error {
	f, document, err := load(p)
	if err != nil {
		return err
	}
	text, err := f.Report(document)
	if err != nil {
		return err
	}
	return errors.Join(os.WriteFile(p.doc, []byte(text), 0o644), f.Save(p.out))
}

func checkReport(p paths) error {
	f, document, err := load(p)
	if err != nil {
		return err
	}
	text, err := f.Report(document)
	if err != nil {
		return err
	}
	if text != document {
		return fmt.Errorf("%s does not show what is in %s (make bench-report)", p.doc, p.out)
	}
	return verdict(f, document, p)
}
