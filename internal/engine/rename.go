package engine

import (
	"context"
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

// underway is what is known of the inserts of late. It forgets those that ended before the server took a later block of the same plan: the table
// had all of the plan's columns then.
type underway struct {
	mu     sync.Mutex
	last   []written
	recent []written                    // those of the last moments, whatever was proved of them: see lookForDetours
	proofs map[waybill.PlanID]time.Time // when such a block came, at the latest
	told   map[string]bool              // findings about batches, which are met again with each send
}

// written is a batch of which rows may have landed.
type written struct {
	batch *waybill.Batch
	plan  *contract.Plan
	began time.Time
	at    time.Time // when it was over
}

// wrote notes an insert that may have landed. proved: it has, and the server has compared all columns of the plan.
func (u *underway) wrote(b *waybill.Batch, plan *contract.Plan, began, over time.Time, proved bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.proofs == nil {
		u.proofs = map[waybill.PlanID]time.Time{}
	}
	if proved && began.After(u.proofs[b.Plan]) {
		u.proofs[b.Plan] = began
	}
	u.last = append(u.last, written{b, plan, began, over})
	u.recent = append(u.recent, written{b, plan, began, over})
	u.last = slices.DeleteFunc(u.last, func(w written) bool { return w.at.Before(u.proofs[w.batch.Plan]) })
}

// forget begins anew, and is what was known until then.
func (u *underway) forget() []written {
	u.mu.Lock()
	defer u.mu.Unlock()
	last := u.last
	u.last = nil
	clear(u.proofs)
	return last
}

// takeRecent is the inserts of the last moments. Those that were over for a while are forgotten: what befell them is known by now.
func (u *underway) takeRecent(now time.Time) []written {
	u.mu.Lock()
	defer u.mu.Unlock()
	recent := u.recent
	u.recent = slices.DeleteFunc(slices.Clone(recent), func(w written) bool { return w.at.Before(now.Add(-2 * renameMargin)) })
	return recent
}

// renameMargin is by how much the server's clock, in seconds, and ours may differ on when a column was renamed.
const renameMargin = 3 * time.Second

// tell reports whether this was not said of the batch yet.
func (u *underway) tell(id waybill.BatchID, what string) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.told == nil {
		u.told = map[string]bool{}
	}
	key := id.String() + " " + what
	told := u.told[key]
	u.told[key] = true
	return !told
}

// inserted notes an insert into a table, which was made for it as it was in s.
func (t *target) inserted(p *Pipeline, table int, s *shape, b *waybill.Batch, in clickhouse.Insert, a clickhouse.Answer, began time.Time) {
	plan := t.knownOf(b, table)
	if plan == nil || in.Types == "" || a.NotSent || a.Outcome == clickhouse.Refused {
		return
	}
	p.inserts[table].wrote(b, plan, began, time.Now(), len(in.Input) == len(plan.Columns()) && a.Outcome.Answered())
	now := t.now()
	if now == s {
		return
	}
	sent := map[string]bool{} // while the gatherer read the table anew
	for _, c := range in.Input {
		sent[c.Name] = true
	}
	var met []string
	for _, r := range renames(plan, now.tables[table]) {
		if sent[r.old] {
			met = append(met, r.String())
		}
	}
	t.metRename(p, table, b, met)
}

// knownOf is what a batch's plan says of a table, if the plan is at hand.
func (t *target) knownOf(b *waybill.Batch, table int) *contract.Plan {
	if plan := t.known(b.Plan); plan != nil {
		return plan.Routes()[table].Plan
	}
	return nil
}

// lookForRenames tells of batches that were written of late, if the tables that the gatherer has read anew have other names for their columns.
func (t *target) lookForRenames(p *Pipeline, s *shape) {
	for i := range t.tables {
		for _, w := range p.inserts[i].forget() {
			t.metRename(p, i, w.batch, texts(renames(w.plan, s.tables[i])))
		}
	}
}

// foundWritten tells of a batch whose rows are there, though it is not known what the tables looked like when they came.
func (t *target) foundWritten(ctx context.Context, p *Pipeline, b *waybill.Batch) {
	now := t.now()
	for i, one := range t.tables {
		plan := t.knownOf(b, i)
		if plan == nil {
			continue
		}
		met := texts(renames(plan, now.tables[i]))
		if len(met) == 0 && one.objects == nil { // it may have been so for a while
			since := time.UnixMilli(b.Time).Add(-renameMargin)
			met = detours(plan, t.renamesOf(ctx, p, one, since), since, t.client.ServerNow(time.Now()))
		}
		t.metRename(p, i, b, met)
	}
}

