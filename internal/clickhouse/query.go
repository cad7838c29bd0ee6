package clickhouse

import (
	"context"
	"strings"
	"time"

	"github.com/ClickHouse/ch-go/proto"
)

// Exec runs a statement that returns nothing. The error is a *waybill.Error.
func (c *Client) Exec(ctx context.Context, sql string) error {
	ctx, cancel := context.WithTimeout(ctx, c.cfg.QueryTimeout)
	defer cancel()
	return c.withConn(ctx, "clickhouse.exec", func(ctx context.Context, cn *conn) error {
		return cn.do(ctx, &statement{body: sql})
	})
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
	st := &statement{body: sql, settings: readSettings, result: result, onRows: onBlock}
	return c.withConn(ctx, op, func(ctx context.Context, cn *conn) error { return cn.do(ctx, st) })
}

// Uptime is how long the server has been running. One that is shorter than before means a restart: acknowledged data that
// was not synced may be gone.
func (c *Client) Uptime(ctx context.Context) (time.Duration, error) {
	var seconds proto.ColUInt32
	var up time.Duration
	err := c.query(ctx, "clickhouse.uptime", "SELECT uptime() AS u", proto.Results{{Name: "u", Data: &seconds}}, func(int) error {
		up = time.Duration(seconds.Row(0)) * time.Second
		return nil
	})
	return up, err
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
