package kafka

import (
	"math/bits"
	"sync"
	"sync/atomic"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/waybill-data/waybill"
)

// pools lend the reader the memory of its fetches: the decompressed batches and the client's own records. What
// Fetched.Recycle gives back is used again by whichever Session of the process fetches next; what is never given
// back (buffered records of a partition that was stopped) is the garbage collector's.
type pools struct {
	// ratio is how much larger batches have become by decompression lately, in sixteenths.
	ratio atomic.Int64
}

// firstRatio is what a decompressed batch is taken to be before one has been seen: four times as large.
const firstRatio = 4 * 16

func newPools() *pools {
	p := &pools{}
	p.ratio.Store(firstRatio)
	return p
}

// classes are free lists by capacity, four to a doubling: all of a buffer is cleared whenever it comes back, so it
// should not be much larger than what it is for. Topics with small batches do not come to sit on the buffers of topics
// with large ones.
type classes[E any] [4 * 40]sync.Pool

var (
	freeBytes   classes[byte]
	freeRecords classes[kgo.Record]
)

// leastClass is the capacity of class 0.
const leastClass = 16

// capacity of a class.
func capacity(class int) int { return (leastClass / 4 * (4 + class%4)) << (class / 4) }

// classOf is the largest class whose capacity is at most n; negative if there is none.
func classOf(n int) int {
	if n < leastClass {
		return -1
	}
	octave := bits.Len(uint(n)) - bits.Len(uint(leastClass))
	return 4*octave + (n>>octave-leastClass)/(leastClass/4)
}

// get is a slice with room for n elements, its length unspecified.
func (c *classes[E]) get(n int) []E {
	class := classOf(n-1) + 1 // the smallest that has room
	if class >= len(c) {
		return make([]E, 0, n)
	}
	if s, ok := c[class].Get().(*[]E); ok {
		return *s
	}
	return make([]E, 0, capacity(class))
}

func (c *classes[E]) put(s []E) {
	if class := classOf(cap(s)); class >= 0 && class < len(c) {
		c[class].Put(&s)
	}
}

// GetDecompressBytes is room for a batch to be decompressed into.
func (p *pools) GetDecompressBytes(compressed []byte, _ kgo.CompressionCodecType) []byte {
	return freeBytes.get(int(int64(len(compressed)) * p.ratio.Load() / 16))
}

// PutDecompressBytes takes a buffer back, all zeros.
func (*pools) PutDecompressBytes(b []byte) { freeBytes.put(b) }

// GetRecords is room for n records.
func (*pools) GetRecords(n int) []kgo.Record { return freeRecords.get(n) }

// PutRecords takes records back, all zero.
func (*pools) PutRecords(r []kgo.Record) { freeRecords.put(r) }

// OnFetchBatchRead learns how large batches become. The guess is an eighth above the average: a buffer that is too
// small is thrown away for a larger one.
func (p *pools) OnFetchBatchRead(_ kgo.BrokerMetadata, _ string, _ int32, m kgo.FetchBatchMetrics) {
	if m.CompressionType == 0 || m.CompressedBytes <= 0 {
		return
	}
	now := int64(m.UncompressedBytes)*18/int64(m.CompressedBytes) + 1
	old := p.ratio.Load()
	p.ratio.Store(max(16, old+(now-old)/4))
}

// arena is where the records of one Poll lie.
type arena struct {
	records []waybill.Record
	headers []waybill.Header
}

var arenas = sync.Pool{New: func() any { return new(arena) }}

// newArena has room for n records.
func newArena(n int) *arena {
	a := arenas.Get().(*arena)
	if cap(a.records) < n {
		a.records = make([]waybill.Record, 0, n)
	}
	return a
}

// add converts a record of the client's. Its bytes stay where they are.
func (a *arena) add(r *kgo.Record) {
	out := record(r)
	if len(r.Headers) > 0 {
		from := len(a.headers)
		for i := range r.Headers {
			a.headers = append(a.headers, waybill.Header{Key: r.Headers[i].Key, Value: r.Headers[i].Value})
		}
		out.Headers = a.headers[from:len(a.headers):len(a.headers)]
	}
	a.records = append(a.records, out)
}

// free drops what the arena refers to, so that it keeps no fetch alive.
func (a *arena) free() {
	clear(a.records)
	clear(a.headers[:cap(a.headers)]) // ReadSpan uses one place for many
	a.records, a.headers = a.records[:0], a.headers[:0]
	arenas.Put(a)
}
