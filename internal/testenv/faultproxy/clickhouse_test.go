package faultproxy_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/ClickHouse/ch-go"
	"github.com/ClickHouse/ch-go/proto"

	"github.com/waybill-data/waybill/internal/testenv"
	. "github.com/waybill-data/waybill/internal/testenv/faultproxy"
)

// target is a table behind a proxy.
type target struct {
	http, table string
	proxy       *Proxy
	compression ch.Compression
}

func newTarget(t *testing.T, compression ch.Compression) *target {
	t.Helper()
	srv := testenv.SharedClickHouse(t)
	table := testenv.Database(t, srv) + ".t"
	testenv.Exec(t, srv.HTTPAddr(), "CREATE TABLE "+table+" (a UInt64, s String) ENGINE = MergeTree ORDER BY a")
	return &target{srv.HTTPAddr(), table, testenv.Proxy(t, srv.TCPAddr()), compression}
}

func (tg *target) dial(t *testing.T) (*ch.Client, error) {
	t.Helper()
	return ch.Dial(t.Context(), ch.Options{Address: tg.proxy.Addr(), Compression: tg.compression})
}

func (tg *target) mustDial(t *testing.T) *ch.Client {
	t.Helper()
	c, err := tg.dial(t)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func (tg *target) insertInto(t *testing.T, c *ch.Client, rows int) error {
	t.Helper()
	var a proto.ColUInt64
	var s proto.ColStr
	for i := range rows {
		a.Append(uint64(i))
		s.Append(strings.Repeat("x", i%50))
	}
	input := proto.Input{{Name: "a", Data: &a}, {Name: "s", Data: &s}}
	ctx, cancel := context.WithTimeout(t.Context(), soon)
	defer cancel()
	return c.Do(ctx, ch.Query{Body: "INSERT INTO " + tg.table + " (a, s) VALUES", Input: input})
}

func (tg *target) rows(t *testing.T) string {
	t.Helper()
	return testenv.QueryValue(t, tg.http, "SELECT count() FROM "+tg.table)
}

func TestClickHouse_Faults(t *testing.T) {
	for name, compression := range map[string]ch.Compression{"plain": ch.CompressionDisabled, "lz4": ch.CompressionLZ4} {
		t.Run(name, func(t *testing.T) {
			t.Run("DropInsertReply", func(t *testing.T) { testDropInsertReply(t, compression) })
			t.Run("CutInsert", func(t *testing.T) { testCutInsert(t, compression) })
			t.Run("Answer", func(t *testing.T) { testAnswer(t, compression) })
		})
	}
}

func testDropInsertReply(t *testing.T, compression ch.Compression) {
	tg := newTarget(t, compression)
	c := tg.mustDial(t)
	tg.proxy.Set(DropInsertReply(tg.table).Times(1))

	// A refusal is passed on and is not what the fault waits for.
	testenv.Exec(t, tg.http, "ALTER TABLE "+tg.table+" ADD CONSTRAINT small CHECK a < 1000")
	if err := tg.insertInto(t, c, 2000); !ch.IsErr(err, proto.ErrViolatedConstraint) {
		t.Fatalf("got %v", err)
	}
	wantApplied(t, tg.proxy, NameDropInsert, 0)
	testenv.Exec(t, tg.http, "ALTER TABLE "+tg.table+" DROP CONSTRAINT small")

	c = tg.mustDial(t)
	if err := tg.insertInto(t, c, 10); !errors.Is(err, ch.ErrClosed) && !isEnd(err) {
		t.Fatalf("got %v", err)
	}
	wantApplied(t, tg.proxy, NameDropInsert, 1)
	if got := tg.rows(t); got != "10" {
		t.Errorf("%s rows are there when the reply was dropped, want 10", got)
	}

	c = tg.mustDial(t)
	if err := tg.insertInto(t, c, 10); err != nil {
		t.Errorf("the fault was for one connection: %v", err)
	}
	wantApplied(t, tg.proxy, NameUnparsed, 0)
}

func testCutInsert(t *testing.T, compression ch.Compression) {
	tg := newTarget(t, compression)
	const rows = 100_000
	body := func() int64 { up, _ := tg.proxy.Bytes(); return up }
	before := body()
	if err := tg.insertInto(t, tg.mustDial(t), rows); err != nil {
		t.Fatal(err)
	}
	expected := body() - before
	for i, percent := range []int{0, 1, 50, 99} {
		tg.proxy.Set(CutShare(percent, expected-1000).On(Insert(tg.table)))
		if err := tg.insertInto(t, tg.mustDial(t), rows); err == nil {
			t.Errorf("%d%%: the insert succeeded", percent)
		}
		wantApplied(t, tg.proxy, NameCut, int64(i+1))
		tg.proxy.Set(Pass())
		if err := tg.mustDial(t).Ping(t.Context()); err != nil {
			t.Fatalf("%d%%: the server does not live on: %v", percent, err)
		}
	}
	if got := tg.rows(t); got != "100000" {
		t.Errorf("%s rows: cut inserts left something", got)
	}
}

func testAnswer(t *testing.T, compression ch.Compression) {
	tg := newTarget(t, compression)
	tg.proxy.Set(Answer(252, "DB::Exception", "DB::Exception: Too many parts").On(Insert(tg.table)).Times(2))
	c := tg.mustDial(t)
	if err := c.Ping(t.Context()); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		err := tg.insertInto(t, tg.mustDial(t), 5)
		exc, ok := ch.AsException(err)
		if !ok || exc.Code != proto.ErrTooManyParts || exc.Message != "DB::Exception: Too many parts" {
			t.Fatalf("got %#v", exc)
		}
	}
	if err := tg.insertInto(t, c, 5); err != nil {
		t.Errorf("the fault was for two connections: %v", err)
	}
	wantApplied(t, tg.proxy, NameAnswer, 2)
	if got := tg.rows(t); got != "5" {
		t.Errorf("%s rows, want those of the last insert only", got)
	}

	tg.proxy.Set(Answer(516, "DB::Exception", "DB::Exception: default: Authentication failed").On(Handshake()))
	if _, err := tg.dial(t); !ch.IsErr(err, proto.ErrAuthenticationFailed) {
		t.Errorf("got %v", err)
	}
	if err := tg.insertInto(t, c, 5); err != nil {
		t.Errorf("an open connection has its handshake behind it: %v", err)
	}
}

// The proxy's connections may break at any point: the engine must live on, or every test behind it would fail.
func TestClickHouse_SurvivesBrokenConnections(t *testing.T) {
	tg := newTarget(t, ch.CompressionDisabled)
	for i, fault := range []Fault{
		Cut(0), Cut(1), Cut(10), Cut(40), Cut(80), Cut(200),
		DropReply(), DropReply().On(Insert("")),
		Hang().On(Insert("")), Refuse(),
	} {
		tg.proxy.Set(fault)
		ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
		c, err := ch.Dial(ctx, ch.Options{Address: tg.proxy.Addr()})
		if err == nil {
			var a proto.ColUInt64
			a.Append(1)
			err = c.Do(ctx, ch.Query{Body: "INSERT INTO " + tg.table + " (a) VALUES", Input: proto.Input{{Name: "a", Data: a}}})
			_ = c.Close()
		}
		cancel()
		if err == nil {
			t.Errorf("fault %d: no error", i)
		}
		tg.proxy.KillConnections()
		if testenv.SharedClickHouse(t).PID() == 0 {
			t.Fatalf("fault %d ended the server:\n%s", i, testenv.SharedClickHouse(t).LogTail())
		}
	}
}
