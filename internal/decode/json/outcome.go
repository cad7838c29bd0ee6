package json

import "fmt"

// Kind says what became of a record.
type Kind uint8

// The kinds of outcome.
const (
	Written   Kind = iota // one row was appended
	Tombstone             // a nil value: no row, nothing wrong
	Rejected              // no row; Outcome.Reject says why
)

var kindNames = [...]string{"written", "tombstone", "rejected"}

func (k Kind) String() string { return kindNames[k] }

// Outcome is what Decode made of one record.
type Outcome struct {
	Kind   Kind
	Reject *Reject // nil unless Kind is Rejected
	// Rounded is how many values of the row had more digits than their columns hold.
	Rounded int
	// Rescued is how many values of the event are in the rescue column.
	Rescued int
	// Blank: no column was filled from the event, though some could have been.
	Blank bool
}

// Code is the reason of a rejection, from a closed list that dead letters are grouped by.
type Code string

// The reasons. The first group is about the text, which is judged first and as a whole; the second
// about its fields, where the first problem in the text's order counts, and missing ones come last.
const (
	InvalidJSON  Code = "invalid_json"  // not RFC 8259: bad token, bad escape, lone surrogate
	TrailingData Code = "trailing_data" // something after the value
	Truncated    Code = "truncated"     // the text ends before the value does, or is empty
	InvalidUTF8  Code = "invalid_utf8"
	TooDeep      Code = "too_deep"      // more than MaxDepth containers in one another
	NotAnObject  Code = "not_an_object" // the value is no JSON object

	DuplicateKey    Code = "duplicate_key"    // an object that columns take apart names a member twice
	MissingRequired Code = "missing_required" // no such field, and the policy is dead_letter
	NullRequired    Code = "null_required"    // JSON null, and the policy is dead_letter
	WrongType       Code = "wrong_type"       // another kind of JSON value than the column takes
	OutOfRange      Code = "out_of_range"     // the column's type cannot hold the value
	NotAnInteger    Code = "not_an_integer"   // a fraction for an integer column
	WrongLength     Code = "wrong_length"     // an array with another number of elements than the contract says
	BadFormat       Code = "bad_format"       // a text that is no UUID, no RFC 3339 time
	NewField        Code = "new_field"        // a field that no column takes, with new_fields: freeze
)

// Reject is why a record could not become a row. Its message never quotes the record's values.
type Reject struct {
	Code   Code
	Column string // the column concerned, if any
	Path   string // the field's path in the event, as a contract writes it, if any
	// ByteOffset is where in the record's value the problem is, or about where; -1 if it is nowhere in
	// particular, like a missing field.
	ByteOffset int
	Message    string
}

func (r *Reject) Error() string {
	s := string(r.Code) + ": " + r.Message
	if r.Column != "" {
		s = fmt.Sprintf("column %s: %s", r.Column, s)
	}
	return s
}
