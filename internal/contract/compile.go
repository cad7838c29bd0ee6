package contract

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/waybill-data/waybill"
	"github.com/waybill-data/waybill/internal/column"
)

// Problem is one thing that keeps a contract from being compiled.
type Problem struct {
	Line, Col int    // in the pipeline file; 0 if the problem has no place there
	Column    string // the column concerned
	Message   string
	// Table is true if the table, not the contract alone, is what does not fit.
	Table bool
}

func (p *Problem) Error() string {
	s := p.Column + ": " + p.Message
	if p.Line > 0 {
		s = fmt.Sprintf("%d:%d: %s", p.Line, p.Col, s)
	}
	return s
}

// Problems are the *Problem in an error's tree, in order.
func Problems(err error) []*Problem {
	var p *Problem
	var joined interface{ Unwrap() []error }
	if errors.As(err, &joined) {
		var out []*Problem
		for _, e := range joined.Unwrap() {
			out = append(out, Problems(e)...)
		}
		return out
	}
	if errors.As(err, &p) {
		return []*Problem{p}
	}
	return nil
}

// Compile joins a contract with the table as it is now. It reports every problem it finds: the error
// is a *waybill.Error whose cause joins one *Problem each. decoderVersion is the version of the decoder
// that will run the plan.
func Compile(c Contract, t TableSchema, l Lineage, decoderVersion uint16) (*Plan, error) {
	if c.Raw != nil {
		return compileRaw(c, t, l)
	}
	k := compiler{table: t, lineage: l, contract: c}
	k.modes()
	for _, col := range c.Columns {
		k.column(col)
	}
	k.addedColumns()
	k.largeColumns()
	k.rescueColumn()
	k.lineageColumns()
	k.eventTime()
	if len(k.problems) > 0 {
		return nil, k.err()
	}
	return newPlan(planText{
		Format:         planFormat,
		DecoderVersion: decoderVersion,
		Database:       t.Database,
		Table:          t.Table,
		NewFields:      k.contract.NewFields,
		Transform:      c.transform(),
		EventTime:      c.EventTime,
		Lineage:        l,
		Columns:        k.columns,
		LeftToServer:   k.leftToServer(),
	})
}

type compiler struct {
	table    TableSchema
	lineage  Lineage
	contract Contract
	columns  []PlanColumn
	problems []error
}

func (k *compiler) err() error {
	class := waybill.ClassSchema
	for _, p := range k.problems {
		if own := (*Problem)(nil); errors.As(p, &own) && !own.Table {
			class = waybill.ClassConfig
		}
	}
	return &waybill.Error{
		Op:    "contract.compile",
		Class: class,
		Hint:  fmt.Sprintf("make the contract and table %s.%s agree", k.table.Database, k.table.Table),
		Err:   errors.Join(k.problems...),
	}
}

// modes checks the modes. What a contract does not say is rescued.
func (k *compiler) modes() {
	c := &k.contract
	c.NewFields.Default = cmp.Or(c.NewFields.Default, ModeRescue)
	c.TypeConflicts.Default = cmp.Or(c.TypeConflicts.Default, ModeRescue)
	for _, m := range []struct {
		key   string
		modes Modes
	}{{"new_fields", c.NewFields}, {"type_conflicts", c.TypeConflicts}} {
		for _, p := range m.modes.check(m.key) {
			k.problems = append(k.problems, &Problem{Column: m.key, Message: p})
		}
	}
}

// transform is nil if there is nothing to do.
func (c Contract) transform() *Transform {
	if t := c.Transform; t.Version != nil || t.Redact != nil || t.Filter != "" || t.Tombstones != TombstonesSkip {
		return &t
	}
	return nil
}

