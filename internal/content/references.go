package content

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/waybill-data/waybill/internal/clickhouse"
)

// Reference is a column that has names of values.
type Reference struct{ Database, Table, Column string }

// References are the columns of tables on this server that may have names of values: those that any stored plan says so of, by name, wherever a table
// has them: a backfill's table, one that is kept to roll back to, a copy. Of a pipeline that was deleted there are no plans, and its table may be there:
// in the database of the contents a column counts that has an end like the names that columns of references get if the file gives them none. plansTable
// is the table of stored plans.
func References(ctx context.Context, c *clickhouse.Client, plansDatabase, plansTable, database string, own []string) ([]Reference, error) {
	names := slices.Clone(own)
	err := c.Texts(ctx, fmt.Sprintf(`SELECT DISTINCT arrayJoin(extractAll(text, '"large":\\{[^}]*"ref":"((?:[^"\\\\]|\\\\.)+)"')) AS waybill_n FROM %s ORDER BY 1`, clickhouse.Table(plansDatabase, plansTable)),
		[]string{"waybill_n"}, func(row []string) error {
			names = append(names, row[0])
			return nil
		})
	if err != nil || len(names) == 0 {
		return nil, err
	}
	for i, n := range names {
		names[i] = clickhouse.Literal(n)
	}
	var out []Reference
	err = c.Texts(ctx, fmt.Sprintf(`SELECT c.database AS waybill_d, c.table AS waybill_t, c.name AS waybill_n FROM system.columns AS c JOIN system.tables AS t ON c.database = t.database AND c.table = t.name
WHERE (c.name IN (%s) OR c.database = %s AND endsWith(c.name, '_ref')) AND c.type = 'String' AND t.engine LIKE '%%MergeTree' ORDER BY ALL`, strings.Join(names, ", "), clickhouse.Literal(database)),
		[]string{"waybill_d", "waybill_t", "waybill_n"}, func(row []string) error {
			out = append(out, Reference{row[0], row[1], row[2]})
			return nil
		})
	return out, err
}

// referenced is a query for the names that the columns have, with repetitions.
func referenced(refs []Reference) string {
	if len(refs) == 0 {
		return "SELECT '' AS waybill_ref WHERE 0"
	}
	parts := make([]string, len(refs))
	for i, r := range refs {
		col := clickhouse.Ident(r.Column)
		parts[i] = fmt.Sprintf("SELECT %s AS waybill_ref FROM %s WHERE %s != ''", col, clickhouse.Table(r.Database, r.Table), col)
	}
	return strings.Join(parts, " UNION ALL ")
}
