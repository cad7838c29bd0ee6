// Package try runs two plans over the same records and says how what comes of them differs. No table of the user's is made or changed: the rows go into two
// tables in Waybill's own database, which the server casts and fills as it would the real one, and which are dropped at once.
package try

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/google/uuid"

	"github.com/waybill-data/waybill"
	"github.com/waybill-data/waybill/internal/backfill/diff"
	"github.com/waybill-data/waybill/internal/clickhouse"
	"github.com/waybill-data/waybill/internal/contract"
	"github.com/waybill-data/waybill/internal/engine"
	"github.com/waybill-data/waybill/internal/trial"
)

// Plan is one of the two.
type Plan struct {
	Name   string // where it is from, for people
	Plan   *contract.Plan
	Secret []byte // the key of redaction's hashes
	// Tables are what the rows of each route are put into: the columns with their DEFAULTs.
	Tables []trial.Target
}

// Deps are whom it asks.
type Deps struct {
	Client *clickhouse.Client
	// Database is Waybill's own, which exists.
	Database string
	// Read gives each record of the sample to fn; it is fn's only until it returns.
	Read func(ctx context.Context, fn func(*waybill.Record) error) error
}

// Options say how.
type Options struct {
	Samples int // differing rows, or records, to show of each sort
	Memory  int64
}

// Report is what came of it.
type Report struct {
	Was     Side           `json:"was"`
	Is      Side           `json:"is"`
	Records int64          `json:"records"`
	Fates   []Fates        `json:"fates"` // most frequent first
	Tables  []*diff.Report `json:"tables"`
}

// Side is what one of the plans made of the records.
type Side struct {
	Plan string `json:"plan"` // id
	From string `json:"from"` // where the plan is from
	trial.Summary
}

// Fates counts records by what became of them under either plan.
type Fates struct {
	Was     string `json:"was"` // "row", "filtered", "dead letter" or "tombstone"; of several tables "row in" one
	Is      string `json:"is"`
	Records int64  `json:"records"`
	// WasReason and IsReason are why it is a dead letter: code, and column or path.
	WasReason string        `json:"was_reason,omitempty"`
	IsReason  string        `json:"is_reason,omitempty"`
	Examples  []trial.Place `json:"examples"`
}

// Same: the record fares as it did. Its row may differ.
func (f Fates) Same() bool { return f.Was == f.Is && f.WasReason == f.IsReason }

// run is one side while it is being made.
type run struct {
	Plan
	trial  *trial.Trial
	side   *Side
	routes []contract.Route
	copies []string
}

// Run runs both plans over the sample.
func Run(ctx context.Context, deps Deps, was, is Plan, opts Options) (r *Report, err error) {
	r = &Report{Fates: []Fates{}, Tables: []*diff.Report{}}
	var runs []*run
	defer func() {
		for _, one := range runs {
			err = errors.Join(err, one.drop(ctx, deps))
		}
	}()
	for i, p := range []Plan{was, is} {
		one := &run{Plan: p, side: []*Side{&r.Was, &r.Is}[i], routes: p.Plan.Routes()}
		runs = append(runs, one)
		if err := one.begin(ctx, deps); err != nil {
			return nil, err
		}
	}
	told := map[fate]int{}
	err = deps.Read(ctx, func(rec *waybill.Record) error {
		var f fate
		for i, one := range runs {
			f[i] = one.fate(one.trial.Add(rec))
			if err := one.send(ctx, deps, sendBytes); err != nil {
				return err
			}
		}
		r.note(told, f, trial.Place{Topic: rec.Topic, Partition: rec.Partition, Offset: rec.Offset}, opts.Samples)
		return nil
	})
	if err != nil {
		return nil, err
	}
	for _, one := range runs {
		if err := one.send(ctx, deps, 0); err != nil {
			return nil, err
		}
		one.side.Summary = one.trial.Summary(one.Tables)
	}
	slices.SortStableFunc(r.Fates, func(a, b Fates) int { return cmp.Compare(b.Records, a.Records) })
	return r, r.compare(ctx, deps, runs[0], runs[1], opts)
}

// fate is what becomes of a record under either plan.
type fate [2]struct{ what, reason string }

// maxFates bounds how many are told apart: paths of events are from no closed list.
const maxFates = 1000

// note counts a record.
func (r *Report) note(told map[fate]int, f fate, at trial.Place, samples int) {
	r.Records++
	if _, known := told[f]; !known && len(told) >= maxFates {
		f[0].reason, f[1].reason = "", ""
	}
	i, known := told[f]
	if !known {
		i = len(r.Fates)
		told[f] = i
		r.Fates = append(r.Fates, Fates{Was: f[0].what, Is: f[1].what, WasReason: f[0].reason, IsReason: f[1].reason, Examples: []trial.Place{}})
	}
	to := &r.Fates[i]
	if to.Records++; len(to.Examples) < samples {
		to.Examples = append(to.Examples, at)
	}
}

