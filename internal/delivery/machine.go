package delivery

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/waybill-data/waybill"
)

// Mode is the delivery guarantee that the pipeline file asks for.
type Mode uint8

const (
	// ExactlyOnce: intents, read-backs, the token chain.
	ExactlyOnce Mode = iota
	// AtLeastOnce: tokens as a courtesy; no intents, no read-backs. Rows may land twice.
	AtLeastOnce
)

// WhenMoved says what to do when the group's position disagrees with the ledger.
type WhenMoved uint8

const (
	// FollowLedger goes on where the ledger ends, which neither loses nor repeats; the finding says so.
	FollowLedger WhenMoved = iota
	// StopWhenMoved stops the pipeline for a person to decide.
	StopWhenMoved
)

// Config of a machine. All workers of a pipeline run with the same one.
type Config struct {
	Pipeline  string
	ClusterID string // of the Kafka cluster
	Epoch     waybill.Epoch
	// Superseded: what is pending of an epoch before it is dropped. The target has another table's place, which holds what is before this
	// epoch's tip, and takes nothing of those epochs; what they were about is gathered again. 0: what is pending is carried out.
	Superseded waybill.Epoch
	Table      waybill.TableID
	// Tables are the full names of the stores; they go into the tokens.
	Tables map[waybill.Store]string
	Mode   Mode
	// Views: the target has materialized views, so that a row's presence does not prove its views.
	Views     bool
	WhenMoved WhenMoved
	// MaxMetadata is the broker's offset.metadata.max.bytes.
	MaxMetadata int
	// MaxInFlight is the number of batches past the settled offsets that a worker may hold.
	MaxInFlight int

	Mutant Mutant
	// Worker distinguishes workers for MutantRandomRepairToken only.
	Worker string
}

// MaxVanished is how often rows that were seen may vanish again from the target before the pipeline
// stops: an engine or a TTL that removes rows would otherwise be fed for ever.
const MaxVanished = 3

// Machine is the protocol of one worker for one pipeline. Not safe for concurrent use.
//
// Invariants, for every held partition p:
//
//	p.committed <= end of p's finished prefix <= p.next
//	the spans of p.queue tile [p.committed, p.next), except while p is still being resumed
//	in p.queue, no work in StageGathered stands before one that is past it
//	at most one commit is outstanding
type Machine struct {
	cfg     Config
	ops     Op
	workIDs WorkID
	parts   map[waybill.TopicPartition]*partition
	works   []*work // in order of creation; none in StageGone
	waiting map[Op]func(Event)
	commits map[Op]*commit
	// commitAttempt counts commits in a row that were certainly not applied.
	commitAttempt int
	stopped       error
	out           []Effect
}

// New makes a machine that holds no partition.
func New(cfg Config) *Machine {
	return &Machine{
		cfg:     cfg,
		parts:   map[waybill.TopicPartition]*partition{},
		waiting: map[Op]func(Event){},
		commits: map[Op]*commit{},
	}
}

// Step applies one event and returns what is to be done, in order.
func (m *Machine) Step(ev Event) []Effect {
	m.out = nil
	if m.stopped != nil {
		return nil
	}
	switch e := ev.(type) {
	case Assigned:
		m.assigned(e)
	case Revoked:
		m.revoked(e)
	case Gathered:
		m.gathered(e)
	case Place:
		m.place(e)
	case CommitAnswered:
		m.commitAnswered(e)
	case OffsetsFetched:
		m.answer(e.Op, e)
	case StartResolved:
		m.answer(e.Op, e)
	case Rebuilt:
		m.answer(e.Op, e)
	case ReadBackDone:
		m.answer(e.Op, e)
	case SendAnswered:
		m.answer(e.Op, e)
	case Claimed:
		m.answer(e.Op, e)
	case Probed:
		m.answer(e.Op, e)
	case WindowProved:
		m.answer(e.Op, e)
	case TailChecked:
		m.answer(e.Op, e)
	case Failed:
		m.stop(e.Err)
	default:
		m.bug("unknown event %T", ev)
	}
	m.wantCommit()
	return m.out
}

// answer hands an event to whoever waits for its Op. An Op that nobody waits for belongs to a life of
// the machine that is over (left group, dropped work): such answers prove nothing and change nothing.
func (m *Machine) answer(op Op, ev Event) {
	if then, ok := m.waiting[op]; ok {
		delete(m.waiting, op)
		then(ev)
	}
}

