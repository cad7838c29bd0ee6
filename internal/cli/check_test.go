package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/waybill-data/waybill/internal/clickhouse"
	"github.com/waybill-data/waybill/internal/testenv"
	"github.com/waybill-data/waybill/internal/testenv/chserver"
	"github.com/waybill-data/waybill/internal/testenv/kafkaserver"
	"github.com/waybill-data/waybill/internal/testenv/proc"
)

// checkWorld is a broker that knows rights, and a server with users of all sorts.
type checkWorld struct {
	srv        *chserver.Server
	addr       string // of the broker: no SASL, and nobody is super
	sasl, away string // listeners that want SASL, and that send clients to where nobody listens
	narrow     string // of a broker with small limits
	kgo        *kgo.Client
	adm        *kadm.Client
	names      atomic.Int64
}

// setUp is a pipeline with all that it rests on, which a case then breaks.
type setUp struct {
	*testing.T
	w                  *checkWorld
	topic, group, db   string
	brokers, kafka     string // of source.kafka: what else it says
	url, table, create string // create is without the table's name
	columns, more      string // of the contract, and of the file
	file               string // instead of all this
}

const (
	goodColumns = "(id UInt64, at DateTime64(3), model LowCardinality(String), _rescued String, _topic LowCardinality(String), _partition UInt32, _offset UInt64, _epoch UInt32%s)"
	projection  = ", PROJECTION waybill_offsets (SELECT _topic, _partition, _epoch, intDiv(_offset, 65536), count(), groupBitmapState(_offset) GROUP BY _topic, _partition, _epoch, intDiv(_offset, 65536))"
	goodTail    = " ENGINE = MergeTree ORDER BY id"
	goodSetting = " SETTINGS non_replicated_deduplication_window = 10000, lightweight_mutation_projection_mode = 'rebuild'"
)

func table2(columns, tail string) string { return fmt.Sprintf(goodColumns, columns) + tail }

func newCheckWorld(t *testing.T) *checkWorld {
	t.Helper()
	w := &checkWorld{}
	w.srv = testenv.ClickHouse(t, func(o *chserver.Options) {
		o.SystemLogs = true
		all := func(of string) []string {
			return []string{"GRANT SELECT, SHOW ON *.*", "GRANT ALL ON waybill.*", of}
		}
		o.Users = []chserver.User{
			{Name: "locked", Password: "right"},
			{Name: "strict", ReadOnly: []string{"async_insert", "use_query_condition_cache"}},
			{Name: "reader", Settings: map[string]string{"readonly": "1"}},
			{Name: "onlooker", Grants: all("GRANT SELECT ON *.*")},
			{Name: "guest", Grants: []string{"GRANT SELECT, SHOW, INSERT ON *.*"}},
		}
	})
	var port, controller, sasl, away int
	if err := proc.FreePorts(&port, &controller, &sasl, &away); err != nil {
		t.Fatal(err)
	}
	w.addr, w.sasl, w.away = proc.Loopback(port), proc.Loopback(sasl), proc.Loopback(away)
	testenv.Kafka(t, func(o *kafkaserver.Options) {
		o.Port, o.ControllerPort = port, controller
		o.Properties = map[string]string{
			"listeners":                                                  fmt.Sprintf("PLAINTEXT://%s,CONTROLLER://%s,NAMED://%s,AWAY://%s", w.addr, proc.Loopback(controller), w.sasl, w.away),
			"advertised.listeners":                                       fmt.Sprintf("PLAINTEXT://%s,CONTROLLER://%s,NAMED://%s,AWAY://127.0.0.1:1", w.addr, proc.Loopback(controller), w.sasl),
			"listener.security.protocol.map":                             "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,NAMED:SASL_PLAINTEXT,AWAY:PLAINTEXT",
			"listener.name.named.sasl.enabled.mechanisms":                "PLAIN",
			"listener.name.named.plain.sasl.jaas.config":                 `org.apache.kafka.common.security.plain.PlainLoginModule required user_ann="secret";`,
			"authorizer.class.name":                                      "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
			"allow.everyone.if.no.acl.found":                             "true",
			"offsets.retention.check.interval.ms":                        "600000",
			"log.message.timestamp.after.max.ms":                         "9223372036854775807",
			"log.cleaner.enable":                                         "false",
			"group.coordinator.rebalance.protocols":                      "classic,consumer",
			"log.retention.check.interval.ms":                            "600000",
			"log.segment.delete.delay.ms":                                "60000",
			"controller.quorum.append.linger.ms":                         "0",
			"delete.topic.enable":                                        "true",
			"connections.max.idle.ms":                                    "600000",
			"transaction.remove.expired.transaction.cleanup.interval.ms": "3600000",
		}
	})
	w.narrow = testenv.Kafka(t, func(o *kafkaserver.Options) {
		o.Properties = map[string]string{"offset.metadata.max.bytes": "100", "group.max.session.timeout.ms": "40000"}
	}).Addr()
	w.kgo = w.client(t)
	w.adm = kadm.NewClient(w.kgo)
	testenv.Exec(t, w.srv.HTTPAddr(), "CREATE DATABASE waybill ENGINE = Atomic")
	return w
}

