package contract

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/waybill-data/waybill/internal/column"
)

// ChangeKind says what a Change does to a table.
type ChangeKind string

// The kinds.
const (
	AddColumn    ChangeKind = "add_column"
	ModifyColumn ChangeKind = "modify_column" // to a wider type
)

// Change is one change of a table that makes room for what events carry.
type Change struct {
	Kind   ChangeKind
	Column string
	Path   string // in the event
	As     string // of the new column, see Column.As
	Format string // likewise
	From   string // the type before; empty for AddColumn
	Type   string // the type after
	Why    string // one sentence: what was seen, and why it needs this type
	First  At     // of the event that first needed it
}

// Held is drift under ModeEvolve that cannot become a change, and goes on being rescued.
type Held struct {
	Path   string
	Column string // of a type conflict
	Why    string // one sentence, with what a person can do
	// Open: more values may yet decide it, so it is to be asked about again.
	Open bool
}

// Evolution is what to do about drift.
type Evolution struct {
	Changes []Change
	Held    []Held
}

// Evolve says how the table must change so that the drift under ModeEvolve fits. p is the plan that the drift was seen under,
// t the table as it is now; where another worker has made the room already, the change is one that does nothing, and
// what is needed is to compile the plan anew. Compiled against the table with all Changes made, a plan takes what they
// were made for: the same drift gives no change again. The answer does not depend on the order of drift.
func Evolve(c Contract, p *Plan, t TableSchema, drift []FieldDrift) Evolution {
	e := evolver{contract: c, plan: p, table: t, columns: len(t.Columns)}
	for _, d := range gathered(drift) {
		switch {
		case d.Path == OtherPaths:
			e.hold(d, "there are more unknown paths than are told apart: look for names that are data, and map their object as one column", false)
		case d.Kind == DriftNewField:
			e.newField(d)
		default:
			e.conflict(d)
		}
	}
	return e.out
}

// gathered is the drift under ModeEvolve by path, kind and column, each once.
func gathered(drift []FieldDrift) []*FieldDrift {
	var out []*FieldDrift
	for i := range drift {
		d := &drift[i]
		if d.Mode != ModeEvolve {
			continue
		}
		at, found := slices.BinarySearchFunc(out, d, byPath)
		if !found {
			own := *d
			own.Observed = Observed{}
			own.Observed.Merge(&d.Observed)
			out = slices.Insert(out, at, &own)
			continue
		}
		same := out[at]
		same.Count += d.Count
		same.Observed.Merge(&d.Observed)
		if d.First.before(same.First) {
			same.First = d.First
		}
	}
	return out
}

func byPath(a, b *FieldDrift) int {
	return cmp.Or(cmp.Compare(a.Path, b.Path), cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Column, b.Column))
}

// before orders places by time, and where that says nothing by partition and offset.
func (a At) before(b At) bool {
	return cmp.Or(cmp.Compare(a.Time, b.Time), cmp.Compare(a.Topic, b.Topic), cmp.Compare(a.Partition, b.Partition), cmp.Compare(a.Offset, b.Offset)) < 0
}

type evolver struct {
	contract Contract
	plan     *Plan
	table    TableSchema
	columns  int // that the table has, with those to be added
	out      Evolution
}

func (e *evolver) hold(d *FieldDrift, why string, open bool) {
	e.out.Held = append(e.out.Held, Held{Path: d.Path, Column: d.Column, Why: why, Open: open})
}

// newField makes columns of the values at a path that no column takes.
func (e *evolver) newField(d *FieldDrift) {
	path, err := ParsePath(d.Path)
	if err != nil {
		e.hold(d, fmt.Sprintf("no column can name the path: %v", err), false)
		return
	}
	if slices.ContainsFunc(path, func(s Step) bool { return s.Kind != Member }) {
		e.hold(d, "it lies within an array, where elements without it would have to be made up: add an Array column by hand, or take the whole array as json", false)
		return
	}
	e.leaves(d, path, &d.Observed)
}

// leaves adds a column for the path, or those for its members.
func (e *evolver) leaves(d *FieldDrift, path Path, o *Observed) {
	names, ok := o.apart(path[len(path)-1].Name)
	if !ok {
		e.leaf(d, path, o.Infer())
		return
	}
	for _, name := range names {
		e.leaves(d, append(slices.Clone(path), Step{Name: name}), o.object.members[name])
	}
}

