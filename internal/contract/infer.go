package contract

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/waybill-data/waybill/internal/column"
)

// Inference is the column that takes all values that were observed, each of them exactly.
type Inference struct {
	Type string // ClickHouse's; empty: what was observed decides nothing yet
	As   string // see Column.As
	Why  string // one sentence: what was seen, and why it needs this type
}

// Types of inferred columns. A single value's column is Nullable: rows from before it, and events without the field, have NULL.
const (
	typeText = "Nullable(String)"
	typeMap  = "Map(LowCardinality(String), String)"
)

// Infer is the column for the values taken as they are, objects too: see Evolve for those that are taken apart.
func (o *Observed) Infer() Inference {
	k := o.Kinds
	switch kinds := k.names(); len(kinds) {
	case 0:
		return Inference{Why: "only null was seen, which says nothing of a type"}
	case 1:
	default:
		return asText("%s were seen, which only their text takes alike", strings.Join(kinds, " and "))
	}
	switch {
	case k.Array > 0:
		return o.inferArray()
	case k.Object > 0:
		return o.inferObject()
	}
	typ, why := inferScalar(k, &o.scalars)
	if typ == "" {
		return asText("%s", why)
	}
	return Inference{Type: "Nullable(" + typ + ")", Why: why}
}

// asText is a column of the values' JSON texts.
func asText(format string, args ...any) Inference {
	return Inference{Type: typeText, As: "json", Why: fmt.Sprintf(format, args...)}
}

// names are the kinds that were seen, but for null; numbers are one kind.
func (k Kinds) names() []string {
	var names []string
	for _, kind := range []struct {
		count int64
		name  string
	}{{k.Bool, "truth values"}, {k.Integer + k.Decimal, "numbers"}, {k.String, "strings"}, {k.Array, "arrays"}, {k.Object, "objects"}} {
		if kind.count > 0 {
			names = append(names, kind.name)
		}
	}
	return names
}

func (o *Observed) inferArray() Inference {
	k := o.elems.kinds
	kinds := k.names()
	switch {
	case len(kinds) == 0:
		return Inference{Why: "only arrays without a value in them were seen, which say nothing of a type"}
	case len(kinds) > 1:
		return asText("arrays of %s were seen, which only their text takes alike", strings.Join(kinds, " and "))
	case k.Array+k.Object > 0:
		return asText("arrays of %s were seen, whose text keeps all of it", kinds[0])
	}
	elem, why := inferScalar(k, &o.elems.scalars)
	if elem == "" {
		return asText("arrays: %s", why)
	}
	if k.Null > 0 {
		elem = "Nullable(" + elem + ")"
	}
	return Inference{Type: "Array(" + elem + ")", Why: "arrays: " + why + o.nullsStay()}
}

// nullsStay says what becomes of nulls beside values for whose type ClickHouse has no NULL.
func (o *Observed) nullsStay() string {
	if o.Kinds.Null == 0 {
		return ""
	}
	return "; null itself goes on being rescued, as ClickHouse has no such type that takes it"
}

func (o *Observed) inferObject() Inference {
	switch k := o.object.values.kinds; {
	case k == Kinds{}:
		return Inference{Why: "only objects without members were seen, which say nothing of a type"}
	case k == Kinds{String: k.String}:
		return Inference{Type: typeMap, Why: "objects with free keys whose values are all strings" + o.nullsStay()}
	}
	return asText("objects with free keys and values that are not all strings: their text keeps all of it, where the JSON type would change numbers and drop nulls")
}

// inferScalar is the type that takes all values of one kind, nulls aside; empty if only their text does.
func inferScalar(k Kinds, s *scalars) (typ, why string) {
	switch {
	case k.Bool > 0:
		return "Bool", "only true and false were seen"
	case k.String > 0:
		return inferString(k.String, s)
	}
	return inferNumber(k, s)
}

func inferString(count int64, s *scalars) (typ, why string) {
	if s.uuids == count {
		return "UUID", "all strings are UUIDs in lower case, which is how they read back"
	}
	places := 3 * max(1, (s.fraction+2)/3) // 3, 6 or 9
	if s.moments == count && (places < 9 || s.early == count) {
		return fmt.Sprintf("DateTime64(%d, 'UTC')", places),
			fmt.Sprintf("all strings are RFC 3339 times in UTC with up to %d places of a second", s.fraction)
	}
	return "String", "strings were seen, neither all of them UUIDs in lower case nor all RFC 3339 times in UTC"
}