func (w *checkWorld) client(t *testing.T, opts ...kgo.Opt) *kgo.Client {
	t.Helper()
	cl, err := kgo.NewClient(append(opts, kgo.SeedBrokers(w.addr))...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cl.Close)
	return cl
}

// good is a set-up in which all is well.
func (w *checkWorld) good(t *testing.T) *setUp {
	n := w.names.Add(1)
	return &setUp{T: t, w: w, topic: fmt.Sprintf("calls-%d", n), group: fmt.Sprintf("group-%d", n), db: fmt.Sprintf("db_%d", n), brokers: w.addr,
		url: w.srv.TCPAddr(), table: "calls", create: table2(projection, goodTail+goodSetting),
		columns: "    id: {type: UInt64, required: true}\n    at: {type: DateTime64(3), required: true}\n    model: {type: LowCardinality(String)}\n"}
}

func (s *setUp) exec(sql ...string) {
	s.Helper()
	testenv.Exec(s, s.w.srv.HTTPAddr(), sql...)
}

func (s *setUp) must(err error) {
	s.Helper()
	if err != nil {
		s.Fatal(err)
	}
}

// build makes topic, database and table, as far as they are named, and the file.
func (s *setUp) build() {
	s.Helper()
	if s.topic != "" {
		_, err := s.w.adm.CreateTopic(s.Context(), 2, 1, nil, s.topic)
		s.must(err)
	}
	s.exec("CREATE DATABASE " + s.db + " ENGINE = Atomic")
	if s.create != "" {
		s.exec("CREATE TABLE " + s.db + ".calls " + s.create)
	}
}

// write is the pipeline file.
func (s *setUp) write() string {
	s.Helper()
	text := s.file
	if text == "" {
		text = s.text()
	}
	path := filepath.Join(s.TempDir(), "p.yaml")
	s.must(os.WriteFile(path, []byte(text), 0o600))
	return path
}

func (s *setUp) text() string {
	return fmt.Sprintf("name: p-%s\nsource: {kafka: {brokers: [%q], topic: %s, group: %s%s}}\ncontract:\n  columns:\n%ssink: {clickhouse: {url: \"clickhouse://%s/%s\", table: %s}}\n%s",
		strings.ReplaceAll(s.db, "_", "-"), s.brokers, s.topic, s.group, s.kafka, s.columns, s.url, s.db, s.table, s.more)
}

func (s *setUp) alter(config map[string]string) {
	s.Helper()
	var to []kadm.AlterConfig
	for k, v := range config {
		to = append(to, kadm.AlterConfig{Op: kadm.SetConfig, Name: k, Value: &v})
	}
	answer, err := s.w.adm.AlterTopicConfigs(s.Context(), to, s.topic)
	s.must(err)
	for _, a := range answer {
		s.must(a.Err)
	}
}

