package clickhouse

import (
	"context"
	"fmt"
	"net"
	"strings"
	"testing"

	waybill "github.com/waybill-data/waybill"
	"github.com/waybill-data/waybill/internal/testenv"
)

// resolver stands in for DNS.
type resolver map[string]string

func (r resolver) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	return new(net.Dialer).DialContext(ctx, network, r[addr])
}

// Two addresses of one server are no two servers. When one of them fails, the other takes its place: for the statement that could not be sent.
func TestHosts_FailOver(t *testing.T) { overBoth(t, testHosts_FailOver) }

func testHosts_FailOver(t *testing.T, over wire) {
	srv := testenv.SharedClickHouse(t)
	a, b := testenv.Proxy(t, over.addr(srv)), testenv.Proxy(t, over.addr(srv))
	w := &world{t, over, srv, testenv.Database(t, srv), open(t, over.at(a.Addr(), Config{Others: []string{b.Addr()}}))}
	w.table("t", "", window100)
	if err := w.c.Guard(t.Context(), w.db+"_none", [2]string{w.db, "t"}); err != nil {
		t.Fatal(err)
	}
	w.wantLanded(w.insert("t", "1", rows(0, 1)))
	if w.c.Host() != a.Addr() || b.Connections() != 0 {
		t.Errorf("host %s, %d connections to the other", w.c.Host(), b.Connections())
	}
	if err := a.Down(); err != nil {
		t.Fatal(err)
	}
	w.wantLanded(w.insert("t", "2", rows(0, 2)))
	if w.c.Host() != b.Addr() {
		t.Errorf("host %s after the first has gone", w.c.Host())
	}
	if err := a.Up(); err != nil {
		t.Fatal(err)
	}
	w.wantLanded(w.insert("t", "3", rows(0, 3)))
	if w.c.Host() != b.Addr() {
		t.Error("what works is left alone")
	}
	if err := b.Down(); err != nil {
		t.Fatal(err)
	}
	w.wantLanded(w.insert("t", "4", rows(0, 4)))
	if err := a.Down(); err != nil {
		t.Fatal(err)
	}
	if an := w.insert("t", "5", rows(0, 5)); an.Outcome != Unknown || !an.NotSent || an.Err.Class != waybill.ClassRetryable {
		t.Errorf("nobody is there: %+v", an)
	}
	if n := w.value("SELECT groupArray(_offset) FROM (SELECT _offset FROM " + w.db + ".t ORDER BY ALL)"); n != "[1,2,3,4]" {
		t.Errorf("rows %s", n)
	}
}

// Two servers that replicate nothing: refused when both answer, and when the second is turned to only later.
func TestHosts_OtherServersAreRefused(t *testing.T) { overBoth(t, testHosts_OtherServersAreRefused) }

func testHosts_OtherServersAreRefused(t *testing.T, over wire) {
	one, two := testenv.SharedClickHouse(t), testenv.ClickHouse(t)
	db := testenv.Database(t, one)
	// The same UUID on both, as ON CLUSTER makes it: it proves nothing of a table that nothing replicates.
	const create = " UUID '6a5e1b36-0000-4000-8000-%012d' (v UInt64) ENGINE = MergeTree ORDER BY v"
	table := db + ".t" + fmt.Sprintf(create, len(over.name))
	testenv.Exec(t, one.HTTPAddr(), "CREATE TABLE "+table)
	testenv.Exec(t, two.HTTPAddr(), "CREATE DATABASE "+db+" ENGINE = Atomic", "CREATE TABLE "+table)
	a, b := testenv.Proxy(t, over.addr(one)), testenv.Proxy(t, over.addr(two))
	c := open(t, over.at(a.Addr(), Config{Others: []string{b.Addr()}}))
	guard := func() error { return c.Guard(t.Context(), "waybill_none", [2]string{db, "t"}) }
	refused := func(what string, err error) {
		t.Helper()
		want := fmt.Sprintf("%s and %s are no replicas of one server's tables: %s.t is a MergeTree on each", a.Addr(), b.Addr(), db)
		if waybill.ClassOf(err) != waybill.ClassDenied || !strings.Contains(fmt.Sprint(err), want) {
			t.Errorf("%s: class %s: %v\nwant %s", what, waybill.ClassOf(err), err, want)
		}
	}
	refused("both answer", guard())
	if err := b.Down(); err != nil {
		t.Fatal(err)
	}
	if err := guard(); err != nil {
		t.Fatalf("one that does not answer is looked at when it is needed: %v", err)
	}
	if err := b.Up(); err != nil {
		t.Fatal(err)
	}
	if err := a.Down(); err != nil {
		t.Fatal(err)
	}
	err := c.Exec(t.Context(), "INSERT INTO "+db+".t VALUES (1)")
	refused("turned to", err)
	if n := testenv.QueryValue(t, two.HTTPAddr(), "SELECT count() FROM "+db+".t"); n != "0" {
		t.Errorf("%s rows in the other server's table", n)
	}
	if err := a.Up(); err != nil {
		t.Fatal(err)
	}
	if err := c.MeasureClock(t.Context()); err != nil || c.Host() != a.Addr() {
		t.Errorf("it is back: %v, host %s", err, c.Host())
	}
}

