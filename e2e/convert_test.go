package e2e

import (
	"math/big"
	"strconv"
	"strings"
	"time"
)

// The documented conversions (docs/reference/types.md), told once more: does a column of that type, whose value reads as that JSON text, hold the event's
// value exactly?

// column is one of the table's, as the server describes it, and what it takes.
type column struct {
	name, typ string
	path      string // in the event; empty: of no event
	asJSON    bool
	comment   string
	unix      bool // a moment that the event has as seconds
}

// holds compares a column's value with an event's.
func (c column) holds(value *node, event *node) bool {
	switch {
	case c.asJSON && event.kind != isNull:
		return value.kind == isString && value.text == event.raw
	case c.unix:
		at, err := time.Parse("2006-01-02 15:04:05", value.text)
		return err == nil && strconv.FormatInt(at.Unix(), 10) == event.raw
	}
	return holds(c.typ, value, event)
}

func holds(typ string, value, event *node) bool {
	name, args := typeParts(typ)
	switch {
	case name == "LowCardinality":
		return holds(args, value, event)
	case name == "Nullable":
		if event.kind == isNull || value.kind == isNull {
			return event.kind == value.kind
		}
		return holds(args, value, event)
	case name == "Array":
		return holdsAll(args, value, event)
	case name == "Map":
		return holdsMap(args, value, event)
	case event.kind == isNull || value.kind == isNull:
		return false
	case name == "Bool":
		return event.kind == isBool && value.raw == event.raw
	case strings.HasPrefix(name, "Int") || strings.HasPrefix(name, "UInt") || name == "Decimal":
		return holdsNumber(name, value, event)
	case name == "Float64":
		return event.kind == isNumber && sameFloat(value.text, event.text)
	case event.kind != isString:
		return false
	case strings.HasPrefix(name, "DateTime"):
		a, err := time.Parse("2006-01-02 15:04:05.999999999", value.text)
		b, berr := time.Parse(time.RFC3339Nano, event.text)
		return err == nil && berr == nil && a.Equal(b)
	case name == "FixedString":
		return strings.TrimRight(value.text, "\x00") == event.text
	case name == "String" || name == "UUID" || strings.HasPrefix(name, "Enum"):
		return strings.TrimRight(value.text, "\x00") == strings.TrimRight(event.text, "\x00")
	}
	return false
}

// typeParts takes a type's name and what is in its brackets apart.
func typeParts(typ string) (name, args string) {
	name, args, _ = strings.Cut(typ, "(")
	return name, strings.TrimSuffix(args, ")")
}

func holdsAll(elem string, value, event *node) bool {
	if value.kind != isArray || event.kind != isArray || len(value.subs) != len(event.subs) {
		return false
	}
	for i := range value.subs {
		if !holds(elem, value.subs[i], event.subs[i]) {
			return false
		}
	}
	return true
}

func holdsMap(args string, value, event *node) bool {
	_, elem, _ := strings.Cut(args, "), ") // of Map(LowCardinality(String), T)
	if value.kind != isObject || event.kind != isObject || len(value.subs) != len(event.subs) {
		return false
	}
	for i, name := range event.names {
		v := value.member(name)
		if v == nil || !holds(elem, v, event.subs[i]) {
			return false
		}
	}
	return true
}

// holdsNumber: exact numbers also take strings that hold a number, if the type has 64 bits and more.
func holdsNumber(name string, value, event *node) bool {
	narrow := map[string]bool{"Int8": true, "Int16": true, "Int32": true, "UInt8": true, "UInt16": true, "UInt32": true}
	if event.kind != isNumber && (event.kind != isString || narrow[name]) {
		return false
	}
	a, aok := new(big.Rat).SetString(value.text)
	b, bok := new(big.Rat).SetString(event.text)
	return aok && bok && a.Cmp(b) == 0
}

func sameFloat(a, b string) bool {
	x, err := strconv.ParseFloat(a, 64)
	y, yerr := strconv.ParseFloat(b, 64)
	return err == nil && yerr == nil && x == y
}
