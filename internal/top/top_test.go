package top_test

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/waybill-data/waybill"
	"github.com/waybill-data/waybill/internal/status"
	"github.com/waybill-data/waybill/internal/top"
)

var update = flag.Bool("update", false, "write the golden frames anew")

// begin is when the workers of these tests started.
var begin = time.Date(2026, 11, 29, 14, 0, 0, 0, time.UTC)

const a, b, c = "10.0.0.7:8321", "10.0.0.8:8321", "10.0.0.9:8321"

// golden compares with testdata/NAME.txt.
func golden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", name+".txt")
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (go test ./internal/top -update):\n%s", file, diff)
	}
}

var sgr = regexp.MustCompile("\x1b\\[[0-9;]*m")

// frame is a frame, which must be of the size that was asked for.
func frame(t *testing.T, s *top.Snapshot, v *top.View, width, height int) string {
	t.Helper()
	lines := top.Frame(s, v, width, height, false)
	coloured := top.Frame(s, v, width, height, true)
	if len(lines) != height || len(coloured) != height {
		t.Errorf("%d and %d lines for a height of %d", len(lines), len(coloured), height)
	}
	for i, l := range lines {
		if n := utf8.RuneCountInString(l); n > width {
			t.Errorf("%d characters for a width of %d: %s", n, width, l)
		}
		if strings.ContainsFunc(l, unicode.IsControl) {
			t.Errorf("a control character: %q", l)
		}
		if bare := strings.TrimRight(sgr.ReplaceAllString(coloured[i], ""), " "); bare != l {
			t.Errorf("in colour it says something else:\n%s\n%s", bare, l)
		}
	}
	return strings.Join(lines, "\n") + "\n"
}

// calls is a worker's share of a pipeline that runs: some partitions, with what it has done by a second of its life.
func calls(second float64, partitions ...int32) status.Pipeline {
	now := begin.Add(time.Duration(second * float64(time.Second)))
	through := now.Add(-3 * time.Second)
	n := int64(second*1000) * int64(len(partitions))
	p := status.Pipeline{Name: "llm-calls", State: status.Running, Assigned: true, Delivery: "exactly-once", Epoch: 1, Table: "ai.llm_calls",
		Totals: status.Totals{Read: n + n/10, Written: n, Filtered: n / 10}, Inserts: status.Inserts{Count: int64(second), Seconds: second * .035, LastSeconds: .04},
		CompleteThrough: &through, InFlight: []status.Batch{{ID: "8f3a", Rows: 1000, AgeSeconds: .4}}}
	for _, i := range partitions {
		at := int64(i)*1_000_000 + int64(second*1100)
		p.Partitions = append(p.Partitions, status.Partition{Topic: "llm.calls", Partition: i, State: status.Consuming, Position: at + 50, Settled: at, End: at + 1234, Lag: 1234})
	}
	return p
}

// scores is one that ClickHouse refuses since ten seconds after the start.
func scores(second float64) status.Pipeline {
	since := begin.Add(10 * time.Second)
	now := begin.Add(time.Duration(second * float64(time.Second)))
	return status.Pipeline{Name: "scores", State: status.Stalled, StalledSince: &since, Assigned: true, Delivery: "exactly-once", Epoch: 2, Table: "ai.scores",
		Reason:     "code 252, TOO_MANY_PARTS: Too many parts (3000 with average size of 1.10 MiB) in table 'ai.scores'. Merges are processing significantly slower than inserts",
		Totals:     status.Totals{Read: 500, Written: 500},
		Partitions: []status.Partition{{Topic: "scores", State: status.Frozen, Position: 500, Settled: 500, End: 40499, Lag: 39999}},
		InFlight:   []status.Batch{{ID: "8f3a", Rows: 1000, AgeSeconds: second - 9}},
		LastError:  &status.Failure{Time: now.Add(-2 * time.Second), Class: "throttled", Message: "clickhouse.insert [scores]: code 252: Too many parts"},
		Findings: []status.Finding{
			{ID: "f1", State: status.FindingOpen, Time: begin.Add(12 * time.Second), LastSeen: now, Kind: "stalled_sink", Severity: waybill.SeverityWarning, Message: "no insert for a minute", Partition: -1},
			{ID: "f2", State: status.FindingOpen, Time: begin, LastSeen: now, Kind: "retention_loss", Severity: waybill.SeverityError, Topic: "scores", Message: "8 records were removed before they were read.", Action: "Raise the topic's retention."},
			{ID: "f3", State: status.FindingClosed, Time: begin, LastSeen: begin, Kind: "null_rate", Severity: waybill.SeverityWarning, Message: "is over"},
		}}
}

