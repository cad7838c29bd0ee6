package column

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

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
	case "String", "Bool", "UUID", "Float32", "Float64", "BFloat16", "IPv4", "IPv6", "Date", "Date32", "Time",
		"Int8", "Int16", "Int32", "Int64", "Int128", "Int256",
		"UInt8", "UInt16", "UInt32", "UInt64", "UInt128", "UInt256":
		return t, nil
	case "DateTime":
		return p.dateTime(t)
	case "DateTime64", "Time64":
		return p.subseconds(t)
	case "Decimal", "Decimal32", "Decimal64", "Decimal128", "Decimal256":
		return p.decimal(t)
	case "FixedString":
		return p.fixedString(t)
	case "Enum8", "Enum16":
		return p.enum(t)
	case "Nullable", "LowCardinality", "Array":
		return p.nested(t, 1)
	case "Map":
		return p.nested(t, 2)
	case "Tuple", "Nested", "Variant":
		return p.elements(t)
	case "JSON", "Dynamic":
		return p.arguments(t)
	case "SimpleAggregateFunction":
		return p.simpleAggregate(t)
	case "":
		return t, p.fail("a type name is missing")
	}
	if _, ok := geoTypes[t.Name]; ok {
		return t, nil
	}
	return t, p.fail("%s is not supported%s", t.Name, adviceFor[t.Name])
}

// adviceFor says what to do instead of using a type that is not supported.
var adviceFor = map[string]string{
	"AggregateFunction": ": its states are made by the server; fill a column of plain values and aggregate in a materialized view",
	"QBit":              ": use Array(Float32)",
	"Enum":              ": write Enum8 or Enum16, with the numbers, as DESCRIBE TABLE does",
	"Object":            ": it was replaced by JSON",
	"Geometry":          ": use one of Point, Ring, LineString, MultiLineString, Polygon, MultiPolygon",
}

// nested reads the arguments of a type of n types and checks what may be inside what.
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
	switch {
	case t.Name == "Nullable" && !inner.insideNullable():
		return p.fail("%s cannot be inside Nullable", inner.Name)
	case t.Name == "LowCardinality" && !inner.insideLowCardinality():
		return p.fail("LowCardinality(%s) is not supported", inner)
	case t.Name == "Map" && !inner.isKey():
		return p.fail("a Map with keys of %s is not supported", inner)
	}
	return nil
}

// insideLowCardinality reports whether the server takes LowCardinality(t).
func (t Type) insideLowCardinality() bool {
	if t.Name == "Nullable" {
		t = t.Elems[0]
	}
	switch t.Name {
	case "String", "FixedString", "UUID", "Bool", "IPv4", "IPv6", "Date", "Date32", "DateTime", "Time",
		"Int8", "Int16", "Int32", "Int64", "Int128", "Int256", "Float32", "Float64", "BFloat16",
		"UInt8", "UInt16", "UInt32", "UInt64", "UInt128", "UInt256":
		return true
	}
	return false
}

// isKey reports whether a type can be that of a Map's keys: anything with a text form, but no NULL.
func (t Type) isKey() bool {
	leaf := t.Leaf()
	return !t.CanNull() && leaf.insideNullable() && leaf.Name != "JSON"
}

// elements reads the types of a Tuple, Nested or Variant, with or without names.
func (p *typeParser) elements(t Type) (Type, error) {
	if !p.take("(") || p.take(")") {
		return t, p.fail("%s wants types in parentheses", t.Name)
	}
	for first := true; first || p.take(","); first = false {
		name, named := p.name()
		elem, err := p.parse()
		if err != nil {
			return t, err
		}
		if named {
			t.Names = append(t.Names, name)
		}
		t.Elems = append(t.Elems, elem)
	}
	if !p.take(")") {
		return t, p.fail("%s has no closing parenthesis", t.Name)
	}
	return t, p.checkElements(&t)
}

