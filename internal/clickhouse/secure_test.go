package clickhouse

import (
	"os"
	"strings"
	"testing"
	"time"

	waybill "github.com/waybill-data/waybill"
	"github.com/waybill-data/waybill/internal/testenv"
	"github.com/waybill-data/waybill/internal/testenv/faultproxy"
)

// TLS is terminated in front of the real server, which here has no listener for it: the client cannot tell.
func TestTLS(t *testing.T) { overBoth(t, testTLS) }

func testTLS(t *testing.T, over wire) {
	srv, ca := testenv.SharedClickHouse(t), testenv.NewAuthority(t)
	_, _, server := ca.Issue("server", nil, "127.0.0.1", "clickhouse.internal")
	cert, key, _ := ca.Issue("client", nil)
	addr := testenv.TLSProxy(t, over.addr(srv), ca.Server(server, true))
	full := TLS{CA: ca.CA(), Cert: cert, Key: key}
	w := &world{t, over, srv, testenv.Database(t, srv), open(t, over.at(addr, Config{TLS: &full}))}
	w.table("t", "", window100)
	for i := range 3 {
		w.wantLanded(w.insert("t", waybill.Token(string(rune('a'+i))), rows(0, make([]int64, 100_000)...)))
	}
	if n := w.value("SELECT count() FROM " + w.db + ".t"); n != "300000" {
		t.Errorf("%s rows", n)
	}

	other := testenv.NewAuthority(t)
	past := time.Now().Add(-time.Hour)
	_, _, expired := ca.Issue("expired", &past, "127.0.0.1")
	strange, strangeKey, _ := other.Issue("stranger", nil)
	for name, tt := range map[string]struct {
		addr string
		tls  TLS
		want string
	}{
		"nobody vouches":        {addr, TLS{Cert: cert, Key: key}, "sink.clickhouse.tls.ca"},
		"another authority":     {addr, TLS{CA: other.CA(), Cert: cert, Key: key}, "sink.clickhouse.tls.ca"},
		"another name":          {addr, TLS{CA: full.CA, Cert: cert, Key: key, ServerName: "else.internal"}, "sink.clickhouse.tls.server_name"},
		"no client certificate": {addr, TLS{CA: full.CA}, "sink.clickhouse.tls.cert and key"},
		"a stranger's":          {addr, TLS{CA: full.CA, Cert: strange, Key: strangeKey}, "sink.clickhouse.tls.cert and key"},
		"expired":               {testenv.TLSProxy(t, over.addr(srv), ca.Server(expired, false)), TLS{CA: full.CA}, "renew the server's certificate"},
		"no TLS there":          {over.addr(srv), TLS{CA: full.CA}, "9440"},
		"no such file":          {addr, TLS{CA: "none.pem"}, "none.pem"},
		"not PEM":               {addr, TLS{CA: os.Args[0]}, "holds no certificate in PEM"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Open(t.Context(), over.at(tt.addr, Config{TLS: &tt.tls}), Deps{})
			if waybill.ClassOf(err) != waybill.ClassDenied || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("class %s, want %q in: %v", waybill.ClassOf(err), tt.want, err)
			}
		})
	}
	named := full
	named.ServerName = "clickhouse.internal"
	open(t, over.at(addr, Config{TLS: &named}))
}

// Password and certificates are read for each new connection, and connections do not last for ever.
func TestCredentials_RotateWithoutRestart(t *testing.T) {
	overBoth(t, testCredentials_RotateWithoutRestart)
}

func testCredentials_RotateWithoutRestart(t *testing.T, over wire) {
	srv := testenv.ClickHouse(t, func(o *chserverOptions) { o.Users = []chserverUser{{Name: "old", Password: "first"}} })
	file := t.TempDir() + "/password"
	write := func(s string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(s), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := Open(t.Context(), over.on(srv, Config{User: "old", PasswordFile: file}), Deps{}); waybill.ClassOf(err) != waybill.ClassDenied || !strings.Contains(err.Error(), file) {
		t.Errorf("without the file: %v", err)
	}
	write("wrong")
	_, err := Open(t.Context(), over.on(srv, Config{User: "old", PasswordFile: file}), Deps{})
	if waybill.ClassOf(err) != waybill.ClassDenied || strings.Contains(err.Error(), "wrong") {
		t.Errorf("with a wrong password: %v", err)
	}
	write("first\n")
	now := time.Now()
	c, err := Open(t.Context(), over.on(srv, Config{User: "old", PasswordFile: file}), Deps{Clock: func() time.Time { return now }})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	write("second")
	if err := c.MeasureClock(t.Context()); err != nil {
		t.Errorf("a connection that is open is logged in: %v", err)
	}
	now = now.Add(DefaultConnectionAge)
	if err := c.MeasureClock(t.Context()); waybill.ClassOf(err) != waybill.ClassDenied || !NotSent(err) {
		t.Errorf("a new connection takes the password of now: %v", err)
	}
	write("first")
	if err := c.MeasureClock(t.Context()); err != nil {
		t.Error(err)
	}
}

// Each new connection resolves the host's name, and none is used for longer than its age.
func TestDial_FollowsTheName(t *testing.T) { overBoth(t, testDial_FollowsTheName) }

func testDial_FollowsTheName(t *testing.T, over wire) {
	srv := testenv.SharedClickHouse(t)
	here, there := testenv.Proxy(t, over.addr(srv)), testenv.Proxy(t, over.addr(srv))
	names := resolver{"clickhouse.internal:9000": here.Addr()}
	now := time.Now()
	c, err := Open(t.Context(), over.at("clickhouse.internal:9000", Config{}), Deps{Dial: names.dial, Clock: func() time.Time { return now }})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	names["clickhouse.internal:9000"] = there.Addr()
	for _, step := range []struct {
		after time.Duration
		old   bool
	}{{0, true}, {DefaultConnectionAge - time.Second, true}, {2 * time.Second, false}} {
		now = now.Add(step.after)
		// What was open goes on until it is old; over HTTP the server may close it sooner.
		if over.protocol == HTTP && step.after > 0 {
			continue
		}
		if err := c.MeasureClock(t.Context()); err != nil {
			t.Fatal(err)
		}
		if old := there.Connections() == 0; old != step.old {
			t.Errorf("after %s: the old address is used: %v", step.after, old)
		}
	}
	if err := c.MeasureClock(t.Context()); err != nil || there.Connections() != 1 {
		t.Errorf("%v, %d connections to where the name leads now", err, there.Connections())
	}
	there.Set(faultproxy.Refuse())
	there.KillConnections()
	if err := c.MeasureClock(t.Context()); waybill.ClassOf(err) != waybill.ClassRetryable || !NotSent(err) {
		t.Errorf("refused: %v", err)
	}
}
