package json

import (
	"math"

	"github.com/waybill-data/waybill/internal/column"
)

// maxShort is the number of digits that always fit an int64.
const maxShort = 18

// scanInteger appends the integer at i.
func (d *Decoder) scanInteger(t input, o *op, i int) int {
	start := i
	neg := t.at(i) == '-'
	if neg {
		i++
	}
	first, v := i, uint64(0)
	for c := t.at(i) - '0'; c <= 9; c = t.at(i) - '0' {
		v = 10*v + uint64(c)
		i++
	}
	n := i - first
	if n == 0 || n > maxShort || t.at(first) == '0' && n > 1 || t.at(i) == '.' || t.at(i)|0x20 == 'e' {
		return d.scanLong(t, o, start)
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
func (d *Decoder) scanLong(t input, o *op, i int) int {
	if t.at(i) == '"' {
		return d.scanOther(t, o, i, 0)
	}
	next := number(t, i)
	if next < 0 {
		return -1
	}
	exact, err := column.AppendNumber(o.col, t.from(i, next))
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

// exactMantissa32 and exactPower32 are likewise for floats of 32 bits.
const exactMantissa32 = 1 << 24

var exactPower32 = [...]float32{1, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10}

// scanFloat appends the number at i to a Float64 or Float32 column.
func (d *Decoder) scanFloat(t input, o *op, i int) int {
	start := i
	neg := t.at(i) == '-'
	if neg {
		i++
	}
	whole, v := i, uint64(0)
	for c := t.at(i) - '0'; c <= 9; c = t.at(i) - '0' {
		v = 10*v + uint64(c)
		i++
	}
	digits, frac := i-whole, 0
	if digits == 0 || t.at(whole) == '0' && digits > 1 {
		return d.scanLong(t, o, start)
	}
	if t.at(i) == '.' {
		point := i
		i++
		for c := t.at(i) - '0'; c <= 9; c = t.at(i) - '0' {
			v = 10*v + uint64(c)
			i++
		}
		if frac = i - point - 1; frac == 0 {
			return -1
		}
	}
	if digits+frac > maxShort || v > exactMantissa || t.at(i)|0x20 == 'e' {
		return d.scanLong(t, o, start)
	}
	if o.float == nil {
		if v > exactMantissa32 || frac >= len(exactPower32) {
			return d.scanLong(t, o, start)
		}
		f := float32(v) / exactPower32[frac]
		if neg {
			f = float32(math.Copysign(float64(f), -1))
		}
		o.float32.Append(f)
		return i
	}
	f := float64(v) / exactPower[frac]
	if neg {
		f = math.Copysign(f, -1)
	}
	o.float.Append(f)
	return i
}

// scanUnix appends the moment at i, written as a number of units since the Unix epoch.
func (d *Decoder) scanUnix(t input, o *op, i, depth int) int {
	first, v := i, int64(0)
	for c := t.at(i) - '0'; c <= 9; c = t.at(i) - '0' {
		v = 10*v + int64(c)
		i++
	}
	n := i - first
	if n == 0 || n > maxShort || v > o.limit || t.at(first) == '0' && n > 1 || t.at(i) == '.' || t.at(i)|0x20 == 'e' {
		return d.scanOther(t, o, first, depth)
	}
	v *= o.ticks
	if !column.InDateTime64Range(v, o.time.Precision()) {
		return -1
	}
	o.time.Append(v)
	return i
}
