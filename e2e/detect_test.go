package e2e

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/waybill-data/waybill/internal/testenv"
)

// detectedWithin is how soon a fault must be a finding.
const detectedWithin = 60 * time.Second

// wanted is a finding that a fault must bring. What is expected never comes from the ledger: it is what the test has broken.
type wanted struct {
	kind      string
	partition int32   // -1: it is about no partition
	offsets   []int64 // the very ones, by the finding's evidence; nil: it names none
	subject   string
	// closes: it must be closed by itself without anybody mending anything.
	closes bool
}

// fault is something that breaks behind Waybill's back.
type fault struct {
	name  string
	setup func(*testing.T) setup
	// before runs before the worker is started.
	before func(*world)
	// usual runs before the fault, for what is compared with its history; such cases are left out of the short selection.
	usual func(*world)
	// inject breaks something and answers what must be found.
	inject func(*world) []wanted
	// mend takes it back; then all findings must be closed. nil: that takes a person.
	mend func(*world)
}

func plain(*testing.T) setup { return setup{} }

// faults is the injector's table.
var faults = []fault{
	{"rows deleted", plain, nil, nil, deleteRows, restoreRows},
	{"rows doubled", plain, nil, nil, doubleRows, restoreRows},
	{"table partition dropped", func(*testing.T) setup { return setup{partitionBy: "toDate(at)"} }, nil, nil, dropPartition, restoreRows},
	{"part removed while the server is down", func(t *testing.T) setup { return setup{ch: testenv.ClickHouse(t)} }, nil, nil, removePart, restoreRows},
	{"row where none belongs", plain, nil, nil, foreignRow, func(w *world) { w.exec("DELETE FROM " + w.db + ".events WHERE body = 'foreign'") }},
	{"dead letters deleted", plain, nil, nil, deleteDeadLetters, restoreDeadLetters},
	{"ledger row deleted", plain, nil, nil, deleteLedgerRow, restoreLedger},
	{"ledger row changed", plain, nil, nil, changeLedgerRow, restoreLedger},
	{"view throws", func(*testing.T) setup { return setup{view: true} }, nil, nil, breakView, mendView},
	{"retention shortened while the sink stands", func(*testing.T) setup { return setup{partitions: 1} }, nil, nil, shortenRetention, allowParts},
	{"garbage in the topic", plain, nil, nil, sendGarbage, func(w *world) { w.trickle(30*time.Second, mix{}) }},
	{"clock of a producer", plain, nil, nil, sendFromTheFuture, nil},
	{"unit shifted", plain, nil, func(w *world) { w.trickle(150*time.Second, mix{}) }, shiftUnit, func(w *world) { w.trickle(45*time.Second, mix{}) }},
	{"producer stopped", plain, seedHistory, nil, stopProducer, func(w *world) { w.produce(10, mix{}) }},
}

func TestDetect_EachFaultIsFound(t *testing.T) {
	t.Parallel()
	for _, f := range faults {
		t.Run(strings.ReplaceAll(f.name, " ", "_"), func(t *testing.T) {
			if f.usual != nil {
				fullOnly(t)
			}
			w := newWorld(t, f.setup(t))
			for _, kind := range byRight {
				delete(w.allowed, kind)
			}
			if f.before != nil {
				f.before(w)
			}
			w.produce(2000, mix{truncated: 97, tombstones: 61, days: 3})
			p := w.start("")
			w.quiet()
			w.verified(p, 2000)
			if open := w.openFindings(); len(open) > 0 {
				t.Fatalf("findings before there is a fault: %+v", open)
			}
			if f.usual != nil {
				f.usual(w)
			}
			began := time.Now()
			want := f.inject(w)
			for _, one := range want {
				w.detected(one, began)
			}
			if f.mend != nil {
				mended := time.Now()
				f.mend(w)
				w.eventually("all findings are closed", func() bool { return len(w.openFindings()) == 0 })
				w.mu.Lock()
				w.observed = append(w.observed, fmt.Sprintf("closed by itself after %.0f s", time.Since(mended).Seconds()))
				w.mu.Unlock()
			}
			w.onlyThese(want)
		})
	}
}

