package contract

import (
	"cmp"
	"fmt"
	"slices"
)

// Mode says what happens when events carry what the contract does not say.
type Mode string

// The modes, for new fields, for type conflicts and for tables.
const (
	ModeEvolve  Mode = "evolve"  // change the table; what cannot be a change is rescued
	ModeRescue  Mode = "rescue"  // keep the value in the rescue column
	ModeFreeze  Mode = "freeze"  // the record is a dead letter
	ModeDiscard Mode = "discard" // drop the value and count it by path
)

// Modes is a mode for every path: Default, but for what lies at or below one of Paths.
type Modes struct {
	Default Mode       `json:"default"`
	Paths   []PathMode `json:"paths,omitempty"` // by path, each once
}

// PathMode is the mode at a path and below it.
type PathMode struct {
	Path string `json:"path"` // as ParsePath reads it; [*] stands for every element
	Mode Mode   `json:"mode"`
}

// With is m with the mode at a path, and below it, set.
func (m Modes) With(path string, mode Mode) Modes {
	i, found := slices.BinarySearchFunc(m.Paths, path, func(p PathMode, path string) int { return cmp.Compare(p.Path, path) })
	m.Paths = slices.Clone(m.Paths)
	if found {
		m.Paths[i].Mode = mode
		return m
	}
	m.Paths = slices.Insert(m.Paths, i, PathMode{path, mode})
	return m
}

// Of is the mode at p: that of the longest of the paths that are p or lead to it.
func (m Modes) Of(p Path) Mode {
	mode, longest := m.Default, -1
	for _, pm := range m.Paths {
		at, err := ParsePath(pm.Path)
		if err == nil && len(at) > longest && at.leadsTo(p) {
			mode, longest = pm.Mode, len(at)
		}
	}
	return mode
}

// leadsTo reports whether q is p or lies below it. [*] in p is any element.
func (p Path) leadsTo(q Path) bool {
	if len(p) > len(q) {
		return false
	}
	for i, s := range p {
		if s != q[i] && (s.Kind != Each || q[i].Kind != Element) {
			return false
		}
	}
	return true
}

// Uses reports whether the mode is that of some path.
func (m Modes) Uses(mode Mode) bool {
	return m.Default == mode || slices.ContainsFunc(m.Paths, func(p PathMode) bool { return p.Mode == mode })
}

// check reports what is wrong with the modes.
func (m Modes) check(key string) (problems []string) {
	known := func(mode Mode) bool {
		return mode == ModeEvolve || mode == ModeRescue || mode == ModeFreeze || mode == ModeDiscard
	}
	if !known(m.Default) {
		problems = append(problems, fmt.Sprintf("%q is not one of evolve, rescue, freeze, discard", m.Default))
	}
	for _, p := range m.Paths {
		if _, err := ParsePath(p.Path); err != nil {
			problems = append(problems, fmt.Sprintf("%s: path %q: %v", key, p.Path, err))
		}
		if !known(p.Mode) {
			problems = append(problems, fmt.Sprintf("%s: %q is not one of evolve, rescue, freeze, discard", p.Path, p.Mode))
		}
	}
	return problems
}
