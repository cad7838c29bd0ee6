package e2e

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/waybill-data/waybill/internal/testenv"
	"github.com/waybill-data/waybill/internal/testenv/chserver"
	"github.com/waybill-data/waybill/internal/testenv/faultproxy"
)

// restart starts the server again on its directory.
func (w *world) restart() {
	w.Helper()
	ctx, cancel := context.WithTimeout(w.Context(), 60*time.Second)
	defer cancel()
	if err := w.ch.Start(ctx); err != nil {
		w.Fatal(err)
	}
}

// pass lets time go by, where the time is the fault.
func (w *world) pass(d time.Duration) {
	w.Helper()
	select {
	case <-time.After(d):
	case <-w.Context().Done():
		w.Fatal(context.Cause(w.Context()))
	}
}

// insertRunning waits until the server works on an INSERT into the table.
func (w *world) insertRunning() {
	w.Helper()
	w.eventually("the server works on an insert", func() bool {
		n, err := testenv.Query(w.ch.HTTPAddr(), fmt.Sprintf("SELECT count() FROM system.processes WHERE query LIKE 'INSERT INTO%%%s%%events%%' AND elapsed > 0.2", w.db))
		return err == nil && strings.TrimSpace(n) != "0"
	})
}

func TestClickHouse_KilledMidInsert(t *testing.T) {
	// The view takes its time, so that the kill meets a server that has written rows and not answered.
	w := newWorld(t, setup{ch: testenv.ClickHouse(t), view: true, viewSQL: "n + sleep(1.5)"})
	w.allow("view_incomplete") // after a restart nobody can prove what the view's table remembers
	w.produce(1000, usual)
	p := w.start("")
	w.insertRunning()
	before := w.ch.PID()
	w.ch.Kill()
	w.produce(500, usual)
	w.restart()
	w.observe("server processes killed", boolCount(w.ch.PID() != before))
	w.quiet()
	p.stop()
	w.verify()
}

func TestClickHouse_GoneForAWhile(t *testing.T) {
	w := newWorld(t, setup{ch: testenv.ClickHouse(t)})
	w.produce(1000, usual)
	p := w.start("")
	w.awaitRows(1)
	w.ch.Kill()
	w.produce(1000, usual)
	p.awaitStalled()
	away := 10 * time.Second
	if full {
		away = 100 * time.Second
	}
	w.pass(away)
	if n := p.said(`"partitions assigned"`); n != 1 {
		t.Errorf("the worker was assigned partitions %d times: it must stay in its group", n)
	}
	w.restart()
	w.observe("seconds away", int64(away.Seconds()))
	w.quiet()
	p.stop()
	w.verify()
}

func TestClickHouse_LostReply(t *testing.T) {
	t.Parallel()
	for _, table := range []string{tableEvents, tableDeadLetters, tableLedger} {
		t.Run(strings.Trim(table, "`"), func(t *testing.T) {
			w := newWorld(t, setup{proxied: true})
			w.produce(1000, usual)
			w.proxy.Set(faultproxy.DropInsertReply(table).Times(2))
			p := w.start("")
			w.quiet()
			w.produce(500, usual)
			w.quiet()
			p.stop()
			w.observe("replies lost", w.proxy.Applied(faultproxy.NameDropInsert))
			w.verify()
		})
	}
}

func TestClickHouse_LostReplyWithView(t *testing.T) {
	w := newWorld(t, setup{proxied: true, view: true, ch: testenv.ClickHouse(t, logged)})
	w.aged()
	w.produce(1000, usual)
	w.proxy.Set(faultproxy.DropInsertReply(tableEvents).Times(1))
	p := w.start("")
	w.quiet()
	p.stop()
	w.observe("replies lost", w.proxy.Applied(faultproxy.NameDropInsert))
	w.verify()
}

// aged waits until the table is old enough for its window to be proved: what happened within seconds of
// its creation cannot be told apart from before.
func (w *world) aged() {
	w.Helper()
	w.eventually("the table is some seconds old", func() bool {
		return w.query("SELECT min(now() - metadata_modification_time) > 6 FROM system.tables WHERE database = '"+w.db+"'") == "1"
	})
}

// logged has the server keep its part log, from which windows are proved.
func logged(o *chserver.Options) { o.SystemLogs = true }

func TestClickHouse_BodyCut(t *testing.T) {
	t.Parallel()
	percents := []int{50}
	if full {
		percents = []int{1, 25, 61, 99}
	}
	for _, percent := range percents {
		t.Run(fmt.Sprintf("%d%%", percent), func(t *testing.T) {
			w := newWorld(t, setup{proxied: true, rows: 100_000, age: "1s"})
			m := usual
			m.body = 300
			w.produce(2000, m)
			p := w.start("")
			w.quiet()
			size, _ := w.proxy.Bytes() // of one insert and what goes with it
			w.proxy.Set(faultproxy.CutShare(percent, size).On(faultproxy.Insert(tableEvents)).Times(1))
			w.produce(3000, m)
			w.quiet()
			p.stop()
			w.observe("inserts cut", w.proxy.Applied(faultproxy.NameCut))
			w.verify()
		})
	}
}