// eventTime checks the column that counts by the minute go by.
func (k *compiler) eventTime() {
	name := k.contract.EventTime
	if name == "" {
		return
	}
	bad := func(table bool, format string, args ...any) {
		p := &Problem{Column: name, Message: "event_time: " + fmt.Sprintf(format, args...), Table: table}
		for _, c := range k.contract.Columns {
			if c.Name == name {
				p.Line, p.Col = c.Line, c.Col
			}
		}
		k.problems = append(k.problems, p)
	}
	i := slices.IndexFunc(k.columns, func(c PlanColumn) bool { return c.Name == name })
	if i < 0 {
		bad(false, "the contract has no column %s", name)
		return
	}
	t, err := column.ParseType(k.columns[i].Type)
	switch {
	case err != nil: // said already
	case !t.IsMoment():
		bad(false, "a column of DateTime, DateTime64, Date or Date32, or one of these Nullable; this one is %s", k.columns[i].Type)
	case k.columns[i].uses(TableDefault):
		bad(false, "the server would fill this column by itself, and the time of such rows would not be known: give the contract a default")
	}
}

// conflicts is the mode for values that do not fit the column.
func (k *compiler) conflicts(out *PlanColumn) Mode {
	path, err := ParsePath(out.Path)
	if out.Source != SourceField || err != nil {
		return k.contract.TypeConflicts.Default
	}
	return k.contract.TypeConflicts.Of(path)
}

// rescueColumn adds the column for values that fit no other, if there can be any.
func (k *compiler) rescueColumn() {
	nf := k.contract.NewFields
	needed := nf.Uses(ModeRescue) || nf.Uses(ModeEvolve) ||
		slices.ContainsFunc(k.columns, func(c PlanColumn) bool { return c.uses(Rescue) })
	if !needed {
		return
	}
	name := k.contract.rescueColumn()
	bad := func(format string, args ...any) {
		k.problems = append(k.problems, &Problem{Column: name, Message: fmt.Sprintf(format, args...), Table: true})
	}
	if k.listed(name) {
		bad("this is the rescue column, Waybill fills it itself")
		return
	}
	in, ok := k.table.column(name)
	if !ok {
		bad("the table has no such column for values that fit no other: ALTER TABLE %s.%s ADD COLUMN %s String; or drop them: new_fields: discard, type_conflicts: freeze",
			k.table.Database, k.table.Table, name)
		return
	}
	have, err := column.ParseType(in.Type)
	if err != nil || !in.insertable() || have.String() != "String" && have.String() != "Nullable(String)" && have.Name != "JSON" {
		bad("the rescue column is String, Nullable(String) or JSON, the table has %s %s", in.Type, in.DefaultKind)
		return
	}
	k.columns = append(k.columns, PlanColumn{Name: name, Type: have.String(), Source: SourceRescued})
}

// column compiles one column of the contract.
func (k *compiler) column(c Column) {
	bad := func(table bool, format string, args ...any) {
		k.problems = append(k.problems, &Problem{c.Line, c.Col, c.Name, fmt.Sprintf(format, args...), table})
	}
	if k.listed(c.Name) {
		bad(false, "the column is listed twice")
		return
	}
	if k.lineage.names(c.Name) {
		bad(false, "this is a lineage column, Waybill fills it itself")
		return
	}
	want, err := column.ParseType(c.Type)
	if err != nil {
		bad(false, "%v", err)
	}
	out := PlanColumn{Name: c.Name, As: c.As, Default: c.Default, Added: c.Added}
	source(&out, c, bad)
	out.Type = k.typeInTable(c, want, err == nil && k.conflicts(&out) == ModeEvolve, err == nil, bad)
	if err == nil {
		k.values(&out, c, want, bad)
		out.large(c, want, bad)
	}
	k.columns = append(k.columns, out)
}

// source compiles where a column's values come from.
func source(out *PlanColumn, c Column, bad func(bool, string, ...any)) {
	given := 0
	for _, is := range []bool{c.From != "", c.Kafka != "", c.Value != nil, c.Expr != ""} {
		given += b2i(is)
	}
	if given > 1 {
		bad(false, "from, kafka, value and expr are four sources: keep one of them")
	}
	switch {
	case c.Expr != "":
		out.Source, out.Expr = SourceExpr, c.Expr
	case c.Value != nil:
		out.Source, out.Value = SourceConstant, *c.Value
	case c.Kafka != "":
		if err := recordSource(out, c.Kafka); err != nil {
			bad(false, "kafka: %v", err)
		}
	default:
		out.Source = SourceField
		path, err := Names(c.Name), error(nil)
		if c.From != "" {
			path, err = ParsePath(c.From)
		}
		if err != nil {
			bad(false, "from: %v", err)
		}
		out.Path = path.String()
	}
	if out.Source != SourceField && c.As != "" {
		bad(false, "as: only for values from the event")
	}
}

