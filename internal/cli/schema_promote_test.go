package cli

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/waybill-data/waybill/internal/testenv"
)

// rescue fills the table with rows whose rescue column holds values at paths.
func (w *schemaWorld) rescue(from int, fields ...string) {
	w.Helper()
	var rows []string
	for i, f := range fields {
		text := ""
		if f != "" {
			text = `{"plan":"0000000000000001","fields":{` + f + `}}`
		}
		rows = append(rows, fmt.Sprintf("(%d, 'm', 1, '%s', 'llm.calls', 0, %d, 0)", from+i, strings.NewReplacer(`\`, `\\`, "'", `\'`).Replace(text), from+i))
	}
	testenv.Exec(w, w.http, "INSERT INTO "+w.db+".calls (id, model, tokens, _rescued, _topic, _partition, _offset, _epoch) VALUES "+strings.Join(rows, ","))
}

func newField(path, value string) string {
	return `"` + path + `":{"reason":"new_field","value":` + value + `}`
}

func (w *schemaWorld) rows(sql string) string {
	w.Helper()
	return strings.TrimSpace(fmt.Sprint(testenv.QueryRows(w, w.http, sql)))
}

func TestSchemaPromote_FillsOldRowsAndPatchesTheFile(t *testing.T) {
	w := newSchemaWorld(t)
	w.rescue(0, newField("usage.cost", "1.50"), "", newField("usage", `{"cost":2,"other":[1]}`), newField("usage.cost", "null"),
		newField("other", `"x"`)+","+newField("usage.cost", "0.1"), newField("usage", `{"other":1}`), newField("note", `"\"usage.cost\": 7"`))
	before := w.text()
	out, _ := w.run(ExitOK, "promote", w.file, "usage.cost")
	w.contains(out, "usage.cost becomes column usage_cost Nullable(Float64)", "ADD COLUMN IF NOT EXISTS", "+ usage_cost: {type: Nullable(Float64), from: usage.cost}", "rows: 4 have a value", "nothing was changed")
	if w.text() != before || w.rows("SELECT count() FROM system.columns WHERE database = '"+w.db+"' AND name = 'usage_cost'") != "[[0]]" {
		t.Fatal("something was changed without --yes")
	}
	out, errs := w.run(ExitOK, "promote", w.file, "usage.cost", "--yes")
	w.contains(out, "4 rows have a value in the rescue column: 3 filled now, 1 had it, 0 stay there", "alone, 0 wrong")
	w.contains(errs, "partition 0: ", "partition 1: ", "partition 2: ")
	if got := w.rows("SELECT id, usage_cost FROM " + w.db + ".calls ORDER BY id"); got != `[[0 1.5] [1 \N] [2 2] [3 \N] [4 0.1] [5 \N] [6 \N]]` {
		t.Errorf("rows %s", got)
	}
	want := strings.Replace(before, "from: usage.tokens}\n", "from: usage.tokens}\n    usage_cost: {type: Nullable(Float64), from: usage.cost}\n", 1)
	if w.text() != want {
		t.Errorf("file:\n%s", w.text())
	}
	if got := w.rows("SELECT count() FROM " + w.db + ".calls WHERE _rescued LIKE '%cost%'"); got != "[[5]]" {
		t.Errorf("%s rows with their rescue column, want all 5", got)
	}
	// The offset projection is whole, and is what answers.
	if got := w.rows("SELECT count(), groupBitmapMerge(b) FROM (SELECT _topic, _partition, _epoch, intDiv(_offset, 65536), count() AS n, groupBitmapState(_offset) AS b FROM " + w.db +
		".calls GROUP BY ALL) SETTINGS force_optimize_projection = 1"); got != "[[1 7]]" {
		t.Errorf("by the projection: %s", got)
	}
	h := history{}
	w.json(&h, "history", w.file)
	if len(h.Refused) != 0 {
		t.Errorf("history %+v", h)
	}
	if got := w.rows("SELECT column, outcome, plan_after != 0 FROM waybill.schema_changes WHERE pipeline = '" + w.name + "'"); got != "[[usage_cost applied 1]]" {
		t.Errorf("changes %s", got)
	}
	// A worker that did not know of the column goes on; the command covers that, and does nothing twice.
	w.rescue(7, newField("usage.cost", "7e-3"))
	var p promotion
	w.json(&p, "promote", w.file, "usage.cost", "--yes")
	if p.Statement != "" || p.Line != "" || p.Result == nil || p.Result.Rows != 5 || p.Result.Filled != 1 || p.Result.Already != 4 {
		t.Errorf("again: %+v %+v", p, p.Result)
	}
	if got := w.rows("SELECT count() FROM system.tables WHERE name LIKE 'promote_%'"); got != "[[0]]" {
		t.Errorf("%s tables left", got)
	}
}

func TestSchemaPromote_WhatDoesNotFitStays(t *testing.T) {
	w := newSchemaWorld(t)
	w.rescue(0, newField("n", "1"), newField("n", "-2"), newField("n", `"x"`), newField("n", "null"), newField("n", "300"), newField("n", `"MQ==","encoding":"base64"`))
	before := w.text()
	_, errs := w.run(ExitFatal, "promote", w.file, "n", "--type", "UInt8", "--yes")
	for _, sample := range []string{"offset 1: -2 (out_of_range", `offset 2: "x" (wrong_type`, "offset 3: null (null_required", "offset 4: 300 (out_of_range"} {
		w.contains(errs, sample)
	}
	w.contains(errs, "5 of 6 values at n do not fit UInt8", "hint: choose another --type, or say --partial")
	if w.text() != before || w.rows("SELECT count() FROM system.columns WHERE database = '"+w.db+"' AND name = 'n'") != "[[0]]" {
		t.Fatal("something was changed")
	}
	w.rescue(6, newField("d", "1.5"), newField("d", "1.55"))
	_, errs = w.run(ExitFatal, "promote", w.file, "d", "--type", "Decimal(9, 1)", "--yes")
	w.contains(errs, "1 of 2 values at d do not fit", "offset 7: 1.55 (it has more digits than the column keeps)")
	var p promotion
	w.json(&p, "promote", w.file, "n", "--type", "Nullable(UInt16)", "--column", "number", "--partial", "--yes")
	if r := p.Result; r == nil || r.Rows != 6 || r.Kept != 3 || r.Filled != 2 || r.Already != 1 || len(r.Samples) != 3 {
		t.Errorf("result %+v", p.Result)
	}
	if got := w.rows("SELECT groupArray(number) FROM (SELECT number FROM " + w.db + ".calls ORDER BY id)"); got != "[[[1,300]]]" {
		t.Errorf("values %s", got)
	}
}

// Types that texts and arrays need, by inference; the value of each is that of the event.
func TestSchemaPromote_Types(t *testing.T) {
	for name, tt := range map[string]struct {
		values []string
		typ    string
		want   string
	}{
		"text":    {[]string{`"it's"`, `"Ä😀"`}, "Nullable(String)", `[[0 it\'s] [1 Ä😀]]`},
		"mixed":   {[]string{`1.50`, `{"b":1.0,  "a":[]}`}, "Nullable(String)", `[[0 1.50] [1 {"b":1.0,  "a":[]}]]`},
		"large":   {[]string{`18446744073709551615`, `0`}, "Nullable(UInt64)", `[[0 18446744073709551615] [1 0]]`},
		"decimal": {[]string{`12345678901234567.891`, `0.10`}, "Nullable(Decimal(38, 18))", `[[0 12345678901234567.891] [1 0.1]]`},
		"bools":   {[]string{`true`, `null`}, "Nullable(Bool)", `[[0 true] [1 \N]]`},
		"array":   {[]string{`[1,2]`, `[]`}, "Array(Int64)", `[[0 [1,2]] [1 []]]`},
		"time":    {[]string{`"2026-11-22T12:00:00.5Z"`, `"2026-11-22T12:00:00Z"`}, "Nullable(DateTime64(3, 'UTC'))", `[[0 2026-11-22 12:00:00.500] [1 2026-11-22 12:00:00.000]]`},
		"map":     {[]string{`{"metadata":{"a":"b"}}`, `{"metadata":{}}`}, "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			w := newSchemaWorld(t)
			var fields []string
			for _, v := range tt.values {
				fields = append(fields, newField("f", v))
			}
			w.rescue(0, fields...)
			if tt.typ == "" { // a member of what is rescued as a whole
				w.run(ExitOK, "promote", w.file, "f.metadata", "--yes")
				if got := w.rows("SELECT id, f_metadata, toTypeName(f_metadata) FROM " + w.db + ".calls ORDER BY id"); got != `[[0 {'a':'b'} Map(LowCardinality(String), String)] [1 {} Map(LowCardinality(String), String)]]` {
					t.Errorf("rows %s", got)
				}
				return
			}
			w.run(ExitOK, "promote", w.file, "f", "--yes")
			if got := w.rows("SELECT id, f FROM " + w.db + ".calls ORDER BY id"); got != tt.want {
				t.Errorf("rows %s, want %s", got, tt.want)
			}
			if got := w.rows("SELECT DISTINCT toTypeName(f) FROM " + w.db + ".calls"); got != "[["+strings.ReplaceAll(tt.typ, "'", `\'`)+"]]" {
				t.Errorf("type %s, want %s", got, tt.typ)
			}
			w.run(ExitOK, "show", w.file)
		})
	}
}

func TestSchemaPromote_Refusals(t *testing.T) {
	w := newSchemaWorld(t)
	w.rescue(0, newField("note", "1"), newField("x", "null"))
	for _, tt := range []struct {
		says string
		args []string
	}{
		{"elements are rescued one by one", []string{"items[*].id"}},
		{"promote the array itself, items, as text", []string{"items[*].id", "--no-fill"}},
		{"say --no-fill and --type", []string{"items[*].id", "--type", "Array(Int64)"}},
		{"no lookups of such types", []string{"x", "--type", "Array(JSON)"}},
		{"0 rows have a value at nonesuch", []string{"nonesuch"}},
		{"the table has a column note that does not take note", []string{"note"}},
		{"only null was seen", []string{"x"}},
		{"column tokens UInt32 takes usage.tokens already", []string{"usage.tokens", "--type", "Int64"}},
		{"path", []string{"a..b"}},
	} {
		if _, errs := w.run(ExitFatal, append([]string{"promote", w.file}, tt.args...)...); !strings.Contains(errs, tt.says) || !strings.Contains(errs, "hint: ") {
			t.Errorf("%v: said %s", tt.args, errs)
		}
	}
	testenv.Exec(t, w.http, "ALTER TABLE "+w.db+".calls DROP COLUMN _rescued")
	w.write(strings.NewReplacer("new_fields: rescue", "new_fields: discard", "type_conflicts: rescue", "type_conflicts: freeze").Replace(w.text()))
	if _, errs := w.run(ExitFatal, "promote", w.file, "note"); !strings.Contains(errs, "no rescue column") {
		t.Errorf("said %s", errs)
	}
	if _, err := os.Stat(w.file); err != nil {
		t.Error(err)
	}
}

// What cannot be read back from the rescue column can still have a column for new events.
func TestSchemaPromote_ForNewEventsAlone(t *testing.T) {
	w := newSchemaWorld(t)
	w.rescue(0, newField("items[0].id", "1"), newField("items[1].id", "2"))
	var p promotion
	w.json(&p, "promote", w.file, "items[*].id", "--type", "Array(Int64)", "--no-fill", "--yes")
	if !p.Applied || p.Result != nil || !p.Unread {
		t.Errorf("%+v", p)
	}
	w.run(ExitOK, "show", w.file)
	testenv.Exec(t, w.http, "ALTER TABLE "+w.db+".calls DROP COLUMN _rescued", "ALTER TABLE "+w.db+".calls ADD COLUMN _rescued JSON")
	if _, errs := w.run(ExitFatal, "promote", w.file, "x"); !strings.Contains(errs, "_rescued is JSON, which does not keep texts to the letter") || !strings.Contains(errs, "--no-fill and --type") {
		t.Errorf("said %s", errs)
	}
	w.json(&p, "promote", w.file, "x.y", "--type", "Nullable(Int64)", "--no-fill", "--yes")
	if got := w.rows("SELECT name, type, comment FROM system.columns WHERE database = '" + w.db + "' AND table = 'calls' AND comment LIKE 'waybill: %' ORDER BY name"); got != `[[items__id Array(Int64) waybill: {"from":"items[*].id"}] [x_y Nullable(Int64) waybill: {"from":"x.y"}]]` {
		t.Errorf("columns %s", got)
	}
	if text := w.text(); !strings.Contains(text, `items__id: {type: Array(Int64), from: "items[*].id"}`) || !strings.Contains(text, "x_y: {type: Nullable(Int64), from: x.y}") {
		t.Errorf("file\n%s", text)
	}
}
