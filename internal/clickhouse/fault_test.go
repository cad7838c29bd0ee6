package clickhouse

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/ClickHouse/ch-go/proto"

	waybill "github.com/waybill-data/waybill"
	"github.com/waybill-data/waybill/internal/testenv"
	"github.com/waybill-data/waybill/internal/testenv/faultproxy"
)

// newProxied is a world whose client reaches the server through a proxy.
func newProxied(t *testing.T, over wire, cfg Config) (*world, *faultproxy.Proxy) {
	t.Helper()
	srv := testenv.SharedClickHouse(t)
	proxy, err := faultproxy.Start(over.addr(srv))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = proxy.Close() })
	w := &world{t, over, srv, testenv.Database(t, srv), open(t, over.at(proxy.Addr(), cfg))}
	w.table("t", "", window100)
	return w, proxy
}

// dropReply lets one INSERT into t be carried out and its answer be lost. HTTP answers only when it is done.
func (over wire) dropReply() faultproxy.Fault {
	if over.protocol == HTTP {
		return faultproxy.DropReply().On(faultproxy.Insert("t")).Times(1)
	}
	return faultproxy.DropInsertReply("t").Times(1)
}

// nameOfDropReply is the name under which dropReply is counted.
func (over wire) nameOfDropReply() string {
	if over.protocol == HTTP {
		return faultproxy.NameDropReply
	}
	return faultproxy.NameDropInsert
}

// answer is an exception in place of the server's answer to an INSERT.
func (over wire) answer(code int32, message string) faultproxy.Fault {
	if over.protocol == HTTP {
		return faultproxy.AnswerHTTP(500, fmt.Sprintf("Code: %d. DB::Exception: %s. (SOME_NAME) (version 26.7.2.1)\n", code, message),
			fmt.Sprintf("X-ClickHouse-Exception-Code: %d", code))
	}
	return faultproxy.Answer(code, "DB::Exception", "DB::Exception: "+message)
}

func wantApplied(t *testing.T, p *faultproxy.Proxy, name string) {
	t.Helper()
	if p.Applied(name) == 0 {
		t.Fatalf("fault %s was not applied: %v", name, p.Stats())
	}
}

// The insert is carried out and its answer lost: unknown, and the retry under the same token is seen to be deduplicated.
func TestInsert_LostReplyIsUnknown(t *testing.T) { overBoth(t, testInsert_LostReplyIsUnknown) }

func testInsert_LostReplyIsUnknown(t *testing.T, over wire) {
	w, proxy := newProxied(t, over, Config{})
	proxy.Set(over.dropReply())
	a := w.insert("t", "T0", rows(0, 1, 2))
	wantApplied(t, proxy, over.nameOfDropReply())
	wantOutcome(t, a, Unknown)
	if a.NotSent || a.Err == nil || a.Err.Class != waybill.ClassRetryable {
		t.Errorf("answer %+v, want retryable and sent", a)
	}
	w.wantDeduplicated(w.insert("t", "T0", rows(0, 1, 2)))
	if n := w.value("SELECT count() FROM " + w.db + ".t"); n != "2" {
		t.Errorf("%s rows", n)
	}
}

func TestInsert_CutInTheBlockIsUnknown(t *testing.T) { overBoth(t, testInsert_CutInTheBlockIsUnknown) }

func testInsert_CutInTheBlockIsUnknown(t *testing.T, over wire) {
	w, proxy := newProxied(t, over, Config{})
	offsets := make([]int64, 200_000)
	for i := range offsets {
		offsets[i] = int64(i)
	}
	proxy.Set(faultproxy.Cut(1 << 20).Times(1))
	a := w.insert("t", "T0", rows(0, offsets...))
	wantApplied(t, proxy, faultproxy.NameCut)
	wantOutcome(t, a, Unknown)
	w.wantLanded(w.insert("t", "T0", rows(0, offsets...)))
}

// A server that accepts bytes and says nothing holds the caller for the insert timeout and no longer.
func TestInsert_SilenceEndsWithTheTimeout(t *testing.T) {
	overBoth(t, testInsert_SilenceEndsWithTheTimeout)
}

func testInsert_SilenceEndsWithTheTimeout(t *testing.T, over wire) {
	w, proxy := newProxied(t, over, Config{InsertTimeout: 400 * time.Millisecond})
	proxy.Set(faultproxy.Hang())
	a := w.insert("t", "T0", rows(0, 1))
	wantApplied(t, proxy, faultproxy.NameHang)
	wantOutcome(t, a, Unknown)
	if a.NotSent || a.Wall > 10*time.Second {
		t.Errorf("answer %+v", a)
	}
	proxy.Set(faultproxy.Pass())
	testenv.Eventually(t, 20*time.Second, "the client works again", func() bool { return w.insert("t", "T1", rows(0, 2)).Outcome.Answered() })
}

// The server goes away and comes back: idle connections are found to be dead and replaced, nothing is in doubt.
func TestInsert_StaleConnectionsAreReplaced(t *testing.T) {
	overBoth(t, testInsert_StaleConnectionsAreReplaced)
}

func testInsert_StaleConnectionsAreReplaced(t *testing.T, over wire) {
	w, proxy := newProxied(t, over, Config{})
	w.wantLanded(w.insert("t", "T0", rows(0, 1)))
	proxy.KillConnections()
	w.wantLanded(w.insert("t", "T1", rows(0, 2)))
}

func TestInsert_NobodyAnswersIsNotSent(t *testing.T) { overBoth(t, testInsert_NobodyAnswersIsNotSent) }

