package alert

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	waybill "github.com/waybill-data/waybill"
	"github.com/waybill-data/waybill/internal/finding"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreTopFunction("os/exec.(*Cmd).Wait"))
}

// site is a receiver, and senders that tell it.
type site struct {
	*testing.T
	srv *httptest.Server

	mu     sync.Mutex
	bodies []string
	heads  []http.Header
	answer func(n int) int // the status of the n-th request, from 1
	counts map[Outcome]int
	logged bytes.Buffer
	claims *record
}

func newSite(t *testing.T) *site {
	s := &site{T: t, counts: map[Outcome]int{}, claims: &record{}, answer: func(int) int { return http.StatusOK }}
	s.srv = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		s.mu.Lock()
		defer s.mu.Unlock()
		s.bodies, s.heads = append(s.bodies, r.URL.Path+" "+string(body)), append(s.heads, r.Header)
		w.WriteHeader(s.answer(len(s.bodies)))
	}))
	t.Cleanup(s.srv.Close)
	return s
}

func (s *site) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.logged.Write(b)
}

// sender runs one worker's sender until the test ends.
func (s *site) sender(worker string, r Receiver) *Sender {
	r.URL = s.srv.URL + r.URL
	if r.Severity == "" {
		r.Severity = waybill.SeverityWarning
	}
	client := NewClient()
	d := Deps{Log: slog.New(slog.NewTextHandler(s, nil)), Client: client, Wait: func(ctx context.Context, _ int) error { return wait(ctx, time.Millisecond) },
		Count: func(_ string, o Outcome, n int) {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.counts[o] += n
		}, Claims: func() Claims {
			if s.claims == nil {
				return nil
			}
			return s.claims.of(worker)
		}}
	out := New([]Receiver{r}, d)
	ctx, cancel := context.WithCancel(s.Context())
	done := make(chan struct{})
	go func() { defer close(done); out.Run(ctx) }()
	s.Cleanup(func() { cancel(); <-done; client.CloseIdleConnections() })
	return out
}

func (s *site) flushed(x *Sender) {
	s.Helper()
	ctx, cancel := context.WithTimeout(s.Context(), 5*time.Second)
	defer cancel()
	x.Flush(ctx)
}

func (s *site) got() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string{}, s.bodies...)
}

func (s *site) count(o Outcome) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.counts[o]
}

func (s *site) want(n int) {
	s.Helper()
	if got := s.got(); len(got) != n {
		s.Fatalf("%d requests, want %d:\n%s", len(got), n, strings.Join(got, "\n"))
	}
}

// record is Claims in memory.
type record struct {
	mu   sync.Mutex
	rows map[Key]*Claim
	by   map[Key]string
	err  error
}

type claimsOf struct {
	*record
	worker string
}

func (r *record) of(worker string) *claimsOf { return &claimsOf{r, worker} }

func (c *claimsOf) Look(_ context.Context, k Key) (Claim, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil || c.rows[k] == nil {
		return Claim{}, c.err
	}
	out := *c.rows[k]
	out.Mine = c.by[k] == c.worker
	return out, nil
}

func (c *claimsOf) Take(_ context.Context, k Key, attempt uint32) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.rows == nil {
		c.rows, c.by = map[Key]*Claim{}, map[Key]string{}
	}
	if have := c.rows[k]; c.err == nil && (have == nil || have.Attempt < attempt) {
		c.rows[k], c.by[k] = &Claim{Attempt: attempt, At: time.Now()}, c.worker
	}
	return c.err
}

func (c *claimsOf) Done(_ context.Context, k Key, _ uint32, _ Outcome) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.rows[k].Done = true
	return nil
}

