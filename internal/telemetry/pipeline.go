package telemetry

import (
	"maps"
	"strconv"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/waybill-data/waybill"
)

// InsertOutcome is what became of one insert request.
type InsertOutcome uint8

// Outcomes of an insert.
const (
	InsertLanded       InsertOutcome = iota // answered, and no block was deduplicated
	InsertDeduplicated                      // answered, and the server knew the token
	InsertRefused                           // the server answered with an error
	InsertUnknown                           // no answer
	InsertLate                              // refused because its deadline had passed
	InsertAnswered                          // answered, and the server does not say whether it knew the token (HTTP)
	insertOutcomes
)

var insertOutcomeNames = [insertOutcomes]string{"landed", "deduplicated", "refused", "unknown", "late", "answered"}

func (o InsertOutcome) String() string { return insertOutcomeNames[o] }

// CommitOutcome is what became of one offset commit.
type CommitOutcome uint8

// Outcomes of a commit.
const (
	CommitOK      CommitOutcome = iota // every partition answered OK
	CommitRefused                      // some partition answered with an error
	CommitFenced                       // the group no longer knows this member or generation
	CommitUnknown                      // no answer
	commitOutcomes
)

var commitOutcomeNames = [commitOutcomes]string{"ok", "refused", "fenced", "unknown"}

func (o CommitOutcome) String() string { return commitOutcomeNames[o] }

// maxLabels bounds how many values of one free label a pipeline may bring into being: fields of
// events are named by whoever writes them, and each new name would be a time series for ever.
const maxLabels = 200

// otherLabel collects what comes after the first maxLabels values. No path of an event looks like it.
const otherLabel = "(other)"

var stores = [...]waybill.Store{waybill.StoreTarget, waybill.StoreDeadLetters, waybill.StoreLedger}

// storeMetrics are the metrics of one store of a pipeline.
type storeMetrics struct {
	inserts   [insertOutcomes]prometheus.Counter
	seconds   prometheus.Observer
	readBacks prometheus.Counter
}

// PipelineMetrics are one pipeline's metrics. All methods are safe for concurrent use.
type PipelineMetrics struct {
	m    *Metrics
	name string

	settled, ledgerRows, serverRestarts, rebalances prometheus.Counter
	upcast, assumed, late                           prometheus.Counter
	contents, contentBytes, contentsKnown           prometheus.Counter
	stalledSeconds, oldestUnsettled, held, paused   prometheus.Gauge
	commits                                         [commitOutcomes]prometheus.Counter
	stores                                          map[waybill.Store]*storeMetrics // not written after ForPipeline
	deadLetters, discarded, defaulted, rounded      *bounded
	rescued, discardedBy, redacted                  *bounded
	moved, movedBytes                               *bounded

	auditSeconds                                           prometheus.Counter
	auditVerified, auditWaiting, auditUnwatched, auditLate prometheus.Gauge

	stallMu sync.Mutex
	stall   string // class under which waybill_stalled is 1, "" if none

	openMu sync.Mutex
	open   map[FindingLabels]int // as waybill_findings_open has it
}

// ForPipeline binds the metrics of the pipeline called name. What is counted without labels exists
// from here on with the value 0, so that the first count is seen as an increase.
func (m *Metrics) ForPipeline(name string) *PipelineMetrics {
	p := &PipelineMetrics{
		m: m, name: name,
		settled:         m.settled.WithLabelValues(name),
		ledgerRows:      m.ledgerRows.WithLabelValues(name),
		serverRestarts:  m.serverRestarts.WithLabelValues(name),
		rebalances:      m.rebalances.WithLabelValues(name),
		upcast:          m.upcast.WithLabelValues(name),
		assumed:         m.assumed.WithLabelValues(name),
		late:            m.late.WithLabelValues(name),
		contents:        m.contents.WithLabelValues(name),
		contentBytes:    m.contentBytes.WithLabelValues(name),
		contentsKnown:   m.contentsKnown.WithLabelValues(name),
		stalledSeconds:  m.stalledSeconds.WithLabelValues(name),
		oldestUnsettled: m.oldestUnsettled.WithLabelValues(name),
		held:            m.held.WithLabelValues(name),
		paused:          m.paused.WithLabelValues(name),
		auditSeconds:    m.auditSeconds.WithLabelValues(name),
		auditVerified:   m.auditVerified.WithLabelValues(name),
		auditWaiting:    m.auditWaiting.WithLabelValues(name),
		auditUnwatched:  m.auditUnwatched.WithLabelValues(name),
		auditLate:       m.auditLate.WithLabelValues(name),
		stores:          map[waybill.Store]*storeMetrics{},
		deadLetters:     newBounded(m.deadLetters, name),
		discarded:       newBounded(m.discarded, name),
		defaulted:       newBounded(m.defaulted, name),
		rounded:         newBounded(m.rounded, name),
		rescued:         newBounded(m.rescued, name),
		moved:           newBounded(m.moved, name),
		movedBytes:      newBounded(m.movedBytes, name),
		discardedBy:     newBounded(m.discardedBy, name),
		redacted:        newBounded(m.redacted, name),
	}
	for o := range commitOutcomes {
		p.commits[o] = m.commits.WithLabelValues(name, o.String())
	}
	for _, s := range stores {
		p.stores[s] = m.forStore(name, string(s))
	}
	return p
}

