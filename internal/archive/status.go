package archive

import (
	"context"
	"fmt"
	"time"

	"github.com/ClickHouse/ch-go/proto"

	"github.com/waybill-data/waybill"
	"github.com/waybill-data/waybill/internal/clickhouse"
)

// Held is what the archive holds of one partition.
type Held struct {
	waybill.Span
	Records int64
	Gaps    waybill.OffsetSet // within the span
	Erased  waybill.OffsetSet
}

// Held is what the archive holds of a topic, by partition.
func (r *Reader) Held(ctx context.Context, topic string) (map[int32]Held, error) {
	h, err := r.holding(ctx, topic, 0)
	if err != nil {
		return nil, err
	}
	out := map[int32]Held{}
	for n, p := range h.parts {
		bounds := p.held.Bounds()
		out[n] = Held{bounds, p.rows, waybill.OffsetsIn(bounds).Minus(p.held), p.erased}
	}
	return out, nil
}

// Size is what the archive's table takes, all topics in it together.
type Size struct {
	Rows         int64     `json:"rows"`
	OnDisk       int64     `json:"bytes_on_disk"`
	Uncompressed int64     `json:"bytes_uncompressed"`
	Oldest       time.Time `json:"oldest"` // when the oldest row was archived; zero: there is none
}

// Size of the archive's table.
func (r *Reader) Size(ctx context.Context) (s Size, err error) {
	var rows, disk, plain, oldest proto.ColInt64
	err = r.ch.Query(ctx, fmt.Sprintf("SELECT toInt64(sum(rows)) AS r, toInt64(sum(bytes_on_disk)) AS d, toInt64(sum(data_uncompressed_bytes)) AS u FROM system.parts WHERE active AND database = %s AND table = %s",
		clickhouse.Literal(r.src.Database), clickhouse.Literal(r.src.Table)), proto.Results{{Name: "r", Data: &rows}, {Name: "d", Data: &disk}, {Name: "u", Data: &plain}},
		func(int) error {
			s.Rows, s.OnDisk, s.Uncompressed = rows.Row(0), disk.Row(0), plain.Row(0)
			return nil
		})
	if err != nil || s.Rows == 0 {
		return s, err
	}
	err = r.ch.Query(ctx, fmt.Sprintf("SELECT toInt64(toUnixTimestamp(min(archived_at))) AS o FROM %s", r.table()), proto.Results{{Name: "o", Data: &oldest}}, func(int) error {
		s.Oldest = time.Unix(oldest.Row(0), 0).UTC()
		return nil
	})
	return s, err
}

// OffsetsAt are, for each partition that has one, the first offset of a record that is not older than a time, in milliseconds since the Unix epoch.
func (r *Reader) OffsetsAt(ctx context.Context, topic string, millis int64) (map[int32]int64, error) {
	h, err := r.holding(ctx, topic, fresh)
	if err != nil || len(h.epochs) == 0 {
		return nil, err
	}
	out := map[int32]int64{}
	l := r.src.Lineage
	err = r.counts(ctx, fmt.Sprintf("SELECT toInt32(%s) AS p, toInt64(min(%s)) AS n FROM %s WHERE %s AND timestamp >= %d GROUP BY p",
		clickhouse.Ident(l.Partition), clickhouse.Ident(l.Offset), r.table(), r.of(topic, h.epochs...), millis), out)
	return out, err
}
