package chserver_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ClickHouse/ch-go"
	"github.com/ClickHouse/ch-go/proto"

	"github.com/waybill-data/waybill/internal/testenv"
	"github.com/waybill-data/waybill/internal/testenv/chserver"
)

func TestMain(m *testing.M) { testenv.Main(m) }

func insertNative(t *testing.T, addr, table string, values ...uint64) {
	t.Helper()
	conn, err := ch.Dial(t.Context(), ch.Options{Address: addr})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	var a proto.ColUInt64
	a.AppendArr(values)
	input := proto.Input{{Name: "a", Data: a}}
	if err := conn.Do(t.Context(), ch.Query{Body: "INSERT INTO " + table + " (a) VALUES", Input: input}); err != nil {
		t.Fatal(err)
	}
}

// What the product leans on: Atomic databases, MergeTree, materialized views, projections, over both protocols.
func TestServer_DataSurvivesKillAndRestart(t *testing.T) {
	srv := testenv.ClickHouse(t)
	addr, native, pid := srv.HTTPAddr(), srv.TCPAddr(), srv.PID()
	testenv.Exec(t, addr,
		"CREATE DATABASE d ENGINE = Atomic",
		"CREATE TABLE d.t (a UInt64, PROJECTION p (SELECT a % 10, count() GROUP BY a % 10)) ENGINE = MergeTree ORDER BY a",
		"CREATE TABLE d.sums (s UInt64) ENGINE = MergeTree ORDER BY s",
		"CREATE MATERIALIZED VIEW d.v TO d.sums AS SELECT sum(a) AS s FROM d.t",
	)
	insertNative(t, native, "d.t", 1, 2, 3)
	testenv.Exec(t, addr, "INSERT INTO d.t VALUES (4), (5)")
	check := func() {
		t.Helper()
		got := testenv.QueryRows(t, addr, "SELECT (SELECT count() FROM d.t), (SELECT sum(s) FROM d.sums), "+
			"(SELECT sum(rows) FROM system.projection_parts WHERE database = 'd' AND active)")
		if want := "5 15 5"; strings.Join(got[0], " ") != want {
			t.Fatalf("rows, sum of the view, projection rows: got %q, want %q", got, want)
		}
	}
	check()

	srv.Kill()
	if srv.PID() != 0 {
		t.Fatal("a killed server has a process")
	}
	if _, err := testenv.Query(addr, "SELECT 1"); err == nil {
		t.Fatal("a killed server answers")
	}
	if err := srv.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	if srv.HTTPAddr() != addr || srv.TCPAddr() != native || srv.PID() == pid {
		t.Fatal("a restart is a new process on the same ports")
	}
	check()

	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if err := srv.Stop(ctx); err != nil {
		t.Fatal(err)
	}
	if err := srv.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	check()
}

func TestServer_SuspendedAnswersNothingUntilResumed(t *testing.T) {
	srv := testenv.ClickHouse(t)
	if err := srv.Suspend(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if _, err := ch.Dial(ctx, ch.Options{Address: srv.TCPAddr()}); err == nil {
		t.Fatal("a suspended server answered")
	}
	if err := srv.Resume(); err != nil {
		t.Fatal(err)
	}
	testenv.Exec(t, srv.HTTPAddr(), "SELECT 1")

	if err := srv.Suspend(); err != nil {
		t.Fatal(err)
	}
	srv.Kill()
	if err := srv.Suspend(); err == nil {
		t.Fatal("a dead server was suspended")
	}
}

func TestServer_Users(t *testing.T) {
	srv := testenv.ClickHouse(t, func(o *chserver.Options) {
		o.Users = []chserver.User{
			{Name: "reader", Password: "<&'\">", Grants: []string{"GRANT SELECT ON d.*"}},
			{Name: "nobody", Grants: []string{}},
			{Name: "small", Settings: map[string]string{"max_result_rows": "1"}},
		}
	})
	testenv.Exec(t, srv.HTTPAddr(), "CREATE DATABASE d ENGINE = Atomic",
		"CREATE TABLE d.t (a UInt64) ENGINE = MergeTree ORDER BY a", "INSERT INTO d.t VALUES (1), (2)")
	for _, tc := range []struct {
		user, password, sql string
		want                proto.Error // 0: it works
	}{
		{"reader", "<&'\">", "SELECT a FROM d.t FORMAT Null", 0},
		{"reader", "<&'\">", "INSERT INTO d.t SELECT 1", proto.ErrAccessDenied},
		{"nobody", "", "SELECT a FROM d.t FORMAT Null", proto.ErrAccessDenied},
		{"small", "", "INSERT INTO d.t SELECT 3", 0},
		{"small", "", "SELECT a FROM d.t", proto.ErrTooManyRowsOrBytes},
	} {
		err := do(t.Context(), ch.Options{Address: srv.TCPAddr(), User: tc.user, Password: tc.password}, tc.sql)
		if tc.want == 0 && err != nil || tc.want != 0 && !ch.IsErr(err, tc.want) {
			t.Errorf("%s: %s: got %v, want %v", tc.user, tc.sql, err, tc.want)
		}
	}
}

func TestServer_WrongPassword(t *testing.T) {
	srv := testenv.ClickHouse(t, func(o *chserver.Options) {
		o.Users = []chserver.User{{Name: "reader", Password: "right"}}
	})
	for password, want := range map[string]string{"right": "", "wrong": "AUTHENTICATION_FAILED"} {
		_, err := testenv.Query("reader:"+password+"@"+srv.HTTPAddr(), "SELECT 1")
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("HTTP, %s password: got %v", password, err)
		}
	}
	err := do(t.Context(), ch.Options{Address: srv.TCPAddr(), User: "reader", Password: "wrong"}, "SELECT 1")
	if !ch.IsErr(err, proto.ErrAuthenticationFailed) {
		t.Errorf("native: got %v", err)
	}
	testenv.Exec(t, srv.HTTPAddr(), "SELECT 1")
	if err := do(t.Context(), ch.Options{Address: srv.TCPAddr(), User: "reader", Password: "right"}, "SELECT 1"); err != nil {
		t.Errorf("after a wrong password: %v", err)
	}
}

