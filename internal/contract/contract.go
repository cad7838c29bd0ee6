// Package contract turns what a pipeline file promises (the contract) and what the table really is
// (its schema) into a plan: an immutable, hashed description of how one record becomes one row.
package contract

// Policy says what happens to a record whose field is missing, null or invalid for its column.
type Policy string

const (
	// DeadLetter keeps the whole record as a dead letter.
	DeadLetter Policy = "dead_letter"
	// Null writes NULL; only for Nullable columns.
	Null Policy = "null"
	// Default writes the contract's default or, without one, the column type's zero value.
	Default Policy = "default"
	// TableDefault lets the server evaluate the column's own DEFAULT expression for the row.
	TableDefault Policy = "table_default"
	// Rescue keeps the value in the rescue column; the column gets what a missing field would give it.
	Rescue Policy = "rescue"
)

// Contract is the part of a pipeline file that says what the table promises.
type Contract struct {
	// NewFields is for fields of an event that no column takes, by their path.
	NewFields Modes
	// TypeConflicts is for values that do not fit their column, by their path in the event; a column's own on_invalid
	// and required win. What does not come from the event has the default mode.
	TypeConflicts Modes
	// Tables is for a target that does not exist: ModeEvolve creates it, ModeFreeze stops.
	Tables Mode
	// MaxColumns is how many columns the table may have for ModeEvolve to add another.
	MaxColumns int
	// RescueColumn is the name of the rescue column: String, Nullable(String) or JSON.
	RescueColumn string
	// EventTime is the column that says when an event happened, for counts by the minute; empty: the record's timestamp.
	EventTime string
	Transform Transform
	// Raw, if not nil, makes rows of whole records; the contract has no columns then.
	Raw     *Raw
	Columns []Column // in file order
}

// DefaultMaxColumns is the usual cap of ModeEvolve.
const DefaultMaxColumns = 200

// DefaultRescueColumn is the usual name of the rescue column.
const DefaultRescueColumn = "_rescued"

// Column is one column of the contract.
type Column struct {
	Name string // of the table's column
	Type string // ClickHouse type, as written in the file
	// From is where the value comes from: a path in the event ("usage.input_tokens", see ParsePath); empty
	// means the column's own name.
	From string
	// Kafka takes the value from the record instead of its event: "key", "timestamp", "topic",
	// "partition", "offset" or "header.NAME".
	Kafka string
	// Value is the same for every row: the YAML scalar's text.
	Value *string
	// Expr is a CEL expression that gives the value, see package transform.
	Expr string
	// As is "" for an ordinary value or "json" for the subtree's text, exactly as it came.
	As string
	// Format of a time column: "" (rfc3339), "rfc3339", "unix", "unix_ms", "unix_us", "unix_ns", or a layout
	// like "%Y-%m-%d %H:%M:%S".
	Format string
	// Zone is the IANA time zone of moments whose layout has no offset.
	Zone string
	// Length is the number of elements that an Array must have, as embeddings do; 0 is any.
	Length int
	// Large, if not nil, says that long values are kept elsewhere.
	Large *Large
	// Required columns make a record without a value a dead letter; it is short for both policies below.
	Required bool
	// Default is the YAML scalar's text, nil if the file gives none.
	Default *string
	// OnMissing (no such field), OnNull (JSON null) and OnInvalid (does not fit the type) are three
	// different things. Empty means: the documented default (see DefaultPolicies).
	OnMissing, OnNull, OnInvalid Policy
	// Added: the column is not in the pipeline file; the table's comment on it says what it takes.
	Added bool
	// Line and Col are the position in the pipeline file, for messages.
	Line, Col int
}
