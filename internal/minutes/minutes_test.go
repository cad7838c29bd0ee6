package minutes

import (
	"math"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/waybill-data/waybill"
)

// noted is one record as a test draws it.
type noted struct {
	offset, at int64
	fate       Outcome
	rescued    bool
}

func drawRecords(t *rapid.T, spread int64) []noted {
	base := rapid.Int64Range(0, 4e12).Draw(t, "base")
	var out []noted
	offset := rapid.Int64Range(0, 1e6).Draw(t, "first offset")
	for range rapid.IntRange(0, 60).Draw(t, "records") {
		n := noted{offset: offset, at: base + rapid.Int64Range(0, spread).Draw(t, "time"), fate: Outcome(rapid.IntRange(0, int(Tombstones)).Draw(t, "fate"))}
		n.rescued = n.fate == Written && rapid.Bool().Draw(t, "rescued")
		offset += rapid.Int64Range(1, 5).Draw(t, "hole")
		out = append(out, n)
	}
	return out
}

func book(records []noted) (b Book, rescued waybill.OffsetSet) {
	for _, r := range records {
		c := b.Note(r.offset, r.at)
		c[r.fate]++
		if r.rescued {
			c[Rescued]++
			rescued.Add(r.offset)
		}
	}
	return b, rescued
}

// plainly counts by minute without any of the book's ways to be fast, rows that were refused included.
func plainly(records []noted, refused waybill.OffsetSet) map[Key]Counts {
	out := map[Key]Counts{}
	for _, r := range records {
		c := out[Of(r.at)]
		switch {
		case r.fate == Written && refused.Contains(r.offset):
			c[DeadLettered]++
		default:
			c[r.fate]++
			if r.rescued {
				c[Rescued]++
			}
		}
		out[Of(r.at)] = c
	}
	return out
}

func TestBook_CountsEachRecordInItsMinute(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		records := drawRecords(t, rapid.SampledFrom([]int64{1, 100_000, 3_600_000, 1e12}).Draw(t, "spread"))
		b, rescued := book(records)
		var refused waybill.OffsetSet
		for _, r := range records {
			if r.fate == Written && rapid.Bool().Draw(t, "refused") {
				refused.Add(r.offset)
			}
		}
		want := plainly(records, refused)
		got := b.Buckets(refused, rescued)
		if len(got) != len(want) || !slices.IsSortedFunc(got, func(a, b Bucket) int { return int(int64(a.Key) - int64(b.Key)) }) {
			t.Fatalf("buckets %v, want %v", got, want)
		}
		for _, e := range got {
			if e.Counts != want[e.Key] {
				t.Fatalf("minute %s: %v, want %v", e.Begin(), e.Counts, want[e.Key])
			}
		}
		if sum := Sum(got); sum.Read() != int64(len(records)) {
			t.Fatalf("%d of %d records", sum.Read(), len(records))
		}
	})
}

// What is said of a span must not depend on the order of its times: it is rebuilt by others.
func TestBook_WidensToWhatTheTimesNeed(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		step  time.Duration
		n     int
		width Width
		want  int
	}{
		{time.Minute, MaxBuckets, Minute, MaxBuckets},
		{time.Minute, MaxBuckets + 1, Hour, 25},
		{time.Hour, MaxBuckets + 1, Day, 61},
		{24 * time.Hour, MaxBuckets + 1, Month, 48},
		{27 * 24 * time.Hour, 1800, Year, 133},
	} {
		var times []int64
		for i := range tt.n {
			times = append(times, int64(i)*tt.step.Milliseconds())
		}
		var first []Bucket
		for range 3 {
			var b Book
			for i, at := range times {
				b.Note(int64(i), at)[Written]++
			}
			got := b.Buckets(waybill.OffsetSet{}, waybill.OffsetSet{})
			if sum := Sum(got); sum[Written] != int64(tt.n) || len(got) != tt.want || got[0].Width() != tt.width || got[len(got)-1].Width() != tt.width {
				t.Errorf("%d every %s: %d buckets of a %s, %d records", tt.n, tt.step, len(got), got[0].Width(), sum[Written])
			}
			if first != nil && !slices.Equal(got, first) {
				t.Errorf("%d every %s: another order gives other buckets", tt.n, tt.step)
			}
			first = got
			slices.Reverse(times)
			times[0], times[len(times)/2] = times[len(times)/2], times[0]
		}
	}
}

func TestKey(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 2, 28, 23, 59, 59, 0, time.UTC)
	for w, want := range map[Width][2]string{
		Minute: {"2026-02-28T23:59:00Z", "2026-03-01T00:00:00Z"}, Hour: {"2026-02-28T23:00:00Z", "2026-03-01T00:00:00Z"},
		Day: {"2026-02-28T00:00:00Z", "2026-03-01T00:00:00Z"}, Month: {"2026-02-01T00:00:00Z", "2026-03-01T00:00:00Z"},
		Year: {"2026-01-01T00:00:00Z", "2027-01-01T00:00:00Z"},
	} {
		k := Of(at.UnixMilli()).Within(w)
		if got := [2]string{k.Begin().Format(time.RFC3339), k.End().Format(time.RFC3339)}; got != want || k.Width() != w {
			t.Errorf("%s: %v of a %s, want %v", w, got, k.Width(), want)
		}
	}
	for _, millis := range []int64{-1, math.MinInt64, 0, math.MaxInt64, 1 << 52} {
		if k := Of(millis); k != 0 && k != lastMinute*60 {
			t.Errorf("%d is in %s", millis, k.Begin())
		}
	}
	var b Book // times outside of what a DateTime holds are looked up each time, and land in one bucket
	for i, millis := range []int64{-1, math.MinInt64, math.MaxInt64, 1 << 52, 5} {
		b.Note(int64(i), millis)[Written]++
	}
	if got := b.Buckets(waybill.OffsetSet{}, waybill.OffsetSet{}); len(got) != 2 || got[0].Counts[Written] != 3 || got[1].Counts[Written] != 2 {
		t.Errorf("buckets %v", got)
	}
}

func BenchmarkNote(b *testing.B) {
	for name, step := range map[string]int64{"in order": 5, "a minute each": minuteMillis, "far apart": 997 * minuteMillis} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			var k Book
			i := int64(0)
			for b.Loop() {
				if i%20_000 == 0 {
					k = Book{buckets: k.buckets[:0], runs: k.runs[:0]}
				}
				k.Note(i, 1_700_000_000_000+i*step%(1000*minuteMillis))[Written]++
				i++
			}
		})
	}
}