func b2i(b bool) int {
	if b {
		return 1
	}
	return 0
}

// recordSource reads what `kafka:` says.
func recordSource(out *PlanColumn, text string) error {
	if name, ok := strings.CutPrefix(text, "header."); ok && name != "" {
		out.Source, out.Header = SourceHeader, name
		return nil
	}
	out.Source = Source(text)
	switch out.Source {
	case SourceKey, SourceTimestamp, SourceTopic, SourcePartition, SourceOffset:
		return nil
	}
	return fmt.Errorf("%q is not one of key, timestamp, topic, partition, offset, header.NAME", text)
}

// values compiles what concerns the values of a column: how they are written, policies, the default.
func (k *compiler) values(out *PlanColumn, c Column, want column.Type, bad func(bool, string, ...any)) {
	format, err := column.ParseTimeFormat(c.Format, c.Zone)
	if err == nil {
		err = format.Check(want)
	}
	switch {
	case err != nil:
		bad(false, "%v", err)
		return
	case out.Source == SourceTimestamp && c.Format != "":
		bad(false, "format: a record's timestamp needs none")
	case want.HasTime() && c.As == "" && out.Source != SourceTimestamp:
		out.Format, out.Zone = cmp.Or(c.Format, "rfc3339"), c.Zone
	case c.Format != "":
		bad(false, "format: only for columns of time, this one is %s", c.Type)
	}
	if c.As != "" && c.As != "json" {
		bad(false, "as: %q is not json", c.As)
	} else if c.As == "json" && want.Leaf().Name != "String" {
		bad(false, "as: json needs a column of String, this one is %s", c.Type)
	}
	if out.Source == SourceConstant {
		constant(c, want, format, bad)
		return
	}
	k.shape(out, c, want, bad)
	wire, ok := sendsNull(out.Type, want)
	tableDefault := ok && k.defaultOf(c.Name)
	for _, p := range out.resolvePolicies(c, want.CanNull(), tableDefault, k.conflicts(out)) {
		bad(p.table, "%s", p.message)
	}
	if out.uses(TableDefault) && tableDefault {
		out.Wire = wire
	}
	out.zero(want)
	if c.Default != nil {
		fits("default", *c.Default, c, want, format, bad)
	}
}

// zero keeps the zero value what it is in the contract's type, should the table's column have become Nullable or a string: rows of before have it
// too, and what is counted in them must not change its meaning in the middle of a table.
func (out *PlanColumn) zero(want column.Type) {
	have, err := column.ParseType(out.Type)
	if err != nil || out.Default != nil || !out.uses(Default) || !have.CanNull() || want.CanNull() {
		return
	}
	if enum, ok := want.New().(*column.Enum); ok {
		name := enum.Zero()
		out.Default = &name
		return
	}
	out.NotNull = true
}

// shape checks what concerns arrays.
func (k *compiler) shape(out *PlanColumn, c Column, want column.Type, bad func(bool, string, ...any)) {
	out.Length = c.Length
	if c.Length < 0 || c.Length > 0 && want.Name != "Array" {
		bad(false, "length: a number of elements, only for an Array; this one is %s", c.Type)
	}
	path, err := ParsePath(out.Path)
	if err == nil && path.Each() >= 0 && want.Name != "Array" {
		bad(false, "from: [*] collects values into an Array, this column is %s", c.Type)
	}
}

// constant checks a column that has the same value in every row.
func constant(c Column, want column.Type, format column.TimeFormat, bad func(bool, string, ...any)) {
	if c.Required || c.Default != nil || c.OnMissing != "" || c.OnNull != "" || c.OnInvalid != "" {
		bad(false, "value: a constant is never missing: required, default and policies have no meaning here")
	}
	fits("value", *c.Value, c, want, format, bad)
}

