package engine_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/waybill-data/waybill"
	"github.com/waybill-data/waybill/internal/clickhouse"
	"github.com/waybill-data/waybill/internal/config"
	"github.com/waybill-data/waybill/internal/contract"
	"github.com/waybill-data/waybill/internal/status"
	"github.com/waybill-data/waybill/internal/testenv"
	"github.com/waybill-data/waybill/internal/testenv/faultproxy"
)

// routedWorld has three tables: calls, tools and others.
func routedWorld(t *testing.T, partitions int32) *world {
	w := newWorld(t, partitions)
	for _, table := range []string{"calls", "tools", "others"} {
		w.routeTable(table, "")
	}
	return w
}

func (w *world) routeTable(name, extra string) {
	w.Helper()
	w.exec("DROP TABLE IF EXISTS "+w.db+"."+name+" SYNC", fmt.Sprintf(`CREATE TABLE %s.%s (id UInt64, name LowCardinality(String),
		_topic LowCardinality(String), _partition Int32, _offset Int64, _epoch UInt32, _rescued String, %s%s)
		ENGINE = MergeTree ORDER BY id SETTINGS non_replicated_deduplication_window = 10000, lightweight_mutation_projection_mode = 'rebuild'`,
		w.db, name, clickhouse.ProjectionDDL(contract.DefaultLineage()), extra))
}

const threeRoutes = `
  - {name: calls, when: event.kind == "call", table: calls, contract: {columns: {name: {type: LowCardinality(String), from: model}}}}
  - {name: tools, when: event.kind == "tool", table: tools, contract: {columns: {name: {type: LowCardinality(String), from: tool, required: true}}}}
  - {name: others, table: others}`

// routed is a pipeline file with routes. top is more of it, in YAML; new fields are discarded unless it says otherwise.
func (w *world) routed(routes, top string, s spec) *config.Pipeline {
	w.Helper()
	if s.scheme == "" {
		s.scheme = "clickhouse"
	}
	if s.addr == "" {
		s.addr = w.ch.TCPAddr()
	}
	if s.modes == "" {
		s.modes = "new_fields: discard"
	}
	text := fmt.Sprintf(`
name: %s
source: {kafka: {brokers: [%q], topic: %s}}
contract: {%s, columns: {id: {type: UInt64, required: true}}}
sink: {clickhouse: {url: "%s://default@%s/%s", insert_deadline: 5s}}
batch: {rows: 500, age: 200ms}
routes:%s
%s`, w.name, w.kafka.ListenAddrs()[0], topic, s.modes, s.scheme, s.addr, w.db, routes, top)
	p, err := config.Parse("test.yaml", []byte(text), func(string) (string, bool) { return "", false })
	if err != nil {
		w.Fatal(err)
	}
	return p
}

// mixed are events of three kinds, in turn. Every hundredth is cut off, every 50th names no kind.
func mixed(i int) string {
	switch kind := []string{"call", "tool", "eval", "call"}[i%4]; {
	case i%100 == 99:
		return `{"id":`
	case i%50 == 49:
		return fmt.Sprintf(`{"id":%d}`, i)
	default:
		return fmt.Sprintf(`{"id":%d,"kind":%q,"model":"m%d","tool":"t%d"}`, i, kind, i%3, i%5)
	}
}

