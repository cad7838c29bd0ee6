package expr_test

import (
	"syscall"
	"testing"

	"github.com/waybill-data/waybill"
	"github.com/waybill-data/waybill/internal/transform/expr"
)

// call is an event of a usual size: 600 bytes.
const call = `{"trace_id":"0f8fad5b-d9cb-469f-a165-70867728950e","timestamp":"2026-11-25T05:00:00.123Z","status":"ok","request":{"model":"gpt-6","temperature":0.7,"stream":true},
"usage":{"input_tokens":1234,"output_tokens":567,"cost":0.01234},"messages":[{"role":"system","content":"You are a helpful assistant."},
{"role":"user","content":"What became of the record at offset 41? Tell me in one sentence, please, and say where you looked for it."}],
"metadata":{"team":"search","region":"eu-west-1","tags":["a","b","c"]},"finish_reason":"stop","latency_ms":812}`

func BenchmarkEval(b *testing.B) {
	record := &waybill.Record{Topic: "t", Value: []byte(call)}
	for name, text := range map[string]string{
		"compare": `event.status != "debug"`,
		"nested":  `has(event.metadata.region) && event.metadata.region.startsWith("eu") && event.latency_ms > 100`,
		"compute": `event.usage.input_tokens * 0.000003 + event.usage.output_tokens * 0.000015`,
		"fold":    `event.messages.map(m, m.role).join(",")`,
		"record":  `kafka.partition == 0`,
	} {
		b.Run(name, func(b *testing.B) {
			e, err := expr.Compile(text)
			if err != nil {
				b.Fatal(err)
			}
			var out []byte
			var r expr.Record
			b.SetBytes(int64(len(record.Value)))
			b.ReportAllocs()
			start := cpuTime(b)
			for b.Loop() {
				r.Set(record, record.Value)
				if out, _, err = e.AppendJSON(out[:0], &r); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(cpuTime(b)-start)/float64(b.N), "cpu-ns/op")
		})
	}
	b.Run("parse", func(b *testing.B) {
		var r expr.Record
		b.SetBytes(int64(len(record.Value)))
		b.ReportAllocs()
		start := cpuTime(b)
		for b.Loop() {
			r.Set(record, record.Value)
		}
		b.ReportMetric(float64(cpuTime(b)-start)/float64(b.N), "cpu-ns/op")
	})
}

// cpuTime is what the process has used: other work on the machine does not count.
func cpuTime(b *testing.B) int64 {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return u.Utime.Nano() + u.Stime.Nano()
}
