package engine

import (
	"fmt"
	"syscall"
	"testing"
	"time"

	"github.com/waybill-data/waybill"
	"github.com/waybill-data/waybill/internal/contract"
	"github.com/waybill-data/waybill/internal/decode/json"
	"github.com/waybill-data/waybill/internal/kafka"
	"github.com/waybill-data/waybill/internal/transform/expr"
)

const (
	everyClick = `event.kind != ""`
	someClicks = `event.kind == "page_view"`
)

// clickProcessor takes what click makes, under a filter or by routes to two tables, if there are any.
func clickProcessor(t testing.TB, modes contract.Mode, filter, when string) *Processor {
	t.Helper()
	columns := []contract.Column{{Name: "user_id", Type: "UInt64", Required: true}, {Name: "kind", Type: "LowCardinality(String)"}, {Name: "path", Type: "String"}, {Name: "value", Type: "Float64"}}
	compile := func(table string) *contract.Plan {
		schema := contract.TableSchema{Database: "d", Table: table, Columns: []contract.TableColumn{
			{Name: "_topic", Type: "LowCardinality(String)"}, {Name: "_partition", Type: "UInt16"}, {Name: "_offset", Type: "UInt64"}, {Name: "_epoch", Type: "UInt32"}, {Name: "_rescued", Type: "String"}}}
		for _, c := range columns {
			schema.Columns = append(schema.Columns, contract.TableColumn{Name: c.Name, Type: c.Type})
		}
		p, err := contract.Compile(contract.Contract{Columns: columns, NewFields: contract.Modes{Default: modes}, TypeConflicts: contract.Modes{Default: modes},
			Transform: contract.Transform{Filter: filter}}, schema, contract.DefaultLineage(), json.Version)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	plan := compile("some")
	if when != "" {
		var err error
		if plan, err = contract.Join([]contract.Route{{Name: "some", When: when, Plan: plan}, {Name: "rest", Plan: compile("rest")}}, ""); err != nil {
			t.Fatal(err)
		}
	}
	proc, err := NewProcessor(plan, nil)
	if err != nil {
		t.Fatal(err)
	}
	return proc
}

// click is an event of 80 bytes.
func click(i int) []byte {
	return fmt.Appendf(nil, `{"user_id":%d,"kind":%q,"path":"/products/%d","value":%d.25}`, i, []string{"page_view", "click", "search", "page_view"}[i%4], i%1000, i%500)
}

// clicks are records for a batch, by turns, as from a topic without holes.
type clicks struct {
	proc    *Processor
	d       *data
	records []waybill.Record
	n       int64
}

// clicksPerBatch is how many records a batch gets before the next one begins with its blocks.
const clicksPerBatch = 20_000

func newClicks(proc *Processor) *clicks {
	c := &clicks{proc: proc}
	for i := range 64 {
		c.records = append(c.records, waybill.Record{Topic: "t", Value: click(i)})
	}
	c.begin(proc.NewBlocks())
	return c
}

func (c *clicks) begin(b Blocks) {
	b.Reset()
	c.d = newData(b)
	c.d.open(waybill.TopicPartition{Topic: "t"}, 1, c.n)
}

// next takes one record.
func (c *clicks) next() {
	r := &c.records[c.n%int64(len(c.records))]
	r.Offset = c.n
	c.n++
	c.d.add(c.proc, 0, c.d.spans[0], r)
	if c.d.covered == clicksPerBatch {
		c.begin(c.d.blocks)
	}
}

// cases are what a record may have to go through.
func clickCases(t testing.TB) map[string]*Processor {
	return map[string]*Processor{
		"unarmed": clickProcessor(t, contract.ModeFreeze, "", ""),
		"rescue":  clickProcessor(t, contract.ModeRescue, "", ""),
		"evolve":  clickProcessor(t, contract.ModeEvolve, "", ""),
		"filter":  clickProcessor(t, contract.ModeRescue, everyClick, ""),
		"routes":  clickProcessor(t, contract.ModeRescue, "", someClicks),
	}
}

// BenchmarkAdd takes records into a batch. It reports the process's CPU time beside the clock's: other work on the machine does not count.
func BenchmarkAdd(b *testing.B) {
	for name, proc := range clickCases(b) {
		b.Run(name, func(b *testing.B) {
			c := newClicks(proc)
			for range 2 * clicksPerBatch {
				c.next()
			}
			b.ReportAllocs()
			start := selfCPU(b)
			for b.Loop() {
				c.next()
			}
			b.ReportMetric(float64(selfCPU(b)-start)/float64(b.N), "cpu-ns/op")
		})
	}
}

// BenchmarkTake takes what polls bring: a pipeline's, and a backfill's of all and of half of it. An op is a poll of pollRecords records.
func BenchmarkTake(b *testing.B) {
	const end = 1 << 50
	half := waybill.OffsetsOf(clicksPerBatch + 1) // there is always more to come
	for o := int64(0); o < clicksPerBatch; o += 200 {
		half.AddSpan(waybill.Span{First: o, Next: o + 100})
	}
	for _, tt := range []struct {
		name  string
		scope *Scope
	}{
		{"pipeline", nil},
		{"backfill of all", &Scope{Until: map[int32]int64{0: end}, Offsets: map[int32]waybill.OffsetSet{0: waybill.OffsetsIn(waybill.Span{First: 0, Next: end})}}},
		{"backfill of half", &Scope{Until: map[int32]int64{0: end}, Offsets: map[int32]waybill.OffsetSet{0: half}}},
	} {
		b.Run(tt.name, func(b *testing.B) {
			g := benchGatherer(b, tt.scope)
			poll := kafka.PartitionRecords{TopicPartition: waybill.TopicPartition{Topic: "t"}, Instance: 1}
			for i := range pollRecords {
				poll.Records = append(poll.Records, waybill.Record{Topic: "t", Value: click(i)})
			}
			next := int64(0)
			take := func() {
				if next == clicksPerBatch {
					next = 0
					g.open.blocks.Reset()
					g.open, g.opened = newData(g.open.blocks), time.Now()
					g.parts[poll.TopicPartition] = benchPart(tt.scope)
				}
				for i := range poll.Records {
					poll.Records[i].Offset = next
					next++
				}
				if _, _, err := g.take(&poll); err != nil {
					b.Fatal(err)
				}
			}
			for range 20 {
				take()
			}
			b.ReportAllocs()
			start := selfCPU(b)
			for b.Loop() {
				take()
			}
			b.ReportMetric(float64(selfCPU(b)-start)/float64(b.N)/pollRecords, "cpu-ns/record")
		})
	}
}

func benchGatherer(b testing.TB, scope *Scope) *gatherer {
	l := bareLife()
	l.ctx, l.p.target, l.p.budget, l.p.cfg.Batch.Bytes = b.Context(), &target{}, NewBudget(1<<30, nil).account(weightLive), 1<<30
	if scope != nil {
		l.p.backfill = &backfill{}
	}
	return &gatherer{l: l, proc: clickProcessor(b, contract.ModeRescue, "", ""), scope: scope, parts: map[waybill.TopicPartition]*gathering{{Topic: "t"}: benchPart(scope)}}
}

func benchPart(scope *Scope) *gathering {
	part := &gathering{instance: 1, heard: true}
	if scope != nil {
		part.until, part.runs = scope.Until[0], scope.Offsets[0].Spans()
	}
	return part
}

func selfCPU(t testing.TB) int64 {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return u.Utime.Nano() + u.Stime.Nano()
}

// The ledger says for each partition how many rows are in which table, also when the server has refused some.
func TestShares_AreThoseOfThePartition(t *testing.T) {
	proc := clickProcessor(t, contract.ModeRescue, "", someClicks)
	d := newData(proc.NewBlocks())
	a, b := waybill.TopicPartition{Topic: "t", Partition: 1}, waybill.TopicPartition{Topic: "t", Partition: 2}
	spans := []*spanData{d.open(a, 1, 0), d.open(b, 1, 0)}
	for i := range 40 { // two of four are of the first table
		for j, s := range spans {
			d.add(proc, 0, s, &waybill.Record{Topic: "t", Partition: s.Partition, Offset: int64(i), Value: click(i * (1 + j))}) // in b, 0 and 2 of four
		}
	}
	refused := waybill.OffsetsOf(0, 1, 2, 3, 4, 39, 77)
	for _, tt := range []struct {
		tp      waybill.TopicPartition
		refused waybill.OffsetSet
		want    string
	}{
		{a, waybill.OffsetSet{}, "[20 20]"}, {b, waybill.OffsetSet{}, "[20 20]"},
		{a, refused, "[16 18]"}, // 0, 3, 4 and 39; 1 and 2
		{b, refused, "[17 17]"}, // 0, 2 and 4; 1, 3 and 39
		{waybill.TopicPartition{Topic: "t", Partition: 3}, refused, "[0 0]"},
	} {
		if got := fmt.Sprint(d.shares(tt.tp, tt.refused)); got != tt.want {
			t.Errorf("partition %d without %s: %s, want %s", tt.tp.Partition, tt.refused, got, tt.want)
		}
	}
}

// An expression allocates in the interpreter; nothing else on the way of a record into a batch does, however many tables there are.
func TestAdd_AllocatesNothingButInExpressions(t *testing.T) {
	for name, proc := range clickCases(t) {
		c := newClicks(proc)
		for range 2 * clicksPerBatch {
			c.next()
		}
		budget := 0.1 // a batch's own, and what the race detector counts of others
		if text := map[string]string{"filter": everyClick, "routes": someClicks}[name]; text != "" {
			budget += exprAllocations(t, text, c.records)
		}
		if n := testing.AllocsPerRun(1, func() {
			for range clicksPerBatch {
				c.next()
			}
		}) / clicksPerBatch; n > budget {
			t.Errorf("%s: %.3f allocations a record, %.3f are allowed", name, n, budget)
		}
	}
}

// exprAllocations is how many an expression takes by itself.
func exprAllocations(t *testing.T, text string, records []waybill.Record) float64 {
	t.Helper()
	e, err := expr.CompileBool(text)
	if err != nil {
		t.Fatal(err)
	}
	var r expr.Record
	return testing.AllocsPerRun(100, func() {
		for i := range records {
			r.Set(&records[i], records[i].Value)
			if _, err := e.Bool(&r); err != nil {
				t.Fatal(err)
			}
		}
	}) / float64(len(records))
}