func do(ctx context.Context, opts ch.Options, sql string) error {
	conn, err := ch.Dial(ctx, opts)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	var results proto.Results
	return conn.Do(ctx, ch.Query{Body: sql, Result: results.Auto()})
}

func TestServer_SystemLogsSurviveNoRestartButDoNotPreventIt(t *testing.T) {
	srv := testenv.ClickHouse(t, func(o *chserver.Options) { o.SystemLogs = true })
	insertIsLogged := func() bool {
		testenv.Exec(t, srv.HTTPAddr(), "INSERT INTO d.t SELECT 1", "SYSTEM FLUSH LOGS")
		got := testenv.QueryRows(t, srv.HTTPAddr(), "SELECT (SELECT count() FROM system.part_log WHERE database = 'd' AND event_type = 'NewPart') > 0, "+
			"(SELECT count() FROM system.query_log WHERE query LIKE 'INSERT INTO d.t%') > 0")
		return strings.Join(got[0], "") == "11"
	}
	testenv.Exec(t, srv.HTTPAddr(), "CREATE DATABASE d ENGINE = Atomic", "CREATE TABLE d.t (a UInt64) ENGINE = MergeTree ORDER BY a")
	if !insertIsLogged() {
		t.Fatal("part_log or query_log is empty")
	}
	srv.Kill()
	if err := srv.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	if !insertIsLogged() {
		t.Fatal("part_log or query_log is empty after a restart")
	}
}

func TestStart_SaysWhyAServerEnded(t *testing.T) {
	if _, err := chserver.Locate(); err != nil {
		if os.Getenv(testenv.RequireEnv) == "1" {
			t.Fatal(err)
		}
		t.Skip("NOT TESTED:", err)
	}
	config := filepath.Join(t.TempDir(), "config.xml")
	if err := os.WriteFile(config, []byte("<clickhouse><broken>"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := chserver.Start(t.Context(), chserver.Options{Dir: t.TempDir(), ConfigFile: config})
	if err == nil || !strings.Contains(err.Error(), "ended before it answered") || !strings.Contains(err.Error(), "config.xml") {
		t.Fatalf("got %v", err)
	}
}

func TestLocate_MissingSaysHowToGetIt(t *testing.T) {
	t.Setenv("WAYBILL_CHDB_LIB", "")
	t.Setenv("WAYBILL_ENGINES_CACHE", t.TempDir())
	if _, err := chserver.Locate(); err == nil || !strings.Contains(err.Error(), "tools/engines/fetch clickhouse") {
		t.Fatalf("got %v", err)
	}
	t.Setenv("WAYBILL_CHDB_LIB", "/nowhere/libchdb.so")
	if _, err := chserver.Locate(); err == nil || !strings.Contains(err.Error(), "WAYBILL_CHDB_LIB") {
		t.Fatalf("got %v", err)
	}
}
