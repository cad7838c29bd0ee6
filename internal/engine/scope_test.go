package engine

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/waybill-data/waybill"
	"github.com/waybill-data/waybill/internal/kafka"
)

func TestScope_MayOnlyGrowAtItsEnd(t *testing.T) {
	in := func(first, next int64) map[int32]waybill.OffsetSet {
		return map[int32]waybill.OffsetSet{0: waybill.OffsetsIn(waybill.Span{First: first, Next: next})}
	}
	was := Scope{Offsets: in(10, 50), Until: map[int32]int64{0: 40}}
	final := was
	final.Final = true
	for name, tt := range map[string]struct {
		from, to Scope
		why      string // empty: it may
	}{
		"the same":                    {was, was, ""},
		"further":                     {was, Scope{Offsets: in(10, 90), Until: map[int32]int64{0: 90}}, ""},
		"what was past its end":       {was, Scope{Offsets: in(10, 40), Until: map[int32]int64{0: 90}}, ""},
		"another partition":           {was, Scope{Offsets: in(10, 50), Until: map[int32]int64{0: 40, 1: 7}}, ""},
		"is final now":                {was, final, ""},
		"back":                        {was, Scope{Offsets: in(10, 50), Until: map[int32]int64{0: 39}}, "may only grow"},
		"a partition less":            {was, Scope{}, "may only grow"},
		"more before its end":         {was, Scope{Offsets: in(9, 50), Until: map[int32]int64{0: 90}}, "now [9,10)"},
		"less before its end":         {was, Scope{Offsets: in(11, 50), Until: map[int32]int64{0: 90}}, "[10,11) were in it"},
		"further though it was final": {final, Scope{Offsets: in(10, 50), Until: map[int32]int64{0: 41}}, "was final"},
	} {
		err := tt.from.grown(&tt.to)
		if tt.why == "" && err != nil || tt.why != "" && (err == nil || !strings.Contains(err.Error(), tt.why)) {
			t.Errorf("%s: %v, want %q", name, err, tt.why)
		}
	}
}

func TestScoped_LeapsOverWhatLiesFarBetween(t *testing.T) {
	set := waybill.OffsetsIn(waybill.Span{First: 10, Next: 20}, waybill.Span{First: 30, Next: 40}, waybill.Span{First: 40 + farGap, Next: 50 + farGap}, waybill.Span{First: 3 * farGap, Next: 4 * farGap})
	s := scoped{runs: set.Spans()}
	for _, step := range []struct {
		offset int64
		want   string // in scope, far from it, and where to read on
	}{
		{0, "false false 10"}, {10, "true false 10"}, {19, "true false 10"}, {20, "false false 30"}, {39, "true false 30"},
		{40, fmt.Sprint("false false ", 40+farGap)}, {45 + farGap, fmt.Sprint("true false ", 40+farGap)}, {50 + farGap, fmt.Sprint("false true ", 3*farGap)},
		{4*farGap - 1, fmt.Sprint("true false ", 3*farGap)}, {4 * farGap, "false true 7"},
	} {
		in, far := s.meets(step.offset)
		if got := fmt.Sprint(in, far, s.position(7)); got != step.want {
			t.Errorf("at %d: %s, want %s", step.offset, got, step.want)
		}
	}
}

func TestLimiter_KeepsToARate(t *testing.T) {
	now := time.Unix(0, 0)
	l := newLimiter(1000, 0)
	var read int64
	for range 200 {
		if w := l.wait(now); w > 0 {
			now = now.Add(w)
		}
		n := int64(l.most(4000))
		l.spent(now, n, n*1000)
		read += n
		now = now.Add(time.Millisecond)
	}
	if rate := float64(read) / now.Sub(time.Unix(0, 0)).Seconds(); rate < 900 || rate > 1100 {
		t.Errorf("%.0f records a second, want 1000", rate)
	}
	now = now.Add(time.Hour) // what was not used for an hour is not made up for
	l.wait(now)
	l.spent(now, 2000, 0)
	if w := l.wait(now); w != time.Second {
		t.Errorf("after twice a second's records nothing is read for %s, want 1s", w)
	}
	l = newLimiter(0, 1<<20)
	l.spent(now, 1, 3<<20)
	if w := l.wait(now); w != 3*time.Second || l.most(4000) != 4000 {
		t.Errorf("after three seconds' bytes nothing is read for %s, want 3s; %d at once", w, l.most(4000))
	}
	if l = newLimiter(0, 0); l.wait(now) != 0 {
		t.Error("there is a limit where none was set")
	}
}

