// Package workload is what the benchmarks move: generated events, the same for the same seed, and the table that takes them.
package workload

import (
	"fmt"
	"strings"

	"github.com/waybill-data/waybill/internal/clickhouse"
	"github.com/waybill-data/waybill/internal/contract"
)

// Column is one column of a workload's table; the event has a field of the same name.
type Column struct {
	Name string
	Type string // ClickHouse's; in a time zone where the table has one
	// Required fields are in every event; the others are absent from some.
	Required bool
}

// Workload is a kind of event and its table. Workloads are constants: do not change them.
type Workload struct {
	Name    string
	Columns []Column
	OrderBy string
	// Some and Every are CEL conditions: the one that some events meet, the other that all do.
	Some, Every string
	// Memory is what Waybill is told to stay within.
	Memory string
	// New makes a generator. Stored results depend on its bytes.
	New func(seed uint64) Generator
}

// Generator makes events. It belongs to one goroutine.
type Generator interface {
	// Append writes the next event, a JSON object, to the end of b.
	Append(b []byte) []byte
}

// All lists the workloads.
func All() []*Workload { return []*Workload{LLM, Small} }

// ByName finds a workload.
func ByName(name string) (*Workload, error) {
	for _, w := range All() {
		if w.Name == name {
			return w, nil
		}
	}
	return nil, fmt.Errorf("no workload %q", name)
}

// Names are the columns' names, joined by commas.
func (w *Workload) Names() string {
	names := make([]string, len(w.Columns))
	for i, c := range w.Columns {
		names[i] = c.Name
	}
	return strings.Join(names, ", ")
}

// definitions are the columns as in CREATE TABLE.
func (w *Workload) definitions() string {
	defs := make([]string, len(w.Columns))
	for i, c := range w.Columns {
		defs[i] = c.Name + " " + c.Type
	}
	return strings.Join(defs, ",\n    ")
}

// Table is the statement that makes the table for a peer: the events' columns and nothing else.
func (w *Workload) Table(name string) string {
	return fmt.Sprintf("CREATE TABLE %s\n(\n    %s\n)\nENGINE = MergeTree ORDER BY %s", name, w.definitions(), w.OrderBy)
}

// LineageTable is the statement that makes the table for Waybill: the same columns, those that say where a row came from,
// and the projection that proves which offsets are there.
func (w *Workload) LineageTable(name string) string {
	return fmt.Sprintf(`CREATE TABLE %s
(
    %s,
    _topic     LowCardinality(String) CODEC(ZSTD),
    _partition UInt16 CODEC(T64, ZSTD),
    _offset    UInt64 CODEC(T64, ZSTD),
    _epoch     UInt32 CODEC(T64, ZSTD),
    _rescued   String CODEC(ZSTD),
    %s
)
ENGINE = MergeTree ORDER BY %s
SETTINGS non_replicated_deduplication_window = 10000, lightweight_mutation_projection_mode = 'rebuild'`,
		name, w.definitions(), clickhouse.ProjectionDDL(contract.DefaultLineage()), w.OrderBy)
}

// QueueTable is the statement that makes a Kafka engine table over a topic, with the same types as the target.
func (w *Workload) QueueTable(name, broker, topic, group string, blockRows int) string {
	return fmt.Sprintf(`CREATE TABLE %s
(
    %s
)
ENGINE = Kafka
SETTINGS kafka_broker_list = '%s', kafka_topic_list = '%s', kafka_group_name = '%s', kafka_format = 'JSONEachRow',
         kafka_num_consumers = 1, kafka_max_block_size = %d, date_time_input_format = 'best_effort'`,
		name, w.definitions(), broker, topic, group, blockRows)
}

// Hash is an expression that is equal for tables with equal rows, in whatever order. The order of a map's keys is no part
// of its value: consumers that decode into a Go map shuffle it.
func (w *Workload) Hash() string {
	args := make([]string, len(w.Columns))
	for i, c := range w.Columns {
		args[i] = c.Name
		if strings.HasPrefix(c.Type, "Map(") {
			args[i] = "mapSort(" + c.Name + ")"
		}
	}
	// cityHash64 of a NULL is NULL, and sum skips it: a tuple keeps the row in.
	return "sum(cityHash64(tuple(" + strings.Join(args, ", ") + ")))"
}
