package column

import (
	"errors"
	"fmt"
	"math/bits"
)

// What can be wrong with a value's text. Errors of the parsers wrap one of these.
var (
	// ErrRange: the value is well written but the type cannot hold it.
	ErrRange = errors.New("out of range")
	// ErrFormat: the text is not written as the type or format wants it.
	ErrFormat = errors.New("bad format")
	// ErrFraction: a number with a fraction where an integer is wanted.
	ErrFraction = errors.New("not an integer")
	// ErrKind: a JSON value of a kind that the type does not take.
	ErrKind = errors.New("wrong kind of value")
)

var errNotANumber = fmt.Errorf("%w: not a number", ErrFormat)

// Decimal is an exact decimal number: digits * 10^Exp10, negative if Neg. The zero value is 0.
type Decimal struct {
	Neg    bool
	Digits []byte // without leading or trailing zeros; empty for 0; may alias the text
	Exp10  int
}

// maxExp10 is where exponents are clamped: far beyond any type, and far from overflowing an int.
const maxExp10 = 1 << 40

// ParseDecimal reads a number written by JSON's grammar: -?int frac? exp?. Digits that do not lie in one
// run of text are gathered in scratch.
func ParseDecimal(text, scratch []byte) (Decimal, error) {
	var d Decimal
	i := 0
	if len(text) > 0 && text[0] == '-' {
		d.Neg, i = true, 1
	}
	whole := digitsAt(text, i)
	i += len(whole)
	if len(whole) == 0 || len(whole) > 1 && whole[0] == '0' {
		return Decimal{}, errNotANumber
	}
	var frac []byte
	if i < len(text) && text[i] == '.' {
		frac = digitsAt(text, i+1)
		i += 1 + len(frac)
		if len(frac) == 0 {
			return Decimal{}, errNotANumber
		}
	}
	exp, ok := exponentAt(text, i)
	if !ok {
		return Decimal{}, errNotANumber
	}
	d.Digits, d.Exp10 = whole, exp-len(frac)
	if len(frac) > 0 {
		d.Digits = append(append(scratch[:0], whole...), frac...)
	}
	d.trim()
	return d, nil
}

// trim removes zeros at both ends.
func (d *Decimal) trim() {
	for len(d.Digits) > 0 && d.Digits[0] == '0' {
		d.Digits = d.Digits[1:]
	}
	for n := len(d.Digits); n > 0 && d.Digits[n-1] == '0'; n-- {
		d.Digits = d.Digits[:n-1]
		d.Exp10++
	}
	if len(d.Digits) == 0 {
		*d = Decimal{}
	}
}

func digitsAt(text []byte, i int) []byte {
	j := i
	for j < len(text) && '0' <= text[j] && text[j] <= '9' {
		j++
	}
	return text[i:j]
}

// exponentAt reads an exponent, or nothing, up to the end of text.
func exponentAt(text []byte, i int) (exp int, ok bool) {
	if i == len(text) {
		return 0, true
	}
	if text[i]|0x20 != 'e' {
		return 0, false
	}
	i++
	neg := i < len(text) && text[i] == '-'
	if i < len(text) && (text[i] == '-' || text[i] == '+') {
		i++
	}
	digits := digitsAt(text, i)
	if len(digits) == 0 || i+len(digits) != len(text) {
		return 0, false
	}
	for _, c := range digits {
		exp = min(10*exp+int(c-'0'), maxExp10)
	}
	if neg {
		exp = -exp
	}
	return exp, true
}

// maxDigits is the number of decimal digits that no 64-bit integer exceeds.
const maxDigits = 20

// Scaled is |d| * 10^shift cut to an integer. exact is false if digits other than zero were cut;
// err is ErrRange if the integer does not fit 64 bits.
func (d Decimal) Scaled(shift int) (mag uint64, exact bool, err error) {
	zeros := d.Exp10 + shift
	digits, exact := d.Digits, true
	if zeros < 0 {
		keep := max(0, len(digits)+zeros)
		exact = keep == len(digits)
		digits, zeros = digits[:keep], 0
	}
	if len(digits) == 0 {
		return 0, exact, nil
	}
	if len(digits)+zeros > maxDigits {
		return 0, exact, ErrRange
	}
	for i := range len(digits) + zeros {
		var digit uint64
		if i < len(digits) {
			digit = uint64(digits[i] - '0')
		}
		hi, lo := bits.Mul64(mag, 10)
		sum, carry := bits.Add64(lo, digit, 0)
		if hi != 0 || carry != 0 {
			return 0, exact, ErrRange
		}
		mag = sum
	}
	return mag, exact, nil
}

// integer is d as sign and magnitude; a fraction is ErrFraction. -0 is 0.
func (d Decimal) integer() (neg bool, mag uint64, err error) {
	if len(d.Digits) > 0 && d.Exp10 < 0 {
		return false, 0, ErrFraction
	}
	mag, _, err = d.Scaled(0)
	return d.Neg && mag != 0, mag, err
}

// Floor is the largest integer that is not above d * 10^shift. exact is false if d was above it; err is
// ErrRange if it does not fit an int64.
func (d Decimal) Floor(shift int) (v int64, exact bool, err error) {
	mag, exact, err := d.Scaled(shift)
	if err != nil {
		return 0, exact, err
	}
	if d.Neg && !exact {
		mag++
	}
	v, err = signed(d.Neg, mag)
	return v, exact, err
}

func signed(neg bool, mag uint64) (int64, error) {
	switch {
	case !neg && mag < 1<<63:
		return int64(mag), nil
	case neg && mag <= 1<<63:
		return int64(-mag), nil
	}
	return 0, ErrRange
}

// ParseInt reads an integer of the given number of bits from a number in JSON's grammar. It is exact:
// the value never passes through a float. "1.0" and "1e3" are integers, "1.5" is ErrFraction.
func ParseInt(text []byte, bitSize int) (int64, error) {
	neg, mag, err := parseInteger(text)
	if err != nil {
		return 0, err
	}
	v, err := signed(neg, mag)
	if err != nil {
		return 0, err
	}
	if shift := 64 - bitSize; v<<shift>>shift != v {
		return 0, ErrRange
	}
	return v, nil
}

// ParseUint is ParseInt for integers without a sign; "-0" is 0, other negative numbers are ErrRange.
func ParseUint(text []byte, bitSize int) (uint64, error) {
	neg, mag, err := parseInteger(text)
	if err != nil {
		return 0, err
	}
	if neg && mag != 0 || bitSize < 64 && mag>>bitSize != 0 {
		return 0, ErrRange
	}
	return mag, nil
}

// parseInteger reads an integer as sign and magnitude.
func parseInteger(text []byte) (neg bool, mag uint64, err error) {
	if neg, mag, ok := shortInt(text); ok {
		return neg, mag, nil
	}
	var scratch [64]byte
	d, err := ParseDecimal(text, scratch[:])
	if err != nil {
		return false, 0, err
	}
	return d.integer()
}

// shortInt is the fast way for what nearly all integers look like: up to 19 digits, perhaps a minus before them.
func shortInt(text []byte) (neg bool, mag uint64, ok bool) {
	i := 0
	if len(text) > 0 && text[0] == '-' {
		neg, i = true, 1
	}
	n := len(text) - i
	if n == 0 || n > mantDigits || text[i] == '0' && n > 1 {
		return false, 0, false
	}
	for _, c := range text[i:] {
		d := c - '0'
		if d > 9 {
			return false, 0, false
		}
		mag = 10*mag + uint64(d)
	}
	return neg, mag, true
}
