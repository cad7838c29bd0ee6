package infer

import (
	"fmt"
	"slices"
	"strings"

	"github.com/waybill-data/waybill/internal/contract"
)

// Field is a column that takes what was seen at a path, and why it is as it is.
type Field struct {
	contract.Column
	// Records is how many of the sample's objects have the field, null or not; Nulls in how many it is null. Of what lies in an array they
	// count elements.
	Records, Nulls int64
	// Distinct is how many different values were seen; -1: more than are told apart.
	Distinct int
	Examples []string
	Why      string // evidence for the type
	Instead  string // the type that would have been proposed, if the table has another
	Unsure   string // what the sample does not decide; empty: nothing
	Codec    string // empty: the server's default
	// Text: the column keeps a JSON text, in which nothing has a type of its own.
	Text bool
}

// Skipped is a path for which no column is made: what is found there later goes into the rescue column.
type Skipped struct {
	Path, Why    string
	Count        int64
	Column, Type string // that would take it, if the table that is there had it
}

// Proposal is what would take the sample.
type Proposal struct {
	Fields  []Field
	Skipped []Skipped
	// EventTime is the column that says when an event happened; empty: none does, and EventTimeWhy says what is there.
	EventTime, EventTimeWhy string
	// Notes are about the topic as a whole.
	Notes []string
}

// Thresholds of decisions. They are shares of the values that were seen.
const (
	most       = 0.99     // one kind among several that is taken for what is meant; the rest is rescued
	timely     = 0.90     // numbers that are close to the record's own time, as a moment
	fewOf      = 0.05     // different values among all, of a LowCardinality column
	fewMax     = 2000     // different values of one
	fewFrom    = 50       // values before that says anything
	mapFrom    = 12       // names of an object before they may be data
	mapRare    = 0.34     // of them, which an object has on the average
	hugeText   = 32 << 10 // bytes, from which the page of long values is worth reading
	largeTexts = 256      // bytes on the average, from which a text is compressed harder
)

// Propose decides on the columns.
func (p *Profile) Propose() *Proposal {
	b := &builder{p: p, out: &Proposal{}, used: map[string]bool{}}
	for _, name := range []string{"_topic", "_partition", "_offset", "_epoch", contract.DefaultRescueColumn} {
		b.used[name] = true
	}
	for _, name := range p.root.names {
		b.take(p.root.members[name], contract.Names(name), p.Objects())
	}
	b.eventTime()
	b.notes()
	return b.out
}

type builder struct {
	p    *Profile
	out  *Proposal
	used map[string]bool // names of columns
}

// Kinds, as far as decisions go.
const (
	kindBool   = "true and false"
	kindNumber = "numbers"
	kindString = "strings"
	kindArray  = "arrays"
	kindObject = "objects"
)

type share struct {
	kind  string
	count int64
}

// shares are the kinds that were seen, most of them first.
func (n *node) shares() (out []share, total int64) {
	k := n.kinds
	for _, s := range []share{{kindBool, k.Bool}, {kindNumber, k.Integer + k.Decimal}, {kindString, k.String}, {kindArray, k.Array}, {kindObject, k.Object}} {
		if s.count > 0 {
			out = append(out, s)
			total += s.count
		}
	}
	slices.SortStableFunc(out, func(a, b share) int { return int(b.count - a.count) })
	return out, total
}

// take decides about the values at a path; of is in how many objects, or elements, it could be.
func (b *builder) take(n *node, path contract.Path, of int64) {
	shares, total := n.shares()
	if total == 0 {
		b.skip(path, n.seen, "only null was seen, which says nothing of a type")
		return
	}
	unsure := ""
	if len(shares) > 1 {
		top := shares[0]
		switch {
		case float64(top.count) >= most*float64(total):
			unsure = fmt.Sprintf("%d of %d values are no %s: they are kept in %s", total-top.count, total, top.kind, contract.DefaultRescueColumn)
		case shares[0].kind != kindArray && shares[0].kind != kindObject && n.kinds.Array+n.kinds.Object == 0:
			b.mixed(n, path, of)
			return
		default:
			b.dynamic(n, path, of, shares, total)
			return
		}
	}
	switch shares[0].kind {
	case kindObject:
		b.object(n, path, of, unsure)
	case kindArray:
		b.array(n, path, of, unsure)
	default:
		t := n.scalar(shares[0].kind, lastName(path))
		if t.typ == "" {
			b.text(n, path, of, t.why)
			return
		}
		t.unsure = join(t.unsure, unsure)
		b.column(n, path, of, t)
	}
}

