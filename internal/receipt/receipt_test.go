package receipt

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/waybill-data/waybill"
	"github.com/waybill-data/waybill/internal/audit"
	"github.com/waybill-data/waybill/internal/clickhouse"
	"github.com/waybill-data/waybill/internal/config"
	"github.com/waybill-data/waybill/internal/deadletter"
	"github.com/waybill-data/waybill/internal/ledger"
	"github.com/waybill-data/waybill/internal/minutes"
	"github.com/waybill-data/waybill/internal/testenv"
)

func TestMain(m *testing.M) { testenv.Main(m) }

// at is of yesterday: rows of the ledger are rolled up once they are eight days old.
var at = time.Now().UTC().Truncate(24 * time.Hour).Add(-10*time.Hour + 30*time.Second)

// world is a pipeline that has run, by its ledger alone.
type world struct {
	*testing.T
	Deps
	cfg    *config.Pipeline
	tokens int
}

func newWorld(t *testing.T) *world {
	t.Helper()
	srv := testenv.SharedClickHouse(t)
	client, err := clickhouse.Open(t.Context(), clickhouse.Config{Addr: srv.TCPAddr()}, clickhouse.Deps{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	cfg, err := config.Parse("p.yaml", []byte(`{name: p, source: {kafka: {brokers: [k], topic: t}}, contract: {columns: {id: {type: UInt64}}}, sink: {clickhouse: {url: "clickhouse://h/d", table: c}}}`), os.LookupEnv)
	if err != nil {
		t.Fatal(err)
	}
	w := &world{T: t, cfg: cfg, Deps: Deps{Client: client, Ledger: ledger.New(client, testenv.Database(t, srv)), Version: "v1"}}
	if err := w.Ledger.Migrate(t.Context(), at); err != nil {
		t.Fatal(err)
	}
	return w
}

func (w *world) insert(table string, in clickhouse.Insert) {
	w.Helper()
	w.tokens++
	in.Database, in.Table, in.Token = w.Ledger.Database(), table, waybill.Token(fmt.Sprintf("%s-%d", w.Name(), w.tokens))
	if a := w.Client.Insert(w.Context(), in); a.Err != nil {
		w.Fatal(a.Err)
	}
}

// batch puts a batch on the account: of each ten records one is filtered and one a dead letter.
func (w *world) batch(partition int32, first, next int64, plan waybill.PlanID, when time.Time) {
	w.Helper()
	n := next - first
	r := ledger.Row{
		Pipeline: "p", TopicPartition: waybill.TopicPartition{Topic: "t", Partition: partition}, Span: waybill.Span{First: first, Next: next}, Batch: waybill.BatchID{byte(partition), byte(first)},
		BatchTime: when.UnixMilli(), Plan: plan, Target: "d.c", Counts: ledger.Counts{Read: n, Written: n - n/5, Filtered: n / 10, DeadLettered: n / 10, Rescued: 1}, Checksum: uint64(1000 * n),
		Minutes: []minutes.Bucket{{Key: minutes.Of(when.UnixMilli()), Counts: minutes.Counts{minutes.Written: n}}},
	}
	w.insert(ledger.TableLedger, clickhouse.Insert{Input: ledger.Block([]ledger.Row{r})})
	var dead []deadletter.Envelope
	for o := first; o < first+n/10; o++ {
		dead = append(dead, deadletter.Of(&waybill.Record{Topic: "t", Partition: partition, Offset: o}, "p", &waybill.Batch{Time: when.UnixMilli(), Plan: plan}, deadletter.Reason{Stage: "contract", Code: "missing_required"}))
	}
	w.insert(ledger.TableDeadLetters, clickhouse.Insert{Input: deadletter.Block(dead)})
}

// amend puts on record what a repair or an erasure has made of offsets of partition 0.
func (w *world) amend(was, is ledger.Fate, offsets ...int64) {
	w.Helper()
	var all []ledger.Amendment
	for _, o := range offsets {
		all = append(all, ledger.Amendment{Position: waybill.Position{Topic: "t", Offset: o}, Was: was, Is: is})
	}
	w.insert(ledger.TableAmendments, clickhouse.Insert{Input: ledger.AmendmentBlock(&ledger.Replay{Pipeline: "p", Sequence: uint64(w.tokens)}, all, at)}) //nolint:gosec // few
}

func (w *world) make(s Scope) *Document {
	w.Helper()
	doc, err := Make(w.Context(), w.Deps, w.cfg, s)
	if err != nil {
		w.Fatal(err)
	}
	return doc
}

func compact(t *testing.T, v any) string {
	t.Helper()
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func (w *world) three() {
	w.Helper()
	w.batch(0, 0, 10, 7, at)
	w.batch(0, 10, 30, 9, at.Add(time.Minute))
	w.batch(1, 5, 15, 7, at)
}

func TestReceipt_IsAFunctionOfTheData(t *testing.T) {
	w := newWorld(t)
	w.three()
	doc := w.make(Scope{})
	for _, want := range []string{
		`"partitions":[{"partition":0,"first":0,"next":30,"read":30,"written":24,"filtered":3,"dead_lettered":3,"tombstones":0,"lost":0,"rescued":2,"redacted":0,"checksum":"0000000000007530"}`,
		`"total":{"read":40,"written":32,"filtered":4,"dead_lettered":4,"tombstones":0,"lost":0,"rescued":3,"redacted":0,"checksum":"0000000000009c40"}`,
		`"rows":[{"table":"d.c","rows":32}]`,
		`"plans":[{"plan":"0000000000000007","since":[{"partition":0,"offset":0},{"partition":1,"offset":5}]},{"plan":"0000000000000009","since":[{"partition":0,"offset":10}]}]`,
		`"dead_letters":[{"stage":"contract","code":"missing_required","state":"waiting","count":4}]`,
		`"event_first":"` + at.Format(time.DateOnly) + `T14:00:00Z","event_last":"` + at.Format(time.DateOnly) + `T14:01:00Z"`, `"gaps":[]`, `"findings":[]`,
	} {
		if got := compact(t, doc.Receipt); !strings.Contains(got, want) {
			t.Errorf("the receipt\n%s\nlacks\n%s", got, want)
		}
	}
	w.Version = "v2" // another binary, later
	if again := w.make(Scope{Within: map[int32]waybill.Span{0: {First: 0, Next: 30}, 1: {First: 5, Next: 15}}}); again.Hash != doc.Hash {
		t.Errorf("asked for by offsets it is another receipt:\n%s\n%s", compact(t, doc.Receipt), compact(t, again.Receipt))
	}
	// What a reader of the JSON computes.
	var read struct{ Receipt json.RawMessage }
	if err := json.Unmarshal([]byte(compact(t, doc)), &read); err != nil {
		t.Fatal(err)
	}
	if sum := sha256.Sum256(read.Receipt); "sha256:"+hex.EncodeToString(sum[:]) != doc.Hash {
		t.Error("the hash is not that of the member receipt")
	}
}

func TestReceipt_ChangesWithTheData(t *testing.T) {
	w := newWorld(t)
	w.three()
	all := w.make(Scope{})
	from, to := at, at.Add(30*time.Second)
	some := w.make(Scope{Within: map[int32]waybill.Span{0: {First: 0, Next: 10}}, From: &from, To: &to})
	if some.Hash == all.Hash || some.Receipt.Total.Read != 10 || len(some.Receipt.Plans) != 1 {
		t.Errorf("a part: %s", compact(t, some.Receipt))
	}
	lacks := w.make(Scope{Within: map[int32]waybill.Span{0: {First: 0, Next: 10}, 1: {First: 0, Next: 17}, 2: {First: 0, Next: 1}}})
	if got := compact(t, lacks.Receipt.Gaps); got != `[{"partition":1,"first":0,"next":5},{"partition":1,"first":15,"next":17},{"partition":2,"first":0,"next":1}]` {
		t.Errorf("gaps %s", got)
	}
	w.Audit = func(_ context.Context, within map[int32]waybill.Span) (*audit.Report, error) {
		if len(within) != 2 || within[0] != (waybill.Span{First: 0, Next: 30}) {
			t.Errorf("audited %v", within)
		}
		return &audit.Report{Verdict: audit.Violated, Violations: []audit.Violation{{Law: "L3", Message: "3 rows are <gone>"}}, Unknown: []audit.Unknown{}}, nil
	}
	audited := w.make(Scope{})
	if audited.Hash == all.Hash || audited.Receipt.Audit.Verdict != audit.Violated {
		t.Errorf("audited: %s", compact(t, audited.Receipt))
	}
	w.Audit = nil
	w.batch(1, 15, 25, 9, at)
	if more := w.make(Scope{}); more.Hash == all.Hash {
		t.Error("one batch more is the same receipt")
	}
}

func TestReceipt_HTML(t *testing.T) {
	w := newWorld(t)
	w.three()
	w.Audit = func(context.Context, map[int32]waybill.Span) (*audit.Report, error) {
		return &audit.Report{Verdict: audit.Violated, Violations: []audit.Violation{{Law: "L3", Message: "3 rows are </script><b>gone"}}}, nil
	}
	doc := w.make(Scope{})
	var b bytes.Buffer
	if err := HTML(&b, doc); err != nil {
		t.Fatal(err)
	}
	page := b.String()
	if strings.Contains(page, "Repaired and erased") {
		t.Error("the page speaks of repairs, and there were none")
	}
	for _, want := range []string{doc.Hash, doc.Receipt.Total.Checksum, "missing_required", "3 rows are &lt;/script&gt;", "0000000000000009", at.Format(time.DateOnly) + " 14:00 to " + at.Format(time.DateOnly) + " 14:01"} {
		if !strings.Contains(page, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	if n := strings.Count(page, "</script>"); n != 1 {
		t.Errorf("%d scripts end", n)
	}
	for _, foreign := range []string{"http://", "https://", "src=", "href="} {
		if strings.Contains(page, foreign) {
			t.Errorf("the page needs something else: %s", foreign)
		}
	}
	_, text, _ := strings.Cut(page, `id="receipt">`)
	text, _, _ = strings.Cut(text, "</script>")
	var back Document
	if err := json.Unmarshal([]byte(text), &back); err != nil {
		t.Fatal(err)
	}
	if hash, err := back.Receipt.Hash(); err != nil || hash != doc.Hash {
		t.Errorf("the JSON in the page has the hash %s: %v", hash, err)
	}
	w.amend(ledger.FateWritten, ledger.FateErased, 11, 12)
	w.amend(ledger.FateDead, ledger.FateWritten, 10)
	w.amend(ledger.FateWritten, ledger.FateWritten, 13, 14, 15)
	w.amend(ledger.FateWritten, ledger.FateNone, 16)
	b.Reset()
	if err := HTML(&b, w.make(Scope{})); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`written</td><td class="text">erased</td><td>2<`, `dead letter</td><td class="text">written</td><td>1<`, `written</td><td class="text">written anew</td><td>3<`,
		`<td class="text bad">deleted, and its record was gone before it could be made again</td><td>1<`} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	if got := grouped(-1234567); got != "-1\u202f234\u202f567" || grouped(123) != "123" || grouped(1000) != "1\u202f000" {
		t.Errorf("%q", got)
	}
}
