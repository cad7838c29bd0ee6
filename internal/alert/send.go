package alert

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"strings"
	"time"

	waybill "github.com/waybill-data/waybill"
	"github.com/waybill-data/waybill/internal/finding"
)

// Message is what a webhook gets, as JSON.
type Message struct {
	Version   int              `json:"version"` // 1; members may be added to it
	Event     Event            `json:"event"`
	ID        finding.ID       `json:"id"`
	Kind      string           `json:"kind"`
	Title     string           `json:"title"`
	Severity  waybill.Severity `json:"severity"`
	Pipeline  string           `json:"pipeline"`
	Epoch     uint32           `json:"epoch"`
	Topic     string           `json:"topic,omitempty"`
	Partition *int32           `json:"partition,omitempty"`
	Span      *waybill.Span    `json:"span,omitempty"`
	Subject   string           `json:"subject,omitempty"`
	Batch     string           `json:"batch,omitempty"`
	Since     time.Time        `json:"since"`
	LastSeen  time.Time        `json:"last_seen"`
	Seen      int64            `json:"seen"`
	Reopened  uint32           `json:"reopened,omitempty"`
	Closed    *time.Time       `json:"closed,omitempty"`
	Why       string           `json:"why,omitempty"` // it was closed
	Message   string           `json:"message"`
	Action    string           `json:"action,omitempty"`
	Evidence  string           `json:"evidence,omitempty"`
	Page      string           `json:"page"` // of the runbook
}

func messageOf(n *Note) Message {
	k, _ := finding.Of(n.Kind)
	m := Message{
		Version: 1, Event: n.Event, ID: n.ID, Kind: n.Kind, Title: k.Title, Severity: n.Severity, Pipeline: n.Pipeline, Epoch: uint32(n.Epoch), Topic: n.Topic,
		Subject: n.Subject, Batch: n.Batch, Since: n.FirstSeen.UTC(), LastSeen: n.LastSeen.UTC(), Seen: n.Seen, Reopened: n.Reopened, Why: n.Why,
		Message: n.Row.Message, Action: n.Action, Evidence: n.Evidence, Page: page(n.Kind),
	}
	if n.Topic != "" && n.Partition >= 0 {
		m.Partition = &n.Partition
	}
	if n.Span != (waybill.Span{}) {
		m.Span = &n.Span
	}
	if n.Event == Closed {
		at := n.At.UTC()
		m.Closed = &at
	}
	return m
}

func page(kind string) string { return "docs/runbook/" + kind + ".md" }

// where is the place that a finding is about, in words.
func where(r *finding.Row) string {
	var parts []string
	switch {
	case r.Topic != "" && r.Partition >= 0:
		parts = append(parts, r.TopicPartition.String())
	case r.Topic != "":
		parts = append(parts, r.Topic)
	}
	if r.Span != (waybill.Span{}) {
		parts = append(parts, "offsets "+r.Span.String())
	}
	if r.Subject != "" {
		parts = append(parts, r.Subject)
	}
	return strings.Join(parts, ", ")
}

var signs = map[waybill.Severity]string{waybill.SeverityError: ":red_circle:", waybill.SeverityWarning: ":large_orange_circle:", waybill.SeverityInfo: ":large_blue_circle:"}

// slackEscaper: these three have a meaning in Slack's messages.
var slackEscaper = strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;")

// slackText is a note for people, in what Slack and those like it understand.
func slackText(n *Note) string {
	var b strings.Builder
	sign := signs[n.Severity]
	if n.Event == Closed {
		sign = ":white_check_mark:"
	}
	fmt.Fprintf(&b, "%s *%s* %s (%s) in pipeline %s", sign, slackEscaper.Replace(n.Kind), n.Event, n.Severity, slackEscaper.Replace(n.Pipeline))
	if at := where(&n.Row); at != "" {
		b.WriteString(", " + slackEscaper.Replace(at))
	}
	b.WriteString("\n" + slackEscaper.Replace(n.Row.Message))
	switch {
	case n.Event == Closed:
		b.WriteString("\nclosed: " + slackEscaper.Replace(n.Why))
	case n.Action != "":
		b.WriteString("\nwhat to do: " + slackEscaper.Replace(n.Action))
	}
	fmt.Fprintf(&b, "\n`waybill findings explain %s`, finding %s", n.Kind, n.ID)
	return b.String()
}

