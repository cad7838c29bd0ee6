package telemetry

import (
	"net/http"
	"slices"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Metrics are the metrics of one process, in a registry of their own. Get a pipeline's share with
// ForPipeline: there every label is bound already, so that counting costs one atomic addition.
type Metrics struct {
	reg *prometheus.Registry

	// Per partition.
	read, written, filtered, dead, tombstones, lost *prometheus.CounterVec
	lag                                             *prometheus.GaugeVec

	// Per pipeline and one more label.
	deadLetters, discarded, defaulted, rounded *prometheus.CounterVec
	rescued, discardedBy, redacted, alters     *prometheus.CounterVec // alters has two
	moved, movedBytes                          *prometheus.CounterVec
	batches                                    *prometheus.GaugeVec
	inserts                                    *prometheus.CounterVec
	insertSeconds                              *prometheus.HistogramVec
	readBacks, commits, findings, alerts       *prometheus.CounterVec
	stalled, openFindings, alertsWaiting       *prometheus.GaugeVec

	// Per pipeline.
	settled, ledgerRows, serverRestarts, rebalances *prometheus.CounterVec
	upcast, assumed, late                           *prometheus.CounterVec
	contents, contentBytes, contentsKnown           *prometheus.CounterVec
	stalledSeconds, oldestUnsettled, held, paused   *prometheus.GaugeVec
	completeThrough                                 *prometheus.GaugeVec

	// The continuous audit's.
	auditRounds, auditSeconds                              *prometheus.CounterVec
	auditVerified, auditWaiting, auditUnwatched, auditLate *prometheus.GaugeVec
	auditThrough                                           *prometheus.GaugeVec

	budget, budgetUsed, fileProblems prometheus.Gauge
	reloads                          *prometheus.CounterVec

	forget []func(prometheus.Labels) int // of each metric with the label pipeline
}

// Insert times span a block of a few rows on a local server to a block that waits out a deadline.
var insertBuckets = []float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60}

// NewMetrics registers all of Waybill's metrics, and those of the Go runtime and the process.
// version is shown in waybill_build_info.
func NewMetrics(version string) *Metrics {
	m := &Metrics{reg: prometheus.NewRegistry()}
	m.reg.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	m.gauge("build_info", "Always 1; the version is a label.", "version").WithLabelValues(version).Set(1)
	m.registerPartition()
	m.registerPipeline()
	m.registerAudit()
	m.budget = m.gauge("memory_budget_bytes", "Bytes of records that the process may hold at once.").WithLabelValues()
	m.budgetUsed = m.gauge("memory_budget_used_bytes", "Bytes of records that the process holds now.").WithLabelValues()
	m.fileProblems = m.gauge("pipeline_file_problems", "Problems of the pipeline files as they are now; a pipeline whose file is broken goes on as it was.").WithLabelValues()
	m.reloads = m.counter("reloads_total", "Changes of the pipeline files that were noticed, by outcome: applied, or refused at least in part.", "outcome")
	for _, outcome := range []string{reloadApplied, reloadRefused} {
		m.reloads.WithLabelValues(outcome)
	}
	return m
}

func (m *Metrics) registerPartition() {
	at := []string{"pipeline", "topic", "partition"}
	m.read = m.counter("records_read_total", "Records that Kafka delivered and that the ledger accounts for.", at...)
	m.written = m.counter("records_written_total", "Records whose rows are in the target table.", at...)
	m.filtered = m.counter("records_filtered_total", "Records that the pipeline's filter left out.", at...)
	m.dead = m.counter("records_dead_lettered_total", "Records that became dead letters.", at...)
	m.tombstones = m.counter("tombstones_total", "Records without a value; they have no row.", at...)
	m.lost = m.counter("records_lost_total", "Records that the topic no longer held when they were due.", at...)
	m.lag = m.gauge("lag_records", "Offsets between the settled position and the partition's end.", at...)
}

