package result

import (
	"fmt"
	"math"
	"slices"
)

// Costs are what options of a pipeline cost beside the same pipeline without them. They can be measured apart from the rest, and so say
// for themselves where and how they were.
type Costs struct {
	Machine    Machine    `json:"machine"`
	Parameters Parameters `json:"parameters"`
	Runs       []Run      `json:"runs"`
}

// Pipelines that differ in options alone.
const (
	Unarmed      = "nothing armed" // new_fields: discard, type_conflicts: freeze
	UnarmedAgain = "nothing armed, again"
	Rescue       = "rescue" // the default
	Evolve       = "evolve"
	Filter       = "filter" // one that every event passes
	Routes       = "routes" // two, to a table each

	Unaudited      = "no continuous audit"
	UnauditedAgain = "no continuous audit, again"
	Audited        = "continuous audit" // the default
)

// option is a pipeline with what it is held against: the mean of those, in the same round.
type option struct {
	name    string
	against []string
}

// options in the order in which they are shown. That nothing armed is held against itself shows what the measurement is worth.
var options = []option{
	{Unarmed, nil},
	{UnarmedAgain, []string{Unarmed}},
	{Rescue, []string{Unarmed, UnarmedAgain}},
	{Evolve, []string{Unarmed, UnarmedAgain}},
	{Filter, []string{Rescue}},
	{Routes, []string{Rescue}},
	{Unaudited, nil},
	{UnauditedAgain, []string{Unaudited}},
	{Audited, []string{Unaudited, UnauditedAgain}},
}

// ratios are an option's values divided by those of what it is held against, round by round.
func (o option) ratios(runs []Run, g group, value func(Run) float64) (out []float64) {
	var base []Run
	for _, name := range o.against {
		base = append(base, of(runs, g, name)...)
	}
	for _, r := range of(runs, g, o.name) {
		sum, n := 0.0, 0
		for _, b := range base {
			if b.Round == r.Round {
				sum += value(b)
				n++
			}
		}
		if n == len(o.against) && sum > 0 {
			out = append(out, value(r)*float64(n)/sum)
		}
	}
	return out
}

// armed is how much more CPU a row may take where events without drift meet modes that are ready for it.
const armed = 1.05

// rounds is how often a pipeline was measured.
func (c *Costs) rounds(g group, name string) int {
	if c == nil {
		return 0
	}
	return len(of(c.Runs, g, name))
}

func (c *Costs) judge() (out []Target) {
	if c == nil {
		return nil
	}
	for _, g := range groups(c.Runs) {
		for _, o := range options {
			switch o.name {
			case Rescue, Evolve:
				out = append(out,
					most(g, o.name+"-worker", "worker CPU with "+o.name+" armed, relative to nothing armed", armed, o.ratios(c.Runs, g, workerCPU), ratioUnit),
					most(g, o.name+"-total", "total CPU with "+o.name+" armed, relative to nothing armed", armed, o.ratios(c.Runs, g, Run.TotalCPU), ratioUnit))
			case Audited:
				out = append(out,
					most(g, "audit-worker", "worker CPU with the continuous audit, relative to none", armed, o.ratios(c.Runs, g, workerCPU), ratioUnit),
					most(g, "audit-server", "the server's CPU with the continuous audit, relative to none", armed, o.ratios(c.Runs, g, serverCPU), ratioUnit))
			}
		}
	}
	return out
}

func (c *Costs) tables() (out []table) {
	if c == nil {
		return nil
	}
	for i, g := range groups(c.Runs) {
		t := table{
			title: fmt.Sprintf("What options cost, %s events without drift, %s: CPU-seconds per million rows", g.workload, brokerNames[g.broker]),
			head:  []string{"pipeline", "worker", "server, merges included", "x worker", "95 % of the median", "x total", "95 % of the median", "held against", "allocs/row"},
		}
		if i == 0 {
			t.note = fmt.Sprintf("Measured on: %s.\n%s.\nRatios are taken within a round, and so is how sure their median is.", c.Machine, c.Parameters.common())
		}
		for _, o := range options {
			if own := of(c.Runs, g, o.name); len(own) > 0 {
				t.rows = append(t.rows, o.row(c.Runs, g, own))
			}
		}
		out = append(out, t)
	}
	return out
}

func (o option) row(runs []Run, g group, own []Run) []string {
	row := []string{o.name, spread(each(own, workerCPU)).String(), spread(each(own, serverCPU)).String()}
	allocations := spread(each(own, func(r Run) float64 { return r.Allocations })).String()
	if o.against == nil {
		return append(row, "1", "", "1", "", "", allocations)
	}
	for _, value := range []func(Run) float64{workerCPU, Run.TotalCPU} {
		ratios := o.ratios(runs, g, value)
		low, high := likely(ratios)
		row = append(row, spread(ratios).String(), fmt.Sprintf("%.3g-%.3g", low, high))
	}
	return append(row, o.held(), allocations)
}

// held is what the option is held against, in words.
func (o option) held() string {
	if len(o.against) > 1 {
		return o.against[0] + ", before and after"
	}
	return o.against[0]
}

// likely is where the median of such values is, with at least 95 % certainty whatever their distribution: between the k-th of them from
// either end. Fewer than six are never so certain: it is their range then.
func likely(values []float64) (low, high float64) {
	if len(values) == 0 {
		return 0, 0
	}
	v := slices.Sorted(slices.Values(values))
	n := len(v)
	// chance is that of just k values below the true median, tail that of at most k.
	k, chance := 0, math.Pow(0.5, float64(n))
	for tail := chance; 2*tail <= 0.05; tail += chance {
		k++
		chance *= float64(n-k+1) / float64(k)
	}
	k = max(k, 1)
	return v[k-1], v[n-k]
}
