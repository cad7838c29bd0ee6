package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/waybill-data/waybill/internal/testenv"
)

// Points at which the commands of a long backfill are killed, in the order in which they are passed: everywhere (`make backfill-long`), once or more in each
// command (`make backfill-some`), and in the short selection. A plan that is killed when it is on record has nothing left to do, and what is killed at the end
// has done it all.
var (
	swapPoints  = []string{"claimed", "swap-begun", "renamed", "epoch-on-record", "before-prepare", "after-prepare", "before-follow", "after-follow"}
	roundPoints = []string{"round-begun", "third-table-filled", "before-attach", "attached", "trimmed", "round-settled"}
	heldPoints  = []string{"view-table-made", "view-rows-made", "view-filled", "before-keep", "after-keep", "held", "before-hold", "after-hold", "before-position", "after-position", "before-reach", "after-reach",
		"before-rest", "after-rest", "before-check", "after-check", "closed", "before-exchange", "exchanged", "after-exchange", "opened", "before-feed", "after-feed",
		"replaced-table-named", "replaced-view-table-named", "released", "before-tell", "after-tell"}
	longPoints = map[string][]string{
		"run":      {"claimed", "epoch-chosen", "shadow-made", "shadow-fenced", "epoch-on-record", "running"},
		"verify":   {"claimed", "verifying"},
		"promote":  slices.Concat(swapPoints, heldPoints),
		"rollback": slices.Concat(swapPoints, []string{"view-rows-attached"}, heldPoints), // a promotion has nothing to add to if live has stood still meanwhile
		"cleanup":  {"claimed", "renamed-to-be-dropped", "dropped"},
	}
	somePoints = map[string][]string{
		"run":      {"shadow-made"},
		"verify":   {"verifying"},
		"promote":  {"renamed", "attached", "view-rows-made", "held", "closed", "exchanged"},
		"rollback": {"view-rows-attached", "before-exchange", "exchanged"},
		"cleanup":  {"renamed-to-be-dropped"},
	}
	fewPoints = map[string][]string{"promote": {"attached"}, "rollback": {"before-exchange", "exchanged"}}
)

// extent is how many kills there are.
type extent uint8

const (
	few  extent = iota // without a verification, which reads everything again and has tests of its own
	some               // of each command, of the server and the live worker beside each
	all                // at every point
)

// longLease is what others wait for after a kill.
const longLease = "2s"

// longRows is how many rows are there before a backfill begins, how many events a second come while it goes on, and how many kills there are. With millions and
// all kills it is longer than all the other cases together.
func longRows(t *testing.T) (rows, rate int64, kills extent) {
	given := os.Getenv("WAYBILL_BACKFILL_ROWS")
	if given == "" {
		return 20_000, 200, few
	}
	n, err := strconv.ParseInt(given, 10, 64)
	if err != nil || n < 10_000 {
		t.Fatalf("WAYBILL_BACKFILL_ROWS=%s", given)
	}
	switch k := os.Getenv("WAYBILL_BACKFILL_KILLS"); k {
	case "":
		return n, 10_000, all
	case "some":
		return n, 10_000, some
	default:
		t.Fatalf("WAYBILL_BACKFILL_KILLS=%s", k)
		return 0, 0, 0
	}
}

// long is one of its cases.
type long struct {
	*bulk
	scope    string
	scoped   func(i int64) bool
	live     *worker
	old, new string // pipeline files
	kills    map[string]int
	notes    []string
	extent   extent
}

// noteThat puts a line into the evidence.
func (l *long) noteThat(format string, args ...any) {
	line := fmt.Sprintf(format, args...)
	l.notes = append(l.notes, line)
	l.Log(line)
}

