package delivery

// Mutant takes one rule of the protocol back. The simulator's negative controls run with mutants to
// show that its oracles can fail; the zero value, no mutant, is the protocol. Mutants that concern how
// effects are performed (lease, deadline, lagging reads) live in the simulator itself.
type Mutant string

// The mutants of the machine.
const (
	MutantNone               Mutant = ""
	MutantAbandonAfterIntent Mutant = "abandon-after-intent"
	// MutantHalfIntent also sends the rows of partitions that were lost: without them, half an intent does
	// no harm.
	MutantHalfIntent         Mutant = "half-intent"
	MutantPartialIntent      Mutant = "intent-counted-with-partition-refused"
	MutantSendBeforeReadBack Mutant = "send-before-read-back"
	MutantRandomRepairToken  Mutant = "random-repair-tokens"
	MutantAdvanceUnanswered  Mutant = "chain-advanced-without-answer"
	MutantTrustDeduplicated  Mutant = "deduplicated-trusted"
	MutantTwoCommits         Mutant = "two-commits-outstanding"
	MutantFormerOwner        Mutant = "settle-by-former-owner"
	// MutantDropFinished lifts the order of ledger rows as well: with it, nothing is finished behind
	// something unfinished, and there is nothing to drop.
	MutantDropFinished   Mutant = "finished-dropped-from-string"
	MutantLedgerDisorder Mutant = "ledger-out-of-order"
	MutantNoTailCheck    Mutant = "no-tail-check"
	MutantSameEpoch      Mutant = "epoch-not-bumped"
	// MutantCarrySuperseded carries what is pending of an epoch that is over out under the one that has followed it.
	MutantCarrySuperseded Mutant = "superseded-carried-out"
)
