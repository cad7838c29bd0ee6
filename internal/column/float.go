package column

import "math"

// Float32 is a column of IEEE 754 single-precision numbers.
type Float32 struct{ fixed }

// Append adds one value.
func (c *Float32) Append(v float32) {
	c.buf = appendInteger(c.buf, uint64(math.Float32bits(v)), c.shift)
}

// Row is the value of one row.
func (c *Float32) Row(row int) float32 {
	return math.Float32frombits(uint32(readInteger(c.wire(row))))
}

// Fresh is an empty column of the same type.
func (c *Float32) Fresh() Column { return &Float32{c.fresh()} }

// Float64 is a column of IEEE 754 double-precision numbers.
type Float64 struct{ fixed }

// Append adds one value.
func (c *Float64) Append(v float64) { c.buf = appendInteger(c.buf, math.Float64bits(v), c.shift) }

// Row is the value of one row.
func (c *Float64) Row(row int) float64 { return math.Float64frombits(readInteger(c.wire(row))) }

// Fresh is an empty column of the same type.
func (c *Float64) Fresh() Column { return &Float64{c.fresh()} }
