package column

import (
	"encoding/binary"
	"math/bits"
)

// limbs is an integer without a sign of up to 256 bits, the lowest 64 first.
type limbs [4]uint64

// mulAdd is v*m + a; false if that needs more than 256 bits.
func (v *limbs) mulAdd(m, a uint64) bool {
	carry := a
	for i := range v {
		hi, lo := bits.Mul64(v[i], m)
		var c uint64
		v[i], c = bits.Add64(lo, carry, 0)
		carry = hi + c // hi is at most 2^64-2
	}
	return carry == 0
}

// div10 divides v by ten and returns what remains.
func (v *limbs) div10() (rest uint64) {
	for i := len(v) - 1; i >= 0; i-- {
		v[i], rest = bits.Div64(rest, v[i], 10)
	}
	return rest
}

// bitLen is the number of bits without leading zeros.
func (v *limbs) bitLen() int {
	for i := len(v) - 1; i >= 0; i-- {
		if v[i] != 0 {
			return 64*i + bits.Len64(v[i])
		}
	}
	return 0
}

// isPowerOf2 reports whether v is 2^n.
func (v *limbs) isPowerOf2(n int) bool {
	ones := 0
	for _, l := range v {
		ones += bits.OnesCount64(l)
	}
	return ones == 1 && v.bitLen() == n+1
}

// less reports whether v is less than w.
func (v *limbs) less(w *limbs) bool {
	for i := len(v) - 1; i >= 0; i-- {
		if v[i] != w[i] {
			return v[i] < w[i]
		}
	}
	return false
}

// negate turns v into -v in two's complement.
func (v *limbs) negate() {
	carry := uint64(1)
	for i := range v {
		v[i], carry = bits.Add64(^v[i], 0, carry)
	}
}

// appendLimbs adds the low 1<<shift bytes of v.
func appendLimbs(b []byte, v *limbs, shift uint) []byte {
	if shift < 4 {
		return appendInteger(b, v[0], shift)
	}
	for i := range 1 << (shift - 3) {
		b = binary.LittleEndian.AppendUint64(b, v[i])
	}
	return b
}

// readLimbs is the value of 4 to 32 bytes, sign-extended if signed.
func readLimbs(wire []byte, signed bool) (v limbs) {
	var ext byte
	if signed && wire[len(wire)-1]&0x80 != 0 {
		ext = 0xff
	}
	var full [32]byte
	for i := range full {
		full[i] = ext
	}
	copy(full[:], wire)
	for i := range v {
		v[i] = binary.LittleEndian.Uint64(full[8*i:])
	}
	return v
}

// maxLimbDigits is the number of decimal digits that no 256-bit integer exceeds.
const maxLimbDigits = 78

// pow10u are the powers of ten that an uint64 holds.
var pow10u = func() (p [20]uint64) {
	p[0] = 1
	for i := 1; i < len(p); i++ {
		p[i] = 10 * p[i-1]
	}
	return p
}()

// limbs is |d| * 10^shift rounded to an integer, half to even. exact is false if it was rounded; err is ErrRange if the
// integer does not fit 256 bits.
func (d Decimal) limbs(shift int) (v limbs, exact bool, err error) {
	digits, zeros := d.Digits, d.Exp10+shift
	keep := len(digits) + min(zeros, 0)
	if keep+max(zeros, 0) > maxLimbDigits {
		return v, true, ErrRange
	}
	if keep < 0 {
		return v, false, nil // less than a tenth
	}
	for _, c := range digits[:keep] {
		if !v.mulAdd(10, uint64(c-'0')) {
			return v, true, ErrRange
		}
	}
	for range zeros {
		if !v.mulAdd(10, 0) {
			return v, true, ErrRange
		}
	}
	if keep == len(digits) {
		return v, true, nil
	}
	if roundsUp(digits[keep:], v[0]&1 != 0) && !v.mulAdd(1, 1) {
		return v, false, ErrRange
	}
	return v, false, nil
}

// roundsUp says whether what was cut, whose last digit is not 0, is more than half, or half with an odd number before it.
func roundsUp(cut []byte, odd bool) bool {
	if cut[0] != '5' || len(cut) > 1 {
		return cut[0] >= '5'
	}
	return odd
}
