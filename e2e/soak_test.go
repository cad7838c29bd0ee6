package e2e

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/waybill-data/waybill/internal/testenv"
)

// wantLeaves fails the case if any leaf is not where it has to be.
func (w *world) wantLeaves(other *otherClient, s shaper) leafTally {
	w.Helper()
	problems, tally := w.leafProblems(other, s.steady)
	if len(problems) > 0 {
		w.Errorf("the oracle of leaves found %d kinds of problem:\n  %s", len(problems), strings.Join(problems[:min(len(problems), 40)], "\n  "))
	}
	return tally
}

// An oracle that cannot fail proves nothing: each kind of damage to a value must be seen. Without damage it finds every leaf, and all of those whose type
// never changes in columns.
func TestLeaves_OracleSeesEachKindOfDamage(t *testing.T) {
	w := newWorld(t, setup{check: "tenant != 'cursed'"})
	w.shaped()
	s := shaper{seed: seed(t), every: 100}
	p := w.start("")
	for range 6 {
		w.produceShaped(s, 250)
	}
	w.quiet()
	p.stop()
	w.verify()
	tally := w.wantLeaves(newOtherClient(), s)
	w.observe("leaves", tally.leaves)
	w.observe("of them in typed columns", tally.typed)
	if tally.steady < 1000 || tally.typedSteady != tally.steady {
		t.Errorf("%d of %d leaves of one type are typed", tally.typedSteady, tally.steady)
	}
	known := map[string]bool{}
	sees := func(what, words string, damage ...string) {
		t.Helper()
		w.exec(damage...)
		problems, _ := w.leafProblems(newOtherClient(), s.steady)
		defer func() {
			for _, p := range problems {
				known[p] = true
			}
		}()
		for _, p := range problems {
			if strings.Contains(p, words) && !known[p] {
				w.observe(what+" seen", 1)
				return
			}
		}
		t.Errorf("%s: the oracle did not say %q, but %q", what, words, problems)
	}
	one := func(condition string) string {
		return "id = " + w.query("SELECT min(id) FROM "+w.db+".events WHERE "+condition)
	}
	update := func(set, condition string) string {
		return fmt.Sprintf("ALTER TABLE %s.events UPDATE %s WHERE %s SETTINGS mutations_sync = 2", w.db, set, one(condition))
	}
	sees("a value changed", "has user_name (Nullable(String))", update("user_name = concat(assumeNotNull(user_name), 'x')", "user_name IS NOT NULL"))
	sees("a number changed", "lacks usage.n", update("n = n + 1", "n > 0"))
	sees("a value made up", "has flags_on (Nullable(Bool)) = true", update("flags_on = true", "flags_on IS NULL"))
	sees("a value gone", "lacks trace", update("trace = NULL", "trace IS NOT NULL"))
	sees("an element gone", "lacks words[", update("words = ['a']", "length(words) = 2"))
	sees("a member of a map changed", "has tags (Map", update("tags = map('team', 't9')", "length(tags) = 2"))
	sees("a rescued value gone", "nowhere: row", update("_rescued = ''", "_rescued LIKE '%\"raw\"%' OR _rescued LIKE '%only_null%'"))

	if !slices.ContainsFunc(slices.Collect(maps.Keys(known)), func(p string) bool { return strings.HasPrefix(p, "ledger: it says") }) {
		t.Error("the oracle did not see that the ledger counts one more")
	}
	sees("a rescued value changed", "rescued from nowhere", update("_rescued = replaceOne(_rescued, '\"only_null\":{\"reason\":\"new_field\",\"value\":null', '\"only_null\":{\"reason\":\"new_field\",\"value\":0')", "_rescued LIKE '%only_null%'"))
	sees("the rescue column unreadable", "unreadable", update("_rescued = substring(_rescued, 1, 40)", "length(_rescued) > 60"))
	sees("a column dropped by nobody", "lacks deep.l1.l2.l3", "ALTER TABLE "+w.db+".events DROP COLUMN deep_l1_l2_l3")
	sees("a comment changed", "lacks when", "ALTER TABLE "+w.db+".events COMMENT COLUMN `when` 'mine'")
}

