package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/waybill-data/waybill"
	"github.com/waybill-data/waybill/internal/config"
	"github.com/waybill-data/waybill/internal/contract"
	"github.com/waybill-data/waybill/internal/engine"
	"github.com/waybill-data/waybill/internal/trial"
)

// planOptions are the flags of `waybill plan`.
type planOptions struct {
	records int64
	from    string
}

// defaultSample is how many records `waybill plan` reads.
const defaultSample = 10_000

func newPlan(s Streams) *cobra.Command {
	var opts planOptions
	cmd := &cobra.Command{
		Use:   "plan FILE",
		Short: "What running a pipeline file would change, before anything does",
		Long: `Asks the pipeline's servers what running its file would do, and changes nothing:
nothing is written to ClickHouse, no consumer group is joined.

Shows the statement that would create the table if there is none, what is
different from the plan in use, and what would become of the records that are in
the topic now: how many would be whole rows, rows with rescued fields, dead
letters by reason, filtered; how each column is filled; fields that no column
takes, with the type that would; and what evolve would do about them.

The exit code is 0 if the pipeline would run, and 1 if it would not start. Why
not is shown with the line in the file, where there is one.`,
		Example: `  waybill plan llm-calls.yaml
  waybill plan llm-calls.yaml --records 1000000 --from earliest
  waybill plan llm-calls.yaml --records 0 -o json`,
		Args: args(cobra.ExactArgs(1)),
	}
	f := cmd.Flags()
	f.Int64Var(&opts.records, "records", defaultSample, "about how many records to read, over all partitions;\n0 for none")
	f.StringVar(&opts.from, "from", "latest", "which records: latest, those at the partitions' ends,\nor earliest, those at their beginnings")
	o := outputFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, files []string) error { return plan(cmd.Context(), s, *o, files[0], opts) }
	return cmd
}

// planReport is what `plan -o json` prints.
type planReport struct {
	OK       bool        `json:"ok"` // it would run
	Pipeline string      `json:"pipeline"`
	Topic    string      `json:"topic"`
	Tables   []planTable `json:"tables"` // in the order in which events are offered to them
	Unrouted string      `json:"unrouted,omitempty"`
	Refusals []refusal   `json:"refusals"`

	Plan        string       `json:"plan,omitempty"`        // id of the one that would run
	InUse       string       `json:"plan_in_use,omitempty"` // id of the one on record last
	Differences []difference `json:"differences"`           // from the one in use
	Notes       []note       `json:"notes"`

	Sample *planSample    `json:"sample,omitempty"`
	Trial  *trial.Summary `json:"trial,omitempty"`
}

// planTable is one of the pipeline's tables.
type planTable struct {
	Route    string   `json:"route,omitempty"`
	When     string   `json:"when,omitempty"`
	Table    string   `json:"table"`            // database.table
	Create   string   `json:"create,omitempty"` // the statement, if the table does not exist
	SortedBy []string `json:"sorted_by,omitempty"`
	SortWhy  string   `json:"sorted_why,omitempty"`
	// LeftToServer are columns of the table that the plan does not fill.
	LeftToServer []string `json:"left_to_server"`
}

// refusal is why the pipeline would not start.
type refusal struct {
	File    string `json:"file,omitempty"`
	Line    int    `json:"line,omitempty"`
	Column  int    `json:"column,omitempty"`
	Message string `json:"message"`
	Hint    string `json:"hint,omitempty"`

	problem *config.Problem
}

// note is something worth knowing that keeps nothing from running.
type note struct {
	Kind     string `json:"kind"`
	Severity string `json:"severity"`
	Message  string `json:"message"`
	Action   string `json:"action,omitempty"`
}

// planSample says what was read.
type planSample struct {
	From    string     `json:"from"`
	InTopic int64      `json:"in_topic"` // offsets, holes included
	Spans   []planSpan `json:"spans"`
}

type planSpan struct {
	Partition int32 `json:"partition"`
	First     int64 `json:"first"`
	Next      int64 `json:"next"`
}

func plan(ctx context.Context, s Streams, o output, file string, opts planOptions) error {
	if opts.records < 0 || opts.from != "latest" && opts.from != "earliest" {
		return usage(errors.New("--records is 0 or more, --from is latest or earliest"))
	}
	cfg, err := config.Load(file)
	if err != nil {
		return err
	}
	found, err := engine.Look(ctx, cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		return unreached(err)
	}
	r := newPlanReport(cfg, found)
	if found.Plan != nil && opts.records > 0 {
		if err := r.try(ctx, s, cfg, found, opts); err != nil {
			return unreached(err)
		}
	}
	r.OK = len(r.Refusals) == 0
	if err := r.print(s, o); err != nil {
		return err
	}
	if !r.OK {
		return &exitError{code: ExitFindings, said: true, err: errors.New("the pipeline would not start")}
	}
	return nil
}