// row is a finding that is open.
func row(id string) finding.Row {
	now := time.Now().UTC().Truncate(time.Millisecond)
	return finding.Row{Finding: waybill.Finding{Kind: "retention_loss", Severity: waybill.SeverityError, TopicPartition: waybill.TopicPartition{Topic: "t", Partition: 0},
		Span: waybill.Span{First: 5, Next: 9}, Message: "4 offsets <were> removed", Action: "raise the retention"}, ID: finding.ID(id), Pipeline: "calls", State: finding.Opened, FirstSeen: now, LastSeen: now, At: now, Seen: 1}
}

func closed(r finding.Row) finding.Row {
	r.State, r.Why, r.At = finding.Closed, "it is back", r.At.Add(time.Second)
	return r
}

func TestWebhook_HearsOfEachEventOnce(t *testing.T) {
	s := newSite(t)
	x := s.sender("w", Receiver{Name: "ops", Protocol: Webhook, URL: "/hook", Headers: map[string]string{"Authorization": "Bearer s3cret"}})
	r := row("a1")
	for range 5 {
		x.Update([]finding.Row{r})
		s.flushed(x)
	}
	s.want(1)
	var m Message
	if err := json.Unmarshal([]byte(strings.TrimPrefix(s.got()[0], "/hook ")), &m); err != nil {
		t.Fatal(err)
	}
	if m.Event != Opened || m.Kind != "retention_loss" || m.Title == "" || m.Severity != "error" || *m.Partition != 0 || m.Span.Next != 9 || m.Pipeline != "calls" || m.Page != "docs/runbook/retention_loss.md" {
		t.Errorf("message %+v", m)
	}
	if h := s.heads[0]; h.Get("Authorization") != "Bearer s3cret" || h.Get("Idempotency-Key") != "a1-opened-error-0" {
		t.Errorf("headers %v", h)
	}
	x.Update([]finding.Row{closed(r)})
	s.flushed(x)
	s.want(2)
	if got := s.got()[1]; !strings.Contains(got, `"event":"closed"`) || !strings.Contains(got, `"why":"it is back"`) {
		t.Errorf("got %s", got)
	}
	again := r
	again.Reopened = 1
	x.Update([]finding.Row{again})
	s.flushed(x)
	s.want(3)
	if s.count(Delivered) != 3 {
		t.Errorf("counts %v", s.counts)
	}
	if log := s.logged.String(); strings.Contains(log, "s3cret") || strings.Contains(log, s.srv.URL) {
		t.Errorf("a secret is logged: %s", log)
	}
}

func TestWebhook_SelectsBySeverityAndKind(t *testing.T) {
	s := newSite(t)
	x := s.sender("w", Receiver{Name: "ops", Protocol: Webhook, Severity: waybill.SeverityError, Kinds: []string{"retention_loss", "null_rate"}})
	mild, other, told := row("mild"), row("other"), row("told")
	mild.Severity, other.Kind, told.State, told.Severity = waybill.SeverityWarning, "ledger_gap", finding.Noted, waybill.SeverityInfo
	x.Update([]finding.Row{mild, other, told, row("a1")})
	s.flushed(x)
	s.want(1)
	mild.Severity = waybill.SeverityError // it is worse now
	x.Update([]finding.Row{mild})
	s.flushed(x)
	s.want(2)
	mild.Severity = waybill.SeverityWarning
	x.Update([]finding.Row{closed(mild)}) // who has heard of it hears of its end
	s.flushed(x)
	s.want(3)
}

func TestWebhook_RetriesWhatCanHealAndGivesUpWhatCannot(t *testing.T) {
	s := newSite(t)
	s.answer = func(n int) int {
		switch n {
		case 1, 2:
			return http.StatusBadGateway
		case 3:
			return http.StatusTooManyRequests
		case 5:
			return http.StatusForbidden
		}
		return http.StatusOK
	}
	x := s.sender("w", Receiver{Name: "ops", Protocol: Webhook, URL: "/T0/s3cret"})
	x.Update([]finding.Row{row("a1")})
	s.flushed(x)
	s.want(4)
	x.Update([]finding.Row{row("a2")})
	s.flushed(x)
	s.want(5)
	x.Update([]finding.Row{row("a2")})
	s.flushed(x)
	s.want(5)
	if s.count(Failed) != 3 || s.count(Delivered) != 1 || s.count(Refused) != 1 {
		t.Errorf("counts %v", s.counts)
	}
	log := s.logged.String()
	if !strings.Contains(log, "403 Forbidden") || strings.Contains(log, "s3cret") {
		t.Errorf("log %s", log)
	}
}