// fate is what becomes of a record under one plan.
func (one *run) fate(out engine.Processed) (f struct{ what, reason string }) {
	switch out.Fate {
	case engine.FateFiltered:
		f.what = "filtered"
	case engine.FateTombstone:
		f.what = "tombstone"
	case engine.FateDead:
		f.what, f.reason = "dead letter", strings.TrimSpace(out.Reason.Code+" "+out.Reason.Column)
	default:
		if f.what = "row"; len(one.routes) > 1 {
			f.what = "row in " + place(one.routes[out.Route])
		}
	}
	return f
}

func place(r contract.Route) string { return r.Plan.Database() + "." + r.Plan.Table() }

// copyPrefix begins the names of copies. A worker drops what begins with "probe_" and is an hour old: a crash leaves nothing behind.
const copyPrefix = "probe_try_"

// begin makes the tables that the rows go into.
func (one *run) begin(ctx context.Context, deps Deps) (err error) {
	one.side.Plan, one.side.From = one.Plan.Plan.ID().String(), one.Name
	if one.trial, err = trial.New(one.Plan.Plan, one.Secret, 0); err != nil {
		return err
	}
	for i, r := range one.routes {
		if l := r.Plan.Lineage(); l.Topic == "" || l.Partition == "" || l.Offset == "" {
			return &waybill.Error{Op: "backfill.try", Class: waybill.ClassConfig, Err: fmt.Errorf("rows of table %s do not say which record they came from", place(r)),
				Hint: "give the table the lineage columns"}
		}
		name := copyPrefix + uuid.NewString()
		var columns []string
		for _, in := range one.Tables[i].Schema.Columns {
			columns = append(columns, strings.TrimSpace(fmt.Sprintf("%s %s %s %s", clickhouse.Ident(in.Name), in.Type, in.DefaultKind, in.DefaultExpr)))
		}
		one.copies = append(one.copies, name)
		if err := deps.Client.Exec(ctx, fmt.Sprintf("CREATE TABLE %s (%s) ENGINE = MergeTree ORDER BY tuple() SETTINGS flatten_nested = 0, allow_suspicious_low_cardinality_types = 1 COMMENT 'what records give under a plan, for waybill backfill try; may be dropped'",
			clickhouse.Table(deps.Database, name), strings.Join(columns, ", "))); err != nil {
			return err
		}
	}
	return nil
}

// drop drops them again, also when it is being stopped.
func (one *run) drop(ctx context.Context, deps Deps) error {
	var errs []error
	for _, name := range one.copies {
		errs = append(errs, deps.Client.Exec(context.WithoutCancel(ctx), "DROP TABLE IF EXISTS "+clickhouse.Table(deps.Database, name)))
	}
	return errors.Join(errs...)
}

// sendBytes is how large a block of rows becomes before it is sent.
const sendBytes = 16 << 20

// send puts blocks of more than so many bytes into their tables.
func (one *run) send(ctx context.Context, deps Deps, over int) error {
	for i, block := range one.trial.Blocks() {
		if block.Rows() == 0 || block.Size() <= over {
			continue
		}
		a := deps.Client.Insert(ctx, clickhouse.Insert{Database: deps.Database, Table: one.copies[i], Token: waybill.Token("try-" + uuid.NewString()), Input: block.Input()})
		if !a.Outcome.Answered() {
			return fmt.Errorf("rows under plan %s (%s) into a copy of %s: %w", one.side.Plan, one.Name, place(one.routes[i]), a.Err)
		}
		block.Reset()
	}
	return nil
}

func rescueColumn(p *contract.Plan) string {
	c, _ := p.RescueColumn()
	return c.Name
}

// compare compares the rows of tables that both plans have.
func (r *Report) compare(ctx context.Context, deps Deps, was, is *run, opts Options) error {
	for i, to := range is.routes {
		j := slices.IndexFunc(was.routes, func(from contract.Route) bool { return place(from) == place(to) })
		if j < 0 && len(was.routes) == 1 && len(is.routes) == 1 {
			j = 0 // the table was called otherwise
		}
		if j < 0 {
			continue
		}
		ref := func(one *run, i int) diff.TableRef {
			return diff.TableRef{Database: deps.Database, Table: one.copies[i], Lineage: one.routes[i].Plan.Lineage()}
		}
		d, err := diff.Compare(ctx, deps.Client, ref(was, j), ref(is, i), diff.Options{Whole: true, Samples: opts.Samples, Memory: opts.Memory, Rescue: rescueColumn(to.Plan)})
		if err != nil {
			return err
		}
		d.Live.Table, d.Shadow.Table = place(was.routes[j]), place(to)
		d.Live.UUID, d.Shadow.UUID = "", ""
		r.Tables = append(r.Tables, d)
	}
	return nil
}
