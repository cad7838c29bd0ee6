// Package status is what a running process says about itself: plain data, filled by the engine,
// served by the server and shown by the command line. Times are UTC; lengths of time are seconds.
package status

import (
	"errors"
	"fmt"
	"time"

	"github.com/waybill-data/waybill"
)

// Status is one process at one moment.
type Status struct {
	Version   string     `json:"version"`
	Started   time.Time  `json:"started"`
	Now       time.Time  `json:"now"` // when this was taken, by the process's clock
	Pipelines []Pipeline `json:"pipelines"`
	Files     *Files     `json:"files,omitempty"` // nil if nobody looks at them
}

// Files is how the pipeline files are, of a process that looks at them while it runs.
type Files struct {
	Changed time.Time `json:"changed"` // when they were last found to be others than before
	// Problems are what is wrong with them. A pipeline whose file is broken goes on as it was.
	Problems []string `json:"problems"`
}

// PipelineState says how a pipeline is doing.
type PipelineState string

// States of a pipeline.
const (
	Starting PipelineState = "starting" // preflight, joining the group, first assignment
	Running  PipelineState = "running"  // reads and inserts as records come
	Stalled  PipelineState = "stalled"  // waits for an outside system to heal, and retries; Reason has its words
	Held     PipelineState = "held"     // a job holds it: nothing is in flight, and it is in no group; Reason says which and until when
	Paused   PipelineState = "paused"   // a person has paused it: as when it is held, until somebody resumes it; Reason says who and why
	Draining PipelineState = "draining" // carries out what is in flight and reads nothing more
	Stopped  PipelineState = "stopped"  // does nothing until a person acts; Reason says why
)

// Pipeline is one pipeline's share of this process. Other workers of its group have shares of their own.
type Pipeline struct {
	Name   string        `json:"name"`
	State  PipelineState `json:"state"`
	Reason string        `json:"reason,omitempty"` // why it is stalled, held or stopped, empty otherwise
	// Assigned says that the group has given this worker its partitions, which may be none.
	Assigned   bool        `json:"assigned"`
	Delivery   string      `json:"delivery"`
	Epoch      uint32      `json:"epoch"`
	Plan       string      `json:"plan"`  // the plan's id in hex, empty before it is compiled
	Table      string      `json:"table"` // database.table
	Partitions []Partition `json:"partitions"`
	InFlight   []Batch     `json:"in_flight"`
	Totals     Totals      `json:"totals"`
	Rates      Rates       `json:"rates"`
	Inserts    Inserts     `json:"inserts"`
	// CompleteThrough is the time before which everything in the topic is accounted for, over all workers; nil: nobody has said it yet.
	CompleteThrough *time.Time `json:"complete_through,omitempty"`
	LastError       *Failure   `json:"last_error,omitempty"`
	StalledSince    *time.Time `json:"stalled_since,omitempty"`
	Backfill        *Backfill  `json:"backfill,omitempty"` // of a backfill
	Findings        []Finding  `json:"findings"`           // all of the pipeline that are open, and the latest others that this worker knows of; oldest first
}

// PartitionState says how far a partition is on its way into the pipeline.
type PartitionState string

// States of a partition.
const (
	Waiting    PartitionState = "waiting"    // assigned; its position is being read
	Recovering PartitionState = "recovering" // batches of an earlier owner are carried out first
	Consuming  PartitionState = "running"    // its records are gathered
	Frozen     PartitionState = "frozen"     // not read on: its pipeline is stalled, draining or stopped
)

// Partition is one partition that this worker owns. Position, Settled and End are offsets; -1 is "not known yet".
// Settled <= Position, and Position <= End but for what arrived since End was read.
type Partition struct {
	Topic     string         `json:"topic"`
	Partition int32          `json:"partition"`
	State     PartitionState `json:"state"`
	Position  int64          `json:"position"` // the next offset to gather
	Settled   int64          `json:"settled"`  // the committed offset
	End       int64          `json:"end"`      // the partition's end in Kafka, when last heard of
	Lag       int64          `json:"lag"`      // End - Settled; -1 if either is not known
}

// Backfill is how far a worker of a backfill is with its partitions. Offsets are counted, also those that hold no record.
type Backfill struct {
	Job      string `json:"job"`
	Final    bool   `json:"final"`    // the scope does not grow any more
	Complete bool   `json:"complete"` // all of it is on the account, whichever worker has put it there
	// RecordsPerSecond and BytesPerSecond bound what this worker reads; 0: any.
	RecordsPerSecond int64               `json:"records_per_second,omitempty"`
	BytesPerSecond   int64               `json:"bytes_per_second,omitempty"`
	Left             int64               `json:"left"`        // of the scope, not settled yet
	Rate             float64             `json:"rate"`        // offsets of the scope that were settled in a second, in the last while
	ETASeconds       float64             `json:"eta_seconds"` // of the slowest partition; -1: not known
	Partitions       []BackfillPartition `json:"partitions"`  // that this worker has
}

// BackfillPartition is how far a backfill is with a partition.
type BackfillPartition struct {
	Topic      string  `json:"topic"`
	Partition  int32   `json:"partition"`
	Position   int64   `json:"position"` // the next offset to gather
	Settled    int64   `json:"settled"`  // up to where the account is settled; -1: not known yet
	Until      int64   `json:"until"`    // up to where it is to go
	Left       int64   `json:"left"`
	Rate       float64 `json:"rate"`
	ETASeconds float64 `json:"eta_seconds"`
}

// Batch is a batch that has been gathered and is not settled yet.
type Batch struct {
	ID         string  `json:"id"`
	State      string  `json:"state"` // of the delivery protocol
	Rows       int64   `json:"rows"`
	Bytes      int64   `json:"bytes"`
	AgeSeconds float64 `json:"age_seconds"`
}

