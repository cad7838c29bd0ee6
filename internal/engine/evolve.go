package engine

import (
	"errors"
	"fmt"
	"time"

	"github.com/waybill-data/waybill"
	"github.com/waybill-data/waybill/internal/clickhouse"
	"github.com/waybill-data/waybill/internal/contract"
	"github.com/waybill-data/waybill/internal/delivery"
	"github.com/waybill-data/waybill/internal/failpoint"
)

// evolve changes the tables for what the open batch carries, if the contract says so and the tables can be changed. It is true if the
// batch has been dropped, and its records are gathered again under a new plan. Nothing of it has been promised yet.
func (g *gatherer) evolve() bool {
	t := g.l.p.target
	s := t.now()
	todo := make([][]contract.Change, len(t.tables))
	some := false
	for i, one := range t.tables {
		todo[i] = one.evolution(g.l.p, s.tables[i], g.open.tables[i].notes.Drift)
		some = some || len(todo[i]) > 0
	}
	if !some {
		return false
	}
	// Somebody may have changed the table since it was read. What we would widen may be wider by now than what we would make of it.
	if g.l.lookAgain() != unchanged {
		g.restart()
		return true
	}
	applied := 0
	for i, changes := range todo {
		for _, c := range changes {
			if t.alter(g.l, i, s, c) {
				applied++
			}
		}
	}
	if applied == 0 || g.l.ctx.Err() != nil {
		return g.l.ctx.Err() != nil
	}
	_ = g.replan() // an error means that the life is over
	return true
}

// restart drops the open batch, and gathers its records again.
func (g *gatherer) restart() {
	if at := g.abandon(); len(at) > 0 {
		g.l.sess.Start(at...)
	}
}

// replan compiles the plan anew from the table as it is now. If it is another one, the open batch is dropped and its records are
// gathered again. The error means that there is nothing to go on with; the machine knows why.
func (g *gatherer) replan() error {
	t := g.l.p.target
	for attempt := 1; ; attempt++ {
		s, err := t.look(g.l.ctx)
		if err == nil {
			err = t.adopt(g.l.ctx, s)
		}
		g.l.trouble(aboutTable, err, attempt-1)
		switch {
		case err == nil:
			t.lookForRenames(g.l.p, s)
			return g.under(s)
		case g.l.ctx.Err() != nil:
			return g.l.ctx.Err()
		case errors.Is(err, errExchanged):
			g.l.cancel(&replanError{})
			return err
		case !lasting(err):
			t.lookForLosses(g.l.ctx, g.l.p)
			g.l.step(delivery.Failed{Err: err})
			return err
		}
		if err := wait(g.l.ctx, backoff(attempt)); err != nil {
			return err
		}
	}
}

// under goes on under the plan of s.
func (g *gatherer) under(s *shape) error {
	old := g.proc.Plan()
	if s.plan.ID() == old.ID() {
		return nil
	}
	proc, err := g.l.processor(s.plan)
	if err != nil {
		g.l.step(delivery.Failed{Err: err})
		return err
	}
	g.l.p.log.Info("the table has changed: going on under a new plan", "from", old.ID().String(), "to", s.plan.ID().String())
	at := g.abandon() // before the new processor: the notes are the old one's
	g.proc = proc
	g.l.mu.Lock()
	g.l.plan, g.l.blocks = s.plan.ID(), blocks{} // those are of the old plan's columns
	g.l.mu.Unlock()
	if len(at) > 0 {
		g.l.sess.Start(at...)
	}
	return nil
}

// evolver is what a worker remembers of the changes of its table.
type evolver struct {
	// sent are the statements that have been sent.
	sent map[string]*attempt
	// told are the paths and columns that findings have said that they are left to the rescue column.
	told map[string]bool
	// added are columns that Waybill has added, whichever worker did: if one is gone, somebody has dropped it, and it is not
	// added again.
	added map[string]bool
}

// attempt is what came of sending a statement. One that was carried out and is asked for again did not help: it is not repeated.
type attempt struct {
	refused int       // times
	again   time.Time // if it was refused: not to be sent before
}

// Refused statements are sent again after firstRefusal, and then after twice as long each time, up to lastRefusal: a grant that is given
// later, or a server that is in a better state, is all that they need.
const (
	firstRefusal = 10 * time.Second
	lastRefusal  = 10 * time.Minute
)

// refuse notes a refusal, and reports whether it is the statement's first.
func (a *attempt) refuse(now time.Time) (first bool) {
	wait := lastRefusal
	if a.refused < 6 {
		wait = firstRefusal << a.refused
	}
	a.refused, a.again = a.refused+1, now.Add(wait)
	return a.refused == 1
}

// due reports whether a statement may be sent.
func (e *evolver) due(sql string, now time.Time) bool {
	a := e.sent[sql]
	return a == nil || a.refused > 0 && !now.Before(a.again)
}

