package top

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/waybill-data/waybill"
	"github.com/waybill-data/waybill/internal/status"
)

// Snapshot is what all workers together do at one moment. What is not known is null, -1 or "unknown", and never 0.
type Snapshot struct {
	At        time.Time  `json:"at"` // by the clock of whoever asked
	Workers   []Worker   `json:"workers"`
	Pipelines []Pipeline `json:"pipelines"` // by name
}

// WorkerState says whether a worker is seen.
type WorkerState string

// States of a worker.
const (
	Asked     WorkerState = "asked"     // it has not answered yet
	Reached   WorkerState = "reached"   // it answers
	Unreached WorkerState = "unreached" // it does not: Error says why
	Repeated  WorkerState = "repeated"  // it is the process that SameAs is: counted there
)

// Worker is one process.
type Worker struct {
	Address    string      `json:"address"`
	State      WorkerState `json:"state"`
	Error      string      `json:"error,omitempty"`
	SameAs     string      `json:"same_as,omitempty"`
	Since      *time.Time  `json:"since,omitempty"`       // it is unreached
	LastAnswer *time.Time  `json:"last_answer,omitempty"` // nil: there was none
	Version    string      `json:"version,omitempty"`     // of its last answer
	Started    *time.Time  `json:"started,omitempty"`
	Problems   []string    `json:"file_problems,omitempty"` // of its pipeline files
}

// Unknown is the state of a pipeline that is only on workers that do not answer, and of a partition that nobody who answers speaks of.
const Unknown = "unknown"

// Pipeline is one pipeline over all workers that answer.
type Pipeline struct {
	Name  string               `json:"name"`
	Job   string               `json:"backfill,omitempty"` // it is this backfill of the pipeline
	State status.PipelineState `json:"state"`              // the worst of its workers
	// Reason and StalledSeconds are of the worker whose state that is.
	Reason         string  `json:"reason,omitempty"`
	StalledSeconds float64 `json:"stalled_seconds,omitempty"`
	Table          string  `json:"table"`
	Delivery       string  `json:"delivery"`
	Epoch          uint32  `json:"epoch"`
	Shares         []Share `json:"workers"`
	Rates          *Rates  `json:"rates"` // null: not known yet
	// Lag is the sum of those that are known, over all partitions; of a backfill, what is left of it. LagUnknown is how many are not.
	Lag             int64            `json:"lag"`
	LagUnknown      int              `json:"partitions_without_lag"`
	InFlight        int              `json:"in_flight"`         // batches
	BatchAge        float64          `json:"batch_age_seconds"` // of the oldest batch in flight; 0: there is none
	InsertSeconds   *float64         `json:"insert_seconds"`    // of an INSERT, on average; null: there was none
	CompleteThrough *time.Time       `json:"complete_through,omitempty"`
	BehindSeconds   float64          `json:"behind_seconds,omitempty"` // since then, by the clock of the worker that says so
	ETASeconds      float64          `json:"eta_seconds,omitempty"`    // of a backfill's slowest partition; -1: not known
	Findings        []status.Finding `json:"findings"`                 // those that are open, errors first
	LastError       *status.Failure  `json:"last_error,omitempty"`
	Partitions      []Partition      `json:"partitions"` // by topic and number
}

// Share is what one worker has of a pipeline.
type Share struct {
	Worker     string               `json:"worker"`
	State      status.PipelineState `json:"state"`
	Reason     string               `json:"reason,omitempty"`
	Partitions int                  `json:"partitions"`
	Rates      *Rates               `json:"rates"`
}

// Rates are averages over the window.
type Rates struct {
	Read    float64 `json:"read_per_second"`
	Written float64 `json:"written_per_second"`
}

// Partition is one partition of a pipeline. Offsets are -1 if they are not known.
type Partition struct {
	Topic     string                `json:"topic"`
	Partition int32                 `json:"partition"`
	State     status.PartitionState `json:"state"`
	Worker    string                `json:"worker,omitempty"` // whose it is; empty: nobody's, as the pipeline stands still
	Settled   int64                 `json:"settled"`
	End       int64                 `json:"end"`
	Lag       int64                 `json:"lag"`
	PerSecond *float64              `json:"settled_per_second"` // offsets; null: not known

	rank int // the higher it is, the better whoever says this must know
}

// Snapshot is what is known at a time.
func (m *Model) Snapshot(at time.Time) *Snapshot {
	s := &Snapshot{At: at.UTC().Truncate(time.Millisecond), Workers: []Worker{}, Pipelines: []Pipeline{}}
	merged := map[key]*merger{}
	for i, w := range m.workers {
		out := w.shown(m.workers[:i])
		s.Workers = append(s.Workers, out)
		if w.last == nil || out.State == Repeated {
			continue
		}
		for j := range w.last.Pipelines {
			p := &w.last.Pipelines[j]
			k := keyOf(p)
			if merged[k] == nil {
				merged[k] = &merger{key: k, partitions: map[place]Partition{}, findings: map[string]status.Finding{}}
			}
			merged[k].add(w, p)
		}
	}
	for _, g := range merged {
		s.Pipelines = append(s.Pipelines, g.pipeline(m))
	}
	slices.SortFunc(s.Pipelines, func(a, b Pipeline) int { return cmp.Or(strings.Compare(a.Name, b.Name), strings.Compare(a.Job, b.Job)) })
	return s
}