// answer is what a worker says at a second of its life.
func answer(worker string, second float64, pipelines ...status.Pipeline) top.Poll {
	at := begin.Add(time.Duration(second * float64(time.Second)))
	started := begin.Add(time.Duration(worker[7]) * time.Millisecond) // each has a time of its own
	return top.Poll{Worker: worker, At: at, Status: &status.Status{Version: "v0.1.0", Started: started, Now: at, Pipelines: pipelines}}
}

func silence(worker string, second float64, why string) top.Poll {
	return top.Poll{Worker: worker, At: begin.Add(time.Duration(second * float64(time.Second))), Err: why}
}

// seen is a model of those who have answered, and the snapshot at the second of the last answer.
func seen(polls ...top.Poll) *top.Snapshot {
	m, at := modelOf(polls...)
	return m.Snapshot(at)
}

func modelOf(polls ...top.Poll) (m *top.Model, at time.Time) {
	var workers []string
	for _, p := range polls {
		if !strings.Contains(strings.Join(workers, " "), p.Worker) {
			workers = append(workers, p.Worker)
		}
		at = p.At
	}
	m = top.New(workers)
	for _, p := range polls {
		m.Take(p)
	}
	return m, at
}

// group is two workers of one group, a third that is not there, and a pipeline that is stalled.
func group() *top.Snapshot {
	return seen(answer(a, 60, calls(60, 0, 1, 2), scores(60)), answer(b, 60, calls(60, 3, 4, 5)), silence(c, 50, "nothing listens there"),
		answer(a, 62, calls(62, 0, 1, 2), scores(62)), answer(b, 62, calls(62, 3, 4, 5)))
}

func press(t *testing.T, s *top.Snapshot, v *top.View, height int, sent string) {
	t.Helper()
	for _, k := range top.Keys([]byte(sent)) {
		if v.Press(k, s, height) {
			t.Fatalf("%q leaves", sent)
		}
	}
}

func TestFrame_Golden(t *testing.T) {
	many := make([]int32, 64)
	for i := range many {
		many[i] = int32(i) //nolint:gosec // 64 at most
	}
	big := seen(answer(a, 60, calls(60, many...)), answer(a, 62, calls(62, many...)))
	var crowd []top.Poll
	for i := range 30 {
		p := calls(60, 0)
		p.Name = fmt.Sprintf("pipeline-%02d", i)
		crowd = append(crowd, answer(fmt.Sprintf("10.0.0.%c:1%02d", 'A'+i, i), 60, p))
	}
	evil := calls(60, 0)
	evil.Name, evil.State, evil.Reason = "a\x1b[2Jb\r\nc\u202ed", status.Stopped, "bell \x07, csi \u009b31m, \xff and\nlines, 漢字"
	evil.Partitions[0].Topic = "t\x1b]0;x\x07"
	for name, f := range map[string]struct {
		s             *top.Snapshot
		keys          string
		width, height int
	}{
		"group":              {group(), "", 80, 24},
		"stalled":            {group(), "j", 80, 24},
		"partitions":         {group(), "\r", 80, 24},
		"narrow":             {group(), "j", 44, 16},
		"wide":               {group(), "", 132, 20},
		"tiny":               {group(), "", 12, 4},
		"many_partitions":    {big, "\r", 80, 24},
		"many_scrolled":      {big, "\rG", 80, 24},
		"many_pipelines":     {seen(crowd...), "jjjjjjjjjjjjjjjjjjjj", 80, 24},
		"nobody":             {seen(silence(a, 1, "nothing listens on "+a)), "", 80, 12},
		"many_away":          {seen(silence(a, 1, "no"), silence(b, 1, "no"), silence(c, 1, "no"), silence("d", 1, "no")), "", 80, 8},
		"asked":              {top.New([]string{a, b}).Snapshot(begin), "", 80, 8},
		"help":               {group(), "?", 80, 24},
		"control_characters": {seen(answer(a, 60, evil)), "", 80, 20},
		"control_partitions": {seen(answer(a, 60, evil)), "\r", 80, 12},
	} {
		t.Run(name, func(t *testing.T) {
			v := &top.View{}
			press(t, f.s, v, f.height, f.keys)
			golden(t, name, frame(t, f.s, v, f.width, f.height))
		})
	}
}

