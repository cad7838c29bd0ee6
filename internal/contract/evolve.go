package contract

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
}

// Evolution is what to do about drift.
type Evolution struct {
	Changes []Change
	Held    []Held
}

// Evolve says how the table must change so that the drift under ModeEvolve fits. What was held before is in blocked (by
// path and column) and is left alone. p is the plan that the drift was seen under.
func Evolve(c Contract, p *Plan, t TableSchema, drift []FieldDrift) Evolution { return Evolution{} }

// SQL is the statement that carries out the change; it may be carried out any number of times. cluster is empty, or the name of the
// cluster that it is run on.
func (c Change) SQL(database, table, cluster string) string { return "" }

// ColumnComment is the table's comment on a column that Waybill has added: it says where the values come from.
func ColumnComment(c Column) string { return "" }

// ParseColumnComment reads such a comment; ok is false for any other.
func ParseColumnComment(comment string) (c Column, ok bool) { return Column{}, false }

// Widens reports whether every value of the type from is a value of the type to, and the server's conversion of a block and of
// stored rows from one to the other keeps it: an ALTER between them is safe while rows are being inserted.
func Widens(from, to string) bool { return false }
