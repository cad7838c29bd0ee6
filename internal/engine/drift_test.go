package engine

import (
	"fmt"
	"io"
	"log/slog"
	"testing"
	"time"

	"github.com/waybill-data/waybill"
	"github.com/waybill-data/waybill/internal/config"
	"github.com/waybill-data/waybill/internal/contract"
	"github.com/waybill-data/waybill/internal/drift"
	"github.com/waybill-data/waybill/internal/telemetry"
)

// watched is a pipeline that takes events and has neither a broker nor a server.
type watched struct {
	*Pipeline
	t    *testing.T
	proc *Processor
	now  time.Time
}

func watch(t *testing.T, columns ...contract.Column) *watched {
	t.Helper()
	proc, err := NewProcessor(planOf(t, contract.Transform{}, columns...), nil)
	if err != nil {
		t.Fatal(err)
	}
	deps := Deps{Log: slog.New(slog.NewTextHandler(io.Discard, nil)), Metrics: telemetry.NewMetrics("test"), Budget: NewBudget(1<<20, nil)}
	return &watched{New(&config.Pipeline{Name: "p"}, deps), t, proc, time.Date(2026, 11, 22, 0, 0, 0, 0, time.UTC)}
}

// minute is a minute in which n events came, and what is found at its end.
func (w *watched) minute(n int, event func(i int) string) (kinds []string) {
	w.t.Helper()
	d := newData(w.proc.NewBlocks())
	d.made, d.batch = w.proc.Plan(), &waybill.Batch{Time: w.now.UnixMilli()}
	s := d.open(waybill.TopicPartition{Topic: "t"}, 1, 0)
	for i := range n {
		d.add(w.proc, 0, s, &waybill.Record{Topic: "t", Offset: int64(i), Value: []byte(event(i))})
	}
	d.takeNotes(w.proc)
	w.observe(d)
	w.now = w.now.Add(time.Minute)
	_, findings := w.drift.monitors[0].Flush(w.now)
	for _, f := range findings {
		kinds = append(kinds, f.Kind)
	}
	return kinds
}

// A null is what a Nullable column takes, and a default what another makes of it: of both, more than usual is a finding.
func TestObserve_NullRatesJump(t *testing.T) {
	for _, c := range []contract.Column{{Name: "a", Type: "Nullable(Int64)"}, {Name: "a", Type: "LowCardinality(Nullable(String))"}, {Name: "a", Type: "Int64"}} {
		w := watch(t, contract.Column{Name: "id", Type: "UInt64"}, c)
		nulls := func(every int) func(int) string {
			return func(i int) string {
				if i%every == 0 {
					return fmt.Sprintf(`{"id":%d,"a":null}`, i)
				}
				return fmt.Sprintf(`{"id":%d,"a":%s}`, i, map[bool]string{true: "1", false: `"x"`}[c.Type != "LowCardinality(Nullable(String))"])
			}
		}
		for range 10 {
			if found := w.minute(1500, nulls(20)); found != nil {
				t.Fatalf("%s: found %v while nothing changes", c.Type, found)
			}
		}
		if found := w.minute(1500, nulls(2)); fmt.Sprint(found) != "[null_rate]" {
			t.Errorf("%s: found %v when half of the events say null", c.Type, found)
		}
	}
}

// What comes as null is in the table of drift, whatever the column makes of it.
func TestObserve_NullsAreOnRecord(t *testing.T) {
	w := watch(t, contract.Column{Name: "a", Type: "Nullable(Int64)"}, contract.Column{Name: "b", Type: "Int64"}, contract.Column{Name: "list", Type: "Array(Nullable(Int64))", From: "list[*].x"})
	d := newData(w.proc.NewBlocks())
	d.made, d.batch = w.proc.Plan(), &waybill.Batch{Time: 77}
	s := d.open(waybill.TopicPartition{Topic: "t"}, 1, 0)
	for i, text := range []string{`{"a":null,"b":null,"list":[{"x":null},{"x":1}]}`, `{"a":null,"b":1,"list":[]}`, `{"a":1,"b":2,"list":[]}`, `{"b":null`} {
		d.add(w.proc, 0, s, &waybill.Record{Topic: "t", Offset: int64(i), Value: []byte(text)})
	}
	d.takeNotes(w.proc)
	w.observe(d)
	rows, _ := w.drift.monitors[0].Flush(w.now)
	got := map[string]int64{}
	for _, r := range rows {
		if r.Kind == drift.KindNull {
			got[r.Column] = r.Count
		}
		first, last := contract.At{Topic: "t", Time: 77}, contract.At{Topic: "t", Offset: 3, Time: 77}
		if (r.Kind == drift.KindNull || r.Kind == drift.KindWritten) && (r.First != first || r.Last != last) {
			t.Errorf("%s %s is placed from %+v to %+v, want %+v to %+v", r.Kind, r.Column, r.First, r.Last, first, last)
		}
	}
	if want := map[string]int64{"a": 2, "b": 1}; fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("nulls on record: %v, want %v", got, want)
	}
}
