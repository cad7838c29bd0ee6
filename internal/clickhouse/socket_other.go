//go:build !linux

package clickhouse

import "syscall"

// socketOptions does nothing: TCP_USER_TIMEOUT is Linux's.
func socketOptions(_, _ string, _ syscall.RawConn) error { return nil }
