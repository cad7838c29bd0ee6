package json

import (
	"math"

	"github.com/waybill-data/waybill/internal/column"
)

// maxShort is the number of digits that always fit an int64.
const maxShort = 18

// scanInteger appends the integer at i.
func (d *Decoder) scanInteger(text []byte, o *op, i int) int {
	start := i
	neg := text[i] == '-'
	if neg {
		i++
	}
	first, v := i, uint64(0)
	for i < len(text) && text[i]-'0' <= 9 {
		v = 10*v + uint64(text[i]-'0')
		i++
	}
	n := i - first
	if n == 0 || n > maxShort || text[first] == '0' && n > 1 || i < len(text) && (text[i] == '.' || text[i]|0x20 == 'e') {
		return d.scanLong(text, o, start)
	}
	if neg {
		v = -v
	}
	if !o.integer.AppendWord(v, neg) {
		return -1
	}
	return i
}

// scanLong appends the number at i, whatever it looks like, or the string that holds one.
func (d *Decoder) scanLong(text []byte, o *op, i int) int {
	if text[i] == '"' {
		return d.scanOther(text, o, i, 0)
	}
	next := number(text, i)
	if next < 0 {
		return -1
	}
	exact, err := column.AppendNumber(o.col, text[i:next])
	if err != nil {
		return -1
	}
	if !exact {
		d.rounded++
	}
	return next
}

// exactMantissa and exactPower: integers up to 2^53 and these powers of ten are floats, so one division rounds once.
const exactMantissa = 1 << 53

var exactPower = [...]float64{1, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22}

// scanFloat appends the number at i to a Float64 column.
func (d *Decoder) scanFloat(text []byte, o *op, i int) int {
	start := i
	neg := text[i] == '-'
	if neg {
		i++
	}
	whole, v := i, uint64(0)
	for i < len(text) && text[i]-'0' <= 9 {
		v = 10*v + uint64(text[i]-'0')
		i++
	}
	digits, frac := i-whole, 0
	if digits == 0 || text[whole] == '0' && digits > 1 {
		return d.scanLong(text, o, start)
	}
	if i < len(text) && text[i] == '.' {
		point := i
		for i++; i < len(text) && text[i]-'0' <= 9; i++ {
			v = 10*v + uint64(text[i]-'0')
		}
		if frac = i - point - 1; frac == 0 {
			return -1
		}
	}
	if digits+frac > maxShort || v > exactMantissa || i < len(text) && text[i]|0x20 == 'e' {
		return d.scanLong(text, o, start)
	}
	f := float64(v) / exactPower[frac]
	if neg {
		f = math.Copysign(f, -1)
	}
	o.float.Append(f)
	return i
}
