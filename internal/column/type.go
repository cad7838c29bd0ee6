package column

import (
	"fmt"
	"slices"
	"strings"
)

// Type is a parsed ClickHouse type. Only types that have a column here can be parsed.
type Type struct {
	Name string // "UInt32", "DateTime64", "Array", ...
	// Elems are the arguments of Nullable, LowCardinality, Array and SimpleAggregateFunction (one), of Map (two), of Tuple,
	// Nested and Variant (one or more; those of a Variant in the order of their texts, as the server numbers them).
	Elems []Type
	// Names are those of the elements of a Nested or named Tuple; nil for an unnamed Tuple.
	Names []string
	// Precision of DateTime64 and Time64: decimal places of a second, 0 to 9. Of Decimal: digits, 1 to 76.
	Precision int
	// Scale of Decimal: decimal places, 0 to Precision.
	Scale int
	// Width of FixedString in bytes.
	Width int
	// Zone of DateTime and DateTime64; empty if the text names none.
	Zone string
	// Enum are the names of Enum8 and Enum16, ascending by value.
	Enum []EnumName
	// Args is what the parentheses of JSON and Dynamic hold, as it was written, and the function of a
	// SimpleAggregateFunction.
	Args string
}

// String is the type as DESCRIBE TABLE writes it, on one line.
func (t Type) String() string {
	args := t.args()
	if len(args) == 0 {
		return t.Name
	}
	return t.Name + "(" + strings.Join(args, ", ") + ")"
}

// args are what String puts in parentheses.
func (t Type) args() []string {
	var args []string
	switch t.Name {
	case "DateTime64", "Time64":
		args = append(args, fmt.Sprint(t.Precision))
	case "Decimal":
		args = append(args, fmt.Sprint(t.Precision), fmt.Sprint(t.Scale))
	case "FixedString":
		args = append(args, fmt.Sprint(t.Width))
	}
	if t.Zone != "" {
		args = append(args, quote(t.Zone))
	}
	if t.Args != "" {
		args = append(args, t.Args)
	}
	for _, n := range t.Enum {
		args = append(args, fmt.Sprintf("%s = %d", quote(n.Name), n.Value))
	}
	for i, e := range t.Elems {
		arg := e.String()
		if t.Names != nil {
			arg = identifier(t.Names[i]) + " " + arg
		}
		args = append(args, arg)
	}
	return args
}

// CanNull reports whether a column of the type can hold NULL.
func (t Type) CanNull() bool {
	switch t.Name {
	case "Nullable", "Variant", "Dynamic":
		return true
	case "LowCardinality", "SimpleAggregateFunction":
		return t.Elems[0].CanNull()
	}
	return false
}

// Nullable is the type that holds what t holds and NULL too: t itself if it can, Nullable(T), or
// LowCardinality(Nullable(T)). ok is false if ClickHouse has no such type.
func (t Type) Nullable() (n Type, ok bool) {
	switch {
	case t.CanNull():
		return t, true
	case t.Name == "LowCardinality":
		return Type{Name: t.Name, Elems: []Type{{Name: "Nullable", Elems: t.Elems}}}, true
	case t.Name == "SimpleAggregateFunction":
		return t.Elems[0].Nullable()
	case !t.insideNullable():
		return t, false
	}
	return Type{Name: "Nullable", Elems: []Type{t}}, true
}

// insideNullable reports whether the server takes Nullable(t). (Of a Tuple it does so only by a setting.)
func (t Type) insideNullable() bool {
	switch t.Name {
	case "Nullable", "LowCardinality", "Array", "Map", "Tuple", "Nested", "Variant", "Dynamic", "SimpleAggregateFunction":
		return false
	}
	_, geo := geoTypes[t.Name]
	return !geo
}

// Leaf is the type without Nullable and LowCardinality around it.
func (t Type) Leaf() Type {
	for t.Name == "Nullable" || t.Name == "LowCardinality" {
		t = t.Elems[0]
	}
	return t
}

// geoTypes are the geometric types that are names for Tuples and Arrays.
var geoTypes = map[string]Type{
	"Point":           {Name: "Tuple", Elems: []Type{{Name: "Float64"}, {Name: "Float64"}}},
	"Ring":            {Name: "Array", Elems: []Type{{Name: "Point"}}},
	"LineString":      {Name: "Array", Elems: []Type{{Name: "Point"}}},
	"MultiLineString": {Name: "Array", Elems: []Type{{Name: "LineString"}}},
	"Polygon":         {Name: "Array", Elems: []Type{{Name: "Ring"}}},
	"MultiPolygon":    {Name: "Array", Elems: []Type{{Name: "Polygon"}}},
}

// Wire is the type that a column of type t is sent as. It is t itself but for these, which the server converts without loss:
// SimpleAggregateFunction(f, T) is sent as T; LowCardinality of anything but strings without its dictionary, as under
// that name the server would want a setting for each INSERT; Nested as an Array of Tuples, as input() would take a
// Nested apart and leave the column empty; and Dynamic without its arguments.
func (t Type) Wire() Type {
	switch t.Name {
	case "Dynamic":
		return Type{Name: "Dynamic"}
	case "SimpleAggregateFunction":
		return t.Elems[0].Wire()
	case "Nested":
		return t.plain().Wire()
	case "LowCardinality":
		if t.Leaf().Name != "String" {
			return t.Elems[0].Wire()
		}
	}
	if t.Elems != nil {
		elems := make([]Type, len(t.Elems))
		for i, e := range t.Elems {
			elems[i] = e.Wire()
		}
		t.Elems = elems
	}
	return t
}

// plain is the type by which it can be compared: Nested and geometric types as what they are names for,
// SimpleAggregateFunction as the type of its values.
func (t Type) plain() Type {
	switch t.Name {
	case "Nested":
		return Type{Name: "Array", Elems: []Type{{Name: "Tuple", Elems: t.Elems, Names: t.Names}}}
	case "SimpleAggregateFunction":
		return t.Elems[0].plain()
	}
	if g, ok := geoTypes[t.Name]; ok {
		return g
	}
	return t
}

// Accepts reports whether values of the contract's type want may be written to a table column of
// type t. The types are the same, except that want may leave out what only says how the server shows or
// stores a value: a time zone, the names of a Tuple's elements, the arguments of JSON and Dynamic; and that
// Nested, Point and the like, and SimpleAggregateFunction are what they stand for.
func (t Type) Accepts(want Type) bool {
	t, want = t.plain(), want.plain()
	if t.Name != want.Name || t.Precision != want.Precision || t.Scale != want.Scale || t.Width != want.Width ||
		!slices.Equal(t.Enum, want.Enum) {
		return false
	}
	if want.Zone != "" && want.Zone != t.Zone || want.Args != "" && want.Args != t.Args ||
		want.Names != nil && !slices.Equal(want.Names, t.Names) {
		return false
	}
	return slices.EqualFunc(t.Elems, want.Elems, Type.Accepts)
}

// IsMoment reports whether values of the type, but for NULL, are points in time, see Moment.
func (t Type) IsMoment() bool {
	if t.Name == "Nullable" {
		t = t.Elems[0]
	}
	switch t.Name {
	case "DateTime", "DateTime64", "Date", "Date32":
		return true
	}
	return false
}

// HasTime reports whether a type is or contains a moment, a date or a time, which are written in a TimeFormat.
func (t Type) HasTime() bool {
	switch t.Name {
	case "DateTime", "DateTime64", "Date", "Date32", "Time", "Time64":
		return true
	}
	return slices.ContainsFunc(t.Elems, Type.HasTime)
}
