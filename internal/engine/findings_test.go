package engine_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"

	"github.com/waybill-data/waybill"
	"github.com/waybill-data/waybill/internal/status"
	"github.com/waybill-data/waybill/internal/testenv"
	"github.com/waybill-data/waybill/internal/testenv/faultproxy"
)

// hook is a receiver of alerts.
type hook struct {
	*httptest.Server
	mu  sync.Mutex
	got []string // event and kind
}

func newHook(t testing.TB) *hook {
	h := &hook{}
	h.Server = httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		var m struct{ Event, Kind, Subject string }
		if err := json.NewDecoder(r.Body).Decode(&m); err != nil {
			t.Errorf("an alert is no JSON: %v", err)
		}
		h.mu.Lock()
		defer h.mu.Unlock()
		h.got = append(h.got, m.Event+" "+m.Kind)
	}))
	t.Cleanup(h.Close)
	return h
}

func (h *hook) heard() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return fmt.Sprint(h.got)
}

// A cause that lasts is one finding for all workers, over restarts, and each of its events is told once.
func TestFindings_OneForAllWorkersAndRestarts(t *testing.T) {
	w := newWorld(t, 2)
	h := newHook(t)
	cfg := w.file(spec{top: fmt.Sprintf("alerts: [{webhook: {url: %q}}]", h.URL)})
	w.exec("ALTER TABLE " + w.db + ".calls MODIFY SETTING non_replicated_deduplication_window = 1000")
	w.produce(100)
	a, b := w.start(cfg), w.start(cfg)
	w.quiet(100)
	w.wantFinding("small_window", 1)
	a.await("the finding is shown as open", open("small_window"))
	if n := a.metric("findings_open", "small_window warning"); n != 1 {
		t.Errorf("waybill_findings_open is %v", n)
	}
	a.stop()
	b.stop()
	c := w.start(cfg)
	c.await("the finding is still open", open("small_window"))
	c.stop()
	if got := w.query("SELECT concat(any(state), ' ', toString(count())) FROM waybill.findings_now WHERE kind = 'small_window' AND pipeline = '" + w.name + "'"); got != "open 1" {
		t.Errorf("on record: %s", got)
	}
	if got := h.heard(); got != "[opened small_window]" {
		t.Errorf("the receiver heard %s", got)
	}
	w.exec("ALTER TABLE " + w.db + ".calls MODIFY SETTING non_replicated_deduplication_window = 10000")
	d := w.start(cfg)
	testenv.Eventually(t, soon, "the finding is closed", func() bool {
		return w.query("SELECT any(state) FROM waybill.findings_now WHERE kind = 'small_window' AND pipeline = '"+w.name+"'") == "closed"
	})
	d.stop()
	if got := h.heard(); got != "[opened small_window closed small_window]" {
		t.Errorf("the receiver heard %s", got)
	}
	w.verify()
}

// Who has noticed a restart of the server, and was comparing what was written before, is no more: whoever has the partitions now closes the finding.
func TestFindings_OfAWorkerThatIsNoMoreAreClosed(t *testing.T) {
	w := newWorld(t, 2)
	cfg := w.file(spec{})
	w.produce(300)
	a := w.start(cfg)
	w.quiet(300)
	a.stop()
	w.exec("INSERT INTO waybill.findings (id, kind, severity, pipeline, episode, state, opened_at, message, worker) VALUES ('f-1', 'unverified_after_restart', 'warning', '" +
		w.name + "', 1, 'opened', now64(3), 'the server was restarted', 'one that is no more')")
	state := func() string {
		return w.query("SELECT any(state) FROM waybill.findings_now WHERE kind = 'unverified_after_restart' AND pipeline = '" + w.name + "'")
	}
	if got := state(); got != "open" {
		t.Fatalf("the test opens a finding, and it is %s", got)
	}
	b := w.start(cfg)
	testenv.Eventually(t, 3*soon, "the finding is closed", func() bool { return state() == "closed" })
	b.stop()
	w.verify()
}

func open(kind string) func(status.Pipeline) bool {
	return func(s status.Pipeline) bool {
		for _, f := range s.Findings {
			if f.Kind == kind && f.State == status.FindingOpen {
				return true
			}
		}
		return false
	}
}

// The server is away when something is found: whoever has asked for alerts hears of it all the same.
func TestFindings_AreToldWhileTheServerIsAway(t *testing.T) {
	w := newWorld(t, 1)
	h := newHook(t)
	proxy := testenv.Proxy(t, w.ch.TCPAddr())
	w.produce(100)
	a := w.start(w.file(spec{addr: proxy.Addr(), top: fmt.Sprintf("alerts: [{webhook: {url: %q}}]", h.URL)}))
	w.quiet(100)
	proxy.Set(faultproxy.Refuse())
	proxy.KillConnections()
	a.await("stalled", stalled(""))
	w.recreate(1)
	if err := a.ended(); waybill.ClassOf(err) != waybill.ClassConfig {
		t.Fatalf("ended with %v", err)
	}
	if got := h.heard(); got != "[opened topic_recreated]" {
		t.Errorf("the receiver heard %s", got)
	}
}
