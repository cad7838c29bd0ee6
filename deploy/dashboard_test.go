package deploy_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"math"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/waybill-data/waybill/internal/clickhouse"
	"github.com/waybill-data/waybill/internal/config"
	"github.com/waybill-data/waybill/internal/contract"
	"github.com/waybill-data/waybill/internal/engine"
	"github.com/waybill-data/waybill/internal/kafka"
	"github.com/waybill-data/waybill/internal/server"
	"github.com/waybill-data/waybill/internal/telemetry"
	"github.com/waybill-data/waybill/internal/testenv"
	"github.com/waybill-data/waybill/internal/testenv/chserver"
	"github.com/waybill-data/waybill/internal/testenv/promserver"
)

func TestMain(m *testing.M) { testenv.Main(m) }

const (
	pipeline = "calls"
	topic    = "llm.calls"
	records  = 1000 // each of ten kinds, see event
	// window is what panels take for $__rate_interval here: all of the test is within.
	window = 1800 * time.Second
	soon   = 90 * time.Second
)

// query is one target of a panel.
type query struct {
	name string // "panel title/ref"
	expr string
	sql  bool
}

// dashboard reads the queries of deploy/grafana/waybill.json, with its variables filled in as Grafana would.
func dashboard(t *testing.T) (out []query) {
	t.Helper()
	text, err := os.ReadFile("grafana/waybill.json")
	if err != nil {
		t.Fatal(err)
	}
	var d struct {
		Panels []struct {
			Title   string
			Type    string
			Targets []struct {
				RefID      string
				Expr       string
				RawSQL     string `json:"rawSql"`
				Datasource struct{ UID string }
			}
		}
		Templating struct{ List []struct{ Name string } }
	}
	if err := json.Unmarshal(text, &d); err != nil {
		t.Fatal(err)
	}
	variables := map[string]bool{}
	for _, v := range d.Templating.List {
		variables["${"+v.Name+"}"] = true
	}
	for _, p := range d.Panels {
		if (len(p.Targets) == 0) != (p.Type == "row") {
			t.Errorf("panel %q is a %s with %d queries", p.Title, p.Type, len(p.Targets))
		}
		for _, target := range p.Targets {
			if !variables[target.Datasource.UID] {
				t.Errorf("panel %q asks %q, which is no variable of the dashboard", p.Title, target.Datasource.UID)
			}
			out = append(out, query{p.Title + "/" + target.RefID, filled(target.Expr + target.RawSQL), target.RawSQL != ""})
		}
	}
	return out
}

// filled replaces what Grafana and its ClickHouse plugin replace.
func filled(q string) string {
	q = strings.NewReplacer("$__rate_interval", strconv.Itoa(int(window.Seconds()))+"s", "${pipeline:singlequote}", "'"+pipeline+"'", "$pipeline", pipeline).Replace(q)
	q = regexp.MustCompile(`\$__timeFilter\((\w+)\)`).ReplaceAllString(q, "$1 >= toDateTime(now() - 7200) AND $1 <= toDateTime(now() + 60)")
	return regexp.MustCompile(`\$__timeInterval\((\w+)\)`).ReplaceAllString(q, "toStartOfInterval(toDateTime($1), INTERVAL 3600 second)")
}

// event i: one of ten kinds.
func event(i int) string {
	switch i % 10 {
	case 0:
		return `{"id":` // a dead letter
	case 1:
		return fmt.Sprintf(`{"id":%d,"tokens":1,"skip":true}`, i) // filtered
	case 2:
		return fmt.Sprintf(`{"id":%d,"tokens":1,"fresh":1}`, i) // rescued: new_field
	case 3:
		return fmt.Sprintf(`{"id":%d,"tokens":"many"}`, i) // rescued: wrong_type; the column takes its default
	case 4:
		return fmt.Sprintf(`{"id":%d,"tokens":1,"noise":1}`, i) // discarded
	case 5:
		return fmt.Sprintf(`{"id":%d,"tokens":1,"price":0.25}`, i) // rounded
	case 6:
		return fmt.Sprintf(`{"id":%d,"tokens":1,"user":"Jane"}`, i) // redacted, and rescued
	case 7:
		return fmt.Sprintf(`{"id":%d,"tokens":1,"grows":1}`, i) // a column
	}
	return fmt.Sprintf(`{"id":%d,"tokens":1,"price":0.5}`, i)
}

