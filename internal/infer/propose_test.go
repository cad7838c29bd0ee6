package infer

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/waybill-data/waybill/internal/contract"
	decode "github.com/waybill-data/waybill/internal/decode/json"
	"github.com/waybill-data/waybill/internal/infer/topics"
	"github.com/waybill-data/waybill/internal/trial"
)

// What is proposed from one part of a topic takes another part of it: at least 99.9 % of the records land, and 95 % of the leaves in columns with types.
func TestPropose_TakesWhatItHasNotSeen(t *testing.T) {
	seed := rand.Uint64() //nolint:gosec // nothing to guess; another one in each run
	for _, name := range topics.Names() {
		t.Run(name, func(t *testing.T) {
			p := New()
			for _, r := range topics.Events(name, seed, 0, 3000) {
				p.Add(Record{Value: r.Value, Time: time.UnixMilli(r.Time)})
			}
			o := p.Propose()
			later := topics.Events(name, seed, 3000, 4000)
			l := contract.DefaultLineage()
			c := o.Contract()
			plan, err := contract.Compile(c, contract.Promised(c, l, "d", "t"), l, decode.Version)
			if err != nil {
				t.Fatal(err)
			}
			tr, err := trial.New(plan, nil, 0)
			if err != nil {
				t.Fatal(err)
			}
			held := New()
			for i := range later {
				tr.Take(&later[i])
				held.Add(Record{Value: later[i].Value, Time: time.UnixMilli(later[i].Time)})
			}
			sum := tr.Summary([]trial.Target{{Contract: c, Schema: contract.Promised(c, l, "d", "t")}})
			typed, all := held.Typed(o)
			for _, f := range o.Fields {
				t.Logf("%-30s %-45s %s%s | %s | %s", f.Name, f.Type, f.Format, f.As, f.Why, f.Unsure)
			}
			t.Logf("skipped %+v notes %q event time %q", o.Skipped, o.Notes, o.EventTime)
			var rescued int64
			for _, d := range sum.Tables[0].Drift {
				rescued += d.Count
			}
			if landed := float64(sum.Rows) / float64(held.Objects()); landed < 0.999 {
				t.Errorf("%.4f of the objects land: %+v", landed, sum.DeadLetters)
			}
			if s := float64(typed-rescued) / float64(all); s < 0.95 {
				t.Errorf("%.3f of the leaves are typed (%d rescued): %+v", s, rescued, sum.Tables[0].Drift)
			}
			if t.Failed() {
				t.Logf("seed %d", seed)
			}
		})
	}
}
