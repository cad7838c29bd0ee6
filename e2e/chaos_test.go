package e2e

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/waybill-data/waybill/internal/testenv"
	"github.com/waybill-data/waybill/internal/testenv/faultproxy"
)

// chaos is a case in which faults are drawn by chance. The order of events is not replayable, but what is
// drawn is: WAYBILL_E2E_SEED sets the seed that a failure prints.
type chaos struct {
	*world
	rng     *rand.Rand
	workers []*worker
	counts  map[string]int64
}

const chaosWorkers = 3

func TestChaos_EverythingAtOnce(t *testing.T) {
	t.Parallel()
	fullOnly(t)
	for _, view := range []bool{false, true} {
		t.Run(fmt.Sprintf("view=%v", view), func(t *testing.T) {
			w := newWorld(t, setup{partitions: 6, proxied: true, check: "tenant != 'cursed'", partitionBy: "toDate(at)", view: view,
				kafka: testenv.Kafka(t), ch: testenv.ClickHouse(t, logged)})
			w.allow("view_incomplete", "rows_vanished")
			c := &chaos{world: w, rng: rand.New(rand.NewPCG(seed(t), 1)), counts: map[string]int64{}} //nolint:gosec // chance, not secrecy
			for range chaosWorkers {
				c.workers = append(c.workers, w.start(""))
			}
			m := usual
			m.poisoned, m.days, m.garbage = 701, 4, 89
			for until := time.Now().Add(90 * time.Second); time.Now().Before(until); {
				w.produce(100+c.rng.IntN(200), m)
				c.strike()
				w.pass(time.Duration(c.rng.IntN(1500)) * time.Millisecond)
			}
			c.calm()
			w.produce(200, m)
			w.quiet()
			for _, p := range c.workers {
				p.stop()
			}
			for what, n := range c.counts {
				w.observe(what, n)
			}
			for what, n := range w.proxy.Stats() {
				w.observe("proxy "+what, n)
			}
			w.verify()
		})
	}
}

// seed is another one in each full run. A short run has always the same, so that a change is not judged by luck.
func seed(t *testing.T) uint64 {
	s := uint64(7)
	if full {
		s = uint64(time.Now().UnixNano()) //nolint:gosec // chance
	}
	if given := os.Getenv("WAYBILL_E2E_SEED"); given != "" {
		var err error
		if s, err = strconv.ParseUint(given, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("WAYBILL_E2E_SEED=%d", s)
	return s
}

// strike draws one fault.
func (c *chaos) strike() {
	c.Helper()
	i := c.rng.IntN(len(c.workers))
	p := c.workers[i]
	names := []string{"assigned", "batch-closed", "commit-built", "commit-answered", "during-target", "after-target", "after-dead-letters", "after-ledger", "before-claim", "revoked", "after-read-back"}
	switch n := c.rng.IntN(100); {
	case n < 15:
		c.counts["workers killed"]++
		p.end()
		c.workers[i] = c.start("")
	case n < 30:
		name := names[c.rng.IntN(len(names))]
		c.counts["workers with a failpoint"]++
		p.end()
		c.workers[i] = c.start(fmt.Sprintf("%s:%d", name, 1+c.rng.IntN(4)))
	case n < 40 && p.alive():
		c.counts["workers frozen"]++
		_ = p.cmd.Process.Signal(sigStop)
		c.pass(time.Duration(c.rng.IntN(9000)) * time.Millisecond)
		_ = p.cmd.Process.Signal(sigCont)
	case n < 45 && p.alive():
		c.counts["workers stopped"]++
		_ = p.cmd.Process.Signal(sigTerm)
	case n < 60:
		c.proxy.Set(faultproxy.DropInsertReply([]string{tableEvents, tableDeadLetters, tableLedger, ""}[c.rng.IntN(4)]).Times(1 + c.rng.IntN(3)))
	case n < 70:
		c.proxy.Set(faultproxy.Cut(int64(c.rng.IntN(60_000))).On(faultproxy.Insert("")).Times(1 + c.rng.IntN(3)))
	case n < 75:
		c.proxy.Set(faultproxy.Delay(time.Duration(c.rng.IntN(3000))*time.Millisecond, 0).On(faultproxy.Insert("")).Times(2))
	case n < 80:
		c.proxy.Set(faultproxy.Hang().On(faultproxy.Insert("")).Times(1))
	case n < 85:
		c.proxy.Set(faultproxy.Answer(241, "MEMORY_LIMIT_EXCEEDED", "DB::Exception: memory limit exceeded").Times(2))
	case n < 90:
		c.proxy.KillConnections()
	case n < 95:
		c.counts["ClickHouse killed"]++
		c.ch.Kill()
		c.pass(time.Duration(c.rng.IntN(3000)) * time.Millisecond)
		c.restart()
	default:
		c.counts["broker killed"]++
		c.kafka.Kill()
		ctx, cancel := context.WithTimeout(c.Context(), 90*time.Second)
		defer cancel()
		if err := c.kafka.Start(ctx); err != nil {
			c.Fatal(err)
		}
	}
	for i, p := range c.workers {
		if !p.alive() {
			c.workers[i] = c.start("")
		}
	}
}

// calm takes all faults back.
func (c *chaos) calm() {
	c.Helper()
	c.proxy.Set(faultproxy.Pass())
	for i, p := range c.workers {
		if p.alive() { // it may have a failpoint
			p.end()
		}
		c.workers[i] = c.start("")
	}
}
