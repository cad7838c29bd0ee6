package e2e

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/waybill-data/waybill/internal/testenv"
	"github.com/waybill-data/waybill/internal/testenv/chserver"
	"github.com/waybill-data/waybill/internal/testenv/faultproxy"
)

// evolving is the usual pipeline file with evolve for fields that no column takes. The usual events have one, unknown.x.
func (w *world) evolving() {
	w.file = strings.Replace(w.pipelineFile(), "new_fields: discard", "new_fields: evolve", 1)
	w.allow("column_added")
}

// writer may do all that a worker does, but for changing the target.
var writer = []string{"GRANT SELECT, INSERT, SHOW, CREATE DATABASE, TABLE ENGINE ON *.*", "GRANT ALL ON waybill.*"}

// ingest is a server with such a user.
func ingest(o *chserver.Options) {
	o.Users = []chserver.User{{Name: "ingest", Grants: writer}}
}

// unknownIs counts the rows that have the usual events' unknown field in its column, and in the rescue column.
func (w *world) unknownIs() (typed, rescued int64) {
	w.Helper()
	column := "0"
	if w.query("SELECT count() FROM system.columns WHERE database = '"+w.db+"' AND table = 'events' AND name = 'unknown_x'") == "1" {
		column = "countIf(unknown_x = 1)"
	}
	f := w.rowsOf("SELECT " + column + ", countIf(JSONExtractRaw(_rescued, 'fields', 'unknown', 'value') = '{\"x\":1}' OR JSONExtractRaw(_rescued, 'fields', 'unknown.x', 'value') = '1') FROM " + w.db + ".events")[0]
	return integer(f[0]), integer(f[1])
}

// wantUnknown: each row has the field in one of the two places.
func (w *world) wantUnknown() (typed, rescued int64) {
	w.Helper()
	typed, rescued = w.unknownIs()
	if rows := int64(w.count()); typed+rescued != rows {
		w.Errorf("of %d rows %d have the field in its column, %d in the rescue column", rows, typed, rescued)
	}
	return typed, rescued
}

// A user who may not change the table: what evolve asks for is rescued, in sight, and nothing waits for it. When the grant comes, the table
// evolves, without anybody touching the worker.
func TestSchema_RefusedForWantOfAGrant(t *testing.T) {
	w := newWorld(t, setup{ch: testenv.ClickHouse(t, ingest), url: "clickhouse://ingest@%s/%s"})
	w.evolving()
	w.allow("evolve_refused")
	w.produce(600, usual)
	p := w.start("")
	w.quiet()
	if state, reason := p.state(); state != "running" {
		t.Errorf("the pipeline is %s: %s", state, reason)
	}
	w.expectFinding("evolve_refused")
	if typed, rescued := w.wantUnknown(); typed != 0 || rescued == 0 {
		t.Errorf("%d values are typed, %d rescued", typed, rescued)
	}
	noted := w.query("SELECT count() > 0 AND countIf(outcome != 'refused' OR error NOT LIKE '%ACCESS_DENIED%' OR path != 'unknown.x') = 0 FROM waybill.schema_changes WHERE pipeline = '" + w.pipeline + "'")
	if noted != "1" {
		t.Error("waybill.schema_changes does not say what was refused")
	}
	// This server reads its users when it starts.
	w.ch.SetUsers(chserver.User{Name: "ingest", Grants: append(writer, "GRANT ALTER ADD COLUMN ON "+w.db+".*")})
	w.ch.Kill()
	w.restart()
	w.eventually("the table evolves", func() bool {
		w.produce(20, mix{})
		w.pass(300 * time.Millisecond)
		return w.query("SELECT count() FROM waybill.schema_changes WHERE pipeline = '"+w.pipeline+"' AND outcome = 'applied'") != "0"
	})
	w.produce(100, mix{})
	w.quiet()
	p.stop()
	w.verify()
	typed, rescued := w.wantUnknown()
	w.observe("values rescued before the grant", rescued)
	w.observe("values typed after it", typed)
	w.observe("refusals that were told", p.said(`"finding"`, "evolve_refused"))
	if n := p.said(`"finding"`, "evolve_refused"); n != 1 {
		t.Errorf("the refusal was told %d times", n)
	}
}

// alters is true once the client has sent an ALTER of the case's table.
func (w *world) alters(s faultproxy.Seen) bool {
	return bytes.Contains(s.Bytes, []byte("ALTER TABLE `"+w.db+"`.`events`"))
}

