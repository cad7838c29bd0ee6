package watchdog

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
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

// Adopted is a row of the ledger from before the partition was watched: what it says of a span, in numbers.
type Adopted struct {
	waybill.Span
	Written, Dead int64
}

// Vague is a row of the ledger of which it cannot be told which offsets should have rows: their number is not what it should be, and they
// are not all of one kind.
type Vague struct {
	Adopted
	Have int64 // rows that are there
}

// Kind is what the numbers say.
func (v Vague) Kind() string {
	if v.Have > v.Written {
		return KindRowsUnexpected
	}
	return KindRowsMissing
}

// maxVague is how many of a partition are looked at again; the finding about those beyond stays open.
const maxVague = 1000

// Adopt takes in rows of the ledger of a partition, with the offsets that have a row in the table and those that are dead letters, over the rows'
// extent. It returns those of which it cannot be told what is wrong. They are to be asked about again, and handed to Readopt: until then no finding
// about their partition closes.
func (p *Presence) Adopt(now time.Time, tp waybill.TopicPartition, rows []Adopted, present, dead waybill.OffsetSet) (vague []Vague) {
	if !p.Held(tp) {
		return nil
	}
	for _, r := range rows {
		has, gone := present.Within(r.Span), dead.Within(r.Span)
		want, known := r.want(has, gone)
		if !known {
			if v := (Vague{r, has.Len()}); v.Kind() != KindRowsMissing || p.cfg.Forgets == "" {
				// Not on account until it is known: rows that come after all would be rows that should not be there.
				vague = append(vague, v)
				continue
			}
			want = has
		}
		p.put(now, Account{tp, r.Span, want, gone}, func(b *bucket, part waybill.Span) {
			b.pressing = b.pressing || !want.Equal(has)
			if known {
				b.seen += part.Len()
				p.verified += part.Len()
			}
		})
	}
	p.vague[tp] = append(p.vague[tp], vague...)
	return vague
}

// Vague are the rows of the ledger that are to be asked about again.
func (p *Presence) Vague(tp waybill.TopicPartition) []Adopted {
	var out []Adopted
	for _, v := range p.vague[tp][:min(len(p.vague[tp]), maxVague)] {
		out = append(out, v.Adopted)
	}
	return out
}

// Readopt looks again at what Vague has returned.
func (p *Presence) Readopt(now time.Time, tp waybill.TopicPartition, present, dead waybill.OffsetSet) (vague []Vague) {
	again := p.Vague(tp)
	p.vague[tp] = slices.Delete(p.vague[tp], 0, len(again))
	for _, kind := range p.kinds() {
		p.touched[faultKey{kind, tp}] = true // what is over has to be said
	}
	return p.Adopt(now, tp, again, present, dead)
}

// isVague reports whether rows are missing, or too many, that have no names.
func (p *Presence) isVague(k faultKey) bool {
	return slices.ContainsFunc(p.vague[k.tp], func(v Vague) bool { return v.Kind() == k.kind })
}