func (s *setUp) produce(at time.Time) {
	s.Helper()
	s.must(s.w.kgo.ProduceSync(s.Context(), &kgo.Record{Topic: s.topic, Value: []byte("{}"), Timestamp: at}).FirstErr())
}

func (s *setUp) commit(at int64) {
	s.Helper()
	offsets := kadm.Offsets{}
	offsets.AddOffset(s.topic, 0, at, -1)
	s.must(s.w.adm.CommitAllOffsets(s.Context(), s.group, offsets))
}

// allow lets somebody else do something, and with that nobody who is not named.
func (s *setUp) allow(who string, b *kadm.ACLBuilder) {
	s.Helper()
	answer, err := s.w.adm.CreateACLs(s.Context(), b.Allow("User:"+who).AllowHosts("*").ResourcePatternType(kadm.ACLPatternLiteral))
	s.must(err)
	for _, a := range answer {
		s.must(a.Err)
	}
}

// runCheck runs the command.
func runCheck(t *testing.T, args ...string) (code int, out string) {
	t.Helper()
	var o, e bytes.Buffer
	code = Main(context.Background(), append([]string{"check"}, args...), Streams{In: strings.NewReader(""), Out: &o, Err: &e})
	if e.Len() > 0 {
		t.Errorf("on standard error: %s", e.String())
	}
	return code, o.String()
}

// settle is for how long a topic, a right or a setting may be on its way.
const settle = 20 * time.Second

func namesIt(out, want string) bool {
	first, _, _ := strings.Cut(out, "\n")
	return strings.Contains(first, want)
}

