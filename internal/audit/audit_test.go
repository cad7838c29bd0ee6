package audit_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/waybill-data/waybill"
	"github.com/waybill-data/waybill/internal/audit"
	"github.com/waybill-data/waybill/internal/clickhouse"
	"github.com/waybill-data/waybill/internal/config"
	"github.com/waybill-data/waybill/internal/engine"
	"github.com/waybill-data/waybill/internal/kafka"
	"github.com/waybill-data/waybill/internal/ledger"
	"github.com/waybill-data/waybill/internal/telemetry"
	"github.com/waybill-data/waybill/internal/testenv"
	"github.com/waybill-data/waybill/internal/testenv/chserver"
)

func TestMain(m *testing.M) { testenv.Main(m) }

const topic = "calls"

// world is a pipeline that has run: a broker, a server, and what it has written.
type world struct {
	*testing.T
	ch     *chserver.Server
	kafka  *kfake.Cluster
	db     string
	cfg    *config.Pipeline
	client *clickhouse.Client
	deps   audit.Deps
	value  func(i int) string // the event of an offset
	sent   int                // events in each partition
}

// spec is what a world is made of, beyond what all have.
type spec struct {
	n        int    // events in each partition
	contract string // in YAML; empty: of the table calls, with id and kind
	more     string // more of the file, in YAML
	// value is the event of an offset; nil: every 25th is broken.
	value func(i int) string
	batch int // rows; 0: 100
	// before is SQL that is run before the pipeline; DB stands for the database.
	before []string
}

// newWorld makes a pipeline of two partitions and n events in each; more is more of the file, in YAML. Every tenth event is filtered, every 25th a dead letter.
func newWorld(t *testing.T, n int, more string) *world {
	if more == "" {
		more = "filter: event.id % 10 != 0"
	}
	return newWorldOf(t, spec{n: n, more: more})
}

func newWorldOf(t *testing.T, of spec) *world {
	t.Helper()
	return newWorldOn(t, testenv.SharedClickHouse(t), of)
}

