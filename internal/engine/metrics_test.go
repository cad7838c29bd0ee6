package engine_test

import (
	"fmt"
	"testing"

	"github.com/waybill-data/waybill/internal/status"
	"github.com/waybill-data/waybill/internal/testenv"
	"github.com/waybill-data/waybill/internal/testenv/chserver"
)

// What becomes of what the contract does not say is counted, each value once, however often a batch was gathered before it settled.
func TestMetrics_CountWhatTheContractDoesNotSay(t *testing.T) {
	w := newWorld(t, 2)
	w.exec("ALTER TABLE " + w.db + ".calls MODIFY COLUMN tokens UInt32 DEFAULT 0")
	cfg := w.file(spec{
		modes: "new_fields: {default: rescue, noise: discard, grows: evolve}\n  type_conflicts: {default: rescue, low: discard}",
		columns: `
    low: {type: UInt8, default: 3}
    n: {type: UInt8, on_invalid: rescue}`,
		top: `
filter: 'event.?skip.orValue(false) == false'
version:
  from: v
  current: 2
  unknown: current
  upcast: [{from: 1, to: 2, steps: [{move: {from: usage.tok, to: usage.tokens}}]}]
redact:
  version: 1
  rules:
    - {path: user.name, do: mask}
    - {path: usr.name, do: drop}
    - {detect: [email], do: mask}`,
	})
	w.exec("ALTER TABLE "+w.db+".calls ADD COLUMN low UInt8", "ALTER TABLE "+w.db+".calls ADD COLUMN n UInt8")
	w.produceAs(300, func(i int) string {
		switch i % 10 {
		case 0:
			return fmt.Sprintf(`{"v":1,"id":%d,"usage":{"tok":1}}`, i) // upcast
		case 1:
			return fmt.Sprintf(`{"v":7,"id":%d,"noise":[1,2]}`, i) // assumed; discarded
		case 2:
			return fmt.Sprintf(`{"v":2,"id":%d,"low":-1,"n":"x","fresh":1}`, i) // discarded; rescued, twice
		case 3:
			return fmt.Sprintf(`{"v":2,"id":%d,"grows":{"a":%d},"n":300}`, i, i) // a column; rescued
		case 4:
			return fmt.Sprintf(`{"v":2,"id":%d,"user":{"name":"Jane"},"model":"a@b.example c@d.example"}`, i) // redacted, rescued, redacted
		case 5:
			return fmt.Sprintf(`{"v":2,"id":%d,"skip":true,"fresh":1,"n":-1}`, i) // no row
		case 6:
			return `{"v":2,"fresh":1,"n":-1,"user":{"name":"x"}}` // a dead letter, whose name is redacted all the same
		}
		return fmt.Sprintf(`{"v":2,"id":%d}`, i)
	})
	a := w.start(cfg)
	w.quiet(300)
	a.stop()
	w.verify()
	for _, want := range []struct {
		name, labels string
		n            float64
	}{
		{"records_read_total", "", 300},
		{"records_filtered_total", "", 30},
		{"records_upcast_total", "", 30},
		{"records_assumed_total", "", 30},
		{"rescued_values_total", "", 4*30 + 270 - 30}, // and v, which no column takes, of all rows
		{"rescued_values_total", "wrong_type", 30},
		{"rescued_values_total", "out_of_range", 30},
		{"discarded_values_total", "new_field", 30},
		{"discarded_values_total", "type_conflict", 30},
		{"discarded_fields_total", "noise", 30},
		{"redacted_values_total", "user.name: mask", 60},
		{"redacted_values_total", "usr.name: drop", 0},
		{"redacted_values_total", "event email: mask", 30},
		{"redacted_values_total", "", 90},
		{"alters_total", "add_column applied", 1},
		{"alters_total", "", 1},
	} {
		if got := a.metric(want.name, want.labels); got != want.n {
			t.Errorf("%s %q is %v, want %v", want.name, want.labels, got, want.n)
		}
	}
	if s := a.p.Status().Totals; s.Read != s.Written+s.Filtered+s.DeadLettered+s.Tombstones+s.Lost {
		t.Errorf("totals do not balance: %+v", s)
	}
}

// What a status says of INSERTs, and of up to when all is complete, is what the metrics say. Of INSERTs those into the table count.
func TestStatus_SaysWhatTheMetricsSay(t *testing.T) {
	w := newWorld(t, 2)
	a := w.start(w.file(spec{}))
	w.produceAs(100, func(i int) string { return fmt.Sprintf(`{"id":%d}`, i) })
	w.quiet(100)
	a.await("it is said up to when all is complete", func(s status.Pipeline) bool { return s.CompleteThrough != nil })
	a.stop()
	s := a.p.Status()
	var sent float64
	for _, outcome := range []string{"landed", "deduplicated", "refused", "unknown", "late", "answered"} {
		sent += a.metric("inserts_total", outcome+" target")
	}
	if n := s.Inserts; sent == 0 || float64(n.Count) != sent || n.Seconds <= 0 || n.LastSeconds <= 0 || n.LastSeconds > n.Seconds {
		t.Errorf("%+v, and %v were sent", n, sent)
	}
	if at := float64(s.CompleteThrough.UnixMilli()) / 1000; at != a.metric("complete_through_timestamp_seconds", "") {
		t.Errorf("complete through %s, by the metric %f", s.CompleteThrough, a.metric("complete_through_timestamp_seconds", ""))
	}
}

// An ALTER that the server refuses is counted as such.
func TestMetrics_CountRefusedAlters(t *testing.T) {
	w := newWorldOn(t, testenv.ClickHouse(t, func(o *chserver.Options) {
		o.Users = []chserver.User{{Name: "writer", Grants: []string{"GRANT SELECT, INSERT, SHOW ON *.*", "GRANT ALL ON waybill.*", "GRANT TABLE ENGINE ON *"}}}
	}), 1)
	cfg := w.file(spec{modes: evolving})
	cfg.Sink.ClickHouse.User = "writer"
	w.produceAs(50, func(i int) string { return fmt.Sprintf(`{"id":%d,"fresh":%d}`, i, i) })
	a := w.start(cfg)
	w.quiet(50)
	w.produceAs(50, func(i int) string { return fmt.Sprintf(`{"id":%d,"fresh":%d}`, i, i) })
	w.quiet(100)
	w.wantFinding("evolve_refused", 1) // it is not asked again with each batch
	a.stop()
	if made, refused := a.metric("alters_total", "add_column applied"), a.metric("alters_total", "add_column refused"); made != 0 || refused != 1 {
		t.Errorf("%v made, %v refused", made, refused)
	}
	if got := a.metric("rescued_values_total", "new_field"); got != 100 {
		t.Errorf("%v values are rescued, want 100", got)
	}
}
