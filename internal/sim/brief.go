package sim

import (
	"fmt"
	"strings"

	"github.com/waybill-data/waybill/internal/delivery"
)

// brief is an event or effect on one line of a transcript.
func brief(x any) string {
	switch e := x.(type) {
	case delivery.Gathered:
		return fmt.Sprintf(" work=%d batch=%s %v instances=%v", e.Work, e.Batch.ID.Short(), e.Batch.Spans, e.Instances)
	case delivery.Rebuild:
		return fmt.Sprintf(" op=%d work=%d batch=%s %v attempt=%d", e.Op, e.Work, e.Batch.ID.Short(), e.Batch.Spans, e.Attempt)
	case delivery.ReadBack:
		return fmt.Sprintf(" op=%d work=%d %s batch=%s %v attempt=%d", e.Op, e.Work, e.Store, e.Batch.ID.Short(), e.Spans, e.Attempt)
	case delivery.Send:
		return fmt.Sprintf(" op=%d work=%d %s batch=%s k=%d %s attempt=%d", e.Op, e.Work, e.Store, e.Batch.ID.Short(), e.K, e.Rows, e.Attempt)
	case delivery.Claim:
		return fmt.Sprintf(" op=%d work=%d batch=%s %s", e.Op, e.Work, e.Batch.ID.Short(), e.Rows)
	case delivery.Probe:
		return fmt.Sprintf(" op=%d work=%d batch=%s %s attempt=%d", e.Op, e.Work, e.Batch.ID.Short(), e.Rows, e.Attempt)
	case delivery.Accounted:
		var b strings.Builder
		fmt.Fprintf(&b, " work=%d batch=%s", e.Work, e.Batch.ID.Short())
		for _, p := range e.Parts {
			fmt.Fprintf(&b, " %s%s: rows %s, dead %s", p.TopicPartition, p.Span, p.Rows, p.Dead)
		}
		return b.String()
	case delivery.ProveWindow:
		return fmt.Sprintf(" op=%d work=%d batch=%s", e.Op, e.Work, e.Batch.ID.Short())
	case delivery.OffsetsFetched:
		var b strings.Builder
		fmt.Fprintf(&b, " op=%d err=%v", e.Op, e.Err)
		for _, p := range e.Positions {
			fmt.Fprintf(&b, " %d#%d: committed=%d tip=%d oldtip=%d", p.Partition, p.Instance, p.Committed, p.Tip, p.OldTip)
			meta, err := delivery.ParseMetadata(p.Metadata)
			if err != nil {
				fmt.Fprintf(&b, " (%v)", err)
			}
			for _, in := range meta.Intents {
				fmt.Fprintf(&b, " %s%s", in.ID.Short(), in.Span)
			}
		}
		return b.String()
	}
	return fmt.Sprintf(" %+v", x)
}