// ask emits an effect that then(answer) follows up.
func (m *Machine) ask(build func(Op) Effect, then func(Event)) Op {
	m.ops++
	m.waiting[m.ops] = then
	m.emit(build(m.ops))
	return m.ops
}

func (m *Machine) emit(e Effect) { m.out = append(m.out, e) }

func (m *Machine) report(f waybill.Finding) { m.emit(Report{Finding: f}) }

// stop ends the machine: nothing more is emitted, late answers are dropped. Intents stay in the
// strings, so that the next start carries them out.
func (m *Machine) stop(err error) {
	if m.stopped != nil {
		return
	}
	m.stopped = err
	m.emit(Stop{Err: err})
	m.waiting = map[Op]func(Event){}
}

func (m *Machine) bug(format string, args ...any) {
	m.stop(&waybill.Error{Op: "delivery", Pipeline: m.cfg.Pipeline, Class: waybill.ClassBug,
		Hint: "this is a defect of Waybill; nothing was settled past it", Err: fmt.Errorf(format, args...)})
}

// leave forgets everything: the strings at the broker are all that counts from here on.
func (m *Machine) leave(reason string) { m.forget(Leave{Reason: reason}) }

// succeeded: there is a later epoch.
func (m *Machine) succeeded(reason string) { m.forget(Leave{Reason: reason, Anew: true}) }

func (m *Machine) forget(goodbye Leave) {
	for _, w := range m.works {
		w.stage = StageGone
		m.emit(Drop{Work: w.id})
	}
	m.works = nil
	clear(m.parts)
	clear(m.waiting)
	clear(m.commits)
	m.commitAttempt = 0
	m.emit(goodbye)
}

// NewWork draws the id of a work to be handed in with Gathered.
func (m *Machine) NewWork() WorkID {
	m.workIDs++
	return m.workIDs
}

// Stopped is the error that ended the machine, nil while it runs.
func (m *Machine) Stopped() error { return m.stopped }

// InFlight is the number of works that are not finished.
func (m *Machine) InFlight() int {
	n := 0
	for _, w := range m.works {
		if w.stage != StageFinished {
			n++
		}
	}
	return n
}

// Ready reports whether another batch may be handed in.
func (m *Machine) Ready() bool { return m.stopped == nil && m.InFlight() < m.cfg.MaxInFlight }

// Quiet reports whether nothing is unsettled: no work is left and no commit is due or outstanding.
func (m *Machine) Quiet() bool {
	if len(m.works) > 0 || len(m.commits) > 0 {
		return false
	}
	for _, p := range m.parts {
		if p.dirty || p.state != partRunning {
			return false
		}
	}
	return true
}

// PartitionStatus is what the machine knows of one held partition.
type PartitionStatus struct {
	Held
	State     string // see the partition states
	Committed int64  // -1 before the first commit
	Next      int64  // where the next batch begins
	Pending   int    // batches past Committed
}

// Partitions lists the held partitions in order.
func (m *Machine) Partitions() []PartitionStatus {
	var out []PartitionStatus
	for _, p := range m.sortedParts() {
		out = append(out, PartitionStatus{Held: p.held, State: p.state.String(), Committed: p.committed, Next: p.next, Pending: len(p.queue)})
	}
	return out
}

// WorkStatus is what the machine knows of one batch on its way.
type WorkStatus struct {
	ID      WorkID
	Batch   *waybill.Batch
	Stage   Stage
	Attempt int // failures in a row of its current step
}

// Works lists the batches on their way in order of creation.
func (m *Machine) Works() []WorkStatus {
	var out []WorkStatus
	for _, w := range m.works {
		s := WorkStatus{ID: w.id, Batch: w.batch, Stage: w.stage}
		if w.deposit != nil {
			s.Attempt = w.deposit.attempt
		}
		out = append(out, s)
	}
	return out
}

func (m *Machine) sortedParts() []*partition {
	return slices.SortedFunc(maps.Values(m.parts), func(a, b *partition) int { return a.held.Compare(b.held.TopicPartition) })
}

// current is the partition if this very assignment of it is still held.
func (m *Machine) current(h Held) *partition {
	if p := m.parts[h.TopicPartition]; p != nil && p.held.Instance == h.Instance {
		return p
	}
	return nil
}

func (m *Machine) mutant(x Mutant) bool { return m.cfg.Mutant == x }

var errEpoch = errors.New("a newer epoch of this pipeline is running")
