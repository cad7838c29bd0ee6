//go:build (linux || darwin) && !nodemo

package chserver

import (
	"fmt"
	"io"
	"os"
	"runtime"
	"syscall"

	"github.com/ebitengine/purego"
)

// able: this program can be a ClickHouse server. What loads a library at run time needs the system's own loader, so that a program that can is no static one:
// the tag nodemo leaves it out.
const able = true

// runChild is the server's life: it returns when the engine does.
func runChild(o orders) int {
	go dieWithParent()

	lib, err := purego.Dlopen(o.Lib, purego.RTLD_NOW|purego.RTLD_GLOBAL)
	if err != nil {
		fmt.Fprintf(os.Stderr, "load ClickHouse: %v\n", err)
		return exitBroken
	}
	var (
		setSignalHandlers func(enabled bool)
		cmdline           func(argc int32, argv **byte) uintptr
		resultError       func(result uintptr) string
	)
	purego.RegisterLibFunc(&setSignalHandlers, lib, "chdb_set_signal_handlers_enabled")
	purego.RegisterLibFunc(&cmdline, lib, "chdb_query_cmdline")
	purego.RegisterLibFunc(&resultError, lib, "chdb_result_error")

	setSignalHandlers(false) // the engine's own would leave a crashed server standing, deaf
	if err := surviveBrokenConnections(o.Lib); err != nil {
		fmt.Fprintf(os.Stderr, "a broken native connection may end this server: %v\n", err)
	}
	argv := cArgs(o.Args)
	result := cmdline(int32(len(o.Args)), &argv[0])
	runtime.KeepAlive(argv)
	if message := resultError(result); message != "" {
		fmt.Fprintln(os.Stderr, message)
		return exitEngine
	}
	return 0
}

// dieWithParent ends this process when the parent's end of standard input is closed.
func dieWithParent() {
	_, _ = io.Copy(io.Discard, os.Stdin)
	_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
}

// cArgs lays out C's argv: strings that end in NUL, and a nil at the end.
func cArgs(args []string) []*byte {
	argv := make([]*byte, 0, len(args)+1)
	for _, a := range args {
		argv = append(argv, &append([]byte(a), 0)[0])
	}
	return append(argv, nil)
}
