package drift

import (
	"cmp"
	"time"

	"github.com/waybill-data/waybill/internal/contract"
)

// Kind says what a Row counts.
type Kind string

// The kinds. Shares are of KindWritten: its rows count the events that were written, in the same flushes.
const (
	KindNewField     = Kind(contract.DriftNewField)     // values at a path that no column takes
	KindTypeConflict = Kind(contract.DriftTypeConflict) // values that did not fit their column
	KindMissing      = Kind("missing")                  // events without the column's field
	KindNull         = Kind("null")                     // events that say null for the column, whether it took it or not
	KindInvalid      = Kind("invalid")                  // values in whose place the column got NULL or its default
	KindBlank        = Kind("blank")                    // events that filled no column
	KindWritten      = Kind("written")                  // events that became rows
)

// Key is what drift is told apart by.
type Key struct {
	Kind   Kind
	Path   string // of fields, as a contract writes it; contract.OtherPaths for those beyond the bound
	Column string // of all other kinds but KindBlank and KindWritten
}

func compareKeys(a, b Key) int {
	return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Path, b.Path), cmp.Compare(a.Column, b.Column))
}

// Row is what was counted between two flushes.
type Row struct {
	Key
	Target      string    // database.table whose contract it is about; not the monitor's to know
	Day         time.Time // midnight UTC of the day of the flush
	Count       int64     // values; events for the kinds that count those
	First, Last contract.At
	Kinds       contract.Kinds // of the values that the decoder looked at
	// Type takes all values that this monitor has seen at the path; empty if there is none to say.
	Type   string
	Mode   contract.Mode
	Reason string // of a type conflict: the decoder's code
	Sample string // the first value's text, cut
}
