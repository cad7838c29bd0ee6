package watchdog

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	waybill "github.com/waybill-data/waybill"
)

var (
	tp0 = waybill.TopicPartition{Topic: "t", Partition: 0}
	t0  = time.Unix(1_800_000_000, 0)
)

func span(first, next int64) waybill.Span { return waybill.Span{First: first, Next: next} }

func offsets(o ...int64) waybill.OffsetSet { return waybill.OffsetsOf(o...) }

// table is what a table holds in these tests: how often each offset is there.
type table struct {
	rows []int
	dead map[int64]bool
}

func (tb *table) seen(in waybill.Span) (s Seen) {
	for o := in.First; o < min(in.Next, int64(len(tb.rows))); o++ {
		if tb.rows[o] > 0 {
			s.Present.Add(o)
		}
		if tb.rows[o] > 1 {
			s.Repeated.Add(o)
		}
	}
	for o := range tb.dead {
		if in.Contains(o) {
			s.Dead.Add(o)
		}
	}
	return s
}

func (tb *table) counts() map[Bucket]int64 {
	out := map[Bucket]int64{}
	for first := int64(0); first < int64(len(tb.rows)); first += BucketOffsets {
		n := 0
		for _, times := range tb.rows[first:min(first+BucketOffsets, int64(len(tb.rows)))] {
			n += times
		}
		out[Bucket{tp0, first / BucketOffsets}] = int64(n)
	}
	return out
}

// watched is a Presence of one partition, and the table that it watches, in virtual time.
type watched struct {
	*testing.T
	p      *Presence
	tb     table
	now    time.Time
	found  []waybill.Finding
	mended []Mended
}

func watch(t *testing.T, cfg PresenceConfig) *watched {
	w := &watched{T: t, p: NewPresence(cfg), tb: table{make([]int, 330_000), map[int64]bool{}}, now: t0}
	w.p.Hold(tp0, 0)
	return w
}

// settle writes a batch: all offsets are rows but for the dead and the none.
func (w *watched) settle(sp waybill.Span, dead, none waybill.OffsetSet) {
	rows := waybill.OffsetsIn(sp).Minus(dead).Minus(none)
	for _, r := range rows.Spans() {
		for o := r.First; o < r.Next; o++ {
			w.tb.rows[o]++
		}
	}
	for _, r := range dead.Spans() {
		for o := r.First; o < r.Next; o++ {
			w.tb.dead[o] = true
		}
	}
	w.p.Account(w.now, Account{tp0, sp, rows, dead})
}

// pass lets rounds of five seconds go by.
func (w *watched) pass(d time.Duration) {
	for end := w.now.Add(d); w.now.Before(end); {
		w.now = w.now.Add(5 * time.Second)
		w.p.Counted(w.now, w.p.Expect(), w.tb.counts())
		for _, c := range w.p.Due(w.now, 64) {
			w.p.Judge(w.now, c, w.tb.seen(c.Bucket.Span()))
		}
		s := w.p.Say()
		w.found, w.mended = append(w.found, s.Found...), append(w.mended, s.Mended...)
	}
}

// quiet expects that nothing has been found since the last look.
func (w *watched) quiet() {
	w.Helper()
	for _, f := range w.found {
		w.Errorf("false alarm: %s %s: %s", f.Kind, f.Span, f.Message)
	}
	w.found, w.mended = nil, nil
}

// one expects one finding of a kind, with these offsets.
func (w *watched) one(kind string, set waybill.OffsetSet) {
	w.Helper()
	if len(w.found) != 1 || w.found[0].Kind != kind || w.found[0].Evidence != evidenceOf("L3", set) || w.found[0].Span != set.Bounds() {
		w.Errorf("found %+v, want %s of %s", w.found, kind, set)
	}
	w.found, w.mended = nil, nil
}

// wrong is whether there is a reason to ask again soon.
func (w *watched) wrong(want bool) {
	w.Helper()
	if got := w.p.Wrong(); got != want {
		w.Errorf("something is wrong: %v, want %v", got, want)
	}
}

func (w *watched) closed(kind string) {
	w.Helper()
	if len(w.found) != 0 || !slices.ContainsFunc(w.mended, func(m Mended) bool { return m.Key == waybill.FindingKey{Kind: kind, TopicPartition: tp0} }) {
		w.Errorf("found %+v, mended %+v, want %s mended", w.found, w.mended, kind)
	}
	w.found, w.mended = nil, nil
}

