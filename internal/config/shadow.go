package config

import (
	"slices"

	"github.com/waybill-data/waybill"
	"github.com/waybill-data/waybill/internal/contract"
)

// Shadow says how a backfill of a pipeline differs from the pipeline, see docs/adr/0015.
type Shadow struct {
	Job   string
	Epoch waybill.Epoch // that nobody has used
	Group string        // of its own
	// Table is where the rows go, without the database. Of a pipeline with routes each has a table of its own: see ShadowTable.
	Table string
}

// Shadow is the pipeline file of a backfill: the same pipeline under another epoch and group, into another table that goes by the name of
// the pipeline's. Nobody is alerted of what it finds, it spends no budget of dead letters, and nobody audits it beside its work: its job
// verifies it before it is promoted.
func (p *Pipeline) Shadow(s Shadow) *Pipeline {
	out := *p
	out.Job, out.Epoch, out.Source.Kafka.Group = s.Job, s.Epoch, s.Group
	out.Alerts = nil
	out.DeadLetters.MaxShare, out.DeadLetters.MaxCount, out.DeadLetters.Mirror = 0, 0, ""
	out.Audit = Audit{Reason: "a backfill is verified by its job"}
	out.Source.Kafka.WhenMoved = FollowLedger
	out.Contract.Tables = contract.ModeFreeze // its job makes the table, which has a fence that ours would not have
	c := &out.Sink.ClickHouse
	out.Routes = slices.Clone(p.Routes)
	for i := range out.Routes {
		r := &out.Routes[i]
		r.As, r.Table, r.Contract.Tables = r.Table, ShadowTable(s.Table, r.Name), contract.ModeFreeze
	}
	if len(out.Routes) == 0 {
		c.As, c.Table = c.Table, s.Table
	}
	return &out
}

// Under is the pipeline file as it is under another epoch than it says, see engine.EffectiveEpoch.
func (p *Pipeline) Under(epoch waybill.Epoch) *Pipeline {
	out := *p
	out.Epoch = epoch
	return &out
}

// ShadowTable is the name of a route's table in a backfill whose table has a name; of a pipeline without routes it is that.
func ShadowTable(table, route string) string {
	if route == "" {
		return table
	}
	return table + "_" + route
}
