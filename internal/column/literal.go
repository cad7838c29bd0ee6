package column

import (
	"math"
	"strconv"
	"unsafe"
)

// literal is a number of JSON's grammar read in one pass: mant * 10^exp, negative if neg.
type literal struct {
	neg      bool
	integral bool // neither a fraction nor an exponent was written
	cut      bool // more digits than an uint64 holds: mant is only the first of them
	mant     uint64
	exp      int
}

// mantDigits is how many decimal digits an uint64 holds whatever they are.
const mantDigits = 19

// scanNumber reads text, which must be a number and nothing else; false if it is not.
func scanNumber(text []byte) (l literal, ok bool) {
	i := 0
	if len(text) > 0 && text[0] == '-' {
		l.neg, i = true, 1
	}
	whole := i
	i = l.digits(text, i)
	if i == whole || i-whole > 1 && text[whole] == '0' {
		return l, false
	}
	if i == len(text) {
		l.integral = true
		return l, true
	}
	if text[i] == '.' {
		frac := i + 1
		i = l.digits(text, frac)
		if i == frac {
			return l, false
		}
		l.exp -= i - frac
	}
	exp, ok := exponentAt(text, i)
	l.exp += exp
	return l, ok
}

// digits adds the digits from i on to the mantissa and returns where they end.
func (l *literal) digits(text []byte, i int) int {
	mant := l.mant
	for ; i < len(text); i++ {
		d := text[i] - '0'
		if d > 9 {
			break
		}
		if mant >= math.MaxUint64/10-1 {
			l.cut = true
			continue
		}
		mant = 10*mant + uint64(d)
	}
	l.mant = mant
	return i
}

// floats64 are the powers of ten that a float64 holds exactly.
var floats64 = [...]float64{1, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16,
	1e17, 1e18, 1e19, 1e20, 1e21, 1e22}

// float64 is the nearest float64 where one multiplication or division of exact floats gives it, which is then rounded
// once, as it must be (Clinger's fast path).
func (l literal) float64() (v float64, ok bool) {
	if l.cut || l.mant >= 1<<53 || l.exp > 22 || l.exp < -22 {
		return 0, false
	}
	v = float64(l.mant)
	if l.exp < 0 {
		v /= floats64[-l.exp]
	} else {
		v *= floats64[l.exp]
	}
	if l.neg {
		v = -v
	}
	return v, true
}

// float32 is the nearest float32 where the nearest float64 tells it: unless that lies in the middle of two of them, where
// the digits that it lacks would decide. (The middle is a float64, so no other value can have been rounded across it.)
func (l literal) float32() (v float32, ok bool) {
	long, ok := l.float64()
	const below = 52 - 23 // bits of mantissa that float32 has not
	if !ok || math.Float64bits(long)&(1<<below-1) == 1<<(below-1) || math.Abs(long) < 0x1p-126 && long != 0 {
		return 0, false
	}
	v = float32(long)
	return v, !math.IsInf(float64(v), 0)
}

// ParseFloat reads a number in JSON's grammar as the nearest float of the given number of bits, 32 or 64. A number too
// large for it is ErrRange; one too small becomes 0, as everywhere; -0 keeps its sign. exact is false if an integer
// (written without fraction and exponent) is none that the float can hold.
func ParseFloat(text []byte, bitSize int) (v float64, exact bool, err error) {
	l, ok := scanNumber(text)
	if !ok {
		return 0, false, errNotANumber
	}
	if bitSize == 32 {
		var short float32
		short, ok = l.float32()
		v = float64(short)
	} else {
		v, ok = l.float64()
	}
	if ok {
		return v, !l.integral || isInteger(v, text, l), nil
	}
	v, err = strconv.ParseFloat(unsafe.String(unsafe.SliceData(text), len(text)), bitSize)
	if err != nil {
		return 0, false, ErrRange
	}
	return v, !l.integral || isInteger(v, text, l), nil
}

// isInteger reports whether v, a float made of the integer text, is that integer.
func isInteger(v float64, text []byte, l literal) bool {
	if !l.cut && math.Abs(v) < 1<<63 {
		return uint64(math.Abs(v)) == l.mant
	}
	var buf [330]byte
	return string(strconv.AppendFloat(buf[:0], v, 'f', 0, 64)) == string(text)
}
