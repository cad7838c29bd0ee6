package testenv

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/waybill-data/waybill/internal/testenv/chserver"
)

// sqlClient keeps no connection between requests: nothing is left for a leak check to find.
var sqlClient = &http.Client{Timeout: time.Minute, Transport: &http.Transport{DisableKeepAlives: true}}

// Query sends one statement to the server whose HTTP address is addr ("host:port") and returns the body of the answer.
// It shares no code with the product, which makes it fit for oracles.
func Query(addr, sql string) (string, error) {
	resp, err := sqlClient.Post("http://"+addr+"/", "text/plain", strings.NewReader(sql))
	if err != nil {
		return "", err
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return "", fmt.Errorf("read the answer: %w", err)
	}
	if resp.StatusCode != http.StatusOK {
		return "", fmt.Errorf("%s: %s", resp.Status, strings.TrimSpace(string(body)))
	}
	return string(body), nil
}

// Exec runs statements one after the other and fails the test at the first error.
func Exec(t testing.TB, addr string, statements ...string) {
	t.Helper()
	for _, sql := range statements {
		if _, err := Query(addr, sql); err != nil {
			t.Fatalf("%s\n%v", sql, err)
		}
	}
}

// QueryRows runs a SELECT without a FORMAT clause and returns its rows and fields, escaped as in TabSeparated.
func QueryRows(t testing.TB, addr, sql string) [][]string {
	t.Helper()
	body, err := Query(addr, sql)
	if err != nil {
		t.Fatalf("%s\n%v", sql, err)
	}
	if body == "" {
		return nil
	}
	var rows [][]string
	for line := range strings.SplitSeq(strings.TrimSuffix(body, "\n"), "\n") {
		rows = append(rows, strings.Split(line, "\t"))
	}
	return rows
}

// QueryValue runs a SELECT that answers one row of one column.
func QueryValue(t testing.TB, addr, sql string) string {
	t.Helper()
	rows := QueryRows(t, addr, sql)
	if len(rows) != 1 || len(rows[0]) != 1 {
		t.Fatalf("%s\nwant one value, got %q", sql, rows)
	}
	return rows[0][0]
}

var databases atomic.Int64

// Database makes a fresh Atomic database and drops it when the test ends.
func Database(t testing.TB, srv *chserver.Server) string {
	t.Helper()
	name := fmt.Sprintf("test_%d", databases.Add(1))
	Exec(t, srv.HTTPAddr(), "CREATE DATABASE "+name+" ENGINE = Atomic")
	t.Cleanup(func() { // a test that killed its server has nothing to drop
		if srv.PID() != 0 {
			_, _ = Query(srv.HTTPAddr(), "DROP DATABASE IF EXISTS "+name+" SYNC")
		}
	})
	return name
}
