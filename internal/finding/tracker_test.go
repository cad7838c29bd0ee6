package finding

import (
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"

	waybill "github.com/waybill-data/waybill"
)

// stage is workers that share a journal.
type stage struct {
	*testing.T
	now     time.Time
	workers []*Tracker
	journal []Row
}

func newStage(t *testing.T, workers int) *stage {
	s := &stage{T: t, now: time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)}
	for i := range workers {
		s.workers = append(s.workers, NewTracker("p", fmt.Sprint("worker-", i), 3, Config{}))
	}
	return s
}

func (s *stage) pass(d time.Duration) { s.now = s.now.Add(d) }

// flush has a worker write what is due.
func (s *stage) flush(i int) []Row {
	rows := s.workers[i].Due(s.now)
	s.journal = append(s.journal, rows...)
	return rows
}

// read has a worker read the journal.
func (s *stage) read(i int) { s.workers[i].Adopt(s.states(), s.now) }

// states are what the view of the journal says: the latest row of each id.
func (s *stage) states() []Row {
	by := map[ID]Row{}
	var order []ID
	for _, r := range s.journal {
		old, there := by[r.ID]
		if !there {
			order, by[r.ID] = append(order, r.ID), r
			continue
		}
		seen, first := old.Seen+r.Seen, old.FirstSeen
		if r.FirstSeen.Before(first) {
			first = r.FirstSeen
		}
		if r.At.After(old.At) || r.At.Equal(old.At) && r.State.Open() {
			old = r
		}
		old.Seen, old.FirstSeen = seen, first
		by[r.ID] = old
	}
	var out []Row
	for _, id := range order {
		out = append(out, by[id])
	}
	return out
}

func (s *stage) wantOpen(n int) {
	s.Helper()
	open := 0
	for _, r := range s.states() {
		if r.State.Open() {
			open++
		}
	}
	if open != n {
		s.Fatalf("%d findings are open by the journal, want %d: %+v", open, n, s.states())
	}
}

func (s *stage) wantStates(rows []Row, want ...State) {
	s.Helper()
	var got []State
	for _, r := range rows {
		got = append(got, r.State)
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		s.Fatalf("rows %v, want %v", got, want)
	}
}

var (
	lasting  = waybill.Finding{Kind: "null_rate", Subject: "tokens", Message: "m"}
	lastKey  = lasting.Key()
	happened = waybill.Finding{Kind: "retention_loss", TopicPartition: waybill.TopicPartition{Topic: "t", Partition: 1}, Span: waybill.Span{First: 5, Next: 9}, Message: "m"}
)

func TestTracker_OpensOnceAndCloses(t *testing.T) {
	s := newStage(t, 1)
	w := s.workers[0]
	if news := w.Found(lasting, s.now); news != Fresh {
		t.Fatalf("news %d", news)
	}
	s.wantStates(s.flush(0), Opened)
	for range 30 { // seen every second
		s.pass(time.Second)
		if news := w.Found(lasting, s.now); news != Known {
			t.Fatalf("news %d", news)
		}
		s.wantStates(s.flush(0))
	}
	s.pass(time.Minute)
	rows := s.flush(0)
	s.wantStates(rows, Updated)
	if rows[0].Seen != 30 || rows[0].Severity != waybill.SeverityWarning {
		t.Errorf("got %+v", rows[0])
	}
	s.wantOpen(1)
	if !w.Mended(lastKey, "it is back", s.now) || w.Mended(lastKey, "it is back", s.now) {
		t.Error("it was open, once")
	}
	rows = s.flush(0)
	s.wantStates(rows, Closed)
	if rows[0].Why != "it is back" {
		t.Errorf("got %+v", rows[0])
	}
	s.wantOpen(0)
	if st := s.states(); len(st) != 1 || st[0].Seen != 31 {
		t.Errorf("states %+v", st)
	}
}

func TestTracker_UpdatesGetRarer(t *testing.T) {
	s := newStage(t, 1)
	for range 24 * 60 * 6 { // every ten seconds for a day
		s.workers[0].Found(lasting, s.now)
		s.flush(0)
		s.pass(10 * time.Second)
	}
	if n := len(s.journal); n < 24 || n > 80 {
		t.Errorf("%d rows in a day", n)
	}
	if st := s.states(); len(st) != 1 || !st[0].State.Open() {
		t.Errorf("states %+v", st)
	}
}

