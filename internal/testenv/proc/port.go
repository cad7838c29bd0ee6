package proc

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
)

// Ports are taken below the range that the kernel gives to outgoing connections: a server that is down must find its port
// free when it comes back, and a client that retries meanwhile must not connect to itself.
const (
	portFirst = 11000
	portCount = 20000
)

// FreePort returns a port of 127.0.0.1 on which nothing listens.
func FreePort() (int, error) {
	for range 200 {
		port := portFirst + rand.IntN(portCount)
		l, err := net.Listen("tcp", Loopback(port))
		if err != nil {
			continue
		}
		return port, l.Close()
	}
	return 0, errors.New("no free port on 127.0.0.1")
}

// FreePorts fills each of the given ports that is 0.
func FreePorts(ports ...*int) error {
	for _, p := range ports {
		if *p != 0 {
			continue
		}
		port, err := FreePort()
		if err != nil {
			return fmt.Errorf("choose ports: %w", err)
		}
		*p = port
	}
	return nil
}

// Loopback is the address of a port of this machine.
func Loopback(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }
