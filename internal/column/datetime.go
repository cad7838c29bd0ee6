package column

// DateTime is a column of seconds since the Unix epoch, 32 bits without a sign: 1970 to 2106.
type DateTime struct{ fixed }

// Append adds one value in seconds.
func (c *DateTime) Append(seconds uint32) {
	c.buf = appendInteger(c.buf, uint64(seconds), c.shift)
}

// Row is the value of one row in seconds.
func (c *DateTime) Row(row int) uint32 { return uint32(readInteger(c.wire(row))) }

// Fresh is an empty column of the same type.
func (c *DateTime) Fresh() Column { return &DateTime{c.fresh()} }

// DateTime64 is a column of ticks since the Unix epoch; a tick is 10^-Precision seconds. The type's
// time zone only says how the server shows a value: what is stored and sent is the instant.
type DateTime64 struct {
	fixed
	precision int
}

// Precision is the number of decimal places of a second, 0 to 9.
func (c *DateTime64) Precision() int { return c.precision }

// Append adds one value in ticks. The caller has checked it with InDateTime64Range.
func (c *DateTime64) Append(ticks int64) { c.buf = appendInteger(c.buf, uint64(ticks), c.shift) }

// Row is the value of one row in ticks.
func (c *DateTime64) Row(row int) int64 { return int64(readInteger(c.wire(row))) }

// Fresh is an empty column of the same type.
func (c *DateTime64) Fresh() Column { return &DateTime64{c.fresh(), c.precision} }
