package column

// EnumName is one name of an Enum8 or Enum16 and its value.
type EnumName struct {
	Name  string
	Value int16
}

// Enum is a column of Enum8 or Enum16.
type Enum struct {
	fixed
	names  []EnumName // ascending by value
	values map[string]int16
}

func newEnum(f fixed, names []EnumName) *Enum {
	values := make(map[string]int16, len(names))
	for _, n := range names {
		values[n.Name] = n.Value
	}
	return &Enum{f, names, values}
}

// AppendName adds the value of a name; false if the type has no such name, and nothing is added.
func (c *Enum) AppendName(name []byte) bool {
	v, ok := c.values[string(name)]
	if ok {
		c.buf = appendInteger(c.buf, uint64(v), c.shift)
	}
	return ok
}

// AppendZero adds the lowest value, which is the type's default in ClickHouse.
func (c *Enum) AppendZero() { c.buf = appendInteger(c.buf, uint64(c.names[0].Value), c.shift) }

// Zero is the name of the lowest value.
func (c *Enum) Zero() string { return c.names[0].Name }

// Row is the number behind one row.
func (c *Enum) Row(row int) int16 {
	v := readInteger(c.wire(row))
	if c.shift == 0 {
		return int16(int8(v))
	}
	return int16(v)
}

// Fresh is an empty column of the same type.
func (c *Enum) Fresh() Column { return &Enum{c.fresh(), c.names, c.values} }
