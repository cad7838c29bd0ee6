package result

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// sample is a benchmark of two rounds in which every target is met with nothing to spare.
func sample() *File {
	f := &File{Machine: Machine{CPU: "abacus", Cores: 2}, Parameters: Parameters{Rows: map[string]int64{"llm": 10}, Rounds: 2}}
	for round := 1; round <= 2; round++ {
		slow := float64(round) // the machine is slower in round 2: no ratio may notice
		f.Runs = append(f.Runs,
			Run{Broker: KFake, Workload: "llm", Contender: Waybill, Round: round, RowsPerSecond: 300 / slow, WorkerCPU: 2.5 * slow, ServerCPU: 1.5 * slow, RSS: 450e6},
			Run{Broker: KFake, Workload: "llm", Contender: AtLeastOnce, Round: round, WorkerCPU: 2.3 * slow},
			Run{Broker: KFake, Workload: "llm", Contender: KafkaEngine, Round: round, ServerCPU: 16 * slow},
			Run{Broker: KFake, Workload: "llm", Contender: Typical, Round: round, RowsPerSecond: 100 / slow, WorkerCPU: 10 * slow})
		for _, n := range []int{1, 1000} {
			cost := slow * (1 + 0.14*float64(n/1000))
			f.Flatness = append(f.Flatness,
				Run{Broker: KFake, Workload: "small", Contender: Waybill, Series: Partitions, Partitions: n, Pipelines: 1, Round: round, WorkerCPU: cost},
				Run{Broker: KFake, Workload: "small", Contender: Waybill, Series: Pipelines, Partitions: 1, Pipelines: n, Round: round, WorkerCPU: cost})
		}
	}
	f.Costs = &Costs{Machine: Machine{CPU: "slide rule"}}
	for round := 1; round <= leastCostRounds; round++ {
		// The machine gets slower during a round, too: the mean of those before and after knows.
		for name, cost := range map[string]float64{Unarmed: 90, Rescue: 105, Evolve: 105, UnarmedAgain: 110, Filter: 300, Routes: 400, Unaudited: 99, UnauditedAgain: 101, Audited: 105} {
			cost *= float64(round)
			f.Costs.Runs = append(f.Costs.Runs, Run{Broker: KFake, Workload: "small", Contender: name, Round: round, WorkerCPU: cost, ServerCPU: 2 * cost})
		}
	}
	f.Latency = []Latency{{Broker: KFake, Workload: "llm", P99: 2}}
	f.Complete()
	return f
}

func missed(f *File) (ids []string) {
	f.Complete()
	for _, t := range f.Targets {
		if t.Missed() {
			ids = append(ids, t.ID)
		}
	}
	return ids
}

func TestTargets_MetToTheLimit(t *testing.T) {
	if got := missed(sample()); got != nil {
		t.Errorf("missed: %q", got)
	}
}

