package json

import (
	"slices"

	"github.com/waybill-data/waybill/internal/contract"
)

// conflict counts values at a place that do not fit a column.
type conflict struct {
	at    *node // nil if they are not from the event
	drift *drift
}

// conflictAt finds or makes the drift of values at n that f refuses.
func (f *field) conflictAt(n *node, path string, mode contract.Mode) *drift {
	for _, c := range f.conflicts {
		if c.at == n && c.drift.Mode == mode {
			return c.drift
		}
	}
	c := &conflict{n, &drift{FieldDrift: contract.FieldDrift{Kind: contract.DriftTypeConflict, Path: path, Column: f.name, Mode: mode}}}
	if n != nil {
		c.drift.Path = general(n.path).String()
	}
	c.drift.Observed.Deep = mode == contract.ModeEvolve
	f.conflicts = append(f.conflicts, c)
	return c.drift
}

// refused notes a value of the event at n that f does not take, under the policy p. Where the column collects from an array,
// the whole array is what is kept.
func (d *Decoder) refused(f *field, n *node, p contract.Policy, fail failure, value span) {
	d.notes = append(d.notes, note{drift: f.conflictAt(n, "", f.modeOf(p, n, fail.code)), reason: fail.code, value: value})
	if p != contract.Rescue {
		return
	}
	e := entry{place: &n.place, value: value, reason: fail.code, column: f}
	if f.each && len(n.path) > len(f.node.path) {
		e.place, e.value = &f.node.place, f.node.each.array
	}
	d.rescue.keep(e)
}

// modeOf is the mode under which a value at n has been refused. No other type of the column would help a value that is not
// where the column's path leads, or an array of the wrong length.
func (f *field) modeOf(p contract.Policy, n *node, code Code) contract.Mode {
	switch {
	case p != contract.Rescue:
		return contract.ModeDiscard
	case f.evolve && code != WrongLength && slices.Contains(n.takers, f):
		return contract.ModeEvolve
	}
	return contract.ModeRescue
}

// noteStray notes a value that no column takes.
func (d *Decoder) noteStray(s *stray, value span) {
	d.notes = append(d.notes, note{drift: s.drift, value: value})
	if rescues(s.mode) {
		d.rescue.keep(entry{place: &s.place, value: value, reason: NewField})
	}
}

// noteStranger is noteStray for a member of n that is not told apart.
func (d *Decoder) noteStranger(n *node, member, value span) {
	d.notes = append(d.notes, note{drift: d.other(n.mode), value: value})
	if rescues(n.mode) {
		d.rescue.keep(entry{place: &n.place, member: member, value: value, reason: NewField})
	}
}

// teach makes the members known at n that are known before any event.
func (d *Decoder) teach(n *node) {
	n.learn(n.children)
	for name := range n.named {
		if n.children[name] == nil {
			s := d.slotOf(n, name)
			if plain(name) {
				n.spell(name, s)
			}
		}
	}
}

// newSlot is a slot for an unmapped member of n; nil if there are too many.
func (d *Decoder) newSlot(n *node, name string) *slot {
	if d.learnt >= maxUnmapped || len(name) > maxMember {
		return nil
	}
	d.learnt++
	return d.slotOf(n, name)
}

func (d *Decoder) slotOf(n *node, name string) *slot {
	s := &slot{name: name}
	if !n.taken {
		path := append(slices.Clip(n.path), contract.Step{Name: name})
		s.stray = newStray(path, d.modes.Of(path))
	}
	n.slots[name] = s
	return s
}
