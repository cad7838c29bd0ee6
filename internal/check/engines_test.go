package check_test

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/ClickHouse/ch-go/proto"

	"github.com/waybill-data/waybill"
	"github.com/waybill-data/waybill/internal/check"
	"github.com/waybill-data/waybill/internal/clickhouse"
	"github.com/waybill-data/waybill/internal/testenv"
	"github.com/waybill-data/waybill/internal/testenv/chserver"
)

func TestMain(m *testing.M) { testenv.Main(m) }

var update = flag.Bool("update", false, "write docs/reference/engines.md")

func TestEnginesPage(t *testing.T) {
	const page = "../../docs/reference/engines.md"
	if *update {
		if err := os.WriteFile(page, []byte(check.EnginesPage()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	have, err := os.ReadFile(page)
	if err != nil || string(have) != check.EnginesPage() {
		t.Errorf("docs/reference/engines.md is stale (%v): go test ./internal/check -run EnginesPage -update", err)
	}
}

// on says how a table of each engine is made here, and what its answers are about.
var on = map[string]struct{ create, before string }{
	"MergeTree":                    {create: "(k UInt64, v Int64) ENGINE = MergeTree ORDER BY k SETTINGS non_replicated_deduplication_window = 100"},
	"ReplacingMergeTree":           {create: "(k UInt64, v Int64) ENGINE = ReplacingMergeTree ORDER BY k SETTINGS non_replicated_deduplication_window = 100"},
	"ReplacingMergeTree(version)":  {create: "(k UInt64, v Int64) ENGINE = ReplacingMergeTree(k) ORDER BY k SETTINGS non_replicated_deduplication_window = 100"},
	"CollapsingMergeTree":          {create: "(k UInt64, v Int64, s Int8 DEFAULT if(v = 1, 1, -1)) ENGINE = CollapsingMergeTree(s) ORDER BY k SETTINGS non_replicated_deduplication_window = 100"},
	"VersionedCollapsingMergeTree": {create: "(k UInt64, v Int64, s Int8 DEFAULT if(v = 1, 1, -1)) ENGINE = VersionedCollapsingMergeTree(s, k) ORDER BY k SETTINGS non_replicated_deduplication_window = 100"},
	"SummingMergeTree":             {create: "(k UInt64, v Int64) ENGINE = SummingMergeTree ORDER BY k SETTINGS non_replicated_deduplication_window = 100"},
	"AggregatingMergeTree":         {create: "(k UInt64, v SimpleAggregateFunction(max, Int64)) ENGINE = AggregatingMergeTree ORDER BY k SETTINGS non_replicated_deduplication_window = 100"},
	"CoalescingMergeTree":          {create: "(k UInt64, v Nullable(Int64)) ENGINE = CoalescingMergeTree ORDER BY k SETTINGS non_replicated_deduplication_window = 100"},
	"Log":                          {create: "(k UInt64, v Int64) ENGINE = Log"},
	"TinyLog":                      {create: "(k UInt64, v Int64) ENGINE = TinyLog"},
	"StripeLog":                    {create: "(k UInt64, v Int64) ENGINE = StripeLog"},
	"Memory":                       {create: "(k UInt64, v Int64) ENGINE = Memory"},
	"Null":                         {create: "(k UInt64, v Int64) ENGINE = Null"},
	"Buffer": {before: "CREATE TABLE e.%s_to (k UInt64, v Int64) ENGINE = MergeTree ORDER BY k SETTINGS non_replicated_deduplication_window = 100",
		create: "(k UInt64, v Int64) ENGINE = Buffer(e, %s_to, 1, 3600, 3600, 1000000, 1000000, 100000000, 100000000)"},
	"EmbeddedRocksDB": {create: "(k UInt64, v Int64) ENGINE = EmbeddedRocksDB PRIMARY KEY k"},
}

// elsewhere are those of the table that are not made here, and why.
var elsewhere = map[string]string{
	"Distributed":      "its answers are those of the tables behind it",
	"MaterializedView": "likewise",
	"View":             "it takes no rows",
}

// engineWorld asks a server about its engines.
type engineWorld struct {
	*testing.T
	srv *chserver.Server
	ch  *clickhouse.Client
}

// put inserts two rows with one key under a token.
func (w *engineWorld) put(table, token string, k uint64, vs ...int64) {
	w.Helper()
	var key proto.ColUInt64
	var v proto.ColInt64
	for _, x := range vs {
		key, v = append(key, k), append(v, x)
	}
	a := w.ch.Insert(w.Context(), clickhouse.Insert{Database: "e", Table: table, Token: waybill.Token(token),
		Input: proto.Input{{Name: "k", Data: key}, {Name: "v", Data: v}}})
	if a.Err != nil {
		w.Errorf("%s: %v", table, a.Err)
	}
}

func (w *engineWorld) rows(table string) string {
	w.Helper()
	return testenv.QueryRows(w, w.srv.HTTPAddr(), "SELECT count() FROM e."+table)[0][0]
}

// Each answer of the table is the real engine's.
func TestEngines(t *testing.T) {
	srv := testenv.ClickHouse(t)
	testenv.Exec(t, srv.HTTPAddr(), "CREATE DATABASE e ENGINE = Atomic")
	ch, err := clickhouse.Open(t.Context(), clickhouse.Config{Addr: srv.TCPAddr()}, clickhouse.Deps{})
	if err != nil {
		t.Fatal(err)
	}
	defer ch.Close()
	w := &engineWorld{t, srv, ch}
	asked := map[string]check.Engine{}
	for _, e := range check.Engines() {
		if e.Unproved || elsewhere[e.Name] != "" {
			continue
		}
		made, ok := on[e.Name]
		if !ok {
			t.Errorf("%s is not put to a real engine, and does not say that it is unproved", e.Name)
			continue
		}
		name := strings.Map(func(r rune) rune {
			if r == '(' || r == ')' {
				return '_'
			}
			return r
		}, strings.ToLower(e.Name))
		if made.before != "" {
			testenv.Exec(t, srv.HTTPAddr(), fmt.Sprintf(made.before, name))
			made.create = fmt.Sprintf(made.create, name)
		}
		testenv.Exec(t, srv.HTTPAddr(), "CREATE TABLE e."+name+" "+made.create)
		asked[name] = e
		w.keeps(name, &e)
	}
	srv.Kill()
	if err := srv.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	for name, e := range asked {
		// Of engines that keep nothing nothing can survive; the others had rows.
		if survives := w.rows(name) != "0"; survives != (e.Survives == check.Yes) {
			t.Errorf("%s: survives a restart: %v, the table says %s", e.Name, survives, e.Survives)
		}
	}
}

// keeps puts the first two answers to a table: a block sent twice, and rows with one key.
func (w *engineWorld) keeps(name string, e *check.Engine) {
	w.Helper()
	w.put(name, "first", 1, 1)
	w.put(name, "first", 1, 1)
	count := w.rows(name)
	if e.Name == "EmbeddedRocksDB" || e.Name == "Null" { // they keep too little to tell: a token is not even looked at
		if e.Once != check.No {
			w.Errorf("%s: the table says %s", e.Name, e.Once)
		}
	} else if once := count == "1"; once != (e.Once == check.Yes) {
		w.Errorf("%s: a block that was sent twice is there %s times, the table says once: %s", e.Name, count, e.Once)
	}
	before := map[bool]int{true: 1, false: 2}[count == "1" || e.Name == "Null"]
	w.put(name, "second", 1, 2)
	w.put(name, "third", 2, 1)
	if strings.HasSuffix(strings.TrimSuffix(e.Name, "(version)"), "MergeTree") {
		testenv.Exec(w, w.srv.HTTPAddr(), "OPTIMIZE TABLE e."+name+" FINAL")
	}
	keeps := w.rows(name) == fmt.Sprint(before+2)
	if keeps != (e.Keeps == check.Yes) {
		w.Errorf("%s: %s rows of %d are there, the table says that it keeps them: %s", e.Name, w.rows(name), before+2, e.Keeps)
	}
}
