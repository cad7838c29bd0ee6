package e2e

import (
	"cmp"
	"context"
	"fmt"
	"iter"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/waybill-data/waybill/internal/clickhouse"
	"github.com/waybill-data/waybill/internal/contract"
	"github.com/waybill-data/waybill/internal/testenv"
	"github.com/waybill-data/waybill/internal/testenv/chserver"
	"github.com/waybill-data/waybill/internal/testenv/faultproxy"
	"github.com/waybill-data/waybill/internal/testenv/kafkaserver"
)

// Names of tables as the product quotes them in an INSERT: the bare words are in topics' names and in
// data, too.
const (
	tableEvents      = "`events`"
	tableDeadLetters = "`dead_letters`"
	tableLedger      = "`ledger`"
)

// patience bounds every wait; on a loaded machine a takeover after a crash takes a session timeout and
// then some.
const patience = 120 * time.Second

// setup is what a case wants; the zero value is four partitions on the shared servers.
type setup struct {
	partitions int32
	kafka      *kafkaserver.Server
	ch         *chserver.Server
	proxied    bool // a fault proxy in front of ClickHouse's native port

	// The table.
	partitionBy string
	check       string // a CHECK's expression
	window      int    // of the table, in block ids
	settings    string // further settings of the table
	view        bool   // a materialized view that sums by tenant
	routed      bool   // events with an even id go to a table of their own, events_even
	viewSQL     string // in place of the view's expression for the sum

	// The pipeline file.
	kafkaKeys string // further keys of source.kafka: "start: latest"
	url       string // in place of the server's, with %s for the address and the database
	deadline  string // insert_deadline
	delivery  string
	rows      int    // batch.rows
	age       string // batch.age
}

// world is one case: a topic, a table and a pipeline of its own, and what was produced.
type world struct {
	*testing.T
	setup
	kafka    *kafkaserver.Server
	ch       *chserver.Server
	proxy    *faultproxy.Proxy // nil unless proxied
	db       string
	pipeline string
	topic    string
	group    string
	epoch    uint32
	env      []string // of the workers
	file     string   // the pipeline file's text, in place of the usual one
	archives bool     // it keeps its records
	bucket   string   // the directory of those, if they are objects
	program  string   // what workers are started from, in place of the binary
	client   *kgo.Client
	adm      *kadm.Client

	mu       sync.Mutex
	workers  []*worker
	records  []record
	lost     map[place]bool     // offsets that were removed from Kafka before they were read
	ends     map[position]int64 // ends of partitions of topics that are gone
	allowed  map[string]bool    // kinds of finding
	observed []string
	nextID   uint64
}

// position is one partition of one topic under one epoch; place is an offset in it.
type (
	position struct {
		topic     string
		epoch     uint32
		partition int32
	}
	place struct {
		position
		offset int64
	}
)

var worlds atomic.Int64

// byRight are findings that cases bring which break servers.
var byRight = []string{"stalled_sink", "unverified_after_restart", "view_failing"}

// newWorld makes topic and table. The case runs beside others.
func newWorld(t *testing.T, s setup) *world {
	t.Helper()
	t.Parallel()
	w := &world{T: t, setup: s, kafka: s.kafka, ch: s.ch, lost: map[place]bool{}, ends: map[position]int64{}, allowed: map[string]bool{"new_field": true, "type_conflict": true}}
	// What an outage, a restart and a view that throws are called: most cases are about just that. TestDetect_EachFaultIsFound looks at them.
	w.allow(byRight...)
	if w.kafka == nil {
		w.kafka = testenv.SharedKafka(t)
	}
	if w.ch == nil {
		w.ch = testenv.SharedClickHouse(t)
	}
	w.partitions = cmp.Or(s.partitions, 4)
	track(t, w)
	w.db = fmt.Sprintf("e2e_%d", worlds.Add(1))
	w.pipeline = strings.ReplaceAll(w.db, "_", "-")
	w.topic = w.pipeline + ".events"
	w.group = "waybill-" + w.pipeline
	if s.proxied {
		w.proxy = testenv.Proxy(t, w.ch.TCPAddr())
	}
	w.exec("CREATE DATABASE " + w.db + " ENGINE = Atomic")
	t.Cleanup(func() {
		if w.ch.PID() != 0 {
			_, _ = testenv.Query(w.ch.HTTPAddr(), "DROP DATABASE IF EXISTS "+w.db+" SYNC")
		}
	})
	w.exec(w.tableDDL())
	if s.routed {
		w.exec(strings.Replace(w.tableDDL(), ".events (", ".events_even (", 1))
	}
	if s.view {
		w.exec(w.viewDDL()...)
	}
	w.connect()
	w.createTopic()
	t.Cleanup(w.endWorkers)
	return w
}

