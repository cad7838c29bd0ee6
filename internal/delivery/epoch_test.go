package delivery

import (
	"testing"

	"github.com/waybill-data/waybill"
)

// resumed is what a machine makes of one partition with this string and these tips.
func resumed(t *testing.T, cfg Config, pos Position) []Effect {
	t.Helper()
	cfg.Pipeline, cfg.Table, cfg.MaxMetadata, cfg.MaxInFlight = "p", 7, 4096, 1
	m := New(cfg)
	pos.Held = Held{waybill.TopicPartition{Topic: "t"}, 1}
	fetch := m.Step(Assigned{Parts: []Held{pos.Held}})[0].(FetchOffsets)
	effects := m.Step(OffsetsFetched{Op: fetch.Op, Positions: []Position{pos}})
	for _, e := range effects {
		if c, ok := e.(Commit); ok {
			if entries := m.BuildCommit(c.Op); len(entries) == 1 {
				meta, err := ParseMetadata(entries[0].Metadata)
				if err != nil || meta.Epoch != cfg.Epoch || len(meta.Intents) > 0 {
					t.Errorf("the string says %+v, %v", meta, err)
				}
				return append(m.Step(CommitAnswered{Op: c.Op}), Gather{Offset: entries[0].Offset})
			}
		}
	}
	return effects
}

func stringOf(epoch waybill.Epoch, pending ...waybill.Span) string {
	m := Metadata{Epoch: epoch}
	for _, s := range pending {
		m.Intents = append(m.Intents, Intent{ID: waybill.BatchID{byte(s.First)}, Table: 7, Spans: 1, Span: s, Count: s.Len()})
	}
	return m.Encode()
}

func one[E Effect](t *testing.T, effects []Effect) (found E) {
	t.Helper()
	n := 0
	for _, e := range effects {
		if x, ok := e.(E); ok {
			found = x
			n++
		}
	}
	if n != 1 {
		t.Fatalf("%d effects %T in %+v", n, found, effects)
	}
	return found
}

func none[E Effect](t *testing.T, effects []Effect) {
	t.Helper()
	for _, e := range effects {
		if _, ok := e.(E); ok {
			t.Errorf("unwanted %T: %+v", e, e)
		}
	}
}

// What is pending of an epoch whose table has been replaced is nobody's: the new epoch begins at its own tip, at once.
func TestResume_DropsWhatIsPendingOfASupersededEpoch(t *testing.T) {
	old := Position{Committed: 30, Metadata: stringOf(1, waybill.Span{First: 30, Next: 40}), Tip: 20, OldTip: 35}
	effects := resumed(t, Config{Epoch: 2, Superseded: 2}, old)
	none[Rebuild](t, effects)
	none[Report](t, effects)
	if g := one[Gather](t, effects); g.Offset != 20 {
		t.Errorf("goes on at %d, the new epoch's tip is 20", g.Offset)
	}
	if c := one[CheckTail](t, effects); c.Wait || c.From != 20 {
		t.Errorf("%+v: nobody can have written past the tip without having said so", c)
	}
	// A partition of which the backfill had nothing to account for.
	old.Tip = -1
	one[ResolveStart](t, resumed(t, Config{Epoch: 2, Superseded: 2}, old))
	// An epoch that a person has raised: the older one is carried out first.
	old.Tip, old.OldTip = -1, 30
	one[Rebuild](t, resumed(t, Config{Epoch: 2}, old))
	// And one that was raised after a backfill.
	old.Metadata = stringOf(2, waybill.Span{First: 30, Next: 40})
	one[Rebuild](t, resumed(t, Config{Epoch: 5, Superseded: 2}, old))
}

func TestResume_LaterEpoch(t *testing.T) {
	later := Position{Committed: 30, Metadata: stringOf(3), Tip: 20, OldTip: -1}
	if s := one[Stop](t, resumed(t, Config{Epoch: 2}, later)); waybill.ClassOf(s.Err) != waybill.ClassFenced {
		t.Errorf("a later epoch that nobody knows: %v", s.Err)
	}
	later.Succeeded = true
	effects := resumed(t, Config{Epoch: 2}, later)
	none[Stop](t, effects)
	if l := one[Leave](t, effects); !l.Anew {
		t.Errorf("%+v: it is to be looked which epoch it is", l)
	}
}

// Rows that the table's epoch keeps out are no bad rows.
func TestSend_FencedEndsTheLife(t *testing.T) {
	w := place(t, Config{}, RowSet{{Topic: "t"}: waybill.OffsetsOf(1, 2, 3)}, false)
	back := want[ReadBack](w)
	w.effects = w.m.Step(ReadBackDone{Op: back.Op, Present: RowSet{}})
	send := want[Send](w)
	w.effects = w.m.Step(SendAnswered{Op: send.Op, Answer: Fenced})
	none[Probe](t, w.effects)
	none[Claim](t, w.effects)
	if l := one[Leave](t, w.effects); !l.Anew {
		t.Errorf("%+v", l)
	}
}
