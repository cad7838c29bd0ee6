package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/waybill-data/waybill"
	"github.com/waybill-data/waybill/internal/backfill/diff"
	"github.com/waybill-data/waybill/internal/backfill/try"
	"github.com/waybill-data/waybill/internal/config"
	"github.com/waybill-data/waybill/internal/contract"
	"github.com/waybill-data/waybill/internal/decode/json"
	"github.com/waybill-data/waybill/internal/engine"
	"github.com/waybill-data/waybill/internal/kafka"
	"github.com/waybill-data/waybill/internal/ledger"
	"github.com/waybill-data/waybill/internal/trial"
)

// tryFlags are the flags of `waybill backfill try`.
type tryFlags struct {
	against, plan string
	records       int64
	spans         []string
	samples       int
	memory        string
}

func newBackfillTry(s Streams) *cobra.Command {
	var o tryFlags
	cmd := &cobra.Command{
		Use:   "try FILE",
		Short: "What would differ if records went through another plan",
		Long: `Runs the same records through two plans and says how what comes of them differs:
which would be rows, dead letters, filtered under the one and the other, and of
the rows, column by column, how many values would be others, with some of both.

One plan is that of FILE, for the table as it is, or, where the table does not
fit the file, as the file would have it. The other one is the plan that is in
use, or any on record (--plan), or that of another file (--against).

Records are read from both ends of each partition, the oldest and the newest, or
--spans says which. Nothing that is there is changed: the rows go into two
tables in Waybill's own database, so that the server turns both into values of
the tables' types and fills in their DEFAULTs, and these are dropped at once.
No consumer group is joined.

It ends with 0, whatever differs.`,
		Example: `  waybill backfill try llm-calls.yaml
  waybill backfill try new.yaml --against llm-calls.yaml --records 100000
  waybill backfill try llm-calls.yaml --plan 4e1f --spans 0:0-9999`,
		Args: args(cobra.ExactArgs(1)),
	}
	f := cmd.Flags()
	f.StringVar(&o.against, "against", "", "compare with the plan of this `FILE`")
	f.StringVar(&o.plan, "plan", "", "compare with this `PLAN` on record; the beginning of its id will do")
	f.Int64Var(&o.records, "records", defaultSample, "about how many records to read, over all partitions")
	f.StringArrayVar(&o.spans, "spans", nil, "read these offsets: `PARTITION:FIRST-LAST`; may be given several times")
	f.IntVar(&o.samples, "samples", 3, "how many rows and records to show of each sort of difference")
	f.StringVar(&o.memory, "memory", "1GiB", "how much memory the server may use for a query: a `SIZE`")
	out := outputFlag(cmd)
	cmd.RunE = withDesk(func(ctx context.Context, d *desk, _ []string) error { return runTry(ctx, s, *out, d, o) })
	return cmd
}

// tryResult is what `backfill try -o json` prints.
type tryResult struct {
	Pipeline    string       `json:"pipeline"`
	Topic       string       `json:"topic"`
	Differences []difference `json:"differences"` // of the plans
	Notes       []string     `json:"notes"`
	Sample      planSample   `json:"sample"`
	*try.Report
}

func runTry(ctx context.Context, s Streams, o output, d *desk, flags tryFlags) error {
	if flags.against != "" && flags.plan != "" {
		return usage(errors.New("--against and --plan are two ways to say what to compare with"))
	}
	memory, err := sizeOf("--memory", flags.memory)
	if err != nil {
		return err
	}
	if err := d.recorded(ctx); err != nil {
		return err
	}
	r := &tryResult{Pipeline: d.cfg.Name, Topic: d.cfg.Source.Kafka.Topic, Notes: []string{}}
	is, err := r.planOf(ctx, d.cfg)
	if err != nil {
		return err
	}
	was, err := r.other(ctx, d, flags)
	if err != nil {
		return err
	}
	r.Differences = differences(was.Plan, is.Plan)
	reader, err := openTopic(ctx, d.cfg)
	if err != nil {
		return unreached(err)
	}
	defer reader.Close()
	spans, err := r.sampled(ctx, d.cfg, reader, flags)
	if err != nil {
		return err
	}
	p := progress{to: s, of: flags.records, next: time.Now().Add(progressEvery)}
	deps := try.Deps{Client: d.client, Database: d.ledger.Database(), Read: func(ctx context.Context, fn func(*waybill.Record) error) error {
		return readSpans(ctx, reader, r.Topic, spans, func(rec *waybill.Record) error {
			p.step(time.Now())
			return fn(rec)
		})
	}}
	if r.Report, err = try.Run(ctx, deps, was, is, try.Options{Samples: flags.samples, Memory: memory}); err != nil {
		return unreached(err)
	}
	if o == outputJSON {
		return printJSON(s.Out, r)
	}
	return r.print(s.Out)
}

