package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/waybill-data/waybill"
	"github.com/waybill-data/waybill/internal/clickhouse"
	"github.com/waybill-data/waybill/internal/config"
	"github.com/waybill-data/waybill/internal/contract"
	"github.com/waybill-data/waybill/internal/engine"
	"github.com/waybill-data/waybill/internal/infer"
	"github.com/waybill-data/waybill/internal/trial"
)

// place fills in what was not given, and reads what was as a pipeline file, by whose rules it is judged.
func (o *initOptions) place() (infer.Place, *config.Pipeline, error) {
	for flag, value := range map[string]string{"--brokers": strings.Join(o.brokers, ","), "--topic": o.topic, "--clickhouse": o.clickhouse} {
		if value == "" {
			return infer.Place{}, nil, usage(fmt.Errorf("%s is missing: init needs --brokers, --topic and --clickhouse", flag))
		}
	}
	if o.table == "" {
		o.table = plainName(o.topic, '_')
	}
	if o.name == "" {
		o.name = plainName(o.topic, '-')
	}
	switch {
	case len(o.keys) > 0 && o.adopt == "":
		return infer.Place{}, nil, usage(errors.New("--key is what --adopt-group compares by: name the group, too"))
	case o.group != "" && o.adopt != "":
		return infer.Place{}, nil, usage(errors.New("--group and --adopt-group are two names for the same: give one of them"))
	case o.adopt != "":
		o.group = o.adopt
	case o.group == "":
		o.group = o.name
	}
	if o.file == "" {
		o.file = o.name + ".yaml"
	}
	at := infer.Place{Name: o.name, Brokers: o.brokers, Topic: o.topic, Group: o.group, URL: o.clickhouse, Table: o.table, KafkaMore: lines(o.kafka), SinkMore: lines(o.sink)}
	empty := infer.Proposal{Fields: []infer.Field{{Column: contract.Column{Name: "_init", Type: "String"}}}}
	cfg, err := config.Parse(o.file, []byte(empty.File(infer.New(), at)), os.LookupEnv)
	return at, cfg, err
}

// ask asks a person for what is missing. Where nobody answers, the flag is missing.
func (o *initOptions) ask(s Streams) {
	if !s.InTTY || !s.ErrTTY {
		return
	}
	in := bufio.NewScanner(s.In)
	answer := func(question string) string {
		tell(s.Err, "%s", question)
		if !in.Scan() {
			return ""
		}
		return strings.TrimSpace(in.Text())
	}
	if len(o.brokers) == 0 {
		o.brokers = strings.FieldsFunc(answer("brokers (HOST:PORT, several with commas): "), func(r rune) bool { return r == ',' || r == ' ' })
	}
	if o.topic == "" {
		o.topic = answer("topic: ")
	}
	if o.clickhouse == "" {
		o.clickhouse = answer("ClickHouse (clickhouse://USER:${PASSWORD}@HOST:9000/DATABASE): ")
	}
}

// plainName is a name in lower-case letters, digits and a separator.
func plainName(s string, sep rune) string {
	out := strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= '0' && r <= '9':
			return r
		case r >= 'A' && r <= 'Z':
			return r + 'a' - 'A'
		}
		return sep
	}, s)
	return strings.Trim(out, string(sep))
}

func lines(list []string) string {
	var b strings.Builder
	for _, l := range list {
		b.WriteString("    " + strings.TrimSpace(l) + "\n")
	}
	return b.String()
}

// topicSample is what was read of a topic.
type topicSample struct {
	profile    *infer.Profile
	records    []waybill.Record // for the trial: all, or as many as there is room for
	partitions int
}

// readTopic reads the oldest and the newest records of each partition, half and half.
func readTopic(ctx context.Context, s Streams, cfg *config.Pipeline, records int64) (*topicSample, error) {
	out := &topicSample{profile: infer.New()}
	type place struct {
		partition int32
		offset    int64
	}
	seen, kept := map[place]bool{}, 0
	p := progress{to: s, of: records, next: time.Now().Add(progressEvery)}
	for _, fromStart := range []bool{true, false} {
		read, err := engine.ReadSample(ctx, cfg, engine.SampleSize{Records: max(1, records/2), FromStart: fromStart}, func(r *waybill.Record) error {
			at := place{r.Partition, r.Offset}
			if seen[at] {
				return nil
			}
			seen[at] = true
			out.profile.Add(infer.Record{Key: r.Key, Value: r.Value, Time: time.UnixMilli(r.Time)})
			if kept += len(r.Value); kept <= initBytes {
				own := *r
				own.Key, own.Value = slices.Clone(r.Key), slices.Clone(r.Value)
				own.Headers = nil
				out.records = append(out.records, own)
			}
			p.step(time.Now())
			return nil
		})
		if err != nil {
			return nil, err
		}
		out.partitions = len(read.Spans)
	}
	return out, nil
}

// untried says how much of the sample is not taken through the proposal; empty: nothing.
func (t *topicSample) untried() string {
	left := t.profile.Records - int64(len(t.records))
	if left == 0 {
		return ""
	}
	return fmt.Sprintf("%d of %d records of the sample were looked at, but not taken through the proposal, as they are more than %d MiB together: `waybill plan` tries others", left, t.profile.Records, initBytes>>20)
}

