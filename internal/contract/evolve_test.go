package contract

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/waybill-data/waybill/internal/column"
)

func evolving(columns ...Column) Contract {
	return Contract{NewFields: Modes{Default: ModeEvolve}, TypeConflicts: Modes{Default: ModeEvolve}, Columns: columns}
}

func newFieldDrift(path string, values ...string) FieldDrift {
	d := FieldDrift{Kind: DriftNewField, Path: path, Mode: ModeEvolve, Observed: Observed{Deep: true}}
	for _, v := range values {
		d.Observed.Add([]byte(v))
	}
	return d
}

func conflictDrift(name string, values ...string) FieldDrift {
	d := newFieldDrift(name, values...)
	d.Kind, d.Column, d.Observed = DriftTypeConflict, name, *observe(false, values...)
	return d
}

// brief is an evolution in few words.
func brief(e Evolution) []string {
	var out []string
	for _, c := range e.Changes {
		s := fmt.Sprintf("%s %s %s", c.Kind, c.Column, c.Type)
		if c.Kind == AddColumn {
			s += strings.TrimRight(" from "+c.Path+" "+c.As, " ")
		}
		out = append(out, s)
	}
	for _, h := range e.Held {
		out = append(out, fmt.Sprintf("held %s%s: %s", h.Path, map[bool]string{true: " (open)"}[h.Open], h.Why))
	}
	return out
}

func TestEvolve_NewFields(t *testing.T) {
	ours := TableColumn{Name: "a_b", Type: typeText, Comment: `waybill: {"from":"a_b"}`}
	for _, tc := range []struct {
		name  string
		drift []FieldDrift
		want  []string // beginnings
		extra []TableColumn
	}{
		{name: "objects are taken apart", drift: []FieldDrift{newFieldDrift("usage", `{"cost":0.5,"tokens":{"in":1}}`, `{"note":"x"}`)}, want: []string{
			"add_column usage_cost Nullable(Float64) from usage.cost", "add_column usage_note Nullable(String) from usage.note",
			"add_column usage_tokens_in Nullable(Int64) from usage.tokens.in"}},
		{name: "free keys are one column", drift: []FieldDrift{newFieldDrift("run.metadata", `{"x":"1"}`), newFieldDrift("span", `{"tags":{"n":1}}`)}, want: []string{
			"add_column run_metadata Map(LowCardinality(String), String) from run.metadata", "add_column span_tags Nullable(String) from span.tags json"}},
		{name: "names are made plain", drift: []FieldDrift{newFieldDrift("attrs.`gen_ai.système`", `1`), newFieldDrift("`2fa`", `true`), newFieldDrift("``", `1`)}, want: []string{
			"add_column _2fa Nullable(Bool) from 2fa", "add_column _ Nullable(Int64) from ``", "add_column attrs_gen_ai_syst_me Nullable(Int64) from attrs.`gen_ai.système`"}},
		{name: "names of two paths", drift: []FieldDrift{newFieldDrift("a.b", "1"), newFieldDrift("A_b", "1")}, want: []string{
			"add_column A_b Nullable(Int64) from A_b", "add_column a_b_2e7336dc Nullable(Int64) from a.b"}},
		{name: "name of a column added for another path", drift: []FieldDrift{newFieldDrift("a.b", "1")}, extra: []TableColumn{ours},
			want: []string{"add_column a_b_2e7336dc Nullable(Int64) from a.b"}},
		{name: "name of somebody else's column", drift: []FieldDrift{newFieldDrift("a.b", "1")}, extra: []TableColumn{{Name: "A_B", Type: "Int8", Comment: "mine"}},
			want: []string{"held a.b: the table has a column A_B that Waybill did not add"}},
		{name: "comment that cannot be read", drift: []FieldDrift{newFieldDrift("a.b", "1")}, extra: []TableColumn{{Name: "a_b", Type: "Int8", Comment: `waybill: {"form":"a.b"}`}},
			want: []string{"held a.b: the comment on the table's column a_b cannot be read"}},
		{name: "Waybill's own names", drift: []FieldDrift{newFieldDrift("_OFFSET", "1"), newFieldDrift("_rescued", "1")}, want: []string{
			"held _OFFSET: the table has a column _offset", "held _rescued: the table has a column _rescued"}},
		{name: "another worker was faster", drift: []FieldDrift{newFieldDrift("a_b", "1")}, extra: []TableColumn{ours}, want: []string{"add_column a_b Nullable(String) from a_b"}},
		{name: "undecided", drift: []FieldDrift{newFieldDrift("x", "null"), newFieldDrift("y", "[]"), newFieldDrift("z", `{"a":null,"b":1}`)}, want: []string{
			"add_column z_b", "held x (open): only null", "held y (open): only arrays without", "held z.a (open): only null"}},
		{name: "within arrays", drift: []FieldDrift{newFieldDrift("items[*].n", "1"), newFieldDrift("items[3]", "1")}, want: []string{
			"held items[*].n: it lies within an array", "held items[3]: it lies within an array"}},
		{name: "above a column", drift: []FieldDrift{newFieldDrift("known", `"x"`)}, want: []string{"held known: columns take members of the object"}},
		{name: "too many to tell apart", drift: []FieldDrift{newFieldDrift(OtherPaths, `"x"`)}, want: []string{"held …other: there are more unknown paths"}},
		{name: "what is not to evolve", drift: []FieldDrift{{Kind: DriftNewField, Path: "x", Mode: ModeRescue, Observed: *observe(true, "1")}}},
		{name: "parts of one path", drift: []FieldDrift{newFieldDrift("x", "1"), newFieldDrift("x", "0.5")}, want: []string{"add_column x Nullable(Float64) from x"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := evolving(Column{Name: "n", Type: "Int8", From: "known.n"})
			s := table(append([]TableColumn{{Name: "n", Type: "Int8"}}, tc.extra...)...)
			plan := compile(t, c, s)
			if tc.name == "another worker was faster" {
				plan = compile(t, c, table(TableColumn{Name: "n", Type: "Int8"}))
			}
			e := Evolve(c, plan, s, tc.drift)
			got := brief(e)
			if len(got) != len(tc.want) {
				t.Fatalf("%d answers, want %d:\n%s", len(got), len(tc.want), strings.Join(got, "\n"))
			}
			for i, want := range tc.want {
				if !strings.HasPrefix(got[i], want) {
					t.Errorf("got %s, want %s", got[i], want)
				}
			}
		})
	}
}

