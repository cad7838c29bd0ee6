package watchdog

import (
	"fmt"

	waybill "github.com/waybill-data/waybill"
)

// Laws passes on what is wrong with the ledger itself (laws L1 and L2), and closes it when it no longer is.
type Laws struct {
	states states
}

// NewLaws knows of nothing.
func NewLaws() *Laws { return &Laws{states{}} }

// Kinds of finding about the ledger; the names are those of package ledger.
const (
	kindGap        = "ledger_gap"
	kindOverlap    = "ledger_overlap"
	kindUnbalanced = "ledger_unbalanced"
)

// Look takes in all that is wrong now in these partitions. Of several findings of a kind in one partition one is made.
func (d *Laws) Look(held []waybill.TopicPartition, all []waybill.Finding) (out Said) {
	for _, tp := range held {
		for _, kind := range []string{kindGap, kindOverlap, kindUnbalanced} {
			var set waybill.OffsetSet
			var first *waybill.Finding
			n := 0
			for i := range all {
				f := &all[i]
				if f.Kind != kind || f.TopicPartition != tp {
					continue
				}
				if n++; first == nil {
					first = f
				}
				set.AddSpan(f.Span)
			}
			if first == nil {
				d.states.clear(&out, waybill.FindingKey{Kind: kind, TopicPartition: tp}, "the ledger accounts for the offsets once, and adds up")
				continue
			}
			f, law := *first, "L1"
			if kind == kindUnbalanced {
				law = "L2"
			}
			f.Span, f.Evidence = set.Bounds(), evidenceOf(law, set)
			if n > 1 {
				f.Message += fmt.Sprintf("; and %d more such spans: %s", n-1, Ranges(set, 10))
			}
			d.states.tell(&out, f, set.String())
		}
	}
	return out
}

// Forget drops what is known of a partition.
func (d *Laws) Forget(tp waybill.TopicPartition) { d.states.forget(tp) }
