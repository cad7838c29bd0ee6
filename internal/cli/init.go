package cli

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/waybill-data/waybill/internal/config"
	"github.com/waybill-data/waybill/internal/contract"
	"github.com/waybill-data/waybill/internal/infer"
	"github.com/waybill-data/waybill/internal/trial"
)

// initOptions are the flags of `waybill init`.
type initOptions struct {
	brokers                              []string
	topic, clickhouse, table, name, file string
	group, adopt                         string
	keys                                 []string
	kafka, sink                          []string
	records                              int64
	create, force                        bool
	template                             string
	list                                 bool
}

// Bounds of what init reads.
const (
	initSample = 20_000
	initBytes  = 256 << 20 // of records that are kept for the trial
)

func newInit(s Streams) *cobra.Command {
	var opts initOptions
	cmd := &cobra.Command{
		Use:   "init --brokers HOST:PORT --topic TOPIC --clickhouse URL",
		Short: "Write a pipeline file, and a table, from what is in a topic",
		Long: `Reads a sample of a topic, old records and new ones of every partition, and
writes a pipeline file with a column for each field: its type, how many events
have it, and why the type is as it is. What the sample does not decide is marked
with UNSURE. Beside it a statement for the table, unless there is one: then its
columns are used.

Each record of the sample is taken through the proposal before it is written, so
that what would not land, or would be rescued, is shown. Nothing is written to
Kafka, no group is joined; ClickHouse is changed with --create only.

With --adopt-group the pipeline goes on where another consumer stands. By the
columns of --key, which tell rows apart, init says how far its table agrees with
the topic, and begins behind rows that it wrote without committing.

With --template it does not look at the topic, but writes a pipeline for events
of a kind that is known: its tables, examples of its events, the questions that
are asked of them, and a dashboard for Grafana. --list-templates shows which.

On a terminal it asks for what is missing of the three flags that it needs.`,
		Example: `  waybill init --brokers kafka:9092 --topic llm.calls \
    --clickhouse 'clickhouse://ingest:${CH_PASSWORD}@ch:9000/ai'
  waybill init --brokers kafka:9092 --topic llm.calls --clickhouse ... \
    --kafka 'sasl: {plain: {username: me, password: "${PW}"}}' --create
  waybill init --template llm-spans --brokers kafka:9092 --topic spans \
    --clickhouse ... --create
  waybill init --brokers kafka:9092 --topic orders --clickhouse ... \
    --table orders --adopt-group orders-consumer --key order_id`,
		Args: args(cobra.NoArgs),
	}
	f := cmd.Flags()
	f.StringSliceVar(&opts.brokers, "brokers", nil, "brokers to begin with (required)")
	f.StringVar(&opts.topic, "topic", "", "the topic (required)")
	f.StringVar(&opts.clickhouse, "clickhouse", "", "where rows go: clickhouse://USER@HOST:PORT/DATABASE,\nor http:// (required); ${NAME} is kept as it is")
	f.StringVar(&opts.table, "table", "", "the table (default: made of the topic's name)")
	f.StringVar(&opts.name, "name", "", "of the pipeline (default: likewise)")
	f.StringVar(&opts.group, "group", "", "the consumer group (default: the pipeline's name)")
	f.StringVar(&opts.adopt, "adopt-group", "", "a consumer's group to take over: go on where it stands")
	f.StringSliceVar(&opts.keys, "key", nil, "columns that tell rows apart, to compare its table\nwith the topic")
	f.StringArrayVar(&opts.kafka, "kafka", nil, "a line of source.kafka, such as 'tls: {ca: FILE}'")
	f.StringArrayVar(&opts.sink, "sink", nil, "a line of sink.clickhouse, likewise")
	f.Int64Var(&opts.records, "records", initSample, "about how many records to read")
	f.StringVar(&opts.template, "template", "", "write this one, instead of looking at the topic")
	f.BoolVar(&opts.list, "list-templates", false, "show which templates there are")
	f.StringVar(&opts.file, "file", "", "where to write (default: NAME.yaml, NAME.sql)")
	f.BoolVar(&opts.create, "create", false, "make the table now")
	f.BoolVar(&opts.force, "force", false, "write over files that are there")
	o := outputFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error { return initialize(cmd.Context(), s, *o, opts) }
	return cmd
}