// A receiver that cannot be reached is no reason to show where it is: the address may hold a secret.
func TestWebhook_ErrorsDoNotShowTheAddress(t *testing.T) {
	s := newSite(t)
	s.srv.Close()
	x := s.sender("w", Receiver{Name: "ops", Protocol: Webhook, URL: "/T0/s3cret"})
	x.Update([]finding.Row{row("a1")})
	for deadline := time.Now().Add(5 * time.Second); s.count(Failed) == 0 && time.Now().Before(deadline); {
		time.Sleep(time.Millisecond)
	}
	if log := func() string { s.mu.Lock(); defer s.mu.Unlock(); return s.logged.String() }(); !strings.Contains(log, "not delivered yet") || strings.Contains(log, "s3cret") {
		t.Errorf("log %s", log)
	}
}

// A redirect would take the headers elsewhere.
func TestWebhook_FollowsNoRedirects(t *testing.T) {
	s := newSite(t)
	s.answer = func(int) int { return http.StatusFound }
	x := s.sender("w", Receiver{Name: "ops", Protocol: Webhook})
	x.Update([]finding.Row{row("a1")})
	s.flushed(x)
	s.want(1)
	if s.count(Refused) != 1 {
		t.Errorf("counts %v", s.counts)
	}
}

func TestWebhook_OneOfSeveralWorkersSends(t *testing.T) {
	s := newSite(t)
	var workers []*Sender
	for i := range 5 {
		workers = append(workers, s.sender(fmt.Sprint("w", i), Receiver{Name: "ops", Protocol: Webhook}))
	}
	for i := range 20 {
		for _, x := range workers {
			x.Update([]finding.Row{row(fmt.Sprint("f", i))})
		}
	}
	deadline := time.Now().Add(5 * time.Second)
	for s.count(Delivered) < 20 && time.Now().Before(deadline) {
		time.Sleep(time.Millisecond)
	}
	time.Sleep(20 * time.Millisecond)
	s.want(20)
	// One that starts anew does not send them again.
	x := s.sender("new", Receiver{Name: "ops", Protocol: Webhook})
	x.Update([]finding.Row{row("f0"), row("f1")})
	s.flushed(x)
	s.want(20)
	if s.count(Elsewhere) < 2 {
		t.Errorf("counts %v", s.counts)
	}
}

// A worker that died with a claim has sent nothing: another one takes over.
func TestWebhook_StaleClaimIsTakenOver(t *testing.T) {
	s := newSite(t)
	r := row("a1")
	n := Note{Receiver: "ops", Event: Opened, Row: r}
	dead := s.claims.of("dead")
	_ = dead.Take(t.Context(), n.Key(), 1)
	s.claims.rows[n.Key()].At = time.Now().Add(-takeOver - time.Second)
	x := s.sender("w", Receiver{Name: "ops", Protocol: Webhook})
	x.Update([]finding.Row{r})
	s.flushed(x)
	s.want(1)
	if c := s.claims.rows[n.Key()]; c.Attempt != 2 || !c.Done {
		t.Errorf("claim %+v", c)
	}
}

// The sink is away: that is what has to be told.
func TestWebhook_WithoutTheRecordItIsSentAllTheSame(t *testing.T) {
	s := newSite(t)
	s.claims.err = io.ErrUnexpectedEOF
	x := s.sender("w", Receiver{Name: "ops", Protocol: Webhook})
	x.Update([]finding.Row{row("a1")})
	s.flushed(x)
	s.want(1)
}

