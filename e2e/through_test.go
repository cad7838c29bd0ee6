package e2e

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/waybill-data/waybill/internal/testenv"
)

// acked says that a broker had all of a partition's first records at a time. Their own times are before it.
type acked struct {
	at    time.Time
	first map[int32]int64 // how many, by partition
}

// producer sends records until it is stopped, and notes when which of them were acknowledged.
type producer struct {
	mu  sync.Mutex
	log []acked
}

func (p *producer) run(w *world, stop <-chan struct{}) {
	sum := map[int32]int64{}
	for {
		select {
		case <-stop:
			return
		default:
		}
		for _, r := range w.produceBy(w.client, 40, mix{}) {
			sum[r.partition] = max(sum[r.partition], r.offset+1)
		}
		a := acked{at: time.Now(), first: map[int32]int64{}}
		for n, end := range sum {
			a.first[n] = end
		}
		p.mu.Lock()
		p.log = append(p.log, a)
		p.mu.Unlock()
		w.pass(100 * time.Millisecond)
	}
}

// by is what was acknowledged by a time, and so has to be in the table if everything up to that time is.
func (p *producer) by(at time.Time) (found acked) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, a := range p.log {
		if a.at.Before(at) {
			found = a
		}
	}
	return found
}

// lacking is how many of the records are not in the table.
func (w *world) lacking(a acked) (n int64) {
	w.Helper()
	some := []string{"0"}
	for p, end := range a.first {
		some = append(some, fmt.Sprintf("_partition = %d AND _offset < %d", p, end))
		n += end
	}
	var have int64
	_, _ = fmt.Sscan(w.query(fmt.Sprintf("SELECT uniqExact(_partition, _offset) FROM %s.events WHERE %s", w.db, strings.Join(some, " OR "))), &have)
	return n - have
}

// moment reads a time in milliseconds since the Unix epoch; zero if the query has no answer.
func (w *world) moment(sql string) time.Time {
	var millis int64
	if body, err := testenv.Query(w.ch.HTTPAddr(), sql); err == nil { // an error before there is a table
		_, _ = fmt.Sscan(body, &millis)
	}
	if millis == 0 {
		return time.Time{}
	}
	return time.UnixMilli(millis)
}

// Workers are killed while records come. Whatever the view says is complete is in the table, and it never goes back. Taken by the
// partition that is furthest, not by the one that is least far, the same checks find that it is not: that is the control.
func TestThrough_NeverSaysMoreThanIsInTheTable(t *testing.T) {
	w := newWorld(t, setup{partitions: 4})
	w.file = w.pipelineFile() + "allowed_lateness: 1s\n"
	view := fmt.Sprintf("SELECT toUnixTimestamp64Milli(ifNull(complete_through, toDateTime64(0, 3, 'UTC'))) FROM waybill.complete_through WHERE pipeline = '%s'", w.pipeline)
	furthest := fmt.Sprintf("SELECT toUnixTimestamp64Milli(max(through)) FROM waybill.through WHERE pipeline = '%s'", w.pipeline)
	workers := []*worker{w.start(""), w.start("")}
	rng := rand.New(rand.NewPCG(seed(t), 6)) //nolint:gosec // chance, not secrecy
	p, stop := &producer{}, make(chan struct{})
	var producing sync.WaitGroup
	producing.Go(func() { p.run(w, stop) })

	// A dead worker is missed after six seconds, in which the other one goes on. Its successor comes after that: else they would all stop and wait for it.
	length, every, absent := 65*time.Second, 18*time.Second, 9*time.Second
	if full {
		length = 3 * time.Minute
	}
	var before time.Time
	var checks, moved, kills, wrong int64
	next, dead := time.Now().Add(every), -1
	for until := time.Now().Add(length); time.Now().Before(until); checks++ {
		said := w.moment(view)
		if said.Before(before) {
			t.Fatalf("it went back from %s to %s", before, said)
		}
		if said.After(before) {
			moved++
		}
		before = said
		if n := w.lacking(p.by(said)); n > 0 {
			t.Fatalf("complete through %s, but %d records that were in the topic by then are not in the table", said, n)
		}
		if w.lacking(p.by(w.moment(furthest))) > 0 {
			wrong++
		}
		switch {
		case dead < 0 && time.Now().After(next):
			dead = rng.IntN(len(workers))
			workers[dead].kill()
			kills, next = kills+1, time.Now().Add(absent)
		case dead >= 0 && time.Now().After(next):
			workers[dead] = w.start("")
			dead, next = -1, time.Now().Add(every-absent)
		}
		w.pass(150 * time.Millisecond)
	}
	if dead >= 0 {
		workers[dead] = w.start("")
	}
	close(stop)
	producing.Wait()
	last := time.Now()
	w.eventually("everything is said to be in", func() bool { return w.moment(view).After(last) })
	if n := w.lacking(p.by(last)); n > 0 {
		t.Errorf("%d records are not in the table", n)
	}
	if moved < 3 || kills < 2 {
		t.Errorf("it moved %d times while %d workers were killed: this shows nothing", moved, kills)
	}
	if wrong == 0 {
		t.Error("by the partition that is furthest it was never wrong either: the check cannot fail")
	}
	w.observe("complete-through moved", moved)
	w.observe("compared with the table", checks)
	w.observe("workers killed", kills)
	w.observe("control: wrong by the furthest partition", wrong)
	w.quiet()
	for _, p := range workers {
		p.stop()
	}
	w.verify()
}