// TestCheck_NamesTheFaultInItsFirstLine breaks one thing of a good set-up after the other, on real engines.
func TestCheck_NamesTheFaultInItsFirstLine(t *testing.T) {
	w := newCheckWorld(t)
	for name, c := range map[string]struct {
		brk  func(*setUp) // calls build once the parts are as they should be
		want string       // in the first line
		code int
	}{
		"all is well": {func(s *setUp) { s.build() }, ": all is well", ExitOK},

		"a port without a broker":  {func(s *setUp) { s.build(); s.brokers = "127.0.0.1:1" }, "error: broker 127.0.0.1:1: nobody listens there", 1},
		"a name without a host":    {func(s *setUp) { s.build(); s.brokers = "nobody.invalid:9092" }, "error: broker nobody.invalid:9092: the name does not resolve", 1},
		"a port of something else": {func(s *setUp) { s.build(); s.brokers = w.srv.HTTPAddr() }, "whoever answers there is no Kafka broker", 1},
		"a port with TLS":          {func(s *setUp) { s.build(); s.brokers = tlsPort(s.T) }, "it speaks TLS, and the file speaks to it without", 1},
		"a listener with SASL":     {func(s *setUp) { s.build(); s.brokers = w.sasl }, "it wants to know who is calling (SASL), and the file names no user; it offers PLAIN", 1},
		"advertised to nowhere":    {func(s *setUp) { s.build(); s.brokers = w.away }, "error: the cluster sends clients to 127.0.0.1:1, and there nobody listens there", 1},
		"a topic mistyped":         {func(s *setUp) { s.build(); s.topic += "s" }, "s\" does not exist; there is \"calls-", 1},
		"a topic without DESCRIBE": {func(s *setUp) { s.build(); s.allow("ann", kadm.NewACLs().Topics(s.topic).Operations(kadm.OpRead)) }, "error: the user may not see topic", 1},
		"a topic without READ": {func(s *setUp) {
			s.build()
			s.allow("ANONYMOUS", kadm.NewACLs().Topics(s.topic).Operations(kadm.OpDescribe))
		}, "error: the user may see topic", 1},
		"a group without READ":      {func(s *setUp) { s.build(); s.allow("ann", kadm.NewACLs().Groups(s.group).Operations(kadm.OpRead)) }, "error: the user may not use group", 1},
		"a group of somebody else":  {func(s *setUp) { s.build(); s.join() }, "is in use by others: stranger at 127.0.0.1", 1},
		"records gone unread":       {recordsGone, "/0 begins at offset 3, and the group is at 1: 2 offsets are gone unread", 1},
		"a position past the end":   {func(s *setUp) { s.build(); s.commit(10) }, "/0 ends at offset 0, and the group is at 10", 1},
		"records about to go":       {recordsGoing, "warning: topic \"calls-", 0},
		"a compacted topic":         {func(s *setUp) { s.build(); s.alter(map[string]string{"cleanup.policy": "compact"}) }, "is compacted: of each key it keeps the latest record", 0},
		"records too large to read": {func(s *setUp) { s.build(); s.alter(map[string]string{"max.message.bytes": "200000000"}) }, "error: topic \"calls-", 1},
		"records beyond batch.bytes": {func(s *setUp) {
			s.build()
			s.alter(map[string]string{"max.message.bytes": "2000000"})
			s.more = "batch: {bytes: 1MiB}\n"
		}, "more than batch.bytes (1048576)", 0},
		"a record of tomorrow":  {func(s *setUp) { s.build(); s.produce(time.Now().Add(24*time.Hour - time.Minute)) }, "bears a time 23h", 0},
		"small offset metadata": {func(s *setUp) { s.build(); s.toNarrow() }, "error: offset.metadata.max.bytes of the brokers is 100, and 4 batches in flight take up to", 1},
		"a long session timeout": {func(s *setUp) {
			s.build()
			s.toNarrow()
			s.kafka = ", session_timeout: 5m"
			s.more = "delivery: at-least-once\n"
		}, "error: session_timeout is 5m0s, and the brokers take 1s to 40s", 1},
		"no topic for dead letters": {func(s *setUp) { s.build(); s.more = "dead_letters: {mirror: {topic: nowhere}}\n" }, "error: topic \"nowhere\", which dead letters go to, does not exist", 1},

		"a port without a server":     {func(s *setUp) { s.build(); s.url = "127.0.0.1:1" }, "error: no ClickHouse server listens at 127.0.0.1:1", 1},
		"a server without a host":     {func(s *setUp) { s.build(); s.url = "nobody.invalid" }, "error: the name nobody.invalid of the ClickHouse server does not resolve", 1},
		"a wrong password":            {func(s *setUp) { s.build(); s.url = "locked:wrong@" + s.url }, "does not take user locked with this password", 1},
		"the port of HTTP":            {func(s *setUp) { s.build(); s.url = w.srv.HTTPAddr() }, "error: the ClickHouse server at " + w.srv.HTTPAddr() + " cannot be asked: ", 1},
		"a database that is missing":  {func(s *setUp) { s.build(); s.exec("DROP DATABASE " + s.db + " SYNC") }, "error: database db_", 1},
		"settings that are forbidden": {func(s *setUp) { s.build(); s.url = "strict@" + s.url }, "error: the profile of user strict forbids to change use_query_condition_cache, async_insert", 1},
		"a profile that is read-only": {func(s *setUp) { s.build(); s.url = "reader@" + s.url }, "error: the profile of user reader is read-only", 1},
		"no right to insert":          {func(s *setUp) { s.build(); s.url = "onlooker@" + s.url }, "error: user onlooker lacks INSERT ON db_", 1},
		"no right to waybill":         {func(s *setUp) { s.build(); s.url = "guest@" + s.url }, "error: user guest lacks CREATE DATABASE ON waybill.*", 1},

		"a table mistyped":        {func(s *setUp) { s.build(); s.table = "call" }, ".call does not exist, or user default may not see it; there is db_", 1},
		"an engine that replaces": {func(s *setUp) { s.create = table2("", " ENGINE = ReplacingMergeTree ORDER BY id"); s.build() }, ".calls is a ReplacingMergeTree: no exactly-once", 1},
		"an engine that keeps no row": {func(s *setUp) {
			s.create = table2("", " ENGINE = Null")
			s.more = "delivery: at-least-once\n"
			s.build()
		}, "warning: db_", 0},
		"no deduplication window": {func(s *setUp) {
			s.create = table2(projection, goodTail+" SETTINGS lightweight_mutation_projection_mode = 'rebuild'")
			s.build()
		}, ".calls keeps no deduplication log (non_replicated_deduplication_window = 0)", 1},
		"a tiny window": {func(s *setUp) {
			s.build()
			s.exec("ALTER TABLE " + s.db + ".calls MODIFY SETTING non_replicated_deduplication_window = 100")
		}, "non_replicated_deduplication_window = 100 of db_", 1},
		"a table that a backfill has closed": {func(s *setUp) {
			s.build()
			s.exec("ALTER TABLE " + s.db + ".calls ADD " + clickhouse.ClosedConstraint("_epoch", 4))
		}, ".calls takes no rows: a backfill is putting it and what its views fill in place", 1},
		"no lineage": {func(s *setUp) {
			s.create = "(id UInt64, at DateTime64(3), model String, _rescued String)" + goodTail + goodSetting
			s.build()
		}, ".calls lacks the lineage columns _topic, _partition, _offset", 1},
		"a column that is missing": {func(s *setUp) { s.build(); s.columns += "    cost: {type: Float64}\n" }, ".calls has no column cost", 1},
		"a column of another type": {func(s *setUp) { s.build(); s.columns = strings.Replace(s.columns, "DateTime64(3)", "Date", 1) }, "the contract says Date, the table has DateTime64(3)", 1},
		"a view without a window":  {func(s *setUp) { s.build(); s.view() }, ": a retried block would be counted twice in it: db_", 1},
		"a view into nowhere":      {func(s *setUp) { s.build(); s.view(); s.exec("DROP TABLE " + s.db + ".totals SYNC") }, ".totals, which does not exist, or the user may not see it", 1},
		"partitions by the moment": {func(s *setUp) {
			s.create = table2(projection, " ENGINE = MergeTree PARTITION BY at ORDER BY id"+goodSetting)
			s.build()
		}, ".calls is partitioned by at: a block may fall into thousands of table partitions", 0},
		"a DELETE that throws": {func(s *setUp) {
			s.build()
			s.exec("ALTER TABLE " + s.db + ".calls RESET SETTING lightweight_mutation_projection_mode")
		}, ".calls does not work: it has a projection, and lightweight_mutation_projection_mode is throw", 0},
		"no projection": {func(s *setUp) { s.create = table2("", goodTail+goodSetting); s.build() }, ".calls has no projection waybill_offsets", 0},
		"an archive's storage that is not there": {func(s *setUp) {
			s.build()
			s.more = archiveAt("http://127.0.0.1:1")
		}, "no storage listens at http://127.0.0.1:1", 1},
		"an archive's storage that refuses the key": {func(s *setUp) {
			s.build()
			s.more = archiveAt(refusing(s.T))
		}, "/kept cannot be used: ", 1},
		"a file with a mistake": {func(s *setUp) { s.file = strings.Replace(s.text(), "source:", "sauce:", 1) }, "p.yaml: error: ", 2},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := w.good(t)
			c.brk(s)
			file := s.write()
			code, out := runCheck(t, file)
			// A broker takes a moment to know what its controller has been told.
			for end := time.Now().Add(settle); !namesIt(out, c.want) && time.Now().Before(end); code, out = runCheck(t, file) {
				time.Sleep(settle / 100)
			}
			if !namesIt(out, c.want) || code != c.code {
				t.Errorf("exit code %d, want %d; the first line lacks %q:\n%s", code, c.code, c.want, out)
			}
		})
	}
}

