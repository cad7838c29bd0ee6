package clickhouse

import (
	"context"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// Renamed is a column that a table has given another name.
type Renamed struct {
	Old, New string
	At       time.Time // by the server's clock, to the second
}

// Renames are the columns that were renamed since some time, as far as the server remembers: it keeps the last hundred mutations that are done
// (finished_mutations_to_keep). A table that was renamed there and back looks as if nothing had been.
func (c *Client) Renames(ctx context.Context, database, table string, since time.Time) (out []Renamed, err error) {
	err = c.Texts(ctx, fmt.Sprintf("SELECT toString(toUnixTimestamp(create_time)) AS waybill_at, command AS waybill_c FROM system.mutations WHERE database = %s AND table = %s AND position(command, 'RENAME COLUMN') > 0 AND create_time >= toDateTime(%d) ORDER BY create_time",
		Literal(database), Literal(table), since.Unix()), []string{"waybill_at", "waybill_c"}, func(row []string) error {
		at, err := strconv.ParseInt(row[0], 10, 64)
		for _, m := range renameCommand.FindAllStringSubmatch(row[1], -1) {
			out = append(out, Renamed{bare(m[1]), bare(m[2]), time.Unix(at, 0)})
		}
		return err
	})
	return out, err
}

var renameCommand = regexp.MustCompile("RENAME COLUMN (?:IF EXISTS )?(`(?:[^`\\\\]|\\\\.)+`|[\\w.]+) TO (`(?:[^`\\\\]|\\\\.)+`|[\\w.]+)")

// bare is an identifier without its quotes.
func bare(name string) string {
	if !strings.HasPrefix(name, "`") {
		return name
	}
	return strings.NewReplacer("\\`", "`", "\\\\", "\\").Replace(strings.Trim(name, "`"))
}
