package promote

import (
	"fmt"
	"strings"
	"testing"

	"github.com/waybill-data/waybill/internal/clickhouse"
	"github.com/waybill-data/waybill/internal/config"
	"github.com/waybill-data/waybill/internal/testenv"
)

// asIfReplicated prepares a job that takes the table for a replicated one. The packaged server keeps such tables read-only, so this is how
// the statements for them are carried out.
func (w *world) asIfReplicated() *Job {
	j := w.prepare()
	j.replicated, j.source.limit = true, spellBytes/2
	return j
}

func TestSpell_FillsAndCanBeRunAgain(t *testing.T) {
	w := newWorld(t, 5000)
	w.deps.Page = 2000 // several statements each
	r, err := w.asIfReplicated().Apply(t.Context(), nil)
	if err != nil || r.Rows != 4500 || r.Filled != 4500 || r.Wrong != 0 || w.filled() != "4500" {
		t.Fatalf("%+v, %v", r, err)
	}
	mutations := "SELECT count() FROM system.mutations WHERE database = '" + w.db + "' AND command NOT LIKE '%joinGet%'"
	n := w.value(mutations)
	if r, err = w.asIfReplicated().Apply(t.Context(), nil); err != nil || r.Filled != 0 || r.Already != 4500 || w.value(mutations) != n {
		t.Errorf("again: %+v, %v", r, err)
	}
	testenv.Exec(t, w.http, "ALTER TABLE "+w.db+".calls UPDATE n = 77 WHERE id IN (1, 2) SETTINGS mutations_sync = 1")
	if r, err = w.asIfReplicated().Apply(t.Context(), nil); err != nil || r.Filled != 2 || w.filled() != "4500" {
		t.Errorf("what others changed: %+v, %v", r, err)
	}
	if got := w.value("SELECT max(length(command)) < 262144 FROM system.mutations WHERE database = '" + w.db + "'"); got != "1" {
		t.Error("a statement is longer than the server reads")
	}
}

// For each type the values that a statement carries are those that the table of values does.
func TestSpell_ValuesAreThoseOfTheOtherWay(t *testing.T) {
	for typ, values := range map[string][]string{
		"Nullable(String)":                    {`"it's"`, `"back\\slash \"quoted\""`, `"line\nbreak\ttab\u0000nul"`, `"Ä😀"`, `""`, `null`, `"NULL"`, `"\\N"`},
		"String":                              {`"a"`, `"'"`, `""`},
		"LowCardinality(Nullable(String))":    {`"a"`, `null`, `"a"`},
		"Nullable(Int64)":                     {`-9223372036854775808`, `9223372036854775807`, `null`, `0`},
		"Nullable(Float64)":                   {`0.1`, `1e300`, `-0.0`, `5e-324`, `null`},
		"Nullable(Decimal(38, 18))":           {`12345678901234567.891`, `0.10`},
		"Nullable(Bool)":                      {`true`, `false`, `null`},
		"Nullable(UUID)":                      {`"0000000a-0000-4000-8000-00000000000b"`},
		"Nullable(DateTime64(3, 'UTC'))":      {`"2026-11-22T12:00:00.5Z"`, `"1969-12-31T23:59:59.999Z"`},
		"Nullable(DateTime64(9, 'UTC'))":      {`"2026-11-22T12:00:00.123456789Z"`},
		"Array(String)":                       {`["it's","a,b]"]`, `[]`, `["\\"]`},
		"Array(Nullable(Int64))":              {`[1,null]`, `[]`},
		"Map(LowCardinality(String), String)": {`{"a'b":"c\\d"}`, `{}`},
		"Enum8('a' = 1, 'it\\'s' = 2)":        {`"a"`, `"it's"`},
		"FixedString(4)":                      {`"ab"`, `"abcd"`},
		"Tuple(a Int64, b Nullable(String))":  {`{"a":1,"b":"it's"}`, `{"a":2,"b":null}`},
		"Array(Map(String, Int64))":           {`[{"a":1},{"b'":2}]`},
		"Nullable(IPv4)":                      {`"10.0.0.1"`},
	} {
		t.Run(typ, func(t *testing.T) {
			t.Parallel() // they wait more than they work
			w := newWorld(t, 0)
			for i, v := range values {
				text := `{"plan":"1","fields":{"n":{"reason":"new_field","value":` + v + `}}}`
				testenv.Exec(t, w.http, fmt.Sprintf("INSERT INTO %s.calls (id, _rescued, _topic, _partition, _offset, _epoch) VALUES (%d, %s, 't', 0, %[2]d, 0)", w.db, i, clickhouse.Literal(text)))
			}
			fill := func(replicated bool) string {
				cfg, err := config.Load(w.file)
				if err != nil {
					t.Fatal(err)
				}
				o := Options{Type: typ}
				if strings.Contains(w.value("SELECT groupArray(name) FROM system.columns WHERE table = 'calls' AND database = '"+w.db+"'"), "'n'") {
					o.Type = ""
				}
				j, err := Prepare(t.Context(), w.deps, cfg.Tables()[0], "n", o)
				if err != nil {
					t.Fatal(err)
				}
				j.replicated = replicated
				if r, err := j.Apply(t.Context(), nil); err != nil || r.Wrong != 0 || r.Filled+r.Already != int64(len(values)) {
					t.Fatalf("replicated %v: %+v, %v", replicated, r, err)
				}
				return w.value("SELECT toString(groupArray((id, hex(ifNull(toString(n), 'x')), isNull(n)))) FROM (SELECT * FROM " + w.db + ".calls ORDER BY id)")
			}
			one := fill(false)
			// DROP and ADD: mutations of values that are there could leave them as they are.
			testenv.Exec(t, w.http, "ALTER TABLE "+w.db+".calls DROP COLUMN n", "ALTER TABLE "+w.db+".calls ADD COLUMN n "+typ)
			if other := fill(true); other != one {
				t.Errorf("with a table of values\n%s\nspelt out\n%s", one, other)
			}
			if got := w.value("SELECT toString((countIf(command LIKE '%transform(%') > 0, countIf(command LIKE '%joinGet%') > 0)) FROM system.mutations WHERE database = '" + w.db + "'"); got != "(1,1)" {
				t.Errorf("mutations of both kinds: %s", got)
			}
		})
	}
}

func TestSpell_LongTextsStay(t *testing.T) {
	w := newWorld(t, 0)
	long := strings.Repeat("x", spellBytes)
	for i, value := range []string{"short", long} {
		text := `{"fields":{"n":{"value":"` + value + `"}}}`
		testenv.Exec(t, w.http, fmt.Sprintf("INSERT INTO %s.calls (id, _rescued, _topic, _partition, _offset, _epoch) VALUES (%d, %s, 't', 0, %[2]d, 0)", w.db, i, clickhouse.Literal(text)))
	}
	j := w.asIfReplicated()
	r, err := j.Apply(t.Context(), nil)
	if err != nil || r.Filled != 1 || r.Kept != 1 || !strings.Contains(r.Samples[0].Why, "too many for a statement") {
		t.Errorf("%+v, %v", r, err)
	}
}
