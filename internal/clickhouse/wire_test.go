package clickhouse

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"testing"

	"github.com/ClickHouse/ch-go/compress"
	"github.com/ClickHouse/ch-go/proto"

	waybill "github.com/waybill-data/waybill"
	"github.com/waybill-data/waybill/internal/column"
)

// allWires is every transport with every compression.
var allWires = []wire{
	{"native", Native, CompressionNone}, {"native lz4", Native, CompressionLZ4}, {"native zstd", Native, CompressionZSTD},
	{"http", HTTP, CompressionNone}, {"http lz4", HTTP, CompressionLZ4}, {"http zstd", HTTP, CompressionZSTD},
}

// recorder keeps what is written to a connection.
type recorder struct {
	net.Conn
	sent bytes.Buffer
}

func (r *recorder) Write(p []byte) (int, error) {
	r.sent.Write(p)
	return r.Conn.Write(p)
}

// record has the client's idle connection write through a recorder.
func (w *world) record() *recorder {
	w.Helper()
	w.c.pool.mu.Lock()
	defer w.c.pool.mu.Unlock()
	cn := w.c.pool.idle[len(w.c.pool.idle)-1]
	r := &recorder{Conn: cn.wire}
	switch tr := cn.transport.(type) {
	case *nativeConn:
		tr.wire = r // the block; ch-go writes the statement by itself
	case *httpConn:
		tr.wire = r
	}
	return r
}

// blockOf takes the block out of what was sent: from the number of columns to the last row.
func (over wire) blockOf(t *testing.T, sent []byte) []byte {
	t.Helper()
	if over.protocol == Native {
		// Around it: packet number and table name, block info; and packet, name, info, no columns, no rows at the end.
		const packet, info = 2, 8
		if over.compression != CompressionNone {
			return unframed(t, sent[packet:])[info:]
		}
		return sent[packet+info : len(sent)-packet-info-2]
	}
	_, body, _ := bytes.Cut(sent, []byte("\r\n\r\n"))
	if over.compression != CompressionNone {
		body = unframed(t, body)
	}
	_, block, found := bytes.Cut(body, []byte(" FORMAT Native\n"))
	if !found {
		t.Fatalf("no block in %q", body[:min(len(body), 500)])
	}
	return block
}

func unframed(t *testing.T, framed []byte) []byte {
	t.Helper()
	// Frames end where the block does; over the native protocol another packet follows, whose first byte is no checksum.
	var out bytes.Buffer
	_, _ = io.Copy(&out, compress.NewReader(bytes.NewReader(framed)))
	return out.Bytes()
}

// The same columns are the same bytes, whatever they travel by.
func TestWire_BlocksAreIdentical(t *testing.T) {
	var want []byte
	for _, over := range allWires {
		w := newWorld(t, over)
		w.table("t", ", s String, m Map(LowCardinality(String), String), a Array(UInt8), n Nullable(Int64)", window100)
		sent := w.record()
		w.wantLanded(w.insert("t", "T", severalTypes(t, 20_000)))
		got := over.blockOf(t, sent.sent.Bytes())
		if want == nil {
			want = got
		}
		if len(got) < 500_000 || !bytes.Equal(got, want) {
			t.Errorf("%s: %d bytes, native without compression %d", over.name, len(got), len(want))
		}
	}
}

// severalTypes is lineage columns and others, built by package column as the decoder does.
func severalTypes(t *testing.T, n int) proto.Input {
	t.Helper()
	offsets := make([]int64, n)
	for i := range offsets {
		offsets[i] = int64(i)
	}
	b, err := column.NewBlock([]string{"s", "m", "a", "n"},
		[]string{"String", "Map(LowCardinality(String), String)", "Array(UInt8)", "Nullable(Int64)"})
	if err != nil {
		t.Fatal(err)
	}
	for i := range n {
		b.Columns[0].(column.Texter).AppendString(fmt.Sprintf("row %d", i))
		for _, c := range b.Columns[1:] {
			c.AppendZero()
		}
	}
	return append(rows(0, offsets...), b.Input()...)
}