// each is how many records there are of one kind.
const each = records / 10

const file = `
name: calls
source:
  kafka: {brokers: [%q], topic: llm.calls}
contract:
  new_fields: {default: rescue, noise: discard, grows: evolve}
  type_conflicts: rescue
  columns:
    id: {type: UInt64, required: true}
    tokens: {type: UInt32}
    price: {type: "Decimal(9, 1)"}
filter: 'event.?skip.orValue(false) == false'
redact:
  version: 1
  rules: [{path: user, do: mask}]
sink:
  clickhouse: {url: "clickhouse://default@%s/%s", table: calls}
batch: {rows: 200, age: 200ms}
`

// world is a real worker that Prometheus scrapes.
type world struct {
	*testing.T
	ch   *chserver.Server
	prom *promserver.Server
	// began is before anything was produced.
	began time.Time
}

// newWorld runs the pipeline over all records, under the eyes of Prometheus from before the first.
func newWorld(t *testing.T) *world {
	t.Helper()
	rules, err := os.ReadFile("prometheus/rules.yaml")
	if err != nil {
		t.Fatal(err)
	}
	ruleFile := t.TempDir() + "/rules.yaml"
	if err := os.WriteFile(ruleFile, []byte(strings.NewReplacer("interval: 15s", "interval: 1s", "[5m]", "[1800s]").Replace(string(rules))), 0o600); err != nil {
		t.Fatal(err)
	}
	w := &world{T: t, ch: testenv.SharedClickHouse(t), began: time.Now()}
	db := testenv.Database(t, w.ch)
	testenv.Exec(t, w.ch.HTTPAddr(), fmt.Sprintf(`CREATE TABLE %s.calls (id UInt64, tokens UInt32 DEFAULT 7, price Decimal(9, 1),
		_topic LowCardinality(String), _partition Int32, _offset Int64, _epoch UInt32, _rescued String, %s)
		ENGINE = MergeTree ORDER BY id SETTINGS non_replicated_deduplication_window = 10000, lightweight_mutation_projection_mode = 'rebuild'`,
		db, clickhouse.ProjectionDDL(contract.DefaultLineage())))
	k, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(2, topic))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(k.Close)
	cfg, err := config.Parse("calls.yaml", fmt.Appendf(nil, file, k.ListenAddrs()[0], w.ch.TCPAddr(), db), os.LookupEnv)
	if err != nil {
		t.Fatal(err)
	}
	w.run(cfg, ruleFile)
	w.eventually("both partitions are scraped, with nothing read", func() bool { return w.sum("count(waybill_records_read_total == 0)") == 2 })
	w.produce(k)
	w.eventually("all is read, as Prometheus has it", func() bool { return w.sum("sum(waybill_records_read_total)") == records })
	return w
}

// run starts what `waybill run` does, and Prometheus before the pipeline.
func (w *world) run(cfg *config.Pipeline, rules string) {
	w.Helper()
	log, metrics := slog.New(slog.NewTextHandler(w.Output(), &slog.HandlerOptions{Level: slog.LevelWarn})), telemetry.NewMetrics("test")
	metrics.SetBudget(64 << 20)
	e := engine.NewEngine("test", []*config.Pipeline{cfg}, engine.Deps{Log: log, Metrics: metrics, Budget: engine.NewBudget(64<<20, metrics.SetBudgetUsed),
		Kafka: func(k *kafka.Config) { k.HeartbeatInterval = 100 * time.Millisecond }})
	metrics.Registerer().MustRegister(server.States(e))
	srv := server.New(server.Options{Listen: "127.0.0.1:0", Source: e, Metrics: metrics.Handler(), Log: log})
	if err := srv.Start(); err != nil {
		w.Fatal(err)
	}
	w.prom = testenv.Prometheus(w, srv.Addr(), rules)
	w.eventually("Prometheus has scraped", func() bool { return w.sum(`up{job="waybill"}`) == 1 && w.sum("waybill_batches_settled_total") == 0 })
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- e.Run(ctx) }()
	w.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			w.Errorf("the pipeline: %v", err)
		}
		if err := srv.Stop(context.Background()); err != nil {
			w.Error(err)
		}
	})
}

