package watchdog

import (
	"cmp"
	"fmt"
	"time"

	waybill "github.com/waybill-data/waybill"
)

// BucketOffsets is how many offsets a bucket covers: those of one bitmap of the offset projection.
const BucketOffsets = 65536

// Bucket names BucketOffsets offsets of one partition, from Number*BucketOffsets on.
type Bucket struct {
	waybill.TopicPartition
	Number int64
}

// Span is the bucket's offsets.
func (b Bucket) Span() waybill.Span {
	return waybill.Span{First: b.Number * BucketOffsets, Next: (b.Number + 1) * BucketOffsets}
}

func compareBuckets(a, b Bucket) int {
	return cmp.Or(a.TopicPartition.Compare(b.TopicPartition), cmp.Compare(a.Number, b.Number))
}

// Account says what became of the offsets of a span that is on the ledger's account: Rows are in the table, Dead among the dead letters, the
// others neither.
type Account struct {
	waybill.TopicPartition
	waybill.Span
	Rows, Dead waybill.OffsetSet
}

// PresenceConfig says how the presence of rows is watched. The zero value of a field means its default.
type PresenceConfig struct {
	// Ages are how long after it was settled a span is compared offset by offset. Default 10 s, 1 min, 10 min. Beside that each bucket's
	// count is compared all the time.
	Ages []time.Duration
	// Buckets is how many are watched at once; beyond that the oldest are given up. Default 4,096, which are 268 million offsets. One costs
	// a few bytes, and at most 24 KiB where every other offset is no row.
	Buckets int
	// Repeat is how soon a bucket is compared offset by offset again while its count is not what it should be. Default 10 s.
	Repeat time.Duration
	// Twice: rows may be there twice (at-least-once).
	Twice bool
	// Forgets says why rows of the table may be gone by right, a TTL for one; empty: they may not.
	Forgets string
}

func (c PresenceConfig) withDefaults() PresenceConfig {
	if len(c.Ages) == 0 {
		c.Ages = []time.Duration{10 * time.Second, time.Minute, 10 * time.Minute}
	}
	if c.Buckets <= 0 {
		c.Buckets = 4096
	}
	if c.Repeat <= 0 {
		c.Repeat = 10 * time.Second
	}
	return c
}

// Presence watches that what is on the ledger's account is in the table, once, and nothing else (law L3).
//
// It knows for each bucket of offsets which of them are rows. There are two ways to look: a count of rows for each bucket, which costs the
// server next to nothing and which is made of all buckets in every round, and the very offsets, which are asked for where a count is not
// what it should be, where spans have come to an age at which they are due, after a restart of the server, and while something is wrong.
// What is compared was on account before the question was asked, so that batches under way are no matter.
type Presence struct {
	cfg     PresenceConfig
	buckets map[Bucket]*bucket
	newest  map[waybill.TopicPartition]int64 // bucket that accounts come into
	through map[waybill.TopicPartition]int64 // see Through
	faults  map[faultKey]map[int64]waybill.OffsetSet
	states  states
	touched map[faultKey]bool // judged since Say
	restart map[Bucket]bool   // to be compared after a restart of the server; nil: there was none
	what    string            // that restart, in words
	// inherited: partitions came whose worker before may have been comparing them after a restart, and did not get to the end. It is over
	// once their past has been adopted.
	inherited, adopted bool
	vague              map[waybill.TopicPartition][]Vague

	verified, given int64 // offsets that were compared for the first time; that are no longer watched
}

// faultKey is one kind of fault in one partition; its offsets are kept by bucket.
type faultKey struct {
	kind string
	tp   waybill.TopicPartition
}

// bucket is what should be there of one.
type bucket struct {
	// The sets while the bucket is filled, then packed.
	covered, rows, dead    waybill.OffsetSet
	pcovered, prows, pdead packed
	sealed                 bool
	seen                   int64     // of covered: offsets that have been compared
	changed, checked, due  time.Time // last account; last comparison of offsets; when the next one is due (zero: not by age)
	age                    int       // which of Ages is next
	pressing               bool
	counted                bool
}

// NewPresence watches nothing yet.
func NewPresence(cfg PresenceConfig) *Presence {
	return &Presence{cfg: cfg.withDefaults(), buckets: map[Bucket]*bucket{}, newest: map[waybill.TopicPartition]int64{}, through: map[waybill.TopicPartition]int64{},
		faults: map[faultKey]map[int64]waybill.OffsetSet{}, states: states{}, touched: map[faultKey]bool{}, vague: map[waybill.TopicPartition][]Vague{}}
}

// Hold begins to watch a partition, whose accounts before position come by Adopt.
func (p *Presence) Hold(tp waybill.TopicPartition, position int64) {
	if _, held := p.through[tp]; !held {
		p.through[tp] = position
		p.newest[tp] = -1
		p.inherited, p.adopted = true, false
		for _, kind := range p.kinds() {
			p.touched[faultKey{kind, tp}] = true
		}
	}
}

