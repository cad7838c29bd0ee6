package ledger

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	waybill "github.com/waybill-data/waybill"
	"github.com/waybill-data/waybill/internal/minutes"
	"github.com/waybill-data/waybill/internal/testenv"
	"github.com/waybill-data/waybill/internal/through"
)

// timedRow is a row whose records are of random minutes, by a book.
func timedRow(rng *rand.Rand, partition int32, first int64, at time.Time, spread int64) Row {
	r := row(partition, first, first+1+rng.Int64N(40), at)
	r.Counts = Counts{}
	var b minutes.Book
	var rescued, refused waybill.OffsetSet
	begin := at.UnixMilli() - rng.Int64N(7_200_000)
	for o := r.First; o < r.Next; o++ {
		r.Read++
		c := b.Note(o, begin+rng.Int64N(spread))
		switch fate := minutes.Outcome(rng.IntN(int(minutes.Tombstones) + 1)); fate {
		case minutes.Written:
			c[fate]++
			if rng.IntN(3) == 0 {
				c[minutes.Rescued]++
				rescued.Add(o)
			}
			if rng.IntN(10) == 0 {
				refused.Add(o)
				r.DeadLettered++
				continue
			}
			r.Written++
			if rescued.Contains(o) {
				r.Rescued++
			}
		case minutes.Filtered:
			c[fate]++
			r.Filtered++
		case minutes.DeadLettered:
			c[fate]++
			r.DeadLettered++
		default:
			c[fate]++
			r.Tombstones++
		}
		if rng.IntN(4) == 0 {
			c[minutes.Redacted]++
			r.Redacted++
		}
	}
	r.Minutes = b.Buckets(refused, rescued)
	return r
}

// sumOf adds buckets up by key.
func sumOf(rows []Row) map[minutes.Key]minutes.Counts {
	out := map[minutes.Key]minutes.Counts{}
	for i := range rows {
		for _, m := range rows[i].Minutes {
			c := out[m.Key]
			c.Add(&m.Counts)
			out[m.Key] = c
		}
	}
	return out
}

// By the minute the ledger says the same as in all, and the same before the roll-up and after it.
func TestMinutes_AddUpBeforeAndAfterTheRollUp(t *testing.T) {
	w := newWorld(t)
	w.exec("ALTER TABLE " + w.s.db + ".ledger MODIFY SETTING merge_with_ttl_timeout = 0")
	rng := rand.New(rand.NewPCG(7, 11))
	old := now.AddDate(0, 0, -20).Truncate(time.Minute)
	var all []Row
	for range 4 { // several parts
		var rows []Row
		for p := range int32(3) {
			first := int64(0)
			for i := range all {
				if all[i].Partition == p {
					first = max(first, all[i].Next)
				}
			}
			for range 30 {
				spread := []int64{1, 60_000, 600_000, 5_000_000_000}[rng.IntN(4)] // the last: months
				r := timedRow(rng, p, first, old, spread)
				first = r.Next
				rows, all = append(rows, r), append(all, r)
			}
		}
		w.insert(TableLedger, Block(rows))
	}
	want := sumOf(all)
	check := func(when string) {
		t.Helper()
		sums := "sum(written), sum(filtered), sum(dead_lettered), sum(tombstones), sum(rescued), sum(redacted)"
		if inAll, byMinute := w.value("SELECT (sum(read), "+sums+") FROM "+w.s.db+".ledger"), w.value("SELECT (sum(read), "+sums+") FROM "+w.s.db+".minutes WHERE pipeline = 'p'"); inAll != byMinute {
			t.Errorf("%s: %s in all, %s by the minute", when, inAll, byMinute)
		}
		got, err := w.s.Minutes(t.Context(), "p", 1, "t", time.Unix(0, 0), now.AddDate(1, 0, 0))
		if err != nil {
			t.Fatal(err)
		}
		if len(got) != len(want) {
			t.Errorf("%s: %d minutes, want %d", when, len(got), len(want))
		}
		for _, m := range got {
			if m.Counts != want[m.Key] {
				t.Errorf("%s, minute %s: %v, want %v", when, m.Begin(), m.Counts, want[m.Key])
			}
		}
		keys := slices.Sorted(maps.Keys(want))
		from, to := keys[len(keys)/3].Begin(), keys[len(keys)/2].Begin()
		some, err := w.s.Minutes(t.Context(), "p", 1, "t", from, to)
		if err != nil || len(some) != len(keys)/2-len(keys)/3 {
			t.Errorf("%s: %d minutes from %s to %s, want %d: %v", when, len(some), from, to, len(keys)/2-len(keys)/3, err)
		}
		if d, err := w.s.Dating(t.Context(), "p", 1, "t"); err != nil || d.Read != d.Timed || fmt.Sprint(d.Read) != w.value("SELECT sum(read) FROM "+w.s.db+".ledger") {
			t.Errorf("%s: %+v, %v", when, d, err)
		}
	}
	check("before")
	w.exec("OPTIMIZE TABLE " + w.s.db + ".ledger FINAL")
	if n := w.value("SELECT count() FROM " + w.s.db + ".ledger"); n != "3" {
		t.Fatalf("%s rows after the roll-up, want 3", n)
	}
	check("after")
}