func TestTargets_EachCanBeMissed(t *testing.T) {
	runs := func(contender string, edit func(*Run)) func(*File) {
		return func(f *File) {
			for i := range f.Runs {
				if f.Runs[i].Contender == contender {
					edit(&f.Runs[i])
				}
			}
		}
	}
	flatness := func(series string) func(*File) {
		return func(f *File) {
			for i, r := range f.Flatness {
				if r.Series == series && r.Size() == 1000 {
					f.Flatness[i].WorkerCPU *= 1.02
				}
			}
		}
	}
	costs := func(option string, worker, server float64) func(*File) {
		return func(f *File) {
			for i, r := range f.Costs.Runs {
				if r.Contender == option {
					f.Costs.Runs[i].WorkerCPU, f.Costs.Runs[i].ServerCPU = r.WorkerCPU*worker, r.ServerCPU*server
				}
			}
		}
	}
	for id, edit := range map[string]func(*File){
		"kfake/llm/total-cpu":        runs(KafkaEngine, func(r *Run) { r.ServerCPU *= 0.99 }),
		"kfake/llm/rows-per-second":  runs(Typical, func(r *Run) { r.RowsPerSecond *= 1.01 }),
		"kfake/llm/worker-cpu-ratio": runs(Typical, func(r *Run) { r.WorkerCPU *= 0.99 }),
		"kfake/llm/worker-cpu": func(f *File) {
			f.Runs[0].WorkerCPU = 3.9
			f.Runs[1].WorkerCPU = 3.6
			f.Runs[2].ServerCPU = 99
			f.Runs[3].WorkerCPU = 99
		},
		"kfake/llm/exactly-once":      runs(AtLeastOnce, func(r *Run) { r.WorkerCPU *= 0.98 }),
		"kfake/llm/memory":            runs(Waybill, func(r *Run) { r.RSS++ }),
		"kfake/llm/latency-p99":       func(f *File) { f.Latency[0].P99 = 2.01 },
		"kfake/small/flat-partitions": flatness(Partitions),
		"kfake/small/flat-pipelines":  flatness(Pipelines),
		"kfake/small/rescue-worker":   costs(Rescue, 1.01, 0.99),
		"kfake/small/rescue-total":    costs(Rescue, 1, 1.01),
		"kfake/small/evolve-worker":   costs(Evolve, 1.01, 0.99),
		"kfake/small/evolve-total":    costs(Evolve, 1, 1.01),
		"kfake/small/audit-worker":    costs(Audited, 1.01, 1),
		"kfake/small/audit-server":    costs(Audited, 1, 1.01),
	} {
		f := sample()
		edit(f)
		if got := missed(f); !slices.Equal(got, []string{id}) {
			t.Errorf("missed %q, want %s", got, id)
		}
	}
}

func TestTargets_WhatWasNotMeasuredIsMissed(t *testing.T) {
	f := sample()
	f.Runs = slices.DeleteFunc(f.Runs, func(r Run) bool { return r.Contender == KafkaEngine })
	if got := missed(f); !slices.Equal(got, []string{"kfake/llm/total-cpu"}) {
		t.Errorf("missed %q", got)
	}
}

func TestShortfalls_OnlyThoseInTheTableCount(t *testing.T) {
	document := "# Performance\n\n`kafka/llm/memory` is fine.\n\n| `kafka/llm/total-cpu` | before the heading |\n\n## Known shortfalls\n\n" +
		"| target | why |\n|---|---|\n| `kfake/llm/worker-cpu` | the decoder |\n| `kfake/llm/memory` | |\n| kfake/llm/exactly-once | no backticks |\n\n## Next\n\n| `kafka/small/memory` | after it |\n"
	got := Shortfalls(document)
	if want := []string{"kfake/llm/worker-cpu"}; !slices.Equal(got, want) {
		t.Fatalf("got %q, want %q", got, want)
	}
	f := sample()
	if kept := f.Kept(got); !slices.Equal(kept, got) {
		t.Errorf("a shortfall that was not missed: %q", kept)
	}
	for i := range f.Runs {
		if f.Runs[i].Contender == Waybill {
			f.Runs[i].WorkerCPU, f.Runs[i].RSS = 4, 500e6
		}
	}
	f.Complete()
	if kept := f.Kept(got); kept != nil {
		t.Errorf("the shortfall is there: %q", kept)
	}
	var unnamed []string
	for _, t := range f.Unnamed(got) {
		unnamed = append(unnamed, t.ID)
	}
	if slices.Contains(unnamed, got[0]) || !slices.Contains(unnamed, "kfake/llm/memory") {
		t.Errorf("unnamed: %q", unnamed)
	}
}

func TestReport_ReplacesTheSectionAndNothingElse(t *testing.T) {
	f := sample()
	document := "# Performance\n\n" + reportBegin + "\nold\n" + reportEnd + "\n\n## Known shortfalls\n"
	got, err := f.Report(document)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"# Performance\n\n<!-- begin", "<!-- end: generated -->\n\n## Known shortfalls\n", "abacus", "| waybill exactly-once |", "| 1000 pipelines |", "\n\nMeasured on: slide rule", "| evolve | ", "| `kfake/llm/total-cpu` |"} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in\n%s", want, got)
		}
	}
	for text, want := range map[string]bool{document: true, reportBegin + "\n" + reportEnd: false} {
		if shows, err := Shows(text); shows != want || err != nil {
			t.Errorf("shows results: %t, %v; want %t\n%s", shows, err, want, text)
		}
	}
	if strings.Contains(got, "old") {
		t.Error("the old section is still there")
	}
	again, err := f.Report(got)
	if err != nil || again != got {
		t.Errorf("a second report differs from the first: %v", err)
	}
	if _, err := f.Report("# Performance\n"); err == nil {
		t.Error("a document without a section was taken")
	}
}

