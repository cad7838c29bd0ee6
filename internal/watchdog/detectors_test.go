package watchdog

import (
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	waybill "github.com/waybill-data/waybill"
)

// heard collects what a detector says.
type heard struct{ Said }

func (h *heard) add(s Said) { h.Add(s) }

// take is the kinds that were found and mended since the last time.
func (h *heard) take() (found, mended []string) {
	for _, f := range h.Found {
		found = append(found, f.Kind)
	}
	for _, m := range h.Mended {
		mended = append(mended, m.Key.Kind)
	}
	h.Said = Said{}
	return found, mended
}

func (h *heard) want(t *testing.T, what string, found ...string) {
	t.Helper()
	said := h.Said
	if got, _ := h.take(); !slices.Equal(got, found) {
		t.Errorf("%s: found %v, want %v: %+v", what, got, found, said.Found)
	}
}

func (h *heard) wantMended(t *testing.T, what, kind string) {
	t.Helper()
	found, mended := h.take()
	if len(found) > 0 || !slices.Contains(mended, kind) {
		t.Errorf("%s: found %v, mended %v, want %s mended", what, found, mended, kind)
	}
}

// every five seconds, for a time.
func every(now *time.Time, d time.Duration, fn func()) {
	for end := now.Add(d); now.Before(end); {
		*now = now.Add(5 * time.Second)
		fn()
	}
}

var tp1 = waybill.TopicPartition{Topic: "t", Partition: 1}

func TestPartitions_Frozen(t *testing.T) {
	d, now, h := NewPartitions(PartitionsConfig{}), t0, &heard{}
	a := Standing{TopicPartition: tp0, Running: true, End: 100, Next: 100, Committed: 100}
	b := Standing{TopicPartition: tp1, Running: true, End: 100, Next: 100, Committed: 100}
	move := func(s *Standing) { s.End += 50; s.Next += 50; s.Committed = s.Next - 20 }
	look := func(stalled bool) { h.add(d.Look(now, stalled, []Standing{a, b})) }
	every(&now, time.Hour, func() { move(&a); move(&b); look(false) })
	a.Committed, b.Committed = a.Next, b.Next
	every(&now, time.Hour, func() { look(false) }) // nothing comes
	h.want(t, "clean traffic and none")
	h.take()
	a.End += 10
	every(&now, 40*time.Second, func() { move(&b); look(false) })
	h.want(t, "not long enough")
	every(&now, 20*time.Second, func() { move(&b); look(false) })
	if len(h.Found) != 1 || h.Found[0].TopicPartition != tp0 || h.Found[0].Span != span(a.Committed, a.End) || !strings.Contains(h.Found[0].Message, "1 other partitions") {
		t.Errorf("found %+v", h.Found)
	}
	h.take()
	a.Next = a.End
	every(&now, 5*time.Second, func() { move(&b); look(false) })
	h.wantMended(t, "it moves", KindFrozen)

	// A slow insert is no frozen partition, an outage is another finding, and a partition that is being recovered moves when it can.
	every(&now, 4*time.Minute, func() { look(false) })
	h.want(t, "a batch is on its way")
	a.End += 100
	a.Committed = a.Next
	every(&now, time.Hour, func() { look(true) })
	a.Running = false
	every(&now, time.Hour, func() { move(&b); look(false) })
	h.want(t, "stalled, and recovering")
}