// evolution is what is to be changed for the drift.
func (t *table) evolution(p *Pipeline, s *tableShape, drift []contract.FieldDrift) []contract.Change {
	e := contract.Evolve(t.cfg.Contract, s.plan, s.schema, drift)
	for _, h := range e.Held {
		if !h.Open {
			t.hold(p, h.Path, h.Column, h.Why)
		}
	}
	var todo []contract.Change
	for _, c := range e.Changes {
		switch {
		case c.Kind == contract.ModifyColumn && len(s.info.Views) > 0:
			t.hold(p, c.Path, c.Column, "materialized views read the column, and would cast its new type in silence; widen it by hand, with them: "+t.statement(c))
		case c.Kind == contract.AddColumn && t.evolver.added[c.Column]:
			t.hold(p, c.Path, c.Column, "the column was added before, and somebody has dropped it; add it again by hand to have it filled")
		case t.evolver.due(t.statement(c), time.Now()):
			todo = append(todo, c)
		}
	}
	return todo
}

// hold leaves drift to the rescue column, in sight.
func (t *table) hold(p *Pipeline, path, column, why string) {
	if key := column + "\x00" + path; !t.evolver.told[key] {
		t.evolver.told[key] = true
		p.found(waybill.Finding{Kind: "evolve_held", Severity: waybill.SeverityWarning, Subject: t.name() + " " + path,
			Message: fmt.Sprintf("table %s is not changed for %s: %s", t.place(), path, why),
			Action:  "the values go to the rescue column; give the path a column or a mode in the contract"})
	}
}

func (t *table) statement(c contract.Change) string {
	sink := t.cfg.Sink.ClickHouse
	return c.SQL(sink.Database, sink.Table, sink.Cluster)
}

// tries bounds how often an ALTER is sent at first that the server cannot carry out now. Records wait meanwhile.
const tries = 5

// alter carries out one change; false if the table is as it was. What the server refuses is rescued from now on.
func (t *target) alter(l *life, i int, s *shape, c contract.Change) bool {
	one := t.tables[i]
	sql := one.statement(c)
	sent, most := one.evolver.sent[sql], 1
	if sent == nil {
		sent, most = &attempt{}, tries
	}
	err := t.send(l, sql, most)
	if l.ctx.Err() != nil {
		return false // what came of it is not known: the next life sends it again
	}
	one.evolver.sent[sql] = sent
	l.trouble(aboutTable, nil, 0)
	if err != nil && !sent.refuse(time.Now()) {
		l.p.log.Info("the server still refuses to change the table", "error", err, "times", sent.refused, "next", sent.again)
		return false
	}
	t.noteChange(l.ctx, l.p, i, s, c, sql, err)
	l.p.metrics.Alter(string(c.Kind), err == nil)
	if err != nil {
		l.p.found(waybill.Finding{Kind: "evolve_refused", Severity: waybill.SeverityWarning, Subject: one.name() + " " + c.Path,
			Message: fmt.Sprintf("the server refused to change table %s for %s, which came first in %s at offset %d: %v", one.place(), c.Path, at(c.First), c.First.Offset, err),
			Action:  "the values go to the rescue column until it does; it is asked again every few minutes. Grant ALTER, or run it yourself: " + sql})
		return false
	}
	sent.refused = 0
	l.p.mended(waybill.FindingKey{Kind: "evolve_refused", Subject: one.name() + " " + c.Path}, "the server has changed the table: "+sql)
	kind, verb := "column_added", "added column "+c.Column+" "+c.Type
	if c.Kind == contract.ModifyColumn {
		kind, verb = "column_widened", "widened column "+c.Column+" from "+c.From+" to "+c.Type
	} else {
		one.evolver.added[c.Column] = true
	}
	l.p.found(waybill.Finding{Kind: kind, Severity: waybill.SeverityInfo, Subject: one.name() + " " + c.Column, TopicPartition: at(c.First), Span: spanAt(c.First),
		Message: fmt.Sprintf("%s for %s: %s", verb, c.Path, c.Why), Action: "nothing to do; `waybill schema history` shows it"})
	return true
}

// send sends a statement until the server has carried it out or refused it, or could not carry it out so many times. A server that answers
// nothing at all takes no rows either: it is waited for.
func (t *target) send(l *life, sql string, most int) error {
	for attempt, answered := 0, 0; ; attempt++ {
		if err := wait(l.ctx, backoff(attempt)); err != nil {
			return err
		}
		failpoint.Hit(failpoint.BeforeAlter)
		err := t.client.Exec(l.ctx, sql)
		failpoint.Hit(failpoint.AfterAlter)
		l.trouble(aboutTable, err, attempt)
		if err == nil || !waybill.ClassOf(err).Heals() && !clickhouse.NotSent(err) { // a password that has changed is no answer to the statement
			return err
		}
		if _, _, away := t.client.Boot(l.ctx); away == nil {
			answered++
		}
		if answered == most {
			return err
		}
	}
}

func at(a contract.At) waybill.TopicPartition {
	return waybill.TopicPartition{Topic: a.Topic, Partition: a.Partition}
}

func spanAt(a contract.At) waybill.Span { return waybill.Span{First: a.Offset, Next: a.Offset + 1} }