func newLong(t *testing.T, days bool) *long {
	t.Helper()
	rows, rate, extent := longRows(t)
	s := setup{ch: testenv.ClickHouse(t), partitionBy: "toDate(at)", rows: 50_000, age: "500ms"}
	l := &long{bulk: &bulk{world: newWorld(t, s), rows: rows, rate: rate, days: 9}, scope: "all",
		extent: extent, scoped: func(int64) bool { return true }, kills: map[string]int{}}
	l.allow("epoch_begun", "table_replaced", "view_incomplete") // a server that is killed with a batch on its way can't say whether its views have it
	l.exec("CREATE TABLE "+l.db+".sums (_partition Int32, bucket Int64, made Bool, rows SimpleAggregateFunction(sum, UInt64), total SimpleAggregateFunction(sum, UInt64), ids SimpleAggregateFunction(groupBitXor, UInt64)) ENGINE = AggregatingMergeTree ORDER BY (_partition, bucket, made) SETTINGS non_replicated_deduplication_window = 10000",
		"CREATE MATERIALIZED VIEW "+l.db+".summing TO "+l.db+".sums AS "+l.summed())
	if days {
		from, to := int64(3), int64(6)
		at := func(d int64) string { return time.Unix(bulkDay+d*day, 0).UTC().Format(time.RFC3339) }
		l.scope = "time:" + at(from) + ".." + at(to)
		l.scoped = func(i int64) bool { d := l.dayOf(l.expect(i)); return d >= from && d < to }
	}
	l.file = strings.Replace(l.pipelineFile(), "new_fields: discard", "event_time: at\n  new_fields: discard", 1)
	l.old = l.writeFile()
	plain := l.file
	l.file = strings.Replace(plain, "tenant: {type: LowCardinality(String)}", `tenant: {type: LowCardinality(String), expr: '"`+marked+`" + event.tenant'}`, 1)
	l.new = l.writeFile()
	l.file = plain
	return l
}

// bucket is how many offsets of a partition a row of what the view fills is about.
const bucket = 1000

// summed is the view's query.
func (l *long) summed() string {
	return fmt.Sprintf("SELECT _partition, intDiv(_offset, %d) AS bucket, startsWith(tenant, '%s') AS made, count() AS rows, sum(toUInt64(n)) AS total, groupBitXor(id) AS ids FROM %s.events GROUP BY _partition, bucket, made", bucket, marked, l.db)
}

// viewed makes sure that the view holds what its query makes of the table's rows, but for buckets that reach beyond a position: what a live worker has written while the
// server was killed under it may not have reached the view, which a finding says then.
func (l *long) viewed(when string, upTo func(partition int32) int64) {
	l.Helper()
	buckets := int64(0)
	for p := range l.partitions {
		buckets += upTo(p) / bucket
	}
	rows, odd := l.viewDiffers(upTo)
	if rows == 0 || odd != 0 {
		l.Fatalf("%s: of %d rows of what the view fills and of what its query makes, %d are in one of them alone", when, rows, odd)
	}
	l.noteThat("%s: the view's %d rows of the first %d buckets of %d offsets are those that its query makes of the table", when, rows, buckets, bucket)
}

// viewDiffers is how many rows the view has filled or should have, and how many of these are not both.
func (l *long) viewDiffers(upTo func(partition int32) int64) (rows, odd int64) {
	l.Helper()
	var within []string
	for p := range l.partitions {
		within = append(within, fmt.Sprintf("_partition = %d AND bucket < %d", p, upTo(p)/bucket))
	}
	where := " WHERE " + strings.Join(within, " OR ")
	has := "SELECT _partition, bucket, made, sum(rows) AS r, sum(total) AS s, groupBitXor(ids) AS i FROM " + l.db + ".sums" + where + " GROUP BY ALL"
	got := l.rowsOf("SELECT count(), countIf(in_view != 1 OR in_table != 1) FROM (SELECT countIf(v = 1) AS in_view, countIf(v = 0) AS in_table FROM (SELECT *, 1 AS v FROM (" + has + ") UNION ALL SELECT *, 0 FROM (SELECT * FROM (" + l.summed() + ")" + where + ")) GROUP BY _partition, bucket, made, r, s, i)")
	return integer(got[0][0]), integer(got[0][1])
}

