package column

import (
	"fmt"
	"math"
)

// isTime reports whether a column's values are written in a TimeFormat.
func isTime(c Column) bool {
	switch c.(type) {
	case *DateTime, *DateTime64, *Date, *Date32, *Time, *Time64:
		return true
	}
	return false
}

// AppendTime appends to a column of moments, dates or times. exact is false if something was cut: digits beyond the
// precision (towards the past; see ParseTime), or the time of day where only the date is kept. A date is taken as it is
// written, whatever the offset beside it; of a number it is the date in UTC. In rfc3339 a date may also be written alone
// (2006-01-02), and a Time is [-]HH:MM:SS[.fraction]; a number is a Time's length in seconds (or milliseconds and so on).
// On an error, which wraps ErrFormat or ErrRange, nothing is appended.
func AppendTime(c Column, text []byte, f TimeFormat) (exact bool, err error) {
	switch c := c.(type) {
	case *DateTime64:
		ticks, exact, err := ParseTime(text, f, c.precision)
		if err == nil {
			c.Append(ticks)
		}
		return exact, err
	case *DateTime:
		seconds, exact, err := ParseTime(text, f, 0)
		if err == nil && (seconds < 0 || seconds > math.MaxUint32) {
			err = fmt.Errorf("%w: DateTime does not reach that far", ErrRange)
		}
		if err == nil {
			c.Append(uint32(seconds))
		}
		return exact, err
	case *Date:
		days, exact, err := parseDate(text, f)
		if err == nil && (days < 0 || days > math.MaxUint16) {
			err = fmt.Errorf("%w: Date reaches from 1970-01-01 to 2149-06-06", ErrRange)
		}
		if err == nil {
			c.Append(uint16(days))
		}
		return exact, err
	case *Date32:
		days, exact, err := parseDate(text, f)
		if err == nil && (days < minDays || days > maxDays) {
			err = fmt.Errorf("%w: Date32 reaches from 1900-01-01 to 2299-12-31", ErrRange)
		}
		if err == nil {
			c.Append(int32(days))
		}
		return exact, err
	case *Time:
		seconds, exact, err := parseClock(text, f, 0)
		if err == nil {
			c.Append(int32(seconds))
		}
		return exact, err
	}
	t := c.(*Time64)
	ticks, exact, err := parseClock(text, f, t.precision)
	if err == nil {
		t.Append(ticks)
	}
	return exact, err
}

// parseDate reads a date in days since the epoch; exact is false if a time of day other than midnight was cut.
func parseDate(text []byte, f TimeFormat) (days int64, exact bool, err error) {
	switch {
	case f.isUnix():
		seconds, exact, err := parseUnix(text, -f.decimals())
		days = floorDiv(seconds, 86400)
		return days, exact && days*86400 == seconds, err
	case f.kind == layoutFormat:
		s, err := f.layout.parse(text)
		return s.days, s.midnight(), err
	}
	if len(text) == 10 {
		days, ok := parseYMD(text)
		if !ok {
			return 0, false, errDate
		}
		return days, true, nil
	}
	s, err := parseStamp(text)
	if err != nil {
		return 0, false, errDate
	}
	return s.days, s.midnight(), nil
}

func floorDiv(a, b int64) int64 {
	q := a / b
	if a%b < 0 {
		q--
	}
	return q
}

// parseClock reads a Time or Time64 in ticks of 10^-precision seconds.
func parseClock(text []byte, f TimeFormat, precision int) (ticks int64, exact bool, err error) {
	if f.isUnix() {
		ticks, exact, err = parseUnix(text, precision-f.decimals())
	} else {
		ticks, exact, err = parseWritten(text, f, precision)
	}
	unit := pow10[precision]
	if limit := maxClock*unit + unit - 1; err == nil && (ticks > limit || ticks < -limit) {
		err = fmt.Errorf("%w: a time reaches from -999:59:59 to 999:59:59", ErrRange)
	}
	return ticks, exact, err
}

// parseWritten reads a Time in digits and colons, or by a layout.
func parseWritten(text []byte, f TimeFormat, precision int) (ticks int64, exact bool, err error) {
	var (
		neg     bool
		seconds int64
		frac    []byte
	)
	if f.kind == layoutFormat {
		s, err := f.layout.parse(text)
		if err != nil {
			return 0, false, err
		}
		seconds, frac = secondsOf(0, s.hour, s.minute, s.second), s.frac
	} else {
		var ok bool
		if neg, seconds, frac, ok = parseSpan(text); !ok {
			return 0, false, errClock
		}
	}
	ticks, exact, err = ticksOf(seconds, frac, precision)
	if neg {
		ticks = -ticks
		if !exact {
			ticks-- // towards the past
		}
	}
	return ticks, exact, err
}
