package kafka

import (
	"testing"
	"time"

	"github.com/waybill-data/waybill"
)

func factNothingBeforeStart(t *testing.T, base env) {
	e := base.with(t, 2, nil)
	e.produceN(0, 0, 3)
	e.produceN(1, 0, 3)
	first := e.open()
	tps := first.waitHeld(2)
	if _, err := first.commitAll(CommitEntry{Offset: 1, LeaderEpoch: -1}, tps...); err != nil {
		t.Fatal(err)
	}
	first.close(true)

	m := e.open()
	m.waitHeld(2)
	m.nothingFor(700 * time.Millisecond) // neither from the committed offset nor from either end
	m.Start(StartAt{e.tp(1), 2, -1})
	if got := m.collectN(1); got[0].Offset != 2 || got[0].Partition != 1 {
		t.Fatalf("got %+v", got)
	}
	m.nothingFor(300 * time.Millisecond)
}

func factCommitReadBack(t *testing.T, base env) {
	e := base.with(t, 3, nil)
	m := e.open()
	m.waitHeld(3)
	const metadata = "wb1;ü;intent"
	results, err := m.commitAll(CommitEntry{Offset: 7, LeaderEpoch: 0, Metadata: metadata}, e.tp(0), e.tp(2))
	must(t, err)
	for tp, err := range results {
		if err != nil {
			t.Fatalf("%s: %v", tp, err)
		}
	}
	got, err := m.FetchOffsets(t.Context(), nil)
	must(t, err)
	want := map[waybill.TopicPartition]Committed{
		e.tp(0): {7, 0, metadata}, e.tp(1): {-1, -1, ""}, e.tp(2): {7, 0, metadata},
	}
	for tp, w := range want {
		if got[tp] != w {
			t.Errorf("%s: got %+v, want %+v", tp, got[tp], w)
		}
	}
}
