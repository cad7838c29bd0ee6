package clickhouse

import (
	"bytes"
	"errors"
	"io"
	"math"
	"net"
	"os"
	"syscall"
	"testing"
	"text/template"
	"time"

	"github.com/ClickHouse/ch-go/compress"
	"github.com/ClickHouse/ch-go/proto"

	waybill "github.com/waybill-data/waybill"
	"github.com/waybill-data/waybill/internal/config"
	"github.com/waybill-data/waybill/internal/contract"
	"github.com/waybill-data/waybill/internal/decode/json"
	"github.com/waybill-data/waybill/internal/demo/events"
)

// benchRows is how many of the demo's events a block of the benchmarks holds.
const benchRows = 50_000

// demoBlock is a block of the demo's events, decoded by the demo's contract.
func demoBlock(tb testing.TB, n int) proto.Input {
	tb.Helper()
	text, err := os.ReadFile("../demo/pipeline.yaml")
	if err != nil {
		tb.Fatal(err)
	}
	var file bytes.Buffer
	if err := template.Must(template.New("").Parse(string(text))).Execute(&file,
		map[string]any{"Broker": "localhost:9092", "ClickHouse": "localhost:9000", "SessionTimeout": "45s"}); err != nil {
		tb.Fatal(err)
	}
	p, err := config.Parse("bench.yaml", file.Bytes(), os.LookupEnv)
	if err != nil {
		tb.Fatal(err)
	}
	decoder := demoDecoder(tb, p)
	block, gen := decoder.NewBlock(), events.New(1)
	for offset := int64(0); block.Rows() < n; offset++ {
		key, value, _ := gen.Next()
		decoder.Decode(&waybill.Record{Topic: "llm.calls", Partition: 3, Offset: offset, Key: key, Value: value}, 0, block)
	}
	return block.Input()
}

func demoDecoder(tb testing.TB, p *config.Pipeline) *json.Decoder {
	tb.Helper()
	l := p.Sink.ClickHouse.Lineage
	table := contract.TableSchema{Database: "d", Table: "t", Columns: []contract.TableColumn{
		{Name: l.Topic, Type: "LowCardinality(String)"}, {Name: l.Partition, Type: "UInt16"}, {Name: l.Offset, Type: "UInt64"}, {Name: l.Epoch, Type: "UInt32"},
		{Name: p.Contract.RescueColumn, Type: "String"},
	}}
	for _, c := range p.Contract.Columns {
		table.Columns = append(table.Columns, contract.TableColumn{Name: c.Name, Type: c.Type})
	}
	plan, err := contract.Compile(p.Contract, table, l, json.Version)
	if err != nil {
		tb.Fatal(err)
	}
	decoder, err := json.New(plan)
	if err != nil {
		tb.Fatal(err)
	}
	return decoder
}

// sink is a connection that takes everything and keeps nothing.
type sink struct {
	net.Conn
	written int64
}

func (s *sink) Write(p []byte) (int, error) {
	s.written += int64(len(p))
	return len(p), nil
}

// BenchmarkSend is what it costs to encode and compress a block, up to the socket: none, and the compressions, as each transport
// sends them; and what ch-go's own sending of the block as one frame costs. cpu-s/Mrow is all of the process.
func BenchmarkSend(b *testing.B) {
	input := demoBlock(b, benchRows)
	size := 0
	for _, m := range []struct {
		name string
		send func(*sink) error
	}{
		{"native/none", overNative(methodNone, input)}, {"native/lz4", overNative(methodLZ4, input)}, {"native/zstd", overNative(methodZSTD, input)},
		{"http/none", overHTTP(methodNone, input)}, {"http/lz4", overHTTP(methodLZ4, input)}, {"http/zstd", overHTTP(methodZSTD, input)},
		{"ch-go/lz4", chGo(compress.LZ4, input)}, {"ch-go/zstd", chGo(compress.ZSTD, input)},
	} {
		b.Run(m.name, func(b *testing.B) {
			b.ReportAllocs()
			s := &sink{}
			before := cpuTime(b)
			for b.Loop() {
				s.written = 0
				if err := m.send(s); err != nil {
					b.Fatal(err)
				}
			}
			cpu := cpuTime(b) - before
			if size == 0 {
				size = int(s.written) // the first is uncompressed
			}
			b.SetBytes(int64(size))
			b.ReportMetric(cpu.Seconds()/float64(b.N)/benchRows*1e6, "cpu-s/Mrow")
			b.ReportMetric(float64(size)/float64(s.written), "ratio")
		})
	}
}

