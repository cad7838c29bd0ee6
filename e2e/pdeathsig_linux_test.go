package e2e

import "syscall"

// sysProcAttr has the kernel kill the child with the thread that started it: nothing outlives the tests.
func sysProcAttr() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
