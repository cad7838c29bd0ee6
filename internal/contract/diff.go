package contract

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// DifferenceKind says what of a plan is different.
type DifferenceKind string

// The kinds.
const (
	DiffTable     DifferenceKind = "table"          // another target
	DiffDecoder   DifferenceKind = "decoder"        // another version of the decoder
	DiffLineage   DifferenceKind = "lineage"        // other lineage columns
	DiffAdded     DifferenceKind = "column_added"   // the plan fills one more column
	DiffRemoved   DifferenceKind = "column_removed" // one less
	DiffRetyped   DifferenceKind = "column_retyped"
	DiffSource    DifferenceKind = "column_source"   // a column's values come from elsewhere
	DiffPolicies  DifferenceKind = "column_policies" // what becomes of values that are missing, null or do not fit
	DiffOrder     DifferenceKind = "order"           // the same columns in another order
	DiffServer    DifferenceKind = "left_to_server"  // the server fills other columns by itself
	DiffModes     DifferenceKind = "modes"           // what becomes of new fields
	DiffTransform DifferenceKind = "transform"       // version, redact, filter or tombstones
	DiffEventTime DifferenceKind = "event_time"      // which column says when an event happened
	DiffRoutes    DifferenceKind = "routes"          // which events go to which table
)

// Difference is one thing in which a plan is different from another.
type Difference struct {
	Kind   DifferenceKind
	Route  string // of what is different within one route
	Column string // of the kinds that begin with column_
	Text   string // one line: what it was and what it is
}

// Diff is what changed from plan a to plan b, the widest first; none if the plans have the same ID.
func Diff(a, b *Plan) []Difference {
	var d differ
	d.routes(a.Routes(), b.Routes())
	d.values(DiffRoutes, "unrouted", cmp.Or(a.Unrouted(), "-"), cmp.Or(b.Unrouted(), "-"))
	d.values(DiffDecoder, "decoder version", a.DecoderVersion(), b.DecoderVersion())
	for _, is := range b.Routes() {
		if was, ok := route(a.Routes(), is.Name); ok {
			d.route = is.Name
			d.table(was.Plan, is.Plan)
		}
	}
	d.route = ""
	d.transform(a.Transform(), b.Transform())
	return d.out
}

// table compares what two plans say of one table.
func (d *differ) table(a, b *Plan) {
	d.values(DiffTable, "table", a.Database()+"."+a.Table(), b.Database()+"."+b.Table())
	d.values(DiffLineage, "lineage columns", jsonText(a.Lineage()), jsonText(b.Lineage()))
	d.columns(a, b)
	d.values(DiffServer, "left to the server", list(a.LeftToServer()), list(b.LeftToServer()))
	d.modes(a.NewFields(), b.NewFields())
	d.values(DiffEventTime, "event time", cmp.Or(a.EventTime(), "of the record"), cmp.Or(b.EventTime(), "of the record"))
}

func route(routes []Route, name string) (Route, bool) {
	i := slices.IndexFunc(routes, func(r Route) bool { return r.Name == name })
	if i < 0 {
		return Route{}, false
	}
	return routes[i], true
}

// routes compares which events go where.
func (d *differ) routes(a, b []Route) {
	said := func(r Route) string {
		if r.Name == "" {
			return "all events into table " + r.Plan.Table()
		}
		return fmt.Sprintf("route %s into table %s", r.Name, r.Plan.Table())
	}
	var was, is []string // of both
	for _, r := range a {
		if _, there := route(b, r.Name); !there {
			d.add(DiffRoutes, "", "no longer: %s", said(r))
			continue
		}
		was = append(was, r.Name)
	}
	for _, r := range b {
		old, there := route(a, r.Name)
		if !there {
			d.add(DiffRoutes, "", "new: %s", said(r))
			continue
		}
		is = append(is, r.Name)
		d.values(DiffRoutes, "route "+r.Name+" when", cmp.Or(old.When, "-"), cmp.Or(r.When, "-"))
	}
	if !slices.Equal(was, is) {
		d.add(DiffRoutes, "", "order of routes: %s -> %s", list(was), list(is))
	}
}

type differ struct {
	route string
	out   []Difference
}

func (d *differ) add(kind DifferenceKind, column, format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	if d.route != "" {
		text = "route " + d.route + ": " + text
	}
	d.out = append(d.out, Difference{kind, d.route, column, text})
}

// values adds a difference if was is not is.
func (d *differ) values(kind DifferenceKind, what string, was, is any) {
	if was != is {
		d.add(kind, "", "%s: %v -> %v", what, was, is)
	}
}