// Whatever the size, a frame is of that size.
func TestFrame_FitsEverySize(t *testing.T) {
	for _, keys := range []string{"", "j", "\r", "?"} {
		for _, width := range []int{1, 2, 5, 19, 20, 40, 79, 200} {
			for _, height := range []int{1, 2, 3, 7, 24, 60} {
				v := &top.View{}
				press(t, group(), v, height, keys)
				frame(t, group(), v, width, height)
			}
		}
	}
}

func TestFrame_InColour(t *testing.T) {
	golden(t, "colour", strings.ReplaceAll(strings.Join(top.Frame(group(), &top.View{}, 80, 24, true), "\n")+"\n", "\x1b", "^["))
}

func TestText_Golden(t *testing.T) {
	many := make([]int32, 30)
	for i := range many {
		many[i] = int32(i) //nolint:gosec // 30 at most
	}
	golden(t, "text", top.Text(group(), 80))
	golden(t, "text_many", top.Text(seen(answer(a, 60, calls(60, many...))), 80))
	golden(t, "text_nobody", top.Text(seen(silence(a, 1, "nothing listens on "+a)), 80))
	for _, s := range []string{top.Text(group(), 80), top.Text(seen(answer(a, 60, calls(60, many...))), 80)} {
		for line := range strings.Lines(s) {
			if utf8.RuneCountInString(strings.TrimSuffix(line, "\n")) > 80 {
				t.Errorf("longer than 80: %s", line)
			}
		}
	}
}

// The picture in the guide is a frame.
func TestFrame_IsThatOfTheGuide(t *testing.T) {
	page, err := os.ReadFile("../../docs/guide/top.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"stalled", "partitions"} {
		text, err := os.ReadFile(filepath.Join("testdata", name+".txt"))
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(page), "\n"+string(text)+"```\n") {
			t.Errorf("docs/guide/top.md does not have the frame of testdata/%s.txt", name)
		}
	}
}

// only is the pipeline of a snapshot that has one.
func only(t *testing.T, s *top.Snapshot) top.Pipeline {
	t.Helper()
	if len(s.Pipelines) != 1 {
		t.Fatalf("%d pipelines", len(s.Pipelines))
	}
	return s.Pipelines[0]
}

func rates(p top.Pipeline) string {
	if p.Rates == nil {
		return "not known"
	}
	return fmt.Sprintf("%.0f %.0f", p.Rates.Read, p.Rates.Written)
}