// promotedAt is V of the job's last swap.
func (l *long) promotedAt() func(int32) int64 {
	l.Helper()
	out, err := exec.Command(binary, "backfill", "status", l.new, "-o", "json").Output()
	if err != nil {
		l.Fatalf("status: %v", err)
	}
	var s struct {
		Leg struct {
			V map[int32]int64 `json:"v"`
		} `json:"leg"`
	}
	if err := json.Unmarshal(out, &s); err != nil {
		l.Fatal(err)
	}
	return func(p int32) int64 { return s.Leg.V[p] }
}

// The plan that has made rows, after each of the swaps. What came meanwhile may be of either.
func (l *long) before(int64) (must, may bool) { return false, false }

func (l *long) promoted(i int64) (must, may bool) {
	in := l.scoped(i)
	return in && i < l.rows, in
}

func (l *long) again(i int64) (must, may bool) {
	in := l.scoped(i)
	return in && i < l.rows, in || i >= l.rows
}

// fill brings the rows at the beginning into the table.
func (l *long) fill() {
	l.Helper()
	l.load()
	began := time.Now()
	l.live = l.start("")
	l.quietWithin(patience + time.Duration(l.rows/20_000)*time.Second)
	l.noteThat("rows that are there before: %d, in %.1f s (%.0f a second)", l.rows, time.Since(began).Seconds(), float64(l.rows)/time.Since(began).Seconds())
	l.exactly("before", l.before)
}

// strike kills the server and the live worker, and starts them again.
func (l *long) strike() {
	l.Helper()
	l.ch.Kill()
	l.live.kill()
	l.restart()
	l.live = l.start("")
	l.kills["server"]++
	l.kills["live worker"]++
}

// command starts a command of the job's.
func (l *long) command(failpoint, file, name string, args ...string) *worker {
	l.Helper()
	return l.startWith(failpoint, append([]string{"backfill", name, file, "--lease", longLease}, args...)...)
}

// state is the job's, by the command that shows it.
func (l *long) state() string {
	l.Helper()
	out, err := exec.Command(binary, "backfill", "status", l.new, "-o", "json").Output()
	if err != nil {
		l.Fatalf("status: %v", err)
	}
	var s struct{ State string }
	if err := json.Unmarshal(out, &s); err != nil {
		l.Fatal(err)
	}
	return s.State
}

// killedThrough runs a command that is killed at each of its points; with it the server and the live worker, each time. Then it runs until the job is in a state.
func (l *long) killedThrough(end, file, name string, args ...string) {
	l.Helper()
	l.killedAt(name, l.points(name), file, args...)
	l.toTheEnd(end, file, name, args...)
}

// points are those at which a command is killed.
func (l *long) points(name string) []string {
	whole := l.scope == "all" // nothing is taken over
	switch {
	case l.extent == few && name == "promote" && whole:
		return []string{"exchanged"}
	case l.extent == few:
		return fewPoints[name]
	case l.extent == some:
		return slices.DeleteFunc(slices.Clone(somePoints[name]), func(p string) bool { return whole && slices.Contains(roundPoints, p) })
	}
	every := longPoints[name]
	if at := slices.Index(every, "view-table-made"); name == "promote" && !whole {
		every = slices.Insert(slices.Clone(every), at, roundPoints...)
	}
	return every
}

func (l *long) killedAt(name string, points []string, file string, args ...string) {
	l.Helper()
	for _, point := range points {
		l.command("backfill-step/"+point+":1", file, name, args...).died("backfill-step/" + point)
		l.kills[name]++
		l.strike()
	}
}

// toTheEnd runs a command again until the job is in a state: it may be there, or be struck by what was killed before.
func (l *long) toTheEnd(end, file, name string, args ...string) {
	l.Helper()
	for tries := 0; l.state() != end; tries++ {
		p := l.command("", file, name, args...)
		if code := p.exit(l.patience()); code != 0 && tries == 3 {
			l.Fatalf("waybill backfill %s ends with %d:\n%s", name, code, p.log)
		}
		l.notePause(name, p)
	}
}

