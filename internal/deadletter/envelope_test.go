package deadletter

import (
	"bytes"
	"encoding/hex"
	"testing"
	"time"

	waybill "github.com/waybill-data/waybill"
	"github.com/waybill-data/waybill/internal/clickhouse"
	"github.com/waybill-data/waybill/internal/ledger"
	"github.com/waybill-data/waybill/internal/testenv"
)

func TestMain(m *testing.M) { testenv.Main(m) }

type world struct {
	*testing.T
	ch    *clickhouse.Client
	store *ledger.Store
	http  string
}

func newWorld(t *testing.T) *world {
	t.Helper()
	srv := testenv.SharedClickHouse(t)
	c, err := clickhouse.Open(t.Context(), clickhouse.Config{Addr: srv.TCPAddr()}, clickhouse.Deps{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	w := &world{t, c, ledger.New(c, testenv.Database(t, srv)), srv.HTTPAddr()}
	if err := w.store.Migrate(t.Context(), time.Now()); err != nil {
		t.Fatal(err)
	}
	return w
}

func (w *world) insert(token waybill.Token, envelopes ...Envelope) clickhouse.Answer {
	w.Helper()
	return w.ch.Insert(w.Context(), clickhouse.Insert{
		Database: w.store.Database(), Table: ledger.TableDeadLetters, Input: Block(envelopes), Token: token,
		Deadline: w.ch.ServerNow(time.Now()).Add(time.Minute),
	})
}

func (w *world) value(sql string) string {
	w.Helper()
	return testenv.QueryValue(w, w.http, sql)
}

func letter(offset int64) Envelope {
	r := waybill.Record{Topic: "t", Partition: 1, Offset: offset, Time: 1795358544644, Value: []byte("v")}
	b := waybill.Batch{ID: waybill.BatchID{0xff, 0}, Epoch: 2, Plan: 9, Time: 1795358545000}
	return Of(&r, "p", &b, Reason{StageContract, "invalid_value", "usage.tokens", `"x" is not a number`})
}

// All 256 bytes in key, value and headers; nil and empty are told apart.
func TestBlock_IsBinarySafe(t *testing.T) {
	w := newWorld(t)
	all := make([]byte, 256)
	for i := range all {
		all[i] = byte(i)
	}
	e := letter(5)
	e.Key, e.Value = all, all
	e.Headers = []waybill.Header{{Key: "k\x00\xff", Value: all}, {Key: "", Value: nil}}
	tombstone, empty := letter(6), letter(7)
	tombstone.Value = nil
	empty.Key, empty.Value = []byte{}, []byte{}
	if a := w.insert("a", e, tombstone, empty); a.Outcome != clickhouse.Landed {
		t.Fatalf("%+v", a)
	}
	from := " FROM " + w.store.Database() + ".dead_letters WHERE offset = "
	want := hex.EncodeToString(all)
	if got := w.value("SELECT lower(hex(assumeNotNull(key)) || ' ' || hex(assumeNotNull(value)) || ' ' || hex(header_values[1]) || ' ' || hex(header_keys[1]))" + from + "5"); got != want+" "+want+" "+want+" 6b00ff" {
		t.Errorf("bytes came back as %s", got)
	}
	if got := w.value("SELECT (isNull(key), isNull(value), length(header_keys))" + from + "6"); got != "(1,1,0)" {
		t.Errorf("tombstone: %s", got)
	}
	if got := w.value("SELECT (isNull(key), isNull(value))" + from + "7"); got != "(0,0)" {
		t.Errorf("empty value: %s", got)
	}
	if got := w.value("SELECT (pipeline, epoch, topic, partition, record_time, hex(batch), batch_time, plan, stage, code, column, message, attempt)" + from + "6"); got !=
		`('p',2,'t',1,'2026-11-22 14:42:24.644','FF000000000000000000000000000000','2026-11-22 14:42:25.000',9,'contract','invalid_value','usage.tokens','"x" is not a number',0)` {
		t.Errorf("row %s", got)
	}
}

func TestBlock_FiveMegabyteValues(t *testing.T) {
	w := newWorld(t)
	var letters []Envelope
	for i := range int64(4) {
		e := letter(i)
		e.Value = bytes.Repeat([]byte{byte(i), 0, '\n', 0xff, '\''}, 1<<20)
		letters = append(letters, e)
		if e.Size() < 5<<20 {
			t.Fatalf("size %d", e.Size())
		}
	}
	if a := w.insert("a", letters...); a.Outcome != clickhouse.Landed {
		t.Fatalf("%+v", a)
	}
	if got := w.value("SELECT (count(), sum(length(assumeNotNull(value)))) FROM " + w.store.Database() + ".dead_letters"); got != "(4,20971520)" {
		t.Errorf("(rows, bytes) %s", got)
	}
}

// The same procedure serves dead letters: what is there is known by offset.
func TestPresence(t *testing.T) {
	w := newWorld(t)
	if a := w.insert("a", letter(3), letter(4), letter(9)); a.Outcome != clickhouse.Landed {
		t.Fatalf("%+v", a)
	}
	other := letter(5)
	other.Pipeline = "q"
	replayed := letter(6)
	replayed.Attempt = 1
	if a := w.insert("b", other, replayed); a.Outcome != clickhouse.Landed {
		t.Fatalf("%+v", a)
	}
	tp := waybill.TopicPartition{Topic: "t", Partition: 1}
	p := w.store.DeadLetterPresence("p", 2, []clickhouse.PartitionSpan{{TopicPartition: tp, Span: waybill.Span{First: 0, Next: 9}}})
	got, err := w.ch.Present(t.Context(), p)
	if err != nil || len(got) != 1 || got[tp].String() != "[3,5)" {
		t.Errorf("present %v %v", got, err)
	}
	past, err := w.ch.PresentPast(t.Context(), p, map[waybill.TopicPartition]int64{tp: 4})
	if err != nil || past[tp].String() != "[4,5) [9,10)" {
		t.Errorf("past %v %v", past, err)
	}
}