// leaf adds a column for the values at a path, or says why not.
func (e *evolver) leaf(d *FieldDrift, path Path, in Inference) {
	at := *d
	at.Path = path.String()
	if e.planned(at.Path) {
		return
	}
	change := Change{Kind: AddColumn, Path: at.Path, Type: in.Type, As: in.As, Why: in.Why, First: d.First}
	if e.made(&change) {
		return
	}
	name, why := e.nameFor(path)
	change.Column = name
	switch {
	case in.Type == "":
		e.hold(&at, in.Why, true)
	case e.leadsToColumn(path):
		e.hold(&at, "columns take members of the object that was here before: map the value by hand if it is to have a column of its own", false)
	case why != "":
		e.hold(&at, why, false)
	case e.columns >= e.maxColumns():
		e.hold(&at, fmt.Sprintf("the table has %d columns, and the pipeline's max_columns is %d: raise it, or map the field by hand", e.columns, e.maxColumns()), false)
	default:
		e.columns++
		e.out.Changes = append(e.out.Changes, change)
	}
}

func (e *evolver) maxColumns() int { return cmp.Or(e.contract.MaxColumns, DefaultMaxColumns) }

// planned reports whether a column takes what is at the path, or is about to.
func (e *evolver) planned(path string) bool {
	return slices.ContainsFunc(e.plan.Columns(), func(c PlanColumn) bool { return c.Source == SourceField && c.Path == path }) ||
		slices.ContainsFunc(e.out.Changes, func(c Change) bool { return c.Kind == AddColumn && c.Path == path })
}

// made makes the change one that does nothing if another worker has added the column since the plan was compiled.
func (e *evolver) made(change *Change) bool {
	for _, in := range e.table.Columns {
		if c, ok := e.contract.added(in, e.plan.Lineage()); ok && c.From == change.Path {
			change.Column, change.Type, change.As, change.Format = in.Name, in.Type, c.As, c.Format
			change.Why = "another worker has added the column already"
			e.out.Changes = append(e.out.Changes, *change)
			return true
		}
	}
	return false
}

// leadsToColumn reports whether a column takes something below the path.
func (e *evolver) leadsToColumn(path Path) bool {
	return slices.ContainsFunc(e.plan.Columns(), func(c PlanColumn) bool {
		below, err := ParsePath(c.Path)
		return c.Source == SourceField && err == nil && path.leadsTo(below)
	})
}

// conflict widens a column so that it takes values that did not fit.
func (e *evolver) conflict(d *FieldDrift) {
	i := slices.IndexFunc(e.plan.Columns(), func(c PlanColumn) bool { return c.Name == d.Column })
	in, ok := e.table.column(d.Column)
	if i < 0 || !ok {
		e.hold(d, "the table has no such column any more", true)
		return
	}
	pc := e.plan.Columns()[i]
	have, err := column.ParseType(in.Type)
	switch {
	case err != nil || !in.insertable():
		e.hold(d, fmt.Sprintf("the column is %s %s in the table now", in.Type, in.DefaultKind), false)
	case !pc.Evolve:
		e.hold(d, "the contract's policies for the column say what becomes of the value", false)
	case in.InKey:
		e.hold(d, "the column is part of the table's key, which cannot change its type under rows: make a new table", false)
	case pc.Length > 0:
		e.hold(d, "the contract says how many elements the array has", false)
	default:
		e.widen(d, pc, in, have)
	}
}

// widen alters the column to the widest type of its family, if that takes any of the values.
func (e *evolver) widen(d *FieldDrift, pc PlanColumn, in TableColumn, have column.Type) {
	target := have.Widest()
	if in.DefaultKind != "" && !have.CanNull() { // where the column is not Nullable, NULL asks for its DEFAULT
		target = target.NotNull()
	}
	values := target
	if path, err := ParsePath(d.Path); err == nil && path.Each() >= 0 && target.Name == "Array" {
		values = target.Elems[0] // what was seen are elements
	}
	d.Observed.leaveOut(e.contract, d.Column)
	taken := d.Observed.takenBy(values)
	changes := target.String() != pc.Type
	if taken != takesAll || !changes {
		e.hold(d, fmt.Sprintf("%s: values that do not fit %s were seen, and no wider type certainly keeps what the column has. Change the column by hand, or map the field as a second column with `as: json`",
			d.Observed.seen(), in.Type), false)
	}
	if taken == takesNone || !changes {
		return
	}
	e.out.Changes = append(e.out.Changes, Change{Kind: ModifyColumn, Column: d.Column, Path: d.Path, From: in.Type, Type: target.String(), First: d.First,
		Why: fmt.Sprintf("%s were seen that %s does not take; all columns of its kind become %s, so that no two workers can undo each other's change", d.Observed.seen(), pc.Type, target)})
}

// leaveOut forgets what the column's own policies rescue: no type is sought for that.
func (o *Observed) leaveOut(c Contract, name string) {
	i := slices.IndexFunc(c.Columns, func(own Column) bool { return own.Name == name })
	if i < 0 {
		return
	}
	if c.Columns[i].OnNull != "" {
		o.Kinds.Null = 0
	}
	if c.Columns[i].OnInvalid != "" {
		*o = Observed{Kinds: Kinds{Null: o.Kinds.Null}}
	}
}
