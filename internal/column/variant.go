package column

import (
	"cmp"
	"slices"

	"github.com/ClickHouse/ch-go/proto"
)

// Variant is a column of Variant(...): each row is NULL or a value of one member. To add a value, append it to a member and
// call EndRow with the member's number.
type Variant struct {
	typ     proto.ColumnType
	which   []byte   // per row, the member that holds it, or nullMember
	members []Column // in the order of their types' texts, which is how the server numbers them
	rows    []int    // per member, its finished rows; members[i] has rows[i], or more while a row is being filled
	starts  []uint32 // per row, the row within its member; 0 for NULL
	kinds   []Kinds  // per member
	order   []int    // the members in the order in which AppendJSON tries them
}

const (
	nullMember = 255
	// variantState is the version of the discriminators' serialization: one byte for each row.
	variantState = 0
)

func newVariant(typ proto.ColumnType, members []Column) *Variant {
	c := &Variant{typ: typ, members: members, rows: make([]int, len(members))}
	for i, m := range members {
		c.kinds = append(c.kinds, kindsOf(m))
		c.order = append(c.order, i)
	}
	slices.SortStableFunc(c.order, func(a, b int) int { return cmp.Compare(rank(members[a]), rank(members[b])) })
	return c
}

// rank orders a Variant's members: texts as texts before anything that a text can stand for, and numbers as exact
// as they can be.
func rank(c Column) int {
	switch c := c.(type) {
	case *String, *LowCardinality:
		return 0
	case *Int8, *Int16, *Int32, *Int64, *UInt8, *UInt16, *UInt32, *UInt64, *WideInt:
		return 1
	case *Decimals:
		return 2
	case *Float32, *Float64, *BFloat16:
		return 3
	case *Array:
		return rank(c.elem)
	case *Nullable:
		return rank(c.inner)
	}
	return 4
}

// takes are the kinds of values that some member takes.
func (c *Variant) takes() (all Kinds) {
	for _, k := range c.kinds {
		all |= k
	}
	return all
}

// Members are the columns of the members, in the order of their types' texts.
func (c *Variant) Members() []Column { return c.members }

// EndRow finishes a row whose value was appended to a member.
func (c *Variant) EndRow(member int) {
	c.which = append(c.which, byte(member))
	c.starts = append(c.starts, uint32(c.rows[member]))
	c.rows[member]++
}

// AppendNull adds NULL.
func (c *Variant) AppendNull() {
	c.which = append(c.which, nullMember)
	c.starts = append(c.starts, 0)
}

// AppendZero adds NULL.
func (c *Variant) AppendZero() { c.AppendNull() }

// AppendJSON adds a JSON value, given as its text, to the first member that takes it exactly; if there is none, to the
// first that takes it rounded, and exact is false. Members are tried in this order: String, integers, Decimals, floats,
// arrays by their elements likewise, then all others; those of one kind by the text of their type. Errors are those of
// the function AppendJSON for the first member that takes values of the kind.
func (c *Variant) AppendJSON(text []byte, f TimeFormat) (exact bool, err error) {
	if string(text) == "null" {
		c.AppendNull()
		return true, nil
	}
	kind, rounds := kindOf(text), -1
	for _, i := range c.order {
		if c.kinds[i]&kind == 0 {
			continue
		}
		exact, problem := AppendJSON(c.members[i], text, f)
		switch {
		case problem != nil:
			err = cmp.Or(err, problem)
			continue
		case exact:
			c.EndRow(i)
			return true, nil
		}
		c.members[i].Truncate(c.rows[i])
		if rounds < 0 {
			rounds = i
		}
	}
	if rounds < 0 {
		return true, cmp.Or(err, error(kindError{kind, c.takes()}))
	}
	_, err = AppendJSON(c.members[rounds], text, f)
	c.EndRow(rounds)
	return false, err
}

// AppendFrom appends one row of src.
func (c *Variant) AppendFrom(src Column, row int) {
	s := same(c, src)
	member := s.which[row]
	if member == nullMember {
		c.AppendNull()
		return
	}
	c.members[member].AppendFrom(s.members[member], int(s.starts[row]))
	c.EndRow(int(member))
}

// Type is the ClickHouse type; it never changes.
func (c *Variant) Type() proto.ColumnType { return c.typ }

// Rows is the number of finished rows.
func (c *Variant) Rows() int { return len(c.which) }

// EncodeState writes the state prefixes of the discriminators and of the members.
func (c *Variant) EncodeState(b *proto.Buffer) {
	b.PutUInt64(variantState)
	for _, m := range c.members {
		encodeState(m, b)
	}
}

// EncodeColumn appends the discriminators, then the members.
func (c *Variant) EncodeColumn(b *proto.Buffer) {
	b.PutRaw(c.which)
	for _, m := range c.members {
		m.EncodeColumn(b)
	}
}

// WriteColumn hands the rows to w without copying them.
func (c *Variant) WriteColumn(w *proto.Writer) {
	w.ChainWrite(c.which)
	for _, m := range c.members {
		m.WriteColumn(w)
	}
}

// Truncate drops all rows from index rows on, and an unfinished one.
func (c *Variant) Truncate(rows int) {
	for _, member := range c.which[rows:] {
		if member != nullMember {
			c.rows[member]--
		}
	}
	for i, m := range c.members {
		m.Truncate(c.rows[i])
	}
	c.which, c.starts = c.which[:rows], c.starts[:rows]
}

// Size in bytes.
func (c *Variant) Size() int {
	n := (1 + 4) * len(c.which)
	for _, m := range c.members {
		n += m.Size()
	}
	return n
}

// Reset drops all rows.
func (c *Variant) Reset() {
	for _, m := range c.members {
		m.Reset()
	}
	clear(c.rows)
	c.which, c.starts = c.which[:0], c.starts[:0]
}

// Fresh is an empty column of the same type.
func (c *Variant) Fresh() Column {
	members := make([]Column, len(c.members))
	for i, m := range c.members {
		members[i] = m.Fresh()
	}
	return newVariant(c.typ, members)
}