// want is which offsets of a ledger row's span should have rows.
func (r Adopted) want(has, dead waybill.OffsetSet) (waybill.OffsetSet, bool) {
	if r.Written+r.Dead == r.Span.Len() && dead.Len() == r.Dead { // every offset is the one or the other
		return waybill.OffsetsIn(r.Span).Minus(dead), true
	}
	if has.Len() == r.Written {
		return has, true
	}
	// All that is neither there nor a dead letter is what is missing.
	if neither := waybill.OffsetsIn(r.Span).Minus(has).Minus(dead); r.Written-has.Len() == neither.Len() {
		return has.Union(neither), true
	}
	return waybill.OffsetSet{}, false
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

// Check is a bucket whose offsets are to be asked for, with what should be there.
type Check struct {
	Bucket
	Covered, Rows, Dead waybill.OffsetSet
}

// Due are up to n buckets whose offsets are to be compared now, the pressing ones first.
func (p *Presence) Due(now time.Time, n int) []Check {
	var due []Bucket
	for at, b := range p.buckets {
		if b.pressing || !b.due.IsZero() && !b.due.After(now) {
			due = append(due, at)
		}
	}
	slices.SortFunc(due, func(x, y Bucket) int {
		a, b := p.buckets[x], p.buckets[y]
		if a.pressing != b.pressing {
			if a.pressing {
				return -1
			}
			return 1
		}
		return cmp.Or(a.due.Compare(b.due), compareBuckets(x, y))
	})
	var out []Check
	for _, at := range due[:min(n, len(due))] {
		b := p.buckets[at]
		c := Check{at, b.covered.Clone(), b.rows.Clone(), b.dead.Clone()}
		if base := at.Span().First; b.sealed {
			c = Check{at, b.pcovered.set(base), b.prows.set(base), b.pdead.set(base)}
		}
		out = append(out, c)
	}
	return out
}

// Seen is what the tables hold of a bucket.
type Seen struct {
	Present  waybill.OffsetSet // offsets with a row
	Repeated waybill.OffsetSet // with several
	Dead     waybill.OffsetSet // dead letters
}

// Judge compares what a bucket holds with what should be there. What is wrong is said by Say.
func (p *Presence) Judge(now time.Time, c Check, s Seen) {
	b := p.buckets[c.Bucket]
	if b == nil {
		return
	}
	missing := c.Rows.Minus(s.Present)
	if p.cfg.Forgets != "" {
		missing = waybill.OffsetSet{}
	}
	repeated := s.Repeated.Intersect(c.Covered)
	if p.cfg.Twice {
		repeated = waybill.OffsetSet{}
	}
	p.fault(KindRowsMissing, c.Bucket, missing)
	p.fault(KindRowsRepeated, c.Bucket, repeated)
	p.fault(KindRowsUnexpected, c.Bucket, s.Present.Intersect(c.Covered).Minus(c.Rows))
	p.fault(KindDeadMissing, c.Bucket, c.Dead.Minus(s.Dead))
	if n := c.Covered.Len(); n > b.seen {
		p.verified += n - b.seen
		b.seen = n
	}
	for _, sp := range c.Covered.Spans() {
		if at := p.through[c.TopicPartition]; sp.First <= at && at < sp.Next {
			p.through[c.TopicPartition] = sp.Next
		}
	}
	b.pressing, b.checked, b.due = false, now, time.Time{}
	delete(p.restart, c.Bucket)
	if b.age++; b.age < len(p.cfg.Ages) {
		b.due = later(b.changed.Add(p.cfg.Ages[b.age]), now)
	}
	if p.faulty(c.Bucket) {
		b.due = now.Add(p.cfg.Repeat)
	}
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

func (p *Presence) faulty(at Bucket) bool {
	return slices.ContainsFunc(p.kinds(), func(kind string) bool {
		set := p.faults[faultKey{kind, at.TopicPartition}][at.Number]
		return !set.Empty()
	})
}

func (p *Presence) fault(kind string, at Bucket, set waybill.OffsetSet) {
	k := faultKey{kind, at.TopicPartition}
	by := p.faults[k]
	if by == nil {
		by = map[int64]waybill.OffsetSet{}
		p.faults[k] = by
	}
	if by[at.Number] = set; set.Empty() {
		delete(by, at.Number)
	}
	p.touched[k] = true
}

// Say is what is to be said after some buckets have been judged.
func (p *Presence) Say() (out Said) {
	keys := slices.SortedFunc(maps.Keys(p.touched), func(a, b faultKey) int { return cmp.Or(a.tp.Compare(b.tp), cmp.Compare(a.kind, b.kind)) })
	for _, k := range keys {
		var all waybill.OffsetSet
		for _, n := range slices.Sorted(maps.Keys(p.faults[k])) {
			all = all.Union(p.faults[k][n])
		}
		if all.Empty() {
			if p.settled(k.tp) && !p.isVague(k) {
				p.states.clear(&out, waybill.FindingKey{Kind: k.kind, TopicPartition: k.tp}, "the tables hold again what the ledger says")
				delete(p.touched, k)
			}
			continue
		}
		delete(p.touched, k)
		p.states.tell(&out, presenceFinding(k, all), all.String())
	}
	p.verifiedRestart(&out)
	return out
}

// Wrong: something is not as it should be, or has to be looked at before that can be said.
func (p *Presence) Wrong() bool {
	for _, by := range p.faults {
		if len(by) > 0 {
			return true
		}
	}
	for _, b := range p.buckets {
		if b.pressing {
			return true
		}
	}
	for _, of := range p.vague {
		if len(of) > 0 {
			return true
		}
	}
	return len(p.touched) > 0 || p.restart != nil || p.inherited
}

// settled: everything that is watched of the partition has been counted at least once, and nothing waits to be looked at: only then it can be
// said that nothing is wrong.
func (p *Presence) settled(tp waybill.TopicPartition) bool {
	for at, b := range p.buckets {
		if at.TopicPartition == tp && (b.pressing || !b.counted) {
			return false
		}
	}
	return true
}

var presenceWords = map[string][2]string{
	KindRowsMissing:    {"rows that the ledger says were written are not in the table", "find out who removed them (system.mutations, system.part_log, a TTL); `waybill audit` checks the rest; replay the offsets from Kafka while it has them"},
	KindRowsRepeated:   {"offsets have more than one row in the table", "find out who else writes into the table (system.query_log), and remove the copies"},
	KindRowsUnexpected: {"offsets have a row, and are dead letters or no rows by their plan", "find out who else writes into the table, and remove the rows"},
	KindDeadMissing:    {"dead letters that the ledger says were kept are not in the table of dead letters", "find out who removed them; read the records from Kafka while it has them"},
}

func presenceFinding(k faultKey, set waybill.OffsetSet) waybill.Finding {
	words := presenceWords[k.kind]
	return waybill.Finding{Kind: k.kind, Severity: waybill.SeverityError, TopicPartition: k.tp, Span: set.Bounds(),
		Message: fmt.Sprintf("%d %s: %s of %s", set.Len(), words[0], Ranges(set, 10), k.tp), Action: words[1], Evidence: evidenceOf("L3", set)}
}

// maxEvidence is how many ranges of offsets go into a finding's evidence.
const maxEvidence = 1000

// evidenceOf is JSON that names the offsets.
func evidenceOf(law string, set waybill.OffsetSet) string {
	e := struct {
		Law     string     `json:"law"`
		Count   int64      `json:"count"`
		Offsets [][2]int64 `json:"offsets"` // half-open ranges
		More    int        `json:"more_ranges,omitempty"`
	}{Law: law, Count: set.Len()}
	spans := set.Spans()
	for _, sp := range spans[:min(len(spans), maxEvidence)] {
		e.Offsets = append(e.Offsets, [2]int64{sp.First, sp.Next})
	}
	e.More = max(0, len(spans)-maxEvidence)
	text, err := json.Marshal(e)
	if err != nil {
		return ""
	}
	return string(text)
}

// Ranges writes up to n runs of offsets for a person: "3, 7-9 and 12 more ranges".
func Ranges(set waybill.OffsetSet, n int) string {
	var words []string
	spans := set.Spans()
	for _, sp := range spans[:min(len(spans), n)] {
		if sp.Len() == 1 {
			words = append(words, fmt.Sprint(sp.First))
		} else {
			words = append(words, fmt.Sprintf("%d-%d", sp.First, sp.Next-1))
		}
	}
	text := "offsets " + strings.Join(words, ", ")
	if len(spans) > n {
		text += fmt.Sprintf(" and %d more ranges", len(spans)-n)
	}
	return text
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
