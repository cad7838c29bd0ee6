package delivery

import "github.com/waybill-data/waybill"

// Op numbers an effect that expects an answer. An answer to an Op that the machine no longer waits
// for (it has left the group since, say) is dropped.
type Op uint64

// Instance is one assignment of one partition to this worker. The engine draws a fresh number in the
// on-assigned callback and reports the death of the old one before on-revoked or on-lost returns.
type Instance uint64

// WorkID names a work within one machine.
type WorkID uint64

// Held is a partition under one assignment.
type Held struct {
	waybill.TopicPartition
	Instance Instance
}

// Tally is what became of the records of one span. Rows and Dead are disjoint; all other records are
// only counted.
type Tally struct {
	Read       int64             // records that Kafka delivered (control records not counted)
	Rows       waybill.OffsetSet // to be written to the target
	Dead       waybill.OffsetSet // rejected by decoding
	Filtered   int64
	Tombstones int64
	// Lost is the number of offsets that were gone before they could be read.
	Lost int64
	// Rescued are those of the rows that have values in the rescue column; Redacted counts records with values that redaction changed.
	// They are counted beside the others, which add up without them.
	Rescued  waybill.OffsetSet
	Redacted int64
}

// LedgerRow is the content of one ledger row; it is a function of the batch and of what became of its
// records, never of who writes it or when.
type LedgerRow struct {
	waybill.BatchSpan
	// TopicID is the first half of the id of the topic that the span was read from: offsets of a topic
	// that was deleted and created again are told from the old ones by it.
	TopicID                                         [8]byte
	Read, Written, Dead, Filtered, Tombstones, Lost int64
	Rescued, Redacted                               int64 // beside them
}

// AccountedPart is a partition's part of a batch that is on the ledger's account.
type AccountedPart struct {
	waybill.BatchSpan
	Rows, Dead waybill.OffsetSet
}

// Event is something that happened to the machine's world.
type Event interface{ event() }

// Events.
type (
	// Assigned: the group gave these partitions to this worker, each under a fresh instance.
	Assigned struct{ Parts []Held }
	// Revoked: these assignments are over (revoked or lost). To be applied before the client's callback
	// returns.
	Revoked struct{ Parts []Held }
	// OffsetsFetched answers FetchOffsets. A non-nil Err means: try again.
	OffsetsFetched struct {
		Op        Op
		Positions []Position
		Err       error
	}
	// StartResolved answers ResolveStart with the offset to begin at.
	StartResolved struct {
		Op     Op
		Offset int64
		Err    error
	}
	// Gathered hands in a closed batch. Spans[i] is held under Instances[i]; Tallies[i] says what its
	// records became. The answer is among the effects: either nothing is dropped, or Drop with
	// Gather effects that say where to begin again.
	Gathered struct {
		Batch     *waybill.Batch
		Instances []Instance
		Tallies   []Tally
		Work      WorkID // drawn with Machine.NewWork
	}
	// CommitAnswered answers Commit. Unknown: the outcome is not known. Otherwise Errs holds the
	// partitions that were refused; a partition that is not in it was accepted. NotSent: nothing left
	// this worker, whatever was built.
	CommitAnswered struct {
		Op      Op
		Unknown bool
		NotSent bool
		Errs    map[waybill.TopicPartition]error
	}
	// Rebuilt answers Rebuild. Tallies are in the order of Spans. Refused are rows that a durable
	// decision has already turned into dead letters. Foreign: another version of the decoder has gathered
	// the batch, or has been at it since, so that the tallies say what this one would make of the records, and not what became of those
	// that have been placed.
	Rebuilt struct {
		Op        Op
		Foreign   bool
		Tallies   []Tally
		Checksums []uint64
		Refused   RowSet
		Err       error
	}
	// ReadBackDone answers ReadBack with the rows that the store holds within the spans asked for.
	ReadBackDone struct {
		Op      Op
		Present RowSet
		Err     error
	}
	// SendAnswered answers Send.
	SendAnswered struct {
		Op     Op
		Answer Answer
		// Landed are the rows that have, of a Send to several tables that did not land as a whole. Where nothing is read back they
		// are not sent again.
		Landed RowSet
		Err    error // the server's words, unless Landed or Deduplicated
	}
	// Claimed answers Claim with every refusal on record for the batch.
	Claimed struct {
		Op      Op
		Refused RowSet
		Err     error
	}
	// Probed answers Probe with the rows that the table would refuse, of which there may be more if there
	// are more than Limit. Unable: no copy of the table can be had.
	Probed struct {
		Op      Op
		Refused RowSet
		Unable  bool
		Err     error
	}
	// WindowProved answers ProveWindow: Inside only if T of the batch is provably remembered by the
	// target and by every table behind its views.
	WindowProved struct {
		Op     Op
		Inside bool
		Err    error
	}
	// TailChecked answers CheckTail with the offsets at or past From that are in the target or among
	// the dead letters.
	TailChecked struct {
		Op      Op
		Present waybill.OffsetSet
		Err     error
	}
	// Failed: the engine met something that only a person can mend.
	Failed struct{ Err error }
)

