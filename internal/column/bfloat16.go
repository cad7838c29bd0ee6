package column

import (
	"math"
	"math/big"
)

// BFloat16 is a column of the upper halves of IEEE 754 single-precision numbers: 8 bits of mantissa.
type BFloat16 struct{ fixed }

// maxBFloat16 is the largest finite value.
const maxBFloat16 = 0x1.FEp127

// AppendBits adds one value by its 16 bits.
func (c *BFloat16) AppendBits(v uint16) { c.buf = appendInteger(c.buf, uint64(v), c.shift) }

// Row is the value of one row.
func (c *BFloat16) Row(row int) float32 {
	return math.Float32frombits(uint32(readInteger(c.wire(row))) << 16)
}

// Fresh is an empty column of the same type.
func (c *BFloat16) Fresh() Column { return &BFloat16{c.fresh()} }

// appendNumber adds the nearest value to a number in JSON's grammar, the even one if there are two. exact is as for
// ParseFloat.
func (c *BFloat16) appendNumber(text []byte) (exact bool, err error) {
	v, exact, err := ParseFloat(text, 64)
	if err != nil {
		return exact, err
	}
	// The last place of v in BFloat16, of a subnormal too.
	_, exp := math.Frexp(v)
	unit := max(exp-1, -126) - 7
	scaled := math.Ldexp(v, -unit) // exact
	rounded := math.RoundToEven(scaled)
	if half := scaled - math.Trunc(scaled); math.Abs(half) == 0.5 {
		rounded = c.breakTie(text, v, scaled, rounded)
	}
	if rounded = math.Ldexp(rounded, unit); math.Abs(rounded) > maxBFloat16 {
		return exact, ErrRange
	}
	if l, _ := scanNumber(text); l.integral && rounded != v {
		exact = false
	}
	c.AppendBits(uint16(math.Float32bits(float32(math.Copysign(rounded, v))) >> 16))
	return exact, nil
}

// breakTie decides where v, the float64 next to the text, lies in the middle of two values: text may be a little above or
// below v.
func (c *BFloat16) breakTie(text []byte, v, scaled, even float64) float64 {
	var scratch [128]byte
	d, err := ParseDecimal(text, scratch[:])
	if err != nil {
		return even
	}
	switch d.compare(v) {
	case +1:
		return math.Copysign(math.Trunc(math.Abs(scaled))+1, v)
	case -1:
		return math.Trunc(scaled)
	}
	return even
}

// enoughDigits is more significant digits than any float64 has in decimal; what follows only says "a little more".
const enoughDigits = 800

// compare is the sign of |d| - |v|, exactly. Both are of about the same size.
func (d Decimal) compare(v float64) int {
	digits, exp := string(d.Digits), d.Exp10
	if len(digits) > enoughDigits {
		exp += len(digits) - enoughDigits - 1
		digits = digits[:enoughDigits] + "1"
	}
	num, _ := new(big.Int).SetString(digits, 10)
	r := new(big.Rat).SetInt(num)
	scale := new(big.Rat).SetInt(new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(max(exp, -exp))), nil))
	if exp < 0 {
		r.Quo(r, scale)
	} else {
		r.Mul(r, scale)
	}
	return r.Cmp(new(big.Rat).SetFloat64(math.Abs(v)))
}
