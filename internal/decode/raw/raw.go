// Package raw makes rows of whole records: what an archive holds (docs/adr/0016). Nothing of a record is looked into, so there is none of
// which no row can be made.
package raw

import (
	"fmt"

	"github.com/waybill-data/waybill"
	"github.com/waybill-data/waybill/internal/column"
	"github.com/waybill-data/waybill/internal/contract"
)

// Writer turns records into rows of a raw plan's block. It belongs to one goroutine at a time.
type Writer struct {
	plan  *contract.Plan
	block *column.Block // empty; the pattern of NewBlock
	into  *column.Block
	to    columns // of into
}

// columns are a block's by what fills them; nil for one that the plan does not have.
type columns struct {
	timestamp    *column.Int64
	appended     *column.Bool
	leader       *column.Int32
	key, value   text
	headers      *column.Array
	headerKeys   *column.String
	values       *column.Array
	headerValues text
	version      column.Texter
	kept         column.Texter
	topic        column.Texter
	partition    func(int32)
	offset       func(int64)
	epoch        *column.UInt32
}

// text is a column of bytes that can be NULL.
type text struct {
	*column.Nullable
	bytes *column.String
}

func textOf(c column.Column) text {
	n := c.(*column.Nullable)
	return text{n, n.Inner().(*column.String)}
}

// append keeps nil apart from empty: a tombstone is not an empty value.
func (t text) append(b []byte) {
	if b == nil {
		t.AppendNull()
		return
	}
	t.bytes.Append(b)
	t.EndRow()
}

// New makes a writer for a raw plan.
func New(p *contract.Plan) (*Writer, error) {
	if !p.Raw() || p.DecoderVersion() != contract.RawVersion {
		return nil, &waybill.Error{Op: "raw.new", Class: waybill.ClassConfig, Hint: "run the version of Waybill that made the plan",
			Err: fmt.Errorf("the plan is no plan of records of version %d", contract.RawVersion)}
	}
	var names, types []string
	for _, c := range p.Columns() {
		if c.Source != contract.SourceBatchTime { // known when the batch is closed, see Stamp
			names, types = append(names, c.Name), append(types, c.Type)
		}
	}
	block, err := column.NewBlock(names, types)
	if err != nil {
		return nil, &waybill.Error{Op: "raw.new", Class: waybill.ClassConfig, Err: err}
	}
	return &Writer{plan: p, block: block}, nil
}

// NewBlock is an empty block for Append.
func (w *Writer) NewBlock() *column.Block { return w.block.Fresh() }

// Append adds a record to b, which came from NewBlock. It copies what it keeps of it.
func (w *Writer) Append(r *waybill.Record, kept contract.Kept, epoch waybill.Epoch, b *column.Block) {
	if w.into != b {
		w.bind(b)
	}
	c := &w.to
	c.timestamp.Append(r.Time)
	c.appended.Append(r.Appended)
	c.leader.Append(r.LeaderEpoch)
	c.key.append(r.Key)
	c.value.append(r.Value)
	for i := range r.Headers {
		c.headerKeys.AppendString(r.Headers[i].Key)
		c.headerValues.append(r.Headers[i].Value)
	}
	c.headers.EndRow()
	c.values.EndRow()
	c.version.AppendString(r.Version)
	c.kept.AppendString(string(kept))
	c.topic.AppendString(r.Topic)
	c.partition(r.Partition)
	c.offset(r.Offset)
	if c.epoch != nil {
		c.epoch.Append(uint32(epoch))
	}
}

// bind finds the columns of a block.
func (w *Writer) bind(b *column.Block) {
	w.into, w.to = b, columns{}
	at := 0
	for _, c := range w.plan.Columns() {
		if c.Source == contract.SourceBatchTime {
			continue
		}
		w.to.bind(c.Source, b.Columns[at])
		at++
	}
}

// bind says what a column of the block is for. Compile has seen to the types.
func (c *columns) bind(s contract.Source, to column.Column) {
	switch s {
	case contract.SourceTimestamp:
		c.timestamp = to.(*column.Int64)
	case contract.SourceAppended:
		c.appended = to.(*column.Bool)
	case contract.SourceLeaderEpoch:
		c.leader = to.(*column.Int32)
	case contract.SourceKey:
		c.key = textOf(to)
	case contract.SourceValue:
		c.value = textOf(to)
	case contract.SourceHeaderKeys:
		c.headers = to.(*column.Array)
		c.headerKeys = c.headers.Elem().(*column.String)
	case contract.SourceHeaderValues:
		c.values = to.(*column.Array)
		c.headerValues = textOf(c.values.Elem())
	case contract.SourceVersion:
		c.version = to.(column.Texter)
	case contract.SourceKept:
		c.kept = to.(column.Texter)
	case contract.SourceTopic:
		c.topic = to.(column.Texter)
	case contract.SourcePartition:
		c.partition = partitionOf(to)
	case contract.SourceOffset:
		c.offset = offsetOf(to)
	case contract.SourceEpoch:
		c.epoch = to.(*column.UInt32)
	}
}

// partitionOf appends to one of the types that a lineage column for the partition has.
func partitionOf(to column.Column) func(int32) {
	switch to := to.(type) {
	case *column.UInt16:
		return func(p int32) { to.Append(uint16(p)) } //nolint:gosec // Kafka's partitions are few, and the table says UInt16
	case *column.UInt32:
		return func(p int32) { to.Append(uint32(p)) } //nolint:gosec // never negative
	}
	return to.(*column.Int32).Append
}

func offsetOf(to column.Column) func(int64) {
	if to, ok := to.(*column.UInt64); ok {
		return func(o int64) { to.Append(uint64(o)) } //nolint:gosec // never negative
	}
	return to.(*column.Int64).Append
}

// Stamp is the block with the time of its batch, in milliseconds since the Unix epoch, in every row. It shares the other columns. The block of
// any other plan is returned as it is.
func Stamp(p *contract.Plan, b *column.Block, millis int64) *column.Block {
	at, ok := p.From(contract.SourceBatchTime)
	if !ok {
		return b
	}
	c, _ := column.New(at.Type) // compiled before
	times := c.(*column.DateTime)
	for range b.Rows() {
		times.Append(uint32(millis / 1000)) //nolint:gosec // until 2106
	}
	return &column.Block{Names: append([]string{at.Name}, b.Names...), Columns: append([]column.Column{times}, b.Columns...)}
}
