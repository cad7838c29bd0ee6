package child

import (
	"context"
	"fmt"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"

	"github.com/waybill-data/waybill/bench/internal/workload"
)

// typical is the consumer that most teams write first: a struct, encoding/json, and the driver's row-wise Append. It is
// generous to it: no compression (everything is on one machine) and large batches.
type typical struct {
	conn   driver.Conn
	insert string
	row    func(value []byte) ([]any, error)

	batch driver.Batch // nil before its first row
}

func newTypical(ctx context.Context, o Orders) (*typical, error) {
	w, err := workload.ByName(o.Workload)
	if err != nil {
		return nil, err
	}
	conn, err := clickhouse.Open(&clickhouse.Options{Addr: []string{o.TCP}, Settings: clickhouse.Settings{"async_insert": 0}})
	if err != nil {
		return nil, err
	}
	if err := conn.Ping(ctx); err != nil {
		return nil, err
	}
	return &typical{conn: conn, row: rows[w.Name], insert: fmt.Sprintf("INSERT INTO %s (%s)", o.Table, w.Names())}, nil
}

func (t *typical) add(ctx context.Context, value []byte) error {
	if t.batch == nil {
		var err error
		if t.batch, err = t.conn.PrepareBatch(ctx, t.insert); err != nil {
			return err
		}
	}
	row, err := t.row(value)
	if err != nil {
		return err
	}
	return t.batch.Append(row...)
}

func (t *typical) flush(context.Context) error {
	if t.batch == nil {
		return nil
	}
	err := t.batch.Send()
	t.batch = nil
	return err
}