func mixture(shares []share, total int64) string {
	var parts []string
	for _, s := range shares {
		parts = append(parts, fmt.Sprintf("%s %s", percent(s.count, total), s.kind))
	}
	return strings.Join(parts, ", ")
}

func percent(n, of int64) string {
	if n == of {
		return "100 %"
	}
	s := fmt.Sprintf("%.1f %%", 100*float64(n)/float64(of))
	if s == "100.0 %" {
		return "> 99.9 %"
	}
	return s
}

func join(a, b string) string {
	if a != "" && b != "" {
		return a + "; " + b
	}
	return a + b
}

func lastName(path contract.Path) string {
	for i := len(path) - 1; i >= 0; i-- {
		if path[i].Kind == contract.Member {
			return path[i].Name
		}
	}
	return ""
}

func (b *builder) skip(path contract.Path, count int64, why string) {
	b.out.Skipped = append(b.out.Skipped, Skipped{Path: path.String(), Why: why, Count: count})
}

// mixed is for scalars of several kinds.
func (b *builder) mixed(n *node, path contract.Path, of int64) {
	k := n.kinds
	number := n.scalar(kindNumber, "")
	if k.Bool == 0 && k.Decimal == 0 && n.texts.numeric == k.String && (number.typ == "Int64" || number.typ == "UInt64") {
		number.why = fmt.Sprintf("integers, %s of them in quotes, which the column takes as well", percent(k.String, k.String+k.Integer))
		b.column(n, path, of, number)
		return
	}
	var members []string
	if k.Bool > 0 {
		members = append(members, "Bool")
	}
	if k.Integer+k.Decimal > 0 {
		if number.typ == "" || strings.HasPrefix(number.typ, "Date") {
			number = n.numberType()
		}
		if number.typ == "" {
			b.text(n, path, of, number.why)
			return
		}
		members = append(members, number.typ)
	}
	if k.String > 0 {
		members = append(members, "String")
	}
	slices.Sort(members)
	shares, total := n.shares()
	b.column(n, path, of, scalarType{typ: "Variant(" + strings.Join(members, ", ") + ")", nulls: true,
		why: mixture(shares, total) + ": each keeps its kind", unsure: "whether all of these kinds are meant"})
}

// dynamic is for objects or arrays beside something else: they keep their kinds in a column that takes all of them.
func (b *builder) dynamic(n *node, path contract.Path, of int64, shares []share, total int64) {
	if e := n.elems; e != nil && path.Each() < 0 {
		if inner, _ := e.shares(); len(inner) > 1 || e.kinds.Array > 0 {
			b.text(n, path, of, mixture(shares, total)+", and arrays that only their text takes")
			return
		}
	}
	t := scalarType{typ: "Dynamic", nulls: true, why: mixture(shares, total) + ": each keeps its kind", unsure: "whether all of these kinds are meant, or events of several versions"}
	b.column(n, path, of, t)
}

// text is a column of JSON texts.
func (b *builder) text(n *node, path contract.Path, of int64, why string) {
	if path.Each() >= 0 {
		why += "; in an array" // see array, which asks before it descends
	}
	f := b.field(n, path, of)
	f.Type, f.As, f.Text, f.Why, f.Codec = "Nullable(String)", "json", true, why, "ZSTD(3)"
	b.out.Fields = append(b.out.Fields, f)
}

// field is a column without a type.
func (b *builder) field(n *node, path contract.Path, of int64) Field {
	f := Field{Records: n.seen, Nulls: n.kinds.Null, Distinct: len(n.distinct), Examples: n.examples}
	if n.many {
		f.Distinct = -1
	}
	_ = of
	f.Name = b.name(path)
	if text := path.String(); text != f.Name {
		f.From = text
	}
	return f
}

