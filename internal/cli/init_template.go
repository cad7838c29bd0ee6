package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/waybill-data/waybill/internal/config"
	"github.com/waybill-data/waybill/templates"
)

// templateReport is what `init --template -o json` prints.
type templateReport struct {
	Template string   `json:"template"`
	Files    []string `json:"files"` // the pipeline file first
	Created  bool     `json:"created"`
}

// templateRow is what `init --list-templates -o json` prints of each.
type templateRow struct {
	Name  string `json:"name"`
	About string `json:"about"`
}

func listTemplates(s Streams, o output) error {
	rows := []templateRow{}
	for _, t := range templates.All() {
		rows = append(rows, templateRow{t.Name, t.About})
	}
	if o == outputJSON {
		return printJSON(s.Out, rows)
	}
	var b strings.Builder
	for _, r := range rows {
		fmt.Fprintf(&b, "%-14s %s\n", r.Name, r.About)
	}
	_, err := s.Out.Write([]byte(b.String()))
	return err
}

// fromTemplate writes the files of a template.
func (o *initOptions) fromTemplate(ctx context.Context, s Streams, out output) error {
	t, err := templates.Get(o.template)
	if err != nil {
		return usage(err)
	}
	if o.adopt != "" {
		return usage(errors.New("--adopt-group compares a topic with the table that it went into; a template has tables of its own"))
	}
	at, _, err := o.place()
	if err != nil {
		return err
	}
	text := at.Around(t.Contract())
	cfg, err := config.Parse(o.file, []byte(text), os.LookupEnv)
	if err != nil {
		return err
	}
	place := templates.Place{Name: cfg.Name, Database: cfg.Sink.ClickHouse.Database, Table: cfg.Sink.ClickHouse.Table}
	dashboard, err := t.Dashboard(place)
	if err != nil {
		return err
	}
	var questions strings.Builder
	for _, q := range t.Queries(place) {
		fmt.Fprintf(&questions, "-- %s\n%s;\n\n", q.Title, q.SQL)
	}
	base := strings.TrimSuffix(o.file, ".yaml")
	tables := t.Tables(place)
	files := []struct{ name, text string }{{o.file, text}, {sqlFile(o.file), tables}, {base + "-queries.sql", questions.String()}, {base + "-events.ndjson", t.Events()}, {base + "-dashboard.json", string(dashboard) + "\n"}}
	r := templateReport{Template: t.Name}
	for _, f := range files {
		r.Files = append(r.Files, f.name)
	}
	if err := free(o.force, r.Files...); err != nil {
		return err
	}
	for _, f := range files {
		if err := write(f.name, f.text, o.force); err != nil {
			return err
		}
	}
	if o.create {
		if err := execute(ctx, cfg, templates.Statements(tables)...); err != nil {
			return err
		}
		r.Created = true
	}
	if out == outputJSON {
		return printJSON(s.Out, r)
	}
	return r.print(s)
}

func (r *templateReport) print(s Streams) error {
	var b strings.Builder
	file := r.Files[0]
	for i, what := range []string{"the pipeline; its head says what events look like", "makes the tables and views", "the questions, in SQL", "events, as examples", "the questions, for Grafana"} {
		if i == 1 && r.Created {
			what = "has made the tables and views"
		}
		fmt.Fprintf(&b, "%s: %s\n", r.Files[i], what)
	}
	b.WriteString("\nnext:\n")
	if !r.Created {
		fmt.Fprintf(&b, "  clickhouse-client --queries-file %s\n", r.Files[1])
	}
	fmt.Fprintf(&b, "  waybill plan %s   # what would become of the events in the topic\n  waybill check %s\n  waybill run %s\n", file, file, file)
	_, err := s.Out.Write([]byte(b.String()))
	return err
}
