package status_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"reflect"
	"regexp"
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

// fields are the names that a type has in JSON, with a mark if they may be left out.
func fields(of reflect.Type, under string) (out []string) {
	for of.Kind() == reflect.Pointer || of.Kind() == reflect.Slice {
		of = of.Elem()
	}
	if of.Kind() != reflect.Struct || of == reflect.TypeFor[time.Time]() {
		return nil
	}
	for i := range of.NumField() {
		name, options, _ := strings.Cut(of.Field(i).Tag.Get("json"), ",")
		mark := ""
		if options == "omitempty" {
			mark = " ?"
		}
		out = append(out, under+"`"+name+"`"+mark)
		out = append(out, fields(of.Field(i).Type, under+name+": ")...)
	}
	return out
}

// Each field of a status is in the reference, in the table of what it is part of, and the reference has no others.
func TestStatus_IsDocumented(t *testing.T) {
	page, err := os.ReadFile("../../docs/reference/status.md")
	if err != nil {
		t.Fatal(err)
	}
	in, documented := "", map[string]bool{}
	for line := range strings.Lines(string(page)) {
		cell := strings.Split(strings.TrimSpace(line), " | ")
		switch name := strings.TrimPrefix(cell[0], "| "); {
		case strings.HasPrefix(line, "## Of each pipeline"):
			in = "pipelines: "
		case strings.HasPrefix(name, "field of "):
			in = "pipelines: " + strings.Trim(strings.TrimPrefix(name, "field of "), "`") + ": "
		case strings.HasPrefix(name, "`files."):
			documented["files: `"+strings.TrimPrefix(name, "`files.")] = true
		case strings.HasPrefix(line, "| `"):
			documented[in+strings.TrimSuffix(name, " |")] = true
		}
	}
	inOneRow := regexp.MustCompile("^pipelines: (backfill: partitions|findings: span): ")
	for _, f := range fields(reflect.TypeFor[status.Status](), "") {
		if !documented[f] && !inOneRow.MatchString(f) {
			t.Errorf("docs/reference/status.md lacks %s", f)
		}
		delete(documented, f)
	}
	for f := range documented {
		t.Errorf("docs/reference/status.md has %s, which is no field", f)
	}
}