func TestTracker_SeverityThatRisesIsSaidAtOnce(t *testing.T) {
	s := newStage(t, 1)
	s.workers[0].Found(lasting, s.now)
	s.flush(0)
	s.pass(time.Second)
	worse := lasting
	worse.Severity = waybill.SeverityError
	if news := s.workers[0].Found(worse, s.now); news != Raised {
		t.Errorf("news %d", news)
	}
	rows := s.flush(0)
	s.wantStates(rows, Updated)
	if rows[0].Severity != waybill.SeverityError {
		t.Errorf("got %+v", rows[0])
	}
}

func TestTracker_FlappingIsOneFindingAndStaysOpen(t *testing.T) {
	s := newStage(t, 1)
	w := s.workers[0]
	rows := 0
	for range 60 { // on for ten seconds, off for ten seconds
		w.Found(lasting, s.now)
		rows += len(s.flush(0))
		s.pass(10 * time.Second)
		w.Mended(lastKey, "gone", s.now)
		rows += len(s.flush(0))
		s.pass(10 * time.Second)
	}
	if rows > 25 {
		t.Errorf("%d rows for twenty minutes of flapping", rows)
	}
	if st := s.states(); len(st) != 1 || st[0].Reopened == 0 || !st[0].State.Open() {
		t.Errorf("states %+v", st)
	}
	s.pass(10 * time.Minute)
	s.flush(0)
	s.wantOpen(0)
}

func TestTracker_LaterCauseIsAnotherEpisode(t *testing.T) {
	s := newStage(t, 1)
	for range 3 {
		s.workers[0].Found(lasting, s.now)
		s.flush(0)
		s.workers[0].Mended(lastKey, "gone", s.now)
		s.flush(0)
		s.pass(11 * time.Minute)
	}
	if st := s.states(); len(st) != 3 {
		t.Errorf("%d episodes, want 3: %+v", len(st), st)
	}
	s.wantOpen(0)
}

func TestTracker_StaysOpenOverARestartAndIsClosedByWhoeverSeesTheMending(t *testing.T) {
	s := newStage(t, 3)
	s.workers[0].Found(lasting, s.now)
	s.flush(0)
	s.pass(time.Hour)
	s.read(1) // it has died, another one starts
	if news := s.workers[1].Found(lasting, s.now); news != Known {
		t.Error("a finding that was open is news after a restart")
	}
	s.flush(1)
	s.wantOpen(1)
	s.read(2)
	s.pass(time.Minute)
	if !s.workers[2].Mended(lastKey, "gone", s.now) {
		t.Error("not known to be open")
	}
	s.flush(2)
	s.wantOpen(0)
	s.read(1)
	s.wantStates(s.flush(1))
	if s.workers[1].Mended(lastKey, "gone", s.now) {
		t.Error("it is closed, and another worker has been told")
	}
}

func TestTracker_TwoWorkersOpenTheSame(t *testing.T) {
	s := newStage(t, 2)
	s.workers[0].Found(lasting, s.now)
	s.pass(5 * time.Millisecond)
	s.workers[1].Found(lasting, s.now)
	s.workers[1].Found(happened, s.now)
	s.workers[0].Found(happened, s.now)
	s.flush(0)
	s.flush(1)
	s.wantOpen(2)
	if n := len(s.states()); n != 2 {
		t.Errorf("%d findings of two causes", n)
	}
	s.read(0)
	s.read(1)
	s.pass(time.Second)
	s.workers[0].Mended(lastKey, "gone", s.now)
	s.flush(0)
	s.read(1)
	s.flush(1)
	s.wantOpen(1)
}

