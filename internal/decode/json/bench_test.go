package json

import (
	"os"
	"testing"

	"github.com/waybill-data/waybill"
	"github.com/waybill-data/waybill/internal/contract"
)

// llmCall is a contract over testdata/llm_call.json that takes most of its fields.
func llmCall() []contract.Column {
	return []contract.Column{
		{Name: "trace_id", Type: "UUID", Required: true},
		{Name: "ts", Type: "DateTime64(3)", From: "timestamp", Required: true},
		{Name: "project_id", Type: "LowCardinality(String)"},
		{Name: "status", Type: "LowCardinality(String)", From: "event.status"},
		{Name: "model", Type: "LowCardinality(String)", From: "request.model"},
		{Name: "provider", Type: "LowCardinality(String)", From: "request.provider"},
		{Name: "temperature", Type: "Nullable(Float32)", From: "request.temperature"},
		{Name: "max_tokens", Type: "Nullable(UInt32)", From: "request.max_tokens"},
		{Name: "tokens_in", Type: "UInt32", From: "usage.input_tokens"},
		{Name: "tokens_out", Type: "UInt32", From: "usage.output_tokens"},
		{Name: "cost_usd", Type: "Float64", From: "usage.cost_usd"},
		{Name: "latency_ms", Type: "UInt32"},
		{Name: "prompt", Type: "String", From: "messages", As: "json"},
		{Name: "completion", Type: "String"},
		{Name: "tags", Type: "Array(LowCardinality(String))"},
		{Name: "metadata", Type: "Map(LowCardinality(String), String)"},
		{Name: "retries", Type: "UInt8"},
		{Name: "cached", Type: "Bool"},
		{Name: "parent_span", Type: "Nullable(UUID)"},
	}
}

func BenchmarkDecode(b *testing.B) {
	d := newDecoder(b, contract.Contract{Columns: llmCall()})
	value, err := os.ReadFile("testdata/llm_call.json")
	if err != nil {
		b.Fatal(err)
	}
	rec := &waybill.Record{Topic: "llm.calls", Partition: 3, Value: value}
	block := d.NewBlock()
	b.SetBytes(int64(len(value)))
	b.ReportAllocs()
	for b.Loop() {
		rec.Offset++
		if out := d.Decode(rec, 1, block); out.Kind != Written {
			b.Fatal(out.Reject)
		}
		if d.row == 10_000 {
			block.Reset()
		}
	}
}

func TestDecode_AllocationBudget(t *testing.T) {
	d := newDecoder(t, contract.Contract{Columns: llmCall()})
	value, err := os.ReadFile("testdata/llm_call.json")
	if err != nil {
		t.Fatal(err)
	}
	rec := &waybill.Record{Topic: "llm.calls", Value: value}
	block := d.NewBlock()
	for range 2000 { // grow the columns first
		d.Decode(rec, 1, block)
	}
	block.Reset()
	if n := testing.AllocsPerRun(1000, func() { d.Decode(rec, 1, block) }); n > 1 {
		t.Errorf("%v allocations per event, at most 1 is allowed", n)
	}
}
