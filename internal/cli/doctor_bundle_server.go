package cli

import (
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"

	"github.com/waybill-data/waybill/internal/bundle"
	"github.com/waybill-data/waybill/internal/check"
	"github.com/waybill-data/waybill/internal/clickhouse"
	"github.com/waybill-data/waybill/internal/engine"
	"github.com/waybill-data/waybill/internal/ledger"
)

// question is one to the server, whose answer is a file of JSON lines.
type question struct {
	name, what, sql string
	// row is called with each line; nil: it stays as it is.
	row func(string) (string, error)
}

// server is what the server says, and Waybill's own tables.
func (g *gatherer) server(seen *check.Facts) {
	tables := g.tables(seen)
	questions := append(g.records(), serverQuestions(tables)...)
	const statements, what = "clickhouse/tables.sql", "the statements that made these tables, and the views that they feed; what they say of other systems is ***"
	client, err := g.connect(seen)
	if err != nil {
		for _, q := range questions {
			g.put(q.name, q.what, nil, err)
		}
		g.put(statements, what, nil, err)
		return
	}
	defer client.Close()
	unread := g.samples(client)
	for _, q := range questions {
		var rows []string
		err := g.lines(client, q, &rows)
		data := bundle.Lines(rows)
		if err != nil && len(rows) == 0 {
			data = nil
		}
		if q.row != nil { // of these it matters most
			g.put(q.name, q.what, data, err, unread)
		} else {
			g.put(q.name, q.what, data, err)
		}
	}
	var text strings.Builder
	err = client.Texts(g.ctx, "SELECT concat(database, '.', name) AS n, create_table_query AS c FROM system.tables WHERE "+among(tables, "database", "name")+" ORDER BY database, name", []string{"n", "c"}, func(row []string) error {
		fmt.Fprintf(&text, "-- %s\n%s;\n\n", row[0], bundle.Statement(row[1]))
		return nil
	})
	if err == nil && text.Len() == 0 {
		err = errors.New("none of the tables is there, or this user may see none")
	}
	data := []byte(text.String())
	if text.Len() == 0 {
		data = nil
	}
	g.put(statements, what, data, err)
}

// connect connects as the pipeline's user; a database that is not there is no reason not to.
func (g *gatherer) connect(seen *check.Facts) (*clickhouse.Client, error) {
	if err := seen.Server.Err; err != nil {
		return nil, err
	}
	to := engine.Server(g.cfg.Sink.ClickHouse)
	if seen.Server.NoDatabase {
		to.Database = "default"
	}
	client, _, err := clickhouse.Inspect(g.ctx, to, clickhouse.Deps{Logger: slog.New(slog.DiscardHandler)})
	return client, err
}

// tables are the pipeline's, its archive's, the views that they feed and what those fill.
func (g *gatherer) tables(seen *check.Facts) (out [][2]string) {
	for _, t := range g.cfg.Tables() {
		out = append(out, [2]string{t.Sink.ClickHouse.Database, t.Sink.ClickHouse.Table})
	}
	if a := g.cfg.Archiver(); a != nil && a.Sink.Objects == nil {
		out = append(out, [2]string{a.Sink.ClickHouse.Database, a.Sink.ClickHouse.Table})
	}
	for i := range seen.Tables {
		for _, v := range seen.Tables[i].Info.Views {
			out = append(out, [2]string{v.Database, v.View}, [2]string{v.Target.Database, v.Target.Table})
		}
	}
	slices.SortFunc(out, func(a, b [2]string) int { return slices.Compare(a[:], b[:]) })
	return slices.Compact(out)
}

// among is the condition that a row is about one of the tables.
func among(tables [][2]string, database, table string) string {
	var out []string
	for _, t := range tables {
		out = append(out, fmt.Sprintf("(%s, %s)", clickhouse.Literal(t[0]), clickhouse.Literal(t[1])))
	}
	return fmt.Sprintf("(%s, %s) IN (%s)", database, table, strings.Join(out, ", "))
}

// lines asks a question. Each row is an object of JSON, made by the server.
func (g *gatherer) lines(client *clickhouse.Client, q question, rows *[]string) error {
	return client.Texts(g.ctx, "SELECT formatRowNoNewline('JSONEachRow', *) AS j FROM ("+q.sql+")", []string{"j"}, func(row []string) (err error) {
		line := strings.Clone(strings.TrimSuffix(row[0], "\n"))
		if q.row != nil {
			if line, err = q.row(line); err != nil {
				return err
			}
		}
		*rows = append(*rows, line)
		return nil
	})
}

// samples are values of events that Waybill's tables quote: they are taken out of everything. What cannot be read cannot be looked for; findings that
// quote events are without their words all the same.
func (g *gatherer) samples(client *clickhouse.Client) error {
	of := pipelinesIn(g, "pipeline")
	for _, sql := range []string{
		fmt.Sprintf("SELECT DISTINCT toString(sample) AS s FROM %s WHERE %s LIMIT %d", clickhouse.Table(ledger.DefaultDatabase, ledger.TableDrift), of, maxSamples),
		fmt.Sprintf("SELECT DISTINCT message AS s FROM %s WHERE %s LIMIT %d", clickhouse.Table(ledger.DefaultDatabase, ledger.TableDeadLetters), of, maxSamples),
	} {
		err := client.Texts(g.ctx, sql, []string{"s"}, func(row []string) error {
			s := strings.Clone(row[0])
			g.quote(s)
			g.quote(strings.Trim(s, `"`))
			return nil
		})
		if err != nil {
			return fmt.Errorf("values of events that Waybill's tables quote could not be read, and so not be looked for: %w", err)
		}
	}
	return nil
}

