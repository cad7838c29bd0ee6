package delivery

import (
	"errors"
	"fmt"

	"github.com/waybill-data/waybill"
)

// work is a batch on its way, or the held part of one that is being recovered.
type work struct {
	id    WorkID
	stage Stage
	batch *waybill.Batch // for a recovered work: with the spans held at the time
	// held are the partitions whose ledger row and offset are this worker's to write. It only shrinks:
	// by revocation, and by settling.
	held map[waybill.TopicPartition]Instance
	// lost: some partition was revoked while the work was on its way.
	lost      bool
	recovered bool
	full      bool // the spans of batch are all that the batch ever had
	gone      bool // the topic was deleted since: there is nothing to rebuild from
	doubt     bool // from its first send: someone may have sent rows of these offsets before
	total     int  // spans of the whole batch, for the string
	// suspect: rows of it may be there under tokens of a batch whose intent is lost, so that its own
	// first token does not protect them: the whole block must never be sent again.
	suspect bool
	// alone: it is about the target and nothing else, see Place.
	alone bool

	tallies map[waybill.TopicPartition]Tally
	rows    RowSet // expected in the target
	dead    RowSet // expected among the dead letters, refused ones included
	refused RowSet // by the server
	// partial: the records are not (all) there any more; what the stores hold counts as expected.
	partial map[waybill.TopicPartition]bool

	deposit *deposit
}

// spans for the string; 0 if nobody is to send the whole block.
func (w *work) spans() int {
	if w.suspect {
		return 0
	}
	if w.total > 0 {
		return w.total
	}
	return len(w.batch.Spans)
}

func (m *Machine) move(w *work, s Stage) {
	if err := w.to(s); err != nil {
		m.bug("%v", err)
	}
}

func (m *Machine) drop(w *work, settled bool) {
	if w.stage == StageGone {
		return
	}
	m.move(w, StageGone)
	for i, o := range m.works {
		if o == w {
			m.works = append(m.works[:i:i], m.works[i+1:]...)
			break
		}
	}
	if w.deposit != nil {
		delete(m.waiting, w.deposit.op)
	}
	m.emit(Drop{Work: w.id, Settled: settled})
}

// gathered takes a closed batch in, or says where to gather again.
func (m *Machine) gathered(e Gathered) {
	w := &work{id: e.Work, batch: e.Batch, full: true, rows: RowSet{}, dead: RowSet{}, refused: RowSet{},
		held: map[waybill.TopicPartition]Instance{}, tallies: map[waybill.TopicPartition]Tally{}}
	ok := len(e.Batch.Spans) > 0
	for i, s := range e.Batch.Spans {
		p := m.current(Held{s.TopicPartition, e.Instances[i]})
		ok = ok && p != nil && p.state == partRunning && p.next == s.First && !p.former
	}
	if !ok {
		m.emit(Drop{Work: e.Work})
		for i, s := range e.Batch.Spans {
			if p := m.current(Held{s.TopicPartition, e.Instances[i]}); p != nil && p.state == partRunning {
				m.emit(Gather{Part: p.held, Offset: p.next})
			}
		}
		return
	}
	for i, s := range e.Batch.Spans {
		p := m.parts[s.TopicPartition]
		w.held[s.TopicPartition] = p.held.Instance
		w.doubt = w.doubt || s.First < p.suspect
		w.expect(s.TopicPartition, e.Tallies[i])
		p.queue = append(p.queue, w)
		p.next = s.Next
	}
	m.works = append(m.works, w)
	if w.doubt {
		w.suspect = true
		w.lostBefore()
	}
	if m.cfg.Mode == AtLeastOnce {
		m.land(w)
	}
}

func (w *work) expect(tp waybill.TopicPartition, t Tally) {
	w.tallies[tp] = t
	if !t.Rows.Empty() {
		w.rows[tp] = t.Rows
	}
	if !t.Dead.Empty() {
		w.dead[tp] = t.Dead
	}
}

// lostBefore: records that were gone before this work read them may have been read, and written, by
// somebody whose intent is lost.
func (w *work) lostBefore() {
	for tp, t := range w.tallies {
		if t.Lost > 0 {
			if w.partial == nil {
				w.partial = map[waybill.TopicPartition]bool{}
			}
			w.partial[tp] = true
		}
	}
}

// rebuild reads a recovered batch's records again.
func (m *Machine) rebuild(w *work, attempt int) {
	if w.gone {
		tallies := make([]Tally, len(w.batch.Spans))
		for i, s := range w.batch.Spans {
			if s.Count == 0 { // offsets that were gone already, or transaction markers; one can't tell any more
				tallies[i].Lost = s.Len()
			}
		}
		m.rebuilt(w, Rebuilt{Tallies: tallies, Checksums: make([]uint64, len(w.batch.Spans))})
		return
	}
	w.deposit = &deposit{attempt: attempt}
	w.deposit.op = m.ask(func(op Op) Effect { return Rebuild{Op: op, Work: w.id, Batch: w.batch, Attempt: attempt} },
		func(ev Event) {
			e := ev.(Rebuilt)
			if e.Err != nil {
				m.rebuild(w, attempt+1)
				return
			}
			m.rebuilt(w, e)
		})
}

