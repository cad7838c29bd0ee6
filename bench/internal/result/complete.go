package result

import (
	"fmt"
	"slices"
)

// leastRounds is how often each contender must have run for its median to be kept.
const leastRounds = 3

// leastCostRounds is how often for ratios as close to 1 as those of options: with fewer, the median is not sure at all.
const leastCostRounds = 6

// Missing says what a file lacks that is to be kept: results of a part of the benchmark are no results of the benchmark.
func (f *File) Missing() (out []string) {
	for _, g := range []group{{KFake, "llm"}, {KFake, "small"}, {Kafka, "llm"}, {Kafka, "small"}} {
		for _, c := range []string{Waybill, AtLeastOnce, KafkaEngine, PassThrough, Typical} {
			if n := len(of(f.Runs, g, c)); n < leastRounds {
				out = append(out, fmt.Sprintf("%s/%s: %d rounds of %s, at least %d are needed", g.broker, g.workload, n, c, leastRounds))
			}
		}
		if !slices.ContainsFunc(f.Latency, func(l Latency) bool { return l.Broker == g.broker && l.Workload == g.workload }) {
			out = append(out, fmt.Sprintf("%s/%s: no latency", g.broker, g.workload))
		}
	}
	for _, series := range []string{Partitions, Pipelines} {
		if n := len(growth(f.Flatness, series)); n < leastRounds {
			out = append(out, fmt.Sprintf("%d rounds of flatness by %s, at least %d are needed", n, series, leastRounds))
		}
	}
	if f.Costs == nil { // what options cost can be measured by itself (-costs); until then the report has no part on it
		return out
	}
	for _, g := range []group{{KFake, "llm"}, {KFake, "small"}} {
		for _, o := range options {
			if n := f.Costs.rounds(g, o.name); n < leastCostRounds {
				out = append(out, fmt.Sprintf("%s/%s: %d rounds of what %s costs, at least %d are needed", g.broker, g.workload, n, o.name, leastCostRounds))
			}
		}
	}
	return out
}
