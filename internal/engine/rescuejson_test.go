package engine_test

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/waybill-data/waybill/internal/testenv"
)

// jsonRescue makes the rescue column one of the JSON type.
func (w *world) jsonRescue() {
	w.Helper()
	w.alter("DROP COLUMN _rescued")
	w.alter("ADD COLUMN _rescued JSON")
}

// What is rescued into a column of the JSON type is there to be asked for by its path, with the type that the server gives it.
func TestRescueColumn_OfTheJSONType(t *testing.T) {
	w := newWorld(t, 1)
	w.jsonRescue()
	events := []struct{ event, ask, want string }{
		{`"x":1`, "toString((_rescued.fields.x.reason, _rescued.fields.x.value, dynamicType(_rescued.fields.x.value)))", "('new_field',1,'Int64')"},
		{`"x":1.50`, "toString(_rescued.fields.x.value)", "1.5"},
		{`"x":"it's \"ü\" \\"`, "toString(_rescued.fields.x.value)", `it's "ü" \`},
		{`"x":"2026-11-22T14:44:47.5+02:00"`, "toString((_rescued.fields.x.value, dynamicType(_rescued.fields.x.value)))", "('2026-11-22T14:44:47.5+02:00','String')"},
		{`"x":true`, "toString(_rescued.fields.x.value)", "true"},
		{`"x":null`, "toString((_rescued.fields.x.reason, _rescued.fields.x.value))", "('new_field',NULL)"},
		{`"x":{"y":{"z":[1,"a",null]},"e":{}}`, "toString(_rescued.fields.x.value.y.z)", "[1,'a',NULL]"},
		{`"usage":{"tokens":1,"cost":0.25}`, "toString((_rescued.fields.usage.cost.reason, _rescued.fields.usage.cost.value))", "('new_field',0.25)"},
		{`"usage":{"tokens":-1}`, "toString((_rescued.fields.usage.tokens.reason, _rescued.fields.usage.tokens.column, _rescued.fields.usage.tokens.value))", "('out_of_range','tokens',-1)"},
		// What the server's parser would refuse, and the whole block with it, is a string that says so.
		{`"x":123456789012345678901234567890`, "toString((_rescued.fields.x.encoding, _rescued.fields.x.value))", "('json','123456789012345678901234567890')"},
		{`"x":1e999`, "toString((_rescued.fields.x.encoding, _rescued.fields.x.value))", "('json','1e999')"},
		{`"x":{"a.b":1,"a":{"b":2}}`, "toString((_rescued.fields.x.encoding, _rescued.fields.x.value))", `('json','{"a.b":1,"a":{"b":2}}')`},
		{`"x":{"reason":1},"x.value":{"reason":2}`, "toString(JSONAllPaths(_rescued))", ""},
		{`"usage":{"tokens":{"value":{"reason":1}}}`, "toString((_rescued.fields.usage.tokens.encoding, _rescued.fields.usage.tokens.value))", `('json','{"value":{"reason":1}}')`},
		{`"model":["a",{"reason":1}],"y":1`, "toString((_rescued.fields.model.reason, _rescued.fields.y.value))", "('wrong_type',1)"},
	}
	w.produceAs(len(events), func(i int) string { return fmt.Sprintf(`{"id":%d,%s}`, i, events[i].event) })
	a := w.start(w.file(spec{modes: "new_fields: rescue\n  type_conflicts: rescue"}))
	w.quiet(int64(len(events)))
	a.stop()
	w.verify()
	w.wantCounts(fmt.Sprintf("%d %[1]d 0 0", len(events)))
	for i, e := range events {
		got, err := testenv.Query(w.ch.HTTPAddr(), fmt.Sprintf("SELECT %s FROM %s.calls WHERE id = %d FORMAT TSVRaw", e.ask, w.db, i))
		if got = strings.TrimSuffix(got, "\n"); err != nil || e.want != "" && got != e.want {
			t.Errorf("%s: %s, %v; want %s", e.event, got, err, e.want)
		}
	}
	if got := w.query("SELECT count() FROM " + w.db + ".calls WHERE toString(_rescued) = '{}'"); got != "0" {
		t.Errorf("%s rows have nothing", got)
	}
}

// Whatever text a value has, the server takes the block.
func TestRescueColumn_OfTheJSONTypeTakesAnything(t *testing.T) {
	w := newWorld(t, 1)
	w.jsonRescue()
	var events []string
	corpus, err := os.ReadFile("../decode/json/testdata/corpus/values.txt")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(corpus)) {
		text, err := strconv.Unquote(strings.TrimSpace(line[strings.LastIndexByte(line, '\t')+1:]))
		if err != nil {
			t.Fatal(err)
		}
		n := len(events)
		events = append(events, fmt.Sprintf(`{"id":%d,"v":%s}`, n, text), fmt.Sprintf(`{"id":%d,"model":%s,"usage":{"tokens":%[2]s},"a":{"b.c":[%[2]s]}}`, n+1, text), text)
	}
	if len(events) < 1000 {
		t.Fatalf("only %d events", len(events))
	}
	w.produceAs(len(events), func(i int) string { return events[i] })
	cfg := w.file(spec{modes: "new_fields: rescue\n  type_conflicts: rescue"})
	cfg.Contract.Columns[0].Required = false
	a := w.start(cfg)
	w.quiet(int64(len(events)))
	a.stop()
	w.verify()
	if got := w.query("SELECT toString(groupArray((code, message, substring(value, 1, 200)))) FROM waybill.dead_letters WHERE pipeline = '" + w.name + "' AND code LIKE 'server%'"); got != "[]" {
		t.Errorf("refused by the server: %s", got)
	}
	if got := w.query("SELECT count() > 500 FROM " + w.db + ".calls WHERE toString(_rescued) != '{}'"); got != "1" {
		t.Error("hardly anything was rescued")
	}
}
