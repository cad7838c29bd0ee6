package column

// Reserve makes room for factor times the rows that the block has, so that it grows once instead of again and
// again: by the time a block of 100 MB is full, appending has copied it several times. Columns of rare types are left
// to grow.
func (b *Block) Reserve(factor float64) {
	for _, c := range b.Columns {
		reserve(c, factor)
	}
}

func reserve(c Column, factor float64) {
	switch c := c.(type) {
	case *String:
		c.buf, c.ends = room(c.buf, factor), room(c.ends, factor)
	case *LowCardinality:
		c.keys = room(c.keys, factor)
	case *Nullable:
		c.nulls = room(c.nulls, factor)
		reserve(c.inner, factor)
	case *Array:
		c.ends.buf = room(c.ends.buf, factor)
		reserve(c.elem, factor)
	case *Map:
		c.ends.buf = room(c.ends.buf, factor)
		reserve(c.keys, factor)
		reserve(c.values, factor)
	case interface{ base() *fixed }:
		c.base().buf = room(c.base().buf, factor)
	}
}

// room is s with a capacity of at least factor times its length. The memory beyond it is not touched: it costs
// nothing until it is used.
func room[T any](s []T, factor float64) []T {
	want := int(float64(len(s)) * factor)
	if want <= cap(s) {
		return s
	}
	grown := make([]T, len(s), want)
	copy(grown, s)
	return grown
}