// fits checks a value that the contract gives as text.
func fits(key, text string, c Column, want column.Type, format column.TimeFormat, bad func(bool, string, ...any)) {
	exact, err := column.AppendText(want.New(), []byte(text), format)
	if err != nil {
		bad(false, "%s: %q does not fit %s: %v", key, text, c.Type, err)
	} else if !exact {
		bad(false, "%s: %q has more digits than %s keeps", key, text, c.Type)
	}
}

// defaultOf reports whether the table has a DEFAULT for the column.
func (k *compiler) defaultOf(name string) bool {
	in, ok := k.table.column(name)
	return ok && in.DefaultKind == "DEFAULT"
}

// sendsNull is the type of a column in which NULL asks for the column's DEFAULT; ok is false if there is none,
// or if NULL is a value of its own.
func sendsNull(inTable string, want column.Type) (wire string, ok bool) {
	t, err := column.ParseType(inTable)
	if err != nil { // said already; the contract's type is as good for finding further problems
		t = want
	}
	n, ok := t.Nullable()
	return n.String(), ok && !t.CanNull()
}

// typeInTable is the type that the table has for the column, in DESCRIBE's spelling.
func (k *compiler) typeInTable(c Column, want column.Type, evolve, parsed bool, bad func(bool, string, ...any)) string {
	in, ok := k.table.column(c.Name)
	if !ok {
		bad(true, "table %s.%s has no such column", k.table.Database, k.table.Table)
		return ""
	}
	if !in.insertable() {
		bad(true, "the column is %s in the table, nothing can be inserted into it", in.DefaultKind)
		return ""
	}
	if !parsed {
		return ""
	}
	have, err := column.ParseType(in.Type)
	if err == nil && (have.Accepts(want) || evolve && have.Widens(want)) {
		return have.String()
	}
	hint := ""
	if err == nil && have.Widens(want) {
		hint = ", which is wider: write that, or type_conflicts: evolve"
	}
	bad(true, "the contract says %s, the table has %s%s", c.Type, in.Type, hint)
	return ""
}

func (k *compiler) listed(name string) bool {
	return slices.ContainsFunc(k.columns, func(c PlanColumn) bool { return c.Name == name })
}

// lineageColumns adds the columns that say where a row came from.
func (k *compiler) lineageColumns() {
	k.lineageColumn(k.lineage.Topic, SourceTopic, "LowCardinality(String)", "String")
	k.lineageColumn(k.lineage.Partition, SourcePartition, "UInt16", "UInt32", "Int32")
	k.lineageColumn(k.lineage.Offset, SourceOffset, "UInt64", "Int64")
	if k.lineage.Epoch != "" {
		k.lineageColumn(k.lineage.Epoch, SourceEpoch, "UInt32")
	}
}

func (k *compiler) lineageColumn(name string, source Source, types ...string) {
	bad := func(format string, args ...any) {
		k.problems = append(k.problems, &Problem{Column: name, Message: fmt.Sprintf(format, args...), Table: true})
	}
	if name == "" {
		k.problems = append(k.problems, &Problem{Column: "lineage", Message: "the " + string(source) + " column has no name"})
		return
	}
	if k.listed(name) {
		k.problems = append(k.problems, &Problem{Column: name, Message: "two lineage columns have the same name"})
		return
	}
	in, ok := k.table.column(name)
	if !ok {
		bad("the table has no such lineage column: ALTER TABLE %s.%s ADD COLUMN %s %s",
			k.table.Database, k.table.Table, name, types[0])
		return
	}
	have, err := column.ParseType(in.Type)
	if err != nil || !slices.Contains(types, have.String()) {
		bad("a lineage column for the %s is %s, the table has %s", source, strings.Join(types, " or "), in.Type)
		return
	}
	if !in.insertable() {
		bad("the column is %s in the table, nothing can be inserted into it", in.DefaultKind)
		return
	}
	k.columns = append(k.columns, PlanColumn{Name: name, Type: have.String(), Source: source, Lineage: true})
}

// leftToServer are the insertable columns of the table that the plan does not fill.
func (k *compiler) leftToServer() []string {
	var left []string
	for _, c := range k.table.Columns {
		if !k.listed(c.Name) {
			left = append(left, c.Name)
		}
	}
	return left
}
