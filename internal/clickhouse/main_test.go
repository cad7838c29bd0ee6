package clickhouse

import (
	"os"
	"testing"
	"time"

	"github.com/ClickHouse/ch-go/proto"
	"go.uber.org/goleak"

	waybill "github.com/waybill-data/waybill"
	"github.com/waybill-data/waybill/internal/contract"
	"github.com/waybill-data/waybill/internal/testenv"
	"github.com/waybill-data/waybill/internal/testenv/chserver"
)

func TestMain(m *testing.M) {
	code := testenv.Run(m)
	if code == 0 {
		if err := goleak.Find(goleak.IgnoreTopFunction("os/exec.(*Cmd).Wait")); err != nil {
			_, _ = os.Stderr.WriteString(err.Error() + "\n")
			code = 1
		}
	}
	os.Exit(code)
}

// wire is a way to speak to the server.
type wire struct {
	name        string
	protocol    Protocol
	compression Compression
}

// overBoth runs a test over both transports.
func overBoth(t *testing.T, test func(*testing.T, wire)) {
	for _, over := range []wire{{name: "native"}, {name: "http", protocol: HTTP}} {
		t.Run(over.name, func(t *testing.T) { test(t, over) })
	}
}

// addr is where the server speaks it.
func (over wire) addr(srv *chserver.Server) string {
	if over.protocol == HTTP {
		return srv.HTTPAddr()
	}
	return srv.TCPAddr()
}

// on completes a configuration for a server.
func (over wire) on(srv *chserver.Server, cfg Config) Config { return over.at(over.addr(srv), cfg) }

// at completes a configuration for an address.
func (over wire) at(addr string, cfg Config) Config {
	cfg.Addr, cfg.Protocol, cfg.Compression = addr, over.protocol, over.compression
	return cfg
}

// world is a database of the test's own and a client on it.
type world struct {
	*testing.T
	over wire
	srv  *chserver.Server
	db   string
	c    *Client
}

func newWorld(t *testing.T, over wire) *world {
	t.Helper()
	srv := testenv.SharedClickHouse(t)
	return &world{t, over, srv, testenv.Database(t, srv), open(t, over.on(srv, Config{}))}
}

func open(t *testing.T, cfg Config) *Client {
	t.Helper()
	c, err := Open(t.Context(), cfg, Deps{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func (w *world) exec(sql ...string) {
	w.Helper()
	testenv.Exec(w, w.srv.HTTPAddr(), sql...)
}

func (w *world) value(sql string) string {
	w.Helper()
	return testenv.QueryValue(w, w.srv.HTTPAddr(), sql)
}

var testLineage = contract.Lineage{Topic: "_topic", Partition: "_partition", Offset: "_offset"}

const lineageColumns = "_topic LowCardinality(String), _partition Int32, _offset Int64, v UInt64"

// table makes a table with lineage columns; extra goes between the columns and the engine's clauses.
func (w *world) table(name, extraColumns, clauses string) {
	w.Helper()
	w.exec("CREATE TABLE " + w.db + "." + name + " (" + lineageColumns + extraColumns + ") ENGINE = MergeTree ORDER BY v " + clauses)
}

const window100 = "SETTINGS non_replicated_deduplication_window = 100"

// rows is a block of rows of one partition at the given offsets; v is the offset times ten.
func rows(partition int32, offsets ...int64) proto.Input {
	topic := new(proto.ColStr).LowCardinality()
	part, off, v := new(proto.ColInt32), new(proto.ColInt64), new(proto.ColUInt64)
	for _, o := range offsets {
		topic.Append("t")
		part.Append(partition)
		off.Append(o)
		v.Append(uint64(o * 10))
	}
	return proto.Input{{Name: "_topic", Data: topic}, {Name: "_partition", Data: part}, {Name: "_offset", Data: off}, {Name: "v", Data: v}}
}

func (w *world) insert(table string, token waybill.Token, in proto.Input) Answer {
	w.Helper()
	return w.c.Insert(w.Context(), Insert{Database: w.db, Table: table, Input: in, Token: token})
}

// soon is a deadline that a healthy insert meets.
func (w *world) soon() time.Time { return w.c.ServerNow(time.Now()).Add(time.Minute) }

// wantLanded: over HTTP nobody says that nothing was deduplicated, and the answer must not claim it.
func (w *world) wantLanded(a Answer) {
	w.Helper()
	want := Landed
	if w.over.protocol == HTTP {
		want = Deduplicated
	}
	wantOutcome(w.T, a, want)
	if a.Duplicated {
		w.Fatalf("some block was deduplicated: %+v", a)
	}
}

// wantDeduplicated: over HTTP the server does not say it.
func (w *world) wantDeduplicated(a Answer) {
	w.Helper()
	wantOutcome(w.T, a, Deduplicated)
	if native := w.over.protocol == Native; a.Duplicated != native {
		w.Fatalf("duplicated %v over %s: %+v", a.Duplicated, w.over.name, a)
	}
}

// parts is how many data parts an answer tells of: over HTTP, none.
func (w *world) parts(n int64) int64 {
	if w.over.protocol == HTTP {
		return 0
	}
	return n
}

func wantOutcome(t *testing.T, a Answer, want Outcome) {
	t.Helper()
	if a.Outcome != want {
		t.Fatalf("outcome %s, want %s (answer %+v)", a.Outcome, want, a)
	}
}