func TestModel_RatesAreDifferencesOfPolls(t *testing.T) {
	fresh := func(second, life float64, p status.Pipeline) top.Poll { // a process that has lived for so long
		at := answer(a, second, p)
		at.Status.Started = at.At.Add(-time.Duration(life * float64(time.Second)))
		return at
	}
	counted := func(read, written int64) status.Pipeline {
		p := calls(1, 0)
		p.Totals = status.Totals{Read: read, Written: written}
		return p
	}
	for name, c := range map[string]struct {
		polls []top.Poll
		want  string
	}{
		"one poll":                       {[]top.Poll{answer(a, 60, counted(1000, 900))}, "not known"},
		"two polls":                      {[]top.Poll{answer(a, 60, counted(1000, 900)), answer(a, 62, counted(1400, 1100))}, "200 100"},
		"nothing happens":                {[]top.Poll{answer(a, 60, counted(1000, 900)), answer(a, 62, counted(1000, 900))}, "0 0"},
		"an average over the window":     {[]top.Poll{answer(a, 60, counted(0, 0)), answer(a, 61, counted(0, 0)), answer(a, 62, counted(600, 300)), answer(a, 63, counted(600, 300))}, "200 100"},
		"not over what is before it":     {[]top.Poll{answer(a, 60, counted(0, 0)), answer(a, 61, counted(9000, 9000)), answer(a, 71, counted(9000, 9000)), answer(a, 72, counted(9000, 9000))}, "0 0"},
		"polls further apart":            {[]top.Poll{answer(a, 60, counted(0, 0)), answer(a, 160, counted(1000, 1000))}, "10 10"},
		"the process was restarted":      {[]top.Poll{answer(a, 60, counted(5000, 5000)), fresh(62, 1.5, counted(400, 200))}, "200 100"},
		"restarted, and further already": {[]top.Poll{answer(a, 60, counted(100, 100)), fresh(62, 1.5, counted(400, 200))}, "200 100"},
		"another process answers":        {[]top.Poll{answer(a, 60, counted(100, 100)), fresh(62, 3600, counted(1_000_000, 1_000_000))}, "not known"},
		"the pipeline was restarted":     {[]top.Poll{answer(a, 60, counted(5000, 5000)), answer(a, 62, counted(400, 200))}, "200 100"},
		"the pipeline is new":            {[]top.Poll{answer(a, 60), answer(a, 62, counted(400, 200))}, "not known"},
		"away for a while":               {[]top.Poll{answer(a, 60, counted(0, 0)), silence(a, 61, "no"), silence(a, 62, "no"), answer(a, 64, counted(400, 200))}, "100 50"},
		"away now":                       {[]top.Poll{answer(a, 60, counted(0, 0)), answer(a, 61, counted(100, 100)), silence(a, 62, "no")}, "not known"},
		"workers are added up":           {[]top.Poll{answer(a, 60, counted(0, 0)), answer(b, 60, counted(7, 7)), answer(a, 61, counted(100, 50)), answer(b, 61, counted(17, 17))}, "110 60"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := rates(only(t, seen(c.polls...))); got != c.want {
				t.Errorf("%s, want %s", got, c.want)
			}
		})
	}
}

