package clickhouse

import (
	"strings"
	"testing"
	"time"

	"github.com/ClickHouse/ch-go/proto"

	waybill "github.com/waybill-data/waybill"
	"github.com/waybill-data/waybill/internal/testenv"
	"github.com/waybill-data/waybill/internal/testenv/faultproxy"
)

// newProxied is a world whose client reaches the server through a proxy.
func newProxied(t *testing.T, cfg Config) (*world, *faultproxy.Proxy) {
	t.Helper()
	srv := testenv.SharedClickHouse(t)
	proxy, err := faultproxy.Start(srv.TCPAddr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = proxy.Close() })
	cfg.Addr = proxy.Addr()
	w := &world{t, srv, testenv.Database(t, srv), open(t, cfg)}
	w.table("t", "", window100)
	return w, proxy
}

func wantApplied(t *testing.T, p *faultproxy.Proxy, name string) {
	t.Helper()
	if p.Applied(name) == 0 {
		t.Fatalf("fault %s was not applied: %v", name, p.Stats())
	}
}

// The insert is carried out and its answer lost: unknown, and the retry under the same token is seen to be deduplicated.
func TestInsert_LostReplyIsUnknown(t *testing.T) {
	w, proxy := newProxied(t, Config{})
	proxy.Set(faultproxy.DropInsertReply("t").Times(1))
	a := w.insert("t", "T0", rows(0, 1, 2))
	wantApplied(t, proxy, faultproxy.NameDropInsert)
	wantOutcome(t, a, Unknown)
	if a.NotSent || a.Err == nil || a.Err.Class != waybill.ClassRetryable {
		t.Errorf("answer %+v, want retryable and sent", a)
	}
	wantOutcome(t, w.insert("t", "T0", rows(0, 1, 2)), Deduplicated)
	if n := w.value("SELECT count() FROM " + w.db + ".t"); n != "2" {
		t.Errorf("%s rows", n)
	}
}

func TestInsert_CutInTheBlockIsUnknown(t *testing.T) {
	w, proxy := newProxied(t, Config{})
	offsets := make([]int64, 200_000)
	for i := range offsets {
		offsets[i] = int64(i)
	}
	proxy.Set(faultproxy.Cut(1 << 20).Times(1))
	a := w.insert("t", "T0", rows(0, offsets...))
	wantApplied(t, proxy, faultproxy.NameCut)
	wantOutcome(t, a, Unknown)
	wantOutcome(t, w.insert("t", "T0", rows(0, offsets...)), Landed)
}

// A server that accepts bytes and says nothing holds the caller for the insert timeout and no longer.
func TestInsert_SilenceEndsWithTheTimeout(t *testing.T) {
	w, proxy := newProxied(t, Config{InsertTimeout: 400 * time.Millisecond})
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
	w, proxy := newProxied(t, Config{})
	wantOutcome(t, w.insert("t", "T0", rows(0, 1)), Landed)
	proxy.KillConnections()
	wantOutcome(t, w.insert("t", "T1", rows(0, 2)), Landed)
}

func TestInsert_NobodyAnswersIsNotSent(t *testing.T) {
	w, proxy := newProxied(t, Config{})
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
	wantOutcome(t, w.insert("t", "T0", rows(0, 1)), Landed)
}

// A password that was rotated shows at the next dial: nothing was sent, a person must look, and it heals by itself.
func TestInsert_RotatedPassword(t *testing.T) {
	w, proxy := newProxied(t, Config{})
	proxy.Set(faultproxy.Answer(516, "DB::Exception", "default: Authentication failed").On(faultproxy.Handshake()))
	proxy.KillConnections()
	a := w.insert("t", "T0", rows(0, 1))
	wantApplied(t, proxy, faultproxy.NameAnswer)
	wantOutcome(t, a, Unknown)
	wantCode(t, a.Err, waybill.ClassConfig, 516)
	if !a.NotSent || !strings.Contains(a.Err.Hint, "password") {
		t.Errorf("answer %+v", a)
	}
	proxy.Set(faultproxy.Pass())
	wantOutcome(t, w.insert("t", "T0", rows(0, 1)), Landed)
}

func TestInsert_AnswersThatHeal(t *testing.T) {
	for code, class := range map[int32]waybill.Class{
		252: waybill.ClassThrottled, 202: waybill.ClassThrottled, 242: waybill.ClassRetryable, 999: waybill.ClassRetryable, 319: waybill.ClassRetryable, 9999: waybill.ClassUnknown,
	} {
		w, proxy := newProxied(t, Config{})
		proxy.Set(faultproxy.Answer(code, "DB::Exception", "DB::Exception: no").Times(1))
		a := w.insert("t", "T0", rows(0, 1))
		wantOutcome(t, a, Refused)
		wantCode(t, a.Err, class, int(code))
		if !a.Err.Class.Heals() {
			t.Errorf("%d does not heal", code)
		}
	}
}

// Codes that the real server is made to produce. One bad row is poison, whatever its kind; halving finds it.
func TestInsert_RefusalsByTheServer(t *testing.T) {
	w := newWorld(t)
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
	null := append(rows(0, 1), proto.InputColumn{Name: "n", Data: &proto.ColNullable[uint8]{Nulls: proto.ColUInt8{1}, Values: &proto.ColUInt8{0}}})
	wantOutcome(t, w.insert("full", "a", rows(0, 1)), Landed)
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
		{"NULL under a deadline", "typed", null, true, waybill.ClassPoison, 349},
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
	wantOutcome(t, w.insert("checked", "T0", rows(0, 1)), Landed)
	wantOutcome(t, w.insert("checked", "T1", rows(0, 2)), Refused)
	wantOutcome(t, w.insert("checked", "T1", rows(0, 3)), Landed)
}

// NULL for a column that is not Nullable: over plain native TCP the server silently writes the type's zero. Plans never send it.
func TestInsert_NullOverPlainNativeIsZero(t *testing.T) {
	w := newWorld(t)
	w.table("t", ", n UInt8 DEFAULT 7", window100)
	in := append(rows(0, 1), proto.InputColumn{Name: "n", Data: &proto.ColNullable[uint8]{Nulls: proto.ColUInt8{1}, Values: &proto.ColUInt8{0}}})
	wantOutcome(t, w.insert("t", "a", in), Landed)
	if got := w.value("SELECT n FROM " + w.db + ".t"); got != "0" {
		t.Errorf("n is %s: the server has changed; see docs/adr/0002", got)
	}
}
