package engine

import (
	"slices"

	"github.com/waybill-data/waybill"
	"github.com/waybill-data/waybill/internal/column"
	"github.com/waybill-data/waybill/internal/decode/json"
	"github.com/waybill-data/waybill/internal/delivery"
)

// data is what a work of the delivery machine is about: the decoded rows and the dead letters of one
// batch. The gatherer (or a rebuild) fills it alone; from the moment it is in worker.data it is read only.
type data struct {
	batch *waybill.Batch
	block *column.Block
	rows  []row // of block, in the block's order
	dead  []rejected
	spans []*spanData // sorted by partition
	bytes int64       // of records as Kafka has them: what is taken from the budget
	notes notes
}

// notes are what decoding did beside making rows, to be counted once the batch is settled: a batch that
// is dropped is gathered again.
type notes struct {
	discarded map[string]int64         // values that no column takes, by path
	defaulted map[string]json.Defaults // by column
	rounded   map[string]int64         // moments that lost digits, by column
}

// takeNotes moves the decoder's counts to the batch that it has just decoded.
func (d *data) takeNotes(dec *json.Decoder) {
	d.notes = notes{discarded: dec.Unmapped(), defaulted: dec.Defaulted(), rounded: dec.Rounded()}
}

// row says which record a row of the block came from.
type row struct {
	span   int32 // index into spans as they were opened, see spanData.index
	offset int64
}

// rejected is a record that does not fit the contract. The record owns its bytes.
type rejected struct {
	record waybill.Record
	reject json.Reject
}

// spanData is one partition's part of a batch while it is gathered.
type spanData struct {
	waybill.BatchSpan
	index       int32
	instance    delivery.Instance
	tally       delivery.Tally
	leaderEpoch int32 // of the last record
	bytes       int64
}

func newData(block *column.Block) *data { return &data{block: block} }

// span finds or opens the part of tp, which begins at first.
func (d *data) span(tp waybill.TopicPartition, instance delivery.Instance, first int64) *spanData {
	for _, s := range d.spans {
		if s.TopicPartition == tp {
			return s
		}
	}
	s := &spanData{BatchSpan: waybill.BatchSpan{TopicPartition: tp, Span: waybill.Span{First: first, Next: first}},
		index: int32(len(d.spans)), instance: instance, leaderEpoch: -1} //nolint:gosec // a batch has fewer than 2^31 partitions
	d.spans = append(d.spans, s)
	return s
}

// covered is how many offsets the batch spans, holes included.
func (d *data) covered() int64 {
	var n int64
	for _, s := range d.spans {
		n += s.Next - s.First
	}
	return n
}

// add decodes one record into the batch.
func (d *data) add(dec *json.Decoder, epoch waybill.Epoch, s *spanData, r *waybill.Record) {
	s.Next = r.Offset + 1
	s.leaderEpoch = r.LeaderEpoch
	if r.Control {
		return
	}
	s.Count++
	s.Checksum += waybill.RecordChecksum(r)
	s.tally.Read++
	n := int64(len(r.Key) + len(r.Value))
	for i := range r.Headers {
		n += int64(len(r.Headers[i].Key) + len(r.Headers[i].Value))
	}
	s.bytes += n
	d.bytes += n
	out := dec.Decode(r, epoch, d.block)
	switch out.Kind {
	case json.Written:
		d.rows = append(d.rows, row{span: s.index, offset: r.Offset})
		s.tally.Rows.Add(r.Offset)
	case json.Tombstone:
		s.tally.Tombstones++
	case json.Rejected:
		s.tally.Dead.Add(r.Offset)
		d.dead = append(d.dead, rejected{record: own(r), reject: *out.Reject})
	}
}

// own copies what aliases the fetch buffer.
func own(r *waybill.Record) waybill.Record {
	c := *r
	c.Key, c.Value = slices.Clone(r.Key), slices.Clone(r.Value)
	c.Headers = slices.Clone(r.Headers)
	for i := range c.Headers {
		c.Headers[i].Value = slices.Clone(c.Headers[i].Value)
	}
	return c
}

// rejected are the records that decoding rejected; d may be nil.
func (d *data) rejected() []rejected {
	if d == nil {
		return nil
	}
	return d.dead
}

// pick is the block with just the rows asked for; the whole block if that is all of them. It is nil if some
// of them are not there: what a store was seen to hold can be more than its records still tell.
func (d *data) pick(want delivery.RowSet) *column.Block {
	sets := make([]waybill.OffsetSet, len(d.spans))
	for _, s := range d.spans {
		sets[s.index] = want[s.TopicPartition]
	}
	rows := make([]int, 0, min(want.Len(), int64(len(d.rows))))
	for i, r := range d.rows {
		if sets[r.span].Contains(r.offset) {
			rows = append(rows, i)
		}
	}
	switch {
	case int64(len(rows)) != want.Len():
		return nil
	case len(rows) == len(d.rows):
		return d.block
	}
	return d.block.Select(rows)
}
