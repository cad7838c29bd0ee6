package sim

import (
	"math/rand/v2"

	"github.com/waybill-data/waybill"
	"github.com/waybill-data/waybill/internal/delivery"
)

// Mutants of the performer: each takes back a rule about how effects are carried out.
const (
	// MutantLaggingReadBack reads from a replica that is seconds behind.
	MutantLaggingReadBack delivery.Mutant = "lagging-read-back"
	// MutantLedgerByNow puts ledger rows into the table partition of the moment of sending.
	MutantLedgerByNow delivery.Mutant = "ledger-keyed-by-now"
	// MutantNoLease sends without a lease and without a deadline, while tokens leave the window early.
	MutantNoLease delivery.Mutant = "no-lease-no-deadline"
	// MutantTwoBlocks lets the server cut the block in two under one token.
	MutantTwoBlocks delivery.Mutant = "two-blocks-under-one-token"
	// MutantOneAnswerForAll takes the first answer of several tables for that of all.
	MutantOneAnswerForAll delivery.Mutant = "one-answer-for-all-tables"
)

var performerMutants = []delivery.Mutant{MutantLaggingReadBack, MutantLedgerByNow, MutantNoLease, MutantTwoBlocks, MutantOneAnswerForAll,
	MutantNoFence, MutantOneName, MutantEarlyV, MutantLateV, MutantForeignV, MutantKeepBehindV, MutantLateGeneration, MutantEpochReused}

// Control is a negative control: a mutant, and the faults and the shape of the pipeline under which it
// does harm. The real rules stay clean under the same.
type Control struct {
	Mutant delivery.Mutant
	Mix    Mix
}

// Controls are all the mutants.
func Controls() []Control {
	landing := []string{"commit-sent", "decided target", "sent target", "slice target"}
	inserting := []FaultKind{Move, Move, DelayInsert, SlowInsert, DropInsertReply, DropCommitReply}
	return []Control{
		{delivery.MutantAbandonAfterIntent, Mix{Kinds: []FaultKind{Move}, Points: landing}},
		{delivery.MutantHalfIntent, Mix{Kinds: []FaultKind{Move, DropCommitReply, FailCommit, Crash}, Points: []string{"gathered", "commit-built", "decided target"}, shape: wide}},
		{delivery.MutantPartialIntent, Mix{Kinds: []FaultKind{FailCommit, Crash, Move}, Points: landing}},
		{delivery.MutantSendBeforeReadBack, Mix{}},
		{delivery.MutantRandomRepairToken, Mix{script: swallowAndMove, shape: wide}},
		{delivery.MutantAdvanceUnanswered, Mix{Kinds: inserting}},
		{delivery.MutantTrustDeduplicated, Mix{Kinds: []FaultKind{Swallow, Crash, Move, Pause}}},
		{delivery.MutantTwoCommits, Mix{Kinds: []FaultKind{DelayCommit, DropCommitReply, Crash, Move}}},
		{delivery.MutantFormerOwner, Mix{Kinds: []FaultKind{Move, DropInsertReply, SlowInsert}, Points: []string{"sent ledger", "slice ledger", "answered target"}}},
		{delivery.MutantDropFinished, Mix{Kinds: []FaultKind{Crash, Move, DropInsertReply, DelayInsert, DropCommitReply}, shape: deep}},
		{delivery.MutantLedgerDisorder, Mix{Kinds: []FaultKind{Crash, Move, DropInsertReply, DelayInsert, ExpireOffsets}, shape: deep}},
		{delivery.MutantNoTailCheck, Mix{Kinds: []FaultKind{ExpireOffsets, AdminSet, WipeMetadata, LoseOffsets, Move, Crash}}},
		{delivery.MutantSameEpoch, Mix{Kinds: []FaultKind{RecreateTopic, Move, Crash}}},
		{MutantLaggingReadBack, Mix{Kinds: []FaultKind{Crash, Move, DropInsertReply, Swallow}}},
		{MutantLedgerByNow, Mix{script: lateLedger}},
		{MutantNoLease, Mix{script: zombieAndEviction}},
		{MutantTwoBlocks, Mix{script: slowAndMove, shape: wide}},
		{delivery.MutantCarrySuperseded, HandoverMix()},
		{MutantNoFence, HandoverMix()},
		{MutantOneName, HandoverMix()},
		{MutantEarlyV, HandoverMix()},
		{MutantLateV, HandoverMix()},
		{MutantForeignV, HandoverMix()},
		{MutantKeepBehindV, HandoverMix()},
		{MutantLateGeneration, HandoverMix()},
		{MutantEpochReused, HandoverMix()},
		{MutantOneAnswerForAll, Mix{Kinds: []FaultKind{DropInsertReply, DropInsertRequest, DelayInsert, Move}, shape: routed}},
	}
}