func (m *Metrics) registerPipeline() {
	m.deadLetters = m.counter("dead_letters_total", "Records kept as dead letters, by error code.", "pipeline", "code")
	m.rescued = m.counter("rescued_values_total", "Values that are kept in the rescue column, by reason.", "pipeline", "reason")
	m.discardedBy = m.counter("discarded_values_total", "Values that were dropped, by kind: of fields that no column takes, or unfit for their column.", "pipeline", "kind")
	m.discarded = m.counter("discarded_fields_total", "Dropped values of fields that no column takes, by path in the event.", "pipeline", "path")
	m.defaulted = m.counter("defaulted_values_total", "Values that were missing or unfit and took the default.", "pipeline", "column")
	m.rounded = m.counter("rounded_values_total", "Values that lost precision in the column's type.", "pipeline", "column")
	m.redacted = m.counter("redacted_values_total", "Values that redaction changed, by rule.", "pipeline", "rule")
	m.moved = m.counter("large_values_total", "Long values that rows only refer to, by column.", "pipeline", "column")
	m.movedBytes = m.counter("large_value_bytes_total", "Bytes of long values that rows only refer to, by column.", "pipeline", "column")
	m.contents = m.counter("contents_stored_total", "Long values that were stored.", "pipeline")
	m.contentBytes = m.counter("contents_stored_bytes_total", "Bytes of long values that were stored.", "pipeline")
	m.contentsKnown = m.counter("contents_known_total", "Long values that were not stored, as the same ones had been a short while before.", "pipeline")
	m.upcast = m.counter("records_upcast_total", "Records that were brought to the current version.", "pipeline")
	m.assumed = m.counter("records_assumed_total", "Records of a version that is not known, which were taken for the current one.", "pipeline")
	m.late = m.counter("records_late_total", "Records of a time that had been said to be complete.", "pipeline")
	m.completeThrough = m.gauge("complete_through_timestamp_seconds", "Unix time before which everything in the topic is accounted for, over all workers.", "pipeline")
	m.alters = m.counter("alters_total", "Changes of the target table by evolve, by kind and outcome.", "pipeline", "kind", "outcome")
	m.batches = m.gauge("batches_in_flight", "Batches in flight, by state.", "pipeline", "state")
	m.settled = m.counter("batches_settled_total", "Batches whose offsets were committed after they landed.", "pipeline")
	m.inserts = m.counter("inserts_total", "Insert requests, by store and outcome.", "pipeline", "store", "outcome")
	m.insertSeconds = m.histogram("insert_duration_seconds", "Time from sending an insert to its answer or failure.", insertBuckets, "pipeline", "store")
	m.readBacks = m.counter("readbacks_total", "Queries for the offsets that a store holds.", "pipeline", "store")
	m.commits = m.counter("commits_total", "Offset commits, by outcome.", "pipeline", "outcome")
	m.ledgerRows = m.counter("ledger_rows_total", "Rows written to the ledger.", "pipeline")
	m.stalled = m.gauge("stalled", "1 while the pipeline waits for an outside system to heal, by error class.", "pipeline", "class")
	m.stalledSeconds = m.gauge("stalled_seconds", "How long the current stall has lasted; 0 without one.", "pipeline")
	m.held = m.gauge("held", "1 while a job holds the pipeline: it is in no group and waits.", "pipeline")
	m.paused = m.gauge("paused", "1 while a person has paused the pipeline: it is in no group and waits to be resumed.", "pipeline")
	m.findings = m.counter("findings_total", "Findings that became known, by kind and severity.", "pipeline", "kind", "severity")
	m.openFindings = m.gauge("findings_open", "Findings of the pipeline that are open, as this worker knows them.", "pipeline", "kind", "severity")
	m.alerts = m.counter("alerts_total", "Attempts to tell receivers of findings, by receiver and outcome.", "pipeline", "receiver", "outcome")
	m.alertsWaiting = m.gauge("alerts_waiting", "Alerts that a receiver has not been told yet.", "pipeline", "receiver")
	m.serverRestarts = m.counter("server_restarts_total", "Restarts of the ClickHouse server that were noticed.", "pipeline")
	m.rebalances = m.counter("rebalances_total", "Changes of the partitions that this worker owns.", "pipeline")
	m.oldestUnsettled = m.gauge("oldest_unsettled_batch_age_seconds", "Age of the oldest batch that is not settled; 0 without one.", "pipeline")
}

