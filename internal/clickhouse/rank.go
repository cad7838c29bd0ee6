package clickhouse

import (
	"context"
	"errors"
	"slices"

	"github.com/ClickHouse/ch-go"

	waybill "github.com/waybill-data/waybill"
)

// What a background client's statements give way to, by the server's setting `priority` (tried on 26.7): a statement waits at each step of its work, a block
// of a read, while a statement of a smaller priority runs, and goes on after low_priority_query_wait_time_ms at the latest. Those that say nothing have priority 0
// and take no part, on either side. So inserts of other clients say 1, and a background client gives way to nothing else: not to the queries of whoever reads
// the tables, unless those say a priority, nor to merges. It bounds neither threads nor memory nor I/O; a WORKLOAD does, which is the server's to define.
//
// The waits are short: a read of many blocks waits as many times, and is what somebody needs to know which rows are there.
var (
	foreground       = []ch.Setting{{Key: "priority", Value: "1"}}
	backgroundInsert = []ch.Setting{{Key: "priority", Value: "10"}, {Key: "low_priority_query_wait_time_ms", Value: "100"}}
	backgroundRead   = []ch.Setting{{Key: "priority", Value: "10"}, {Key: "low_priority_query_wait_time_ms", Value: "10"}}
)

// rankSelf finds out whether the user may say a priority. It is a courtesy: where a profile forbids it, statements go out without one.
func (c *Client) rankSelf(ctx context.Context) error {
	inserts, reads := foreground, []ch.Setting(nil)
	if c.cfg.Background {
		inserts, reads = backgroundInsert, backgroundRead
	}
	err := c.withConn(ctx, "clickhouse.open", func(ctx context.Context, cn *conn) error {
		_, err := readBack(ctx, cn, inserts)
		return err
	})
	var e *waybill.Error
	switch {
	case err == nil:
		c.settings, c.reads = c.settings.with(inserts...), append(slices.Clip(readSettings), reads...)
		return nil
	case errors.As(err, &e) && !e.Class.Heals():
		c.log.Warn("the user may not set the priority of statements on the server", "error", err)
		return nil
	}
	return err
}
