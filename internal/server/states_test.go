package server_test

import (
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/waybill-data/waybill/internal/server"
	"github.com/waybill-data/waybill/internal/status"
	"github.com/waybill-data/waybill/internal/telemetry"
)

func TestStates_AreThoseOfNow(t *testing.T) {
	m := telemetry.NewMetrics("v1")
	now := &fixed{Pipelines: []status.Pipeline{{Name: "calls", State: status.Running, Assigned: true}, {Name: "calls", State: status.Starting, Backfill: &status.Backfill{Job: "j1"}}}}
	m.Registerer().MustRegister(server.States(now))
	want := func(lines ...string) (body string) {
		t.Helper()
		rec := httptest.NewRecorder()
		m.Handler().ServeHTTP(rec, httptest.NewRequest("GET", "/metrics", nil))
		for _, l := range lines {
			if !strings.Contains(rec.Body.String(), "\n"+l+"\n") {
				t.Errorf("missing %s", l)
			}
		}
		return rec.Body.String()
	}
	want(`waybill_pipeline_ready{pipeline="calls"} 1`, `waybill_pipeline_ready{pipeline="calls@j1"} 0`,
		`waybill_pipeline_state{pipeline="calls",state="running"} 1`, `waybill_pipeline_state{pipeline="calls",state="stopped"} 0`,
		`waybill_pipeline_state{pipeline="calls@j1",state="starting"} 1`)
	now.Pipelines = []status.Pipeline{{Name: "calls", State: status.Stopped, Reason: "the table is gone"}}
	body := want(`waybill_pipeline_ready{pipeline="calls"} 0`, `waybill_pipeline_state{pipeline="calls",state="stopped"} 1`, `waybill_pipeline_state{pipeline="calls",state="running"} 0`)
	if strings.Contains(body, "calls@j1") {
		t.Error("a pipeline that is gone is still reported")
	}
}