// maxSamples bounds what is looked for.
const maxSamples = 10_000

func pipelinesIn(g *gatherer, column string) string {
	var literals []string
	for _, name := range names(g.cfg) {
		literals = append(literals, clickhouse.Literal(name))
	}
	return column + " IN (" + strings.Join(literals, ", ") + ")"
}

// records are the latest rows of Waybill's own tables.
func (g *gatherer) records() []question {
	latest := func(table, columns, column, order string) string {
		return fmt.Sprintf("SELECT %s FROM %s WHERE %s ORDER BY %s LIMIT %d", columns, clickhouse.Table(ledger.DefaultDatabase, table), pipelinesIn(g, column), order, g.rows)
	}
	return []question{
		{name: "waybill/ledger.jsonl", what: "the latest rows of waybill.ledger, the newest first",
			sql: latest(ledger.TableLedger, "* REPLACE (lower(hex(batch)) AS batch)", "pipeline", "batch_time DESC, pipeline, topic, partition, first")},
		{name: "waybill/findings.jsonl", what: "the latest rows of waybill.findings; those that quote events are without their words",
			sql: latest(ledger.TableFindings, "*", "pipeline", "at DESC, id, worker"), row: g.hideQuoting},
		{name: "waybill/generations.jsonl", what: "the latest rows of waybill.generations", sql: latest(ledger.TableGenerations, "*", "pipeline", "at DESC, table, epoch")},
		{name: "waybill/pipelines.jsonl", what: "the latest rows of waybill.pipelines, without hashes of the file", sql: latest(ledger.TablePipelines, "* EXCEPT (file_hash)", "name", "first_seen DESC, name, epoch")},
		{name: "waybill/plans.jsonl", what: "the latest rows of waybill.plans", sql: latest(ledger.TablePlans, "*", "pipeline", "first_seen DESC, id")},
		{name: "waybill/dead_letters.jsonl", what: "how many dead letters there are of each reason; nothing of them",
			sql: fmt.Sprintf("SELECT pipeline, epoch, stage, code, column, count() AS letters, min(batch_time) AS first, max(batch_time) AS last FROM %s WHERE %s GROUP BY ALL ORDER BY letters DESC, pipeline, epoch, stage, code, column LIMIT %d",
				clickhouse.Table(ledger.DefaultDatabase, ledger.TableDeadLetters), pipelinesIn(g, "pipeline"), g.rows)},
	}
}

// serverQuestions are those about the server and the tables.
func serverQuestions(tables [][2]string) []question {
	of := among(tables, "database", "table")
	return []question{
		{name: "clickhouse/server.jsonl", what: "the server's version, age, time zone and user",
			sql: "SELECT version() AS version, uptime() AS uptime, timezone() AS timezone, hostName() AS host, currentUser() AS user, now64(3) AS now"},
		{name: "clickhouse/settings.jsonl", what: "settings that are not as the server's makers have them",
			sql: "SELECT name, value, default, readonly FROM system.settings WHERE changed ORDER BY name"},
		{name: "clickhouse/merge_tree_settings.jsonl", what: "the same of tables", sql: "SELECT name, value, default FROM system.merge_tree_settings WHERE changed ORDER BY name"},
		{name: "clickhouse/parts.jsonl", what: "parts of the tables by table partition: " + describeTables(tables),
			sql: "SELECT database, table, partition_id, active, count() AS parts, sum(rows) AS rows, sum(bytes_on_disk) AS bytes, max(level) AS level, min(modification_time) AS oldest, max(modification_time) AS newest FROM system.parts WHERE " + of +
				" GROUP BY ALL ORDER BY database, table, partition_id, active LIMIT 10000"},
		{name: "clickhouse/merges.jsonl", what: "merges of all tables that run", sql: "SELECT database, table, elapsed, progress, num_parts, result_part_name, is_mutation, total_size_bytes_compressed AS bytes, rows_read, rows_written, memory_usage FROM system.merges ORDER BY elapsed DESC LIMIT 1000"},
		{name: "clickhouse/mutations.jsonl", what: "the latest mutations of the tables; what they compare rows with is ***",
			sql: "SELECT database, table, mutation_id, command, create_time, parts_to_do, is_done, latest_fail_time, latest_fail_reason FROM system.mutations WHERE " + of + " ORDER BY create_time DESC, mutation_id LIMIT 100", row: hideCommand},
		{name: "clickhouse/replicas.jsonl", what: "replicas of the tables", sql: "SELECT * EXCEPT (zookeeper_exception) FROM system.replicas WHERE " + of + " ORDER BY database, table"},
	}
}

func describeTables(tables [][2]string) string {
	var out []string
	for _, t := range tables {
		out = append(out, t[0]+"."+t[1])
	}
	return strings.Join(out, ", ")
}
