package oracle

import (
	"encoding/hex"
	"math/big"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/waybill-data/waybill/internal/contract"
)

// failure says why a value does not fit; the zero value is success.
type failure struct {
	code string
	at   int
	path contract.Path // of a duplicate name
}

// converter turns JSON values into values of a column.
type converter struct {
	format  string        // of moments
	path    contract.Path // to the value at hand
	rounded int
}

// convert is the value that n is in a column of type t.
func (k *converter) convert(t Type, n node) (Value, failure) {
	switch t.Name {
	case "Nullable":
		if n.kind == 'n' {
			return Null(), failure{}
		}
		return k.convert(t.Args[0], n)
	case "LowCardinality": // a matter of storage
		return k.convert(t.Args[0], n)
	case "Array":
		return k.array(t, n)
	case "Map":
		return k.mapping(t, n)
	}
	text, code := k.scalar(t, n)
	return Scalar(text), failure{code: code, at: n.start}
}

func (k *converter) array(t Type, n node) (Value, failure) {
	if n.kind != '[' {
		return Value{}, failure{code: "wrong_type", at: n.start}
	}
	v := Value{Kind: KindList}
	for i, elem := range n.elems {
		e, fail := k.at(contract.Step{Kind: contract.Element, Index: i}).convert(t.Args[0], elem)
		if k.leave(); fail.code != "" {
			return Value{}, fail
		}
		v.Elems = append(v.Elems, e)
	}
	return v, failure{}
}

func (k *converter) mapping(t Type, n node) (Value, failure) {
	if n.kind != '{' {
		return Value{}, failure{code: "wrong_type", at: n.start}
	}
	v, seen := Value{Kind: KindMap}, map[string]bool{}
	for _, m := range n.members {
		if seen[m.name] {
			return Value{}, failure{"duplicate_key", m.start, append(slices.Clone(k.path), contract.Step{Name: m.name})}
		}
		seen[m.name] = true
		e, fail := k.at(contract.Step{Name: m.name}).convert(t.Args[1], m.node)
		if k.leave(); fail.code != "" {
			return Value{}, fail
		}
		v.Elems = append(v.Elems, Scalar(m.name), e)
	}
	return v, failure{}
}

// at goes one step down.
func (k *converter) at(step contract.Step) *converter {
	k.path = append(k.path, step)
	return k
}

func (k *converter) leave() { k.path = k.path[:len(k.path)-1] }

// scalar is the text of a value that is not made of others, or the code of what is wrong with it.
func (k *converter) scalar(t Type, n node) (text, code string) {
	switch t.Name {
	case "DateTime", "DateTime64":
		return k.moment(t, n)
	case "Bool":
		switch n.kind {
		case 't':
			return "1", ""
		case 'f':
			return "0", ""
		}
		return "", "wrong_type"
	case "Float32", "Float64":
		return k.float(t, n)
	case "Decimal":
		return k.decimal(t, n)
	case "Date", "Date32":
		return k.date(t, n)
	}
	if _, ok := integers[t.Name]; ok {
		return k.integer(t, n)
	}
	if n.kind != '"' {
		return "", "wrong_type"
	}
	switch t.Name {
	case "String":
		return n.text, ""
	case "UUID":
		return uuid(n.text)
	case "IPv4":
		return ipv4(n.text)
	case "IPv6":
		return ipv6(n.text)
	case "FixedString":
		return fixedString(t, n.text)
	case "Enum8", "Enum16":
		names, numbers := t.enum()
		if i := slices.Index(names, n.text); i >= 0 {
			return numbers[i], ""
		}
		return "", "out_of_range"
	}
	panic("oracle: no rule for type " + t.Name)
}

var uuidForm = regexp.MustCompile(`\A[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}\z`)

// uuid is a UUID's 128 bits as one number.
func uuid(s string) (text, code string) {
	if !uuidForm.MatchString(s) {
		return "", "bad_format"
	}
	b, err := hex.DecodeString(strings.ReplaceAll(s, "-", ""))
	if err != nil {
		return "", "bad_format"
	}
	return new(big.Int).SetBytes(b).String(), ""
}

// defaultOf is what policy default writes into a column: the contract's default, or the type's zero.
func defaultOf(c planColumn) Value {
	if c.Default == nil {
		return zero(c.typ)
	}
	t, text := c.typ, *c.Default
	for t.Name == "Nullable" || t.Name == "LowCardinality" {
		if t.Name == "Nullable" && text == "null" {
			return Null()
		}
		t = t.Args[0]
	}
	switch text {
	case "[]", "{}":
		if t.Name == "Array" || t.Name == "Map" {
			return zero(t)
		}
	}
	n := node{kind: '0', raw: []byte(text), text: text}
	if isTextual(t, c.Format) {
		n.kind = '"'
	} else if t.Name == "Bool" {
		n.kind = text[0]
	}
	v, fail := (&converter{format: c.Format}).convert(t, n)
	if fail.code != "" {
		panic("oracle: the default of column " + c.Name + " is " + fail.code)
	}
	return v
}

// isTextual reports whether values of the type are written as strings.
func isTextual(t Type, format string) bool {
	switch t.Name {
	case "String", "UUID", "Enum8", "Enum16", "IPv4", "IPv6", "FixedString":
		return true
	}
	return format == "rfc3339"
}

// zero is the type's own default.
func zero(t Type) Value {
	switch t.Name {
	case "Nullable":
		return Null()
	case "LowCardinality":
		return zero(t.Args[0])
	case "Array":
		return Value{Kind: KindList}
	case "Map":
		return Value{Kind: KindMap}
	case "String":
		return Scalar("")
	case "FixedString":
		return Scalar(strings.Repeat("\x00", int(t.number(0))))
	case "Date32": // ClickHouse's default is its first day
		return Scalar(strconv.FormatInt(daysOf("1900-01-01"), 10))
	case "Enum8", "Enum16": // ascending by number
		_, numbers := t.enum()
		return Scalar(numbers[0])
	}
	return Scalar("0")
}