func wide(l *layout) { l.workers, l.partitions, l.tablePartitions, l.inFlight = 2, 4, 3, 4 }

func routed(l *layout) { l.tables = 3 }

func deep(l *layout) { l.inFlight, l.poison = 4, 4 }

// swallowAndMove: a token without rows, and a second recoverer before the first has mended that.
func swallowAndMove(rng *rand.Rand, l layout) []Fault {
	var out []Fault
	for range 3 {
		at := int64(1_000 + rng.IntN(int(l.producing)))
		for n := range l.tablePartitions {
			out = append(out, Fault{At: at, Kind: Swallow, Store: waybill.StoreTarget, Partition: int32(n)})
		}
		for n := range l.partitions {
			out = append(out, Fault{At: at, Kind: Move, Partition: int32(n), Worker: 1 + rng.IntN(l.workers), After: "answered target"})
		}
		out = append(out, Fault{At: at, Kind: SlowInsert, Partition: -1, Store: waybill.StoreTarget, For: 5_000})
		for range 4 {
			out = append(out, Fault{At: at + int64(rng.IntN(2_000)), Kind: DelayInsert, Partition: -1, Store: waybill.StoreTarget})
		}
	}
	return out
}

// lateLedger: ledger rows arrive late, when their partitions have a new owner.
func lateLedger(rng *rand.Rand, l layout) []Fault {
	var out []Fault
	for range 6 {
		at := int64(1_000 + rng.IntN(int(l.producing)))
		out = append(out, Fault{At: at, Kind: DelayInsert, Partition: -1, Store: waybill.StoreLedger})
		for n := range l.partitions {
			out = append(out, Fault{At: at, Kind: Move, Partition: int32(n), Worker: 1 + rng.IntN(l.workers), After: "sent ledger"})
		}
	}
	return out
}

// slowAndMove: inserts take their time between slices, and partitions move meanwhile.
func slowAndMove(rng *rand.Rand, l layout) []Fault {
	out := []Fault{{At: 500, Kind: SlowInsert, Partition: -1, Store: waybill.StoreTarget, For: l.producing}}
	for range 12 {
		at := int64(1_000 + rng.IntN(int(l.producing)))
		out = append(out, Fault{At: at, Kind: Move, Partition: int32(rng.IntN(l.partitions)), Worker: 1 + rng.IntN(l.workers), After: "sent target"},
			Fault{At: at, Kind: DelayInsert, Partition: -1, Store: waybill.StoreTarget})
	}
	return out
}

// zombieAndEviction: a worker stands still between the check of its lease and the send, others carry
// its batches out, and the tokens are forgotten before it wakes.
func zombieAndEviction(rng *rand.Rand, l layout) []Fault {
	at := int64(2_000 + rng.IntN(int(l.producing)-2_000))
	w := 1 + rng.IntN(l.workers)
	return []Fault{
		{At: at, Kind: Pause, Worker: w, Partition: -1, For: 20_000, After: "decided target"},
		{At: at + 18_000, Kind: Evict, Partition: -1, Store: waybill.StoreTarget},
	}
}

// ControlOf finds a mutant's control.
func ControlOf(m delivery.Mutant) (Control, bool) {
	for _, c := range Controls() {
		if c.Mutant == m {
			return c, true
		}
	}
	return Control{}, false
}
