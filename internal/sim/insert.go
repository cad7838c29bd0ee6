package sim

import (
	"fmt"
	"hash/fnv"
	"slices"

	"github.com/waybill-data/waybill"
	"github.com/waybill-data/waybill/internal/delivery"
	"github.com/waybill-data/waybill/internal/sim/chmodel"
)

// sending is a Send that is being carried out: an INSERT for each table that it has rows of.
type sending struct {
	left    int // that are not answered
	answers []delivery.Answer
	landed  delivery.RowSet
	err     error
}

// request is an INSERT from the moment it leaves the worker to the moment the server is done with it.
type request struct {
	from  *proc
	of    *sending
	send  delivery.Send
	table string
	token string
	rows  []chmodel.Row
	o     chmodel.InsertOptions
	in    *chmodel.Insert
	over  bool // the sender has an answer or has given up
	begun int64
}

// send: the lease is checked and the deadline drawn here, the request leaves a moment later.
func (p *proc) send(e delivery.Send) {
	w := p.w
	if !p.works(e.Work) {
		return // dropped meanwhile: what is not on its way yet does not go
	}
	if w.now-p.lease >= sessionTimeout && w.mutant != MutantNoLease || !p.member {
		p.answer("sent", delivery.SendAnswered{Op: e.Op, Answer: delivery.NotSent})
		return
	}
	rows, ok := p.rows(e)
	if !ok {
		w.fail("%s: batch %s: asked to send rows of %s whose records are not at hand: %s", p.name, e.Batch.ID.Short(), e.Store, e.Rows)
		return
	}
	of := &sending{landed: delivery.RowSet{}}
	for i, table := range p.tablesOf(e.Store) {
		part := rows
		if e.Store == waybill.StoreTarget && len(p.targets) > 1 {
			part = slices.DeleteFunc(slices.Clone(rows), func(r chmodel.Row) bool { return w.route(r.Content) != i })
		}
		if len(part) == 0 && len(rows) > 0 {
			continue
		}
		r := &request{from: p, of: of, send: e, table: table, token: tokenIn(e.Token, table), rows: part, o: w.options()}
		of.left++
		p.after(w.gap(), func() { p.dispatch(r) })
	}
	p.point("decided " + string(e.Store))
}

func rowsOf(rows []chmodel.Row) delivery.RowSet {
	out := delivery.RowSet{}
	for _, r := range rows {
		tp := partitionOf(r.Partition)
		set := out[tp]
		set.Add(r.Offset)
		out[tp] = set
	}
	return out
}

// works reports whether the machine still has this work.
func (p *proc) works(id delivery.WorkID) bool {
	return slices.ContainsFunc(p.m.Works(), func(s delivery.WorkStatus) bool { return s.ID == id })
}

// rows builds the block.
func (p *proc) rows(e delivery.Send) ([]chmodel.Row, bool) {
	if e.Store == waybill.StoreLedger {
		return p.w.ledgerBlock(e), true
	}
	var out []chmodel.Row
	for _, tp := range e.Rows.Partitions() {
		for _, sp := range e.Rows[tp].Spans() {
			for o := sp.First; o < sp.Next; o++ {
				v, ok := p.data[e.Work][rowKey{tp.Partition, o}]
				if !ok {
					return nil, false
				}
				r := chmodel.Row{Topic: topic, Partition: tp.Partition, Offset: o, Epoch: uint32(e.Batch.Epoch), Content: p.w.contentOf(v, e.Batch.Plan)}
				if e.Store == waybill.StoreTarget {
					r.TablePartition = int(v>>3) % p.w.opt.tablePartitions
					r.Poison = kindOf(v) == kindPoison
				} else {
					r.TablePartition = int(o/7) % 2
				}
				out = append(out, r)
			}
		}
	}
	return out, true
}

// ledgerBlock: the table partition is a function of the batch's recorded time.
func (w *world) ledgerBlock(e delivery.Send) []chmodel.Row {
	month := int(e.Batch.Time/5_000) % 3
	if w.mutant == MutantLedgerByNow {
		month = int(w.now/200) % 3
	}
	var out []chmodel.Row
	for _, l := range e.Ledger {
		h := fnv.New64a()
		h.Write(fmt.Appendf(nil, "%+v", l))
		w.ledger[h.Sum64()] = l
		out = append(out, chmodel.Row{Topic: topic, Partition: l.Partition, Offset: l.First, Epoch: uint32(e.Batch.Epoch),
			TablePartition: month, Content: h.Sum64()})
	}
	return out
}

// dispatch puts the request on the wire.
func (p *proc) dispatch(r *request) {
	w := p.w
	p.after(insertTimeout, func() { p.insertAnswered(r, delivery.NoAnswer, errInjected) })
	delay := w.latency()
	switch {
	case p.strikes(DropInsertRequest, r.send.Store, r.send.Batch):
		return
	case p.strikes(DelayInsert, r.send.Store, r.send.Batch):
		delay += w.between(500, sendDeadline+1_000)
	}
	w.inserts = append(w.inserts, r)
	w.after(delay, func() { w.arrive(r) })
	p.point("sent " + string(r.send.Store))
}

func (w *world) arrive(r *request) {
	if w.now < w.serverUp {
		w.end(r, true)
		return
	}
	table, token := r.table, r.token
	if r.from.strikes(RefuseInsert, r.send.Store, r.send.Batch) {
		w.ch.RefuseNext(table, chmodel.CodeTooManyParts, "too many parts")
	}
	if w.mutant == MutantTwoBlocks && len(r.rows) > 1 && r.send.Store == waybill.StoreTarget {
		r.in = w.ch.BeginBlocks(table, token, [][]chmodel.Row{r.rows[:len(r.rows)/2], r.rows[len(r.rows)/2:]}, r.o)
	} else {
		r.in = w.ch.Begin(table, token, r.rows, r.o)
	}
	r.begun = w.now
	w.slice(r)
}

// slice lets the server take one step with an insert.
func (w *world) slice(r *request) {
	if r.in.Done() { // killed
		w.end(r, false)
		return
	}
	before, swallows := w.ch.Commits(), w.ch.Swallows(r.table)
	done := r.in.Step(w.now)
	if w.ch.Swallows(r.table) < swallows {
		w.hit(&armed{Fault: Fault{Kind: Swallow, Partition: -1, Store: r.send.Store}}, r.from.asking(r.send.Batch, stageOf[r.send.Store]))
	}
	w.touch(r)
	if w.ch.Commits() != before {
		r.from.point("slice " + string(r.send.Store))
	}
	if done {
		w.end(r, true)
		return
	}
	pause := w.latency()
	if w.slowInserts(r) {
		pause += w.between(300, 1_200)
	}
	left := r.begun + executionLimit - w.now
	w.after(min(pause, max(1, left/4)), func() { w.slice(r) })
}

func (w *world) slowInserts(r *request) bool {
	return r.from.strikes(SlowInsert, r.send.Store, r.send.Batch)
}

// touch notes which tokens an insert may have planted by now.
func (w *world) touch(r *request) {
	for _, table := range []string{r.table, tableView} {
		if table == tableView && (!w.opt.views || r.table != tableTarget) {
			continue
		}
		key := table + " " + r.token
		t := w.tokens[key]
		if t == nil {
			t = &tokenState{first: w.now}
			w.tokens[key] = t
		}
		t.last = w.now
	}
}

// end: the server is done; the reply goes out if there is one.
func (w *world) end(r *request, reply bool) {
	for i, o := range w.inserts {
		if o == r {
			w.inserts = append(w.inserts[:i:i], w.inserts[i+1:]...)
			break
		}
	}
	p := r.from
	if !reply || p.dead || p.strikes(DropInsertReply, r.send.Store, r.send.Batch) {
		return
	}
	answer, err := delivery.NoAnswer, errInjected
	if r.in != nil {
		answer, err = classify(r.in.Result())
	}
	p.after(w.latency(), func() { p.insertAnswered(r, answer, err) })
}

// classify is the performer's reading of the server's answer.
func classify(a chmodel.Answer) (delivery.Answer, error) {
	switch {
	case a.OK && a.Duplicated == 0:
		return delivery.Landed, nil
	case a.OK:
		return delivery.Deduplicated, nil
	}
	err := fmt.Errorf("code %d: %s", a.ErrCode, a.Err)
	switch {
	case a.ErrCode == chmodel.CodeConstraint && a.Err == chmodel.ErrFence:
		return delivery.Fenced, err
	case a.ErrCode == chmodel.CodeConstraint:
		return delivery.Refused, err
	case a.ErrCode == chmodel.CodeUnknownTable:
		return delivery.Impossible, err
	}
	return delivery.NoAnswer, err
}

func (p *proc) insertAnswered(r *request, a delivery.Answer, err error) {
	if r.over {
		return
	}
	r.over = true
	if a == delivery.NoAnswer {
		p.w.faulty = true // slow enough to be given up counts as a fault
	}
	of := r.of
	of.left--
	of.answers = append(of.answers, a)
	if err != nil {
		of.err = err
	}
	if a == delivery.Landed {
		of.landed = of.landed.Union(rowsOf(r.rows))
	}
	if of.left > 0 {
		return
	}
	a = delivery.Together(of.answers)
	if p.w.mutant == MutantOneAnswerForAll {
		a = of.answers[0]
	}
	p.step(delivery.SendAnswered{Op: r.send.Op, Answer: a, Landed: of.landed, Err: of.err})
	p.point("answered " + string(r.send.Store))
}
