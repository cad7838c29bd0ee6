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
	rounded, tie := roundBFloat16(v)
	if tie {
		rounded = breakTie(text, v, rounded)
	}
	if math.Abs(rounded) > maxBFloat16 {
		return exact, ErrRange
	}
	if rounded != v && isIntegral(text) {
		exact = false
	}
	c.AppendBits(uint16(math.Float32bits(float32(rounded)) >> 16))
	return exact, nil
}

// roundBFloat16 is the nearest BFloat16 to v, the even one if v lies in the middle of two, and says whether it does.
func roundBFloat16(v float64) (rounded float64, tie bool) {
	const below = 52 - 7 // bits of mantissa that BFloat16 has not
	bits, half := math.Float64bits(v), uint64(1)<<(below-1)
	if math.Abs(v) >= 0x1p-126 || v == 0 {
		up := bits + half - 1 + bits>>below&1
		return math.Float64frombits(up >> below << below), bits&(1<<below-1) == half
	}
	scaled := math.Ldexp(v, 133) // subnormals are multiples of 2^-133
	rounded = math.RoundToEven(scaled)
	return math.Copysign(math.Ldexp(rounded, -133), v), math.Abs(scaled-math.Trunc(scaled)) == 0.5
}

// isIntegral reports whether a number is written without fraction and exponent.
func isIntegral(text []byte) bool {
	for _, c := range text {
		if c == '.' || c|0x20 == 'e' {
			return false
		}
	}
	return true
}

// breakTie decides where v, the float64 next to the text, lies in the middle of two values: text may be a little more or
// less than v, and even, which is one of the two, may not be the nearer.
func breakTie(text []byte, v, even float64) float64 {
	var scratch [128]byte
	d, err := ParseDecimal(text, scratch[:])
	if err != nil {
		return even
	}
	more, further := d.compare(v), math.Abs(even) > math.Abs(v)
	if more > 0 && !further || more < 0 && further {
		return v + (v - even) // the other one
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