// nowFinding is a row of waybill.findings_now, read apart from the product's own types.
type nowFinding struct {
	kind, state, subject, evidence, message string
	partition                               int32
}

func (w *world) findingsNow() (out []nowFinding) {
	w.Helper()
	body, err := testenv.Query(w.ch.HTTPAddr(), fmt.Sprintf("SELECT kind, state, subject, evidence, message, partition FROM waybill.findings_now WHERE pipeline = '%s' FORMAT JSONCompactEachRow", w.pipeline))
	if err != nil {
		return nil
	}
	for line := range strings.Lines(body) {
		var cols []any
		if json.Unmarshal([]byte(line), &cols) != nil || len(cols) != 6 {
			continue
		}
		f := nowFinding{kind: cols[0].(string), state: cols[1].(string), subject: cols[2].(string), evidence: cols[3].(string), message: cols[4].(string)}
		n, _ := strconv.Atoi(fmt.Sprint(cols[5]))
		f.partition = int32(n) //nolint:gosec // a partition
		out = append(out, f)
	}
	return out
}

// openFindings are those that are open, but for what the topic's mix brings in any case.
func (w *world) openFindings() []nowFinding {
	w.Helper()
	return slices.DeleteFunc(w.findingsNow(), func(f nowFinding) bool { return f.state != "open" || w.allowed[f.kind] })
}

// offsetsOf are the offsets that a finding's evidence names.
func offsetsOf(evidence string) []int64 {
	var e struct{ Offsets [][2]int64 }
	if json.Unmarshal([]byte(evidence), &e) != nil {
		return nil
	}
	var out []int64
	for _, r := range e.Offsets {
		for o := r[0]; o < r[1]; o++ {
			out = append(out, o)
		}
	}
	return out
}

