package e2e

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/waybill-data/waybill/internal/testenv"
)

// sample is what a worker's /metrics say of its process at one moment.
type sample struct {
	at                          time.Duration // since the beginning
	rss, goroutines, files, cpu float64
}

// measures are what must not grow, by how much they may all the same: allocators keep what they have had, and a rebalance is under way now and then.
var measures = []struct {
	name   string
	of     func(sample) float64
	within func(median float64) float64
}{
	{"resident bytes", func(s sample) float64 { return s.rss }, func(median float64) float64 { return max(24<<20, median/10) }},
	{"goroutines", func(s sample) float64 { return s.goroutines }, func(float64) float64 { return 5 }},
	{"file descriptors", func(s sample) float64 { return s.files }, func(float64) float64 { return 3 }},
}

// growth is what a line through the samples gains from the first to the last: the median of the slopes of all pairs (Theil and Sen), which spikes
// do not move.
func growth(samples []sample, of func(sample) float64) float64 {
	var slopes []float64
	for i, a := range samples {
		for _, b := range samples[i+1:] {
			slopes = append(slopes, (of(b)-of(a))/(b.at-a.at).Seconds())
		}
	}
	return median(slopes) * (samples[len(samples)-1].at - samples[0].at).Seconds()
}

func median(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	return (sorted[(len(sorted)-1)/2] + sorted[len(sorted)/2]) / 2
}

// verdicts on the samples, a line for each measure; bad are those that grow.
func verdicts(samples []sample) (lines, bad []string) {
	for _, m := range measures {
		var values []float64
		for _, s := range samples {
			values = append(values, m.of(s))
		}
		mid := median(values)
		gained, within := growth(samples, m.of), m.within(mid)
		line := fmt.Sprintf("%s: median %.0f, from %.0f to %.0f, line gains %+.1f in %s, allowed %.0f", m.name, mid, slices.Min(values), slices.Max(values),
			gained, (samples[len(samples)-1].at - samples[0].at).Round(time.Second), within)
		lines = append(lines, line)
		if gained > within {
			bad = append(bad, line)
		}
	}
	return lines, bad
}

// A leak of one in two minutes is seen, and noise is none.
func TestFlat_GrowthIsSeen(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2)) //nolint:gosec // chance, not secrecy
	make30 := func(leak float64) (out []sample) {
		for i := range 30 {
			noise := rng.Float64()
			s := sample{at: time.Duration(i) * time.Minute, rss: 150<<20 + noise*40e6, goroutines: 80 + 6*noise, files: 20 + 2*noise}
			if i%9 == 5 {
				s.goroutines, s.files = s.goroutines+40, s.files+12 // a rebalance
			}
			s.rss, s.goroutines, s.files = s.rss+leak*4e6*float64(i), s.goroutines+leak*float64(i), s.files+leak*float64(i)
			out = append(out, s)
		}
		return out
	}
	if lines, bad := verdicts(make30(0)); len(bad) != 0 || len(lines) != len(measures) {
		t.Errorf("noise is taken for growth: %q", bad)
	}
	if _, bad := verdicts(make30(0.5)); len(bad) != len(measures) {
		t.Errorf("a leak of everything is only seen as %q", bad)
	}
}

// judgedFrom is the shortest run whose slopes say something: before, a process is still warming up.
const judgedFrom = 5 * time.Minute

// One worker lives through everything that goes on around it: its partner is killed, stopped and started, a third comes and goes, the server is restarted.
// What it holds does not grow. `make soak` gives it half an hour and keeps what was measured.
func TestFlat_ThroughRestarts(t *testing.T) {
	if os.Getenv("WAYBILL_E2E_CLEAN") == "" {
		fullOnly(t)
	}
	length := cleanFor(t)
	w := newWorld(t, setup{partitions: 6, ch: testenv.ClickHouse(t)})
	c := &clean{world: w, started: time.Now(), length: 10_000 * time.Hour, counts: map[string]int64{}} // no event ever has a new field
	steady, partner := c.start(""), c.start("")
	stop := c.producing()
	pause := max(3*time.Second, min(20*time.Second, length/20))
	var samples []sample
	for i := 0; time.Since(c.started) < length; i++ {
		c.pass(pause)
		samples = append(samples, steady.sample(c.started))
		partner = c.around(i, partner)
		if !steady.alive() {
			t.Fatalf("%s has ended by itself: %v", steady.name, steady.cmd.ProcessState)
		}
	}
	stop()
	c.quiet()
	steady.stop()
	partner.stop()
	w.verify()
	for name, n := range c.counts {
		c.observe(name, n)
	}
	c.observe("rows", int64(c.count()))
	c.observe("samples", int64(len(samples)))
	if length < judgedFrom {
		t.Logf("%s is too short to judge slopes: make soak", length)
		return
	}
	lines, bad := verdicts(samples[len(samples)/5:]) // the first fifth is warming up
	for _, line := range bad {
		t.Errorf("grows: %s", line)
	}
	c.keep(samples, lines, len(bad) == 0)
}