func TestWebhook_OldNewsIsNone(t *testing.T) {
	s := newSite(t)
	x := s.sender("w", Receiver{Name: "ops", Protocol: Webhook})
	r := closed(row("a1"))
	r.At = r.At.Add(-old - time.Minute)
	x.Update([]finding.Row{r})
	s.flushed(x)
	s.want(0)
}

// A receiver that never answers holds up nobody: Update returns at once, what waits is bounded, and what is not told is counted.
func TestUpdate_DoesNotWaitAndIsBounded(t *testing.T) {
	s := newSite(t)
	s.answer = func(int) int { return http.StatusServiceUnavailable }
	x := s.sender("w", Receiver{Name: "ops", Protocol: Webhook})
	began := time.Now()
	for i := range maxWaiting + 50 {
		x.Update([]finding.Row{row(fmt.Sprint("f", i))})
	}
	if took := time.Since(began); took > 2*time.Second {
		t.Errorf("it took %s", took)
	}
	x.queues[0].mu.Lock()
	waiting := len(x.queues[0].waiting)
	x.queues[0].mu.Unlock()
	if waiting != maxWaiting || s.count(Dropped) != 50 {
		t.Errorf("%d are waiting, counts %v", waiting, s.counts)
	}
}

func TestSlack_Text(t *testing.T) {
	s := newSite(t)
	x := s.sender("w", Receiver{Name: "chat", Protocol: Slack})
	x.Update([]finding.Row{row("a1")})
	s.flushed(x)
	s.want(1)
	var m map[string]string
	if err := json.Unmarshal([]byte(strings.TrimPrefix(s.got()[0], "/ ")), &m); err != nil || len(m) != 1 {
		t.Fatalf("%v: %s", err, s.got()[0])
	}
	want := ":red_circle: *retention_loss* opened (error) in pipeline calls, t/0, offsets [5,9)\n4 offsets &lt;were&gt; removed\nwhat to do: raise the retention\n`waybill findings explain retention_loss`, finding a1"
	if m["text"] != want {
		t.Errorf("got %s", m["text"])
	}
}

func TestAlertmanager_IsToldWhatIsOpenAndWhatHasEnded(t *testing.T) {
	s := newSite(t)
	x := s.sender("w", Receiver{Name: "am", Protocol: Alertmanager, URL: "/prefix/", Labels: map[string]string{"team": "data"}})
	r := row("a1")
	x.Update([]finding.Row{r})
	s.flushed(x)
	s.want(1)
	path, body, _ := strings.Cut(s.got()[0], " ")
	var alerts []amAlert
	if err := json.Unmarshal([]byte(body), &alerts); err != nil || path != "/prefix/api/v2/alerts" || len(alerts) != 1 {
		t.Fatalf("%v: %s", err, s.got()[0])
	}
	a := alerts[0]
	want := map[string]string{"alertname": "retention_loss", "pipeline": "calls", "severity": "error", "topic": "t", "partition": "0", "finding": "a1", "team": "data"}
	if fmt.Sprint(a.Labels) != fmt.Sprint(want) || a.EndsAt.Before(time.Now().Add(4*time.Minute)) || a.Annotations["description"] != r.Message {
		t.Errorf("alert %+v", a)
	}
	over := closed(r)
	x.Update([]finding.Row{over})
	s.flushed(x)
	s.want(2)
	_, body, _ = strings.Cut(s.got()[1], " ")
	if err := json.Unmarshal([]byte(body), &alerts); err != nil || alerts[0].EndsAt.After(time.Now()) || alerts[0].EndsAt.Before(over.FirstSeen) || fmt.Sprint(alerts[0].Labels) != fmt.Sprint(want) {
		t.Errorf("%v: alert %+v", err, alerts[0])
	}
}