// detected waits for a finding, and notes how long it took and what it names.
func (w *world) detected(want wanted, began time.Time) {
	w.Helper()
	var last nowFinding
	w.eventually("finding "+want.kind, func() bool {
		for _, f := range w.findingsNow() {
			if f.kind != want.kind || want.partition >= 0 && f.partition != want.partition || want.subject != "" && f.subject != want.subject {
				continue
			}
			last = f
			if want.offsets == nil || slices.Equal(offsetsOf(f.evidence), want.offsets) {
				return true
			}
		}
		return false
	})
	took := time.Since(began)
	if full && took > detectedWithin { // the short selection runs beside all the other tests, and may be slow
		w.Errorf("finding %s came after %s, later than %s: %s", want.kind, took.Round(time.Second), detectedWithin, last.message)
	}
	where := ""
	if want.partition >= 0 {
		where = fmt.Sprintf(" in partition %d", want.partition)
	}
	if want.offsets != nil {
		where += fmt.Sprintf(", %d offsets exact", len(want.offsets))
	}
	if want.closes {
		w.eventually(want.kind+" is closed", func() bool {
			return !slices.ContainsFunc(w.openFindings(), func(f nowFinding) bool { return f.kind == want.kind })
		})
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.observed = append(w.observed, fmt.Sprintf("%s%s after %.0f s", want.kind, where, took.Seconds()))
}

// onlyThese: no other kind of finding has ever been opened.
func (w *world) onlyThese(want []wanted) {
	w.Helper()
	for _, f := range w.findingsNow() {
		if !w.allowed[f.kind] && !slices.ContainsFunc(want, func(x wanted) bool { return x.kind == f.kind }) {
			w.Errorf("a finding that nothing has caused: %s: %s", f.kind, f.message)
		}
	}
}

// verified waits until the worker says that it has compared so many offsets.
func (w *world) verified(p *worker, n float64) {
	w.Helper()
	w.eventually(fmt.Sprintf("%g offsets are verified", n), func() bool {
		return p.metric("waybill_audit_verified_offsets") >= n && p.metric("waybill_audit_waiting_offsets") == 0
	})
}

// metric of the worker, summed over its series; -1 if it is not there.
func (p *worker) metric(name string) float64 {
	addr := p.url()
	if addr == "" {
		return -1
	}
	resp, err := statusClient.Get(addr + "/metrics") //nolint:noctx // the client has a timeout
	if err != nil {
		return -1
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		return -1
	}
	sum, found := 0., false
	for line := range strings.Lines(string(body)) {
		if rest, ok := strings.CutPrefix(line, name+"{"); ok {
			if v, err := strconv.ParseFloat(strings.TrimSpace(rest[strings.LastIndex(rest, " "):]), 64); err == nil {
				sum, found = sum+v, true
			}
		}
	}
	if !found {
		return -1
	}
	return sum
}

// offsetsWith are the offsets of a partition's records that pass, every so many of them, in order.
func (w *world) offsetsWith(partition int32, every int, pass func(record) bool) (out []int64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	n := 0
	for i := range w.records {
		if r := w.records[i]; r.partition == partition && pass(r) {
			if n++; n%every == 0 {
				out = append(out, r.offset)
			}
		}
	}
	slices.Sort(out)
	return out
}

func isRow(r record) bool { return r.fate == asRow }

func list(offsets []int64) string {
	var words []string
	for _, o := range offsets {
		words = append(words, fmt.Sprint(o))
	}
	return "(" + strings.Join(words, ",") + ")"
}

// save keeps a copy of the table, so that the fault can be taken back.
func (w *world) save() {
	w.Helper()
	w.exec("CREATE TABLE " + w.db + ".saved ENGINE = MergeTree ORDER BY tuple() AS SELECT * FROM " + w.db + ".events")
}

// restoreRows puts the table back to what was saved.
func restoreRows(w *world) {
	w.exec("TRUNCATE TABLE "+w.db+".events", "INSERT INTO "+w.db+".events SELECT * FROM "+w.db+".saved")
}

func deleteRows(w *world) []wanted {
	w.save()
	gone := w.offsetsWith(1, 31, isRow)
	w.exec(fmt.Sprintf("DELETE FROM %s.events WHERE _partition = 1 AND _offset IN %s", w.db, list(gone)))
	return []wanted{{kind: "rows_missing", partition: 1, offsets: gone}}
}

func doubleRows(w *world) []wanted {
	w.save()
	twice := w.offsetsWith(2, 57, isRow)
	w.exec(fmt.Sprintf("INSERT INTO %[1]s.events SELECT * FROM %[1]s.events WHERE _partition = 2 AND _offset IN %[2]s", w.db, list(twice)))
	return []wanted{{kind: "rows_repeated", partition: 2, offsets: twice}}
}

func dropPartition(w *world) (want []wanted) {
	w.save()
	day := time.Unix(firstDay+86_400, 0).UTC().Format(time.DateOnly)
	w.exec("ALTER TABLE " + w.db + ".events DROP PARTITION '" + day + "'")
	for p := range w.partitions {
		want = append(want, wanted{kind: "rows_missing", partition: p, offsets: w.offsetsWith(p, 1, func(r record) bool { return isRow(r) && r.id%3 == 1 })})
	}
	return want
}

// removePart takes a part from the disk of a server that is down.
func removePart(w *world) (want []wanted) {
	w.exec("SYSTEM STOP MERGES " + w.db + ".events")
	w.produce(400, mix{})
	w.quiet()
	w.save()
	// A part that no merge has made: the rows of others may still be on disk in the parts that they were made of.
	part := w.rowsOf(fmt.Sprintf("SELECT name, path FROM system.parts WHERE database = '%s' AND table = 'events' AND active AND level = 0 ORDER BY rows DESC LIMIT 1", w.db))[0]
	lost := map[int32][]int64{}
	for _, row := range w.rowsOf(fmt.Sprintf("SELECT _partition, _offset FROM %s.events WHERE _part = '%s' ORDER BY 1, 2", w.db, part[0])) {
		lost[int32(integer(row[0]))] = append(lost[int32(integer(row[0]))], integer(row[1])) //nolint:gosec // a partition
	}
	w.ch.Kill()
	if err := os.RemoveAll(part[1]); err != nil {
		w.Fatal(err)
	}
	w.restart()
	want = append(want, wanted{kind: "unverified_after_restart", partition: -1, closes: true})
	for p, offsets := range lost {
		want = append(want, wanted{kind: "rows_missing", partition: p, offsets: offsets})
	}
	w.allow("stalled_sink")
	return want
}

func foreignRow(w *world) []wanted {
	none := w.offsetsWith(3, 2, func(r record) bool { return r.fate != asRow })
	w.exec(fmt.Sprintf("INSERT INTO %s.events (id, body, _topic, _partition, _offset) SELECT 1, 'foreign', '%s', 3, arrayJoin([%s])", w.db, w.topic, strings.Trim(list(none), "()")))
	return []wanted{{kind: "rows_unexpected", partition: 3, offsets: none}}
}

func deleteDeadLetters(w *world) []wanted {
	gone := w.offsetsWith(0, 1, func(r record) bool { return r.fate == asDead })
	w.exec("CREATE TABLE "+w.db+".saved_dead ENGINE = Memory AS SELECT * FROM waybill.dead_letters WHERE pipeline = '"+w.pipeline+"' AND partition = 0",
		"DELETE FROM waybill.dead_letters WHERE pipeline = '"+w.pipeline+"' AND partition = 0")
	return []wanted{{kind: "dead_letters_missing", partition: 0, offsets: gone}}
}

func restoreDeadLetters(w *world) {
	w.exec("INSERT INTO waybill.dead_letters SELECT * FROM " + w.db + ".saved_dead")
}

// saveLedger keeps a copy of a partition's rows. The fault is in the ledger itself, so that what is expected has to be looked up there before.
func (w *world) saveLedger(partition int) {
	w.exec(fmt.Sprintf("CREATE TABLE %s.saved_ledger ENGINE = Memory AS SELECT * FROM waybill.ledger WHERE pipeline = '%s' AND partition = %d", w.db, w.pipeline, partition))
}

func restoreLedger(w *world) {
	w.exec(fmt.Sprintf("DELETE FROM waybill.ledger WHERE pipeline = '%[2]s' AND partition IN (SELECT partition FROM %[1]s.saved_ledger)", w.db, w.pipeline), "INSERT INTO waybill.ledger SELECT * FROM "+w.db+".saved_ledger")
}

func from(first, next int64) (out []int64) {
	for o := first; o < next; o++ {
		out = append(out, o)
	}
	return out
}

func deleteLedgerRow(w *world) []wanted {
	w.saveLedger(1)
	row := w.rowsOf("SELECT first, next FROM " + w.db + ".saved_ledger ORDER BY first LIMIT 1 OFFSET 1")[0]
	w.exec(fmt.Sprintf("DELETE FROM waybill.ledger WHERE pipeline = '%s' AND partition = 1 AND first = %s", w.pipeline, row[0]))
	return []wanted{{kind: "ledger_gap", partition: 1, offsets: from(integer(row[0]), integer(row[1]))}}
}

func changeLedgerRow(w *world) []wanted {
	w.saveLedger(1)
	row := w.rowsOf("SELECT first, next FROM " + w.db + ".saved_ledger ORDER BY first DESC LIMIT 1")[0]
	w.exec(fmt.Sprintf("ALTER TABLE waybill.ledger UPDATE written = written + 1 WHERE pipeline = '%s' AND partition = 1 AND first = %s SETTINGS mutations_sync = 1", w.pipeline, row[0]))
	return []wanted{{kind: "ledger_unbalanced", partition: 1, offsets: from(integer(row[0]), integer(row[1]))}}
}

func breakView(w *world) []wanted {
	w.exec("DROP VIEW "+w.db+".by_tenant_mv", fmt.Sprintf("CREATE MATERIALIZED VIEW %[1]s.by_tenant_mv TO %[1]s.by_tenant AS SELECT tenant, count() AS events, sum(n + throwIf(n > 0, 'broken on purpose')) AS total FROM %[1]s.events GROUP BY tenant", w.db))
	w.produce(100, mix{})
	// The view's definition has changed: whether its table has the batch cannot be proved.
	w.allow("view_incomplete", "stalled_sink")
	return []wanted{{kind: "view_failing", partition: -1, subject: w.db + ".by_tenant_mv"}}
}

func mendView(w *world) {
	w.exec("DROP VIEW " + w.db + ".by_tenant_mv")
	w.produce(100, mix{})
}

// shortenRetention has the broker remove records step by step, while the pipeline stands before a table that takes no more parts.
func shortenRetention(w *world) []wanted {
	w.exec("SYSTEM STOP MERGES "+w.db+".events", "ALTER TABLE "+w.db+".events MODIFY SETTING parts_to_throw_insert = 1, parts_to_delay_insert = 1")
	w.produce(100, mix{})
	at := w.committed()[0].At
	for _, start := range []int64{at - 900, at - 300} {
		w.pass(6 * time.Second)
		if _, err := w.adm.DeleteRecords(w.Context(), kadm.Offsets{w.topic: {0: {Topic: w.topic, Partition: 0, At: start}}}); err != nil {
			w.Fatal(err)
		}
	}
	return []wanted{{kind: "retention_impending", partition: 0}, {kind: "stalled_sink", partition: -1}}
}

func allowParts(w *world) {
	w.exec("ALTER TABLE "+w.db+".events RESET SETTING parts_to_throw_insert, parts_to_delay_insert", "SYSTEM START MERGES "+w.db+".events")
}

func sendGarbage(w *world) []wanted {
	w.trickle(20*time.Second, mix{garbage: 1})
	return []wanted{{kind: "dead_letter_rate", partition: -1}}
}

// trickle produces a hundred records a second.
func (w *world) trickle(d time.Duration, m mix) {
	for end := time.Now().Add(d); time.Now().Before(end); {
		w.produce(100, m)
		w.pass(time.Second)
	}
}

// shiftUnit sends the same numbers as thousandths.
func shiftUnit(w *world) []wanted {
	w.trickle(30*time.Second, mix{unit: 1000})
	return []wanted{{kind: "unit_shift", partition: -1}}
}

func sendFromTheFuture(w *world) []wanted {
	r := &kgo.Record{Topic: w.topic, Partition: 2, Value: []byte(`{"id":1,"tenant":"t","usage":{"n":1},"at":1795000000,"body":"b"}`), Timestamp: time.Now().Add(10 * time.Minute)}
	if err := w.client.ProduceSync(w.Context(), r).FirstErr(); err != nil {
		w.Fatal(err)
	}
	return []wanted{{kind: "clock_skew", partition: 2}}
}

// seedHistory makes the ledger tell of a topic that has brought a hundred records in each minute of the last days, under an earlier epoch.
func seedHistory(w *world) {
	w.epoch = 1
	w.settleEmpty()
	w.exec(fmt.Sprintf(`INSERT INTO waybill.ledger (pipeline, epoch, topic, partition, first, next, offsets, batches, read, written, batch_time, batch)
SELECT '%s', 0, '%s', 0, number * 100, number * 100 + 100, 100, 1, 100, 100, now64(3) - toIntervalMinute(5 * 24 * 60 - number), '0123456789abcdef' FROM numbers(5 * 24 * 60)`, w.pipeline, w.topic))
}

// settleEmpty runs a worker until Waybill's tables are there.
func (w *world) settleEmpty() {
	p := w.start("")
	w.eventually("Waybill's tables", func() bool {
		_, err := testenv.Query(w.ch.HTTPAddr(), "SELECT count() FROM waybill.ledger")
		s, ok := p.status()
		return err == nil && ok && cmp.Compare(s.Pipelines[0].State, "running") == 0
	})
	p.stop()
}

func stopProducer(*world) []wanted { return []wanted{{kind: "frozen_source", partition: -1}} }
