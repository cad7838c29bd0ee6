package contract

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
)

func TestDiff(t *testing.T) {
	base := func() (Contract, TableSchema) {
		return Contract{Columns: []Column{{Name: "n", Type: "UInt32"}, {Name: "s", Type: "String"}}},
			table(TableColumn{Name: "n", Type: "UInt32"}, TableColumn{Name: "s", Type: "String"})
	}
	for name, tc := range map[string]struct {
		change func(*Contract, *TableSchema)
		want   string // kind, column and part of the text; several with | between them
	}{
		"nothing":  {func(*Contract, *TableSchema) {}, ""},
		"table":    {func(_ *Contract, s *TableSchema) { s.Table = "other" }, "table  table: ai.llm_calls -> ai.other"},
		"order":    {func(c *Contract, _ *TableSchema) { c.Columns[0], c.Columns[1] = c.Columns[1], c.Columns[0] }, "order  order of columns: n, s, "},
		"path":     {func(c *Contract, _ *TableSchema) { c.Columns[0].From = "m" }, "column_source n column n: field n -> field m"},
		"constant": {func(c *Contract, _ *TableSchema) { c.Columns[1].Value = text("") }, "column_source s column s: field s -> constant \"\"|column_policies s "},
		"default":  {func(c *Contract, _ *TableSchema) { c.Columns[0].Default = text("1") }, "column_policies n column n: missing default, null default, invalid rescue, if rescued default -> "},
		"required": {func(c *Contract, _ *TableSchema) { c.Columns[0].Required = true }, "column_policies n column n: "},
		"removed":  {func(c *Contract, _ *TableSchema) { c.Columns = c.Columns[1:] }, "column_removed n column n UInt32 is no longer filled|left_to_server  left to the server: none -> n"},
		"added": {func(_ *Contract, s *TableSchema) {
			s.Columns = append(s.Columns, TableColumn{Name: "x", Type: "Nullable(Int64)", Comment: `waybill: {"from":"u.x"}`})
		}, "column_added x column x Nullable(Int64) is filled from field u.x (added by Waybill)"},
		"retyped": {func(c *Contract, s *TableSchema) { c.Columns[0].Type, s.Columns[0].Type = "UInt64", "UInt64" }, "column_retyped n column n: UInt32 -> UInt64"},
		"evolve":  {func(c *Contract, _ *TableSchema) { c.TypeConflicts.Default = ModeEvolve }, "column_policies n |column_policies s "},
		"modes": {func(c *Contract, _ *TableSchema) { c.NewFields = Modes{Default: ModeFreeze}.With("a.b", ModeEvolve) },
			"modes  new_fields: rescue -> freeze|modes  new_fields of a.b: - -> evolve"},
		"filter": {func(c *Contract, _ *TableSchema) { c.Transform.Filter = "a < 1" }, `transform  filter: "" -> "a < 1"`},
		"redact": {func(c *Contract, _ *TableSchema) { c.Transform.Redact = &Redact{Version: 2} }, `transform  redact: null -> {"version":2,`},
		"wire": {func(_ *Contract, s *TableSchema) { s.Columns[0].DefaultKind = "DEFAULT" },
			"column_retyped n column n: UInt32 -> UInt32 sent as Nullable(UInt32)|column_policies n "},
	} {
		c, s := base()
		a := compile(t, c, s)
		tc.change(&c, &s)
		checkDiff(t, name, Diff(a, compile(t, c, s)), tc.want)
	}
	c, s := base()
	a := compile(t, c, s)
	b, err := Compile(c, s, Lineage{Topic: "_topic", Partition: "_partition", Offset: "_offset"}, 2)
	if err != nil {
		t.Fatal(err)
	}
	checkDiff(t, "lineage", Diff(a, b), "decoder  decoder version: 1 -> 2|lineage  lineage columns: |column_removed _epoch |left_to_server  left to the server: none -> _epoch")
}

func checkDiff(t *testing.T, name string, got []Difference, want string) {
	t.Helper()
	var lines []string
	for _, d := range got {
		lines = append(lines, fmt.Sprintf("%s %s %s", d.Kind, d.Column, d.Text))
	}
	wanted := strings.Split(want, "|")
	if want == "" {
		wanted = nil
	}
	same := slices.EqualFunc(lines, wanted, func(line, w string) bool { return strings.HasPrefix(line, w) && !strings.Contains(line, "\n") })
	if !same {
		t.Errorf("%s: got %q, want %q", name, lines, wanted)
	}
}

// Whatever is different in two plans is in some difference: each field of a column makes one.
func TestDiff_SeesEveryFieldOfAColumn(t *testing.T) {
	typ := reflect.TypeFor[PlanColumn]()
	for i := range typ.NumField() {
		if typ.Field(i).Name == "Name" {
			continue // another name is another column
		}
		was := PlanColumn{Name: "n", Source: SourceField}
		is := was
		switch f := reflect.ValueOf(&is).Elem().Field(i); {
		case f.Kind() == reflect.String:
			f.SetString("other")
		case typ.Field(i).Name == "Large":
			f.Set(reflect.ValueOf(&Large{Inline: 1, Ref: "r", Bytes: "b"}))
		default:
			f.Set(map[reflect.Kind]reflect.Value{reflect.Bool: reflect.ValueOf(true), reflect.Int: reflect.ValueOf(7), reflect.Pointer: reflect.ValueOf(text("x"))}[f.Kind()])
		}
		if typ.Field(i).Name == "Value" {
			was.Source, is.Source = SourceConstant, SourceConstant
		}
		var d differ
		if d.column(was, is); len(d.out) == 0 {
			t.Errorf("%s is not compared", typ.Field(i).Name)
		}
	}
}
