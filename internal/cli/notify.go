package cli

import (
	"net"
	"os"
)

// notify tells systemd how the process is (READY=1, STOPPING=1), if a unit of Type=notify has started it. That nobody listens is no
// error: systemd says so itself, when the unit's start times out.
func notify(state string) {
	path := os.Getenv("NOTIFY_SOCKET")
	if path == "" {
		return
	}
	conn, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		return
	}
	defer func() { _ = conn.Close() }()
	_, _ = conn.Write([]byte(state))
}
