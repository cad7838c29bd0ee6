package column

import (
	"encoding/binary"
	"math"
)

// Moments reads RFC 3339 as ParseTime does, only faster: most moments are in UTC and on the day of the one
// before. It belongs to one goroutine at a time.
type Moments struct {
	date  uint64 // the first 8 bytes of the day last read
	day   uint16 // the other two
	since int64  // seconds from the epoch to its start
}

// Ticks is ParseTime for text like 2026-11-22T14:44:47.123Z with up to nine digits of fraction; ok is false for
// everything else, and for what is out of range: ask ParseTime.
func (m *Moments) Ticks(text []byte, precision int) (ticks int64, exact, ok bool) {
	n := len(text)
	if n < 20 || n > 30 || text[10]|0x20 != 't' || text[13] != ':' || text[16] != ':' || text[n-1]|0x20 != 'z' {
		return 0, false, false
	}
	hour, minute, second := twoDigits(text[11], text[12]), twoDigits(text[14], text[15]), twoDigits(text[17], text[18])
	if hour > 23 || minute > 59 || second > 59 || !m.sameDay(text) {
		return 0, false, false
	}
	part, exact, ok := m.fraction(text[19:n-1], precision)
	seconds := m.since + int64(hour*3600+minute*60+second)
	if limit := math.MaxInt64/pow10[precision] - 1; !ok || seconds > limit || seconds < -limit {
		return 0, false, false
	}
	ticks = seconds*pow10[precision] + part
	return ticks, exact, InDateTime64Range(ticks, precision)
}

// twoDigits is a number of two digits, more than any if they are not digits.
func twoDigits(a, b byte) uint {
	a, b = a-'0', b-'0'
	if a > 9 || b > 9 {
		return 100
	}
	return 10*uint(a) + uint(b)
}

// sameDay makes the day that text begins with the day last read; false if it is none.
func (m *Moments) sameDay(text []byte) bool {
	date, day := binary.LittleEndian.Uint64(text), binary.LittleEndian.Uint16(text[8:])
	if date == m.date && day == m.day {
		return true
	}
	days, ok := parseYMD(text[:10])
	if ok {
		m.date, m.day, m.since = date, day, secondsOf(days, 0, 0, 0)
	}
	return ok
}

// fraction reads ".123", or nothing, in ticks; exact is false if digits other than 0 were cut.
func (m *Moments) fraction(text []byte, precision int) (ticks int64, exact, ok bool) {
	if len(text) == 0 {
		return 0, true, true
	}
	digits := text[1:]
	if text[0] != '.' || len(digits) == 0 || len(digits) > 9 {
		return 0, false, false
	}
	for _, c := range digits {
		if c -= '0'; c > 9 {
			return 0, false, false
		}
		ticks = 10*ticks + int64(c)
	}
	if cut := len(digits) - precision; cut > 0 {
		return ticks / pow10[cut], ticks%pow10[cut] == 0, true
	}
	return ticks * pow10[precision-len(digits)], true, true
}
