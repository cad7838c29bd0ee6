// Package watchdog holds the detectors that run in every worker beside delivery: what they are shown of the tables, the ledger, the brokers
// and the batches, they turn into findings, and into word that a finding's cause is gone. It has no clock, no I/O and no goroutine: engine
// asks the questions, hands in the answers with the time, and passes on what is said.
//
// A detector speaks when something begins or changes and when it ends. It keeps what it has said, so that nothing is said twice.
package watchdog

import (
	"slices"

	waybill "github.com/waybill-data/waybill"
)

// Kinds of finding that are made here and nowhere else. Of the others the ledger, delivery and drift have the names.
const (
	KindRowsMissing    = "rows_missing"             // L3: the ledger says that they were written, and the table does not have them
	KindRowsRepeated   = "rows_repeated"            // L3: an offset has several rows
	KindRowsUnexpected = "rows_unexpected"          // L3: a row of an offset that is a dead letter, or no row by its plan
	KindDeadMissing    = "dead_letters_missing"     // L3: of dead letters
	KindUnverified     = "unverified_after_restart" // the server was restarted, and what it held is not looked at yet
	KindRetention      = "retention_impending"      // L4: the topic will soon drop what has not been read
	KindFrozen         = "frozen_partition"         // records are there and nothing moves, though all is well
	KindQuietSource    = "frozen_source"            // the topic brings nothing, against its own history
	KindStalledSink    = "stalled_sink"             // the pipeline has been waiting for an outside system
	KindViewFailing    = "view_failing"             // a materialized view throws
	KindDeadRate       = "dead_letter_rate"         // more dead letters than usual
	KindClockSkew      = "clock_skew"               // records from the future
	KindLateData       = "late_data"                // records much older than those before them
	KindUnitShift      = "unit_shift"               // a number is a thousand times what it was
	KindWindowSmall    = "dedup_window_small"       // the tables remember tokens for less long than an insert may take
	KindReplicaLags    = "lagging_replica"          // the replica that is asked is behind the others
)

// Mended says that the cause of a finding is gone.
type Mended struct {
	Key waybill.FindingKey
	How string
}

// Said is what detectors come to.
type Said struct {
	Found  []waybill.Finding
	Mended []Mended
}

func (s *Said) found(f waybill.Finding) { s.Found = append(s.Found, f) }

func (s *Said) mended(key waybill.FindingKey, how string) {
	s.Mended = append(s.Mended, Mended{key, how})
}

// Add takes over what others have said.
func (s *Said) Add(more Said) {
	s.Found, s.Mended = append(s.Found, more.Found...), append(s.Mended, more.Mended...)
}

// state of one finding: is it open, and what was said of it last.
type state struct {
	open bool
	said string
}

// states are those of a detector's findings, by key.
type states map[waybill.FindingKey]*state

// tell says that f holds, if that is new or its signature has changed.
func (s states) tell(out *Said, f waybill.Finding, signature string) {
	st := s[f.Key()]
	if st == nil {
		st = &state{}
		s[f.Key()] = st
	}
	if st.open && st.said == signature {
		return
	}
	st.open, st.said = true, signature
	out.found(f)
}

// clear says that a finding of this key is over. It says so once even if none is known: one that an earlier worker has left open is closed by that.
func (s states) clear(out *Said, key waybill.FindingKey, how string) {
	st := s[key]
	if st != nil && !st.open {
		return
	}
	s[key] = &state{}
	out.mended(key, how)
}

// forget drops what is known of a partition: somebody else looks after it.
func (s states) forget(tp waybill.TopicPartition) {
	for key := range s {
		if key.TopicPartition == tp {
			delete(s, key)
		}
	}
}

// keys in order.
func sortedKeys[V any](m map[waybill.TopicPartition]V) []waybill.TopicPartition {
	out := make([]waybill.TopicPartition, 0, len(m))
	for tp := range m {
		out = append(out, tp)
	}
	slices.SortFunc(out, waybill.TopicPartition.Compare)
	return out
}
