package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	waybill "github.com/waybill-data/waybill"
	"github.com/waybill-data/waybill/docs/runbook"
	"github.com/waybill-data/waybill/internal/clickhouse"
	"github.com/waybill-data/waybill/internal/finding"
	"github.com/waybill-data/waybill/internal/ledger"
)

// findings runs `waybill findings` with the arguments.
func (w *schemaWorld) findings(want int, args ...string) (out, errs string) {
	w.Helper()
	var o, e bytes.Buffer
	if got := Main(w.Context(), append([]string{"findings"}, args...), Streams{In: strings.NewReader(""), Out: &o, Err: &e}); got != want {
		w.Fatalf("findings %v: exit code %d, want %d: %s%s", args, got, want, o.String(), e.String())
	}
	return o.String(), e.String()
}

func (w *schemaWorld) note(t *finding.Tracker, now time.Time) {
	w.insert(clickhouse.Insert{Table: ledger.TableFindings, Input: ledger.FindingBlock(t.Due(now))})
}

func TestFindings(t *testing.T) {
	w := newSchemaWorld(t)
	if err := w.store.Migrate(t.Context(), schemaNow); err != nil {
		t.Fatal(err)
	}
	now := time.Now().Add(-time.Hour).UTC().Truncate(time.Millisecond)
	tracker := finding.NewTracker(w.name, "worker-7", 0, finding.Config{})
	jump := waybill.Finding{Kind: "null_rate", Subject: "tokens", Message: "60 % of the last 1000 events are with null", Action: "ask", Evidence: `{"usual":0.01}`}
	tracker.Found(jump, now)
	tracker.Found(waybill.Finding{Kind: "new_field", Subject: "usage.cost", Message: "events carry usage.cost"}, now)
	w.note(tracker, now)

	out, _ := w.findings(ExitFindings, w.file)
	w.contains(out, "1 finding is open", "warning null_rate,", "tokens", "since "+moment(now), "60 % of the last", `evidence: {"usual":0.01}`, "what to do: ask", "more: waybill findings explain null_rate")
	if strings.Contains(out, "usage.cost") {
		t.Errorf("what is only told is shown among what is open:\n%s", out)
	}
	out, _ = w.findings(ExitOK, w.file, "--severity", "error")
	w.contains(out, "no finding is open")
	w.findings(ExitFindings, w.file, "--since", "2h")
	w.findings(ExitOK, w.file, "--since", "1m")
	w.findings(ExitOK, w.file, "--kind", "retention_loss")
	out, _ = w.findings(ExitFindings, w.file, "--all")
	w.contains(out, "usage.cost", "told")

	tracker.Mended(jump.Key(), "1 % are, as before", now.Add(time.Minute))
	lost := waybill.Finding{Kind: "retention_loss", TopicPartition: waybill.TopicPartition{Topic: "llm.calls", Partition: 3}, Span: waybill.Span{First: 10, Next: 20}, Message: "10 offsets"}
	tracker.Found(lost, now.Add(time.Minute))
	w.note(tracker, now.Add(time.Minute))
	out, _ = w.findings(ExitFindings, w.file, "--all", "-o", "json")
	var r findingsReport
	if err := json.Unmarshal([]byte(out), &r); err != nil {
		t.Fatal(err)
	}
	if r.Errors != 1 || r.Warnings != 0 || len(r.Findings) != 3 || r.Findings[0].Kind != "retention_loss" || r.Findings[0].Span.Next != 20 || r.Findings[0].Page != "docs/runbook/retention_loss.md" ||
		r.Findings[1].Closed == nil || r.Findings[1].Why != "1 % are, as before" || string(r.Findings[1].Evidence) != "{\n        \"usual\": 0.01\n      }" && string(r.Findings[1].Evidence) != `{"usual":0.01}` {
		t.Errorf("report %+v", r)
	}

	_, errs := w.findings(ExitUsage, "ack", w.file, "zz")
	if !strings.Contains(errs, "0 findings that are open have an id that begins with") {
		t.Errorf("said %s", errs)
	}
	out, _ = w.findings(ExitOK, "ack", w.file, r.Findings[0].ID[:6], "--why", "the producer has them")
	w.contains(out, "retention_loss", "is closed: acknowledged by", "the producer has them")
	out, _ = w.findings(ExitOK, w.file)
	w.contains(out, "no finding is open")
}

func TestFindings_WhatCannotBeTold(t *testing.T) {
	w := newSchemaWorld(t)
	if err := w.store.Migrate(t.Context(), schemaNow); err != nil {
		t.Fatal(err)
	}
	w.write(strings.Replace(w.text(), "name: "+w.name, "name: nobody-has-run-this", 1))
	w.findings(ExitOK, w.file)
	_, errs := w.findings(ExitUsage, w.file, "--kind", "made_up")
	if !strings.Contains(errs, "there are no such findings") {
		t.Errorf("said %s", errs)
	}
	w.findings(ExitUsage, w.file, "--severity", "bad")
	w.write(fmt.Sprintf(schemaFile, w.name, "127.0.0.1:1", w.db))
	w.findings(ExitConnect, w.file)
}

func TestFindings_Explain(t *testing.T) {
	for _, k := range finding.Kinds() {
		code, out := mainOf("findings", "explain", k.Name)
		if page, _ := runbook.Page(k.Name); code != ExitOK || out != page {
			t.Errorf("explain %s: exit code %d, %d bytes", k.Name, code, len(out))
		}
	}
	if code, out := mainOf("findings", "explain"); code != ExitOK || !strings.Contains(out, "retention_loss") {
		t.Errorf("exit code %d: %s", code, out)
	}
	if code, _ := mainOf("findings", "explain", "../README"); code != ExitUsage {
		t.Errorf("exit code %d", code)
	}
}
