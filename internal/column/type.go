package column

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Type is a parsed ClickHouse type. Only types that have a column here can be parsed.
type Type struct {
	Name string // "UInt32", "DateTime64", "Array", ...
	// Elems are the arguments of Nullable, LowCardinality and Array (one) and of Map (two).
	Elems []Type
	// Precision of DateTime64: decimal places of a second, 0 to 9.
	Precision int
	// Zone of DateTime and DateTime64; empty if the text names none.
	Zone string
	// Enum are the names of Enum8 and Enum16, ascending by value.
	Enum []EnumName
}

// String is the type as DESCRIBE TABLE writes it.
func (t Type) String() string {
	switch t.Name {
	case "Nullable", "LowCardinality", "Array":
		return t.Name + "(" + t.Elems[0].String() + ")"
	case "Map":
		return "Map(" + t.Elems[0].String() + ", " + t.Elems[1].String() + ")"
	case "DateTime":
		if t.Zone != "" {
			return "DateTime(" + quote(t.Zone) + ")"
		}
	case "DateTime64":
		if t.Zone != "" {
			return fmt.Sprintf("DateTime64(%d, %s)", t.Precision, quote(t.Zone))
		}
		return fmt.Sprintf("DateTime64(%d)", t.Precision)
	case "Enum8", "Enum16":
		names := make([]string, len(t.Enum))
		for i, n := range t.Enum {
			names[i] = fmt.Sprintf("%s = %d", quote(n.Name), n.Value)
		}
		return t.Name + "(" + strings.Join(names, ", ") + ")"
	}
	return t.Name
}

// CanNull reports whether a column of the type can hold NULL.
func (t Type) CanNull() bool {
	return t.Name == "Nullable" || t.Name == "LowCardinality" && t.Elems[0].Name == "Nullable"
}

// Leaf is the type without Nullable and LowCardinality around it.
func (t Type) Leaf() Type {
	for t.Name == "Nullable" || t.Name == "LowCardinality" {
		t = t.Elems[0]
	}
	return t
}

// Accepts reports whether values of the contract's type want may be written to a table column of
// type t: the types are the same, except that a want without a time zone fits any zone, since the
// zone only says how the server shows an instant.
func (t Type) Accepts(want Type) bool {
	if t.Name != want.Name || t.Precision != want.Precision || !slices.Equal(t.Enum, want.Enum) {
		return false
	}
	if want.Zone != "" && want.Zone != t.Zone {
		return false
	}
	return slices.EqualFunc(t.Elems, want.Elems, Type.Accepts)
}

// ParseType reads a ClickHouse type text. Blanks do not matter; names are spelt as ClickHouse does.
func ParseType(text string) (Type, error) {
	p := typeParser{text: text, rest: text}
	t, err := p.parse()
	if err == nil && strings.TrimSpace(p.rest) != "" {
		err = p.fail("unexpected %q", p.rest)
	}
	return t, err
}

type typeParser struct{ text, rest string }

func (p *typeParser) fail(format string, args ...any) error {
	return fmt.Errorf("type %q: %s", p.text, fmt.Sprintf(format, args...))
}

// take consumes the given punctuation, after blanks.
func (p *typeParser) take(mark string) bool {
	rest, ok := strings.CutPrefix(strings.TrimLeft(p.rest, " \t\r\n"), mark)
	if ok {
		p.rest = rest
	}
	return ok
}

// word consumes a run of letters, digits and underscores, after blanks.
func (p *typeParser) word() string {
	p.rest = strings.TrimLeft(p.rest, " \t\r\n")
	n := 0
	for n < len(p.rest) && (isAlnum(p.rest[n]) || p.rest[n] == '_') {
		n++
	}
	w := p.rest[:n]
	p.rest = p.rest[n:]
	return w
}

func isAlnum(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
}

func (p *typeParser) parse() (Type, error) {
	t := Type{Name: p.word()}
	switch t.Name {
	case "String", "Bool", "UUID", "Float32", "Float64",
		"Int8", "Int16", "Int32", "Int64", "UInt8", "UInt16", "UInt32", "UInt64":
		return t, nil
	case "DateTime":
		return p.dateTime(t)
	case "DateTime64":
		return p.dateTime64(t)
	case "Enum8", "Enum16":
		return p.enum(t)
	case "Nullable", "LowCardinality", "Array":
		return p.nested(t, 1)
	case "Map":
		return p.nested(t, 2)
	case "":
		return t, p.fail("a type name is missing")
	}
	return t, p.fail("%s is not supported", t.Name)
}