func TestEvolve_TypeConflicts(t *testing.T) {
	for _, tc := range []struct {
		col    Column
		in     TableColumn
		values string
		want   string // beginnings, separated by |
	}{
		{Column{Type: "Int8"}, TableColumn{}, "300", "modify_column c Nullable(Int64)"},
		{Column{Type: "Int8"}, TableColumn{}, "null", "modify_column c Nullable(Int64)"},
		{Column{Type: "UInt32"}, TableColumn{}, "-1", "modify_column c Nullable(Int64)"},
		{Column{Type: "UInt16"}, TableColumn{}, "18446744073709551615", "held c: numbers: values that do not fit UInt16"},
		{Column{Type: "Int8"}, TableColumn{}, `300;"x"`, "modify_column c Nullable(Int64)|held c: numbers, strings: values that do not fit Int8"},
		{Column{Type: "Int8"}, TableColumn{}, "0.5", "held c: numbers"},
		{Column{Type: "Nullable(Int64)"}, TableColumn{}, "9223372036854775808", "held c: numbers"},
		{Column{Type: "UInt64"}, TableColumn{}, "null", "modify_column c Nullable(UInt64)"},
		{Column{Type: "Float32"}, TableColumn{}, "1e39", "modify_column c Nullable(Float64)"},
		{Column{Type: "Float32"}, TableColumn{}, "1e999", "held c: numbers"},
		{Column{Type: "Float32"}, TableColumn{}, "1e999;1e39", "modify_column c Nullable(Float64)|held c: numbers"},
		{Column{Type: "FixedString(2)"}, TableColumn{}, `"abc"`, "modify_column c Nullable(String)"},
		{Column{Type: "LowCardinality(String)"}, TableColumn{}, "null", "modify_column c LowCardinality(Nullable(String))"},
		{Column{Type: "Enum8('a' = 1)"}, TableColumn{}, `"b"`, "modify_column c LowCardinality(Nullable(String))"},
		{Column{Type: "UUID"}, TableColumn{}, `"b"`, "held c: strings"},
		{Column{Type: "String"}, TableColumn{}, "5", "held c: numbers"},
		{Column{Type: "Array(Int8)"}, TableColumn{}, "[1,null,300]", "modify_column c Array(Nullable(Int64))"},
		{Column{Type: "Array(Int8)"}, TableColumn{}, `[300];["x"]`, "held c: arrays"},
		{Column{Type: "Array(Int8)"}, TableColumn{}, "null", "held c: null"},
		{Column{Type: "Array(Int8)", Length: 3}, TableColumn{}, "[1,2]", "held c: the contract says how many"},
		{Column{Type: "Array(Int8)", From: "a[*].c"}, TableColumn{}, "300", "modify_column c Array(Nullable(Int64))"},
		{Column{Type: "Map(String, String)"}, TableColumn{}, `{"a":null}`, "modify_column c Map(String, Nullable(String))"},
		{Column{Type: "Int8"}, TableColumn{InKey: true}, "300", "held c: the column is part of the table's key"},
		{Column{Type: "Int8"}, TableColumn{DefaultKind: "DEFAULT", DefaultExpr: "7"}, "300", "modify_column c Int64"},
		{Column{Type: "Int8", OnInvalid: Rescue}, TableColumn{}, "300", "held c: "},
		{Column{Type: "Int8", OnInvalid: Rescue}, TableColumn{}, "300;null", "modify_column c Nullable(Int64)"},
		{Column{Type: "Int8", OnNull: Rescue}, TableColumn{}, "null", "held c: "},
		{Column{Type: "Int8", Required: true}, TableColumn{}, "300", "held c: the contract's policies"},
		{Column{Type: "Int8", Default: text("7")}, TableColumn{}, "300", "modify_column c Nullable(Int64)"},
	} {
		t.Run(fmt.Sprintf("%s %+v %s", tc.col.Type, tc.in, tc.values), func(t *testing.T) {
			tc.col.Name, tc.in.Name, tc.in.Type = "c", "c", tc.col.Type
			c, s := evolving(tc.col), table(tc.in)
			d := conflictDrift("c", strings.Split(tc.values, ";")...)
			if tc.col.From != "" {
				d.Path = tc.col.From
			}
			e := Evolve(c, compile(t, c, s), s, []FieldDrift{d})
			got, want := brief(e), strings.Split(tc.want, "|")
			if len(got) != len(want) {
				t.Fatalf("got %q, want %q", got, want)
			}
			for i := range want {
				if !strings.HasPrefix(strings.Replace(got[i], "held "+d.Path, "held c", 1), want[i]) {
					t.Errorf("got %s, want %s", got[i], want[i])
				}
			}
		})
	}
}

