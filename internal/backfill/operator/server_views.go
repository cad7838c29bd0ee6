package operator

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/waybill-data/waybill"
	"github.com/waybill-data/waybill/internal/backfill"
	"github.com/waybill-data/waybill/internal/clickhouse"
)

// Feeds are the materialized views that the table's rows feed. A refreshable view is none of them.
func (s *Server) Feeds(ctx context.Context, table string) (out []backfill.View, err error) {
	schema, info, err := s.Client.Describe(ctx, s.Database, table, s.Lineage)
	if err != nil {
		return nil, err
	}
	err = s.Client.Texts(ctx, fmt.Sprintf(`SELECT v.database AS d, v.name AS n, v.as_select AS q FROM system.tables AS v INNER JOIN (
    SELECT arrayJoin(arrayZip(dependencies_database, dependencies_table)) AS of FROM system.tables WHERE database = %s AND name = %s
) AS t ON v.database = t.of.1 AND v.name = t.of.2
WHERE v.engine = 'MaterializedView' AND position(v.create_table_query, ' REFRESH ') = 0 ORDER BY d, n%s`, clickhouse.Literal(schema.Database), clickhouse.Literal(schema.Table), plainJoin), []string{"d", "n", "q"},
		func(row []string) error {
			v := backfill.View{Database: strings.Clone(row[0]), Name: strings.Clone(row[1]), Query: strings.Clone(row[2])}
			for i := range info.Views {
				if fed := &info.Views[i]; fed.Database == v.Database && fed.View == v.Name && fed.Target.Database == s.Database {
					v.Target = fed.Target.Table
				}
			}
			out = append(out, v)
			return nil
		})
	return out, err
}

// Fill has the server evaluate the view's query over some rows, which puts together in one row what the view would have made several of: tables that views fill by
// groups put those together as well.
func (s *Server) Fill(ctx context.Context, v backfill.View, from, into, topic string, lo, hi backfill.Positions) error {
	sql, err := s.viewSelect(ctx, v, from, s.between(topic, lo, hi))
	if err != nil {
		return err
	}
	made, err := s.described(ctx, sql)
	if err != nil {
		return err
	}
	takes, err := s.names(ctx, into)
	if err != nil {
		return err
	}
	var list []string
	for _, name := range made { // a view's column that its table does not have goes nowhere
		if slices.Contains(takes, name) {
			list = append(list, clickhouse.Ident(name))
		}
	}
	if len(list) == 0 {
		return s.unfit(v, "none of its columns is one of "+s.table(into))
	}
	columns := strings.Join(list, ", ")
	return s.Client.Exec(ctx, fmt.Sprintf("INSERT INTO %s (%s) SELECT %s FROM (%s) SETTINGS insert_deduplicate = 0, max_partitions_per_insert_block = 0, throw_on_max_partitions_per_insert_block = 0",
		s.table(into), columns, columns, sql))
}

// described are the names of a query's columns.
func (s *Server) described(ctx context.Context, sql string) (names []string, err error) {
	err = s.Client.Texts(ctx, "DESCRIBE TABLE ("+sql+")", []string{"name", "type", "default_type", "default_expression", "comment", "codec_expression", "ttl_expression"}, func(row []string) error {
		names = append(names, strings.Clone(row[0]))
		return nil
	})
	return names, err
}

// viewSelect is a view's query about some rows of another table than that which feeds it.
func (s *Server) viewSelect(ctx context.Context, v backfill.View, from, where string) (string, error) {
	// An insert shows its views columns that are computed, too.
	columns, err := s.texts(ctx, fmt.Sprintf("SELECT name AS v FROM system.columns WHERE database = %s AND table = %s AND default_kind != 'EPHEMERAL' ORDER BY position", clickhouse.Literal(s.Database), clickhouse.Literal(from)))
	if err != nil {
		return "", err
	}
	for i, c := range columns {
		columns[i] = clickhouse.Ident(c)
	}
	sql, err := redirect(v.Query, s.Database, s.Live, fmt.Sprintf("(SELECT %s FROM %s WHERE %s)", strings.Join(columns, ", "), s.table(from), where))
	if err != nil {
		return "", s.unfit(v, err.Error())
	}
	return sql, nil
}

func (s *Server) unfit(v backfill.View, why string) error {
	return &waybill.Error{Op: "backfill.view " + v.Database + "." + v.Name, Class: waybill.ClassConfig, Err: errors.New(why)}
}

// AttachAll adds all parts of another table, which keeps them.
func (s *Server) AttachAll(ctx context.Context, into, from string) error {
	return s.Client.Exec(ctx, fmt.Sprintf("ALTER TABLE %s ATTACH PARTITION ALL FROM %s", s.table(into), s.table(from)))
}

// Close adds a constraint that no row meets.
func (s *Server) Close(ctx context.Context, name string, epoch waybill.Epoch) error {
	return s.Client.Exec(ctx, fmt.Sprintf("ALTER TABLE %s ADD %s", s.table(name), clickhouse.ClosedConstraint(s.Lineage.Epoch, epoch)))
}

// Reopen drops the constraint, which has the epoch in its name: a statement that arrives late is about no other closing.
func (s *Server) Reopen(ctx context.Context, name string, epoch waybill.Epoch) error {
	return s.Client.Exec(ctx, fmt.Sprintf("ALTER TABLE %s DROP CONSTRAINT IF EXISTS %s", s.table(name), clickhouse.ClosedName(epoch)))
}

