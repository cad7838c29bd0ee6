package json

import (
	"slices"

	"github.com/waybill-data/waybill/internal/contract"
)

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
	paths   int      // distinct unmapped paths seen since the last drain
	other   int64    // fields whose path is beyond maxUnmapped
	pending []*int64 // what the record at hand will add one to, once it is written
}

// unmapped notes a member of n that no column takes.
func (c *counters) unmapped(n *node, name []byte) {
	counter := n.unmapped[string(name)]
	if counter == nil {
		if counter = &c.other; c.paths < maxUnmapped {
			c.paths++
			counter = new(int64)
			if n.unmapped == nil {
				n.unmapped = map[string]*int64{}
			}
			n.unmapped[string(name)] = counter
		}
	}
	c.pending = append(c.pending, counter)
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
	d.root.walk(func(n *node) {
		for name, count := range n.unmapped {
			if *count > 0 {
				out[contract.FormatPath(append(slices.Clone(n.path), name))] = *count
			}
		}
		n.unmapped = nil
	})
	if d.other > 0 {
		out[OtherPaths] = d.other
	}
	d.paths, d.other = 0, 0
	d.pending = d.pending[:0] // they point at counters that are gone
	return out
}

// Rounded are the columns whose moments had more digits than they hold, which were cut, with how many; it
// starts counting anew.
func (d *Decoder) Rounded() map[string]int64 {
	out := map[string]int64{}
	for _, f := range d.fields {
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
	for _, f := range d.fields {
		if f.filled != (Defaults{}) {
			out[f.name] = f.filled
			f.filled = Defaults{}
		}
	}
	return out
}
