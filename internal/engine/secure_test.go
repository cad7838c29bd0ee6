package engine_test

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/waybill-data/waybill"
	"github.com/waybill-data/waybill/internal/status"
	"github.com/waybill-data/waybill/internal/testenv"
	"github.com/waybill-data/waybill/internal/testenv/chserver"
	"github.com/waybill-data/waybill/internal/testenv/faultproxy"
)

// The password changes while the pipeline runs: it stalls, and goes on when the file has the new one. Nothing is lost, twice there or in the bin,
// and no password is shown.
func TestPassword_RotatesWhileItRuns(t *testing.T) {
	const password, rotated = "first s3cret", "next s3cret"
	srv := testenv.ClickHouse(t, func(o *chserver.Options) { o.Users = []chserver.User{{Name: "ingest", Password: password}} })
	w := newWorldOn(t, srv, 2)
	proxy := testenv.Proxy(t, srv.TCPAddr())
	file := t.TempDir() + "/password"
	write := func(s string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(s+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cfg := w.file(spec{addr: proxy.Addr(), sink: fmt.Sprintf(", password_file: %q", file)})
	cfg.Sink.ClickHouse.User = "ingest"
	write(rotated)
	err := w.start(cfg).ended()
	if waybill.ClassOf(err) != waybill.ClassDenied || strings.Contains(err.Error(), "s3cret") {
		t.Errorf("a password that is wrong from the start: %v", err)
	}
	write(password)
	a := w.start(cfg)
	w.produceAs(500, good)
	w.quiet(500)

	write(rotated) // the server knows the first, so that new connections are refused by it, as after a rotation that the file has not followed
	proxy.KillConnections()
	w.produceAs(500, good)
	a.await("stalled by the password", func(s status.Pipeline) bool { return s.State == status.Stalled && strings.Contains(s.Reason, "(516)") })
	shown, err := json.Marshal(a.p.Status())
	if err != nil || strings.Contains(string(shown), "s3cret") {
		t.Errorf("%v in %s", err, shown)
	}
	write(password)
	w.quiet(1000)
	a.stop()
	w.verify()
	w.wantCounts("1000 1000 0 0")
}

// A pipeline over TLS, with a certificate of its own, on both transports.
func TestTLS_Pipeline(t *testing.T) {
	for _, scheme := range []string{"clickhouses", "https"} {
		t.Run(scheme, func(t *testing.T) {
			w, ca := newWorld(t, 2), testenv.NewAuthority(t)
			_, _, server := ca.Issue("server", nil, "127.0.0.1")
			cert, key, _ := ca.Issue("client", nil)
			to := map[string]string{"clickhouses": w.ch.TCPAddr(), "https": w.ch.HTTPAddr()}[scheme]
			addr := testenv.TLSProxy(t, to, ca.Server(server, true))
			w.produceAs(1000, good)
			a := w.start(w.file(spec{scheme: scheme, addr: addr, sink: fmt.Sprintf(", tls: {ca: %q, cert: %q, key: %q}", ca.CA(), cert, key)}))
			w.quiet(1000)
			a.stop()
			w.verify()
			w.wantCounts("1000 1000 0 0")
		})
	}
}

// Two hosts that are one server: when the first is gone, in the middle of inserts whose answers are lost, the second takes its place.
func TestHosts_PipelineFailsOver(t *testing.T) {
	w := newWorld(t, 2)
	first, second := testenv.Proxy(t, w.ch.TCPAddr()), testenv.Proxy(t, w.ch.TCPAddr())
	cfg := w.file(spec{addr: first.Addr() + "," + second.Addr()})
	w.produceAs(1000, good)
	a := w.start(cfg)
	w.quiet(1000)
	first.Set(faultproxy.DropInsertReply("calls").Times(1))
	w.produceAs(1000, good)
	testenv.Eventually(t, soon, "an answer is lost", func() bool { return first.Applied(faultproxy.NameDropInsert) == 1 })
	if err := first.Down(); err != nil {
		t.Fatal(err)
	}
	w.produceAs(1000, good)
	w.quiet(3000)
	a.stop()
	w.verify()
	w.wantCounts("3000 3000 0 0")
}

// Two servers that replicate nothing are refused before the first record is read.
func TestHosts_PipelineRefusesOtherServers(t *testing.T) {
	w, other := newWorld(t, 1), testenv.ClickHouse(t)
	testenv.Exec(t, other.HTTPAddr(), "CREATE DATABASE "+w.db+" ENGINE = Atomic")
	w.produceAs(100, good)
	err := w.start(w.file(spec{addr: w.ch.TCPAddr() + "," + other.TCPAddr()})).ended()
	for _, word := range []string{w.ch.TCPAddr(), other.TCPAddr(), "are no replicas of one server's tables", "has no "} {
		if waybill.ClassOf(err) != waybill.ClassDenied || !strings.Contains(fmt.Sprint(err), word) {
			t.Errorf("class %s, want %q in: %v", waybill.ClassOf(err), word, err)
		}
	}
	if n := w.query("SELECT count() FROM " + w.db + ".calls"); n != "0" {
		t.Errorf("%s rows", n)
	}
}

// The file has no cluster, and the table is no replica.
func TestQuorum_IsRefusedWhereItMeansNothing(t *testing.T) {
	w := newWorld(t, 1)
	err := w.start(w.file(spec{sink: ", insert_quorum: 2"})).ended()
	if waybill.ClassOf(err) != waybill.ClassConfig || !strings.Contains(err.Error(), "insert_quorum is 2") {
		t.Errorf("%v", err)
	}
}
