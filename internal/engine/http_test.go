package engine_test

import (
	"testing"

	"github.com/waybill-data/waybill/internal/ledger"
	"github.com/waybill-data/waybill/internal/testenv"
	"github.com/waybill-data/waybill/internal/testenv/faultproxy"
)

// A pipeline over HTTP, where every insert is proven by a read-back: exactly once, with a reply lost of each kind of insert,
// without compression and with it. HTTP answers when the insert is done, so that a lost reply is that of an insert that landed.
func TestHTTP_LostReplyIsReadBack(t *testing.T) {
	for _, store := range []string{"calls", ledger.TableLedger, ledger.TableDeadLetters} {
		t.Run(store, func(t *testing.T) {
			w := newWorld(t, 2)
			proxy := testenv.Proxy(t, w.ch.HTTPAddr())
			w.produce(2000)
			proxy.Set(faultproxy.DropReply().On(faultproxy.Insert(store)).Times(2))
			a := w.start(w.file(spec{scheme: "http", addr: proxy.Addr()}))
			w.quiet(2000)
			a.stop()
			if n := proxy.Applied(faultproxy.NameDropReply); n != 2 {
				t.Fatalf("%d replies lost, want 2", n)
			}
			w.verify()
			w.wantCounts("2000 1980 20 0")
			if s := a.p.Status().Totals; s.Written != 1980 || s.DeadLettered != 20 {
				t.Errorf("totals %+v", s)
			}
		})
	}
}

func TestHTTP_Compressed(t *testing.T) {
	for _, scheme := range []string{"http", "clickhouse"} {
		for _, compression := range []string{"lz4", "zstd"} {
			t.Run(scheme+" "+compression, func(t *testing.T) {
				w := newWorld(t, 2)
				addr := map[string]string{"http": w.ch.HTTPAddr(), "clickhouse": w.ch.TCPAddr()}[scheme]
				w.produce(2000)
				a := w.start(w.file(spec{scheme: scheme, addr: addr, sink: ", compression: " + compression}))
				w.quiet(2000)
				a.stop()
				w.verify()
				w.wantCounts("2000 1980 20 0")
			})
		}
	}
}

// One row that the table refuses is found by halving, over HTTP too.
func TestHTTP_RefusedRowIsFound(t *testing.T) {
	w := newWorld(t, 2)
	w.table(", CONSTRAINT odd CHECK id != 777")
	w.produce(2000)
	a := w.start(w.file(spec{scheme: "http", addr: w.ch.HTTPAddr()}))
	w.quiet(2000)
	a.stop()
	w.verify()
	w.wantCounts("2000 1979 21 0")
}

// At-least-once reads nothing back and HTTP says nothing: it must come to an end all the same, and lose nothing by a lost reply.
func TestHTTP_AtLeastOnce(t *testing.T) {
	w := newWorld(t, 2)
	proxy := testenv.Proxy(t, w.ch.HTTPAddr())
	w.produce(1000)
	a := w.start(w.file(spec{scheme: "http", addr: proxy.Addr(), top: "delivery: at-least-once"}))
	w.quiet(1000)
	w.verify() // nothing went wrong yet, so nothing is there twice
	proxy.Set(faultproxy.DropReply().On(faultproxy.Insert("calls")).Times(1))
	w.produce(500)
	w.quiet(1500)
	a.stop()
	if n := proxy.Applied(faultproxy.NameDropReply); n != 1 {
		t.Fatalf("%d replies lost, want 1", n)
	}
	w.wantCounts("1500 1485 15 0")
	if got := w.query("SELECT uniqExact(_partition, _offset) FROM " + w.db + ".calls"); got != "1485" {
		t.Errorf("%s rows, want 1485", got)
	}
}