// The table may have changed since the plan was compiled: the plan's column is gone, or can no longer be inserted into.
func TestEvolve_TableChangedMeanwhile(t *testing.T) {
	c := evolving(Column{Name: "n", Type: "Int8"})
	plan := compile(t, c, table(TableColumn{Name: "n", Type: "Int8"}))
	for want, s := range map[string]TableSchema{
		"held n (open): the table has no such column any more":           table(),
		"held n: the column is Int8 MATERIALIZED in the table now":       table(TableColumn{Name: "n", Type: "Int8", DefaultKind: "MATERIALIZED"}),
		"held n: the column is QBit(Float32, 4)  in the table now":       table(TableColumn{Name: "n", Type: "QBit(Float32, 4)"}),
		"modify_column n Nullable(Int64)":                                table(TableColumn{Name: "n", Type: "Int16"}),
		"held n: numbers: values that do not fit String were seen, and ": table(TableColumn{Name: "n", Type: "String"}),
	} {
		got := brief(Evolve(c, plan, s, []FieldDrift{conflictDrift("n", "300")}))
		if len(got) != 1 || !strings.HasPrefix(got[0], want) {
			t.Errorf("got %q, want %s", got, want)
		}
	}
}

// A change names the record that first needed it, whichever worker's drift comes first.
func TestEvolve_NamesTheFirstRecord(t *testing.T) {
	c := evolving()
	s := table()
	early, late := newFieldDrift("x", "1"), newFieldDrift("x", "2")
	early.First, late.First = At{Topic: "t", Partition: 1, Offset: 7, Time: 100}, At{Topic: "t", Offset: 3, Time: 200}
	for _, drift := range [][]FieldDrift{{early, late}, {late, early}} {
		e := Evolve(c, compile(t, c, s), s, drift)
		if len(e.Changes) != 1 || e.Changes[0].First != early.First {
			t.Errorf("%+v", e.Changes)
		}
	}
}

