package waybill_test

import (
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/waybill-data/waybill"
)

// model is a set of offsets as plainly as it can be kept.
type model map[int64]bool

func (m model) of(keep func(int64) bool) waybill.OffsetSet {
	var out []int64
	for o := range m {
		if keep(o) {
			out = append(out, o)
		}
	}
	return waybill.OffsetsOf(out...)
}

func drawSet(t *rapid.T, name string) (waybill.OffsetSet, model) {
	m := model{}
	var s waybill.OffsetSet
	for _, first := range rapid.SliceOfN(rapid.Int64Range(0, 60), 0, 12).Draw(t, name) {
		sp := waybill.Span{First: first, Next: first + rapid.Int64Range(-1, 8).Draw(t, name+" length")}
		s.AddSpan(sp)
		for o := sp.First; o < sp.Next; o++ {
			m[o] = true
		}
	}
	return s, m
}

func TestOffsetSet_IsASet(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		a, ma := drawSet(t, "a")
		b, mb := drawSet(t, "b")
		before := a.String() + b.String()
		both := model{}
		for o := range ma {
			both[o] = true
		}
		for o := range mb {
			both[o] = true
		}
		check := func(op string, got waybill.OffsetSet, keep func(int64) bool) {
			if want := both.of(keep); !got.Equal(want) {
				t.Fatalf("%s of %s and %s: %s, want %s", op, a, b, got, want)
			}
			sound(t, got)
		}
		sound(t, a)
		check("union", a.Union(b), func(int64) bool { return true })
		check("minus", a.Minus(b), func(o int64) bool { return ma[o] && !mb[o] })
		check("intersect", a.Intersect(b), func(o int64) bool { return ma[o] && mb[o] })
		within := waybill.Span{First: rapid.Int64Range(0, 70).Draw(t, "first"), Next: rapid.Int64Range(0, 70).Draw(t, "next")}
		check("within", a.Within(within), func(o int64) bool { return ma[o] && within.Contains(o) })
		if a.Len() != int64(len(ma)) || a.Empty() != (len(ma) == 0) {
			t.Fatalf("%s has length %d, want %d", a, a.Len(), len(ma))
		}
		for o := int64(-1); o < 72; o++ {
			if a.Contains(o) != ma[o] {
				t.Fatalf("%s contains %d: %v", a, o, a.Contains(o))
			}
		}
		if a.String()+b.String() != before {
			t.Fatalf("an operation changed its operands: %s and %s, were %s", a, b, before)
		}
	})
}

func TestOffsetSet_HalvesAreDisjointAndEven(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		s, _ := drawSet(t, "s")
		lo, hi := s.Halve()
		sound(t, lo)
		sound(t, hi)
		if !lo.Union(hi).Equal(s) || !lo.Intersect(hi).Empty() || hi.Len()-lo.Len() > 1 || lo.Len() > hi.Len() {
			t.Fatalf("%s was halved into %s and %s", s, lo, hi)
		}
		if !lo.Empty() && lo.Bounds().Next > hi.Bounds().First {
			t.Fatalf("%s is not below %s", lo, hi)
		}
	})
}

func TestOffsetSet_CloneSharesNothing(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		s, _ := drawSet(t, "s")
		before := s.String()
		c := s.Clone()
		for _, o := range rapid.SliceOf(rapid.Int64Range(0, 70)).Draw(t, "added") {
			c.Add(o)
		}
		if s.String() != before {
			t.Fatalf("%s became %s", before, s)
		}
	})
}

// sound: the runs are sorted, disjoint, apart and not empty.
func sound(t *rapid.T, s waybill.OffsetSet) {
	spans := s.Spans()
	if !slices.IsSortedFunc(spans, func(a, b waybill.Span) int { return int(a.First - b.First) }) {
		t.Fatalf("%s is not sorted", s)
	}
	for i, sp := range spans {
		if sp.Len() <= 0 || i > 0 && spans[i-1].Next >= sp.First {
			t.Fatalf("%s holds a run that is empty or touches the one before", s)
		}
	}
}