func TestFile_KeepsWhatItSays(t *testing.T) {
	f, path := sample(), filepath.Join(t.TempDir(), "bench.json")
	if err := f.Save(path); err != nil {
		t.Fatal(err)
	}
	loaded, err := Load(path)
	if err != nil {
		t.Fatal(err)
	}
	if a, b := f.markdown(), loaded.markdown(); a != b {
		t.Errorf("shown before:\n%s\nafter:\n%s", a, b)
	}
}

func TestLikely_IsAsSureAsTheTableOfTheSignTestSays(t *testing.T) {
	for n, k := range map[int]int{1: 1, 5: 1, 6: 1, 8: 1, 9: 2, 11: 2, 12: 3, 15: 4, 20: 6, 25: 8} {
		var values []float64
		for i := n; i > 0; i-- {
			values = append(values, float64(i))
		}
		if low, high := likely(values); low != float64(k) || high != float64(n+1-k) {
			t.Errorf("of %d values: from the %gth to the %gth, want the %dth from either end", n, low, high, k)
		}
	}
	if low, high := likely(nil); low != 0 || high != 0 {
		t.Errorf("of none: %g, %g", low, high)
	}
}

func TestSpread(t *testing.T) {
	if s := spread([]float64{3, 1, 2}); s != (Spread{2, 1, 3}) {
		t.Errorf("%+v", s)
	}
	if s := spread([]float64{4, 1}); s != (Spread{2.5, 1, 4}) {
		t.Errorf("%+v", s)
	}
}

func TestMissing_APartIsNoResult(t *testing.T) {
	whole := &File{Costs: &Costs{}}
	for round := 1; round <= 3; round++ {
		for _, broker := range []string{KFake, Kafka} {
			for _, events := range []string{"llm", "small"} {
				for _, c := range []string{Waybill, AtLeastOnce, KafkaEngine, PassThrough, Typical} {
					whole.Runs = append(whole.Runs, Run{Broker: broker, Workload: events, Contender: c, Round: round})
				}
				if round == 1 {
					whole.Latency = append(whole.Latency, Latency{Broker: broker, Workload: events})
				}
			}
		}
		for _, n := range []int{1, 50} {
			whole.Flatness = append(whole.Flatness, Run{Series: Partitions, Partitions: n, Round: round, WorkerCPU: 1},
				Run{Series: Pipelines, Pipelines: n, Round: round, WorkerCPU: 1})
		}
	}
	for round := 1; round <= leastCostRounds; round++ {
		for _, events := range []string{"llm", "small"} {
			for _, o := range options {
				whole.Costs.Runs = append(whole.Costs.Runs, Run{Broker: KFake, Workload: events, Contender: o.name, Round: round})
			}
		}
	}
	if got := whole.Missing(); got != nil {
		t.Fatalf("nothing is missing, got %q", got)
	}
	for name, cut := range map[string]func(*File){
		"a run":               func(f *File) { f.Runs = f.Runs[1:] },
		"a latency":           func(f *File) { f.Latency = f.Latency[1:] },
		"a run with a base":   func(f *File) { f.Flatness = f.Flatness[1:] },
		"a run of an option":  func(f *File) { f.Costs = &Costs{Runs: f.Costs.Runs[1:]} },
		"a run with the most": func(f *File) { f.Flatness = f.Flatness[:len(f.Flatness)-1] },
	} {
		part := *whole
		cut(&part)
		if got := part.Missing(); len(got) != 1 {
			t.Errorf("%s is missing, got %q", name, got)
		}
	}
}