func testInsert_NobodyAnswersIsNotSent(t *testing.T, over wire) {
	w, proxy := newProxied(t, over, Config{})
	if err := proxy.Down(); err != nil {
		t.Fatal(err)
	}
	a := w.insert("t", "T0", rows(0, 1))
	wantOutcome(t, a, Unknown)
	if !a.NotSent || a.Err.Class != waybill.ClassRetryable {
		t.Errorf("answer %+v, want not sent", a)
	}
	if err := proxy.Up(); err != nil {
		t.Fatal(err)
	}
	w.wantLanded(w.insert("t", "T0", rows(0, 1)))
}

// A password that was rotated shows at the next dial: nothing was sent, a person must look, and it heals by itself.
func TestInsert_RotatedPassword(t *testing.T) { overBoth(t, testInsert_RotatedPassword) }

func testInsert_RotatedPassword(t *testing.T, over wire) {
	w, proxy := newProxied(t, over, Config{})
	proxy.Set(over.answer(516, "default: Authentication failed").On(faultproxy.Handshake()))
	proxy.KillConnections()
	a := w.insert("t", "T0", rows(0, 1))
	wantApplied(t, proxy, faultproxy.NameAnswer)
	wantOutcome(t, a, Unknown)
	wantCode(t, a.Err, waybill.ClassDenied, 516)
	if !a.NotSent || !strings.Contains(a.Err.Hint, "password") {
		t.Errorf("answer %+v", a)
	}
	proxy.Set(faultproxy.Pass())
	w.wantLanded(w.insert("t", "T0", rows(0, 1)))
}

func TestInsert_AnswersThatHeal(t *testing.T) { overBoth(t, testInsert_AnswersThatHeal) }

func testInsert_AnswersThatHeal(t *testing.T, over wire) {
	for code, class := range map[int32]waybill.Class{
		252: waybill.ClassThrottled, 202: waybill.ClassThrottled, 242: waybill.ClassRetryable, 999: waybill.ClassRetryable, 319: waybill.ClassRetryable, 9999: waybill.ClassUnknown,
	} {
		w, proxy := newProxied(t, over, Config{})
		proxy.Set(over.answer(code, "no").Times(1))
		a := w.insert("t", "T0", rows(0, 1))
		wantOutcome(t, a, Refused)
		wantCode(t, a.Err, class, int(code))
		if !a.Err.Class.Heals() {
			t.Errorf("%d does not heal", code)
		}
	}
}

// Codes that the real server is made to produce. One bad row is poison, whatever its kind; halving finds it.
func TestInsert_RefusalsByTheServer(t *testing.T) { overBoth(t, testInsert_RefusalsByTheServer) }

func testInsert_RefusalsByTheServer(t *testing.T, over wire) {
	w := newWorld(t, over)
	w.table("checked", ", CONSTRAINT c CHECK v != 20", window100)
	w.table("typed", ", u UUID, n UInt8", window100)
	w.table("partitioned", "", "PARTITION BY _offset "+window100)
	w.table("full", "", window100+", parts_to_throw_insert = 1, parts_to_delay_insert = 0")
	w.exec("SYSTEM STOP MERGES " + w.db + ".full")
	text := func(col string, values ...string) proto.Input {
		c := new(proto.ColStr)
		for _, v := range values {
			c.Append(v)
		}
		offsets := make([]int64, len(values))
		for i := range offsets {
			offsets[i] = int64(i)
		}
		return append(rows(0, offsets...), proto.InputColumn{Name: col, Data: c})
	}
	many := make([]int64, 200)
	for i := range many {
		many[i] = int64(i)
	}
	w.wantLanded(w.insert("full", "a", rows(0, 1)))
	for _, c := range []struct {
		name, table string
		in          proto.Input
		deadline    bool
		class       waybill.Class
		code        int
	}{
		{"CHECK", "checked", rows(0, 1, 2, 3), false, waybill.ClassPoison, 469},
		{"CHECK under a deadline", "checked", rows(0, 1, 2, 3), true, waybill.ClassPoison, 469},
		{"bad UUID", "typed", text("u", "00000000-0000-0000-0000-000000000001", "no"), false, waybill.ClassPoison, 376},
		{"bad number", "typed", text("n", "7", "x"), false, waybill.ClassPoison, 6},
		{"too many table partitions", "partitioned", rows(0, many...), false, waybill.ClassPoison, 252},
		{"too many parts", "full", rows(0, 2), false, waybill.ClassThrottled, 252},
		{"no such column", "checked", text("nope", "a"), false, waybill.ClassSchema, 16},
		{"no such table", "nope", rows(0, 1), false, waybill.ClassSchema, 60},
	} {
		in := Insert{Database: w.db, Table: c.table, Input: c.in, Token: waybill.Token("x" + c.name)}
		if c.deadline {
			in.Deadline = w.soon()
		}
		a := w.c.Insert(t.Context(), in)
		if a.Outcome != Refused || a.Late || a.Err.Class != c.class || a.Err.Code != c.code {
			t.Errorf("%s: %s, %+v; want refused, %s, %d", c.name, a.Outcome, a.Err, c.class, c.code)
		}
	}
	// Half of the block that a bad row spoiled lands under the chain's next tokens.
	w.wantLanded(w.insert("checked", "T0", rows(0, 1)))
	wantOutcome(t, w.insert("checked", "T1", rows(0, 2)), Refused)
	w.wantLanded(w.insert("checked", "T1", rows(0, 3)))
}
