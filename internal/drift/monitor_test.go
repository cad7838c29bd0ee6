package drift

import (
	"fmt"
	"math"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
	"time"

	waybill "github.com/waybill-data/waybill"
	"github.com/waybill-data/waybill/internal/contract"
)

var start = time.Date(2026, 11, 22, 0, 0, 0, 0, time.UTC)

// plan has the columns a (from x.a), b and list (from items[*].id), and those given.
func plan(t testing.TB, more ...string) *contract.Plan {
	t.Helper()
	c := contract.Contract{
		NewFields: contract.Modes{Default: contract.ModeDiscard}, TypeConflicts: contract.Modes{Default: contract.ModeFreeze},
		Columns: []contract.Column{{Name: "a", Type: "String", From: "x.a"}, {Name: "b", Type: "Int64"}, {Name: "list", Type: "Array(Int64)", From: "items[*].id"}},
	}
	s := contract.TableSchema{Database: "d", Table: "t", Columns: []contract.TableColumn{
		{Name: "_topic", Type: "String"}, {Name: "_partition", Type: "UInt32"}, {Name: "_offset", Type: "UInt64"},
	}}
	for _, name := range more {
		c.Columns = append(c.Columns, contract.Column{Name: name, Type: "String"})
	}
	for _, col := range c.Columns {
		s.Columns = append(s.Columns, contract.TableColumn{Name: col.Name, Type: col.Type})
	}
	p, err := contract.Compile(c, s, contract.Lineage{Topic: "_topic", Partition: "_partition", Offset: "_offset"}, 1)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func drifts(path string, n int64) contract.FieldDrift {
	at := contract.At{Topic: "t", Partition: 1, Offset: 5, Time: 1000}
	return contract.FieldDrift{
		Kind: contract.DriftNewField, Path: path, Mode: contract.ModeRescue, Count: n, First: at, Last: at, Sample: "1",
		Observed: observed("1", n),
	}
}

func observed(text string, n int64) (o contract.Observed) {
	for range n {
		o.Add([]byte(text))
	}
	return o
}

// film runs a monitor minute by minute: each is a batch of 2,000 events and a flush.
type film struct {
	*Monitor
	t      testing.TB
	plan   *contract.Plan
	minute int
	found  []string // "minute severity kind"
	last   waybill.Finding
}

func newFilm(t testing.TB, c Config) *film { return &film{Monitor: New(c), t: t, plan: plan(t)} }

const perMinute = 2000

func (f *film) run(minutes int, batch func(minute int, b *Batch)) {
	for range minutes {
		b := Batch{Plan: f.plan, Written: perMinute}
		batch(f.minute, &b)
		f.Observe(b)
		_, findings := f.Flush(start.Add(time.Duration(f.minute) * time.Minute))
		for _, x := range findings {
			f.found = append(f.found, fmt.Sprintf("%d %s %s", f.minute, x.Severity, x.Kind))
			f.last = x
		}
		f.minute++
	}
}

func (f *film) want(what ...string) {
	f.t.Helper()
	if fmt.Sprint(f.found) != fmt.Sprint(what) {
		f.t.Errorf("found %v, want %v", f.found, what)
	}
	f.found = nil
}

func missing(n int64) func(int, *Batch) {
	return func(_ int, b *Batch) { b.Columns = map[string]Counts{"a": {Missing: n}} }
}

func nothing(int, *Batch) {}

func TestFlush_RowsAddUpAndAreInOrder(t *testing.T) {
	m := New(Config{})
	at := func(offset, ms int64) contract.At { return contract.At{Topic: "t", Offset: offset, Time: ms} }
	b := Batch{Plan: plan(t), Written: 10, Blank: 1, First: at(3, 30), Last: at(12, 90)}
	b.Columns = map[string]Counts{"b": {Null: 2, Invalid: 1}, "a": {Missing: 4}}
	conflict := drifts("x.a", 2)
	conflict.Kind, conflict.Column, conflict.Reason, conflict.Last = contract.DriftTypeConflict, "a", "out_of_range", at(9, 2000)
	b.Drift = []contract.FieldDrift{drifts("cost", 3), conflict}
	m.Observe(b)
	second := drifts("cost", 2)
	second.First, second.Last, second.Mode, second.Sample = at(1, 900), at(20, 3000), contract.ModeDiscard, "2.5"
	second.Observed = observed("2.5", 2)
	b.Drift, b.First, b.Last, b.Columns, b.Blank = []contract.FieldDrift{second}, at(20, 20), at(30, 80), nil, 0
	m.Observe(b)
	got, _ := m.Flush(start.Add(5 * time.Hour))
	want := []Row{
		{Key: Key{Kind: KindBlank}, Day: start, Count: 1, First: at(3, 30), Last: at(12, 90)},
		{Key: Key{Kind: KindInvalid, Column: "b"}, Day: start, Count: 1, First: at(3, 30), Last: at(12, 90)},
		{Key: Key{Kind: KindMissing, Column: "a"}, Day: start, Count: 4, First: at(3, 30), Last: at(12, 90)},
		{
			Key: Key{Kind: KindNewField, Path: "cost"}, Day: start, Count: 5, First: at(1, 900), Last: at(20, 3000), Kinds: contract.Kinds{Integer: 3, Decimal: 2},
			Type: "Nullable(Float64)", Mode: contract.ModeDiscard, Sample: "1",
		},
		{Key: Key{Kind: KindNull, Column: "b"}, Day: start, Count: 2, First: at(3, 30), Last: at(12, 90)},
		{
			Key: Key{Kind: KindTypeConflict, Path: "x.a", Column: "a"}, Day: start, Count: 2, First: conflict.First, Last: at(9, 2000),
			Kinds: contract.Kinds{Integer: 2}, Type: "Nullable(Int64)", Mode: contract.ModeRescue, Reason: "out_of_range", Sample: "1",
		},
		{Key: Key{Kind: KindWritten}, Day: start, Count: 20, First: at(20, 20), Last: at(12, 90)},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	if again, _ := m.Flush(start.Add(6 * time.Hour)); len(again) != 0 {
		t.Errorf("counted twice: %+v", again)
	}
}

func TestNewFields_OneFindingEach(t *testing.T) {
	f := newFilm(t, Config{})
	f.Know(Key{Kind: KindNewField, Path: "old"})
	conflict := drifts("x.a", 1)
	conflict.Kind, conflict.Column, conflict.Reason = contract.DriftTypeConflict, "a", "out_of_range"
	f.run(5, func(_ int, b *Batch) { b.Drift = []contract.FieldDrift{drifts("cost", 1), drifts("old", 1), conflict} })
	f.want("0 info new_field", "0 warning type_conflict")
	want := waybill.Finding{
		Kind: "type_conflict", Severity: waybill.SeverityWarning, TopicPartition: waybill.TopicPartition{Topic: "t", Partition: 1}, Span: waybill.Span{First: 5, Next: 6},
		Message: "values of x.a do not fit column a (out_of_range), as 1; they are kept in the rescue column",
		Action:  "give the column a type that takes them, or mend who produces them",
		Subject: "x.a for column a",
	}
	if f.last != want {
		t.Errorf("got %+v", f.last)
	}
}

func TestNewFields_AreBoundedAndSaidInFew(t *testing.T) {
	f := newFilm(t, Config{Paths: 100, Findings: 4})
	f.run(3, func(minute int, b *Batch) {
		for i := range 1000 {
			b.Drift = append(b.Drift, drifts(fmt.Sprintf("k%d", minute*1000+i), 1))
		}
	})
	if len(f.found) != 4 {
		t.Errorf("found %q", f.found)
	}
	if !strings.HasPrefix(f.last.Message, "98 more fields") || !strings.Contains(f.last.Message, "k3, k4,") {
		t.Errorf("the last: %s", f.last.Message)
	}
	if n := len(f.fields); n != 101 {
		t.Errorf("%d fields, want 100 and the others", n)
	}
	f.Observe(Batch{Plan: f.plan, Drift: []contract.FieldDrift{drifts("new", 7), drifts("k5", 2)}})
	rows, _ := f.Flush(start.Add(time.Hour))
	if len(rows) != 2 || rows[0].Path != "k5" || rows[1].Path != contract.OtherPaths || rows[1].Count != 7 {
		t.Errorf("rows %+v", rows)
	}
	f.Flush(start.Add(26 * time.Hour)) // room is made of those that have not been seen for a day
	f.Observe(Batch{Plan: f.plan, Drift: []contract.FieldDrift{drifts("new", 7)}})
	if rows, _ := f.Flush(start.Add(26 * time.Hour)); len(rows) != 1 || rows[0].Path != "new" {
		t.Errorf("rows %+v", rows)
	}
}

func TestVanished_OnceAndBack(t *testing.T) {
	f := newFilm(t, Config{})
	f.run(10, missing(perMinute*9/10))
	f.want()
	f.run(30, missing(perMinute))
	f.want("12 warning field_vanished")
	if f.last.Message != "the field x.a of column a is in none of the events of 3 windows, 2000 in the last one; it was in 10 % before" {
		t.Errorf("message %s", f.last.Message)
	}
	f.run(5, missing(perMinute/2))
	f.want("40 info field_vanished")
	f.run(5, missing(perMinute)) // within the hour of the first: flapping
	f.run(5, missing(perMinute/2))
	f.want()
	f.run(60, missing(perMinute/2))
	f.run(2, missing(perMinute))
	f.run(1, missing(perMinute/2))
	f.run(2, missing(perMinute))
	f.want()
	f.run(1, missing(perMinute))
	f.want("120 warning field_vanished")
}

func TestVanished_FieldsWithoutColumn(t *testing.T) {
	f := newFilm(t, Config{})
	f.run(10, func(_ int, b *Batch) { b.Drift = []contract.FieldDrift{drifts("cost", 150), drifts("rare", 90)} })
	f.found = nil
	f.run(3, nothing)
	f.want("12 warning field_vanished") // cost; rare was in 4.5 %
}

// A field that got a column is not gone.
func TestVanished_NotByAnotherPlan(t *testing.T) {
	f := newFilm(t, Config{})
	f.run(10, func(_ int, b *Batch) { b.Drift = []contract.FieldDrift{drifts("cost", perMinute)} })
	f.found = nil
	f.plan = plan(t, "cost")
	f.run(20, nothing)
	f.want()
}

func TestRates_JumpOnce(t *testing.T) {
	f := newFilm(t, Config{})
	nulls := func(n int64) func(int, *Batch) {
		return func(_ int, b *Batch) { b.Columns = map[string]Counts{"b": {Null: n}} }
	}
	f.run(10, nulls(100))
	f.run(200, nulls(600)) // 5 % to 30 %
	f.want("10 warning null_rate")
	if f.last.Message != "30 % of the last 2000 events are with null for b; it was 5 % before" {
		t.Errorf("message %s", f.last.Message)
	}
	f.run(10, nulls(340)) // 17 %: between the two measures
	f.want()
	f.run(1, nulls(280))
	f.want("220 info null_rate")
	f.run(20, missing(perMinute*3/10))
	f.want("221 warning default_rate")
}

// What lasts for a day is what is usual.
func TestRates_AreAcceptedInTheEnd(t *testing.T) {
	f := newFilm(t, Config{})
	f.run(10, nothing)
	f.run(24*60+50, missing(perMinute/2))
	f.want("10 warning default_rate")
	f.run(30, missing(perMinute*6/10))
	f.want()
	f.run(30, missing(perMinute*9/10))
	f.want("1530 warning default_rate")
}

func TestRates_NothingIsSaidOfLittle(t *testing.T) {
	f := newFilm(t, Config{MinEvents: 100_000})
	f.run(250, nothing) // 5 windows
	f.run(149, missing(perMinute))
	f.want()
	f.run(1, missing(perMinute))
	f.want("399 warning field_vanished")
}

// Days and weeks, noise, bursts and rare fields are not drift.
func TestSeasons_RaiseNothing(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	f := newFilm(t, Config{})
	f.Know(Key{Kind: KindNewField, Path: "rare"}, Key{Kind: KindNewField, Path: "daily"})
	f.run(14*24*60, func(minute int, b *Batch) {
		day := math.Sin(2 * math.Pi * float64(minute) / (24 * 60))
		week := math.Sin(2 * math.Pi * float64(minute) / (7 * 24 * 60))
		b.Written = int64(1500 + 1200*day + 300*rng.Float64())
		noisy := func(share float64) int64 {
			return int64(float64(b.Written) * min(1, max(0, share+.04*rng.NormFloat64())))
		}
		b.Columns = map[string]Counts{
			"a": {Missing: noisy(.5 + .4*day), Null: noisy(.2 + .1*week)},
			"b": {Null: noisy(.5 - .3*day + .2*week)},
		}
		b.Drift = []contract.FieldDrift{drifts("daily", 1+noisy(.5+.4*day))}
		if rng.IntN(100) == 0 {
			b.Drift = append(b.Drift, drifts("rare", 1))
		}
		if rng.IntN(50) == 0 {
			b.Blank = 3
		}
	})
	f.want()
	f.run(3, func(_ int, b *Batch) { // the same monitor sees what is none
		b.Columns = map[string]Counts{"a": {Missing: perMinute}}
		b.Drift = []contract.FieldDrift{drifts("daily", 1)}
	})
	f.want("20162 warning field_vanished")
}

// Counts of a [*] column are of elements: there can be more of them than events.
func TestElements_AreNotTakenForEvents(t *testing.T) {
	f := newFilm(t, Config{})
	list := func(n int64) func(int, *Batch) {
		return func(_ int, b *Batch) { b.Columns = map[string]Counts{"list": {Missing: n}} }
	}
	f.run(10, nothing)
	f.run(10, list(perMinute))
	f.run(10, list(5*perMinute))
	f.want()
	f.run(10, func(_ int, b *Batch) {
		b.Columns = map[string]Counts{"list": {Null: 5 * perMinute, Invalid: 5 * perMinute}}
	})
	f.want()
}

func TestBlank(t *testing.T) {
	f := newFilm(t, Config{})
	blank := func(n int64) func(int, *Batch) { return func(_ int, b *Batch) { b.Blank = n } }
	f.run(2, blank(100))
	f.want()
	f.run(2, blank(perMinute)) // the engine has said so
	f.want()
	f.run(5, blank(perMinute/10))
	f.want("4 warning blank_events")
	f.run(2, blank(perMinute))
	f.run(1, func(_ int, b *Batch) { b.Written = 0 })
	f.run(3, blank(50))
	f.want("12 info blank_events")
}

// One cause, one finding.
func TestManyColumnsAtOnce_AreSaidInOne(t *testing.T) {
	f := newFilm(t, Config{Findings: 3})
	names := []string{"c", "d", "e", "f", "g"}
	f.plan = plan(t, names...)
	f.run(10, nothing)
	f.run(5, func(_ int, b *Batch) {
		b.Columns = map[string]Counts{}
		for _, name := range names {
			b.Columns[name] = Counts{Missing: b.Written}
		}
	})
	f.want("12 warning field_vanished")
	if !strings.HasSuffix(f.last.Message, "; and 4 more findings of the kind, at the same time") {
		t.Errorf("message %s", f.last.Message)
	}
}
