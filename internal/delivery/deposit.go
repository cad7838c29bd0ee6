package delivery

import (
	"fmt"

	"github.com/waybill-data/waybill"
)

// deposit places rows in one store: the in-doubt procedure, the same for the target, the dead letters
// and the ledger.
//
// It keeps a list of pieces, each a set of rows with its place k in the token chain. A piece may be
// split (bisection) because every subset of a batch may go under any token of the chain, as long as k
// grows only for rows that were in an answered request and are absent by a later read-back.
type deposit struct {
	store    waybill.Store
	expected RowSet
	whole    RowSet // what was expected at first: the block
	pieces   []*piece
	refused  RowSet
	doubt    bool // read back before the next send
	wait     bool // the next read-back decides what is lost
	attempt  int  // failures in a row
	vanished int
	warned   bool // the finding about views has been written
	probed   bool // the refused rows have been looked for on a copy of the table
	op       Op   // the effect that is awaited
	lastK    int  // the furthest place in the chain that has been used; at-least-once only
}

// unusedK is a place in the chain that no request of this deposit has used. At-least-once has no chain to
// agree on with others, and no read-back that would find rows dropped under a used token.
func (d *deposit) unusedK() int {
	d.lastK++
	return d.lastK
}

type piece struct {
	rows RowSet
	k    int
	// answered: a request with all of rows under T(k) was answered since the last read-back.
	answered bool
	// refused: the last request with these rows was refused.
	refused bool
	// sent are rows that may be on their way, or in the target but not in its views, under T(k).
	sent RowSet
	// heal: some of sent are in the target, and its views may lack them.
	heal bool
	// probe: the server refuses these rows as a block; which of them is to be found out on a copy.
	probe bool
	// hopeless: the server refuses the whole block, and would for ever, so that views cannot be healed by it.
	hopeless bool
}

// begin starts a deposit.
func (m *Machine) begin(w *work, store waybill.Store, rows RowSet) {
	d := &deposit{store: store, expected: rows, whole: rows, doubt: w.doubt && !m.mutant(MutantSendBeforeReadBack), refused: RowSet{}}
	// A former owner may have the records that are gone, and its block may be on its way.
	d.wait = store == waybill.StoreTarget && len(w.partial) > 0
	w.deposit = d
	if m.cfg.Mode == AtLeastOnce {
		d.doubt = false
	}
	if !rows.Empty() || (store != waybill.StoreLedger && w.open()) {
		p := &piece{rows: rows}
		if w.recovered && m.cfg.Views && store == waybill.StoreTarget {
			p.sent = rows
		}
		d.pieces = append(d.pieces, p)
	}
	m.advance(w)
}

// forget takes a partition out of what is left to do. Sets that effects have been given do not change.
func (d *deposit) forget(tp waybill.TopicPartition) {
	d.expected = d.expected.without(tp)
	d.refused = d.refused.without(tp)
	for _, p := range d.pieces {
		rows := p.rows.without(tp)
		p.refused = p.refused && rows.Equal(p.rows)
		p.rows = rows
	}
}

// advance takes the next step: read back, heal views, send, or be done.
func (m *Machine) advance(w *work) {
	d := w.deposit
	for len(d.pieces) > 0 && d.pieces[0].rows.Empty() && !d.pieces[0].heal && !(d.doubt && (w.open() || !d.pieces[0].sent.Empty())) {
		d.pieces = d.pieces[1:]
	}
	switch {
	case len(d.pieces) == 0:
		m.deposited(w)
	case d.doubt:
		m.readBack(w)
	case d.pieces[0].probe:
		m.probe(w, d.pieces[0])
	case d.pieces[0].heal:
		m.proveWindow(w)
	default:
		m.send(w, d.pieces[0].rows)
	}
}

func (m *Machine) readBack(w *work) {
	d := w.deposit
	spans := map[waybill.TopicPartition]waybill.Span{}
	for _, s := range w.batch.Spans {
		_, expected := d.expected[s.TopicPartition]
		if expected || w.open() {
			spans[s.TopicPartition] = s.Span
		}
	}
	d.op = m.ask(func(op Op) Effect {
		return ReadBack{Op: op, Work: w.id, Store: d.store, Batch: w.batch, Spans: spans, Wait: d.wait, Attempt: d.attempt}
	}, func(ev Event) {
		e := ev.(ReadBackDone)
		if e.Err != nil {
			d.attempt++
			m.readBack(w)
			return
		}
		d.doubt, d.wait = false, false
		m.seen(w, e.Present)
	})
}