func (m *Machine) rebuilt(w *work, e Rebuilt) {
	w.partial = map[waybill.TopicPartition]bool{}
	for i, s := range w.batch.Spans {
		if _, held := w.held[s.TopicPartition]; !held {
			continue // lost meanwhile: its new owner does the same
		}
		t := e.Tallies[i]
		w.expect(s.TopicPartition, t)
		if t.Read == s.Count && e.Checksums[i] == s.Checksum {
			continue
		}
		w.partial[s.TopicPartition] = true
		kind, msg := "records_gone", fmt.Sprintf("batch %s was gathered from %d records of %s, of which %d are left", w.batch.ID.Short(), s.Count, s.Span, t.Read)
		if t.Read >= s.Count {
			kind, msg = "records_changed", fmt.Sprintf("the records of %s are not those that batch %s was gathered from", s.Span, w.batch.ID.Short())
		}
		m.report(waybill.Finding{Kind: kind, Severity: waybill.SeverityError, TopicPartition: s.TopicPartition, Span: s.Span, Batch: w.batch.ID.String(),
			Message: msg, Action: "what is left is carried out, the rest is counted as lost in the ledger"})
	}
	w.lostBefore()
	w.refused = e.Refused.Intersect(w.rows)
	w.rows = w.rows.Minus(w.refused)
	w.dead = w.dead.Union(w.refused)
	if e.Foreign && m.cfg.Mode == ExactlyOnce {
		m.report(waybill.Finding{Kind: "decoder_changed", Severity: waybill.SeverityInfo, TopicPartition: w.batch.Spans[0].TopicPartition, Span: w.batch.Spans[0].Span, Batch: w.batch.ID.String(),
			Message: fmt.Sprintf("batch %s was gathered under version %d of the decoder, and one of another version has been or is at it", w.batch.ID.Short(), w.batch.Decoder),
			Action:  "what the tables have of it counts as it is; what they do not have is decoded by this version"})
		w.deposit = &deposit{}
		m.consult(w)
		return
	}
	m.land(w)
}

// consult finds out what has become of a batch whose records this worker would judge otherwise than who gathered it: a record that is in a store has had its
// fate. It first waits until nothing of it can be on its way any more; what is absent then is this worker's to judge.
func (m *Machine) consult(w *work) {
	m.askStore(w, waybill.StoreTarget, func(rows RowSet) {
		m.askStore(w, waybill.StoreDeadLetters, func(dead RowSet) {
			w.judge(rows, dead)
			m.land(w)
		})
	})
}

func (m *Machine) askStore(w *work, store waybill.Store, then func(present RowSet)) {
	spans := map[waybill.TopicPartition]waybill.Span{}
	for _, s := range w.batch.Spans {
		if _, held := w.held[s.TopicPartition]; held {
			spans[s.TopicPartition] = s.Span
		}
	}
	w.deposit.op = m.ask(func(op Op) Effect {
		return ReadBack{Op: op, Work: w.id, Store: store, Batch: w.batch, Spans: spans, Wait: store == waybill.StoreTarget, Attempt: w.deposit.attempt}
	}, func(ev Event) {
		e := ev.(ReadBackDone)
		if e.Err != nil {
			w.deposit.attempt++
			m.askStore(w, store, then)
			return
		}
		w.deposit.attempt = 0
		then(e.Present)
	})
}

// judge takes in that records are rows, or dead letters, whatever this worker would have made of them.
func (w *work) judge(rows, dead RowSet) {
	for tp := range w.held {
		isRow := w.rows[tp].Minus(dead[tp]).Union(rows[tp])
		isDead := w.dead[tp].Union(dead[tp]).Minus(rows[tp])
		// Filtered records are counted, not named: those that have had another fate are no longer among them.
		t := w.tallies[tp]
		t.Filtered = max(0, t.Filtered-(isRow.Len()+isDead.Len()-w.rows[tp].Len()-w.dead[tp].Len()))
		w.tallies[tp], w.rows[tp], w.dead[tp] = t, isRow, isDead
	}
}

// land places the rows in the target.
func (m *Machine) land(w *work) {
	m.move(w, StageLanding)
	rows := w.ofHeld(w.rows)
	if m.mutant(MutantHalfIntent) {
		rows = w.rows
	}
	m.begin(w, waybill.StoreTarget, rows)
}

// deposited: the current store holds all that it should.
func (m *Machine) deposited(w *work) {
	d := w.deposit
	switch w.stage {
	case StageLanding:
		if w.alone {
			m.placed(w)
			return
		}
		if !d.refused.Empty() {
			m.claim(w, d.refused, 0)
			return
		}
		m.deadLetters(w)
	case StageDeadLetters:
		m.move(w, StageQueued)
		m.tryQueued()
	case StageLedger:
		m.finish(w)
	default:
		m.bug("batch %s has deposited in %s", w.batch.ID.Short(), w.stage)
	}
}

