package clickhouse

import (
	"encoding/binary"
	"io"
	"sync"

	"github.com/go-faster/city"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
)

// frameBytes is how much of a block goes into one compressed frame. LZ4 takes longer steps the longer it finds nothing to
// match; in one frame of a whole block it runs through columns that do not compress and misses those that do.
const frameBytes = 1 << 20

// A frame: CityHash128 of all that follows, the method's byte, the size from the method on, the size of what is inside.
const (
	frameChecksum = 16
	frameHeader   = frameChecksum + 1 + 4 + 4
)

// framer cuts what is written to it into frames and writes each, compressed, to its destination. It keeps one frame before
// and one after compression, never a block. Use newFramer, flush, release.
type framer struct {
	to     io.Writer
	method method
	in     []byte // len(in) < frameBytes: what has not become a frame
	out    []byte
	lz4    lz4.Compressor
	zstd   *zstd.Encoder // nil but for methodZSTD
}

// idleFramers keeps the encoders' tables and buffers from one block to the next, by method.
var idleFramers = map[method]*sync.Pool{methodLZ4: {}, methodZSTD: {}}

func newFramer(m method, to io.Writer) *framer {
	f, ok := idleFramers[m].Get().(*framer)
	if !ok {
		f = &framer{method: m, in: make([]byte, 0, frameBytes)}
		if m == methodZSTD {
			f.zstd = newZSTD()
		}
	}
	f.to = to
	return f
}

func newZSTD() *zstd.Encoder {
	e, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1),
		zstd.WithWindowSize(frameBytes), zstd.WithEncoderCRC(false)) // the frame has a checksum
	if err != nil {
		panic("clickhouse: " + err.Error()) // constant options
	}
	return e
}

// release gives the encoder back; what was not flushed is dropped.
func (f *framer) release() {
	f.to, f.in = nil, f.in[:0]
	idleFramers[f.method].Put(f)
}

// Write frames p. Whole frames are compressed where they are; only what is left over is copied.
func (f *framer) Write(p []byte) (int, error) {
	written := len(p)
	for len(f.in)+len(p) >= frameBytes {
		frame, n := p, frameBytes
		if len(f.in) > 0 {
			n = frameBytes - len(f.in)
			f.in = append(f.in, p[:n]...)
			frame = f.in
		}
		if err := f.emit(frame[:frameBytes]); err != nil {
			return 0, err
		}
		p, f.in = p[n:], f.in[:0]
	}
	f.in = append(f.in, p...)
	return written, nil
}

// flush makes a last, shorter frame of what is left.
func (f *framer) flush() error {
	if len(f.in) == 0 {
		return nil
	}
	err := f.emit(f.in)
	f.in = f.in[:0]
	return err
}

func (f *framer) emit(raw []byte) error {
	if err := f.compress(raw); err != nil {
		return err
	}
	out := f.out
	out[frameChecksum] = byte(f.method)
	binary.LittleEndian.PutUint32(out[frameChecksum+1:], uint32(len(out)-frameChecksum)) //nolint:gosec // little more than a MiB
	binary.LittleEndian.PutUint32(out[frameChecksum+5:], uint32(len(raw)))               //nolint:gosec // at most a MiB
	sum := city.CH128(out[frameChecksum:])
	binary.LittleEndian.PutUint64(out, sum.Low)
	binary.LittleEndian.PutUint64(out[8:], sum.High)
	_, err := f.to.Write(out)
	return err
}

// compress fills out with room for the header and the compressed bytes.
func (f *framer) compress(raw []byte) error {
	if cap(f.out) == 0 {
		f.out = make([]byte, frameHeader+lz4.CompressBlockBound(frameBytes))
	}
	if f.method == methodZSTD {
		f.out = f.zstd.EncodeAll(raw, f.out[:frameHeader])
		return nil
	}
	f.out = f.out[:cap(f.out)]
	n, err := f.lz4.CompressBlock(raw, f.out[frameHeader:])
	f.out = f.out[:frameHeader+n]
	return err
}