func (q *queue) send(ctx context.Context, n *Note) error {
	var body any = messageOf(n)
	if q.to.Protocol == Slack {
		body = map[string]string{"text": slackText(n)}
	}
	k := n.Key()
	return q.post(ctx, q.to.URL, body, fmt.Sprintf("%s-%s-%s-%d", k.Finding, k.Event, k.Severity, k.Reopened))
}

// amAlert is an alert of the Alertmanager's API, version 2.
type amAlert struct {
	Labels      map[string]string `json:"labels"`
	Annotations map[string]string `json:"annotations"`
	StartsAt    time.Time         `json:"startsAt"`
	EndsAt      time.Time         `json:"endsAt"` // in the future: it holds until then, unless it is told again
}

func (q *queue) sendLevel(ctx context.Context, rows []finding.Row, now time.Time) error {
	out := make([]amAlert, 0, len(rows))
	for i := range rows {
		out = append(out, q.amAlert(&rows[i], now))
	}
	return q.post(ctx, strings.TrimRight(q.to.URL, "/")+"/api/v2/alerts", out, "")
}

// amAlert: the labels are what the alert is; they are the same from whichever worker, for as long as the finding lives and is no worse.
func (q *queue) amAlert(r *finding.Row, now time.Time) amAlert {
	k, _ := finding.Of(r.Kind)
	labels := map[string]string{}
	maps.Copy(labels, q.to.Labels)
	for name, value := range map[string]string{"alertname": r.Kind, "pipeline": r.Pipeline, "severity": string(r.Severity), "topic": r.Topic, "subject": r.Subject, "finding": string(r.ID)} {
		if value != "" {
			labels[name] = value
		}
	}
	if r.Topic != "" && r.Partition >= 0 {
		labels["partition"] = fmt.Sprint(r.Partition)
	}
	a := amAlert{Labels: labels, StartsAt: r.FirstSeen.UTC(), EndsAt: now.Add(stands).UTC(), Annotations: map[string]string{
		"summary": k.Title, "description": r.Message, "what_to_do": r.Action, "runbook": page(r.Kind), "where": where(r), "seen": fmt.Sprint(r.Seen),
	}}
	if over := q.over(r); !over.IsZero() {
		if a.EndsAt = over.UTC(); over.After(now) { // by the server's clock; an end that is still to come is none to an Alertmanager
			a.EndsAt = now.UTC()
		}
		a.Annotations["closed"] = r.Why
	}
	return a
}

// refusedError: it makes no sense to send it again.
type refusedError struct{ status string }

func (e *refusedError) Error() string { return "the receiver answered " + e.status }

// post sends a body. No error of it names the address, which may hold a secret.
func (q *queue) post(ctx context.Context, to string, body any, key string) error {
	text, err := json.Marshal(body)
	if err != nil {
		return &refusedError{err.Error()}
	}
	ctx, cancel := context.WithTimeout(ctx, sendTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, to, bytes.NewReader(text))
	if err != nil {
		return errors.New("the receiver's address is no URL")
	}
	req.Header.Set("Content-Type", "application/json")
	if key != "" {
		req.Header.Set("Idempotency-Key", key)
	}
	for name, value := range q.to.Headers {
		req.Header.Set(name, value)
	}
	resp, err := q.deps.Client.Do(req)
	if err != nil {
		var bare *url.Error
		if errors.As(err, &bare) {
			err = bare.Err
		}
		return err
	}
	defer resp.Body.Close()                                       //nolint:errcheck // nothing of it is needed
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, 64<<10)) // so that the connection can be used again
	switch code := resp.StatusCode; {
	case code/100 == 2:
		return nil
	case code == http.StatusRequestTimeout, code == http.StatusTooManyRequests, code/100 == 5:
		return fmt.Errorf("the receiver answered %s", resp.Status)
	}
	return &refusedError{resp.Status}
}
