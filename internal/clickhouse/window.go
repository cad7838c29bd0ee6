package clickhouse

import (
	"context"
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/ClickHouse/ch-go/proto"

	waybill "github.com/waybill-data/waybill"
)

const (
	// windowMargin widens the time that is looked at, for the resolution of the server's own timestamps.
	windowMargin = 5 * time.Second
	// windowHorizon is for how long after the proof inserts may still come in before the send that relies on it.
	windowHorizon = 2 * time.Minute
	// windowReserve is room for what is being written now, and for the partitions of the send itself.
	windowReserve = 128
)

// WindowProof tries to prove that a token which was used after since (by the server's clock) is still in the deduplication
// window of every given table ("database.table", unquoted): fewer parts than the window has slots were added since then,
// nothing has made the table forget tokens, and the server has been up all the time. The count is that of system.part_log;
// docs/adr/0003 says why block numbers prove nothing. False with a reason is always a possible answer; true is never wrong for
// lack of evidence. The error is a *waybill.Error.
func (c *Client) WindowProof(ctx context.Context, tables []string, since time.Time) (inside bool, evidence string, err error) {
	if len(tables) == 0 {
		return false, "no table was named", nil
	}
	reason, err := c.partLogCovers(ctx, since)
	if err != nil || reason != "" {
		return false, reason, err
	}
	var said []string
	for _, name := range tables {
		ok, why, err := c.tableWindow(ctx, name, since)
		if err != nil || !ok {
			return false, why, err
		}
		said = append(said, why)
	}
	return true, strings.Join(said, "; "), nil
}

// partLogCovers says why the part log does not tell of everything since then; empty if it does.
func (c *Client) partLogCovers(ctx context.Context, since time.Time) (reason string, err error) {
	if err := c.Exec(ctx, "SYSTEM FLUSH LOGS part_log"); err != nil {
		if class := waybill.ClassOf(err); class == waybill.ClassRetryable || class == waybill.ClassThrottled {
			return "", err
		}
		return "system.part_log cannot be flushed: " + err.Error(), nil
	}
	exists, err := c.scalar(ctx, "SELECT toString(count()) AS v FROM system.tables WHERE database = 'system' AND name = 'part_log'")
	if err != nil || exists != "1" {
		return "the server keeps no system.part_log", err
	}
	// Uptime is in whole seconds; what an earlier life of the server had not flushed is lost.
	up, err := c.scalar(ctx, fmt.Sprintf("SELECT if(now64(3) - toIntervalSecond(uptime()) < %s, 'yes', 'no') AS v", serverTime(since)))
	if err != nil || up != "yes" {
		return "the server was restarted since then", err
	}
	alive, err := c.scalar(ctx, "SELECT if(max(event_time) >= now() - toIntervalSecond(uptime()), 'yes', 'no') AS v FROM system.part_log")
	if err != nil || alive != "yes" {
		return "system.part_log has nothing from this life of the server", err
	}
	return "", nil
}

func serverTime(t time.Time) string {
	return fmt.Sprintf("fromUnixTimestamp64Micro(%d)", t.Add(-windowMargin).UnixMicro())
}

func (c *Client) tableWindow(ctx context.Context, name string, since time.Time) (inside bool, why string, err error) {
	database, table, ok := strings.Cut(name, ".")
	if !ok {
		return false, "", &waybill.Error{Op: "clickhouse.window", Class: waybill.ClassBug, Err: fmt.Errorf("table %q has no database", name)}
	}
	row, err := c.tableRow(ctx, database, table)
	if err != nil {
		return false, "", err
	}
	window, _, err := c.window(ctx, row)
	switch {
	case err != nil:
		return false, "", err
	case !strings.HasSuffix(row.engine, "MergeTree") || window == 0:
		return false, fmt.Sprintf("%s keeps no deduplication window", name), nil
	case isReplicated(row.engine):
		return false, fmt.Sprintf("%s is %s: its window is shared with other replicas and not visible here", name, row.engine), nil
	}
	altered, err := c.scalar(ctx, fmt.Sprintf("SELECT if(metadata_modification_time >= %s, 'yes', 'no') AS v FROM system.tables WHERE database = %s AND name = %s",
		serverTime(since), Literal(database), Literal(table)))
	if err != nil || altered != "no" {
		return false, fmt.Sprintf("%s was created, altered or swapped since then", name), err
	}
	used, forgot, age, err := c.partsSince(ctx, row, since)
	if err != nil {
		return false, "", err
	}
	if forgot > 0 {
		return false, fmt.Sprintf("a partition of %s was dropped, detached or truncated since then", name), nil
	}
	expected := used + int64(math.Ceil(float64(used)*windowHorizon.Seconds()/max(age.Seconds(), 1))) + windowReserve
	why = fmt.Sprintf("%s: %d block ids since then (at most %d when the block arrives), window %d", name, used, expected, window)
	return expected < window, why, nil
}

// partsSince counts the block ids that entered a table's window since then, and the empty parts by which the server drops,
// detaches and truncates, which makes it forget the ids of their partition.
func (c *Client) partsSince(ctx context.Context, row tableRow, since time.Time) (used, forgot int64, age time.Duration, err error) {
	var u, f proto.ColInt64
	var a proto.ColFloat64
	err = c.query(ctx, "clickhouse.window", fmt.Sprintf(`
SELECT toInt64(sumIf(greatest(1, length(deduplication_block_ids)), rows > 0 OR error != 0)) AS u,
       toInt64(countIf(rows = 0 AND error = 0)) AS f,
       toFloat64(now64(3) - %[1]s) AS a
FROM system.part_log
WHERE event_type = 'NewPart' AND table_uuid = toUUID(%[2]s) AND event_date >= toDate(%[1]s) - 1 AND event_time_microseconds >= %[1]s`,
		serverTime(since), Literal(row.uuid)),
		proto.Results{{Name: "u", Data: &u}, {Name: "f", Data: &f}, {Name: "a", Data: &a}}, func(int) error {
			used, forgot, age = u.Row(0), f.Row(0), time.Duration(a.Row(0)*float64(time.Second))
			return nil
		})
	return used, forgot, age, err
}
