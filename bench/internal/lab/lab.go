// Package lab runs the contenders and measures them. Whatever is measured runs in a process of its own.
package lab

import (
	"context"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/waybill-data/waybill/bench/internal/result"
	"github.com/waybill-data/waybill/bench/internal/workload"
)

// Options say what is measured.
type Options struct {
	Binary     string // waybill
	Dir        string // for data, logs and pipeline files; must be there
	Brokers    []string
	Workloads  []string
	Rows       map[string]int64 // by workload
	Partitions int
	Rounds     int
	BatchRows  int
	BatchAge   time.Duration
	Seed       uint64

	// Latency is how long the steady rate is held; 0 leaves it out.
	Latency     time.Duration
	LatencyRate int // rows a second

	// FlatRows are those of each run for flatness; 0 leaves it out. It is measured on kfake with small events.
	FlatRows       int64
	FlatPartitions []int
	FlatPipelines  []int

	// CostRows are those of each run that tells what an option costs, by workload, and CostRounds how many rounds of them there
	// are; 0 leaves it out. It is measured on kfake.
	CostRows   map[string]int64
	CostRounds int

	// BackfillRows are those that are there before a backfill's cost is measured: enough for it to be at work all the while.
	BackfillRows int64

	// QuietFor is how long a server must have neither merged nor made a part to count as done.
	QuietFor time.Duration

	Progress io.Writer
}

// Quick makes a run of a minute out of o: everything is done and every check made, but what is measured means nothing.
func (o Options) Quick() Options {
	o.Brokers, o.Rounds = []string{result.KFake}, 1
	o.Rows, o.BatchRows = map[string]int64{"llm": 10_000, "small": 20_000}, 5_000
	o.Latency, o.LatencyRate = 2*time.Second, 2_000
	o.FlatRows, o.FlatPartitions, o.FlatPipelines = 20_000, []int{1, 20}, []int{1, 3}
	o.CostRows, o.CostRounds = o.Rows, 1
	o.BackfillRows = 300_000
	o.QuietFor = 300 * time.Millisecond
	return o
}

// Lab is one run of the whole benchmark.
type Lab struct {
	Options
	dir   string
	runs  int
	began time.Time
	// hashes are what tables with a workload's rows hash to: every contender's must be the same.
	hashes map[string]string
}

// Run measures everything. It stops at the first failure: a result that is not right is not worth comparing. What had been
// measured by then is returned with the error; the file is nil if that is nothing.
func Run(ctx context.Context, o Options) (*result.File, error) {
	l := newLab(o)
	machine, err := l.describe(ctx)
	if err != nil {
		return nil, err
	}
	if slices.Contains(o.Brokers, result.Kafka) {
		machine.Kafka = kafkaVersion()
	}
	f := &result.File{Machine: machine, Parameters: result.Parameters{Rows: o.Rows, FlatRows: o.FlatRows, Rounds: o.Rounds, Partitions: o.Partitions,
		BatchRows: o.BatchRows, BatchAge: o.BatchAge.Seconds(), LatencyRate: o.LatencyRate, Seed: o.Seed}}
	defer f.Complete()
	for _, name := range o.Brokers {
		if err := l.onBroker(ctx, name, f); err != nil {
			return f, err
		}
	}
	if !slices.Contains(o.Brokers, result.KFake) {
		return f, nil
	}
	if o.FlatRows > 0 {
		if err := l.flatness(ctx, f); err != nil {
			return f, err
		}
	}
	if o.CostRounds > 0 {
		f.Costs, err = l.costs(ctx, machine)
	}
	return f, err
}

func newLab(o Options) *Lab {
	return &Lab{Options: o, dir: o.Dir, began: time.Now(), hashes: map[string]string{}}
}

func (l *Lab) onBroker(ctx context.Context, name string, f *result.File) error {
	b, err := l.startBroker(ctx, name)
	if err != nil {
		return err
	}
	defer b.stop()
	for _, w := range l.Workloads {
		w, err := workload.ByName(w)
		if err != nil {
			return err
		}
		if err := l.sideBySide(ctx, b, w, f); err != nil {
			return err
		}
		if l.Latency > 0 {
			if err := l.latency(ctx, b, w, f); err != nil {
				return fmt.Errorf("latency: %w", err)
			}
		}
	}
	return nil
}

// sideBySide runs all contenders.
func (l *Lab) sideBySide(ctx context.Context, b *broker, w *workload.Workload, f *result.File) error {
	p := preload{workload: w, topics: []string{"side-by-side-" + w.Name}, partitions: l.Partitions, rows: l.Rows[w.Name], seed: l.Seed}
	l.say("%s: loading %d %s events", b.name, p.rows, w.Name)
	if err := b.load(ctx, p); err != nil {
		return err
	}
	runs, err := l.alternate(ctx, b, p, contenders(), l.Rounds)
	f.Runs = append(f.Runs, runs...)
	return err
}

// alternate runs contenders in rounds over the same topic, and deletes it: each round begins where the one before ended. What had been
// measured before a failure is returned with the error.
func (l *Lab) alternate(ctx context.Context, b *broker, p preload, order []contender, rounds int) (runs []result.Run, err error) {
	for round := 1; round <= rounds; round++ {
		for _, c := range order {
			r, err := l.measure(ctx, b, p, c)
			if err != nil {
				return runs, fmt.Errorf("%s, %s events: %w", b.name, p.workload.Name, err)
			}
			r.Round = round
			if err := l.same(fmt.Sprintf("%d %s events", p.rows, p.workload.Name), r); err != nil {
				return runs, err
			}
			l.sayRun(r, c.name)
			runs = append(runs, r)
		}
		slices.Reverse(order)
	}
	return runs, b.deleteTopics(ctx, p.topics)
}

// same compares the rows of a run with those of the runs before it on the same events.
func (l *Lab) same(events string, r result.Run) error {
	first, ok := l.hashes[events]
	if !ok {
		l.hashes[events] = r.Hash
		return nil
	}
	if r.Hash != first {
		return fmt.Errorf("%s, %s on %s: the rows are not those of the other contenders: hash %s, theirs %s", r.Workload, r.Contender, r.Broker, r.Hash, first)
	}
	return nil
}

// nextName is fresh for each run: no run continues where another's consumer group was.
func (l *Lab) nextName() string {
	l.runs++
	return fmt.Sprintf("bench-%d", l.runs)
}

func (l *Lab) say(format string, args ...any) {
	_, _ = fmt.Fprintf(l.Progress, "%5.0f s  %s\n", time.Since(l.began).Seconds(), fmt.Sprintf(format, args...)) // progress is not the result
}

func (l *Lab) sayRun(r result.Run, what string) {
	quiet := ""
	if !r.Quiet {
		quiet = ", still merging"
	}
	l.say("%s %s round %d: %-22s %6.0fk rows/s, CPU %.2f + %.2f, %.0f MB%s", r.Broker, r.Workload, r.Round, what, r.RowsPerSecond/1e3,
		r.WorkerCPU, r.ServerCPU, float64(r.RSS)/1e6, quiet)
}