func TestPartitions_Retention(t *testing.T) {
	d, now, h := NewPartitions(PartitionsConfig{}), t0, &heard{}
	s := Standing{TopicPartition: tp0, Running: true}
	look := func() { h.add(d.Look(now, true, []Standing{s})) }
	// A topic that is read as it comes: Kafka removes segments of 10,000 close behind the position.
	for i := range 2000 {
		s.End += 100
		s.Next, s.Committed = s.End-100, s.End-100
		if i%100 == 99 {
			s.LogStart = s.End - 5000
		}
		now = now.Add(5 * time.Second)
		look()
	}
	h.want(t, "read as it comes")
	h.take()
	// The pipeline stands still, and the log's start comes nearer: by 10,000 every 500 s.
	before := s.Committed
	s.LogStart = before - 25_000
	every(&now, 25*time.Second, func() { s.End += 100; look() })
	h.want(t, "not behind for long enough")
	every(&now, 30*time.Second, func() { s.End += 100; look() })
	if len(h.Found) != 1 || h.Found[0].Kind != KindRetention || h.Found[0].Span.First != before || !strings.Contains(h.Found[0].Message, "last for") {
		t.Errorf("found %+v", h.Found)
	}
	h.take()
	s.Next, s.Committed = s.End, s.End
	every(&now, 5*time.Second, look)
	h.wantMended(t, "it has caught up", KindRetention)

	// One step that leaves less room than it took.
	d, h = NewPartitions(PartitionsConfig{}), &heard{}
	s = Standing{TopicPartition: tp0, Running: true, Next: 1000, Committed: 1000, End: 3000}
	every(&now, time.Minute, look)
	h.want(t, "behind, and nothing is removed")
	s.LogStart = 400
	every(&now, 5*time.Second, look)
	h.want(t, "there is more room than a step takes")
	s.LogStart = 900
	every(&now, 5*time.Second, look)
	h.want(t, "the next step takes what has not been read", KindRetention)
}

func TestStalls(t *testing.T) {
	d, now, h := &Stalls{}, t0, &heard{}
	every(&now, time.Hour, func() { h.add(d.Look(now, Stall{})) })
	h.want(t, "all is well")
	s := Stall{Since: now, About: "throttled", Words: "too many parts"}
	every(&now, 40*time.Second, func() { h.add(d.Look(now, s)) })
	h.want(t, "for a moment")
	every(&now, time.Minute, func() { h.add(d.Look(now, s)) })
	h.want(t, "for longer", KindStalledSink)
	h.add(d.Look(now, Stall{}))
	h.wantMended(t, "it moves", KindStalledSink)
	s = Stall{Since: now, About: "poison", Words: "while pushing to view", View: "ai.mv"}
	h.add(d.Look(now, s))
	if len(h.Found) != 1 || h.Found[0].Kind != KindViewFailing || h.Found[0].Subject != "ai.mv" {
		t.Errorf("found %+v", h.Found)
	}
	h.take()
	h.add(d.Look(now, Stall{}))
	h.wantMended(t, "the view is mended", KindViewFailing)
}

func TestBoots(t *testing.T) {
	d := &Boots{}
	up := t0
	for i, c := range []struct {
		started time.Time
		server  string
		want    string
	}{
		{up, "a", ""}, {up.Add(time.Second), "a", ""}, {up.Add(2 * time.Second), "a", ""}, {up.Add(2 * time.Second), "a", ""},
		{up.Add(time.Minute), "a", "restarted"}, {up.Add(time.Minute), "a", ""}, {up, "b", "another"}, {up, "b", ""},
	} {
		if got := d.Look(Boot{c.started, c.server}); (c.want == "") != (got == "") || !strings.Contains(got, c.want) {
			t.Errorf("look %d: %q, want %q", i, got, c.want)
		}
	}
}

func TestServer_Windows(t *testing.T) {
	d, h := &Server{Config: ServerConfig{Needed: 2 * time.Minute}}, &heard{}
	h.add(d.Windows([]Window{{"ai.calls", 10_000, 600, 10 * time.Minute}, {"ai.quiet", 100, 0, 10 * time.Minute}}))
	h.want(t, "large enough")
	h.add(d.Windows([]Window{{"ai.calls", 1000, 6000, 10 * time.Minute}}))
	if len(h.Found) != 1 || h.Found[0].Kind != KindWindowSmall || h.Found[0].Subject != "ai.calls" || !strings.Contains(h.Found[0].Message, "1m40s") {
		t.Errorf("found %+v", h.Found)
	}
	h.take()
	h.add(d.Windows([]Window{{"ai.calls", 10_000, 6000, 10 * time.Minute}}))
	h.wantMended(t, "it was enlarged", KindWindowSmall)
}