// initReport is what `init -o json` prints.
type initReport struct {
	File      string        `json:"file"`
	Statement string        `json:"statement,omitempty"` // the file that makes the table; empty: there is one
	Created   bool          `json:"created"`
	Records   int64         `json:"records"`
	Adopted   *adoption     `json:"adopted,omitempty"`
	Objects   int64         `json:"objects"`
	Columns   int           `json:"columns"`
	Unsure    []string      `json:"unsure"`
	Leaves    int64         `json:"values"` // of the sample, in all events
	Typed     int64         `json:"typed"`  // of them, in columns with a type of their own
	Trial     trial.Summary `json:"trial"`
}

func initialize(ctx context.Context, s Streams, o output, opts initOptions) error {
	if opts.list {
		return listTemplates(s, o)
	}
	opts.ask(s)
	if opts.template != "" {
		return opts.fromTemplate(ctx, s, o)
	}
	at, cfg, err := opts.place()
	if err != nil {
		return err
	}
	if err := free(opts.force, opts.file, sqlFile(opts.file)); err != nil {
		return err
	}
	sample, err := readTopic(ctx, s, cfg, opts.records)
	if err != nil {
		return err
	}
	at.Partitions = sample.partitions
	if err := sample.judge(opts.topic); err != nil {
		return err
	}
	schema, err := tableOf(ctx, cfg)
	if err != nil {
		return err
	}
	p := sample.profile
	proposal := p.Propose()
	if schema != nil {
		proposal.Match(*schema, cfg.Sink.ClickHouse.Lineage)
	}
	if len(proposal.Fields) == 0 {
		return usage(fmt.Errorf("no field of %s has a column in %s: name another --table, or give it columns", opts.topic, at.Table))
	}
	r := initReport{File: opts.file, Records: p.Records, Objects: p.Objects(), Columns: len(proposal.Fields)}
	if opts.adopt != "" {
		if r.Adopted, err = opts.takeOver(ctx, s, cfg, proposal, schema); err != nil {
			return err
		}
		at.Group, at.Start = r.Adopted.begin(opts.adopt, at.Name)
		proposal.Notes = append(proposal.Notes, r.Adopted.Unsure...)
	}
	if left := sample.untried(); left != "" {
		proposal.Notes = append(proposal.Notes, left)
	}
	c := proposal.Contract()
	r.Unsure = proposal.UnsureAll()
	if r.Trial, err = sample.try(c, schema, cfg); err != nil {
		return err
	}
	r.Typed, r.Leaves = p.Typed(proposal)
	if err := r.write(ctx, cfg, opts, p, proposal, at, schema == nil); err != nil {
		return err
	}
	if o == outputJSON {
		return printJSON(s.Out, r)
	}
	return r.print(s)
}

// write makes the files, and the table if it is asked to.
func (r *initReport) write(ctx context.Context, cfg *config.Pipeline, opts initOptions, p *infer.Profile, proposal *infer.Proposal, at infer.Place, missing bool) error {
	files := map[string]string{opts.file: proposal.File(p, at)}
	sql := ""
	if missing {
		layout, why := proposal.Layout()
		sink := cfg.Sink.ClickHouse
		var err error
		if sql, err = contract.CreateTableAs(proposal.Contract(), sink.Lineage, sink.Database, at.Table, sink.Cluster, layout); err != nil {
			return err
		}
		r.Statement = sqlFile(opts.file)
		files[r.Statement] = "-- " + strings.Join(why, "\n-- ") + "\n-- Without TTL rows are kept for ever: TTL COLUMN + INTERVAL 90 DAY.\n" + sql + ";\n"
	}
	for name, text := range files {
		if err := write(name, text, opts.force); err != nil {
			return err
		}
	}
	if missing && opts.create {
		r.Created = true
		return execute(ctx, cfg, sql)
	}
	return nil
}

// sqlFile is where the statement is written that belongs to a pipeline file.
func sqlFile(file string) string { return strings.TrimSuffix(file, ".yaml") + ".sql" }
