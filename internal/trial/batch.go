package trial

import (
	"slices"

	"github.com/waybill-data/waybill"
	"github.com/waybill-data/waybill/internal/contract"
	decode "github.com/waybill-data/waybill/internal/decode/json"
)

// Setting is a pipeline and a table, without a server.
type Setting struct {
	Target
	Lineage contract.Lineage // of the table
	Epoch   waybill.Epoch
	Secret  []byte // the key of redaction's hashes
}

// Batch takes records as a worker takes a batch: where the contract says evolve, the table is changed, in memory, for what the batch
// carries, the plan is compiled anew from it, and the same records are taken again, until they ask for no further change. It returns a
// line for each record (see AppendOutcome), and the summary of the last round, whose Changes are those of all rounds.
func (s Setting) Batch(records []waybill.Record, lineage bool) (lines [][]byte, sum Summary, err error) {
	made := []Change{}
	for {
		plan, err := contract.Compile(s.Contract, s.Schema, s.Lineage, decode.Version)
		if err != nil {
			return nil, Summary{}, err
		}
		t, err := New(plan, s.Secret, s.Epoch)
		if err != nil {
			return nil, Summary{}, err
		}
		lines = lines[:0]
		for i := range records {
			lines = append(lines, t.AppendOutcome(nil, t.Take(&records[i]), lineage))
		}
		var e contract.Evolution
		sum, e = t.summary(s.Target)
		made = append(made, sum.Changes...)
		sum.Changes = made
		after := s.Schema.With(e.Changes)
		if slices.Equal(after.Columns, s.Schema.Columns) {
			return lines, sum, nil
		}
		s.Schema = after
	}
}
