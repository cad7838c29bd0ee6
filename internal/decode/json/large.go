package json

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"unicode/utf8"

	"github.com/waybill-data/waybill/internal/column"
	"github.com/waybill-data/waybill/internal/contract"
)

// large is a column whose long values are kept elsewhere, see contract.Large.
type large struct {
	contract.Large
	index, ref, bytes int // columns of the block
	name              string

	// Of the block at hand:
	col   *column.String
	outer *column.Nullable // of col; nil if it cannot be NULL
	refs  *column.String
	long  *column.UInt64 // one of the two
	short *column.UInt32

	moved, movedBytes int64 // values, and their bytes
}

// compileLarge finds the columns of those whose long values are kept elsewhere.
func (d *Decoder) compileLarge() {
	for i, c := range d.plan.Columns() {
		if c.Large == nil || c.Of != "" {
			continue
		}
		l := &large{Large: *c.Large, index: i, name: c.Name}
		for j, o := range d.plan.Columns() {
			if o.Of == c.Name && o.Source == contract.SourceContentRef {
				l.ref = j
			} else if o.Of == c.Name {
				l.bytes = j
			}
		}
		d.larges = append(d.larges, l)
	}
}

func (l *large) bind(b *column.Block) {
	l.outer, _ = b.Columns[l.index].(*column.Nullable)
	if l.outer != nil {
		l.col = l.outer.Inner().(*column.String)
	} else {
		l.col = b.Columns[l.index].(*column.String)
	}
	l.refs = b.Columns[l.ref].(*column.String)
	l.long, _ = b.Columns[l.bytes].(*column.UInt64)
	l.short, _ = b.Columns[l.bytes].(*column.UInt32)
}

// cut fills the columns that say of the row's value where it is and how long, and takes what is too long for the row out of it. What the value of
// a column has been given up for, a NULL or a default, is treated like a value.
func (l *large) cut(b *column.Block, row int) {
	value := l.col.Row(row)
	if l.long != nil {
		l.long.Append(uint64(len(value)))
	} else {
		l.short.Append(uint32(len(value))) //nolint:gosec // a record is far smaller than 4 GiB
	}
	if len(value) <= l.Inline {
		l.refs.AppendZero()
		return
	}
	hash := sha256.Sum256(value)
	var name [2 * sha256.Size]byte
	hex.Encode(name[:], hash[:])
	l.refs.Append(name[:])
	whole := bytes.Clone(value)
	b.Refer(column.Content{Row: row, Column: l.index, Hash: hash, Value: whole})
	l.moved, l.movedBytes = l.moved+1, l.movedBytes+int64(len(whole))
	preview := whole[:previewEnd(whole, l.Preview)]
	if l.outer != nil {
		l.outer.Truncate(row)
		l.col.Append(preview)
		l.outer.EndRow()
		return
	}
	l.col.Truncate(row)
	l.col.Append(preview)
}

// previewEnd is where the first characters of a text end that take at most limit bytes.
func previewEnd(text []byte, limit int) int {
	if limit >= len(text) {
		return len(text)
	}
	for end := limit; end > limit-utf8.UTFMax && end > 0; end-- {
		if utf8.RuneStart(text[end]) {
			return end
		}
	}
	return 0
}

// Moved is how many values of each column are kept elsewhere, and how many bytes they have; it starts counting anew.
func (d *Decoder) Moved() map[string]Moved {
	out := map[string]Moved{}
	for _, l := range d.larges {
		if l.moved > 0 {
			out[l.name] = Moved{l.moved, l.movedBytes}
			l.moved, l.movedBytes = 0, 0
		}
	}
	return out
}

// Moved are values that are kept elsewhere.
type Moved struct{ Values, Bytes int64 }