func (m *Metrics) forStore(pipeline, store string) *storeMetrics {
	sm := &storeMetrics{
		seconds:   m.insertSeconds.WithLabelValues(pipeline, store),
		readBacks: m.readBacks.WithLabelValues(pipeline, store),
	}
	for o := range insertOutcomes {
		sm.inserts[o] = m.inserts.WithLabelValues(pipeline, store, o.String())
	}
	return sm
}

// Insert counts one insert request into store and the time from sending it to its outcome.
func (p *PipelineMetrics) Insert(store waybill.Store, o InsertOutcome, took time.Duration) {
	s := p.stores[store]
	s.inserts[o].Inc()
	s.seconds.Observe(took.Seconds())
}

// ReadBack counts one query for the offsets that store holds.
func (p *PipelineMetrics) ReadBack(store waybill.Store) { p.stores[store].readBacks.Inc() }

// Commit counts one offset commit.
func (p *PipelineMetrics) Commit(o CommitOutcome) { p.commits[o].Inc() }

// Settled counts a batch whose offsets were committed.
func (p *PipelineMetrics) Settled() { p.settled.Inc() }

// LedgerRows counts n rows written to the ledger.
func (p *PipelineMetrics) LedgerRows(n int) { p.ledgerRows.Add(float64(n)) }

// ServerRestart counts a restart of the ClickHouse server.
func (p *PipelineMetrics) ServerRestart() { p.serverRestarts.Inc() }

// Rebalance counts a change of the partitions owned.
func (p *PipelineMetrics) Rebalance() { p.rebalances.Inc() }

// SetBatches sets how many batches are in the named state of the delivery protocol.
func (p *PipelineMetrics) SetBatches(state string, n int) {
	p.m.batches.WithLabelValues(p.name, state).Set(float64(n))
}

// SetOldestUnsettled sets the age of the oldest batch that is not settled, 0 without one.
func (p *PipelineMetrics) SetOldestUnsettled(age time.Duration) {
	p.oldestUnsettled.Set(age.Seconds())
}

// SetCompleteThrough says up to when the pipeline's topic is complete, over all workers. Before it can be said there is no such series.
func (p *PipelineMetrics) SetCompleteThrough(t time.Time) {
	p.m.completeThrough.WithLabelValues(p.name).Set(float64(t.UnixMilli()) / 1000)
}

// Late counts records of a time that had been said to be complete.
func (p *PipelineMetrics) Late(n int64) { p.late.Add(float64(n)) }

// DeadLetters counts n dead letters with the given error code.
func (p *PipelineMetrics) DeadLetters(code string, n int64) { p.deadLetters.add(code, n) }

// DiscardedField counts n values at the given path of the event that no column took. After the first
// 200 paths further ones are counted together as "(other)".
func (p *PipelineMetrics) DiscardedField(path string, n int64) { p.discarded.add(path, n) }

// Discarded counts n values of one kind that were dropped: of fields that no column takes, or of a type that their column does not.
func (p *PipelineMetrics) Discarded(kind string, n int64) { p.discardedBy.add(kind, n) }

// Rescued counts n values that are kept in the rescue column for the given reason.
func (p *PipelineMetrics) Rescued(reason string, n int64) { p.rescued.add(reason, n) }

