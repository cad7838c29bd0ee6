package engine

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/waybill-data/waybill"
	"github.com/waybill-data/waybill/internal/clickhouse"
	"github.com/waybill-data/waybill/internal/contract"
)

// ClickHouse leaves what an INSERT writes under a column's old name if the column is renamed while the INSERT is under way, and nothing reads it there
// (TestServer_InsertsUnderWayAndAlters). Waybill can neither prevent nor mend that. It says which batches it may have met.

// underway is what is known of inserts that were made for one shape of the table.
type underway struct {
	mu    sync.Mutex
	known time.Time // the table had that shape until then, at least
	last  []ended   // inserts that ended later
}

type ended struct {
	batch *waybill.Batch
	at    time.Time
}

// had notes that the table still had the shape at some time.
func (u *underway) had(at time.Time) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if at.After(u.known) {
		u.known = at
	}
	u.last = slices.DeleteFunc(u.last, func(e ended) bool { return e.at.Before(u.known) })
}

// wrote notes an insert that may have landed.
func (u *underway) wrote(b *waybill.Batch, at time.Time) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.last = append(u.last, ended{b, at})
}

// met are the batches whose inserts a change of the table may have met.
func (u *underway) met() []*waybill.Batch {
	u.mu.Lock()
	defer u.mu.Unlock()
	var out []*waybill.Batch
	for _, e := range u.last {
		if !slices.Contains(out, e.batch) {
			out = append(out, e.batch)
		}
	}
	return out
}

// inserted notes an insert that was made for the shape, unless nothing of it can have landed.
func (s *shape) inserted(b *waybill.Batch, in clickhouse.Insert, a clickhouse.Answer, began time.Time) {
	switch {
	case a.Outcome == clickhouse.Refused || a.NotSent:
		return
	case a.Outcome.Answered() && in.Types != "":
		s.inserts.had(began) // the server has compared
	}
	s.inserts.wrote(b, time.Now())
}

// lookForRenames: rows of the batch are there, and it is not known what the table looked like when they came.
func (l *life) lookForRenames(b *waybill.Batch) {
	t := l.p.target
	plan, err := t.plan(l.ctx, b.Plan)
	if err != nil {
		return // the batch is not carried out without it
	}
	if names := renames(plan, t.now()); len(names) > 0 {
		t.metRename(l.p, b, names)
	}
}

// renames are columns of a plan that have another name by now, as "old to new".
func renames(p *contract.Plan, s *shape) (names []string) {
	for _, c := range p.Columns() {
		if slices.ContainsFunc(s.schema.Columns, func(in contract.TableColumn) bool { return in.Name == c.Name }) {
			continue
		}
		if name, ok := renamed(c, p, s.plan); ok {
			names = append(names, c.Name+" to "+name)
		}
	}
	return names
}

// renamed is the column that takes now what column c of plan p took, which is gone.
func renamed(c contract.PlanColumn, p, now *contract.Plan) (name string, ok bool) {
	if c.Source != contract.SourceField {
		return "", false
	}
	for _, other := range now.Columns() {
		if other.Source == c.Source && other.Path == c.Path && other.As == c.As && !slices.Contains(p.ColumnNames(), other.Name) {
			return other.Name, true
		}
	}
	return "", false
}

// metRename says, once for each batch, that a rename may have met its insert.
func (t *target) metRename(p *Pipeline, b *waybill.Batch, names []string) {
	t.mu.Lock()
	told := t.metRenames[b.ID]
	t.metRenames[b.ID] = true
	t.mu.Unlock()
	if told {
		return
	}
	p.found(waybill.Finding{Kind: "column_renamed", Severity: waybill.SeverityWarning, Batch: b.ID.String(), TopicPartition: b.Spans[0].TopicPartition, Span: b.Spans[0].Span,
		Message: fmt.Sprintf("columns of %s were renamed (%s) perhaps while batch %s was being inserted; ClickHouse leaves such values under the old name, where nothing reads them",
			t.name(), strings.Join(names, ", "), b.ID.Short()),
		Action: "compare the batch's rows (its spans are in waybill.ledger) with the topic; stop the workers before you rename a column"})
}
