package infer

import (
	"fmt"
	"slices"
	"strings"

	"github.com/waybill-data/waybill/internal/contract"
)

// Keys of a table that is made.
const (
	keyWords    = 2   // LowCardinality columns that a sorting key begins with, at the most
	keyDistinct = 500 // different values of one, at the most: with more, rows of one time are all over the table
)

// Layout is how the rows of the proposed table would be kept, and why: lines for people.
func (o *Proposal) Layout() (layout contract.Layout, why []string) {
	layout.Codecs = map[string]string{}
	for i := range o.Fields {
		if f := &o.Fields[i]; f.Codec != "" && !strings.Contains(f.Type, "JSON") && f.Type != "Dynamic" && !strings.HasPrefix(f.Type, "Variant") && !strings.HasPrefix(f.Type, "Array") {
			layout.Codecs[f.Name] = f.Codec
		}
	}
	var words []*Field
	for i := range o.Fields {
		f := &o.Fields[i]
		if f.Type == "LowCardinality(String)" && f.Distinct > 1 && f.Distinct <= keyDistinct {
			words = append(words, f)
		}
	}
	slices.SortStableFunc(words, func(a, b *Field) int { return a.Distinct - b.Distinct })
	for _, f := range words[:min(keyWords, len(words))] {
		layout.OrderBy = append(layout.OrderBy, f.Name)
		why = append(why, fmt.Sprintf("ORDER BY %s: every event has it, and it has only %d values: what is alike lies together, which reads and compresses best", f.Name, f.Distinct))
	}
	l := contract.DefaultLineage()
	if o.EventTime == "" {
		layout.OrderBy = append(layout.OrderBy, l.Topic, l.Partition, l.Offset)
		why = append(why, "ORDER BY the place in the topic: "+o.EventTimeWhy)
		return layout, why
	}
	layout.OrderBy = append(layout.OrderBy, o.EventTime)
	layout.PartitionBy = "toYYYYMM(" + o.EventTime + ")"
	why = append(why, fmt.Sprintf("ORDER BY %s: %s; most questions are about a time", o.EventTime, o.EventTimeWhy),
		"PARTITION BY month: old months can be dropped, detached or rewritten by themselves; a day would make many small parts of late events")
	return layout, why
}
