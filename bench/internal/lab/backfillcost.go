package lab

import (
	"context"
	"errors"
	"fmt"
	"io"
	osexec "os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/waybill-data/waybill/bench/internal/result"
	"github.com/waybill-data/waybill/bench/internal/system"
	"github.com/waybill-data/waybill/bench/internal/workload"
)

// BackfillCost measures what a backfill of everything costs the pipeline whose rows it makes anew, and how fast it is: how long events of a steady
// rate take until they can be selected, without one, beside one at the default rate limit, and without one again; and rows a second of the pipeline
// and of a backfill without a limit, each alone, in turns. Events are those of the first workload, on the first broker. It writes what it has measured to out.
func BackfillCost(ctx context.Context, o Options, out io.Writer) error {
	l := newLab(o)
	machine, err := l.describe(ctx)
	if err != nil {
		return err
	}
	w, err := workload.ByName(l.Workloads[0])
	if err != nil {
		return err
	}
	b, err := l.startBroker(ctx, l.Brokers[0])
	if err != nil {
		return err
	}
	defer b.stop()
	if _, err := fmt.Fprintf(out, "commit %s, %s\n%s events, %d partitions, %s\n\n", machine.Commit, machine.CPU, w.Name, l.Partitions, b.name); err != nil {
		return err
	}
	return errors.Join(l.besideBackfill(ctx, b, w, out), l.backfillSpeed(ctx, b, w, out))
}

// beside is a pipeline with rows that a backfill makes anew.
type beside struct {
	*job
	live worker
	file string
	rows int64 // that are there before
}

// pipelined makes topic, server and table, and has a live worker take what is in the topic. It says how fast that was.
func (l *Lab) pipelined(ctx context.Context, b *broker, w *workload.Workload, topic string, rows int64) (p *beside, r result.Run, err error) {
	srv, err := l.startServer(ctx)
	if err != nil {
		return nil, r, err
	}
	p = &beside{job: &job{Lab: l, broker: b, server: srv, workload: w, topics: []string{topic}, tables: 1, name: l.nextName()}, rows: rows}
	r = result.Run{Rows: rows}
	p.file = filepath.Join(srv.dir, p.name+"-0.yaml")
	if err := exec(ctx, srv.HTTPAddr(), w.LineageTable(tableName(0))); err != nil {
		srv.stop()
		return nil, r, err
	}
	start := time.Now()
	if p.live, err = startWaybill(setup{})(ctx, p.job); err == nil {
		err = p.watch(ctx, p.live, start, &r)
	}
	if err != nil {
		p.end()
		return nil, r, err
	}
	return p, r, nil
}

// end ends everything at once.
func (p *beside) end() {
	p.live.kill()
	p.server.stop()
}

// besideBackfill measures latencies.
func (l *Lab) besideBackfill(ctx context.Context, b *broker, w *workload.Workload, out io.Writer) error {
	topics := []string{"beside-backfill"}
	if err := b.load(ctx, preload{workload: w, topics: topics, partitions: l.Partitions, rows: l.BackfillRows, seed: l.Seed}); err != nil {
		return err
	}
	p, _, err := l.pipelined(ctx, b, w, topics[0], l.BackfillRows)
	if err != nil {
		return err
	}
	defer p.end()
	if _, err := fmt.Fprintf(out, "produced to visible, %d rows/s for %s, %d rows there before:\n", l.LatencyRate, l.Latency, l.BackfillRows); err != nil {
		return err
	}
	var p99 []float64
	for _, s := range []struct {
		what   string
		beside bool
	}{{"no backfill", false}, {"backfill, default rate", true}, {"no backfill, again", false}} {
		got, rate, err := p.stretch(ctx, s.beside)
		if err != nil {
			return err
		}
		p99 = append(p99, got.P99)
		if _, err := fmt.Fprintf(out, "  %-24s p50 %6.3f s   p99 %6.3f s   max %6.3f s   load %.1f%s\n", s.what, got.P50, got.P99, got.Max, system.Load(), rate); err != nil {
			return err
		}
	}
	_, err = fmt.Fprintf(out, "  p99 beside a backfill / without (mean of both): %.2f (target: at most 2)\n\n", p99[1]/((p99[0]+p99[2])/2))
	if err != nil {
		return err
	}
	return b.deleteTopics(ctx, topics)
}

// stretch holds the steady rate for a while, beside a backfill or not. rate is how fast that was, in words.
func (p *beside) stretch(ctx context.Context, backfill bool) (got result.Latency, rate string, err error) {
	var fill *system.Process
	if backfill {
		if fill, err = p.startBackfill(ctx); err != nil {
			return got, "", err
		}
		defer fill.Kill()
	}
	if got, err = p.steady(ctx, p.broker, p.server, p.workload, p.topics[0]); err != nil {
		return got, "", errors.Join(err, p.live.ended())
	}
	rate, err = p.endBackfill(ctx, fill, got)
	return got, rate, err
}

