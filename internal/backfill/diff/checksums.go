package diff

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/waybill-data/waybill/internal/clickhouse"
	"github.com/waybill-data/waybill/internal/contract"
)

// Checksums are what a table holds of a scope, in a few numbers: the same scope under the same plan gives the same ones, whoever writes the rows, in whatever
// batches, under whatever epoch. What is no function of record and plan is left out, and named.
type Checksums struct {
	Table   string          `json:"table"`
	Topic   string          `json:"topic,omitempty"`
	Scope   []Scope         `json:"scope,omitempty"`
	Plan    string          `json:"plan,omitempty"`
	Rows    int64           `json:"rows"`
	Columns []ColumnSum     `json:"columns"` // by name
	Without []LeftOut       `json:"without"`
	All     string          `json:"checksum"` // of rows and columns: of the same content it is the same
	Ends    map[int32]int64 `json:"ends,omitempty"`
}

// ColumnSum is the checksum of a column: the sum of a hash of topic, partition, offset and value over all rows.
type ColumnSum struct {
	Name     string `json:"name"`
	Type     string `json:"type"` // of the values that were summed
	Checksum string `json:"checksum"`
}

// LeftOut is a column that is in no checksum.
type LeftOut struct {
	Name string `json:"name"`
	Why  string `json:"why"`
}

// Sum makes the checksums of a table's rows. Without the plan that they were written under every column whose DEFAULT varies is left out.
func Sum(ctx context.Context, client *clickhouse.Client, table TableRef, opts Options) (*Checksums, error) {
	opts.defaults()
	opts.ShadowEnds = opts.LiveEnds
	s := &side{TableRef: table, name: "live", ends: opts.LiveEnds}
	c := &comparison{client: client, opts: opts, live: s, shadow: s, report: &Report{}}
	if err := c.describe(ctx, s); err != nil {
		return nil, err
	}
	if err := c.pairs(ctx); err != nil {
		return nil, err
	}
	out := &Checksums{Table: table.String(), Topic: opts.Topic, Scope: scopeOf(opts.Scope), Columns: []ColumnSum{}, Without: []LeftOut{}, Ends: opts.LiveEnds}
	if opts.Plan != nil {
		out.Plan = opts.Plan.ID().String()
	}
	for _, p := range c.columns {
		if p.State == Compared && p.Varies != "" && opts.Plan == nil {
			p.State, p.Why = NotCompared, madeUp+p.Varies
		}
		if p.State != Compared {
			out.Without = append(out.Without, LeftOut{p.Name, p.Why})
		}
	}
	spaces, err := c.spaces(ctx)
	if err != nil {
		return nil, err
	}
	sums := map[*Values]uint64{}
	st, err := c.statsOf(ctx, c.together(spaces), s, "", sums)
	if err != nil {
		return nil, err
	}
	out.Rows = st.Rows
	for _, p := range c.compared() {
		out.Columns = append(out.Columns, ColumnSum{p.Name, bareType(p.Live), sumText(sums[&p.Values])})
	}
	slices.SortFunc(out.Columns, func(a, b ColumnSum) int { return cmp.Compare(a.Name, b.Name) })
	out.All = out.hash()
	return out, nil
}

// leftToServer: the server fills the column, or is asked to for some rows.
func leftToServer(plan *contract.Plan, name string) bool {
	for _, r := range plan.Routes() {
		if slices.Contains(r.Plan.LeftToServer(), name) {
			return true
		}
		for _, c := range r.Plan.Columns() {
			if c.Name == name && c.Wire != "" {
				return true
			}
		}
	}
	return false
}

func (s *Checksums) hash() string {
	text := fmt.Appendf(nil, "%d\n", s.Rows)
	for _, c := range s.Columns {
		text = fmt.Appendf(text, "%q %q %s\n", c.Name, c.Type, c.Checksum)
	}
	sum := sha256.Sum256(text)
	return "sha256:" + hex.EncodeToString(sum[:])
}

// Differences names what is not the same in two checksums.
func (s *Checksums) Differences(o *Checksums) []string {
	out := []string{}
	if s.Rows != o.Rows {
		out = append(out, fmt.Sprintf("%d rows, and %d", s.Rows, o.Rows))
	}
	of := func(c *Checksums) map[string]ColumnSum {
		m := map[string]ColumnSum{}
		for _, col := range c.Columns {
			m[col.Name] = col
		}
		return m
	}
	a, b := of(s), of(o)
	names := maps.Clone(a)
	maps.Copy(names, b)
	for _, name := range slices.Sorted(maps.Keys(names)) {
		if a[name] != b[name] {
			out = append(out, fmt.Sprintf("column %s: %s, and %s", name, a[name].text(), b[name].text()))
		}
	}
	return out
}

func (c ColumnSum) text() string {
	if c.Name == "" {
		return "it is not there"
	}
	return c.Checksum + " of " + c.Type
}

func (o *Options) defaults() {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Memory == 0 {
		o.Memory = DefaultMemory
	}
	o.Rescue = cmp.Or(o.Rescue, contract.DefaultRescueColumn)
	if o.Progress == nil {
		o.Progress = func(Progress) {}
	}
}

// Contradicts says in which way a table has other rows now than when s was made, as far as columns are in both; empty: in none.
func (s *Checksums) Contradicts(now *Checksums) string {
	if s.Rows != now.Rows {
		return fmt.Sprintf("%s had %d rows up to there, and has %d", s.Table, s.Rows, now.Rows)
	}
	for _, c := range s.Columns {
		for _, n := range now.Columns {
			if c.Name == n.Name && c != n {
				return fmt.Sprintf("column %s of %s has other values", c.Name, s.Table)
			}
		}
	}
	return ""
}
