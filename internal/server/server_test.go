package server_test

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/waybill-data/waybill"
	"github.com/waybill-data/waybill/internal/server"
	"github.com/waybill-data/waybill/internal/status"
	"github.com/waybill-data/waybill/internal/telemetry"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type fixed status.Status

func (f *fixed) Status() status.Status { return status.Status(*f) }

func start(t *testing.T, listen string, src server.Source) (*server.Server, func(path string) (int, http.Header, string)) {
	t.Helper()
	s := server.New(server.Options{
		Listen: listen, Source: src, Metrics: telemetry.NewMetrics("v1").Handler(), Log: slog.New(slog.DiscardHandler),
	})
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := s.Stop(ctx); err != nil {
			t.Error(err)
		}
	})
	return s, func(path string) (int, http.Header, string) {
		t.Helper()
		resp, err := client.Get("http://" + s.Addr() + path)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, resp.Header, string(body)
	}
}

func TestServer_ReadyOnceRecoveredAndNotWhileStopped(t *testing.T) {
	src := &fixed{Pipelines: []status.Pipeline{{Name: "a", State: status.Starting}}}
	_, get := start(t, "127.0.0.1:0", src)
	if code, _, body := get("/readyz"); code != 503 || !strings.Contains(body, "- a is starting\n") {
		t.Errorf("while starting: %d %s", code, body)
	}
	src.Pipelines = []status.Pipeline{{Name: "a", State: status.Running, Assigned: true}}
	if code, _, body := get("/readyz"); code != 200 {
		t.Errorf("while running: %d %s", code, body)
	}
	src.Pipelines[0].State, src.Pipelines[0].Reason = status.Stopped, "table is gone"
	if code, _, body := get("/readyz"); code != 503 || !strings.Contains(body, "a is stopped: table is gone") {
		t.Errorf("while stopped: %d %s", code, body)
	}
	if code, _, _ := get("/healthz"); code != 200 {
		t.Errorf("a process with a stopped pipeline is alive, but /healthz says %d", code)
	}
}

func TestServer_StatusIsTheSourcesInJSON(t *testing.T) {
	since := time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)
	src := &fixed{Version: "v1", Started: since, Now: since.Add(time.Hour), Pipelines: []status.Pipeline{{
		Name: "a", State: status.Stalled, Reason: "TOO_MANY_PARTS", StalledSince: &since,
		Partitions: []status.Partition{{Topic: "t", Partition: 1, State: status.Frozen, Position: 5, Settled: 4, End: 9, Lag: 5}},
		Findings:   []status.Finding{{Kind: "k", Severity: waybill.SeverityInfo, Span: &waybill.Span{First: 1, Next: 2}}},
	}}}
	_, get := start(t, "127.0.0.1:0", src)
	code, header, body := get("/status")
	if code != 200 || header.Get("Content-Type") != "application/json" {
		t.Errorf("%d %v", code, header)
	}
	var got status.Status
	if err := json.Unmarshal([]byte(body), &got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(status.Status(*src), got); diff != "" {
		t.Error(diff)
	}
}

func TestServer_MetricsIndexAndNothingElse(t *testing.T) {
	_, get := start(t, "127.0.0.1:0", &fixed{})
	if code, _, body := get("/metrics"); code != 200 || !strings.Contains(body, `waybill_build_info{version="v1"} 1`) {
		t.Errorf("/metrics: %d", code)
	}
	if code, _, body := get("/"); code != 200 || !strings.Contains(body, "/status") {
		t.Errorf("/: %d %s", code, body)
	}
	if code, _, _ := get("/nothing"); code != 404 {
		t.Errorf("/nothing: %d", code)
	}
}

func TestServer_ListensOnLoopbackWithoutAHost(t *testing.T) {
	s, _ := start(t, ":0", &fixed{})
	host, _, err := net.SplitHostPort(s.Addr())
	if err != nil || !net.ParseIP(host).IsLoopback() {
		t.Errorf("listens on %s", s.Addr())
	}
}

func TestServer_AddressTakenIsAConfigError(t *testing.T) {
	s, _ := start(t, "127.0.0.1:0", &fixed{})
	second := server.New(server.Options{Listen: s.Addr(), Source: &fixed{}, Metrics: http.NotFoundHandler(), Log: slog.New(slog.DiscardHandler)})
	err := second.Start()
	if waybill.ClassOf(err) != waybill.ClassConfig {
		t.Errorf("got %v", err)
	}
	if err := second.Stop(context.Background()); err != nil {
		t.Errorf("stopping what did not start: %v", err)
	}
}