// Answer is what came of one Send.
type Answer uint8

const (
	// Landed: answered OK and no block was deduplicated.
	Landed Answer = iota
	// Deduplicated: answered OK, but some block was dropped as known, or one cannot tell.
	Deduplicated
	// NoAnswer: silence, a broken connection, or a server error that can heal. Rows may have landed.
	NoAnswer
	// Refused: the table refuses the block because of some row. A view that throws is not that but
	// NoAnswer: the rows may have landed, and the token may be used, so that a refusal says nothing about
	// the rows.
	Refused
	// Impossible: the server will never take this block: column or table missing, no grant.
	Impossible
	// NotSent: the lease had run out; nothing left this worker.
	NotSent
	// Fenced: the table takes no rows of the batch's epoch. Nothing is wrong with the rows, and nothing of the request landed.
	Fenced
)

var answerNames = [...]string{"landed", "deduplicated", "no-answer", "refused", "impossible", "not-sent", "fenced"}

func (a Answer) String() string { return answerNames[a] }

// Position is what Kafka and the ledger say about one assigned partition.
type Position struct {
	Held
	// Committed is the group's offset, -1 if it has none.
	Committed int64
	Metadata  string
	TopicID   [8]byte // of the topic as it is now
	// Tip is the end of the ledger's gapless prefix under this pipeline's epoch, -1 if the ledger has no
	// row of this partition.
	Tip int64
	// LedgerTopicID is LedgerRow.TopicID of the ledger's newest row of this topic, in whatever partition,
	// under this pipeline's epoch; zero if there is none.
	LedgerTopicID [8]byte
	// OldTip is the same under the epoch that Metadata names, if that differs; -1 otherwise.
	OldTip int64
	// Succeeded: the epoch that Metadata names is a later one than this pipeline's, and on record as a table's.
	Succeeded bool
}

// Effect is something the machine wants done.
type Effect interface{ effect() }

