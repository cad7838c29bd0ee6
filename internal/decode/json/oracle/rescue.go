package oracle

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/waybill-data/waybill/internal/contract"
)

// rescued is a value for the rescue column.
type rescued struct {
	path, reason, column string
	node
}

// rescueText is what the rescue column must have, and how many values are in it.
func (w *walker) rescueText() (text string, count int) {
	slices.SortStableFunc(w.rescued, func(a, b rescued) int { return cmp.Compare(a.start, b.start) })
	var parts []string
	for i, r := range w.rescued {
		if i > 0 && r.start == w.rescued[i-1].start {
			continue
		}
		column := ""
		if r.column != "" {
			column = `"column":` + quote(r.column) + `,`
		}
		parts = append(parts, fmt.Sprintf(`%s:{"reason":%s,%s"value":%s}`, quote(r.path), quote(r.reason), column, r.raw))
	}
	if parts == nil {
		return "", 0
	}
	return fmt.Sprintf(`{"plan":"%016x","fields":{%s}}`, uint64(w.oracle.plan.ID()), strings.Join(parts, ",")), len(parts)
}

// quote writes a JSON string, with escapes where it must.
func quote(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range s {
		short := strings.IndexRune("\b\f\n\r\t\"\\", r)
		switch {
		case short >= 0:
			b.WriteByte('\\')
			b.WriteByte(`bfnrt"\`[short])
		case r < ' ':
			fmt.Fprintf(&b, `\u%04x`, r)
		default:
			b.WriteRune(r)
		}
	}
	b.WriteByte('"')
	return b.String()
}

// DriftKey is what drift is counted by. Column is empty for new fields.
type DriftKey struct {
	Path, Column string
	Mode         contract.Mode
}

// Drift is what is counted.
type Drift struct {
	Count  int
	Reason string // of the first
	Sample string // likewise, cut
	Kinds  map[byte]int
}

func (v *Verdict) note(key DriftKey, reason string, n node) {
	d, ok := v.Drift[key]
	if !ok {
		d = Drift{Reason: reason, Sample: cut(n.raw), Kinds: map[byte]int{}}
	}
	d.Count++
	d.Kinds[n.kind]++
	v.Drift[key] = d
}

// cut is the beginning of a text, of whole characters.
func cut(raw []byte) string {
	s := ""
	for _, r := range string(raw) {
		if len(s)+len(string(r)) > contract.SampleBytes {
			break
		}
		s += string(r)
	}
	return s
}