// verifyRouted checks the laws for each table.
func (w *world) verifyRouted(tables ...string) {
	w.Helper()
	all := "(SELECT 0 AS _epoch, 0 AS _partition, 0 AS _offset WHERE 0"
	for _, table := range tables {
		all += fmt.Sprintf(" UNION ALL SELECT toUInt32(_epoch), toInt32(_partition), toInt64(_offset) FROM %s.%s", w.db, table)
		if got := w.query(fmt.Sprintf("SELECT (%s) - (SELECT count() FROM %s.%s)", w.ofLedger("sum(routed['"+w.db+"."+table+"'])"), w.db, table)); got != "0" {
			w.Errorf("the ledger has %s more rows of table %s than there are", got, table)
		}
	}
	all += ")"
	for law, sql := range map[string]string{
		"spans tile": "SELECT count() FROM (SELECT epoch, partition, sum(next - first) AS covered, max(next) - min(first) AS extent FROM (" +
			w.ofLedger("*") + ") GROUP BY epoch, partition HAVING covered != extent)",
		"one content per key": "SELECT count() FROM (SELECT epoch, partition, first, uniqExact(next, batch, written, dead_lettered, mapSort(routed)) AS n FROM waybill.ledger WHERE pipeline = '" + w.name +
			"' GROUP BY epoch, partition, first HAVING n > 1)",
		"records balance":      w.ofLedger("countIf(read != written + filtered + dead_lettered + tombstones + lost)"),
		"tables balance":       w.ofLedger("countIf(written != arraySum(mapValues(routed)))"),
		"one table per record": "SELECT count() - uniqExact(_epoch, _partition, _offset) FROM " + all,
		"written is there":     "SELECT (" + w.ofLedger("sum(written)") + ") - (SELECT count() FROM " + all + ")",
		"dead letters are there": "SELECT (" + w.ofLedger("sum(dead_lettered)") + ") - (SELECT uniqExact(epoch, partition, offset) FROM waybill.dead_letters WHERE pipeline = '" +
			w.name + "')",
		"row or dead letter": "SELECT count() FROM waybill.dead_letters AS d INNER JOIN " + all + " AS c ON d.partition = c._partition AND d.offset = c._offset WHERE d.pipeline = '" + w.name + "'",
	} {
		if got := w.query(sql); got != "0" {
			w.Errorf("law %q is broken: %s", law, got)
		}
	}
}

// rowsIn counts rows by table.
func (w *world) rowsIn(tables ...string) string {
	w.Helper()
	var out []string
	for _, table := range tables {
		out = append(out, w.query("SELECT count() FROM "+w.db+"."+table))
	}
	return strings.Join(out, " ")
}

func TestRoutes_EachEventIsInItsTable(t *testing.T) {
	w := routedWorld(t, 4)
	cfg := w.routed(threeRoutes, "", spec{})
	a := w.start(cfg)
	w.produceAs(1500, mixed)
	b := w.start(cfg) // takes over half of the partitions
	w.produceAs(1500, mixed)
	w.quiet(3000)
	a.stop()
	b.stop()
	w.verifyRouted("calls", "tools", "others")
	// Of each hundred, 25 are tools (one lacks its kind), 25 evals, 50 calls (one is cut off).
	if got := w.rowsIn("calls", "tools", "others"); got != "1470 720 750" {
		t.Errorf("rows %s", got)
	}
	for table, sql := range map[string]string{
		"calls": "countIf(name != concat('m', toString(id % 3)) OR id % 4 NOT IN (0, 3))", "tools": "countIf(name != concat('t', toString(id % 5)) OR id % 4 != 1)",
		"others": "countIf(id % 4 != 2)",
	} {
		if got := w.query("SELECT " + sql + " FROM " + w.db + "." + table); got != "0" {
			t.Errorf("%s rows of another kind, or with other values, in %s", got, table)
		}
	}
	if got := w.query("SELECT arrayStringConcat(arraySort(groupUniqArray(concat(code, ' ', substring(message, 1, 12)))), '|') FROM waybill.dead_letters WHERE pipeline = '" + w.name + "'"); !strings.HasPrefix(got, "expression_error route calls:|") {
		t.Errorf("dead letters %s", got)
	}
}

// The rows of a batch are on their way to several tables at once: what is not known of one of them is read back and mended for that one.
func TestRoutes_LostReplyOfOneTable(t *testing.T) {
	for _, tt := range []struct {
		scheme, table, name string
		fault               faultproxy.Fault
	}{
		{"http", "calls", faultproxy.NameDropReply, faultproxy.DropReply().On(faultproxy.Insert("calls"))},
		{"http", "tools", faultproxy.NameCut, faultproxy.Cut(0).On(faultproxy.Insert("tools"))},
		{"clickhouse", "calls", faultproxy.NameDropInsert, faultproxy.DropInsertReply("calls")},
		{"clickhouse", "tools", faultproxy.NameDropInsert, faultproxy.DropInsertReply("tools")},
		{"clickhouse", "tools", faultproxy.NameCut, faultproxy.Cut(0).On(faultproxy.Insert("tools"))},
	} {
		t.Run(tt.scheme+" "+tt.table+" "+tt.name, func(t *testing.T) {
			w := routedWorld(t, 2)
			proxy := testenv.Proxy(t, map[string]string{"http": w.ch.HTTPAddr(), "clickhouse": w.ch.TCPAddr()}[tt.scheme])
			w.produceAs(2000, mixed)
			proxy.Set(tt.fault.Times(2))
			a := w.start(w.routed(threeRoutes, "", spec{scheme: tt.scheme, addr: proxy.Addr()}))
			w.quiet(2000)
			a.stop()
			if proxy.Applied(tt.name) < 1 { // twice if the records came in two batches
				t.Fatalf("faults %v", proxy.Stats())
			}
			w.verifyRouted("calls", "tools", "others")
			if got := w.rowsIn("calls", "tools", "others"); got != "980 480 500" {
				t.Errorf("rows %s", got)
			}
		})
	}
}

