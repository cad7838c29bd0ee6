package waybill

import "fmt"

// Severity of a finding.
type Severity string

// Severities.
const (
	SeverityInfo    Severity = "info"    // worth knowing, nothing to do
	SeverityWarning Severity = "warning" // something was repaired or may go wrong
	SeverityError   Severity = "error"   // data is lost, doubled or not moving
)

// Finding is something that a person should know: a broken law, a moved position, lost records.
// Findings go to the log, to metrics, to the journal waybill.findings and to whoever has asked for alerts; package internal/finding
// says what becomes of them.
type Finding struct {
	Kind     string // a snake_case word, one per runbook page
	Severity Severity
	TopicPartition
	Span  Span   // the offsets concerned; zero if not about offsets
	Batch string // the batch concerned, if any
	// Message says what was seen, in one sentence with the figures.
	Message string
	// Action says what Waybill did or what a person should do.
	Action string
	// Subject is what of the pipeline it is about, beside the partition: a column, a path, a table, a view. Empty: the pipeline.
	Subject string
	// Evidence is what shows it, for a machine or a curious person: JSON, or empty.
	Evidence string
	// Over says that the cause is gone, and Message how that is known: it closes the finding that is open under the key.
	Over bool
}

// FindingKey says which findings are about the same thing: a finding that is open is updated by another of its key, not opened again.
type FindingKey struct {
	Kind string
	TopicPartition
	Subject string
}

// Key is the finding's key.
func (f *Finding) Key() FindingKey {
	return FindingKey{Kind: f.Kind, TopicPartition: f.TopicPartition, Subject: f.Subject}
}

// String is for logs.
func (k FindingKey) String() string {
	return fmt.Sprintf("%s %s %s", k.Kind, k.TopicPartition, k.Subject)
}
