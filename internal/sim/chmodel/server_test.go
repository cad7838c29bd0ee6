package chmodel

import (
	"testing"
)

func rowsOf(tablePartition int, offsets ...int64) []Row {
	var out []Row
	for _, o := range offsets {
		out = append(out, Row{Topic: "t", Offset: o, TablePartition: tablePartition, Content: uint64(o)})
	}
	return out
}

func withTable() *Server {
	s := NewServer()
	s.AddTable("a", TableOptions{Window: 10})
	return s
}

func wantOffsets(t *testing.T, got Offsets, want string) {
	t.Helper()
	if s := got.Set().String(); s != want || !got.Doubled().Empty() {
		t.Fatalf("present %s (doubled %s), want %s", s, got.Doubled(), want)
	}
}

func TestInsert_CommitsSliceBySlice(t *testing.T) {
	s := withTable()
	in := s.Begin("a", "T", append(rowsOf(1, 0), rowsOf(2, 1)...), InsertOptions{})
	for i, want := range []string{"[0,1)", "[0,2)"} {
		if done := in.Step(0); done != (i == 1) {
			t.Fatalf("step %d: done=%v", i, done)
		}
		wantOffsets(t, s.Present("a", "t", 0, 0, 0, 10), want)
	}
	if a := in.Result(); !a.OK || a.Duplicated != 0 {
		t.Fatalf("%+v", a)
	}
}

func TestAbort_KeepsWhatWasCommittedAndAnswersNothing(t *testing.T) {
	s := withTable()
	in := s.Begin("a", "T", append(rowsOf(1, 0), rowsOf(2, 1)...), InsertOptions{})
	in.Step(0)
	in.Abort()
	if a := in.Result(); !in.Step(0) || a != (Answer{}) {
		t.Fatalf("an aborted insert answers %+v", a)
	}
	wantOffsets(t, s.Present("a", "t", 0, 0, 0, 10), "[0,1)")
}

func TestPresentLagged_SeesAnEarlierCommit(t *testing.T) {
	s := withTable()
	s.Insert("a", "T", rowsOf(1, 0), InsertOptions{}, 0)
	then := s.Commits()
	s.Insert("a", "U", rowsOf(1, 1), InsertOptions{}, 0)
	s.Delete("a", func(r Row) bool { return r.Offset == 0 })
	wantOffsets(t, s.PresentLagged("a", "t", 0, 0, 0, 10, then), "[0,1)")
	wantOffsets(t, s.Present("a", "t", 0, 0, 0, 10), "[1,2)")
	wantOffsets(t, s.Present("a", "t", 0, 7, 0, 10), "{}") // another epoch
}

func TestExchange_InsertUnderWay(t *testing.T) {
	for _, fails := range []bool{false, true} {
		s := withTable()
		s.AddTable("b", TableOptions{Window: 10})
		in := s.Begin("a", "T", rowsOf(1, 0), InsertOptions{FailIfExchanged: fails})
		s.Exchange("a", "b")
		a := in.Run(0)
		if fails != (a.ErrCode == CodeUUIDMismatch) || a.OK == fails {
			t.Fatalf("fails=%v: %+v", fails, a)
		}
		if n := len(s.Rows("b")); n == 1 == fails {
			t.Fatalf("fails=%v: %d rows in the old physical table", fails, n)
		}
		if n := len(s.Rows("a")); n != 0 {
			t.Fatalf("%d rows in the new table", n)
		}
	}
}

func TestFaults_StrikeOnce(t *testing.T) {
	s := withTable()
	s.RefuseNext("a", CodeTooManyParts, "too many parts")
	if a := s.Insert("a", "T", rowsOf(1, 0), InsertOptions{}, 0); a.ErrCode != CodeTooManyParts {
		t.Fatalf("%+v", a)
	}
	s.SwallowToken("a", "U", 1, true)
	for token, landed := range map[string]int{"T": 1, "U": 0} {
		before := len(s.Rows("a"))
		if a := s.Insert("a", token, rowsOf(1, 1), InsertOptions{}, 0); !a.OK {
			t.Fatalf("%+v", a)
		}
		if n := len(s.Rows("a")) - before; n != landed {
			t.Fatalf("%s landed %d rows, want %d", token, n, landed)
		}
	}
	if s.Swallows("a") != 0 {
		t.Fatal("the swallow is still armed")
	}
}

func TestDeadline_PerBlock(t *testing.T) {
	s := withTable()
	in := s.BeginBlocks("a", "T", [][]Row{rowsOf(1, 0), rowsOf(1, 1)}, InsertOptions{Deadline: 100})
	in.Step(100)
	if in.Step(101); in.Result().ErrCode != CodeThrowIf {
		t.Fatalf("%+v", in.Result())
	}
	wantOffsets(t, s.Present("a", "t", 0, 0, 0, 10), "[0,1)")
}

func TestUnknownTable_IsAnAnswer(t *testing.T) {
	if a := NewServer().Insert("nope", "T", rowsOf(1, 0), InsertOptions{}, 0); a.ErrCode != CodeUnknownTable {
		t.Fatalf("%+v", a)
	}
}

func TestClone_SharesNothing(t *testing.T) {
	s := withTable()
	s.AddTable("b", TableOptions{Window: 10})
	s.AddView("a", "b", ViewOptions{})
	s.Insert("a", "T", rowsOf(1, 0), InsertOptions{}, 0)
	c := s.Clone()
	was := s.Fingerprint()
	if c.Fingerprint() != was {
		t.Fatal("a clone differs")
	}
	c.Insert("a", "U", rowsOf(1, 1), InsertOptions{}, 0)
	c.FailView(ViewName("a", "b"), true)
	c.DropTablePartition("a", 1)
	c.EvictAll("b")
	c.SwallowNext("a", 1, true)
	if s.Fingerprint() != was {
		t.Fatal("what happened to the clone happened to the original")
	}
	if c.Fingerprint() == was {
		t.Fatal("nothing happened to the clone")
	}
}
