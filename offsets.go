package waybill

import (
	"cmp"
	"slices"
	"strings"
)

// OffsetSet is a set of offsets of one partition, kept as sorted, disjoint, non-adjacent spans:
// what was read, what is expected in a table and what is found there are nearly always a few long
// runs. The zero value is the empty set.
type OffsetSet struct {
	spans []Span
}

// OffsetsOf builds a set from single offsets, in any order.
func OffsetsOf(offsets ...int64) OffsetSet {
	var s OffsetSet
	for _, o := range offsets {
		s.Add(o)
	}
	return s
}

// OffsetsIn is the set of all offsets of the given spans, in any order.
func OffsetsIn(spans ...Span) OffsetSet {
	var s OffsetSet
	for _, sp := range spans {
		s.AddSpan(sp)
	}
	return s
}

// Spans are the set's maximal runs in ascending order. The slice belongs to the set.
func (s OffsetSet) Spans() []Span { return s.spans }

// Empty reports whether the set holds nothing.
func (s OffsetSet) Empty() bool { return len(s.spans) == 0 }

// Len is the number of offsets in the set.
func (s OffsetSet) Len() int64 {
	var n int64
	for _, sp := range s.spans {
		n += sp.Len()
	}
	return n
}

// Add puts one offset into the set. Appending in ascending order is O(1).
func (s *OffsetSet) Add(o int64) { s.AddSpan(Span{o, o + 1}) }

// AddSpan puts a run of offsets into the set.
func (s *OffsetSet) AddSpan(sp Span) {
	if sp.Next <= sp.First {
		return
	}
	if n := len(s.spans); n == 0 || sp.First > s.spans[n-1].Next {
		s.spans = append(s.spans, sp)
		return
	} else if last := &s.spans[n-1]; sp.First >= last.First {
		last.Next = max(last.Next, sp.Next)
		return
	}
	// [i, j) are the runs that touch or overlap sp.
	i, _ := slices.BinarySearchFunc(s.spans, sp.First, func(e Span, o int64) int { return cmp.Compare(e.Next, o) })
	j := i
	for j < len(s.spans) && s.spans[j].First <= sp.Next {
		sp.First = min(sp.First, s.spans[j].First)
		sp.Next = max(sp.Next, s.spans[j].Next)
		j++
	}
	s.spans = slices.Replace(s.spans, i, j, sp)
}

// Contains reports whether o is in the set.
func (s OffsetSet) Contains(o int64) bool {
	_, found := slices.BinarySearchFunc(s.spans, o, func(e Span, o int64) int {
		if e.Contains(o) {
			return 0
		}
		return cmp.Compare(e.First, o)
	})
	return found
}

// Clone is a copy that shares nothing with s.
func (s OffsetSet) Clone() OffsetSet { return OffsetSet{slices.Clone(s.spans)} }

// Equal reports whether both sets hold the same offsets.
func (s OffsetSet) Equal(o OffsetSet) bool { return slices.Equal(s.spans, o.spans) }

// Union is the set of offsets in either. It takes time in proportion to their runs: routes leave a run for every few offsets.
func (s OffsetSet) Union(o OffsetSet) OffsetSet {
	a, b := s.spans, o.spans
	if len(a) == 0 || len(b) == 0 {
		return OffsetSet{slices.Concat(a, b)}
	}
	out := OffsetSet{make([]Span, 0, len(a)+len(b))}
	for len(a) > 0 || len(b) > 0 {
		if len(b) == 0 || len(a) > 0 && a[0].First <= b[0].First {
			out.AddSpan(a[0])
			a = a[1:]
		} else {
			out.AddSpan(b[0])
			b = b[1:]
		}
	}
	return out
}

// Minus is the set of offsets in s that are not in o.
func (s OffsetSet) Minus(o OffsetSet) OffsetSet {
	var out OffsetSet
	j := 0
	for _, sp := range s.spans {
		for j < len(o.spans) && o.spans[j].Next <= sp.First {
			j++
		}
		at := sp.First
		for k := j; k < len(o.spans) && o.spans[k].First < sp.Next; k++ {
			out.AddSpan(Span{at, o.spans[k].First})
			at = max(at, o.spans[k].Next)
		}
		out.AddSpan(Span{at, sp.Next})
	}
	return out
}

// Intersect is the set of offsets in both.
func (s OffsetSet) Intersect(o OffsetSet) OffsetSet { return s.Minus(s.Minus(o)) }

// Within is the part of the set that lies in sp. It costs what the part is long, however large the set.
func (s OffsetSet) Within(sp Span) (out OffsetSet) {
	i, _ := slices.BinarySearchFunc(s.spans, sp.First, func(e Span, o int64) int { return cmp.Compare(e.Next, o+1) })
	for ; i < len(s.spans) && s.spans[i].First < sp.Next; i++ {
		out.AddSpan(Span{max(s.spans[i].First, sp.First), min(s.spans[i].Next, sp.Next)})
	}
	return out
}

// Joined are the set's runs, those that are at most gap apart joined to one.
func (s OffsetSet) Joined(gap int64) (out []Span) {
	for _, sp := range s.spans {
		if n := len(out); n > 0 && sp.First-out[n-1].Next <= gap {
			out[n-1].Next = sp.Next
			continue
		}
		out = append(out, sp)
	}
	return out
}

// Bounds is the smallest span that covers the set; the zero Span if it is empty.
func (s OffsetSet) Bounds() Span {
	if len(s.spans) == 0 {
		return Span{}
	}
	return Span{s.spans[0].First, s.spans[len(s.spans)-1].Next}
}

// Halve splits the set into a lower and an upper half of (nearly) equal size.
func (s OffsetSet) Halve() (lo, hi OffsetSet) {
	left := s.Len() / 2
	for _, sp := range s.spans {
		n := min(left, sp.Len())
		lo.AddSpan(Span{sp.First, sp.First + n})
		hi.AddSpan(Span{sp.First + n, sp.Next})
		left -= n
	}
	return lo, hi
}

func (s OffsetSet) String() string {
	if len(s.spans) == 0 {
		return "{}"
	}
	var b strings.Builder
	for i, sp := range s.spans {
		if i > 0 {
			b.WriteByte(' ')
		}
		b.WriteString(sp.String())
	}
	return b.String()
}
