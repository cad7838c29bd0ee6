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
	noted
}

// commit counts what the record at hand brought.
func (c *counters) commit() {
	for _, counter := range c.pending {
		*counter++
	}
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
