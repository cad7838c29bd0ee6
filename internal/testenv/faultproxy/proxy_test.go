package faultproxy_test

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/waybill-data/waybill/internal/testenv"
	"github.com/waybill-data/waybill/internal/testenv/chserver"
	. "github.com/waybill-data/waybill/internal/testenv/faultproxy"
)

func TestMain(m *testing.M) {
	chserver.MaybeRunChild()
	code := testenv.Run(m)
	if err := goleak.Find(); code == 0 && err != nil {
		_, _ = os.Stderr.WriteString(err.Error() + "\n")
		code = 1
	}
	os.Exit(code)
}

// echo answers each line with itself and counts the bytes it has got.
type echo struct {
	addr string
	got  atomic.Int64
}

func startEcho(t *testing.T) *echo {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	e := &echo{addr: l.Addr().String()}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go e.serve(c)
		}
	}()
	return e
}

func (e *echo) serve(c net.Conn) {
	defer func() { _ = c.Close() }()
	r := bufio.NewReader(c)
	for {
		line, err := r.ReadBytes('\n')
		e.got.Add(int64(len(line)))
		if err != nil {
			return
		}
		if _, err := c.Write(line); err != nil {
			return
		}
	}
}

func dial(t *testing.T, p *Proxy) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", p.Addr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// dialAndSay is for a proxy that may reset the connection before it is used.
func dialAndSay(p *Proxy) error {
	c, err := net.Dial("tcp", p.Addr())
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }()
	return say(c, "a\n", soon)
}

// say sends a line and reads as much back, or fails after wait.
func say(c net.Conn, line string, wait time.Duration) error {
	if _, err := c.Write([]byte(line)); err != nil {
		return err
	}
	if err := c.SetReadDeadline(time.Now().Add(wait)); err != nil {
		return err
	}
	back := make([]byte, len(line))
	if _, err := io.ReadFull(c, back); err != nil {
		return err
	}
	if string(back) != line {
		return errors.New("got " + string(back))
	}
	return nil
}

const (
	soon = 5 * time.Second
	brk  = 100 * time.Millisecond // long enough to see that nothing comes
)

func mustSay(t *testing.T, c net.Conn, line string) {
	t.Helper()
	if err := say(c, line, soon); err != nil {
		t.Fatal(err)
	}
}

func wantApplied(t *testing.T, p *Proxy, name string, want int64) {
	t.Helper()
	if got := p.Applied(name); got != want {
		t.Errorf("%s was applied %d times, want %d; all: %v", name, got, want, p.Stats())
	}
}

func isEnd(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}

func TestPass_ForwardsBothWaysAndAppliesNothing(t *testing.T) {
	p := testenv.Proxy(t, startEcho(t).addr)
	c := dial(t, p)
	mustSay(t, c, "hello\n")
	if up, down := p.Bytes(); up != 6 || down != 6 {
		t.Errorf("forwarded %d and %d bytes, want 6 each", up, down)
	}
	if got := p.Stats(); len(got) != 0 {
		t.Errorf("faults were applied: %v", got)
	}
	if err := c.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("a half-closed connection ends in order: got %v", err)
	}
	testenv.Eventually(t, soon, "no connection is left", func() bool { return p.Connections() == 0 })
}

func TestRefuse_ResetsNewConnectionsOnly(t *testing.T) {
	p := testenv.Proxy(t, startEcho(t).addr)
	old := dial(t, p)
	mustSay(t, old, "a\n")
	p.Set(Refuse().Times(2))
	for range 2 {
		if err := dialAndSay(p); !isEnd(err) {
			t.Errorf("got %v", err)
		}
	}
	mustSay(t, dial(t, p), "c\n")
	mustSay(t, old, "d\n")
	wantApplied(t, p, NameRefuse, 2)
}

func TestHang_HoldsBytesUntilTheFaultIsLifted(t *testing.T) {
	e := startEcho(t)
	p := testenv.Proxy(t, e.addr)
	c := dial(t, p)
	p.Set(Hang())
	if err := say(c, "a\n", brk); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("got %v", err)
	}
	if e.got.Load() != 0 {
		t.Error("bytes came through")
	}
	wantApplied(t, p, NameHang, 1)
	p.Set(Pass())
	if err := c.SetReadDeadline(time.Now().Add(soon)); err != nil {
		t.Fatal(err)
	}
	if back, err := bufio.NewReader(c).ReadString('\n'); back != "a\n" {
		t.Errorf("got %q, %v", back, err)
	}
}

func TestHang_EndsWithTheConnection(t *testing.T) {
	p := testenv.Proxy(t, startEcho(t).addr)
	c := dial(t, p)
	p.Set(Hang().On(Contains([]byte("stop"))))
	mustSay(t, c, "a\n")
	wantApplied(t, p, NameHang, 0)
	if err := say(c, "stop\n", brk); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("got %v", err)
	}
	if n := p.KillConnections(); n != 1 {
		t.Errorf("killed %d connections, want 1", n)
	}
	if err := say(c, "b\n", soon); !isEnd(err) {
		t.Errorf("got %v", err)
	}
	wantApplied(t, p, NameKill, 1)
}

