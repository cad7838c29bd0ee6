package engine

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/ClickHouse/ch-go/proto"

	"github.com/waybill-data/waybill"
	"github.com/waybill-data/waybill/internal/column"
	"github.com/waybill-data/waybill/internal/contract"
	"github.com/waybill-data/waybill/internal/decode/json"
	"github.com/waybill-data/waybill/internal/delivery"
)

// eventProcessor takes records of the shape that event makes.
func eventProcessor(t testing.TB) *Processor {
	t.Helper()
	c := contract.Contract{NewFields: contract.Modes{Default: contract.ModeDiscard}, TypeConflicts: contract.Modes{Default: contract.ModeFreeze}, Columns: []contract.Column{{Name: "id", Type: "UInt64", Required: true}, {Name: "model", Type: "LowCardinality(String)"},
		{Name: "text", Type: "String"}, {Name: "all", Type: "String", From: "meta", As: "json"}}}
	schema := contract.TableSchema{Database: "d", Table: "t", Columns: []contract.TableColumn{
		{Name: "id", Type: "UInt64"}, {Name: "model", Type: "LowCardinality(String)"}, {Name: "text", Type: "String"}, {Name: "all", Type: "String"},
		{Name: "_topic", Type: "LowCardinality(String)"}, {Name: "_partition", Type: "UInt16"}, {Name: "_offset", Type: "UInt64"}, {Name: "_epoch", Type: "UInt32"}}}
	plan, err := contract.Compile(c, schema, contract.DefaultLineage(), json.Version)
	if err != nil {
		t.Fatal(err)
	}
	proc, err := NewProcessor(plan, nil)
	if err != nil {
		t.Fatal(err)
	}
	return proc
}

// event is one that is written, but for every tenth, which is rejected.
func event(i int) []byte {
	if i%10 == 9 {
		return fmt.Appendf(nil, `{"id":"no number %d"}`, i)
	}
	return fmt.Appendf(nil, `{"id":%d,"model":"m%d","text":"words \u00e4 %d","meta":{"a":%d},"unknown%d":1}`, i, i%3, i, i, i%5)
}

func wireOf(t testing.TB, b *column.Block) []byte {
	t.Helper()
	var buf proto.Buffer
	block := proto.Block{Columns: len(b.Columns), Rows: b.Rows()}
	if err := block.EncodeRawBlock(&buf, 54451, b.Input()); err != nil {
		t.Fatal(err)
	}
	return buf.Buf
}

// The memory of records is filled with other records as soon as they are decoded.
func TestData_KeepsNothingOfTheRecords(t *testing.T) {
	const n = 100
	proc, want := eventProcessor(t), eventProcessor(t)
	gathered, kept := newData(proc.NewBlocks()), newData(want.NewBlocks())
	tp := waybill.TopicPartition{Topic: "t", Partition: 1}
	s, k := gathered.open(tp, 1, 0), kept.open(tp, 1, 0)
	record := func(i int) waybill.Record {
		return waybill.Record{Topic: "t", Partition: 1, Offset: int64(i), Key: []byte("key"), Value: event(i), Headers: []waybill.Header{{Key: "h", Value: []byte("value")}}}
	}
	for i := range n {
		r, lent := record(i), record(i)
		kept.add(want, 0, k, &r)
		gathered.add(proc, 0, s, &lent)
		for _, b := range [][]byte{lent.Key, lent.Value, lent.Headers[0].Value} {
			for j := range b {
				b[j] = 0xDB
			}
		}
		lent.Headers[0] = waybill.Header{Key: "poison"}
	}
	if !bytes.Equal(wireOf(t, gathered.blocks[0]), wireOf(t, kept.blocks[0])) {
		t.Error("the rows changed with the memory of their records")
	}
	if s.Checksum != k.Checksum || !s.tally.Dead.Equal(k.tally.Dead) || len(gathered.dead) != n/10 {
		t.Errorf("checksum or dead letters differ: %d dead letters", len(gathered.dead))
	}
	for i, d := range gathered.dead {
		o := kept.dead[i]
		if waybill.RecordChecksum(&d.record) != waybill.RecordChecksum(&o.record) || d.reason != o.reason {
			t.Errorf("dead letter %d changed with the memory of its record: %+v", i, d)
		}
	}
	gathered.takeNotes(proc)
	kept.takeNotes(want)
	if fmt.Sprint(gathered.tables[0].notes) != fmt.Sprint(kept.tables[0].notes) || len(kept.tables[0].notes.Drift) == 0 {
		t.Errorf("notes %v, want %v", gathered.tables[0].notes, kept.tables[0].notes)
	}
}

