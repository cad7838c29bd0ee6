package clickhouse

import (
	"net"
	"sync"
	"testing"
	"time"

	"github.com/ClickHouse/ch-go/proto"

	waybill "github.com/waybill-data/waybill"
)

func TestInsert_LandedThenDeduplicated(t *testing.T) { overBoth(t, testInsert_LandedThenDeduplicated) }

func testInsert_LandedThenDeduplicated(t *testing.T, over wire) {
	for _, deadline := range []bool{false, true} {
		w := newWorld(t, over)
		w.table("t", "", window100)
		in := Insert{Database: w.db, Table: "t", Input: rows(0, 1, 2, 3), Token: "a"}
		if deadline {
			in.Deadline = w.soon()
		}
		first := w.c.Insert(t.Context(), in)
		w.wantLanded(first)
		if first.Parts != w.parts(1) || first.Rows != 3 || first.Err != nil {
			t.Errorf("answer %+v, want one part of three rows", first)
		}
		again := w.c.Insert(t.Context(), in)
		w.wantDeduplicated(again)
		if n := w.value("SELECT count() FROM " + w.db + ".t"); n != "3" {
			t.Errorf("deadline %v: %s rows, want 3", deadline, n)
		}
	}
}

// A table without a window takes the same token twice; the answer must not claim otherwise.
func TestInsert_NoWindowLandsTwice(t *testing.T) { overBoth(t, testInsert_NoWindowLandsTwice) }

func testInsert_NoWindowLandsTwice(t *testing.T, over wire) {
	w := newWorld(t, over)
	w.table("t", "", "")
	w.wantLanded(w.insert("t", "a", rows(0, 1)))
	w.wantLanded(w.insert("t", "a", rows(0, 1)))
	if n := w.value("SELECT count() FROM " + w.db + ".t"); n != "2" {
		t.Errorf("%s rows, want 2", n)
	}
}

func TestInsert_LateIsRefusedAndNothingLands(t *testing.T) {
	overBoth(t, testInsert_LateIsRefusedAndNothingLands)
}

func testInsert_LateIsRefusedAndNothingLands(t *testing.T, over wire) {
	w := newWorld(t, over)
	w.table("t", "", window100)
	a := w.c.Insert(t.Context(), Insert{
		Database: w.db, Table: "t", Input: rows(0, 1, 2), Token: "a", Deadline: w.c.ServerNow(time.Now()).Add(-time.Second),
	})
	wantOutcome(t, a, Refused)
	if !a.Late || a.Err.Class != waybill.ClassRetryable || a.Err.Code != 395 {
		t.Errorf("late %v, error %+v; want late, retryable, 395", a.Late, a.Err)
	}
	if n := w.value("SELECT count() FROM " + w.db + ".t"); n != "0" {
		t.Errorf("%s rows landed late", n)
	}
	// The refused request left no token behind.
	w.wantLanded(w.insert("t", "a", rows(0, 1, 2)))
}

// slowColumn waits while it is being written: over the native protocol the server has the statement by then.
type slowColumn struct {
	proto.ColInput
	wait func()
}

func (c slowColumn) WriteColumn(w *proto.Writer) {
	c.wait()
	c.ColInput.WriteColumn(w)
}

// slowWire waits after the first write: over HTTP that is all but the body.
type slowWire struct {
	net.Conn
	wait func()
	once sync.Once
}

func (c *slowWire) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	c.once.Do(c.wait)
	return n, err
}

// The statement arrives in time and its block does not: now64() would be a constant by then. Over HTTP, where both are in the
// body, it is the request that arrives in time.
func TestInsert_BlockAfterDeadlineIsRefused(t *testing.T) {
	overBoth(t, testInsert_BlockAfterDeadlineIsRefused)
}