func TestServer_Replicas(t *testing.T) {
	d, h := &Server{}, &heard{}
	h.add(d.Replicas([]Replica{{"ai.calls", 10 * time.Second, false}}))
	h.want(t, "a little behind")
	h.add(d.Replicas([]Replica{{"ai.calls", 2 * time.Minute, false}}))
	h.want(t, "far behind", KindReplicaLags)
	h.add(d.Replicas([]Replica{{"ai.calls", 40 * time.Second, false}}))
	h.want(t, "not yet near enough")
	h.add(d.Replicas([]Replica{{"ai.calls", 0, false}}))
	h.wantMended(t, "it has caught up", KindReplicaLags)
	h.add(d.Replicas([]Replica{{"ai.calls", 0, true}}))
	h.want(t, "read-only", KindReplicaLags)
}

func part(tp waybill.TopicPartition, first, read, dead int64, at, closed time.Time) Part {
	return Part{TopicPartition: tp, Span: span(first, first+read), Read: read, Dead: dead, Earliest: at, Latest: at, Closed: closed}
}

func TestRecords_DeadLetterRate(t *testing.T) {
	d, now, h := NewRecords(RecordsConfig{}), t0, &heard{}
	r := rand.New(rand.NewPCG(3, 4)) //nolint:gosec // a test
	at := int64(0)
	batches := func(share float64, of time.Duration) {
		every(&now, of, func() {
			dead := int64(0)
			for range 200 {
				if r.Float64() < share {
					dead++
				}
			}
			h.add(d.Settled(now, []Part{part(tp0, at, 200, dead, now, now)}))
			at += 200
			h.add(d.Look(now))
		})
	}
	batches(.01, 12*time.Hour)
	h.want(t, "one in a hundred, for hours")
	h.take()
	began := at
	batches(.3, time.Minute)
	if len(h.Found) != 1 || h.Found[0].Kind != KindDeadRate || h.Found[0].Span.First < began || h.Found[0].Span.First > began+600 {
		t.Errorf("found %+v", h.Found)
	}
	h.take()
	batches(.3, time.Hour)
	h.want(t, "it goes on")
	batches(.01, time.Minute)
	h.wantMended(t, "as before", KindDeadRate)
	// Few records say nothing, and most of them being dead letters needs no history.
	d, h = NewRecords(RecordsConfig{}), &heard{}
	h.add(d.Settled(now, []Part{part(tp0, 0, 10, 10, now, now)}))
	every(&now, time.Minute, func() { h.add(d.Look(now)) })
	h.want(t, "ten records")
	h.add(d.Settled(now, []Part{part(tp0, 10, 90, 60, now, now)}))
	every(&now, time.Minute, func() { h.add(d.Look(now)) })
	h.want(t, "most of a hundred", KindDeadRate)
}

func TestRecords_Times(t *testing.T) {
	d, now, h := NewRecords(RecordsConfig{}), t0, &heard{}
	settle := func(at time.Time) { h.add(d.Settled(now, []Part{part(tp0, 0, 10, 0, at, now)})) }
	// A pipeline that is two days behind reads old records, in order; some are a little ahead or late.
	for i := range 1000 {
		now = now.Add(time.Second)
		settle(now.Add(-48 * time.Hour).Add(time.Duration(i%7) * time.Minute))
	}
	h.want(t, "far behind, and nearly in order")
	settle(now.Add(10 * time.Minute))
	h.want(t, "from the future", KindClockSkew)
	settle(now.Add(-48 * time.Hour)) // what came from the future does not make others late
	h.want(t, "in order again")
	settle(now.Add(-80 * time.Hour))
	h.want(t, "a day older than those before", KindLateData)
	every(&now, 10*time.Minute, func() { h.add(d.Look(now)) })
	if _, mended := h.take(); !slices.Contains(mended, KindClockSkew) || !slices.Contains(mended, KindLateData) {
		t.Errorf("mended %v", mended)
	}
}