// soak is two workers of one pipeline, a producer that goes on for the whole time, another client that alters the table, and crashes, all of it drawn
// by chance. What is drawn follows from the seed; what it meets does not.
type soak struct {
	*world
	rng     *rand.Rand
	shapes  shaper
	other   *otherClient
	workers [2]*worker
	armed   [2]bool // with a failpoint
	counts  map[string]int64
	deck    []string
}

// soakFor is how long it goes on: ten minutes, or what WAYBILL_E2E_SOAK says.
func soakFor(t *testing.T) time.Duration {
	d := 20 * time.Second
	if full {
		d = 10 * time.Minute
	}
	if given := os.Getenv("WAYBILL_E2E_SOAK"); given != "" {
		var err error
		if d, err = time.ParseDuration(given); err != nil {
			t.Fatal(err)
		}
	}
	return d
}

func TestSchema_SoakUnderAltersAndCrashes(t *testing.T) {
	length, drawn := soakFor(t), seed(t)
	w := newWorld(t, setup{check: "tenant != 'cursed'", partitions: 6, ch: testenv.ClickHouse(t)})
	w.shaped()
	w.allow("evolve_refused", "column_dropped", "column_renamed", "null_rate", "default_rate", "field_vanished",
		"frozen_partition") // workers that are killed again and again before they have settled a first batch of a partition
	s := &soak{world: w, rng: rand.New(rand.NewPCG(drawn, 4)), other: newOtherClient(), counts: map[string]int64{}, //nolint:gosec // chance, not secrecy
		shapes: shaper{seed: drawn, every: max(40, uint64(length.Seconds()*eventsPerSecond/90))}} //nolint:gosec // positive
	for i := range s.workers {
		s.workers[i] = s.start("")
	}
	stop := s.producing(drawn)
	pause := 800 * time.Millisecond
	if length > time.Minute {
		pause = 2 * time.Second
	}
	for until := time.Now().Add(length); time.Now().Before(until); {
		s.pass(pause/2 + time.Duration(s.rng.Int64N(int64(pause))))
		s.act()
		s.revive()
	}
	stop()
	s.finish()
}

// eventsPerSecond are about what the producer sends.
const eventsPerSecond = 200

// producing sends events in bursts until what it returns is called.
func (s *soak) producing(drawn uint64) (stop func()) {
	ctx, cancel := context.WithCancel(s.Context())
	ended := make(chan error, 1)
	go func() {
		rng := rand.New(rand.NewPCG(drawn, 5)) //nolint:gosec // chance, not secrecy
		for ctx.Err() == nil {
			n := 1 + rng.IntN(eventsPerSecond/2)
			if err := s.sendUntil(context.WithoutCancel(ctx), s.shapes.next(s.world, n)); err != nil {
				ended <- err
				return
			}
			select {
			case <-ctx.Done():
			case <-time.After(time.Duration(rng.IntN(1000*n/(eventsPerSecond/2))) * time.Millisecond):
			}
		}
		ended <- nil
	}()
	return func() {
		cancel()
		if err := <-ended; err != nil {
			s.Fatalf("produce: %v", err)
		}
	}
}

// act does the next thing of a shuffled deck, in which each has its place.
func (s *soak) act() {
	s.Helper()
	if len(s.deck) == 0 {
		s.deck = slices.Sorted(maps.Keys(altering))
		s.deck = append(s.deck, s.deck...)
		s.deck = append(s.deck, slices.Sorted(maps.Keys(crashing))...)
		s.rng.Shuffle(len(s.deck), func(a, b int) { s.deck[a], s.deck[b] = s.deck[b], s.deck[a] })
	}
	name := s.deck[0]
	s.deck = s.deck[1:]
	do := altering[name]
	if do == nil {
		do = crashing[name]
		s.Logf("%s %s", time.Now().UTC().Format("15:04:05.000"), name)
	}
	if do(s) {
		s.counts[name]++
	}
}

