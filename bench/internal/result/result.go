// Package result is what the benchmarks have measured: the file that keeps it, the targets, and how both are shown. It
// measures nothing itself.
package result

import (
	"encoding/json"
	"fmt"
	"os"
)

// Contenders, in the order in which they are shown.
const (
	Waybill     = "waybill exactly-once"
	AtLeastOnce = "waybill at-least-once"
	KafkaEngine = "kafka engine"
	PassThrough = "pass-through"
	Typical     = "typical consumer"
)

// Brokers.
const (
	KFake = "kfake"
	Kafka = "kafka"
)

// Series are what the cost of a row is held against.
const (
	Partitions = "partitions" // of one topic
	Pipelines  = "pipelines"  // in one process, each with a topic and a table of its own
)

// File is one run of the whole benchmark.
type File struct {
	Machine    Machine    `json:"machine"`
	Parameters Parameters `json:"parameters"`
	// Targets and Medians follow from what comes after them.
	Targets  []Target  `json:"targets"`
	Medians  []Summary `json:"medians"`
	Latency  []Latency `json:"latency"`
	Runs     []Run     `json:"runs"`
	Flatness []Run     `json:"flatness"`
	Costs    *Costs    `json:"costs,omitempty"`
}

// Machine is where and with what it was measured.
type Machine struct {
	CPU        string `json:"cpu"`
	Cores      int    `json:"cores"`
	MemoryGiB  int    `json:"memory_gib"`
	Go         string `json:"go"`
	ClickHouse string `json:"clickhouse"`
	Kafka      string `json:"kafka,omitempty"` // empty if only kfake was used
	Commit     string `json:"commit"`
	Date       string `json:"date"`
}

func (m Machine) String() string {
	s := fmt.Sprintf("%s, %d cores, %d GiB; %s; ClickHouse %s", m.CPU, m.Cores, m.MemoryGiB, m.Go, m.ClickHouse)
	if m.Kafka != "" {
		s += "; Apache Kafka " + m.Kafka
	}
	return s + "; commit " + m.Commit + "; " + m.Date
}

// Parameters are the options of the run.
type Parameters struct {
	Rows        map[string]int64 `json:"rows"` // by workload
	FlatRows    int64            `json:"flat_rows,omitempty"`
	Rounds      int              `json:"rounds"`
	Partitions  int              `json:"partitions"`
	BatchRows   int              `json:"batch_rows"`
	BatchAge    float64          `json:"batch_age_seconds"`
	LatencyRate int              `json:"latency_rate,omitempty"` // rows a second
	Seed        uint64           `json:"seed"`
}

// Run is one preloaded topic (or several) taken into a fresh table (or several) by one contender.
type Run struct {
	Broker     string `json:"broker"`
	Workload   string `json:"workload"`
	Contender  string `json:"contender"`
	Series     string `json:"series,omitempty"` // "": contenders side by side
	Round      int    `json:"round"`            // from 1
	Partitions int    `json:"partitions"`
	Pipelines  int    `json:"pipelines"`
	Rows       int64  `json:"rows"`
	// FirstSeconds and Seconds are from the worker's start until the first and until all rows could be selected.
	FirstSeconds float64 `json:"first_seconds"`
	Seconds      float64 `json:"seconds"`
	// RowsPerSecond is over the first 80 % of the rows, start-up included: what a batch that is not full waits at the
	// end is its age, not its cost.
	RowsPerSecond float64 `json:"rows_per_second"`
	// CPU-seconds per million rows. The worker's are those of its process from start to exit; the server's include
	// all merges until none was left.
	WorkerCPU float64 `json:"worker_cpu"`
	ServerCPU float64 `json:"server_cpu"`
	BrokerCPU float64 `json:"broker_cpu"`
	// RSS is the worker's peak, in bytes; 0 where the server is the worker.
	RSS int64 `json:"rss"`
	// Allocations a row, where the worker tells.
	Allocations float64 `json:"allocations,omitempty"`
	Hash        string  `json:"hash"`
	// Quiet is false if the server was still merging when the wait was given up.
	Quiet bool    `json:"quiet"`
	Load  float64 `json:"load"` // of the machine, at the end
}

// TotalCPU is the worker's and the server's, in CPU-seconds per million rows.
func (r Run) TotalCPU() float64 { return r.WorkerCPU + r.ServerCPU }

// Size is how many of what its series varies the run had.
func (r Run) Size() int {
	if r.Series == Pipelines {
		return r.Pipelines
	}
	return r.Partitions
}

// Latency is how long events took from being produced to being visible, in seconds, at a steady rate.
type Latency struct {
	Broker   string  `json:"broker"`
	Workload string  `json:"workload"`
	Rows     int64   `json:"rows"`
	Rate     float64 `json:"rate"` // as it was in fact, rows a second
	P50      float64 `json:"p50"`
	P99      float64 `json:"p99"`
	Max      float64 `json:"max"`
}

// Complete fills what follows from the measurements.
func (f *File) Complete() {
	f.Medians = summaries(f.Runs)
	f.Targets = f.judge()
}

// Load reads a file that Save has written.
func Load(path string) (*File, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var f File
	if err := json.Unmarshal(text, &f); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return &f, nil
}

// Save writes the file.
func (f *File) Save(path string) error {
	text, err := json.MarshalIndent(f, "", " ")
	if err != nil {
		return err
	}
	return os.WriteFile(path, append(text, '\n'), 0o644)
}