func TestDelay_EachDirection(t *testing.T) {
	const d = 30 * time.Millisecond
	p := testenv.Proxy(t, startEcho(t).addr)
	c := dial(t, p)
	for _, tc := range []struct {
		up, down time.Duration
		chunks   int64
	}{{d, 0, 1}, {0, d, 1}, {d, d, 2}} {
		before := p.Applied(NameDelay)
		p.Set(Delay(tc.up, tc.down))
		start := time.Now()
		mustSay(t, c, "a\n")
		if took := time.Since(start); took < tc.up+tc.down {
			t.Errorf("%v: took %s", tc, took)
		}
		if got := p.Applied(NameDelay) - before; got != tc.chunks {
			t.Errorf("%v: %d chunks were late", tc, got)
		}
	}
}

func TestCut_ForwardsExactlyThatMuch(t *testing.T) {
	for name, tc := range map[string]struct {
		fault Fault
		want  int64 // bytes that arrive, after the first 6
	}{
		"bytes":   {Cut(100), 100},
		"none":    {Cut(0), 0},
		"share":   {CutShare(25, 1000), 250},
		"trigger": {Cut(10).On(AfterBytes(500)), 510},
	} {
		t.Run(name, func(t *testing.T) {
			e := startEcho(t)
			p := testenv.Proxy(t, e.addr)
			c := dial(t, p)
			mustSay(t, c, "hello\n")
			p.Set(tc.fault)
			for i := range 10 { // 100 bytes at a time, each its own read
				if _, err := c.Write(bytes.Repeat([]byte("x"), 100)); err != nil {
					break
				}
				want := min(6+int64(i+1)*100, 6+tc.want)
				testenv.Eventually(t, soon, "the bytes are through", func() bool {
					up, _ := p.Bytes()
					return up == want
				})
			}
			if _, err := c.Read(make([]byte, 1)); !isEnd(err) {
				t.Errorf("got %v", err)
			}
			testenv.Eventually(t, soon, "the server has got what was forwarded", func() bool { return e.got.Load() == 6+tc.want })
			wantApplied(t, p, NameCut, 1)
		})
	}
}

// What makes the trigger fire may be all that the client says.
func TestCut_OfNothingMoreIsAtOnce(t *testing.T) {
	e := startEcho(t)
	p := testenv.Proxy(t, e.addr)
	p.Set(Cut(0).On(Contains([]byte("commit"))))
	if err := say(dial(t, p), "commit\n", soon); !isEnd(err) {
		t.Errorf("got %v", err)
	}
	testenv.Eventually(t, soon, "the server has got what was forwarded", func() bool { return e.got.Load() == int64(len("commit\n")) })
	wantApplied(t, p, NameCut, 1)
}

func TestDropReply_TheServerGetsItAndTheClientHearsNothing(t *testing.T) {
	e := startEcho(t)
	p := testenv.Proxy(t, e.addr)
	p.Set(DropReply().On(Contains([]byte("commit"))).Times(1))
	c := dial(t, p)
	mustSay(t, c, "a\n")
	if _, err := c.Write([]byte("com")); err != nil { // in two pieces
		t.Fatal(err)
	}
	if err := say(c, "mit\n", soon); !isEnd(err) {
		t.Errorf("got %v", err)
	}
	if e.got.Load() != int64(len("a\ncommit\n")) {
		t.Errorf("the server got %d bytes", e.got.Load())
	}
	wantApplied(t, p, NameDropReply, 1)
	mustSay(t, dial(t, p), "commit\n")
}

func TestDropReply_KeepOpenLeavesTheClientWaiting(t *testing.T) {
	p := testenv.Proxy(t, startEcho(t).addr)
	p.Set(DropReply().KeepOpen())
	c := dial(t, p)
	for range 2 {
		if err := say(c, "a\n", brk); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("got %v", err)
		}
	}
	wantApplied(t, p, NameDropReply, 1)
}

func TestDown_ClosesThePortAndUpOpensItAgain(t *testing.T) {
	p := testenv.Proxy(t, startEcho(t).addr)
	c := dial(t, p)
	mustSay(t, c, "a\n")
	if err := p.Down(); err != nil {
		t.Fatal(err)
	}
	if err := say(c, "b\n", soon); !isEnd(err) {
		t.Errorf("got %v", err)
	}
	if _, err := net.Dial("tcp", p.Addr()); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("got %v", err)
	}
	if err := p.Up(); err != nil {
		t.Fatal(err)
	}
	mustSay(t, dial(t, p), "c\n")
	wantApplied(t, p, NameDown, 1)
	wantApplied(t, p, NameKill, 1)
}

func TestProxy_IsDownWhenItsTargetIs(t *testing.T) {
	p := testenv.Proxy(t, "127.0.0.1:1")
	if err := dialAndSay(p); !isEnd(err) {
		t.Errorf("got %v", err)
	}
	p.SetTarget(startEcho(t).addr)
	mustSay(t, dial(t, p), "a\n")
}

func TestKafkaRequest(t *testing.T) {
	request := func(key byte, body int) []byte {
		return append([]byte{0, 0, 0, byte(4 + body), 0, key, 0, 0}, make([]byte, body)...)
	}
	for _, tc := range []struct {
		chunk []byte
		want  bool
	}{
		{request(8, 10), true},
		{request(12, 10), false},
		{append(request(12, 10), request(8, 3)...), true},
		{append(request(12, 10), request(3, 3)...), false},
		{request(8, 0)[:5], false},
		{nil, false},
	} {
		if got := KafkaRequest(8)(Seen{Chunk: tc.chunk}); got != tc.want {
			t.Errorf("%v: got %v", tc.chunk, got)
		}
	}
}
