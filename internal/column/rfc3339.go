package column

import "fmt"

// stamp is a date and time of day as it is written, with the offset of its time zone.
type stamp struct {
	days                 int64 // since the epoch
	hour, minute, second int
	frac                 []byte // digits of the fraction of the second; aliases the text
	offset               int64  // seconds east of UTC
}

// seconds since the epoch, without the fraction.
func (s *stamp) seconds() int64 { return secondsOf(s.days, s.hour, s.minute, s.second) - s.offset }

// midnight reports whether the time of day is 00:00:00 exactly.
func (s *stamp) midnight() bool {
	for _, c := range s.frac {
		if c != '0' {
			return false
		}
	}
	return s.hour == 0 && s.minute == 0 && s.second == 0
}

func parseRFC3339(text []byte, precision int) (ticks int64, exact bool, err error) {
	s, err := parseStamp(text)
	if err != nil {
		return 0, false, err
	}
	return ticksOf(s.seconds(), s.frac, precision)
}

// parseStamp reads YYYY-MM-DDTHH:MM:SS[.fraction](Z|+HH:MM|-HH:MM). The zone is required: a time without one
// is a guess. Leap seconds (:60) are refused, since ClickHouse's time line has none.
func parseStamp(text []byte) (s stamp, err error) {
	if len(text) < 20 || text[10]|0x20 != 't' || text[13] != ':' || text[16] != ':' {
		return s, errRFC3339
	}
	days, ok := parseYMD(text[:10])
	s.days, s.hour, s.minute, s.second = days, number(text[11:13]), number(text[14:16]), number(text[17:19])
	if !ok || s.hour < 0 || s.hour > 23 || s.minute < 0 || s.minute > 59 || s.second < 0 || s.second > 59 {
		return s, errRFC3339
	}
	rest := text[19:]
	if rest[0] == '.' {
		s.frac = digitsAt(rest, 1)
		if rest = rest[1+len(s.frac):]; len(s.frac) == 0 {
			return s, errRFC3339
		}
	}
	if s.offset, ok = parseZone(rest); !ok {
		return s, errRFC3339
	}
	return s, nil
}

var (
	errRFC3339 = fmt.Errorf("%w: a time is written as 2006-01-02T15:04:05.999Z or with an offset like +01:00", ErrFormat)
	errDate    = fmt.Errorf("%w: a date is written as 2006-01-02, or as a time like 2006-01-02T15:04:05Z", ErrFormat)
	errClock   = fmt.Errorf("%w: a time is written as 15:04:05 or -115:04:05.999", ErrFormat)
)

// parseYMD reads YYYY-MM-DD in days since the epoch.
func parseYMD(s []byte) (days int64, ok bool) {
	if len(s) != 10 || s[4] != '-' || s[7] != '-' {
		return 0, false
	}
	year, month, day := number(s[0:4]), number(s[5:7]), number(s[8:10])
	if year < 0 || month < 1 || month > 12 || day < 1 || day > daysIn(year, month) {
		return 0, false
	}
	return daysSinceEpoch(year, month, day), true
}

// parseSpan reads [-]HH:MM:SS[.fraction] or with three digits of hours, as ClickHouse writes a Time.
func parseSpan(text []byte) (neg bool, seconds int64, frac []byte, ok bool) {
	if len(text) > 0 && text[0] == '-' {
		neg, text = true, text[1:]
	}
	hours := digitsAt(text, 0)
	rest := text[len(hours):]
	if len(hours) < 2 || len(hours) > 3 || len(rest) < 6 || rest[0] != ':' || rest[3] != ':' {
		return false, 0, nil, false
	}
	minute, second := number(rest[1:3]), number(rest[4:6])
	if minute < 0 || minute > 59 || second < 0 || second > 59 {
		return false, 0, nil, false
	}
	if rest = rest[6:]; len(rest) > 0 {
		frac = digitsAt(rest, min(1, len(rest)))
		if rest[0] != '.' || len(frac) == 0 || 1+len(frac) != len(rest) {
			return false, 0, nil, false
		}
	}
	return neg, secondsOf(0, number(hours), minute, second), frac, true
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