func inferNumber(k Kinds, s *scalars) (typ, why string) {
	count := k.Integer + k.Decimal
	switch {
	case s.int64s == count:
		return "Int64", "only integers were seen, and all fit Int64"
	case s.uint64s == count:
		return "UInt64", "only integers were seen, none of them negative, and some are too large for Int64"
	case k.Decimal == 0:
		return "", "integers were seen that neither Int64 nor UInt64 takes"
	case s.floats == count:
		return "Float64", "numbers with a fraction or exponent were seen, and all read back from Float64 as they were"
	case s.whole <= 20 && s.places <= 18:
		return "Decimal(38, 18)", fmt.Sprintf("numbers were seen with more digits than Float64 keeps, up to %d before and %d after the point", s.whole, s.places)
	case s.whole <= 38 && s.places <= 38:
		return "Decimal(76, 38)", fmt.Sprintf("numbers were seen with more digits than Float64 keeps, up to %d before and %d after the point", s.whole, s.places)
	}
	return "", "numbers were seen that neither Float64 nor a Decimal keeps"
}

// freeKeys are names of objects whose members are data, not structure: they become one column, however many they are.
var freeKeys = []string{"metadata", "attributes", "attrs", "tags", "labels", "headers", "extra", "properties", "params", "resource", "baggage",
	"annotations"}

// maxKeys is how many members an object has, over all values, before they are data too.
const maxKeys = 32

// FreeKeys: objects of that name have members that are data.
func FreeKeys(name string) bool { return hasFreeKeys(name) }

func hasFreeKeys(name string) bool { return slices.Contains(freeKeys, strings.ToLower(name)) }

// apart are the members of objects that are taken apart, by name; ok is false if the values become one column.
func (o *Observed) apart(name string) (members []string, ok bool) {
	k := o.Kinds
	if o.object == nil || o.object.odd || len(o.object.members) == 0 || len(o.object.members) > maxKeys ||
		k.names()[0] != "objects" || hasFreeKeys(name) {
		return nil, false
	}
	return slices.Sorted(maps.Keys(o.object.members)), true
}

// takes is how many of some values a column takes.
type takes uint8

const (
	takesNone takes = iota
	takesSome
	takesAll
)

// takenBy says how many of the values a column of type t takes. It is conservative: arrays and objects are taken all or not at
// all.
func (o *Observed) takenBy(t column.Type) takes {
	k := o.Kinds
	total := k.total()
	taken := takenScalars(k, &o.scalars, t)
	switch {
	case t.Name == "Array" && k.Array > 0 && o.elems.takenBy(t.Elems[0]):
		taken += k.Array
	case t.Name == "Map" && k.Object > 0 && t.Elems[0].Leaf().Name == "String" && o.object.values.takenBy(t.Elems[1]):
		taken += k.Object
	}
	switch {
	case taken == 0:
		return takesNone
	case taken < total:
		return takesSome
	}
	return takesAll
}

// takenBy reports whether a column of type t takes all the values.
func (f *flat) takenBy(t column.Type) bool {
	return takenScalars(f.kinds, &f.scalars, t) == f.kinds.total()
}

// takenScalars is how many nulls, numbers and strings a column of type t takes, of those types that Widest gives.
func takenScalars(k Kinds, s *scalars, t column.Type) (n int64) {
	if t.CanNull() {
		n = k.Null
	}
	switch t.Leaf().Name {
	case "String":
		n += k.String
	case "Int64":
		n += s.int64s
	case "UInt64":
		n += s.uint64s
	case "Float64":
		n += s.finite
	}
	return n
}

func (k Kinds) total() int64 {
	return k.Null + k.Bool + k.Integer + k.Decimal + k.String + k.Array + k.Object
}

// seen names what was seen: "null, numbers".
func (o *Observed) seen() string {
	names := o.Kinds.names()
	if o.Kinds.Null > 0 {
		names = append(names, "null")
	}
	return strings.Join(names, ", ")
}
