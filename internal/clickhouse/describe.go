package clickhouse

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/ClickHouse/ch-go/proto"

	waybill "github.com/waybill-data/waybill"
	"github.com/waybill-data/waybill/internal/contract"
)

// TableInfo is what delivery needs to know of a table beyond its columns.
type TableInfo struct {
	UUID         string
	Engine       string // as in system.tables, with Replicated and Shared prefixes
	EngineFull   string
	PartitionKey string
	SortingKey   string
	// Settings are those of the table's own SETTINGS clause.
	Settings map[string]string
	// Window is how many block ids the table's deduplication log keeps; 0: none. WindowSeconds limits their age where the
	// engine does that (replicated tables); 0: no limit by age.
	Window        int64
	WindowSeconds int64
	Replicated    bool
	MergeTree     bool
	// OffsetProjection: the table has the offset projection for the lineage that Describe was asked about.
	OffsetProjection bool
	// Closed: the table takes no rows, as a backfill is letting tables change places.
	Closed bool
	Views  []ViewInfo // all that an INSERT into the table feeds, views of views included
}

// ViewInfo is a materialized view fed by the table and the table that it fills.
type ViewInfo struct {
	Database, View string
	Target         TargetInfo
}

// TargetInfo is the table that a view fills. Without an Engine there is none, or the user may not see it.
type TargetInfo struct {
	Database, Table, Engine string
	Window, WindowSeconds   int64
	Replicated              bool
}

// Describe reads a table as the server has it now: never from a cache. lineage says which offset projection to look for. A
// table that does not exist is a schema error.
func (c *Client) Describe(ctx context.Context, database, table string, lineage contract.Lineage) (contract.TableSchema, TableInfo, error) {
	row, err := c.tableRow(ctx, database, table)
	if err != nil {
		return contract.TableSchema{}, TableInfo{}, err
	}
	schema := contract.TableSchema{Database: database, Table: table, UUID: row.uuid, Engine: row.engine}
	if schema.Columns, err = c.columns(ctx, database, table); err != nil {
		return contract.TableSchema{}, TableInfo{}, err
	}
	info := TableInfo{
		UUID: row.uuid, Engine: row.engine, EngineFull: row.engineFull,
		PartitionKey: row.partitionKey, SortingKey: row.sortingKey,
		Settings:   engineSettings(row.engineFull),
		Replicated: isReplicated(row.engine),
		MergeTree:  strings.HasSuffix(row.engine, "MergeTree"),
		Closed:     closed.MatchString(row.create),
	}
	if info.Window, info.WindowSeconds, err = c.window(ctx, row); err != nil {
		return contract.TableSchema{}, TableInfo{}, err
	}
	if info.OffsetProjection, err = c.hasProjection(ctx, row, lineage); err != nil {
		return contract.TableSchema{}, TableInfo{}, err
	}
	if info.Views, err = c.views(ctx, row); err != nil {
		return contract.TableSchema{}, TableInfo{}, err
	}
	return schema, info, nil
}

// tableRow is a row of system.tables.
type tableRow struct {
	database, name, uuid, engine, engineFull, partitionKey, sortingKey, create string
	viewDatabases, views                                                       []string
}

func (c *Client) tableRow(ctx context.Context, database, table string) (tableRow, error) {
	rows, err := c.tableRows(ctx, fmt.Sprintf("database = %s AND name = %s", Literal(database), Literal(table)))
	if err != nil {
		return tableRow{}, err
	}
	if len(rows) == 0 {
		return tableRow{}, &waybill.Error{
			Op: "clickhouse.describe", Class: waybill.ClassSchema, Code: 60,
			Hint: "create the table, or grant the user SELECT or INSERT on it",
			Err:  fmt.Errorf("table %s.%s does not exist or this user may not see it", database, table),
		}
	}
	return rows[0], nil
}

