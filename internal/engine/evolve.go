package engine

import (
	"fmt"

	"github.com/waybill-data/waybill"
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
			return g.under(s)
		case g.l.ctx.Err() != nil:
			return g.l.ctx.Err()
		case !waybill.ClassOf(err).Heals():
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
	proc, err := g.l.p.target.processor(s.plan)
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
	// tried are the statements that have been sent. One that is asked for again was refused, or did not help.
	tried map[string]bool
	// told are the paths and columns that findings have said that they are left to the rescue column.
	told map[string]bool
	// added are columns that Waybill has added, whichever worker did: if one is gone, somebody has dropped it, and it is not
	// added again.
	added map[string]bool
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
		case t.evolver.tried[t.statement(c)]:
		default:
			todo = append(todo, c)
		}
	}
	return todo
}

// hold leaves drift to the rescue column, in sight.
func (t *table) hold(p *Pipeline, path, column, why string) {
	if key := column + "\x00" + path; !t.evolver.told[key] {
		t.evolver.told[key] = true
		p.found(waybill.Finding{Kind: "evolve_held", Severity: waybill.SeverityWarning,
			Message: fmt.Sprintf("table %s is not changed for %s: %s", t.name(), path, why),
			Action:  "the values go to the rescue column; give the path a column or a mode in the contract"})
	}
}

func (t *table) statement(c contract.Change) string {
	sink := t.cfg.Sink.ClickHouse
	return c.SQL(sink.Database, sink.Table, sink.Cluster)
}

// tries bounds how often an ALTER is sent that the server cannot carry out now. Records wait meanwhile.
const tries = 5

// alter carries out one change; false if the table is as it was. What the server refuses is rescued from now on.
func (t *target) alter(l *life, i int, s *shape, c contract.Change) bool {
	one := t.tables[i]
	sql := one.statement(c)
	one.evolver.tried[sql] = true
	var err error
	for attempt := range tries {
		if wait(l.ctx, backoff(attempt)) != nil {
			return false
		}
		failpoint.Hit(failpoint.BeforeAlter)
		err = t.client.Exec(l.ctx, sql)
		failpoint.Hit(failpoint.AfterAlter)
		l.trouble(aboutTable, err, attempt)
		if err == nil || !waybill.ClassOf(err).Heals() {
			break
		}
	}
	if l.ctx.Err() != nil {
		return false
	}
	l.trouble(aboutTable, nil, 0)
	t.noteChange(l.ctx, l.p, i, s, c, sql, err)
	l.p.metrics.Alter(string(c.Kind), err == nil)
	if err != nil {
		l.p.found(waybill.Finding{Kind: "evolve_refused", Severity: waybill.SeverityWarning, TopicPartition: at(c.First), Span: spanAt(c.First),
			Message: fmt.Sprintf("the server refused to change table %s for %s: %v", one.name(), c.Path, err),
			Action:  "the values go to the rescue column; grant ALTER, or run it yourself: " + sql})
		return false
	}
	kind, verb := "column_added", "added column "+c.Column+" "+c.Type
	if c.Kind == contract.ModifyColumn {
		kind, verb = "column_widened", "widened column "+c.Column+" from "+c.From+" to "+c.Type
	} else {
		one.evolver.added[c.Column] = true
	}
	l.p.found(waybill.Finding{Kind: kind, Severity: waybill.SeverityInfo, TopicPartition: at(c.First), Span: spanAt(c.First),
		Message: fmt.Sprintf("%s for %s: %s", verb, c.Path, c.Why), Action: "nothing to do; `waybill schema history` shows it"})
	return true
}

func at(a contract.At) waybill.TopicPartition {
	return waybill.TopicPartition{Topic: a.Topic, Partition: a.Partition}
}

func spanAt(a contract.At) waybill.Span { return waybill.Span{First: a.Offset, Next: a.Offset + 1} }
