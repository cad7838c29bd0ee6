package column

import (
	"encoding/binary"

	"github.com/ClickHouse/ch-go/proto"
)

// offsets are the ends of the rows of an Array or Map in its nested columns, in wire format: one
// little-endian 64-bit number per row, ascending.
type offsets struct{ buf []byte }

func (o *offsets) rows() int { return len(o.buf) / 8 }

// end is where row ends in the nested columns; 0 for row -1.
func (o *offsets) end(row int) int {
	if row < 0 {
		return 0
	}
	return int(binary.LittleEndian.Uint64(o.buf[8*row:]))
}

func (o *offsets) add(end int)             { o.buf = binary.LittleEndian.AppendUint64(o.buf, uint64(end)) }
func (o *offsets) truncate(rows int)       { o.buf = o.buf[:8*rows] }
func (o *offsets) reset()                  { o.buf = o.buf[:0] }
func (o *offsets) encode(b *proto.Buffer)  { b.PutRaw(o.buf) }
func (o *offsets) write(w *proto.Writer)   { w.ChainWrite(o.buf) }
func (o *offsets) span(row int) (int, int) { return o.end(row - 1), o.end(row) }
