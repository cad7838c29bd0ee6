package engine_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/waybill-data/waybill"
	"github.com/waybill-data/waybill/internal/clickhouse"
	"github.com/waybill-data/waybill/internal/kafka"
	"github.com/waybill-data/waybill/internal/status"
	"github.com/waybill-data/waybill/internal/testenv"
	"github.com/waybill-data/waybill/internal/testenv/faultproxy"
)

// good is an event that every table takes.
func good(i int) string {
	return fmt.Sprintf(`{"id":%d,"model":"m","usage":{"tokens":1}}`, i)
}

// unheard is a code that no server has.
const unheard = 4242

const fewRows = 1

// everyRow: minutes are at hand.
func everyRow() bool { return os.Getenv("WAYBILL_E2E") == "full" }

// Every row of the table of ClickHouse's codes, and one that is not in it, answered to a pipeline that runs: it does what docs/reference/errors.md says
// of the class. When the fault is over every event is there once, and none has become a dead letter. Without WAYBILL_E2E=full, the first row of
// each class: the class alone decides.
func TestCodes_ClickHouse(t *testing.T) {
	rows, of := map[waybill.Action][]clickhouse.Code{}, map[waybill.Class]int{}
	for _, c := range append(clickhouse.Codes(), clickhouse.Code{Code: unheard, Name: "unheard of"}) {
		if of[c.Class]++; everyRow() || of[c.Class] <= fewRows {
			rows[c.Class.Action()] = append(rows[c.Class.Action()], c)
		}
	}
	meet := map[waybill.Action]func(*met, *testing.T, clickhouse.Code){
		waybill.ActionRetry: (*met).stalls, waybill.ActionProbe: (*met).stalls, waybill.ActionBisect: (*met).bisects, waybill.ActionReplan: (*met).stops, waybill.ActionStop: (*met).stops,
	}
	const shards = 3
	for action, codes := range rows {
		for shard := range min(shards, len(codes)) {
			t.Run(fmt.Sprint(action, " ", shard), func(t *testing.T) {
				m := newMet(t)
				for i := shard; i < len(codes) && !t.Failed(); i += shards {
					meet[action](m, t, codes[i])
				}
				m.over()
			})
		}
	}
}

// met is a pipeline that is to meet faults.
type met struct {
	*world
	proxy  *faultproxy.Proxy
	worker *worker // nil: it has stopped
	total  int64
}

const perCode = 10 // events, which are a batch

func newMet(t *testing.T) *met {
	w := newWorld(t, 1)
	return &met{world: w, proxy: testenv.Proxy(t, w.ch.TCPAddr())}
}

func (m *met) run() {
	m.Helper()
	if m.worker == nil {
		m.worker = m.start(m.file(spec{addr: m.proxy.Addr(), rows: perCode}))
	}
}

func (m *met) produceSome() { m.Helper(); m.total += perCode; m.produceAs(perCode, good) }

func answerWith(code int) faultproxy.Fault {
	return faultproxy.Answer(int32(code), "DB::Exception", "DB::Exception: injected").On(faultproxy.Insert("calls"))
}

// stalls: it waits for the fault to be over, stays ready, and goes on by itself.
func (m *met) stalls(t *testing.T, c clickhouse.Code) {
	t.Helper()
	m.run()
	m.proxy.Set(answerWith(c.Code))
	m.produceSome()
	m.worker.await(fmt.Sprint("stalled by ", c.Code), func(s status.Pipeline) bool {
		return s.State == status.Stalled && strings.Contains(s.Reason, fmt.Sprintf("(%d)", c.Code))
	})
	s := m.worker.p.Status()
	if s.LastError == nil || s.LastError.Class != c.Class.String() {
		t.Errorf("%d %s: %+v, want class %s", c.Code, c.Name, s.LastError, c.Class)
	}
	if not := (status.Status{Pipelines: []status.Pipeline{s}}).NotReady(); len(not) != 0 {
		t.Errorf("%d %s: not ready: %v", c.Code, c.Name, not)
	}
	m.proxy.Set(faultproxy.Pass())
	m.quiet(m.total)
}

// bisects: one refusal is not the rows'. What a row is to blame for is tested beside.
func (m *met) bisects(t *testing.T, c clickhouse.Code) {
	t.Helper()
	m.run()
	before := m.proxy.Applied(faultproxy.NameAnswer)
	m.proxy.Set(answerWith(c.Code).Times(1))
	m.produceSome()
	m.quiet(m.total)
	if n := m.proxy.Applied(faultproxy.NameAnswer) - before; n != 1 {
		t.Errorf("%d %s: answered %d times", c.Code, c.Name, n)
	}
	if s := m.worker.p.Status(); s.State != status.Running || s.Totals.DeadLettered != 0 {
		t.Errorf("%d %s: %s, %+v", c.Code, c.Name, s.State, s.Totals)
	}
}