// name is a name for a column that no other has.
func (b *builder) name(path contract.Path) string {
	name := contract.ColumnName(path)
	for i := 2; b.used[name]; i++ {
		name = fmt.Sprintf("%s_%d", contract.ColumnName(path), i)
	}
	b.used[name] = true
	return name
}

func (b *builder) column(n *node, path contract.Path, of int64, t scalarType) {
	f := b.field(n, path, of)
	f.Type, f.Format, f.Zone, f.Why, f.Unsure, f.Codec = t.typ, t.format, t.zone, t.why, t.unsure, t.codec
	always := n.seen == of && n.kinds.Null == 0
	switch {
	case path.Each() >= 0:
		if !always && !t.nulls {
			f.Type = nullable(f.Type)
		}
		f.Type = "Array(" + f.Type + ")"
	case !always && !t.nulls:
		f.Type = nullable(f.Type)
	}
	b.out.Fields = append(b.out.Fields, f)
}

// nullable is the type with NULL in it.
func nullable(typ string) string {
	if inner, low := strings.CutPrefix(typ, "LowCardinality("); low {
		return "LowCardinality(Nullable(" + strings.TrimSuffix(inner, ")") + "))"
	}
	return "Nullable(" + typ + ")"
}

func (b *builder) object(n *node, path contract.Path, of int64, unsure string) {
	if len(n.members) == 0 && !n.crowded {
		b.skip(path, n.seen, "only objects without members were seen, which say nothing of a type")
		return
	}
	if why := n.freeKeys(lastName(path)); why != "" {
		typ := n.mapType()
		if typ == "" {
			b.text(n, path, of, why+", and values of kinds that no Map takes")
			return
		}
		f := b.field(n, path, of)
		f.Type, f.Why, f.Unsure = typ, why, unsure
		if path.Each() >= 0 {
			f.Type = "Array(" + typ + ")"
		}
		b.out.Fields = append(b.out.Fields, f)
		return
	}
	for _, name := range n.names {
		b.take(n.members[name], append(slices.Clone(path), contract.Step{Kind: contract.Member, Name: name}), of)
	}
	if unsure != "" {
		b.out.Notes = append(b.out.Notes, path.String()+": "+unsure)
	}
}

// freeKeys says why the members of objects are data, not structure; empty if they are structure.
func (n *node) freeKeys(name string) string {
	names := len(n.members)
	average := float64(n.filled) / float64(max(1, n.objects))
	switch {
	case n.crowded:
		return fmt.Sprintf("more than %d names", names)
	case contract.FreeKeys(name) && n.mapType() != "":
		return fmt.Sprintf("objects called %s, %d names, whose members are data", name, names)
	case names >= mapFrom && average < mapRare*float64(names) && n.mapType() != "":
		return fmt.Sprintf("%d names, of which an object has %.1f on the average: they are data", names, average)
	}
	return ""
}

// mapType is the Map that takes the objects; empty if none does.
func (n *node) mapType() string {
	all := node{}
	for _, name := range n.names {
		all.merge(n.members[name])
	}
	shares, total := all.shares()
	if total == 0 || n.crowded && len(n.members) == 0 {
		return ""
	}
	if all.kinds.Array+all.kinds.Object > 0 {
		return ""
	}
	value := ""
	switch {
	case len(shares) > 1:
		return ""
	case shares[0].kind == kindString:
		value = "String"
	case shares[0].kind == kindBool:
		value = "Bool"
	default:
		value = all.numberType().typ
	}
	if value == "" {
		return ""
	}
	if all.kinds.Null > 0 {
		value = "Nullable(" + value + ")"
	}
	return "Map(LowCardinality(String), " + value + ")"
}

