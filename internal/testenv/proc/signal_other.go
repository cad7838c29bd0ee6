//go:build !unix

package proc

import (
	"errors"
	"os"
	"syscall"
)

type signal int

const (
	sigTerm signal = iota
	sigStop
	sigCont
)

func sysProcAttr() *syscall.SysProcAttr { return nil }

func sendSignal(p *os.Process, s signal) error {
	switch s {
	case sigTerm:
		return p.Kill()
	case sigCont:
		return nil
	default:
		return errors.ErrUnsupported
	}
}
