package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/waybill-data/waybill"
	"github.com/waybill-data/waybill/internal/finding"
)

// findingsReport is what `findings -o json` prints.
type findingsReport struct {
	Pipeline string        `json:"pipeline"`
	Now      time.Time     `json:"now"`
	Errors   int           `json:"errors"`   // that are open, among the findings
	Warnings int           `json:"warnings"` // likewise
	Findings []findingLine `json:"findings"` // open ones first, the worst first, then the oldest
}

type findingLine struct {
	ID        string           `json:"id"`
	Kind      string           `json:"kind"`
	Title     string           `json:"title"`
	Severity  waybill.Severity `json:"severity"`
	State     string           `json:"state"` // open, closed or told
	Epoch     uint32           `json:"epoch"`
	Topic     string           `json:"topic,omitempty"`
	Partition int32            `json:"partition"` // means nothing without a topic; -1: the whole topic
	Span      *waybill.Span    `json:"span,omitempty"`
	Subject   string           `json:"subject,omitempty"`
	Batch     string           `json:"batch,omitempty"`
	FirstSeen time.Time        `json:"first_seen"`
	LastSeen  time.Time        `json:"last_seen"`
	Seen      int64            `json:"seen"`
	Reopened  uint32           `json:"reopened,omitempty"`
	Closed    *time.Time       `json:"closed,omitempty"`
	Why       string           `json:"why,omitempty"`
	Message   string           `json:"message"`
	Action    string           `json:"action,omitempty"`
	Evidence  json.RawMessage  `json:"evidence,omitempty"`
	Workers   string           `json:"workers"`
	Page      string           `json:"page"` // of the runbook
}

// runbookPage is where the page of a kind is in the project.
func runbookPage(kind string) string { return "docs/runbook/" + kind + ".md" }

func newFindingsReport(pipeline string, now time.Time, rows []finding.Row) *findingsReport {
	r := &findingsReport{Pipeline: pipeline, Now: now.UTC(), Findings: []findingLine{}}
	for i := range rows {
		l := lineOf(&rows[i])
		if l.State == "open" {
			switch l.Severity {
			case waybill.SeverityError:
				r.Errors++
			case waybill.SeverityWarning:
				r.Warnings++
			case waybill.SeverityInfo:
			}
		}
		r.Findings = append(r.Findings, l)
	}
	order := []string{"error", "warning", "info"}
	states := []string{"open", "closed", "told"}
	slices.SortStableFunc(r.Findings, func(a, b findingLine) int {
		if d := slices.Index(states, a.State) - slices.Index(states, b.State); d != 0 {
			return d
		}
		return slices.Index(order, string(a.Severity)) - slices.Index(order, string(b.Severity))
	})
	return r
}

func lineOf(f *finding.Row) findingLine {
	k, _ := finding.Of(f.Kind)
	l := findingLine{
		ID: string(f.ID), Kind: f.Kind, Title: k.Title, Severity: f.Severity, State: string(f.State), Epoch: uint32(f.Epoch), Topic: f.Topic, Partition: f.Partition,
		Subject: f.Subject, Batch: f.Batch, FirstSeen: f.FirstSeen, LastSeen: f.LastSeen, Seen: f.Seen, Reopened: f.Reopened, Why: f.Why,
		Message: f.Message, Action: f.Action, Workers: f.Worker, Page: runbookPage(f.Kind),
	}
	if f.State.Open() {
		l.State = "open"
	}
	if f.State == finding.Closed {
		l.Closed = &f.At
	}
	if f.Span != (waybill.Span{}) {
		l.Span = &f.Span
	}
	if f.Evidence != "" {
		if l.Evidence = json.RawMessage(f.Evidence); !json.Valid(l.Evidence) {
			l.Evidence, _ = json.Marshal(f.Evidence) // a string always can be
		}
	}
	return l
}

func (r *findingsReport) print(w io.Writer, all bool) error {
	var b strings.Builder
	open := r.Errors + r.Warnings
	switch {
	case open == 0:
		wrap(&b, "", r.Pipeline+": no finding is open")
	case open == 1:
		wrap(&b, "", fmt.Sprintf("%s: 1 finding is open", r.Pipeline))
	default:
		wrap(&b, "", fmt.Sprintf("%s: %d findings are open, %d of them errors", r.Pipeline, open, r.Errors))
	}
	for i := range r.Findings {
		if f := &r.Findings[i]; all || f.State == "open" {
			f.print(&b)
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func (f *findingLine) print(b *strings.Builder) {
	b.WriteByte('\n')
	head := fmt.Sprintf("%s %s, %s", f.Severity, f.Kind, f.ID)
	if f.State != "open" {
		head += ", " + f.State
	}
	wrap(b, "", head)
	if where := f.where(); where != "" {
		wrap(b, "  ", where)
	}
	wrap(b, "  ", f.since())
	wrap(b, "  ", f.Message)
	if f.Evidence != nil {
		wrap(b, "  ", "evidence: "+string(f.Evidence))
	}
	if f.Closed != nil {
		wrap(b, "  ", fmt.Sprintf("closed %s: %s", moment(*f.Closed), f.Why))
	}
	if f.Action != "" {
		wrap(b, "  ", "what to do: "+f.Action)
	}
	wrap(b, "  ", "more: waybill findings explain "+f.Kind)
}

func (f *findingLine) where() string {
	var parts []string
	switch {
	case f.Topic != "" && f.Partition >= 0:
		parts = append(parts, fmt.Sprintf("%s/%d", f.Topic, f.Partition))
	case f.Topic != "":
		parts = append(parts, f.Topic)
	}
	if f.Span != nil {
		switch n := f.Span.Len(); {
		case n > 1:
			parts = append(parts, fmt.Sprintf("offsets %d-%d", f.Span.First, f.Span.Next-1))
		default:
			parts = append(parts, fmt.Sprintf("offset %d", f.Span.First))
		}
	}
	if f.Batch != "" {
		parts = append(parts, "batch "+f.Batch)
	}
	if f.Subject != "" {
		parts = append(parts, f.Subject)
	}
	return strings.Join(parts, ", ")
}

func (f *findingLine) since() string {
	text := "since " + moment(f.FirstSeen)
	if f.State == "told" {
		text = "told " + moment(f.FirstSeen)
	}
	if f.Seen > 1 {
		text += fmt.Sprintf(", seen %s times, last %s", count(f.Seen), moment(f.LastSeen))
	}
	if f.Reopened > 0 {
		text += fmt.Sprintf(", opened again %d times", f.Reopened)
	}
	return text
}