// Rows that one table refuses are dead letters, with the server's reason; rows of the other tables are none the worse for it.
func TestRoutes_RefusedByOneTable(t *testing.T) {
	w := routedWorld(t, 2)
	w.routeTable("tools", ", CONSTRAINT no_five CHECK id % 100 != 5")
	w.routeTable("calls", ", CONSTRAINT no_eight CHECK id != 8")
	w.produceAs(1000, mixed)
	a := w.start(w.routed(threeRoutes, "", spec{}))
	w.quiet(1000)
	a.stop()
	w.verifyRouted("calls", "tools", "others")
	if got := w.rowsIn("calls", "tools", "others"); got != "489 230 250" {
		t.Errorf("rows %s", got)
	}
	for reason, n := range map[string]string{"no_five": "10", "no_eight": "1"} {
		if got := w.query("SELECT count() FROM waybill.dead_letters WHERE pipeline = '" + w.name + "' AND code = 'server_469' AND message LIKE '%" + reason + "%'"); got != n {
			t.Errorf("%s dead letters for %s, want %s", got, reason, n)
		}
	}
}

func TestRoutes_Unrouted(t *testing.T) {
	two := strings.Join(strings.Split(threeRoutes, "\n")[:3], "\n")
	for policy, want := range map[string]string{"dead_letter": "292 108 0", "discard": "292 4 104"} {
		t.Run(policy, func(t *testing.T) {
			w := routedWorld(t, 1)
			w.produceAs(400, func(i int) string { return strings.ReplaceAll(mixed(i), `"kind":"call"`, `"kind":"tool"`) })
			a := w.start(w.routed(strings.ReplaceAll(two, "event.kind ==", "event.?kind.orValue('') =="), "unrouted: "+policy, spec{}))
			w.quiet(400)
			a.stop()
			w.verifyRouted("calls", "tools")
			// A hundred evals, and four of no kind.
			counts := w.query(w.ofLedger("concat(toString(sum(written)), ' ', toString(sum(dead_lettered)), ' ', toString(sum(filtered)))"))
			if counts != want {
				t.Errorf("written, dead-lettered, filtered %s, want %s", counts, want)
			}
			if got := w.query("SELECT count() FROM waybill.dead_letters WHERE pipeline = '" + w.name + "' AND code = 'no_route' AND stage = 'transform'"); got != map[string]string{"dead_letter": "104", "discard": "0"}[policy] {
				t.Errorf("%s dead letters without a route", got)
			}
		})
	}
}

// Which events go where is decided at one position of each partition: no event is in two tables, or in none, however often that changes.
func TestRoutes_ChangeAtOnePosition(t *testing.T) {
	w := routedWorld(t, 3)
	kinds := []string{"call", "tool", "eval"}
	for i := range 6 {
		w.produceAs(300, mixed)
		routes := strings.NewReplacer(`"call"`, "%0", `"tool"`, "%1").Replace(threeRoutes)
		routes = strings.NewReplacer("%0", fmt.Sprintf("%q", kinds[i%3]), "%1", fmt.Sprintf("%q", kinds[(i+1)%3])).Replace(routes)
		a := w.start(w.routed(routes, "", spec{}))
		if i%2 == 0 {
			a.cancel() // at any moment: what is left is for the next
		} else {
			w.quiet(int64(300 * (i + 1)))
		}
		a.stop()
	}
	w.verifyRouted("calls", "tools", "others")
	if got := w.query("SELECT uniqExact(plan) FROM (" + w.ofLedger("*") + ")"); got == "1" {
		t.Error("all was routed under one plan")
	}
	for _, id := range strings.Split(w.query("SELECT arrayStringConcat(groupUniqArray(toString(plan)), ',') FROM ("+w.ofLedger("*")+")"), ",") {
		if text := w.query("SELECT text FROM waybill.plans WHERE pipeline = '" + w.name + "' AND id = " + id + " LIMIT 1"); !strings.Contains(text, `"routes":[{"name":"calls","when":`) {
			t.Errorf("plan %s is %s", id, text)
		}
	}
}