// nested reads the arguments of a type of types and checks what may be inside what.
func (p *typeParser) nested(t Type, n int) (Type, error) {
	for i := range n {
		if !p.take([]string{"(", ","}[min(i, 1)]) {
			return t, p.fail("%s takes %d type(s) in parentheses", t.Name, n)
		}
		elem, err := p.parse()
		if err != nil {
			return t, err
		}
		t.Elems = append(t.Elems, elem)
	}
	if !p.take(")") {
		return t, p.fail("%s has no closing parenthesis after %d type(s)", t.Name, n)
	}
	return t, p.checkNesting(t)
}

func (p *typeParser) checkNesting(t Type) error {
	inner := t.Elems[0]
	switch t.Name {
	case "Nullable":
		switch inner.Name {
		case "Nullable", "LowCardinality", "Array", "Map":
			return p.fail("%s cannot be inside Nullable", inner.Name)
		}
	case "LowCardinality":
		if inner.Name != "String" && (inner.Name != "Nullable" || inner.Elems[0].Name != "String") {
			return p.fail("LowCardinality(%s) is not supported, only of String and Nullable(String)", inner)
		}
	case "Map":
		if s := inner.String(); s != "String" && s != "LowCardinality(String)" {
			return p.fail("a Map with keys of %s is not supported, only String and LowCardinality(String)", s)
		}
	}
	return nil
}

func (p *typeParser) dateTime(t Type) (Type, error) {
	if !p.take("(") {
		return t, nil
	}
	return p.zone(t)
}

func (p *typeParser) dateTime64(t Type) (Type, error) {
	t.Precision = 3 // ClickHouse's own default
	if !p.take("(") {
		return t, nil
	}
	w := p.word()
	n, err := strconv.Atoi(w)
	if err != nil || n < 0 || n > 9 {
		return t, p.fail("the precision of DateTime64 is a number from 0 to 9, not %q", w)
	}
	t.Precision = n
	if p.take(",") {
		return p.zone(t)
	}
	if !p.take(")") {
		return t, p.fail("DateTime64 has no closing parenthesis")
	}
	return t, nil
}

// zone reads a quoted time zone and the closing parenthesis.
func (p *typeParser) zone(t Type) (Type, error) {
	zone, ok := p.quoted()
	if !ok || zone == "" || !p.take(")") {
		return t, p.fail("%s wants a time zone in single quotes", t.Name)
	}
	t.Zone = zone
	return t, nil
}

func (p *typeParser) enum(t Type) (Type, error) {
	bits := map[string]int{"Enum8": 8, "Enum16": 16}[t.Name]
	for first := true; first || !p.take(")"); first = false {
		if !p.take([]string{",", "("}[b2i(first)]) {
			return t, p.fail("%s wants ('name' = number, ...)", t.Name)
		}
		name, ok := p.quoted()
		if !ok || !p.take("=") {
			return t, p.fail("%s wants ('name' = number, ...)", t.Name)
		}
		sign := ""
		if p.take("-") {
			sign = "-"
		}
		v, err := strconv.ParseInt(sign+p.word(), 10, bits)
		if err != nil {
			return t, p.fail("the value of %s is not a number of %d bits", quote(name), bits)
		}
		t.Enum = append(t.Enum, EnumName{name, int16(v)})
	}
	slices.SortFunc(t.Enum, func(a, b EnumName) int { return cmp.Compare(a.Value, b.Value) })
	for i, n := range t.Enum {
		for _, m := range t.Enum[:i] {
			if n.Name == m.Name || n.Value == m.Value {
				return t, p.fail("%s has %s or its value twice", t.Name, quote(n.Name))
			}
		}
	}
	return t, nil
}

func b2i(b bool) int {
	if b {
		return 1
	}
	return 0
}

// quoted consumes a string in single quotes with ClickHouse's escapes \' and \\ .
func (p *typeParser) quoted() (string, bool) {
	if !p.take("'") {
		return "", false
	}
	var s []byte
	for i := 0; i < len(p.rest); i++ {
		switch c := p.rest[i]; {
		case c == '\'':
			p.rest = p.rest[i+1:]
			return string(s), true
		case c == '\\' && i+1 < len(p.rest) && (p.rest[i+1] == '\'' || p.rest[i+1] == '\\'):
			i++
			s = append(s, p.rest[i])
		default:
			s = append(s, c)
		}
	}
	return "", false
}

func quote(s string) string {
	return "'" + strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(s) + "'"
}
