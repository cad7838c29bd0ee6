package contract

import (
	"bytes"
	"reflect"
	"slices"
	"strings"
	"testing"
)

func TestModes_TheLongestPathDecides(t *testing.T) {
	m := Modes{Default: ModeRescue}.With("a.b", ModeFreeze).With("a", ModeDiscard).With("items[*].x", ModeEvolve).With("a.b", ModeEvolve).With("`a.b`", ModeFreeze)
	for path, want := range map[string]Mode{
		"a": ModeDiscard, "a.c": ModeDiscard, "a.b": ModeEvolve, "a.b.c": ModeEvolve, "ab": ModeRescue, "b": ModeRescue, "`a.b`": ModeFreeze,
		"items": ModeRescue, "items[*].x": ModeEvolve, "items[3].x.y": ModeEvolve, "items[3].y": ModeRescue,
	} {
		p, err := ParsePath(path)
		if err != nil {
			t.Fatal(err)
		}
		if got := m.Of(p); got != want {
			t.Errorf("%s: %s, want %s", path, got, want)
		}
	}
	if !slices.IsSortedFunc(m.Paths, func(a, b PathMode) int { return strings.Compare(a.Path, b.Path) }) || len(m.Paths) != 4 {
		t.Errorf("paths: %+v", m.Paths)
	}
	if !m.Uses(ModeRescue) || !m.Uses(ModeFreeze) || (Modes{Default: ModeFreeze}).Uses(ModeEvolve) {
		t.Error("Uses is wrong")
	}
	if was := (Modes{Default: ModeRescue, Paths: []PathMode{{"a", ModeFreeze}}}); was.With("a", ModeEvolve).Paths[0].Mode != ModeEvolve || was.Paths[0].Mode != ModeFreeze {
		t.Error("With writes to what it was given")
	}
}

// What each mode makes of a value that does not fit, of a null and of a missing field.
func TestCompile_PoliciesOfEachMode(t *testing.T) {
	for _, tc := range []struct {
		name string
		mode Mode
		col  Column
		in   TableColumn
		want PlanColumn // policies only
	}{
		{"evolve", ModeEvolve, Column{Type: "Int8"}, TableColumn{}, PlanColumn{OnMissing: Default, OnNull: Rescue, OnInvalid: Rescue, Instead: Default, Evolve: true}},
		{"evolve, nullable", ModeEvolve, Column{Type: "Nullable(Int8)"}, TableColumn{}, PlanColumn{OnMissing: Null, OnNull: Null, OnInvalid: Rescue, Instead: Null, Evolve: true}},
		{"evolve, widened", ModeEvolve, Column{Type: "Int8"}, TableColumn{Type: "Nullable(Int64)"}, PlanColumn{OnMissing: Default, OnNull: Null, OnInvalid: Rescue, Instead: Default, Evolve: true}},
		{"evolve, default", ModeEvolve, Column{Type: "Int8", Default: text("1")}, TableColumn{}, PlanColumn{OnMissing: Default, OnNull: Default, OnInvalid: Rescue, Instead: Default, Evolve: true}},
		{"evolve, table's default", ModeEvolve, Column{Type: "Int8"}, TableColumn{DefaultKind: "DEFAULT"}, PlanColumn{OnMissing: TableDefault, OnNull: TableDefault, OnInvalid: Rescue, Instead: TableDefault, Evolve: true}},
		{"evolve, own policies", ModeEvolve, Column{Type: "Int8", OnInvalid: Rescue, OnNull: Rescue}, TableColumn{}, PlanColumn{OnMissing: Default, OnNull: Rescue, OnInvalid: Rescue, Instead: Default}},
		{"evolve, required", ModeEvolve, Column{Type: "Int8", Required: true}, TableColumn{}, PlanColumn{OnMissing: DeadLetter, OnNull: DeadLetter, OnInvalid: DeadLetter}},
		{"evolve, expression", ModeEvolve, Column{Type: "Int8", Expr: "1"}, TableColumn{}, PlanColumn{OnMissing: Default, OnNull: Rescue, OnInvalid: Rescue, Instead: Default}},
		{"rescue", ModeRescue, Column{Type: "Int8"}, TableColumn{}, PlanColumn{OnMissing: Default, OnNull: Default, OnInvalid: Rescue, Instead: Default}},
		{"freeze", ModeFreeze, Column{Type: "Int8"}, TableColumn{}, PlanColumn{OnMissing: Default, OnNull: Default, OnInvalid: DeadLetter}},
		{"discard", ModeDiscard, Column{Type: "Nullable(Int8)"}, TableColumn{}, PlanColumn{OnMissing: Null, OnNull: Null, OnInvalid: Null}},
	} {
		tc.col.Name, tc.in.Name = "c", "c"
		if tc.in.Type == "" {
			tc.in.Type = tc.col.Type
		}
		p := compile(t, Contract{TypeConflicts: Modes{Default: tc.mode}, Columns: []Column{tc.col}}, table(tc.in))
		c := p.Columns()[0]
		got := PlanColumn{OnMissing: c.OnMissing, OnNull: c.OnNull, OnInvalid: c.OnInvalid, Instead: c.Instead, Evolve: c.Evolve}
		if got != tc.want || c.Type != tc.in.Type {
			t.Errorf("%s: %+v of %s, want %+v", tc.name, got, c.Type, tc.want)
		}
	}
}