// Redacted counts n values that a rule of redaction changed. With 0 the rule is there to be seen.
func (p *PipelineMetrics) Redacted(rule string, n int64) { p.redacted.add(rule, n) }

// Upcast counts n records that were brought to the current version.
func (p *PipelineMetrics) Upcast(n int64) { p.upcast.Add(float64(n)) }

// Assumed counts n records of a version that is not known, which were taken for the current one.
func (p *PipelineMetrics) Assumed(n int64) { p.assumed.Add(float64(n)) }

// Alter counts a change of the target table, of one of the kinds that evolve makes.
func (p *PipelineMetrics) Alter(kind string, made bool) {
	outcome := "applied"
	if !made {
		outcome = "refused"
	}
	p.m.alters.WithLabelValues(p.name, kind, outcome).Inc()
}

// Defaulted counts n values of a column that took its default.
func (p *PipelineMetrics) Defaulted(column string, n int64) { p.defaulted.add(column, n) }

// Moved counts n long values of a column that rows only refer to.
func (p *PipelineMetrics) Moved(column string, n, bytes int64) {
	p.moved.add(column, n)
	p.movedBytes.add(column, bytes)
}

// Contents counts long values that were stored, their bytes, and those that had been stored before.
func (p *PipelineMetrics) Contents(stored, bytes, known int64) {
	p.contents.Add(float64(stored))
	p.contentBytes.Add(float64(bytes))
	p.contentsKnown.Add(float64(known))
}

// Rounded counts n values of a column that lost precision.
func (p *PipelineMetrics) Rounded(column string, n int64) { p.rounded.add(column, n) }

// Finding counts f, which has become known: it was opened, told, or is worse than it was.
func (p *PipelineMetrics) Finding(f waybill.Finding) {
	p.m.findings.WithLabelValues(p.name, f.Kind, string(f.Severity)).Inc()
}

// FindingLabels are the labels of findings, beside the pipeline.
type FindingLabels struct {
	Kind     string
	Severity waybill.Severity
}

// SetOpenFindings sets how many findings are open. Labels that had some stay, at zero.
func (p *PipelineMetrics) SetOpenFindings(open map[FindingLabels]int) {
	p.openMu.Lock()
	defer p.openMu.Unlock()
	for l := range p.open {
		p.open[l] = 0
	}
	if p.open == nil {
		p.open = map[FindingLabels]int{}
	}
	maps.Copy(p.open, open)
	for l, n := range p.open {
		p.m.openFindings.WithLabelValues(p.name, l.Kind, string(l.Severity)).Set(float64(n))
	}
}

// Alerts counts n attempts to tell a receiver. With 0 the outcome is there to be seen.
func (p *PipelineMetrics) Alerts(receiver, outcome string, n int) {
	p.m.alerts.WithLabelValues(p.name, receiver, outcome).Add(float64(n))
}

// SetAlertsWaiting sets how many alerts a receiver has not been told yet.
func (p *PipelineMetrics) SetAlertsWaiting(receiver string, n int) {
	p.m.alertsWaiting.WithLabelValues(p.name, receiver).Set(float64(n))
}

// SetStalled says that the pipeline has been waiting for `since` because of an error of class c.
func (p *PipelineMetrics) SetStalled(c waybill.Class, since time.Duration) {
	p.setStall(c.String())
	p.stalledSeconds.Set(since.Seconds())
}

// ClearStalled says that the pipeline moves again.
func (p *PipelineMetrics) ClearStalled() {
	p.setStall("")
	p.stalledSeconds.Set(0)
}

// SetHeld says whether a job holds the pipeline.
func (p *PipelineMetrics) SetHeld(held bool) { p.held.Set(flag(held)) }

// SetPaused says whether a person has paused the pipeline.
func (p *PipelineMetrics) SetPaused(paused bool) { p.paused.Set(flag(paused)) }

func flag(on bool) float64 {
	if on {
		return 1
	}
	return 0
}

func (p *PipelineMetrics) setStall(class string) {
	p.stallMu.Lock()
	defer p.stallMu.Unlock()
	if p.stall != "" && p.stall != class {
		p.m.stalled.WithLabelValues(p.name, p.stall).Set(0)
	}
	if class != "" {
		p.m.stalled.WithLabelValues(p.name, class).Set(1)
	}
	p.stall = class
}