func TestUnits(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6)) //nolint:gosec // a test
	lognormal := func(median, spread float64) func() float64 {
		return func() float64 { return median * math.Exp(spread*r.NormFloat64()) }
	}
	mixed := func(share float64, a, b func() float64) func() float64 {
		return func() float64 {
			if r.Float64() < share {
				return b()
			}
			return a()
		}
	}
	seconds := lognormal(2, .7)
	for _, c := range []struct {
		name          string
		before, after func() float64
		want          string // in the message; empty: no finding
	}{
		{"seconds to milliseconds", seconds, lognormal(2000, .7), "1000 times larger"},
		{"milliseconds to seconds", lognormal(2000, .7), seconds, "1000 times smaller"},
		{"a quarter of the producers", seconds, mixed(.27, seconds, lognormal(2000, .7)), "1000 times larger"},
		{"minutes to seconds", lognormal(30, .3), lognormal(1800, .3), "60 times larger"},
		{"to microseconds", lognormal(30, .3), lognormal(30e6, .3), "1e+06 times larger"},
		{"twice as much", seconds, lognormal(4, .7), ""},
		{"ten times as much", seconds, lognormal(20, .7), ""},
		{"the same", seconds, seconds, ""},
		{"a few of them", seconds, mixed(.05, seconds, lognormal(2000, .7)), ""},
		{"anything", func() float64 { return math.Exp(30 * r.Float64()) }, func() float64 { return math.Exp(30 * r.Float64()) }, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			d, now, h := NewUnits(UnitsConfig{Accept: time.Hour}), t0, &heard{}
			run := func(of time.Duration, draw func() float64) {
				every(&now, of, func() {
					s := &Sample{Table: "ai.calls", Columns: []string{"latency"}, Values: make([]Sketch, 1), Of: waybill.BatchSpan{TopicPartition: tp0, Span: span(10, 20)}}
					for range 200 {
						s.Values[0].Add(draw())
					}
					h.add(d.Settled(now, s))
				})
			}
			run(20*time.Minute, c.before)
			h.want(t, "before")
			h.take()
			run(time.Minute, c.after)
			if c.want == "" {
				run(10*time.Minute, c.after)
				h.want(t, "after")
				return
			}
			if len(h.Found) != 1 || h.Found[0].Subject != "ai.calls.latency" || !strings.Contains(h.Found[0].Message, c.want) {
				t.Fatalf("found %+v", h.Found)
			}
			h.take()
			run(10*time.Minute, c.after)
			h.want(t, "it goes on")
			run(time.Minute, c.before)
			h.wantMended(t, "as before", KindUnitShift)
			run(2*time.Minute, c.after)
			h.take()
			run(65*time.Minute, c.after)
			h.wantMended(t, "it is usual now", KindUnitShift)
		})
	}
}

// day runs a topic with 10 records a second by day, none between 1 and 5 at night, and now and then a few minutes without any.
func day(d *Source, now *time.Time, h *heard, until time.Time) {
	for now.Before(until) {
		*now = now.Add(10 * time.Second)
		if hour := now.UTC().Hour(); hour >= 1 && hour < 5 || now.Unix()/60%97 < 2 {
			h.add(d.Look(*now, false))
			continue
		}
		d.Came(*now, 100)
		h.add(d.Look(*now, false))
	}
}