// renamesOf are the columns that a table has renamed since some time by the server's clock. Where they cannot be asked for, that is all that is said.
func (t *target) renamesOf(ctx context.Context, p *Pipeline, one *table, since time.Time) []clickhouse.Renamed {
	c := one.cfg.Sink.ClickHouse
	all, err := t.client.Renames(ctx, c.Database, c.Table, since)
	if err != nil {
		p.log.Debug("it is not known which columns were renamed of late", "error", err)
	}
	return all
}

// detours are renames of a plan's columns within a time, also of those that have their old names again.
func detours(plan *contract.Plan, all []clickhouse.Renamed, from, to time.Time) (met []string) {
	for _, r := range all {
		ours := slices.ContainsFunc(plan.Columns(), func(c contract.PlanColumn) bool { return c.Name == r.Old })
		if ours && !r.At.Before(from) && !r.At.After(to) {
			met = append(met, renaming{r.Old, r.New}.String())
		}
	}
	return met
}

// lookForDetours tells of batches of the last moments that a rename may have met which was taken back before anybody looked at the table.
func (t *target) lookForDetours(ctx context.Context, p *Pipeline) {
	now := time.Now()
	for i, one := range t.tables {
		recent := p.inserts[i].takeRecent(now)
		if len(recent) == 0 || one.objects != nil {
			continue
		}
		since := recent[0].began
		for _, w := range recent {
			if w.began.Before(since) {
				since = w.began
			}
		}
		all := t.renamesOf(ctx, p, one, t.client.ServerNow(since).Add(-renameMargin))
		if len(all) == 0 {
			continue
		}
		for _, w := range recent {
			t.metRename(p, i, w.batch, detours(w.plan, all, t.client.ServerNow(w.began).Add(-renameMargin), t.client.ServerNow(w.at).Add(renameMargin)))
		}
	}
}

// lookForLosses is lookForRenames for tables that do not fit the contract any more: where a column has gone is not known then.
func (t *target) lookForLosses(ctx context.Context, p *Pipeline) {
	for i, one := range t.tables {
		c := one.cfg.Sink.ClickHouse
		schema, _, err := t.client.Describe(ctx, c.Database, c.Table, one.lineage)
		if err != nil {
			continue
		}
		for _, w := range p.inserts[i].forget() {
			var gone []string
			for _, c := range w.plan.Columns() {
				if c.Source == contract.SourceField && !has(schema, c.Name) {
					gone = append(gone, c.Name+" is gone")
				}
			}
			t.metRename(p, i, w.batch, gone)
		}
	}
}

func has(schema contract.TableSchema, name string) bool {
	return slices.ContainsFunc(schema.Columns, func(in contract.TableColumn) bool { return in.Name == name })
}

// renaming is a column of a plan that has another name by now.
type renaming struct{ old, new string }

func (r renaming) String() string { return r.old + " to " + r.new }

func texts(all []renaming) (out []string) {
	for _, r := range all {
		out = append(out, r.String())
	}
	return out
}

// renames are columns of a plan that have another name in s.
func renames(p *contract.Plan, s *tableShape) (out []renaming) {
	for _, c := range p.Columns() {
		if has(s.schema, c.Name) {
			continue
		}
		if name, ok := renamed(c, p, s.plan); ok {
			out = append(out, renaming{c.Name, name})
		}
	}
	return out
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
func (t *target) metRename(p *Pipeline, table int, b *waybill.Batch, names []string) {
	if len(names) == 0 || !p.inserts[table].tell(b.ID, "column_renamed") {
		return
	}
	p.found(waybill.Finding{Kind: "column_renamed", Severity: waybill.SeverityWarning, Subject: t.tables[table].name(), Batch: b.ID.String(), TopicPartition: b.Spans[0].TopicPartition, Span: b.Spans[0].Span,
		Message: fmt.Sprintf("columns of %s were renamed (%s) perhaps while batch %s was being inserted; ClickHouse leaves such values under the old name, where nothing reads them",
			t.tables[table].name(), strings.Join(names, ", "), b.ID.Short()),
		Action: "to see them: ALTER TABLE ... ADD COLUMN <old name> <its type>, before parts are merged; then UPDATE the new column from it. Stop the workers before you rename or drop a column"})
}
