// Package minutes counts what became of records by the minute of their time.
//
// A [Book] is of one span of one partition, and what it says is a function of the records and the plan alone: whoever reads the
// span again counts the same. A span whose records lie in more than [MaxBuckets] minutes is counted by hours, and if need be by days,
// months or years: sums are kept, and a bucket says how wide it is.
package minutes

import (
	"cmp"
	"slices"
	"time"
	"unsafe"

	"github.com/waybill-data/waybill"
)

// MaxBuckets is how many buckets a span has at most: a day's minutes.
const MaxBuckets = 1440

// Outcome is what became of a record, or is said beside it.
type Outcome uint8

// The outcomes. The first four add up to the records read; the others say more of records that have been counted.
const (
	Written Outcome = iota
	Filtered
	DeadLettered
	Tombstones
	Rescued
	Redacted
	Outcomes
)

var outcomeNames = [Outcomes]string{"written", "filtered", "dead_lettered", "tombstones", "rescued", "redacted"}

func (o Outcome) String() string { return outcomeNames[o] }

// Counts are records, by outcome.
type Counts [Outcomes]int64

// Read is how many records there are.
func (c *Counts) Read() int64 { return c[Written] + c[Filtered] + c[DeadLettered] + c[Tombstones] }

// Add counts o as well.
func (c *Counts) Add(o *Counts) {
	for i := range c {
		c[i] += o[i]
	}
}

// Width is how long a bucket is.
type Width uint8

// The widths. Days, months and years are those of UTC.
const (
	Minute Width = iota
	Hour
	Day
	Month
	Year
	widths
)

var widthNames = [widths]string{"minute", "hour", "day", "month", "year"}

func (w Width) String() string { return widthNames[min(w, Year)] }

// Key names a bucket: when it begins, in seconds since the Unix epoch, and in the seconds within that minute how wide it is. It
// is what the ledger keeps, as a DateTime.
type Key uint32

// Begin is when the bucket begins.
func (k Key) Begin() time.Time { return time.Unix(int64(k-k%60), 0).UTC() }

// Width is how long the bucket is.
func (k Key) Width() Width { return Width(min(k%60, Key(Year))) }

// End is when the bucket ends.
func (k Key) End() time.Time {
	begin := k.Begin()
	switch k.Width() {
	case Hour:
		return begin.Add(time.Hour)
	case Day:
		return begin.AddDate(0, 0, 1)
	case Month:
		return begin.AddDate(0, 1, 0)
	case Year:
		return begin.AddDate(1, 0, 0)
	}
	return begin.Add(time.Minute)
}

// Within is the bucket of a width that the bucket, which is no wider, lies in.
func (k Key) Within(w Width) Key {
	begin := k - k%60
	switch w {
	case Hour:
		return begin - begin%3600 + Key(Hour)
	case Day:
		return begin - begin%86400 + Key(Day)
	case Month:
		t := k.Begin()
		return Key(time.Date(t.Year(), t.Month(), 1, 0, 0, 0, 0, time.UTC).Unix()) + Key(Month) //nolint:gosec // not before 1970
	case Year:
		return Key(time.Date(k.Begin().Year(), 1, 1, 0, 0, 0, 0, time.UTC).Unix()) + Key(Year) //nolint:gosec // not before 1970
	}
	return begin
}

const (
	minuteMillis = 60_000
	// lastMinute is the last that a DateTime has, in 2106.
	lastMinute = (1<<32 - 1) / 60
)

// Of is the minute of a time in milliseconds since the Unix epoch. What lies before 1970, as the time of a record that has none, is in the first
// minute there is; what lies after 2106 in the last.
func Of(millis int64) Key {
	return Key(min(max(millis, 0)/minuteMillis, lastMinute) * 60)
}

// Bucket is what became of the records of one stretch of time.
type Bucket struct {
	Key
	Counts
}

// run says that records from an offset on are of one minute.
type run struct {
	first  int64
	minute Key
}

// Book counts the records of a span by their time. The zero value is empty. It belongs to one goroutine until the span is closed, and is
// read only from then on.
type Book struct {
	buckets []Bucket // in order, at most MaxBuckets, all of the same width
	width   Width
	// runs tell the minute of an offset, for rows that the server turns out to refuse.
	runs []run
	// The bucket of the last record, and the times that are in its minute: [from, to).
	last     int
	from, to int64
}

// Note is the counts of the bucket for a record of an offset and a time, in milliseconds since the Unix epoch. Offsets come in order.
// The counts are the caller's until it calls again.
func (b *Book) Note(offset, millis int64) *Counts {
	if b.from <= millis && millis < b.to {
		return &b.buckets[b.last].Counts
	}
	return b.turn(offset, millis)
}

// turn goes to another minute.
func (b *Book) turn(offset, millis int64) *Counts {
	minute := Of(millis)
	b.from = int64(minute) * 1000
	b.to = b.from + minuteMillis
	if n := len(b.runs); n == 0 || b.runs[n-1].minute != minute {
		b.runs = append(b.runs, run{offset, minute})
	}
	at, found := b.find(minute)
	for !found && len(b.buckets) == MaxBuckets {
		b.widen()
		at, found = b.find(minute)
	}
	if !found {
		b.buckets = slices.Insert(b.buckets, at, Bucket{Key: minute.Within(b.width)})
	}
	b.last = at
	return &b.buckets[at].Counts
}

func (b *Book) find(minute Key) (int, bool) {
	return slices.BinarySearchFunc(b.buckets, minute.Within(b.width), func(e Bucket, k Key) int { return cmp.Compare(e.Key, k) })
}

// widen makes the buckets wider by one step. How wide they end up depends on the times alone, not on their order.
func (b *Book) widen() {
	b.width++
	b.buckets = joined(b.buckets, b.width)
}

// joined is ordered buckets joined to wider ones.
func joined(in []Bucket, w Width) []Bucket {
	out := in[:0]
	for _, e := range in {
		e.Key = e.Within(w)
		if n := len(out); n > 0 && out[n-1].Key == e.Key {
			out[n-1].Add(&e.Counts)
			continue
		}
		out = append(out, e)
	}
	return out
}

// Size is about how many bytes the book takes in memory.
func (b *Book) Size() int64 {
	return int64(len(b.buckets))*int64(unsafe.Sizeof(Bucket{})) + int64(len(b.runs))*int64(unsafe.Sizeof(run{}))
}

// Buckets are the counts of the span, in order, once rows have been refused by the server: those are dead letters, and of the rescued they
// are no more.
func (b *Book) Buckets(refused, rescued waybill.OffsetSet) []Bucket {
	out := slices.Clone(b.buckets)
	for _, sp := range refused.Spans() {
		for o := sp.First; o < sp.Next; o++ {
			at, found := b.find(b.minuteOf(o))
			if !found {
				continue // no offset of this span
			}
			out[at].Counts[Written]--
			out[at].Counts[DeadLettered]++
			if rescued.Contains(o) {
				out[at].Counts[Rescued]--
			}
		}
	}
	return out
}

// minuteOf is the minute of a record of the span.
func (b *Book) minuteOf(offset int64) Key {
	at, found := slices.BinarySearchFunc(b.runs, offset, func(r run, o int64) int { return cmp.Compare(r.first, o) })
	if !found {
		at--
	}
	if at < 0 {
		return 0
	}
	return b.runs[at].minute
}

// Sum is all buckets together.
func Sum(buckets []Bucket) (sum Counts) {
	for i := range buckets {
		sum.Add(&buckets[i].Counts)
	}
	return sum
}