// seen takes in what the store holds.
func (m *Machine) seen(w *work, present RowSet) {
	d := w.deposit
	if extra := m.unforeseen(w, present); !extra.Empty() {
		d.expected = d.expected.Union(extra)
		if d.store == waybill.StoreTarget {
			if m.cfg.Views {
				m.viewsMayLack(w, "records of it are gone")
			}
			w.rows = w.rows.Union(extra)
		} else {
			w.dead = w.dead.Union(extra)
		}
	}
	left := RowSet{}
	var pieces []*piece
	for _, p := range d.pieces {
		pieces = append(pieces, m.reconsider(w, p, present)...)
	}
	d.pieces = pieces
	for _, p := range d.pieces {
		left = left.Union(p.rows)
	}
	missing := d.expected.Minus(present).Minus(left).Minus(d.refused)
	if m.cfg.Mode == ExactlyOnce && !missing.Empty() && !m.vanishedRows(w, missing) {
		return
	}
	if !m.refusesTooMuch(w) {
		m.advance(w)
	}
}

// refusedLimit is how many rows of a block the server may refuse before it is taken for a matter of the
// table and not of single rows.
func (w *work) refusedLimit() int64 {
	if w.alone {
		return w.deposit.whole.Len() // of rows that had a reason to be refused
	}
	return max(100, w.deposit.whole.Len()/100)
}

func (m *Machine) refusesTooMuch(w *work) bool {
	if w.deposit.refused.Len() <= w.refusedLimit() {
		return false
	}
	m.stop(&waybill.Error{Op: "delivery.insert", Pipeline: m.cfg.Pipeline, Class: waybill.ClassPoison, Err: errRefusesTooMuch,
		Position: waybill.Position{Topic: w.batch.Spans[0].Topic, Partition: w.batch.Spans[0].Partition, Offset: w.batch.Spans[0].First},
		Hint:     "look at the table's constraints and views; nothing was dead-lettered"})
	return true
}

// probe has the refused rows of a piece looked for on a copy of the table. What that does not find, or
// where there can be no copy, is found by halving in the table itself.
func (m *Machine) probe(w *work, p *piece) {
	d := w.deposit
	d.op = m.ask(func(op Op) Effect {
		return Probe{Op: op, Work: w.id, Batch: w.batch, Rows: p.rows, Limit: w.refusedLimit(), Attempt: d.attempt}
	}, func(ev Event) {
		e := ev.(Probed)
		if e.Err != nil {
			d.attempt++
			m.probe(w, p)
			return
		}
		p.probe, d.probed, d.attempt = false, true, 0
		bad := e.Refused.Intersect(p.rows)
		if bad.Empty() {
			d.pieces = append(m.halve(d, p), d.pieces[1:]...)
		}
		d.refused = d.refused.Union(bad)
		p.rows = p.rows.Minus(bad)
		d.doubt = m.cfg.Mode == ExactlyOnce // it took a while
		if !m.refusesTooMuch(w) {
			m.advance(w)
		}
	})
}

// halve a piece. Both halves stay where it was in the chain.
func (m *Machine) halve(d *deposit, p *piece) []*piece {
	if p.rows.Len() < 2 {
		return []*piece{p}
	}
	lo, hi := p.rows.Halve()
	if m.cfg.Mode == AtLeastOnce {
		return []*piece{{rows: lo, k: d.unusedK()}, {rows: hi, k: d.unusedK()}}
	}
	return []*piece{{rows: lo, k: p.k}, {rows: hi, k: p.k}}
}

// unforeseen are rows that the store holds though no record tells of them any more: they were placed
// when the records were still there, by this batch or by one whose intent is lost.
func (m *Machine) unforeseen(w *work, present RowSet) RowSet {
	if w.deposit.store == waybill.StoreLedger || m.cfg.Mode == AtLeastOnce {
		return RowSet{}
	}
	extra := present.Minus(w.deposit.expected)
	if w.deposit.store == waybill.StoreTarget {
		extra = extra.Minus(w.dead)
	}
	return extra
}

