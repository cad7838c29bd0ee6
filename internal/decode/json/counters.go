package json

// Defaults counts the values of one column that the decoder wrote in place of what the event says.
// A JSON null that becomes NULL is not counted (see Nulls): that is what the event says. Nor is what stands in for a value
// that is rescued.
type Defaults struct {
	Missing int64 // the event has no such field
	Null    int64 // the event says null, the column got its default
	Invalid int64 // the event's value does not fit and the policy is null or default
}

// counters are what a decoder counts beside the rows. Only rows that were written count: a rejected record
// is kept whole elsewhere.
type counters struct {
	pending []*int64 // what the record at hand will add one to, once it is written
	rescued []rescuedBy
	noted
}

// commit counts what the record at hand brought.
func (c *counters) commit() {
	for _, counter := range c.pending {
		*counter++
	}
}

// rescuedBy counts the values in the rescue column for one reason.
type rescuedBy struct {
	reason Code
	values int64
}

// countRescued counts the values of the row at hand that are in the rescue column. There are few reasons.
func (d *Decoder) countRescued() {
next:
	for i := range d.rescue.entries {
		reason := d.rescue.entries[i].reason
		for j := range d.rescued {
			if d.rescued[j].reason == reason {
				d.rescued[j].values++
				continue next
			}
		}
		d.rescued = append(d.rescued, rescuedBy{reason, 1})
	}
}

// Rescued is how many values are in the rescue column, by reason; it starts counting anew.
func (d *Decoder) Rescued() map[string]int64 {
	out := map[string]int64{}
	for _, r := range d.rescued {
		out[string(r.reason)] = r.values
	}
	d.rescued = d.rescued[:0]
	return out
}

// Nulls are the columns that events gave null and that became NULL for it, with how often; it starts counting anew.
func (d *Decoder) Nulls() map[string]int64 {
	out := map[string]int64{}
	for _, f := range d.counted {
		if f.nulls > 0 {
			out[f.name] = f.nulls
			f.nulls = 0
		}
	}
	return out
}

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