// The hour numbers the episode: two workers that open it around the hour have two ids, until one has read what the other wrote.
func TestTracker_TwoWorkersOpenTheSameAroundTheHour(t *testing.T) {
	s := newStage(t, 2)
	s.now = s.now.Add(-time.Second)
	s.workers[0].Found(lasting, s.now)
	s.flush(0)
	s.pass(2 * time.Second)
	s.workers[1].Found(lasting, s.now)
	s.flush(1)
	s.wantOpen(2)
	for range 2 {
		s.pass(15 * time.Second)
		for i := range 2 {
			s.read(i)
			s.flush(i)
		}
	}
	s.wantOpen(1)
	s.workers[0].Mended(lastKey, "gone", s.now)
	s.flush(0)
	s.wantOpen(0)
}

// A worker that still sees the cause has the last word over one that does not.
func TestTracker_SeenAfterItWasClosedIsOpen(t *testing.T) {
	s := newStage(t, 2)
	s.workers[0].Found(lasting, s.now)
	s.flush(0)
	s.read(1)
	s.pass(10 * time.Second)
	s.workers[1].Mended(lastKey, "gone", s.now)
	s.flush(1)
	s.wantOpen(0)
	s.pass(time.Second)
	s.workers[0].Found(lasting, s.now) // it has not read the journal yet
	s.read(0)
	s.wantStates(s.flush(0), Updated)
	s.wantOpen(1)
	s.read(1)
	s.wantStates(s.flush(1))
	s.wantOpen(1)
}

// What another worker has opened may be read only after the all-clear.
func TestTracker_MendedBeforeItWasRead(t *testing.T) {
	s := newStage(t, 2)
	s.workers[0].Found(lasting, s.now)
	s.flush(0)
	s.pass(time.Second)
	if s.workers[1].Mended(lastKey, "gone", s.now) {
		t.Error("it cannot be known yet")
	}
	s.pass(time.Minute)
	s.read(1)
	s.flush(1)
	s.wantOpen(0)
}

func TestTracker_OccurrencesAreFindingsOfTheirOwn(t *testing.T) {
	s := newStage(t, 1)
	w := s.workers[0]
	other := happened
	other.Span = waybill.Span{First: 20, Next: 30}
	w.Found(happened, s.now)
	w.Found(other, s.now)
	w.Found(happened, s.now)
	s.flush(0)
	s.wantOpen(2)
	for _, r := range s.states() {
		if r.Until != s.now.Add(30*24*time.Hour) {
			t.Errorf("open until %s", r.Until)
		}
	}
}

func TestTracker_LastingFindingsCoverAllThatWasSeen(t *testing.T) {
	s := newStage(t, 1)
	gap := waybill.Finding{Kind: "ledger_gap", TopicPartition: waybill.TopicPartition{Topic: "t"}, Span: waybill.Span{First: 10, Next: 20}}
	s.workers[0].Found(gap, s.now)
	gap.Span = waybill.Span{First: 30, Next: 31}
	s.workers[0].Found(gap, s.now)
	if rows := s.flush(0); len(rows) != 1 || rows[0].Span != (waybill.Span{First: 10, Next: 31}) || rows[0].Severity != waybill.SeverityError {
		t.Errorf("got %+v", rows)
	}
}

func TestTracker_InfoIsToldOnce(t *testing.T) {
	s := newStage(t, 1)
	f := waybill.Finding{Kind: "new_field", Subject: "a.b", Severity: waybill.SeverityInfo}
	if s.workers[0].Found(f, s.now) != Fresh || s.workers[0].Found(f, s.now) != Known {
		t.Error("told twice, or not at all")
	}
	s.wantStates(s.flush(0), Noted)
	s.wantOpen(0)
}

func TestTracker_AnotherEpochClosesWhatLasted(t *testing.T) {
	s := newStage(t, 1)
	s.workers[0].Found(waybill.Finding{Kind: "topic_recreated", TopicPartition: waybill.TopicPartition{Topic: "t", Partition: -1}}, s.now)
	s.workers[0].Found(happened, s.now)
	s.flush(0)
	s.wantOpen(2)
	s.workers = append(s.workers, NewTracker("p", "next", 4, Config{}))
	s.pass(time.Minute)
	s.read(1)
	s.flush(1)
	s.wantOpen(1) // the loss stays a loss
}