// join has somebody in the group.
func (s *setUp) join() {
	cl := s.w.client(s.T, kgo.ConsumerGroup(s.group), kgo.ConsumeTopics(s.topic), kgo.ClientID("stranger"))
	testenv.Eventually(s, time.Minute, "the stranger is in the group", func() bool {
		ctx, cancel := context.WithTimeout(s.Context(), 100*time.Millisecond)
		defer cancel()
		cl.PollFetches(ctx)
		_, generation := cl.GroupMetadata()
		return generation >= 0
	})
}

func recordsGone(s *setUp) {
	s.build()
	tp := &kgo.Record{Topic: s.topic, Value: []byte("{}")}
	manual := s.w.client(s.T, kgo.RecordPartitioner(kgo.ManualPartitioner()))
	for range 3 {
		s.must(manual.ProduceSync(s.Context(), tp).FirstErr())
	}
	s.commit(1)
	offsets := kadm.Offsets{}
	offsets.AddOffset(s.topic, 0, 3, -1)
	_, err := s.w.adm.DeleteRecords(s.Context(), offsets)
	s.must(err)
}

func recordsGoing(s *setUp) {
	s.build()
	s.alter(map[string]string{"retention.ms": "3600000"})
	s.produce(time.Now())
}

// toNarrow goes to the broker with small limits.
func (s *setUp) toNarrow() {
	s.brokers = s.w.narrow
	cl, err := kgo.NewClient(kgo.SeedBrokers(s.w.narrow))
	s.must(err)
	defer cl.Close()
	_, err = kadm.NewClient(cl).CreateTopic(s.Context(), 1, 1, nil, s.topic)
	s.must(err)
}

