//go:build unix

package proc

import (
	"os"
	"syscall"
)

type signal = syscall.Signal

const (
	sigTerm = syscall.SIGTERM
	sigStop = syscall.SIGSTOP
	sigCont = syscall.SIGCONT
)

func sendSignal(p *os.Process, s signal) error { return p.Signal(s) }
