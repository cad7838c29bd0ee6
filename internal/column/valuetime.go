package column

import (
	"strconv"
	"time"
)

// AppendValue appends the date of one row.
func (c *Date) AppendValue(dst []byte, row int) []byte { return appendDate(dst, int64(c.Row(row))) }

// AppendValue appends the date of one row.
func (c *Date32) AppendValue(dst []byte, row int) []byte { return appendDate(dst, int64(c.Row(row))) }

func appendDate(dst []byte, days int64) []byte {
	return time.Unix(days*86400, 0).UTC().AppendFormat(dst, `"2006-01-02"`)
}

// AppendValue appends the moment of one row in UTC.
func (c *DateTime) AppendValue(dst []byte, row int) []byte {
	return appendMomentValue(dst, int64(c.Row(row)), 0)
}

// AppendValue appends the moment of one row in UTC.
func (c *DateTime64) AppendValue(dst []byte, row int) []byte {
	return appendMomentValue(dst, c.Row(row), c.precision)
}

func appendMomentValue(dst []byte, ticks int64, precision int) []byte {
	seconds, part := ticks/pow10[precision], ticks%pow10[precision]
	if part < 0 {
		seconds, part = seconds-1, part+pow10[precision]
	}
	dst = time.Unix(seconds, 0).UTC().AppendFormat(dst, `"2006-01-02T15:04:05`)
	return append(appendPart(dst, part, precision), `Z"`...)
}

// appendPart appends the part of a second, given in ticks of 10^-precision seconds.
func appendPart(dst []byte, part int64, precision int) []byte {
	if precision == 0 {
		return dst
	}
	dst = append(dst, '.')
	for unit := pow10[precision-1]; unit > 0; unit /= 10 {
		dst = append(dst, '0'+byte(part/unit%10))
	}
	return dst
}

// AppendValue appends the time of one row, as ClickHouse writes it: [-]HH:MM:SS, or with three digits of hours.
func (c *Time) AppendValue(dst []byte, row int) []byte {
	return appendClock(dst, int64(c.Row(row)), 0)
}

// AppendValue appends the time of one row as that of Time, with decimal places.
func (c *Time64) AppendValue(dst []byte, row int) []byte {
	return appendClock(dst, c.Row(row), c.precision)
}

func appendClock(dst []byte, ticks int64, precision int) []byte {
	dst = append(dst, '"')
	if ticks < 0 {
		dst, ticks = append(dst, '-'), -ticks
	}
	seconds, part := ticks/pow10[precision], ticks%pow10[precision]
	for i, n := range [...]int64{seconds / 3600, seconds / 60 % 60, seconds % 60} {
		if i > 0 {
			dst = append(dst, ':')
		}
		if n < 10 {
			dst = append(dst, '0')
		}
		dst = strconv.AppendInt(dst, n, 10)
	}
	return append(appendPart(dst, part, precision), '"')
}
