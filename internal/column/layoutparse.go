package column

import (
	"fmt"
	"time"
)

// reading is what the directives of a layout have read of one text; -1 where there is none.
type reading struct {
	year, month, day, yearDay int
	hour, hour12, half        int // half of the day: 0 is AM
	minute, second, weekday   int
	frac                      []byte
	offset                    int64
}

// moment reads a text in ticks of 10^-precision seconds.
func (l *layout) moment(text []byte, precision int) (ticks int64, exact bool, err error) {
	s, err := l.parse(text)
	if err != nil {
		return 0, false, err
	}
	seconds := s.seconds()
	if l.zone != nil {
		if seconds, err = localSeconds(seconds, l.zone); err != nil {
			return 0, false, err
		}
	}
	return ticksOf(seconds, s.frac, precision)
}

// localSeconds is the moment at which clocks in the zone show what they show in UTC at the given seconds since the epoch.
// A time that clocks skip or show twice, when they are put forward or back, is refused: it names no moment, or two.
func localSeconds(shown int64, zone *time.Location) (int64, error) {
	const day = 86400
	before, after := shown-offsetAt(shown-day, zone), shown-offsetAt(shown+day, zone)
	if before == after {
		return before, nil
	}
	first := before+offsetAt(before, zone) == shown
	second := after+offsetAt(after, zone) == shown
	switch {
	case first && second:
		return 0, fmt.Errorf("%w: clocks in %s show that time twice", ErrFormat, zone)
	case first:
		return before, nil
	case second:
		return after, nil
	}
	return 0, fmt.Errorf("%w: clocks in %s skip that time", ErrFormat, zone)
}

func offsetAt(seconds int64, zone *time.Location) int64 {
	_, offset := time.Unix(seconds, 0).In(zone).Zone()
	return int64(offset)
}

// parse reads a text, all of it. What the layout does not read is 0, the date 1970-01-01.
func (l *layout) parse(text []byte) (s stamp, err error) {
	r := reading{year: 1970, month: 1, day: 1, yearDay: -1, hour12: -1, weekday: -1}
	rest := text
	for _, st := range l.steps {
		var ok bool
		if rest, ok = r.step(st, rest); !ok {
			return s, l.mismatch()
		}
	}
	if len(rest) > 0 {
		return s, l.mismatch()
	}
	s, ok := r.stamp()
	if !ok {
		return s, l.mismatch()
	}
	return s, nil
}

func (l *layout) mismatch() error {
	return fmt.Errorf("%w: not a time as %s reads it", ErrFormat, l.text)
}

// stamp checks what was read and puts it together.
func (r *reading) stamp() (s stamp, ok bool) {
	if r.hour12 >= 0 {
		r.hour = r.hour12%12 + 12*r.half
	}
	if r.yearDay >= 0 {
		s.days = daysSinceEpoch(r.year, 1, 1) + int64(r.yearDay) - 1
		ok = r.yearDay >= 1 && r.yearDay <= 337+daysIn(r.year, 2)
	} else {
		ok = r.month >= 1 && r.month <= 12 && r.day >= 1 && r.day <= daysIn(r.year, r.month)
		if ok {
			s.days = daysSinceEpoch(r.year, r.month, r.day)
		}
	}
	if r.weekday >= 0 && ok {
		const thursday = 4 // 1970-01-01
		ok = int64(r.weekday) == s.days+thursday-7*floorDiv(s.days+thursday, 7)
	}
	s.hour, s.minute, s.second, s.frac, s.offset = r.hour, r.minute, r.second, r.frac, r.offset
	return s, ok && r.hour <= 23 && r.minute <= 59 && r.second <= 59 && (r.hour12 < 0 || r.hour12 >= 1 && r.hour12 <= 12)
}

// step reads what one step wants from the front of text and returns the rest.
func (r *reading) step(st step, text []byte) (rest []byte, ok bool) {
	switch st.directive {
	case 0:
		if len(text) == 0 || text[0] != st.literal {
			return nil, false
		}
		return text[1:], true
	case 'f':
		r.frac = digitsAt(text, 0)
		return text[len(r.frac):], len(r.frac) > 0
	case 'p':
		return named(text, &r.half, halves[:], 2)
	case 'b', 'B':
		rest, ok = named(text, &r.month, months[:], short(st.directive, 'b'))
		r.month++
		return rest, ok
	case 'a', 'A':
		return named(text, &r.weekday, weekdays[:], short(st.directive, 'a'))
	case 'z':
		return r.zone(text)
	case 'e':
		if len(text) > 0 && text[0] == ' ' {
			text = text[1:]
		}
	}
	return r.numeral(st.directive, text)
}

// numeral reads a number: %Y four digits, %j up to three, others up to two.
func (r *reading) numeral(directive byte, text []byte) (rest []byte, ok bool) {
	into, least, most := r.field(directive)
	digits := digitsAt(text[:min(len(text), most)], 0)
	*into = number(digits)
	return text[len(digits):], len(digits) >= least
}

func (r *reading) field(directive byte) (into *int, least, most int) {
	switch directive {
	case 'Y':
		return &r.year, 4, 4
	case 'm':
		return &r.month, 1, 2
	case 'j':
		return &r.yearDay, 1, 3
	case 'H':
		return &r.hour, 1, 2
	case 'I':
		return &r.hour12, 1, 2
	case 'M':
		return &r.minute, 1, 2
	case 'S':
		return &r.second, 1, 2
	}
	return &r.day, 1, 2
}

// zone reads Z, +HH:MM or +HHMM.
func (r *reading) zone(text []byte) (rest []byte, ok bool) {
	n := min(len(text), 6)
	switch {
	case n > 0 && text[0]|0x20 == 'z':
		n = 1
	case n >= 5 && text[3] != ':':
		long := [6]byte{text[0], text[1], text[2], ':', text[3], text[4]}
		r.offset, ok = parseZone(long[:])
		return text[5:], ok
	}
	r.offset, ok = parseZone(text[:n])
	return text[n:], ok
}

var (
	halves   = [...]string{"am", "pm"}
	months   = [...]string{"january", "february", "march", "april", "may", "june", "july", "august", "september", "october", "november", "december"}
	weekdays = [...]string{"sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday"}
)

// short is how many letters of a name a directive reads: 3 if it is the one for abbreviations, else all.
func short(directive, abbreviation byte) int {
	if directive == abbreviation {
		return 3
	}
	return 0
}

// named reads one of the names, or its first letters if letters is not 0, in upper or lower case.
func named(text []byte, into *int, names []string, letters int) (rest []byte, ok bool) {
	for i, name := range names {
		if letters > 0 {
			name = name[:letters]
		}
		if len(text) >= len(name) && equalFold(text[:len(name)], name) {
			*into = i
			return text[len(name):], true
		}
	}
	return nil, false
}

// equalFold compares a text to a name in lower case, letters only.
func equalFold(text []byte, name string) bool {
	for i, c := range text {
		if c|0x20 != name[i] {
			return false
		}
	}
	return true
}
