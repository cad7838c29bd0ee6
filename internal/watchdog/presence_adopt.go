package watchdog

import (
	"slices"
	"time"

	waybill "github.com/waybill-data/waybill"
)

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