func testInsert_BlockAfterDeadlineIsRefused(t *testing.T, over wire) {
	w := newWorld(t, over)
	w.table("t", "", window100)
	deadline := w.c.ServerNow(time.Now()).Add(300 * time.Millisecond)
	wait := func() {
		for deadline.Add(50 * time.Millisecond).After(w.c.ServerNow(time.Now())) {
			_, _, _ = w.c.Boot(t.Context()) // passes the time on another connection
		}
	}
	in := rows(0, 1, 2)
	if over.protocol == HTTP {
		w.c.pool.mu.Lock()
		h := w.c.pool.idle[len(w.c.pool.idle)-1].transport.(*httpConn)
		h.wire = &slowWire{Conn: h.wire, wait: wait}
		w.c.pool.mu.Unlock()
	} else {
		in[3].Data = slowColumn{in[3].Data, wait}
	}
	a := w.c.Insert(t.Context(), Insert{Database: w.db, Table: "t", Input: in, Token: "a", Deadline: deadline})
	wantOutcome(t, a, Refused)
	if !a.Late {
		t.Errorf("not late: %+v", a)
	}
	if n := w.value("SELECT count() FROM " + w.db + ".t"); n != "0" {
		t.Errorf("%s rows landed late", n)
	}
}

// A block is refused, whole, by a table whose columns are not of the types that it was made for. Left to itself the server would
// cast: the control shows the 300 that becomes 44.
func TestInsert_AnotherShapeOfTheTableIsRefused(t *testing.T) {
	overBoth(t, testInsert_AnotherShapeOfTheTableIsRefused)
}

func testInsert_AnotherShapeOfTheTableIsRefused(t *testing.T, over wire) {
	w := newWorld(t, over)
	changes := map[string][]string{
		"narrowed":           {"MODIFY COLUMN n UInt8"},
		"widened":            {"MODIFY COLUMN n UInt64"},
		"dropped, and new":   {"DROP COLUMN n", "ADD COLUMN n UInt8"},
		"renamed, and a new": {"RENAME COLUMN n TO old", "ADD COLUMN n UInt8"},
		"gone":               {"DROP COLUMN n"},
	}
	in := append(rows(0, 1, 2), proto.InputColumn{Name: "n", Data: proto.ColUInt16{300, 300}})
	names := make([]string, len(in))
	for i, c := range in {
		names[i] = c.Name
	}
	for name, commands := range changes {
		w.exec("DROP TABLE IF EXISTS " + w.db + ".t")
		w.table("t", ", n UInt16", window100)
		types, err := w.c.ColumnTypes(t.Context(), w.db, "t", names)
		if err != nil {
			t.Fatal(err)
		}
		insert := Insert{Database: w.db, Table: "t", Input: in, Token: "a", Deadline: w.soon(), Types: types}
		w.wantLanded(w.c.Insert(t.Context(), insert))
		w.wantDeduplicated(w.c.Insert(t.Context(), insert))
		for _, command := range commands {
			w.exec("ALTER TABLE " + w.db + ".t " + command)
		}
		insert.Token = "b"
		a := w.c.Insert(t.Context(), insert)
		if name == "gone" {
			if a.Outcome != Refused || a.Err.Class != waybill.ClassSchema {
				t.Errorf("%s: answer %+v, want a schema error", name, a)
			}
			continue
		}
		if !a.Changed || a.Late || a.Err.Class != waybill.ClassRetryable {
			t.Errorf("%s: answer %+v, want changed", name, a)
		}
		if n := w.value("SELECT count() FROM " + w.db + ".t"); n != "2" {
			t.Errorf("%s: %s rows, want 2", name, n)
		}
		if insert.Types = ""; name == "narrowed" {
			w.wantLanded(w.c.Insert(t.Context(), insert))
			if n := w.value("SELECT max(n) FROM " + w.db + ".t"); n != "44" {
				t.Errorf("the server does not cast any more (max(n) = %s): is the check still needed?", n)
			}
		}
	}
}

// Ten offsets over three table partitions: a subset plants T0, the rest goes under T1, a zombie sends the full block under T0.
func TestInsert_SubsetsUnderTheChain(t *testing.T) { overBoth(t, testInsert_SubsetsUnderTheChain) }

