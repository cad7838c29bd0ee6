package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/waybill-data/waybill/internal/status"
	"github.com/waybill-data/waybill/internal/testenv"
	"github.com/waybill-data/waybill/internal/top"
)

// fakeScreen is a terminal that shows nothing to anybody. Each frame that is drawn on it is sent to frames.
type fakeScreen struct {
	typed   chan string
	frames  chan string
	changes chan os.Signal
	broken  error // of every write

	mu            sync.Mutex
	width, height int
	taken, given  int
}

func newFakeScreen() *fakeScreen {
	return &fakeScreen{typed: make(chan string), frames: make(chan string, 1000), changes: make(chan os.Signal), width: 80, height: 24}
}

func (f *fakeScreen) Read(b []byte) (int, error) {
	s, ok := <-f.typed
	if !ok {
		return 0, io.EOF
	}
	return copy(b, s), nil
}

func (f *fakeScreen) Write(b []byte) (int, error) {
	f.frames <- string(b)
	return len(b), f.broken
}

func (f *fakeScreen) enter() (leave func(), err error) {
	f.taken++
	return func() { f.given++ }, nil
}

func (f *fakeScreen) size() (width, height int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.width, f.height
}

func (f *fakeScreen) resized() (changes <-chan os.Signal, stop func()) { return f.changes, func() {} }

// await waits for a frame that says something.
func (f *fakeScreen) await(t *testing.T, want string) string {
	t.Helper()
	last := ""
	for late := time.After(20 * time.Second); ; {
		select {
		case last = <-f.frames:
			if strings.Contains(last, want) {
				return last
			}
		case <-late:
			t.Fatalf("no frame says %q, the last one says\n%s", want, last)
		}
	}
}

// watched is the dashboard of workers that answer as ask says, on a fake terminal.
func watched(t *testing.T, ask func(ctx context.Context, address string) top.Poll, workers ...string) (f *fakeScreen, ended chan error, cancel context.CancelFunc) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	f, ended = newFakeScreen(), make(chan error, 1)
	w := watch{workers: workers, every: 20 * time.Millisecond, ask: ask, now: time.Now}
	go func() { ended <- w.show(ctx, f) }()
	t.Cleanup(func() { cancel(); close(f.typed) })
	return f, ended, cancel
}

// wantEnd waits for the dashboard's end. The terminal must have been given back.
func (f *fakeScreen) wantEnd(t *testing.T, ended chan error) error {
	t.Helper()
	select {
	case err := <-ended:
		if f.taken != 1 || f.given != 1 {
			t.Errorf("the terminal was taken %d times and given back %d times", f.taken, f.given)
		}
		return err
	case <-time.After(20 * time.Second):
		t.Fatal("it does not end")
		return nil
	}
}

var started = time.Now().Add(-time.Minute)

// twoPipelines is what a worker with two pipelines answers.
func twoPipelines(_ context.Context, address string) top.Poll {
	st := &status.Status{Version: "v", Started: started, Now: time.Now()}
	for _, name := range []string{"calls", "scores"} {
		st.Pipelines = append(st.Pipelines, status.Pipeline{Name: name, State: status.Running, Assigned: true, Table: "ai." + name,
			Partitions: []status.Partition{{Topic: name + ".topic", Partition: 7, State: status.Consuming}}})
	}
	return top.Poll{Worker: address, At: time.Now(), Status: st}
}

func TestTop_KeysAndSize(t *testing.T) {
	f, ended, _ := watched(t, twoPipelines, "a:1")
	first := f.await(t, "1 of 1 workers answer")
	if !strings.Contains(first, "> calls") || strings.Contains(first, "topic/7") {
		t.Errorf("the first pipeline is chosen, and its partitions are not shown: %q", first)
	}
	f.typed <- "j"
	f.await(t, "> scores")
	f.typed <- "\r"
	f.await(t, "scores.topic/7")
	f.typed <- "?"
	f.await(t, "another pipeline, or through its partitions")
	f.typed <- "\x1b"
	f.await(t, "scores.topic/7")
	f.typed <- "\x1b[D"
	f.await(t, "> scores")

	f.mu.Lock()
	f.width, f.height = 40, 10
	f.mu.Unlock()
	f.changes <- syscall.SIGWINCH
	small := f.await(t, "\x1b[2J") // nothing of the larger frame stays
	if lines := strings.Split(small, "\r\n"); len(lines) != 10 || strings.Contains(small, "THROUGH") {
		t.Errorf("%d lines: %q", len(lines), small)
	}
	f.typed <- "xq"
	if err := f.wantEnd(t, ended); err != nil {
		t.Error(err)
	}
}

func TestTop_EndsOnASignalAndWhenTheTerminalIsGone(t *testing.T) {
	f, ended, cancel := watched(t, twoPipelines, "a:1")
	f.await(t, "> calls")
	cancel()
	if err := f.wantEnd(t, ended); err != nil {
		t.Error(err)
	}

	broken := newFakeScreen()
	broken.broken = errors.New("input/output error")
	w := watch{workers: []string{"a:1"}, every: time.Hour, ask: twoPipelines, now: time.Now}
	if err := w.show(t.Context(), broken); !errors.Is(err, broken.broken) || broken.given != 1 {
		t.Errorf("%v, given back %d times", err, broken.given)
	}
	close(broken.typed)
}