// patience is long: a verification reads everything, on a machine that may have much else to do.
func (l *long) patience() time.Duration {
	return 5*patience + time.Duration(l.rows/10_000)*time.Second
}

// notePause keeps what a swap says of how long workers stood still.
func (l *long) notePause(name string, p *worker) {
	if _, rest, is := strings.Cut(p.log.String(), "workers stood still for "); is {
		pause, _, _ := strings.Cut(rest, "\n")
		l.noteThat("%s: workers stood still for %s, as it says itself", name, pause)
	}
}

// stoppedThrough runs a command that stops at each point. The server is killed there, the command goes on without it, and then the server comes back.
func (l *long) stoppedThrough(end, file, name string, args ...string) {
	l.Helper()
	todo := l.points("rollback")                                                                   // a promotion that is made again passes the same ones
	todo = slices.DeleteFunc(slices.Clone(todo), func(p string) bool { return p == "after-tell" }) // it is over
	for tries := 0; l.state() != end; tries++ {
		p := l.command("backfill-step:stop", file, name, args...)
		l.letStop(p, &todo)
		if code := p.exit(l.patience()); code != 0 && tries > len(longPoints[name])+3 {
			l.Fatalf("waybill backfill %s ends with %d:\n%s", name, code, p.log)
		}
		l.notePause(name, p)
	}
	// What is on record as done although the answer to that was lost with the server is not done again, and what comes behind it is not passed.
	// Nor is anything attached to what a view is made anew of all rows for ("refill").
	unpassed := slices.DeleteFunc(slices.Clone(todo), func(p string) bool { return strings.HasPrefix(p, "after-") || p == "view-rows-attached" })
	if len(unpassed) > 0 {
		l.Errorf("%s has not passed %q", name, unpassed)
	} else if len(todo) > 0 {
		l.noteThat("%s has not passed %q", name, todo)
	}
}

// away is for how long a server is away, at the least.
const away = 300 * time.Millisecond

// letStop goes with a process from stop to stop, until it ends, and kills the server at those that are in todo.
func (l *long) letStop(p *worker, todo *[]string) {
	l.Helper()
	for stops := 1; ; stops++ {
		l.eventually(p.name+" stops or ends", func() bool {
			return !p.alive() || strings.Count(p.log.String(), ": stopping the process\n") >= stops && isStopped(p.cmd.Process.Pid)
		})
		if !p.alive() {
			return
		}
		point := p.stoppedAt()
		at := slices.Index(*todo, point)
		if at < 0 {
			p.signal(syscall.SIGCONT)
			continue
		}
		*todo = slices.Delete(*todo, at, at+1)
		l.ch.Kill()
		p.signal(syscall.SIGCONT)
		l.pass(away)
		l.restart()
		l.kills["server under a command"]++
		l.observe("server killed at "+point, 1)
	}
}

// stoppedAt is the step at which the process has stopped last.
func (p *worker) stoppedAt() string {
	log := p.log.String()
	log = log[:strings.LastIndex(log, ": stopping the process")]
	return log[strings.LastIndex(log, "backfill-step/")+len("backfill-step/"):]
}

// isStopped asks the kernel.
func isStopped(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	_, rest, _ := strings.Cut(string(stat), ") ")
	return strings.HasPrefix(rest, "T")
}

// filled runs `backfill run` until it has caught up. On the way it is killed, and so are the server and the live worker.
func (l *long) filled() {
	l.Helper()
	l.killedAt("run", l.points("run"), l.new, "--rate", "0")
	began := time.Now()
	todo := l.rows
	if l.scope != "all" {
		todo = l.rows * 3 / l.days
	}
	p := l.command("", l.new, "run", "--rate", "0")
	if l.extent != few && l.awaitShadow(p, todo/3) {
		p.kill()
		l.kills["run"]++
		p = l.command("", l.new, "run", "--rate", "0")
	}
	if l.extent != few && l.awaitShadow(p, todo*2/3) {
		l.strike()
	}
	_ = p.exit(l.patience())
	l.toTheEnd("caught-up", l.new, "run", "--rate", "0")
	took := time.Since(began)
	l.noteThat("the backfill has made %d rows of the scope in %.1f s, with its kills on the way: %.0f a second", todo, took.Seconds(), float64(todo)/took.Seconds())
}