// open: somebody else may have placed rows of the work's spans, more than its records tell of.
func (w *work) open() bool { return w.doubt || len(w.partial) > 0 }

// reconsider one piece after a read-back.
func (m *Machine) reconsider(w *work, p *piece, present RowSet) []*piece {
	d := w.deposit
	before := p.rows.Len()
	if m.cfg.Views && d.store == waybill.StoreTarget && !p.sent.Intersect(present).Empty() {
		p.heal = !p.hopeless && m.whole(w, p.k, p.sent)
		if !p.heal {
			m.viewsMayLack(w, "only part of the batch can be sent from here")
		}
	}
	if m.cfg.Views && d.store == waybill.StoreTarget && w.doubt && !w.recovered && !p.rows.Intersect(present).Empty() && p.sent.Empty() {
		m.viewsMayLack(w, "some of its rows were placed by a batch whose intent is lost")
	}
	p.rows = p.rows.Minus(present)
	if m.mutant(MutantAdvanceUnanswered) && !p.sent.Empty() {
		p.answered = true
	}
	answered, refused := p.answered, p.refused
	p.answered, p.refused = false, false
	switch {
	case p.rows.Empty() && !p.heal:
		return nil
	case p.heal:
		return []*piece{p}
	case answered:
		p.k++
		p.sent = nil
	case refused && p.rows.Len() == before && before > 1:
		if !d.probed && d.store == waybill.StoreTarget {
			p.probe = true
			return []*piece{p}
		}
		return m.halve(d, p)
	case refused && before == 1:
		d.refused = d.refused.Union(p.rows)
		return nil
	}
	return []*piece{p}
}

// vanishedRows: rows that had been seen are absent again (storage loss, or something deletes them).
// Their tokens may be remembered or not, so the chain starts over.
func (m *Machine) vanishedRows(w *work, missing RowSet) bool {
	d := w.deposit
	d.vanished++
	tp := missing.Partitions()[0]
	f := waybill.Finding{Kind: "rows_vanished", Severity: waybill.SeverityError, TopicPartition: tp, Span: missing[tp].Bounds(), Batch: w.batch.ID.String(),
		Message: fmt.Sprintf("%d rows of the %s that had been there are gone: %s", missing.Len(), d.store, missing), Action: "they are inserted again"}
	if d.vanished > MaxVanished {
		f.Action = "stopped: look for a TTL, a DELETE or an engine that removes rows"
		m.report(f)
		m.stop(&waybill.Error{Op: "delivery.insert", Pipeline: m.cfg.Pipeline, Class: waybill.ClassConfig, Err: fmt.Errorf("rows vanish from the %s again and again", d.store),
			Hint: "look for a TTL, a DELETE or an engine that removes rows"})
		return false
	}
	m.report(f)
	d.pieces = append(d.pieces, &piece{rows: missing})
	return true
}

// whole: these rows under T(k) are the block that a view would have to see: all of the batch, under its
// first token. Anything else can leave views with too few rows (their own tables remember T(k) by other
// table partitions than the target) or with too many (a view is also fed rows that the target drops).
func (m *Machine) whole(w *work, k int, rows RowSet) bool {
	return k == 0 && w.full && !w.suspect && !w.lost && len(w.partial) == 0 && rows.Equal(w.deposit.whole)
}

func (m *Machine) send(w *work, rows RowSet) {
	d, p := w.deposit, w.deposit.pieces[0]
	if m.cfg.Views && d.store == waybill.StoreTarget && !m.whole(w, p.k, rows) {
		m.viewsMayLack(w, "its rows had to be sent in parts or again under another token")
	}
	e := Send{Work: w.id, Store: d.store, Batch: w.batch, Token: m.token(w, d.store, p.k), K: p.k, Rows: rows, Attempt: d.attempt}
	if d.store == waybill.StoreLedger {
		for _, s := range w.batch.Spans {
			if _, ours := rows[s.TopicPartition]; ours {
				row := w.ledgerRow(s)
				if o := m.parts[s.TopicPartition]; o != nil {
					row.TopicID = o.topicID
				}
				e.Ledger = append(e.Ledger, row)
			}
		}
	}
	d.op = m.ask(func(op Op) Effect { e.Op = op; return e }, func(ev Event) { m.sent(w, p, rows, ev.(SendAnswered)) })
}

