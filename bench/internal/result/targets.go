package result

import (
	"fmt"
	"slices"
)

// Target is one promise and whether it was kept.
type Target struct {
	// ID is broker/workload/name: what docs/performance.md calls it by if it was missed.
	ID    string  `json:"id"`
	What  string  `json:"what"`
	Want  float64 `json:"want"`
	Least bool    `json:"least"` // Want is the least that will do, not the most
	Got   Spread  `json:"got"`   // over the rounds; the median decides
	Unit  string  `json:"unit"`
	// Pass is whether it was kept. One that was not measured was not kept.
	Pass bool `json:"pass"`
	// Stretch targets are reported and decide nothing.
	Stretch bool `json:"stretch,omitempty"`
}

// Missed reports whether the target fails the command if it is not a known shortfall.
func (t Target) Missed() bool { return !t.Pass && !t.Stretch }

// limit is what is wanted of each workload.
type limit struct{ llm, small float64 }

func (l limit) of(workload string) float64 {
	if workload == "small" {
		return l.small
	}
	return l.llm
}

// The targets, LLM events and small ones.
var (
	totalCPU    = limit{1.0 / 4, 1.0 / 8}
	rate        = limit{3, 4}
	workerRatio = limit{1.0 / 4, 1.0 / 4}
	workerLimit = limit{3.8, 0.9}
	stretch     = limit{2.5, 0.55}
	exactlyOnce = limit{1.10, 1.10}
	memoryMB    = limit{450, 300}
	p99         = limit{2, 2}
)

const flat = 1.15

const (
	ratioUnit = "x"
	cpuUnit   = "CPU-s per million rows"
)

func (f *File) judge() (out []Target) {
	for _, g := range groups(f.Runs) {
		out = append(out, f.judgeGroup(g)...)
	}
	for _, l := range f.Latency {
		out = append(out, most(group{l.Broker, l.Workload}, "latency-p99", "99 % of events visible after", p99.of(l.Workload), []float64{l.P99}, "s"))
	}
	for _, g := range groups(f.Flatness) {
		runs := of(f.Flatness, g, Waybill)
		out = append(out,
			most(g, "flat-partitions", "worker CPU a row, at worst, relative to 1 partition", flat, growth(runs, Partitions), ratioUnit),
			most(g, "flat-pipelines", "worker CPU a row, at worst, relative to 1 pipeline", flat, growth(runs, Pipelines), ratioUnit))
	}
	return append(out, f.Costs.judge()...)
}

func (f *File) judgeGroup(g group) []Target {
	exactly, engine, typical := of(f.Runs, g, Waybill), of(f.Runs, g, KafkaEngine), of(f.Runs, g, Typical)
	faster := most(g, "rows-per-second", "rows/s relative to the typical consumer's", rate.of(g.workload), ratios(exactly, typical, rowsPerSecond), ratioUnit)
	faster.Least = true
	faster.Pass = faster.Got.Median >= faster.Want
	own := each(exactly, workerCPU)
	most25 := most(g, "worker-cpu-stretch", "the worker's CPU, stretch", stretch.of(g.workload), own, cpuUnit)
	most25.Stretch = true
	return []Target{
		most(g, "total-cpu", "total CPU relative to the Kafka engine's", totalCPU.of(g.workload), ratios(exactly, engine, Run.TotalCPU), ratioUnit),
		faster,
		most(g, "worker-cpu-ratio", "worker CPU relative to the typical consumer's", workerRatio.of(g.workload), ratios(exactly, typical, workerCPU), ratioUnit),
		most(g, "worker-cpu", "the worker's CPU", workerLimit.of(g.workload), own, cpuUnit),
		most25,
		most(g, "exactly-once", "worker CPU relative to at-least-once", exactlyOnce.of(g.workload), ratios(exactly, of(f.Runs, g, AtLeastOnce), workerCPU), ratioUnit),
		most(g, "memory", "the worker's peak memory", memoryMB.of(g.workload), each(exactly, func(r Run) float64 { return rss(r) / 1e6 }), "MB"),
	}
}

// most is a target that holds if the median is at most want.
func most(g group, name, what string, want float64, got []float64, unit string) Target {
	s := spread(got)
	return Target{ID: fmt.Sprintf("%s/%s/%s", g.broker, g.workload, name), What: what, Want: want, Got: s, Unit: unit, Pass: len(got) > 0 && s.Median <= want}
}

// growth is, for each round of a series, the largest cost relative to the cost at 1.
func growth(runs []Run, series string) (out []float64) {
	base, worst := map[int]float64{}, map[int]float64{}
	for _, r := range runs {
		switch {
		case r.Series != series:
		case r.Size() == 1:
			base[r.Round] = r.WorkerCPU
		default:
			worst[r.Round] = max(worst[r.Round], r.WorkerCPU)
		}
	}
	for round, w := range worst {
		if base[round] > 0 {
			out = append(out, w/base[round])
		}
	}
	slices.Sort(out)
	return out
}