func TestCompile_TypeConflictsByPath(t *testing.T) {
	c := Contract{TypeConflicts: Modes{Default: ModeFreeze}.With("u", ModeRescue).With("u.n", ModeEvolve), Columns: []Column{
		{Name: "a", Type: "Int8", From: "u.n"}, {Name: "b", Type: "Int8", From: "u.m"}, {Name: "c", Type: "Int8"}, {Name: "k", Type: "String", Kafka: "key"}}}
	p := compile(t, c, table(TableColumn{Name: "a", Type: "Int8"}, TableColumn{Name: "b", Type: "Int8"}, TableColumn{Name: "c", Type: "Int8"}, TableColumn{Name: "k", Type: "String"}))
	var got []string
	for _, c := range p.Columns()[:4] {
		got = append(got, string(c.OnInvalid)+map[bool]string{true: " evolve"}[c.Evolve])
	}
	if want := []string{"rescue evolve", "rescue", "dead_letter", "dead_letter"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestCompile_WiderTypeInTheTable(t *testing.T) {
	for _, tc := range []struct {
		mode       Mode
		have, want string // in the table, and what is said about it
	}{
		{ModeEvolve, "Nullable(Int64)", ""},
		{ModeEvolve, "Int16", ""},
		{ModeEvolve, "Float32", ""},
		{ModeEvolve, "UInt64", "the contract says Int8, the table has UInt64"},
		{ModeRescue, "Int64", "the contract says Int8, the table has Int64, which is wider: write that, or type_conflicts: evolve"},
		{ModeRescue, "String", "the contract says Int8, the table has String"},
	} {
		_, err := Compile(Contract{TypeConflicts: Modes{Default: tc.mode}, Columns: []Column{{Name: "n", Type: "Int8"}}},
			table(TableColumn{Name: "n", Type: tc.have}), DefaultLineage(), 1)
		if tc.want == "" && err != nil || tc.want != "" && (err == nil || problems(t, err)[0].Message != tc.want) {
			t.Errorf("%s under %s: %v, want %q", tc.have, tc.mode, err, tc.want)
		}
	}
}

func TestCompile_RescueColumn(t *testing.T) {
	silent := Contract{NewFields: Modes{Default: ModeDiscard}, TypeConflicts: Modes{Default: ModeFreeze}, Columns: []Column{{Name: "n", Type: "Int8"}}}
	for _, tc := range []struct {
		name   string
		change func(*Contract)
		column TableColumn
		want   string // problem; empty: none
		has    bool
	}{
		{"not needed", func(*Contract) {}, TableColumn{}, "", false},
		{"new fields", func(c *Contract) { c.NewFields.Default = ModeRescue }, TableColumn{Name: "_rescued", Type: "String"}, "", true},
		{"new fields of one path", func(c *Contract) { c.NewFields = c.NewFields.With("a", ModeEvolve) }, TableColumn{Name: "_rescued", Type: "Nullable(String)"}, "", true},
		{"one column's policy", func(c *Contract) { c.Columns[0].OnInvalid = Rescue }, TableColumn{Name: "_rescued", Type: "JSON"}, "", true},
		{"another name", func(c *Contract) { c.NewFields.Default, c.RescueColumn = ModeEvolve, "rest" }, TableColumn{Name: "rest", Type: "String"}, "", true},
		{"missing", func(c *Contract) { c.NewFields.Default = ModeRescue }, TableColumn{Name: "rest", Type: "String"}, "the table has no such column for values that fit no other: ALTER TABLE", false},
		{"of another type", func(c *Contract) { c.NewFields.Default = ModeRescue }, TableColumn{Name: "_rescued", Type: "Int8"}, "the rescue column is String, Nullable(String) or JSON, the table has Int8", false},
		{"not insertable", func(c *Contract) { c.NewFields.Default = ModeRescue }, TableColumn{Name: "_rescued", Type: "String", DefaultKind: "ALIAS"}, "the rescue column is", false},
		{"listed", func(c *Contract) { c.NewFields.Default, c.RescueColumn = ModeRescue, "n" }, TableColumn{}, "this is the rescue column, Waybill fills it itself", false},
	} {
		c := silent
		c.Columns = slices.Clone(c.Columns)
		tc.change(&c)
		s := TableSchema{Columns: append(lineageOf("String", "UInt16", "UInt64", "UInt32"), TableColumn{Name: "n", Type: "Int8"}, tc.column)}
		p, err := Compile(c, s, DefaultLineage(), 1)
		if tc.want != "" {
			if got := problems(t, err); len(got) != 1 || !strings.HasPrefix(got[0].Message, tc.want) {
				t.Errorf("%s: %v", tc.name, err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", tc.name, err)
			continue
		}
		if in, ok := p.RescueColumn(); ok != tc.has || in.Name != tc.column.Name || in.Type != tc.column.Type {
			t.Errorf("%s: %+v, %v", tc.name, in, ok)
		}
	}
}

// A computed column has policies and a type of its own; its name is no path, so modes of that path are not its.
func TestCompile_Expressions(t *testing.T) {
	c := Contract{TypeConflicts: Modes{Default: ModeFreeze}.With("total", ModeDiscard), Transform: Transform{Filter: "n > 0"},
		Columns: []Column{{Name: "total", Type: "Int8", Expr: "event.a + 1"}}}
	p := compile(t, c, table(TableColumn{Name: "total", Type: "Int8"}))
	if col := p.Columns()[0]; col.Source != SourceExpr || col.Expr != "event.a + 1" || col.Path != "" || col.OnInvalid != DeadLetter || col.OnMissing != Default {
		t.Errorf("%+v", col)
	}
	c.Columns[0].From, c.Columns[0].As = "x", "json"
	_, err := Compile(c, table(TableColumn{Name: "total", Type: "Int8"}), DefaultLineage(), 1)
	if got := problems(t, err); len(got) < 2 || !strings.Contains(got[0].Message, "keep one of them") {
		t.Errorf("%v", err)
	}
}

func TestCompile_AddedColumns(t *testing.T) {
	c := Contract{Columns: []Column{{Name: "n", Type: "Int8", From: "u.n"}, {Name: "k", Type: "String", Kafka: "key"},
		{Name: "fixed", Type: "String", Value: text("1")}, {Name: "computed", Type: "String", Expr: "'1'"}}, TypeConflicts: Modes{Default: ModeFreeze}.With("u", ModeEvolve)}
	added := func(name, typ, comment string) TableColumn {
		return TableColumn{Name: name, Type: typ, Comment: comment}
	}
	s := table(added("n", "Int8", `waybill: {"from":"elsewhere"}`), added("k", "String", ""), added("fixed", "String", ""), added("computed", "String", ""),
		added("f2", "Nullable(Int64)", `waybill: {"from":"fixed"}`), added("c2", "Nullable(Int64)", `waybill: {"from":"computed"}`), // likewise
		added("u_cost", "Nullable(Float64)", `waybill: {"from":"u.cost"}`),
		added("u_n", "Nullable(Int64)", `waybill: {"from":"u.n"}`), // mapped
		added("doc", typeText, `waybill: {"from":"doc","as":"json"}`),
		added("k2", "Nullable(Int64)", `waybill: {"from":"k"}`), // the contract's k is not that field
		added("at", "DateTime64(3, 'UTC')", `waybill: {"from":"at","format":"unix_ms"}`),
		added("theirs", "Int8", "from: theirs"), added("broken", "Int8", `waybill: {"frm":"x"}`),
		added("wrong", "Nullable(Int64)", `waybill: {"from":"wrong","as":"json"}`), added("unknown", "QBit(Float32, 4)", `waybill: {"from":"unknown"}`),
		TableColumn{Name: "alias", Type: "Int8", DefaultKind: "ALIAS", Comment: `waybill: {"from":"alias"}`},
	)
	p := compile(t, c, s)
	var got []string
	for _, col := range p.Columns() {
		if col.Added {
			got = append(got, col.Name+" "+col.Type+" "+col.Path+" "+col.As+" "+col.Format+" "+string(col.OnMissing)+" "+string(col.OnInvalid))
		}
	}
	want := []string{"f2 Nullable(Int64) fixed   null dead_letter", "c2 Nullable(Int64) computed   null dead_letter", "u_cost Nullable(Float64) u.cost   null rescue", "doc Nullable(String) doc json  null dead_letter", "k2 Nullable(Int64) k   null dead_letter",
		"at DateTime64(3, 'UTC') at  unix_ms default dead_letter"}
	if !slices.Equal(got, want) {
		t.Errorf("added:\n%s, want\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if left := p.LeftToServer(); !slices.Equal(left, []string{"u_n", "theirs", "broken", "wrong", "unknown", "alias"}) {
		t.Errorf("left to the server: %q", left)
	}
}

// Waybill's own columns are its own, whatever somebody writes on them.
func TestCompile_OwnColumnsAreNotAddedOnes(t *testing.T) {
	s := table()
	for i := range s.Columns {
		s.Columns[i].Comment = `waybill: {"from":"x"}`
	}
	for _, col := range compile(t, evolving(), s).Columns() {
		if col.Added || col.Source == SourceField {
			t.Errorf("%+v", col)
		}
	}
}

func TestPlan_OfAllPartsReadsBack(t *testing.T) {
	c := Contract{NewFields: Modes{Default: ModeEvolve}.With("a[*].b", ModeFreeze), TypeConflicts: Modes{Default: ModeEvolve},
		Transform: Transform{Version: &Versions{From: "v", Current: "2", Unknown: UnknownDeadLetter, Upcast: []Upcast{{From: "1", To: "2", Steps: []UpcastStep{{Op: OpMove, From: []string{"a"}, To: []string{"b"}}}}}},
			Redact: &Redact{Version: 1, KeepRaw: true, SecretID: SecretID([]byte("s")), Rules: []RedactRule{{Path: "x", Detect: []string{"email"}, Do: RedactHash}}}, Filter: `n > 0 && s != "<"`},
		Columns: []Column{{Name: "n", Type: "Int8"}, {Name: "e", Type: "Int8", Expr: "event.n"}}}
	p := compile(t, c, table(TableColumn{Name: "n", Type: "Int8"}, TableColumn{Name: "e", Type: "Int8"}, TableColumn{Name: "x", Type: "Nullable(Int64)", Comment: `waybill: {"from":"u.x"}`}))
	q, err := ParsePlan(p.Canonical())
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(p.Canonical(), q.Canonical()) || !reflect.DeepEqual(p.Transform(), q.Transform()) || !reflect.DeepEqual(p.NewFields(), q.NewFields()) || !reflect.DeepEqual(p.Columns(), q.Columns()) {
		t.Errorf("%s\nread back as\n%s", p.Canonical(), q.Canonical())
	}
	if d := Diff(p, q); len(d) > 0 {
		t.Errorf("%+v", d)
	}
}
