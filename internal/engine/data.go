package engine

import (
	"slices"

	"github.com/waybill-data/waybill"
	"github.com/waybill-data/waybill/internal/column"
	"github.com/waybill-data/waybill/internal/contract"
	"github.com/waybill-data/waybill/internal/deadletter"
	"github.com/waybill-data/waybill/internal/delivery"
	"github.com/waybill-data/waybill/internal/minutes"
	"github.com/waybill-data/waybill/internal/through"
	"github.com/waybill-data/waybill/internal/transform/redact"
	"github.com/waybill-data/waybill/internal/watchdog"
)

// data is what a work of the delivery machine is about: the decoded rows and the dead letters of one
// batch. The gatherer (or a rebuild) fills it alone; from the moment it is in worker.data it is read only.
type data struct {
	batch   *waybill.Batch
	plan    waybill.PlanID // that the block was made for, made in full
	made    *contract.Plan
	tables  []tableData // one for each of the plan's routes
	count   int64       // of rows, in all tables
	dead    []rejected
	spans   []*spanData // in the order in which they were opened, until the batch is closed: then by partition
	bytes   int64       // of records as Kafka has them
	covered int64       // offsets that the spans cover, holes included
	owned   int64       // bytes of dead
	held    int64       // bytes taken from the budget, once it is closed
	peak    int         // the most bytes that the blocks have held before this batch
	// foreseen: room has been made in the blocks, see gatherer.foresee.
	foreseen bool
	redacted []redact.Count // values by rule of redaction
	upcast   int64          // records that were brought to the current version
	assumed  int64          // records of an unknown version that were taken for the current one
	complete int64          // up to when all had been said to be in when the batch was opened, and
	late     int64          // its records whose time is before

	// Guarded by life.mu, once it is in life.data:
	blocks Blocks // of the tables; nil once they are with another batch
	users  int    // effects that are looking at it
	soiled bool   // somebody may still be reading the blocks whom users does not count: see blocks
}

// tableData is a batch's rows in one table.
type tableData struct {
	rows  []run // of the block, in the block's order
	count int64 // of rows
	notes Notes
	blank int64 // rows of which no column was filled from the event
	// sizes are how large the values of its numeric columns are; nil: nobody asked.
	sizes *watchdog.Sample
}

// sampleRows is how many rows of a batch are looked at to see how large its numbers are.
const sampleRows = 200

// sample looks how large the numbers are in the block of a table.
func (t *tableData) sample(name string, b *column.Block) {
	t.sizes = &watchdog.Sample{Table: name}
	for i, c := range b.Columns {
		if column.Numeric(c) {
			t.sizes.Columns = append(t.sizes.Columns, b.Names[i])
		}
	}
	t.sizes.Values = make([]watchdog.Sketch, len(t.sizes.Columns))
	at := 0
	for _, c := range b.Columns {
		if column.Numeric(c) {
			column.Sample(c, sampleRows, &t.sizes.Values[at])
			at++
		}
	}
}

// takeNotes moves the processor's notes to the batch that it has just made rows of. They are counted once the batch is
// settled: a batch that is dropped is gathered again.
func (d *data) takeNotes(proc *Processor) {
	for i, n := range proc.Notes() {
		d.tables[i].notes = n
	}
	d.redacted = proc.Redacted()
}

// run is rows of a block that come from consecutive offsets of one partition.
type run struct {
	span        int32 // index into spans as they were opened, see spanData.index
	first, next int64 // offsets
}

// rejected is a dead letter. The record owns its bytes, and is what may be stored of it.
type rejected struct {
	record waybill.Record
	reason deadletter.Reason
}

// spanData is one partition's part of a batch while it is gathered.
type spanData struct {
	waybill.BatchSpan
	index       int32
	instance    delivery.Instance
	tally       delivery.Tally
	routed      []int64 // rows in each table
	leaderEpoch int32   // of the last record
	bytes       int64
	minutes     minutes.Book
	// byRecordTime are those of the records that are in the minute of their own time, not of their event's.
	byRecordTime int64
	times        through.Times
	// earliest and latest are the records' times in Kafka; 0 if there are none.
	earliest, latest int64
	// erased are offsets whose records were erased, on record: they are left out, as if the filter said so.
	erased waybill.OffsetSet
}

