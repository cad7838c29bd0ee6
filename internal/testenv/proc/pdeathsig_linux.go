package proc

import "syscall"

// sysProcAttr puts the child into a process group of its own (a terminal's interrupt is the parent's to handle) and has the
// kernel kill it when the thread that started it ends.
func sysProcAttr() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
