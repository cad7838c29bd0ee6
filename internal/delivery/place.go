package delivery

import "github.com/waybill-data/waybill"

type (
	// Place: put rows of records that are on the account already, as dead letters, into the target. It is a work without partitions: there
	// is no intent of it in a string and no offset to move. Whoever hands it in has made durable what it is about, hands it in again after a
	// crash, and answers ReadBack with the batch's own rows alone, since other rows lie between them. Any number may do so at once.
	Place struct {
		Work  WorkID // drawn with Machine.NewWork
		Batch *waybill.Batch
		Rows  RowSet
		// Recovered: somebody may have begun to.
		Recovered bool
	}
	// Placed: the rows are in the target, but for those that the server refuses.
	Placed struct {
		Work    WorkID
		Batch   *waybill.Batch
		Refused RowSet
	}
)

func (Place) event()   {}
func (Placed) effect() {}

// place begins a work that is only about the target.
func (m *Machine) place(e Place) {
	w := &work{id: e.Work, batch: e.Batch, full: true, doubt: true, recovered: e.Recovered, alone: true, rows: e.Rows, dead: RowSet{}, refused: RowSet{},
		held: map[waybill.TopicPartition]Instance{}, tallies: map[waybill.TopicPartition]Tally{}}
	for _, s := range e.Batch.Spans {
		w.held[s.TopicPartition] = 0
	}
	m.works = append(m.works, w)
	m.land(w)
}

// placed ends it. What the server refuses stays what it was.
func (m *Machine) placed(w *work) {
	m.emit(Placed{Work: w.id, Batch: w.batch, Refused: w.deposit.refused})
	m.drop(w, false)
}
