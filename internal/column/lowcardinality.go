package column

import (
	"encoding/binary"
	"math/bits"

	"github.com/ClickHouse/ch-go/proto"
	"github.com/cespare/xxhash/v2"
)

// LowCardinality is a column of LowCardinality(String) or LowCardinality(Nullable(String)): each
// distinct value once, in order of first use, and a key per row.
//
// Rows that are rolled back take the values that they brought with them, so the dictionary, and
// with it the wire form, is a function of the rows alone. That needs no tombstones in the hash table:
// values leave in the reverse order of their coming, so a slot that is cleared was the end of every
// probe sequence that runs through it.
type LowCardinality struct {
	typ      proto.ColumnType
	nullable bool
	// dict holds the distinct values. If nullable, entry 0 stands for NULL (the protocol says so), is
	// always there and is not in the table.
	dict  String
	first []int     // first[i] is the row that brought dict entry i; ascending; -1 for NULL's entry
	keys  []uint32  // per row, an index into dict
	table []lowSlot // open addressing, linear probing; at most half full
}

// lowSlot is a place in the hash table. Values of up to 16 bytes are compared here: their first and last bytes
// and their length are all there is to them.
type lowSlot struct {
	first, last uint64
	length      uint32
	entry       uint32 // 0 is free, otherwise the value's index in dict, plus one
}

// lowKey is what a value is found by, its slot without an entry.
func lowKey(v []byte) lowSlot {
	k := lowSlot{length: uint32(len(v))}
	switch n := len(v); {
	case n > 16:
		k.first = xxhash.Sum64(v)
	case n >= 8:
		k.first, k.last = binary.LittleEndian.Uint64(v), binary.LittleEndian.Uint64(v[n-8:])
	case n >= 4:
		k.first, k.last = uint64(binary.LittleEndian.Uint32(v)), uint64(binary.LittleEndian.Uint32(v[n-4:]))
	case n > 0:
		k.first, k.last = uint64(v[0])|uint64(v[n/2])<<8, uint64(v[n-1])
	}
	return k
}

func (k lowSlot) hash() uint64 {
	hi, lo := bits.Mul64(k.first^0x9e3779b97f4a7c15, k.last^0xe7037ed1a0b428db^uint64(k.length)<<56)
	return hi ^ lo
}

const (
	// lowCardinalityState is the version of the key serialization, the column's state prefix.
	lowCardinalityState = 1
	// lowCardinalityFlags: the block carries its own dictionary, which replaces any earlier one.
	lowCardinalityFlags = 1<<9 | 1<<10
	minTable            = 64
)

func newLowCardinality(typ proto.ColumnType, nullable bool) *LowCardinality {
	c := &LowCardinality{typ: typ, nullable: nullable, table: make([]lowSlot, minTable)}
	c.reserveNull()
	return c
}

func (c *LowCardinality) reserveNull() {
	if c.nullable {
		c.dict.AppendZero()
		c.first = append(c.first, -1)
	}
}

// CanNull reports whether the column is LowCardinality(Nullable(String)).
func (c *LowCardinality) CanNull() bool { return c.nullable }

// Append adds one value; v is copied if it is new.
func (c *LowCardinality) Append(v []byte) {
	k := lowKey(v)
	slot := c.find(k, v)
	entry := c.table[slot].entry
	if entry == 0 {
		entry = c.insert(slot, k, v)
	}
	c.keys = append(c.keys, entry-1)
}

// AppendString adds one value.
func (c *LowCardinality) AppendString(v string) { c.Append([]byte(v)) }

// AppendLike adds one value that is likely to be that of the last row.
func (c *LowCardinality) AppendLike(v string) {
	if n := len(c.keys); n > 0 && string(c.Row(n-1)) == v && !c.IsNull(n-1) {
		c.keys = append(c.keys, c.keys[n-1])
		return
	}
	c.AppendString(v)
}

// AppendNull adds NULL; only for LowCardinality(Nullable(String)).
func (c *LowCardinality) AppendNull() {
	if !c.nullable {
		panic("column: NULL appended to " + string(c.typ))
	}
	c.keys = append(c.keys, 0)
}

// AppendZero adds NULL if the type has it, otherwise the empty string.
func (c *LowCardinality) AppendZero() {
	if c.nullable {
		c.AppendNull()
		return
	}
	c.Append(nil)
}

// AppendFrom appends one row of src.
func (c *LowCardinality) AppendFrom(src Column, row int) {
	s := same(c, src)
	if s.IsNull(row) {
		c.AppendNull()
		return
	}
	c.Append(s.Row(row))
}