func TestEvolve_CapOnColumns(t *testing.T) {
	c := evolving(Column{Name: "n", Type: "Int8"})
	c.MaxColumns = 8
	s := table(TableColumn{Name: "n", Type: "Int8"}) // six columns
	got := brief(Evolve(c, compile(t, c, s), s, []FieldDrift{newFieldDrift("x", `{"a":1,"b":1,"c":1}`), conflictDrift("n", "300")}))
	want := []string{"modify_column n Nullable(Int64)", "add_column x_a", "add_column x_b", "held x.c: the table has 8 columns, and the pipeline's max_columns is 8"}
	for i := range want {
		if len(got) != len(want) || !strings.HasPrefix(got[i], want[i]) {
			t.Fatalf("got %q", got)
		}
	}
}

// A plan compiled against the altered table takes what the changes were made for, and the same drift, seen again, changes
// nothing: evolution comes to an end. The order of drift makes no difference.
func TestEvolve_ComesToAnEnd(t *testing.T) {
	types := []string{"Int8", "UInt32", "Int64", "Nullable(Int16)", "Float32", "String", "FixedString(3)", "LowCardinality(String)", "Enum8('a' = 1)", "UUID", "Bool",
		"DateTime64(3, 'UTC')", "Array(Int8)", "Array(LowCardinality(String))", "Map(String, Float32)", "Decimal(9, 2)", "JSON"}
	rapid.Check(t, func(rt *rapid.T) {
		c, s := evolving(), table()
		for i := range rapid.IntRange(0, 4).Draw(rt, "columns") {
			col := Column{Name: fmt.Sprintf("c%d", i), Type: rapid.SampledFrom(types).Draw(rt, "type"), Required: rapid.IntRange(0, 9).Draw(rt, "required") == 0}
			c.Columns = append(c.Columns, col)
			s.Columns = append(s.Columns, TableColumn{Name: col.Name, Type: col.Type, InKey: rapid.IntRange(0, 9).Draw(rt, "key") == 0})
		}
		var drift []FieldDrift
		for _, col := range c.Columns {
			if vs := drawValues(rt, 2); len(vs) > 0 {
				drift = append(drift, conflictDrift(col.Name, vs...))
			}
		}
		for _, path := range []string{"c0.x", "n", "a_b", "a.b", "`a.b`", "metadata", "l[*].x", "_topic"} {
			if vs := drawValues(rt, 3); len(vs) > 0 {
				drift = append(drift, newFieldDrift(path, vs...))
			}
		}
		evolveTwice(rt, c, s, drift, rapid.Uint64().Draw(rt, "order"))
	})
}

func evolveTwice(rt *rapid.T, c Contract, s TableSchema, drift []FieldDrift, seed uint64) {
	must := func(s TableSchema) *Plan {
		p, err := Compile(c, s, DefaultLineage(), 1)
		if err != nil {
			rt.Fatal(err)
		}
		return p
	}
	first := Evolve(c, must(s), s, drift)
	rand.New(rand.NewPCG(seed, 1)).Shuffle(len(drift), func(i, j int) { drift[i], drift[j] = drift[j], drift[i] })
	if again := Evolve(c, must(s), s, drift); !reflect.DeepEqual(brief(first), brief(again)) {
		rt.Fatalf("in another order:\n%s, before\n%s", strings.Join(brief(again), "\n"), strings.Join(brief(first), "\n"))
	}
	after := s.With(first.Changes)
	p := must(after)
	for _, change := range first.Changes {
		i := slices.IndexFunc(p.Columns(), func(pc PlanColumn) bool { return pc.Name == change.Column && pc.Type == change.Type })
		if i < 0 || change.Kind == AddColumn && (p.Columns()[i].Path != change.Path || !p.Columns()[i].Added || p.Columns()[i].As != change.As) {
			rt.Fatalf("the plan does not have what %+v made", change)
		}
		if change.Kind == ModifyColumn && !widensText(change.From, change.Type) {
			rt.Fatalf("%s is no safe widening of %s", change.Type, change.From)
		}
	}
	if rest := Evolve(c, p, after, drift); len(rest.Changes) > 0 {
		rt.Fatalf("the same drift changes the table again: %+v\nafter %+v", rest.Changes, first.Changes)
	}
	// A worker with the old plan, who sees the table altered, does nothing but compile anew.
	for _, late := range Evolve(c, must(s), after, drift).Changes {
		if same := after.With([]Change{late}); !reflect.DeepEqual(same, after) {
			rt.Fatalf("a late worker changes the table again: %+v", late)
		}
	}
}

