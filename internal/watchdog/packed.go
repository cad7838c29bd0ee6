package watchdog

import (
	"math/bits"

	waybill "github.com/waybill-data/waybill"
)

// packed is a set of offsets of one bucket in little memory: runs while they are few, a bitmap of 8 KiB otherwise. It is immutable.
type packed struct {
	runs []uint16 // first and last of each
	bits *[BucketOffsets / 64]uint64
	n    int64
}

// maxRuns is where runs take as much as the bitmap.
const maxRuns = BucketOffsets / 8 / 4

// pack takes a set that lies in the bucket which begins at base.
func pack(set waybill.OffsetSet, base int64) packed {
	p := packed{n: set.Len()}
	spans := set.Spans()
	if len(spans) <= maxRuns {
		for _, sp := range spans {
			p.runs = append(p.runs, uint16(sp.First-base), uint16(sp.Next-1-base)) //nolint:gosec // within a bucket
		}
		return p
	}
	p.bits = new([BucketOffsets / 64]uint64)
	for _, sp := range spans {
		for o := sp.First - base; o < sp.Next-base; o++ {
			p.bits[o>>6] |= 1 << (o & 63)
		}
	}
	return p
}

// set unpacks it.
func (p packed) set(base int64) (out waybill.OffsetSet) {
	for i := 0; i < len(p.runs); i += 2 {
		out.AddSpan(waybill.Span{First: base + int64(p.runs[i]), Next: base + int64(p.runs[i+1]) + 1})
	}
	if p.bits == nil {
		return out
	}
	for i, word := range p.bits {
		for word != 0 {
			o := bits.TrailingZeros64(word)
			n := bits.TrailingZeros64(^(word >> o))
			at := base + int64(i)<<6 + int64(o)
			out.AddSpan(waybill.Span{First: at, Next: at + int64(n)})
			if o+n == 64 {
				break
			}
			word &^= 1<<(o+n) - 1
		}
	}
	return out
}

// size in bytes, about.
func (p packed) size() int64 {
	if p.bits != nil {
		return BucketOffsets / 8
	}
	return int64(len(p.runs)) * 2
}