// Totals count records since the process started, but for the last three, which count values.
// Read = Written + Filtered + DeadLettered + Tombstones + Lost for all that is settled.
type Totals struct {
	Read            int64 `json:"read"`
	Written         int64 `json:"written"`
	Filtered        int64 `json:"filtered"`
	DeadLettered    int64 `json:"dead_lettered"`
	Tombstones      int64 `json:"tombstones"`
	Lost            int64 `json:"lost"`
	DiscardedFields int64 `json:"discarded_fields"`
	Defaulted       int64 `json:"defaulted"`
	Rounded         int64 `json:"rounded"`
}

// Rates are averages over the last while that the engine chooses.
type Rates struct {
	ReadPerSecond    float64 `json:"read_per_second"`    // records
	WrittenPerSecond float64 `json:"written_per_second"` // records
	BytesPerSecond   float64 `json:"bytes_per_second"`   // of records as Kafka has them
}

// Inserts are the INSERTs into the pipeline's tables since the process started, whatever came of them.
type Inserts struct {
	Count       int64   `json:"count"`
	Seconds     float64 `json:"seconds"`      // from sending them to their answers or failures, in all
	LastSeconds float64 `json:"last_seconds"` // the same of the last one; 0: there was none
}

// Failure is an error as a person should see it.
type Failure struct {
	Time    time.Time `json:"time"`
	Class   string    `json:"class"`
	Message string    `json:"message"`
	Hint    string    `json:"hint,omitempty"`
}

// NewFailure describes err, seen at the given time.
func NewFailure(at time.Time, err error) *Failure {
	f := &Failure{Time: at, Class: waybill.ClassOf(err).String(), Message: err.Error()}
	var e *waybill.Error
	if errors.As(err, &e) {
		f.Hint = e.Hint
	}
	return f
}

// FindingState says whether a finding is open.
type FindingState string

// States of a finding.
const (
	FindingOpen   FindingState = "open"
	FindingClosed FindingState = "closed" // the cause is gone, or a person has acknowledged it
	FindingTold   FindingState = "told"   // nothing to do
)

// Finding is a waybill.Finding, since when it has been known, and what became of it.
type Finding struct {
	ID        string           `json:"id"`
	State     FindingState     `json:"state"`
	Time      time.Time        `json:"time"` // when it was seen for the first time
	LastSeen  time.Time        `json:"last_seen"`
	Seen      int64            `json:"seen"`               // how often
	Reopened  uint32           `json:"reopened,omitempty"` // how often its cause has come back
	Closed    *time.Time       `json:"closed,omitempty"`
	Why       string           `json:"why,omitempty"` // it was closed
	Kind      string           `json:"kind"`
	Severity  waybill.Severity `json:"severity"`
	Topic     string           `json:"topic,omitempty"`
	Partition int32            `json:"partition"` // means nothing without a topic; -1: the whole topic
	Subject   string           `json:"subject,omitempty"`
	Span      *waybill.Span    `json:"span,omitempty"`
	Batch     string           `json:"batch,omitempty"`
	Message   string           `json:"message"`
	Action    string           `json:"action,omitempty"`
	Evidence  string           `json:"evidence,omitempty"`
}

// NewFinding describes f, seen at the given time.
func NewFinding(at time.Time, f waybill.Finding) Finding {
	out := Finding{
		State: FindingOpen, Time: at, LastSeen: at, Seen: 1, Kind: f.Kind, Severity: f.Severity, Topic: f.Topic, Partition: f.Partition,
		Subject: f.Subject, Batch: f.Batch, Message: f.Message, Action: f.Action, Evidence: f.Evidence,
	}
	if f.Span != (waybill.Span{}) {
		out.Span = &f.Span
	}
	return out
}

// NotReady lists why the process is not ready, nothing if it is. It is ready when every pipeline has
// its partitions and has recovered them. A stalled pipeline is ready: restarting it would not help,
// and /status says what it waits for.
func (s Status) NotReady() []string {
	if len(s.Pipelines) == 0 {
		return []string{"no pipeline has started"}
	}
	var out []string
	for _, p := range s.Pipelines {
		out = append(out, p.NotReady()...)
	}
	return out
}

// Notes are what somebody who asks whether the process is ready should know beside that, as a restart would not help: pipelines that are paused
// or held, and pipeline files that are broken.
func (s Status) Notes() (out []string) {
	for _, p := range s.Pipelines {
		if p.State == Held || p.State == Paused {
			out = append(out, fmt.Sprintf("%s is %s: %s", p.Name, p.State, p.Reason))
		}
	}
	if s.Files != nil {
		for _, why := range s.Files.Problems {
			out = append(out, "pipeline files: "+why)
		}
	}
	return out
}

// NotReady lists why the pipeline is not ready, nothing if it is.
func (p Pipeline) NotReady() []string {
	switch {
	case p.State == Stopped && p.Reason != "":
		return []string{fmt.Sprintf("%s is stopped: %s", p.Name, p.Reason)}
	case p.State == Stopped || p.State == Draining || p.State == Starting:
		return []string{fmt.Sprintf("%s is %s", p.Name, p.State)}
	case p.State == Held || p.State == Paused:
		return nil // a restart would not help
	case !p.Assigned:
		return []string{p.Name + " waits for the group to assign partitions"}
	}
	var out []string
	for _, tp := range p.Partitions {
		if tp.State == Waiting || tp.State == Recovering {
			out = append(out, fmt.Sprintf("%s: %s/%d is %s", p.Name, tp.Topic, tp.Partition, tp.State))
		}
	}
	return out
}