// Offsets that are out of scope take no room in a batch: a batch is as large as its records are many.
func TestGather_HolesDoNotFillABatch(t *testing.T) {
	set := waybill.OffsetsIn(waybill.Span{First: 1000, Next: 1003}, waybill.Span{First: 9000, Next: 9002})
	g := benchGatherer(t, &Scope{Until: map[int32]int64{0: 10_000}, Offsets: map[int32]waybill.OffsetSet{0: set}})
	poll := kafka.PartitionRecords{TopicPartition: waybill.TopicPartition{Topic: "t"}, Instance: 1}
	for o := int64(0); o < 9002; o++ {
		poll.Records = append(poll.Records, waybill.Record{Topic: "t", Offset: o, Value: click(int(o))})
	}
	if n, _, err := g.take(&poll); n != 5 || err != nil {
		t.Errorf("%d records were taken, %v", n, err)
	}
	if s := g.open.spans[0]; g.open.covered != 5 || s.Count != 5 || s.Span != (waybill.Span{First: 0, Next: 9002}) || g.open.count != 5 {
		t.Errorf("the batch has %d rows, covers %d, its span is %+v", g.open.count, g.open.covered, s.BatchSpan)
	}
}

// A hole that was found is passed; what a look says of a partition that has moved on meanwhile is not looked at.
func TestGather_PassesAHoleThatWasFound(t *testing.T) {
	b := &backfill{}
	until := map[int32]int64{0: 30, 1: 30, 2: 30}
	set := waybill.OffsetsIn(waybill.Span{First: 10, Next: 30})
	b.scope.Store(&Scope{Offsets: map[int32]waybill.OffsetSet{0: set, 1: set, 2: set}, Until: until})
	l := bareLife()
	l.p.backfill, l.p.budget = b, NewBudget(1<<20, nil).account(weightBackfill)
	l.ctx = t.Context()
	proc := eventProcessor(t)
	l.p.cfg.Batch.Bytes = 1 << 10
	g := &gatherer{l: l, proc: proc, scope: b.scope.Load(), parts: map[waybill.TopicPartition]*gathering{}}
	at := []int64{5, 15, 5}
	for p, next := range at {
		tp := waybill.TopicPartition{Topic: "t", Partition: int32(p)} //nolint:gosec // few
		part := &gathering{instance: 1, next: next}
		part.until, part.runs, part.looking = 30, g.scope.runs(tp.Partition, next), true
		g.parts[tp] = part
		l.holes = append(l.holes, passed{tp, part, waybill.Span{First: 10, Next: 30}, p > 0, nil})
	}
	if err := g.takeUpHoles(); err != nil {
		t.Fatal(err)
	}
	for p, want := range []int64{5, 15, 30} { // no hole; moved on; passed
		part := g.parts[waybill.TopicPartition{Topic: "t", Partition: int32(p)}] //nolint:gosec // few
		if part.next != want || part.looking || p == 2 != (len(part.runs) == 0) {
			t.Errorf("partition %d is at %d, want %d; %+v", p, part.next, want, part.scoped)
		}
	}
	if len(g.open.spans) != 1 || g.open.spans[0].Span != (waybill.Span{First: 5, Next: 30}) || g.open.covered != 0 || g.open.spans[0].Count != 0 {
		t.Errorf("the batch has %+v", g.open.spans)
	}
}
