package engine

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/waybill-data/waybill"
	"github.com/waybill-data/waybill/internal/clickhouse"
	"github.com/waybill-data/waybill/internal/column"
	"github.com/waybill-data/waybill/internal/config"
	"github.com/waybill-data/waybill/internal/contract"
	"github.com/waybill-data/waybill/internal/delivery"
)

func TestBackoff_GrowsWithJitterUpToABound(t *testing.T) {
	if d := backoff(0); d != 0 {
		t.Errorf("the first attempt waits %s", d)
	}
	want := firstBackoff
	for attempt := 1; attempt < 100; attempt++ {
		for range 20 {
			if d := backoff(attempt); d < want/2 || d > want {
				t.Fatalf("attempt %d waits %s, want between %s and %s", attempt, d, want/2, want)
			}
		}
		want = min(want*2, lastBackoff)
	}
}

func TestWait_EndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := wait(ctx, time.Hour); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	if err := wait(ctx, 0); !errors.Is(err, context.Canceled) {
		t.Errorf("without a wait: %v", err)
	}
	if err := wait(t.Context(), time.Nanosecond); err != nil {
		t.Errorf("got %v", err)
	}
}

// A statement that the server refuses is sent again, less and less often; one that it has carried out is not.
func TestEvolver_RefusedStatementsAreSentAgain(t *testing.T) {
	e := evolver{sent: map[string]*attempt{}}
	now := time.Unix(1_795_000_000, 0)
	if !e.due("ALTER", now) {
		t.Error("a statement that was never sent is not due")
	}
	a := &attempt{}
	e.sent["ALTER"] = a
	if e.due("ALTER", now) {
		t.Error("a statement that was carried out is due again")
	}
	for i, want := range []time.Duration{10, 20, 40, 80, 160, 320, 600, 600} {
		if first := a.refuse(now); first != (i == 0) {
			t.Errorf("refusal %d: first is %v", i, first)
		}
		if next := now.Add(want * time.Second); e.due("ALTER", next.Add(-1)) || !e.due("ALTER", next) {
			t.Errorf("refusal %d is not due after %d s, but at %s", i, want, a.again)
		}
	}
}