// Row is the value of one row, empty for NULL; it aliases the column's memory until the next append.
func (c *LowCardinality) Row(row int) []byte { return c.dict.Row(int(c.keys[row])) }

// IsNull reports whether one row is NULL.
func (c *LowCardinality) IsNull(row int) bool { return c.nullable && c.keys[row] == 0 }

// find is the slot of v: where it is, or where it would go.
func (c *LowCardinality) find(k lowSlot, v []byte) int {
	mask := len(c.table) - 1
	for slot := int(k.hash()) & mask; ; slot = (slot + 1) & mask {
		at := &c.table[slot]
		if at.entry == 0 {
			return slot
		}
		if at.first == k.first && at.last == k.last && at.length == k.length &&
			(k.length <= 16 || string(c.dict.Row(int(at.entry-1))) == string(v)) {
			return slot
		}
	}
}

// insert puts v, which is new, into the free slot or, if the table has to grow, into another, and returns its
// entry.
func (c *LowCardinality) insert(slot int, k lowSlot, v []byte) uint32 {
	if 2*(c.dict.Rows()+1) > len(c.table) {
		c.grow()
		slot = c.find(k, v)
	}
	c.dict.Append(v)
	c.first = append(c.first, len(c.keys))
	k.entry = uint32(c.dict.Rows())
	c.table[slot] = k
	return k.entry
}

// grow doubles the table. Entries go in again in the order of the dictionary, so that the last one in
// is still the first one out.
func (c *LowCardinality) grow() {
	c.table = make([]lowSlot, 2*len(c.table))
	for i := range c.dict.Rows() {
		if c.first[i] >= 0 {
			k := lowKey(c.dict.Row(i))
			k.entry = uint32(i + 1)
			c.table[c.find(k, c.dict.Row(i))] = k
		}
	}
}

// Truncate drops all rows from index rows on, and the values that only they use.
func (c *LowCardinality) Truncate(rows int) {
	c.keys = c.keys[:rows]
	n := len(c.first)
	for n > 0 && c.first[n-1] >= rows {
		n--
		v := c.dict.Row(n)
		c.table[c.find(lowKey(v), v)] = lowSlot{}
		c.dict.Truncate(n)
	}
	c.first = c.first[:n]
}

// Type is the ClickHouse type; it never changes.
func (c *LowCardinality) Type() proto.ColumnType { return c.typ }

// Rows is the number of rows.
func (c *LowCardinality) Rows() int { return len(c.keys) }

// EncodeState writes the state prefix.
func (c *LowCardinality) EncodeState(b *proto.Buffer) { b.PutUInt64(lowCardinalityState) }

// keyShift is the width of a key on the wire, as a power of two of bytes.
func (c *LowCardinality) keyShift() uint {
	switch n := c.dict.Rows(); {
	case n <= 1<<8:
		return 0
	case n <= 1<<16:
		return 1
	}
	return 2
}

// EncodeColumn appends dictionary and keys to b; a column without rows is nothing at all.
func (c *LowCardinality) EncodeColumn(b *proto.Buffer) {
	if len(c.keys) == 0 {
		return
	}
	c.encodeHead(b)
	c.dict.EncodeColumn(b)
	c.encodeKeys(b)
}

// WriteColumn hands the dictionary to w without copying it.
func (c *LowCardinality) WriteColumn(w *proto.Writer) {
	if len(c.keys) == 0 {
		return
	}
	w.ChainBuffer(c.encodeHead)
	c.dict.WriteColumn(w)
	w.ChainBuffer(c.encodeKeys)
}

func (c *LowCardinality) encodeHead(b *proto.Buffer) {
	b.PutUInt64(lowCardinalityFlags | uint64(c.keyShift()))
	b.PutUInt64(uint64(c.dict.Rows()))
}

func (c *LowCardinality) encodeKeys(b *proto.Buffer) {
	b.PutUInt64(uint64(len(c.keys)))
	shift := c.keyShift()
	for _, k := range c.keys {
		b.Buf = appendInteger(b.Buf, uint64(k), shift)
	}
}

// Size in bytes. Of the hash table it counts the two slots that every value needs, so that the size is a
// function of the rows.
func (c *LowCardinality) Size() int {
	return c.dict.Size() + (endSize+2*4)*len(c.first) + 4*len(c.keys)
}

// Reset drops all rows and the dictionary.
func (c *LowCardinality) Reset() {
	c.dict.Reset()
	c.first, c.keys = c.first[:0], c.keys[:0]
	clear(c.table)
	c.reserveNull()
}

// Fresh is an empty column of the same type.
func (c *LowCardinality) Fresh() Column { return newLowCardinality(c.typ, c.nullable) }
