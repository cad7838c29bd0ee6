package ledger

import (
	"testing"

	"github.com/waybill-data/waybill"
)

func offsets(first, next int64) waybill.OffsetSet {
	return waybill.OffsetsIn(waybill.Span{First: first, Next: next})
}

// Of one offset the latest counts; what is under way is neither what it was nor what it becomes; and what is compared with the ledger is framed as the
// ledger counts it, but for rows that were made again.
func TestAmended_TheLatestCountsAndTheFrameIsTheLedgers(t *testing.T) {
	var before, after Amended
	for _, a := range []*Amended{&before, &after} {
		a.put(0, piece{offsets(0, 10), 1, FateWritten, FateWritten, 5})
		a.put(0, piece{offsets(20, 24), 2, FateDead, FateWritten, 5})
	}
	after.put(0, piece{offsets(4, 6), 3, FateWritten, FateFiltered, 6})
	after.put(0, piece{offsets(8, 9), 4, FateWritten, "", 0})
	after.put(0, piece{offsets(30, 32), 5, FateFiltered, FateErased, 0})
	if got := after.Offsets(0); !got.Equal(offsets(0, 10).Union(offsets(20, 24)).Union(offsets(30, 32))) {
		t.Errorf("offsets: %s", got)
	}
	if got := after.Is(0, FateWritten); !got.Equal(offsets(0, 4).Union(offsets(6, 8)).Union(offsets(9, 10)).Union(offsets(20, 24))) {
		t.Errorf("written: %s", got)
	}
	if got := after.UnderWay(0); !got.Equal(offsets(8, 9)) {
		t.Errorf("under way: %s", got)
	}
	if _, is, plan, ok := after.At(0, 5); !ok || is != FateFiltered || plan != 6 {
		t.Errorf("offset 5: %s under %d", is, plan)
	}
	if got := before.Same(0, &after); !got.Equal(offsets(0, 4).Union(offsets(6, 8)).Union(offsets(9, 10)).Union(offsets(20, 24))) {
		t.Errorf("the same: %s", got)
	}
	// 2 is missing, 5 is there though it is filtered, 21 has its row, 40 is none of this.
	present := offsets(0, 2).Union(offsets(3, 4)).Union(offsets(5, 10)).Union(offsets(20, 24)).Union(offsets(40, 41))
	rows, letters := after.Frame(0, &before, present, offsets(41, 42))
	if want := offsets(0, 2).Union(offsets(3, 10)).Union(offsets(40, 41)); !rows.Equal(want) {
		t.Errorf("rows as the ledger counts them: %s, want %s", rows, want)
	}
	if want := offsets(20, 24).Union(offsets(41, 42)); !letters.Equal(want) {
		t.Errorf("dead letters as the ledger counts them: %s, want %s", letters, want)
	}
}

func TestAmendmentBlock_JoinsWhatIsTheSame(t *testing.T) {
	r := &Replay{Pipeline: "p", Sequence: 7, Topic: "t"}
	at := func(o int64, is Fate) Amendment {
		return Amendment{Position: waybill.Position{Topic: "t", Offset: o}, Was: FateWritten, Is: is, Plan: 3}
	}
	in := AmendmentBlock(r, []Amendment{at(1, FateWritten), at(2, FateWritten), at(3, FateFiltered), at(5, FateFiltered), at(6, FateFiltered)}, now)
	if n := in[4].Data.Rows(); n != 3 {
		t.Errorf("%d rows, want 3: 1-2, 3, 5-6", n)
	}
}