func TestSource_QuietAgainstItsHistory(t *testing.T) {
	d, now, h := NewSource("t", SourceConfig{}), t0.Truncate(24*time.Hour), &heard{}
	day(d, &now, h, now.Add(9*24*time.Hour))
	h.want(t, "nights and pauses of nine days")
	h.take()
	day(d, &now, h, now.Add(12*time.Hour)) // noon
	h.take()
	began := now
	for len(h.Found) == 0 && now.Sub(began) < time.Hour {
		now = now.Add(10 * time.Second)
		h.add(d.Look(now, false))
	}
	// The longest silence of those days was two or three minutes.
	if took := now.Sub(began); took > 10*time.Minute {
		t.Errorf("found after %s", took)
	}
	h.want(t, "quiet at noon", KindQuietSource)
	d.Came(now, 1)
	h.add(d.Look(now, false))
	h.wantMended(t, "it comes again", KindQuietSource)
}

func TestSource_SteadyTopicIsMissedWithinAMinute(t *testing.T) {
	d, now, h := NewSource("t", SourceConfig{}), t0, &heard{}
	every(&now, 4*24*time.Hour, func() { d.Came(now, 50); h.add(d.Look(now, false)) })
	h.want(t, "steady")
	h.take()
	every(&now, time.Minute, func() { h.add(d.Look(now, true)) })
	h.want(t, "records wait: it is not the topic")
	every(&now, 5*time.Second, func() { h.add(d.Look(now, false)) })
	h.want(t, "a minute without any", KindQuietSource)
}

func TestSource_YoungTopicsSayNothing(t *testing.T) {
	d, now, h := NewSource("t", SourceConfig{}), t0, &heard{}
	every(&now, 50*time.Hour, func() { d.Came(now, 50) })
	every(&now, 10*time.Hour, func() { h.add(d.Look(now, false)) })
	h.want(t, "two days old")
}

func TestGroup(t *testing.T) {
	d, h := &Group{}, &heard{}
	look := func(offset, before, after, next int64) {
		h.add(d.Look(t0, []Commit{{tp0, offset, before, after, next}}))
	}
	look(100, 100, 100, 150)
	look(120, 100, 110, 150) // a commit whose answer is under way
	look(140, 120, 120, 150)
	look(100, -1, -1, 150)
	h.want(t, "commits under way")
	look(50, 140, 140, 150)
	if len(h.Found) != 1 || h.Found[0].Kind != KindMovedBack || h.Found[0].Span != span(50, 140) {
		t.Errorf("found %+v", h.Found)
	}
	h.take()
	look(140, 140, 140, 150)
	h.wantMended(t, "set right", KindMovedBack)
	look(500, 140, 140, 150)
	h.want(t, "past all that was gathered", KindMovedForward)
	look(150, 150, 150, 150)
	look(-1, 150, 150, 150)
	h.want(t, "deleted", KindGroupMissing)
	look(150, 150, 150, 200)
	look(170, 150, 150, 200)
	look(170, 150, 150, 200)
	h.want(t, "it stays where nobody of ours has put it", KindMovedForward)
}

func TestLaws(t *testing.T) {
	d, h := NewLaws(), &heard{}
	held := []waybill.TopicPartition{tp0, tp1}
	gap := func(first, next int64) waybill.Finding {
		return waybill.Finding{Kind: kindGap, TopicPartition: tp0, Span: span(first, next), Message: "no ledger row"}
	}
	h.add(d.Look(held, nil))
	h.want(t, "all is well")
	for range 3 {
		h.add(d.Look(held, []waybill.Finding{gap(10, 20), gap(30, 40)}))
	}
	if len(h.Found) != 1 || h.Found[0].Span != span(10, 40) || h.Found[0].Evidence != evidenceOf("L1", waybill.OffsetsIn(span(10, 20), span(30, 40))) {
		t.Errorf("found %+v", h.Found)
	}
	h.take()
	h.add(d.Look(held, []waybill.Finding{gap(10, 20)}))
	h.want(t, "one of them is mended", kindGap)
	h.add(d.Look(held, nil))
	h.wantMended(t, "all are", kindGap)
}
