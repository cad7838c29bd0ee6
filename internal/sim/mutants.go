package sim

import "github.com/waybill-data/waybill/internal/delivery"

// Mutants of the performer: each takes back a rule about how effects are carried out.
const (
	MutantLaggingReadBack delivery.Mutant = "lagging-read-back"
	MutantLedgerByNow     delivery.Mutant = "ledger-keyed-by-now"
	MutantNoLease         delivery.Mutant = "no-lease-no-deadline"
	MutantTwoBlocks       delivery.Mutant = "two-blocks-under-one-token"
)

var performerMutants = []delivery.Mutant{MutantLaggingReadBack, MutantLedgerByNow, MutantNoLease, MutantTwoBlocks}
