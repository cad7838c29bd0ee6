package column

import (
	"crypto/sha256"
	"fmt"
	"slices"

	"github.com/ClickHouse/ch-go/proto"
)

// Block is named columns of equal length: what one INSERT sends. It belongs to one goroutine at a time.
type Block struct {
	Names   []string // as in the INSERT's column list
	Columns []Column // same order and length as Names
	// Contents are values that rows only refer to, in the order of their rows; see Refer. They are no part of an INSERT of the block, and nothing that
	// is made of the block has them.
	Contents []Content
	referred int // bytes of the contents
}

// Content is a long value that a row refers to.
type Content struct {
	Row    int // of the block
	Column int // the column that has its beginning
	Hash   [sha256.Size]byte
	Value  []byte // the content's own
}

// contentSize is what a content takes beside its value, in bytes.
const contentSize = 72

// NewBlock makes an empty block of the named columns; types are ClickHouse type texts.
func NewBlock(names, types []string) (*Block, error) {
	b := &Block{Names: names}
	for i, t := range types {
		c, err := New(t)
		if err != nil {
			return nil, fmt.Errorf("column %s: %w", names[i], err)
		}
		b.Columns = append(b.Columns, c)
	}
	return b, nil
}

// Rows is the number of complete rows: those that every column has.
func (b *Block) Rows() int {
	if len(b.Columns) == 0 {
		return 0
	}
	rows := b.Columns[0].Rows()
	for _, c := range b.Columns[1:] {
		rows = min(rows, c.Rows())
	}
	return rows
}

// Truncate drops all rows from index rows on, also of columns that are ahead of others.
func (b *Block) Truncate(rows int) {
	for _, c := range b.Columns {
		c.Truncate(rows)
	}
	n := len(b.Contents)
	for n > 0 && b.Contents[n-1].Row >= rows {
		n--
		b.referred -= len(b.Contents[n].Value) + contentSize
	}
	clear(b.Contents[n:])
	b.Contents = b.Contents[:n]
}

// Reset drops all rows and keeps the memory.
func (b *Block) Reset() {
	for _, c := range b.Columns {
		c.Reset()
	}
	clear(b.Contents)
	b.Contents, b.referred = b.Contents[:0], 0
}

// Refer adds a content that a row refers to: one of the last row or after it.
func (b *Block) Refer(c Content) {
	b.Contents = append(b.Contents, c)
	b.referred += len(c.Value) + contentSize
}

// Size is the number of bytes that the rows hold, with what they refer to.
func (b *Block) Size() int {
	n := b.referred
	for _, c := range b.Columns {
		n += c.Size()
	}
	return n
}

// Without is the block without some of its columns. It shares the others.
func (b *Block) Without(names []string) *Block {
	out := &Block{}
	for i, name := range b.Names {
		if !slices.Contains(names, name) {
			out.Names, out.Columns = append(out.Names, name), append(out.Columns, b.Columns[i])
		}
	}
	return out
}

// Renamed is the block with other names for some of its columns. It shares all columns.
func (b *Block) Renamed(to map[string]string) *Block {
	if len(to) == 0 {
		return b
	}
	out := &Block{Names: slices.Clone(b.Names), Columns: b.Columns}
	for i, name := range b.Names {
		if now, ok := to[name]; ok {
			out.Names[i] = now
		}
	}
	return out
}

// Fresh is an empty block with the same columns.
func (b *Block) Fresh() *Block {
	f := &Block{Names: b.Names, Columns: make([]Column, len(b.Columns))}
	for i, c := range b.Columns {
		f.Columns[i] = c.Fresh()
	}
	return f
}

// Select is a fresh block with the given rows, in the order given.
func (b *Block) Select(rows []int) *Block {
	s := b.Fresh()
	for i, c := range s.Columns {
		for _, row := range rows {
			c.AppendFrom(b.Columns[i], row)
		}
	}
	return s
}

// Input is the block as ch-go sends it. It aliases the block: do not append until it is sent.
func (b *Block) Input() proto.Input {
	in := make(proto.Input, len(b.Columns))
	for i, c := range b.Columns {
		in[i] = proto.InputColumn{Name: b.Names[i], Data: c}
	}
	return in
}