func (w *worker) shown(before []*worker) Worker {
	out := Worker{Address: w.address, State: Asked}
	if w.last != nil {
		started, at := w.last.Started, w.at.UTC()
		out.State, out.Version, out.Started, out.LastAnswer = Reached, w.last.Version, &started, &at
		if w.last.Files != nil {
			out.Problems = w.last.Files.Problems
		}
	}
	if !w.down.IsZero() {
		since := w.down.UTC()
		out.State, out.Error, out.Since = Unreached, w.err, &since
		return out
	}
	for _, b := range before {
		// No two processes start in the same nanosecond: somebody has named one of them twice.
		if w.last != nil && b.last != nil && b.down.IsZero() && !w.last.Started.IsZero() && w.last.Started.Equal(b.last.Started) && w.last.Version == b.last.Version {
			out.State, out.SameAs = Repeated, b.address
			return out
		}
	}
	return out
}

// Unreached are the workers that do not answer.
func (s *Snapshot) Unreached() (out []Worker) {
	for _, w := range s.Workers {
		if w.State == Unreached {
			out = append(out, w)
		}
	}
	return out
}

// reached is how many workers answer, and out of how many.
func (s *Snapshot) reached() (n, of int) {
	for _, w := range s.Workers {
		switch w.State {
		case Reached:
			n, of = n+1, of+1
		case Asked, Unreached:
			of++
		}
	}
	return n, of
}

// merger makes one pipeline of what workers say of it.
type merger struct {
	key        key
	shares     []share
	partitions map[place]Partition
	findings   map[string]status.Finding
}

// share is what one worker that answers says.
type share struct {
	*status.Pipeline
	worker *worker
}

// Who says something of a partition, in the order in which he is believed.
const (
	gone    = iota // a worker that does not answer any more
	outside        // a worker that is in no group, and knows where the group stands
	owner
)

func (g *merger) add(w *worker, p *status.Pipeline) {
	rank, address := owner, w.address
	switch {
	case !w.down.IsZero():
		rank = gone
	case !p.Assigned || p.State == status.Held || p.State == status.Paused:
		rank, address = outside, ""
	}
	for _, tp := range p.Partitions {
		at := place{g.key, tp.Topic, tp.Partition}
		out := Partition{Topic: tp.Topic, Partition: tp.Partition, State: tp.State, Worker: address, Settled: tp.Settled, End: tp.End, Lag: tp.Lag, rank: rank}
		if p.Backfill != nil {
			out.toScope(p.Backfill)
		}
		if rank == gone {
			out.State, out.Lag = Unknown, -1 // what it has settled, it has
		}
		before, known := g.partitions[at]
		if !known || cmp.Or(cmp.Compare(out.rank, before.rank), cmp.Compare(out.Settled, before.Settled)) > 0 {
			g.partitions[at] = out
		}
	}
	g.shares = append(g.shares, share{p, w})
	if rank == gone {
		return
	}
	for i := range p.Findings {
		f := p.Findings[i]
		before, known := g.findings[idOf(&f)]
		if !known || lastWord(&f).After(lastWord(&before)) {
			g.findings[idOf(&f)] = f
		}
	}
}

// toScope has the partition end where the backfill's scope does.
func (p *Partition) toScope(b *status.Backfill) {
	for _, of := range b.Partitions {
		if of.Topic == p.Topic && of.Partition == p.Partition {
			p.Settled, p.End, p.Lag = of.Settled, of.Until, of.Left
		}
	}
}

// idOf is the finding's id. Without one it is what it is about.
func idOf(f *status.Finding) string {
	return cmp.Or(f.ID, f.Kind+"\x00"+f.Topic+"\x00"+f.Subject+"\x00"+f.Message)
}

// lastWord is when a finding was as it is told: of two workers, one may not know yet that it is closed.
func lastWord(f *status.Finding) time.Time {
	if f.Closed != nil && f.Closed.After(f.LastSeen) {
		return *f.Closed
	}
	return f.LastSeen
}

// badness orders states: the worst of a pipeline's workers is the pipeline's.
func badness(p *status.Pipeline) int {
	if p.State == status.Stopped && p.Reason == "" {
		return 0 // it has come to its end
	}
	return 1 + slices.Index([]status.PipelineState{status.Running, status.Draining, status.Starting, status.Held, status.Paused, status.Stalled, status.Stopped}, p.State)
}