func (s *setUp) view() {
	s.exec("CREATE TABLE "+s.db+".totals (model String, n UInt64) ENGINE = SummingMergeTree ORDER BY model",
		"CREATE MATERIALIZED VIEW "+s.db+".sums TO "+s.db+".totals AS SELECT model, count() AS n FROM "+s.db+".calls GROUP BY model")
}

// tlsPort is a listener that speaks TLS only.
func tlsPort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go serveTLS(l)
	return l.Addr().String()
}

// An old server is refused with one sentence, over both protocols.
func TestCheck_AnOldServerIsRefused(t *testing.T) {
	srv := testenv.OldClickHouse(t)
	for url, version := range map[string]string{"clickhouse://" + srv.TCPAddr(): "18.16", "http://" + srv.HTTPAddr(): "of before 2022, by the form of its errors,"} {
		file := filepath.Join(t.TempDir(), "p.yaml")
		text := fmt.Sprintf("name: p\nsource: {kafka: {brokers: [\"127.0.0.1:1\"], topic: t}}\ncontract: {columns: {id: {type: UInt64}}}\nsink: {clickhouse: {url: %q, table: t}}\n", url+"/default")
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		_, out := runCheck(t, file)
		if want := "ClickHouse " + version + " is too old: Waybill needs 25.8 or newer "; !strings.Contains(strings.Join(strings.Fields(out), " "), want) {
			t.Errorf("%s: lacks %q:\n%s", url, want, out)
		}
	}
}

// What --fix runs makes a bare table one that all is well with, and there is nothing left to do then.
func TestCheck_Fix(t *testing.T) {
	w := newFixWorld(t)
	s := w.good(t)
	s.create = "(id UInt64, at DateTime64(3), model LowCardinality(String), _rescued String)" + goodTail
	s.build()
	s.exec("INSERT INTO " + s.db + ".calls VALUES (1, now(), 'm', '')")
	file := s.write()
	if code, out := runCheck(t, file); code != 1 {
		t.Fatalf("exit code %d:\n%s", code, out)
	}
	code, out := runCheck(t, file, "--fix")
	if code != 0 || strings.Contains(out, "failed") {
		t.Fatalf("exit code %d:\n%s", code, out)
	}
	for _, want := range []string{"fix: ALTER TABLE `" + s.db + "`.`calls` ADD COLUMN IF NOT EXISTS `_offset` UInt64\n", "ADD PROJECTION IF NOT EXISTS waybill_offsets",
		"MODIFY SETTING non_replicated_deduplication_window = 10000\n", ": all is well\n"} {
		if !strings.Contains(out, want) {
			t.Errorf("lacks %q:\n%s", want, out)
		}
	}
	code, out = runCheck(t, file, "--fix", "-o", "json")
	var r checkReport
	if err := json.Unmarshal([]byte(out), &r); err != nil || code != 0 || !r.OK || len(r.Fixed) != 0 {
		t.Errorf("the second time: %v, %+v", err, r.Fixed)
	}
	testenv.Eventually(t, time.Minute, "the projection is made for rows that were there", func() bool {
		return testenv.QueryRows(t, w.srv.HTTPAddr(), "SELECT count() FROM system.mutations WHERE database = '"+s.db+"' AND NOT is_done")[0][0] == "0"
	})
	s.exec("DELETE FROM " + s.db + ".calls WHERE id = 1") // the user's own DELETE works
}

