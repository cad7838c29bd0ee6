package contract

// DriftKind says how events differ from the contract.
type DriftKind string

// The kinds that a decoder sees in single events. What only many events show (a field that vanishes, a rate that jumps)
// is the business of package drift.
const (
	DriftNewField     DriftKind = "new_field"     // a field that no column takes
	DriftTypeConflict DriftKind = "type_conflict" // a value that does not fit its column
)

// At is a record's place and time.
type At struct {
	Topic     string
	Partition int32
	Offset    int64
	Time      int64 // the record's timestamp in Kafka, in milliseconds since the Unix epoch
}

// FieldDrift is how the written events of some time differ from the contract at one path.
type FieldDrift struct {
	Kind   DriftKind
	Path   string // as a contract writes it; [*] for the elements of arrays
	Column string // of a type conflict
	Reason string // of a type conflict: the decoder's code
	// Mode is what became of the values: under ModeEvolve they have been rescued, if nothing else is done.
	Mode        Mode
	Count       int64 // of values
	First, Last At
	// Sample is the first value's text, cut at SampleBytes.
	Sample   string
	Observed Observed
}

// SampleBytes is how much is kept of a sample.
const SampleBytes = 200

// OtherPaths stands for the paths beyond what a decoder tells apart.
const OtherPaths = "…other"