// endWorkers runs before the servers go.
func (w *world) endWorkers() {
	for _, p := range w.workers {
		p.end()
	}
	if w.Failed() {
		for _, p := range w.workers {
			p.show(w)
		}
	}
}

func (w *world) connect() {
	w.Helper()
	cl, err := kgo.NewClient(kgo.SeedBrokers(w.kafka.Addr()), kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerBatchMaxBytes(8<<20),
		kgo.MetadataMinAge(100*time.Millisecond), kgo.UnknownTopicRetries(-1))
	if err != nil {
		w.Fatal(err)
	}
	w.client, w.adm = cl, kadm.NewClient(cl)
	w.Cleanup(cl.Close)
	if v, err := w.adm.ApiVersions(w.Context()); err == nil {
		v.Each(func(b kadm.BrokerApiVersions) { noteEngine("Apache Kafka " + b.VersionGuess()) })
	}
	noteEngine("ClickHouse " + w.query("SELECT version()"))
}

func (w *world) createTopic() {
	w.Helper()
	size := "8388608"
	if _, err := w.adm.CreateTopic(w.Context(), w.partitions, 1, map[string]*string{"max.message.bytes": &size}, w.topic); err != nil {
		w.Fatalf("create topic %s: %v", w.topic, err)
	}
}

func (w *world) tableDDL() string {
	partitionBy, check := "", ""
	if w.partitionBy != "" {
		partitionBy = "PARTITION BY " + w.partitionBy
	}
	if w.check != "" {
		check = ", CONSTRAINT sound CHECK " + w.check
	}
	settings := ""
	if w.settings != "" {
		settings = ", " + w.settings
	}
	return fmt.Sprintf(`CREATE TABLE %s.events (id UInt64, tenant LowCardinality(String), n UInt32, at DateTime, body String,
		_topic LowCardinality(String), _partition Int32, _offset Int64, _epoch UInt32, _rescued String,
		%s %s)
		ENGINE = MergeTree %s ORDER BY id
		SETTINGS non_replicated_deduplication_window = %d, lightweight_mutation_projection_mode = 'rebuild'%s`,
		w.db, clickhouse.ProjectionDDL(contract.DefaultLineage()), check, partitionBy, cmp.Or(w.window, 10_000), settings)
}

func (w *world) viewDDL() []string {
	return []string{
		fmt.Sprintf(`CREATE TABLE %s.by_tenant (tenant LowCardinality(String), events UInt64, total UInt64) ENGINE = MergeTree ORDER BY tenant
			SETTINGS non_replicated_deduplication_window = 10000`, w.db),
		w.viewSelect("CREATE MATERIALIZED VIEW %s.by_tenant_mv TO %[1]s.by_tenant AS"),
	}
}

func (w *world) viewSelect(create string) string {
	return fmt.Sprintf(create+" SELECT tenant, count() AS events, sum(%s) AS total FROM %[1]s.events GROUP BY tenant", w.db, cmp.Or(w.viewSQL, "n"))
}

// writeFile writes the pipeline file and returns its path.
func (w *world) writeFile() string {
	w.Helper()
	text := w.file
	if text == "" {
		text = w.pipelineFile()
	}
	path := filepath.Join(w.TempDir(), "pipeline.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		w.Fatal(err)
	}
	return path
}

func (w *world) pipelineFile() string {
	addr := w.ch.TCPAddr()
	if w.proxy != nil {
		addr = w.proxy.Addr()
	}
	table, routes := ", table: events", ""
	if w.routed {
		table, routes = "", `routes:
  - {name: odd, when: event.?id.orValue(1) % 2 == 1, table: events}
  - {name: even, table: events_even}
`
	}
	return fmt.Sprintf(`name: %s
epoch: %d
source:
  kafka:
    brokers: [%q]
    topic: %s
    session_timeout: 6s
    %s
  format: json
contract:
  new_fields: discard
  type_conflicts: freeze
  columns:
    id: {type: UInt64, required: true}
    tenant: {type: LowCardinality(String)}
    n: {type: UInt32, from: usage.n}
    at: {type: DateTime, format: unix}
    body: {type: String}
sink:
  clickhouse: {url: %q%s, insert_deadline: %s}
%sdelivery: %s
batch: {rows: %d, bytes: 8MiB, age: %s}
`, w.pipeline, w.epoch, w.kafka.Addr(), w.topic, w.kafkaKeys, fmt.Sprintf(cmp.Or(w.url, "clickhouse://default@%s/%s"), addr, w.db), table,
		cmp.Or(w.deadline, "5s"), routes, cmp.Or(w.delivery, "exactly-once"), cmp.Or(w.rows, 400), cmp.Or(w.age, "200ms"))
}