func TestBudget_WaitsForRoom(t *testing.T) {
	seen := []int64{}
	b := NewBudget(100, func(used int64) { seen = append(seen, used) })
	a := b.account(weightLive)
	if err := a.take(t.Context(), 500); err != nil { // larger than all, while nothing is held
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := a.take(ctx, 1); !errors.Is(err, context.Canceled) {
		t.Fatalf("taken from a full budget: %v", err)
	}
	taken := make(chan error)
	go func() { taken <- a.take(t.Context(), 60) }()
	a.give(450) // 50 held: not room enough
	a.force(10)
	a.give(20) // 40 held
	if err := <-taken; err != nil {
		t.Fatal(err)
	}
	a.give(100)
	if last := seen[len(seen)-1]; last != 0 {
		t.Errorf("%d held in the end, seen %v", last, seen)
	}
}

// One pipeline whose server is away takes what it can get; the others still have their shares.
func TestBudget_EachPipelineHasItsShare(t *testing.T) {
	b := NewBudget(1000, nil)
	greedy := b.account(weightLive)
	others := []*account{b.account(weightLive), b.account(weightLive), b.account(weightLive), b.account(weightLive)}
	for greedy.try(7) {
	}
	if greedy.used < 500 || greedy.used > 1000-4*100 {
		t.Fatalf("one pipeline got %d bytes of 1000, of which four others have 100 each for themselves", greedy.used)
	}
	for i, a := range others {
		n := a.step(400)
		if n != 100 {
			t.Errorf("%d bytes are granted at any time, want the share of 100", n)
		}
		if !a.try(n) {
			t.Errorf("pipeline %d does not get its share", i)
		}
	}
	if b.used > 1000 {
		t.Errorf("%d bytes are held", b.used)
	}
}

// A backfill takes no more from the pipelines than its own, smaller, share.
func TestBudget_BackfillHasASmallerShare(t *testing.T) {
	b := NewBudget(1000, nil)
	live, backfill := b.account(weightLive), b.account(weightBackfill)
	for backfill.try(7) {
	}
	if backfill.used > 1000-400 {
		t.Errorf("a backfill got %d bytes of 1000, of which the pipeline has 400 for itself", backfill.used)
	}
	if n := live.step(1000); n != 400 || !live.try(n) {
		t.Errorf("the pipeline gets %d bytes at any time, want 400", n)
	}
	if n := backfill.step(1000); n != 100 {
		t.Errorf("a backfill gets %d bytes at any time, want 100", n)
	}
}

func TestTroubles_EachHealsForItself(t *testing.T) {
	var tr troubles
	at := time.Unix(1000, 0)
	tick := func() time.Time { at = at.Add(time.Second); return at }
	one, two := aboutBatch(1), aboutBatch(2)
	if tr.note(one, errors.New("a"), 1, tick()) {
		t.Error("one failure is a stall")
	}
	if !tr.note(one, errors.New("a"), 2, tick()) || tr.note(two, errors.New("b"), 5, tick()) {
		t.Error("the stall begins once")
	}
	if got := tr.stalling().err.Error(); got != "b" {
		t.Errorf("stalls with %q, the newest is b", got)
	}
	if since := tr.clear(two); !since.IsZero() || tr.stalling().err.Error() != "a" {
		t.Error("the stall of one ended with that of the other")
	}
	tr.note(aboutCommit, errors.New("c"), 1, tick())
	if since := tr.clear(one); !since.Equal(time.Unix(1002, 0)) {
		t.Errorf("stalled since %s", since)
	}
	if tr.stalling() != nil || !tr.clear(one).IsZero() {
		t.Error("still stalled")
	}
	if tr.repeated("x", at) || !tr.repeated("x", at) || tr.repeated("y", at) || tr.repeated("y", at.Add(repeatLog)) {
		t.Error("repeated words")
	}
}

func TestData_PickIsExactOrNothing(t *testing.T) {
	d := newData(Blocks{&column.Block{}})
	a, b := waybill.TopicPartition{Topic: "t", Partition: 0}, waybill.TopicPartition{Topic: "t", Partition: 1}
	of := []*spanData{d.open(a, 1, 0), d.open(b, 1, 0)}
	d.written(0, of[0], 0)
	d.written(0, of[0], 1)
	d.written(0, of[1], 5)
	all := delivery.RowSet{a: waybill.OffsetsOf(0, 1), b: waybill.OffsetsOf(5)}
	if parts := d.pick(all); len(parts) != 1 || parts[0].block != d.blocks[0] {
		t.Error("all rows are not the block")
	}
	for name, want := range map[string]delivery.RowSet{
		"as many, but others":             {a: waybill.OffsetsOf(0, 1), b: waybill.OffsetsOf(6)},
		"more":                            {a: waybill.OffsetsOf(0, 1, 2), b: waybill.OffsetsOf(5)},
		"of a partition it does not have": {{Topic: "t", Partition: 2}: waybill.OffsetsOf(0, 1, 5)},
	} {
		if d.pick(want) != nil {
			t.Errorf("%s: a block that is not what was asked for", name)
		}
	}
}

func TestRefusals_SpeakOfTheirRow(t *testing.T) {
	var none *refusals
	tp := waybill.TopicPartition{Topic: "t"}
	if none.of(tp, 1) != nil {
		t.Error("words from nowhere")
	}
	own, block := &waybill.Error{Code: 1}, &waybill.Error{Code: 2}
	r := &refusals{rows: map[waybill.Position]*waybill.Error{{Topic: "t", Offset: 1}: own}, last: block}
	if r.of(tp, 1) != own || r.of(tp, 2) != block {
		t.Error("wrong words")
	}
}

func TestPreflight(t *testing.T) {
	good := func() clickhouse.TableInfo {
		return clickhouse.TableInfo{Engine: "MergeTree", MergeTree: true, Window: goodWindow, OffsetProjection: true}
	}
	view := func(info *clickhouse.TableInfo, window int64) {
		info.Views = make([]clickhouse.ViewInfo, 1)
		v := &info.Views[0]
		v.Database, v.View = "d", "v"
		v.Target.Database, v.Target.Table, v.Target.Window = "d", "totals", window
	}
	for name, c := range map[string]struct {
		change func(*clickhouse.TableInfo)
		refuse string   // what the error says; empty: accepted
		notes  []string // kinds of findings
	}{
		"all well":          {func(*clickhouse.TableInfo) {}, "", nil},
		"replicated":        {func(i *clickhouse.TableInfo) { i.Engine, i.Replicated = "ReplicatedMergeTree", true }, "", nil},
		"shared":            {func(i *clickhouse.TableInfo) { i.Engine, i.Replicated = "SharedMergeTree", true }, "", nil},
		"merges rows away":  {func(i *clickhouse.TableInfo) { i.Engine = "ReplacingMergeTree" }, "removes or merges rows", nil},
		"no MergeTree":      {func(i *clickhouse.TableInfo) { i.Engine, i.MergeTree = "Log", false }, "keeps no deduplication log", nil},
		"no window":         {func(i *clickhouse.TableInfo) { i.Window = 0 }, "MODIFY SETTING non_replicated_deduplication_window = 10000", nil},
		"tiny window":       {func(i *clickhouse.TableInfo) { i.Window = leastWindow - 1 }, "too small", nil},
		"replicated window": {func(i *clickhouse.TableInfo) { i.Window, i.Replicated = 0, true }, "MODIFY SETTING replicated_deduplication_window", nil},
		"small window":      {func(i *clickhouse.TableInfo) { i.Window = leastWindow }, "", []string{"small_window"}},
		"no projection":     {func(i *clickhouse.TableInfo) { i.OffsetProjection = false }, "", []string{"no_offset_projection"}},
		"a view":            {func(i *clickhouse.TableInfo) { view(i, goodWindow) }, "", nil},
		"a view without":    {func(i *clickhouse.TableInfo) { view(i, 0) }, "counted twice in it", nil},
		"a view with less":  {func(i *clickhouse.TableInfo) { view(i, leastWindow) }, "", []string{"small_window"}},
	} {
		t.Run(name, func(t *testing.T) {
			info := good()
			c.change(&info)
			cfg := &config.Pipeline{Name: "p", Delivery: config.ExactlyOnce, Sink: config.Sink{ClickHouse: config.ClickHouse{Database: "d", Table: "t"}}}
			notes, err := preflight(cfg, info)
			if c.refuse == "" && err != nil || c.refuse != "" && (err == nil || !strings.Contains(err.Error(), c.refuse)) {
				t.Fatalf("got %v, want %q", err, c.refuse)
			}
			if err != nil && (waybill.ClassOf(err) != waybill.ClassConfig || !strings.Contains(err.Error(), "at-least-once")) {
				t.Errorf("no way out is named: %v", err)
			}
			if len(notes) != len(c.notes) {
				t.Fatalf("notes %v, want %v", notes, c.notes)
			}
			for i, n := range notes {
				if n.Kind != c.notes[i] || n.Action == "" {
					t.Errorf("note %+v, want %s with an action", n, c.notes[i])
				}
			}
			cfg.Delivery = config.AtLeastOnce
			if notes, err := preflight(cfg, info); err != nil || notes != nil {
				t.Errorf("at-least-once: %v, %v", notes, err)
			}
		})
	}
}

func TestEpochColumn_IsNeededFromTheSecondEpochOn(t *testing.T) {
	cfg := &config.Pipeline{Name: "p", Sink: config.Sink{ClickHouse: config.ClickHouse{Lineage: contract.DefaultLineage()}}}
	epochColumn := func(s contract.TableSchema) (string, error) {
		of := newTable(config.Table{Pipeline: cfg}, nil)
		err := of.epochColumn(s, cfg.Epoch)
		return of.lineage.Epoch, err
	}
	schemaOf := func(names ...string) (s contract.TableSchema) {
		for _, n := range names {
			s.Columns = append(s.Columns, contract.TableColumn{Name: n})
		}
		return s
	}
	if l, err := epochColumn(schemaOf("id")); err != nil || l != "" {
		t.Errorf("the first epoch: %q, %v", l, err)
	}
	cfg.Epoch = 1
	if _, err := epochColumn(schemaOf("id")); waybill.ClassOf(err) != waybill.ClassConfig || !strings.Contains(err.Error(), "ADD COLUMN _epoch") {
		t.Errorf("the second epoch without a column: %v", err)
	}
	if l, err := epochColumn(schemaOf("id", "_epoch")); err != nil || l != "_epoch" {
		t.Errorf("the second epoch: %q, %v", l, err)
	}
}

// bareLife has a machine, and neither a broker nor a server.
func bareLife() *life {
	return &life{p: &Pipeline{cfg: &config.Pipeline{Name: "p"}, budget: NewBudget(100, nil).account(weightLive)}, machine: delivery.New(delivery.Config{MaxInFlight: 1}),
		data: map[delivery.WorkID]*data{}, starts: map[waybill.TopicPartition]delivery.Gather{}, retries: map[waybill.TopicPartition]*gathering{}, wake: make(chan struct{}, 1)}
}

// A batch that was lost while its records were read again is nobody's: no Drop will come for it.
func TestRebuild_OfADroppedBatchGivesItsBytesBack(t *testing.T) {
	l := bareLife()
	l.keep(7, &data{blocks: Blocks{&column.Block{}}, owned: 60, soiled: true}, delivery.Rebuilt{Op: 1})
	if l.p.budget.used != 0 || len(l.data) != 0 {
		t.Errorf("%d bytes held, %d batches", l.p.budget.used, len(l.data))
	}
	l.closed = true
	l.keep(8, &data{blocks: Blocks{&column.Block{}}, owned: 60, soiled: true}, delivery.Rebuilt{Op: 2})
	if l.p.budget.used != 0 || len(l.data) != 0 {
		t.Errorf("after the end: %d bytes held, %d batches", l.p.budget.used, len(l.data))
	}
}

// The partition went away and came back, or was rewound, while a retry waited: the newer start stands. There
// is no session here to start anything with.
func TestGather_RetryNeverOverridesANewerStart(t *testing.T) {
	l, tp := bareLife(), waybill.TopicPartition{Topic: "t"}
	older, newer := &gathering{instance: 1, next: 50}, &gathering{instance: 2, next: 10}
	g := &gatherer{l: l, parts: map[waybill.TopicPartition]*gathering{tp: newer}}
	l.retries[tp] = older
	g.takeUpStarts()
	if g.parts[tp] != newer || newer.next != 10 || len(l.retries) != 0 {
		t.Errorf("parts %+v, retries %v", g.parts[tp], l.retries)
	}
}

func TestGather_FrozenPartitionStaysFrozenWhileItIsHeld(t *testing.T) {
	l, tp := bareLife(), waybill.TopicPartition{Topic: "t"}
	g := &gatherer{l: l, parts: map[waybill.TopicPartition]*gathering{tp: {instance: 1, next: 50, frozen: true}}}
	l.starts[tp] = delivery.Gather{Part: delivery.Held{TopicPartition: tp, Instance: 1}, Offset: 20}
	g.takeUpStarts()
	if part := g.parts[tp]; !part.frozen || part.next != 20 {
		t.Errorf("part %+v", part)
	}
}

// insert_quorum on a table that heeds none would promise what nobody keeps.
func TestPreflight_QuorumNeedsReplicas(t *testing.T) {
	for engine, ok := range map[string]bool{"ReplicatedMergeTree": true, "MergeTree": false, "SharedMergeTree": false} {
		for _, d := range []config.Delivery{config.ExactlyOnce, config.AtLeastOnce} {
			cfg := &config.Pipeline{Name: "p", Delivery: d, Sink: config.Sink{ClickHouse: config.ClickHouse{Database: "d", Table: "t", Quorum: "2"}}}
			_, err := preflight(cfg, clickhouse.TableInfo{Engine: engine, MergeTree: true, Window: 1 << 20, Replicated: engine != "MergeTree"})
			if ok != (err == nil) || err != nil && (waybill.ClassOf(err) != waybill.ClassConfig || !strings.Contains(err.Error(), "insert_quorum is 2")) {
				t.Errorf("%s, %s: %v", engine, d, err)
			}
		}
	}
}
