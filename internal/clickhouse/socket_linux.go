package clickhouse

import (
	"syscall"
	"time"
)

// userTimeout is how long sent bytes may stay unacknowledged before the kernel gives the connection up. It bounds how long a
// request may linger in a socket buffer of a network that has gone away.
const userTimeout = 30 * time.Second

const tcpUserTimeout = 18 // TCP_USER_TIMEOUT, missing in package syscall

func socketOptions(_, _ string, rc syscall.RawConn) error {
	var err error
	if cerr := rc.Control(func(fd uintptr) {
		err = syscall.SetsockoptInt(int(fd), syscall.IPPROTO_TCP, tcpUserTimeout, int(userTimeout.Milliseconds()))
	}); cerr != nil {
		return cerr
	}
	return err
}