func (p *Presence) kinds() []string {
	return []string{KindRowsMissing, KindRowsRepeated, KindRowsUnexpected, KindDeadMissing}
}

// Held reports whether a partition is watched.
func (p *Presence) Held(tp waybill.TopicPartition) bool { _, held := p.through[tp]; return held }

// Partitions are those that are watched.
func (p *Presence) Partitions() []waybill.TopicPartition { return sortedKeys(p.through) }

// Release forgets a partition.
func (p *Presence) Release(tp waybill.TopicPartition) {
	delete(p.through, tp)
	delete(p.newest, tp)
	delete(p.vague, tp)
	p.states.forget(tp)
	for b := range p.buckets {
		if b.TopicPartition == tp {
			delete(p.buckets, b)
		}
	}
	for k := range p.faults {
		if k.tp == tp {
			delete(p.faults, k)
		}
	}
	for k := range p.touched {
		if k.tp == tp {
			delete(p.touched, k)
		}
	}
}

// Account takes in what has just been put on the ledger's account.
func (p *Presence) Account(now time.Time, a Account) {
	if !p.Held(a.TopicPartition) {
		return
	}
	p.put(now, a, func(b *bucket, _ waybill.Span) {
		if b.age = 0; b.due.IsZero() || b.due.After(now.Add(p.cfg.Ages[0])) {
			b.due = now.Add(p.cfg.Ages[0])
		}
	})
}

// put splits an account by bucket.
func (p *Presence) put(now time.Time, a Account, then func(*bucket, waybill.Span)) {
	for n := a.First / BucketOffsets; n*BucketOffsets < a.Next; n++ {
		at := Bucket{a.TopicPartition, n}
		b := p.buckets[at]
		if b == nil {
			b = &bucket{}
			p.buckets[at] = b
		}
		if n > p.newest[a.TopicPartition] {
			p.seal(Bucket{a.TopicPartition, p.newest[a.TopicPartition]})
			p.newest[a.TopicPartition] = n
		}
		b.open(at.Span().First)
		part := waybill.Span{First: max(a.First, at.Span().First), Next: min(a.Next, at.Span().Next)}
		b.covered.AddSpan(part)
		addWithin(&b.rows, a.Rows, part)
		addWithin(&b.dead, a.Dead, part)
		b.changed = now
		then(b, part)
		if n < p.newest[a.TopicPartition] {
			p.seal(at)
		}
	}
	p.bound()
}

func addWithin(to *waybill.OffsetSet, set waybill.OffsetSet, in waybill.Span) {
	for _, sp := range set.Within(in).Spans() {
		to.AddSpan(sp)
	}
}

func (p *Presence) seal(at Bucket) {
	b := p.buckets[at]
	if b == nil || b.sealed {
		return
	}
	base := at.Span().First
	b.pcovered, b.prows, b.pdead, b.sealed = pack(b.covered, base), pack(b.rows, base), pack(b.dead, base), true
	b.covered, b.rows, b.dead = waybill.OffsetSet{}, waybill.OffsetSet{}, waybill.OffsetSet{}
}

func (b *bucket) open(base int64) {
	if b.sealed {
		b.covered, b.rows, b.dead, b.sealed = b.pcovered.set(base), b.prows.set(base), b.pdead.set(base), false
		b.pcovered, b.prows, b.pdead = packed{}, packed{}, packed{}
	}
}

func (b *bucket) lens() (covered, rows int64) {
	if b.sealed {
		return b.pcovered.n, b.prows.n
	}
	return b.covered.Len(), b.rows.Len()
}

// bound gives up the oldest buckets beyond what may be watched.
func (p *Presence) bound() {
	for len(p.buckets) > p.cfg.Buckets {
		var oldest Bucket
		var since time.Time
		for at, b := range p.buckets {
			if since.IsZero() || b.changed.Before(since) || b.changed.Equal(since) && compareBuckets(at, oldest) < 0 {
				oldest, since = at, b.changed
			}
		}
		n, _ := p.buckets[oldest].lens()
		p.given += n
		delete(p.buckets, oldest)
		for _, kind := range p.kinds() {
			delete(p.faults[faultKey{kind, oldest.TopicPartition}], oldest.Number)
		}
	}
}

// Full reports whether no more buckets can be watched: adopting more would give up others.
func (p *Presence) Full() bool { return len(p.buckets) >= p.cfg.Buckets }

// Extents are the buckets that are watched, as a range of offsets for each partition, for a question about their counts.
func (p *Presence) Extents() map[waybill.TopicPartition]waybill.Span {
	out := map[waybill.TopicPartition]waybill.Span{}
	for at := range p.buckets {
		sp := at.Span()
		if known, ok := out[at.TopicPartition]; ok {
			sp = waybill.Span{First: min(sp.First, known.First), Next: max(sp.Next, known.Next)}
		}
		out[at.TopicPartition] = sp
	}
	return out
}

