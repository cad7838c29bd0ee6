package json

import "github.com/waybill-data/waybill/internal/contract"

// Defaults counts the values of one column that the decoder wrote in place of what the event says.
// A JSON null that becomes NULL is not counted: that is what the event says.
type Defaults struct {
	Missing int64 // the event has no such field
	Null    int64 // the event says null, the column got its default
	Invalid int64 // the event's value does not fit and the policy is null or default
}

const (
	// maxUnmapped bounds the distinct paths that are counted between two calls of Unmapped.
	maxUnmapped = 1000
	// OtherPaths stands for the paths beyond that bound in Unmapped's answer.
	OtherPaths = "…other"
)

// counters are what a decoder counts beside the rows. Only rows that were written count: a rejected record
// is kept whole elsewhere.
type counters struct {
	learnt  int      // slots of unmapped members, in all nodes
	other   int64    // fields that no slot could be had for
	pending []*int64 // what the record at hand will add one to, once it is written
}

// newSlot is a slot for an unmapped member of n; nil if there are too many.
func (c *counters) newSlot(n *node, name string) *slot {
	if c.learnt >= maxUnmapped {
		return nil
	}
	c.learnt++
	s := &slot{name: name}
	n.slots[name] = s
	return s
}

// commit counts what the record at hand brought.
func (c *counters) commit() {
	for _, counter := range c.pending {
		*counter++
	}
}

// Unmapped are the fields that no column takes, by path, with how many written records had them; it
// starts counting anew. At most 1,000 paths are told apart, the rest is under OtherPaths.
func (d *Decoder) Unmapped() map[string]int64 {
	out := map[string]int64{}
	d.root.visit(func(n *node) {
		for name, s := range n.slots {
			if s.count > 0 {
				out[memberPath(n, name)] = s.count
				s.count = 0
			}
		}
	})
	if d.other > 0 {
		out[OtherPaths] = d.other
		d.other = 0
	}
	d.pending = d.pending[:0] // they may point at counters that are gone
	if d.learnt >= maxUnmapped {
		d.root.visit(func(n *node) { n.learn(n.children) })
		d.learnt = 0
	}
	return out
}

// Drift is how the written events since the last call differ from the contract: at most 1,000 paths are told apart, the rest is
// under contract.OtherPaths.
func (d *Decoder) Drift() []contract.FieldDrift { return nil }

// Rounded are the columns whose values had more digits than they hold, with how many values; it
// starts counting anew.
func (d *Decoder) Rounded() map[string]int64 {
	out := map[string]int64{}
	for _, f := range d.counted {
		if f.rounded > 0 {
			out[f.name] = f.rounded
			f.rounded = 0
		}
	}
	return out
}

// Defaulted are the columns that got values which the events did not have; it starts counting anew.
func (d *Decoder) Defaulted() map[string]Defaults {
	out := map[string]Defaults{}
	for _, f := range d.counted {
		if f.filled != (Defaults{}) {
			out[f.name] = f.filled
			f.filled = Defaults{}
		}
	}
	return out
}