// Two workers need the same column while the server's answers to ALTER are late, lost, or do not come for as long as a worker waits.
func TestSchema_AlterOverABadConnection(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		fault faultproxy.Fault
		stat  string
	}{
		"reply lost":    {faultproxy.DropReply().Times(2), faultproxy.NameDropReply},
		"not delivered": {faultproxy.Answer(210, "NETWORK_ERROR", "DB::Exception: the connection broke").Times(3), faultproxy.NameAnswer},
		"late":          {faultproxy.Delay(3*time.Second, 0).Times(1), faultproxy.NameDelay},
		"reply late":    {faultproxy.Delay(0, 3*time.Second).Times(1), faultproxy.NameDelay},
		"refused once":  {faultproxy.Answer(497, "ACCESS_DENIED", "DB::Exception: ingest: Not enough privileges").Times(1), faultproxy.NameAnswer},
	} {
		t.Run(name, func(t *testing.T) {
			if name != "reply lost" {
				fullOnly(t)
			}
			w := newWorld(t, setup{proxied: true})
			w.evolving()
			w.allow("evolve_refused") // of one worker, while the other's ALTER is carried out
			w.proxy.Set(c.fault.On(w.alters))
			a, b := w.start(""), w.start("")
			w.eventually("both own partitions", func() bool { return a.owns() > 0 && a.owns()+b.owns() == int(w.partitions) })
			w.produce(1000, usual)
			w.eventually("an ALTER has met the fault", func() bool { return w.proxy.Applied(c.stat) > 0 })
			w.pass(5 * time.Second)
			w.proxy.Set(faultproxy.Pass())
			w.quiet()
			w.observe("ALTERs with this fault", w.proxy.Applied(c.stat))
			w.produce(300, usual)
			w.quiet()
			a.stop()
			b.stop()
			w.verify()
			if _, rescued := w.wantUnknown(); rescued > 0 && name != "refused once" {
				t.Errorf("%d values are not typed", rescued)
			}
		})
	}
}

// The server takes an ALTER and does not answer: it is frozen in the middle of it, and comes back.
func TestSchema_ServerFrozenDuringAnAlter(t *testing.T) {
	fullOnly(t)
	w := newWorld(t, setup{ch: testenv.ClickHouse(t), proxied: true})
	w.evolving()
	w.proxy.Set(faultproxy.Delay(time.Second, 0).On(w.alters).Times(1))
	p := w.start("")
	w.produce(400, usual)
	w.eventually("an ALTER is on its way", func() bool { return w.proxy.Applied(faultproxy.NameDelay) > 0 })
	if err := w.ch.Suspend(); err != nil {
		t.Fatal(err)
	}
	w.produce(400, usual)
	p.awaitStalled()
	w.pass(70 * time.Second) // longer than a statement is waited for
	if err := w.ch.Resume(); err != nil {
		t.Fatal(err)
	}
	w.quiet()
	p.stop()
	w.verify()
	typed, _ := w.wantUnknown()
	w.observe("seconds frozen", 70)
	w.observe("values typed", typed)
}

// The server widens columns by a mutation, which it does not get to: it has many merges to do. The type is wider at once, and rows go on.
func TestSchema_WideningThatWaitsForMerges(t *testing.T) {
	w := newWorld(t, setup{})
	w.file = strings.Replace(w.pipelineFile(), "type_conflicts: freeze", "type_conflicts: evolve", 1)
	w.allow("column_widened")
	w.produce(600, usual)
	a, b := w.start(""), w.start("")
	w.quiet()
	w.exec("SYSTEM STOP MERGES " + w.db + ".events")
	m := usual
	m.wide = 7
	w.produce(700, m)
	w.eventually("the column is wide", func() bool {
		return w.query("SELECT type FROM system.columns WHERE database = '"+w.db+"' AND table = 'events' AND name = 'n'") == "Nullable(Int64)"
	})
	w.observe("mutations that wait", integer(w.query("SELECT count() FROM system.mutations WHERE database = '"+w.db+"' AND NOT is_done")))
	w.pass(3 * time.Second)
	w.exec("SYSTEM START MERGES " + w.db + ".events")
	w.quiet()
	a.stop()
	b.stop()
	w.verify()
	w.observe("wide values", integer(w.query("SELECT countIf(n > 4294967295) FROM "+w.db+".events")))
}