func newWorldOn(t *testing.T, ch *chserver.Server, of spec) *world {
	t.Helper()
	k, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(2, topic))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(k.Close)
	w := &world{T: t, ch: ch, kafka: k, value: of.value}
	w.db = testenv.Database(t, w.ch)
	for _, sql := range of.before {
		w.exec(strings.ReplaceAll(sql, "DB", w.db))
	}
	if of.contract == "" {
		of.contract = "{new_fields: discard, tables: evolve, columns: {id: {type: UInt64, required: true}, kind: {type: String}}}"
	}
	if w.value == nil {
		w.value = func(i int) string {
			if i%25 == 24 {
				return `{"id":`
			}
			return fmt.Sprintf(`{"id":%d,"kind":%q}`, i, []string{"a", "b"}[i%2])
		}
	}
	w.configure(of.contract, of.more, cmp.Or(of.batch, 100))
	if w.client, err = clickhouse.Open(t.Context(), engine.Server(w.cfg.Sink.ClickHouse), clickhouse.Deps{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.client.Close)
	w.deps = audit.Deps{Client: w.client, Ledger: ledger.New(w.client, "")}
	reader, err := kafka.OpenReader(t.Context(), kafka.Config{Brokers: k.ListenAddrs(), Topic: topic, Isolation: kafka.ReadCommitted, ClientID: "test", Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(reader.Close)
	w.deps.Source = reader
	w.produce(of.n)
	w.run(int64(2 * of.n))
	return w
}

// configure makes the pipeline file.
func (w *world) configure(contract, more string, batch int) {
	w.Helper()
	text := fmt.Sprintf(`
name: %s
source: {kafka: {brokers: [%q], topic: %s}}
contract: %s
sink: {clickhouse: {url: "clickhouse://default@%s/%s"TABLE}}
batch: {rows: %d, age: 100ms}
%s
`, strings.ReplaceAll(w.db, "_", "-"), w.kafka.ListenAddrs()[0], topic, contract, w.ch.TCPAddr(), w.db, batch, more)
	table := ", table: calls"
	if strings.Contains(more, "routes:") {
		table = ""
	}
	var err error
	if w.cfg, err = config.Parse("test.yaml", []byte(strings.Replace(text, "TABLE", table, 1)), func(string) (string, bool) { return "0123456789abcdef0123456789abcdef", true }); err != nil {
		w.Fatal(err)
	}
}

func (w *world) produce(n int) {
	w.Helper()
	cl, err := kgo.NewClient(kgo.SeedBrokers(w.kafka.ListenAddrs()...), kgo.DefaultProduceTopic(topic), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err != nil {
		w.Fatal(err)
	}
	defer cl.Close()
	for i := range n {
		for p := range int32(2) {
			cl.Produce(w.Context(), &kgo.Record{Partition: p, Value: []byte(w.value(w.sent + i))}, nil)
		}
	}
	w.sent += n
	if err := cl.Flush(w.Context()); err != nil {
		w.Fatal(err)
	}
}

// removeRecords removes the records of a partition before an offset.
func (w *world) removeRecords(partition int32, before int64) {
	w.Helper()
	cl, err := kgo.NewClient(kgo.SeedBrokers(w.kafka.ListenAddrs()...))
	if err != nil {
		w.Fatal(err)
	}
	defer cl.Close()
	to := kadm.Offsets{}
	to.Add(kadm.Offset{Topic: topic, Partition: partition, At: before})
	if _, err := kadm.NewClient(cl).DeleteRecords(w.Context(), to); err != nil {
		w.Fatal(err)
	}
}

// run runs the pipeline until the ledger accounts for n offsets.
func (w *world) run(n int64) {
	w.Helper()
	p := engine.New(w.cfg, engine.Deps{Log: telemetry.NewLogger(io.Discard, false, slog.LevelError, false), Metrics: telemetry.NewMetrics("test"), Budget: engine.NewBudget(64<<20, nil)})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- p.Run(ctx) }()
	testenv.Eventually(w, time.Minute, "all is accounted for", func() bool {
		select {
		case err := <-done:
			w.Fatal("the pipeline has ended: ", err)
		default:
		}
		got, err := testenv.Query(w.ch.HTTPAddr(), "SELECT sum(next - first) FROM waybill.ledger WHERE pipeline = '"+w.cfg.Name+"'")
		return err == nil && strings.TrimSpace(got) == fmt.Sprint(n)
	})
	cancel()
	if err := <-done; err != nil {
		w.Fatal(err)
	}
}

func (w *world) exec(sql ...string) { w.Helper(); testenv.Exec(w, w.ch.HTTPAddr(), sql...) }

func (w *world) audit(o audit.Options) *audit.Report {
	w.Helper()
	r, err := audit.Run(w.Context(), w.deps, w.cfg, o)
	if err != nil {
		w.Fatal(err)
	}
	return r
}

// said is the violations in words: law, kind, partition, exactly which offsets.
func said(r *audit.Report) (out []string) {
	for _, v := range r.Violations {
		s := fmt.Sprintf("%s %s %d:", v.Law, strings.TrimSpace(v.Kind+" "+v.Column), v.Partition)
		for _, x := range v.Offsets {
			s += " " + x.String()
		}
		if !v.Exact {
			s += fmt.Sprintf(" (%d of them)", v.Count)
		}
		out = append(out, s)
	}
	return out
}

func (w *world) want(o audit.Options, verdict audit.Verdict, want ...string) *audit.Report {
	w.Helper()
	r := w.audit(o)
	if got := said(r); r.Verdict != verdict || !slices.Equal(got, want) {
		w.Errorf("%s, unknown %v:\n%s\nwant %s:\n%s", r.Verdict, r.Unknown, strings.Join(got, "\n"), verdict, strings.Join(want, "\n"))
	}
	return r
}

func TestRun_Clean(t *testing.T) {
	w := newWorld(t, 500, "")
	r := w.want(audit.Options{}, audit.Clean)
	var sum audit.Sums
	present := int64(0)
	for _, p := range r.Partitions {
		sum.Read, sum.Written, sum.Filtered, sum.DeadLettered = sum.Read+p.Read, sum.Written+p.Written, sum.Filtered+p.Filtered, sum.DeadLettered+p.DeadLettered
		present += p.Present
		if p.Lag != 0 || p.End != 500 {
			t.Errorf("%+v", p)
		}
	}
	// Each partition has 500 records: 50 filtered, 20 broken ones (none of them with an id).
	if sum != (audit.Sums{Read: 1000, Written: 860, Filtered: 100, DeadLettered: 40}) || present != 860 || r.Reread != 0 {
		t.Errorf("%+v, %d present, %d reread", sum, present, r.Reread)
	}
	if r := w.want(audit.Options{Within: map[int32]waybill.Span{0: {First: 490, Next: 510}, 7: {First: 1, Next: 2}}}, audit.Unclear); len(r.Unknown) != 2 || !strings.Contains(r.Unknown[0].Message, "offsets [500,510) of partition 0") {
		t.Errorf("%+v", r.Unknown)
	}
	w.deps.Source = nil
	w.want(audit.Options{}, audit.Unclear)
	w.deps.Unreached = errors.New("no route to host")
	if r := w.want(audit.Options{}, audit.Unclear); len(r.Unknown) != 1 || !strings.Contains(r.Unknown[0].Message, "could not be asked: no route to host") {
		t.Errorf("%+v", r.Unknown)
	}
	w.cfg.Epoch = 5
	if r := w.want(audit.Options{}, audit.Unclear); len(r.Partitions) != 0 || len(r.Unknown) != 2 {
		t.Errorf("%+v", r)
	}
}

// Whatever is done to the table behind Waybill's back is told by its very offsets, also in spans of which some records are no rows.
func TestRun_NamesTheOffsets(t *testing.T) {
	w := newWorld(t, 500, "")
	w.exec("DELETE FROM "+w.db+".calls WHERE _partition = 0 AND _offset IN (11, 12, 13, 301)", "INSERT INTO "+w.db+".calls SELECT * FROM "+w.db+".calls WHERE _partition = 1 AND _offset IN (7, 498) SETTINGS insert_deduplicate = 0",
		"INSERT INTO "+w.db+".calls (id, _topic, _partition, _offset) VALUES (10, 'calls', 1, 10), (24, 'calls', 1, 24)")
	w.want(audit.Options{}, audit.Violated,
		"L3 rows_missing 0: 11-13 301", "L3 rows_repeated 1: 7 498", "L3 rows_unexpected 1: 10 24")
	w.want(audit.Options{Within: map[int32]waybill.Span{0: {First: 301, Next: 302}}}, audit.Violated, "L3 rows_missing 0: 301")
	w.want(audit.Options{Within: map[int32]waybill.Span{0: {First: 450, Next: 500}}}, audit.Clean)
	// Without the records only the number is known, and what they are among.
	w.deps.Source = nil
	r := w.audit(audit.Options{Within: map[int32]waybill.Span{0: {First: 301, Next: 302}}})
	if r.Verdict != audit.Violated || len(r.Violations) != 1 || r.Violations[0].Exact || r.Violations[0].Count != 1 || !slices.ContainsFunc(r.Violations[0].Offsets, func(x audit.Range) bool { return x.First <= 301 && 301 < x.Next }) {
		t.Errorf("%+v", r.Violations)
	}
}

// Two changes that cancel out in a span's counts are seen when its records are read again.
func TestRun_RereadSeesWhatTheCountsDoNot(t *testing.T) {
	w := newWorld(t, 500, "")
	w.exec("DELETE FROM "+w.db+".calls WHERE _partition = 0 AND _offset = 11", "INSERT INTO "+w.db+".calls (id, _topic, _partition, _offset) VALUES (20, 'calls', 0, 20)")
	w.want(audit.Options{}, audit.Clean)
	r := w.want(audit.Options{Reread: true}, audit.Violated, "L3 rows_missing 0: 11", "L3 rows_unexpected 0: 20")
	if r.Reread != 1001 { // one of them twice, to see why its row is missing
		t.Errorf("%d records were read again", r.Reread)
	}
	// And records that are not those of then: here the account says so.
	w.exec("ALTER TABLE waybill.ledger UPDATE checksum = checksum + 1 WHERE pipeline = '" + w.cfg.Name + "' AND partition = 1 AND first = 0 SETTINGS mutations_sync = 2")
	if got := said(w.audit(audit.Options{Reread: true, Within: map[int32]waybill.Span{1: {First: 0, Next: 1}}})); len(got) != 1 || !strings.HasPrefix(got[0], "L5 records_changed 1: 0-") {
		t.Errorf("%q", got)
	}
	w.deps.Source = nil
	if r := w.audit(audit.Options{Reread: true}); r.Verdict != audit.Unclear || len(said(r)) != 0 {
		t.Errorf("without the records: %s %v", r.Verdict, said(r))
	}
}

func TestRun_Ledger(t *testing.T) {
	w := newWorld(t, 300, "")
	first := testenv.QueryValue(t, w.ch.HTTPAddr(), "SELECT concat(toString(first), '-', toString(next - 1)) FROM waybill.ledger WHERE pipeline = '"+w.cfg.Name+"' AND partition = 1 AND first > 0 ORDER BY first LIMIT 1")
	at := "pipeline = '" + w.cfg.Name + "' AND partition = 1 AND first = " + strings.Split(first, "-")[0]
	w.exec("DELETE FROM waybill.ledger WHERE " + at)
	w.want(audit.Options{}, audit.Violated, "L1 ledger_gap 1: "+first)
	w.exec("ALTER TABLE waybill.ledger UPDATE read = read + 1 WHERE pipeline = '" + w.cfg.Name + "' AND partition = 0 AND first = 0 SETTINGS mutations_sync = 2")
	if got := said(w.audit(audit.Options{Within: map[int32]waybill.Span{0: {First: 0, Next: 300}}})); len(got) != 1 || !strings.HasPrefix(got[0], "L2 ledger_unbalanced 0: 0-") {
		t.Errorf("%v", got)
	}
}

func TestRun_DeadLetters(t *testing.T) {
	w := newWorld(t, 100, "")
	w.exec("DELETE FROM waybill.dead_letters WHERE pipeline = '" + w.cfg.Name + "' AND partition = 0 AND offset = 49")
	got := said(w.audit(audit.Options{}))
	if len(got) != 1 || !strings.HasPrefix(got[0], "L3 dead_letters_missing 0:") || !strings.Contains(got[0], " 49-50 ") || !strings.HasSuffix(got[0], "(1 of them)") {
		t.Errorf("%q", got)
	}
}

func TestRun_SeveralTables(t *testing.T) {
	w := newWorld(t, 300, "routes:\n  - {name: a, when: event.kind == \"a\", table: ta}\n  - {name: b, table: tb}")
	w.want(audit.Options{}, audit.Clean)
	w.exec("INSERT INTO "+w.db+".tb SELECT * FROM "+w.db+".ta WHERE _partition = 0 AND _offset = 50", "DELETE FROM "+w.db+".ta WHERE _partition = 0 AND _offset = 50")
	got := said(w.audit(audit.Options{}))
	if len(got) != 1 || !strings.HasPrefix(got[0], "L2 rows_elsewhere 0:") {
		t.Errorf("a row in the wrong table: %q", got)
	}
	w.exec("INSERT INTO " + w.db + ".ta SELECT * FROM " + w.db + ".tb WHERE _partition = 0 AND _offset = 50")
	got = said(w.audit(audit.Options{}))
	if len(got) != 2 || !slices.Contains(got, "L3 rows_repeated 0: 50") {
		t.Errorf("a row in two tables: %q", got)
	}
	w.exec("DELETE FROM "+w.db+".tb WHERE _partition = 0 AND _offset = 50", "DELETE FROM "+w.db+".tb WHERE _partition = 1 AND _offset IN (1, 3)")
	w.want(audit.Options{}, audit.Violated, "L3 rows_missing 1: 1 3")
}

// A TTL takes what its time has come for, and that is right. What it has not taken is missed like anything else.
func TestRun_TTL(t *testing.T) {
	w := newWorld(t, 100, "")
	w.exec("ALTER TABLE "+w.db+".calls MODIFY TTL toDateTime(id) + INTERVAL 1 DAY DELETE WHERE id = 3, toDateTime(id) + toIntervalYear(90) TO DISK 'default' SETTINGS materialize_ttl_after_modify = 0",
		"DELETE FROM "+w.db+".calls WHERE id IN (3, 4)")
	r := w.want(audit.Options{}, audit.Violated, "L3 rows_missing 0: 4", "L3 rows_missing 1: 4")
	if len(r.ByRight) != 2 || !slices.Equal(r.ByRight[0].Offsets, []audit.Range{{First: 3, Next: 4}}) || !strings.Contains(r.ByRight[0].Why, "its TTL (toDateTime") {
		t.Errorf("%+v", r.ByRight)
	}
	// Without the records nobody can tell which of the two it was.
	w.deps.Source = nil
	if r := w.want(audit.Options{}, audit.Unclear); !strings.Contains(fmt.Sprint(r.Unknown), "it has a TTL") {
		t.Errorf("%+v", r.Unknown)
	}
	w.exec("ALTER TABLE " + w.db + ".calls REMOVE TTL")
	if got := said(w.audit(audit.Options{})); len(got) != 14 || !strings.HasSuffix(got[0], "(2 of them)") { // control: one for each span with filtered or broken events
		t.Logf("%q", got)
	}
}

// A TTL that has passed for rows and one that has not, in a table that a merge has taken the rows of.
func TestRun_TTLOnMerge(t *testing.T) {
	w := newWorld(t, 100, "")
	w.exec("ALTER TABLE "+w.db+".calls MODIFY TTL toDateTime(if(id < 20, '2020-01-01 00:00:00', '2100-01-01 00:00:00'))", "OPTIMIZE TABLE "+w.db+".calls FINAL")
	if got := testenv.QueryValue(t, w.ch.HTTPAddr(), "SELECT min(id) FROM "+w.db+".calls"); got != "21" {
		t.Fatalf("the TTL has not been applied: the first id is %s", got)
	}
	r := w.want(audit.Options{}, audit.Clean)
	n := int64(0)
	for _, x := range r.ByRight {
		n += x.Count
	}
	if n != 2*18 { // of ids 0 to 19, the filter takes two
		t.Errorf("%d by right: %+v", n, r.ByRight)
	}
}

// Rows of an engine that merges are known by the rows of their key, or not at all.
func TestRun_EnginesThatMerge(t *testing.T) {
	columns := "(id UInt64, kind String, _topic LowCardinality(String), _partition UInt32, _offset UInt64, _epoch UInt32)"
	for _, c := range []struct {
		name, engine string
		want         []string
		unknown      string
	}{
		{"replacing", "ReplacingMergeTree ORDER BY id % 50", []string{"L3 rows_missing 0: 7 57", "L3 rows_missing 1: 7 57"}, ""},
		{"summing", "SummingMergeTree ORDER BY id % 50", nil, "its engine, SummingMergeTree"},
		{"null", "Null", nil, "its engine, Null, keeps no rows"},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorldOf(t, spec{n: 100, before: []string{"CREATE TABLE DB.calls " + columns + " ENGINE = " + c.engine},
				contract: "{new_fields: discard, type_conflicts: freeze, columns: {id: {type: UInt64}, kind: {type: String}}}", more: "delivery: at-least-once",
				value: func(i int) string { return fmt.Sprintf(`{"id":%d,"kind":"a"}`, i) }})
			if c.name != "null" {
				w.exec("OPTIMIZE TABLE "+w.db+".calls FINAL", "ALTER TABLE "+w.db+".calls DELETE WHERE id % 50 = 7 SETTINGS mutations_sync = 2")
			}
			verdict := audit.Violated
			if c.want == nil {
				verdict = audit.Unclear
			}
			r := w.want(audit.Options{Content: true}, verdict, c.want...)
			if !strings.Contains(fmt.Sprint(r.Unknown), c.unknown) {
				t.Errorf("%+v", r.Unknown)
			}
		})
	}
}

