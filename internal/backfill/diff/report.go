package diff

import (
	"fmt"
	"strings"
	"time"
)

// Report is what a comparison of two tables has come to.
type Report struct {
	Live   Side `json:"live"`
	Shadow Side `json:"shadow"`
	// Topic and Scope are what the comparison was restricted to.
	Topic string  `json:"topic,omitempty"`
	Scope []Scope `json:"scope,omitempty"`
	// By are the columns that say which row of one table is which of the other.
	By   []string `json:"by"`
	Ends string   `json:"ends"` // where the ends of the tables are from
	Rows Rows     `json:"rows"`
	// Columns are those of both tables: compared ones first, as the shadow has them.
	Columns    []Column    `json:"columns"`
	Partitions []Partition `json:"partitions"` // of the tables
	// NotReached are rows of live that the shadow has not come to yet, Ahead rows of the shadow that live has not come to yet. Neither are differences.
	NotReached []Pending `json:"not_reached_yet"`
	Ahead      []Pending `json:"ahead_of_live"`
	Samples    Samples   `json:"samples"`
	Notes      []string  `json:"notes"`
	Cost       Cost      `json:"cost"`
}

// Side is one of the tables.
type Side struct {
	Table string `json:"table"` // database.table
	UUID  string `json:"uuid"`
	Rows  int64  `json:"rows"` // that were compared
}

// Scope is offsets of one partition of the topic.
type Scope struct {
	Partition int32  `json:"partition"`
	Offsets   string `json:"offsets"`
}

// Rows counts rows by what became of them. A row that has several in one of the tables counts once, and as doubled.
type Rows struct {
	Both       int64 `json:"both"` // in both tables, changed or not
	Same       int64 `json:"same"`
	Changed    int64 `json:"changed"`
	OnlyLive   int64 `json:"only_live"`   // missing in the shadow
	OnlyShadow int64 `json:"only_shadow"` // extra in the shadow
	// DoubledLive and DoubledShadow have several rows in that table.
	DoubledLive   int64 `json:"doubled_live"`
	DoubledShadow int64 `json:"doubled_shadow"`
}

// State says what could be done with a column.
type State string

// The states.
const (
	Compared    State = "compared"
	New         State = "new"          // only the shadow has it
	Gone        State = "gone"         // only live has it
	NotCompared State = "not_compared" // Why says why
)

// Column is one column of both tables.
type Column struct {
	Name   string `json:"name"`
	State  State  `json:"state"`
	Why    string `json:"why,omitempty"`
	Live   string `json:"live_type,omitempty"`
	Shadow string `json:"shadow_type,omitempty"`
	As     string `json:"compared_as,omitempty"` // what values of different types were turned into
	// Varies names what makes the column's DEFAULT give another value each time.
	Varies  string        `json:"varies,omitempty"`
	Changed int64         `json:"changed"` // rows of both tables that differ in it
	Values  Values        `json:"live"`
	Shadows Values        `json:"shadow"`
	Samples []ValueSample `json:"samples,omitempty"`
}

// Values are figures about a column's values in one table.
type Values struct {
	Nulls    int64  `json:"nulls"`
	NullRate Share  `json:"null_rate"`
	Checksum string `json:"checksum,omitempty"` // over keys and values, in any order
}

// Share is a part of a whole, from 0 to 1.
type Share float64

func share(n, of int64) Share {
	if of == 0 {
		return 0
	}
	return Share(float64(n) / float64(of))
}

func (s Share) String() string {
	switch p := float64(s) * 100; {
	case p == 0 || p == 100:
		return fmt.Sprintf("%.0f%%", p)
	case p < 0.01:
		return "<0.01%"
	case p > 99.99:
		return ">99.99%"
	case p < 1 || p > 99:
		return strings.TrimRight(strings.TrimRight(fmt.Sprintf("%.2f", p), "0"), ".") + "%"
	default:
		return strings.TrimSuffix(fmt.Sprintf("%.1f", p), ".0") + "%"
	}
}

// ValueSample is a row that differs in a column, as JSON text, shortened if it is long.
type ValueSample struct {
	Key    Key    `json:"key"`
	Live   string `json:"live"`
	Shadow string `json:"shadow"`
}

// Key says which row it is: topic, partition and offset, or the values of the key's columns as JSON text.
type Key []string

func (k Key) String() string { return strings.Join(k, " ") }

// Samples are keys of rows.
type Samples struct {
	OnlyLive      []Key `json:"only_live,omitempty"`
	OnlyShadow    []Key `json:"only_shadow,omitempty"`
	DoubledLive   []Key `json:"doubled_live,omitempty"`
	DoubledShadow []Key `json:"doubled_shadow,omitempty"`
}

// Partition is one partition of the tables, with what either has in it.
type Partition struct {
	Partition string `json:"partition"`
	Live      *Stats `json:"live,omitempty"` // nil: it has none
	Shadow    *Stats `json:"shadow,omitempty"`
}

// Stats are figures about the rows of one partition.
type Stats struct {
	Rows    int64         `json:"rows"`
	Columns []ColumnStats `json:"columns"`

	keys int64 // how many different keys they have; 0: it is not known
}

// ColumnStats are figures about a column's values in one partition.
type ColumnStats struct {
	Name string `json:"name"`
	Values
	Min      string `json:"min,omitempty"`
	Max      string `json:"max,omitempty"`
	Distinct int64  `json:"distinct"` // estimated, to about 1 %
}

// column is the figures of a column; nil if there are none.
func (s *Stats) column(name string) *ColumnStats {
	if s == nil {
		return nil
	}
	for i := range s.Columns {
		if s.Columns[i].Name == name {
			return &s.Columns[i]
		}
	}
	return nil
}

// Pending is rows of one partition of a topic that one table has, from the other's end on.
type Pending struct {
	Topic     string `json:"topic"`
	Partition int32  `json:"partition"`
	From      int64  `json:"from"`
	Rows      int64  `json:"rows"`
}

// Cost is what it took.
type Cost struct {
	Seconds float64 `json:"seconds"`
	Queries int     `json:"queries"`
	// Slices is how many times a part of the rows was compared one by one; Looked is how many rows these had, of both tables. The others had the same checksums.
	Slices int   `json:"slices"`
	Looked int64 `json:"rows_looked_at"`
	// Memory is the limit that each query was given, in bytes.
	Memory int64 `json:"memory_limit"`
}

func (c *Cost) took(since, now time.Time) { c.Seconds = now.Sub(since).Seconds() }

// Equal reports whether there is no difference at all.
func (r *Report) Equal() bool {
	if r.Rows.Changed+r.Rows.OnlyLive+r.Rows.OnlyShadow+r.Rows.DoubledLive+r.Rows.DoubledShadow > 0 {
		return false
	}
	for i := range r.Columns {
		if c := &r.Columns[i]; c.State != Compared && c.Why != ByKey && c.Why != ByEpoch {
			return false
		}
	}
	return true
}

// Column finds a column by name; nil if neither table has it.
func (r *Report) Column(name string) *Column {
	for i := range r.Columns {
		if r.Columns[i].Name == name {
			return &r.Columns[i]
		}
	}
	return nil
}

// Checksum is that of a column in one of the tables; empty: it has none.
func (p *Partition) Checksum(column string, live bool) string {
	s := p.Shadow
	if live {
		s = p.Live
	}
	if c := s.column(column); c != nil {
		return c.Checksum
	}
	return ""
}
