package doctor

import (
	"strings"
	"testing"
	"time"

	"github.com/waybill-data/waybill"
)

var now = time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC)

// moving is a pipeline that keeps up.
func moving() *Facts {
	return &Facts{Now: now, Pipeline: "p", File: "p.yaml", Recorded: true, LastSettled: now.Add(-2 * time.Second),
		Group: Group{Name: "g", Known: true, Members: []string{"w1"}, Lag: 100, Came: 500, Done: 520, Apart: 5 * time.Second, Settles: time.Minute}}
}

func TestDiagnose(t *testing.T) {
	if got := Diagnose(moving()); len(got) > 0 {
		t.Fatalf("of a pipeline that keeps up: %+v", got)
	}
	for name, c := range map[string]struct {
		change func(*Facts)
		causes []string // in their order, the beginning of each
	}{
		"check's errors come first, its warnings last": {func(f *Facts) {
			f.Faults = []Fault{{Severity: waybill.SeverityWarning, What: "the window is small"}, {Severity: waybill.SeverityError, What: "the topic is gone"}}
			f.Findings = []Finding{{Kind: "gap", Severity: waybill.SeverityError}, {Kind: "new_field", Severity: waybill.SeverityWarning}}
		}, []string{"the topic is gone", "gap", "new_field", "the window is small"}},
		"paused, which is why nobody is there": {func(f *Facts) {
			f.Pause, f.Group.Members, f.Group.Done = &Pause{Who: "ann", Why: "a move", At: now}, nil, 0
		}, []string{"it is paused: by ann, since 2026-11-29 12:00:00 (a move)"}},
		"held":                   {func(f *Facts) { f.Held, f.Group.Done = &Hold{Job: "b1", Until: now}, 0 }, []string{"backfill b1 holds it"}},
		"nobody":                 {func(f *Facts) { f.Group.Members = nil }, []string{"no worker runs"}},
		"nobody, never":          {func(f *Facts) { f.Group.Members, f.Group.Lag, f.Recorded = nil, 0, false }, []string{"no worker runs"}},
		"nobody, all is done":    {func(f *Facts) { f.Group.Members, f.Group.Lag = nil, 0 }, nil},
		"stands still":           {func(f *Facts) { f.Group.Done, f.LastSettled = 0, now.Add(-time.Hour) }, []string{"it stands still: 100 offsets wait"}},
		"a batch takes long":     {func(f *Facts) { f.Group.Done = 0 }, nil},
		"falls behind":           {func(f *Facts) { f.Group.Done = 10 }, []string{"it falls behind: in 5s 500 offsets came and 10 were settled"}},
		"the group is not known": {func(f *Facts) { f.Group.Known, f.Group.Members = false, nil }, nil},
		"parts": {func(f *Facts) {
			f.Tables = []Table{{Name: "d.a", Parts: 1500, PartsLimit: 3000}, {Name: "d.b", Parts: 3000, PartsLimit: 3000}, {Name: "d.c", Parts: 1499, PartsLimit: 3000}}
		}, []string{"d.b has 3000 parts", "d.a has 1500 parts"}},
		"mutations": {func(f *Facts) {
			f.Tables = []Table{{Name: "d.a", Mutations: []Mutation{{Command: "DELETE", Since: now.Add(-time.Hour)}, {Command: "UPDATE", Since: now, Failure: "no such column"}, {Command: "OTHER", Since: now.Add(-time.Minute)}}}}
		}, []string{"a mutation of d.a fails: UPDATE", "a mutation of d.a runs since 2026-11-29 11:00:00: DELETE"}},
	} {
		f := moving()
		c.change(f)
		got := Diagnose(f)
		if len(got) != len(c.causes) {
			t.Errorf("%s: %+v", name, got)
			continue
		}
		for i, want := range c.causes {
			if !strings.HasPrefix(got[i].Cause, want) {
				t.Errorf("%s: cause %d is %q, want %q", name, i+1, got[i].Cause, want)
			}
		}
	}
}

func TestSummary(t *testing.T) {
	f := moving()
	if got := f.Summary(); got != "nothing is wrong: 100 offsets wait, 520 were settled in 5s" {
		t.Error(got)
	}
	f.Group.Lag = 0
	if got := f.Summary(); !strings.HasPrefix(got, "nothing is wrong: everything") {
		t.Error(got)
	}
	f.Group.Known = false
	if got := f.Summary(); !strings.Contains(got, "not known") {
		t.Error(got)
	}
}