func newData(blocks Blocks) *data {
	return &data{blocks: blocks, tables: make([]tableData, len(blocks))}
}

// open begins the part of a partition that the batch does not have yet, at offset first.
func (d *data) open(tp waybill.TopicPartition, instance delivery.Instance, first int64) *spanData {
	s := &spanData{BatchSpan: waybill.BatchSpan{TopicPartition: tp, Span: waybill.Span{First: first, Next: first}},
		index: int32(len(d.spans)), instance: instance, routed: make([]int64, len(d.tables)), leaderEpoch: -1, times: noTimes()} //nolint:gosec // a batch has fewer than 2^31 partitions
	d.spans = append(d.spans, s)
	return s
}

// size is about how many bytes the batch takes in memory.
func (d *data) size() int64 {
	const runSize, spanSize = 24, 200
	n := int64(d.blocks.Size()) + d.owned + int64(len(d.spans))*spanSize
	for i := range d.tables {
		n += int64(len(d.tables[i].rows)) * runSize
	}
	for _, s := range d.spans {
		n += s.minutes.Size()
	}
	return n
}

// reach moves the end of a part.
func (d *data) reach(s *spanData, next int64) {
	d.covered += next - s.Next
	s.Next = next
}

// add takes one record into the batch.
func (d *data) add(proc *Processor, epoch waybill.Epoch, s *spanData, r *waybill.Record) {
	d.reach(s, r.Offset+1)
	s.leaderEpoch = r.LeaderEpoch
	if r.Control {
		return
	}
	if s.Count++; s.Count == 1 {
		s.earliest, s.latest = r.Time, r.Time
	}
	s.earliest, s.latest = min(s.earliest, r.Time), max(s.latest, r.Time)
	s.tally.Read++
	n := int64(len(r.Key) + len(r.Value))
	for i := range r.Headers {
		n += int64(len(r.Headers[i].Key) + len(r.Headers[i].Value))
	}
	s.bytes += n
	d.bytes += n
	out, sum := s.process(proc, epoch, r, d.blocks)
	s.Checksum += sum
	s.byRecordTime += b2i(!out.Timed)
	s.noteTime(r, out.Time, proc.eventTimes)
	d.late += b2i(out.Time < d.complete)
	minute := s.minutes.Note(r.Offset, out.Time)
	d.upcast += b2i(out.Upcast)
	d.assumed += b2i(out.Assumed)
	s.tally.Redacted += b2i(out.Redacted > 0)
	minute[minutes.Redacted] += b2i(out.Redacted > 0)
	switch out.Fate {
	case FateRow:
		minute[minutes.Written]++
		d.written(out.Route, s, r.Offset)
		if out.Rescued > 0 {
			s.tally.Rescued.Add(r.Offset)
			minute[minutes.Rescued]++
		}
		d.tables[out.Route].blank += b2i(out.Blank)
	case FateFiltered:
		s.tally.Filtered++
		minute[minutes.Filtered]++
	case FateTombstone:
		s.tally.Tombstones++
		minute[minutes.Tombstones]++
	case FateDead:
		s.tally.Dead.Add(r.Offset)
		minute[minutes.DeadLettered]++
		d.dead = append(d.dead, rejected{record: proc.Keep(r), reason: out.Reason})
		d.owned += n
	}
}

// process makes a row of a record, unless it was erased.
func (s *spanData) process(proc *Processor, epoch waybill.Epoch, r *waybill.Record, blocks Blocks) (out Processed, checksum uint64) {
	if !s.erased.Empty() && s.erased.Contains(r.Offset) {
		proc.Pass(r)
		return Processed{Fate: FateFiltered, Byte: -1, Time: r.Time}, proc.checksum(r)
	}
	out = proc.Process(r, epoch, blocks)
	return out, proc.checksum(r)
}