// Effects. Attempt counts failures in a row; the engine waits accordingly before it performs.
type (
	// FetchOffsets: read the group's committed offsets and metadata and the ledger's tips.
	FetchOffsets struct {
		Op      Op
		Parts   []Held
		Attempt int
	}
	// ResolveStart: a partition without a committed offset and without a ledger; where does it begin?
	ResolveStart struct {
		Op      Op
		Part    Held
		Attempt int
	}
	// Gather: begin (or begin again) to gather this partition at Offset.
	Gather struct {
		Part   Held
		Offset int64
	}
	// Commit: send an offset commit. Its content is built by Machine.BuildCommit at the moment the
	// request is built, after the member's generation has been read into it.
	Commit struct {
		Op      Op
		Attempt int
	}
	// Rebuild: read the spans again and decode them under the batch's recorded plan and time.
	Rebuild struct {
		Op      Op
		Work    WorkID
		Batch   *waybill.Batch // with the spans that are held
		Attempt int
	}
	// ReadBack: which rows of these spans does the store hold? Must be linearizable. For the ledger a
	// row is present if one with that first offset is. With Wait, first wait until no insert that was
	// sent before now can arrive any more: what is absent then will be counted as lost.
	ReadBack struct {
		Op      Op
		Work    WorkID
		Store   waybill.Store
		Batch   *waybill.Batch
		Spans   map[waybill.TopicPartition]waybill.Span
		Wait    bool
		Attempt int
	}
	// Send: insert these rows as one block under one token, if the lease holds.
	Send struct {
		Op      Op
		Work    WorkID
		Store   waybill.Store
		Batch   *waybill.Batch
		Token   waybill.Token
		K       int // Token's place in the chain
		Rows    RowSet
		Ledger  []LedgerRow // for the ledger: the rows' content
		Attempt int
	}
	// Claim: make durable that these rows are refused by the server and become dead letters.
	Claim struct {
		Op      Op
		Work    WorkID
		Batch   *waybill.Batch
		Rows    RowSet
		Attempt int
	}
	// Probe: which of these rows does the table refuse? To be found out on an empty copy of the table, so
	// that neither its rows nor its tokens are touched: in the table itself every half that lands uses up
	// a place in the chain that all other halves have to climb past.
	Probe struct {
		Op      Op
		Work    WorkID
		Batch   *waybill.Batch
		Rows    RowSet
		Limit   int64 // refused rows beyond it need not be found
		Attempt int
	}
	// ProveWindow: is the batch's token provably inside the window of the target and of every view's table?
	ProveWindow struct {
		Op      Op
		Work    WorkID
		Batch   *waybill.Batch
		Attempt int
	}
	// CheckTail: which offsets at or past From are in the target or the dead letters? With Wait, first
	// wait until no insert that was sent before now can arrive any more.
	CheckTail struct {
		Op      Op
		Part    Held
		From    int64
		Wait    bool
		Attempt int
	}
	// Drop: the data of this work is needed no longer. Settled says that it ended as it should.
	Drop struct {
		Work    WorkID
		Settled bool
	}
	// Settled: the committed offset of a partition has moved (for metrics and status).
	Settled struct {
		Part   Held
		Offset int64
	}
	// Accounted: the ledger has its rows for these parts of the batch (for whoever checks that what it says is so). The sets do not change
	// any more.
	Accounted struct {
		Work  WorkID
		Batch *waybill.Batch
		Parts []AccountedPart
	}
	// Report: a person should know.
	Report struct{ Finding waybill.Finding }
	// Leave: leave the group, forget, rejoin. All instances are dead. Anew: the epoch of this machine is over; look which it is now.
	Leave struct {
		Reason string
		Anew   bool
	}
	// Stop: this pipeline can't go on without a person.
	Stop struct{ Err error }
)

func (Assigned) event()       {}
func (Revoked) event()        {}
func (OffsetsFetched) event() {}
func (StartResolved) event()  {}
func (Gathered) event()       {}
func (CommitAnswered) event() {}
func (Rebuilt) event()        {}
func (ReadBackDone) event()   {}
func (SendAnswered) event()   {}
func (Claimed) event()        {}
func (Probed) event()         {}
func (WindowProved) event()   {}
func (TailChecked) event()    {}
func (Failed) event()         {}

func (FetchOffsets) effect() {}
func (ResolveStart) effect() {}
func (Gather) effect()       {}
func (Commit) effect()       {}
func (Rebuild) effect()      {}
func (ReadBack) effect()     {}
func (Send) effect()         {}
func (Claim) effect()        {}
func (Probe) effect()        {}
func (ProveWindow) effect()  {}
func (CheckTail) effect()    {}
func (Drop) effect()         {}
func (Settled) effect()      {}
func (Accounted) effect()    {}
func (Report) effect()       {}
func (Leave) effect()        {}
func (Stop) effect()         {}
