// Package testenv gives tests real servers: ClickHouse and Apache Kafka, started and stopped by the test run.
//
// A package that uses them has
//
//	func TestMain(m *testing.M) { testenv.Main(m) }
//
// Where an engine cannot be had the test is skipped with one loud line; with WAYBILL_REQUIRE_ENGINES=1, as in CI, it
// fails. tools/engines/fetch brings the engines.
package testenv

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/waybill-data/waybill/internal/testenv/amserver"
	"github.com/waybill-data/waybill/internal/testenv/chserver"
	"github.com/waybill-data/waybill/internal/testenv/faultproxy"
	"github.com/waybill-data/waybill/internal/testenv/kafkaserver"
	"github.com/waybill-data/waybill/internal/testenv/kdc"
	"github.com/waybill-data/waybill/internal/testenv/oldserver"
	"github.com/waybill-data/waybill/internal/testenv/proc"
	"github.com/waybill-data/waybill/internal/testenv/promserver"
)

// RequireEnv names the variable that turns a missing engine from a skip into a failure.
const RequireEnv = "WAYBILL_REQUIRE_ENGINES"

const (
	startTimeout = 90 * time.Second
	stopTimeout  = 20 * time.Second
)

// Main runs a package's tests: it becomes the server if this process was started for that, and afterwards stops the shared
// servers. It does not return.
func Main(m *testing.M) { os.Exit(Run(m)) }

// Run is Main for a TestMain that has more to do: it returns the exit code.
func Run(m *testing.M) int {
	chserver.MaybeRunChild()
	sharedAllowed.Store(true)
	code := m.Run()
	if err := stopShared(); err != nil {
		_, _ = os.Stderr.WriteString("testenv: " + err.Error() + "\n")
		code = max(code, 1)
	}
	return code
}

// ClickHouse starts a ClickHouse server of the test's own, in a temporary directory, and ends it with the test.
func ClickHouse(t testing.TB, opts ...func(*chserver.Options)) *chserver.Server {
	t.Helper()
	if _, err := chserver.Locate(); err != nil {
		missing(t, "ClickHouse", err)
	}
	o := chserver.Options{Dir: t.TempDir()}
	for _, opt := range opts {
		opt(&o)
	}
	ctx, cancel := context.WithTimeout(t.Context(), startTimeout)
	defer cancel()
	srv, err := chserver.Start(ctx, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(srv.Kill)
	return srv
}

// Kafka starts an Apache Kafka broker of the test's own, in a temporary directory, and ends it with the test.
func Kafka(t testing.TB, opts ...func(*kafkaserver.Options)) *kafkaserver.Server {
	t.Helper()
	if _, err := kafkaserver.Locate(); err != nil {
		missing(t, "Apache Kafka", err)
	}
	o := kafkaserver.Options{Dir: t.TempDir()}
	for _, opt := range opts {
		opt(&o)
	}
	ctx, cancel := context.WithTimeout(t.Context(), startTimeout)
	defer cancel()
	srv, err := kafkaserver.Start(ctx, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(srv.Kill)
	return srv
}

// Alertmanager starts an Alertmanager of the test's own that notifies the webhook, and ends it with the test. Where it cannot be had
// the test is skipped, and says so, unless RequireEnv is set.
func Alertmanager(t testing.TB, webhook string) *amserver.Server {
	t.Helper()
	if _, err := amserver.Locate(); err != nil {
		missing(t, "Alertmanager", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), startTimeout)
	defer cancel()
	srv, err := amserver.Start(ctx, t.TempDir(), webhook)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(srv.Kill)
	return srv
}

// OldClickHouse starts a ClickHouse of 2018 of the test's own, and ends it with the test. Where it cannot be had the test is
// skipped, and says so, unless RequireEnv is set.
func OldClickHouse(t testing.TB) *oldserver.Server {
	t.Helper()
	if _, err := oldserver.Locate(); err != nil {
		missing(t, "ClickHouse of 2018", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), startTimeout)
	defer cancel()
	srv, err := oldserver.Start(ctx, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(srv.Kill)
	return srv
}

// Prometheus starts a Prometheus of the test's own that scrapes host:port and evaluates the rules of the file, and ends it with the test.
func Prometheus(t testing.TB, target, rules string) *promserver.Server {
	t.Helper()
	Promtool(t)
	ctx, cancel := context.WithTimeout(t.Context(), startTimeout)
	defer cancel()
	srv, err := promserver.Start(ctx, t.TempDir(), target, rules)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(srv.Kill)
	return srv
}

// Promtool is the path of Prometheus's promtool.
func Promtool(t testing.TB) string {
	t.Helper()
	path, err := promserver.Locate("promtool")
	if err != nil {
		missing(t, "Prometheus", err)
	}
	return path
}

// Helm is the path of what tools/engines/fetch has built of tools/helm.
func Helm(t testing.TB) string {
	t.Helper()
	for _, cache := range proc.EngineCaches() {
		path := filepath.Join(cache, "helm", "helm")
		if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() {
			return path
		}
	}
	missing(t, "Helm", errors.New("run `tools/engines/fetch helm`"))
	return ""
}

func missing(t testing.TB, engine string, err error) {
	t.Helper()
	if os.Getenv(RequireEnv) == "1" {
		t.Fatalf("%s is required (%s=1): %v", engine, RequireEnv, err)
	}
	t.Skipf("NOT TESTED, %s IS MISSING: %v", engine, err)
}

const eventuallyPoll = 10 * time.Millisecond

// Eventually polls cond until it is true and fails the test, with what describes the condition, if that takes longer than within.
func Eventually(t testing.TB, within time.Duration, what string, cond func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), within)
	defer cancel()
	tick := time.NewTicker(eventuallyPoll)
	defer tick.Stop()
	for !cond() {
		select {
		case <-ctx.Done():
			t.Fatalf("not within %s: %s", within, what)
		case <-tick.C:
		}
	}
}

// Proxy starts a fault proxy in front of a server and ends it with the test.
func Proxy(t testing.TB, target string) *faultproxy.Proxy {
	t.Helper()
	p, err := faultproxy.Start(target)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Errorf("close the proxy: %v", err)
		}
	})
	return p
}

// Kerberos starts a key distribution centre of the test's own, and ends it with the test.
func Kerberos(t testing.TB) *kdc.Server {
	t.Helper()
	if _, err := kdc.Locate(); err != nil {
		missing(t, "MIT Kerberos", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), startTimeout)
	defer cancel()
	srv, err := kdc.Start(ctx, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(srv.Kill)
	return srv
}
