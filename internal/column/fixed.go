package column

import (
	"fmt"

	"github.com/ClickHouse/ch-go/proto"
)

// fixed holds rows of 1<<shift bytes each, in wire format. All fixed-width columns embed it.
type fixed struct {
	typ   proto.ColumnType
	shift uint
	buf   []byte
}

// wide is f with rows of the given width in bytes: 1, 2, 4, 8, 16 or 32.
func (f fixed) wide(width int) fixed {
	for f.shift = 0; 1<<f.shift < width; f.shift++ {
	}
	return f
}

func (f *fixed) base() *fixed { return f }

func (f *fixed) fresh() fixed { return fixed{typ: f.typ, shift: f.shift} }

// Type is the ClickHouse type; it never changes.
func (f *fixed) Type() proto.ColumnType { return f.typ }

// Rows is the number of rows.
func (f *fixed) Rows() int { return len(f.buf) >> f.shift }

// EncodeColumn appends the rows to b.
func (f *fixed) EncodeColumn(b *proto.Buffer) { b.PutRaw(f.buf) }

// WriteColumn hands the rows to w without copying them.
func (f *fixed) WriteColumn(w *proto.Writer) { w.ChainWrite(f.buf) }

// Truncate drops all rows from index rows on.
func (f *fixed) Truncate(rows int) { f.buf = f.buf[:rows<<f.shift] }

// AppendZero appends a row of zero bytes.
func (f *fixed) AppendZero() {
	var zero [32]byte
	f.buf = append(f.buf, zero[:1<<f.shift]...)
}

// AppendFrom appends one row of src.
func (f *fixed) AppendFrom(src Column, row int) {
	s, ok := src.(interface{ base() *fixed })
	if !ok || s.base().typ != f.typ {
		panic(fmt.Sprintf("column: rows of %s appended to %s", src.Type(), f.typ))
	}
	f.buf = append(f.buf, s.base().wire(row)...)
}

// Size in bytes.
func (f *fixed) Size() int { return len(f.buf) }

// Reset drops all rows.
func (f *fixed) Reset() { f.buf = f.buf[:0] }

// wire is the row as it goes over the wire.
func (f *fixed) wire(row int) []byte { return f.buf[row<<f.shift : (row+1)<<f.shift] }