// planOf is the plan of a file.
func (r *tryResult) planOf(ctx context.Context, cfg *config.Pipeline) (try.Plan, error) {
	found, err := engine.Look(ctx, cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		return try.Plan{}, unreached(err)
	}
	out := try.Plan{Name: cfg.File, Secret: []byte(cfg.RedactSecret.Reveal())}
	var routes []contract.Route
	for i := range found.Tables {
		t := &found.Tables[i]
		plan, schema := t.Plan, t.Schema
		if plan == nil {
			schema = t.PromisedTable()
			if plan, err = t.Compile(schema, t.Sink.ClickHouse.Lineage, json.Version); err != nil {
				return try.Plan{}, err
			}
			r.Notes = append(r.Notes, fmt.Sprintf("table %s does not fit %s: its rows are those of the table that the file promises", t.Sink.ClickHouse.Place(), cfg.File))
		}
		routes = append(routes, contract.Route{Name: t.Route, When: t.When, Plan: plan})
		out.Tables = append(out.Tables, trial.Target{Contract: t.Contract, Schema: schema, Cluster: t.Sink.ClickHouse.Cluster})
	}
	out.Plan, err = cfg.Join(routes)
	return out, err
}

// other is the plan to compare with.
func (r *tryResult) other(ctx context.Context, d *desk, flags tryFlags) (try.Plan, error) {
	if flags.against != "" {
		cfg, err := config.Load(flags.against)
		if err != nil {
			return try.Plan{}, err
		}
		return r.planOf(ctx, cfg)
	}
	id, name := flags.plan, "on record"
	if id == "" {
		plans, err := d.ledger.Plans(ctx, d.cfg.Name)
		if err != nil {
			return try.Plan{}, unreached(err)
		}
		if plans = ledger.OwnPlans(plans); len(plans) == 0 {
			return try.Plan{}, usage(fmt.Errorf("no plan of pipeline %s is on record: name a file to compare with, --against", d.cfg.Name))
		}
		id, name = plans[len(plans)-1].ID.String(), "in use"
	}
	p, stored, err := d.plan(ctx, id)
	if err != nil {
		return try.Plan{}, err
	}
	schemas, err := d.schemas(ctx, p, stored)
	if err != nil {
		return try.Plan{}, err
	}
	out := try.Plan{Name: name, Plan: p, Secret: []byte(d.cfg.RedactSecret.Reveal())}
	for i, route := range p.Routes() {
		out.Tables = append(out.Tables, targetOf(route.Plan, schemas[i]))
	}
	return out, nil
}

// targetOf is a table as it was when a plan was put on record. Of a plan that is older than that record it is the plan's columns.
func targetOf(p *contract.Plan, columns []ledger.SchemaColumn) trial.Target {
	schema := contract.TableSchema{Database: p.Database(), Table: p.Table()}
	for _, c := range columns {
		schema.Columns = append(schema.Columns, contract.TableColumn(c))
	}
	if len(columns) == 0 {
		for _, c := range p.Columns() {
			schema.Columns = append(schema.Columns, contract.TableColumn{Name: c.Name, Type: c.Type})
		}
	}
	return trial.Target{Schema: schema}
}