func TestRun_Retention(t *testing.T) {
	w := newWorld(t, 200, "")
	w.produce(100)
	w.removeRecords(1, 250)
	r := w.want(audit.Options{}, audit.Violated, "L4 retention_loss 1: 200-249")
	for _, p := range r.Partitions {
		if p.Lag != 100 {
			t.Errorf("%+v", p)
		}
	}
}

// A dead letter that was replayed has a row by right, one that was not has none.
func TestRun_ReplayedDeadLetters(t *testing.T) {
	w := newWorld(t, 100, "")
	row := "INSERT INTO " + w.db + ".calls (id, kind, _topic, _partition, _offset, _epoch) VALUES (24, 'x', '" + topic + "', 0, 24, 0)"
	w.exec(row)
	w.want(audit.Options{}, audit.Violated, "L3 rows_unexpected 0: 24")
	step := func(name, offsets string) string {
		return "INSERT INTO waybill.replays (pipeline, sequence, step, kind, epoch, batch, topic, partitions, offsets) VALUES ('" + w.cfg.Name + "', 1, '" + name + "', 'replay', 0, 'sixteen bytes id', '" +
			topic + "', " + strings.NewReplacer("24", "0", "49", "0").Replace(offsets) + ", " + offsets + ")"
	}
	// A replay is under way: its rows may be there, or not yet.
	w.exec(step("begun", "[24, 49]"))
	w.want(audit.Options{}, audit.Clean)
	// It is over.
	w.exec("INSERT INTO waybill.dead_letter_outcomes (pipeline, epoch, topic, partition, offset, sequence, outcome) VALUES ('"+w.cfg.Name+"', 0, '"+topic+"', 0, 24, 1, 'replayed'), ('"+
		w.cfg.Name+"', 0, '"+topic+"', 0, 49, 1, 'failed')", step("finished", "[]"))
	r := w.want(audit.Options{}, audit.Clean)
	if r.Partitions[0].Replayed != 1 || r.Partitions[1].Replayed != 0 {
		t.Errorf("replayed: %+v", r.Partitions)
	}
	// The row of the one that failed is a violation, and so is that the other's is gone.
	w.exec(strings.NewReplacer("(24,", "(49,", " 24,", " 49,").Replace(row), "DELETE FROM "+w.db+".calls WHERE _partition = 0 AND _offset = 24")
	w.want(audit.Options{}, audit.Violated, "L3 rows_missing 0: 24", "L3 rows_unexpected 0: 49")
}

// With a time to live, dead letters that are gone may be gone by right; that is said, and is no violation.
func TestRun_DeadLettersThatExpire(t *testing.T) {
	w := newWorld(t, 100, "dead_letters: {ttl: 30d}\nfilter: event.id % 10 != 0")
	w.want(audit.Options{}, audit.Clean)
	w.exec("ALTER TABLE waybill.dead_letters DELETE WHERE pipeline = '" + w.cfg.Name + "' AND offset = 24 AND partition = 0 SETTINGS mutations_sync = 1")
	r := w.audit(audit.Options{})
	if len(r.Violations) > 0 || r.Verdict != audit.Unclear || len(r.Unknown) != 1 || !strings.Contains(r.Unknown[0].Message, "1 of 4 dead letters") {
		t.Errorf("%s: %v, %+v", r.Verdict, said(r), r.Unknown)
	}
}
