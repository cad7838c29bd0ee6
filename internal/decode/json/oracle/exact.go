package oracle

import (
	"encoding/binary"
	"math/big"
	"net/netip"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// The types here are of the catalogue's second half; a plan has them only if column.ParseType knows them.

// decimal is a Decimal(P, S) times 10^S, rounded half to even.
func (k *converter) decimal(t Type, n node) (text, code string) {
	number, code := numberText(n, true)
	if code != "" {
		return "", code
	}
	v, exact, fits := roundedHalfEven(number, t.number(1))
	if !fits || new(big.Int).Abs(v).Cmp(power10(t.number(0))) >= 0 {
		return "", "out_of_range"
	}
	if !exact {
		k.rounded++
	}
	return v.String(), ""
}

// number is an argument of a type that is a number.
func (t Type) number(i int) int64 {
	v, err := strconv.ParseInt(t.Args[i].Name, 10, 32)
	if err != nil {
		panic("oracle: " + err.Error())
	}
	return v
}

// roundedHalfEven is the number times 10^shift, rounded to the nearest integer, the even one of two.
func roundedHalfEven(number string, shift int64) (v *big.Int, exact, fits bool) {
	floor, exact, fits := scaled(number, shift)
	if exact || !fits {
		return floor, exact, fits
	}
	// What lies above the floor, in halves: below 1, 1 or above.
	twice, even, _ := scaled(double(number), shift)
	above := new(big.Int).Sub(twice, new(big.Int).Lsh(floor, 1))
	up := above.Sign() > 0
	if up && even && floor.Bit(0) == 0 { // exactly in the middle
		up = false
	}
	if up {
		floor.Add(floor, big.NewInt(1))
	}
	return floor, false, true
}

// double is twice the number.
func double(number string) string {
	digits, exp, negative := decimal(number)
	v, _ := new(big.Int).SetString("0"+digits, 10)
	sign := ""
	if negative {
		sign = "-"
	}
	return sign + v.Lsh(v, 1).String() + "e" + exp.String()
}

// ipv4 is an address as a number.
func ipv4(s string) (text, code string) {
	a, err := netip.ParseAddr(s)
	if err != nil || !a.Is4() {
		return "", "bad_format"
	}
	b := a.As4()
	return strconv.FormatUint(uint64(binary.BigEndian.Uint32(b[:])), 10), ""
}

// ipv6 is an address as a number; an IPv4 address is its mapped form.
func ipv6(s string) (text, code string) {
	a, err := netip.ParseAddr(s)
	if err != nil || a.Zone() != "" || strings.Contains(s, "%") {
		return "", "bad_format"
	}
	b := a.As16()
	return new(big.Int).SetBytes(b[:]).String(), ""
}

// fixedString is padded with zero bytes.
func fixedString(t Type, s string) (text, code string) {
	width := int(t.number(0))
	if len(s) > width {
		return "", "out_of_range"
	}
	return s + strings.Repeat("\x00", width-len(s)), ""
}

var dateForm = regexp.MustCompile(`\A\d{4}-\d\d-\d\d\z`)

// date is a Date or Date32 in days: as it is written, whatever the offset beside it, or of a Unix time in UTC.
// What is cut from the day counts as rounded.
func (k *converter) date(t Type, n node) (text, code string) {
	var days *big.Int
	exact := true
	if k.format == "rfc3339" {
		if n.kind != '"' {
			return "", "wrong_type"
		}
		days, exact, code = writtenDate(n.text)
	} else {
		var number string
		if number, code = numberText(n, true); code == "" {
			days, exact, code = unixDate(number, unitDecimals[k.format])
		}
	}
	if code != "" {
		return "", code
	}
	low, high := big.NewInt(0), big.NewInt(1<<16-1)
	if t.Name == "Date32" {
		low, high = big.NewInt(daysOf("1900-01-01")), big.NewInt(daysOf("2299-12-31"))
	}
	if days.Cmp(low) < 0 || days.Cmp(high) > 0 {
		return "", "out_of_range"
	}
	if !exact {
		k.rounded++
	}
	return days.String(), ""
}

func daysOf(day string) int64 { return must(time.Parse(time.DateOnly, day)).Unix() / 86400 }

func writtenDate(s string) (days *big.Int, exact bool, code string) {
	day, midnight := s, true
	if !dateForm.MatchString(s) {
		parts := rfc3339Form.FindStringSubmatch(s)
		if parts == nil {
			return nil, false, "bad_format"
		}
		day = parts[1][:10]
		midnight = strings.Trim(parts[1][11:]+parts[2], "0:") == ""
	}
	at, err := time.Parse(time.DateOnly, day)
	if err != nil {
		return nil, false, "bad_format"
	}
	seconds := big.NewInt(at.Unix())
	return seconds.Div(seconds, big.NewInt(86400)), midnight, ""
}

func unixDate(number string, decimals int64) (days *big.Int, exact bool, code string) {
	seconds, exact, code := unix(number, -decimals)
	if code != "" {
		return nil, false, code
	}
	days, rest := new(big.Int).DivMod(seconds, big.NewInt(86400), new(big.Int))
	return days, exact && rest.Sign() == 0, ""
}

var integerForm = regexp.MustCompile(`\A-?[0-9]+\z`)

// countRounding counts an integer that a float does not hold exactly; of fractions nobody expects it.
func (k *converter) countRounding(number string, v float64) {
	if !integerForm.MatchString(number) {
		return
	}
	want, _ := new(big.Int).SetString(number, 10)
	if got, _ := new(big.Float).SetFloat64(v).Int(nil); got.Cmp(want) != 0 {
		k.rounded++
	}
}
