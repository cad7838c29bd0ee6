package column

import "strings"

// Kinds is a set of kinds of JSON values. NULL is not among them: see Type.CanNull.
type Kinds uint8

// The kinds.
const (
	TakesString Kinds = 1 << iota
	TakesNumber
	TakesBool
	TakesArray
	TakesObject
)

// Takes are the kinds of JSON values that a column of the type takes; Nullable and LowCardinality make no difference. Of
// moments, dates and times it names both strings and numbers, of which the format rules one out: see TimeFormat.Takes.
func (t Type) Takes() Kinds { return kindsOf(t.New()) }

// kindsOf is Type.Takes for a column. Integers of 64 bits and more, and Decimals, take strings that hold a number, since
// producers quote what a double cannot hold; all that fits a double must come as a number.
func kindsOf(c Column) Kinds {
	switch c := c.(type) {
	case *Nullable:
		return kindsOf(c.inner)
	case *Int64, *UInt64, *WideInt, *Decimals, *DateTime, *DateTime64, *Date, *Date32, *Time, *Time64:
		return TakesString | TakesNumber
	case *Int8, *Int16, *Int32, *UInt8, *UInt16, *UInt32, *Float32, *Float64, *BFloat16:
		return TakesNumber
	case *Bool:
		return TakesBool
	case *Array:
		return TakesArray
	case *Map, *JSON:
		return TakesObject
	case *Tuple:
		if c.names == nil {
			return TakesArray
		}
		return TakesArray | TakesObject
	case *Variant:
		return c.takes()
	case *Dynamic:
		return c.takes()
	}
	return TakesString
}

// kindOf is the kind of a JSON value by its text; 0 for null and for what is none.
func kindOf(text []byte) Kinds {
	if len(text) == 0 {
		return 0
	}
	switch text[0] {
	case '"':
		return TakesString
	case 't', 'f':
		return TakesBool
	case '[':
		return TakesArray
	case '{':
		return TakesObject
	case '-', '0', '1', '2', '3', '4', '5', '6', '7', '8', '9':
		return TakesNumber
	}
	return 0
}

// String names the kinds: "a string or a number".
func (k Kinds) String() string {
	var names []string
	for i, name := range [...]string{"a string", "a number", "true or false", "an array", "an object"} {
		if k&(1<<i) != 0 {
			names = append(names, name)
		}
	}
	return strings.Join(names, " or ")
}

// kindError is an ErrKind that says what came and what was wanted.
type kindError struct{ got, takes Kinds }

func (e kindError) Error() string {
	got := e.got.String()
	if got == "" {
		got = "null"
	}
	return got + " where the column takes " + e.takes.String()
}

func (e kindError) Unwrap() error { return ErrKind }
