package archive

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/ClickHouse/ch-go/proto"

	"github.com/waybill-data/waybill"
	"github.com/waybill-data/waybill/internal/clickhouse"
)

// Erase removes records from the archive for good: their rows are gone from its parts when it returns, and nobody reads them from it again. It
// is on record first, so that an erasure that was cut short is finished by doing it again, which does no harm at any time. Offsets at which the
// archive has not arrived yet are refused: their rows would come later.
func (r *Reader) Erase(ctx context.Context, tp waybill.TopicPartition, offsets waybill.OffsetSet, why string, at time.Time) error {
	if offsets.Empty() {
		return nil
	}
	h, err := r.holding(ctx, tp.Topic, 0)
	if err != nil {
		return err
	}
	if err := r.arrived(ctx, tp, offsets, h); err != nil {
		return err
	}
	if err := r.store.EraseFromArchive(ctx, r.src.Pipeline, tp, offsets, why, at); err != nil {
		return err
	}
	l := r.src.Lineage
	for spans := range chunks(offsets.Spans(), spansPerDelete) {
		var some []string
		for _, sp := range spans {
			some = append(some, fmt.Sprintf("%[1]s >= %[2]d AND %[1]s < %[3]d", clickhouse.Ident(l.Offset), sp.First, sp.Next))
		}
		where := fmt.Sprintf("%s AND %s = %d AND (%s)", r.of(tp.Topic, h.epochs...), clickhouse.Ident(l.Partition), tp.Partition, strings.Join(some, " OR "))
		if err := r.delete(ctx, where); err != nil {
			return err
		}
	}
	return nil
}

// spansPerDelete keeps one statement small.
const spansPerDelete = 500

func chunks(spans []waybill.Span, n int) func(func([]waybill.Span) bool) {
	return func(yield func([]waybill.Span) bool) {
		for len(spans) > 0 {
			some := spans[:min(n, len(spans))]
			if spans = spans[len(some):]; !yield(some) {
				return
			}
		}
	}
}

// delete rewrites the parts that hold such rows, and waits for it: a mask over a row would leave its bytes on disk.
func (r *Reader) delete(ctx context.Context, where string) error {
	left := map[int32]int64{}
	count := fmt.Sprintf("SELECT toInt32(0) AS p, toInt64(count()) AS n FROM %s WHERE %s", r.table(), where)
	if err := r.counts(ctx, count, left); err != nil || left[0] == 0 {
		return err
	}
	if err := r.ch.Exec(ctx, fmt.Sprintf("ALTER TABLE %s DELETE WHERE %s SETTINGS mutations_sync = 2", r.table(), where)); err != nil {
		return err
	}
	if err := r.counts(ctx, count, left); err != nil {
		return err
	}
	if left[0] > 0 {
		return &waybill.Error{Op: "archive.erase", Class: waybill.ClassRetryable, Err: fmt.Errorf("%d rows are still in %s after they were deleted", left[0], r.table()),
			Hint: "look at system.mutations, and run it again"}
	}
	return nil
}

// arrived refuses offsets past the archive's account, under any of its epochs.
func (r *Reader) arrived(ctx context.Context, tp waybill.TopicPartition, offsets waybill.OffsetSet, h *holding) error {
	var tip int64
	for _, epoch := range h.epochs {
		tips, err := r.store.Tips(ctx, r.src.Pipeline, epoch, tp.Topic)
		if err != nil {
			return err
		}
		tip = tips[tp.Partition].Next // of the highest epoch: what it has not read again is still to come
	}
	if last := offsets.Bounds().Next; last > tip {
		return &waybill.Error{Op: "archive.erase", Class: waybill.ClassRetryable, Position: waybill.Position{Topic: tp.Topic, Partition: tp.Partition, Offset: max(tip, offsets.Bounds().First)},
			Err: fmt.Errorf("the archive has got to offset %d, and offsets up to %d are to be erased", tip, last-1), Hint: "wait until it has caught up: `waybill archive status`"}
	}
	return nil
}

// counts runs a query for columns p and n.
func (r *Reader) counts(ctx context.Context, sql string, into map[int32]int64) error {
	var p proto.ColInt32
	var n proto.ColInt64
	return r.ch.Query(ctx, sql, proto.Results{{Name: "p", Data: &p}, {Name: "n", Data: &n}}, func(rows int) error {
		for i := range rows {
			into[p.Row(i)] = n.Row(i)
		}
		return nil
	})
}