func widensText(from, to string) bool {
	a, err := column.ParseType(from)
	b, err2 := column.ParseType(to)
	return err == nil && err2 == nil && b.Widens(a)
}

func TestChange_SQL(t *testing.T) {
	add := Change{Kind: AddColumn, Column: "a`b", Path: "it's.`x.\\y`", As: "json", Type: typeText}
	for _, tc := range []struct {
		got, want string
	}{
		{add.SQL("d`b", "t", ""), "ALTER TABLE `d\\`b`.`t` ADD COLUMN IF NOT EXISTS `a\\`b` Nullable(String) COMMENT 'waybill: {\"from\":\"it\\'s.\\`x.\\\\\\\\y\\`\",\"as\":\"json\"}'"},
		{Change{Kind: ModifyColumn, Column: "n", Type: "Nullable(Int64)"}.SQL("d", "t", "c 1"), "ALTER TABLE `d`.`t` ON CLUSTER `c 1` MODIFY COLUMN IF EXISTS `n` Nullable(Int64)"},
	} {
		if tc.got != tc.want {
			t.Errorf("got\n%s, want\n%s", tc.got, tc.want)
		}
	}
}

func TestColumnComment_ReadsBack(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		c := Column{From: Names(rapid.SliceOfN(rapid.String(), 1, 3).Draw(rt, "from")...).String(), As: rapid.SampledFrom([]string{"", "json"}).Draw(rt, "as"),
			Format: rapid.SampledFrom([]string{"", "unix_ms", "%Y <b>"}).Draw(rt, "format"), Zone: rapid.SampledFrom([]string{"", "Europe/Berlin"}).Draw(rt, "zone")}
		got, ok := ParseColumnComment(ColumnComment(c))
		if !ok || !reflect.DeepEqual(got, c) {
			rt.Fatalf("%s: %+v, %v, want %+v", ColumnComment(c), got, ok, c)
		}
	})
	for _, other := range []string{"", "tokens", "waybill:", "waybill: {}", `waybill: {"from":""}`, `waybill: {"from":"a"} x`, `waybill: {"from":"a","more":1}`, `waybill: {"from":"a..b"}`,
		`waybill: {"from":1}`, `Waybill: {"from":"a"}`} {
		if c, ok := ParseColumnComment(other); ok {
			t.Errorf("%q was read as %+v", other, c)
		}
	}
}

// Nested objects, free keys, times and a null, as in the example of docs/guide/evolve.md.
func TestEvolve_GuideExample(t *testing.T) {
	c := evolving(Column{Name: "id", Type: "String"})
	s := table(TableColumn{Name: "id", Type: "String"})
	e := Evolve(c, compile(t, c, s), s, []FieldDrift{newFieldDrift("usage", `{"cost":0.25,"tokens":{"in":10}}`, `{"cost":1,"tokens":{"in":12}}`),
		newFieldDrift("tags", `{"team":"a"}`, `{"env":"prod"}`), newFieldDrift("at", `"2026-11-22T14:44:47.123Z"`), newFieldDrift("score", "null")})
	want := []string{"add_column at Nullable(DateTime64(3, 'UTC')) from at", "add_column tags Map(LowCardinality(String), String) from tags",
		"add_column usage_cost Nullable(Float64) from usage.cost", "add_column usage_tokens_in Nullable(Int64) from usage.tokens.in",
		"held score (open): only null was seen, which says nothing of a type"}
	if got := brief(e); !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
	const sql = "ALTER TABLE `ai`.`llm_calls` ADD COLUMN IF NOT EXISTS `usage_cost` Nullable(Float64) COMMENT 'waybill: {\"from\":\"usage.cost\"}'"
	if got := e.Changes[2].SQL("ai", "llm_calls", ""); got != sql {
		t.Errorf("%s", got)
	}
}