func TestPresence_CleanTrafficRaisesNothing(t *testing.T) {
	w := watch(t, PresenceConfig{})
	at := int64(0)
	for range 200 {
		n := int64(1 + rand.IntN(1500)) //nolint:gosec // a test
		w.settle(span(at, at+n), offsets(at), offsets(at+n/2))
		at += n
		// A batch under way: its rows are there, and not on account.
		under := at + int64(rand.IntN(500))
		for o := at; o < under; o++ {
			w.tb.rows[o]++
		}
		w.pass(5 * time.Second)
		for o := at; o < under; o++ {
			w.tb.rows[o]--
		}
	}
	w.pass(time.Hour)
	w.quiet()
	if got := w.p.Through(tp0); got != at {
		t.Errorf("verified through %d, want %d", got, at)
	}
	if p := w.p.Progress(); p.Verified != at || p.Waiting != 0 || p.Given != 0 {
		t.Errorf("progress %+v, want %d verified", p, at)
	}
}

func TestPresence_NamesTheOffsets(t *testing.T) {
	filtered := offsets(7, 100_000)
	for _, c := range []struct {
		name, kind string
		damage     func(*table)
		mend       func(*table)
		set        waybill.OffsetSet
	}{
		{"deleted", KindRowsMissing, func(tb *table) { tb.rows[3], tb.rows[70_000] = 0, 0 }, func(tb *table) { tb.rows[3], tb.rows[70_000] = 1, 1 }, offsets(3, 70_000)},
		{"doubled", KindRowsRepeated, func(tb *table) { tb.rows[65_535]++; tb.rows[65_536]++ }, func(tb *table) { tb.rows[65_535]--; tb.rows[65_536]-- }, offsets(65_535, 65_536)},
		{"where none belongs", KindRowsUnexpected, func(tb *table) { tb.rows[7] = 1 }, func(tb *table) { tb.rows[7] = 0 }, offsets(7)},
		{"row of a dead letter", KindRowsUnexpected, func(tb *table) { tb.rows[5] = 1 }, func(tb *table) { tb.rows[5] = 0 }, offsets(5)},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := watch(t, PresenceConfig{})
			w.p.Adopted()
			w.settle(span(0, 130_000), offsets(5), filtered)
			w.pass(time.Hour) // so that no age is due any more
			w.quiet()
			w.wrong(false)
			began := w.now
			c.damage(&w.tb)
			for len(w.found) == 0 && w.now.Sub(began) < time.Minute {
				w.pass(5 * time.Second)
			}
			w.pass(time.Minute) // and says so once
			w.one(c.kind, c.set)
			w.wrong(true)
			c.mend(&w.tb)
			w.pass(time.Minute)
			w.closed(c.kind)
			w.wrong(false)
		})
	}
}

func TestPresence_ChangesThatCancelOutAreSeenAtTheAges(t *testing.T) {
	w := watch(t, PresenceConfig{})
	w.settle(span(0, 1000), waybill.OffsetSet{}, offsets(7))
	w.tb.rows[3], w.tb.rows[7] = 0, 1
	w.pass(15 * time.Second)
	if len(w.found) != 2 {
		t.Errorf("found %+v, want a row missing and one that does not belong", w.found)
	}
}

func TestPresence_DeadLetters(t *testing.T) {
	w := watch(t, PresenceConfig{})
	w.settle(span(0, 1000), offsets(7, 9), waybill.OffsetSet{})
	delete(w.tb.dead, 9)
	w.pass(time.Minute)
	w.one(KindDeadMissing, offsets(9))
	w.tb.dead[9] = true
	w.pass(time.Minute)
	w.closed(KindDeadMissing)
}

func TestPresence_TheFindingGrowsAndShrinks(t *testing.T) {
	w := watch(t, PresenceConfig{})
	w.settle(span(0, 200_000), waybill.OffsetSet{}, waybill.OffsetSet{})
	w.pass(time.Hour)
	w.quiet()
	w.tb.rows[3] = 0
	w.pass(time.Minute)
	w.one(KindRowsMissing, offsets(3))
	w.tb.rows[150_000] = 0
	w.pass(time.Minute)
	w.one(KindRowsMissing, offsets(3, 150_000))
	w.tb.rows[3] = 1
	w.pass(time.Minute)
	w.one(KindRowsMissing, offsets(150_000))
}

func TestPresence_WhatATableMayForget(t *testing.T) {
	w := watch(t, PresenceConfig{Forgets: "it has a TTL"})
	w.settle(span(0, 1000), waybill.OffsetSet{}, waybill.OffsetSet{})
	w.tb.rows[3] = 0
	w.pass(time.Hour)
	w.quiet()
	w.tb.rows[4]++
	w.tb.rows[5]++
	w.pass(time.Minute)
	w.one(KindRowsRepeated, offsets(4, 5))
	twice := watch(t, PresenceConfig{Twice: true})
	twice.settle(span(0, 1000), waybill.OffsetSet{}, waybill.OffsetSet{})
	twice.tb.rows[3]++
	twice.pass(time.Hour)
	twice.quiet()
}