func (c *Client) tableRows(ctx context.Context, where string) ([]tableRow, error) {
	var db, name, uuid, engine, full, part, sorting, create proto.ColStr
	vdb, views := new(proto.ColStr).Array(), new(proto.ColStr).Array()
	result := proto.Results{
		{Name: "database", Data: &db}, {Name: "name", Data: &name}, {Name: "u", Data: &uuid}, {Name: "engine", Data: &engine},
		{Name: "engine_full", Data: &full}, {Name: "partition_key", Data: &part}, {Name: "sorting_key", Data: &sorting},
		{Name: "create_table_query", Data: &create},
		{Name: "dependencies_database", Data: vdb}, {Name: "dependencies_table", Data: views},
	}
	var rows []tableRow
	err := c.query(ctx, "clickhouse.describe", `
SELECT database, name, toString(uuid) AS u, engine, engine_full, partition_key, sorting_key, create_table_query,
       dependencies_database, dependencies_table
FROM system.tables WHERE `+where, result, func(n int) error {
		for i := range n {
			rows = append(rows, tableRow{
				database: db.Row(i), name: name.Row(i), uuid: uuid.Row(i), engine: engine.Row(i), engineFull: full.Row(i),
				partitionKey: part.Row(i), sortingKey: sorting.Row(i), create: create.Row(i),
				viewDatabases: vdb.Row(i), views: views.Row(i),
			})
		}
		return nil
	})
	return rows, err
}

func (c *Client) columns(ctx context.Context, database, table string) ([]contract.TableColumn, error) {
	var name, typ, kind, expr, comment proto.ColStr
	var inKey proto.ColUInt8
	result := proto.Results{
		{Name: "name", Data: &name}, {Name: "type", Data: &typ},
		{Name: "default_kind", Data: &kind}, {Name: "default_expression", Data: &expr},
		{Name: "comment", Data: &comment}, {Name: "in_key", Data: &inKey},
	}
	var cols []contract.TableColumn
	err := c.query(ctx, "clickhouse.describe", fmt.Sprintf(
		"SELECT name, type, default_kind, default_expression, comment, toUInt8(is_in_partition_key OR is_in_sorting_key OR is_in_primary_key OR is_in_sampling_key) AS in_key FROM system.columns WHERE database = %s AND table = %s ORDER BY position",
		Literal(database), Literal(table)), result, func(n int) error {
		for i := range n {
			cols = append(cols, contract.TableColumn{Name: name.Row(i), Type: typ.Row(i), DefaultKind: kind.Row(i), DefaultExpr: expr.Row(i), Comment: comment.Row(i), InKey: inKey.Row(i) != 0})
		}
		return nil
	})
	return cols, err
}

func isReplicated(engine string) bool {
	return strings.HasPrefix(engine, "Replicated") || strings.HasPrefix(engine, "Shared")
}

// window is the size of the table's deduplication log: of its own SETTINGS clause, else the server's default.
func (c *Client) window(ctx context.Context, row tableRow) (blocks, seconds int64, err error) {
	if !strings.HasSuffix(row.engine, "MergeTree") {
		return 0, 0, nil
	}
	names, system := []string{"non_replicated_deduplication_window"}, "system.merge_tree_settings"
	if isReplicated(row.engine) {
		names = []string{"replicated_deduplication_window", "replicated_deduplication_window_seconds"}
		system = "system.replicated_merge_tree_settings"
	}
	values := [2]int64{}
	own := engineSettings(row.engineFull)
	for i, name := range names {
		value, ok := own[name]
		if !ok {
			if value, err = c.scalar(ctx, fmt.Sprintf("SELECT value AS v FROM %s WHERE name = %s", system, Literal(name))); err != nil {
				return 0, 0, err
			}
		}
		if values[i], err = strconv.ParseInt(value, 10, 64); err != nil {
			return 0, 0, &waybill.Error{Op: "clickhouse.describe", Class: waybill.ClassBug, Err: fmt.Errorf("%s of %s.%s: %w", name, row.database, row.name, err)}
		}
	}
	return values[0], values[1], nil
}

// scalar is the first row of a String column v; empty if there is none.
func (c *Client) scalar(ctx context.Context, sql string) (string, error) {
	var v proto.ColStr
	out := ""
	err := c.query(ctx, "clickhouse.query", sql, proto.Results{{Name: "v", Data: &v}}, func(int) error {
		out = v.Row(0)
		return nil
	})
	return out, err
}

var settingPattern = regexp.MustCompile(`(\w+) = ('(?:[^'\\]|\\.)*'|[^,\s]+)`)

// engineSettings parses the SETTINGS clause at the end of engine_full.
func engineSettings(engineFull string) map[string]string {
	_, clause, ok := strings.Cut(engineFull, " SETTINGS ")
	out := map[string]string{}
	if !ok {
		return out
	}
	for _, m := range settingPattern.FindAllStringSubmatch(clause, -1) {
		out[m[1]] = strings.Trim(m[2], "'")
	}
	return out
}

