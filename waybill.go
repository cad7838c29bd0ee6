// Package waybill holds the words that every stage of Waybill speaks: records, spans, batches,
// tokens, outcomes and errors. It does no I/O and knows neither Kafka's nor ClickHouse's client.
//
// Waybill reads events from Kafka topics and puts each of them into ClickHouse tables exactly once,
// or says on record why it did not.
package waybill

import (
	"cmp"
	"fmt"
	"time"
)

// TopicPartition names one partition of one topic.
type TopicPartition struct {
	Topic     string
	Partition int32
}

func (tp TopicPartition) String() string { return fmt.Sprintf("%s/%d", tp.Topic, tp.Partition) }

// Compare orders by topic, then by partition.
func (tp TopicPartition) Compare(o TopicPartition) int {
	if c := cmp.Compare(tp.Topic, o.Topic); c != 0 {
		return c
	}
	return cmp.Compare(tp.Partition, o.Partition)
}

// Span is the half-open range of offsets [First, Next) of one partition.
type Span struct {
	First int64 `json:"first"`
	Next  int64 `json:"next"`
}

// Len is the number of offsets covered, holes included.
func (s Span) Len() int64 { return s.Next - s.First }

// Contains reports whether offset o lies in the span.
func (s Span) Contains(o int64) bool { return s.First <= o && o < s.Next }

func (s Span) String() string { return fmt.Sprintf("[%d,%d)", s.First, s.Next) }

// Header is one Kafka record header.
type Header struct {
	Key   string
	Value []byte
}

// Record is one Kafka record as the stages see it. Key, Value and Headers alias the fetch buffer:
// a stage that keeps them past its call copies them.
type Record struct {
	Topic       string
	Partition   int32
	Offset      int64
	LeaderEpoch int32
	// Time is the record's timestamp, milliseconds since the Unix epoch, as Kafka has it.
	Time int64
	// Appended: Time is when the broker appended the record (LogAppendTime), not what its producer said (CreateTime).
	Appended bool
	Key      []byte
	Value    []byte // nil for a tombstone, empty for an empty value
	Headers  []Header
	// Version of the event, where it names none itself: what an archive kept of it is of the version that was current then; else empty.
	Version string
	// NotKept: Value is not the record's, but size and hash of one that could not be redacted when the record was archived.
	NotKept bool
	// Control marks a transaction marker: it covers an offset and carries nothing.
	Control bool
}

// TopicPartition of the record.
func (r *Record) TopicPartition() TopicPartition { return TopicPartition{r.Topic, r.Partition} }

// Position locates something in the source. Offset -1 means "not about one offset".
type Position struct {
	Topic     string
	Partition int32
	Offset    int64
}

func (p Position) String() string {
	switch {
	case p.Topic == "":
		return ""
	case p.Partition < 0:
		return p.Topic
	case p.Offset < 0:
		return fmt.Sprintf("%s/%d", p.Topic, p.Partition)
	}
	return fmt.Sprintf("%s/%d@%d", p.Topic, p.Partition, p.Offset)
}

// Millis converts a time to the milliseconds since the Unix epoch used in intents and ledger rows.
func Millis(t time.Time) int64 { return t.UnixMilli() }
