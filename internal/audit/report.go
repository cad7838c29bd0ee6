package audit

import (
	"fmt"
	"slices"

	"github.com/waybill-data/waybill"
)

// Verdict is what an audit comes to.
type Verdict string

// The verdicts.
const (
	Clean    Verdict = "clean"    // every law holds, in all that was asked for
	Violated Verdict = "violated" // some law does not
	Unclear  Verdict = "unclear"  // nothing is known to be wrong, and something could not be told
)

// Kinds of violation beside those of package ledger.
const (
	KindMissing     = "rows_missing"         // L3: the ledger says that they were written, and the table does not have them
	KindRepeated    = "rows_repeated"        // L3: an offset has several rows
	KindUnexpected  = "rows_unexpected"      // L3: a row of an offset that is a dead letter, or no row by its plan
	KindElsewhere   = "rows_elsewhere"       // L2: a table of the pipeline has rows that the ledger says are in another
	KindNoValue     = "long_values_missing"  // L3: rows refer to long values that are not there
	KindDeadMissing = "dead_letters_missing" // L3: of dead letters
	KindChanged     = "records_changed"      // L5: the topic holds other records than those that were read
	KindContent     = "content_mismatch"     // L5: rows have other values than their records give
	KindLoss        = "retention_loss"       // L4: the topic no longer holds what has not been read
)

// Violation is a broken law, with the offsets concerned.
type Violation struct {
	Law       string `json:"law"` // L1 to L5
	Kind      string `json:"kind"`
	Topic     string `json:"topic"`
	Partition int32  `json:"partition"`
	Table     string `json:"table,omitempty"` // database.table, where it is about one of several
	Column    string `json:"column,omitempty"`
	// Count is of rows or offsets. Offsets are which, as half-open ranges; if Exact is false they are among these.
	Count   int64   `json:"count"`
	Offsets []Range `json:"offsets"`
	Exact   bool    `json:"exact"`
	Message string  `json:"message"`
	// Inherited is the epoch that the rows are of, if a backfill has left them as they were.
	Inherited *uint32 `json:"inherited_from_epoch,omitempty"`
	// Examples are some of the values that differ.
	Examples []Example `json:"examples,omitempty"`
	// Causes are what the server knows of that explains it, oldest first.
	Causes []Cause `json:"causes,omitempty"`

	more int // violations that were merged into this one
}

// Example is a value that differs, as JSON text, shortened if it is long.
type Example struct {
	Offset   int64  `json:"offset"`
	Expected string `json:"expected"` // what the record gives, redacted as it was
	Found    string `json:"found"`    // what the table has
	// Withheld: what the table has is not shown, as redaction has changed values of the record.
	Withheld bool `json:"withheld,omitempty"`
}

// Range is the offsets from First up to Next, which is not one of them.
type Range struct {
	First int64 `json:"first"`
	Next  int64 `json:"next"`
}

func (r Range) String() string {
	if r.Next == r.First+1 {
		return fmt.Sprint(r.First)
	}
	return fmt.Sprintf("%d-%d", r.First, r.Next-1)
}

func rangesOf(set waybill.OffsetSet) []Range {
	out := []Range{}
	for _, sp := range set.Spans() {
		out = append(out, Range{sp.First, sp.Next})
	}
	return out
}

// Unknown is what could not be told, and why.
type Unknown struct {
	Law      string    `json:"law"`
	Topic    string    `json:"topic,omitempty"`
	Table    string    `json:"table,omitempty"`
	Column   string    `json:"column,omitempty"`
	Offsets  []Range   `json:"offsets,omitempty"`
	Examples []Example `json:"examples,omitempty"`
	Causes   []Cause   `json:"causes,omitempty"`
	Message  string    `json:"message"`
	Action   string    `json:"action,omitempty"`
}

// ByRight is rows that are gone, and should be.
type ByRight struct {
	Partition int32   `json:"partition"`
	Table     string  `json:"table"`
	Count     int64   `json:"count"`
	Offsets   []Range `json:"offsets"`
	Why       string  `json:"why"`
}

// Content is what was compared of a table's contents.
type Content struct {
	Table   string   `json:"table"`   // database.table
	Rows    int64    `json:"rows"`    // of which the records were read again
	Columns []string `json:"columns"` // that were compared; of the others there is an Unknown each
}

