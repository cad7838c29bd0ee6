// Package verify says whether the table that a backfill has made may take the live one's place: the laws hold on it, and it differs from the live table
// by no more than was allowed.
package verify

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/waybill-data/waybill"
	"github.com/waybill-data/waybill/internal/audit"
	"github.com/waybill-data/waybill/internal/backfill/diff"
	"github.com/waybill-data/waybill/internal/clickhouse"
	"github.com/waybill-data/waybill/internal/config"
	"github.com/waybill-data/waybill/internal/contract"
	"github.com/waybill-data/waybill/internal/ledger"
)

// Deps are whom a verification asks.
type Deps struct {
	Client *clickhouse.Client
	Ledger *ledger.Store
	Source audit.Source // nil: there is no way to Kafka
	// Unreached is why, if the brokers were to be asked.
	Unreached error
	// Progress is told what is being done; it may be nil.
	Progress func(string)
	Now      func() time.Time // nil: time.Now
}

// Backfill is what is verified.
type Backfill struct {
	Job  string
	Live *config.Pipeline // under the epoch that live has
	// Shadow is the pipeline file of the backfill, see config.Shadow.
	Shadow *config.Pipeline
	// Scope is what the backfill was to read, by partition; nil: all.
	Scope map[int32]waybill.OffsetSet
}

// Options say how.
type Options struct {
	Thresholds diff.Thresholds
	// Content has the values of all rows compared with what their records give (law L5): all records are read again.
	Content bool
	Samples int
	Memory  int64
	Without []string // columns that are not compared
}

// Result is what came of it.
type Result struct {
	Pipeline string        `json:"pipeline"`
	Job      string        `json:"job,omitempty"`
	Epoch    waybill.Epoch `json:"epoch"` // of the shadow
	At       time.Time     `json:"at"`
	OK       bool          `json:"ok"`
	// Refusals are why it must not be promoted.
	Refusals   []string        `json:"refusals"`
	Thresholds diff.Thresholds `json:"thresholds"`
	Content    bool            `json:"content"` // law L5 was asked about
	Audit      *audit.Report   `json:"audit"`   // of the shadow
	Tables     []Table         `json:"tables"`
}

// Table is one of the pipeline's tables.
type Table struct {
	Route string       `json:"route,omitempty"`
	Diff  *diff.Report `json:"diff"`
	// Checksums are those of the shadow's own rows, up to where its account went.
	Checksums *diff.Checksums `json:"checksums"`
}

// Run verifies a backfill. The error says that it could not be done.
func Run(ctx context.Context, deps Deps, b Backfill, opts Options) (*Result, error) {
	if deps.Progress == nil {
		deps.Progress = func(string) {}
	}
	if deps.Now == nil {
		deps.Now = time.Now
	}
	topic := b.Shadow.Source.Kafka.Topic
	r := &Result{Pipeline: b.Live.Name, Job: b.Job, Epoch: b.Shadow.Epoch, At: deps.Now().UTC(), Refusals: []string{}, Thresholds: opts.Thresholds, Content: opts.Content, Tables: []Table{}}
	// The accounts first: what they say is in the tables.
	live, err := deps.reached(ctx, b.Live)
	if err != nil {
		return nil, err
	}
	shadow, err := deps.reached(ctx, b.Shadow)
	if err != nil {
		return nil, err
	}
	deps.Progress("the laws on the shadow")
	if r.Audit, err = deps.audit(ctx, b, opts); err != nil {
		return nil, err
	}
	for _, v := range r.Audit.Violations {
		r.Refusals = append(r.Refusals, fmt.Sprintf("law %s does not hold on the shadow: %s", v.Law, v.Message))
	}
	plan, err := deps.plan(ctx, b.Shadow)
	if err != nil {
		return nil, err
	}
	o := diff.Options{Topic: topic, Scope: b.Scope, LiveEnds: live, ShadowEnds: shadow, Samples: opts.Samples, Memory: opts.Memory, Now: deps.Now, Plan: plan, Without: opts.Without,
		Progress: func(p diff.Progress) { deps.Progress(fmt.Sprintf("%s: %d of %d", p.Step, p.Done, p.Of)) }}
	shadows := b.Shadow.Tables()
	for i, of := range b.Live.Tables() {
		o.Rescue = of.Contract.RescueColumn
		t := Table{Route: of.Route}
		if t.Diff, err = diff.Compare(ctx, deps.Client, refOf(of), refOf(shadows[i]), o); err != nil {
			return nil, err
		}
		own := diff.Options{Topic: topic, Scope: b.Scope, LiveEnds: shadow, Memory: opts.Memory, Plan: plan}
		if t.Checksums, err = diff.Sum(ctx, deps.Client, refOf(shadows[i]), own); err != nil {
			return nil, err
		}
		for _, why := range t.Diff.Refusals(opts.Thresholds) {
			if of.Route != "" {
				why = "route " + of.Route + ": " + why
			}
			r.Refusals = append(r.Refusals, why)
		}
		r.Tables = append(r.Tables, t)
	}
	r.OK = len(r.Refusals) == 0
	return r, nil
}

