package json

import (
	"bytes"
	stdjson "encoding/json"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/waybill-data/waybill"
	"github.com/waybill-data/waybill/internal/contract"
	"github.com/waybill-data/waybill/internal/decode/json/oracle"
)

// shape is a kind of traffic: records that come by turns, and the contract that takes them.
type shape struct {
	name    string
	columns []contract.Column
	records []string
	rescue  bool // new fields and conflicts are rescued; else they are dropped, and dead letters
}

// shapes are the kinds of traffic that must not fall off a cliff beside the first.
func shapes(t testing.TB) []shape {
	t.Helper()
	file, err := os.ReadFile("testdata/llm_call.json")
	if err != nil {
		t.Fatal(err)
	}
	event := string(file)
	members := oracle.Members(file)
	var shuffled, spaced []string
	r := rand.New(rand.NewPCG(7, 7))
	for range 64 {
		shuffled = append(shuffled, rewrite(r, members, 3)) // round 3: another order, nothing else
	}
	var indented bytes.Buffer
	if err := stdjson.Indent(&indented, file, "", "  "); err != nil {
		t.Fatal(err)
	}
	spaced = append(spaced, indented.String())
	var sparse []contract.Column
	for _, i := range []int{0, 1, 2, 4, 8, 9, 11} {
		sparse = append(sparse, llmCall()[i])
	}
	const unknown = `,"trace_context":{"span":{"id":"00f067aa0ba902b7","attrs":[{"k":"http.method","v":"POST"},{"k":"retry","v":2,"ok":true}],` +
		`"links":[[1,2,3],[4.5,-6e3]]},"baggage":{"tenant":"acme","region":"eu-west-1","note":"quote \" and\\ slash\n"},"sampled":true,"w":null}}`
	return []shape{
		{"llm", llmCall(), []string{event}, false},
		{"small", smallColumns(), []string{smallEvent}, false},
		{"shuffled", llmCall(), shuffled, false},
		{"pretty", llmCall(), spaced, false},
		{"unknown", llmCall(), []string{strings.TrimSuffix(event, "}") + unknown}, false},
		{"sparse", sparse, []string{event}, false},
		{"deep", deepColumns(), []string{deepEvent()}, false},
		{"escapes", []contract.Column{{Name: "id", Type: "UInt64"}, {Name: "text", Type: "String"}},
			[]string{`{"id":7,"text":"` + strings.Repeat(`line \"one\"\n\ttab \\ \u00e9\ud83d\ude00 `, 24) + `"}`}, false},
		{"mixed", llmCall(), []string{event, shuffled[0], event, spaced[0], strings.TrimSuffix(event, "}") + unknown}, false},
		{"mapped", append(smallColumns(), contract.Column{Name: "session", Type: "String"}), []string{smallEvent}, false},
		{"rescue armed", append(smallColumns(), contract.Column{Name: "session", Type: "String"}), []string{smallEvent}, true},
		{"rescued", llmCall(), []string{strings.TrimSuffix(event, "}") + unknown}, true},
		{"conflict", llmCall(), []string{strings.Replace(event, `"latency_ms":`, `"latency_ms":-`, 1)}, true},
	}
}

const smallEvent = `{"id":48151623,"ts":1795358687123,"user":"u_19284","kind":"click","page":"/docs/start","value":12.75,"ok":true,"country":"DE","session":"s_aa01f3"}`

func smallColumns() []contract.Column {
	return []contract.Column{
		{Name: "id", Type: "UInt64"}, {Name: "ts", Type: "DateTime64(3)", Format: "unix_ms"}, {Name: "user", Type: "String"},
		{Name: "kind", Type: "LowCardinality(String)"}, {Name: "page", Type: "LowCardinality(String)"}, {Name: "value", Type: "Float64"},
		{Name: "ok", Type: "Bool"}, {Name: "country", Type: "LowCardinality(String)"},
	}
}

// deepColumns take leaves at every level of deepEvent.
func deepColumns() []contract.Column {
	var columns []contract.Column
	for depth := 1; depth <= 16; depth++ {
		columns = append(columns, contract.Column{
			Name: "leaf" + strings.Repeat("x", depth), Type: "UInt32", From: strings.Repeat("level.", depth) + "leaf"})
	}
	return columns
}

// deepEvent is 16 mapped levels with an ignored subtree of 80 levels at the bottom.
func deepEvent() string {
	s := `{"leaf":0,"other":` + strings.Repeat(`[{"x":`, 40) + `1` + strings.Repeat(`}]`, 40) + `}`
	for range 16 {
		s = `{"leaf":7,"level":` + s + `,"after":"x"}`
	}
	return s
}

// run decodes the records of a shape by turns, into blocks of some thousand rows.
type run struct {
	d     *Decoder
	recs  []waybill.Record
	block interface {
		Rows() int
		Reset()
	}
	decode func(*waybill.Record) Outcome
	n      int
}