func TestClickHouse_TooManyParts(t *testing.T) {
	w := newWorld(t, setup{settings: "parts_to_throw_insert = 3, parts_to_delay_insert = 1000", age: "50ms"})
	w.exec("SYSTEM STOP MERGES " + w.db + ".events")
	p := w.start("")
	refused := func() bool { return p.said("TOO_MANY_PARTS") > 0 }
	for i := 0; i < 10 && !refused(); i++ {
		before := w.count()
		w.produce(100, usual)
		w.eventually("rows or a refusal", func() bool { return refused() || w.count() > before })
	}
	reason := p.awaitStalled()
	w.observe("refusals seen", p.said("TOO_MANY_PARTS"))
	if !strings.Contains(reason, "TOO_MANY_PARTS") {
		t.Errorf("the status does not say why it is stalled: %q", reason)
	}
	w.exec("SYSTEM START MERGES "+w.db+".events", "OPTIMIZE TABLE "+w.db+".events FINAL")
	w.quiet()
	p.stop()
	w.verify()
}

// Errors that a person mends on the server, or that go by: nothing is dead-lettered for them.
func TestClickHouse_ErrorsThatHeal(t *testing.T) {
	t.Parallel()
	for name, fault := range map[string]faultproxy.Fault{
		"AUTHENTICATION_FAILED": faultproxy.Answer(516, "AUTHENTICATION_FAILED", "DB::Exception: ingest: Authentication failed: password is incorrect").On(faultproxy.Handshake()),
		"MEMORY_LIMIT_EXCEEDED": faultproxy.Answer(241, "MEMORY_LIMIT_EXCEEDED", "DB::Exception: (total) memory limit exceeded: would use 10.00 GiB"),
		"TOO_MANY_PARTS":        faultproxy.Answer(252, "TOO_MANY_PARTS", "DB::Exception: Too many parts (3001)"),
		"TABLE_IS_READ_ONLY":    faultproxy.Answer(242, "TABLE_IS_READ_ONLY", "DB::Exception: Table is in readonly mode"),
	} {
		t.Run(name, func(t *testing.T) {
			if name != "AUTHENTICATION_FAILED" {
				fullOnly(t)
			}
			w := newWorld(t, setup{proxied: true})
			w.produce(400, usual)
			p := w.start("")
			w.quiet()
			w.proxy.Set(fault)
			w.proxy.KillConnections()
			w.produce(400, usual)
			w.eventually("stalled, in the server's words", func() bool {
				state, reason := p.state()
				return state == "stalled" && strings.Contains(reason, name)
			})
			w.observe("answers with "+name, w.proxy.Applied(faultproxy.NameAnswer))
			w.proxy.Set(faultproxy.Pass())
			w.quiet()
			p.stop()
			w.verify()
		})
	}
}

func TestClickHouse_OnePoisonedRowAmongThousands(t *testing.T) {
	w := newWorld(t, setup{check: "tenant != 'cursed'", rows: 20_000, age: "2s", partitions: 2})
	w.produce(5000, mix{poisoned: 3011})
	p := w.start("")
	w.quiet()
	p.stop()
	w.observe("dead letters by the server's word", integer(w.query(fmt.Sprintf("SELECT count() FROM waybill.dead_letters WHERE pipeline = '%s' AND code = 'server_469'", w.pipeline))))
	w.observe("rows", int64(w.count()))
	w.verify()
}

// A token can be on record while its part is not: a power loss between the two. Then the retry is
// swallowed, and only a look at the table tells.
func TestClickHouse_TokenWithoutItsPart(t *testing.T) {
	w := newWorld(t, setup{ch: testenv.ClickHouse(t)})
	w.produce(800, usual)
	w.start("after-target:1").died("after-target")
	// Another block of the dead worker may land until the server is killed: what is on its disk then is what is removed.
	data := w.query("SELECT data_paths[1] FROM system.tables WHERE database = '" + w.db + "' AND name = 'events'")
	before := w.ch.PID()
	w.ch.Kill()
	parts, err := filepath.Glob(filepath.Join(data, "*", "count.txt")) // what only a part has
	if err != nil {
		t.Fatal(err)
	}
	var removed int64
	for _, f := range parts {
		n, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.RemoveAll(filepath.Dir(f)); err != nil {
			t.Fatal(err)
		}
		removed += integer(strings.TrimSpace(string(n)))
	}
	w.restart()
	w.observe("rows removed behind the server's back", removed) // those of a part and of what it was merged into count twice
	w.observe("server processes killed", boolCount(w.ch.PID() != before))
	if n := w.count(); n != 0 {
		t.Fatalf("%d rows are still there", n)
	}
	p := w.start("")
	w.quiet()
	p.stop()
	w.observe("sends under a later token", p.said(`"msg":"insert"`, `"store":"target"`, `"k":1`))
	w.verify()
}

// otherTopic marks rows of another writer, which the oracle leaves out.
const otherTopic = "of another writer"

