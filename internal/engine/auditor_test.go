package engine_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/waybill-data/waybill/internal/status"
	"github.com/waybill-data/waybill/internal/testenv"
)

// finding waits for a finding of a kind in a partition, and is its span.
func (r *worker) finding(kind string, partition int32) (span string) {
	r.w.Helper()
	testenv.Eventually(r.w, soon, "finding "+kind, func() bool {
		for _, f := range r.p.Status().Findings {
			if f.Kind == kind && f.Partition == partition && f.Span != nil {
				span = f.Span.String() + " " + f.Message
				return true
			}
		}
		return false
	})
	return span
}

// verified waits until the auditor has compared all offsets.
func (r *worker) verified(n float64) {
	r.w.Helper()
	r.await(fmt.Sprintf("%g offsets are verified", n), func(status.Pipeline) bool {
		return r.gauge("audit_verified_offsets") >= n && r.gauge("audit_waiting_offsets") == 0
	})
}

// rounds waits until the auditor has asked about everything n more times.
func (r *worker) rounds(n float64) {
	r.w.Helper()
	until := r.metric("audit_rounds_total", "complete") + n
	testenv.Eventually(r.w, 3*soon, fmt.Sprintf("the audit goes %g more rounds", n), func() bool { return r.metric("audit_rounds_total", "complete") >= until })
}

func (w *world) noFindings(r *worker, but ...string) {
	w.Helper()
	for _, f := range r.p.Status().Findings {
		if !strings.Contains(strings.Join(but, " ")+" new_field", f.Kind) {
			w.Errorf("a finding that nothing has caused: %s %s", f.Kind, f.Message)
		}
	}
}

func TestAuditor_NamesWhatIsGoneOrDoubledBehindItsBack(t *testing.T) {
	w := newWorld(t, 2)
	w.produce(4000)
	r := w.start(w.file(spec{}))
	w.quiet(4000)
	r.verified(4000)
	w.noFindings(r)
	began := time.Now()
	w.exec("DELETE FROM "+w.db+".calls WHERE _partition = 0 AND _offset IN (3, 500, 501)",
		"INSERT INTO "+w.db+".calls SELECT * FROM "+w.db+".calls WHERE _partition = 1 AND _offset BETWEEN 100 AND 104")
	missing, repeated := r.finding("rows_missing", 0), r.finding("rows_repeated", 1)
	t.Logf("after %s: %s; %s", time.Since(began).Round(time.Second), missing, repeated)
	if !strings.HasPrefix(missing, "[3,502) 3 rows") || !strings.Contains(missing, "offsets 3, 500-501 ") {
		t.Errorf("missing: %s", missing)
	}
	if !strings.HasPrefix(repeated, "[100,105) 5 offsets") {
		t.Errorf("repeated: %s", repeated)
	}
	r.stop()
}

// Of a span from before the worker with records that were filtered nobody knows which offsets lack a row by right: the finding stays
// open until their number is right.
func TestAuditor_ARowWithoutANameStaysMissing(t *testing.T) {
	w := newWorld(t, 1)
	w.produce(3000)
	filter := w.file(spec{top: "filter: event.id % 100 != 7"})
	r := w.start(filter)
	w.quiet(3000)
	r.stop()
	w.exec("CREATE TABLE "+w.db+".kept AS "+w.db+".calls", "INSERT INTO "+w.db+".kept SELECT * FROM "+w.db+".calls WHERE _offset = 1000",
		"DELETE FROM "+w.db+".calls WHERE _offset = 1000")
	r = w.start(filter)
	if missing := r.finding("rows_missing", 0); !strings.Contains(missing, "and 1 are not in the table") {
		t.Fatalf("missing: %s", missing)
	}
	state := func() string {
		return w.query("SELECT state FROM waybill.findings_now WHERE pipeline = '" + w.name + "' AND kind = 'rows_missing'")
	}
	looks := func() bool { return r.metric("audit_rounds_total", "") >= 5 }
	testenv.Eventually(w, 3*soon, "some rounds pass", looks)
	if got := state(); got != "open" {
		t.Errorf("the finding is %s, and nothing was mended", got)
	}
	w.exec("INSERT INTO " + w.db + ".calls SELECT * FROM " + w.db + ".kept")
	testenv.Eventually(w, 3*soon, "the finding closes", func() bool { return state() == "closed" })
	r.stop()
}

func TestAuditor_AdoptsWhatWasThereBeforeTheWorker(t *testing.T) {
	w := newWorld(t, 1)
	w.produce(3000)
	r := w.start(w.file(spec{}))
	w.quiet(3000)
	r.stop()
	w.exec("DELETE FROM " + w.db + ".calls WHERE _offset IN (10, 2000)")
	r = w.start(w.file(spec{}))
	if missing := r.finding("rows_missing", 0); !strings.Contains(missing, "offsets 10, 2000 ") {
		t.Errorf("missing: %s", missing)
	}
	w.exec("ALTER TABLE " + w.db + ".calls DELETE WHERE _offset = 20 SETTINGS mutations_sync = 1")
	r.await("the finding grows", func(s status.Pipeline) bool {
		for _, f := range s.Findings {
			if strings.Contains(f.Message, "offsets 10, 20, 2000 ") {
				return true
			}
		}
		return false
	})
	r.stop()
}
