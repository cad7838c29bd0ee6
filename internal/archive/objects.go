package archive

import (
	"context"
	"errors"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/waybill-data/waybill"
	"github.com/waybill-data/waybill/internal/ledger"
	"github.com/waybill-data/waybill/internal/objects"
)

// NewObjects makes a reader of an archive of objects. Of the source, what concerns a table is not used.
func NewObjects(s *objects.Store, store *ledger.Store, src Source) *Reader {
	return newReader(&objectKeeper{store: s}, store, src)
}

// objectKeeper is the keeper of an archive of objects.
type objectKeeper struct {
	store *objects.Store

	mu sync.Mutex
	// last is the object that was read last: whoever reads on in small pieces wants it again.
	last    objects.Name
	records []waybill.Record
}

// rows counts by the names. Two objects overlap only where one batch was sent in pieces; then it is counted by offsets.
func (k *objectKeeper) rows(ctx context.Context, topic string, epoch waybill.Epoch, before map[int32]int64) (map[int32]int64, error) {
	out := map[int32]int64{}
	for p, end := range before {
		tp := waybill.TopicPartition{Topic: topic, Partition: p}
		entries, err := k.store.Within(ctx, tp, epoch, waybill.Span{Next: end})
		if err != nil {
			return nil, err
		}
		var n, reached int64
		plain := true
		for _, e := range entries {
			plain = plain && e.First >= reached && e.Next <= end
			reached = max(reached, e.Next)
			n += e.Count
		}
		if !plain {
			there, err := k.offsets(ctx, entries, waybill.Span{Next: end})
			if err != nil {
				return nil, err
			}
			n = there.Len()
		}
		if n > 0 {
			out[p] = n
		}
	}
	return out, nil
}

// offsets are those of a span that some of these objects have a record of.
func (k *objectKeeper) offsets(ctx context.Context, entries []objects.Entry, span waybill.Span) (out waybill.OffsetSet, err error) {
	for _, e := range entries {
		of, err := k.store.OffsetsOf(ctx, e.Name)
		if err != nil {
			return out, err
		}
		out = out.Union(of.Within(span))
	}
	return out, nil
}

func (k *objectKeeper) present(ctx context.Context, tp waybill.TopicPartition, epoch waybill.Epoch, offsets waybill.OffsetSet) (out waybill.OffsetSet, err error) {
	for _, sp := range offsets.Joined(objects.GroupOffsets) {
		there, err := k.store.Present(ctx, tp, epoch, sp)
		if err != nil {
			return out, err
		}
		out = out.Union(there)
	}
	return out.Intersect(offsets), nil
}

// fetch reads one object of each epoch at most: the piece ends with it.
func (k *objectKeeper) fetch(ctx context.Context, w *window, span waybill.Span) (next int64, err error) {
	w.records, w.bytes = w.records[:0], w.bytes[:0]
	next = span.Next
	var found [][]waybill.Record // by epoch, the highest first
	for _, epoch := range slices.Backward(w.epochs) {
		entries, err := k.store.Within(ctx, w.tp, epoch, waybill.Span{First: span.First, Next: min(span.Next, span.First+fetchAhead)})
		if err != nil {
			return span.First, err
		}
		next = min(next, span.First+fetchAhead)
		var of []waybill.Record
		for i, e := range entries {
			// Objects that begin where this one has not ended are of the same piece.
			if i > 0 && e.First >= next {
				break
			}
			if i == 0 {
				next = min(next, e.Next)
			}
			records, err := k.read(ctx, e.Name)
			if err != nil {
				return span.First, err
			}
			of = append(of, records...)
		}
		found = append(found, of)
	}
	have := map[int64]bool{}
	for _, of := range found {
		for i := range of {
			if o := of[i].Offset; o >= span.First && o < next && !have[o] {
				have[o] = true
				w.records = append(w.records, of[i])
			}
		}
	}
	slices.SortFunc(w.records, func(a, b waybill.Record) int { return int(a.Offset - b.Offset) })
	return next, nil
}