func refOf(of config.Table) diff.TableRef {
	c := of.Sink.ClickHouse
	return diff.TableRef{Database: c.Database, Table: c.Table, Lineage: c.Lineage}
}

// reached is up to where each partition is accounted for, without a gap.
func (d Deps) reached(ctx context.Context, cfg *config.Pipeline) (map[int32]int64, error) {
	tips, err := d.Ledger.Tips(ctx, cfg.Name, cfg.Epoch, cfg.Source.Kafka.Topic)
	if err != nil {
		return nil, err
	}
	out := map[int32]int64{}
	for p, tip := range tips {
		out[p] = tip.Next
	}
	return out, nil
}

// audit audits the shadow.
func (d Deps) audit(ctx context.Context, b Backfill, opts Options) (*audit.Report, error) {
	deps := audit.Deps{Client: d.Client, Ledger: d.Ledger, Source: d.Source, Unreached: d.Unreached, Progress: func(p audit.Progress) {
		d.Progress(fmt.Sprintf("the laws on the shadow: partition %d, %d of %d offsets", p.Partition, p.Done, p.Of))
	}}
	return audit.Run(ctx, deps, b.Shadow, audit.Options{Content: opts.Content, Scope: b.Scope})
}

// plan is the plan that the shadow was written under; nil: there were several, or none.
func (d Deps) plan(ctx context.Context, cfg *config.Pipeline) (*contract.Plan, error) {
	uses, err := d.Ledger.PlanUses(ctx, cfg.Name, cfg.Epoch)
	if err != nil {
		return nil, err
	}
	ids := map[waybill.PlanID]bool{}
	for _, u := range uses {
		ids[u.Plan] = true
	}
	if len(ids) != 1 {
		return nil, nil //nolint:nilnil // no single plan is an answer
	}
	id := slices.Collect(maps.Keys(ids))[0]
	stored, found, err := d.Ledger.Plan(ctx, "", id)
	if err != nil || !found {
		return nil, err
	}
	return contract.ParsePlan([]byte(stored.Text))
}

// Record is what is kept of a result on the job: what promotion needs, and what people ask for later.
type Record struct {
	At         time.Time       `json:"at"`
	OK         bool            `json:"ok"`
	Thresholds diff.Thresholds `json:"thresholds"`
	Laws       audit.Verdict   `json:"laws"`
	Content    bool            `json:"content"`
	Tables     []RecordTable   `json:"tables"`
}

// RecordTable is what is kept of one table.
type RecordTable struct {
	UUID      string           `json:"uuid"` // of the shadow
	Live      int64            `json:"live"` // rows that were compared
	Shadow    int64            `json:"shadow"`
	Rows      diff.Rows        `json:"rows"`
	Changed   map[string]int64 `json:"changed"` // by column
	Checksums *diff.Checksums  `json:"checksums"`
}

// Record is the result, for the job's record.
func (r *Result) Record() Record {
	out := Record{At: r.At, OK: r.OK, Thresholds: r.Thresholds, Laws: r.Audit.Verdict, Content: r.Content}
	for i := range r.Tables {
		d := r.Tables[i].Diff
		t := RecordTable{UUID: d.Shadow.UUID, Live: d.Live.Rows, Shadow: d.Shadow.Rows, Rows: d.Rows, Changed: map[string]int64{}, Checksums: r.Tables[i].Checksums}
		for _, c := range d.Columns {
			if c.Changed > 0 {
				t.Changed[c.Name] = c.Changed
			}
		}
		out.Tables = append(out.Tables, t)
	}
	return out
}

// Holds reports why a result on record says nothing of the shadow as it is now; empty: it does. What has been added behind the ends that were verified does no harm.
func Holds(ctx context.Context, client *clickhouse.Client, b Backfill, r *Record) (string, error) {
	tables := b.Shadow.Tables()
	if len(tables) != len(r.Tables) {
		return "it is about other tables", nil
	}
	for i, of := range tables {
		was := r.Tables[i]
		c := of.Sink.ClickHouse
		_, info, err := client.Describe(ctx, c.Database, c.Table, c.Lineage)
		if err != nil {
			return "", err
		}
		if info.UUID != was.UUID || was.Checksums == nil {
			return fmt.Sprintf("table %s is another one now", c.Place()), nil
		}
		now, err := diff.Sum(ctx, client, refOf(of), diff.Options{Topic: b.Shadow.Source.Kafka.Topic, Scope: b.Scope, LiveEnds: was.Checksums.Ends})
		if err != nil {
			return "", err
		}
		if why := was.Checksums.Contradicts(now); why != "" {
			return why, nil
		}
	}
	return "", nil
}
