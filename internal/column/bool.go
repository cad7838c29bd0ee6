package column

// Bool is a column of truth values, one byte each.
type Bool struct{ fixed }

// Append adds one value.
func (c *Bool) Append(v bool) {
	var b byte
	if v {
		b = 1
	}
	c.buf = append(c.buf, b)
}

// Row is the value of one row.
func (c *Bool) Row(row int) bool { return c.buf[row] != 0 }

// Fresh is an empty column of the same type.
func (c *Bool) Fresh() Column { return &Bool{c.fresh()} }