func (p *typeParser) checkElements(t *Type) error {
	switch {
	case t.Names != nil && len(t.Names) != len(t.Elems):
		return p.fail("%s has elements with and without names", t.Name)
	case t.Names == nil && t.Name == "Nested", t.Names != nil && t.Name == "Variant":
		return p.fail("%s wants %s", t.Name, map[string]string{"Nested": "names before its types", "Variant": "types only"}[t.Name])
	}
	for i, n := range t.Names {
		if n == "" || slices.Contains(t.Names[:i], n) {
			return p.fail("%s has the name %q twice, or an empty one", t.Name, n)
		}
	}
	if t.Name != "Variant" {
		return nil
	}
	slices.SortFunc(t.Elems, func(a, b Type) int { return cmp.Compare(a.String(), b.String()) })
	for i, e := range t.Elems {
		if e.CanNull() {
			return p.fail("%s cannot be inside Variant", e)
		}
		if i > 0 && e.String() == t.Elems[i-1].String() {
			return p.fail("Variant has %s twice", e)
		}
	}
	return nil
}

// name consumes the name of an element, if there is one before its type.
func (p *typeParser) name() (string, bool) {
	if s, ok := p.quotedBy("`"); ok {
		return s, true
	}
	before := p.rest
	w := p.word()
	after := strings.TrimLeft(p.rest, " \t\r\n")
	if w != "" && after != p.rest && after != "" && isAlnum(after[0]) {
		return w, true
	}
	p.rest = before
	return "", false
}

// number consumes a decimal number from least to most.
func (p *typeParser) number(t Type, what string, least, most int) (int, error) {
	w := p.word()
	n, err := strconv.Atoi(w)
	if err != nil || n < least || n > most {
		return 0, p.fail("the %s of %s is a number from %d to %d, not %q", what, t.Name, least, most, w)
	}
	return n, nil
}

func (p *typeParser) closing(t Type) (Type, error) {
	if !p.take(")") {
		return t, p.fail("%s has no closing parenthesis", t.Name)
	}
	return t, nil
}

func (p *typeParser) dateTime(t Type) (Type, error) {
	if !p.take("(") {
		return t, nil
	}
	return p.zone(t)
}

// subseconds reads the precision, and for DateTime64 the zone.
func (p *typeParser) subseconds(t Type) (Type, error) {
	t.Precision = 3 // ClickHouse's own default
	if !p.take("(") {
		return t, nil
	}
	var err error
	if t.Precision, err = p.number(t, "precision", 0, 9); err != nil {
		return t, err
	}
	if t.Name == "DateTime64" && p.take(",") {
		return p.zone(t)
	}
	return p.closing(t)
}

// zone reads a quoted time zone and the closing parenthesis.
func (p *typeParser) zone(t Type) (Type, error) {
	zone, ok := p.quotedBy("'")
	if !ok || zone == "" || !p.take(")") {
		return t, p.fail("%s wants a time zone in single quotes", t.Name)
	}
	t.Zone = zone
	return t, nil
}

// decimal reads Decimal, Decimal(P), Decimal(P, S) and the older Decimal32(S) to Decimal256(S), all as Decimal(P, S).
func (p *typeParser) decimal(t Type) (Type, error) {
	var err error
	if digits, sized := map[string]int{"Decimal32": 9, "Decimal64": 18, "Decimal128": 38, "Decimal256": 76}[t.Name]; sized {
		t.Precision = digits
		if !p.take("(") {
			return t, p.fail("%s wants a scale in parentheses", t.Name)
		}
		if t.Scale, err = p.number(t, "scale", 0, digits); err != nil {
			return t, err
		}
		t, err = p.closing(t)
		t.Name = "Decimal"
		return t, err
	}
	t.Precision = 10 // ClickHouse's own default
	if !p.take("(") {
		return t, nil
	}
	if t.Precision, err = p.number(t, "precision", 1, maxDecimal); err != nil {
		return t, err
	}
	if p.take(",") {
		if t.Scale, err = p.number(t, "scale", 0, t.Precision); err != nil {
			return t, err
		}
	}
	return p.closing(t)
}