func (g *merger) pipeline(m *Model) Pipeline {
	out := Pipeline{Name: g.key.name, Job: g.key.job, State: Unknown, Shares: []Share{}, Findings: []status.Finding{}, Partitions: []Partition{}}
	owned := map[string]int{}
	for at, p := range g.partitions {
		p.PerSecond = m.perSecond(at)
		if p.rank == gone {
			p.PerSecond = nil
		}
		if p.Lag >= 0 {
			out.Lag += p.Lag
		} else {
			out.LagUnknown++
		}
		owned[p.Worker]++
		out.Partitions = append(out.Partitions, p)
	}
	slices.SortFunc(out.Partitions, func(a, b Partition) int {
		return cmp.Or(strings.Compare(a.Topic, b.Topic), cmp.Compare(a.Partition, b.Partition))
	})
	worst := -1
	var inserts insertTimes
	for _, s := range g.shares {
		down := !s.worker.down.IsZero()
		one := Share{Worker: s.worker.address, State: s.State, Reason: s.Reason, Partitions: owned[s.worker.address]}
		if down {
			one.State, one.Reason = Unknown, ""
			out.about(s.Pipeline)
		}
		out.Shares = append(out.Shares, one)
		if down {
			continue
		}
		steps := s.worker.flows[g.key]
		if rates := ratesOf(steps); rates != nil {
			out.Shares[len(out.Shares)-1].Rates = rates
			if out.Rates == nil {
				out.Rates = &Rates{}
			}
			out.Rates.Read += rates.Read
			out.Rates.Written += rates.Written
		}
		inserts.add(steps, s.Inserts)
		if b := badness(s.Pipeline); b > worst {
			worst, out.State, out.Reason, out.StalledSeconds = b, s.State, s.Reason, 0
			if s.StalledSince != nil {
				out.StalledSeconds = s.worker.last.Now.Sub(*s.StalledSince).Seconds()
			}
		}
		out.about(s.Pipeline)
		out.take(s)
	}
	out.InsertSeconds = inserts.average()
	for _, f := range g.findings {
		if f.State == status.FindingOpen {
			out.Findings = append(out.Findings, f)
		}
	}
	slices.SortFunc(out.Findings, func(a, b status.Finding) int {
		return cmp.Or(cmp.Compare(weight(b.Severity), weight(a.Severity)), b.LastSeen.Compare(a.LastSeen), strings.Compare(idOf(&a), idOf(&b)))
	})
	return out
}

func weight(s waybill.Severity) int {
	return slices.Index([]waybill.Severity{waybill.SeverityInfo, waybill.SeverityWarning, waybill.SeverityError}, s)
}

// about takes over what is the same on all workers. While an epoch begins, they are not all under it yet.
func (p *Pipeline) about(s *status.Pipeline) {
	if p.Table == "" || s.Epoch > p.Epoch {
		p.Table, p.Delivery = s.Table, s.Delivery
		p.CompleteThrough, p.BehindSeconds = nil, 0 // that was of another epoch
	}
	p.Epoch = max(p.Epoch, s.Epoch)
}

// take takes in what a worker that answers says of the whole pipeline, and its batches.
func (p *Pipeline) take(s share) {
	p.InFlight += len(s.InFlight)
	for _, b := range s.InFlight {
		p.BatchAge = max(p.BatchAge, b.AgeSeconds)
	}
	if t := s.CompleteThrough; t != nil && s.Epoch == p.Epoch && (p.CompleteThrough == nil || t.After(*p.CompleteThrough)) {
		p.CompleteThrough, p.BehindSeconds = t, max(0, s.worker.last.Now.Sub(*t).Seconds())
	}
	if e := s.LastError; e != nil && (p.LastError == nil || e.Time.After(p.LastError.Time)) {
		p.LastError = e
	}
	if b := s.Backfill; b != nil && (p.ETASeconds == 0 || b.ETASeconds < 0 || p.ETASeconds > 0 && b.ETASeconds > p.ETASeconds) {
		p.ETASeconds = b.ETASeconds
	}
}

func ratesOf(steps []step) *Rates {
	var seconds float64
	var read, written int64
	for _, s := range steps {
		seconds, read, written = seconds+s.seconds, read+s.read, written+s.written
	}
	if seconds == 0 {
		return nil
	}
	return &Rates{Read: float64(read) / seconds, Written: float64(written) / seconds}
}

// insertTimes are how long INSERTs take: those of the window, or without any the last one of each worker.
type insertTimes struct {
	count         int64
	seconds, last float64
}

func (i *insertTimes) add(steps []step, all status.Inserts) {
	for _, s := range steps {
		i.count, i.seconds = i.count+s.inserts, i.seconds+s.insertSeconds
	}
	i.last = max(i.last, all.LastSeconds)
}

func (i *insertTimes) average() *float64 {
	seconds := i.last
	if i.count > 0 {
		seconds = i.seconds / float64(i.count)
	}
	if seconds == 0 {
		return nil
	}
	return &seconds
}