func TestPresence_Restart(t *testing.T) {
	w := watch(t, PresenceConfig{})
	w.p.Adopted()
	w.settle(span(0, 100_000), waybill.OffsetSet{}, waybill.OffsetSet{})
	w.pass(time.Hour)
	w.settle(span(100_000, 300_000), waybill.OffsetSet{}, waybill.OffsetSet{})
	w.pass(2 * time.Minute)
	w.quiet()
	for o := range int64(10) {
		w.tb.rows[150_000+o] = 0
	}
	s := w.p.Restarted(w.now.Add(-15*time.Minute), "restarted")
	if len(s.Found) != 1 || s.Found[0].Kind != KindUnverified {
		t.Fatalf("said %+v", s)
	}
	w.wrong(true)
	w.pass(5 * time.Second)
	if !slices.ContainsFunc(w.mended, func(m Mended) bool { return m.Key.Kind == KindUnverified }) {
		t.Errorf("mended %+v: all has been compared", w.mended)
	}
	w.one(KindRowsMissing, waybill.OffsetsIn(span(150_000, 150_010)))
}

// Who has noticed the restart may end before everything is compared: whoever has the partitions then closes the finding, and not before it has compared them.
func TestPresence_RestartThatAnotherHasNoticed(t *testing.T) {
	closed := func(w *watched) int {
		n := 0
		for _, m := range w.mended {
			if m.Key.Kind == KindUnverified {
				n++
			}
		}
		return n
	}
	w := watch(t, PresenceConfig{})
	for o := range int64(1000) {
		w.tb.rows[o] = 1
	}
	w.pass(time.Minute)
	if closed(w) != 0 {
		t.Fatal("closed before the past has been adopted")
	}
	w.p.Adopt(w.now, tp0, []Adopted{{span(0, 1000), 1000, 0}}, waybill.OffsetsIn(span(0, 1000)), waybill.OffsetSet{})
	w.p.Adopted()
	w.pass(time.Minute)
	if closed(w) != 1 {
		t.Fatalf("closed %d times: %+v", closed(w), w.mended)
	}
	// A partition that comes later may bring another such finding.
	w.p.Hold(waybill.TopicPartition{Topic: "t", Partition: 1}, 0)
	w.pass(time.Minute)
	if closed(w) != 1 {
		t.Fatal("closed before the past of the second has been adopted")
	}
	w.p.Adopted()
	w.pass(time.Minute)
	if closed(w) != 2 {
		t.Errorf("closed %d times: %+v", closed(w), w.mended)
	}
}

// One worker has compared its partitions, and has closed the finding; another that has not says so again.
func TestPresence_RestartIsToldAgainWhileThereIsSomethingLeft(t *testing.T) {
	w := watch(t, PresenceConfig{})
	w.settle(span(0, 300_000), waybill.OffsetSet{}, waybill.OffsetSet{})
	w.p.Adopted()
	w.pass(2 * time.Minute)
	w.p.Restarted(w.now.Add(-15*time.Minute), "restarted")
	c := w.p.Due(w.now, 1)[0]
	w.p.Judge(w.now, c, w.tb.seen(c.Span()))
	s := w.p.Say()
	if len(s.Found) != 1 || s.Found[0].Kind != KindUnverified || len(s.Mended) != 0 {
		t.Errorf("said %+v", s)
	}
	if s = w.p.Say(); len(s.Found)+len(s.Mended) != 0 {
		t.Errorf("nothing has changed, and it says %+v", s)
	}
}

func TestPresence_AdoptsTheLedger(t *testing.T) {
	w := watch(t, PresenceConfig{})
	for o := range int64(1000) {
		w.tb.rows[o] = 1
	}
	// Before the worker began: rows of a span that is full, of one with filtered records that agrees, and of one in which all that is left is missing.
	w.tb.rows[5] = 0
	w.tb.rows[150], w.tb.rows[151] = 0, 0
	for o := int64(200); o < 300; o++ {
		w.tb.rows[o] = 0
	}
	w.tb.rows[350], w.tb.rows[351] = 0, 0
	all := w.tb.seen(span(0, 1000))
	vague := w.p.Adopt(w.now, tp0, []Adopted{{span(0, 100), 100, 0}, {span(100, 200), 98, 0}, {span(200, 300), 100, 0}, {span(300, 400), 99, 0}, {span(400, 1000), 600, 0}}, all.Present, all.Dead)
	if len(vague) != 1 || vague[0].Span != span(300, 400) || vague[0].Have != 98 {
		t.Errorf("vague %v, want [300,400): one of its two offsets without a row is missing, and nobody knows which", vague)
	}
	w.pass(time.Minute)
	missing := waybill.OffsetsIn(span(200, 300))
	missing.Add(5)
	w.one(KindRowsMissing, missing)
	w.tb.rows[160] = 0
	w.pass(time.Minute)
	missing.Add(160)
	w.one(KindRowsMissing, missing)
}