// crashing is what else happens.
var crashing = map[string]func(*soak) bool{
	"workers killed": func(s *soak) bool {
		i := s.rng.IntN(2)
		s.workers[i].end()
		s.restartWorker(i, "")
		return true
	},
	"workers armed to die around an ALTER": func(s *soak) bool {
		i := s.rng.IntN(2)
		s.workers[i].end()
		s.restartWorker(i, fmt.Sprintf("%s:%d", pick(s.rng, "before-alter", "after-alter"), 1+s.rng.IntN(2)))
		return true
	},
	"workers armed to die elsewhere": func(s *soak) bool {
		i := s.rng.IntN(2)
		s.workers[i].end()
		s.restartWorker(i, fmt.Sprintf("%s:%d", pick(s.rng, "batch-closed", "before-target", "during-target", "after-target", "after-ledger", "before-read-back", "commit-answered"), 1+s.rng.IntN(5)))
		return true
	},
	"workers stopped": func(s *soak) bool {
		i := s.rng.IntN(2)
		if !s.armed[i] {
			s.leave(s.workers[i])
			s.restartWorker(i, "")
		}
		return !s.armed[i]
	},
	"tables exchanged": (*soak).exchange,
	"pipelines stopped by a rename": func(s *soak) bool {
		return s.misfit("RENAME COLUMN body TO body_elsewhere", "RENAME COLUMN body_elsewhere TO body", "body", "no such column")
	},
	"pipelines stopped by another type": func(s *soak) bool {
		was := s.query("SELECT type FROM system.columns WHERE database = '" + s.db + "' AND table = 'events' AND name = 'n'")
		return s.misfit("MODIFY COLUMN n String", "MODIFY COLUMN n "+was, "n: the contract says", "the table has String")
	},
}

func (s *soak) restartWorker(i int, failpoint string) {
	s.Helper()
	s.workers[i], s.armed[i] = s.start(failpoint), failpoint != ""
}

// revive starts workers again that have died at a failpoint. None may end otherwise.
func (s *soak) revive() {
	s.Helper()
	for i, p := range s.workers {
		if p.alive() {
			continue
		}
		if !s.diedAtFailpoint(i) {
			s.Fatalf("%s has ended by itself: %v; the table has the columns %s", p.name, p.cmd.ProcessState,
				s.query("SELECT arrayStringConcat(groupArray(concat(name, ' ', type)), ', ') FROM system.columns WHERE database = '"+s.db+"' AND table = 'events'"))
		}
		s.restartWorker(i, "")
	}
}

func (s *soak) diedAtFailpoint(i int) bool {
	p := s.workers[i]
	if !s.armed[i] || p.alive() || !strings.Contains(p.log.String(), ": killing the process") {
		return false
	}
	s.counts["workers dead at a failpoint"]++
	return true
}

// exchange puts a copy in the table's place. It is sound only while nobody writes: a row that lands between the copy and the exchange is in the old table
// alone. A batch in doubt is no harm: what has landed of it is in the copy, which is where it is looked for.
func (s *soak) exchange() bool {
	s.Helper()
	for i, p := range s.workers {
		if s.armed[i] || s.rng.IntN(2) == 0 {
			p.end()
		} else {
			s.leave(p)
		}
	}
	quiet := 0
	s.eventually("no insert is under way", func() bool {
		if quiet++; s.query("SELECT count() FROM system.processes WHERE query LIKE 'INSERT INTO%"+s.db+"%' AND query NOT LIKE '%system.processes%'") != "0" {
			quiet = 0
		}
		return quiet > 30
	})
	s.exec(fmt.Sprintf("CREATE TABLE %[1]s.copy AS %[1]s.events", s.db), fmt.Sprintf("INSERT INTO %[1]s.copy SELECT * FROM %[1]s.events", s.db),
		fmt.Sprintf("EXCHANGE TABLES %[1]s.copy AND %[1]s.events", s.db))
	if both := s.rowsOf(fmt.Sprintf("SELECT (SELECT count() FROM %[1]s.copy), (SELECT count() FROM %[1]s.events)", s.db))[0]; both[0] != both[1] {
		s.Fatalf("rows have landed in the old table meanwhile: %v", both)
	}
	s.exec("DROP TABLE " + s.db + ".copy SYNC")
	for i := range s.workers {
		s.restartWorker(i, "")
	}
	return true
}