// fetchAhead is how many offsets are looked through for the next object: as many as a folder has.
const fetchAhead = objects.GroupOffsets

func (k *objectKeeper) read(ctx context.Context, n objects.Name) ([]waybill.Record, error) {
	k.mu.Lock()
	if k.last == n {
		defer k.mu.Unlock()
		return k.records, nil
	}
	k.mu.Unlock()
	records, _, err := k.store.Records(ctx, n)
	if err != nil {
		return nil, err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.last, k.records = n, records
	return records, nil
}

// offsetsAt reads on until it finds one: names say nothing of times.
func (k *objectKeeper) offsetsAt(ctx context.Context, topic string, epochs []waybill.Epoch, millis int64) (map[int32]int64, error) {
	out := map[int32]int64{}
	for _, epoch := range epochs {
		partitions, err := k.store.Partitions(ctx, topic, epoch)
		if err != nil {
			return nil, err
		}
		for _, p := range partitions {
			first, ok, err := k.firstAt(ctx, waybill.TopicPartition{Topic: topic, Partition: p}, epoch, millis)
			if err != nil {
				return nil, err
			}
			if was, known := out[p]; ok && (!known || first < was) {
				out[p] = first
			}
		}
	}
	return out, nil
}

// firstAt is the first offset of a record that is not older than a time.
func (k *objectKeeper) firstAt(ctx context.Context, tp waybill.TopicPartition, epoch waybill.Epoch, millis int64) (first int64, ok bool, err error) {
	entries, err := k.store.Within(ctx, tp, epoch, waybill.Span{Next: math.MaxInt64})
	if err != nil {
		return 0, false, err
	}
	for _, e := range entries {
		records, _, err := k.store.Records(ctx, e.Name)
		if err != nil {
			return 0, false, err
		}
		for i := range records {
			if records[i].Time >= millis {
				return records[i].Offset, true, nil
			}
		}
	}
	return 0, false, nil
}

// remove writes each object that holds such records anew, without them, and removes it then. An object of the same batch without these records
// has another name, so that both are there for a moment: nobody reads what is on record as erased from either.
func (k *objectKeeper) remove(ctx context.Context, tp waybill.TopicPartition, epochs []waybill.Epoch, offsets waybill.OffsetSet) error {
	for _, epoch := range epochs {
		for _, sp := range offsets.Joined(objects.GroupOffsets) {
			entries, err := k.store.Within(ctx, tp, epoch, sp)
			if err != nil {
				return err
			}
			for _, e := range entries {
				if err := k.rewrite(ctx, e.Name, offsets); err != nil {
					return err
				}
			}
		}
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.last, k.records = objects.Name{}, nil
	return nil
}

func (k *objectKeeper) rewrite(ctx context.Context, n objects.Name, without waybill.OffsetSet) error {
	if n.Whole() && without.Within(n.Span).Empty() {
		return nil
	}
	body, err := k.store.Get(ctx, n.String())
	if err != nil {
		if errors.Is(err, objects.ErrGone) {
			return nil // somebody else has done it
		}
		return err
	}
	left, some, err := objects.Rewrite(n, body, without)
	if err != nil {
		return err
	}
	if some && left.Name == n {
		return nil
	}
	if some {
		if err := k.store.Put(ctx, left.String(), left.Body); err != nil {
			return err
		}
	}
	return k.store.Remove(ctx, n.String())
}

func (k *objectKeeper) size(ctx context.Context) (s Size, err error) {
	err = k.store.List(ctx, "", "", func(e objects.Entry) error {
		s.Objects++
		s.Rows, s.OnDisk = s.Rows+e.Count, s.OnDisk+e.Size
		if at := e.Modified.UTC().Truncate(time.Second); s.Oldest.IsZero() || at.Before(s.Oldest) {
			s.Oldest = at
		}
		return nil
	})
	return s, err
}