// Blocks of more than one frame land whole by every way.
func TestWire_EveryCompressionLands(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 8))
	text := new(proto.ColStr)
	offsets := make([]int64, 3000)
	for i := range offsets {
		offsets[i] = int64(i)
		text.AppendBytes(mixed(rng, rng.IntN(3000)))
	}
	sums := map[string]string{}
	for _, over := range allWires {
		w := newWorld(t, over)
		w.table("t", ", s String", window100)
		in := Insert{Database: w.db, Table: "t", Token: "T", Deadline: w.soon(), Input: append(rows(0, offsets...), proto.InputColumn{Name: "s", Data: text})}
		w.wantLanded(w.c.Insert(t.Context(), in))
		w.wantDeduplicated(w.c.Insert(t.Context(), in))
		sums[w.value("SELECT toString(count()) || ' ' || toString(sum(cityHash64(*))) FROM "+w.db+".t")] = over.name
	}
	if len(sums) != 1 {
		t.Errorf("different tables: %v", sums)
	}
}

// Over HTTP the statement and the block are one stream: no byte of a block may be taken for a part of the statement. Ten columns
// make it begin with a line break.
func TestWire_HostileFirstBytes(t *testing.T) {
	w := newWorld(t, wire{"http", HTTP, CompressionNone})
	w.exec("CREATE TABLE " + w.db + ".t (c1 String, c2 String, c3 String, c4 String, c5 String, c6 String, c7 String, c8 String, c9 String, c10 String) " +
		"ENGINE = MergeTree ORDER BY tuple()")
	rng := rand.New(rand.NewPCG(9, 10))
	texts := []string{"\n\n", " \t\r\n", "'''", "/*", "-- ", "(((", ";", "\x00\x00", " FORMAT Native\n", "; INSERT INTO", "\\", "\xff\xfe"}
	want := 0
	for i := range 60 {
		columns, n := []int{1, 2, 9, 10}[rng.IntN(4)], []int{1, 2, 10, 13, 32, 59}[rng.IntN(6)]
		var in proto.Input
		for c := range columns {
			data := new(proto.ColStr)
			for range n {
				data.Append(texts[rng.IntN(len(texts))])
			}
			in = append(in, proto.InputColumn{Name: fmt.Sprint("c", c+1), Data: data})
		}
		w.wantLanded(w.insert("t", waybill.Token(fmt.Sprint(i)), in))
		want += n
	}
	if got := w.value("SELECT count() FROM " + w.db + ".t"); got != fmt.Sprint(want) {
		t.Errorf("%s rows, want %d", got, want)
	}
}

// The settings that an answer is asked for under must reach the server, and an answer of several blocks must be read to its end.
func TestWire_AnswersOfSeveralBlocks(t *testing.T) { overBoth(t, testWire_AnswersOfSeveralBlocks) }

func testWire_AnswersOfSeveralBlocks(t *testing.T, over wire) {
	w := newWorld(t, over)
	var n proto.ColUInt64
	var s proto.ColStr
	blocks, sum := 0, uint64(0)
	err := w.c.Query(t.Context(), "SELECT number AS n, toLowCardinality(toString(number % 3)) AS s FROM numbers(1000000)",
		proto.Results{{Name: "n", Data: &n}, {Name: "s", Data: &s}}, func(rows int) error {
			blocks++
			for i := range rows {
				sum += n[i]
			}
			return nil
		})
	if err != nil || blocks < 2 || sum != 499999500000 {
		t.Errorf("%d blocks, sum %d, %v", blocks, sum, err)
	}
	for range 3 { // the connection is as good as before
		if _, _, err := w.c.Boot(context.Background()); err != nil {
			t.Error(err)
		}
	}
}
