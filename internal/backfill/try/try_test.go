package try_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/waybill-data/waybill"
	"github.com/waybill-data/waybill/internal/backfill/diff"
	"github.com/waybill-data/waybill/internal/backfill/try"
	"github.com/waybill-data/waybill/internal/clickhouse"
	"github.com/waybill-data/waybill/internal/config"
	"github.com/waybill-data/waybill/internal/contract"
	"github.com/waybill-data/waybill/internal/decode/json"
	"github.com/waybill-data/waybill/internal/ledger"
	"github.com/waybill-data/waybill/internal/testenv"
	"github.com/waybill-data/waybill/internal/testenv/chserver"
	"github.com/waybill-data/waybill/internal/trial"
)

func TestMain(m *testing.M) { testenv.Main(m) }

type world struct {
	*testing.T
	ch   *chserver.Server
	db   string
	deps try.Deps
}

// newWorld is a server and some records.
func newWorld(t *testing.T, values ...string) *world {
	w := &world{T: t, ch: testenv.SharedClickHouse(t)}
	w.db = testenv.Database(t, w.ch)
	client, err := clickhouse.Open(t.Context(), clickhouse.Config{Addr: w.ch.TCPAddr()}, clickhouse.Deps{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	store := ledger.New(client, testenv.Database(t, w.ch))
	if err := store.Migrate(t.Context(), time.Now()); err != nil {
		t.Fatal(err)
	}
	w.deps = try.Deps{Client: client, Database: store.Database(), Read: func(_ context.Context, fn func(*waybill.Record) error) error {
		for i, v := range values {
			rec := &waybill.Record{Topic: "calls", Partition: int32(i % 2), Offset: int64(i / 2), Value: []byte(v)}
			if v == "" {
				rec.Value = nil
			}
			if err := fn(rec); err != nil {
				return err
			}
		}
		return nil
	}}
	return w
}

// plan is that of a contract, for a table with these columns (none: as the contract promises).
func (w *world) plan(name, contractText, more string, columns ...contract.TableColumn) try.Plan {
	w.Helper()
	table := ", table: calls"
	if strings.HasPrefix(more, "routes:") {
		table = ""
	}
	cfg, err := config.Parse(name, fmt.Appendf(nil, "name: p\nsource: {kafka: {brokers: [\"localhost:1\"], topic: calls}}\ncontract: %s\n%s\nsink: {clickhouse: {url: \"clickhouse://h/%s\"%s}}\n", contractText, more, w.db, table),
		func(string) (string, bool) { return "", false })
	if err != nil {
		w.Fatal(err)
	}
	out := try.Plan{Name: name}
	var routes []contract.Route
	for _, of := range cfg.Tables() {
		schema := of.PromisedTable()
		schema.Columns = append(schema.Columns, columns...)
		p, err := of.Compile(schema, of.Sink.ClickHouse.Lineage, json.Version)
		if err != nil {
			w.Fatal(err)
		}
		routes = append(routes, contract.Route{Name: of.Route, When: of.When, Plan: p})
		out.Tables = append(out.Tables, trial.Target{Contract: of.Contract, Schema: schema})
	}
	if out.Plan, err = cfg.Join(routes); err != nil {
		w.Fatal(err)
	}
	return out
}

func (w *world) run(was, is try.Plan) *try.Report {
	w.Helper()
	before := w.tables()
	r, err := try.Run(w.Context(), w.deps, was, is, try.Options{Samples: 2})
	if err != nil {
		w.Fatal(err)
	}
	if after := w.tables(); after != before {
		w.Errorf("tables were %s, and are %s", before, after)
	}
	return r
}

func (w *world) tables() string {
	return testenv.QueryValue(w, w.ch.HTTPAddr(), fmt.Sprintf("SELECT toString(arraySort(groupArray(concat(database, '.', name)))) FROM system.tables WHERE database IN ('%s', '%s')", w.db, w.deps.Database))
}

// fates are what a report says of records.
func fates(r *try.Report) (out []string) {
	for _, f := range r.Fates {
		out = append(out, strings.Join(strings.Fields(fmt.Sprintf("%d %s %s -> %s %s", f.Records, f.Was, f.WasReason, f.Is, f.IsReason)), " "))
	}
	slices.Sort(out)
	return out
}

var values = []string{
	`{"id":1,"model":"a","cost":1.5}`, `{"id":2,"model":"B","cost":"2"}`, `{"id":3,"model":"c","dev":true}`, `{"model":"no id"}`, `{"id":"five","model":"d"}`, "", `{"id":7,"model":"E","cost":7}`, `{"id":8}`, `not json`, `{"id":10,"model":"a","cost":null}`,
}

// changed are what a report says of the columns of a table.
func changed(r *diff.Report) (out []string) {
	for _, c := range r.Columns {
		text := ""
		switch {
		case c.State == diff.New || c.State == diff.Gone:
			text = string(c.State) + " " + c.Name
		case c.Changed > 0:
			text = fmt.Sprintf("%d %s", c.Changed, c.Name)
			for _, s := range c.Samples {
				text += fmt.Sprintf(" %s:%s->%s", s.Key, s.Live, s.Shadow)
			}
		default:
			continue
		}
		out = append(out, text)
	}
	return out
}

func want(t *testing.T, got []string, want ...string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

const old = `{new_fields: discard, columns: {id: {type: UInt64, required: true}, model: {type: String}, cost: {type: Nullable(Float64)}}}`

// Each record is told by what becomes of it under both plans, and each value that differs by its column.
func TestRun_SaysHowRowsWouldDiffer(t *testing.T) {
	w := newWorld(t, values...)
	was := w.plan("old.yaml", old, "")
	is := w.plan("new.yaml", `{new_fields: discard, type_conflicts: freeze, columns: {id: {type: UInt64, required: true}, model: {type: LowCardinality(String), expr: 'event.?model.orValue("none").lowerAscii()'}, cost: {type: "Nullable(Decimal(18, 4))"}}}`,
		`filter: event.?dev.orValue(false) == false`, contract.TableColumn{Name: "twice", Type: "UInt64", DefaultKind: "DEFAULT", DefaultExpr: "id * 2"})
	r := w.run(was, is)
	want(t, fates(r), "1 dead letter bad_format id -> dead letter bad_format id", "1 dead letter invalid_json -> dead letter invalid_json", "1 dead letter missing_required id -> dead letter missing_required id",
		"1 row -> filtered", "1 tombstone -> tombstone", "5 row -> row")
	want(t, changed(r.Tables[0])[:2], `3 model calls 0 3:"E"->"e" calls 1 0:"B"->"b"`, `1 cost calls 1 0:null->2`)
	if c := r.Tables[0].Column("twice"); c == nil || c.State != diff.New || r.Tables[0].Partitions[0].Shadow.Rows != 5 {
		t.Errorf("%+v", c) // the server filled it
	}
	if r.Was.Rows != 6 || r.Is.Rows != 5 || r.Is.Filtered != 1 || r.Was.RescuedRows != 1 || r.Is.RescuedRows != 0 || r.Records != int64(len(values)) || r.Tables[0].Rows.OnlyLive != 1 {
		t.Errorf("%+v, %+v", r.Was.Summary, r.Is.Summary)
	}
}

// The same plan, and another one that gives the same values, make no difference: that rows say which plan wrote them is none.
func TestRun_NoDifference(t *testing.T) {
	w := newWorld(t, values...)
	was, is := w.plan("old.yaml", old, ""), w.plan("new.yaml", strings.Replace(old, "{type: String}", "{type: String, default: nobody, on_missing: default}", 1), "")
	if r := w.run(was, was); len(changed(r.Tables[0])) > 0 || r.Tables[0].Rows.Same != 6 {
		t.Errorf("%+v", r.Tables[0])
	}
	want(t, changed(w.run(was, is).Tables[0]), `1 model calls 1 3:""->"nobody"`) // control; a rescued row is among the records
}

// Rows that go to another table are told as such.
func TestRun_Routes(t *testing.T) {
	w := newWorld(t, values...)
	routes := "routes:\n  - {name: a, when: 'event.?model.orValue(\"\") == \"a\"', table: ta}\n  - {name: b, table: tb}"
	was, is := w.plan("old.yaml", old, routes), w.plan("new.yaml", old, strings.Replace(routes, `== "a"`, `== "c"`, 1))
	if was.Plan.ID() == is.Plan.ID() {
		t.Fatal("the plans are the same")
	}
	r := w.run(was, is)
	name := func(text string) string { return strings.ReplaceAll(text, "DB", w.db) }
	got := slices.DeleteFunc(fates(r), func(f string) bool { return !strings.Contains(f, "row") })
	want(t, got, name("1 row in DB.tb -> row in DB.ta"), name("2 row in DB.ta -> row in DB.tb"), name("3 row in DB.tb -> row in DB.tb"))
	if len(r.Tables) != 2 || r.Tables[0].Rows.OnlyLive != 2 || r.Tables[0].Rows.OnlyShadow != 1 || r.Tables[0].Live.Table != w.db+".ta" {
		t.Errorf("%+v", r.Tables)
	}
}
