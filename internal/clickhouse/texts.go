package clickhouse

import (
	"context"

	"github.com/ClickHouse/ch-go/proto"
)

// Texts runs a SELECT of the named columns, each of the type String, and calls each with every row; the row is overwritten by
// the next one. The error is a *waybill.Error, or what each returned.
func (c *Client) Texts(ctx context.Context, sql string, columns []string, each func(row []string) error) error {
	data := make([]proto.ColStr, len(columns))
	result := make(proto.Results, len(columns))
	for i, name := range columns {
		result[i] = proto.ResultColumn{Name: name, Data: &data[i]}
	}
	row := make([]string, len(columns))
	var stopped error
	err := c.Query(ctx, sql, result, func(rows int) error {
		for i := range rows {
			for j := range data {
				row[j] = data[j].Row(i)
			}
			if stopped = each(row); stopped != nil {
				return stopped
			}
		}
		return nil
	})
	if stopped != nil {
		return stopped
	}
	return err
}
