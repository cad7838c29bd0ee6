package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/waybill-data/waybill"
	"github.com/waybill-data/waybill/internal/infer"
	"github.com/waybill-data/waybill/internal/infer/topics"
	"github.com/waybill-data/waybill/internal/testenv"
	"github.com/waybill-data/waybill/internal/testenv/chserver"
)

// initWorld is a broker with topics, and a database on a real server.
type initWorld struct {
	*testing.T
	srv  *chserver.Server
	addr string // of the broker
	kgo  *kgo.Client
	db   string
	dir  string
}

func newInitWorld(t *testing.T, names ...string) *initWorld {
	t.Helper()
	k, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(2, names...))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(k.Close)
	client, err := kgo.NewClient(kgo.SeedBrokers(k.ListenAddrs()...), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	srv := testenv.SharedClickHouse(t)
	return &initWorld{T: t, srv: srv, addr: k.ListenAddrs()[0], kgo: client, db: testenv.Database(t, srv), dir: t.TempDir()}
}

func (w *initWorld) produce(topic string, values ...string) {
	w.Helper()
	var records []*kgo.Record
	for i, v := range values {
		records = append(records, &kgo.Record{Topic: topic, Partition: int32(i % 2), Value: []byte(v)}) //nolint:gosec // 0 or 1
	}
	if err := w.kgo.ProduceSync(w.Context(), records...).FirstErr(); err != nil {
		w.Fatal(err)
	}
}

func (w *initWorld) url() string { return "clickhouse://default@" + w.srv.TCPAddr() + "/" + w.db }

// waybill runs a command.
func (w *initWorld) waybill(args ...string) (out string) {
	w.Helper()
	var o, e bytes.Buffer
	code := Main(w.Context(), args, Streams{In: strings.NewReader(""), Out: &o, Err: &e})
	if code != ExitOK {
		w.Fatalf("%s: exit code %d\n%s%s", strings.Join(args, " "), code, o.String(), e.String())
	}
	return o.String()
}

// initialize runs init on a topic, and tells the file and the report.
func (w *initWorld) initialize(topic string, more ...string) (file string, r initReport) {
	w.Helper()
	file = filepath.Join(w.dir, topic+".yaml")
	out := w.waybill(append([]string{"init", "--brokers", w.addr, "--topic", topic, "--clickhouse", w.url(), "--name", w.name(topic), "--file", file, "-o", "json"}, more...)...)
	if err := json.Unmarshal([]byte(out), &r); err != nil {
		w.Fatalf("%v\n%s", err, out)
	}
	return file, r
}

func (w *initWorld) name(topic string) string {
	return strings.ReplaceAll(w.db, "_", "-") + "-" + topic
}

// run runs `waybill run` until done.
func (w *initWorld) run(path string, done func() bool) {
	w.Helper()
	ctx, stop := context.WithCancel(w.Context())
	defer stop()
	var e bytes.Buffer
	ended := make(chan int, 1)
	go func() {
		ended <- Main(ctx, []string{"run", "--listen", "127.0.0.1:0", "--log-format", "json", path}, Streams{In: strings.NewReader(""), Out: &bytes.Buffer{}, Err: &e})
	}()
	until := time.Now().Add(3 * time.Minute)
	for !done() {
		select {
		case code := <-ended:
			w.Fatalf("run ended with %d\n%s", code, e.String())
		case <-time.After(100 * time.Millisecond):
		}
		if time.Now().After(until) {
			stop()
			<-ended
			w.Fatalf("not all is there within three minutes\n%s", e.String())
		}
	}
	stop()
	if code := <-ended; code != ExitOK {
		w.Fatalf("run ended with %d\n%s", code, e.String())
	}
}

func (w *initWorld) count(sql string) (n int64) {
	w.Helper()
	if _, err := fmt.Sscan(testenv.QueryValue(w, w.srv.HTTPAddr(), sql), &n); err != nil {
		w.Fatal(err)
	}
	return n
}