func testInsert_SubsetsUnderTheChain(t *testing.T, over wire) {
	w := newWorld(t, over)
	w.table("t", "", "PARTITION BY _offset % 3 "+window100)
	all := []int64{0, 1, 2, 3, 4, 5, 6, 7, 8, 9}
	w.wantLanded(w.insert("t", "T0", rows(0, 0, 3, 1, 4, 2)))
	a := w.insert("t", "T0", rows(0, 5, 6, 7, 8, 9))
	w.wantDeduplicated(a)
	w.wantLanded(w.insert("t", "T1", rows(0, 5, 6, 7, 8, 9)))
	w.wantDeduplicated(w.insert("t", "T0", rows(0, all...)))
	w.wantDeduplicated(w.insert("t", "T1", rows(0, 8, 9)))
	if got := w.value("SELECT arrayStringConcat(arraySort(groupArray(toString(_offset))), ',') FROM " + w.db + ".t"); got != "0,1,2,3,4,5,6,7,8,9" {
		t.Errorf("offsets %s", got)
	}
}

// Part of the block is new and part is deduplicated: in doubt, never landed.
func TestInsert_PartlyDeduplicatedIsNotLanded(t *testing.T) {
	overBoth(t, testInsert_PartlyDeduplicatedIsNotLanded)
}

func testInsert_PartlyDeduplicatedIsNotLanded(t *testing.T, over wire) {
	w := newWorld(t, over)
	w.table("t", "", "PARTITION BY _offset % 3 "+window100)
	w.wantLanded(w.insert("t", "T0", rows(0, 0)))
	w.wantDeduplicated(w.insert("t", "T0", rows(0, 0, 1, 2)))
	if n := w.value("SELECT count() FROM " + w.db + ".t"); n != "3" {
		t.Errorf("%s rows, want 3", n)
	}
}

// A token that was pushed out of the window lands twice: the reason why read-back, not the token, is the proof.
func TestInsert_EvictedTokenLandsTwice(t *testing.T) { overBoth(t, testInsert_EvictedTokenLandsTwice) }

func testInsert_EvictedTokenLandsTwice(t *testing.T, over wire) {
	w := newWorld(t, over)
	w.table("t", "", "SETTINGS non_replicated_deduplication_window = 3")
	for _, token := range []waybill.Token{"a", "b", "c", "d", "a"} {
		w.wantLanded(w.insert("t", token, rows(0, int64(token[0]))))
	}
}

func TestInsert_MillionsOfRowsAreOnePart(t *testing.T) {
	overBoth(t, testInsert_MillionsOfRowsAreOnePart)
}

func testInsert_MillionsOfRowsAreOnePart(t *testing.T, over wire) {
	w := newWorld(t, over)
	w.table("t", "", window100)
	offsets := make([]int64, 2_500_000)
	for i := range offsets {
		offsets[i] = int64(i)
	}
	in := Insert{Database: w.db, Table: "t", Input: rows(0, offsets...), Token: "a", Deadline: w.soon()}
	a := w.c.Insert(t.Context(), in)
	w.wantLanded(a)
	if n := w.value("SELECT count() FROM system.parts WHERE active AND database = '" + w.db + "'"); a.Parts != w.parts(1) || n != "1" {
		t.Errorf("%d parts were told of and %s are there, want one", a.Parts, n)
	}
	w.wantDeduplicated(w.c.Insert(t.Context(), in))
	if n := w.value("SELECT count() FROM " + w.db + ".t"); n != "2500000" {
		t.Errorf("%s rows", n)
	}
}

// A view that throws refuses after the rows of its source have landed.
func TestInsert_ThrowingViewRefusesAfterTheRowsLanded(t *testing.T) {
	overBoth(t, testInsert_ThrowingViewRefusesAfterTheRowsLanded)
}

