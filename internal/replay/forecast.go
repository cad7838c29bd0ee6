package replay

import (
	"cmp"
	"context"
	"slices"

	"github.com/waybill-data/waybill"
	"github.com/waybill-data/waybill/internal/engine"
	"github.com/waybill-data/waybill/internal/ledger"
)

// Forecast is what would become of the dead letters of one group under a plan.
type Forecast struct {
	Shape    string             `json:"shape"`
	Code     string             `json:"code"`
	Column   string             `json:"column,omitempty"`
	Message  string             `json:"message"` // of the first
	Count    int64              `json:"count"`
	Rows     int64              `json:"rows"`
	Rescued  int64              `json:"rescued"` // of Rows: with something in the rescue column
	Filtered int64              `json:"filtered"`
	Failed   []ForecastFailure  `json:"failed"` // most frequent first
	Example  waybill.Position   `json:"-"`
	reasons  map[failureKey]int // indexes into Failed
}

// ForecastFailure are dead letters that would fail again for one reason.
type ForecastFailure struct {
	Code    string `json:"code"`
	Column  string `json:"column,omitempty"`
	Message string `json:"message"` // of the first
	Count   int64  `json:"count"`
}

type failureKey struct{ code, column string }

// Foresee runs dead letters through a plan, and writes nothing. What the server would say to their rows it does not know.
func Foresee(ctx context.Context, store *ledger.Store, proc *engine.Processor, f *ledger.LetterFilter) ([]Forecast, error) {
	var out []*Forecast
	groups := map[string]*Forecast{}
	blocks := proc.NewBlocks()
	err := store.Letters(ctx, f, ledger.ByOffset, 0, func(l *ledger.Letter) error {
		g := groups[l.Shape]
		if g == nil {
			g = &Forecast{Shape: l.Shape, Code: l.Code, Column: l.Column, Message: l.Message, Failed: []ForecastFailure{}, reasons: map[failureKey]int{},
				Example: waybill.Position{Topic: l.Topic, Partition: l.Partition, Offset: l.Offset}}
			groups[l.Shape] = g
			out = append(out, g)
		}
		blocks.Reset()
		g.take(engine.Remake(proc, &l.Record, f.Epoch, blocks))
		return nil
	})
	if err != nil {
		return nil, err
	}
	slices.SortStableFunc(out, func(a, b *Forecast) int { return cmp.Compare(b.Count, a.Count) })
	list := make([]Forecast, len(out))
	for i, g := range out {
		slices.SortStableFunc(g.Failed, func(a, b ForecastFailure) int { return cmp.Compare(b.Count, a.Count) })
		list[i] = *g
	}
	return list, nil
}

func (g *Forecast) take(out engine.Processed) {
	g.Count++
	switch out.Fate {
	case engine.FateRow:
		g.Rows++
		if out.Rescued > 0 {
			g.Rescued++
		}
	case engine.FateFiltered:
		g.Filtered++
	case engine.FateDead, engine.FateTombstone:
		k := failureKey{out.Reason.Code, out.Reason.Column}
		i, known := g.reasons[k]
		if !known {
			i = len(g.Failed)
			g.reasons[k] = i
			g.Failed = append(g.Failed, ForecastFailure{Code: k.code, Column: k.column, Message: out.Reason.Message})
		}
		g.Failed[i].Count++
	}
}