func TestModel_InsertTime(t *testing.T) {
	with := func(count int64, all, last float64) status.Pipeline {
		p := calls(1, 0)
		p.Inserts = status.Inserts{Count: count, Seconds: all, LastSeconds: last}
		return p
	}
	for name, c := range map[string]struct {
		polls []top.Poll
		want  string
	}{
		"none":                        {[]top.Poll{answer(a, 60, with(0, 0, 0)), answer(a, 61, with(0, 0, 0))}, "-"},
		"the average of the window":   {[]top.Poll{answer(a, 60, with(100, 90, 9)), answer(a, 61, with(102, 90.5, .1)), answer(a, 62, with(104, 91, .3))}, "0.25"},
		"without any the last one":    {[]top.Poll{answer(a, 60, with(100, 90, 9)), answer(a, 61, with(100, 90, 9))}, "9.00"},
		"of one poll the last one":    {[]top.Poll{answer(a, 60, with(100, 90, 9))}, "9.00"},
		"since the process restarted": {[]top.Poll{answer(a, 60, with(100, 90, 9)), answer(a, 61, with(1, .5, .5))}, "0.50"},
	} {
		got := "-"
		if v := only(t, seen(c.polls...)).InsertSeconds; v != nil {
			got = fmt.Sprintf("%.2f", *v)
		}
		if got != c.want {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
	}
}

// partitions is what is said of each: whose, state, settled, lag, rate.
func partitions(p top.Pipeline) (out []string) {
	for _, tp := range p.Partitions {
		per := "-"
		if tp.PerSecond != nil {
			per = fmt.Sprintf("%.0f", *tp.PerSecond)
		}
		out = append(out, fmt.Sprintf("%d %s %s %d %d %s", tp.Partition, tp.Worker, tp.State, tp.Settled, tp.Lag, per))
	}
	return out
}

func TestModel_EachPartitionIsShownOnce(t *testing.T) {
	paused := func(second float64) status.Pipeline {
		p := calls(second, 0, 1)
		p.State, p.Assigned, p.Reason = status.Paused, false, "by ann"
		for i := range p.Partitions {
			p.Partitions[i].State = status.Frozen
		}
		return p
	}
	moved := calls(60, 0) // as its former owner still has it
	for name, c := range map[string]struct {
		polls []top.Poll
		lag   string
		want  []string
	}{
		"two workers": {[]top.Poll{answer(a, 60, calls(60, 0)), answer(b, 60, calls(60, 1)), answer(a, 61, calls(61, 0)), answer(b, 61, calls(61, 1))}, "2468 0",
			[]string{"0 " + a + " running 67100 1234 1100", "1 " + b + " running 1067100 1234 1100"}},
		"all stand still, and each worker says so of all": {[]top.Poll{answer(a, 60, paused(60)), answer(b, 60, paused(60))}, "2468 0",
			[]string{"0  frozen 66000 1234 -", "1  frozen 1066000 1234 -"}},
		"one is paused already": {[]top.Poll{answer(a, 60, paused(60)), answer(b, 60, calls(60, 1))}, "2468 0",
			[]string{"0  frozen 66000 1234 -", "1 " + b + " running 1066000 1234 -"}},
		"it moves from one to another": {[]top.Poll{answer(a, 60, moved), answer(b, 61, calls(61, 0))}, "1234 0",
			[]string{"0 " + b + " running 67100 1234 1100"}},
		"its worker is away": {[]top.Poll{answer(a, 60, calls(60, 0)), answer(b, 60, calls(60, 1)), silence(b, 61, "no")}, "1234 1",
			[]string{"0 " + a + " running 66000 1234 -", "1 " + b + " unknown 1066000 -1 -"}},
		"its worker is away, and another has it": {[]top.Poll{answer(a, 60, calls(60, 0)), answer(b, 60, calls(60, 1)), silence(b, 61, "no"), answer(a, 61, calls(61, 0, 1))}, "2468 0",
			[]string{"0 " + a + " running 67100 1234 1100", "1 " + a + " running 1067100 1234 1100"}},
		"it was rewound": {[]top.Poll{answer(a, 60, calls(60, 0)), answer(a, 61, calls(61, 0)), answer(a, 62, calls(10, 0))}, "1234 0",
			[]string{"0 " + a + " running 11000 1234 -"}},
	} {
		t.Run(name, func(t *testing.T) {
			p := only(t, seen(c.polls...))
			if diff := cmp.Diff(c.want, partitions(p)); diff != "" {
				t.Error(diff)
			}
			if got := fmt.Sprint(p.Lag, " ", p.LagUnknown); got != c.lag {
				t.Errorf("lag %s, want %s", got, c.lag)
			}
		})
	}
}

func TestModel_AProcessThatIsNamedTwiceCountsOnce(t *testing.T) {
	twice := answer(b, 61, calls(61, 0))
	twice.Status.Started = answer(a, 61).Status.Started
	s := seen(answer(a, 60, calls(60, 0)), answer(a, 61, calls(61, 0)), twice)
	if p := only(t, s); len(p.Shares) != 1 || rates(p) != "1100 1000" {
		t.Errorf("%+v", p)
	}
	if w := s.Workers[1]; w.State != top.Repeated || w.SameAs != a {
		t.Errorf("%+v", w)
	}
}

// The worst state of all workers is the pipeline's, with its reason; what is only on a worker that is away is not known.
func TestModel_StateOfAllWorkers(t *testing.T) {
	in := func(s status.PipelineState, reason string) status.Pipeline {
		p := calls(60, 0)
		p.State, p.Reason = s, reason
		return p
	}
	for name, c := range map[string]struct {
		polls []top.Poll
		want  string
	}{
		"one is stalled":         {[]top.Poll{answer(a, 60, in(status.Running, "")), answer(b, 60, in(status.Stalled, "away"))}, "stalled away"},
		"one is stopped":         {[]top.Poll{answer(a, 60, in(status.Stalled, "away")), answer(b, 60, in(status.Stopped, "no grant"))}, "stopped no grant"},
		"one has come to an end": {[]top.Poll{answer(a, 60, in(status.Stopped, "")), answer(b, 60, in(status.Running, ""))}, "running "},
		"all have":               {[]top.Poll{answer(a, 60, in(status.Stopped, ""))}, "stopped "},
		"one is away":            {[]top.Poll{answer(a, 60, in(status.Running, "")), answer(b, 60, in(status.Stalled, "away")), silence(b, 61, "no")}, "running "},
		"all are away":           {[]top.Poll{answer(a, 60, in(status.Running, "")), silence(a, 61, "no")}, "unknown "},
	} {
		p := only(t, seen(c.polls...))
		if got := string(p.State) + " " + p.Reason; got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

// Workers of a pipeline share its findings. One that has not heard yet that a finding is closed must not have it open.
func TestModel_FindingsOfAllWorkers(t *testing.T) {
	open, closed := scores(60), scores(60)
	at := begin.Add(61 * time.Second)
	closed.Findings[0].State, closed.Findings[0].Closed = status.FindingClosed, &at
	for name, polls := range map[string][]top.Poll{
		"closed is heard last":  {answer(a, 60, open), answer(b, 60, closed)},
		"closed is heard first": {answer(a, 60, closed), answer(b, 60, open)},
	} {
		p := only(t, seen(polls...))
		if len(p.Findings) != 1 || p.Findings[0].ID != "f2" {
			t.Errorf("%s: %+v", name, p.Findings)
		}
	}
	if p := only(t, seen(answer(a, 60, open), answer(b, 60, open))); len(p.Findings) != 2 || p.Findings[0].Severity != waybill.SeverityError {
		t.Errorf("%+v", p.Findings)
	}
}

// A backfill is not its pipeline: its lag is what is left of its scope.
func TestModel_ABackfillIsItself(t *testing.T) {
	job := calls(60, 0)
	job.CompleteThrough = nil
	job.Backfill = &status.Backfill{Job: "j1", Left: 300, ETASeconds: 30, Partitions: []status.BackfillPartition{{Topic: "llm.calls", Settled: 700, Until: 1000, Left: 300}}}
	s := seen(answer(a, 60, calls(60, 0), job))
	if len(s.Pipelines) != 2 {
		t.Fatalf("%d pipelines", len(s.Pipelines))
	}
	if p := s.Pipelines[1]; p.Job != "j1" || p.Lag != 300 || p.Partitions[0].End != 1000 || p.ETASeconds != 30 {
		t.Errorf("%+v", p)
	}
	if text := top.Text(s, 80); !strings.Contains(text, "llm-calls@j1") || !strings.Contains(text, "a backfill: 300 left, 30s to go") {
		t.Error(text)
	}
}

// What is not known is null in JSON, and lists are never null.
func TestSnapshot_JSON(t *testing.T) {
	b, err := json.MarshalIndent(seen(answer(a, 60, calls(60, 0)), silence(c, 60, "nothing listens there")), "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "json", string(b)+"\n")
}

func TestView_Keys(t *testing.T) {
	for sent, want := range map[string][]top.Key{
		"jk":                    {top.KeyDown, top.KeyUp},
		"\x1b[A\x1b[B":          {top.KeyUp, top.KeyDown},
		"\x1bOA\x1bOB":          {top.KeyUp, top.KeyDown},
		"\r\x1b":                {top.KeyOpen, top.KeyBack},
		"\x1b[5~\x1b[6~":        {top.KeyPageUp, top.KeyPageDown},
		"\x03":                  {top.KeyQuit},
		"q":                     {top.KeyQuit},
		"?":                     {top.KeyHelp},
		"xyz\x00\xff":           nil,
		"\x1b[1;5Aj":            {top.KeyDown}, // Ctrl-Up means nothing, and its letter neither
		"\x1b[200~pasted":       nil,
		"\x1b[15~":              nil,
		"\x1b[":                 nil,
		"\x1b[<0;10;10Mq":       {top.KeyQuit},
		"\x1b[H\x1b[F\x1b[1~gG": {top.KeyHome, top.KeyEnd, top.KeyHome, top.KeyHome, top.KeyEnd},
	} {
		if diff := cmp.Diff(want, top.Keys([]byte(sent))); diff != "" {
			t.Errorf("%q: %s", sent, diff)
		}
	}
}

// The choice is of a pipeline, not of a line: it stays when others come.
func TestView_ChoiceStays(t *testing.T) {
	named := func(names ...string) *top.Snapshot {
		var all []status.Pipeline
		for _, n := range names {
			p := calls(60, 0)
			p.Name = n
			all = append(all, p)
		}
		return seen(answer(a, 60, all...))
	}
	chosen := func(s *top.Snapshot, v *top.View) string {
		for _, l := range top.Frame(s, v, 80, 24, false) {
			if strings.HasPrefix(l, "> ") {
				return strings.Fields(l)[1]
			}
		}
		return ""
	}
	v, s := &top.View{}, named("b", "d")
	if got := chosen(s, v); got != "b" {
		t.Errorf("at first %q", got)
	}
	press(t, s, v, 24, "jjj")
	if got := chosen(named("a", "b", "c", "d", "e"), v); got != "d" {
		t.Errorf("after others have come %q", got)
	}
	if got := chosen(named("a"), v); got != "a" {
		t.Errorf("after it has gone %q", got)
	}
	press(t, s, v, 24, "k\r")
	if got := frame(t, named("a", "b"), v, 80, 24); !strings.Contains(got, "b: running") {
		t.Errorf("the partitions of another:\n%s", got)
	}
	press(t, s, v, 24, "\x1b")
	if got := chosen(s, v); got != "b" {
		t.Errorf("after going back %q", got)
	}
	press(t, named(), v, 24, "jk\r\x1b") // nothing to choose from
}

// Scrolling stops where there is nothing more, and comes back at once.
func TestView_ScrollingStopsAtTheEnd(t *testing.T) {
	many := make([]int32, 100)
	for i := range many {
		many[i] = int32(i) //nolint:gosec // 100 at most
	}
	s, v := seen(answer(a, 60, calls(60, many...))), &top.View{}
	press(t, s, v, 24, "\r"+strings.Repeat("\x1b[6~", 50))
	if got := frame(t, s, v, 80, 24); !strings.Contains(got, "to 100 of 100") {
		t.Error(got)
	}
	press(t, s, v, 24, "k")
	if got := frame(t, s, v, 80, 24); !strings.Contains(got, "to 99 of 100") {
		t.Error(got)
	}
}
