package column

import (
	"github.com/ClickHouse/ch-go/proto"
)

// Dynamic is a column of Dynamic: a Variant of dynamicMembers, sent with those that the rows use, so that each value
// keeps its type in the table.
type Dynamic struct{ Variant }

// dynamicMembers are the types that JSON values become in a Dynamic column, in the order of their texts. sharedMember
// belongs to the wire form only: there the server keeps what has too many types. It has no rows here.
var dynamicMembers = []string{
	"Array(JSON)", "Array(Nullable(Bool))", "Array(Nullable(Float64))", "Array(Nullable(Int64))", "Array(Nullable(String))",
	"Bool", "Float64", "Int64", "JSON", sharedMember, "String", "UInt64",
}

const (
	sharedMember = "SharedVariant"
	// dynamicState is the version of the serialization that every server with Dynamic reads.
	dynamicState = 1
	// dynamicMax is ClickHouse's default of max_types.
	dynamicMax = 32
)

func newDynamic() *Dynamic {
	members := make([]Column, len(dynamicMembers))
	for i, name := range dynamicMembers {
		if name == sharedMember {
			members[i] = &String{}
			continue
		}
		t, err := ParseType(name)
		if err != nil {
			panic("column: " + err.Error())
		}
		members[i] = t.New()
	}
	c := &Dynamic{*newVariant("Dynamic", members)}
	for i, name := range dynamicMembers {
		if name == sharedMember {
			c.kinds[i] = 0
		}
	}
	return c
}

// sent reports whether a member is part of the wire form.
func (c *Dynamic) sent(member int) bool {
	return c.rows[member] > 0 || dynamicMembers[member] == sharedMember
}

// AppendFrom appends one row of src.
func (c *Dynamic) AppendFrom(src Column, row int) { c.Variant.AppendFrom(&same(c, src).Variant, row) }

// EncodeState writes the names of the types in use, then the state prefix of a Variant of them.
func (c *Dynamic) EncodeState(b *proto.Buffer) {
	b.PutUInt64(dynamicState)
	b.PutUVarInt(dynamicMax)
	used := uint64(0)
	for _, n := range c.rows {
		if n > 0 {
			used++
		}
	}
	b.PutUVarInt(used)
	for i, name := range dynamicMembers {
		if c.rows[i] > 0 {
			b.PutString(name)
		}
	}
	b.PutUInt64(variantState)
	for i, m := range c.members {
		if c.sent(i) {
			encodeState(m, b)
		}
	}
}

// EncodeColumn appends the discriminators, then the members in use.
func (c *Dynamic) EncodeColumn(b *proto.Buffer) {
	c.encodeWhich(b)
	for i, m := range c.members {
		if c.sent(i) {
			m.EncodeColumn(b)
		}
	}
}

// WriteColumn hands the members in use to w without copying them.
func (c *Dynamic) WriteColumn(w *proto.Writer) {
	w.ChainBuffer(c.encodeWhich)
	for i, m := range c.members {
		if c.sent(i) {
			m.WriteColumn(w)
		}
	}
}

// encodeWhich appends the discriminators, counted among the members that are sent.
func (c *Dynamic) encodeWhich(b *proto.Buffer) {
	number := [256]byte{nullMember: nullMember}
	next := byte(0)
	for i := range c.members {
		number[i] = next
		if c.sent(i) {
			next++
		}
	}
	for _, member := range c.which {
		b.Buf = append(b.Buf, number[member])
	}
}

// Fresh is an empty column of the same type.
func (c *Dynamic) Fresh() Column { return newDynamic() }
