package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"
)

// TestWorkers_ScaleOut measures; it judges nothing but that every record is accounted for. WAYBILL_E2E_SCALE says how many thousand rows each number of
// workers has to write; the result is in docs/evidence/scale-out.txt.
func TestWorkers_ScaleOut(t *testing.T) {
	thousands, err := strconv.Atoi(os.Getenv("WAYBILL_E2E_SCALE"))
	if err != nil {
		t.Skip("a measurement: WAYBILL_E2E_SCALE says how many thousand rows it takes (make scale-out)")
	}
	var parts [6]strings.Builder
	report := &parts[0]
	fmt.Fprintf(report, "Scale-out: workers of one group on a topic of 16 partitions, %d,000 rows each time, JSON of about 190 bytes, five columns.\n", thousands)
	fmt.Fprintf(report, "%d cores, on which the broker, the server and whatever else ran as well: more workers cannot be faster here than the cores allow. What tells\nhow it scales is the CPU that a row costs.\n\n", runtime.NumCPU())
	fmt.Fprintf(report, "%8s %12s %20s %16s %26s\n", "workers", "rows/s", "rows/s per worker", "CPU s/M rows", "ledger rows per M rows")
	// The cases are parallel ones, as all are, and end after this function: -parallel 1 has them run one after the other.
	for i, n := range []int{1, 2, 4, 8} {
		t.Run(fmt.Sprint(n), func(t *testing.T) { scaleOut(t, n, thousands*1000, &parts[1+i]) })
	}
	t.Run("pauses", func(t *testing.T) { pauses(t, &parts[5]) })
	t.Cleanup(func() {
		var all strings.Builder
		for i := range parts {
			all.WriteString(parts[i].String())
		}
		if err := os.WriteFile(filepath.Join("..", "docs", "evidence", "scale-out.txt"), []byte(all.String()), 0o600); err != nil {
			t.Error(err)
		}
	})
}

func scaleOut(t *testing.T, n, rows int, report *strings.Builder) {
	w := newWorld(t, setup{partitions: 16, rows: 100_000, age: "1s"})
	for at := 0; at < rows; at += 50_000 {
		w.produce(min(50_000, rows-at), mix{body: 100})
	}
	began := time.Now()
	var workers []*worker
	for range n {
		workers = append(workers, w.start(""))
	}
	w.eventually("all rows are there", func() bool { return w.count() >= rows })
	took := time.Since(began)
	w.quiet()
	var cpu time.Duration
	for _, p := range workers {
		p.stop()
		cpu += p.cmd.ProcessState.UserTime() + p.cmd.ProcessState.SystemTime()
	}
	w.observe("rows", int64(rows))
	w.verify()
	ledger := integer(w.query("SELECT count() FROM waybill.ledger WHERE pipeline = '" + w.pipeline + "'"))
	millions := float64(rows) / 1e6
	fmt.Fprintf(report, "%8d %12.0f %20.0f %16.2f %26.0f\n", n, float64(rows)/took.Seconds(), float64(rows)/took.Seconds()/float64(n), cpu.Seconds()/millions, float64(ledger)/millions)
}

// pauses are the longest times without a new row while workers come and go under a steady load.
func pauses(t *testing.T, report *strings.Builder) {
	w := newWorld(t, setup{partitions: 16, rows: 10_000, age: "100ms"})
	var workers []*worker
	for range 4 {
		workers = append(workers, w.start(""))
	}
	w.produce(1000, usual)
	w.quiet()
	longest := func(what string, f func(), over time.Duration) {
		done := make(chan struct{})
		went := make(chan struct{})
		go func() {
			defer close(went)
			for {
				select {
				case <-done:
					return
				default:
					if err := w.produceAside(200); err != nil {
						t.Error(err)
						return
					}
					time.Sleep(20 * time.Millisecond) // a steady load, not the most that there can be
				}
			}
		}()
		last, at, worst := w.count(), time.Now(), time.Duration(0)
		f()
		for end := time.Now().Add(over); time.Now().Before(end); {
			if n := w.count(); n > last {
				worst, last, at = max(worst, time.Since(at)), n, time.Now()
			}
			time.Sleep(10 * time.Millisecond)
		}
		worst = max(worst, time.Since(at))
		close(done)
		<-went
		fmt.Fprintf(report, "%-55s %6.2f s\n", what, worst.Seconds())
	}
	fmt.Fprintf(report, "\nLongest time without a new row in the table, of four workers under a steady load (batches close after 100 ms; session timeout 6 s):\n\n")
	longest("nothing happens", func() {}, 10*time.Second)
	longest("a fifth worker joins", func() { workers = append(workers, w.start("")) }, 10*time.Second)
	longest("a worker leaves in good order", func() { workers[0].signal(sigTerm) }, 10*time.Second)
	longest("a worker is killed; its share of the partitions waits", func() { workers[1].kill() }, 15*time.Second)
	w.quiet()
	for _, p := range workers[2:] {
		p.stop()
	}
	w.observe("workers that came or went", 3)
	w.verify()
}

// produceAside is produce for another goroutine than the case's.
func (w *world) produceAside(n int) error {
	w.mu.Lock()
	first := w.nextID
	w.nextID += uint64(n) //nolint:gosec // not negative
	w.mu.Unlock()
	records := make([]record, n)
	for i := range records {
		records[i] = w.event(first+uint64(i), usual) //nolint:gosec // not negative
	}
	return w.sendUntil(w.Context(), records)
}
