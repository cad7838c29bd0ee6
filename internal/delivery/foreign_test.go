package delivery

import (
	"errors"
	"testing"

	"github.com/waybill-data/waybill"
)

// A batch of offsets 30 to 39 that another version of the decoder has gathered. This one would make rows of 30 to 34 and dead letters of 35 to 37, and
// filters 38 and 39. Of those 36 is a row already, 31 a dead letter, 38 a row.
func TestRecover_OfAnotherDecoderWhatTheStoresHaveCounts(t *testing.T) {
	tp := waybill.TopicPartition{Topic: "t"}
	held := Held{tp, 1}
	m := New(Config{Pipeline: "p", Table: 7, MaxMetadata: 4096, MaxInFlight: 1})
	fetch := m.Step(Assigned{Parts: []Held{held}})[0].(FetchOffsets)
	effects := m.Step(OffsetsFetched{Op: fetch.Op, Positions: []Position{{Held: held, Committed: 30, Metadata: stringOf(0, waybill.Span{First: 30, Next: 40}), Tip: 30, OldTip: -1}}})
	tally := Tally{Read: 10, Rows: waybill.OffsetsOf(30, 31, 32, 33, 34), Dead: waybill.OffsetsOf(35, 36, 37), Filtered: 2}
	effects = m.Step(Rebuilt{Op: one[Rebuild](t, effects).Op, Foreign: true, Tallies: []Tally{tally}, Checksums: []uint64{0}})
	if f := one[Report](t, effects).Finding; f.Kind != "decoder_changed" {
		t.Errorf("%+v", f)
	}
	none[Send](t, effects)
	back := one[ReadBack](t, effects)
	if back.Store != waybill.StoreTarget || !back.Wait {
		t.Errorf("%+v: first nothing may be on its way any more", back)
	}
	back = one[ReadBack](t, m.Step(ReadBackDone{Op: back.Op, Err: errors.New("not now")})) // asked again
	effects = m.Step(ReadBackDone{Op: back.Op, Present: RowSet{tp: waybill.OffsetsOf(30, 36, 38)}})
	back = one[ReadBack](t, effects)
	if back.Store != waybill.StoreDeadLetters {
		t.Errorf("%+v", back)
	}
	// From here on as any batch that is recovered: read back, then send what is absent.
	back = one[ReadBack](t, m.Step(ReadBackDone{Op: back.Op, Present: RowSet{tp: waybill.OffsetsOf(31)}}))
	send := one[Send](t, m.Step(ReadBackDone{Op: back.Op, Present: RowSet{tp: waybill.OffsetsOf(30, 36, 38)}}))
	if want := waybill.OffsetsOf(32, 33, 34); send.Store != waybill.StoreTarget || !send.Rows[tp].Equal(want) {
		t.Errorf("sends %s to the %s, want rows %s", send.Rows, send.Store, want)
	}
	back = one[ReadBack](t, m.Step(SendAnswered{Op: send.Op, Answer: Landed}))
	send = one[Send](t, m.Step(ReadBackDone{Op: back.Op, Present: RowSet{tp: waybill.OffsetsOf(31)}}))
	if want := waybill.OffsetsOf(35, 37); send.Store != waybill.StoreDeadLetters || !send.Rows[tp].Equal(want) {
		t.Errorf("sends %s to the %s, want dead letters %s", send.Rows, send.Store, want)
	}
	back = one[ReadBack](t, m.Step(SendAnswered{Op: send.Op, Answer: Landed}))
	send = one[Send](t, m.Step(ReadBackDone{Op: back.Op, Present: RowSet{}}))
	if r := send.Ledger[0]; r.Read != 10 || r.Written != 6 || r.Dead != 3 || r.Filtered != 1 || r.Lost != 0 {
		t.Errorf("the ledger says %+v", r)
	}
}

// A string of a version that this binary does not know is refused, not misread.
func TestResume_NewerStringIsRefused(t *testing.T) {
	s := one[Stop](t, resumed(t, Config{}, Position{Committed: 30, Metadata: "wb2.AAAA", Tip: 30, OldTip: -1}))
	var e *waybill.Error
	if !errors.As(s.Err, &e) || e.Class != waybill.ClassFenced || !errors.Is(s.Err, ErrNewerMetadata) || e.Hint != "a newer Waybill has run this pipeline; use that version" {
		t.Errorf("%v", s.Err)
	}
}
