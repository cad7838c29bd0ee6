package telemetry_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/waybill-data/waybill"
	"github.com/waybill-data/waybill/internal/telemetry"
)

// scrape is what Prometheus would see of Waybill's own metrics.
func scrape(t *testing.T, m *telemetry.Metrics) string {
	t.Helper()
	rec := httptest.NewRecorder()
	m.Handler().ServeHTTP(rec, httptest.NewRequest("GET", "/metrics", nil))
	if rec.Code != 200 {
		t.Fatalf("status %d: %s", rec.Code, rec.Body)
	}
	return rec.Body.String()
}

func wantLines(t *testing.T, body string, lines ...string) {
	t.Helper()
	for _, l := range lines {
		if !strings.Contains(body, "\n"+l+"\n") {
			name, _, _ := strings.Cut(l, "{")
			t.Errorf("missing %s in:\n%s", l, strings.Join(regexp.MustCompile("(?m)^"+name+".*$").FindAllString(body, -1), "\n"))
		}
	}
}

func TestMetrics_EachMethodMovesItsOwnSeries(t *testing.T) {
	m := telemetry.NewMetrics("v1")
	p := m.ForPipeline("calls")
	tp := p.ForPartition(waybill.TopicPartition{Topic: "llm", Partition: 3})
	tp.Read(10)
	tp.Written(7)
	tp.Filtered(3)
	tp.DeadLettered(4)
	tp.Tombstones(1)
	tp.Lost(2)
	tp.SetLag(40)
	p.DeadLetters("invalid_uuid", 5)
	p.DiscardedField("a.b", 6)
	p.Discarded("type_conflict", 12)
	p.Rescued("out_of_range", 13)
	p.Redacted("user.email: hash", 14)
	p.Redacted("usr.name: drop", 0)
	p.Upcast(15)
	p.Assumed(16)
	p.Alter("add_column", true)
	p.Alter("modify_column", false)
	p.Defaulted("tokens", 8)
	p.Rounded("price", 9)
	p.SetBatches("inserting", 2)
	p.Settled()
	p.Insert(waybill.StoreTarget, telemetry.InsertLanded, 20*time.Millisecond)
	p.Insert(waybill.StoreLedger, telemetry.InsertUnknown, 3*time.Second)
	p.ReadBack(waybill.StoreDeadLetters)
	p.Commit(telemetry.CommitFenced)
	p.LedgerRows(11)
	p.ServerRestart()
	p.Rebalance()
	p.SetOldestUnsettled(1500 * time.Millisecond)
	p.SetStalled(waybill.ClassThrottled, 12*time.Second)
	p.Finding(waybill.Finding{Kind: "offset_gap", Severity: waybill.SeverityError})
	m.SetBudget(100)
	m.SetBudgetUsed(60)
	wantLines(t, scrape(t, m),
		`waybill_build_info{version="v1"} 1`,
		`waybill_records_read_total{partition="3",pipeline="calls",topic="llm"} 10`,
		`waybill_records_written_total{partition="3",pipeline="calls",topic="llm"} 7`,
		`waybill_records_filtered_total{partition="3",pipeline="calls",topic="llm"} 3`,
		`waybill_records_dead_lettered_total{partition="3",pipeline="calls",topic="llm"} 4`,
		`waybill_discarded_values_total{kind="type_conflict",pipeline="calls"} 12`,
		`waybill_rescued_values_total{pipeline="calls",reason="out_of_range"} 13`,
		`waybill_redacted_values_total{pipeline="calls",rule="user.email: hash"} 14`,
		`waybill_redacted_values_total{pipeline="calls",rule="usr.name: drop"} 0`,
		`waybill_records_upcast_total{pipeline="calls"} 15`,
		`waybill_records_assumed_total{pipeline="calls"} 16`,
		`waybill_alters_total{kind="add_column",outcome="applied",pipeline="calls"} 1`,
		`waybill_alters_total{kind="modify_column",outcome="refused",pipeline="calls"} 1`,
		`waybill_tombstones_total{partition="3",pipeline="calls",topic="llm"} 1`,
		`waybill_records_lost_total{partition="3",pipeline="calls",topic="llm"} 2`,
		`waybill_lag_records{partition="3",pipeline="calls",topic="llm"} 40`,
		`waybill_dead_letters_total{code="invalid_uuid",pipeline="calls"} 5`,
		`waybill_discarded_fields_total{path="a.b",pipeline="calls"} 6`,
		`waybill_defaulted_values_total{column="tokens",pipeline="calls"} 8`,
		`waybill_rounded_values_total{column="price",pipeline="calls"} 9`,
		`waybill_batches_in_flight{pipeline="calls",state="inserting"} 2`,
		`waybill_batches_settled_total{pipeline="calls"} 1`,
		`waybill_inserts_total{outcome="landed",pipeline="calls",store="target"} 1`,
		`waybill_inserts_total{outcome="unknown",pipeline="calls",store="ledger"} 1`,
		`waybill_inserts_total{outcome="late",pipeline="calls",store="target"} 0`,
		`waybill_insert_duration_seconds_bucket{pipeline="calls",store="target",le="0.01"} 0`,
		`waybill_insert_duration_seconds_bucket{pipeline="calls",store="target",le="0.025"} 1`,
		`waybill_insert_duration_seconds_sum{pipeline="calls",store="ledger"} 3`,
		`waybill_readbacks_total{pipeline="calls",store="dead_letters"} 1`,
		`waybill_commits_total{outcome="fenced",pipeline="calls"} 1`,
		`waybill_commits_total{outcome="ok",pipeline="calls"} 0`,
		`waybill_ledger_rows_total{pipeline="calls"} 11`,
		`waybill_server_restarts_total{pipeline="calls"} 1`,
		`waybill_rebalances_total{pipeline="calls"} 1`,
		`waybill_oldest_unsettled_batch_age_seconds{pipeline="calls"} 1.5`,
		`waybill_stalled{class="throttled",pipeline="calls"} 1`,
		`waybill_stalled_seconds{pipeline="calls"} 12`,
		`waybill_findings_total{kind="offset_gap",pipeline="calls",severity="error"} 1`,
		`waybill_memory_budget_bytes 100`,
		`waybill_memory_budget_used_bytes 60`,
	)
}