func newRun(t testing.TB, s shape) *run {
	t.Helper()
	c := contract.Contract{Columns: s.columns}
	if s.rescue {
		c = rescueEverything(s.columns...)
	}
	d := newDecoder(t, c)
	block := d.NewBlock()
	r := &run{d: d, block: block, decode: func(rec *waybill.Record) Outcome { return d.Decode(rec, 1, block) }}
	for _, text := range s.records {
		r.recs = append(r.recs, waybill.Record{Topic: "llm.calls", Partition: 3, Value: []byte(text)})
	}
	return r
}

// next decodes one record and says how long it is.
func (r *run) next(t testing.TB) int {
	rec := &r.recs[r.n%len(r.recs)]
	r.n++
	rec.Offset = int64(r.n)
	if out := r.decode(rec); out.Kind != Written {
		t.Fatal(out.Reject)
	}
	if r.block.Rows() == 1024 {
		r.block.Reset()
	}
	return len(rec.Value)
}

// BenchmarkShapes reports the process's CPU time beside the clock's: other work on the machine does not count.
func BenchmarkShapes(b *testing.B) {
	for _, s := range shapes(b) {
		b.Run(s.name, func(b *testing.B) {
			r := newRun(b, s)
			size := 0
			for range 1024 {
				size += r.next(b)
			}
			b.SetBytes(int64(size / 1024))
			b.ReportAllocs()
			start := cpuTime(b)
			for b.Loop() {
				r.next(b)
			}
			cpu := cpuTime(b) - start
			b.ReportMetric(float64(cpu)/float64(b.N), "cpu-ns/op")
			b.ReportMetric(float64(size)/1024*float64(b.N)/cpu.Seconds()/1e6, "cpu-MB/s")
		})
	}
}

// BenchmarkPeers decodes the LLM event three ways by turns and reports the CPU time of each and the ratios:
// every token read by jsontext, a struct filled by encoding/json, a row made by the decoder.
func BenchmarkPeers(b *testing.B) {
	r := newRun(b, shapes(b)[0])
	text := r.recs[0].Value
	ways := []struct {
		name string
		do   func()
		cpu  time.Duration
	}{
		{"decoder", func() { r.next(b) }, 0},
		{"jsontext", func() { readTokens(b, text) }, 0},
		{"encoding/json", func() { readStruct(b, text) }, 0},
	}
	const turn = 200
	n := 0
	for b.Loop() {
		n += turn
		for i := range ways {
			start := cpuTime(b)
			for range turn {
				ways[i].do()
			}
			ways[i].cpu += cpuTime(b) - start
		}
	}
	b.ReportMetric(0, "ns/op")
	for _, w := range ways {
		b.ReportMetric(float64(w.cpu)/float64(n), w.name+"-cpu-ns/event")
		b.ReportMetric(float64(w.cpu)/float64(ways[0].cpu), w.name+"/decoder")
	}
}

// cpuTime is what the process has used, system calls included.
func cpuTime(t testing.TB) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func readTokens(t testing.TB, text []byte) {
	dec := jsontext.NewDecoder(bytes.NewBuffer(text))
	for {
		if _, err := dec.ReadToken(); errors.Is(err, io.EOF) {
			return
		} else if err != nil {
			t.Fatal(err)
		}
	}
}

// llmEvent is the LLM event as a Go program would declare it.
type llmEvent struct {
	TraceID string    `json:"trace_id"`
	TS      time.Time `json:"timestamp"`
	Project string    `json:"project_id"`
	Event   struct {
		Status string `json:"status"`
	} `json:"event"`
	Request struct {
		Model       string   `json:"model"`
		Provider    string   `json:"provider"`
		Temperature *float32 `json:"temperature"`
		MaxTokens   *uint32  `json:"max_tokens"`
	} `json:"request"`
	Usage struct {
		In   uint32  `json:"input_tokens"`
		Out  uint32  `json:"output_tokens"`
		Cost float64 `json:"cost_usd"`
	} `json:"usage"`
	Latency    uint32             `json:"latency_ms"`
	Messages   stdjson.RawMessage `json:"messages"`
	Completion string             `json:"completion"`
	Tags       []string           `json:"tags"`
	Metadata   map[string]string  `json:"metadata"`
	Retries    uint8              `json:"retries"`
	Cached     bool               `json:"cached"`
	ParentSpan *string            `json:"parent_span"`
}

func readStruct(t testing.TB, text []byte) {
	var e llmEvent
	if err := stdjson.Unmarshal(text, &e); err != nil {
		t.Fatal(err)
	}
}

// Once its columns have grown, the decoder allocates nothing, whatever the shape of the traffic.
func TestShapes_AllocationBudget(t *testing.T) {
	for _, s := range shapes(t) {
		r := newRun(t, s)
		for range 2 * 1024 {
			r.next(t)
		}
		if n := testing.AllocsPerRun(500, func() { r.next(t) }); n > 0 {
			t.Errorf("%s: %v allocations per record, none is allowed", s.name, n)
		}
	}
}
