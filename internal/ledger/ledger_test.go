package ledger

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ClickHouse/ch-go/proto"
	"github.com/google/uuid"

	waybill "github.com/waybill-data/waybill"
	"github.com/waybill-data/waybill/internal/clickhouse"
	"github.com/waybill-data/waybill/internal/testenv"
	"github.com/waybill-data/waybill/internal/testenv/chserver"
)

func TestMain(m *testing.M) { testenv.Main(m) }

// now is noon of yesterday: rows of the ledger are rolled up once they are eight days old.
var now = time.Now().UTC().Truncate(24 * time.Hour).Add(-12 * time.Hour)

// world is a migrated database of the test's own.
type world struct {
	*testing.T
	srv    *chserver.Server
	ch     *clickhouse.Client
	s      *Store
	tokens int
}

func newWorld(t *testing.T) *world {
	t.Helper()
	srv := testenv.SharedClickHouse(t)
	c := connect(t, srv)
	w := &world{T: t, srv: srv, ch: c, s: New(c, testenv.Database(t, srv))}
	if err := w.s.Migrate(t.Context(), now); err != nil {
		t.Fatal(err)
	}
	return w
}

func connect(t *testing.T, srv *chserver.Server) *clickhouse.Client {
	t.Helper()
	c, err := clickhouse.Open(t.Context(), clickhouse.Config{Addr: srv.TCPAddr()}, clickhouse.Deps{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func (w *world) insert(table string, in proto.Input) {
	w.Helper()
	w.tokens++
	a := w.ch.Insert(w.Context(), clickhouse.Insert{
		Database: w.s.db, Table: table, Input: in, Token: waybill.Token(fmt.Sprintf("%s-%d", w.Name(), w.tokens)),
		Deadline: w.ch.ServerNow(time.Now()).Add(time.Minute),
	})
	if a.Outcome != clickhouse.Landed {
		w.Fatalf("insert into %s: %+v", table, a)
	}
}

func (w *world) exec(sql ...string) { w.Helper(); testenv.Exec(w, w.srv.HTTPAddr(), sql...) }
func (w *world) value(sql string) string {
	w.Helper()
	return testenv.QueryValue(w, w.srv.HTTPAddr(), sql)
}

// row covers [first, next) of a partition; everything read was written.
func row(partition int32, first, next int64, at time.Time) Row {
	n := next - first
	return Row{
		Pipeline: "p", Epoch: 1, TopicPartition: waybill.TopicPartition{Topic: "t", Partition: partition},
		Span: waybill.Span{First: first, Next: next}, Batch: waybill.BatchID{byte(first)}, BatchTime: at.UnixMilli(),
		Plan: 7, Decoder: 1, Target: "ai.t", TopicID: uuid.UUID{1}, Counts: Counts{Read: n, Written: n}, Checksum: uint64(n),
	}
}

func TestMigrate_WorkersRaceAndRepeat(t *testing.T) {
	srv := testenv.SharedClickHouse(t)
	db := testenv.Database(t, srv)
	var all sync.WaitGroup
	errs := make([]error, 6)
	for i := range errs {
		c := connect(t, srv)
		all.Go(func() { errs[i] = New(c, db).Migrate(t.Context(), now) })
	}
	all.Wait()
	for i, err := range errs {
		if err != nil {
			t.Errorf("worker %d: %v", i, err)
		}
	}
	if got := testenv.QueryValue(t, srv.HTTPAddr(), "SELECT (count(), max(version)) FROM "+db+".meta"); got != fmt.Sprintf("(%d,%d)", len(migrations), Version()) {
		t.Errorf("(rows, version) in meta %s, want %d of version %d", got, len(migrations), Version())
	}
	if err := New(connect(t, srv), db).Migrate(t.Context(), now); err != nil {
		t.Errorf("again: %v", err)
	}
}

// A database of version 1 with rows, brought to this version by several workers at once, answers as one that was made by it.
func TestMigrate_FromVersion1(t *testing.T) {
	srv := testenv.SharedClickHouse(t)
	w := &world{T: t, srv: srv, ch: connect(t, srv)}
	w.s = New(w.ch, testenv.Database(t, srv))
	if err := w.s.apply(t.Context(), migrations[0], "", now); err != nil {
		t.Fatal(err)
	}
	old := now.AddDate(0, 0, -20)
	w.exec(fmt.Sprintf(`INSERT INTO %s.ledger (pipeline, epoch, topic, partition, first, next, offsets, batches, read, written, batch_time, plan)
SELECT 'p', 1, 't', 0, number * 10, number * 10 + 10, 10, 1, 10, 10, fromUnixTimestamp64Milli(%d, 'UTC'), 7 FROM numbers(3)`, w.s.db, old.UnixMilli()),
		"INSERT INTO "+w.s.db+".plans SELECT 7, 'text', now64(3)")
	var all sync.WaitGroup
	errs := make([]error, 6)
	for i := range errs {
		all.Go(func() { errs[i] = New(w.ch, w.s.db).Migrate(t.Context(), now) })
	}
	all.Wait()
	for i, err := range errs {
		if err != nil {
			t.Errorf("worker %d: %v", i, err)
		}
	}
	rescued := row(0, 30, 40, old)
	rescued.Rescued = 4
	w.insert(TableLedger, Block([]Row{rescued}))
	w.exec("ALTER TABLE "+w.s.db+".ledger MODIFY SETTING merge_with_ttl_timeout = 0", "OPTIMIZE TABLE "+w.s.db+".ledger FINAL")
	if got := w.value("SELECT tuple(first, next, read, rescued, plan_firsts) FROM " + w.s.db + ".ledger"); got != "(0,40,40,4,{7:0})" {
		t.Errorf("rolled up %s", got)
	}
	if p, found, err := w.s.Plan(t.Context(), "", 7); !found || err != nil || p.Text != "text" {
		t.Errorf("plan %+v, found %v, error %v", p, found, err)
	}
}

func TestMigrate_NewerSchemaIsRefused(t *testing.T) {
	w := newWorld(t)
	w.exec("INSERT INTO " + w.s.db + ".meta SELECT 99, now64(3), 0")
	err := w.s.Migrate(t.Context(), now)
	if waybill.ClassOf(err) != waybill.ClassConfig || !strings.Contains(err.Error(), "has schema version 99, which takes a binary of version 99 or newer") {
		t.Errorf("error %v, want a config error", err)
	}
}

// A migration says which older binaries may go on; one of several that is not for this one is enough to refuse.
func TestMigrate_NewerSchemaThatOlderBinariesMayUse(t *testing.T) {
	w := newWorld(t)
	w.exec(fmt.Sprintf("INSERT INTO %s.meta SELECT 98, now64(3), %d", w.s.db, Version()))
	if err := w.s.Migrate(t.Context(), now); err != nil {
		t.Errorf("refused: %v", err)
	}
	w.exec(fmt.Sprintf("INSERT INTO %s.meta SELECT 97, now64(3), %d", w.s.db, Version()+1))
	if err := w.s.Migrate(t.Context(), now); waybill.ClassOf(err) != waybill.ClassConfig {
		t.Errorf("error %v, want a config error", err)
	}
}

func TestPause_LastsUntilItIsLifted(t *testing.T) {
	w := newWorld(t)
	of := func(pipeline string) Pause {
		t.Helper()
		p, err := w.s.PauseOf(t.Context(), pipeline)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	if p := of("p"); p.Paused {
		t.Errorf("paused by nobody: %+v", p)
	}
	for _, paused := range []bool{true, true, false, true} {
		if err := w.s.SetPause(t.Context(), "p", Pause{Paused: paused, Who: "ann", Why: "moving"}); err != nil {
			t.Fatal(err)
		}
		if p := of("p"); p.Paused != paused || p.Who != "ann" || p.Why != "moving" || time.Since(p.At).Abs() > time.Minute {
			t.Errorf("%+v, want paused %v", p, paused)
		}
	}
	if p := of("q"); p.Paused {
		t.Errorf("another pipeline is paused: %+v", p)
	}
}

// Conservation holds for each table of a pipeline that has several.
func TestLaws_ByTable(t *testing.T) {
	w := newWorld(t)
	good, bad, one := row(0, 0, 10, now), row(0, 10, 20, now), row(0, 20, 30, now)
	good.Routed = map[string]int64{"ai.t": good.Written - 1, "ai.u": 1}
	bad.Routed = map[string]int64{"ai.t": bad.Written - 1}
	w.insert(TableLedger, Block([]Row{good, bad, one}))
	found, err := w.s.Laws(t.Context(), "p", 1)
	if err != nil {
		t.Fatal(err)
	}
	if len(found) != 1 || found[0].Kind != KindUnbalanced || found[0].Span != bad.Span || !strings.Contains(found[0].Message, "were written, and the tables have") {
		t.Errorf("%+v", found)
	}
}

func TestRow_RoundTrip(t *testing.T) {
	w := newWorld(t)
	r := row(3, 10, 20, now)
	r.Counts = Counts{Read: 9, Written: 3, Filtered: 2, DeadLettered: 1, Tombstones: 1, Lost: 1, Deduplicated: 1, Rescued: 2, Redacted: 4}
	r.Checksum = 1<<63 + 5
	r.Routed = map[string]int64{"ai.t": 2, "ai.u": 1}
	if !r.Balanced() {
		t.Fatal("not balanced")
	}
	w.insert(TableLedger, Block([]Row{r}))
	got := testenv.QueryRows(t, w.srv.HTTPAddr(), "SELECT pipeline, epoch, topic, partition, first, next, offsets, batches, read, written, filtered, dead_lettered, tombstones, lost, deduplicated, rescued, redacted, plan_firsts, checksum, hex(batch), batch_time, plan, decoder, target, mapSort(routed), topic_id, format FROM "+w.s.db+".ledger")
	want := [][]string{{"p", "1", "t", "3", "10", "20", "10", "1", "9", "3", "2", "1", "1", "1", "1", "2", "4", "{7:10}", "9223372036854775813",
		"0A000000000000000000000000000000", now.Format("2006-01-02 15:04:05.000"), "7", "1", "ai.t", "{'ai.t':2,'ai.u':1}", "01000000-0000-0000-0000-000000000000", "4"}}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

func span(p int32, first, next int64) clickhouse.PartitionSpan {
	return clickhouse.PartitionSpan{TopicPartition: waybill.TopicPartition{Topic: "t", Partition: p}, Span: waybill.Span{First: first, Next: next}}
}

func TestPresent_IsKeyedByFirstOffset(t *testing.T) {
	w := newWorld(t)
	other := row(0, 20, 30, now)
	other.Epoch = 2
	w.insert(TableLedger, Block([]Row{row(0, 0, 10, now), row(0, 10, 20, now), row(1, 5, 9, now), other}))
	got, err := w.s.Present(t.Context(), "p", 1, []clickhouse.PartitionSpan{span(0, 0, 10), span(0, 10, 20), span(0, 20, 30), span(1, 0, 5), span(1, 5, 9), span(2, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	want := map[waybill.TopicPartition]waybill.OffsetSet{
		{Topic: "t", Partition: 0}: waybill.OffsetsOf(0, 10), {Topic: "t", Partition: 1}: waybill.OffsetsOf(5),
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestTips(t *testing.T) {
	w := newWorld(t)
	w.insert(TableLedger, Block([]Row{
		row(0, 0, 10, now), row(0, 10, 20, now),
		row(1, 5, 10, now), row(1, 12, 20, now), row(1, 20, 25, now), row(1, 30, 31, now), // gaps
		row(2, 0, 10, now), row(2, 5, 15, now), // overlap
		row(3, 0, 10, now), row(3, 5, 10, now), row(3, 15, 20, now), // overlap and gap of one length: a sum would not see it
	}))
	got, err := w.s.Tips(t.Context(), "p", 1, "t")
	if err != nil {
		t.Fatal(err)
	}
	want := map[int32]Tip{
		0: {First: 0, Next: 20},
		1: {First: 5, Next: 10, Beyond: []waybill.Span{{First: 12, Next: 25}, {First: 30, Next: 31}}},
		2: {First: 0, Next: 15},
		3: {First: 0, Next: 10, Beyond: []waybill.Span{{First: 15, Next: 20}}},
	}
	for p, tip := range want {
		if fmt.Sprint(got[p]) != fmt.Sprint(tip) {
			t.Errorf("partition %d: %v, want %v", p, got[p], tip)
		}
	}
	if len(got) != len(want) {
		t.Errorf("tips %v", got)
	}
}

func TestLaws_NameTheExactOffsets(t *testing.T) {
	w := newWorld(t)
	unbalanced := row(3, 0, 10, now)
	unbalanced.Written--
	w.insert(TableLedger, Block([]Row{
		row(0, 0, 10, now), row(0, 10, 20, now),
		row(1, 0, 10, now), row(1, 12, 20, now),
		row(2, 0, 10, now), row(2, 5, 8, now), row(2, 10, 12, now), row(2, 12, 12+3, now),
		unbalanced,
	}))
	found, err := w.s.Laws(t.Context(), "p", 1)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, v := range found {
		got = append(got, fmt.Sprint(v.Kind, " ", v.TopicPartition, " ", v.Span))
	}
	want := []string{"ledger_gap t/1 [10,12)", "ledger_overlap t/2 [5,8)", "ledger_unbalanced t/3 [0,10)"}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

// Random rows against the definition: an offset that no row covers, or that two do.
func TestLawsAndTips_AgreeWithBruteForce(t *testing.T) {
	w := newWorld(t)
	rng := rand.New(rand.NewPCG(1, 2))
	want := map[int32]account{}
	var all []Row
	for p := range int32(60) {
		rows, a := randomAccount(rng, p)
		want[p] = a
		all = append(all, rows...)
	}
	w.insert(TableLedger, Block(all))
	found, err := w.s.Laws(t.Context(), "p", 1)
	if err != nil {
		t.Fatal(err)
	}
	tips, err := w.s.Tips(t.Context(), "p", 1, "t")
	if err != nil {
		t.Fatal(err)
	}
	broken := 0
	for p, a := range want {
		if !a.gaps.Empty() || !a.overlaps.Empty() {
			broken++
		}
		a.check(t, p, found, tips[p])
	}
	if broken < 10 || broken > 50 {
		t.Errorf("%d of %d partitions are broken: the test is too one-sided", broken, len(want))
	}
}

// account is what the rows of one partition amount to, by counting.
type account struct {
	begin, end     int64
	gaps, overlaps waybill.OffsetSet
}

func randomAccount(rng *rand.Rand, p int32) ([]Row, account) {
	var rows []Row
	var covers [200]int
	at := int64(0)
	for at < 150 {
		first, next := at, at+1+rng.Int64N(20)
		switch rng.IntN(30) {
		case 0:
			first = max(0, first-rng.Int64N(4))
		case 1:
			first, next = first+2, next+2
		}
		rows = append(rows, row(p, first, next, now))
		for o := first; o < next; o++ {
			covers[o]++
		}
		at = next
	}
	a := account{begin: rows[0].First, end: at}
	for o := a.begin; o < a.end; o++ {
		if covers[o] == 0 {
			a.gaps.Add(o)
		}
		if covers[o] > 1 {
			a.overlaps.Add(o)
		}
	}
	rng.Shuffle(len(rows), func(i, j int) { rows[i], rows[j] = rows[j], rows[i] })
	return rows, a
}

func (a account) check(t *testing.T, p int32, found []Violation, tip Tip) {
	t.Helper()
	var gaps, overlaps waybill.OffsetSet
	for _, v := range found {
		switch {
		case v.Partition != p:
		case v.Kind == KindGap:
			gaps.AddSpan(v.Span)
		default:
			overlaps.AddSpan(v.Span)
		}
	}
	if !gaps.Equal(a.gaps) || !overlaps.Equal(a.overlaps) {
		t.Errorf("partition %d: gaps %v, want %v; overlaps %v, want %v", p, gaps, a.gaps, overlaps, a.overlaps)
	}
	next := a.end
	if !a.gaps.Empty() {
		next = a.gaps.Bounds().First
	}
	beyond := waybill.OffsetsIn(waybill.Span{First: next, Next: a.end}).Minus(a.gaps)
	if tip.First != a.begin || tip.Next != next || !waybill.OffsetsIn(tip.Beyond...).Equal(beyond) {
		t.Errorf("partition %d: tip %+v, want [%d,%d) and beyond %v", p, tip, a.begin, next, beyond)
	}
}

// After the roll-up presence, tips and laws answer as before, with far fewer rows.
func TestRollUp_KeepsTheAccount(t *testing.T) {
	w := newWorld(t)
	old := now.AddDate(0, 0, -20)
	w.exec("ALTER TABLE " + w.s.db + ".ledger MODIFY SETTING merge_with_ttl_timeout = 0")
	var spans []clickhouse.PartitionSpan
	for part := range 4 { // several data parts, rows of one group in each
		var rows []Row
		for i := part; i < 4000; i += 4 {
			first := int64(i) * 1000
			rows = append(rows, row(0, first, first+1000, old), row(1, first, first+1000, old))
			rows[len(rows)-1].Rescued, rows[len(rows)-1].Redacted = 2, 3
			rows[len(rows)-1].Routed = map[string]int64{"ai.t": 600, fmt.Sprintf("ai.u%d", i%2): 400}
			if i%40 == 0 {
				spans = append(spans, span(0, first, first+1000))
			}
		}
		w.insert(TableLedger, Block(rows))
	}
	w.insert(TableLedger, Block([]Row{row(0, 4_000_000, 4_000_010, now), row(1, 4_000_001, 4_000_010, now)}))
	w.exec("OPTIMIZE TABLE " + w.s.db + ".ledger FINAL")
	if n := w.value("SELECT (count(), sum(batches), sum(read), sum(checksum), sum(rescued), sum(redacted)) FROM " + w.s.db + ".ledger WHERE first < 4000000"); n != "(8,8000,8000000,8000000,8000,12000)" {
		t.Errorf("(rows, batches, read, checksum, rescued, redacted) after the roll-up %s", n)
	}
	if n := w.value("SELECT mapSort(sumMap(routed)) FROM " + w.s.db + ".ledger WHERE first < 4000000"); n != "{'ai.t':6400000,'ai.u0':800000,'ai.u1':800000}" {
		t.Errorf("rows by table after the roll-up %s", n)
	}
	present, err := w.s.Present(t.Context(), "p", 1, spans)
	if err != nil {
		t.Fatal(err)
	}
	if n := present[waybill.TopicPartition{Topic: "t", Partition: 0}].Len(); n != 100 {
		t.Errorf("%d first offsets present, want 100", n)
	}
	tips, err := w.s.Tips(t.Context(), "p", 1, "t")
	if err != nil {
		t.Fatal(err)
	}
	if tips[0].Next != 4_000_010 || tips[1].Next != 4_000_000 || len(tips[1].Beyond) != 1 {
		t.Errorf("tips %+v", tips)
	}
	found, err := w.s.Laws(t.Context(), "p", 1)
	if err != nil {
		t.Fatal(err)
	}
	if len(found) != 1 || found[0].Kind != KindGap || found[0].Span != (waybill.Span{First: 4_000_000, Next: 4_000_001}) {
		t.Errorf("violations %+v", found)
	}
}

// A gap that is rolled up stays a gap.
func TestRollUp_DoesNotHideGaps(t *testing.T) {
	w := newWorld(t)
	old := now.AddDate(0, 0, -20)
	w.exec("ALTER TABLE " + w.s.db + ".ledger MODIFY SETTING merge_with_ttl_timeout = 0")
	w.insert(TableLedger, Block([]Row{row(0, 0, 10, old), row(0, 20, 30, old), row(0, 30, 40, old)}))
	w.exec("OPTIMIZE TABLE " + w.s.db + ".ledger FINAL")
	if n := w.value("SELECT count() FROM " + w.s.db + ".ledger"); n != "1" {
		t.Fatalf("%s rows, want one that was rolled up", n)
	}
	found, err := w.s.Laws(t.Context(), "p", 1)
	if err != nil {
		t.Fatal(err)
	}
	if len(found) != 1 || found[0].Kind != KindGap || found[0].Message != "10 of the offsets [0,40) of t/0 are in no ledger row (rolled up)" {
		t.Errorf("violations %+v", found)
	}
	tips, err := w.s.Tips(t.Context(), "p", 1, "t")
	if err != nil {
		t.Fatal(err)
	}
	if tips[0].Next != 0 || len(tips[0].Beyond) != 1 {
		t.Errorf("tip %+v, want nothing certain", tips[0])
	}
}

// The tip is read from the projection: a few rows for each part.
func TestTips_UseTheProjection(t *testing.T) {
	w := newWorld(t)
	w.insert(TableLedger, Block([]Row{row(0, 0, 10, now)}))
	plan, err := testenv.Query(w.srv.HTTPAddr(), "EXPLAIN SELECT partition AS p, min(first) AS f, max(next) AS n, "+tiling+" AS tiled FROM "+w.s.db+".ledger WHERE "+scope("p", 1)+" AND topic = 't' GROUP BY pipeline, epoch, topic, partition")
	if err != nil {
		t.Fatal(err)
	}
	if !containsLine(plan, "ReadFromMergeTree (tip)") {
		t.Errorf("the projection is not used:\n%s", plan)
	}
}

// Who goes by Untouched does not read what was done to offsets: one row of any of the four tables has to be enough.
func TestUntouched_AnyOfTheFourTablesCounts(t *testing.T) {
	begun := &Replay{Pipeline: "p", Sequence: 1, Kind: KindFill, Epoch: 3, Batch: waybill.BatchID{7}, At: now, Topic: "t", Offsets: map[int32]waybill.OffsetSet{0: waybill.OffsetsOf(5)}}
	at := waybill.Position{Topic: "t", Offset: 5}
	for name, touch := range map[string]func(*world) error{
		"a batch begun": func(w *world) error { w.insert(TableReplays, BegunBlock(begun)); return nil },
		"an amendment": func(w *world) error {
			w.insert(TableAmendments, AmendmentBlock(begun, []Amendment{{at, FateWritten, FateErased, 0}}, now))
			return nil
		},
		"an outcome": func(w *world) error {
			w.insert(TableOutcomes, OutcomeBlock(begun, []LetterOutcome{{Position: at, Epoch: begun.Epoch, Outcome: LetterReplayed}}, now))
			return nil
		},
		"an erasure of the archive": func(w *world) error {
			return w.s.EraseFromArchive(w.Context(), "p", waybill.TopicPartition{Topic: "t"}, waybill.OffsetsOf(5), "asked to", now)
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			for _, step := range []struct {
				pipeline string
				want     bool
			}{{"p", true}, {"p", false}, {"another", true}} {
				got, err := w.s.Untouched(t.Context(), step.pipeline)
				if err != nil || got != step.want {
					t.Fatalf("pipeline %s untouched: %v, %v, want %v", step.pipeline, got, err, step.want)
				}
				if step.want && step.pipeline == "p" {
					if err := touch(w); err != nil {
						t.Fatal(err)
					}
				}
			}
		})
	}
}

// What was erased is known under the new name, too, once however often it is done, and stays known under the old one; what the new name has had of its own stays.
func TestRename_WhatOutlivesAPipelineGoesByBothNames(t *testing.T) {
	w := newWorld(t)
	for i, of := range []string{"p", "p", "q"} {
		r := &Replay{Pipeline: of, Sequence: uint64(i), Kind: KindErase, Epoch: 1, Topic: "t", Offsets: map[int32]waybill.OffsetSet{0: waybill.OffsetsOf(int64(i)), 1: waybill.OffsetsOf(7)}} //nolint:gosec // few
		w.insert(TableErasures, ErasureBlock(&Erasure{Replay: r}, now))
		if err := w.s.EraseFromArchive(t.Context(), of, waybill.TopicPartition{Topic: "t"}, waybill.OffsetsOf(int64(i)), "asked to", now); err != nil {
			t.Fatal(err)
		}
	}
	w.insert(TableLedger, Block([]Row{row(0, 0, 5, now)}))
	for _, again := range []bool{false, true} {
		if err := w.s.Rename(t.Context(), "p", "q", again); err != nil {
			t.Fatal(err)
		}
		for pipeline, want := range map[string]waybill.OffsetSet{"p": waybill.OffsetsOf(0, 1), "q": waybill.OffsetsOf(0, 1, 2)} {
			erased, err := w.s.Erased(t.Context(), pipeline, "t", uuid.UUID{})
			if err != nil || !erased[0].Equal(want) || erased[1].Len() != 1 {
				t.Errorf("erased of %s: %v, %v", pipeline, erased, err)
			}
			if erased, err = w.s.ArchiveErased(t.Context(), pipeline, "t"); err != nil || !erased[0].Equal(want) {
				t.Errorf("erased of the archive of %s: %v, %v", pipeline, erased, err)
			}
		}
		for _, table := range []string{TableErasures, TableArchiveErased} {
			if n := w.value("SELECT count() FROM " + w.s.db + "." + table); n != "5" {
				t.Errorf("%s has %s rows", table, n)
			}
		}
	}
	if n := w.value("SELECT concat(toString(count()), ' ', any(pipeline)) FROM " + w.s.db + "." + TableLedger); n != "1 q" {
		t.Errorf("ledger: %s", n)
	}
}

// A server remembers a token longer than the rows that came with it: after they were deleted, others under the same token are there all the same, once, whoever wants them.
func TestOnce_RowsThatWereDeletedComeAgain(t *testing.T) {
	w := newWorld(t)
	put := clickhouse.Insert{Database: w.s.db, Table: TableJobScopes, Token: "scope-p-1", Input: proto.Input{{Name: "partition", Data: proto.ColInt32{0}}}}
	rows := func() string { return w.value("SELECT count() FROM " + w.s.db + ".job_scopes") }
	for round := range 3 {
		var all sync.WaitGroup
		for range 4 {
			all.Go(func() {
				if err := w.s.PutJobScope(t.Context(), "p", "1", map[int32]waybill.OffsetSet{0: waybill.OffsetsIn(waybill.Span{First: 0, Next: 5})}); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		if n := rows(); n != "1" {
			t.Errorf("round %d: %s rows", round, n)
		}
		w.exec("ALTER TABLE " + w.s.db + ".job_scopes DELETE WHERE pipeline = 'p' SETTINGS mutations_sync = 2")
		// The control: the token by itself brings nothing.
		if a := w.ch.Insert(t.Context(), put); a.Err != nil || rows() != "0" {
			t.Errorf("round %d: the token was forgotten: %v, %s rows", round, a.Err, rows())
		}
	}
}
