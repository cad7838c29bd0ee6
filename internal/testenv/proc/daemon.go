// Package proc runs a server as a child process that tests (and the demo) start, kill, freeze and restart.
//
// A child never outlives its parent: on Linux the kernel kills it with the thread that started it (and that thread is
// held for as long as the child runs), frozen or not. See pdeathsig_linux.go.
package proc

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"sync"
	"time"
)

// ErrNotRunning is returned by operations that need a running child.
var ErrNotRunning = errors.New("not running")

// Spec says how a daemon is started. It is fixed for the daemon's life, so that a restart is the same server again.
type Spec struct {
	// Name appears in errors.
	Name string
	// Command makes a fresh, unstarted command. It runs before every start.
	Command func() (*exec.Cmd, error)
	// Ready is polled after a start until it returns nil.
	Ready func(ctx context.Context) error
	// Log, if not nil, gets what the child writes.
	Log io.Writer
}

// Daemon is one server, over any number of lives of its process.
type Daemon struct {
	spec Spec

	mu  sync.Mutex
	cur *child // nil before the first start; an ended child stays until the next one
}

// New makes a daemon that does not run yet.
func New(spec Spec) *Daemon { return &Daemon{spec: spec} }

// Start starts the child and waits until it answers. If it ends first, or ctx does, the child is gone when Start returns.
func (d *Daemon) Start(ctx context.Context) error {
	c, err := d.launch()
	if err != nil {
		return fmt.Errorf("start %s: %w", d.spec.Name, err)
	}
	if err := d.awaitReady(ctx, c); err != nil {
		c.kill()
		return fmt.Errorf("start %s: %w\n%s", d.spec.Name, err, c.tail.String())
	}
	return nil
}

func (d *Daemon) launch() (*child, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.cur != nil && d.cur.running() {
		return nil, errors.New("already running")
	}
	cmd, err := d.spec.Command()
	if err != nil {
		return nil, err
	}
	c, err := startChild(cmd, d.spec.Log)
	if err != nil {
		return nil, err
	}
	d.cur = c
	return c, nil
}

const (
	readyPoll    = 20 * time.Millisecond
	readyTimeout = 10 * time.Second // of one attempt
)

func (d *Daemon) awaitReady(ctx context.Context, c *child) error {
	tick := time.NewTicker(readyPoll)
	defer tick.Stop()
	var last error
	for {
		attempt, cancel := context.WithTimeout(ctx, readyTimeout)
		last = d.spec.Ready(attempt)
		cancel()
		if last == nil && c.running() {
			return nil
		}
		select {
		case <-c.done:
			return fmt.Errorf("ended before it answered: %w", c.exit())
		case <-ctx.Done():
			return fmt.Errorf("did not answer: %w (last: %w)", ctx.Err(), last)
		case <-tick.C:
		}
	}
}

// Kill ends the process at once (SIGKILL), frozen or not, and waits until it is gone. Killing what does not run is no error.
func (d *Daemon) Kill() {
	if c := d.current(); c != nil {
		c.kill()
	}
}

// Stop asks the process to end (SIGTERM) and waits. If ctx ends first the process is killed and ctx's error returned.
func (d *Daemon) Stop(ctx context.Context) error {
	c := d.current()
	if c == nil || !c.running() {
		return nil
	}
	if err := errors.Join(c.signal(sigTerm), c.signal(sigCont)); err != nil && c.running() {
		return fmt.Errorf("stop %s: %w", d.spec.Name, err)
	}
	select {
	case <-c.done:
		return nil
	case <-ctx.Done():
		c.kill()
		return fmt.Errorf("stop %s: killed, it did not end: %w", d.spec.Name, ctx.Err())
	}
}

// Restart starts the server again with the same directory and ports. A running server is stopped first.
func (d *Daemon) Restart(ctx context.Context) error {
	if err := d.Stop(ctx); err != nil {
		return err
	}
	return d.Start(ctx)
}

// Suspend freezes the process (SIGSTOP) and waits until it is: it keeps its connections and answers nothing.
func (d *Daemon) Suspend() error {
	if err := d.send(sigStop, "suspend"); err != nil {
		return err
	}
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !allStopped(d.PID()) {
		<-tick.C
	}
	return nil
}

// Resume lets a frozen process go on.
func (d *Daemon) Resume() error { return d.send(sigCont, "resume") }

func (d *Daemon) send(sig signal, what string) error {
	c := d.current()
	if c == nil || !c.running() {
		return fmt.Errorf("%s %s: %w", what, d.spec.Name, ErrNotRunning)
	}
	if err := c.signal(sig); err != nil {
		return fmt.Errorf("%s %s: %w", what, d.spec.Name, err)
	}
	return nil
}

// PID is the running process's id, or 0.
func (d *Daemon) PID() int {
	if c := d.current(); c != nil && c.running() {
		return c.cmd.Process.Pid
	}
	return 0
}

// Done is closed when the process that runs now (or ran last) has ended. It is nil before the first start.
func (d *Daemon) Done() <-chan struct{} {
	if c := d.current(); c != nil {
		return c.done
	}
	return nil
}

// LogTail is the end of what the process that runs now (or ran last) has written.
func (d *Daemon) LogTail() string {
	if c := d.current(); c != nil {
		return c.tail.String()
	}
	return ""
}

func (d *Daemon) current() *child {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.cur
}
