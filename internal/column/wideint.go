package column

// WideInt is a column of Int128, Int256, UInt128 or UInt256.
type WideInt struct {
	fixed
	signed bool
}

// AppendLimbs adds a value in two's complement, its lowest 64 bits first; bits beyond the width are left out.
func (c *WideInt) AppendLimbs(v [4]uint64) { c.buf = appendLimbs(c.buf, (*limbs)(&v), c.shift) }

// Row is the value of one row, as AppendLimbs takes it, extended to 256 bits.
func (c *WideInt) Row(row int) [4]uint64 { return readLimbs(c.wire(row), c.signed) }

// Fresh is an empty column of the same type.
func (c *WideInt) Fresh() Column { return &WideInt{c.fresh(), c.signed} }

// appendNumber adds a number in JSON's grammar.
func (c *WideInt) appendNumber(text []byte) error {
	neg, mag, err := c.parse(text)
	switch bits := 8 << c.shift; {
	case err != nil:
		return err
	case c.signed && mag.bitLen() >= bits && (!neg || !mag.isPowerOf2(bits-1)),
		!c.signed && (mag.bitLen() > bits || neg && mag.bitLen() > 0):
		return ErrRange
	}
	if neg {
		mag.negate()
	}
	c.buf = appendLimbs(c.buf, &mag, c.shift)
	return nil
}

func (c *WideInt) parse(text []byte) (neg bool, mag limbs, err error) {
	if neg, short, ok := shortInt(text); ok {
		return neg, limbs{short}, nil
	}
	var scratch [128]byte
	d, err := ParseDecimal(text, scratch[:])
	if err != nil {
		return false, mag, err
	}
	if d.Exp10 < 0 {
		return false, mag, ErrFraction
	}
	mag, _, err = d.limbs(0)
	return d.Neg, mag, err
}