// Expect is how many rows each bucket should have: to be asked before the table is counted, and handed to Counted after.
func (p *Presence) Expect() map[Bucket]int64 {
	out := make(map[Bucket]int64, len(p.buckets))
	for at, b := range p.buckets {
		_, out[at] = b.lens()
	}
	return out
}

// Counted compares counts of rows with what was expected; a bucket without an entry has none. Where they differ the offsets are asked for. More
// than expected may be rows under way, unless all of the bucket is on account.
func (p *Presence) Counted(now time.Time, expected, counts map[Bucket]int64) {
	for at, want := range expected {
		b := p.buckets[at]
		if b == nil {
			continue
		}
		have := counts[at]
		covered, _ := b.lens()
		b.counted = true
		switch {
		case have == want,
			have < want && p.cfg.Forgets != "",
			have > want && p.cfg.Twice:
		case have > want && covered < BucketOffsets, now.Sub(b.checked) < p.cfg.Repeat:
			// Batches under way are the likely reason, or it has just been looked at: in good time.
			if soon := b.checked.Add(p.cfg.Repeat); b.due.IsZero() || b.due.After(soon) {
				b.due = soon
			}
		default:
			b.pressing = true
		}
	}
}

// Adopted: all of the past of the partitions that are held has been adopted, or as much of it as can be watched.
func (p *Presence) Adopted() { p.adopted = true }

// Restarted has all that was put on account since then compared at once: the server may have lost what it had not written to disk. what says what
// has happened, for the finding that is open until that is done.
func (p *Presence) Restarted(since time.Time, what string) (out Said) {
	p.restart, p.what = map[Bucket]bool{}, what
	for at, b := range p.buckets {
		if !b.changed.Before(since) {
			b.pressing, b.checked, p.restart[at] = true, time.Time{}, true
		}
	}
	p.unverified(&out)
	return out
}

// unverified tells that there is something left to be compared, and tells it again when that has become less: another worker, which has
// compared its own partitions, may have closed the finding.
func (p *Presence) unverified(out *Said) {
	p.states.tell(out, waybill.Finding{Kind: KindUnverified, Severity: waybill.SeverityWarning,
		Message: fmt.Sprintf("%s: what was written before, and was not on disk, may be gone; %d ranges of up to %d offsets are compared with the table", p.what, len(p.restart), BucketOffsets),
		Action:  "wait: rows that are missing become a finding of their own; fsync_after_insert on the table keeps this from happening"}, fmt.Sprint(p.what, len(p.restart)))
}

// verifiedRestart closes the finding about a restart once everything has been compared: a restart that was noticed here, or one whose partitions
// came from a worker that has ended before it was done.
func (p *Presence) verifiedRestart(out *Said) {
	for at := range p.restart {
		if p.buckets[at] == nil {
			delete(p.restart, at) // given up, or with another worker now
		}
	}
	switch {
	case len(p.restart) > 0:
		p.unverified(out)
	case p.inherited && !(p.adopted && p.allSettled()), p.restart == nil && !p.inherited:
	default:
		key := waybill.FindingKey{Kind: KindUnverified}
		if st := p.states[key]; st != nil && !st.open {
			delete(p.states, key) // it was closed once; what is closed now is another's
		}
		p.restart, p.inherited = nil, false
		p.states.clear(out, key, "all that was written before the restart has been compared with the table")
	}
}

func (p *Presence) allSettled() bool {
	for tp := range p.through {
		if !p.settled(tp) {
			return false
		}
	}
	return true
}

// Through is the offset of a partition before which everything that was put on account since it has been watched was compared, offset by
// offset.
func (p *Presence) Through(tp waybill.TopicPartition) int64 { return p.through[tp] }

// Settled is the end of what is known to be on account of a partition; 0 if nothing is.
func (p *Presence) Settled(tp waybill.TopicPartition) int64 {
	at := Bucket{tp, p.newest[tp]}
	b := p.buckets[at]
	switch {
	case b == nil:
		return 0
	case b.sealed:
		return b.pcovered.set(at.Span().First).Bounds().Next
	}
	return b.covered.Bounds().Next
}

// Forgets says why rows may be gone by right; empty: they may not.
func (p *Presence) Forgets() string { return p.cfg.Forgets }

// Progress is how far the comparison is.
type Progress struct {
	Verified int64     // offsets compared, since the beginning
	Given    int64     // offsets that are no longer watched, for want of memory
	Waiting  int64     // offsets on account that have not been compared yet
	Since    time.Time // when the oldest of them was due; zero: none is late
	Watched  int       // buckets
}

// Progress says how far the comparison is.
func (p *Presence) Progress() Progress {
	out := Progress{Verified: p.verified, Given: p.given, Watched: len(p.buckets)}
	for _, b := range p.buckets {
		covered, _ := b.lens()
		if b.checked.IsZero() || b.changed.After(b.checked) {
			out.Waiting += max(0, covered-b.seen)
			if !b.due.IsZero() && (out.Since.IsZero() || b.due.Before(out.Since)) {
				out.Since = b.due
			}
		}
	}
	return out
}