func (b *builder) array(n *node, path contract.Path, of int64, unsure string) {
	e := n.elems
	if e == nil || e.seen == e.kinds.Null {
		b.skip(path, n.seen, "only arrays without a value in them were seen, which say nothing of a type")
		return
	}
	if typ, why := e.elementType(); typ != "" {
		f := b.field(n, path, of)
		f.Type, f.Why, f.Unsure = "Array("+typ+")", "arrays of up to "+fmt.Sprint(n.longest)+": "+why, unsure
		if path.Each() >= 0 {
			f.Type = "Array(" + f.Type + ")"
		}
		if n.kinds.Null > 0 {
			f.Unsure = join(f.Unsure, "null is kept in "+contract.DefaultRescueColumn+", as no Array takes it")
		}
		b.out.Fields = append(b.out.Fields, f)
		return
	}
	objects := e.kinds.Object > 0 && e.kinds.Object+e.kinds.Null == e.seen
	switch {
	case objects && n.longest == 1 && n.kinds.Array >= fewFrom && path.Each() < 0:
		b.out.Notes = append(b.out.Notes, fmt.Sprintf("%s: no array had more than one element; those of later ones are kept in %s", path, contract.DefaultRescueColumn))
		b.object(e, append(slices.Clone(path), contract.Step{Kind: contract.Element}), e.kinds.Object, "")
	case objects && path.Each() < 0 && e.flat():
		b.object(e, append(slices.Clone(path), contract.Step{Kind: contract.Each}), e.seen, unsure)
	case objects:
		f := b.field(n, path, of)
		f.Type, f.Why, f.Unsure = "Array(JSON)", "arrays of objects with arrays of objects in them: the server's JSON type takes them apart", join(unsure, "it drops nulls, and reads numbers with a fraction as Float64")
		if path.Each() >= 0 {
			f.Type = "Array(Array(JSON))"
		}
		b.out.Fields = append(b.out.Fields, f)
	default:
		shares, total := e.shares()
		b.text(n, path, of, "arrays of "+mixture(shares, total)+", which only their text takes alike")
	}
}

// flat: each field of the elements, at any depth, can be collected by one [*].
func (n *node) flat() bool {
	for _, m := range n.members {
		shares, total := m.shares()
		if total == 0 {
			continue
		}
		if len(shares) > 1 {
			return false
		}
		switch shares[0].kind {
		case kindObject:
			if m.freeKeys("") != "" && m.mapType() != "" {
				continue
			}
			if m.crowded || !m.flat() {
				return false
			}
		case kindArray:
			if m.elems != nil && m.elems.seen > m.elems.kinds.Null {
				if typ, _ := m.elems.elementType(); typ == "" {
					return false
				}
			}
		default:
			if m.scalar(shares[0].kind, "").typ == "" {
				return false
			}
		}
	}
	return !n.crowded
}

// elementType is the type of elements of an array that are scalars of one kind, or arrays of such.
func (n *node) elementType() (typ, why string) {
	shares, _ := n.shares()
	if len(shares) != 1 {
		return "", ""
	}
	switch shares[0].kind {
	case kindObject:
		return "", ""
	case kindArray:
		if n.elems == nil || n.kinds.Null > 0 {
			return "", ""
		}
		inner, why := n.elems.elementType()
		if inner == "" {
			return "", ""
		}
		return "Array(" + inner + ")", why
	}
	t := n.scalar(shares[0].kind, "")
	if t.format != "" {
		t = scalarType{typ: "String", why: "strings"} // an Array has no format of its own
		if shares[0].kind == kindNumber {
			t = n.numberType()
		}
	}
	if t.typ == "" {
		return "", ""
	}
	if n.kinds.Null > 0 {
		t.typ = nullable(t.typ)
	}
	return t.typ, t.why
}

// merge takes in what another node has seen of scalars.
func (n *node) merge(m *node) {
	n.seen += m.seen
	k, o := &n.kinds, m.kinds
	k.Null, k.Bool, k.Integer, k.Decimal = k.Null+o.Null, k.Bool+o.Bool, k.Integer+o.Integer, k.Decimal+o.Decimal
	k.String, k.Array, k.Object = k.String+o.String, k.Array+o.Array, k.Object+o.Object
	n.numbers.Merge(&m.numbers)
	n.strings.Merge(&m.strings)
}