// A finding about rows without names stays open until their number is right, though everything that is watched is as it should be.
func TestPresence_VagueOnesStayOpen(t *testing.T) {
	w := watch(t, PresenceConfig{})
	for o := range int64(400) {
		w.tb.rows[o] = 1
	}
	w.tb.rows[350], w.tb.rows[351] = 0, 0 // one of them is missing, the other was filtered
	w.tb.rows[5] = 0
	all := w.tb.seen(span(0, 400))
	w.p.Adopt(w.now, tp0, []Adopted{{span(0, 300), 300, 0}, {span(300, 400), 99, 0}}, all.Present, all.Dead)
	w.pass(time.Minute)
	w.one(KindRowsMissing, waybill.OffsetsIn(span(5, 6)))
	closed := func() bool {
		return slices.ContainsFunc(w.mended, func(m Mended) bool { return m.Key.Kind == KindRowsMissing })
	}
	w.mended = nil
	w.tb.rows[5] = 1
	w.pass(time.Minute)
	if closed() {
		t.Fatal("closed, and a row of [300,400) is still missing")
	}
	if again := w.p.Vague(tp0); len(again) != 1 || again[0].Span != span(300, 400) {
		t.Fatalf("to be asked about again: %v", again)
	}
	all = w.tb.seen(span(0, 400))
	if vague := w.p.Readopt(w.now, tp0, all.Present, all.Dead); len(vague) != 1 {
		t.Fatalf("vague %v, nothing has changed", vague)
	}
	w.tb.rows[350] = 1
	w.pass(time.Minute)
	if slices.ContainsFunc(w.found, func(f waybill.Finding) bool { return f.Kind == KindRowsUnexpected }) {
		t.Fatalf("a row that was missing, and has come, is said to be unexpected: %+v", w.found)
	}
	all = w.tb.seen(span(0, 400))
	if vague := w.p.Readopt(w.now, tp0, all.Present, all.Dead); len(vague) != 0 {
		t.Fatalf("vague %v, the row is there", vague)
	}
	w.pass(time.Minute)
	if !closed() {
		t.Error("still open, and all rows are there")
	}
}

func TestPresence_IsBounded(t *testing.T) {
	w := watch(t, PresenceConfig{Buckets: 4})
	for n := range int64(10) {
		w.now = w.now.Add(time.Second)
		w.p.Account(w.now, Account{tp0, span(n*BucketOffsets, (n+1)*BucketOffsets), waybill.OffsetsIn(span(n*BucketOffsets, (n+1)*BucketOffsets)), waybill.OffsetSet{}})
	}
	if p := w.p.Progress(); p.Watched != 4 || p.Given != 6*BucketOffsets {
		t.Errorf("progress %+v, want 4 buckets and the offsets of six given up", p)
	}
}

func TestPresence_ReleaseForgets(t *testing.T) {
	w := watch(t, PresenceConfig{})
	w.settle(span(0, 1000), waybill.OffsetSet{}, waybill.OffsetSet{})
	w.tb.rows[3] = 0
	w.p.Release(tp0)
	w.pass(time.Hour)
	w.quiet()
	if len(w.p.buckets)+len(w.p.faults)+len(w.p.touched)+len(w.p.states)+len(w.p.through)+len(w.p.newest) != 0 {
		t.Errorf("something is left: %+v", w.p)
	}
}

func TestPacked_RoundTrips(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2)) //nolint:gosec // a test
	for _, share := range []float64{0, .001, .3, .5, .97, 1} {
		var set waybill.OffsetSet
		const base = 5 * BucketOffsets
		for o := range int64(BucketOffsets) {
			if r.Float64() < share {
				set.Add(base + o)
			}
		}
		p := pack(set, base)
		if got := p.set(base); !got.Equal(set) || p.n != set.Len() || p.size() > BucketOffsets/8 {
			t.Errorf("share %g: %d offsets of %d, in %d bytes", share, got.Len(), set.Len(), p.size())
		}
	}
}
