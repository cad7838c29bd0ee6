package archive

import (
	"context"
	"fmt"
	"time"

	"github.com/waybill-data/waybill"
)

// Erase removes records from the archive for good: they are gone from its table's parts, or from its objects, when it returns, and nobody reads them from it again. It
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
	return r.keeper.remove(ctx, tp, h.epochs, offsets)
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
