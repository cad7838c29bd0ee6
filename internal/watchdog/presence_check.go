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