func (d *differ) columns(a, b *Plan) {
	for _, was := range a.Columns() {
		if _, ok := b.column(was.Name); !ok {
			d.add(DiffRemoved, was.Name, "column %s %s is no longer filled (it came from %s)", was.Name, was.Type, was.origin())
		}
	}
	for _, is := range b.Columns() {
		if was, ok := a.column(is.Name); ok {
			d.column(was, is)
		} else {
			d.add(DiffAdded, is.Name, "column %s %s is filled from %s", is.Name, is.Type, is.origin())
		}
	}
	if was, is := common(a, b), common(b, a); !slices.Equal(was, is) {
		d.add(DiffOrder, "", "order of columns: %s -> %s", list(was), list(is))
	}
}

// common are the names of a's columns that b has too.
func common(a, b *Plan) []string {
	return slices.DeleteFunc(a.ColumnNames(), func(name string) bool {
		_, ok := b.column(name)
		return !ok
	})
}

func (p *Plan) column(name string) (PlanColumn, bool) {
	i := slices.IndexFunc(p.text.Columns, func(c PlanColumn) bool { return c.Name == name })
	if i < 0 {
		return PlanColumn{}, false
	}
	return p.text.Columns[i], true
}

// column compares two forms of one column. Each of its properties belongs to one of the kinds.
func (d *differ) column(was, is PlanColumn) {
	for _, part := range []struct {
		kind DifferenceKind
		of   func(PlanColumn) string
	}{{DiffRetyped, PlanColumn.types}, {DiffSource, PlanColumn.origin}, {DiffPolicies, PlanColumn.policies}} {
		if a, b := part.of(was), part.of(is); a != b {
			d.add(part.kind, is.Name, "column %s: %s -> %s", is.Name, a, b)
		}
	}
}

func (c PlanColumn) types() string {
	if c.Wire != "" {
		return c.Type + " sent as " + c.Wire
	}
	return c.Type
}

// origin is where the column's values come from, and how they are read.
func (c PlanColumn) origin() string {
	s := string(c.Source)
	for _, part := range []struct{ name, value string }{{"", c.Path}, {"", c.Header}, {"", c.Expr}, {"as ", c.As}, {"format ", c.Format}, {"zone ", c.Zone}} {
		if part.value != "" {
			s += " " + part.name + part.value
		}
	}
	if c.Source == SourceConstant {
		s += " " + jsonText(c.Value)
	}
	if c.Length > 0 {
		s += fmt.Sprintf(" of %d elements", c.Length)
	}
	if c.Of != "" {
		s += " of " + c.Of
	}
	if l := c.Large; l != nil && c.Of == "" {
		s += fmt.Sprintf(", elsewhere if longer than %d bytes: the row keeps %d, the name in %s and the length in %s", l.Inline, l.Preview, l.Ref, l.Bytes)
	}
	if c.Lineage {
		s += " (lineage)"
	}
	if c.Added {
		s += " (added by Waybill)"
	}
	return s
}

func (c PlanColumn) policies() string {
	s := fmt.Sprintf("missing %s, null %s, invalid %s", orNone(c.OnMissing), orNone(c.OnNull), orNone(c.OnInvalid))
	if c.Instead != "" {
		s += ", if rescued " + string(c.Instead)
	}
	if c.Default != nil {
		s += ", default " + jsonText(*c.Default)
	}
	if c.NotNull {
		s += ", zero for NULL"
	}
	if c.Evolve {
		s += ", widened where that is safe"
	}
	return s
}

func orNone(p Policy) string {
	if p == "" {
		return "-"
	}
	return string(p)
}

func (d *differ) modes(was, is Modes) {
	d.values(DiffModes, "new_fields", was.Default, is.Default)
	mode := func(m Modes, path string) string {
		for _, p := range m.Paths {
			if p.Path == path {
				return string(p.Mode)
			}
		}
		return "-"
	}
	var paths []string
	for _, p := range slices.Concat(was.Paths, is.Paths) {
		paths = append(paths, p.Path)
	}
	slices.Sort(paths)
	for _, path := range slices.Compact(paths) {
		d.values(DiffModes, "new_fields of "+path, mode(was, path), mode(is, path))
	}
}

func (d *differ) transform(was, is *Transform) {
	a, b := Transform{}, Transform{}
	if was != nil {
		a = *was
	}
	if is != nil {
		b = *is
	}
	d.values(DiffTransform, "version", jsonText(a.Version), jsonText(b.Version))
	d.values(DiffTransform, "redact", jsonText(a.Redact), jsonText(b.Redact))
	d.values(DiffTransform, "filter", jsonText(a.Filter), jsonText(b.Filter))
	d.values(DiffTransform, "tombstones", jsonText(a.Tombstones), jsonText(b.Tombstones))
}

// jsonText is a value on one line.
func jsonText(v any) string {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		panic(err) // parts of a plan, which is written the same way
	}
	return strings.TrimSuffix(b.String(), "\n")
}

func list(names []string) string {
	if len(names) == 0 {
		return "none"
	}
	return strings.Join(names, ", ")
}