// From nothing to an audited pipeline by init, check and run, without an edit, for topics of all shapes: 99.9 % of the events that are objects land, 95 % of their
// values in columns with a type of their own, and each record is on record. What has come after init is of the same topics, but no event that it saw.
func TestInit_TopicsOfAllShapesLand(t *testing.T) {
	const seen, later = 1500, 1500
	seed := rand.Uint64() //nolint:gosec // nothing to guess
	t.Logf("seed %d", seed)
	names := map[string]string{} // by shape
	var all []string
	for _, shape := range topics.Names() {
		names[shape] = strings.NewReplacer(" ", "-").Replace(strings.ToLower(shape))
		all = append(all, names[shape])
	}
	w := newInitWorld(t, all...)
	objects := map[string]int64{}
	send := func(shape string, from, n int) {
		var values []string
		for _, r := range topics.Events(shape, seed, from, n) {
			values = append(values, string(r.Value))
			if r.Value[0] == '{' {
				objects[shape]++
			}
		}
		w.produce(names[shape], values...)
	}
	for shape, topic := range names {
		send(shape, 0, seen)
		file, r := w.initialize(topic, "--create")
		if r.Records != seen || !r.Created {
			t.Fatalf("%s: %+v", shape, r)
		}
		if share := float64(r.Typed) / float64(r.Leaves); share < 0.95 {
			t.Errorf("%s: %.3f of the values are typed", shape, share)
		}
		w.waybill("check", file)
		send(shape, seen, later)
	}
	landed := func(shape string) int64 {
		return w.count("SELECT count() FROM " + w.db + "." + strings.ReplaceAll(names[shape], "-", "_"))
	}
	settled := func(shape string) (n int64) {
		text, err := testenv.Query(w.srv.HTTPAddr(), "SELECT sum(n) FROM (SELECT max(next) AS n FROM waybill.ledger WHERE pipeline = '"+w.name(names[shape])+"' GROUP BY partition)")
		if err == nil {
			_, err = fmt.Sscan(text, &n)
		}
		if err != nil && !strings.Contains(err.Error(), "UNKNOWN_") { // not yet
			t.Fatal(err)
		}
		return n
	}
	w.run(w.dir, func() bool {
		for shape := range names {
			if settled(shape) < seen+later {
				return false
			}
		}
		return true
	})
	for shape, topic := range names {
		if got := landed(shape); float64(got) < 0.999*float64(objects[shape]) {
			t.Errorf("%s: %d of %d objects have landed", shape, got, objects[shape])
		}
		if dead := w.count("SELECT count() FROM waybill.dead_letters WHERE pipeline = '" + w.name(topic) + "'"); landed(shape)+dead != seen+later {
			t.Errorf("%s: %d rows and %d dead letters of %d records", shape, landed(shape), dead, seen+later)
		}
		w.waybill("audit", filepath.Join(w.dir, topic+".yaml"))
	}
}

// What of a large sample is not tried is said.
func TestInit_SaysWhatItHasNotTried(t *testing.T) {
	p := infer.New()
	s := &topicSample{profile: p, records: make([]waybill.Record, 2)}
	for range 2 {
		p.Add(infer.Record{Value: []byte(`{"id":1}`)})
	}
	if got := s.untried(); got != "" {
		t.Error(got)
	}
	p.Add(infer.Record{Value: []byte(`{"id":1}`)})
	if got := s.untried(); !strings.HasPrefix(got, "1 of 3 records") {
		t.Error(got)
	}
}

