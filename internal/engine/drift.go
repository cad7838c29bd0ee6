package engine

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/waybill-data/waybill"
	"github.com/waybill-data/waybill/internal/clickhouse"
	"github.com/waybill-data/waybill/internal/contract"
	"github.com/waybill-data/waybill/internal/drift"
	"github.com/waybill-data/waybill/internal/ledger"
)

// drifting is what a pipeline notes of how its events differ from the contract.
type drifting struct {
	mu       sync.Mutex       // held for moments only: who observes holds life.mu
	monitors []*drift.Monitor // one for each table
	// unsent are rows that are not in the table yet, under the token that they are sent with. They are the watch's, and after
	// the last life closeTarget's.
	unsent []drift.Row
	token  waybill.Token
	// assumed are records of unknown versions that were taken for the current one, in this process. life.mu guards it.
	assumed int64
}

// observe notes what a settled batch carried beside what the contract says.
func (p *Pipeline) observe(d *data) {
	if d.assumed > 0 {
		first := p.drift.assumed == 0
		p.drift.assumed += d.assumed
		p.log.Warn("events of an unknown version were taken as they are", "events", d.assumed, "so_far", p.drift.assumed, "batch", d.batch.ID.Short())
		if first {
			p.found(waybill.Finding{Kind: "unknown_version", Severity: waybill.SeverityWarning, TopicPartition: d.spans[0].TopicPartition, Span: d.spans[0].Span, Batch: d.batch.ID.String(),
				Message: fmt.Sprintf("%d events of this batch have a version that no upcaster is for; they were taken for the current one, as the file says", d.assumed),
				Action:  "give the version an upcaster, or say unknown: dead_letter; the log counts further ones"})
		}
	}
	var of drift.Batch
	for i, s := range d.spans {
		end := contract.At{Topic: s.Topic, Partition: s.Partition, Offset: max(s.First, s.Next-1), Time: d.batch.Time}
		if of.Last = end; i == 0 {
			of.First = end
			of.First.Offset = s.First
		}
	}
	p.drift.mu.Lock()
	defer p.drift.mu.Unlock()
	for i, r := range d.made.Routes() {
		t, b := &d.tables[i], of
		b.Plan, b.Written, b.Blank, b.Drift, b.Columns = r.Plan, t.count, t.blank, t.notes.Drift, map[string]drift.Counts{}
		for name, n := range t.notes.Defaulted {
			b.Columns[name] = drift.Counts{Missing: n.Missing, Null: n.Null, Invalid: n.Invalid}
		}
		for name, n := range t.notes.Nulls {
			c := b.Columns[name]
			c.Null += n
			b.Columns[name] = c
		}
		p.drift.monitors[i].Observe(b)
	}
}

// knowDrift tells the monitor what has been told of already, by any worker and before any restart.
func (p *Pipeline) knowDrift(ctx context.Context, t *target) error {
	rows, err := t.ledger.Drift(ctx, p.cfg.Name, t.epoch, time.Time{})
	if err != nil {
		return err
	}
	p.drift.mu.Lock()
	defer p.drift.mu.Unlock()
	for i, one := range t.tables {
		for j := range rows {
			if rows[j].Target == one.name() {
				p.drift.monitors[i].Know(rows[j].Key)
			}
		}
	}
	return nil
}

// flushDrift makes findings of what has been observed, and puts it into the table waybill.drift. What cannot be put there now stays for
// the next time.
func (p *Pipeline) flushDrift(ctx context.Context, t *target) error {
	if len(p.drift.unsent) == 0 {
		p.drift.mu.Lock()
		var rows []drift.Row
		var findings []waybill.Finding
		for i, m := range p.drift.monitors {
			found := m.Standing()
			of, fresh := m.Flush(t.client.ServerNow(time.Now()))
			found = append(found, fresh...)
			for j := range of {
				of[j].Target = t.tables[i].name()
			}
			rows, findings = append(rows, of...), append(findings, t.named(i, found)...)
		}
		p.drift.mu.Unlock()
		for _, f := range findings {
			p.found(f)
		}
		p.drift.unsent, p.drift.token = rows, waybill.Token("drift-"+uuid.NewString())
	}
	if len(p.drift.unsent) == 0 {
		return nil
	}
	a := t.client.Insert(ctx, clickhouse.Insert{Database: t.ledger.Database(), Table: ledger.TableDrift, Token: p.drift.token,
		Input: ledger.DriftBlock(p.cfg.Name, t.epoch, p.drift.unsent)})
	if a.Err != nil {
		return a.Err
	}
	p.drift.unsent = nil
	return nil
}

// named says in findings which of several tables they are about.
func (t *target) named(i int, findings []waybill.Finding) []waybill.Finding {
	if len(t.tables) > 1 {
		for j := range findings {
			findings[j].Message = "table " + t.tables[i].name() + ": " + findings[j].Message
			findings[j].Subject = strings.TrimSpace(t.tables[i].name() + " " + findings[j].Subject)
		}
	}
	return findings
}

// changeToken is for one worker's note of one change of the table.
func changeToken() waybill.Token { return waybill.Token("change-" + uuid.NewString()) }

// noteChange puts a change of the table, or the server's refusal of it, on record. after is the plan that is compiled from the table as it is then.
func (t *target) noteChange(ctx context.Context, p *Pipeline, i int, s *shape, c contract.Change, sql string, refused error) {
	sink := t.tables[i].cfg.Sink.ClickHouse
	row := ledger.Change{At: t.client.ServerNow(time.Now()), Pipeline: t.cfg.Name, Database: sink.Database, Table: sink.Table, Change: c, Statement: sql,
		Outcome: ledger.OutcomeApplied, Before: s.plan.ID(), Worker: worker()}
	if refused != nil {
		row.Outcome, row.Error = ledger.OutcomeRefused, refused.Error()
	} else if after, err := t.look(ctx); err == nil {
		row.After = after.plan.ID()
	}
	a := t.client.Insert(ctx, clickhouse.Insert{Database: t.ledger.Database(), Table: ledger.TableChanges, Token: changeToken(), Input: ledger.ChangeBlock([]ledger.Change{row})})
	if a.Err != nil {
		p.log.Error("a change of the table could not be put on record", "sql", sql, "error", a.Err)
	}
}
