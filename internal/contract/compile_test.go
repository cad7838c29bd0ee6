package contract

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/waybill-data/waybill"
)

func text(s string) *string { return &s }

func lineageOf(topic, partition, offset, epoch string) []TableColumn {
	return []TableColumn{
		{Name: "_topic", Type: topic}, {Name: "_partition", Type: partition},
		{Name: "_offset", Type: offset}, {Name: "_epoch", Type: epoch},
	}
}

var rescued = TableColumn{Name: "_rescued", Type: "String"}

func table(columns ...TableColumn) TableSchema {
	return TableSchema{Database: "ai", Table: "llm_calls", Engine: "MergeTree",
		Columns: append(append(columns, rescued), lineageOf("LowCardinality(String)", "UInt16", "UInt64", "UInt32")...)}
}

func compile(t *testing.T, c Contract, s TableSchema) *Plan {
	t.Helper()
	p, err := Compile(c, s, DefaultLineage(), 1)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// problems are the messages of a failed compilation.
func problems(t *testing.T, err error) []*Problem {
	t.Helper()
	var we *waybill.Error
	if !errors.As(err, &we) || we.Hint == "" {
		t.Fatalf("got %v, want a *waybill.Error with a hint", err)
	}
	var out []*Problem
	for _, e := range we.Err.(interface{ Unwrap() []error }).Unwrap() {
		p := (*Problem)(nil)
		if !errors.As(e, &p) {
			t.Fatalf("%T is no problem", e)
		}
		out = append(out, p)
	}
	return out
}

func TestCompile_ResolvesSourcesPoliciesAndTypes(t *testing.T) {
	p := compile(t, Contract{Columns: []Column{
		{Name: "trace_id", Type: "UUID", Required: true},
		{Name: "ts", Type: "DateTime64(3)", From: "event.timestamp", Format: "unix_ms"},
		{Name: "seen", Type: "Nullable(DateTime64(3))"},
		{Name: "tokens", Type: "UInt32", From: "usage.`input.tokens`", Default: text("7")},
		{Name: "prompt", Type: "String", From: "messages", As: "json", OnInvalid: Default},
		{Name: "a.b", Type: "Int8"},
	}}, table(
		TableColumn{Name: "trace_id", Type: "UUID"},
		TableColumn{Name: "ts", Type: "DateTime64(3, 'UTC')"},
		TableColumn{Name: "seen", Type: "Nullable(DateTime64(3))"},
		TableColumn{Name: "tokens", Type: "UInt32"},
		TableColumn{Name: "prompt", Type: "String", DefaultKind: "DEFAULT", DefaultExpr: "'x'"},
		TableColumn{Name: "a.b", Type: "Int8"},
		TableColumn{Name: "inserted_at", Type: "DateTime", DefaultKind: "DEFAULT", DefaultExpr: "now()"},
		TableColumn{Name: "day", Type: "Date", DefaultKind: "MATERIALIZED", DefaultExpr: "toDate(ts)"},
		TableColumn{Name: "odd", Type: "Decimal(18, 4)"},
	))
	want := []PlanColumn{
		{Name: "trace_id", Type: "UUID", Source: SourceField, Path: "trace_id", OnMissing: DeadLetter, OnNull: DeadLetter, OnInvalid: DeadLetter},
		{Name: "ts", Type: "DateTime64(3, 'UTC')", Source: SourceField, Path: "event.timestamp", Format: "unix_ms", OnMissing: Default, OnNull: Default, OnInvalid: Rescue, Instead: Default},
		{Name: "seen", Type: "Nullable(DateTime64(3))", Source: SourceField, Path: "seen", Format: "rfc3339", OnMissing: Null, OnNull: Null, OnInvalid: Rescue, Instead: Null},
		{Name: "tokens", Type: "UInt32", Source: SourceField, Path: "usage.`input.tokens`", Default: text("7"), OnMissing: Default, OnNull: Default, OnInvalid: Rescue, Instead: Default},
		{Name: "prompt", Type: "String", Source: SourceField, Path: "messages", As: "json", Wire: "Nullable(String)", OnMissing: TableDefault, OnNull: TableDefault, OnInvalid: Default},
		{Name: "a.b", Type: "Int8", Source: SourceField, Path: "`a.b`", OnMissing: Default, OnNull: Default, OnInvalid: Rescue, Instead: Default},
		{Name: "_rescued", Type: "String", Source: SourceRescued},
		{Name: "_topic", Type: "LowCardinality(String)", Source: SourceTopic, Lineage: true},
		{Name: "_partition", Type: "UInt16", Source: SourcePartition, Lineage: true},
		{Name: "_offset", Type: "UInt64", Source: SourceOffset, Lineage: true},
		{Name: "_epoch", Type: "UInt32", Source: SourceEpoch, Lineage: true},
	}
	if !slices.EqualFunc(p.Columns(), want, samePlanColumn) {
		t.Errorf("columns\n%+v, want\n%+v", p.Columns(), want)
	}
	if got := p.LeftToServer(); !slices.Equal(got, []string{"inserted_at", "day", "odd"}) {
		t.Errorf("left to the server: %v", got)
	}
	if p.NewFields().Default != ModeRescue || p.Database() != "ai" || p.Table() != "llm_calls" || p.DecoderVersion() != 1 || p.Lineage() != DefaultLineage() {
		t.Error("the plan's head is wrong")
	}
	if b, err := p.NewBlock(); err != nil || len(b.Columns) != len(want) {
		t.Errorf("block: %v", err)
	}
}

func samePlanColumn(a, b PlanColumn) bool {
	def := func(s *string) string {
		if s == nil {
			return "none"
		}
		return "=" + *s
	}
	return a.Name == b.Name && a.Type == b.Type && a.Source == b.Source && a.Path == b.Path && a.Wire == b.Wire && a.Lineage == b.Lineage && a.Header == b.Header && a.Value == b.Value && a.Length == b.Length && a.As == b.As &&
		a.Format == b.Format && def(a.Default) == def(b.Default) && a.OnMissing == b.OnMissing && a.OnNull == b.OnNull && a.OnInvalid == b.OnInvalid &&
		a.Instead == b.Instead && a.Evolve == b.Evolve && a.Added == b.Added && a.Expr == b.Expr
}

func TestCompile_EachProblem(t *testing.T) {
	ok := table(TableColumn{Name: "n", Type: "UInt32"}, TableColumn{Name: "s", Type: "String"}, TableColumn{Name: "o", Type: "Nullable(Int8)"},
		TableColumn{Name: "ts", Type: "DateTime64(3)"}, TableColumn{Name: "m", Type: "UInt8", DefaultKind: "MATERIALIZED"},
		TableColumn{Name: "al", Type: "UInt8", DefaultKind: "ALIAS"}, TableColumn{Name: "dec", Type: "Decimal(9, 2)"})
	for _, tc := range []struct {
		name  string
		col   Column
		want  string
		class waybill.Class
	}{
		{"unknown column", Column{Name: "x", Type: "UInt8"}, "no such column", waybill.ClassSchema},
		{"other type", Column{Name: "n", Type: "UInt64"}, "the contract says UInt64, the table has UInt32", waybill.ClassSchema},
		{"table type unsupported", Column{Name: "dec", Type: "Float64"}, "the table has Decimal(9, 2)", waybill.ClassSchema},
		{"unsupported", Column{Name: "n", Type: "IntervalDay"}, "IntervalDay is not supported", waybill.ClassConfig},
		{"materialized", Column{Name: "m", Type: "UInt8"}, "MATERIALIZED", waybill.ClassSchema},
		{"alias", Column{Name: "al", Type: "UInt8"}, "ALIAS", waybill.ClassSchema},
		{"null into not nullable", Column{Name: "n", Type: "UInt32", OnNull: Null}, "on_null: null needs a Nullable type", waybill.ClassConfig},
		{"invalid null", Column{Name: "n", Type: "UInt32", OnInvalid: Null}, "on_invalid: null needs", waybill.ClassConfig},
		{"no such policy", Column{Name: "n", Type: "UInt32", OnMissing: "skip"}, `"skip" is not one of`, waybill.ClassConfig},
		{"required and default", Column{Name: "n", Type: "UInt32", Required: true, OnMissing: Default}, "contradicts required", waybill.ClassConfig},
		{"unused default", Column{Name: "n", Type: "UInt32", Required: true, Default: text("1")}, "no policy of this column ever uses it", waybill.ClassConfig},
		{"default out of range", Column{Name: "n", Type: "UInt32", Default: text("-1")}, `default: "-1" does not fit UInt32`, waybill.ClassConfig},
		{"default in another format", Column{Name: "ts", Type: "DateTime64(3)", Default: text("0")}, "default:", waybill.ClassConfig},
		{"default with too many digits", Column{Name: "ts", Type: "DateTime64(3)", Default: text("2026-01-01T00:00:00.0001Z")}, "more digits", waybill.ClassConfig},
		{"bad path", Column{Name: "n", Type: "UInt32", From: "a..b"}, "from: a name in the path is empty", waybill.ClassConfig},
		{"json into a number", Column{Name: "n", Type: "UInt32", As: "json"}, "as: json needs a column of String", waybill.ClassConfig},
		{"as what", Column{Name: "s", Type: "String", As: "xml"}, `as: "xml"`, waybill.ClassConfig},
		{"format without time", Column{Name: "n", Type: "UInt32", Format: "unix"}, "only for columns of time", waybill.ClassConfig},
		{"no such format", Column{Name: "ts", Type: "DateTime64(3)", Format: "iso"}, `format "iso"`, waybill.ClassConfig},
		{"two sources", Column{Name: "s", Type: "String", From: "a", Kafka: "key"}, "keep one of them", waybill.ClassConfig},
		{"no such source", Column{Name: "s", Type: "String", Kafka: "value"}, `"value" is not one of key, timestamp`, waybill.ClassConfig},
		{"header without a name", Column{Name: "s", Type: "String", Kafka: "header."}, "header.NAME", waybill.ClassConfig},
		{"constant that does not fit", Column{Name: "n", Type: "UInt32", Value: text("x")}, `value: "x" does not fit`, waybill.ClassConfig},
		{"constant with policies", Column{Name: "n", Type: "UInt32", Value: text("1"), Required: true}, "a constant is never missing", waybill.ClassConfig},
		{"key as json", Column{Name: "s", Type: "String", Kafka: "key", As: "json"}, "as: only for values from the event", waybill.ClassConfig},
		{"timestamp with a format", Column{Name: "ts", Type: "DateTime64(3)", Kafka: "timestamp", Format: "unix"}, "needs none", waybill.ClassConfig},
		{"collecting into no array", Column{Name: "n", Type: "UInt32", From: "a[*].n"}, "[*] collects values into an Array", waybill.ClassConfig},
		{"length of no array", Column{Name: "n", Type: "UInt32", Length: 3}, "only for an Array", waybill.ClassConfig},
		{"default of a table without one", Column{Name: "n", Type: "UInt32", OnMissing: TableDefault}, "needs a DEFAULT in the table", waybill.ClassSchema},
		{"lineage", Column{Name: "_offset", Type: "UInt64"}, "lineage column", waybill.ClassConfig},
	} {
		t.Run(tc.name, func(t *testing.T) {
			tc.col.Line, tc.col.Col = 12, 5
			_, err := Compile(Contract{Columns: []Column{tc.col}}, ok, DefaultLineage(), 1)
			got := problems(t, err)
			if len(got) != 1 || !strings.Contains(got[0].Message, tc.want) {
				t.Fatalf("got %v, want one problem with %q", err, tc.want)
			}
			if got[0].Line != 12 || got[0].Col != 5 || got[0].Column != tc.col.Name || !strings.HasPrefix(got[0].Error(), "12:5: ") {
				t.Errorf("the problem's place is lost: %v", got[0])
			}
			if c := waybill.ClassOf(err); c != tc.class {
				t.Errorf("class %v, want %v", c, tc.class)
			}
		})
	}
}

func TestCompile_ReportsAllProblemsAtOnce(t *testing.T) {
	_, err := Compile(Contract{NewFields: Modes{Default: "keep"}, Columns: []Column{
		{Name: "n", Type: "UInt8", Default: text("x"), OnNull: Null, From: "."},
		{Name: "n", Type: "UInt32"},
		{Name: "gone", Type: "QBit(Float32, 4)"},
	}}, TableSchema{Columns: []TableColumn{{Name: "n", Type: "UInt32"}, {Name: "_topic", Type: "UInt8"}, {Name: "_offset", Type: "UInt64", DefaultKind: "ALIAS"}}},
		Lineage{Topic: "_topic", Partition: "_partition", Offset: "_offset"}, 1)
	if got := problems(t, err); len(got) != 12 {
		t.Errorf("%d problems, want 12:\n%v", len(got), err)
	}
}

func TestCompile_LineageTypes(t *testing.T) {
	for _, tc := range []struct {
		topic, partition, offset, epoch string
		problems                        int
	}{
		{"LowCardinality(String)", "UInt16", "UInt64", "UInt32", 0},
		{"String", "Int32", "Int64", "UInt32", 0},
		{"String", "UInt32", "Int64", "UInt32", 0},
		{"LowCardinality(Nullable(String))", "Int64", "Nullable(UInt64)", "UInt64", 4},
		{"Decimal(9, 2)", "UInt8", "UInt32", "Int32", 4},
	} {
		s := TableSchema{Columns: append(lineageOf(tc.topic, tc.partition, tc.offset, tc.epoch), rescued)}
		_, err := Compile(Contract{}, s, DefaultLineage(), 1)
		if tc.problems == 0 && err != nil || tc.problems > 0 && len(problems(t, err)) != tc.problems {
			t.Errorf("%+v: %v", tc, err)
		}
	}
	s := TableSchema{Columns: append(lineageOf("String", "UInt16", "UInt64", "UInt32"), rescued)}
	for _, l := range []Lineage{{}, {Topic: "_topic", Partition: "_topic", Offset: "_offset"}} {
		if _, err := Compile(Contract{}, s, l, 1); err == nil {
			t.Errorf("lineage %+v was taken", l)
		}
	}
	l := DefaultLineage()
	l.Epoch = ""
	if p, err := Compile(Contract{}, s, l, 1); err != nil || len(p.Columns()) != 4 || !slices.Equal(p.LeftToServer(), []string{"_epoch"}) {
		t.Errorf("a table without an epoch column: %v", err)
	}
}

func TestPlan_ReadsBack(t *testing.T) {
	p := compile(t, Contract{NewFields: Modes{Default: ModeFreeze}, Columns: []Column{
		{Name: "s", Type: "String", From: "a.`<b>.c`", Default: text("<&>\u2028"), OnInvalid: Default},
		{Name: "e", Type: "LowCardinality(Nullable(String))", Default: text("")},
	}}, table(TableColumn{Name: "s", Type: "String"}, TableColumn{Name: "e", Type: "LowCardinality(Nullable(String))"}))
	q, err := ParsePlan(p.Canonical())
	if err != nil {
		t.Fatal(err)
	}
	if q.ID() != p.ID() || !bytes.Equal(q.Canonical(), p.Canonical()) || !slices.EqualFunc(p.Columns(), q.Columns(), samePlanColumn) {
		t.Errorf("%s\nread back as\n%s", p.Canonical(), q.Canonical())
	}
}

// The canonical text and its hash are stored for ever. If this test fails, every stored plan has become
// unreadable or every pipeline has got a new plan: raise planFormat and keep reading the old one.
func TestPlan_CanonicalTextIsPinned(t *testing.T) {
	p := compile(t, Contract{Columns: []Column{{Name: "n", Type: "UInt32", From: "u.n", Default: text("7")}}},
		table(TableColumn{Name: "n", Type: "UInt32"}, TableColumn{Name: "x", Type: "Point"}))
	const want = `{"format":3,"decoder_version":1,"database":"ai","table":"llm_calls","new_fields":{"default":"rescue"},` +
		`"lineage":{"topic":"_topic","partition":"_partition","offset":"_offset","epoch":"_epoch"},"columns":[` +
		`{"name":"n","type":"UInt32","source":"field","path":"u.n","default":"7","on_missing":"default","on_null":"default","on_invalid":"rescue","instead":"default"},` +
		`{"name":"_rescued","type":"String","source":"rescued"},` +
		`{"name":"_topic","type":"LowCardinality(String)","source":"topic","lineage":true},{"name":"_partition","type":"UInt16","source":"partition","lineage":true},` +
		`{"name":"_offset","type":"UInt64","source":"offset","lineage":true},{"name":"_epoch","type":"UInt32","source":"epoch","lineage":true}],"left_to_server":["x"]}`
	if got := string(p.Canonical()); got != want {
		t.Errorf("canonical text\n%s, want\n%s", got, want)
	}
	if got := p.ID().String(); got != "ccf2c4d4da1ce5f6" {
		t.Errorf("id %s, want ccf2c4d4da1ce5f6", got)
	}
}

func TestPlan_IDCoversWhatRowsDependOn(t *testing.T) {
	base := func() (Contract, TableSchema) {
		return Contract{Columns: []Column{{Name: "n", Type: "UInt32"}, {Name: "s", Type: "String"}, {Name: "v", Type: "Array(Float32)"}}},
			table(TableColumn{Name: "n", Type: "UInt32"}, TableColumn{Name: "s", Type: "String"}, TableColumn{Name: "v", Type: "Array(Float32)"})
	}
	c, s := base()
	seen := map[waybill.PlanID]string{compile(t, c, s).ID(): "base"}
	if c, s := base(); seen[compile(t, c, s).ID()] != "base" {
		t.Error("the same contract and table have two plan ids")
	}
	s.UUID, s.Engine = "other", "ReplicatedMergeTree"
	if seen[compile(t, c, s).ID()] != "base" {
		t.Error("the plan id depends on what rows do not")
	}
	for name, change := range map[string]func(*Contract, *TableSchema){
		"order":      func(c *Contract, _ *TableSchema) { slices.Reverse(c.Columns) },
		"path":       func(c *Contract, _ *TableSchema) { c.Columns[0].From = "m" },
		"as":         func(c *Contract, _ *TableSchema) { c.Columns[1].As = "json" },
		"default":    func(c *Contract, _ *TableSchema) { c.Columns[0].Default = text("1") },
		"policy":     func(c *Contract, _ *TableSchema) { c.Columns[0].OnInvalid = Default },
		"source":     func(c *Contract, _ *TableSchema) { c.Columns[1].Kafka = "key" },
		"header":     func(c *Contract, _ *TableSchema) { c.Columns[1].Kafka = "header.h" },
		"constant":   func(c *Contract, _ *TableSchema) { c.Columns[1].Value = text("v") },
		"length":     func(c *Contract, _ *TableSchema) { c.Columns[2].Length = 3 },
		"server":     func(_ *Contract, s *TableSchema) { s.Columns[0].DefaultKind = "DEFAULT" },
		"required":   func(c *Contract, _ *TableSchema) { c.Columns[0].Required = true },
		"new_fields": func(c *Contract, _ *TableSchema) { c.NewFields = Modes{Default: ModeFreeze} },
		"table":      func(_ *Contract, s *TableSchema) { s.Table = "other" },
		"database":   func(_ *Contract, s *TableSchema) { s.Database = "other" },
		"type":       func(c *Contract, s *TableSchema) { c.Columns[0].Type, s.Columns[0].Type = "UInt64", "UInt64" },
	} {
		c, s := base()
		change(&c, &s)
		id := compile(t, c, s).ID()
		if was, dup := seen[id]; dup {
			t.Errorf("%s does not change the plan id (%s)", name, was)
		}
		seen[id] = name
	}
	if p, err := Compile(c, s, DefaultLineage(), 2); err != nil || seen[p.ID()] != "" {
		t.Errorf("the decoder version does not change the plan id: %v", err)
	}
}

func TestParsePlan_RefusesWhatIsNotCanonical(t *testing.T) {
	good := string(compile(t, Contract{Columns: []Column{{Name: "n", Type: "UInt32"}}}, table(TableColumn{Name: "n", Type: "UInt32"})).Canonical())
	for name, bad := range map[string]string{
		"empty":          "",
		"cut":            good[:len(good)-1],
		"blank":          good + " ",
		"more":           good + "{}",
		"other format":   strings.Replace(good, `"format":3`, `"format":4`, 1),
		"unknown field":  strings.Replace(good, `"format":3`, `"format":3,"x":1`, 1),
		"bad type":       strings.Replace(good, `"UInt32"`, `"UInt33"`, 1),
		"other spelling": strings.Replace(good, `"format":3`, `"format": 3`, 1),
	} {
		if _, err := ParsePlan([]byte(bad)); waybill.ClassOf(err) != waybill.ClassConfig {
			t.Errorf("%s: got %v", name, err)
		}
	}
}