// maxFixedString is the server's own bound.
const maxFixedString = 0xFFFFFF

func (p *typeParser) fixedString(t Type) (Type, error) {
	if !p.take("(") {
		return t, p.fail("FixedString wants a number of bytes in parentheses")
	}
	var err error
	if t.Width, err = p.number(t, "width", 1, maxFixedString); err != nil {
		return t, err
	}
	return p.closing(t)
}

// arguments keeps what is in the parentheses of JSON and Dynamic as it is: the server made it or will check it.
func (p *typeParser) arguments(t Type) (Type, error) {
	if !p.take("(") {
		return t, nil
	}
	args, ok := p.balanced()
	t.Args = strings.TrimSpace(args)
	if !ok || !p.take(")") {
		return t, p.fail("%s has no closing parenthesis", t.Name)
	}
	return t, nil
}

// balanced consumes everything before the parenthesis that closes the one already taken, or before a comma.
func (p *typeParser) balanced() (string, bool) {
	depth := 0
	for i := 0; i < len(p.rest); i++ {
		switch c := p.rest[i]; c {
		case '(':
			depth++
		case ')':
			if depth == 0 {
				text := p.rest[:i]
				p.rest = p.rest[i:]
				return text, true
			}
			depth--
		case '\'', '`':
			end := quoteEnd(p.rest, i)
			if end < 0 {
				return "", false
			}
			i = end
		}
	}
	return "", false
}

// quoteEnd is the index of the quote that closes the one at i; -1 if none does.
func quoteEnd(s string, i int) int {
	for j := i + 1; j < len(s); j++ {
		switch s[j] {
		case '\\':
			j++
		case s[i]:
			return j
		}
	}
	return -1
}

// simpleAggregate reads SimpleAggregateFunction(f, T), where f may have parameters of its own.
func (p *typeParser) simpleAggregate(t Type) (Type, error) {
	if !p.take("(") {
		return t, p.fail("%s wants a function and a type in parentheses", t.Name)
	}
	t.Args = p.word()
	if p.take("(") {
		params, ok := p.balanced()
		if !ok || !p.take(")") {
			return t, p.fail("%s has no closing parenthesis", t.Name)
		}
		t.Args += "(" + strings.TrimSpace(params) + ")"
	}
	if t.Args == "" || !p.take(",") {
		return t, p.fail("%s wants a function and a type in parentheses", t.Name)
	}
	elem, err := p.parse()
	if err != nil {
		return t, err
	}
	t.Elems = []Type{elem}
	return p.closing(t)
}

func (p *typeParser) enum(t Type) (Type, error) {
	bits := map[string]int{"Enum8": 8, "Enum16": 16}[t.Name]
	for first := true; first || !p.take(")"); first = false {
		if !p.take([]string{",", "("}[b2i(first)]) {
			return t, p.fail("%s wants ('name' = number, ...)", t.Name)
		}
		name, ok := p.quotedBy("'")
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

// quotedBy consumes a string in quotes of the given kind with ClickHouse's escapes of the quote and of \\ .
func (p *typeParser) quotedBy(mark string) (string, bool) {
	if !p.take(mark) {
		return "", false
	}
	var s []byte
	for i := 0; i < len(p.rest); i++ {
		switch c := p.rest[i]; {
		case c == mark[0]:
			p.rest = p.rest[i+1:]
			return string(s), true
		case c == '\\' && i+1 < len(p.rest) && (p.rest[i+1] == mark[0] || p.rest[i+1] == '\\'):
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

// identifier is a name as the server writes it: in backticks if it is not a plain word.
func identifier(name string) string {
	for i := range len(name) {
		if c := name[i]; c != '_' && (!isAlnum(c) || i == 0 && c <= '9') {
			return "`" + strings.NewReplacer(`\`, `\\`, "`", "\\`").Replace(name) + "`"
		}
	}
	return name
}
