// Package templates holds pipelines that are ready for AI work: for each the contract of its events, the tables, example events, and the questions that are asked of
// them. `waybill init --template NAME` writes them out.
package templates

import (
	"bytes"
	"embed"
	"encoding/json"
	"fmt"
	"io/fs"
	"regexp"
	"slices"
	"strings"
	"text/template"
)

//go:embed */*.yaml */*.sql */*.ndjson
var files embed.FS

// abouts say what each template is for, on one line.
var abouts = map[string]string{
	"llm-spans":    "calls of models and tools as spans, with OpenTelemetry's GenAI names",
	"llm-content":  "what was said in calls of models, long texts once each, by hash",
	"eval-scores":  "scores of evaluators, people and tests, with corrections",
	"token-costs":  "tokens by kind, and what they cost by the prices of their time",
	"embeddings":   "vectors of chunks, and the nearest of one",
	"agent-events": "what agents do, step by step",
	"otlp-traces":  "traces as the OpenTelemetry collector writes them to Kafka (otlp_json)",
	"otlp-logs":    "logs as the OpenTelemetry collector writes them to Kafka (otlp_json)",
}

// Place is where a pipeline of a template is.
type Place struct{ Name, Database, Table string }

// Query is a question of a template.
type Query struct{ Name, Title, SQL string }

// Template is one of them.
type Template struct{ Name, About string }

// All are the templates by name.
func All() (all []Template) {
	for name, about := range abouts {
		all = append(all, Template{name, about})
	}
	slices.SortFunc(all, func(a, b Template) int { return strings.Compare(a.Name, b.Name) })
	return all
}

// Get is the template of a name.
func Get(name string) (Template, error) {
	if about := abouts[name]; about != "" {
		return Template{name, about}, nil
	}
	names := make([]string, 0, len(abouts))
	for _, t := range All() {
		names = append(names, t.Name)
	}
	return Template{}, fmt.Errorf("no template is called %s: there are %s", name, strings.Join(names, ", "))
}

func (t Template) read(name string) string {
	text, err := fs.ReadFile(files, t.Name+"/"+name)
	if err != nil {
		panic(err) // it is in the binary
	}
	return string(text)
}

// Contract is the part of the pipeline file that says what is in the events, with what they look like.
func (t Template) Contract() string { return t.read("contract.yaml") }

// Events are examples, a JSON object on each line.
func (t Template) Events() string { return t.read("events.ndjson") }

// Tables are the statements that make the tables and views, with comments.
func (t Template) Tables(at Place) string { return fill(t.read("table.sql"), at, plain) }

// Queries are the questions, as they are asked by hand.
func (t Template) Queries(at Place) []Query { return queries(t.read("queries.sql"), at, plain) }

// Given are statements that put into the tables of a template what comes by other ways than the topic, as an example; most have none.
func (t Template) Given(at Place) []string {
	text, err := fs.ReadFile(files, t.Name+"/given.sql")
	if err != nil {
		return nil
	}
	return Statements(fill(string(text), at, plain))
}

// plain is all of a table, inRange what lies in the dashboard's range.
func plain(table, _ string) string { return table }

func inRange(table, column string) string {
	return fmt.Sprintf("(SELECT * FROM %s WHERE $__timeFilter(%s))", table, column)
}

// fill fills a template's text in. from says how a table is read, by a suffix of its name and the column of its times.
func fill(text string, at Place, from func(table, column string) string) string {
	name := func(suffix string) string { return ident(at.Database) + "." + ident(at.Table+suffix) }
	t := template.Must(template.New("").Funcs(template.FuncMap{
		"name": name,
		"from": func(suffix, column string) string { return from(name(suffix), column) },
	}).Parse(suffixed.ReplaceAllString(text, `{{name "$1"}}`)))
	var b bytes.Buffer
	if err := t.Execute(&b, at); err != nil {
		panic(err) // a template of ours
	}
	return b.String()
}

var suffixed = regexp.MustCompile(`\{\{\.Database\}\}\.\{\{\.Table\}\}(\w*)`)

// ident quotes a name, unless it needs none.
func ident(name string) string {
	if plainIdent.MatchString(name) {
		return name
	}
	return "`" + strings.NewReplacer("\\", "\\\\", "`", "\\`").Replace(name) + "`"
}

var plainIdent = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

// queries reads "-- name: title" and the statement after it, which ends in a semicolon.
func queries(text string, at Place, from func(table, column string) string) (out []Query) {
	for part := range strings.SplitSeq(fill(text, at, from), ";\n") {
		head, sql, ok := strings.Cut(strings.TrimSpace(part), "\n")
		name, title, named := strings.Cut(strings.TrimPrefix(head, "-- "), ": ")
		if ok && named {
			out = append(out, Query{name, title, strings.TrimSpace(sql)})
		}
	}
	return out
}

// Statements are the statements of a text, without comments.
func Statements(text string) (out []string) {
	var lines []string
	for line := range strings.SplitSeq(text, "\n") {
		if !strings.HasPrefix(line, "--") {
			lines = append(lines, line)
		}
	}
	for s := range strings.SplitSeq(strings.Join(lines, "\n"), ";\n") {
		if s = strings.TrimSuffix(strings.TrimSpace(s), ";"); s != "" {
			out = append(out, s)
		}
	}
	return out
}

// Dashboard is the questions as a dashboard of Grafana, whose source is Grafana's plugin for ClickHouse: a table for each, over the dashboard's range.
func (t Template) Dashboard(at Place) ([]byte, error) {
	type object = map[string]any
	var panels []object
	source := object{"type": "grafana-clickhouse-datasource", "uid": "${source}"}
	for i, q := range queries(t.read("queries.sql"), at, inRange) {
		panels = append(panels, object{
			"id": i + 1, "type": "table", "title": q.Title, "datasource": source,
			"gridPos": object{"h": 8, "w": 12, "x": 12 * (i % 2), "y": 8 * (i / 2)},
			"targets": []object{{"refId": "A", "datasource": source, "editorType": "sql", "queryType": "table", "format": 1, "rawSql": q.SQL}},
		})
	}
	return json.MarshalIndent(object{
		"title": at.Name + ": " + t.About, "uid": "", "schemaVersion": 39, "editable": true, "time": object{"from": "now-7d", "to": "now"}, "panels": panels,
		"templating": object{"list": []object{{"name": "source", "label": "ClickHouse", "type": "datasource", "query": "grafana-clickhouse-datasource"}}},
	}, "", "  ")
}
