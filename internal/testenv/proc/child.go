package proc

import (
	"errors"
	"io"
	"os/exec"
	"runtime"
	"sync"
	"time"
)

// child is one life of a server process.
type child struct {
	cmd  *exec.Cmd
	tail *tail
	done chan struct{} // closed once the process has been waited for

	err error // how it ended; written before done is closed, read after
}

// pipeGrace bounds the wait for the pipes of an ended child, should something it started hold them.
const pipeGrace = 2 * time.Second

// startChild starts cmd on an OS thread that stays until the child has ended: the kernel's parent-death signal follows the
// thread, not the process, so that a thread the runtime retires would take a healthy server with it.
func startChild(cmd *exec.Cmd, log io.Writer) (*child, error) {
	c := &child{cmd: cmd, tail: new(tail), done: make(chan struct{})}
	out := io.Writer(c.tail)
	if log != nil {
		out = io.MultiWriter(c.tail, log)
	}
	cmd.Stdout, cmd.Stderr = out, out // equal writers: exec copies both with one goroutine
	cmd.SysProcAttr = sysProcAttr()
	cmd.WaitDelay = pipeGrace

	started := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with this goroutine, after the child
		err := cmd.Start()
		started <- err
		if err == nil {
			c.err = cmd.Wait()
			close(c.done)
		}
	}()
	return c, <-started
}

func (c *child) running() bool {
	select {
	case <-c.done:
		return false
	default:
		return true
	}
}

// exit says how an ended child ended.
func (c *child) exit() error {
	if c.err != nil {
		return c.err
	}
	return errors.New("exit status 0")
}

func (c *child) signal(s signal) error { return sendSignal(c.cmd.Process, s) }

func (c *child) kill() {
	_ = c.cmd.Process.Kill() // fails only if it has ended
	<-c.done
}

// tail keeps the end of what is written to it.
type tail struct {
	mu  sync.Mutex
	buf []byte
}

const tailBytes = 16 << 10

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.buf = append(t.buf, p...)
	if over := len(t.buf) - tailBytes; over > 0 {
		t.buf = append(t.buf[:0], t.buf[over:]...)
	}
	return len(p), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(t.buf)
}
