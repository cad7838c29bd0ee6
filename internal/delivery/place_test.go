package delivery

import (
	"testing"

	"github.com/waybill-data/waybill"
)

// placed drives a machine with one Place; the table is what answers say.
type placedWorld struct {
	*testing.T
	m       *Machine
	effects []Effect
}

func place(t *testing.T, cfg Config, rows RowSet, recovered bool) *placedWorld {
	t.Helper()
	cfg.Pipeline, cfg.Tables = "p", map[waybill.Store]string{waybill.StoreTarget: "db.t"}
	w := &placedWorld{T: t, m: New(cfg)}
	b := &waybill.Batch{ID: waybill.BatchID{1}}
	for _, tp := range rows.Partitions() {
		b.Spans = append(b.Spans, waybill.BatchSpan{TopicPartition: tp, Span: rows[tp].Bounds()})
	}
	w.effects = w.m.Step(Place{Work: w.m.NewWork(), Batch: b, Rows: rows, Recovered: recovered})
	return w
}

// want takes the one effect that is expected next.
func want[E Effect](w *placedWorld) E {
	w.Helper()
	if len(w.effects) == 0 {
		w.Fatalf("no effect, want %T", *new(E))
	}
	e, ok := w.effects[0].(E)
	if !ok {
		w.Fatalf("effect %T, want %T", w.effects[0], e)
	}
	w.effects = w.effects[1:]
	return e
}

func (w *placedWorld) answer(ev Event) { w.effects = w.m.Step(ev) }

var (
	place0   = waybill.TopicPartition{Topic: "t"}
	threeFew = RowSet{place0: waybill.OffsetsOf(3, 9, 40)}
)

func TestPlace_ReadsBackFirstAndSendsWhatIsAbsent(t *testing.T) {
	t.Parallel()
	w := place(t, Config{}, threeFew, true)
	look := want[ReadBack](w)
	w.answer(ReadBackDone{Op: look.Op, Present: RowSet{place0: waybill.OffsetsOf(9)}})
	send := want[Send](w)
	if !send.Rows.Equal(RowSet{place0: waybill.OffsetsOf(3, 40)}) || send.K != 0 {
		t.Fatalf("sends %s under T%d", send.Rows, send.K)
	}
	w.answer(SendAnswered{Op: send.Op, Answer: NoAnswer})
	look = want[ReadBack](w)
	w.answer(ReadBackDone{Op: look.Op, Present: RowSet{place0: waybill.OffsetsOf(9)}})
	again := want[Send](w)
	if again.Token != send.Token {
		t.Error("an unanswered request was sent again under another token")
	}
	w.answer(SendAnswered{Op: again.Op, Answer: Deduplicated})
	look = want[ReadBack](w)
	w.answer(ReadBackDone{Op: look.Op, Present: threeFew})
	if p := want[Placed](w); !p.Refused.Empty() {
		t.Errorf("refused %s", p.Refused)
	}
	want[Drop](w)
	if len(w.effects) > 0 || len(w.m.Works()) > 0 {
		t.Errorf("left: %v, %v", w.effects, w.m.Works())
	}
}

// Rows of dead letters had a reason to be refused: that all of them are is no reason to stop.
func TestPlace_AllRefusedIsNoStop(t *testing.T) {
	t.Parallel()
	rows := RowSet{place0: waybill.OffsetsIn(waybill.Span{First: 0, Next: 500})}
	w := place(t, Config{}, rows, false)
	w.answer(ReadBackDone{Op: want[ReadBack](w).Op})
	w.answer(SendAnswered{Op: want[Send](w).Op, Answer: Refused})
	w.answer(ReadBackDone{Op: want[ReadBack](w).Op})
	probe := want[Probe](w)
	if probe.Limit < 500 {
		t.Errorf("looks for %d refused rows at most", probe.Limit)
	}
	w.answer(Probed{Op: probe.Op, Refused: rows})
	for len(w.effects) > 0 {
		if look, ok := w.effects[0].(ReadBack); ok {
			w.answer(ReadBackDone{Op: look.Op})
			continue
		}
		if p := want[Placed](w); p.Refused.Len() != 500 {
			t.Errorf("%d refused", p.Refused.Len())
		}
		want[Drop](w)
		return
	}
	t.Error("it does not end")
}

// No offset moves, and nothing is intended: the machine has no partition.
func TestPlace_CommitsNothing(t *testing.T) {
	t.Parallel()
	w := place(t, Config{}, threeFew, false)
	w.answer(ReadBackDone{Op: want[ReadBack](w).Op, Present: threeFew})
	want[Placed](w)
	want[Drop](w)
	if len(w.effects) > 0 {
		t.Errorf("%T", w.effects[0])
	}
}
