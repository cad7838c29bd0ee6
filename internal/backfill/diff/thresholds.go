package diff

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
)

// Limit is how much of something there may be: a number, or a share of the rows.
type Limit struct {
	Count   int64
	Share   float64 // from 0 to 1
	Percent bool    // Share counts, not Count
}

// ParseLimit reads "12" or "1.5%".
func ParseLimit(text string) (Limit, error) {
	bad := errors.New("write a number of rows like 100, or a share like 0.5%")
	if part, ok := strings.CutSuffix(text, "%"); ok {
		v, err := strconv.ParseFloat(strings.TrimSpace(part), 64)
		if err != nil || math.IsNaN(v) || v < 0 || v > 100 {
			return Limit{}, bad
		}
		return Limit{Share: v / 100, Percent: true}, nil
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < 0 {
		return Limit{}, bad
	}
	return Limit{Count: n}, nil
}

func (l Limit) String() string {
	if l.Percent {
		return strconv.FormatFloat(l.Share*100, 'f', -1, 64) + "%"
	}
	return strconv.FormatInt(l.Count, 10)
}

// MarshalText writes what ParseLimit reads.
func (l Limit) MarshalText() ([]byte, error) { return []byte(l.String()), nil }

// UnmarshalText is ParseLimit.
func (l *Limit) UnmarshalText(text []byte) (err error) {
	*l, err = ParseLimit(string(text))
	return err
}

// allows reports whether n of so many are within the limit.
func (l Limit) allows(n, of int64) bool {
	if !l.Percent {
		return n <= l.Count
	}
	return float64(n) <= l.Share*float64(of)
}

// Thresholds are what a comparison must keep to. nil is no limit.
type Thresholds struct {
	Missing *Limit `json:"missing,omitempty"` // rows that live has and the shadow has not; of live's rows
	Extra   *Limit `json:"extra,omitempty"`   // rows that the shadow has and live has not; of live's rows
	Doubled *Limit `json:"doubled,omitempty"` // rows that the shadow has several times; of its rows
	Changed *Limit `json:"changed,omitempty"` // rows that differ in any column; of those in both
	Rows    *Limit `json:"rows,omitempty"`    // by which the tables' numbers of rows differ; of live's rows
	// NullRate is by how much the share of NULLs of any column may grow, as a share of the rows.
	NullRate *Limit `json:"null_rate,omitempty"`
	// ColumnChanged and ColumnNullRate are for single columns, and count in place of Changed and NullRate for them.
	ColumnChanged  map[string]Limit `json:"column_changed,omitempty"`
	ColumnNullRate map[string]Limit `json:"column_null_rate,omitempty"`
}

// DefaultThresholds refuse rows that are missing, extra or doubled. Changed rows are what a backfill is for: they are told, and refuse nothing.
func DefaultThresholds() Thresholds {
	return Thresholds{Missing: &Limit{}, Extra: &Limit{}, Doubled: &Limit{}}
}

// Refusals are the thresholds that do not hold, in words; none: they all do.
func (r *Report) Refusals(t Thresholds) []string {
	var out []string
	check := func(l *Limit, flag, what string, n, of int64) {
		if l != nil && !l.allows(n, of) {
			out = append(out, fmt.Sprintf("%d %s (%s of %d), and %s allows %s", n, what, share(n, of), of, flag, l))
		}
	}
	check(t.Missing, "--max-missing", "rows of live are missing in the shadow", r.Rows.OnlyLive, r.Live.Rows)
	check(t.Extra, "--max-extra", "rows of the shadow are not in live", r.Rows.OnlyShadow, r.Live.Rows)
	check(t.Doubled, "--max-doubled", "keys have several rows in the shadow", r.Rows.DoubledShadow, r.Shadow.Rows)
	check(t.Changed, "--max-changed", "rows are changed", r.Rows.Changed, r.Rows.Both)
	check(t.Rows, "--rows", "rows are the difference in numbers", abs(r.Shadow.Rows-r.Live.Rows), r.Live.Rows)
	for i := range r.Columns {
		out = append(out, r.Columns[i].refusals(t, r)...)
	}
	for _, name := range slices.Sorted(maps.Keys(t.ColumnChanged)) {
		if c := r.Column(name); c == nil || c.State != Compared {
			out = append(out, fmt.Sprintf("--max-changed %s=%s: column %s was not compared", name, t.ColumnChanged[name], name))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(t.ColumnNullRate)) {
		if c := r.Column(name); c == nil || c.Shadow == "" {
			out = append(out, fmt.Sprintf("--null-rate %s=%s: the shadow has no column %s", name, t.ColumnNullRate[name], name))
		}
	}
	return out
}

func (c *Column) refusals(t Thresholds, r *Report) (out []string) {
	if l, own := t.ColumnChanged[c.Name]; own && c.State == Compared && !l.allows(c.Changed, r.Rows.Both) {
		out = append(out, fmt.Sprintf("%d rows are changed in column %s (%s of %d), and --max-changed %s=%s allows no more", c.Changed, c.Name, share(c.Changed, r.Rows.Both), r.Rows.Both, c.Name, l))
	}
	limit, flag := t.NullRate, "--null-rate "
	if l, own := t.ColumnNullRate[c.Name]; own {
		limit, flag = &l, "--null-rate "+c.Name+"="
	}
	if limit == nil || c.Shadow == "" {
		return out
	}
	// A new column has no values to lose: its rate is compared only if it is named.
	if c.State == New && flag == "--null-rate " {
		return out
	}
	grown := c.Shadows.NullRate - c.Values.NullRate
	if n := int64(math.Ceil(float64(grown) * float64(r.Shadow.Rows))); grown > 0 && !limit.allows(n, r.Shadow.Rows) {
		out = append(out, fmt.Sprintf("the share of NULLs in column %s has grown from %s to %s, and %s%s allows no more", c.Name, c.Values.NullRate, c.Shadows.NullRate, flag, limit))
	}
	return out
}

func abs(n int64) int64 { return max(n, -n) }
