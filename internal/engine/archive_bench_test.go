package engine_test

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/waybill-data/waybill"
	"github.com/waybill-data/waybill/internal/config"
	"github.com/waybill-data/waybill/internal/demo/events"
	"github.com/waybill-data/waybill/internal/testenv"
)

// BenchmarkArchive keeps the demo's LLM events, and reads them again: what it costs in CPU, here and on the server, merges included, and in bytes. See
// docs/adr/0016.
func BenchmarkArchive(b *testing.B) {
	w := newWorld(b, 4)
	raw := w.load(benchEvents)
	var write, server, read time.Duration
	var rows, took int64
	var file *config.Pipeline
	for b.Loop() {
		b.StopTimer()
		w.exec("DROP TABLE IF EXISTS " + w.db + ".kept SYNC")
		w.name = fmt.Sprintf("%s-%d", w.name, b.N)
		cfg, err := config.Parse("bench.yaml", []byte(w.text(spec{rows: 500_000, bytes: 96 << 20, deadline: "30s", top: "archive: {table: kept}"})), nil)
		if err != nil {
			b.Fatal(err)
		}
		file = cfg
		b.StartTimer()
		before, busy := cpuTime(b), w.serverCPU()
		w.run(file.Archiver(), benchEvents)
		write += cpuTime(b) - before
		w.exec("OPTIMIZE TABLE " + w.db + ".kept FINAL")
		server += w.serverCPU() - busy
		rows += benchEvents

		before = cpuTime(b)
		began := time.Now()
		r := w.reader(file)
		for p := range int32(4) {
			if _, err := r.Read(b.Context(), waybill.TopicPartition{Topic: topic, Partition: p}, waybill.Span{First: 0, Next: benchEvents}, func(*waybill.Record) error { return nil }); err != nil {
				b.Fatal(err)
			}
		}
		took += int64(time.Since(began))
		read += cpuTime(b) - before
	}
	perMillion := func(d time.Duration) float64 { return d.Seconds() / float64(rows) * 1e6 }
	b.ReportMetric(perMillion(write), "worker-cpu-s/Mrec")
	b.ReportMetric(perMillion(server), "server-cpu-s/Mrec")
	b.ReportMetric(perMillion(read), "read-cpu-s/Mrec")
	b.ReportMetric(float64(rows)/(float64(took)/1e9), "read-rec/s")
	b.ReportMetric(float64(raw)/benchEvents, "raw-B/rec")
	b.ReportMetric(w.number("SELECT sum(bytes_on_disk) FROM system.parts WHERE active AND table = 'kept' AND database = '"+w.db+"'")/benchEvents, "archive-B/rec")
	for _, codec := range []struct {
		name string
		kgo.CompressionCodec
	}{{"none", kgo.NoCompression()}, {"lz4", kgo.Lz4Compression()}, {"zstd", kgo.ZstdCompression()}} {
		b.ReportMetric(float64(kafkaBytes(b, codec.CompressionCodec))/benchEvents, "kafka-"+codec.name+"-B/rec")
	}
	w.codecs(b)
}

// codecs says what other codecs would make of the values and keys: bytes a record, and seconds of the server's CPU for a million.
func (w *world) codecs(b *testing.B) {
	for _, block := range []int{64 << 10, 1 << 20, 4 << 20} {
		for _, codec := range []string{"LZ4", "ZSTD(1)", "ZSTD(3)", "ZSTD(6)"} {
			w.exec("DROP TABLE IF EXISTS "+w.db+".codec SYNC", fmt.Sprintf(`CREATE TABLE %s.codec (p UInt32, o UInt64, key Nullable(String) CODEC(%s), value Nullable(String) CODEC(%s))
				ENGINE = MergeTree ORDER BY (p, o) SETTINGS max_compress_block_size = %d`, w.db, codec, codec, block))
			busy := w.serverCPU()
			w.exec("INSERT INTO "+w.db+".codec SELECT _partition, _offset, key, value FROM "+w.db+".kept", "OPTIMIZE TABLE "+w.db+".codec FINAL")
			took := w.serverCPU() - busy
			of := func(column string) float64 {
				return w.number("SELECT data_compressed_bytes FROM system.columns WHERE table = 'codec' AND database = '"+w.db+"' AND name = '"+column+"'") / benchEvents
			}
			b.Logf("%-7s in blocks of %4d KiB: value %6.1f, key %4.1f bytes a record; %4.1f CPU-seconds a million", codec, block>>10, of("value"), of("key"), took.Seconds()/benchEvents*1e6)
		}
	}
}

func (w *world) number(sql string) float64 {
	w.Helper()
	n, err := strconv.ParseFloat(strings.TrimSpace(w.query(sql)), 64)
	if err != nil {
		w.Fatal(err)
	}
	return n
}

// serverCPU is what the server has used so far.
func (w *world) serverCPU() time.Duration {
	w.Helper()
	return time.Duration(w.number("SELECT sum(value) FROM system.events WHERE event = 'OSCPUVirtualTimeMicroseconds'")) * time.Microsecond
}

// kafkaBytes is how many bytes the same events are in a topic whose producer compresses so, in batches of a hundred records.
func kafkaBytes(b *testing.B, codec kgo.CompressionCodec) int64 {
	w := newWorld(b, 4)
	var stored batchBytes
	cl := w.client(kgo.ProducerBatchCompression(codec), kgo.WithHooks(&stored), kgo.MaxBufferedRecords(100), kgo.ProducerLinger(20*time.Millisecond))
	defer cl.Close()
	gen := events.New(1)
	for range benchEvents {
		key, value, _ := gen.Next()
		cl.Produce(context.Background(), &kgo.Record{Key: key, Value: value}, nil)
	}
	if err := cl.Flush(context.Background()); err != nil {
		b.Fatal(err)
	}
	testenv.Eventually(b, soon, "all is produced", func() bool { return stored.records.Load() >= benchEvents })
	return stored.bytes.Load()
}

// batchBytes counts what is produced.
type batchBytes struct{ bytes, records atomic.Int64 }

// OnProduceBatchWritten is franz-go's hook.
func (s *batchBytes) OnProduceBatchWritten(_ kgo.BrokerMetadata, _ string, _ int32, m kgo.ProduceBatchMetrics) {
	s.bytes.Add(int64(m.CompressedBytes))
	s.records.Add(int64(m.NumRecords))
}
