package engine_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/waybill-data/waybill/internal/testenv"
	"github.com/waybill-data/waybill/internal/testenv/faultproxy"
)

// minute is when the events of these tests begin.
var minute = time.Date(2026, 11, 28, 14, 0, 0, 0, time.UTC)

// timedCall is an event of one of seven minutes. Every hundredth is cut off, every tenth says nothing of its time.
func timedCall(i int) string {
	switch {
	case i%100 == 99:
		return `{"id":`
	case i%10 == 5:
		return fmt.Sprintf(`{"id":%d}`, i)
	}
	return fmt.Sprintf(`{"id":%d,"at":%q}`, i, minute.Add(time.Duration(i%7)*time.Minute+time.Duration(i%60)*time.Second).Format(time.RFC3339))
}

// timed makes the pipeline count by a column of the table.
func (w *world) timed() spec {
	w.table(", at Nullable(DateTime64(3))")
	return spec{modes: "new_fields: discard\n  type_conflicts: freeze\n  event_time: at", columns: "\n    at: {type: Nullable(DateTime64(3))}"}
}

// wantMinutes compares the minutes with the table's rows, and their sums with the ledger's counts.
func (w *world) wantMinutes(extra string) {
	w.Helper()
	of := func(sql string) string {
		return w.query("SELECT toString(groupArray((m, n))) FROM (" + sql + " ORDER BY m)")
	}
	table := of("SELECT toStartOfMinute(toDateTime(at, 'UTC')) AS m, toInt64(count()) AS n FROM " + w.db + ".calls WHERE at IS NOT NULL GROUP BY m")
	view := of("SELECT minute AS m, written AS n FROM waybill.minutes WHERE pipeline = '" + w.name + "' AND written > 0 AND minute < '2026-11-28 14:10:00' AND minute >= '2026-11-28 14:00:00'")
	if table != view || table == "[]" {
		w.Errorf("rows by the minute\nin the table  %s\nin the ledger %s", table, view)
	}
	sums := "sum(read), sum(written), sum(filtered), sum(dead_lettered), sum(tombstones), sum(rescued), sum(redacted)"
	if all, byMinute := w.query("SELECT ("+sums+") FROM waybill.ledger WHERE pipeline = '"+w.name+"'"), w.query("SELECT ("+sums+") FROM waybill.minutes WHERE pipeline = '"+w.name+"'"); all != byMinute {
		w.Errorf("%s in all, %s by the minute", all, byMinute)
	}
	if extra != "" {
		if got := w.query(w.ofLedger("toString(sum(by_record_time))")); got != extra {
			w.Errorf("%s records by their own time, want %s", got, extra)
		}
	}
}

func TestMinutes_AreThoseOfTheEventTimes(t *testing.T) {
	w := newWorld(t, 3)
	r := w.start(w.file(w.timed()))
	w.produceAs(2000, timedCall)
	w.quiet(2000)
	r.stop()
	w.verify()
	w.wantMinutes("220") // 200 of no time, 20 dead letters
}

// Rows that the server refuses are dead letters of the minute that they were of.
func TestMinutes_RefusedRowsAreDeadLetters(t *testing.T) {
	w := newWorld(t, 2)
	s := w.timed()
	w.table(", at Nullable(DateTime64(3)), CONSTRAINT small CHECK id % 250 != 3")
	r := w.start(w.file(s))
	w.produceAs(1000, timedCall)
	w.quiet(1000)
	r.stop()
	w.verify()
	w.wantCounts("1000 986 14 0")
	w.wantMinutes("110")
}

// A batch that another worker carries out has the same minutes.
func TestMinutes_OfARebuiltBatch(t *testing.T) {
	w := newWorld(t, 2)
	s := w.timed()
	w.table(", at Nullable(DateTime64(3)), CONSTRAINT small CHECK id % 250 != 3")
	proxy := testenv.Proxy(t, w.ch.TCPAddr())
	proxy.Set(faultproxy.Answer(252, "DB::Exception", "no ledger now").On(faultproxy.Insert("ledger")))
	w.produceAs(1000, timedCall)
	s.addr, s.deadline, s.kafka = proxy.Addr(), quick, quickSession
	first := w.start(w.file(s))
	first.await("stalled before the ledger", stalled("no ledger now"))
	first.sockets.cutAll()
	first.cancel()
	<-first.done
	s.addr = ""
	second := w.start(w.file(s))
	w.quiet(1000)
	second.stop()
	w.verify()
	w.wantCounts("1000 986 14 0")
	w.wantMinutes("110")
}