// around does what goes on around the worker that is measured.
func (c *clean) around(i int, partner *worker) *worker {
	c.Helper()
	switch i % 4 {
	case 0:
		partner.end()
		c.counts["workers killed"]++
	case 1:
		partner.stop()
		c.counts["workers stopped"]++
	case 2:
		third := c.start("")
		c.pass(3 * time.Second)
		third.stop()
		c.counts["workers that came and went"]++
		return partner
	default:
		if err := c.ch.Stop(c.Context()); err != nil {
			c.Fatal(err)
		}
		c.restart()
		c.counts["restarts of the server"]++
		return partner
	}
	return c.start("")
}

// sample reads the worker's /metrics.
func (p *worker) sample(began time.Time) sample {
	p.w.Helper()
	p.w.eventually(p.name+" listens", func() bool { return p.url() != "" })
	ctx, cancel := context.WithTimeout(p.w.Context(), patience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, p.url()+"/metrics", nil)
	if err != nil {
		p.w.Fatal(err)
	}
	resp, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(req)
	if err != nil {
		p.w.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	values := numbers(resp.Body)
	s := sample{time.Since(began), values["process_resident_memory_bytes"], values["go_goroutines"], values["process_open_fds"], values["process_cpu_seconds_total"]}
	if s.rss == 0 || s.goroutines == 0 || s.files == 0 {
		p.w.Fatalf("%s does not say what it holds: %+v", p.name, s)
	}
	return s
}

// numbers reads metrics without labels.
func numbers(r io.Reader) map[string]float64 {
	out := map[string]float64{}
	for lines := bufio.NewScanner(r); lines.Scan(); {
		if name, value, ok := strings.Cut(lines.Text(), " "); ok {
			if v, err := strconv.ParseFloat(value, 64); err == nil {
				out[name] = v
			}
		}
	}
	return out
}

// keep writes the evidence, to the file that WAYBILL_SOAK_EVIDENCE names.
func (c *clean) keep(samples []sample, lines []string, flat bool) {
	c.Helper()
	file := os.Getenv("WAYBILL_SOAK_EVIDENCE")
	if file == "" {
		return
	}
	commit, err := exec.Command("git", "rev-parse", "HEAD").Output()
	if err != nil {
		c.Fatal(err)
	}
	verdict := "flat"
	if !flat || c.Failed() {
		verdict = "NOT FLAT, or the case has failed otherwise"
	}
	var b strings.Builder
	fmt.Fprintf(&b, "make soak: one worker for %s while its partner is killed, stopped and started, a third comes and goes and the server is restarted: %s.\n\n",
		samples[len(samples)-1].at.Round(time.Second), verdict)
	fmt.Fprintf(&b, "commit   %s\ndate     %s\nevents   %d in a second, %d rows, each exactly once\n", strings.TrimSpace(string(commit)), time.Now().UTC().Format(time.RFC3339), eventsPerSecond, c.count())
	c.mu.Lock()
	fmt.Fprintf(&b, "around   %s\n\n", strings.Join(c.observed, "; "))
	c.mu.Unlock()
	b.WriteString("Growth is that of a line through all samples but the first fifth (Theil and Sen):\n\n")
	for _, line := range lines {
		b.WriteString("  " + line + "\n")
	}
	b.WriteString("\n   at      MiB  goroutines  files  CPU s\n")
	for _, s := range samples {
		fmt.Fprintf(&b, "%6s  %6.1f  %10.0f  %5.0f  %5.1f\n", s.at.Round(time.Second), s.rss/(1<<20), s.goroutines, s.files, s.cpu)
	}
	if err := os.WriteFile(file, []byte(b.String()), 0o600); err != nil {
		c.Fatal(err)
	}
}