func (m *Machine) token(w *work, store waybill.Store, k int) waybill.Token {
	pipeline := m.cfg.Pipeline
	if m.mutant(MutantRandomRepairToken) && k > 0 {
		pipeline += m.cfg.Worker
	}
	return waybill.ChainToken(pipeline, m.cfg.ClusterID, w.batch.ID, w.batch.Epoch, m.cfg.Tables[store], k)
}

// sent takes in what came of a send.
func (m *Machine) sent(w *work, p *piece, rows RowSet, e SendAnswered) {
	d := w.deposit
	answer := e.Answer
	whole := rows.Equal(p.rows)
	if m.cfg.Mode == AtLeastOnce {
		p.rows = p.rows.Minus(e.Landed)
	}
	switch {
	case answer == Deduplicated && m.mutant(MutantTrustDeduplicated):
		answer = Landed
	case answer == Deduplicated && m.cfg.Mode == AtLeastOnce:
		// An earlier request with this token has landed, or has left its token without its rows. Without a
		// read-back one cannot tell, and twice is better than never.
		p.k = d.unusedK()
		m.advance(w)
		return
	}
	switch answer {
	case Landed, Deduplicated:
		d.attempt = 0
		healing := p.heal
		p.heal, p.sent, p.answered = false, nil, true
		if answer == Landed && !healing {
			p.rows = p.rows.Minus(rows)
			d.doubt = len(d.pieces) > 1
		} else {
			d.doubt = true
		}
	case NoAnswer:
		d.attempt++
		d.doubt = true
		p.heal, p.sent = false, p.sent.Union(rows)
	case Refused:
		d.attempt++
		d.doubt = true
		p.hopeless = p.hopeless || p.heal
		// Of a request with more rows than are left, another row may be to blame.
		p.heal, p.sent, p.refused = false, p.sent.Union(rows), whole
		if d.refusesSingly(p) {
			d.attempt = 0
		}
	case NotSent:
		m.leave("the lease ran out before a send")
		return
	case Fenced:
		m.succeeded("the table takes no rows of this epoch any more")
		return
	case Impossible:
		m.stop(e.Err)
		return
	}
	if m.cfg.Mode == AtLeastOnce {
		d.doubt = false
		if answer == Refused {
			m.seen(w, RowSet{})
			return
		}
	}
	m.advance(w)
}

// refusesSingly: bisection is under way; there is no point in waiting between its steps.
func (d *deposit) refusesSingly(p *piece) bool { return p.rows.Len() < d.expected.Len() }

// proveWindow: to fill views, the whole block has to go under its token once more, which is safe only
// while every table provably remembers the token.
func (m *Machine) proveWindow(w *work) {
	d, p := w.deposit, w.deposit.pieces[0]
	d.op = m.ask(func(op Op) Effect {
		return ProveWindow{Op: op, Work: w.id, Batch: w.batch, Attempt: d.attempt}
	}, func(ev Event) {
		e := ev.(WindowProved)
		switch {
		case e.Err != nil:
			d.attempt++
			m.proveWindow(w)
		case e.Inside:
			m.send(w, p.sent)
		default:
			m.viewsMayLack(w, "its token may have left the deduplication window")
			p.heal, p.sent = false, nil
			m.advance(w)
		}
	})
}

// viewsMayLack writes the finding about views, once a batch.
func (m *Machine) viewsMayLack(w *work, why string) {
	if w.deposit.warned || m.cfg.Mode == AtLeastOnce {
		return
	}
	w.deposit.warned = true
	s := w.batch.Spans[0]
	m.report(waybill.Finding{Kind: "view_incomplete", Severity: waybill.SeverityWarning, TopicPartition: s.TopicPartition, Span: s.Span, Batch: w.batch.ID.String(),
		Message: fmt.Sprintf("materialized views may lack or repeat rows of batch %s: %s", w.batch.ID.Short(), why),
		Action:  "the table itself is whole; rebuild the views for these offsets if they must be exact"})
}