// said is what the view complete_through says of the pipeline; empty if it says nothing, or NULL.
func (w *world) said() string {
	w.Helper()
	got, err := testenv.Query(w.ch.HTTPAddr(), "SELECT ifNull(toString(complete_through), '') FROM waybill.complete_through WHERE pipeline = '"+w.name+"' FORMAT TSVRaw")
	if err != nil {
		return ""
	}
	return got
}

// through waits until everything up to a time is said to be in.
func (w *world) through(at time.Time) {
	w.Helper()
	testenv.Eventually(w, soon, "complete through "+at.Format(time.RFC3339), func() bool {
		got, err := testenv.Query(w.ch.HTTPAddr(), fmt.Sprintf("SELECT count() FROM waybill.complete_through WHERE pipeline = '%s' AND complete_through >= fromUnixTimestamp64Milli(%d)", w.name, at.UnixMilli()))
		return err == nil && got == "1\n"
	})
}

// An idle topic keeps up with now; one whose records wait does not.
func TestCompleteThrough_IdleTopicsKeepUp(t *testing.T) {
	w := newWorld(t, 3)
	began := time.Now()
	r := w.start(w.file(spec{top: "allowed_lateness: 2s"}))
	w.produce(300)
	w.quiet(300)
	w.through(began.Add(time.Second))
	w.through(time.Now().Add(-time.Second)) // all partitions are idle
	if got := r.gauge("complete_through_timestamp_seconds"); got < float64(began.Unix()) {
		t.Errorf("waybill_complete_through_timestamp_seconds is %f", got)
	}
	r.stop()
}

// What is appended while nobody reads, or cannot be inserted, holds it back.
func TestCompleteThrough_WaitsForWhatIsNotInTheTable(t *testing.T) {
	w := newWorld(t, 2)
	proxy := testenv.Proxy(t, w.ch.TCPAddr())
	s := spec{top: "allowed_lateness: 1ms", addr: proxy.Addr()}
	r := w.start(w.file(s))
	w.produce(100)
	w.quiet(100)
	w.through(time.Now().Add(-time.Second))
	r.stop()
	before := w.said()
	cl := w.client(kgo.RecordPartitioner(kgo.ManualPartitioner()))
	defer cl.Close()
	proxy.Set(faultproxy.Answer(252, "DB::Exception", "no rows now").On(faultproxy.Insert("calls")))
	if err := cl.ProduceSync(context.Background(), &kgo.Record{Topic: topic, Partition: 1, Value: []byte(call(0))}).FirstErr(); err != nil {
		t.Fatal(err)
	}
	stuck := time.Now()
	time.Sleep(100 * time.Millisecond)
	if got := w.said(); got != before || got == "" {
		t.Errorf("without a worker it went from %q to %q", before, got)
	}
	r = w.start(w.file(s))
	r.await("stalled", stalled("no rows now"))
	time.Sleep(6 * time.Second) // the brokers have been asked again
	past := fmt.Sprintf("SELECT count() FROM waybill.complete_through WHERE pipeline = '%s' AND complete_through > fromUnixTimestamp64Milli(%d)", w.name, stuck.UnixMilli())
	if got := w.query(past); got != "0" {
		t.Errorf("complete through %s, but a record of %s is not in the table", w.said(), stuck)
	}
	proxy.Set(faultproxy.Fault{})
	w.quiet(101)
	w.through(stuck.Add(200 * time.Millisecond))
	r.stop()
}

// Partitions that are added hold nothing back that was said before them: their records came later.
func TestCompleteThrough_DoesNotGoBackForAddedPartitions(t *testing.T) {
	w := newWorld(t, 1)
	r := w.start(w.file(spec{top: "allowed_lateness: 1s"}))
	w.produce(100)
	w.quiet(100)
	w.through(time.Now().Add(-2 * time.Second))
	r.stop()
	before := w.said()
	w.admin(func(ctx context.Context, adm *kadm.Client) error {
		resp, err := adm.UpdatePartitions(ctx, 3, topic)
		if err != nil {
			return err
		}
		return resp.Error()
	})
	r = w.start(w.file(spec{top: "allowed_lateness: 1s"}))
	added := time.Now()
	r.await("three partitions", owns(3))
	for deadline := time.Now().Add(soon); ; time.Sleep(10 * time.Millisecond) {
		got := w.said()
		if got < before {
			t.Fatalf("it went back from %s to %q", before, got)
		}
		before = got
		if w.query("SELECT max(partitions) FROM waybill.through WHERE pipeline = '"+w.name+"'") == "3" && got > added.UTC().Format("2006-01-02 15:04:05.000") {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("still complete through %s", got)
		}
	}
	r.stop()
}