func (w *world) produce(k *kfake.Cluster) {
	w.Helper()
	cl, err := kgo.NewClient(kgo.SeedBrokers(k.ListenAddrs()...), kgo.DefaultProduceTopic(topic), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err != nil {
		w.Fatal(err)
	}
	defer cl.Close()
	for i := range records {
		r := kgo.StringRecord(event(i))
		r.Partition = int32(i / 10 % 2) //nolint:gosec // 0 or 1
		cl.Produce(w.Context(), r, func(_ *kgo.Record, err error) {
			if err != nil {
				w.Errorf("produce: %v", err)
			}
		})
	}
	if err := cl.Flush(w.Context()); err != nil {
		w.Fatal(err)
	}
}

func (w *world) eventually(what string, cond func() bool) {
	w.Helper()
	testenv.Eventually(w, soon, what, cond)
}

// sum of the series that an expression gives; NaN without any.
func (w *world) sum(expr string) float64 {
	w.Helper()
	got, err := w.prom.Query(w.Context(), expr)
	if err != nil {
		w.Fatal(err)
	}
	if len(got) == 0 {
		return math.NaN()
	}
	total := 0.0
	for _, s := range got {
		total += s.Value
	}
	return total
}

// value is what a series has to be: between two bounds.
type value struct{ least, most float64 }

func exactly(v float64) value { return value{v, v} }

// rate of n within the window. Prometheus takes it for a little more, as it does not see the moment of the first and the last.
func rate(n float64) value { return value{n / window.Seconds(), 1.3 * n / window.Seconds()} }

// ratio of two such.
func ratio(v float64) value { return value{v / 1.3, v * 1.3} }

// series by their labels, "a=x b=y" in the order of the names. With some they are the only ones.
type series map[string]value

// wantMetrics is what each panel shows of the worker after all records.
func (w *world) wantMetrics(batches float64) map[string]series {
	now := float64(time.Now().Unix())
	began := float64(w.began.Unix())
	one := func(v value) series { return series{"pipeline=calls": v} }
	inserted := series{"outcome=landed store=dead_letters": value{1e-9, 1}, "outcome=landed store=ledger": value{1e-9, 1}, "outcome=landed store=target": rate(batches)}
	latency := series{"store=dead_letters": {1e-9, 60}, "store=ledger": {1e-9, 60}, "store=target": {1e-9, 60}}
	process := func(v value) series { return series{"*": v} }
	return map[string]series{
		"Workers/A":                               {"": exactly(1)},
		"Ready/A":                                 one(exactly(1)),
		"State/A":                                 {"pipeline=calls state=running": exactly(1)},
		"Open findings/A":                         {"": exactly(1)}, // type_conflict
		"Lag/A":                                   one(exactly(0)),
		"Complete through/A":                      one(value{1000 * (began - 60), 1000 * (now + 60)}),
		"What becomes of records/A":               one(rate(records)),
		"What becomes of records/B":               one(rate(records - 2*each)),
		"What becomes of records/C":               one(rate(each)),
		"What becomes of records/D":               one(rate(each)),
		"What becomes of records/E":               one(exactly(0)),
		"What becomes of records/F":               one(exactly(0)),
		"Written by partition/A":                  {"partition=0 topic=llm.calls": rate(records/2 - each), "partition=1 topic=llm.calls": rate(records/2 - each)},
		"Rows in a batch/A":                       one(ratio((records - 2*each) / batches)),
		"Lag by partition/A":                      {"partition=0 topic=llm.calls": exactly(0), "partition=1 topic=llm.calls": exactly(0)},
		"Behind/A":                                one(value{-60, now - began + 60}),
		"Age of the oldest batch/A":               one(exactly(0)),
		"Insert latency/A":                        latency,
		"Insert latency/B":                        latency,
		"Inserts by outcome/A":                    inserted,
		"Read-backs/A":                            {"store=dead_letters": {0, 1}, "store=ledger": {0, 1}, "store=target": {0, 1}},
		"Commits by outcome/A":                    {"outcome=ok": {1e-9, 10}, "outcome=refused": exactly(0), "outcome=fenced": exactly(0), "outcome=unknown": exactly(0)},
		"Stalled/A":                               one(exactly(0)),
		"Batches in flight/A":                     {"*": exactly(0)},
		"Rebalances and restarts of the server/A": one(value{1, 50}),
		"Rebalances and restarts of the server/B": one(exactly(0)),
		"Share of dead letters/A":                 one(ratio(0.1)),
		"Dead letters by code/A":                  {"code=truncated pipeline=calls": exactly(each)},
		"Rescued values by reason/A":              {"pipeline=calls reason=new_field": exactly(2 * each), "pipeline=calls reason=wrong_type": exactly(each)},
		"Values that are not as they came/A":      one(exactly(each)),
		"Values that are not as they came/B":      one(value{11 * each, 12 * each}), // price is missing in 5 kinds of 8, and the new column in 7, but for rows before it
		"Values that are not as they came/C":      one(exactly(each)),
		"Values that are not as they came/D":      one(exactly(each)),
		"Late records/A":                          one(exactly(0)),
		"Changes of the table/A":                  {"kind=add_column outcome=applied pipeline=calls": exactly(1)},
		"Findings that are open/A":                {"kind=type_conflict pipeline=calls severity=warning": exactly(1)},
		"Continuous audit/A":                      one(value{records, 4 * records}), // again, if a partition comes again
		"Continuous audit/B":                      one(exactly(0)),
		"Continuous audit/C":                      one(exactly(0)),
		"Audit is late/A":                         one(value{0, 60}),
		"Alerts/A":                                {},
		"Alerts/B":                                {},
		"Memory/A":                                process(value{1 << 20, 1 << 34}),
		"Budget for records/A":                    process(exactly(0)),
		"CPU/A":                                   process(value{1e-9, 64}),
		"Goroutines/A":                            process(value{10, 2000}),
		"File descriptors/A":                      process(value{3, 2000}),
		"Versions/A":                              {"version=test": exactly(1)},
	}
}

// Every panel asks for what there is, and is answered with what the generator makes it to be.
func TestDashboard_EveryPanelShowsWhatHappened(t *testing.T) {
	w := newWorld(t)
	queries := dashboard(t)
	batches, err := strconv.ParseFloat(testenv.QueryValue(t, w.ch.HTTPAddr(), "SELECT uniqExact(batch) FROM waybill.ledger WHERE pipeline = '"+pipeline+"'"), 64)
	if err != nil {
		t.Fatal(err)
	}
	w.complete(queries, w.wantMetrics(batches))
	// The audit and the lag come round in their own time, and a scrape may fail on a busy machine: a panel has to be right once.
	wrong, deadline := queries, time.Now().Add(soon)
	for len(wrong) > 0 && time.Now().Before(deadline) {
		want := w.wantMetrics(batches)
		wrong = slices.DeleteFunc(slices.Clone(wrong), func(q query) bool { return len(w.problems(q, want[q.name])) == 0 })
		time.Sleep(200 * time.Millisecond)
	}
	for _, q := range wrong {
		for _, p := range w.problems(q, w.wantMetrics(batches)[q.name]) {
			t.Error(p)
		}
	}
	w.renamedIsSeen(queries, batches)
	w.rulesAnswer()
}

// complete: the test expects something of each panel, and of no other.
func (w *world) complete(queries []query, metrics map[string]series) {
	w.Helper()
	expected := map[string]bool{}
	for name := range metrics {
		expected[name] = true
	}
	for name := range wantTables() {
		expected[name] = true
	}
	for _, q := range queries {
		if !expected[q.name] {
			w.Errorf("%s: the test does not say what to expect", q.name)
		}
		delete(expected, q.name)
	}
	for name := range expected {
		w.Errorf("%s: there is no such panel", name)
	}
}

// problems is what a panel does not show as it has to.
func (w *world) problems(q query, want series) []string {
	w.Helper()
	if q.sql {
		return w.tableProblems(q, wantTables()[q.name])
	}
	return w.metricProblems(q, want)
}

func (w *world) metricProblems(q query, want series) (out []string) {
	got, err := w.prom.Query(w.Context(), q.expr)
	if err != nil {
		return []string{q.name + ": " + err.Error()}
	}
	seen := map[string]bool{}
	for _, s := range got {
		labels := labelsOf(s)
		v, ok := want[labels]
		if any, all := want["*"]; all {
			v, ok, labels = any, true, "*"
		}
		seen[labels] = true
		if !ok || !(s.Value >= v.least && s.Value <= v.most) {
			out = append(out, fmt.Sprintf("%s: {%s} is %v, want %v (%s)", q.name, labels, s.Value, v, q.expr))
		}
	}
	for labels := range want {
		if !seen[labels] {
			out = append(out, fmt.Sprintf("%s: no {%s} (%s)", q.name, labels, q.expr))
		}
	}
	return out
}

// labelsOf a series, but for those that Prometheus adds.
func labelsOf(s promserver.Sample) string {
	var out []string
	for _, k := range slices.Sorted(maps.Keys(s.Labels)) {
		if k != "job" && k != "instance" && k != "__name__" {
			out = append(out, k+"="+s.Labels[k])
		}
	}
	return strings.Join(out, " ")
}

// wantTables are patterns for all the rows that panels of ClickHouse show, fields separated by bars.
func wantTables() map[string]string {
	const when = `\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(\.\d+)?`
	return map[string]string{
		"What became of records/A":         `calls|0|llm\.calls|1000|800|100|100|0|0|0`,
		"Rows and batches by the ledger/A": when + `|800|\d+`,
		"Records by their own minute/A":    `(` + when + `|\d+|\d+|\d+\n?){1,3}`,
		"Complete through, by topic/A":     `calls|llm\.calls|` + when + `|[01]|2|` + when,
		"Open findings in words/A":         `calls|type_conflict|warning|` + when + `|[^|]*|-?\d+|tokens for column tokens|[^|]+|[^|]*`,
		"Dead letters by reason/A":         `calls|decode|truncated||100|` + when + `|` + when + `|[^|]+`,
		"Changes of tables/A":              when + `|calls|calls|add_column|grows||[^|]+|applied|[^|]+`,
	}
}

func (w *world) tableProblems(q query, want string) []string {
	got, err := testenv.Query(w.ch.HTTPAddr(), q.expr)
	if err != nil {
		return []string{fmt.Sprintf("%s: %v (%s)", q.name, err, q.expr)}
	}
	got = strings.ReplaceAll(strings.TrimSuffix(got, "\n"), "\t", "|")
	if !regexp.MustCompile(`^(?:` + strings.ReplaceAll(want, "|", `\|`) + `)$`).MatchString(strings.ReplaceAll(got, "\\N", "NULL")) {
		return []string{fmt.Sprintf("%s: %q is not %q", q.name, got, want)}
	}
	return nil
}

// renamedIsSeen is the negative control: whichever metric of a query has another name, the panel is empty or wrong, and that is seen.
func (w *world) renamedIsSeen(queries []query, batches float64) {
	w.Helper()
	name := regexp.MustCompile(`\b(waybill|process|go)_[a-z_]+|\bup\b`)
	for _, q := range queries {
		want := w.wantMetrics(batches)[q.name]
		if q.sql || len(want) == 0 {
			continue
		}
		renamed := q
		renamed.expr = name.ReplaceAllString(q.expr, "${0}x")
		if renamed.expr == q.expr || len(w.metricProblems(renamed, want)) == 0 {
			w.Errorf("%s: nobody notices if its metric is renamed (%s)", q.name, renamed.expr)
		}
	}
}

// rulesAnswer: what Prometheus records by the rules is what it has to be, and the alerts of a healthy worker are those about its findings alone.
func (w *world) rulesAnswer() {
	w.Helper()
	for expr, want := range map[string]value{
		`pipeline:waybill_lag_records:sum`:                    exactly(0),
		`pipeline:waybill_records_read:rate5m`:                rate(records),
		`pipeline:waybill_records_written:rate5m`:             rate(records - 2*each),
		`pipeline:waybill_records_dead_lettered:ratio_rate5m`: ratio(0.1),
		`pipeline:waybill_insert_duration_seconds:p99_5m`:     {1e-9, 60},
		`count(ALERTS{alertname="WaybillFindingInfo"})`:       {1, 10},
		`count(ALERTS{alertname="WaybillFindingWarning"})`:    exactly(1), // pending
		`count(ALERTS{alertname=~"WaybillSinkStalled|WaybillNoWorker|WaybillRecordsLost|WaybillAuditViolated|WaybillFindingError"}) or vector(0)`: exactly(0),
	} {
		w.eventually(fmt.Sprintf("%s is within %v", expr, want), func() bool {
			got := w.sum(expr)
			return got >= want.least && got <= want.most
		})
	}
}