// Rows of batches that had no times, and of an earlier version, say so: they are in no minute.
func TestMinutes_RowsWithoutTimesAreUndated(t *testing.T) {
	w := newWorld(t)
	timed := row(0, 10, 20, now)
	timed.Minutes = []minutes.Bucket{{Key: minutes.Of(now.UnixMilli()), Counts: minutes.Counts{minutes.Written: 8}}} // two are of records that are gone
	timed.ByRecordTime = 3
	w.insert(TableLedger, Block([]Row{row(0, 0, 10, now), timed}))
	if d, err := w.s.Dating(t.Context(), "p", 1, "t"); err != nil || d != (Dating{Read: 20, Timed: 8, ByRecordTime: 3}) {
		t.Errorf("%+v, %v", d, err)
	}
	if got := w.value("SELECT groupArray((minute, width, read, written)) FROM " + w.s.db + ".minutes"); got != "[('"+now.Format(time.DateTime)+"','minute',8,8)]" {
		t.Error(got)
	}
}

// What the view is asked for of one pipeline must not read the others'.
func TestMinutes_ReadThePipelinesRowsAlone(t *testing.T) {
	w := newWorld(t)
	var rows []Row
	for i := range 60_000 {
		r := row(0, int64(i)*10, int64(i)*10+10, now)
		r.Pipeline = []string{"a", "z"}[i/30_000]
		rows = append(rows, r)
	}
	w.insert(TableLedger, Block(rows))
	plan, err := testenv.Query(w.srv.HTTPAddr(), "EXPLAIN ESTIMATE SELECT * FROM "+w.s.db+".minutes WHERE pipeline = 'a' AND epoch = 1 AND topic = 't'")
	if err != nil {
		t.Fatal(err)
	}
	if fields := strings.Fields(plan); len(fields) < 4 || fields[3] >= "45000" {
		t.Errorf("the view reads %s", plan)
	}
}

// say is what a worker says of partitions of a topic that has three.
func (w *world) say(seen int64, words ...through.Word) {
	w.Helper()
	w.insert(TableThrough, ThroughBlock("p", 1, "t", words, 3, seen))
}

// complete is what the view says.
func (w *world) complete() CompleteThrough {
	w.Helper()
	c, err := w.s.CompleteThrough(w.Context(), "p", 1, "t")
	if err != nil {
		w.Fatal(err)
	}
	return c
}

// A topic is complete as far as the least complete of all its partitions, whoever owns them; and it does not go back.
func TestCompleteThrough_IsThatOfTheLastPartition(t *testing.T) {
	w := newWorld(t)
	at := func(ms int64) time.Time { return time.UnixMilli(ms).UTC() }
	if c := w.complete(); c.Partitions != 0 || !c.Through.IsZero() {
		t.Errorf("of a pipeline that has said nothing: %+v", c)
	}
	w.say(5000, through.Word{Partition: 0, Through: 4000, Settled: 7})
	if c := w.complete(); !c.Through.IsZero() || c.Partitions != 3 {
		t.Errorf("of one partition of three: %+v", c)
	}
	w.say(5100, through.Word{Partition: 1, Through: 3000}, through.Word{Partition: 2})
	if c := w.complete(); !c.Through.IsZero() || c.HeldBackBy != 2 {
		t.Errorf("of one nothing can be said: %+v", c)
	}
	w.say(5200, through.Word{Partition: 2, Through: 3500})
	if c := w.complete(); c.Through != at(3000) || c.HeldBackBy != 1 || c.Seen != at(5200) {
		t.Errorf("of all: %+v", c)
	}
	w.say(4000, through.Word{Partition: 1, Through: 1000}) // a worker that knows less
	w.exec("OPTIMIZE TABLE " + w.s.db + ".through FINAL")
	if c := w.complete(); c.Through != at(3000) {
		t.Errorf("it went back: %+v", c)
	}
	if n := w.value("SELECT count() FROM " + w.s.db + ".through"); n != "3" {
		t.Errorf("%s rows, want one for each partition", n)
	}
	if got := w.value("SELECT complete_through FROM " + w.s.db + ".complete_through WHERE pipeline = 'p'"); got != "1970-01-01 00:00:03.000" {
		t.Error(got)
	}
}