// A newcomer's mistakes each meet a sentence that says what to do.
func TestInit_Mistakes(t *testing.T) {
	w := newInitWorld(t, "events", "empty", "protobuf", "texts")
	w.produce("events", `{"id":1}`, `{"id":2}`)
	w.produce("protobuf", "\x00\x00\x00\x00\x07abc", "\x00\x00\x00\x00\x07abd")
	w.produce("texts", "one", "two")
	taken := filepath.Join(w.dir, "taken.yaml")
	if err := os.WriteFile(taken, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		flags map[string]string
		code  int
		says  []string
	}{
		"no topic":            {map[string]string{"--topic": ""}, ExitUsage, []string{"--topic is missing"}},
		"the wrong port":      {map[string]string{"--brokers": "127.0.0.1:1"}, 0, []string{"127.0.0.1:1", "refused"}},
		"the wrong topic":     {map[string]string{"--topic": "event"}, 0, []string{"event"}},
		"an empty topic":      {map[string]string{"--topic": "empty"}, ExitFindings, []string{"has no records", "run init again"}},
		"protobuf":            {map[string]string{"--topic": "protobuf"}, ExitFindings, []string{"schema registry's frame", "Waybill reads JSON"}},
		"no JSON":             {map[string]string{"--topic": "texts"}, ExitFindings, []string{"none of 2 records", "not JSON"}},
		"the wrong password":  {map[string]string{"--clickhouse": "clickhouse://default:wrong@" + w.srv.TCPAddr() + "/" + w.db}, 0, []string{"Authentication failed"}},
		"the wrong server":    {map[string]string{"--clickhouse": "clickhouse://default@127.0.0.1:1/x"}, 0, []string{"127.0.0.1:1"}},
		"a file in the way":   {map[string]string{"--file": taken}, ExitUsage, []string{taken + " is there already"}},
		"no such group":       {map[string]string{"--adopt-group": "nobody"}, ExitFindings, []string{"group nobody has no position on topic events", "group.id"}},
		"a key without group": {map[string]string{"--key": "id"}, ExitUsage, []string{"--adopt-group"}},
	} {
		t.Run(name, func(t *testing.T) {
			flags := map[string]string{"--brokers": w.addr, "--topic": "events", "--clickhouse": w.url(), "--file": filepath.Join(t.TempDir(), "p.yaml")}
			for flag, value := range c.flags {
				flags[flag] = value
			}
			args := []string{"init"}
			for flag, value := range flags {
				if value != "" {
					args = append(args, flag, value)
				}
			}
			var o, e bytes.Buffer
			code := Main(t.Context(), args, Streams{In: strings.NewReader(""), Out: &o, Err: &e})
			if code == ExitOK || code == ExitBug || c.code != 0 && code != c.code {
				t.Errorf("exit code %d, want %d", code, c.code)
			}
			for _, word := range c.says {
				if !strings.Contains(e.String(), word) {
					t.Errorf("does not say %q:\n%s", word, e.String())
				}
			}
			if left, _ := filepath.Glob(filepath.Join(filepath.Dir(flags["--file"]), "p.*")); len(left) > 0 {
				t.Errorf("has written %v", left)
			}
		})
	}
}

// A table that is there gives its types; what it has no column for is said, and kept in the rescue column; nothing is made.
func TestInit_ATableThatIsThere(t *testing.T) {
	w := newInitWorld(t, "events")
	var values []string
	for i := range 200 {
		values = append(values, fmt.Sprintf(`{"id":%d,"at":"2026-11-29T12:00:%02dZ","amount":%d.25,"color":"red"}`, i, i%60, i))
	}
	w.produce("events", values...)
	testenv.Exec(t, w.srv.HTTPAddr(), "CREATE TABLE "+w.db+".mine (id UInt32, at DateTime, amount Decimal(10, 2), note String) ENGINE = MergeTree ORDER BY id")
	file, r := w.initialize("events", "--table", "mine")
	if r.Statement != "" || r.Created || r.Columns != 3 {
		t.Errorf("%+v", r)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"id: {type: UInt32", `amount: {type: "Decimal(10, 2)"`, "no column for color (200 times)", "ADD COLUMN color", "column note String of the table"} {
		if !strings.Contains(string(text), want) {
			t.Errorf("does not say %q:\n%s", want, text)
		}
	}
	w.waybill("check", file, "--fix")
	w.run(file, func() bool { return w.count("SELECT count() FROM "+w.db+".mine") >= 200 })
	if got := w.count("SELECT countIf(position(_rescued, 'red') > 0) FROM " + w.db + ".mine"); got != 200 {
		t.Errorf("%d rows have kept the color", got)
	}
	w.waybill("audit", file)
}

// Of the orders of each partition, what another consumer has committed, and what it has written on partition 0.
const orders, ordersCommitted, ordersWritten = 400, 150, 160