func b2i(b bool) int64 {
	if b {
		return 1
	}
	return 0
}

// written notes which record the newest row of a table's block came from.
func (d *data) written(route int, s *spanData, offset int64) {
	s.tally.Rows.Add(offset)
	s.routed[route]++
	d.count++
	t := &d.tables[route]
	t.count++
	if n := len(t.rows); n > 0 {
		if last := &t.rows[n-1]; last.span == s.index && last.next == offset {
			last.next++
			return
		}
	}
	t.rows = append(t.rows, run{span: s.index, first: offset, next: offset + 1})
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

// part is rows of a batch in one table.
type part struct {
	table int // of the plan's routes
	block *column.Block
	rows  delivery.RowSet
}

// pick is the blocks with just the rows asked for, of the tables that have any; the whole blocks if that is all of them. It is nil
// if some of them are not there: what a store was seen to hold can be more than its records still tell.
func (d *data) pick(want delivery.RowSet) []part {
	whole := d.whole(want)
	if whole && len(d.tables) == 1 {
		return []part{{0, d.blocks[0], want}}
	}
	sets := make([]waybill.OffsetSet, len(d.spans))
	for _, s := range d.spans {
		sets[s.index] = want[s.TopicPartition]
	}
	var out []part
	left := want.Len()
	for i := range d.tables {
		t := &d.tables[i]
		rows, at := d.pickTable(t, sets, whole)
		n := rows.Len()
		if n == 0 {
			continue
		}
		left -= n
		block := d.blocks[i]
		if n < t.count {
			block = block.Select(at)
		}
		out = append(out, part{i, block, rows})
	}
	if left != 0 {
		return nil
	}
	return out
}

// pickTable is which of the wanted rows are in the table, and where in its block, unless all are wanted. The wanted are by
// span, as opened.
func (d *data) pickTable(t *tableData, want []waybill.OffsetSet, all bool) (rows delivery.RowSet, at []int) {
	found := make([]waybill.OffsetSet, len(want))
	i := 0
	for _, r := range t.rows {
		if all {
			found[r.span].AddSpan(waybill.Span{First: r.first, Next: r.next})
			continue
		}
		for o := r.first; o < r.next; o++ {
			if want[r.span].Contains(o) {
				at = append(at, i)
				found[r.span].Add(o)
			}
			i++
		}
	}
	rows = delivery.RowSet{}
	for _, s := range d.spans {
		if set := found[s.index]; !set.Empty() {
			rows[s.TopicPartition] = set
		}
	}
	return rows, at
}

// whole reports whether exactly the rows of the batch are wanted.
func (d *data) whole(want delivery.RowSet) bool {
	if want.Len() != d.count {
		return false
	}
	for _, s := range d.spans {
		if !want[s.TopicPartition].Equal(s.tally.Rows) {
			return false
		}
	}
	return true
}

// shares is how many of a partition's rows are in each table, without those that the server has refused; d may be nil.
func (d *data) shares(tp waybill.TopicPartition, refused waybill.OffsetSet) []int64 {
	if d == nil {
		return nil
	}
	out := make([]int64, len(d.tables))
	if s := d.ofPartition(tp); s != nil {
		for i := range out {
			out[i] = s.routed[i]
			if !refused.Empty() {
				out[i] -= d.tables[i].within(s, refused)
			}
		}
	}
	return out
}

// ofPartition is the batch's part of a partition; nil if the batch has none of it, or d is nil.
func (d *data) ofPartition(tp waybill.TopicPartition) *spanData {
	if d == nil {
		return nil
	}
	for _, s := range d.spans {
		if s.TopicPartition == tp {
			return s
		}
	}
	return nil
}

// within is how many of the rows that a span has in the table are in a set.
func (t *tableData) within(s *spanData, set waybill.OffsetSet) (n int64) {
	for _, r := range t.rows {
		if r.span == s.index {
			n += set.Within(waybill.Span{First: r.first, Next: r.next}).Len()
		}
	}
	return n
}
