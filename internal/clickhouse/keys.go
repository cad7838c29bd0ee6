package clickhouse

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/ClickHouse/ch-go/proto"
)

// maxKeyText bounds the keys of one question, in bytes: a server parses 256 KiB of a query unless it is told otherwise.
const maxKeyText = 160 << 10

// KeyColumn is a column by which rows are told apart.
type KeyColumn struct{ Name, Type string }

// CountKeys is how many rows of a table have each of the keys, in the keys' order. A key has the text of one value for each of the columns, as
// column.Column's AppendValue writes it, strings without quotes. No key holds NULL.
func (c *Client) CountKeys(ctx context.Context, database, table string, columns []KeyColumn, keys [][]string) ([]int64, error) {
	out := make([]int64, len(keys))
	for from := 0; from < len(keys); {
		var rows []string
		next := from
		for size := 0; next < len(keys); next++ {
			row := keyRow(next-from, keys[next])
			if size += len(row) + 1; size > maxKeyText && len(rows) > 0 {
				break
			}
			rows = append(rows, row)
		}
		var number proto.ColUInt32
		var count proto.ColInt64
		err := c.query(ctx, "clickhouse.count_keys", keysQuery(database, table, columns, rows), proto.Results{{Name: "n", Data: &number}, {Name: "c", Data: &count}}, func(rows int) error {
			for i := range rows {
				out[from+int(number.Row(i))] = count.Row(i)
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
		from = next
	}
	return out, nil
}

// keyRow is a number and a key as a JSON array of strings, quoted as it stands in a literal.
func keyRow(number int, key []string) string {
	text, err := json.Marshal(append([]string{fmt.Sprint(number)}, key...))
	if err != nil {
		panic(err) // strings always have a JSON text
	}
	return literalEscaper.Replace(string(text))
}

// keysQuery counts the rows of each of the keys. They come as an argument of a function, as not everybody may use table functions; they are cast, not the columns,
// so that the table's own key can be used.
func keysQuery(database, table string, columns []KeyColumn, rows []string) string {
	var casts, names, aliased, keys []string
	for i, col := range columns {
		text, key, typ := fmt.Sprintf("e[%d]", i+2), fmt.Sprintf("k%d", i), Literal(col.Type)
		if strings.Contains(col.Type, "DateTime") {
			text = fmt.Sprintf("parseDateTime64BestEffort(%s, 9, 'UTC')", text)
		}
		casts, keys = append(casts, fmt.Sprintf("CAST(%s, %s) AS %s", text, typ, key)), append(keys, key)
		names, aliased = append(names, Ident(col.Name)), append(aliased, Ident(col.Name)+" AS "+key)
	}
	all := strings.Join(keys, ", ")
	return fmt.Sprintf(`
WITH wanted AS (SELECT toUInt32(e[1]) AS n, %s FROM (SELECT arrayJoin(JSONExtract('[%s]', 'Array(Array(String))')) AS e))
SELECT w.n AS n, toInt64(f.c) AS c FROM wanted AS w INNER JOIN (
    SELECT %s, count() AS c FROM %s WHERE (%s) IN (SELECT %s FROM wanted) GROUP BY %s
) AS f USING (%s)`, strings.Join(casts, ", "), strings.Join(rows, ","), strings.Join(aliased, ", "), Table(database, table), strings.Join(names, ", "), all, all, all)
}
