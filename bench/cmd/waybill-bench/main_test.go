package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/waybill-data/waybill/bench/internal/child"
	"github.com/waybill-data/waybill/bench/internal/lab"
	"github.com/waybill-data/waybill/bench/internal/result"
	"github.com/waybill-data/waybill/internal/testenv"
	"github.com/waybill-data/waybill/internal/testenv/chserver"
)

func TestMain(m *testing.M) {
	chserver.MaybeRunChild()
	child.MaybeRun()
	os.Exit(m.Run())
}

// The harness is run as a whole, small: every contender, latency, flatness and options. That each run lands every event once and
// that all tables are equal is checked by the harness itself.
func TestQuick_EveryContenderLandsTheSameRows(t *testing.T) {
	if _, err := chserver.Locate(); err != nil {
		if os.Getenv(testenv.RequireEnv) == "1" {
			t.Fatal(err)
		}
		t.Skip("NOT TESTED, ClickHouse IS MISSING: ", err)
	}
	o := lab.Options{Binary: build(t), Dir: t.TempDir(), Workloads: []string{"llm", "small"}, Partitions: 4, BatchAge: time.Second, Seed: 1, Progress: os.Stderr}
	f, err := lab.Run(t.Context(), o.Quick())
	if err != nil {
		t.Fatal(err)
	}
	if len(f.Runs) != 10 || len(f.Latency) != 2 || len(f.Flatness) != 4 || len(f.Costs.Runs) != 18 || len(f.Medians) != 10 || len(f.Targets) != 30 {
		t.Errorf("%d runs, %d latencies, %d for flatness, %d of options, %d medians, %d targets",
			len(f.Runs), len(f.Latency), len(f.Flatness), len(f.Costs.Runs), len(f.Medians), len(f.Targets))
	}
	for _, r := range slices.Concat(f.Runs, f.Flatness, f.Costs.Runs) {
		process := r.Contender != result.KafkaEngine
		if r.ServerCPU <= 0 || r.BrokerCPU < 0 || r.RowsPerSecond <= 0 || r.Seconds < r.FirstSeconds || (r.WorkerCPU > 0) != process || (r.RSS > 0) != process || r.Hash == "" {
			t.Errorf("not measured: %+v", r)
		}
	}
	for _, l := range f.Latency {
		if l.P50 <= 0 || l.P99 < l.P50 || l.Max < l.P99 {
			t.Errorf("not measured: %+v", l)
		}
	}
}

// What a backfill costs is measured in a small way: that there are rows all the while is checked by the harness itself.
func TestBackfillCost_Small(t *testing.T) {
	if _, err := chserver.Locate(); err != nil {
		if os.Getenv(testenv.RequireEnv) == "1" {
			t.Fatal(err)
		}
		t.Skip("NOT TESTED, ClickHouse IS MISSING: ", err)
	}
	o := lab.Options{Binary: build(t), Dir: t.TempDir(), Workloads: []string{"small"}, Partitions: 4, BatchAge: time.Second, Seed: 1, Progress: os.Stderr}.Quick()
	var out strings.Builder
	if err := lab.BackfillCost(t.Context(), o, &out); err != nil {
		t.Fatalf("%v\n%s", err, &out)
	}
	for _, want := range []string{"no backfill, again", "p99 beside a backfill / without", "backfill / live"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is missing:\n%s", want, &out)
		}
	}
}

// build makes the binary that is measured.
func build(t *testing.T) string {
	binary := filepath.Join(t.TempDir(), "waybill")
	cmd := exec.Command("go", "build", "-o", binary, "./cmd/waybill")
	cmd.Dir = filepath.Join("..", "..", "..")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return binary
}
