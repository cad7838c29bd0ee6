package delivery

import "fmt"

// Stage is where a work stands.
type Stage uint8

const (
	// StageGathered: the batch is closed; nothing of it has left this worker. It may still be dropped.
	StageGathered Stage = iota
	// StageIntending: its intent is in the commit that is outstanding.
	StageIntending
	// StageRebuilding: found in a predecessor's string; its records are being read again.
	StageRebuilding
	// StageLanding: its rows are being placed in the target.
	StageLanding
	// StageClaiming: rows that the server refuses are being put on record.
	StageClaiming
	// StageDeadLetters: its dead letters are being placed.
	StageDeadLetters
	// StageQueued: it waits for earlier batches of its partitions to enter the ledger.
	StageQueued
	// StageLedger: its ledger rows are being placed.
	StageLedger
	// StageFinished: proven; the committed offset may pass it.
	StageFinished
	// StageGone: settled or dropped.
	StageGone
)

var stageNames = [...]string{"gathered", "intending", "rebuilding", "landing", "claiming", "dead-letters", "queued", "ledger", "finished", "gone"}

func (s Stage) String() string { return stageNames[s] }

// Stages lists every stage, for the simulator's matrix.
func Stages() []Stage {
	out := make([]Stage, 0, len(stageNames))
	for s := StageGathered; s <= StageGone; s++ {
		out = append(out, s)
	}
	return out
}

// moves is the table of legal moves. What is not in it is a bug.
var moves = map[Stage][]Stage{
	StageGathered:    {StageIntending, StageLanding /* at-least-once */, StageGone},
	StageIntending:   {StageLanding, StageGathered /* certainly not applied */, StageGone},
	StageRebuilding:  {StageLanding, StageFinished /* the ledger has it */, StageGone},
	StageLanding:     {StageClaiming, StageDeadLetters, StageGone},
	StageClaiming:    {StageLanding, StageDeadLetters, StageGone},
	StageDeadLetters: {StageQueued, StageGone},
	StageQueued:      {StageLedger, StageGone},
	StageLedger:      {StageFinished, StageGone},
	StageFinished:    {StageGone},
}

func (w *work) to(s Stage) error {
	for _, legal := range moves[w.stage] {
		if legal == s {
			w.stage = s
			return nil
		}
	}
	return fmt.Errorf("illegal move of batch %s from %s to %s", w.batch.ID.Short(), w.stage, s)
}