// One address that leads to two servers by turns, as a load balancer's does.
func TestHosts_LoadBalancerIsFoundOut(t *testing.T) {
	one, two := testenv.SharedClickHouse(t), testenv.ClickHouse(t)
	db := testenv.Database(t, one)
	testenv.Exec(t, one.HTTPAddr(), "CREATE TABLE "+db+".t (v UInt64) ENGINE = MergeTree ORDER BY v")
	testenv.Exec(t, two.HTTPAddr(), "CREATE DATABASE "+db+" ENGINE = Atomic", "CREATE TABLE "+db+".t (v UInt64) ENGINE = MergeTree ORDER BY v")
	proxy := testenv.Proxy(t, one.TCPAddr())
	c := open(t, Config{Addr: proxy.Addr()})
	if err := c.Guard(t.Context(), "waybill_none", [2]string{db, "t"}); err != nil {
		t.Fatal(err)
	}
	turn := func(to string) error {
		proxy.SetTarget(to)
		proxy.KillConnections()
		return c.MeasureClock(t.Context())
	}
	if err := turn(two.TCPAddr()); err != nil {
		t.Fatalf("a server that was replaced: %v", err)
	}
	if err := turn(one.TCPAddr()); waybill.ClassOf(err) != waybill.ClassDenied || !strings.Contains(err.Error(), "two servers by turns") {
		t.Errorf("and back: %v", err)
	}
}

func TestReplicas(t *testing.T) {
	replicated := func(replica, path string, known ...string) hostTable {
		return hostTable{uuid: "u", engine: "ReplicatedMergeTree", path: path, replica: replica, replicas: known}
	}
	for name, tt := range map[string]struct {
		a, b hostTable
		want string
	}{
		"replicas":         {replicated("r1", "/p", "r1", "r2"), replicated("r2", "/p", "r1", "r2"), ""},
		"another path":     {replicated("r1", "/p", "r1", "r2"), replicated("r2", "/q", "r1", "r2"), "d.t is /p in Keeper on the one and /q on the other"},
		"another Keeper":   {replicated("r1", "/p", "r1"), replicated("r2", "/p", "r2"), "Keeper knows r1 there and r2 here"},
		"plain, same UUID": {hostTable{uuid: "u", engine: "MergeTree"}, hostTable{uuid: "u", engine: "MergeTree"}, "nothing replicates"},
		"one is not":       {replicated("r1", "/p", "r1"), hostTable{engine: "MergeTree"}, "is a ReplicatedMergeTree on the one and a MergeTree on the other"},
		"shared":           {hostTable{uuid: "u", engine: "SharedMergeTree"}, hostTable{uuid: "u", engine: "SharedMergeTree"}, ""},
		"shared, another":  {hostTable{uuid: "u", engine: "SharedMergeTree"}, hostTable{uuid: "v", engine: "SharedMergeTree"}, "is u on the one and v on the other"},
	} {
		err := replicas("a:1", hostTables{"d.t": tt.a}, "b:1", hostTables{"d.t": tt.b})
		if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := replicas("a:1", hostTables{"d.t": {}}, "b:1", hostTables{}); err == nil || !strings.Contains(err.Error(), "b:1 has no d.t") {
		t.Errorf("missing: %v", err)
	}
}

// Where several hosts take rows of one table, a read waits for what the others have taken.
func TestHosts_ReadsAreOfAllReplicas(t *testing.T) {
	tables := hostTables{"ai.calls": {engine: "ReplicatedMergeTree"}, "ai.other": {engine: "ReplicatedMergeTree"}, "waybill.ledger": {engine: "ReplicatedMergeTree"},
		"waybill.plans": {engine: "ReplicatedMergeTree"}, "ai.plain": {engine: "MergeTree"}}
	for sql, want := range map[string]string{
		"SELECT count() FROM `ai`.`calls`":               "[ai.calls]",
		"SELECT 1 FROM `ai`.`plain`":                     "[]",
		"SELECT * FROM `waybill`.`findings_now`":         "[waybill.ledger waybill.plans]",
		"SELECT uptime()":                                "[]",
		"SELECT * FROM `waybill`.`ledger`, `ai`.`other`": "[ai.other waybill.ledger waybill.plans]",
	} {
		if got := fmt.Sprint(tables.readBy(sql, "waybill")); got != want {
			t.Errorf("%s: %s, want %s", sql, got, want)
		}
	}
}

// The quorum goes out with every INSERT. A plain table heeds none: that it is waited for is not shown here.
func TestInsert_SaysTheQuorum(t *testing.T) { overBoth(t, testInsert_SaysTheQuorum) }

func testInsert_SaysTheQuorum(t *testing.T, over wire) {
	srv := testenv.SharedClickHouse(t)
	w := &world{t, over, srv, testenv.Database(t, srv), open(t, over.on(srv, Config{Quorum: "auto"}))}
	w.table("t", "", window100)
	w.wantLanded(w.insert("t", "1", rows(0, 1)))
	said := map[string]string{}
	for _, s := range w.c.settings {
		said[s.Key] = s.Value
	}
	if said["insert_quorum"] != "auto" || said["insert_quorum_parallel"] != "1" || said["insert_quorum_timeout"] != "60000" {
		t.Errorf("settings %v", said)
	}
	for _, s := range open(t, over.on(srv, Config{})).settings {
		if strings.HasPrefix(s.Key, "insert_quorum") {
			t.Errorf("%v where nobody asked for it", s)
		}
	}
}
