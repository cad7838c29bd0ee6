package engine_test

import (
	"testing"

	"github.com/waybill-data/waybill/internal/status"
)

func owns(n int) func(status.Pipeline) bool {
	return func(s status.Pipeline) bool {
		if len(s.Partitions) != n {
			return false
		}
		for _, p := range s.Partitions {
			if p.State != status.Consuming {
				return false
			}
		}
		return true
	}
}

func some(s status.Pipeline) bool { return len(s.Partitions) > 0 }

func TestGroup_WorkersComeAndGo(t *testing.T) {
	w := newWorld(t, 6)
	cfg := w.file(spec{rows: 200})
	a := w.start(cfg)
	a.await("a owns all", owns(6))
	for range 3 {
		w.produce(1500)
		b := w.start(cfg)
		b.await("b has a share", some)
		w.produce(1500)
		a.stop() // b takes over
		b.await("b owns all", owns(6))
		a = b
	}
	w.quiet(w.produced.Load())
	a.stop()
	w.verify()
	w.wantCounts("9000 8910 90 0")
}

// A worker that is cut off from Kafka, but not from ClickHouse, goes on sending until its lease has run
// out, while another one takes its partitions over.
func TestGroup_CutOffWorkerIsTakenOver(t *testing.T) {
	w := newWorld(t, 4)
	cfg := w.file(spec{rows: 100, kafka: ", session_timeout: 3s"})
	w.produce(3000)
	a := w.start(cfg)
	a.await("a has begun", func(s status.Pipeline) bool { return s.Totals.Written > 0 })
	a.sockets.cutAll()
	w.produce(1000)
	b := w.start(cfg)
	w.quiet(4000)
	b.await("b owns all", owns(4))
	a.sockets.mend() // it comes back, as another member
	a.await("a is back", func(s status.Pipeline) bool { return len(s.Partitions) == 2 })
	w.produce(1000)
	w.quiet(5000)
	a.stop()
	b.stop()
	w.verify()
	w.wantCounts("5000 4950 50 0")
}