func (m *Metrics) registerAudit() {
	m.auditRounds = m.counter("audit_rounds_total", "Rounds of the continuous audit, by whether all could be asked.", "pipeline", "outcome")
	m.auditSeconds = m.counter("audit_seconds_total", "Time that the continuous audit has spent, asking for the most part.", "pipeline")
	m.auditVerified = m.gauge("audit_verified_offsets", "Settled offsets that the continuous audit has compared with the tables one by one, since the partitions came to this worker.", "pipeline")
	m.auditWaiting = m.gauge("audit_waiting_offsets", "Settled offsets that the continuous audit has not compared yet.", "pipeline")
	m.auditUnwatched = m.gauge("audit_unwatched_offsets", "Settled offsets that the continuous audit has given up watching, for want of memory.", "pipeline")
	m.auditLate = m.gauge("audit_late_seconds", "How long the oldest comparison of the continuous audit has been due.", "pipeline")
	m.auditThrough = m.gauge("audit_verified_through_offset", "Offset before which the continuous audit has compared all that was settled since the partition came to this worker.", "pipeline", "topic", "partition")
}

func (m *Metrics) counter(name, help string, labels ...string) *prometheus.CounterVec {
	v := prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: "waybill", Name: name, Help: help}, labels)
	m.reg.MustRegister(v)
	m.remember(v.DeletePartialMatch, labels)
	return v
}

func (m *Metrics) gauge(name, help string, labels ...string) *prometheus.GaugeVec {
	v := prometheus.NewGaugeVec(prometheus.GaugeOpts{Namespace: "waybill", Name: name, Help: help}, labels)
	m.reg.MustRegister(v)
	m.remember(v.DeletePartialMatch, labels)
	return v
}

func (m *Metrics) histogram(name, help string, buckets []float64, labels ...string) *prometheus.HistogramVec {
	v := prometheus.NewHistogramVec(prometheus.HistogramOpts{Namespace: "waybill", Name: name, Help: help, Buckets: buckets}, labels)
	m.reg.MustRegister(v)
	m.remember(v.DeletePartialMatch, labels)
	return v
}

func (m *Metrics) remember(forget func(prometheus.Labels) int, labels []string) {
	if slices.Contains(labels, "pipeline") {
		m.forget = append(m.forget, forget)
	}
}

// Forget withdraws all metrics of a pipeline that this process does not run any more.
func (m *Metrics) Forget(pipeline string) {
	for _, forget := range m.forget {
		forget(prometheus.Labels{"pipeline": pipeline})
	}
}

// Outcomes of a reload.
const (
	reloadApplied = "applied"
	reloadRefused = "refused"
)

// Reload counts a change of the pipeline files that left them with so many problems.
func (m *Metrics) Reload(problems int) {
	outcome := reloadApplied
	if problems > 0 {
		outcome = reloadRefused
	}
	m.reloads.WithLabelValues(outcome).Inc()
	m.fileProblems.Set(float64(problems))
}

// SetBudget sets the process's memory budget for records, in bytes.
func (m *Metrics) SetBudget(bytes int64) { m.budget.Set(float64(bytes)) }

// SetBudgetUsed sets how much of the budget is taken, in bytes.
func (m *Metrics) SetBudgetUsed(bytes int64) { m.budgetUsed.Set(float64(bytes)) }

// Handler serves the metrics in the formats that Prometheus scrapes.
func (m *Metrics) Handler() http.Handler {
	return promhttp.HandlerFor(m.reg, promhttp.HandlerOpts{Registry: m.reg})
}

// Registerer lets an adapter add metrics of its own.
func (m *Metrics) Registerer() prometheus.Registerer { return m.reg }

// Gatherer reads all metrics.
func (m *Metrics) Gatherer() prometheus.Gatherer { return m.reg }
