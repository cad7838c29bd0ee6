package engine

import (
	"fmt"
	"strings"
	"testing"

	"github.com/waybill-data/waybill"
	"github.com/waybill-data/waybill/internal/config"
	"github.com/waybill-data/waybill/internal/contract"
	"github.com/waybill-data/waybill/internal/decode/json"
)

// planOf compiles columns against a table that has them, the rescue column and the lineage columns.
func planOf(t testing.TB, tr contract.Transform, columns ...contract.Column) *contract.Plan {
	t.Helper()
	schema := contract.TableSchema{Database: "d", Table: "t", Columns: []contract.TableColumn{{Name: "_topic", Type: "String"}, {Name: "_partition", Type: "Int32"},
		{Name: "_offset", Type: "Int64"}, {Name: "_epoch", Type: "UInt32"}, {Name: "_rescued", Type: "String"}}}
	for _, c := range columns {
		schema.Columns = append(schema.Columns, contract.TableColumn{Name: c.Name, Type: c.Type})
	}
	rescue := contract.Modes{Default: contract.ModeRescue}
	plan, err := contract.Compile(contract.Contract{NewFields: rescue, TypeConflicts: rescue, Columns: columns, Transform: tr}, schema, contract.DefaultLineage(), json.Version)
	if err != nil {
		t.Fatal(err)
	}
	return plan
}

