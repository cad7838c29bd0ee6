package column

import (
	"fmt"
	"math"
	"math/bits"
)

// DateTime64's range by ClickHouse's documentation, in seconds: 1900-01-01 up to, not including,
// 2300-01-01. At precision 9 an int64 ends earlier, in 2262.
const (
	minSeconds = -2208988800
	endSeconds = 10413792000
)

var pow10 = [...]int64{1, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9}

// InDateTime64Range reports whether ClickHouse can hold the tick count at the precision.
func InDateTime64Range(ticks int64, precision int) bool {
	if ticks < minSeconds*pow10[precision] { // at precision 9: -2.2e18, fits
		return false
	}
	return endSeconds > math.MaxInt64/pow10[precision] || ticks < endSeconds*pow10[precision]
}

// ParseTime reads a moment in ticks of 10^-precision seconds. Digits beyond the precision are cut
// (towards the past) and exact is false if they were not all zero. Errors wrap ErrFormat or ErrRange;
// the range is DateTime64's.
func ParseTime(text []byte, f TimeFormat, precision int) (ticks int64, exact bool, err error) {
	switch f.kind {
	case rfc3339Format:
		ticks, exact, err = parseRFC3339(text, precision)
	case layoutFormat:
		ticks, exact, err = f.layout.moment(text, precision)
	default:
		ticks, exact, err = parseUnix(text, precision-f.decimals())
	}
	if err == nil && !InDateTime64Range(ticks, precision) {
		err = fmt.Errorf("%w: DateTime64(%d) does not reach that far", ErrRange, precision)
	}
	return ticks, exact, err
}

// parseUnix is a number times 10^shift, cut to an integer towards negative infinity.
func parseUnix(text []byte, shift int) (v int64, exact bool, err error) {
	if neg, mag, ok := shortInt(text); ok && !neg {
		if shift < 0 {
			unit := uint64(pow10[-shift])
			return int64(mag / unit), mag%unit == 0, nil
		}
		if hi, lo := bits.Mul64(mag, uint64(pow10[shift])); hi == 0 && lo <= math.MaxInt64 {
			return int64(lo), true, nil
		}
	}
	var scratch [64]byte
	d, err := ParseDecimal(text, scratch[:])
	if err != nil {
		return 0, false, err
	}
	return d.Floor(shift)
}

// ticksOf are seconds and the digits of a fraction in ticks of 10^-precision seconds.
func ticksOf(seconds int64, frac []byte, precision int) (ticks int64, exact bool, err error) {
	part, exact := parseFraction(frac, precision)
	limit := math.MaxInt64 / pow10[precision]
	if seconds > limit || seconds < -limit || seconds == limit && part > math.MaxInt64%pow10[precision] {
		return 0, exact, fmt.Errorf("%w: DateTime64(%d) does not reach that far", ErrRange, precision)
	}
	return seconds*pow10[precision] + part, exact, nil
}

// parseFraction turns the digits after the point into ticks.
func parseFraction(digits []byte, precision int) (ticks int64, exact bool) {
	exact = true
	for i := range max(len(digits), precision) {
		switch {
		case i >= precision:
			exact = exact && digits[i] == '0'
		case i < len(digits):
			ticks = 10*ticks + int64(digits[i]-'0')
		default:
			ticks *= 10
		}
	}
	return ticks, exact
}