func TestTracker_MemoryIsBounded(t *testing.T) {
	s := newStage(t, 1)
	s.workers[0] = NewTracker("p", "w", 0, Config{Entries: 10})
	for i := range 1000 {
		f := lasting
		f.Subject = fmt.Sprint("column ", i)
		s.workers[0].Found(f, s.now)
		s.workers[0].Mended(waybill.FindingKey{Kind: "null_rate", Subject: fmt.Sprint("other ", i)}, "", s.now)
	}
	if n := len(s.workers[0].List()); n != 11 {
		t.Errorf("%d entries, want 10 and one for all others", n)
	}
	rows := s.flush(0)
	var others int64
	for _, r := range rows {
		if r.Subject == Others {
			others = r.Seen
		}
	}
	if others != 990 {
		t.Errorf("%d others, want 990", others)
	}
	for i := range 20_000 {
		s.workers[0].Mended(waybill.FindingKey{Kind: "null_rate", Subject: fmt.Sprint("other ", i)}, "", s.now)
	}
	if n := len(s.workers[0].marks); n > maxMarks {
		t.Errorf("%d marks", n)
	}
}

func TestID_FollowsFromWhatItIsAbout(t *testing.T) {
	base := identity{FindingKey: lastKey}
	seen := map[ID]bool{}
	for _, id := range []ID{
		base.in("p", 0, 1), base.in("q", 0, 1), base.in("p", 1, 1), base.in("p", 0, 2),
		identity{FindingKey: happened.Key()}.in("p", 0, 1), identity{FindingKey: lastKey, batch: "b"}.in("p", 0, 1),
		identity{FindingKey: lastKey, span: waybill.Span{Next: 1}}.in("p", 0, 1),
	} {
		if seen[id] || len(id) != 16 {
			t.Errorf("id %s is not its own", id)
		}
		seen[id] = true
	}
}

// Whatever workers see and say, and however late they write and read: once they have been told that the causes are gone and have
// read what the others have written, nothing is open; and while a cause is still seen, its finding is.
func TestTracker_RandomWorkersAgree(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		s := newStage(t, 3)
		causes := []waybill.Finding{lasting, {Kind: "ledger_gap", TopicPartition: waybill.TopicPartition{Topic: "t", Partition: 1}}, {Kind: "all_blank", Subject: "ai.t"}}
		for range rapid.IntRange(1, 80).Draw(rt, "steps") {
			i, c := rapid.IntRange(0, 2).Draw(rt, "worker"), causes[rapid.IntRange(0, 2).Draw(rt, "cause")]
			s.pass(time.Duration(rapid.IntRange(0, 900).Draw(rt, "seconds")) * time.Second / 3)
			switch rapid.SampledFrom([]string{"found", "found", "mended", "flush", "read", "restart"}).Draw(rt, "what") {
			case "found":
				s.workers[i].Found(c, s.now)
			case "mended":
				s.workers[i].Mended(c.Key(), "gone", s.now)
			case "flush":
				s.flush(i)
			case "read":
				s.read(i)
			case "restart":
				s.flush(i)
				s.workers[i] = NewTracker("p", fmt.Sprint("worker-", i), 3, Config{})
				s.read(i)
			}
		}
		seen := causes[0]
		s.pass(time.Second)
		s.workers[0].Found(seen, s.now)
		s.settle(func() { s.workers[0].Found(seen, s.now) })
		open := map[waybill.FindingKey]int{}
		for _, r := range s.states() {
			if r.State.Open() {
				open[r.Key()]++
			}
		}
		if open[seen.Key()] != 1 {
			rt.Fatalf("a cause that is seen has %d open findings: %v", open[seen.Key()], s.states())
		}
		s.settle(func() {
			for _, c := range causes {
				s.workers[1].Mended(c.Key(), "gone", s.now)
			}
		})
		for _, r := range s.states() {
			if r.State.Open() {
				rt.Fatalf("open after all: %s\nof %v", r, s.states())
			}
		}
	})
}

// settle has all workers write and read for a while, and one of them do something each time.
func (s *stage) settle(each func()) {
	for range 60 {
		s.pass(15 * time.Second)
		each()
		for i := range s.workers {
			s.flush(i)
		}
		for i := range s.workers {
			s.read(i)
		}
	}
}