// waybill runs a command to its end.
func (p *beside) waybill(ctx context.Context, args ...string) error {
	out, err := osexec.CommandContext(ctx, p.Binary, args...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("waybill %s: %w\n%s", strings.Join(args, " "), err, out)
	}
	return nil
}

// startBackfill plans one and runs it, and returns when it has made rows.
func (p *beside) startBackfill(ctx context.Context, flags ...string) (*system.Process, error) {
	if err := p.waybill(ctx, "backfill", "plan", p.file, "--scope", "all"); err != nil {
		return nil, err
	}
	fill, err := system.Start("backfill", osexec.Command(p.Binary, append([]string{"backfill", "run", p.file}, flags...)...))
	if err != nil {
		return nil, err
	}
	for began := time.Now(); ; pause(ctx, watchEvery) {
		rows, err := p.shadowRows(ctx)
		switch {
		case err != nil:
			fill.Kill()
			return nil, err
		case rows > 0:
			return fill, nil
		case time.Since(began) > startTimeout:
			fill.Kill()
			return nil, fmt.Errorf("the backfill makes no rows\n%s", fill.Tail())
		}
	}
}

// shadowRows are those that the backfill has made so far.
func (p *beside) shadowRows(ctx context.Context) (int64, error) {
	return queryInt(ctx, p.server.HTTPAddr(), "SELECT sum(total_rows) FROM system.tables WHERE database = '"+database+"' AND startsWith(name, 'rows_0_backfill_')")
}

// endBackfill ends one, if there is one, that must still have been at work when the steady rate ended, and says how fast it was.
func (p *beside) endBackfill(ctx context.Context, fill *system.Process, of result.Latency) (string, error) {
	if fill == nil {
		return "", nil
	}
	select {
	case <-fill.Done():
		return "", fmt.Errorf("the backfill had ended before the latency was measured: let it have more rows (-backfill-rows)\n%s", fill.Tail())
	default:
	}
	rows, err := p.shadowRows(ctx)
	if err != nil {
		return "", err
	}
	fill.Kill()
	return fmt.Sprintf("   backfill %.0fk rows/s", float64(rows)/(float64(of.Rows)/of.Rate)/1e3), p.waybill(ctx, "backfill", "cancel", p.file, "--lease", "1s")
}

// backfillSpeed measures rows a second, in Rounds.
func (l *Lab) backfillSpeed(ctx context.Context, b *broker, w *workload.Workload, out io.Writer) error {
	p := preload{workload: w, topics: []string{"backfill-speed"}, partitions: l.Partitions, rows: l.Rows[w.Name], seed: l.Seed}
	if err := b.load(ctx, p); err != nil {
		return err
	}
	if _, err := fmt.Fprintf(out, "rows a second, %d rows, no limit, from the start of the process until four fifths can be selected:\n", p.rows); err != nil {
		return err
	}
	var live, fill []float64
	for range l.Rounds {
		one, other, err := l.speeds(ctx, b, p)
		if err != nil {
			return err
		}
		live, fill = append(live, one), append(fill, other)
		if _, err := fmt.Fprintf(out, "  live %8.0f   backfill %8.0f   ratio %.2f   load %.1f\n", one, other, other/one, system.Load()); err != nil {
			return err
		}
	}
	slices.Sort(live)
	slices.Sort(fill)
	_, err := fmt.Fprintf(out, "  medians: live %.0f, backfill %.0f: backfill / live %.2f (target: at least 0.8)\n", percentile(live, 50), percentile(fill, 50), percentile(fill, 50)/percentile(live, 50))
	return errors.Join(err, b.deleteTopics(ctx, p.topics))
}

// speeds are those of a pipeline that takes a topic, and of a backfill that does it again, while the pipeline's worker has nothing to do.
func (l *Lab) speeds(ctx context.Context, b *broker, load preload) (live, fill float64, err error) {
	p, r, err := l.pipelined(ctx, b, load.workload, load.topics[0], load.rows)
	if err != nil {
		return 0, 0, err
	}
	defer p.end()
	if _, err := p.server.awaitQuiet(ctx, l.QuietFor); err != nil {
		return 0, 0, err
	}
	if err := p.waybill(ctx, "backfill", "plan", p.file, "--scope", "all"); err != nil {
		return 0, 0, err
	}
	again := result.Run{Rows: load.rows}
	start := time.Now()
	f, err := system.Start("backfill", osexec.Command(p.Binary, append([]string{"backfill", "run", p.file, "--rate", "0"}, p.memory()...)...))
	if err != nil {
		return 0, 0, err
	}
	defer f.Kill()
	var seen int64
	for moved := start; seen < load.rows; pause(ctx, watchEvery) {
		rows, err := p.shadowRows(ctx)
		if err != nil {
			return 0, 0, err
		}
		if rows != seen {
			note(&again, rows, seen, time.Since(start).Seconds())
			seen, moved = rows, time.Now()
		}
		if time.Since(moved) > stuckAfter {
			return 0, 0, fmt.Errorf("%d of %d rows, and no more for %s\n%s", seen, load.rows, stuckAfter, f.Tail())
		}
	}
	return r.RowsPerSecond, again.RowsPerSecond, nil
}
