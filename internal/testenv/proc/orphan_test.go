package proc_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/waybill-data/waybill/internal/testenv"
	"github.com/waybill-data/waybill/internal/testenv/proc"
)

// parentEnv makes a process start a child, freeze it if the value says so, print its id and wait to be killed.
const parentEnv = "WAYBILL_TEST_PARENT"

func TestMain(m *testing.M) {
	if how, ok := os.LookupEnv(parentEnv); ok {
		beParent(how)
	}
	testenv.Main(m)
}

func sleeper() *proc.Daemon {
	return proc.New(proc.Spec{
		Name:    "sleeper",
		Command: func() (*exec.Cmd, error) { return exec.Command("sleep", "600"), nil },
		Ready:   func(context.Context) error { return nil },
	})
}

func beParent(how string) {
	d := sleeper()
	err := d.Start(context.Background())
	if err == nil && how == "frozen" {
		err = d.Suspend()
	}
	fmt.Println(d.PID(), err)
	select {}
}

func TestDaemon_DiesWithItsParentFrozenOrNot(t *testing.T) {
	for _, how := range []string{"running", "frozen"} {
		t.Run(how, func(t *testing.T) {
			parent := exec.Command(os.Args[0])
			parent.Env = append(os.Environ(), parentEnv+"="+how)
			out, err := parent.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := parent.Start(); err != nil {
				t.Fatal(err)
			}
			line, err := bufio.NewReader(out).ReadString('\n')
			if err != nil {
				t.Fatal(err)
			}
			pid, err := strconv.Atoi(strings.Fields(line)[0])
			if err != nil || !strings.Contains(line, "<nil>") || !alive(pid) {
				t.Fatalf("got %q, %v", line, err)
			}
			if err := parent.Process.Kill(); err != nil {
				t.Fatal(err)
			}
			_ = parent.Wait() // it was killed
			testenv.Eventually(t, 10*time.Second, "the child is gone", func() bool { return !alive(pid) })
		})
	}
}

// alive reports whether the process runs; one that ended and that nobody has waited for yet does not.
func alive(pid int) bool {
	if errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) {
		return false
	}
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	return err != nil || !strings.Contains(string(status), "State:\tZ")
}

func TestDaemon_Life(t *testing.T) {
	d := sleeper()
	if d.PID() != 0 || d.Done() != nil {
		t.Error("it has not started")
	}
	d.Kill()
	if err := d.Stop(t.Context()); err != nil {
		t.Errorf("stop what never ran: %v", err)
	}
	if err := d.Suspend(); !errors.Is(err, proc.ErrNotRunning) {
		t.Errorf("got %v", err)
	}
	if err := d.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	defer d.Kill()
	pid := d.PID()
	if err := d.Start(t.Context()); err == nil {
		t.Error("started twice")
	}
	if err := d.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	if d.PID() == pid || alive(pid) {
		t.Error("a restart ends the old process and starts a new one")
	}
	if err := d.Suspend(); err != nil {
		t.Fatal(err)
	}
	if err := d.Stop(t.Context()); err != nil {
		t.Errorf("a frozen process is let go on to end: %v", err)
	}
	<-d.Done()
}

func TestDaemon_StartReportsWhatTheChildSaid(t *testing.T) {
	d := proc.New(proc.Spec{
		Name:    "failer",
		Command: func() (*exec.Cmd, error) { return exec.Command("sh", "-c", "echo no config; exit 3"), nil },
		Ready:   func(context.Context) error { return errors.New("nothing there") },
	})
	err := d.Start(t.Context())
	if err == nil || !strings.Contains(err.Error(), "exit status 3") || !strings.Contains(err.Error(), "no config") {
		t.Errorf("got %v", err)
	}
}