// useUpWindow inserts as another writer would, one block at a time.
func (w *world) useUpWindow(blocks int) {
	w.Helper()
	for i := range blocks {
		w.exec(fmt.Sprintf("INSERT INTO %s.events (id, _topic, _offset) VALUES (%d, '%s', %d)", w.db, i, otherTopic, i))
	}
	w.observe("blocks of another writer", int64(blocks))
}

func TestClickHouse_WindowUsedUpWhileInDoubt(t *testing.T) {
	t.Parallel()
	for _, at := range []string{"after-target", "during-target", "before-target"} {
		t.Run(at, func(t *testing.T) {
			if at != "after-target" {
				fullOnly(t)
			}
			w := newWorld(t, setup{window: 200})
			w.allow("small_window")
			w.produce(600, usual)
			w.start(at + ":1").died(at)
			w.useUpWindow(230)
			w.settle()
			w.verify()
		})
	}
}

// The same while the worker lives: its reply is lost, the server is out of reach for long, and
// others go on writing.
func TestClickHouse_GoneLongerThanTheWindow(t *testing.T) {
	fullOnly(t)
	w := newWorld(t, setup{window: 200, proxied: true})
	w.allow("small_window")
	p := w.start("")
	w.produce(600, usual)
	w.quiet()
	w.proxy.Set(faultproxy.DropInsertReply(tableEvents).Times(1))
	w.produce(600, usual)
	w.eventually("a reply is lost", func() bool { return w.proxy.Applied(faultproxy.NameDropInsert) > 0 })
	if err := w.proxy.Down(); err != nil {
		t.Fatal(err)
	}
	w.useUpWindow(230)
	w.pass(100 * time.Second)
	w.observe("replies lost", w.proxy.Applied(faultproxy.NameDropInsert))
	if err := w.proxy.Up(); err != nil {
		t.Fatal(err)
	}
	w.quiet()
	p.stop()
	w.verify()
}

func TestClickHouse_ViewThatThrowsIsRepaired(t *testing.T) {
	w := newWorld(t, setup{view: true, viewSQL: "n + throwIf(tenant = 't3', 'the view is broken')", ch: testenv.ClickHouse(t, logged)})
	w.aged()
	w.produce(700, usual)
	p := w.start("")
	w.eventually("stalled, in the view's words", func() bool {
		state, reason := p.state()
		return state == "stalled" && strings.Contains(reason, "the view is broken")
	})
	w.observe("failures told", p.said("the view is broken"))
	w.viewSQL = "n"
	w.exec(w.viewSelect("ALTER TABLE %s.by_tenant_mv MODIFY QUERY"))
	w.quiet()
	p.stop()
	w.verify()
	w.observe("events in the view", integer(w.query("SELECT sum(events) FROM "+w.db+".by_tenant")))
}

// Half of a block that the server refuses has landed when the worker dies. Its successor may not insist
// on the whole block for the view's sake: that is refused for ever.
func TestClickHouse_RefusedRowViewAndACrash(t *testing.T) {
	w := newWorld(t, setup{view: true, check: "tenant != 'cursed'", partitions: 1, ch: testenv.ClickHouse(t, logged)})
	w.aged()
	w.allow("view_incomplete") // a view cannot be told which half it has seen
	w.produce(300, mix{poisoned: 250})
	first := w.start("after-target:2")
	first.died("after-target")
	w.observe("rows landed before the crash", int64(w.count()))
	p := w.start("")
	w.quiet()
	p.stop()
	w.verify()
}

func TestClickHouse_ManyTablePartitions(t *testing.T) {
	t.Parallel()
	for _, days := range []int{60, 150} { // the server takes 100 in one block; the second has to be split
		t.Run(fmt.Sprintf("%d", days), func(t *testing.T) {
			if days != 60 {
				fullOnly(t)
			}
			w := newWorld(t, setup{partitionBy: "toDate(at)", proxied: true})
			m := usual
			m.days = days
			w.produce(900, m)
			w.proxy.Set(faultproxy.DropInsertReply(tableEvents).Times(1))
			w.start("after-target:2").died("after-target")
			w.settle()
			w.observe("replies lost", w.proxy.Applied(faultproxy.NameDropInsert))
			w.observe("table partitions", integer(w.query("SELECT uniqExact(partition_id) FROM system.parts WHERE active AND database = '"+w.db+"' AND table = 'events'")))
			w.verify()
		})
	}
}

func TestDelivery_AtLeastOnce(t *testing.T) {
	t.Parallel()
	for _, at := range []string{"after-target", "after-ledger"} {
		t.Run(at, func(t *testing.T) {
			if at != "after-target" {
				fullOnly(t)
			}
			w := newWorld(t, setup{delivery: "at-least-once", check: "tenant != 'cursed'"})
			m := usual
			m.poisoned = 251
			w.produce(600, m)
			w.start(at + ":1").died(at)
			w.produce(300, m)
			w.settle()
			w.verify()
		})
	}
}

func boolCount(b bool) int64 {
	if b {
		return 1
	}
	return 0
}
