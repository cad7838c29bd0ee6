package e2e

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// running counts workers; TestMain looks that none is left.
var running atomic.Int64

// worker is one process of the binary.
type worker struct {
	w    *world
	name string
	cmd  *exec.Cmd
	log  *logBuffer
	done chan struct{} // closed when the process has ended
	err  error         // how; read it after done
}

// logBuffer keeps what a worker writes to standard error.
type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// start starts a worker on the pipeline file as it is now. failpoint is NAME:N, or empty.
func (w *world) start(failpoint string) *worker {
	w.Helper()
	return w.startWith(failpoint, "run", "--listen", "127.0.0.1:0", "--log-format", "json", "--log-level", "debug", "--drain", "20s", w.writeFile())
}

func (w *world) startWith(failpoint string, args ...string) *worker {
	w.Helper()
	w.mu.Lock()
	p := &worker{w: w, name: fmt.Sprintf("worker %d", len(w.workers)+1), log: &logBuffer{}, done: make(chan struct{})}
	w.workers = append(w.workers, p)
	w.mu.Unlock()
	p.cmd = exec.Command(cmp.Or(w.program, binary), args...)
	p.cmd.Stderr = p.log
	p.cmd.Env = append(os.Environ(), w.env...)
	if failpoint != "" {
		p.name += " (" + failpoint + ")"
		p.cmd.Env = append(p.cmd.Env, "WAYBILL_FAILPOINT="+failpoint)
	}
	p.cmd.SysProcAttr = sysProcAttr()
	started := make(chan error)
	go p.run(started)
	if err := <-started; err != nil {
		w.Fatalf("start %s: %v", p.name, err)
	}
	return p
}

// run keeps the thread that started the process until it ends: the kernel kills the child with it.
func (p *worker) run(started chan<- error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := p.cmd.Start(); err != nil {
		close(p.done)
		started <- err
		return
	}
	running.Add(1)
	started <- nil
	p.err = p.cmd.Wait()
	running.Add(-1)
	close(p.done)
}

func (p *worker) alive() bool {
	select {
	case <-p.done:
		return false
	default:
		return true
	}
}

func (p *worker) signal(s syscall.Signal) {
	p.w.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		p.w.Fatalf("%s: signal %v: %v", p.name, s, err)
	}
}

// end kills the process if it is still there. For cleanup.
func (p *worker) end() {
	if p.alive() {
		_ = p.cmd.Process.Kill()
	}
	<-p.done
}

// kill ends the process at once, as a power cut would, and waits.
func (p *worker) kill() {
	p.w.Helper()
	if !p.alive() {
		p.w.Fatalf("%s had ended before it was killed: %v", p.name, p.err)
	}
	p.signal(syscall.SIGKILL)
	<-p.done
}

// stop asks for an orderly end and expects one.
func (p *worker) stop() {
	p.w.Helper()
	p.signal(syscall.SIGTERM)
	if code := p.exit(40 * time.Second); code != 0 {
		p.w.Fatalf("%s ended with exit code %d", p.name, code)
	}
}

// exit waits for the process to end by itself and returns its exit code, -1 if a signal ended it.
func (p *worker) exit(within time.Duration) int {
	p.w.Helper()
	select {
	case <-p.done:
		return p.cmd.ProcessState.ExitCode()
	case <-time.After(within):
		p.w.Fatalf("%s has not ended within %s", p.name, within)
		return 0
	}
}

// died waits for a failpoint to kill the process.
func (p *worker) died(name string) {
	p.w.Helper()
	select {
	case <-p.done:
	case <-time.After(patience):
		p.w.Fatalf("%s was not killed at failpoint %s", p.name, name)
	}
	var exit *exec.ExitError
	killed := errors.As(p.err, &exit) && exit.Sys().(syscall.WaitStatus).Signal() == syscall.SIGKILL
	if !killed || !strings.Contains(p.log.String(), "failpoint "+name+": killing the process") {
		p.w.Fatalf("%s ended, but not at failpoint %s: %v", p.name, name, p.err)
	}
	p.w.observe("killed at "+name, 1)
}

// said counts the lines of the worker's log that contain all of words.
func (p *worker) said(words ...string) (n int64) {
	for line := range strings.SplitSeq(p.log.String(), "\n") {
		all := line != ""
		for _, word := range words {
			all = all && strings.Contains(line, word)
		}
		if all {
			n++
		}
	}
	return n
}

func (p *worker) awaitSaid(words ...string) {
	p.w.Helper()
	p.w.eventually(p.name+" says "+strings.Join(words, " "), func() bool {
		if !p.alive() && p.said(words...) == 0 {
			p.w.Fatalf("%s ended without saying %q: %v", p.name, words, p.err)
		}
		return p.said(words...) > 0
	})
}

// processStatus is the part of /status that the tests read. It is decoded apart from the product's own
// types: what is served is an interface.
type processStatus struct {
	Pipelines []struct {
		State      string
		Reason     string
		Partitions []struct {
			State     string
			Partition int32
			Lag       int64
		}
		InFlight []struct{ State string } `json:"in_flight"`
		Totals   struct {
			Written int64
		}
	}
}

var statusClient = &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}

// url is where the worker serves its state; empty if it does not yet.
func (p *worker) url() string {
	_, rest, found := strings.Cut(p.log.String(), `"msg":"listening","url":"`)
	url, _, closed := strings.Cut(rest, `"`)
	if !found || !closed {
		return ""
	}
	return url
}

// status asks the worker; false if it does not answer (yet).
func (p *worker) status() (s processStatus, ok bool) {
	addr := p.url()
	if addr == "" || !p.alive() {
		return s, false
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, addr+"/status", nil)
	if err != nil {
		return s, false
	}
	resp, err := statusClient.Do(req)
	if err != nil {
		return s, false
	}
	defer func() { _ = resp.Body.Close() }()
	return s, json.NewDecoder(resp.Body).Decode(&s) == nil && (len(s.Pipelines) == 1 || p.w.archives && len(s.Pipelines) == 2) // its archive comes second
}

// state of the worker's pipeline, as it says itself.
func (p *worker) state() (state, reason string) {
	s, ok := p.status()
	if !ok {
		return "", ""
	}
	return s.Pipelines[0].State, s.Pipelines[0].Reason
}

func (p *worker) awaitStalled() (reason string) {
	p.w.Helper()
	p.w.eventually(p.name+" is stalled", func() bool {
		var got string
		got, reason = p.state()
		return got == "stalled"
	})
	return reason
}

// owns is how many partitions the worker consumes.
func (p *worker) owns() (n int) {
	s, ok := p.status()
	if !ok {
		return 0
	}
	for _, tp := range s.Pipelines[0].Partitions {
		if tp.State == "running" {
			n++
		}
	}
	return n
}

// logShown bounds what a failed case shows of each worker; its beginning and its end tell the most.
const logShown = 60 << 10

func (p *worker) show(t testing.TB) {
	log := p.log.String()
	if len(log) > 2*logShown {
		log = log[:logShown] + "\n[...]\n" + log[len(log)-logShown:]
	}
	t.Logf("--- %s: %v\n%s", p.name, p.cmd.ProcessState, log)
}

const (
	sigTerm = syscall.SIGTERM
	sigStop = syscall.SIGSTOP
	sigCont = syscall.SIGCONT
)
