package contract

import (
	"bytes"
	"slices"
	"strconv"
	"unsafe"

	"github.com/waybill-data/waybill/internal/column"
)

// scalars is what is known of the numbers and strings among some values. All of it are sums and largest values, so that neither
// order nor grouping matters. Counts are compared with Kinds: all strings are UUIDs if there are as many UUIDs as strings.
type scalars struct {
	int64s, uint64s int64 // integers that an Int64, an UInt64 holds
	floats          int64 // numbers that read back from a Float64 as they were
	finite          int64 // numbers that are not too large for a Float64
	whole, places   int   // the most digits before and after the point, up to maxDigits
	uuids           int64 // UUIDs in the form that ClickHouse shows: lower case
	moments         int64 // RFC 3339 in UTC, to at most nine places of a second, that a DateTime64 of at most six holds the second of
	early           int64 // of these, those that a DateTime64(9) holds
	fraction        int   // the most places of a second among them
}

// maxDigits is more than a Decimal has.
const maxDigits = 100

// add takes in a value; kinds other than numbers and strings are left out.
func (s *scalars) add(text []byte) {
	switch c := text[0]; {
	case c == '"':
		s.addString(text[1 : len(text)-1])
	case c == '-' || '0' <= c && c <= '9':
		s.addNumber(text)
	}
}

// safeDigits is how many decimal digits every Float64 keeps; shortInteger how many every Int64 holds.
const (
	safeDigits   = 15
	shortInteger = 18
)

func (s *scalars) addNumber(text []byte) {
	neg := text[0] == '-'
	if n := len(text) - b2i(neg); n <= shortInteger && isIntegral(text) {
		s.int64s++
		s.uint64s += int64(b2i(!neg || n == 1 && text[1] == '0'))
		s.whole = max(s.whole, n)
		s.finite++
		if n <= safeDigits {
			s.floats++
		} else {
			s.floats += int64(b2i(readsBack(text)))
		}
		return
	}
	s.addLongNumber(text)
}

// addLongNumber is addNumber for all but short integers.
func (s *scalars) addLongNumber(text []byte) {
	if isIntegral(text) {
		_, err := column.ParseInt(text, 64)
		s.int64s += int64(b2i(err == nil))
		_, err = column.ParseUint(text, 64)
		s.uint64s += int64(b2i(err == nil))
	}
	var scratch [64]byte
	d, err := column.ParseDecimal(text, scratch[:])
	if err != nil {
		return
	}
	s.whole = max(s.whole, min(maxDigits, max(0, len(d.Digits)+d.Exp10)))
	s.places = max(s.places, min(maxDigits, max(0, -d.Exp10)))
	const moderate = 290 // powers of ten that are far from the ends of a Float64
	if len(d.Digits) <= safeDigits && -moderate < d.Exp10 && d.Exp10 < moderate {
		s.finite++
		s.floats++
		return
	}
	_, _, err = column.ParseFloat(text, 64)
	s.finite += int64(b2i(err == nil))
	s.floats += int64(b2i(err == nil && readsBack(text)))
}

// readsBack reports whether a Float64, written with as few digits as tell it from all others, is the number that it was
// made of.
func readsBack(text []byte) bool {
	v, err := strconv.ParseFloat(unsafe.String(unsafe.SliceData(text), len(text)), 64)
	if err != nil {
		return false
	}
	var shortest, a, b [64]byte
	back, err := column.ParseDecimal(strconv.AppendFloat(shortest[:0], v, 'e', -1, 64), a[:])
	if err != nil {
		return false
	}
	was, err := column.ParseDecimal(text, b[:])
	return err == nil && slices.Equal(back.Digits, was.Digits) && (len(was.Digits) == 0 || back.Exp10 == was.Exp10)
}

// addString takes in what stands between the quotes of a string.
func (s *scalars) addString(text []byte) {
	if len(text) == 36 && isShownUUID(text) {
		s.uuids++
		return
	}
	if len(text) >= 20 && len(text) <= 35 && text[10] == 'T' {
		s.addMoment(text)
	}
}

// isShownUUID reports whether text is a UUID as ClickHouse shows it: of 36 bytes, in lower case.
func isShownUUID(text []byte) bool {
	for _, c := range text {
		if 'A' <= c && c <= 'F' {
			return false
		}
	}
	_, err := column.ParseUUID(text)
	return err == nil
}

// addMoment takes in what may be a moment. One with another offset than that of UTC is none: the offset would be lost.
func (s *scalars) addMoment(text []byte) {
	if text[len(text)-1] != 'Z' && !bytes.HasSuffix(text, []byte("+00:00")) {
		return
	}
	places := 0
	if text[19] == '.' {
		for text[20+places]-'0' <= 9 {
			places++
		}
	}
	if _, _, err := column.ParseTime(text, column.RFC3339, 6); err != nil || places > 9 {
		return
	}
	s.moments++
	s.fraction = max(s.fraction, places)
	if _, _, err := column.ParseTime(text, column.RFC3339, 9); err == nil {
		s.early++
	}
}

func (s *scalars) merge(m scalars) {
	s.int64s += m.int64s
	s.uint64s += m.uint64s
	s.floats += m.floats
	s.finite += m.finite
	s.whole, s.places = max(s.whole, m.whole), max(s.places, m.places)
	s.uuids += m.uuids
	s.moments += m.moments
	s.early += m.early
	s.fraction = max(s.fraction, m.fraction)
}
