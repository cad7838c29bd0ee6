package clickhouse

import (
	"context"
	"strings"
	"time"

	"github.com/ClickHouse/ch-go"
	"github.com/ClickHouse/ch-go/proto"
)

// Exec runs a statement that returns nothing. The error is a *waybill.Error.
func (c *Client) Exec(ctx context.Context, sql string) error {
	ctx, cancel := context.WithTimeout(ctx, c.cfg.QueryTimeout)
	defer cancel()
	st := &statement{body: sql}
	if strings.Contains(sql, " ON CLUSTER ") {
		// Done when all servers have done it, and failed where one has not, without a table of who has.
		st.settings = []ch.Setting{{Key: "distributed_ddl_output_mode", Value: "none"}}
	}
	return c.withConn(ctx, "clickhouse.exec", func(ctx context.Context, cn *conn) error { return cn.do(ctx, st) })
}

// Query runs a SELECT under the pinned read settings (see readSettings) and calls onBlock for every block with rows, with
// that block in result; the columns are overwritten by the next one. Columns are matched by name and must have exactly the
// types that the statement returns. The error is a *waybill.Error.
func (c *Client) Query(ctx context.Context, sql string, result proto.Results, onBlock func(rows int) error) error {
	return c.query(ctx, "clickhouse.query", sql, result, onBlock)
}

func (c *Client) query(ctx context.Context, op, sql string, result proto.Results, onBlock func(rows int) error) error {
	ctx, cancel := context.WithTimeout(ctx, c.cfg.QueryTimeout)
	defer cancel()
	if err := c.syncFor(ctx, sql); err != nil {
		return err
	}
	st := &statement{body: sql, settings: c.reads, result: result, onRows: onBlock}
	return c.withConn(ctx, op, func(ctx context.Context, cn *conn) error { return cn.do(ctx, st) })
}

// Boot is when the server was started, by its own clock in whole seconds, and its id. A start that is later than before means a restart:
// acknowledged data that was not synced may be gone. Another id is another server behind the same address.
func (c *Client) Boot(ctx context.Context) (started time.Time, server string, err error) {
	var at proto.ColInt64
	var id proto.ColStr
	err = c.query(ctx, "clickhouse.boot", "SELECT toInt64(toUnixTimestamp(now())) - toInt64(uptime()) AS s, toString(serverUUID()) AS u", proto.Results{{Name: "s", Data: &at}, {Name: "u", Data: &id}}, func(int) error {
		started, server = time.Unix(at.Row(0), 0), id.Row(0)
		return nil
	})
	return started, server, err
}

// Ident quotes an identifier.
func Ident(name string) string {
	return "`" + identEscaper.Replace(name) + "`"
}

// Table quotes a table's full name; an empty database means the session's.
func Table(database, table string) string {
	if database == "" {
		return Ident(table)
	}
	return Ident(database) + "." + Ident(table)
}

// Literal quotes a string literal; any bytes are fine.
func Literal(s string) string {
	return "'" + literalEscaper.Replace(s) + "'"
}

var (
	identEscaper   = strings.NewReplacer("\\", "\\\\", "`", "\\`")
	literalEscaper = strings.NewReplacer("\\", "\\\\", "'", "\\'")
)
