package column

import (
	"fmt"
	"math"
)

// TimeFormat says how a moment is written.
type TimeFormat uint8

// The formats of moments.
const (
	RFC3339   TimeFormat = iota // text with a time zone: 2026-11-22T14:44:47.123Z
	UnixSec                     // number of seconds since the Unix epoch, fractions allowed
	UnixMilli                   // number of milliseconds
	UnixMicro                   // number of microseconds
	UnixNano                    // number of nanoseconds
)

var timeFormats = map[string]TimeFormat{
	"": RFC3339, "rfc3339": RFC3339, "unix": UnixSec, "unix_ms": UnixMilli, "unix_us": UnixMicro, "unix_ns": UnixNano,
}

// ParseTimeFormat reads the name of a format as pipeline files write it; "" is rfc3339.
func ParseTimeFormat(name string) (TimeFormat, error) {
	f, ok := timeFormats[name]
	if !ok {
		return 0, fmt.Errorf("format %q is not one of rfc3339, unix, unix_ms, unix_us, unix_ns", name)
	}
	return f, nil
}

// decimals is the number of decimal places of a second in one unit of a Unix format.
func (f TimeFormat) decimals() int { return 3 * int(f-UnixSec) }

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
	if f == RFC3339 {
		ticks, exact, err = parseRFC3339(text, precision)
	} else {
		ticks, exact, err = parseUnix(text, precision-f.decimals())
	}
	if err == nil && !InDateTime64Range(ticks, precision) {
		err = fmt.Errorf("%w: DateTime64(%d) does not reach that far", ErrRange, precision)
	}
	return ticks, exact, err
}

func parseUnix(text []byte, shift int) (int64, bool, error) {
	var scratch [64]byte
	d, err := ParseDecimal(text, scratch[:])
	if err != nil {
		return 0, false, err
	}
	return d.Floor(shift)
}

// parseRFC3339 reads YYYY-MM-DDTHH:MM:SS[.fraction](Z|+HH:MM|-HH:MM). The zone is required: a time
// without one is a guess. Leap seconds (:60) are refused, since ClickHouse's time line has none.
func parseRFC3339(s []byte, precision int) (ticks int64, exact bool, err error) {
	seconds, rest, ok := parseClock(s)
	if !ok {
		return 0, false, badRFC3339()
	}
	frac := []byte(nil)
	if len(rest) > 0 && rest[0] == '.' {
		frac = digitsAt(rest, 1)
		if rest = rest[1+len(frac):]; len(frac) == 0 {
			return 0, false, badRFC3339()
		}
	}
	shift, ok := parseZone(rest)
	if !ok {
		return 0, false, badRFC3339()
	}
	part, exact := parseFraction(frac, precision)
	seconds -= shift
	limit := math.MaxInt64 / pow10[precision]
	if seconds > limit || seconds < -limit || seconds == limit && part > math.MaxInt64%pow10[precision] {
		return 0, exact, fmt.Errorf("%w: DateTime64(%d) does not reach that far", ErrRange, precision)
	}
	return seconds*pow10[precision] + part, exact, nil
}

func badRFC3339() error {
	return fmt.Errorf("%w: a time is written as 2006-01-02T15:04:05.999Z or with an offset like +01:00", ErrFormat)
}

// parseClock reads the 19 characters of date and time as seconds since the epoch, as if they were UTC.
func parseClock(s []byte) (seconds int64, rest []byte, ok bool) {
	if len(s) < 20 || s[4] != '-' || s[7] != '-' || s[10]|0x20 != 't' || s[13] != ':' || s[16] != ':' {
		return 0, nil, false
	}
	year, month, day := number(s[0:4]), number(s[5:7]), number(s[8:10])
	hour, minute, second := number(s[11:13]), number(s[14:16]), number(s[17:19])
	if year < 0 || month < 1 || month > 12 || day < 1 || day > daysIn(year, month) ||
		hour < 0 || hour > 23 || minute < 0 || minute > 59 || second < 0 || second > 59 {
		return 0, nil, false
	}
	return (daysSinceEpoch(year, month, day)*24+int64(hour))*3600 + int64(minute)*60 + int64(second), s[19:], true
}

// number reads decimal digits; -1 if there is anything else.
func number(s []byte) int {
	n := 0
	for _, c := range s {
		if c < '0' || c > '9' {
			return -1
		}
		n = 10*n + int(c-'0')
	}
	return n
}

func daysIn(year, month int) int {
	switch month {
	case 4, 6, 9, 11:
		return 30
	case 2:
		if year%4 == 0 && (year%100 != 0 || year%400 == 0) {
			return 29
		}
		return 28
	}
	return 31
}

// daysSinceEpoch counts days of the proleptic Gregorian calendar. Years start in March here, so that
// the leap day is the last one.
func daysSinceEpoch(year, month, day int) int64 {
	if month <= 2 {
		year--
		month += 12
	}
	era := int64(year) + 400 // keeps the divisions below positive from year 0 on
	days := era*365 + era/4 - era/100 + era/400
	days += int64((153*(month-3)+2)/5 + day - 1)
	const march1st0400BeforeEpoch = 400*365 + 97 + 719468
	return days - march1st0400BeforeEpoch
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

// parseZone reads Z or +HH:MM or -HH:MM in seconds east of UTC.
func parseZone(s []byte) (seconds int64, ok bool) {
	if len(s) == 1 && s[0]|0x20 == 'z' {
		return 0, true
	}
	if len(s) != 6 || s[0] != '+' && s[0] != '-' || s[3] != ':' {
		return 0, false
	}
	hour, minute := number(s[1:3]), number(s[4:6])
	if hour < 0 || hour > 23 || minute < 0 || minute > 59 {
		return 0, false
	}
	seconds = int64(hour*3600 + minute*60)
	if s[0] == '-' {
		seconds = -seconds
	}
	return seconds, true
}