// judge refuses topics of which nothing can be said.
func (t *topicSample) judge(topic string) error {
	p := t.profile
	if p.Records == 0 {
		return &exitError{code: ExitFindings, err: &waybill.Error{Op: "init", Class: waybill.ClassConfig, Err: fmt.Errorf("topic %s has no records", topic), Hint: "run init again once it has some, or write the contract by hand: waybill help pipeline-file"}}
	}
	if p.Objects() > 0 {
		return nil
	}
	most := infer.FormInvalid
	for form, n := range p.Forms {
		if n > p.Forms[most] {
			most = form
		}
	}
	what := fmt.Errorf("none of %d records of %s is a JSON object; most are %s: %s", p.Records, topic, most, p.Example[most])
	return &exitError{code: ExitFindings, err: &waybill.Error{Op: "init", Class: waybill.ClassConfig, Err: what, Hint: infer.Remedy(most)}}
}

// try takes the sample through what was proposed.
func (t *topicSample) try(c contract.Contract, schema *contract.TableSchema, cfg *config.Pipeline) (sum trial.Summary, err error) {
	plan, err := compileFor(c, schema, cfg)
	if err != nil {
		return sum, err
	}
	try, err := trial.New(plan, nil, 0)
	if err != nil {
		return sum, err
	}
	for i := range t.records {
		try.Take(&t.records[i])
	}
	return try.Summary([]trial.Target{{Contract: c, Schema: tableFor(c, schema, cfg)}}), nil
}

// tableOf is the table, nil if there is none.
func tableOf(ctx context.Context, cfg *config.Pipeline) (*contract.TableSchema, error) {
	c := cfg.Sink.ClickHouse
	client, err := serverOf(ctx, cfg)
	if err != nil {
		return nil, err
	}
	defer client.Close()
	schema, _, err := client.Describe(ctx, c.Database, c.Table, c.Lineage)
	if clickhouse.NoTable(err) || clickhouse.NoDatabase(err) {
		return nil, nil //nolint:nilnil // there is none, and that is no error
	}
	return &schema, err
}

// execute makes the database, if there is none, and runs statements.
func execute(ctx context.Context, cfg *config.Pipeline, statements ...string) error {
	c := cfg.Sink.ClickHouse
	client, err := serverOf(ctx, cfg)
	if err != nil {
		return err
	}
	defer client.Close()
	if there, err := client.DatabaseExists(ctx, c.Database); err != nil {
		return err
	} else if !there {
		if err := client.Exec(ctx, "CREATE DATABASE IF NOT EXISTS "+clickhouse.Ident(c.Database)); err != nil {
			return err
		}
	}
	for _, sql := range statements {
		if err := client.Exec(ctx, sql); err != nil {
			return err
		}
	}
	return nil
}

// free refuses to begin where a file is in the way.
func free(force bool, paths ...string) error {
	for _, path := range paths {
		if _, err := os.Lstat(path); err == nil && !force {
			return usage(fmt.Errorf("%s is there already: name another --file, or --force", path))
		}
	}
	return nil
}

// write makes a file, over one that is there only if it is told to.
func write(path, text string, force bool) error {
	flag := os.O_CREATE | os.O_WRONLY | os.O_EXCL
	if force {
		flag = os.O_CREATE | os.O_WRONLY | os.O_TRUNC
	}
	f, err := os.OpenFile(path, flag, 0o644) //nolint:gosec // a file of the user's
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	return errors.Join(err, f.Close())
}

// print shows what was found, and what to do next.
func (r *initReport) print(s Streams) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %d columns from %s records\n", r.File, r.Columns, count(r.Records))
	if r.Statement != "" {
		how := "makes the table"
		if r.Created {
			how = "has made the table"
		}
		fmt.Fprintf(&b, "%s: %s\n", r.Statement, how)
	}
	fmt.Fprintf(&b, "\nof the sample %s of %s records would be rows, %s of them with something in _rescued; %s dead letters\n", count(r.Trial.Rows), count(r.Trial.Records), count(r.Trial.RescuedRows), count(r.Trial.DeadLettered))
	fmt.Fprintf(&b, "%.1f %% of all values are in columns with a type of their own\n", 100*float64(r.Typed)/float64(max(1, r.Leaves)))
	for _, d := range r.Trial.DeadLetters {
		fmt.Fprintf(&b, "  dead letters, %s: %s\n", count(d.Count), d.Message)
	}
	if r.Adopted != nil {
		r.Adopted.print(&b)
	}
	if len(r.Unsure) > 0 {
		fmt.Fprintf(&b, "\nfor you to decide (UNSURE in the file):\n")
		for _, u := range r.Unsure {
			fmt.Fprintf(&b, "  %s\n", u)
		}
	}
	b.WriteString("\nnext:\n")
	if r.Statement != "" && !r.Created {
		fmt.Fprintf(&b, "  clickhouse-client --queries-file %s\n", r.Statement)
	}
	fmt.Fprintf(&b, "  waybill check %s --fix\n  waybill run %s\n", r.File, r.File)
	_, err := s.Out.Write([]byte(b.String()))
	return err
}
