package json

import (
	"cmp"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/waybill-data/waybill"
	"github.com/waybill-data/waybill/internal/contract"
)

const (
	// maxUnmapped bounds the unmapped paths that are told apart between two calls of Drift.
	maxUnmapped = 1000
	// maxObserved is how many values of a path are looked at closely if no column can come of it. Of the rest only the kind
	// is noted.
	maxObserved = 16
)

// drift is what is counted of values at one path that are not in a column as they came.
type drift struct {
	contract.FieldDrift
	since, until uint64 // the numbers of the first and the last record
}

func newDrift(kind contract.DriftKind, path contract.Path, mode contract.Mode) *drift {
	d := &drift{FieldDrift: contract.FieldDrift{Kind: kind, Path: general(path).String(), Mode: mode}}
	d.Observed.Deep = mode == contract.ModeEvolve
	return d
}

// stray is where values lie that no column takes.
type stray struct {
	mode  contract.Mode
	path  string
	place place
	drift *drift
}

func newStray(path contract.Path, mode contract.Mode) *stray {
	return &stray{mode, path.String(), placeOf(path), newDrift(contract.DriftNewField, path, mode)}
}

// rescues reports whether the mode keeps values in the rescue column.
func rescues(m contract.Mode) bool { return m == contract.ModeRescue || m == contract.ModeEvolve }

// note is one value for a drift, to be counted once the record is written.
type note struct {
	drift  *drift
	reason Code // of a type conflict
	value  span
	aside  bool // the value lies in the decoder's aside, not in the text
}

// noted is what the record at hand adds to the drifts.
type noted struct {
	notes   []note
	touched []*drift // those that count something
	others  []*drift // of paths that are not told apart, one for each mode
	topic   string   // of the record before
}

// other is the drift of unmapped paths that are not told apart.
func (s *noted) other(mode contract.Mode) *drift {
	for _, d := range s.others {
		if d.Mode == mode {
			return d
		}
	}
	d := &drift{FieldDrift: contract.FieldDrift{Kind: contract.DriftNewField, Path: contract.OtherPaths, Mode: mode}}
	s.others = append(s.others, d)
	return d
}

// commitNotes counts the values that the record at hand brought.
func (d *Decoder) commitNotes(rec *waybill.Record) {
	if rec.Topic != d.topic {
		d.topic = strings.Clone(rec.Topic) // the decoder keeps nothing of the record
	}
	at := contract.At{Topic: d.topic, Partition: rec.Partition, Offset: rec.Offset, Time: rec.Time}
	for i := range d.notes {
		n := &d.notes[i]
		value := d.valueOf(n.value, n.aside)
		if n.drift.Count == 0 {
			n.drift.since, n.drift.First, n.drift.Reason, n.drift.Sample = d.record, at, string(n.reason), sample(value)
			d.touched = append(d.touched, n.drift)
		}
		n.drift.Count++
		n.drift.Last, n.drift.until = at, d.record
		n.drift.observe(value)
	}
}

// observe takes in a value.
func (d *drift) observe(value []byte) {
	if d.Mode == contract.ModeEvolve || d.Count <= maxObserved {
		d.Observed.Add(value)
		return
	}
	d.Observed.Kinds.Count(value)
}

// sample is the beginning of a value, whole characters of it.
func sample(value []byte) string {
	if len(value) <= contract.SampleBytes {
		return string(value)
	}
	end := contract.SampleBytes
	for !utf8.RuneStart(value[end]) {
		end--
	}
	return string(value[:end])
}

// Drift is how the written events since the last call differ from the contract, by path and column; it starts anew. At most
// 1,000 paths of new fields are told apart, the rest is under contract.OtherPaths, once for each mode.
//
// A type conflict that no type of the column could help (a path that leads through a scalar, an array of the wrong
// length) is never under ModeEvolve. Its path is that of the value, which need not be the column's.
func (d *Decoder) Drift() []contract.FieldDrift {
	slices.SortFunc(d.touched, func(a, b *drift) int { return cmp.Or(a.compare(b), cmp.Compare(a.since, b.since)) })
	var kept []*drift
	for _, t := range d.touched {
		if n := len(kept); n > 0 && kept[n-1].compare(t) == 0 {
			kept[n-1].merge(t)
		} else {
			kept = append(kept, t)
		}
	}
	out := make([]contract.FieldDrift, len(kept))
	for i, t := range kept {
		out[i] = t.FieldDrift
	}
	for _, t := range d.touched {
		t.Count, t.Observed = 0, contract.Observed{Deep: t.Observed.Deep}
	}
	d.touched, d.notes = d.touched[:0], d.notes[:0]
	if d.learnt >= maxUnmapped {
		d.root.visit(d.teach)
		d.learnt = 0
	}
	return out
}

// compare orders drifts, and is 0 for those that are one: nodes of the elements of one array may have them apart.
func (d *drift) compare(o *drift) int {
	return cmp.Or(cmp.Compare(d.Path, o.Path), cmp.Compare(d.Column, o.Column), cmp.Compare(d.Kind, o.Kind), cmp.Compare(d.Mode, o.Mode))
}

// merge takes in a drift that began later.
func (d *drift) merge(o *drift) {
	d.Count += o.Count
	d.Observed.Merge(&o.Observed)
	if o.until > d.until {
		d.Last, d.until = o.Last, o.until
	}
}