// claim puts refusals on record before anyone acts on them, so that whoever rebuilds the batch later
// expects the same rows.
func (m *Machine) claim(w *work, rows RowSet, attempt int) {
	if attempt == 0 {
		m.move(w, StageClaiming)
	}
	w.deposit.op = m.ask(func(op Op) Effect {
		return Claim{Op: op, Work: w.id, Batch: w.batch, Rows: rows, Attempt: attempt}
	}, func(ev Event) {
		e := ev.(Claimed)
		if e.Err != nil {
			m.claim(w, rows, attempt+1)
			return
		}
		w.refused = w.refused.Union(e.Refused)
		if both := w.rows.Minus(rows).Intersect(e.Refused); !both.Empty() {
			m.report(waybill.Finding{Kind: "row_and_dead_letter", Severity: waybill.SeverityError, Batch: w.batch.ID.String(),
				TopicPartition: both.Partitions()[0], Span: both[both.Partitions()[0]].Bounds(),
				Message: fmt.Sprintf("%d rows are in the table, and on record as refused by the server: %s", both.Len(), both), Action: "remove the dead letters or the rows"})
		}
		w.rows = w.rows.Minus(w.refused)
		w.dead = w.dead.Union(w.refused)
		m.deadLetters(w)
	})
}

func (m *Machine) deadLetters(w *work) {
	m.move(w, StageDeadLetters)
	m.begin(w, waybill.StoreDeadLetters, w.ofHeld(w.dead))
}

func (w *work) ofHeld(rows RowSet) RowSet {
	out := RowSet{}
	for tp := range w.held {
		if set, ok := rows[tp]; ok {
			out[tp] = set
		}
	}
	return out
}

// tryQueued lets works into the ledger whose turn it is: in each partition ledger rows are written in
// offset order, so that the ledger has no hole to be skipped over.
func (m *Machine) tryQueued() {
	for _, w := range append([]*work(nil), m.works...) {
		if w.stage != StageQueued || !m.turn(w) {
			continue
		}
		m.move(w, StageLedger)
		firsts := RowSet{}
		for tp := range w.held {
			s, _ := w.batch.Span(tp)
			firsts[tp] = waybill.OffsetsOf(s.First)
		}
		m.begin(w, waybill.StoreLedger, firsts)
	}
}

func (m *Machine) turn(w *work) bool {
	if m.mutant(MutantLedgerDisorder) || m.mutant(MutantDropFinished) {
		return true
	}
	for tp := range w.held {
		for _, q := range m.parts[tp].queue {
			if q == w {
				break
			}
			if q.stage != StageFinished {
				return false
			}
		}
	}
	return true
}

// ledgerRow of one partition: what became of the records of its span.
func (w *work) ledgerRow(s waybill.BatchSpan) LedgerRow {
	t := w.tallies[s.TopicPartition]
	r := LedgerRow{BatchSpan: s, Read: max(s.Count, t.Read), Written: w.rows[s.TopicPartition].Len(), Dead: w.dead[s.TopicPartition].Len(),
		Filtered: t.Filtered, Tombstones: t.Tombstones, Lost: t.Lost, Rescued: t.Rescued.Minus(w.dead[s.TopicPartition]).Len(), Redacted: t.Redacted}
	if w.partial[s.TopicPartition] {
		r.Lost = max(0, r.Read-r.Written-r.Dead-r.Filtered-r.Tombstones, t.Lost-r.Written-r.Dead)
	}
	if known := r.Written + r.Dead + r.Filtered + r.Tombstones + r.Lost; r.Read < known {
		r.Read = known // lost offsets count as read: they were there to be
	}
	return r
}

func (m *Machine) finish(w *work) {
	m.move(w, StageFinished)
	w.deposit = nil
	done := Accounted{Work: w.id, Batch: w.batch}
	for _, s := range w.batch.Spans {
		if _, held := w.held[s.TopicPartition]; held {
			m.parts[s.TopicPartition].dirty = true
			done.Parts = append(done.Parts, AccountedPart{s, w.rows[s.TopicPartition], w.dead[s.TopicPartition]})
		}
	}
	m.emit(done)
	m.tryQueued()
}

// narrow takes a lost partition out of what is still to be sent. A block that is on its way stays on its
// way; but from here on the new owner alone decides about its rows, for it may have to count as lost
// what it can neither find nor read again.
func (m *Machine) narrow(w *work, tp waybill.TopicPartition) {
	w.rows, w.dead, w.refused = w.rows.without(tp), w.dead.without(tp), w.refused.without(tp)
	if d := w.deposit; d != nil {
		d.forget(tp)
	}
}

var errRefusesTooMuch = errors.New("the server refuses too many rows for this to be a matter of single rows")