// AuditRound counts a round of the continuous audit; complete says that it could ask all that it wanted to.
func (p *PipelineMetrics) AuditRound(took time.Duration, complete bool) {
	outcome := "complete"
	if !complete {
		outcome = "incomplete"
	}
	p.m.auditRounds.WithLabelValues(p.name, outcome).Inc()
	p.auditSeconds.Add(took.Seconds())
}

// SetAudit shows how many offsets the continuous audit has compared with the tables, how many wait for it, how many it has given up watching, and how late it is.
func (p *PipelineMetrics) SetAudit(verified, waiting, unwatched int64, late time.Duration) {
	p.auditVerified.Set(float64(verified))
	p.auditWaiting.Set(float64(waiting))
	p.auditUnwatched.Set(float64(unwatched))
	p.auditLate.Set(late.Seconds())
}

// PartitionMetrics are one partition's metrics within a pipeline. All methods are safe for concurrent use.
type PartitionMetrics struct {
	m                                               *Metrics
	labels                                          []string
	read, written, filtered, dead, tombstones, lost prometheus.Counter
	lag                                             prometheus.Gauge
}

// ForPartition binds the metrics of one partition.
func (p *PipelineMetrics) ForPartition(tp waybill.TopicPartition) *PartitionMetrics {
	l := []string{p.name, tp.Topic, strconv.Itoa(int(tp.Partition))}
	return &PartitionMetrics{
		m: p.m, labels: l,
		read:       p.m.read.WithLabelValues(l...),
		written:    p.m.written.WithLabelValues(l...),
		filtered:   p.m.filtered.WithLabelValues(l...),
		dead:       p.m.dead.WithLabelValues(l...),
		tombstones: p.m.tombstones.WithLabelValues(l...),
		lost:       p.m.lost.WithLabelValues(l...),
		lag:        p.m.lag.WithLabelValues(l...),
	}
}

// Read counts n records that Kafka delivered.
func (p *PartitionMetrics) Read(n int64) { p.read.Add(float64(n)) }

// Written counts n records whose rows are in the table.
func (p *PartitionMetrics) Written(n int64) { p.written.Add(float64(n)) }

// Filtered counts n records that the pipeline's filter left out.
func (p *PartitionMetrics) Filtered(n int64) { p.filtered.Add(float64(n)) }

// DeadLettered counts n records that became dead letters.
func (p *PartitionMetrics) DeadLettered(n int64) { p.dead.Add(float64(n)) }

// Tombstones counts n records without a value.
func (p *PartitionMetrics) Tombstones(n int64) { p.tombstones.Add(float64(n)) }

// Lost counts n records that the topic no longer held.
func (p *PartitionMetrics) Lost(n int64) { p.lost.Add(float64(n)) }

// SetLag sets the number of offsets between the settled position and the partition's end.
func (p *PartitionMetrics) SetLag(n int64) { p.lag.Set(float64(n)) }

// SetVerifiedThrough sets the offset before which the continuous audit has compared everything that was settled since the partition came to this worker.
func (p *PartitionMetrics) SetVerifiedThrough(offset int64) {
	p.m.auditThrough.WithLabelValues(p.labels...).Set(float64(offset))
}

// ReleaseAudit withdraws it.
func (p *PartitionMetrics) ReleaseAudit() { p.m.auditThrough.DeleteLabelValues(p.labels...) }

// Release withdraws the partition's lag when the partition goes to another worker, which reports it
// from then on. The counters stay: they say what this process did.
func (p *PartitionMetrics) Release() { p.m.lag.DeleteLabelValues(p.labels...) }

// bounded is a counter with one free label, of which it lets maxLabels values come into being.
type bounded struct {
	vec      *prometheus.CounterVec
	pipeline string

	mu   sync.Mutex
	seen map[string]prometheus.Counter
}

func newBounded(vec *prometheus.CounterVec, pipeline string) *bounded {
	return &bounded{vec: vec, pipeline: pipeline, seen: map[string]prometheus.Counter{}}
}

func (b *bounded) add(label string, n int64) {
	b.mu.Lock()
	c, ok := b.seen[label]
	if !ok {
		if len(b.seen) >= maxLabels {
			label = otherLabel
		}
		c = b.vec.WithLabelValues(b.pipeline, label)
		b.seen[label] = c
	}
	b.mu.Unlock()
	c.Add(float64(n))
}