// gatheredOf is a batch of n written records in each of the partitions, interleaved.
func gatheredOf(t testing.TB, proc *Processor, partitions, n int) *data {
	t.Helper()
	d := newData(proc.NewBlocks())
	var spans []*spanData
	for p := range partitions {
		spans = append(spans, d.open(waybill.TopicPartition{Topic: "t", Partition: int32(p)}, 1, 0))
	}
	value := event(1)
	for o := range n {
		for p, s := range spans {
			d.add(proc, 0, s, &waybill.Record{Topic: "t", Partition: int32(p), Offset: int64(o), Value: value})
		}
	}
	return d
}

func TestData_AllocationBudget(t *testing.T) {
	proc := eventProcessor(t)
	d := gatheredOf(t, proc, 4, 1000)
	r := waybill.Record{Topic: "t", Partition: 3, Offset: d.spans[3].Next, Value: event(1), Key: []byte("k")}
	if n := testing.AllocsPerRun(10_000, func() {
		d.add(proc, 0, d.spans[3], &r)
		r.Offset++
	}); n > 0.1 {
		t.Errorf("%v allocations a record", n)
	}
	want := delivery.RowSet{}
	for _, s := range d.spans {
		want[s.TopicPartition] = s.tally.Rows
	}
	if n := testing.AllocsPerRun(10, func() {
		if parts := d.pick(want); len(parts) != 1 || parts[0].block != d.blocks[0] {
			t.Fatal("not the whole block")
		}
	}); n > 1 {
		t.Errorf("%v allocations to pick all rows", n)
	}
	if n := testing.AllocsPerRun(10, func() { waybill.RecordChecksum(&r) }); n > 0 {
		t.Errorf("%v allocations a checksum", n)
	}
}

func TestData_PicksTheRowsAskedFor(t *testing.T) {
	proc := eventProcessor(t)
	d := gatheredOf(t, proc, 3, 5)
	tp := d.spans[1].TopicPartition
	parts := d.pick(delivery.RowSet{tp: waybill.OffsetsOf(1, 4)})
	if len(parts) != 1 || parts[0].block.Rows() != 2 || parts[0].rows.String() != (delivery.RowSet{tp: waybill.OffsetsOf(1, 4)}).String() {
		t.Fatalf("got %v", parts)
	}
	if want := d.blocks[0].Select([]int{4, 13}); !bytes.Equal(wireOf(t, parts[0].block), wireOf(t, want)) {
		t.Error("other rows than those of offsets 1 and 4")
	}
}

func TestBlocks_AreUsedAgainOnlyWhenNobodyReadsThem(t *testing.T) {
	proc := eventProcessor(t)
	for name, c := range map[string]struct {
		change  func(*life, *data)
		settled bool
		want    bool
	}{
		"settled, landed":            {func(l *life, d *data) { l.useOnce(d, true) }, true, true},
		"never sent":                 {func(*life, *data) {}, true, true},
		"not settled":                {func(l *life, d *data) { l.useOnce(d, true) }, false, false},
		"an insert without answer":   {func(l *life, d *data) { l.useOnce(d, false) }, true, false},
		"an insert still under way":  {func(_ *life, d *data) { d.users = 1 }, true, false},
		"rebuilt":                    {func(_ *life, d *data) { d.soiled = true }, true, false},
		"of another plan":            {func(l *life, _ *data) { l.plan = 7 }, true, false},
		"much larger than its batch": {func(_ *life, d *data) { d.peak = 100 * d.blocks.Size() }, true, false},
	} {
		l, d := bareLife(), gatheredOf(t, proc, 1, 10)
		block := d.blocks[0]
		l.data[1] = d
		c.change(l, d)
		l.release(1, c.settled)
		f, found := l.blocks.take()
		if found != c.want || found && (f.Blocks[0] != block || block.Rows() != 0) {
			t.Errorf("%s: kept %v, want %v", name, found, c.want)
		}
	}
}

// useOnce is what an effect does with a block.
func (l *life) useOnce(d *data, clean bool) {
	d.users++
	l.doneWith(d, clean)
}

func TestBlocks_IdlePipelineKeepsNone(t *testing.T) {
	var b blocks
	for range 5 {
		b.put(freeBlock{Blocks{&column.Block{}}, 10}, 10)
	}
	if len(b.free) != keptBlocks {
		t.Errorf("%d blocks kept", len(b.free))
	}
	b.sweep() // both have been put since the last sweep
	f, _ := b.take()
	b.put(f, 10)
	b.sweep()
	if len(b.free) != 1 {
		t.Errorf("%d blocks kept, one was in use", len(b.free))
	}
	b.sweep()
	if len(b.free) != 0 {
		t.Errorf("%d blocks kept, none was in use", len(b.free))
	}
}