func (w *world) exec(sql ...string) { w.Helper(); testenv.Exec(w, w.ch.HTTPAddr(), sql...) }

func (w *world) query(sql string) string {
	w.Helper()
	return testenv.QueryValue(w, w.ch.HTTPAddr(), sql)
}

func (w *world) rowsOf(sql string) [][]string {
	w.Helper()
	return testenv.QueryRows(w, w.ch.HTTPAddr(), sql)
}

// eventually waits for a condition, and fails the case if it does not come.
func (w *world) eventually(what string, cond func() bool) {
	w.Helper()
	ctx, cancel := context.WithTimeout(w.Context(), patience)
	defer cancel()
	tick := time.NewTicker(30 * time.Millisecond)
	defer tick.Stop()
	for !cond() {
		select {
		case <-ctx.Done():
			w.Fatalf("not within %s: %s", patience, what)
		case <-tick.C:
		}
	}
}

// count of rows in the table, -1 if the server does not say.
func (w *world) count() (n int) {
	body, err := testenv.Query(w.ch.HTTPAddr(), "SELECT count() FROM "+w.db+".events")
	if err != nil {
		return -1
	}
	_, _ = fmt.Sscan(body, &n)
	return n
}

func (w *world) awaitRows(atLeast int) {
	w.Helper()
	w.eventually(fmt.Sprintf("%d rows in the table", atLeast), func() bool { return w.count() >= atLeast })
}

// committed are the group's offsets, by the broker's own account.
func (w *world) committed() map[int32]kadm.Offset {
	w.Helper()
	all, err := w.adm.FetchOffsetsForTopics(w.Context(), w.group, w.topic)
	if err != nil {
		w.Logf("fetch offsets: %v", err)
		return nil
	}
	out := map[int32]kadm.Offset{}
	for p, o := range all[w.topic] {
		if o.Err == nil && o.At >= 0 {
			out[p] = o.Offset
		}
	}
	return out
}

// ended are the ends of the topic's partitions.
func (w *world) ended() map[int32]int64 {
	w.Helper()
	all, err := w.adm.ListEndOffsets(w.Context(), w.topic)
	if err != nil {
		w.Logf("list end offsets: %v", err)
		return nil
	}
	out := map[int32]int64{}
	for p, o := range all[w.topic] {
		if o.Err != nil {
			return nil
		}
		out[p] = o.Offset
	}
	return out
}

// lag says how far the group is behind, in words; empty if it is not.
func (w *world) lag() string {
	w.Helper()
	ends := w.ended()
	if len(ends) == 0 {
		return "the ends are not known"
	}
	at := w.committed()
	for p, end := range ends {
		if o, ok := at[p]; !ok || o.At != end {
			return fmt.Sprintf("partition %d stands at %d (%v) of %d", p, o.At, ok, end)
		}
	}
	return ""
}

// quiet waits until the group has settled everything, and the workers have nothing in flight.
func (w *world) quiet() {
	w.Helper()
	var why string
	defer func() {
		if why != "" {
			w.Logf("not quiet: %s", why)
		}
	}()
	w.eventually("the group has settled everything", func() bool {
		if why = w.lag(); why != "" {
			return false
		}
		for _, p := range w.workers {
			if !p.alive() {
				continue
			}
			s, ok := p.status()
			if !ok || len(s.Pipelines[0].InFlight) > 0 {
				why = p.name + " has batches in flight"
				return false
			}
		}
		return true
	})
}

// settle runs a fresh worker until everything is settled and stops it in good order.
func (w *world) settle() {
	w.Helper()
	p := w.start("")
	w.quiet()
	p.stop()
}

// emptyGroup waits until the broker counts no member any more.
func (w *world) emptyGroup() {
	w.Helper()
	w.eventually("the group is empty", func() bool {
		d, err := w.adm.DescribeGroups(w.Context(), w.group)
		return err == nil && d[w.group].Err == nil && len(d[w.group].Members) == 0
	})
}

func mapKeys[K cmp.Ordered, V any](m map[K]V) iter.Seq[K] { return maps.Keys(m) }
