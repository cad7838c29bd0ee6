package clickhouse

import (
	"context"
	"fmt"
	"time"

	"github.com/ClickHouse/ch-go/proto"
)

// RowPolicies are the names of the row policies that hide rows of a table from the user of this
// connection. Seeing them takes a grant; without it the error is of class config.
func (c *Client) RowPolicies(ctx context.Context, database, table string) ([]string, error) {
	var name proto.ColStr
	var names []string
	// A policy on a whole database has an empty table.
	sql := fmt.Sprintf(`SELECT name FROM system.row_policies
WHERE (database = %[1]s AND table IN (%[2]s, '') OR database = '' )
  AND (apply_to_all AND NOT has(apply_to_except, currentUser()) OR has(apply_to_list, currentUser()) OR hasAny(apply_to_list, currentRoles()))
ORDER BY name`, Literal(database), Literal(table))
	err := c.query(ctx, "clickhouse.row_policies", sql, proto.Results{{Name: "name", Data: &name}}, func(rows int) error {
		for i := range rows {
			names = append(names, name.Row(i))
		}
		return nil
	})
	return names, err
}

// TablesLike are the tables of a database whose names begin with prefix and that have not been altered for
// the given time.
func (c *Client) TablesLike(ctx context.Context, database, prefix string, unaltered time.Duration) ([]string, error) {
	var name proto.ColStr
	var names []string
	sql := fmt.Sprintf("SELECT name FROM system.tables WHERE database = %s AND startsWith(name, %s) AND metadata_modification_time < now() - %d",
		Literal(database), Literal(prefix), int64(unaltered.Seconds()))
	err := c.query(ctx, "clickhouse.tables", sql, proto.Results{{Name: "name", Data: &name}}, func(rows int) error {
		for i := range rows {
			names = append(names, name.Row(i))
		}
		return nil
	})
	return names, err
}