// hasProjection looks for a projection that answers Present's queries, whatever its name and aliases.
func (c *Client) hasProjection(ctx context.Context, row tableRow, l contract.Lineage) (bool, error) {
	if l.Offset == "" || !strings.Contains(row.create, "PROJECTION") {
		return false, nil
	}
	var query proto.ColStr
	found := false
	err := c.query(ctx, "clickhouse.describe", fmt.Sprintf(
		"SELECT query FROM system.projections WHERE database = %s AND table = %s", Literal(row.database), Literal(row.name)),
		proto.Results{{Name: "query", Data: &query}}, func(n int) error {
			for i := range n {
				found = found || isOffsetProjection(query.Row(i), l)
			}
			return nil
		})
	return found, err
}

// isOffsetProjection reports whether a projection groups by the lineage and keeps the bitmap of each bucket.
func isOffsetProjection(query string, l contract.Lineage) bool {
	plain := strings.NewReplacer("`", "", " ", "", "\n", "", "\t", "")
	selected, grouped, _ := strings.Cut(query, "GROUP BY")
	selected, grouped = plain.Replace(selected), ","+plain.Replace(grouped)+","
	if strings.Contains(selected, "WHERE") ||
		!strings.Contains(selected, plain.Replace(bucket(l))) || !strings.Contains(selected, plain.Replace(bitmap(l))) {
		return false
	}
	for _, key := range lineageKeys(l) {
		if !strings.Contains(grouped, ","+plain.Replace(key)+",") {
			return false
		}
	}
	return true
}

var viewTarget = regexp.MustCompile("^CREATE MATERIALIZED VIEW (?:`(?:[^`\\\\]|\\\\.)*`|\\S+) (?:UUID '[^']*' )?TO ((?:`(?:[^`\\\\]|\\\\.)*`|[^\\s.(`])+)\\.((?:`(?:[^`\\\\]|\\\\.)*`|[^\\s.(`])+)")

// views follows materialized views from table to table.
func (c *Client) views(ctx context.Context, from tableRow) ([]ViewInfo, error) {
	var out []ViewInfo
	seen := map[string]bool{}
	for todo := []tableRow{from}; len(todo) > 0; todo = todo[1:] {
		for i := range todo[0].views {
			db, name := todo[0].viewDatabases[i], todo[0].views[i]
			if key := Table(db, name); seen[key] {
				continue
			} else {
				seen[key] = true
			}
			view, target, err := c.view(ctx, db, name)
			if err != nil {
				return nil, err
			}
			if view.Database == "" {
				continue // not a materialized view: a live or window view, which writes no rows of ours
			}
			out = append(out, view)
			todo = append(todo, target)
		}
	}
	return out, nil
}

func (c *Client) view(ctx context.Context, database, name string) (ViewInfo, tableRow, error) {
	row, err := c.tableRow(ctx, database, name)
	if err != nil || row.engine != "MaterializedView" {
		return ViewInfo{}, tableRow{}, err
	}
	tdb, tname := database, ".inner_id."+row.uuid
	if m := viewTarget.FindStringSubmatch(row.create); m != nil {
		tdb, tname = unquoteIdent(m[1]), unquoteIdent(m[2])
	}
	target, err := c.tableRow(ctx, tdb, tname)
	if e := (*waybill.Error)(nil); errors.As(err, &e) && e.Class == waybill.ClassSchema {
		return ViewInfo{Database: database, View: name, Target: TargetInfo{Database: tdb, Table: tname}}, tableRow{}, nil
	}
	if err != nil {
		return ViewInfo{}, tableRow{}, err
	}
	info := TargetInfo{Database: tdb, Table: tname, Engine: target.engine, Replicated: isReplicated(target.engine)}
	if info.Window, info.WindowSeconds, err = c.window(ctx, target); err != nil {
		return ViewInfo{}, tableRow{}, err
	}
	return ViewInfo{Database: database, View: name, Target: info}, target, nil
}

func unquoteIdent(s string) string {
	if len(s) < 2 || s[0] != '`' {
		return s
	}
	return strings.NewReplacer("\\\\", "\\", "\\`", "`").Replace(s[1 : len(s)-1])
}

// TableUUID is the UUID of the table that a name means now; empty if there is none, or the user may not see it.
func (c *Client) TableUUID(ctx context.Context, database, table string) (string, error) {
	return c.scalar(ctx, fmt.Sprintf("SELECT toString(uuid) AS v FROM system.tables WHERE database = %s AND name = %s", Literal(database), Literal(table)))
}
