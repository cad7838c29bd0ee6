package trial

import (
	"slices"

	"github.com/waybill-data/waybill"
	"github.com/waybill-data/waybill/internal/config"
	"github.com/waybill-data/waybill/internal/contract"
	decode "github.com/waybill-data/waybill/internal/decode/json"
)

// Batch takes records as a worker of the pipeline takes a batch, for tables exactly as the contract says: where it says evolve, the
// tables are changed, in memory, for what the batch carries, the plan is compiled anew from them, and the same records are taken again,
// until they ask for no further change. It returns a line for each record (see AppendOutcome), and the summary of the last round,
// whose Changes are those of all rounds.
func Batch(cfg *config.Pipeline, records []waybill.Record, lineage bool) (lines [][]byte, sum Summary, err error) {
	var tables []Target
	for _, of := range cfg.Tables() {
		tables = append(tables, Target{Contract: of.Contract, Schema: of.PromisedTable(), Cluster: of.Sink.ClickHouse.Cluster})
	}
	made := make([][]Change, len(tables))
	for {
		plan, err := planOf(cfg, tables)
		if err != nil {
			return nil, Summary{}, err
		}
		t, err := New(plan, []byte(cfg.RedactSecret.Reveal()), cfg.Epoch)
		if err != nil {
			return nil, Summary{}, err
		}
		lines = lines[:0]
		for i := range records {
			lines = append(lines, t.AppendOutcome(nil, t.Take(&records[i]), lineage))
		}
		sum, evolutions := t.summary(tables)
		moved := false
		for i, e := range evolutions {
			made[i] = append(made[i], sum.Tables[i].Changes...)
			sum.Tables[i].Changes = append([]Change{}, made[i]...)
			after := tables[i].Schema.With(e.Changes)
			moved = moved || !slices.Equal(after.Columns, tables[i].Schema.Columns)
			tables[i].Schema = after
		}
		if !moved {
			return lines, sum, nil
		}
	}
}

// planOf is the plan for tables that are so.
func planOf(cfg *config.Pipeline, tables []Target) (*contract.Plan, error) {
	var routes []contract.Route
	for i, of := range cfg.Tables() {
		p, err := of.Compile(tables[i].Schema, of.Sink.ClickHouse.Lineage, decode.Version)
		if err != nil {
			return nil, err
		}
		routes = append(routes, contract.Route{Name: of.Route, When: of.When, Plan: p})
	}
	return cfg.Join(routes)
}