// A panic, wherever it is, is told on a terminal that is as it was before.
func TestTop_APanicGivesTheTerminalBack(t *testing.T) {
	f := newFakeScreen()
	defer close(f.typed)
	w := watch{workers: []string{"a:1"}, every: time.Hour, now: time.Now, ask: func(context.Context, string) top.Poll { panic("no such thing") }}
	defer func() {
		if r, _ := recover().(string); !strings.Contains(r, "no such thing") || f.taken != 1 || f.given != 1 {
			t.Errorf("%q; the terminal was taken %d times and given back %d times", r, f.taken, f.given)
		}
	}()
	_ = w.show(t.Context(), f)
	t.Error("it has ended without a panic")
}

// A process that hangs is no reason not to see the others, and once it has been given up it is said to be away.
func TestTop_OneThatHangsDoesNotHoldUpTheOthers(t *testing.T) {
	giveUp := make(chan struct{})
	f, ended, _ := watched(t, func(ctx context.Context, address string) top.Poll {
		if address == "a:1" {
			return twoPipelines(ctx, address)
		}
		select {
		case <-giveUp:
		case <-ctx.Done():
		}
		return top.Poll{Worker: address, At: time.Now(), Err: "b:1 did not answer within 5s"}
	}, "a:1", "b:1")
	if s := f.await(t, "> calls"); !strings.Contains(s, "1 of 2 workers answer") || !strings.Contains(s, "b:1 has not answered yet") {
		t.Errorf("%q", s)
	}
	close(giveUp)
	f.await(t, "NOT REACHED: b:1 did not answer within 5s")
	f.typed <- "\x03"
	if err := f.wantEnd(t, ended); err != nil {
		t.Error(err)
	}
}

// freeAddress is one that nobody listens on.
func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// Two workers of one group, as they are: what both say together is what they have done, and the one that ends is not there.
func TestTop_WorkersOfAGroup(t *testing.T) {
	w := newInitWorld(t, "events")
	w.produce("events", `{"id":1}`, `{"id":2}`)
	file, _ := w.initialize("events", "--create")
	addresses := []string{freeAddress(t), freeAddress(t)}
	var stop [2]context.CancelFunc
	var ended [2]chan int
	for i, address := range addresses {
		var ctx context.Context
		ctx, stop[i] = context.WithCancel(w.Context())
		t.Cleanup(stop[i])
		ended[i] = make(chan int, 1)
		go func() {
			ended[i] <- Main(ctx, []string{"run", "--listen", address, "--log-format", "json", file}, Streams{In: strings.NewReader(""), Out: io.Discard, Err: io.Discard})
		}()
	}
	look := func() (s top.Snapshot, code int) {
		var o bytes.Buffer
		code = Main(w.Context(), append([]string{"top", "--every", "1s", "-o", "json"}, addresses...), Streams{In: strings.NewReader(""), Out: &o, Err: io.Discard})
		if err := json.Unmarshal(o.Bytes(), &s); err != nil {
			t.Fatalf("exit code %d: %v\n%s", code, err, o.String())
		}
		return s, code
	}
	var s top.Snapshot
	code := 0
	var p *top.Pipeline
	testenv.Eventually(t, 2*time.Minute, "each of both has a partition", func() bool {
		if s, code = look(); code != ExitOK || len(s.Pipelines) != 1 {
			return false
		}
		p = &s.Pipelines[0]
		return len(p.Partitions) == 2 && p.Partitions[0].Worker != p.Partitions[1].Worker && p.Partitions[0].Worker != "" && p.Lag == 0 && p.LagUnknown == 0
	})
	if len(p.Shares) != 2 || p.State != status.Running || p.Rates == nil {
		t.Errorf("%+v", p)
	}

	done := make(chan struct{})
	var feeding sync.WaitGroup
	feeding.Go(func() { // a few events a second, into both partitions
		for {
			select {
			case <-done:
				return
			case <-time.After(100 * time.Millisecond):
				w.produce("events", `{"id":3}`, `{"id":4}`)
			}
		}
	})
	testenv.Eventually(t, time.Minute, "rates, insert times, and up to when all is complete", func() bool {
		s, code = look()
		p = &s.Pipelines[0]
		moving := code == ExitOK && p.Rates != nil && p.Rates.Read > 0 && p.Rates.Written > 0 && p.InsertSeconds != nil && p.CompleteThrough != nil
		return moving && p.Partitions[0].PerSecond != nil && *p.Partitions[0].PerSecond > 0
	})
	close(done)
	feeding.Wait()
	if *p.InsertSeconds <= 0 || *p.InsertSeconds > 60 || p.Rates.Read > 1000 || time.Since(*p.CompleteThrough) > 10*time.Minute {
		t.Errorf("an insert takes %v s, %+v, complete through %s", *p.InsertSeconds, p.Rates, p.CompleteThrough)
	}

	stop[1]()
	<-ended[1]
	testenv.Eventually(t, time.Minute, "the other has both", func() bool {
		s, code = look()
		p = &s.Pipelines[0]
		return len(p.Partitions) == 2 && p.Partitions[0].Worker == addresses[0] && p.Partitions[1].Worker == addresses[0]
	})
	if away := s.Unreached(); code != ExitConnect || len(away) != 1 || away[0].Address != addresses[1] || !strings.Contains(away[0].Error, "nothing listens") {
		t.Errorf("exit code %d, %+v", code, away)
	}
	stop[0]()
	<-ended[0]
}
