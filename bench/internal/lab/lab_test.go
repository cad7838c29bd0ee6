package lab

import (
	"strings"
	"testing"
	"time"

	"github.com/waybill-data/waybill/bench/internal/result"
)

func TestSame_OtherRowsEndTheBenchmark(t *testing.T) {
	l := &Lab{hashes: map[string]string{}}
	for _, r := range []result.Run{{Contender: result.Waybill, Hash: "1"}, {Contender: result.Typical, Hash: "1"}} {
		if err := l.same("llm", r); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.same("small", result.Run{Hash: "2"}); err != nil {
		t.Errorf("other events have other rows: %v", err)
	}
	if err := l.same("llm", result.Run{Contender: result.PassThrough, Hash: "3"}); err == nil || !strings.Contains(err.Error(), result.PassThrough) {
		t.Errorf("got %v", err)
	}
}

func TestNote_RateIsOverTheFirstFourFifths(t *testing.T) {
	r := result.Run{Rows: 100}
	note(&r, 30, 0, 1)
	note(&r, 79, 30, 2)
	if r.RowsPerSecond != 0 {
		t.Errorf("a rate after 79 of 100 rows: %g", r.RowsPerSecond)
	}
	note(&r, 90, 79, 3)
	note(&r, 100, 90, 9)
	if want := (result.Run{Rows: 100, FirstSeconds: 1, Seconds: 9, RowsPerSecond: 30}); r != want {
		t.Errorf("got %+v, want %+v", r, want)
	}
	all := result.Run{Rows: 100}
	note(&all, 100, 0, 4)
	if want := (result.Run{Rows: 100, FirstSeconds: 4, Seconds: 4, RowsPerSecond: 25}); all != want {
		t.Errorf("got %+v, want %+v", all, want)
	}
}

func TestWaits_AscendingOverAllPartitions(t *testing.T) {
	at := func(s float64) time.Time { return time.Unix(0, 0).Add(time.Duration(s * float64(time.Second))) }
	s := &stream{
		produced: [][]time.Time{{at(0), at(1)}, {at(2)}},
		visible:  [][]time.Time{{at(3), at(3)}, {at(2.5)}},
	}
	got := s.waits()
	if len(got) != 3 || got[0] != 0.5 || got[1] != 2 || got[2] != 3 {
		t.Errorf("got %v", got)
	}
}

func TestPercentile_NearestRank(t *testing.T) {
	hundred := make([]float64, 100)
	for i := range hundred {
		hundred[i] = float64(i + 1)
	}
	for p, want := range map[float64]float64{50: 50, 99: 99, 100: 100, 0.1: 1} {
		if got := percentile(hundred, p); got != want {
			t.Errorf("p%g is %g, want %g", p, got, want)
		}
	}
	if got := percentile(nil, 50); got != 0 {
		t.Errorf("of nothing: %g", got)
	}
}