// awaitShadow waits until the shadow has so many rows; false if it is filled before that is seen.
func (l *long) awaitShadow(p *worker, rows int64) bool {
	l.Helper()
	l.eventually(fmt.Sprintf("%d rows of the backfill", rows), func() bool {
		body, err := testenv.Query(l.ch.HTTPAddr(), "SELECT sum(total_rows) FROM system.tables WHERE database = '"+l.db+"' AND startsWith(name, 'events_backfill_')")
		return !p.alive() || err == nil && integer(strings.TrimSpace(body)) >= rows
	})
	return p.alive()
}

// verified runs `backfill verify`, which is killed, and whose server is killed under it.
func (l *long) verified() {
	l.Helper()
	l.killedAt("verify", l.points("verify"), l.new)
	began := time.Now()
	p := l.command("", l.new, "verify")
	l.pass(time.Second)
	if p.alive() {
		l.strike()
	}
	_ = p.exit(l.patience())
	l.toTheEnd("ready", l.new, "verify")
	l.noteThat("verify, killed once on the way: %.1f s", time.Since(began).Seconds())
}

// inSQL is the scope as the reader asks for it.
func (l *long) inSQL() string {
	if l.scope == "all" {
		return "true"
	}
	return fmt.Sprintf("toUInt32(at) >= %d AND toUInt32(at) < %d", bulkDay+3*day, bulkDay+6*day)
}

// play is the whole life of a backfill, with kills at every step.
func (l *long) play() {
	l.Helper()
	l.fill()
	answers := l.read(l.inSQL(), l.before, func(i int64) (bool, bool) { in := l.scoped(i); return in, in })
	l.produceOn()
	if p := l.startWith("", "backfill", "plan", l.new, "--scope", l.scope, "--views", "rebuild"); p.exit(l.patience()) != 0 {
		l.Fatalf("plan:\n%s", p.log)
	}
	l.filled()
	var unverified []string
	if l.extent == few {
		unverified = []string{"--unverified"}
	} else {
		l.verified()
	}

	l.killedThrough("promoted", l.new, "promote", unverified...)
	l.halt()
	l.exactly("promoted", l.promoted)
	made := l.promotedAt()
	l.viewed("promoted", made)

	l.produceOn()
	l.stoppedThrough("rolled-back", l.old, "rollback")
	l.halt()
	l.exactly("rolled back", l.before)
	l.viewed("rolled back", func(p int32) int64 { return l.upTo(p, l.rows) })

	l.produceOn()
	l.stoppedThrough("promoted", l.new, "promote")
	l.halt()
	f := l.exactly("promoted again", l.again)
	l.viewed("promoted again", made)
	l.exec("INSERT INTO " + l.db + ".sums VALUES (0, 0, true, 1, 0, 0)") // one row too many
	if _, odd := l.viewDiffers(made); odd == 0 {
		l.Error("a row that is added to what the view fills is not seen")
	}
	answers.finish(3)
	l.noteThat("rows in the end: %d, of which the plan of the backfill has made %d", f.rows, f.made)
	l.noteThat("answers to the reader: %d, each right: %d of the old rows, %d of the new ones, turning %d times; %d errors while the server was away", answers.answers, answers.older, answers.newer, answers.turns, answers.failures)
	l.noteThat("answers with fewer rows than one before: %d", answers.takenBack)

	l.killedAt("cleanup", l.points("cleanup"), l.new, "--yes")
	if p := l.command("", l.new, "cleanup", "--yes"); p.exit(l.patience()) != 0 {
		l.Fatalf("cleanup:\n%s", p.log)
	}
	if got := l.query("SELECT arrayStringConcat(arraySort(groupArray(name)), ' ') FROM system.tables WHERE database = '" + l.db + "'"); got != "events summing sums" {
		l.Errorf("tables after the cleanup: %s", got)
	}
	l.quiet()
	l.live.stop()
	if p := l.startWith("", "audit", l.old); p.exit(l.patience()) != 0 {
		l.Errorf("the audit:\n%s", p.log)
	}
	l.noteThat("the audit afterwards: clean")
	l.noteThat("killed with SIGKILL: %v", l.kills)
	for what, n := range l.kills {
		l.observe(what+" killed", int64(n))
	}
}

