// Package system starts processes and reads what they cost from the kernel.
package system

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"runtime"
	"sync"
	"syscall"
	"time"
)

// Process is a child whose cost is read when it ends. On Linux it dies with this process, however that ends.
type Process struct {
	name string
	cmd  *exec.Cmd
	tail tail
	done chan struct{} // closed when it has been waited for
}

// Start starts cmd. Its output goes into Tail.
func Start(name string, cmd *exec.Cmd) (*Process, error) {
	p := &Process{name: name, cmd: cmd, done: make(chan struct{})}
	cmd.Stdout, cmd.Stderr = &p.tail, &p.tail
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	started := make(chan error)
	go func() {
		runtime.LockOSThread() // the parent-death signal follows the thread that started the child: it must stay
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			_ = cmd.Wait() // how it ended is in cmd.ProcessState
			close(p.done)
		}
	}()
	if err := <-started; err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	return p, nil
}

// PID is the process's id.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Done is closed when the process has ended.
func (p *Process) Done() <-chan struct{} { return p.done }

// Tail is the end of what the process has written.
func (p *Process) Tail() string { return p.tail.String() }

// Kill ends the process at once. Killing what has ended is no error.
func (p *Process) Kill() {
	_ = p.cmd.Process.Kill()
	<-p.done
}

// Stop asks for an orderly end, waits for it, and returns the CPU time (user and system) of the process's whole life.
func (p *Process) Stop(ctx context.Context) (time.Duration, error) {
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return 0, p.failure(fmt.Errorf("had ended by itself: %s", p.cmd.ProcessState))
	}
	select {
	case <-p.done:
	case <-ctx.Done():
		p.Kill()
		return 0, p.failure(errors.Join(errors.New("did not end when asked to"), ctx.Err()))
	}
	if !p.cmd.ProcessState.Success() {
		return 0, p.failure(errors.New(p.cmd.ProcessState.String()))
	}
	return p.cmd.ProcessState.UserTime() + p.cmd.ProcessState.SystemTime(), nil
}

// failure adds what the process said.
func (p *Process) failure(err error) error { return fmt.Errorf("%s: %w\n%s", p.name, err, p.Tail()) }

// Ended is the error for a process that should still run.
func (p *Process) Ended() error {
	<-p.done
	return p.failure(fmt.Errorf("ended too early: %s", p.cmd.ProcessState))
}

// tail keeps the end of what is written to it.
type tail struct {
	mu  sync.Mutex
	buf []byte
}

const tailBytes = 8 << 10

func (t *tail) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.buf = append(t.buf, b...)
	if over := len(t.buf) - tailBytes; over > 0 {
		t.buf = append(t.buf[:0], t.buf[over:]...)
	}
	return len(b), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(t.buf)
}
