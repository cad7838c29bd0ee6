package archive

import (
	"context"
	"time"

	"github.com/ClickHouse/ch-go/proto"

	"github.com/waybill-data/waybill"
)

// Read gives the archived records of a span to fn, in the order of offsets, and answers with the offset that reading got to: the span's end,
// or, if that is lower, the archive's. Offsets without a record are passed over where the archive knows that there is none to be had; at others
// it stops with a *Gap. A record is fn's only until fn returns; fn's error ends the reading and is returned.
func (r *Reader) Read(ctx context.Context, tp waybill.TopicPartition, span waybill.Span, fn func(*waybill.Record) error) (next int64, err error) {
	r.mu.Lock()
	w := window{r: r, tp: tp, offsets: r.piece}
	r.mu.Unlock()
	defer func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.piece = w.offsets
	}()
	for at := span.First; at < span.Next; {
		h, run, err := r.runAt(ctx, tp, at)
		if err != nil {
			return at, err
		}
		if run.Len() == 0 {
			return at, nil
		}
		w.epochs, w.erased = h.epochs, h.parts[tp.Partition].erased
		if at < run.First {
			return at, &Gap{tp, waybill.Span{First: at, Next: min(run.First, span.Next)}}
		}
		if at, err = w.read(ctx, waybill.Span{First: at, Next: min(run.Next, span.Next)}, fn); err != nil {
			return at, err
		}
	}
	return span.Next, nil
}

// runAt is the run of held offsets that an offset is in, or the next one behind it; empty: there is none.
func (r *Reader) runAt(ctx context.Context, tp waybill.TopicPartition, at int64) (h *holding, run waybill.Span, err error) {
	for _, most := range []time.Duration{fresh, 0} {
		if h, err = r.holding(ctx, tp.Topic, most); err != nil {
			return nil, run, err
		}
		if run = h.runAt(tp.Partition, at); run.Contains(at) {
			break
		}
		// It may have come since, so that what is missing is asked for anew.
	}
	return h, run, nil
}

func (h *holding) runAt(partition int32, at int64) waybill.Span {
	if p := h.parts[partition]; p != nil {
		for _, run := range p.held.Spans() {
			if run.Next > at {
				return run
			}
		}
	}
	return waybill.Span{}
}

// window reads a span piece by piece, each as large as it takes to be worth a query and small enough to be held.
type window struct {
	r       *Reader
	tp      waybill.TopicPartition
	epochs  []waybill.Epoch
	erased  waybill.OffsetSet
	offsets int64 // of the next piece
	records []waybill.Record
	bytes   []byte // of the records
}

const (
	firstWindow = 256
	mostWindow  = 100_000
	// goodBytes is what a piece should bring, mostBytes what is taken of it at most, but for one block of the server's.
	goodBytes = 8 << 20
	mostBytes = 32 << 20
)

// read reads the next piece of a span of held offsets.
func (w *window) read(ctx context.Context, span waybill.Span, fn func(*waybill.Record) error) (next int64, err error) {
	piece := span
	if piece.Next, err = w.r.keeper.fetch(ctx, w, span); err != nil {
		return span.First, err
	}
	if int64(len(w.records)) < piece.Len() {
		// Some offsets have no row. That they were held was known before they were asked for; rows may have gone since.
		h, err := w.r.holding(ctx, w.tp.Topic, 0)
		if err != nil {
			return span.First, err
		}
		run := h.runAt(w.tp.Partition, piece.First)
		if !run.Contains(piece.First) {
			return piece.First, nil // the caller looks again
		}
		piece.Next = min(piece.Next, run.Next)
		w.erased = h.parts[w.tp.Partition].erased
	}
	for i := range w.records {
		at := w.records[i].Offset
		switch {
		case at >= piece.Next:
		case w.erased.Contains(at): // should its row still be there
		default:
			if err := fn(&w.records[i]); err != nil {
				return at, err
			}
		}
	}
	w.fit(piece.Len())
	return piece.Next, nil
}

// fit sizes the next piece by what this one brought.
func (w *window) fit(offsets int64) {
	switch n := int64(len(w.bytes)); {
	case n > 2*goodBytes:
		w.offsets = max(1, offsets*goodBytes/n)
	case n < goodBytes/2 && offsets >= w.offsets:
		w.offsets = min(2*w.offsets, mostWindow)
	}
}

func (w *window) copy(v proto.Nullable[[]byte]) []byte {
	if !v.Set {
		return nil
	}
	if len(v.Value) == 0 {
		return []byte{} // which is not nil, whatever w.bytes is
	}
	at := len(w.bytes)
	w.bytes = append(w.bytes, v.Value...)
	return w.bytes[at:len(w.bytes):len(w.bytes)]
}
