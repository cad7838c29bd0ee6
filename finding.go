package waybill

// Severity of a finding.
type Severity string

// Severities.
const (
	SeverityInfo    Severity = "info"    // worth knowing, nothing to do
	SeverityWarning Severity = "warning" // something was repaired or may go wrong
	SeverityError   Severity = "error"   // data is lost, doubled or not moving
)

// Finding is something that a person should know: a broken law, a moved position, lost records.
// Findings go to the log, to a metric and to the table waybill.findings.
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
}
