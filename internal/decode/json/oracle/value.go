package oracle

import (
	"slices"
	"strconv"
	"strings"
)

// Value is one value of a column, as plainly as it can be written down.
type Value struct {
	Kind Kind
	// Text of a scalar: the bytes of a string, otherwise the number that stands for the value on the wire
	// in decimal digits: an integer, ticks, days, an enum's number, a decimal without its point, the bits
	// of a float.
	Text string
	// Elems of a list in order; of a map its keys and values by turns.
	Elems []Value
}

// Kind of a value.
type Kind uint8

// The kinds.
const (
	KindScalar Kind = iota
	KindNull
	KindList
	KindMap
)

// Scalar is a value that is not made of others.
func Scalar(text string) Value { return Value{Text: text} }

// Null is NULL.
func Null() Value { return Value{Kind: KindNull} }

// Equal compares two values.
func (v Value) Equal(o Value) bool {
	return v.Kind == o.Kind && v.Text == o.Text && slices.EqualFunc(v.Elems, o.Elems, Value.Equal)
}

func (v Value) String() string {
	switch v.Kind {
	case KindNull:
		return "NULL"
	case KindScalar:
		return strconv.Quote(v.Text)
	}
	elems := make([]string, len(v.Elems))
	for i, e := range v.Elems {
		elems[i] = e.String()
	}
	brackets := map[Kind]string{KindList: "[]", KindMap: "{}"}[v.Kind]
	return brackets[:1] + strings.Join(elems, " ") + brackets[1:]
}
