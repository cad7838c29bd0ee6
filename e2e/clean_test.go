package e2e

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/waybill-data/waybill/internal/testenv"
)

// cleanFor is how long clean traffic goes on: WAYBILL_E2E_CLEAN says it (`make soak`: 30 minutes), or five minutes in the long runs.
func cleanFor(t *testing.T) time.Duration {
	d := 25 * time.Second
	if full {
		d = 5 * time.Minute
	}
	if given := os.Getenv("WAYBILL_E2E_CLEAN"); given != "" {
		var err error
		if d, err = time.ParseDuration(given); err != nil {
			t.Fatal(err)
		}
	}
	return d
}

// clean is a pipeline whose events change only as they may, and whose processes come and go in ways that are nobody's fault.
type clean struct {
	*world
	rng     *rand.Rand
	workers []*worker
	started time.Time
	length  time.Duration
	counts  map[string]int64
	columns int // that the other client has added
}

// disturbances are what a healthy installation sees on an ordinary day.
var disturbances = []struct {
	name string
	do   func(*clean)
}{
	{"workers that join", func(c *clean) { c.workers = append(c.workers, c.start("")) }},
	{"columns added by another client", func(c *clean) {
		c.columns++
		c.exec(fmt.Sprintf("ALTER TABLE %s.events ADD COLUMN own_%d String DEFAULT 'x'", c.db, c.columns))
	}},
	{"workers killed", func(c *clean) {
		i := c.rng.IntN(len(c.workers))
		c.workers[i].end()
		c.workers[i] = c.start("")
	}},
	{"merges by hand", func(c *clean) { c.exec("OPTIMIZE TABLE " + c.db + ".events FINAL") }},
	{"workers that leave", func(c *clean) {
		last := len(c.workers) - 1
		c.workers[last].stop()
		c.workers = c.workers[:last]
	}},
	{"workers restarted", func(c *clean) {
		i := c.rng.IntN(len(c.workers))
		c.workers[i].stop()
		c.workers[i] = c.start("")
	}},
	{"restarts of the server", func(c *clean) {
		if err := c.ch.Stop(c.Context()); err != nil {
			c.Fatal(err)
		}
		c.restart()
	}},
}

// fieldEvery is which share of the time brings one more field.
const fieldEvery = 5

// event is the i-th: its producer is of the newest generation, or for a while of the one before.
func (c *clean) event(i uint64) record {
	r := record{id: i, n: i*7919%1000 + 1, tenant: fmt.Sprintf("t%d", i%tenants), key: fmt.Appendf(nil, "key-%d", i)}
	passed := time.Since(c.started) * fieldEvery
	generation := int(passed / c.length)
	if passed%c.length < c.length/3 && i%2 == 0 {
		generation--
	}
	var more strings.Builder
	for g := range generation {
		fmt.Fprintf(&more, `,"field_%d":%q`, g+1, fmt.Sprintf("value %d", i%97))
	}
	r.value = fmt.Appendf(nil, `{"id":%d,"tenant":%q,"usage":{"n":%d},"at":%d,"body":"b%d"%s}`, i, r.tenant, r.n, time.Now().Unix(), i, more.String())
	return r
}

// producing sends events at a steady rate until what it returns is called.
func (c *clean) producing() (stop func()) {
	ctx, cancel := context.WithCancel(c.Context())
	ended := make(chan error, 1)
	go func() {
		tick := time.NewTicker(100 * time.Millisecond)
		defer tick.Stop()
		for ctx.Err() == nil {
			records := make([]record, eventsPerSecond/10)
			for i := range records {
				c.nextID++
				records[i] = c.event(c.nextID)
			}
			if err := c.sendUntil(context.WithoutCancel(ctx), records); err != nil {
				ended <- err
				return
			}
			select {
			case <-ctx.Done():
			case <-tick.C:
			}
		}
		ended <- nil
	}()
	return func() {
		cancel()
		if err := <-ended; err != nil {
			c.Fatalf("produce: %v", err)
		}
	}
}

// restartKind is the one finding that a restart of the server rightly brings: it is open until what was written before has been looked at again.
const restartKind = "unverified_after_restart"

// Clean traffic, whatever comes and goes: no finding is left open, and none was a false alarm. That each of the detectors can fire is what
// TestDetect_* show, with the same binary.
func TestClean_NoFalseAlarms(t *testing.T) {
	w := newWorld(t, setup{partitions: 6, ch: testenv.ClickHouse(t)})
	w.file = strings.Replace(w.pipelineFile(), "new_fields: discard", "new_fields: evolve", 1)
	w.allow("column_added", restartKind)
	c := &clean{world: w, rng: rand.New(rand.NewPCG(seed(t), 6)), started: time.Now(), length: cleanFor(t), counts: map[string]int64{}} //nolint:gosec // chance, not secrecy
	c.workers = []*worker{c.start(""), c.start("")}
	stop := c.producing()
	pause := max(2*time.Second, min(20*time.Second, c.length/20))
	for i := 0; time.Since(c.started) < c.length; i++ {
		c.pass(pause)
		d := disturbances[i%len(disturbances)]
		d.do(c)
		c.counts[d.name]++
		for _, p := range c.workers {
			if !p.alive() {
				t.Fatalf("%s has ended by itself: %v", p.name, p.cmd.ProcessState)
			}
		}
	}
	stop()
	c.quiet()
	c.noAlarms()
	for _, p := range c.workers {
		p.stop()
	}
	w.verify()
	for _, d := range disturbances {
		c.observe(d.name, c.counts[d.name])
	}
	c.observe("rows", int64(c.count()))
	c.observe("columns that events brought", integer(c.query("SELECT count() FROM waybill.schema_changes WHERE pipeline = '"+c.pipeline+"' AND kind = 'add_column' AND outcome = 'applied'")))
}

// noAlarms waits until nothing is open any more, and finds no alarm that ever was.
func (c *clean) noAlarms() {
	c.Helper()
	open := func() [][]string {
		return c.rowsOf(fmt.Sprintf("SELECT kind, message FROM waybill.findings_now WHERE pipeline = '%s' AND state = 'open'", c.pipeline))
	}
	c.eventually("no finding is open", func() bool {
		// Only what closes by itself may still be open now.
		return !slices.ContainsFunc(open(), func(f []string) bool { return f[0] == restartKind })
	})
	for _, f := range open() {
		c.Errorf("open: %s: %s", f[0], f[1])
	}
	for _, f := range c.rowsOf(fmt.Sprintf("SELECT kind, severity, message FROM waybill.findings_now WHERE pipeline = '%s' AND severity != 'info' AND kind != '%s'", c.pipeline, restartKind)) {
		c.Errorf("a false alarm: %s (%s): %s", f[0], f[1], f[2])
	}
}
