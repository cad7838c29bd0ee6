package oracle

import (
	"math"
	"math/big"
	"regexp"
	"strconv"
	"strings"
)

// integers are the integer types and their bits, negative for those with a sign.
var integers = map[string]int{
	"UInt8": 8, "UInt16": 16, "UInt32": 32, "UInt64": 64, "UInt128": 128, "UInt256": 256,
	"Int8": -8, "Int16": -16, "Int32": -32, "Int64": -64, "Int128": -128, "Int256": -256,
}

var numberForm = regexp.MustCompile(`\A-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?\z`)

// numberText is the text of the JSON number that n is or, if strings are fine, holds.
func numberText(n node, orString bool) (text, code string) {
	switch {
	case n.kind == '0':
		return string(n.raw), ""
	case n.kind != '"' || !orString:
		return "", "wrong_type"
	case !numberForm.MatchString(n.text):
		return "", "bad_format"
	}
	return n.text, ""
}

// integer is an exact integer. From 64 bits on it may come in a string: JavaScript would maim it otherwise.
func (k *converter) integer(t Type, n node) (text, code string) {
	size := integers[t.Name]
	number, code := numberText(n, max(size, -size) >= 64)
	if code != "" {
		return "", code
	}
	v, exact, fits := scaled(number, 0)
	switch low, high := bounds(size); {
	case !exact:
		return "", "not_an_integer"
	case !fits || v.Cmp(low) < 0 || v.Cmp(high) > 0:
		return "", "out_of_range"
	}
	return v.String(), ""
}

// bounds are the least and the greatest integer of so many bits, negative for those with a sign.
func bounds(size int) (low, high *big.Int) {
	power := func(n int) *big.Int { return new(big.Int).Lsh(big.NewInt(1), uint(n)) }
	one := big.NewInt(1)
	if size > 0 {
		return new(big.Int), new(big.Int).Sub(power(size), one)
	}
	half := power(-size - 1)
	return new(big.Int).Neg(half), new(big.Int).Sub(half, one)
}

// maxDigits is more than any type can hold.
const maxDigits = 200

// scaled is the number times 10^shift, cut towards negative infinity; fits is false if it has more than
// maxDigits digits, far beyond every type.
func scaled(number string, shift int64) (v *big.Int, exact, fits bool) {
	digits, exp, negative := decimal(number)
	if digits == "" {
		return new(big.Int), true, true
	}
	zeros := exp.Add(exp, big.NewInt(shift))
	length := new(big.Int).Add(zeros, big.NewInt(int64(len(digits))))
	exact = zeros.Sign() >= 0
	switch {
	case length.Cmp(big.NewInt(maxDigits)) > 0:
		return nil, exact, false
	case length.Sign() <= 0: // smaller than one
		digits = "0"
	case exact:
		digits += strings.Repeat("0", int(zeros.Int64()))
	default:
		digits = digits[:length.Int64()]
	}
	v, _ = new(big.Int).SetString(digits, 10)
	if negative {
		v.Neg(v)
		if !exact {
			v.Sub(v, big.NewInt(1))
		}
	}
	return v, exact, true
}

// decimal takes a number apart: digits without zeros at either end (none for 0), times 10^exp.
func decimal(number string) (digits string, exp *big.Int, negative bool) {
	number, negative = strings.CutPrefix(number, "-")
	mantissa, exponent, _ := strings.Cut(strings.ToLower(number), "e")
	exp = new(big.Int)
	if exponent != "" {
		exp.SetString(exponent, 10)
	}
	whole, frac, _ := strings.Cut(mantissa, ".")
	exp.Sub(exp, big.NewInt(int64(len(frac))))
	digits = strings.TrimRight(whole+frac, "0")
	exp.Add(exp, big.NewInt(int64(len(whole+frac)-len(digits))))
	return strings.TrimLeft(digits, "0"), exp, negative
}

// float is the bits of the nearest float.
func (k *converter) float(t Type, n node) (text, code string) {
	if n.kind != '0' {
		return "", "wrong_type"
	}
	size := 64
	if t.Name == "Float32" {
		size = 32
	}
	v, err := strconv.ParseFloat(string(n.raw), size)
	if err != nil {
		return "", "out_of_range"
	}
	k.countRounding(string(n.raw), v)
	if size == 32 {
		return strconv.FormatUint(uint64(math.Float32bits(float32(v))), 10), ""
	}
	return strconv.FormatUint(math.Float64bits(v), 10), ""
}
