package engine

import (
	"fmt"
	"strings"

	"github.com/waybill-data/waybill"
	"github.com/waybill-data/waybill/internal/config"
	"github.com/waybill-data/waybill/internal/contract"
	"github.com/waybill-data/waybill/internal/delivery"
)

// BlankLimit is how many blank events in a row are no accident.
const BlankLimit = 100

// blanks is a run of batches in which every event is blank: no column was filled from any of them. Whoever reads the table would see rows, and
// nothing in them. It looks at whole batches before they are promised, and can stop the pipeline; that some events of many are blank
// is seen by the drift monitor, of what has settled (drift.FindingBlank, which is silent about windows that are blank altogether).
type blanks struct {
	run     int64 // events
	told    bool  // there is a finding on the run
	matched bool  // an event has filled a column, in this life or one before: that few do not is nothing that has to be said at once
}

// take says of a batch's rows, and how many of them are blank, whether the pipeline must stop, and whether there is something to tell.
func (b *blanks) take(rows, blank int64, policy config.OnBlank) (stop, tell bool) {
	if rows == 0 {
		return false, false // neither one nor the other
	}
	if blank < rows {
		*b = blanks{matched: true}
		return false, false
	}
	b.run += blank
	stop = b.run >= BlankLimit && policy != config.BlankContinue
	tell = stop || !b.told && (b.run >= BlankLimit || !b.matched)
	b.told = b.told || tell
	return stop, tell
}

// isBlank stops the pipeline before a batch that goes on a run of blank events in one of its tables. It is false if the batch may go.
func (g *gatherer) isBlank() bool {
	for i := range g.open.tables {
		if g.isBlankFor(i) {
			return true
		}
	}
	return false
}

func (g *gatherer) isBlankFor(table int) bool {
	d, p := g.open, g.l.p
	rows, blanks := &d.tables[table], &p.blanks[table]
	matched := blanks.matched && !blanks.told
	stop, tell := blanks.take(rows.count, rows.blank, p.cfg.OnBlank)
	if blanks.matched && !matched { // for the first time, or again
		p.mended(waybill.FindingKey{Kind: "all_blank", TopicPartition: waybill.TopicPartition{Topic: d.spans[0].Topic, Partition: -1}, Subject: p.target.tables[table].name()},
			"events fill columns")
	}
	if !tell {
		return false
	}
	f := waybill.Finding{Kind: "all_blank", Severity: waybill.SeverityWarning, TopicPartition: waybill.TopicPartition{Topic: d.spans[0].Topic, Partition: -1}, Subject: p.target.tables[table].name(),
		Evidence: fmt.Sprintf(`{"partition":%d,"first":%d,"next":%d}`, d.spans[0].Partition, d.spans[0].First, d.spans[0].Next),
		Message:  fmt.Sprintf("none of the last %d events for table %s has any of the contract's fields; what they do have: %s", blanks.run, p.target.tables[table].name(), fields(rows.notes.Drift)),
		Action:   "correct `from` in the contract; their rows are blank, and go to the table as on_blank: continue says"}
	if p.cfg.OnBlank != config.BlankContinue {
		f.Action = fmt.Sprintf("correct `from` in the contract, or say on_blank: continue; %d of them in a row stop the pipeline", BlankLimit)
	}
	if stop {
		f.Severity = waybill.SeverityError
	}
	p.found(f)
	if !stop {
		return false
	}
	g.l.step(delivery.Failed{Err: &waybill.Error{Op: "engine.gather", Pipeline: p.cfg.Name, Class: waybill.ClassConfig,
		Position: waybill.Position{Topic: d.spans[0].Topic, Partition: d.spans[0].Partition, Offset: d.spans[0].First},
		Err:      fmt.Errorf("%s", f.Message), Hint: f.Action}})
	return true
}

// fields names some of the fields that events have.
func fields(drift []contract.FieldDrift) string {
	var names []string
	for i := range drift {
		if len(names) == 10 {
			names = append(names, "...")
			break
		}
		names = append(names, drift[i].Path)
	}
	if len(names) == 0 {
		return "nothing"
	}
	return strings.Join(names, ", ")
}
