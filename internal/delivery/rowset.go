package delivery

import (
	"maps"
	"slices"

	"github.com/waybill-data/waybill"
)

// RowSet names rows by the record they come from. For the ledger, whose rows are keyed by the first
// offset of their span, it holds those offsets.
type RowSet map[waybill.TopicPartition]waybill.OffsetSet

// Empty reports whether no row is named.
func (s RowSet) Empty() bool {
	for _, o := range s {
		if !o.Empty() {
			return false
		}
	}
	return true
}

// Len is the number of rows.
func (s RowSet) Len() int64 {
	var n int64
	for _, o := range s {
		n += o.Len()
	}
	return n
}

// Partitions in order.
func (s RowSet) Partitions() []waybill.TopicPartition {
	return slices.SortedFunc(maps.Keys(s), waybill.TopicPartition.Compare)
}

// Minus is the rows of s that are not in o.
func (s RowSet) Minus(o RowSet) RowSet {
	out := make(RowSet, len(s))
	for tp, set := range s {
		if rest := set.Minus(o[tp]); !rest.Empty() {
			out[tp] = rest
		}
	}
	return out
}

// Intersect is the rows in both.
func (s RowSet) Intersect(o RowSet) RowSet { return s.Minus(s.Minus(o)) }

// Union is the rows in either.
func (s RowSet) Union(o RowSet) RowSet {
	out := make(RowSet, len(s)+len(o))
	for tp, set := range s {
		out[tp] = set.Clone()
	}
	for tp, set := range o {
		out[tp] = out[tp].Union(set)
	}
	return out
}

// without is s without the rows of one partition; s stays as it is.
func (s RowSet) without(tp waybill.TopicPartition) RowSet {
	out := maps.Clone(s)
	delete(out, tp)
	return out
}

// Equal reports whether both name the same rows.
func (s RowSet) Equal(o RowSet) bool { return s.Minus(o).Empty() && o.Minus(s).Empty() }

// Halve splits the set into two of nearly equal size, by partition and offset.
func (s RowSet) Halve() (lo, hi RowSet) {
	lo, hi = RowSet{}, RowSet{}
	left := s.Len() / 2
	for _, tp := range s.Partitions() {
		for _, sp := range s[tp].Spans() {
			n := min(left, sp.Len())
			add(lo, tp, waybill.Span{First: sp.First, Next: sp.First + n})
			add(hi, tp, waybill.Span{First: sp.First + n, Next: sp.Next})
			left -= n
		}
	}
	return lo, hi
}

func add(s RowSet, tp waybill.TopicPartition, sp waybill.Span) {
	if sp.Len() <= 0 {
		return
	}
	set := s[tp]
	set.AddSpan(sp)
	s[tp] = set
}

// String is the set in partition order, for transcripts.
func (s RowSet) String() string {
	out := ""
	for _, tp := range s.Partitions() {
		if s[tp].Empty() {
			continue
		}
		if out != "" {
			out += " "
		}
		out += tp.String() + s[tp].String()
	}
	if out == "" {
		return "{}"
	}
	return out
}