// stops: it ends with an error of that class, and the next start carries out what was pending.
func (m *met) stops(t *testing.T, c clickhouse.Code) {
	t.Helper()
	m.proxy.Set(answerWith(c.Code))
	if m.total == 0 {
		m.produceSome()
	}
	m.run()
	err := m.worker.ended()
	var e *waybill.Error
	if !errors.As(err, &e) || e.Code != c.Code || e.Class != c.Class {
		t.Errorf("%d %s: %v, want class %s", c.Code, c.Name, err, c.Class)
	}
	s := m.worker.p.Status()
	if not := (status.Status{Pipelines: []status.Pipeline{s}}).NotReady(); s.State != status.Stopped || len(not) == 0 {
		t.Errorf("%d %s: %s, not ready: %v", c.Code, c.Name, s.State, not)
	}
	m.worker = nil
}

// over: everything is there, once, and nothing in the bin.
func (m *met) over() {
	m.Helper()
	m.proxy.Set(faultproxy.Pass())
	m.run()
	m.quiet(m.total)
	m.worker.stop()
	m.verify()
	m.wantCounts(fmt.Sprintf("%[1]d %[1]d 0 0", m.total))
}

// A refusal that is always the same is no row's: nothing becomes a dead letter, and the pipeline stops.
func TestCodes_RefusalOfEverythingStops(t *testing.T) {
	m := newMet(t)
	m.proxy.Set(answerWith(117))
	m.total = 500
	m.produceAs(500, good)
	m.worker = m.start(m.file(spec{addr: m.proxy.Addr(), rows: 500}))
	if err := m.worker.ended(); waybill.ClassOf(err) != waybill.ClassPoison || !strings.Contains(err.Error(), "nothing was dead-lettered") {
		t.Errorf("%v", err)
	}
	m.worker = nil
	m.over()
}

// Every row of the table of Kafka's codes, answered to an offset commit and to a fetch of a pipeline that runs: it goes on by itself, or stops as
// docs/reference/errors.md says. Without WAYBILL_E2E=full, one row of each kind.
func TestCodes_Kafka(t *testing.T) {
	type kind struct {
		class   waybill.Class
		refused bool
	}
	seen := map[kind]bool{}
	var codes []kafka.Code
	for _, c := range append(kafka.Codes(), kafka.Code{Code: kerr.TelemetryTooLarge.Code, Name: "one that no row names"}) {
		k := kind{c.Class, c.Refused}
		if everyRow() || !seen[k] || c.Code == codeTooLarge {
			codes = append(codes, c)
		}
		seen[k] = true
	}
	const shards = 2
	for shard := range shards {
		t.Run(fmt.Sprint(shard), func(t *testing.T) {
			m := newMet(t)
			for i := shard; i < len(codes) && !t.Failed(); i += shards {
				m.meetsBroker(t, codes[i], kmsg.OffsetCommit, codes[i].Code == codeTooLarge)
				m.meetsBroker(t, codes[i], kmsg.Fetch, false)
			}
			m.over()
		})
	}
}

// codeTooLarge stops a pipeline that meets it in a commit.
var codeTooLarge = kerr.OffsetMetadataTooLarge.Code

func (m *met) meetsBroker(t *testing.T, c kafka.Code, key kmsg.Key, stops bool) {
	t.Helper()
	m.run()
	fault := kfake.Fault{Keys: []kmsg.Key{key}, Err: kerr.TypedErrorForCode(c.Code), Count: 1}
	if key == kmsg.OffsetCommit {
		fault.Group = "waybill-" + m.name
	} else {
		fault.Topic = topic
	}
	h := m.kafka.Fault(fault)
	m.produceSome()
	ctx, cancel := context.WithTimeout(t.Context(), soon)
	defer cancel()
	if err := h.Wait(ctx, 1); err != nil {
		t.Fatalf("%d %s was never answered to %s: %v", c.Code, c.Name, key.Name(), err)
	}
	if !stops {
		m.quiet(m.total)
		if s := m.worker.p.Status(); s.State == status.Stopped || s.Totals.DeadLettered != 0 {
			t.Errorf("%d %s to %s: %s, %s, %+v", c.Code, c.Name, key.Name(), s.State, s.Reason, s.Totals)
		}
		return
	}
	if err := m.worker.ended(); waybill.ClassOf(err) != waybill.ClassConfig {
		t.Errorf("%d %s to %s: %v, want class config", c.Code, c.Name, key.Name(), err)
	}
	m.worker = nil
}