// sampled is what to read: what was asked for, or half of it from each end of the partitions.
func (r *tryResult) sampled(ctx context.Context, cfg *config.Pipeline, reader *kafka.Reader, flags tryFlags) (map[int32]waybill.OffsetSet, error) {
	info, err := reader.Describe(ctx)
	if err != nil {
		return nil, unreached(err)
	}
	spans := map[int32]waybill.OffsetSet{}
	r.Sample.From = "both ends"
	if len(flags.spans) > 0 {
		r.Sample.From = "spans"
		if spans, err = scopeOf("--spans", flags.spans); err != nil {
			return nil, err
		}
	} else {
		for _, fromStart := range []bool{true, false} {
			for p, sp := range kafka.Sample(info, kafka.Isolation(cfg.Source.Kafka.Isolation), flags.records/2+flags.records%2, fromStart) {
				set := spans[p]
				set.AddSpan(sp)
				spans[p] = set
			}
		}
	}
	for _, p := range info.Partitions {
		r.Sample.InTopic += p.End - p.LogStart
	}
	r.Sample.Spans = []planSpan{}
	for _, p := range slices.Sorted(maps.Keys(spans)) {
		for _, sp := range spans[p].Spans() {
			r.Sample.Spans = append(r.Sample.Spans, planSpan{p, sp.First, sp.Next})
		}
	}
	return spans, nil
}

// readSpans gives all records of these offsets to fn but control records.
func readSpans(ctx context.Context, reader *kafka.Reader, topic string, spans map[int32]waybill.OffsetSet, fn func(*waybill.Record) error) error {
	for _, p := range slices.Sorted(maps.Keys(spans)) {
		for _, sp := range spans[p].Spans() {
			_, err := reader.ReadSpan(ctx, waybill.TopicPartition{Topic: topic, Partition: p}, sp, func(rec *waybill.Record) error {
				if rec.Control {
					return nil
				}
				return fn(rec)
			})
			if err != nil {
				return err
			}
		}
	}
	return nil
}

func (r *tryResult) print(w io.Writer) error {
	var b strings.Builder
	wrap(&b, "", fmt.Sprintf("%s: %s records of topic %s, under plan %s (%s) and plan %s (%s)", r.Pipeline, count(r.Records), r.Topic, r.Was.Plan, r.Was.From, r.Is.Plan, r.Is.From))
	for _, n := range r.Notes {
		wrap(&b, "  ", n)
	}
	if len(r.Differences) == 0 {
		wrap(&b, "  ", "the plans are the same")
	}
	for _, x := range r.Differences {
		wrap(&b, "  ", x.String())
	}
	rows := [][]string{{"was", "is", "records", "for example", "dead letter for"}}
	for _, f := range r.Fates[:min(len(r.Fates), maxShown)] {
		example := ""
		if !f.Same() && len(f.Examples) > 0 {
			example = f.Examples[0].String()
		}
		rows = append(rows, []string{f.Was, f.Is, count(f.Records), example, reasons(f)})
	}
	table(&b, narrow(rows), 5)
	more(&b, len(r.Fates)-min(len(r.Fates), maxShown), "outcomes")
	if was, is := r.Was.RescuedRows, r.Is.RescuedRows; was+is > 0 {
		wrap(&b, "", fmt.Sprintf("rows with something in the rescue column: %s, then %s", count(was), count(is)))
	}
	for _, t := range r.Tables {
		printTried(&b, t)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// reasons are why a record is a dead letter under one of the plans, or under both.
func reasons(f try.Fates) string {
	if f.WasReason != "" && f.IsReason != "" && f.WasReason != f.IsReason {
		return f.WasReason + ", then " + f.IsReason
	}
	return cmp.Or(f.IsReason, f.WasReason)
}

// printTried is how the rows of one table would differ.
func printTried(b *strings.Builder, t *diff.Report) {
	name := t.Shadow.Table
	if t.Live.Table != name {
		name = t.Live.Table + " and " + name
	}
	wrap(b, "", fmt.Sprintf("%s: %s rows under both plans, %s of them the same, %s changed (%s)", name, count(t.Rows.Both), count(t.Rows.Same), count(t.Rows.Changed), shareOf(t.Rows.Changed, t.Rows.Both)))
	printDiffColumns(b, t)
}