// overNative sends a block as one connection does, again and again.
func overNative(m method, input proto.Input) func(*sink) error {
	n := &nativeConn{method: m}
	return func(s *sink) error {
		n.wire = s
		return n.send(input)
	}
}

func overHTTP(m method, input proto.Input) func(*sink) error {
	h := &httpConn{method: m}
	return func(s *sink) error {
		body, err := h.body(&statement{body: "INSERT", input: input})
		if err != nil {
			return err
		}
		defer body.release()
		parts := net.Buffers(body.parts)
		_, err = parts.WriteTo(s)
		return err
	}
}

// chGo is how ch-go compresses: the block copied as a whole, one frame. Buffers are kept, as on its connections.
func chGo(m compress.Method, input proto.Input) func(*sink) error {
	w := compress.NewWriter(compress.LevelZero, m)
	var buf proto.Buffer
	return func(s *sink) error {
		buf.Reset()
		block := proto.Block{Columns: len(input), Rows: input[0].Data.Rows()}
		if err := block.EncodeBlock(&buf, revision, input); err != nil {
			return err
		}
		if err := w.Compress(buf.Buf); err != nil {
			return err
		}
		_, err := s.Write(w.Data)
		return err
	}
}

// BenchmarkLoopback is what an uncompressed block costs through a real socket, the reading end's share included.
func BenchmarkLoopback(b *testing.B) {
	input := demoBlock(b, benchRows)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = ln.Close() }()
	go func() {
		if c, err := ln.Accept(); err == nil {
			_, _ = io.Copy(io.Discard, c)
		}
	}()
	c, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	n := &nativeConn{raw: c, wire: c}
	b.ReportAllocs()
	before := cpuTime(b)
	for b.Loop() {
		if err := n.send(input); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric((cpuTime(b)-before).Seconds()/float64(b.N)/benchRows*1e6, "cpu-s/Mrow")
}

func cpuTime(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// A block in wire format is not copied on its way out, and what is allocated does not grow with its rows.
func TestSend_DoesNotCopyAndHardlyAllocates(t *testing.T) {
	for name, m := range map[string]method{"none": methodNone, "lz4": methodLZ4, "zstd": methodZSTD} {
		const budget = 150
		var allocs [2]float64
		for i, n := range []int{500, 8000} {
			input := demoBlock(t, n)
			native, http := overNative(m, input), overHTTP(m, input)
			// The least of many: what is kept between sends is in pools, which a collection empties, and which lose a
			// quarter of it when the race detector is on.
			allocs[i] = math.Inf(1)
			for range 12 {
				allocs[i] = min(allocs[i], testing.AllocsPerRun(1, func() {
					if err := errors.Join(native(&sink{}), http(&sink{})); err != nil {
						t.Fatal(err)
					}
				}))
			}
		}
		if allocs[1] > budget || allocs[1] > 2*allocs[0]+20 {
			t.Errorf("%s: %.0f allocations for 500 rows, %.0f for 8,000, budget %d", name, allocs[0], allocs[1], budget)
		}
	}
	// No copy: the vector that is written holds the columns' own memory.
	c := &proto.ColUInt64{}
	for i := range 10_000 {
		c.Append(uint64(i))
	}
	body, err := (&httpConn{}).body(&statement{body: "INSERT", input: proto.Input{{Name: "c", Data: c}}})
	if err != nil {
		t.Fatal(err)
	}
	last := body.parts[len(body.parts)-1]
	(*c)[0] = 0xff
	if len(last) != 80_000 || last[0] != 0xff {
		t.Errorf("the last of %d parts has %d bytes and does not alias the column", len(body.parts), len(last))
	}
}
