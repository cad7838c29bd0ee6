package status_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/waybill-data/waybill"
	"github.com/waybill-data/waybill/internal/status"
)

func TestNotReady(t *testing.T) {
	running := status.Pipeline{Name: "a", State: status.Running, Assigned: true}
	with := func(f func(p *status.Pipeline)) status.Pipeline { p := running; f(&p); return p }
	tests := map[string]struct {
		pipelines []status.Pipeline
		want      []string
	}{
		"none":       {nil, []string{"no pipeline has started"}},
		"running":    {[]status.Pipeline{running}, nil},
		"stalled":    {[]status.Pipeline{with(func(p *status.Pipeline) { p.State = status.Stalled })}, nil},
		"starting":   {[]status.Pipeline{with(func(p *status.Pipeline) { p.State = status.Starting })}, []string{"a is starting"}},
		"draining":   {[]status.Pipeline{with(func(p *status.Pipeline) { p.State = status.Draining })}, []string{"a is draining"}},
		"unassigned": {[]status.Pipeline{with(func(p *status.Pipeline) { p.Assigned = false })}, []string{"a waits for the group to assign partitions"}},
		"stopped, and another that runs": {
			[]status.Pipeline{running, with(func(p *status.Pipeline) { p.Name, p.State, p.Reason = "b", status.Stopped, "no grant" })},
			[]string{"b is stopped: no grant"},
		},
		"recovering": {
			[]status.Pipeline{with(func(p *status.Pipeline) {
				p.Partitions = []status.Partition{
					{Topic: "t", State: status.Recovering},
					{Topic: "t", Partition: 1, State: status.Consuming},
					{Topic: "t", Partition: 2, State: status.Waiting},
				}
			})},
			[]string{"a: t/0 is recovering", "a: t/2 is waiting"},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, status.Status{Pipelines: tt.pipelines}.NotReady()); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestNewFailure_KeepsClassAndHint(t *testing.T) {
	at := time.Unix(1, 0).UTC()
	err := fmt.Errorf("while starting: %w", &waybill.Error{Op: "clickhouse.insert", Class: waybill.ClassConfig, Hint: "grant it", Err: errors.New("no grant")})
	want := &status.Failure{Time: at, Class: "config", Message: err.Error(), Hint: "grant it"}
	if diff := cmp.Diff(want, status.NewFailure(at, err)); diff != "" {
		t.Error(diff)
	}
}

func TestNewFinding_JSON(t *testing.T) {
	f := status.NewFinding(time.Unix(1, 0).UTC(), waybill.Finding{
		Kind: "offset_gap", Severity: waybill.SeverityError,
		TopicPartition: waybill.TopicPartition{Topic: "t", Partition: 0},
		Span:           waybill.Span{First: 0, Next: 3}, Message: "m",
	})
	b, err := json.Marshal(f)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`"partition":0`, `"span":{"first":0,"next":3}`, `"time":"1970-01-01T00:00:01Z"`} {
		if !strings.Contains(string(b), want) {
			t.Errorf("no %s in %s", want, b)
		}
	}
	if b, _ := json.Marshal(status.NewFinding(time.Unix(1, 0), waybill.Finding{Kind: "k"})); strings.Contains(string(b), "span") {
		t.Errorf("a finding about no offsets has a span: %s", b)
	}
}