// newOrders is a topic and a table with what another consumer has made of it: three orders are left out, two doubled, ten written without being committed.
func newOrders(t *testing.T) (*initWorld, *kadm.Client) {
	t.Helper()
	w := newInitWorld(t, "orders")
	var values []string
	for i := range 2 * orders {
		values = append(values, fmt.Sprintf(`{"order_id":"o-%d","at":"2026-11-29T12:00:%02dZ","amount":%d}`, i, i%60, i))
	}
	w.produce("orders", values...)
	testenv.Exec(t, w.srv.HTTPAddr(), "CREATE TABLE "+w.db+".orders (order_id String, at DateTime, amount Int64) ENGINE = MergeTree ORDER BY order_id")
	lost, doubled := map[int]bool{10: true, 11: true, 250: true}, map[int]bool{20: true, 77: true}
	var rows []string
	for i := range 2 * orders { // order i is at partition i%2, offset i/2
		offset, last := i/2, ordersCommitted
		if i%2 == 0 {
			last = ordersWritten
		}
		if offset >= last || lost[i] {
			continue
		}
		row := fmt.Sprintf("('o-%d', '2026-11-29 12:00:%02d', %d)", i, i%60, i)
		if rows = append(rows, row); doubled[i] {
			rows = append(rows, row)
		}
	}
	testenv.Exec(t, w.srv.HTTPAddr(), "INSERT INTO "+w.db+".orders VALUES "+strings.Join(rows, ","))
	adm := kadm.NewClient(w.kgo)
	w.commit(adm, "old-consumer", ordersCommitted, ordersCommitted)
	return w, adm
}

func (w *initWorld) commit(adm *kadm.Client, group string, at ...int64) {
	w.Helper()
	offsets := kadm.Offsets{}
	for p, offset := range at {
		offsets.AddOffset("orders", int32(p), offset, -1) //nolint:gosec // few
	}
	if err := adm.CommitAllOffsets(w.Context(), group, offsets); err != nil {
		w.Fatal(err)
	}
}

// Another consumer's group and table are taken over: what it lost, doubled and wrote without committing is told exactly, and the pipeline neither loses nor repeats
// an event after it.
func TestInit_TakesOverAGroup(t *testing.T) {
	w, adm := newOrders(t)
	file, r := w.initialize("orders", "--adopt-group", "old-consumer", "--key", "order_id")
	a := r.Adopted
	if a == nil || a.Agreement == nil {
		t.Fatalf("%+v", r)
	}
	if g := a.Agreement; g.Events != 2*ordersCommitted || g.Missing != 3 || g.More != 2 || g.Fewer != 0 || len(g.Examples) != 5 {
		t.Errorf("%+v", *g)
	}
	if a.Starts[0].Offset != ordersWritten || a.Starts[1].Offset != ordersCommitted || a.Starts[0].Repeated != 0 {
		t.Errorf("%+v", a.Starts)
	}
	w.waybill("check", file, "--fix")
	w.run(file, func() bool {
		return w.count("SELECT count() FROM "+w.db+".orders WHERE _epoch > 0 OR _offset > 0") >= 2*orders-ordersWritten-ordersCommitted
	})
	for _, c := range []struct {
		sql  string
		want int64
	}{
		{"SELECT count() FROM " + w.db + ".orders", 2*orders - 3 + 2},
		{"SELECT uniqExact(order_id) FROM " + w.db + ".orders", 2*orders - 3},
	} {
		if got := w.count(c.sql); got != c.want {
			t.Errorf("%s: %d, want %d", c.sql, got, c.want)
		}
	}
	w.waybill("audit", file)

	// Nothing ahead: its group goes on.
	w.commit(adm, "tidy-consumer", ordersWritten, ordersCommitted)
	file, r = w.initialize("orders", "--adopt-group", "tidy-consumer", "--force")
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(text), "group: tidy-consumer") || strings.Contains(string(text), "start:") || r.Adopted.Agreement != nil || !strings.Contains(string(text), "without --key") {
		t.Errorf("%+v\n%s", r.Adopted, text)
	}
}

// The control: without a key the pipeline begins at the group's position, and says that it may repeat. It does.
func TestInit_WithoutAKeyRowsAreRepeated(t *testing.T) {
	w, _ := newOrders(t)
	// Behind a position that another has put there a worker waits for late blocks, as long as a session and three deadlines.
	file, r := w.initialize("orders", "--adopt-group", "old-consumer", "--kafka", "session_timeout: 6s", "--sink", "insert_deadline: 2s")
	if !strings.Contains(strings.Join(r.Unsure, "\n"), "would be written again") {
		t.Errorf("%q", r.Unsure)
	}
	before := w.count("SELECT count() FROM " + w.db + ".orders")
	w.waybill("check", file, "--fix")
	w.run(file, func() bool {
		return w.count("SELECT count() FROM "+w.db+".orders") >= before+2*(orders-ordersCommitted)
	})
	if got := w.count("SELECT count() - uniqExact(order_id) FROM " + w.db + ".orders"); got != 2+ordersWritten-ordersCommitted {
		t.Errorf("%d rows are there twice", got)
	}
}