// Partition is what was looked at of one partition.
type Partition struct {
	Partition int32 `json:"partition"`
	// First and Next are the offsets that the ledger accounts for, of those asked for.
	First int64 `json:"first"`
	Next  int64 `json:"next"`
	Spans int64 `json:"spans"` // rows of the ledger
	Sums
	Present     int64 `json:"present"`      // offsets with a row in the tables
	DeadPresent int64 `json:"dead_present"` // offsets with a dead letter
	Replayed    int64 `json:"replayed"`     // of those, the ones that were replayed, and so have a row
	Repeated    int64 `json:"repeated"`     // offsets with several rows
	Repaired    int64 `json:"repaired"`     // offsets that a repair has gone over since
	Erased      int64 `json:"erased"`       // offsets that were erased since, on record
	// LogStart and End are Kafka's; -1: it could not be asked. Lag is how many offsets the ledger does not account for yet.
	LogStart int64 `json:"log_start"`
	End      int64 `json:"end"`
	Lag      int64 `json:"lag"`
}

// Sums are what the ledger counts.
type Sums struct {
	Read         int64 `json:"read"`
	Written      int64 `json:"written"`
	Filtered     int64 `json:"filtered"`
	DeadLettered int64 `json:"dead_lettered"`
	Tombstones   int64 `json:"tombstones"`
	Lost         int64 `json:"lost"`
}

// Inherited is rows of an older epoch that backfills have left as they were.
type Inherited struct {
	Epoch uint32 `json:"epoch"`
	// Present is how many of their offsets have a row, Spans how many rows of the ledger speak of them.
	Present int64 `json:"present"`
	Spans   int64 `json:"spans"`
}

// Report is the outcome of an audit.
type Report struct {
	Pipeline   string      `json:"pipeline"`
	Epoch      uint32      `json:"epoch"`
	Topic      string      `json:"topic"`
	Tables     []string    `json:"tables"` // database.table
	Verdict    Verdict     `json:"verdict"`
	Partitions []Partition `json:"partitions"`
	Inherited  []Inherited `json:"inherited,omitempty"`
	Violations []Violation `json:"violations"`
	Unknown    []Unknown   `json:"unknown"`
	// Reread is how many records were read from Kafka to tell which offsets should have rows.
	Reread int64 `json:"reread"`
	// ByRight are missing rows that are no violation.
	ByRight []ByRight `json:"gone_by_right,omitempty"`
	// References are there if rows refer to long values: how many values that is, and how many of these are missing.
	References *References `json:"long_values,omitempty"`
	// Contents is there if contents were asked for.
	Contents []Content `json:"contents,omitempty"`
}

// References are the long values that the pipeline's rows refer to, whatever spans were asked for.
type References struct {
	Place   string `json:"place"`  // where they are
	Values  int64  `json:"values"` // each once
	Missing int64  `json:"missing"`
}

// judge sums up. Violations of one kind, of which the offsets are known, are one for each partition and table.
func (r *Report) judge() {
	type like struct {
		law, kind, table, column string
		partition                int32
		inherited                int64
	}
	at := map[like]int{}
	var merged []Violation
	for _, v := range r.Violations {
		k := like{v.Law, v.Kind, v.Table, v.Column, v.Partition, v.inherited()}
		i, seen := at[k]
		switch {
		case v.Exact && seen:
			m := &merged[i]
			m.Offsets, m.Count = append(m.Offsets, v.Offsets...), m.Count+v.Count
			m.more++
		default:
			if v.Exact {
				at[k] = len(merged)
			}
			merged = append(merged, v)
		}
	}
	for i := range merged {
		if v := &merged[i]; v.more > 0 {
			v.Message += fmt.Sprintf("; and so in %d more spans, %d in all", v.more, v.Count)
		}
	}
	r.Violations = append([]Violation{}, merged...)
	switch {
	case len(r.Violations) > 0:
		r.Verdict = Violated
	case len(r.Unknown) > 0:
		r.Verdict = Unclear
	default:
		r.Verdict = Clean
	}
	slices.SortStableFunc(r.Violations, func(a, b Violation) int {
		return compare(a.Law, b.Law, int64(a.Partition), int64(b.Partition), start(a.Offsets), start(b.Offsets))
	})
}

// inherited is the epoch of rows that a backfill has left as they were; -1: it is about others.
func (v *Violation) inherited() int64 {
	if v.Inherited == nil {
		return -1
	}
	return int64(*v.Inherited)
}

func start(ranges []Range) int64 {
	if len(ranges) == 0 {
		return 0
	}
	return ranges[0].First
}