func testInsert_ThrowingViewRefusesAfterTheRowsLanded(t *testing.T, over wire) {
	w := newWorld(t, over)
	w.table("t", "", window100)
	w.table("target", "", window100)
	w.exec("CREATE MATERIALIZED VIEW " + w.db + ".v TO " + w.db + ".target AS SELECT _topic, _partition, _offset, v FROM " + w.db + ".t WHERE throwIf(v = 20, 'twenty') = 0")
	a := w.insert("t", "a", rows(0, 1, 2, 3))
	wantOutcome(t, a, Refused)
	if a.Late || a.Err.Class != waybill.ClassPoison || a.Err.Code != 395 {
		t.Errorf("answer %+v, want poison 395", a)
	}
	if n := w.value("SELECT count() FROM " + w.db + ".t"); n != "3" {
		t.Errorf("%s rows in the source, want 3", n)
	}
	// The view heals by the full block under the same token.
	w.exec("DROP VIEW "+w.db+".v", "CREATE MATERIALIZED VIEW "+w.db+".v TO "+w.db+".target AS SELECT _topic, _partition, _offset, v FROM "+w.db+".t")
	w.wantDeduplicated(w.insert("t", "a", rows(0, 1, 2, 3)))
	if n := w.value("SELECT (SELECT count() FROM " + w.db + ".t) * 10 + (SELECT count() FROM " + w.db + ".target)"); n != "33" {
		t.Errorf("source and target %s, want 3 and 3", n)
	}
}

// DateTime64(6) values for a DateTime64(3) column: ch-go would relabel microseconds as milliseconds.
func TestInsert_TypesArePinned(t *testing.T) { overBoth(t, testInsert_TypesArePinned) }

func testInsert_TypesArePinned(t *testing.T, over wire) {
	w := newWorld(t, over)
	w.table("t", ", ts DateTime64(3, 'UTC')", window100)
	at := time.Date(2026, 11, 22, 1, 2, 3, 456789000, time.UTC)
	for i, deadline := range []time.Time{{}, w.soon()} {
		ts := new(proto.ColDateTime64).WithPrecision(proto.PrecisionMicro)
		ts.Append(at)
		in := append(rows(0, int64(i)), proto.InputColumn{Name: "ts", Data: ts})
		w.wantLanded(w.c.Insert(t.Context(), Insert{
			Database: w.db, Table: "t", Input: in, Token: waybill.Token("t" + string(rune('0'+i))), Deadline: deadline,
		}))
	}
	if got := w.value("SELECT arrayStringConcat(groupUniqArray(toString(ts))) FROM " + w.db + ".t"); got != "2026-11-22 01:02:03.456" {
		t.Errorf("stored %s", got)
	}
}

func TestInsert_WithoutTokenOrRowsIsABug(t *testing.T) {
	overBoth(t, testInsert_WithoutTokenOrRowsIsABug)
}

func testInsert_WithoutTokenOrRowsIsABug(t *testing.T, over wire) {
	w := newWorld(t, over)
	for _, in := range []Insert{{Table: "t", Input: rows(0, 1)}, {Table: "t", Token: "a", Input: rows(0)}, {Table: "t", Token: "a"}} {
		a := w.c.Insert(t.Context(), in)
		if a.Outcome != Unknown || !a.NotSent || a.Err.Class != waybill.ClassBug {
			t.Errorf("answer %+v, want a bug that was not sent", a)
		}
	}
}

func TestInsert_ColumnsOfDifferentLengthAreABug(t *testing.T) {
	w := newWorld(t, wire{})
	in := append(rows(0, 1, 2), rows(0, 1)[3])
	a := w.c.Insert(t.Context(), Insert{Table: "t", Token: "a", Input: in})
	if a.Outcome != Unknown || !a.NotSent || a.Err.Class != waybill.ClassBug {
		t.Errorf("answer %+v, want a bug that was not sent", a)
	}
}

func TestInsertStatement(t *testing.T) {
	in := Insert{Database: "a b", Table: "t`x", Input: rows(0, 1)}
	const head = "INSERT INTO `a b`.`t\\`x` (`_topic`, `_partition`, `_offset`, `v`) SELECT `_topic`, `_partition`, `_offset`, `v` " +
		"FROM input('`_topic` LowCardinality(String), `_partition` Int32, `_offset` Int64, `v` UInt64')"
	if got, want := insertStatement(in), head+" FORMAT Native"; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	in.Deadline = time.UnixMilli(1795358544644)
	want := head + " WHERE throwIf(nowInBlock64(3) > fromUnixTimestamp64Milli(1795358544644), 'waybill: deadline passed') = 0 FORMAT Native"
	if got := insertStatement(in); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}