func TestMetrics_OneClassIsStalledAtATime(t *testing.T) {
	m := telemetry.NewMetrics("v1")
	p := m.ForPipeline("calls")
	p.SetStalled(waybill.ClassThrottled, time.Second)
	p.SetStalled(waybill.ClassRetryable, time.Second)
	wantLines(t, scrape(t, m), `waybill_stalled{class="throttled",pipeline="calls"} 0`, `waybill_stalled{class="retryable",pipeline="calls"} 1`)
	p.ClearStalled()
	wantLines(t, scrape(t, m), `waybill_stalled{class="retryable",pipeline="calls"} 0`, `waybill_stalled_seconds{pipeline="calls"} 0`)
}

func TestMetrics_ReleasedPartitionHasNoLag(t *testing.T) {
	m := telemetry.NewMetrics("v1")
	tp := m.ForPipeline("calls").ForPartition(waybill.TopicPartition{Topic: "llm"})
	tp.Read(1)
	tp.SetLag(5)
	tp.Release()
	body := scrape(t, m)
	if strings.Contains(body, "waybill_lag_records{") {
		t.Error("the lag of a released partition is still reported")
	}
	wantLines(t, body, `waybill_records_read_total{partition="0",pipeline="calls",topic="llm"} 1`)
}

func TestMetrics_FreeLabelsAreBounded(t *testing.T) {
	m := telemetry.NewMetrics("v1")
	p := m.ForPipeline("calls")
	for i := range 1000 {
		p.DiscardedField(fmt.Sprintf("k%d", i), 1)
	}
	p.DiscardedField("k0", 1)
	body := scrape(t, m)
	if n := strings.Count(body, "waybill_discarded_fields_total{"); n != 201 {
		t.Errorf("%d series, want 200 and the rest in one", n)
	}
	wantLines(t, body,
		`waybill_discarded_fields_total{path="(other)",pipeline="calls"} 800`,
		`waybill_discarded_fields_total{path="k0",pipeline="calls"} 2`)
}

func TestMetrics_HotPathDoesNotAllocate(t *testing.T) {
	p := telemetry.NewMetrics("v1").ForPipeline("calls")
	tp := p.ForPartition(waybill.TopicPartition{Topic: "llm"})
	p.DiscardedField("a", 1)
	if n := testing.AllocsPerRun(100, func() {
		tp.Read(5)
		tp.SetLag(1)
		p.DiscardedField("a", 1)
		p.Insert(waybill.StoreTarget, telemetry.InsertLanded, time.Second)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestNewLogger(t *testing.T) {
	for _, tt := range []struct {
		tty, json, wantJSON bool
	}{{false, false, true}, {false, true, true}, {true, true, true}, {true, false, false}} {
		var out bytes.Buffer
		log := telemetry.NewLogger(&out, tt.tty, slog.LevelInfo, tt.json)
		log.Debug("hidden")
		log.Info("shown", "pipeline", "calls")
		var line struct{ Msg, Pipeline string }
		isJSON := json.Unmarshal(out.Bytes(), &line) == nil
		if isJSON != tt.wantJSON || isJSON && (line.Msg != "shown" || line.Pipeline != "calls") {
			t.Errorf("tty %v, json %v: %s", tt.tty, tt.json, out.String())
		}
		if !strings.Contains(out.String(), "shown") || strings.Contains(out.String(), "hidden") {
			t.Errorf("tty %v, json %v: level not respected: %s", tt.tty, tt.json, out.String())
		}
	}
}