// A backfill of everything, and one of three days in the middle, with a plan that makes other rows, while events keep coming and somebody reads; put in place,
// back, and in place again. The command, the server and the live worker are killed with SIGKILL at each step.
//
// WAYBILL_BACKFILL_ROWS says how many rows each of the two has, beside 10,000 events a second and with all kills (`make backfill-long`, `make e2e-long`), or, if
// WAYBILL_BACKFILL_KILLS=some, with some of each command, of the server and of the live worker (`make backfill-some`, which CI runs). Without it there are 20,000 rows, 200 events a second and few kills, of the three days alone unless WAYBILL_BACKFILL_SHORT=1 asks for both.
func TestBackfillLong(t *testing.T) {
	for _, days := range []bool{false, true} {
		name := "all"
		if days {
			name = "three-days"
		}
		t.Run(name, func(t *testing.T) {
			if !days && os.Getenv("WAYBILL_BACKFILL_ROWS") == "" && os.Getenv("WAYBILL_BACKFILL_SHORT") == "" {
				t.Skip("WAYBILL_BACKFILL_ROWS=n or WAYBILL_BACKFILL_SHORT=1 runs it; the other has all steps")
			}
			l := newLong(t, days)
			l.play()
			l.keep(name)
		})
	}
}

// keep adds the case to the evidence that WAYBILL_BACKFILL_EVIDENCE names.
func (l *long) keep(name string) {
	l.Helper()
	path := os.Getenv("WAYBILL_BACKFILL_EVIDENCE")
	if path == "" || l.Failed() {
		return
	}
	text := fmt.Sprintf("commit %s, %s, %s\nscope %s: %s; %d events a second meanwhile\n\n  %s\n\n", builtFrom, time.Now().UTC().Format(time.RFC3339), engines(), name, l.scope, l.rate, strings.Join(l.notes, "\n  "))
	f, err := os.OpenFile(filepath.Clean(path), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644) //nolint:gosec // a document
	if err != nil {
		l.Fatal(err)
	}
	_, err = f.WriteString(text)
	if closed := f.Close(); err != nil || closed != nil {
		l.Fatal(err, closed)
	}
}

// engines are those that this run has seen.
func engines() string {
	evidence.mu.Lock()
	defer evidence.mu.Unlock()
	return strings.Join(slices.Sorted(mapKeys(evidence.engines)), ", ")
}

// Each point that the binary lists is one at which some command is killed; but "planned", before which there is no job, and "anew", which is passed only
// where somebody changes rows that stay, and "refill", where an insert has come late.
func TestBackfillLong_EveryPointIsKilled(t *testing.T) {
	t.Parallel()
	out, err := exec.Command(binary, "failpoints", "--backfills").Output()
	if err != nil {
		t.Fatal(err)
	}
	every := slices.Clone(roundPoints)
	for _, points := range longPoints {
		every = append(every, points...)
	}
	for _, name := range strings.Fields(string(out)) {
		if point := strings.TrimPrefix(name, "backfill-step/"); point != "planned" && point != "anew" && point != "refill" && !slices.Contains(every, point) {
			t.Errorf("no command is killed at %s", point)
		}
	}
}
