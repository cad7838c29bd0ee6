package alert

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/waybill-data/waybill/internal/finding"
	"github.com/waybill-data/waybill/internal/testenv"
)

// pager is who a real Alertmanager notifies.
type pager struct {
	mu  sync.Mutex
	got []string // status and finding
}

func (p *pager) ServeHTTP(_ http.ResponseWriter, r *http.Request) {
	var m struct {
		Alerts []struct {
			Status string
			Labels map[string]string
		}
	}
	if err := json.NewDecoder(r.Body).Decode(&m); err != nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, a := range m.Alerts {
		p.got = append(p.got, a.Status+" "+a.Labels["alertname"]+" "+a.Labels["finding"])
	}
}

func (p *pager) heard() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return fmt.Sprint(p.got)
}

// Two workers tell the same, to a real Alertmanager: it has one alert, fires it once, and resolves it when the finding is closed.
func TestAlertmanager_Real(t *testing.T) {
	p := &pager{}
	hook := httptest.NewServer(p)
	t.Cleanup(hook.Close)
	am := testenv.Alertmanager(t, hook.URL)
	to := Receiver{Name: "am", Protocol: Alertmanager, URL: am.URL(), Severity: "warning", Labels: map[string]string{"team": "data"}}
	client := NewClient()
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	var workers []*Sender
	for range 2 {
		s := New([]Receiver{to}, Deps{Log: slog.New(slog.DiscardHandler), Client: client})
		wg.Go(func() { s.Run(ctx) })
		workers = append(workers, s)
	}
	t.Cleanup(func() { cancel(); wg.Wait(); client.CloseIdleConnections(); http.DefaultClient.CloseIdleConnections() })
	tell := func(r finding.Row) {
		for _, s := range workers {
			s.Update([]finding.Row{r})
			s.Flush(t.Context())
		}
	}
	r := row("a1")
	tell(r)
	testenv.Eventually(t, 20*time.Second, "the alert fires", func() bool { return p.heard() == "[firing retention_loss a1]" })
	if got := alertsOf(t, am.URL()); len(got) != 1 || got[0].Labels["severity"] != "error" || got[0].Labels["team"] != "data" || got[0].Annotations["description"] != r.Message ||
		got[0].EndsAt.Before(time.Now().Add(4*time.Minute)) || !got[0].StartsAt.Equal(r.FirstSeen) {
		t.Errorf("it has %+v", got)
	}
	tell(r)
	tell(closed(r))
	testenv.Eventually(t, 20*time.Second, "the alert is resolved", func() bool { return p.heard() == "[firing retention_loss a1 resolved retention_loss a1]" })
	if got := alertsOf(t, am.URL()); len(got) != 0 {
		t.Errorf("it still has %+v", got)
	}
}

func alertsOf(t *testing.T, url string) (out []amAlert) {
	t.Helper()
	resp, err := http.Get(url + "/api/v2/alerts")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil || json.Unmarshal(text, &out) != nil {
		t.Fatalf("%v: %s", err, text)
	}
	return out
}
