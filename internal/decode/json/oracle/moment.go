package oracle

import (
	"math/big"
	"regexp"
	"strings"
	"time"
)

// moment is a DateTime in seconds or a DateTime64 in ticks, cut towards the past.
func (k *converter) moment(t Type, n node) (text, code string) {
	precision := int64(0)
	low, high := big.NewInt(0), big.NewInt(1<<32-1)
	if t.Name == "DateTime64" {
		precision = int64(t.Args[0].Name[0] - '0')
		low, high = rangeOfDateTime64(precision)
	}
	var ticks *big.Int
	var exact bool
	if k.format == "rfc3339" {
		if n.kind != '"' {
			return "", "wrong_type"
		}
		ticks, exact, code = rfc3339(n.text, precision)
	} else {
		var number string
		if number, code = numberText(n, true); code == "" {
			ticks, exact, code = unix(number, precision-unitDecimals[k.format])
		}
	}
	switch {
	case code != "":
		return "", code
	case ticks.Cmp(low) < 0 || ticks.Cmp(high) > 0:
		return "", "out_of_range"
	case !exact:
		k.rounded++
	}
	return ticks.String(), ""
}

var unitDecimals = map[string]int64{"unix": 0, "unix_ms": 3, "unix_us": 6, "unix_ns": 9}

func unix(number string, shift int64) (ticks *big.Int, exact bool, code string) {
	ticks, exact, fits := scaled(number, shift)
	if !fits {
		return nil, false, "out_of_range"
	}
	return ticks, exact, ""
}

// rangeOfDateTime64 is ClickHouse's: 1900 up to and including 2299, as far as 64 bits reach.
func rangeOfDateTime64(precision int64) (low, high *big.Int) {
	tick := power10(precision)
	low = big.NewInt(time.Date(1900, 1, 1, 0, 0, 0, 0, time.UTC).Unix())
	high = big.NewInt(time.Date(2300, 1, 1, 0, 0, 0, 0, time.UTC).Unix())
	low.Mul(low, tick)
	high.Sub(high.Mul(high, tick), big.NewInt(1))
	if most := big.NewInt(1<<63 - 1); high.Cmp(most) > 0 {
		high = most
	}
	return low, high
}

func power10(n int64) *big.Int { return new(big.Int).Exp(big.NewInt(10), big.NewInt(n), nil) }

var rfc3339Form = regexp.MustCompile(
	`\A(\d{4}-\d\d-\d\d[Tt](?:[01]\d|2[0-3]):[0-5]\d:[0-5]\d)(?:\.(\d+))?([Zz]|[+-](?:[01]\d|2[0-3]):[0-5]\d)\z`)

func rfc3339(s string, precision int64) (ticks *big.Int, exact bool, code string) {
	parts := rfc3339Form.FindStringSubmatch(s)
	if parts == nil {
		return nil, false, "bad_format"
	}
	whole, err := time.Parse(time.RFC3339, strings.ToUpper(parts[1]+parts[3]))
	if err != nil {
		return nil, false, "bad_format"
	}
	kept := parts[2]
	for int64(len(kept)) < precision {
		kept += "0"
	}
	cut := kept[precision:]
	ticks = new(big.Int).Mul(big.NewInt(whole.Unix()), power10(precision))
	if kept = kept[:precision]; kept != "" {
		fraction, _ := new(big.Int).SetString(kept, 10)
		ticks.Add(ticks, fraction)
	}
	return ticks, strings.Trim(cut, "0") == "", ""
}