// leave asks a worker for a graceful stop. With two workers, a server that refuses rows and an ALTER every two seconds it may not settle all within its deadline: it says
// so, and whoever is assigned its partitions does.
func (s *soak) leave(p *worker) {
	s.Helper()
	p.signal(sigTerm)
	if code := p.exit(patience); code != 0 && (code != 4 || !strings.Contains(p.log.String(), "the deadline for a graceful stop passed")) {
		s.Fatalf("%s ended with exit code %d", p.name, code)
	}
}

// misfit is a change that the contract does not survive: both workers stop, and say why. The operator takes it back.
func (s *soak) misfit(change, back string, words ...string) bool {
	s.Helper()
	began := time.Now()
	s.alter("%s", change)
	if words, renames := strings.CutPrefix(change, "RENAME COLUMN "); renames {
		from, _, _ := strings.Cut(words, " ")
		s.other.renames = append(s.other.renames, renaming{from, interval{began, time.Now()}})
	}
	for i, p := range s.workers {
		code := p.exit(patience)
		if s.diedAtFailpoint(i) {
			continue
		}
		if code != 2 && code != 4 {
			s.Errorf("%s ended with exit code %d", p.name, code)
		}
		if p.said(append(words, `"stopped"`)...) == 0 {
			s.Errorf("%s has not said %q", p.name, words)
		}
	}
	s.alter("%s", back)
	for i := range s.workers {
		s.restartWorker(i, "")
	}
	return true
}

// finish lets everything settle and asks the oracles.
func (s *soak) finish() {
	s.Helper()
	for i := range s.workers {
		if s.armed[i] && s.workers[i].alive() {
			s.workers[i].end()
			s.restartWorker(i, "")
		}
	}
	s.revive()
	s.produceShaped(s.shapes, 300)
	s.quiet()
	for _, p := range s.workers {
		p.stop()
	}
	s.verify()
	tally := s.wantLeaves(s.other, s.shapes)
	for name, n := range s.counts {
		s.observe(name, n)
	}
	s.observe("rows", int64(s.count()))
	s.observe("leaves", tally.leaves)
	s.observe("in columns", tally.typed+tally.text)
	s.observe("rescued", tally.rescued)
	s.observe("discarded", tally.discarded)
	s.observe("plans", integer(s.query("SELECT uniqExact(id) FROM waybill.plans WHERE pipeline = '"+s.pipeline+"'")))
	s.observe("of one type, and never touched", tally.steady)
	s.Logf("%+v", tally)
	if float64(tally.typedSteady) < 0.999*float64(tally.steady) {
		s.Errorf("of %d leaves of one type under evolve, whose columns nobody has touched, %d are in columns", tally.steady, tally.typedSteady)
	}
	s.staysGone()
}

// slowToNotice is how long a worker may not have seen that somebody has dropped a column, and even that it was there.
const slowToNotice = 10 * time.Second

// staysGone: no worker adds again what the other client has dropped, unless it was about to when it was dropped.
func (s *soak) staysGone() {
	s.Helper()
	for name, d := range s.other.gone {
		if n := s.query(fmt.Sprintf("SELECT count() FROM waybill.schema_changes WHERE pipeline = '%s' AND kind = 'add_column' AND outcome = 'applied' AND column = '%s' AND toUnixTimestamp64Milli(at) > %d",
			s.pipeline, name, d.after+slowToNotice.Milliseconds())); n != "0" {
			s.Errorf("column %s was dropped, and has been added again", name)
		}
	}
}
