package engine

import (
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/waybill-data/waybill"
	"github.com/waybill-data/waybill/internal/clickhouse"
	"github.com/waybill-data/waybill/internal/deadletter"
	"github.com/waybill-data/waybill/internal/decode/raw"
	"github.com/waybill-data/waybill/internal/delivery"
	"github.com/waybill-data/waybill/internal/failpoint"
	"github.com/waybill-data/waybill/internal/ledger"
	"github.com/waybill-data/waybill/internal/objects"
)

// request is one INSERT of a Send: of its rows in one table, if they are for the target.
type request struct {
	in clickhouse.Insert // without token and deadline
	// objects are what is written in place of an INSERT; nil: nothing is.
	objects []objects.Object
	rows    delivery.RowSet
	// route is part of the token: each table has a chain of its own. table is its number.
	route string
	table int
}

// insertsOf are the INSERTs that a Send asks for, and what to count of the rows that turn out to be there. d is nil if there was
// nothing to rebuild the batch from.
func (t *target) insertsOf(l *life, e delivery.Send, d *data) (reqs []request, count func(delivery.RowSet), err error) {
	count = func(delivery.RowSet) {}
	switch e.Store {
	case waybill.StoreDeadLetters:
		envelopes, err := t.envelopes(l, e, d)
		expires := t.expires()
		for i := range envelopes {
			envelopes[i].Expires = expires
		}
		if err == nil {
			err = l.p.mirror(l.ctx, envelopes)
		}
		return []request{{in: clickhouse.Insert{Database: t.ledger.Database(), Table: ledger.TableDeadLetters, Input: deadletter.Block(envelopes)}, rows: e.Rows}},
			func(there delivery.RowSet) { l.p.countDead(envelopes, there) }, err
	case waybill.StoreLedger:
		rows, err := t.ledgerRows(l, e, d)
		return []request{{in: clickhouse.Insert{Database: t.ledger.Database(), Table: ledger.TableLedger, Input: ledger.Block(rows)}, rows: e.Rows}},
			func(there delivery.RowSet) { l.p.count(e.Ledger, there) }, err
	}
	reqs, err = t.targetInserts(l, e, d)
	return reqs, count, err
}

// targetInserts are the INSERTs of a batch's rows into the tables as they are now.
func (t *target) targetInserts(l *life, e delivery.Send, d *data) ([]request, error) {
	if d == nil {
		return nil, t.irretrievable(e)
	}
	parts := d.pick(e.Rows)
	if parts == nil {
		return nil, t.irretrievable(e)
	}
	if err := t.storeContent(l.ctx, l.p, d.blocks); err != nil {
		return nil, err
	}
	p, err := t.plan(l.ctx, e.Batch.Plan)
	if err != nil {
		return nil, err
	}
	s, routes := t.now(), p.Routes()
	var out []request
	for _, part := range parts {
		one, plan := t.tables[part.table], routes[part.table].Plan
		if one.objects != nil {
			all, err := one.objectsOf(plan, &part, e.Batch)
			if err != nil {
				return nil, err
			}
			out = append(out, request{objects: all, rows: part.rows, table: part.table})
			continue
		}
		in, gone, err := one.insert(l.ctx, s.tables[part.table], plan, raw.Stamp(plan, part.block, e.Batch.Time))
		if err != nil {
			return nil, err
		}
		if names := strings.Join(gone, ", "); names != "" && l.p.inserts[part.table].tell(e.Batch.ID, "column_dropped "+names) {
			l.p.found(waybill.Finding{Kind: "column_dropped", Severity: waybill.SeverityWarning, Subject: one.name() + " " + names, Batch: e.Batch.ID.String(),
				Message: fmt.Sprintf("columns %s are gone from %s; batch %s, which was gathered before, is written without them, as if it had come just before the DROP", names, one.place(), e.Batch.ID.Short()),
				Action:  "the values are in the topic: take the columns out of the contract, or add them again and read the span anew"})
		}
		out = append(out, request{in: in, rows: part.rows, route: routes[part.table].Name, table: part.table})
	}
	return out, nil
}

