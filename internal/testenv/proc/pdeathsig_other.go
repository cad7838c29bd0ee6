//go:build unix && !linux

package proc

import "syscall"

// sysProcAttr: no parent-death signal outside Linux; children that can, watch a pipe (see chserver).
func sysProcAttr() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }
