package json

import (
	"fmt"
	"slices"
	"strings"

	"pgregory.net/rapid"

	"github.com/waybill-data/waybill/internal/contract"
	"github.com/waybill-data/waybill/internal/decode/json/oracle"
)

// names are member names that are easily mistaken for each other, or for syntax.
var names = []string{"a", "b", "ab", "abc", "abcdefgh", "abcdefghi", "", "a.b", "é", "😀", "`", "n\"q\\", "\t", "A", "a ", "usage", "a_long_name_of_a_field"}

// drawContract draws a small contract; columns share names, paths and prefixes of paths.
func drawContract(t *rapid.T) contract.Contract {
	c := contract.Contract{
		NewFields:     drawModes(t, contract.ModeDiscard, contract.ModeDiscard, contract.ModeRescue, contract.ModeRescue, contract.ModeEvolve, contract.ModeFreeze),
		TypeConflicts: contract.Modes{Default: rapid.SampledFrom([]contract.Mode{contract.ModeDiscard, contract.ModeRescue, contract.ModeRescue, contract.ModeEvolve, contract.ModeFreeze}).Draw(t, "type conflicts")},
	}
	types := oneOfEach()
	for i := range rapid.IntRange(0, 8).Draw(t, "columns") {
		path := drawPath(t)
		col := contract.Column{Name: fmt.Sprintf("c%d", i), Type: rapid.SampledFrom(types).Draw(t, "type"), From: path.String()}
		if path.Each() >= 0 {
			col.Type = "Array(" + col.Type + ")"
		}
		c.Columns = append(c.Columns, drawPolicies(t, col, c.TypeConflicts))
	}
	return c
}

// drawModes draws modes for new fields, some of them for single paths.
func drawModes(t *rapid.T, modes ...contract.Mode) contract.Modes {
	m := contract.Modes{Default: rapid.SampledFrom(modes).Draw(t, "mode")}
	for range max(0, rapid.IntRange(-2, 3).Draw(t, "paths with modes")) {
		m = m.With(drawPath(t).String(), rapid.SampledFrom(modes).Draw(t, "mode of a path"))
	}
	return m
}

// drawPath draws a path of one to four steps; short names are likely, so that paths meet.
func drawPath(t *rapid.T) contract.Path {
	some := names
	if rapid.Bool().Draw(t, "short names") {
		some = names[:3]
	}
	path := contract.Names(rapid.SampledFrom(some).Draw(t, "root"))
	arrays := rapid.IntRange(0, 2).Draw(t, "arrays") == 0
	for range rapid.IntRange(0, 3).Draw(t, "steps") {
		if arrays {
			path = append(path, drawStep(t, some, path.Each() < 0))
		} else {
			path = append(path, contract.Step{Name: rapid.SampledFrom(some).Draw(t, "name")})
		}
	}
	return path
}

// drawPolicies draws what a contract may say of a column beside its type; what does not compile is left out.
func drawPolicies(t *rapid.T, col contract.Column, conflicts contract.Modes) contract.Column {
	full := col
	policies := []contract.Policy{"", contract.DeadLetter, contract.Default, contract.Default, contract.Null, contract.Rescue}
	full.OnMissing = rapid.SampledFrom(policies).Draw(t, "on missing")
	full.OnNull = rapid.SampledFrom(policies).Draw(t, "on null")
	full.OnInvalid = rapid.SampledFrom(policies).Draw(t, "on invalid")
	full.Required = rapid.IntRange(0, 9).Draw(t, "required") == 0
	full.Format = rapid.SampledFrom([]string{"", "", "rfc3339", "unix", "unix_ms", "unix_us", "unix_ns"}).Draw(t, "format")
	if rapid.Bool().Draw(t, "as json") {
		full.As = "json"
	}
	if s := rapid.SampledFrom([]string{"", "7", "x", "null", "true", "[]", "{}", "2026-11-22T14:44:47Z"}).Draw(t, "default"); s != "" {
		full.Default = &s
	}
	full.Length = rapid.SampledFrom([]int{0, 0, 0, 2}).Draw(t, "length")
	for _, relax := range []func(){
		func() {}, func() { full.Length = 0 }, func() { full.Format = "" }, func() { full.As = "" }, func() { full.Default = nil },
		func() { full.OnMissing, full.OnNull = "", "" }, func() { full.OnInvalid = "" },
	} {
		if relax(); compiles(full, conflicts) {
			return full
		}
	}
	return col
}