// irretrievable: rows that had been seen in a store are gone from it, and so are the records they came from.
func (t *target) irretrievable(e delivery.Send) error {
	tp := e.Rows.Partitions()[0]
	return &waybill.Error{Op: "engine.send", Pipeline: t.cfg.Name, Class: waybill.ClassSchema,
		Position: waybill.Position{Topic: tp.Topic, Partition: tp.Partition, Offset: e.Rows[tp].Bounds().First},
		Err:      fmt.Errorf("rows of batch %s are gone from the %s, and so are the records to make them from: %s", e.Batch.ID.Short(), e.Store, e.Rows),
		Hint:     "find out what removes rows from the table, and bring them back"}
}

// sendAll sends what a Send asks for, tables side by side, and sums up what came of it: for delivery they are one store, of which
// the rows of one request are as good as those of another. clean: nobody holds on to the blocks.
func (l *life) sendAll(e delivery.Send, shape *shape, reqs []request) (ev delivery.SendAnswered, clean bool) {
	replies := make([]reply, len(reqs))
	var wg sync.WaitGroup
	for i := range reqs {
		wg.Go(func() { replies[i] = l.sendOne(e, shape, &reqs[i]) })
	}
	wg.Wait()
	answers := make([]delivery.Answer, len(reqs))
	ev, clean = delivery.SendAnswered{Op: e.Op, Landed: delivery.RowSet{}}, true
	for i, r := range replies {
		if answers[i] = r.answer; r.answer == delivery.Landed {
			ev.Landed = ev.Landed.Union(reqs[i].rows)
		}
		if ev.Err == nil {
			ev.Err = r.err
		}
		clean = clean && r.clean
	}
	ev.Answer = delivery.Together(answers)
	return ev, clean
}

// reply is what came of one request.
type reply struct {
	answer delivery.Answer
	err    error
	clean  bool // nobody holds on to its block
}

func (l *life) sendOne(e delivery.Send, shape *shape, r *request) reply {
	// Right before the send, and nowhere earlier: a worker whose group has given it up must not send.
	deadline, ok := l.deadline()
	if !ok && l.placing != nil {
		return reply{delivery.NoAnswer, errOldLook, true} // nothing was sent; it is looked at again
	}
	if !ok {
		l.p.log.Warn("the lease ran out before a send", "batch", e.Batch.ID.Short(), "store", e.Store)
		return reply{delivery.NotSent, nil, true}
	}
	r.in.Token, r.in.Deadline = l.p.tokenOf(e, r.route), deadline
	if e.Store == waybill.StoreTarget {
		failpoint.During(failpoint.DuringTarget)
	}
	began := time.Now()
	a := l.p.target.sent(l.ctx, r)
	switch {
	case a.Changed:
		l.outdated()
	case a.Exchanged:
		l.lookAgain()
	}
	if e.Store == waybill.StoreTarget {
		l.p.target.inserted(l.p, r.table, shape, e.Batch, r.in, a, began)
	}
	out := reply{answer: l.p.answerOf(a), clean: a.Outcome == clickhouse.Landed || e.Store != waybill.StoreTarget}
	l.p.metrics.Insert(e.Store, insertOutcome(a), a.Wall)
	if e.Store == waybill.StoreTarget {
		l.p.noteInsert(a.Wall)
	}
	l.p.log.Debug("insert", "batch", e.Batch.ID.Short(), "store", e.Store, "table", r.in.Table, "k", e.K, "rows", a.Rows, "answer", out.answer.String(), "took", a.Wall)
	if out.answer == delivery.Refused {
		l.refused(e.Work, r.rows, a.Err)
	}
	if a.Err != nil {
		out.err = a.Err
	}
	return out
}

// tokenOf is the token of a request. Where it would not be told that a token was known, each request has one of its own.
func (p *Pipeline) tokenOf(e delivery.Send, route string) waybill.Token {
	token := e.Token
	if route != "" {
		token += waybill.Token("-" + route)
	}
	if p.unsaid() {
		token += waybill.Token("-" + uuid.NewString())
	}
	return token
}
