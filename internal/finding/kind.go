// Package finding decides what becomes of findings: which kinds there are, when one opens, is only seen again, closes, and what of
// that is worth a line in the journal. It has no I/O and no clock: the engine hands it what was seen, and when, and writes what it is told to.
//
// A finding is about a cause. It is open from when the cause is first seen until somebody knows that it is gone; that is an episode. A
// cause that comes back within a while (Config.Reopen) goes on with its episode, so that what flaps is one finding that says so. All
// workers of a pipeline write into one journal, and each reads back what the others have written: whoever sees the mending closes it.
// Nobody asks first. What two workers open at the same time has the same id, because the id follows from the pipeline, its epoch, what the
// finding is about, and the hour in which the episode began; and the state is that of the latest thing that anybody has seen.
package finding

import (
	"maps"
	"slices"

	waybill "github.com/waybill-data/waybill"
)

// Closes says how findings of a kind come to an end.
type Closes uint8

// Ways in which a finding ends.
const (
	// ByItself: there is a state that lasts, and whoever looks after it says when it is over.
	ByItself Closes = iota
	// Once: something has happened, and nothing undoes it. It is open until a person has acknowledged it, or until it is old. Each
	// occurrence, by its batch and offsets, is a finding of its own.
	Once
	// Told: nothing to do. It is on record and never open.
	Told
)

// String is for people.
func (c Closes) String() string {
	return [...]string{"by itself", "once acknowledged, or by age", "it is only told"}[c]
}

// Kind is what findings can be about.
type Kind struct {
	Name string
	// Severity that such findings have, unless the one who makes them knows better.
	Severity waybill.Severity
	Title    string // in one line
	Closes   Closes
	// Quotes: its words may quote values of events. Support archives are without them.
	Quotes bool
}

// Of is the kind of that name.
func Of(name string) (Kind, bool) {
	k, ok := kinds[name]
	k.Name = name
	return k, ok
}

// Kinds are all kinds, by name.
func Kinds() []Kind {
	var out []Kind
	for _, name := range slices.Sorted(maps.Keys(kinds)) {
		k, _ := Of(name)
		out = append(out, k)
	}
	return out
}