func compiles(col contract.Column, conflicts contract.Modes) bool {
	schema := contract.TableSchema{Columns: []contract.TableColumn{
		{Name: "_topic", Type: "String"}, {Name: "_partition", Type: "Int32"}, {Name: "_offset", Type: "Int64"}, {Name: "_rescued", Type: "String"},
		{Name: col.Name, Type: col.Type},
	}}
	_, err := contract.Compile(contract.Contract{Columns: []contract.Column{col}, TypeConflicts: conflicts}, schema,
		contract.Lineage{Topic: "_topic", Partition: "_partition", Offset: "_offset"}, Version)
	return err == nil
}

// eventDrawer writes events for a plan.
type eventDrawer struct {
	t       *rapid.T
	columns []contract.PlanColumn // with the paths of modes as columns without a type
	spaced  bool                  // white space everywhere
}

// wanted are the columns of a plan that events fill, and the paths of its modes.
func wanted(p *contract.Plan) (columns []contract.PlanColumn) {
	for _, c := range p.Columns() {
		if c.Source == contract.SourceField {
			columns = append(columns, c)
		}
	}
	for _, m := range p.NewFields().Paths {
		columns = append(columns, contract.PlanColumn{Path: m.Path})
	}
	return columns
}

func (d *eventDrawer) chance(percent int) bool {
	return rapid.IntRange(0, 99).Draw(d.t, "chance") < percent
}

func (d *eventDrawer) space() string {
	if !d.spaced {
		return ""
	}
	return rapid.SampledFrom([]string{"", " ", "\n", "\r\n\t", "        "}).Draw(d.t, "space")
}

// leading are the columns whose paths lead to a place or go on from it.
func (d *eventDrawer) leading(place contract.Path) (columns []contract.PlanColumn, paths []contract.Path) {
	for _, c := range d.columns {
		path, _ := contract.ParsePath(c.Path)
		if len(path) < len(place) {
			continue
		}
		matches := true
		for i, s := range place {
			matches = matches && (path[i] == s || path[i].Kind == contract.Each && s.Kind == contract.Element)
		}
		if matches {
			columns, paths = append(columns, c), append(paths, path)
		}
	}
	return columns, paths
}

// object writes the object at a place: members that columns want, in any order, and others.
func (d *eventDrawer) object(place contract.Path) string {
	wanted := map[string]bool{}
	var order []string
	_, paths := d.leading(place)
	for _, path := range paths {
		if len(path) > len(place) && path[len(place)].Kind == contract.Member {
			if name := path[len(place)].Name; !wanted[name] && !d.chance(15) {
				wanted[name] = true
				order = append(order, name)
			}
		}
	}
	for range rapid.IntRange(0, 2).Draw(d.t, "others") {
		if name := rapid.SampledFrom(names).Draw(d.t, "other"); !wanted[name] || d.chance(5) {
			wanted[name] = true
			order = append(order, name)
		}
	}
	if d.chance(50) && len(order) > 0 {
		order = rapid.Permutation(order).Draw(d.t, "order")
	}
	var members []string
	for _, name := range order {
		members = append(members, d.quoted(name)+d.space()+":"+d.space()+d.member(append(slices.Clip(place), contract.Step{Name: name})))
	}
	return d.enclose("{", members, "}")
}

func (d *eventDrawer) enclose(open string, parts []string, end string) string {
	return open + d.space() + strings.Join(parts, d.space()+","+d.space()) + d.space() + end
}

// array writes the array at a place.
func (d *eventDrawer) array(place contract.Path) string {
	var elems []string
	for i := range rapid.IntRange(0, 4).Draw(d.t, "elements") {
		elems = append(elems, d.member(append(slices.Clip(place), contract.Step{Kind: contract.Element, Index: i})))
	}
	return d.enclose("[", elems, "]")
}