var errReads = errors.New("its query does not read the table once, by FROM and the table's name")

// errAlone is why a view can't be made anew whose query alone does not accept.
const errAlone = "its query reads other tables as well, or has a JOIN, a UNION, a LIMIT, a DISTINCT or a window function: what it makes of a row depends on more than the row"

// redirect is a query that reads from a subquery what it reads from a table. The query is as the server writes it.
func redirect(query, database, table, subquery string) (string, error) {
	name := `(?:` + regexp.QuoteMeta(database) + "|" + regexp.QuoteMeta(clickhouse.Ident(database)) + `)\.(?:` + regexp.QuoteMeta(table) + "|" + regexp.QuoteMeta(clickhouse.Ident(table)) + `)`
	found := regexp.MustCompile(`\bFROM `+name+`(?:[ )]|$)`).FindAllStringIndex(query, -1)
	if len(found) != 1 {
		return "", errReads
	}
	end := found[0][1]
	if last := query[end-1]; last == ' ' || last == ')' {
		end--
	}
	alias := " AS " + clickhouse.Ident(table)
	if strings.HasPrefix(query[end:], " AS ") {
		alias = ""
	}
	return query[:found[0][0]] + "FROM " + subquery + alias + query[end:], nil
}

// alone reports whether a query reads nothing but one table, and that what it makes of some rows does not depend on the others, as far as it can be told. tree is
// the server's EXPLAIN QUERY TREE.
func alone(tree []string) bool {
	tables := 0
	for _, line := range tree {
		switch line = strings.TrimSpace(line); {
		case strings.HasPrefix(line, "TABLE id:"):
			tables++
		case strings.HasPrefix(line, "TABLE_FUNCTION id:"), strings.HasPrefix(line, "JOIN id:"), strings.HasPrefix(line, "CROSS_JOIN id:"), strings.HasPrefix(line, "UNION id:"), line == "LIMIT", line == "OFFSET", strings.Contains(line, "is_distinct: 1"), strings.HasPrefix(line, "LIMIT BY"),
			line == "WINDOW", strings.Contains(line, "function_type: window"):
			return false
		}
	}
	return tables == 1
}

// rebuildable says why a view can't be made anew; "": it can.
func (s *Server) rebuildable(ctx context.Context, v backfill.View, info *clickhouse.TableInfo) (string, error) {
	var target *clickhouse.TargetInfo
	for i := range info.Views {
		if fed := &info.Views[i]; fed.Database == v.Database && fed.View == v.Name {
			target = &fed.Target
		}
	}
	switch {
	case target == nil || target.Engine == "":
		return "the table that it fills is not there, or may not be seen", nil
	case v.Target == "":
		return fmt.Sprintf("it fills a table of another database (%s), and tables change places within one", target.Database), nil
	case strings.HasPrefix(v.Target, ".inner"):
		return "it has no table of its own name: make it with TO", nil
	case !strings.HasSuffix(target.Engine, "MergeTree") || target.Replicated:
		return "it fills a table with engine " + target.Engine, nil
	}
	others, err := s.alsoFill(ctx, v)
	if err != nil || len(others) > 0 {
		return strings.Join(others, ", ") + " fills its table " + v.Target + " as well, of this or another table", err
	}
	_, behind, err := s.Client.Describe(ctx, s.Database, v.Target, s.Lineage)
	if err != nil {
		return "", err
	}
	if len(behind.Views) > 0 {
		return fmt.Sprintf("what it fills feeds another view, %s.%s", behind.Views[0].Database, behind.Views[0].View), nil
	}
	return s.independent(ctx, v)
}

// alsoFill are other materialized views that fill a view's table, whatever table feeds them.
func (s *Server) alsoFill(ctx context.Context, v backfill.View) ([]string, error) {
	pattern := " TO (" + regexp.QuoteMeta(s.Database) + "|" + regexp.QuoteMeta(clickhouse.Ident(s.Database)) + `)\.(` + regexp.QuoteMeta(v.Target) + "|" + regexp.QuoteMeta(clickhouse.Ident(v.Target)) + ")( |$)"
	return s.texts(ctx, fmt.Sprintf("SELECT concat(database, '.', name) AS v FROM system.tables WHERE engine = 'MaterializedView' AND NOT (database = %s AND name = %s) AND match(create_table_query, %s) ORDER BY v",
		clickhouse.Literal(v.Database), clickhouse.Literal(v.Name), clickhouse.Literal(pattern)))
}

// independent says why what the view makes of rows depends on more than the rows, or why its query can't be asked of another table; "": neither.
func (s *Server) independent(ctx context.Context, v backfill.View) (string, error) {
	sql, err := s.viewSelect(ctx, v, s.Live, "1")
	if err == nil {
		var tree []string
		if tree, err = s.tree(ctx, sql); err == nil && !alone(tree) {
			return errAlone, nil
		}
	}
	if e := (*waybill.Error)(nil); errors.As(err, &e) && !e.Class.Heals() {
		return e.Err.Error(), nil
	}
	return "", err
}

// tree is how the server understands a query, in lines.
func (s *Server) tree(ctx context.Context, sql string) (lines []string, err error) {
	err = s.Client.Texts(ctx, "SELECT explain AS v FROM (EXPLAIN QUERY TREE run_passes = 1 "+sql+")", []string{"v"}, func(row []string) error {
		lines = append(lines, strings.Clone(row[0]))
		return nil
	})
	return lines, err
}