// --create makes database and table, and without it they are only shown.
func TestCheck_Create(t *testing.T) {
	w := newFixWorld(t)
	s := w.good(t)
	s.create = ""
	s.build()
	s.exec("DROP DATABASE " + s.db + " SYNC")
	file := s.write()
	if code, out := runCheck(t, file, "--fix"); code != 1 || !strings.Contains(out, "sql (--fix --create runs it): CREATE DATABASE") {
		t.Fatalf("exit code %d:\n%s", code, out)
	}
	if code, out := runCheck(t, file, "--fix", "--create"); code != 0 || !strings.Contains(out, "fix: CREATE TABLE IF NOT EXISTS") || !strings.Contains(out, ": all is well\n") {
		t.Fatalf("exit code %d:\n%s", code, out)
	}
}

func archiveAt(endpoint string) string {
	return fmt.Sprintf("archive: {s3: {endpoint: %q, bucket: kept, access_key: K, secret_key: S}}\n", endpoint)
}

// A table of long values that is another table, and rights that are missing, are named.
func TestCheck_Content(t *testing.T) {
	w := newFixWorld(t)
	s := w.good(t)
	s.build()
	s.exec("ALTER TABLE "+s.db+".calls ADD COLUMN note_ref String", "ALTER TABLE "+s.db+".calls ADD COLUMN note_bytes UInt64", "ALTER TABLE "+s.db+".calls ADD COLUMN note String")
	text, err := os.ReadFile(s.write())
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "p.yaml")
	write := func(content string) {
		changed := strings.Replace(string(text), "  columns:\n", "  columns:\n    note: {type: String, large: {inline: 1KiB}}\n", 1)
		if changed == string(text) {
			t.Fatal("the file has no columns")
		}
		if err := os.WriteFile(file, []byte(changed+"\n"+content+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("content: {table: notes}")
	if code, out := runCheck(t, file); code != 0 {
		t.Errorf("a table that is to be made: exit code %d:\n%s", code, out)
	}
	s.exec("CREATE TABLE " + s.db + ".notes (hash UInt64) ENGINE = MergeTree ORDER BY hash")
	if code, out := runCheck(t, file); code != 1 || !strings.Contains(out, s.db+".notes is no table for long values") {
		t.Errorf("another table: exit code %d:\n%s", code, out)
	}
	write(fmt.Sprintf("content: {s3: {endpoint: %q, bucket: kept, access_key: K, secret_key: S}}", refusing(t)))
	if code, out := runCheck(t, file); code != 1 || !strings.Contains(out, "the place of long values") || !strings.Contains(out, "the key must be allowed") {
		t.Errorf("a key that is refused: exit code %d:\n%s", code, out)
	}
}

// refusing is S3-compatible storage that takes no key.
func refusing(t *testing.T) string {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/xml")
		w.WriteHeader(http.StatusForbidden)
		_, _ = io.WriteString(w, "<Error><Code>SignatureDoesNotMatch</Code><Message>no</Message></Error>")
	}))
	t.Cleanup(srv.Close)
	return srv.URL
}
