package ledger

import (
	"testing"
	"time"

	waybill "github.com/waybill-data/waybill"
	"github.com/waybill-data/waybill/internal/finding"
)

func noted(id string, state finding.State, at time.Time) finding.Row {
	return finding.Row{
		Finding: waybill.Finding{
			Kind: "ledger_gap", Severity: waybill.SeverityError, TopicPartition: waybill.TopicPartition{Topic: "t", Partition: 1},
			Span: waybill.Span{First: 1, Next: 2}, Batch: "b", Message: "m", Action: "a", Subject: "s", Evidence: `{"x":1}`,
		},
		ID: finding.ID(id), Pipeline: "p", Epoch: 2, Episode: 7, State: state, At: at, FirstSeen: now, LastSeen: at, Seen: 3, Worker: "w",
	}
}

func (w *world) findings(of FindingsOf) []finding.Row {
	w.Helper()
	of.Pipeline = "p"
	rows, err := w.s.FindingsNow(w.Context(), of)
	if err != nil {
		w.Fatal(err)
	}
	return rows
}

func TestFindings_RoundTrip(t *testing.T) {
	w := newWorld(t)
	want := noted("x", finding.Opened, now)
	w.insert(TableFindings, FindingBlock([]finding.Row{want}))
	got := w.findings(FindingsOf{})
	if len(got) != 1 || got[0] != want {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

// The rows of one finding come from several workers, late and in any order: the latest by what it tells of is what counts.
func TestFindings_TheLatestRowIsWhatAFindingIs(t *testing.T) {
	w := newWorld(t)
	opened, closed, again := noted("x", finding.Opened, now), noted("x", finding.Closed, now.Add(2*time.Second)), noted("x", finding.Updated, now.Add(time.Second))
	closed.Why, closed.Message, closed.Seen = "gone", "m2", 0
	again.Worker, again.Span, again.Message = "v", waybill.Span{First: 5, Next: 9}, "late"
	w.insert(TableFindings, FindingBlock([]finding.Row{opened}))
	w.insert(TableFindings, FindingBlock([]finding.Row{closed}))
	if got := w.findings(FindingsOf{}); len(got) != 0 {
		t.Errorf("open: %+v", got)
	}
	w.insert(TableFindings, FindingBlock([]finding.Row{again}))
	got := w.findings(FindingsOf{All: true})
	if len(got) != 1 || got[0].State != finding.Closed || got[0].Why != "gone" || got[0].Message != "m2" || got[0].Seen != 6 || got[0].Worker != "v, w" ||
		got[0].Span != (waybill.Span{First: 1, Next: 9}) || got[0].At != closed.At || got[0].LastSeen != closed.LastSeen {
		t.Errorf("got %+v", got)
	}
	later := noted("x", finding.Updated, now.Add(3*time.Second))
	w.insert(TableFindings, FindingBlock([]finding.Row{later}))
	if got := w.findings(FindingsOf{}); len(got) != 1 || got[0].Why != "" {
		t.Errorf("it has been seen since: %+v", got)
	}
}

func TestFindings_OldOnesAreNotOpen(t *testing.T) {
	w := newWorld(t)
	old, young := noted("old", finding.Opened, now), noted("young", finding.Opened, now)
	old.Until, young.Until = time.Now().Add(-time.Minute), time.Now().Add(time.Hour)
	w.insert(TableFindings, FindingBlock([]finding.Row{old, young}))
	if got := w.findings(FindingsOf{}); len(got) != 1 || got[0].ID != "young" {
		t.Errorf("open: %+v", got)
	}
	if got := w.findings(FindingsOf{All: true, IDs: []string{"ol"}}); len(got) != 1 || got[0].State != finding.Closed || got[0].Why == "" || got[0].At.Sub(old.Until).Abs() > time.Second {
		t.Errorf("got %+v", got)
	}
}

func TestFindings_Filters(t *testing.T) {
	w := newWorld(t)
	one, two := noted("one", finding.Opened, now), noted("two", finding.Opened, now.Add(time.Hour))
	two.Kind, two.Severity = "null_rate", waybill.SeverityWarning
	told := noted("told", finding.Noted, now)
	other := noted("other", finding.Opened, now)
	other.Pipeline = "q"
	w.insert(TableFindings, FindingBlock([]finding.Row{one, two, told, other}))
	for name, c := range map[string]struct {
		of   FindingsOf
		want int
	}{
		"open":     {FindingsOf{}, 2},
		"all":      {FindingsOf{All: true}, 3},
		"kind":     {FindingsOf{Kinds: []string{"null_rate", "x"}}, 1},
		"severity": {FindingsOf{Severity: []waybill.Severity{waybill.SeverityError}}, 1},
		"since":    {FindingsOf{Since: now.Add(time.Minute)}, 1},
		"id":       {FindingsOf{IDs: []string{"o", "t"}}, 2},
		"latest":   {FindingsOf{Latest: true}, 2},
	} {
		if got := w.findings(c.of); len(got) != c.want {
			t.Errorf("%s: %d findings, want %d", name, len(got), c.want)
		}
	}
}

// What was in the table before version 4 was told, and is not open.
func TestFindings_RowsOfBeforeKeepAMeaning(t *testing.T) {
	w := newWorld(t)
	for _, message := range []string{"one", "two"} {
		w.exec("INSERT INTO " + w.s.db + ".findings (opened_at, kind, severity, pipeline, topic, partition, first, next, message) VALUES ('" + now.Format(time.DateTime) + "', 'retention_loss', 'error', 'p', 't', 1, 5, 9, '" + message + "')")
	}
	got := w.findings(FindingsOf{All: true})
	if len(got) != 2 || got[0].State != finding.Noted || got[0].FirstSeen != now || got[0].Span != (waybill.Span{First: 5, Next: 9}) || len(got[0].ID) != 16 || got[0].Seen != 1 || got[0].ID == got[1].ID {
		t.Errorf("got %+v", got)
	}
	if got := w.findings(FindingsOf{}); len(got) != 0 {
		t.Errorf("open: %+v", got)
	}
}
