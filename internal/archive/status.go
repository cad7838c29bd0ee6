package archive

import (
	"context"
	"time"

	"github.com/waybill-data/waybill"
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

// Size is what the archive's table takes, all topics in it together; or its objects, of which it is not known what they would be raw.
type Size struct {
	Objects      int64     `json:"objects,omitempty"` // of an archive of objects
	Rows         int64     `json:"rows"`
	OnDisk       int64     `json:"bytes_on_disk"`
	Uncompressed int64     `json:"bytes_uncompressed"`
	Oldest       time.Time `json:"oldest"` // when the oldest row was archived; zero: there is none
}

// Size of what the archive takes.
func (r *Reader) Size(ctx context.Context) (Size, error) { return r.keeper.size(ctx) }

// OffsetsAt are, for each partition that has one, the first offset of a record that is not older than a time, in milliseconds since the Unix epoch.
func (r *Reader) OffsetsAt(ctx context.Context, topic string, millis int64) (map[int32]int64, error) {
	h, err := r.holding(ctx, topic, fresh)
	if err != nil || len(h.epochs) == 0 {
		return nil, err
	}
	return r.keeper.offsetsAt(ctx, topic, h.epochs, millis)
}
