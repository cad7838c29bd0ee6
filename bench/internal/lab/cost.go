package lab

import (
	"context"

	"github.com/waybill-data/waybill/bench/internal/result"
	"github.com/waybill-data/waybill/bench/internal/workload"
)

// options are the pipelines whose costs are compared. Between the two that have nothing armed are those that are held against them.
func options(w *workload.Workload) []contender {
	unarmed := setup{NewFields: "discard", TypeConflicts: "freeze"}
	unaudited := setup{Unaudited: "what it costs is measured"}
	return []contender{
		waybill(result.Unarmed, unarmed),
		waybill(result.Rescue, setup{}),
		waybill(result.Evolve, setup{NewFields: "evolve", TypeConflicts: "evolve"}),
		waybill(result.UnarmedAgain, unarmed),
		waybill(result.Unaudited, unaudited),
		waybill(result.Audited, setup{}),
		waybill(result.UnauditedAgain, unaudited),
		waybill(result.Filter, setup{Filter: w.Every}),
		waybill(result.Routes, setup{When: w.Some}),
	}
}

// Costs measures what options of a pipeline cost, and nothing else. What had been measured before a failure is returned with the error; it is
// nil if that is nothing.
func Costs(ctx context.Context, o Options) (*result.Costs, error) {
	l := newLab(o)
	machine, err := l.describe(ctx)
	if err != nil {
		return nil, err
	}
	return l.costs(ctx, machine)
}

// costs measures what a row costs by what the pipeline file says, with events that have nothing but what the contract lists.
func (l *Lab) costs(ctx context.Context, machine result.Machine) (*result.Costs, error) {
	machine.Kafka = "" // it is not used
	out := &result.Costs{Machine: machine, Parameters: result.Parameters{Rows: l.CostRows, Rounds: l.CostRounds, Partitions: l.Partitions,
		BatchRows: l.BatchRows, BatchAge: l.BatchAge.Seconds(), Seed: l.Seed}}
	b, err := l.startBroker(ctx, result.KFake)
	if err != nil {
		return nil, err
	}
	defer b.stop()
	for _, name := range l.Workloads {
		w, err := workload.ByName(name)
		if err != nil {
			return out, err
		}
		p := preload{workload: w, topics: []string{"costs-" + w.Name}, partitions: l.Partitions, rows: l.CostRows[w.Name], seed: l.Seed}
		l.say("%s: loading %d %s events", b.name, p.rows, w.Name)
		if err := b.load(ctx, p); err != nil {
			return out, err
		}
		runs, err := l.alternate(ctx, b, p, options(w), l.CostRounds)
		out.Runs = append(out.Runs, runs...)
		if err != nil {
			return out, err
		}
	}
	return out, nil
}
