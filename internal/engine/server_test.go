package engine_test

import (
	"strings"
	"testing"

	"github.com/waybill-data/waybill/internal/ledger"
	"github.com/waybill-data/waybill/internal/status"
	"github.com/waybill-data/waybill/internal/testenv"
	"github.com/waybill-data/waybill/internal/testenv/faultproxy"
)

func TestServer_LostReplyIsReadBack(t *testing.T) {
	for _, store := range []string{"calls", ledger.TableLedger, ledger.TableDeadLetters} {
		t.Run(store, func(t *testing.T) {
			w := newWorld(t, 2)
			proxy := testenv.Proxy(t, w.ch.TCPAddr())
			w.produce(2000)
			proxy.Set(faultproxy.DropInsertReply(store).Times(2))
			a := w.start(w.file(spec{addr: proxy.Addr()}))
			w.quiet(2000)
			a.stop()
			if n := proxy.Applied(faultproxy.NameDropInsert); n != 2 {
				t.Fatalf("%d replies lost, want 2", n)
			}
			w.verify()
			w.wantCounts("2000 1980 20 0")
			// What was found by reading back is counted all the same.
			if s := a.p.Status().Totals; s.Written != 1980 || s.DeadLettered != 20 {
				t.Errorf("totals %+v", s)
			}
		})
	}
}

func stalled(words string) func(status.Pipeline) bool {
	return func(s status.Pipeline) bool {
		return s.State == status.Stalled && strings.Contains(s.Reason, words) && s.StalledSince != nil
	}
}

func moving(s status.Pipeline) bool { return s.State == status.Running && s.StalledSince == nil }

func TestServer_StallIsShownInItsOwnWordsAndEnds(t *testing.T) {
	w := newWorld(t, 2)
	proxy := testenv.Proxy(t, w.ch.TCPAddr())
	a := w.start(w.file(spec{addr: proxy.Addr()}))
	a.await("a runs", owns(2))
	for fault, words := range map[string]string{faultproxy.NameAnswer: "too many parts, says the test", faultproxy.NameRefuse: "read"} {
		before := w.produced.Load()
		if fault == faultproxy.NameAnswer {
			proxy.Set(faultproxy.Answer(252, "DB::Exception", words).On(faultproxy.Insert("calls")))
		} else {
			proxy.Set(faultproxy.Refuse())
			proxy.KillConnections()
			words = ""
		}
		w.produce(300)
		a.await(fault+": stalled", stalled(words))
		if proxy.Applied(fault) == 0 {
			t.Fatalf("fault %s was never applied", fault)
		}
		proxy.Set(faultproxy.Pass())
		w.quiet(before + 300)
		a.await(fault+": moving again", moving)
	}
	a.stop()
	w.verify()
}

// No insert comes to clear it: the topic brings nothing.
func TestServer_StallOfAQuietPipelineEnds(t *testing.T) {
	w := newWorld(t, 1)
	proxy := testenv.Proxy(t, w.ch.TCPAddr())
	w.produce(50)
	a := w.start(w.file(spec{addr: proxy.Addr()}))
	w.quiet(50)
	proxy.Set(faultproxy.Refuse())
	proxy.KillConnections()
	a.await("stalled", stalled(""))
	proxy.Set(faultproxy.Pass())
	a.await("moving again", moving)
	a.stop()
	w.verify()
}

func TestServer_UnreachableAtStartIsAStallNotAnEnd(t *testing.T) {
	w := newWorld(t, 1)
	proxy := testenv.Proxy(t, w.ch.TCPAddr())
	proxy.Set(faultproxy.Refuse())
	w.produce(50)
	a := w.start(w.file(spec{addr: proxy.Addr()}))
	a.await("stalled", stalled(""))
	proxy.Set(faultproxy.Pass())
	w.quiet(50)
	a.await("moving", moving)
	a.stop()
	w.verify()
}
