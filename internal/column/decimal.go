package column

import "fmt"

// Decimals is a column of Decimal(P, S): integers that count 10^-S, of 4, 8, 16 or 32 bytes by P.
type Decimals struct {
	fixed
	scale int
	limit limbs // 10^P; every value's magnitude is less
}

// maxDecimal is the largest precision of a Decimal.
const maxDecimal = 76

func newDecimals(f fixed, precision, scale int) *Decimals {
	c := &Decimals{scale: scale, limit: limbs{1}}
	width := 4
	for _, most := range []int{9, 18, 38} {
		if precision > most {
			width *= 2
		}
	}
	c.fixed = f.wide(width)
	for range precision {
		c.limit.mulAdd(10, 0)
	}
	return c
}

// Scale is the number of decimal places.
func (c *Decimals) Scale() int { return c.scale }

// Row is the value of one row times 10^Scale, in two's complement of 256 bits, the lowest 64 first.
func (c *Decimals) Row(row int) [4]uint64 { return readLimbs(c.wire(row), true) }

// Fresh is an empty column of the same type.
func (c *Decimals) Fresh() Column { return &Decimals{c.fresh(), c.scale, c.limit} }

// appendNumber adds a number in JSON's grammar, rounded half to even; exact is false if that changed it.
func (c *Decimals) appendNumber(text []byte) (exact bool, err error) {
	l, ok := scanNumber(text)
	if !ok {
		return true, errNotANumber
	}
	var mag limbs
	if mag[0], exact, ok = l.scaled(c.scale); !ok {
		var scratch [128]byte
		d, err := ParseDecimal(text, scratch[:])
		if err != nil {
			return true, err
		}
		if mag, exact, err = d.limbs(c.scale); err != nil {
			return exact, c.tooLarge()
		}
	}
	if !mag.less(&c.limit) {
		return exact, c.tooLarge()
	}
	if l.neg {
		mag.negate()
	}
	c.buf = appendLimbs(c.buf, &mag, c.shift)
	return exact, nil
}

func (c *Decimals) tooLarge() error { return fmt.Errorf("%w: %s has too few digits", ErrRange, c.typ) }

// scaled is mant * 10^(exp+scale) rounded half to even, where 64 bits are enough for that; else ok is false.
func (l literal) scaled(scale int) (v uint64, exact, ok bool) {
	shift := l.exp + scale
	switch {
	case l.cut || shift > mantDigits || shift < -mantDigits:
		return 0, true, false
	case shift >= 0:
		v = l.mant * pow10u[shift]
		return v, true, l.mant == v/pow10u[shift]
	}
	unit := pow10u[-shift]
	v, rest := l.mant/unit, l.mant%unit
	if rest > unit-rest || rest == unit-rest && v&1 != 0 {
		v++
	}
	return v, rest == 0, true
}
