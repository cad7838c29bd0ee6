package main

import (
	"flag"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/waybill-data/waybill/bench/internal/lab"
)

func parse() (o lab.Options, p paths, m mode, err error) {
	o = lab.Options{Progress: os.Stderr}
	llm, small := flag.Int64("llm-rows", 300_000, "LLM events of a run"), flag.Int64("small-rows", 1_500_000, "small events of a run")
	brokers := flag.String("broker", "kfake,kafka", "brokers, separated by commas")
	workloads := flag.String("workload", "llm,small", "kinds of events, separated by commas; empty for flatness alone")
	costLLM, costSmall := flag.Int64("cost-llm-rows", 400_000, "LLM events of a run that tells what an option costs"), flag.Int64("cost-small-rows", 2_000_000, "small events of one")
	flag.IntVar(&o.CostRounds, "cost-rounds", 9, "how often each pipeline runs that tells what an option costs; 0 leaves them out")
	flatPartitions := flag.String("flat-partitions", "1,32,1000", "numbers of partitions for flatness")
	flatPipelines := flag.String("flat-pipelines", "1,10,50", "numbers of pipelines for flatness")
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
	flag.BoolVar(&m.costs, "costs", false, "measure only what options cost, and put that into the results that are kept")
	flag.BoolVar(&m.audit, "audit", false, "measure only what the continuous audit costs, at the latency's rate for the latency's duration, and print it")
	flag.BoolVar(&m.backfill, "backfill", false, "measure only what a backfill costs the live pipeline at the latency's rate, and how fast it is, on the first broker with the first workload, and print it")
	flag.Int64Var(&o.BackfillRows, "backfill-rows", 2_500_000, "rows that are there before it")
	flag.BoolVar(&m.report, "report", false, "measure nothing: put the results that are kept into the document")
	flag.BoolVar(&m.check, "check", false, "measure nothing: fail if the results that are kept are not whole, or the document does not show them or hides a shortfall")
	flag.Parse()
	if flag.NArg() > 0 {
		return o, p, m, fmt.Errorf("no arguments are taken: %q", flag.Args())
	}
	o.Rows, o.CostRows = map[string]int64{"llm": *llm, "small": *small}, map[string]int64{"llm": *costLLM, "small": *costSmall}
	o.Brokers, o.Workloads = split(*brokers), split(*workloads)
	if o.FlatPartitions, err = numbers(*flatPartitions); err != nil {
		return o, p, m, fmt.Errorf("-flat-partitions: %w", err)
	}
	if o.FlatPipelines, err = numbers(*flatPipelines); err != nil {
		return o, p, m, fmt.Errorf("-flat-pipelines: %w", err)
	}
	return o, p, m, nil
}

// split is strings.Split for lists that may be empty.
func split(list string) []string {
	return strings.FieldsFunc(list, func(r rune) bool { return r == ',' })
}

func numbers(list string) (out []int, err error) {
	for _, text := range split(list) {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 {
			return nil, fmt.Errorf("%q is no number of them", text)
		}
		out = append(out, n)
	}
	return out, nil
}
