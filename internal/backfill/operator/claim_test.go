package operator

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/waybill-data/waybill/internal/backfill"
	"github.com/waybill-data/waybill/internal/failpoint"
)

// memory is a journal of one job.
type memory struct{ rows []backfill.Job }

func (m *memory) Jobs(context.Context) ([]backfill.Job, error) { return m.rows[len(m.rows)-1:], nil }

func (m *memory) Add(_ context.Context, j *backfill.Job) (bool, error) {
	if j.Sequence != m.rows[len(m.rows)-1].Sequence+1 {
		return false, nil
	}
	m.rows = append(m.rows, *j)
	return true, nil
}

// claiming is an operator that finds somebody else at the job, whose lease is over in 30 seconds. A second passes while it waits once, and then is called.
func claiming(t *testing.T, then func(second int, m *memory, now time.Time)) (o *Operator, m *memory, told *[]string) {
	t.Helper()
	now := time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)
	m = &memory{rows: []backfill.Job{{ID: "j", State: backfill.Planned, Sequence: 1, Owner: "other", Who: "host-1, process 7", Lease: now.Add(30 * time.Second)}}}
	told = &[]string{}
	second := 0
	o = New(Deps{Journal: m, Log: slog.New(slog.DiscardHandler), Owner: "me", Who: "host-2, process 8", Lease: 30 * time.Second, Now: func() time.Time { return now },
		Waiting: func(who string, until time.Time, longer bool) {
			*told = append(*told, who+" until "+until.Format(time.TimeOnly)+map[bool]string{true: " or longer"}[longer])
		},
		Pause: func(context.Context, int) error {
			now = now.Add(time.Second)
			if second++; second > 100 {
				return errors.New("it waits for ever")
			}
			then(second, m, now)
			return nil
		},
		Every: func(context.Context, time.Duration, func(context.Context)) func() { return func() {} }})
	return o, m, told
}

// as adds what somebody else does to the journal.
func (m *memory) as(t *testing.T, at time.Time, e backfill.Event) {
	t.Helper()
	j, err := m.rows[len(m.rows)-1].Apply(e, at)
	if err != nil {
		t.Fatal(err)
	}
	m.rows = append(m.rows, j)
}

func TestSession_WaitsForTheLeaseOfOneThatHasDied(t *testing.T) {
	seconds := 0
	o, m, told := claiming(t, func(s int, _ *memory, _ time.Time) { seconds = s })
	ran := false
	if err := o.session(t.Context(), "j", func(context.Context) error { ran = true; return nil }); err != nil || !ran {
		t.Fatalf("%v, ran: %v", err, ran)
	}
	if want := []string{"host-1, process 7 until 12:00:30"}; !slices.Equal(*told, want) || seconds != 30 {
		t.Errorf("told %q, after %d seconds", *told, seconds)
	}
	if j := m.rows[1]; j.Owner != "me" {
		t.Errorf("it is %s's", j.Owner)
	}
}

func TestSession_GoesOnAsSoonAsTheOtherHasFinished(t *testing.T) {
	seconds := 0
	o, _, _ := claiming(t, func(s int, m *memory, now time.Time) {
		if seconds = s; s == 3 {
			m.as(t, now, backfill.Yield{Owner: "other"})
		}
	})
	if err := o.session(t.Context(), "j", func(context.Context) error { return nil }); err != nil || seconds != 3 {
		t.Errorf("%v, after %d seconds", err, seconds)
	}
}

func TestSession_IsRefusedWhereTheOtherIsAlive(t *testing.T) {
	o, _, _ := claiming(t, func(s int, m *memory, now time.Time) {
		if s == 15 {
			m.as(t, now, backfill.Claim{Owner: "other", Who: "host-1, process 7", Until: now.Add(30 * time.Second), Renew: true})
		}
	})
	err := o.session(t.Context(), "j", func(context.Context) error { return errors.New("ran") })
	if illegal := (*backfill.Illegal)(nil); !errors.As(err, &illegal) || !strings.Contains(err.Error(), "host-1, process 7 is at it") {
		t.Errorf("%v", err)
	}
}

// What several processes may do is waited for, however long the first of them takes to begin.
func TestSession_WaitsLongerForWhatIsWorthIt(t *testing.T) {
	seconds := 0
	o, _, told := claiming(t, func(s int, m *memory, now time.Time) {
		switch seconds = s; {
		case s == 100:
			m.as(t, now, backfill.Yield{Owner: "other"})
		case s%15 == 0:
			m.as(t, now, backfill.Claim{Owner: "other", Who: "host-1, process 7", Until: now.Add(30 * time.Second), Renew: true})
		}
	})
	if err := o.sessionAfter(t.Context(), "j", func(*backfill.Job) bool { return true }, func(context.Context) error { return nil }); err != nil || seconds != 100 {
		t.Errorf("%v, after %d seconds", err, seconds)
	}
	if want := []string{"host-1, process 7 until 12:00:30 or longer"}; !slices.Equal(*told, want) {
		t.Errorf("told %q", *told)
	}
}

// Somebody else may have waited, too, and been quicker.
func TestSession_WaitsForTheNextOwner(t *testing.T) {
	o, _, told := claiming(t, func(s int, m *memory, now time.Time) {
		if s == 30 {
			m.as(t, now, backfill.Claim{Owner: "third", Who: "host-3", Until: now.Add(10 * time.Second)})
		}
	})
	if err := o.session(t.Context(), "j", func(context.Context) error { return nil }); err != nil {
		t.Fatal(err)
	}
	if want := []string{"host-1, process 7 until 12:00:30", "host-3 until 12:00:40"}; !slices.Equal(*told, want) {
		t.Errorf("told %q", *told)
	}
}

func TestSession_DoesNotWaitUnlessTold(t *testing.T) {
	o, _, _ := claiming(t, func(int, *memory, time.Time) { t.Error("it waits") })
	o.Waiting = nil
	if err := o.session(t.Context(), "j", func(context.Context) error { return nil }); err == nil {
		t.Error("two are at it")
	}
}

var passed = regexp.MustCompile(`\.Passed\("([a-z -]+)"( \+ string\(step\))?\)`)

// A test that kills a job everywhere asks the binary where that is.
func TestPassed_AllPointsAreListed(t *testing.T) {
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	in := map[failpoint.Name]bool{}
	point := func(name string) {
		in[failpoint.BackfillStep+"/"+failpoint.Name(strings.ReplaceAll(name, " ", "-"))] = true
	}
	calls := 0
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		calls += strings.Count(string(text), ".Passed(")
		for _, m := range passed.FindAllStringSubmatch(string(text), -1) {
			calls--
			if m[2] == "" {
				point(m[1])
				continue
			}
			for _, step := range backfill.Steps() {
				point(m[1] + string(step))
			}
		}
	}
	if calls != 0 {
		t.Errorf("%d calls of Passed are not understood", calls)
	}
	for _, name := range failpoint.Backfills() {
		if !in[name] {
			t.Errorf("%s is listed, and nobody passes it", name)
		}
		delete(in, name)
	}
	for name := range in {
		t.Errorf("%s is not listed", name)
	}
}