// member writes the value at a place.
func (d *eventDrawer) member(place contract.Path) string {
	var ways []func() string
	columns, paths := d.leading(place)
	for i, path := range paths {
		switch {
		case len(path) == len(place) && columns[i].Type == "":
			ways = append(ways, func() string { return d.any(2) })
		case len(path) == len(place):
			typ := oracle.ParseType(columns[i].Type)
			if path.Each() >= 0 {
				typ = typ.Args[0]
			}
			ways = append(ways, func() string { return d.value(typ, columns[i].Format) })
		case path[len(place)].Kind == contract.Member:
			ways = append(ways, func() string { return d.object(place) })
		default:
			ways = append(ways, func() string { return d.array(place) })
		}
	}
	if len(ways) == 0 || d.chance(12) {
		return d.any(3)
	}
	return rapid.SampledFrom(ways).Draw(d.t, "way")()
}

// value writes a value that mostly fits a type.
func (d *eventDrawer) value(t oracle.Type, format string) string {
	switch {
	case d.chance(4):
		return d.any(2)
	case t.Name == "Nullable" && d.chance(20):
		return "null"
	}
	switch t.Name {
	case "Nullable", "LowCardinality":
		return d.value(t.Args[0], format)
	case "Array":
		var elems []string
		for range rapid.IntRange(0, 3).Draw(d.t, "elements") {
			elems = append(elems, d.value(t.Args[0], format))
		}
		return d.enclose("[", elems, "]")
	case "Map":
		var members []string
		for i := range rapid.IntRange(0, 3).Draw(d.t, "entries") {
			key := fmt.Sprint("k", i)
			if d.chance(30) {
				key = rapid.SampledFrom(names).Draw(d.t, "key")
			}
			members = append(members, d.quoted(key)+d.space()+":"+d.space()+d.value(t.Args[1], format))
		}
		return d.enclose("{", members, "}")
	case "String":
		return d.quoted(rapid.SampledFrom(names).Draw(d.t, "start") + rapid.StringN(0, 30, -1).Draw(d.t, "text"))
	case "Bool":
		return rapid.SampledFrom([]string{"true", "false"}).Draw(d.t, "bool")
	case "UUID":
		return d.quoted(fmt.Sprintf("%08x-%04X-4abc-8DEF-0123456789ab", rapid.Uint32().Draw(d.t, "uuid"), rapid.Uint16().Draw(d.t, "uuid")))
	case "Enum8", "Enum16":
		return rapid.SampledFrom([]string{`"x"`, `"y z"`, `"it's"`, `"a"`, `"\u0078"`}).Draw(d.t, "enum")
	case "IPv4", "IPv6":
		return d.quoted(rapid.SampledFrom([]string{"0.0.0.0", "255.255.255.255", "10.1.2.3", "010.1.2.3", "1.2.3", "::", "::1", "fe80::1%eth0",
			"2001:DB8::ff00:42:8329", "::ffff:10.1.2.3", "1:2:3:4:5:6:7:8", "1::2::3", "", "1.2.3.256"}).Draw(d.t, "address"))
	case "FixedString":
		return d.quoted(rapid.StringN(0, 3, -1).Draw(d.t, "fixed"))
	case "Date", "Date32":
		if format == "rfc3339" && d.chance(50) {
			return d.quoted(d.moment()[:10])
		}
	}
	switch t.Name {
	case "DateTime", "DateTime64", "Date", "Date32":
		if format == "rfc3339" {
			return d.quoted(d.moment())
		}
	}
	number := d.number()
	if d.chance(10) {
		return d.quoted(number)
	}
	return number
}

func (d *eventDrawer) moment() string {
	two := func(n int) string { return fmt.Sprintf("%02d", rapid.IntRange(0, n).Draw(d.t, "two digits")) }
	s := rapid.SampledFrom([]string{"2026", "1969", "1970", "2106", "1900", "2299", "2262"}).Draw(d.t, "year") +
		"-" + two(13) + "-" + two(32) + "T" + two(24) + ":" + two(60) + ":" + two(60)
	if d.chance(60) {
		s += "." + rapid.StringMatching(`[0-9]{1,12}`).Draw(d.t, "fraction")
	}
	return s + rapid.SampledFrom([]string{"Z", "z", "+01:00", "-23:59", "+00:00", "+24:00", ""}).Draw(d.t, "zone")
}