func newPlanReport(cfg *config.Pipeline, found *engine.Survey) *planReport {
	r := &planReport{Pipeline: cfg.Name, Topic: cfg.Source.Kafka.Topic, Unrouted: string(cfg.Unrouted),
		Refusals: []refusal{}, Differences: []difference{}, Notes: []note{}}
	for i := range found.Tables {
		r.Tables = append(r.Tables, newPlanTable(&found.Tables[i]))
	}
	for _, err := range found.Refusals {
		r.refuse(err)
	}
	for _, n := range found.Notes {
		r.Notes = append(r.Notes, note{n.Kind, string(n.Severity), n.Message, n.Action})
	}
	if found.Plan == nil {
		return r
	}
	r.Plan = found.Plan.ID().String()
	if found.InUse != nil {
		r.InUse = found.InUse.ID().String()
		r.Differences = differences(found.InUse, found.Plan)
	}
	return r
}

func newPlanTable(found *engine.TableSurvey) planTable {
	c := found.Sink.ClickHouse
	t := planTable{Route: found.Route, When: found.When, Table: c.Place(), Create: found.Create, LeftToServer: []string{}}
	if !found.Exists {
		t.SortedBy, t.SortWhy = contract.SortingKey(found.Contract, c.Lineage)
	}
	if found.Plan != nil {
		t.LeftToServer = append(t.LeftToServer, found.Plan.LeftToServer()...)
	}
	return t
}

// refuse adds why the pipeline would not start.
func (r *planReport) refuse(err error) {
	var problems config.Problems
	if errors.As(err, &problems) {
		for _, p := range problems {
			r.Refusals = append(r.Refusals, refusal{p.File, p.Line, p.Column, p.Message, p.Hint, &p})
		}
		return
	}
	refused := refusal{Message: err.Error()}
	if e := (*waybill.Error)(nil); errors.As(err, &e) {
		refused.Message, refused.Hint = e.Err.Error(), e.Hint
	}
	r.Refusals = append(r.Refusals, refused)
}

// try runs a sample of the topic's records through the plan.
func (r *planReport) try(ctx context.Context, s Streams, cfg *config.Pipeline, found *engine.Survey, opts planOptions) error {
	t, err := trial.New(found.Plan, []byte(cfg.RedactSecret.Reveal()), cfg.Epoch)
	if err != nil {
		return err
	}
	p := progress{to: s, of: opts.records, next: time.Now().Add(progressEvery)}
	size := engine.SampleSize{Records: opts.records, FromStart: opts.from == "earliest"}
	read, err := engine.ReadSample(ctx, cfg, size, func(rec *waybill.Record) error {
		t.Take(rec)
		p.step(time.Now())
		return nil
	})
	if waybill.ClassOf(err).NeedsPerson() {
		r.refuse(err)
		return nil
	}
	if err != nil {
		return err
	}
	r.Sample = &planSample{From: opts.from, InTopic: read.InTopic, Spans: spansOf(read)}
	var tables []trial.Target
	for _, of := range found.Tables {
		tables = append(tables, trial.Target{Contract: of.Contract, Schema: of.Schema, Cluster: cfg.Sink.ClickHouse.Cluster})
	}
	sum := t.Summary(tables)
	r.Trial = &sum
	r.judgeBlank(cfg)
	return nil
}

func spansOf(read engine.Sampled) []planSpan {
	spans := make([]planSpan, 0, len(read.Spans))
	for tp, span := range read.Spans {
		spans = append(spans, planSpan{tp.Partition, span.First, span.Next})
	}
	slices.SortFunc(spans, func(a, b planSpan) int { return cmp.Compare(a.Partition, b.Partition) })
	return spans
}

// judgeBlank: a pipeline stops if its events have none of the contract's fields.
func (r *planReport) judgeBlank(cfg *config.Pipeline) {
	for i := range r.Trial.Tables {
		r.judgeTable(cfg, &r.Trial.Tables[i])
	}
}

func (r *planReport) judgeTable(cfg *config.Pipeline, t *trial.Table) {
	if t.Rows == 0 || t.Blank < t.Rows {
		return
	}
	message := fmt.Sprintf("none of the %s events that would be rows has any field of the contract", count(t.Rows))
	if t.Route != "" {
		message = "route " + t.Route + ": " + message
	}
	if cfg.OnBlank == config.BlankContinue || t.Rows < engine.BlankLimit {
		r.Notes = append(r.Notes, note{"all_blank", string(waybill.SeverityWarning), message, "correct `from` in the contract"})
		return
	}
	r.Refusals = append(r.Refusals, refusal{Message: message + ": it would stop at the first batch", Hint: "correct `from` in the contract, or say on_blank: continue"})
}

// progressEvery is how often a long reading says how far it is.
const progressEvery = 2 * time.Second

// progress says on standard error how far a reading is.
type progress struct {
	to   Streams
	n    int64
	of   int64
	next time.Time
}

func (p *progress) step(now time.Time) {
	if p.n++; now.Before(p.next) {
		return
	}
	p.next = now.Add(progressEvery)
	tell(p.to.Err, "waybill: read %s of about %s records\n", count(p.n), count(p.of))
}
