package ledger

import (
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	waybill "github.com/waybill-data/waybill"
)

const (
	tableA = "00000000-0000-4000-8000-00000000000a"
	tableB = "00000000-0000-4000-8000-00000000000b"
	tableC = "00000000-0000-4000-8000-00000000000c"
)

func TestGenerations_OnRecordOnceHoweverOften(t *testing.T) {
	w := newWorld(t)
	g := Generation{Pipeline: "p", Table: tableA, Epoch: 3, FileEpoch: 2, Job: "j"}
	var all sync.WaitGroup
	for range 4 {
		s := New(connect(t, w.srv), w.s.db)
		all.Go(func() {
			if err := s.PutGeneration(t.Context(), g); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if err := w.s.PutGeneration(t.Context(), Generation{Pipeline: "p", Table: tableB, Epoch: 4, FileEpoch: 2, Job: "k"}); err != nil {
		t.Fatal(err)
	}
	if err := w.s.PutGeneration(t.Context(), Generation{Pipeline: "other", Table: tableB, Epoch: 3, Job: "k"}); err != nil {
		t.Fatal(err)
	}
	got, err := w.s.Generations(t.Context(), "p")
	if err != nil {
		t.Fatal(err)
	}
	want := []Generation{g, {Pipeline: "p", Table: tableB, Epoch: 4, FileEpoch: 2, Job: "k"}}
	if diff := cmp.Diff(want, got, cmpopts.IgnoreFields(Generation{}, "At")); diff != "" {
		t.Error(diff)
	}
	for i := range got {
		if time.Since(got[i].At).Abs() > time.Minute {
			t.Errorf("put on record at %s", got[i].At)
		}
	}
	if n, err := w.s.HighestEpoch(t.Context(), "p"); err != nil || n != 4 {
		t.Errorf("highest epoch %d, %v", n, err)
	}
}

func TestGenerations_RefusesWhatCannotBe(t *testing.T) {
	w := newWorld(t)
	for _, table := range []string{tableA, tableC} { // a pipeline of several tables
		if err := w.s.PutGeneration(t.Context(), Generation{Pipeline: "p", Table: table, Epoch: 3, Job: "j"}); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		g    Generation
		says string
	}{
		{Generation{Pipeline: "p", Table: tableB, Epoch: 3}, "cannot be that of table"},
		{Generation{Pipeline: "p", Table: "00000000-0000-0000-0000-000000000000", Epoch: 4}, "no UUID of a table"},
		{Generation{Pipeline: "p", Table: "calls", Epoch: 4}, "no UUID of a table"},
	} {
		if err := w.s.PutGeneration(t.Context(), c.g); err == nil || !strings.Contains(err.Error(), c.says) || waybill.ClassOf(err) != waybill.ClassConfig {
			t.Errorf("%+v: %v, want %q", c.g, err, c.says)
		}
	}
}

// What a database has that is older than this table.
func TestGenerations_NoneInAnOldDatabase(t *testing.T) {
	w := newWorld(t)
	w.exec("DROP TABLE " + w.s.db + ".generations SYNC")
	for _, s := range []*Store{w.s, New(w.ch, "no_such_database")} {
		if got, err := s.Generations(t.Context(), "p"); err != nil || len(got) > 0 {
			t.Errorf("%v, %v", got, err)
		}
	}
}

func TestHighestEpoch_OfAllThatIsOnRecord(t *testing.T) {
	w := newWorld(t)
	highest := func(want waybill.Epoch) {
		t.Helper()
		if n, err := w.s.HighestEpoch(t.Context(), "p"); err != nil || n != want {
			t.Errorf("highest epoch %d, want %d: %v", n, want, err)
		}
	}
	highest(0)
	w.insert(TableLedger, Block([]Row{row(0, 0, 10, now)}))
	highest(1)
	w.insert(TablePipelines, PipelineBlock(Pipeline{Name: "p", Topic: "t", Epoch: 5, FirstSeen: now}))
	highest(5)
}

func TestHold_LastsUntilItIsLiftedOrEnds(t *testing.T) {
	w := newWorld(t)
	held := func(want string) {
		t.Helper()
		if job, until, err := w.s.HeldBy(t.Context(), "p"); err != nil || job != want || (want != "") != until.After(time.Now()) {
			t.Errorf("held by %q until %s, want %q: %v", job, until, want, err)
		}
	}
	hold := func(job string, d time.Duration) {
		t.Helper()
		if err := w.s.Hold(t.Context(), "p", job, w.ch.ServerNow(time.Now()).Add(d)); err != nil {
			t.Fatal(err)
		}
	}
	release := func(job string) {
		t.Helper()
		if err := w.s.Release(t.Context(), "p", job); err != nil {
			t.Fatal(err)
		}
	}
	held("")
	release("a")
	hold("a", time.Hour)
	held("a")
	hold("a", 2*time.Hour)
	hold("b", time.Minute)
	held("a") // for longest
	release("a")
	held("b")
	release("a")
	release("b")
	held("")
	hold("a", time.Hour) // again
	held("a")
	hold("a", -time.Second) // the last counts, also if it ends sooner
	held("")
	if job, _, err := w.s.HeldBy(t.Context(), "q"); err != nil || job != "" {
		t.Errorf("another pipeline is held by %q: %v", job, err)
	}
}
