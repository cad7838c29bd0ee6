package chserver

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"sync/atomic"
)

// childEnv carries the child's orders. Its presence is what makes a process a child.
const childEnv = "WAYBILL_CLICKHOUSE_CHILD"

// orders are what a child is told: which library to load and the command line to hand it.
type orders struct {
	Lib  string
	Args []string
}

// hookCalled guards against a fork bomb: without the hook, the child would be the whole program once more.
var hookCalled atomic.Bool

func hooked() bool { return hookCalled.Load() }

// MaybeRunChild turns this process into a ClickHouse server, and never returns, if Start made it for that. Otherwise it
// does nothing. Call it first thing in main and in TestMain.
func MaybeRunChild() {
	told, ok := os.LookupEnv(childEnv)
	if !ok {
		hookCalled.Store(true)
		return
	}
	var o orders
	if err := json.Unmarshal([]byte(told), &o); err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", childEnv, err)
		os.Exit(exitBroken)
	}
	_ = os.Unsetenv(childEnv)
	os.Exit(runChild(o))
}

const (
	exitEngine = 1  // the engine gave up, and said why
	exitBroken = 70 // the engine could not even be loaded
)

// childCommand makes the command that runs this binary as a server. The child ends itself when the pipe on its standard
// input does, which is when the parent ends, however it ends; on Linux the kernel sees to a frozen child too.
func childCommand(lib, dir string, args []string) (*exec.Cmd, error) {
	exe, err := os.Executable()
	if err != nil {
		return nil, err
	}
	told, err := json.Marshal(orders{Lib: lib, Args: args})
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(exe)
	cmd.Args = []string{"waybill-clickhouse"}
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), childEnv+"="+string(told))
	if _, err := cmd.StdinPipe(); err != nil {
		return nil, err
	}
	return cmd, nil
}
