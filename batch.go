package waybill

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"slices"
)

// BatchID names a batch for ever: 128 random bits, drawn when the batch is gathered and written
// into every intent, token and ledger row of it.
type BatchID [16]byte

func (id BatchID) String() string { return hex.EncodeToString(id[:]) }

// Short is the first 8 hex digits, for people.
func (id BatchID) Short() string { return hex.EncodeToString(id[:4]) }

// Epoch is a pipeline's generation. It is raised when offsets are replayed on purpose or a topic was
// recreated; rows of different epochs are different rows.
type Epoch uint32

// PlanID is the hash of a plan's canonical text (see package contract).
type PlanID uint64

func (p PlanID) String() string { return fmt.Sprintf("%016x", uint64(p)) }

// TableID is a short hash of the target table's full name, carried in intents so that a batch is
// never carried out against another table.
type TableID uint32

// BatchSpan is a batch's part of one partition.
type BatchSpan struct {
	TopicPartition
	Span
	// Count is the number of records that Kafka delivered in the span (control records not counted).
	Count int64
	// Checksum is the order-free sum of RecordChecksum over those records.
	Checksum uint64
}

// Batch is what one worker gathered across its partitions: the unit of insert. It is immutable.
type Batch struct {
	ID      BatchID
	Epoch   Epoch
	Plan    PlanID
	Decoder uint16
	Table   TableID
	// Time is when the batch was closed, in milliseconds since the Unix epoch by the ClickHouse
	// server's clock. All that depends on time in a rebuilt block derives from it.
	Time  int64
	Spans []BatchSpan // sorted by TopicPartition, at most one per partition
}

// Span finds the batch's part of tp.
func (b *Batch) Span(tp TopicPartition) (BatchSpan, bool) {
	i, found := slices.BinarySearchFunc(b.Spans, tp, func(s BatchSpan, tp TopicPartition) int { return s.Compare(tp) })
	if !found {
		return BatchSpan{}, false
	}
	return b.Spans[i], true
}

// Token is a ClickHouse insert deduplication token.
type Token string

// Store names one of the tables that a batch writes to: the target, the dead letters, the ledger.
type Store string

// The stores of a pipeline.
const (
	StoreTarget      Store = "target"
	StoreDeadLetters Store = "dead_letters"
	StoreLedger      Store = "ledger"
)

// TokenVersion is the version of the token derivation; it is the prefix of every token.
const TokenVersion = "wb1"

// ChainToken is T(k) of a batch for one table: T(0) = hash(pipeline, cluster, batch, epoch, table),
// T(k) = hash(T(0), k). All workers derive the same chain, whatever part of the batch they see.
func ChainToken(pipeline, clusterID string, b BatchID, e Epoch, table string, k int) Token {
	h := sha256.New()
	var n [8]byte
	field := func(s string) {
		binary.LittleEndian.PutUint64(n[:], uint64(len(s)))
		h.Write(n[:])
		h.Write([]byte(s))
	}
	field(TokenVersion)
	field(pipeline)
	field(clusterID)
	field(string(b[:]))
	binary.LittleEndian.PutUint64(n[:], uint64(e))
	h.Write(n[:])
	field(table)
	sum := h.Sum(nil)
	if k > 0 {
		h.Reset()
		h.Write(sum)
		binary.LittleEndian.PutUint64(n[:], uint64(k))
		h.Write(n[:])
		sum = h.Sum(nil)
	}
	return Token(fmt.Sprintf("%s-%s-%d", TokenVersion, base64.RawURLEncoding.EncodeToString(sum[:18]), k))
}
