package clickhouse

import (
	"context"
	"fmt"
	"time"

	"github.com/ClickHouse/ch-go/proto"

	waybill "github.com/waybill-data/waybill"
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

// WindowUse is how many block ids the deduplication window of a table holds, and how many came in within the last time, of all writers. used is -1
// if the server does not tell: system.part_log is not there, or may not be read.
func (c *Client) WindowUse(ctx context.Context, database, table string, within time.Duration) (used, size int64, err error) {
	row, err := c.tableRow(ctx, database, table)
	if err != nil {
		return -1, 0, err
	}
	if size, _, err = c.window(ctx, row); err != nil || isReplicated(row.engine) {
		return -1, size, err
	}
	used, _, _, err = c.partsSince(ctx, row, c.ServerNow(c.now()).Add(-within))
	if class := waybill.ClassOf(err); err != nil && !class.Heals() {
		return -1, size, nil
	}
	return used, size, err
}

// ReplicaDelay is how far this server's replica of a table is behind the others, and whether it is read-only; ok is false if it is no replica.
func (c *Client) ReplicaDelay(ctx context.Context, database, table string) (delay time.Duration, readOnly, ok bool, err error) {
	var seconds proto.ColUInt64
	var ro proto.ColUInt8
	err = c.query(ctx, "clickhouse.replica", fmt.Sprintf("SELECT toUInt64(absolute_delay) AS d, toUInt8(is_readonly) AS r FROM system.replicas WHERE database = %s AND table = %s", Literal(database), Literal(table)),
		proto.Results{{Name: "d", Data: &seconds}, {Name: "r", Data: &ro}}, func(rows int) error {
			ok = rows > 0
			delay, readOnly = time.Duration(seconds.Row(0))*time.Second, ro.Row(0) != 0 //nolint:gosec // a delay
			return nil
		})
	return delay, readOnly, ok, err
}