func (d *eventDrawer) number() string {
	switch rapid.IntRange(0, 3).Draw(d.t, "kind of number") {
	case 0:
		return fmt.Sprint(rapid.Int64().Draw(d.t, "integer"))
	case 1:
		return fmt.Sprint(rapid.IntRange(-300, 300).Draw(d.t, "small"))
	case 2:
		return fmt.Sprint(rapid.Float64Range(-1e30, 1e30).Draw(d.t, "float"))
	}
	return rapid.StringMatching(`-?(0|[1-9][0-9]{0,24})(\.[0-9]{1,24})?([eE][+-]?[0-9]{1,3})?`).Draw(d.t, "number")
}

// any writes any value.
func (d *eventDrawer) any(depth int) string {
	kind := rapid.IntRange(0, 7).Draw(d.t, "any")
	if depth == 0 {
		kind %= 5
	}
	switch kind {
	case 0:
		return "null"
	case 1:
		return "true"
	case 2:
		return d.number()
	case 3, 4:
		return d.quoted(rapid.String().Draw(d.t, "any text"))
	}
	var parts []string
	for range rapid.IntRange(0, 3).Draw(d.t, "parts") {
		part := d.any(depth - 1)
		if kind == 5 {
			part = d.quoted(rapid.SampledFrom(names).Draw(d.t, "name")) + ":" + part
		}
		parts = append(parts, part)
	}
	if kind == 5 {
		return d.enclose("{", parts, "}")
	}
	return d.enclose("[", parts, "]")
}

// quoted writes a string, some of its characters as escapes.
func (d *eventDrawer) quoted(s string) string {
	escape := d.chance(25)
	var b strings.Builder
	b.WriteByte('"')
	for i, r := range strings.ToValidUTF8(s, "?") {
		switch {
		case r == '"' || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r < ' ' || escape && i%3 == 0 && r < 0x10000:
			fmt.Fprintf(&b, `\u%04x`, r)
		case escape && r >= 0x10000:
			r -= 0x10000
			fmt.Fprintf(&b, `\u%04X\u%04x`, 0xd800+r>>10, 0xdc00+r&0x3ff)
		default:
			b.WriteRune(r)
		}
	}
	b.WriteByte('"')
	return b.String()
}

// changed writes a value with members of its objects moved, doubled, dropped, replaced and added.
func (d *eventDrawer) changed(value string, depth int) string {
	if value[0] != '{' || depth == 0 {
		return value
	}
	members := oracle.Members([]byte(value))
	var parts []string
	for _, m := range members {
		part := d.quoted(m.Name) + ":" + d.changed(m.Raw, depth-1)
		switch rapid.IntRange(0, 19).Draw(d.t, "change") {
		case 0: // dropped
			continue
		case 1:
			part = d.quoted(m.Name) + ":" + d.any(3)
		case 2:
			other := rapid.SampledFrom(members).Draw(d.t, "another member")
			part = d.quoted(m.Name) + ":" + other.Raw
		case 3:
			part += "," + d.quoted(rapid.SampledFrom(names).Draw(d.t, "added")) + ":" + d.any(2)
		case 4:
			if d.chance(20) {
				part += "," + part
			}
		}
		parts = append(parts, part)
	}
	if len(parts) > 1 && d.chance(30) {
		parts = rapid.Permutation(parts).Draw(d.t, "order")
	}
	return d.enclose("{", parts, "}")
}

// mutate breaks a text a little: bytes are changed, inserted, removed, parts doubled, the end cut.
func mutate(t *rapid.T, text string) string {
	for range rapid.IntRange(1, 3).Draw(t, "mutations") {
		from := rapid.IntRange(0, len(text)).Draw(t, "from")
		to := rapid.IntRange(from, min(len(text), from+12)).Draw(t, "to")
		part := rapid.SampledFrom([]string{"", "\"", "\\", "{", "}", "[", "]", ",", ":", "\\u", "\\ud83d", "\x00", "\n", "\x80", "\xff", "0", "-", ".", "e", " ", "null", text[from:to]}).Draw(t, "part")
		switch rapid.IntRange(0, 3).Draw(t, "mutation") {
		case 0:
			text = text[:from] + part + text[to:]
		case 1:
			text = text[:to] + part + text[to:]
		case 2:
			text = text[:from] + part + text[min(from+1, len(text)):]
		case 3:
			text = text[:to] + text[from:]
		}
	}
	return text
}
