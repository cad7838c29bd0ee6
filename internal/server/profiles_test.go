package server_test

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/waybill-data/waybill"
	"github.com/waybill-data/waybill/internal/server"
)

func TestProfiles_AreServedOnLoopbackAlone(t *testing.T) {
	log := slog.New(slog.DiscardHandler)
	for _, listen := range []string{"0.0.0.0:0", "[::]:0", "10.1.2.3:0", "example.org:0", "nonsense"} {
		if err := server.NewProfiles(listen, log).Start(); waybill.ClassOf(err) != waybill.ClassConfig || !strings.Contains(err.Error(), "--pprof") {
			t.Errorf("%s: %v", listen, err)
		}
	}
	for _, listen := range []string{":0", "localhost:0", "127.0.0.1:0"} {
		s := server.NewProfiles(listen, log)
		if err := s.Start(); err != nil {
			t.Fatalf("%s: %v", listen, err)
		}
		client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
		for path, want := range map[string]string{"/debug/pprof/goroutine?debug=1": "goroutine profile:", "/debug/pprof/heap?debug=1": "heap profile:", "/metrics": "404"} {
			resp, err := client.Get("http://" + s.Addr() + path)
			if err != nil {
				t.Fatal(err)
			}
			body, _ := io.ReadAll(resp.Body)
			_ = resp.Body.Close()
			if !strings.Contains(string(body), want) {
				t.Errorf("%s%s: %s", listen, path, body)
			}
		}
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		if err := s.Stop(ctx); err != nil {
			t.Error(err)
		}
		cancel()
	}
}

// Whoever serves metrics serves no profiles.
func TestServer_ServesNoProfiles(t *testing.T) {
	_, get := start(t, "127.0.0.1:0", &fixed{})
	if code, _, _ := get("/debug/pprof/"); code != http.StatusNotFound {
		t.Errorf("/debug/pprof/ is answered with %d", code)
	}
}
