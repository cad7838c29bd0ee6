package column

import "slices"

// Widens reports whether every value of the type from is a value of t, and the server keeps it when a block of from is
// inserted into a column of t, and when rows stored as from are altered to t. It is decided pair by pair against a real
// server (TestServer_WidensKeepsValues); where there is doubt the answer is false.
//
// Two things are left aside, as neither changes a value: a time zone, which says how a moment is shown, and the zero bytes that
// pad a FixedString.
func (t Type) Widens(from Type) bool {
	t, from = t.plain(), from.plain()
	if t.String() == from.String() {
		return true
	}
	inner, null := t.unwrapped()
	fromInner, fromNull := from.unwrapped()
	if fromNull && !null {
		return false
	}
	return inner.widensPlain(fromInner)
}

// unwrapped is the type without what says that it may be NULL and that its strings are in a dictionary. LowCardinality of
// anything but strings stays: the server wants a setting for it.
func (t Type) unwrapped() (inner Type, null bool) {
	if t.Name == "LowCardinality" && t.Leaf().isText() {
		t = t.Elems[0]
	}
	if t.Name == "Nullable" {
		return t.Elems[0], true
	}
	return t, false
}

func (t Type) isText() bool { return t.Name == "String" || t.Name == "FixedString" }

// widensPlain is Widens for types that neither can be NULL nor have a dictionary.
func (t Type) widensPlain(from Type) bool {
	if t.String() == from.String() {
		return true
	}
	switch t.Name {
	case "String":
		return from.Name == "FixedString" || from.Enum != nil
	case "FixedString":
		return from.Name == "FixedString" && from.Width <= t.Width
	case "Enum8", "Enum16":
		return from.Enum != nil && t.hasNames(from.Enum)
	case "Decimal":
		return t.holdsDigits(from)
	case "DateTime", "DateTime64", "Date32", "Time64":
		return t.widensTime(from)
	case "Array", "Map", "Tuple":
		return t.Name == from.Name && slices.Equal(t.Names, from.Names) && slices.EqualFunc(t.Elems, from.Elems, Type.Widens)
	}
	return t.widensNumber(from)
}

// hasNames reports whether the Enum has all the names, under the same values.
func (t Type) hasNames(names []EnumName) bool {
	for _, n := range names {
		if !slices.Contains(t.Enum, n) {
			return false
		}
	}
	return true
}

// widensTime is Widens for what a DateTime, DateTime64, Date32 or Time64 takes. (A Date as a moment would depend on the
// time zone; a DateTime64 of precision 9 ends in 2262, the others in 2299.)
func (t Type) widensTime(from Type) bool {
	switch t.Name + " of " + from.Name {
	case "DateTime of DateTime", "Date32 of Date", "DateTime64 of DateTime", "Time64 of Time":
		return true
	case "Time64 of Time64":
		return from.Precision <= t.Precision
	case "DateTime64 of DateTime64":
		return from.Precision == t.Precision || from.Precision < t.Precision && t.Precision < 9
	}
	return false
}

// integer is what a type of whole numbers holds.
type integer struct {
	bits   int
	signed bool
	digits int // decimal digits of the largest value, of those up to 64 bits
}

var integers = map[string]integer{
	"Int8": {8, true, 3}, "Int16": {16, true, 5}, "Int32": {32, true, 10}, "Int64": {64, true, 19}, "Int128": {128, true, 0}, "Int256": {256, true, 0},
	"UInt8": {8, false, 3}, "UInt16": {16, false, 5}, "UInt32": {32, false, 10}, "UInt64": {64, false, 20}, "UInt128": {128, false, 0}, "UInt256": {256, false, 0},
}

// mantissas are the bits of the largest integer up to which a float holds all of them.
var mantissas = map[string]int{"BFloat16": 8, "Float32": 24, "Float64": 53}

// widensNumber is Widens for what integers and floats take.
func (t Type) widensNumber(from Type) bool {
	has, integral := integers[from.Name]
	if to, ok := integers[t.Name]; ok {
		return integral && (has.signed == to.signed && has.bits <= to.bits || to.signed && has.bits < to.bits)
	}
	to, ok := mantissas[t.Name]
	if !ok || t.Name == "BFloat16" { // the server's conversion from integers is not trusted with it
		return false
	}
	if bits, ok := mantissas[from.Name]; ok {
		return bits <= to
	}
	return integral && has.bits <= to
}

// holdsDigits reports whether a Decimal has the digits of from, an integer or another Decimal. (Of integers beyond 64 bits the
// server makes no Decimals.)
func (t Type) holdsDigits(from Type) bool {
	if has, ok := integers[from.Name]; ok {
		return has.bits <= 64 && has.digits <= t.Precision-t.Scale
	}
	return from.Name == "Decimal" && from.Scale <= t.Scale && from.Precision-from.Scale <= t.Precision-t.Scale
}

// Widest is the type that a column of t is altered to when values come that do not fit, or t if there is none that
// certainly keeps what the column has. It is the same for every type of a family, Nullable included, whatever the values
// are: so two workers that alter the same column at the same time, or one that is late, cannot narrow what the other
// has widened.
//
//	Int8 ... Int64, UInt8 ... UInt32   Nullable(Int64)
//	BFloat16, Float32, Float64         Nullable(Float64)
//	String, FixedString                Nullable(String)
//	Enum8, Enum16, LowCardinality      LowCardinality(Nullable(String)), but of LowCardinality of numbers and times itself
//	Array(T), Map(K, T)                Array, Map of the widest of T
//	any other T                        Nullable(T), if there is such a type
//
// Enums get no further names: the server does not compare the names of an Enum with those that it had, so that of two
// workers who add one each, the later would give the earlier one's value, in rows too, a new name.
func (t Type) Widest() Type {
	switch t.Name {
	case "SimpleAggregateFunction", "Nested", "Tuple":
		return t
	case "Array":
		return Type{Name: t.Name, Elems: []Type{t.Elems[0].Widest()}}
	case "Map":
		return Type{Name: t.Name, Elems: []Type{t.Elems[0], t.Elems[1].Widest()}}
	case "LowCardinality":
		if t.Leaf().isText() {
			return lowCardinalityText
		}
		return t
	}
	inner, _ := t.unwrapped()
	if inner.Enum != nil {
		return lowCardinalityText
	}
	n, _ := inner.widestPlain().Nullable()
	return n
}

var lowCardinalityText = Type{Name: "LowCardinality", Elems: []Type{{Name: "Nullable", Elems: []Type{{Name: "String"}}}}}

// widestPlain is Widest without Nullable.
func (t Type) widestPlain() Type {
	switch t.Name {
	case "Int8", "Int16", "Int32", "UInt8", "UInt16", "UInt32":
		return Type{Name: "Int64"}
	case "BFloat16", "Float32":
		return Type{Name: "Float64"}
	case "FixedString":
		return Type{Name: "String"}
	}
	return t
}

// NotNull is the type without the Nullable that says that a row can have no value.
func (t Type) NotNull() Type {
	switch {
	case t.Name == "Nullable":
		return t.Elems[0]
	case t.Name == "LowCardinality":
		return Type{Name: t.Name, Elems: []Type{t.Elems[0].NotNull()}}
	}
	return t
}