// Each table evolves by its own contract.
func TestRoutes_Evolve(t *testing.T) {
	w := newWorld(t, 2)
	routes := `
  - {name: a, when: event.kind == "a", table: ra, contract: {new_fields: evolve, tables: evolve}}
  - {name: b, table: rb, contract: {new_fields: {default: rescue, x: discard}, tables: evolve}}`
	w.produceAs(400, func(i int) string {
		return fmt.Sprintf(`{"id":%d,"kind":%q,"x":%d,"y":"v%d"}`, i, []string{"a", "b"}[i%2], i, i)
	})
	a := w.start(w.routed(routes, "", spec{modes: "new_fields: discard"}))
	w.quiet(400)
	a.stop()
	w.verifyRouted("ra", "rb")
	if got := w.query("SELECT (count(), countIf(x = id), countIf(y = concat('v', toString(id))), countIf(kind = 'a'), countIf(_rescued != '')) FROM " + w.db + ".ra"); got != "(200,200,200,200,0)" {
		t.Errorf("table ra: %s", got)
	}
	if got := w.query("SELECT (count(), countIf(JSONExtractString(_rescued, 'fields', 'y', 'value') = concat('v', toString(id))), countIf(_rescued LIKE '%\"x\"%')) FROM " + w.db + ".rb"); got != "(200,200,0)" {
		t.Errorf("table rb: %s", got)
	}
	// What a rescue column names is on record, with its table.
	id := w.query("SELECT reinterpretAsUInt64(reverse(unhex(any(JSONExtractString(_rescued, 'plan'))))) FROM " + w.db + ".rb")
	if got := w.query("SELECT concat(table, ' ', toString(position(schema, '_rescued') > 0)) FROM waybill.plans WHERE pipeline = '" + w.name + "' AND id = " + id); got != "rb 1" {
		t.Errorf("the plan in the rescue column is of %s", got)
	}
	if got := w.query("SELECT arrayStringConcat(arraySort(groupUniqArray(concat(table, '.', column))), ' ') FROM waybill.schema_changes WHERE pipeline = '" + w.name + "' AND outcome = 'applied'"); got != "ra.kind ra.x ra.y" {
		t.Errorf("changes of %s", got)
	}
	drift := w.query("SELECT arrayStringConcat(arraySort(groupUniqArray(concat(target, ' ', path))), '|') FROM waybill.drift WHERE pipeline = '" + w.name + "' AND kind = 'new_field'")
	if want := w.db + ".rb kind|" + w.db + ".rb x|" + w.db + ".rb y"; !strings.Contains(drift, want) {
		t.Errorf("drift %s, want %s", drift, want)
	}
}

// A pending batch is carried out under the routes that it was gathered under, or not at all.
func TestRoutes_PendingBatchOfOtherTables(t *testing.T) {
	w := routedWorld(t, 1)
	proxy := testenv.Proxy(t, w.ch.TCPAddr())
	w.produceAs(100, mixed)
	proxy.Set(faultproxy.Cut(100).On(faultproxy.Insert("tools")))
	cfg := w.routed(threeRoutes, "", spec{addr: proxy.Addr()})
	a := w.start(cfg)
	testenv.Eventually(t, soon, "the insert into tools was lost", func() bool { return proxy.Applied(faultproxy.NameCut) > 0 })
	a.sockets.cutAll() // the intent is committed; nothing is any more
	a.cancel()
	<-a.done
	b := w.start(w.routed(strings.Replace(threeRoutes, "name: others", "name: rest", 1), "", spec{}))
	w.quiet(100)
	b.stop()
	w.verifyRouted("calls", "tools", "others")
	if got := w.rowsIn("calls", "tools", "others"); got != "49 24 25" {
		t.Errorf("rows %s", got)
	}
}

func TestRoutes_TablesThatAreGoneStop(t *testing.T) {
	w := routedWorld(t, 1)
	w.exec("DROP TABLE " + w.db + ".tools SYNC")
	a := w.start(w.routed(threeRoutes, "", spec{}))
	err := a.ended()
	if waybill.ClassOf(err) != waybill.ClassSchema || !strings.Contains(err.Error(), "tools") {
		t.Errorf("ended with %v", err)
	}
	if s := a.p.Status(); s.State != status.Stopped || s.Table != w.db+".calls, "+w.db+".tools, "+w.db+".others" {
		t.Errorf("%+v", s)
	}
}