// Each record has its fate, and what is kept of a dead letter is what redaction left of it.
func TestProcess_FatesAndWhatIsKept(t *testing.T) {
	plan := planOf(t, contract.Transform{
		Version: &contract.Versions{From: "v", Current: "2", Missing: "2", Unknown: contract.UnknownCurrent, Upcast: []contract.Upcast{{From: "1", To: "2", Steps: []contract.UpcastStep{
			{Op: contract.OpRename, From: []string{"num"}, To: []string{"n"}}}}}},
		Redact: &contract.Redact{Rules: []contract.RedactRule{{Path: "name", Do: contract.RedactMask}, {Kafka: "key", Do: contract.RedactMask}}},
		Filter: "!has(event.skip)",
	}, contract.Column{Name: "n", Type: "UInt8", Required: true}, contract.Column{Name: "sum", Type: "Nullable(Int64)", Expr: "event.a + event.b"})
	proc, err := NewProcessor(plan, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct{ text, want, kept string }{
		{`{"n":1,"a":1,"b":2,"name":"x","z":1}`, "row redacted 2 rescued 4", ""},
		{`{"v":1,"num":1,"a":1,"b":2}`, "row upcast redacted 1 rescued 3", ""},
		{`{"v":7,"n":1,"a":1,"b":2}`, "row assumed redacted 1 rescued 3", ""},
		{`{"n":300,"a":1,"b":2,"name":"secret"}`, "dead contract out_of_range n at 5 redacted 2", `{"n":300,"a":1,"b":2,"name":"[redacted]"}`},
		{`{"v":1,"num":1,"n":2,"name":"secret"}`, "dead transform upcast_conflict n at -1 redacted 1", `{"waybill_redacted":{"bytes":37}}`},
		{`{"n":1,"a":1,"b":"secret","name":"secret"}`, "dead transform expression_error sum at -1 redacted 2", `{"n":1,"a":1,"b":"secret","name":"[redacted]"}`},
		{`{"n":1,`, "dead decode truncated  at 7 redacted 1", `{"waybill_redacted":{"bytes":7}}`},
		{`{"skip":1,"name":"x"}`, "filtered redacted 2", ""},
		{"", "tombstone", ""},
	} {
		r := &waybill.Record{Topic: "t", Key: []byte("key"), Value: []byte(tc.text)}
		if tc.text == "" {
			r.Value = nil
		}
		b := proc.NewBlocks()
		out := proc.Process(r, 0, b)
		if got := fateText(out); got != tc.want {
			t.Errorf("%s: %s, want %s", tc.text, got, tc.want)
		}
		if rows := b[0].Rows(); rows != map[bool]int{true: 1}[out.Fate == FateRow] {
			t.Errorf("%s: %d rows", tc.text, rows)
		}
		if out.Fate != FateDead {
			continue
		}
		kept := proc.Keep(r)
		if string(kept.Value) != tc.kept || strings.Contains(string(kept.Key), "key") {
			t.Errorf("%s: kept %s, key %s, want %s", tc.text, kept.Value, kept.Key, tc.kept)
		}
		proc.Process(&waybill.Record{Key: []byte("other"), Value: []byte(`{"n":300,"name":"other","x":"other other other other"}`)}, 0, proc.NewBlocks())
		clear(r.Value)
		if string(kept.Value) != tc.kept {
			t.Errorf("%s: what was kept has become %s", tc.text, kept.Value)
		}
	}
}

func fateText(out Processed) string {
	s := []string{"row", "filtered", "tombstone", "dead"}[out.Fate]
	if out.Fate == FateDead {
		s += fmt.Sprintf(" %s %s %s at %d", out.Reason.Stage, out.Reason.Code, out.Reason.Column, out.Byte)
	}
	for _, f := range []struct {
		is   bool
		text string
	}{{out.Upcast, " upcast"}, {out.Assumed, " assumed"}, {out.Blank, " blank"}, {out.Redacted > 0, fmt.Sprintf(" redacted %d", out.Redacted)}, {out.Rescued > 0, fmt.Sprintf(" rescued %d", out.Rescued)}} {
		if f.is {
			s += f.text
		}
	}
	return s
}

// What of a pending batch's plan the table still takes: columns that are as they were or wider, without those that are gone. A lineage column is
// never done without, and a type that would cast values is refused.
func TestFit_WhatIsLeftOfAPlan(t *testing.T) {
	plan := planOf(t, contract.Transform{}, contract.Column{Name: "n", Type: "UInt8"}, contract.Column{Name: "s", Type: "String"})
	all := []contract.TableColumn{{Name: "n", Type: "UInt8"}, {Name: "s", Type: "String"}, {Name: "_rescued", Type: "String"}, {Name: "_topic", Type: "String"},
		{Name: "_partition", Type: "Int32"}, {Name: "_offset", Type: "Int64"}, {Name: "_epoch", Type: "UInt32"}}
	to := newTable(config.Table{Pipeline: &config.Pipeline{Name: "p", Sink: config.Sink{ClickHouse: config.ClickHouse{Database: "d", Table: "t"}}}}, nil)
	other := planOf(t, contract.Transform{}, contract.Column{Name: "m", Type: "UInt8", From: "n"}, contract.Column{Name: "s", Type: "String"})
	for name, tc := range map[string]struct {
		change func([]contract.TableColumn) []contract.TableColumn
		want   string
	}{
		"as it was":       {func(c []contract.TableColumn) []contract.TableColumn { return c }, "[n s _rescued _topic _partition _offset _epoch] []"},
		"wider":           {func(c []contract.TableColumn) []contract.TableColumn { c[0].Type = "Nullable(Int64)"; return c }, "[n s _rescued _topic _partition _offset _epoch] []"},
		"renamed":         {func(c []contract.TableColumn) []contract.TableColumn { c[0].Name = "m"; return c }, "[m s _rescued _topic _partition _offset _epoch] []"},
		"gone":            {func(c []contract.TableColumn) []contract.TableColumn { return c[1:] }, "[s _rescued _topic _partition _offset _epoch] [n]"},
		"narrower":        {func(c []contract.TableColumn) []contract.TableColumn { c[0].Type = "Int8"; return c }, "column n is UInt8; in table d.t it is now Int8"},
		"another type":    {func(c []contract.TableColumn) []contract.TableColumn { c[1].Type = "UInt8"; return c }, "column s is String; in table d.t it is now UInt8"},
		"no lineage":      {func(c []contract.TableColumn) []contract.TableColumn { return append(c[:5:5], c[6:]...) }, "column _offset is Int64; in table d.t it is gone"},
		"lineage changed": {func(c []contract.TableColumn) []contract.TableColumn { c[5].Type = "Int32"; return c }, "column _offset is Int64; in table d.t it is now Int32"},
	} {
		now := plan
		if name == "renamed" {
			now = other
		}
		f, err := to.fit(&tableShape{schema: contract.TableSchema{Columns: tc.change(append([]contract.TableColumn{}, all...))}, plan: now}, plan)
		got := fmt.Sprint(f.columns, f.gone)
		if err != nil {
			got = err.Error()
		}
		if !strings.Contains(got, tc.want) || err != nil && waybill.ClassOf(err) != waybill.ClassSchema {
			t.Errorf("%s: %s, want %s", name, got, tc.want)
		}
	}
}
