package clickhouse

import (
	"context"
	"fmt"
	"time"

	"github.com/ClickHouse/ch-go/proto"

	"github.com/waybill-data/waybill"
	"github.com/waybill-data/waybill/internal/contract"
)

// MinuteCount asks how many rows of a topic a table has by the minute of a column.
type MinuteCount struct {
	Database, Table string
	Lineage         contract.Lineage
	Topic           string
	Epoch           waybill.Epoch // compared only if Lineage.Epoch is set
	Column          string        // of a date or time
	Where           string        // an additional condition in SQL; empty: none
	From, To        time.Time
}

// RowsByMinute counts rows by the minute of UTC, those that there are.
func (c *Client) RowsByMinute(ctx context.Context, q MinuteCount) (map[time.Time]int64, error) {
	column, where := Ident(q.Column), fmt.Sprintf("%s = %s", Ident(q.Lineage.Topic), Literal(q.Topic))
	if q.Lineage.Epoch != "" {
		where += fmt.Sprintf(" AND %s = %d", Ident(q.Lineage.Epoch), q.Epoch)
	}
	if q.Where != "" {
		where += " AND " + q.Where
	}
	out := map[time.Time]int64{}
	var minute, rows proto.ColInt64
	// The column is compared as it is, so that the table's key can be used. A date is a midnight of UTC here, whatever the server's zone.
	err := c.Query(ctx, fmt.Sprintf(`
SELECT intDiv(toInt64(toUnixTimestamp(toDateTime64(%[1]s, 0, 'UTC'))), 60) AS m, toInt64(count()) AS n FROM %[2]s
WHERE %[3]s AND %[1]s >= toDateTime64(%[4]d, 0, 'UTC') AND %[1]s < toDateTime64(%[5]d, 0, 'UTC') GROUP BY m`, column, Table(q.Database, q.Table), where, q.From.Unix(), q.To.Unix()),
		proto.Results{{Name: "m", Data: &minute}, {Name: "n", Data: &rows}}, func(n int) error {
			for i := range n {
				out[time.Unix(60*minute.Row(i), 0).UTC()] += rows.Row(i)
			}
			return nil
		})
	return out, err
}
