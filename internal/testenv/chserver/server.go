// Package chserver runs a real ClickHouse server without a container: libchdb, which holds the whole engine, in a child
// process that is this very binary. Tests and `waybill demo` use it.
//
// A program that starts one calls MaybeRunChild first thing in main (or TestMain): the child is the same program, and that
// call is where it becomes a server.
//
// The engine inside is that of clickhouse-local. Its `default` database is an overlay: create databases with
// ENGINE = Atomic and use those. Users and grants come from Options.Users only, asynchronous inserts have no queue, and
// replicated tables stay read-only. Stop is as abrupt as Kill.
package chserver

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/waybill-data/waybill/internal/testenv/proc"
)

// Options describe a server. Only Dir is required.
type Options struct {
	// Dir holds data and configuration; it is made if it is not there. A server on the same Dir finds its tables again.
	Dir string
	// HTTPPort and TCPPort are ports of 127.0.0.1; 0 chooses a free one, which restarts keep.
	HTTPPort, TCPPort int
	// ConfigFile replaces the configuration that would be written; then Users, SystemLogs and ExtraConfig are not used.
	ConfigFile string
	// ExtraConfig is XML put inside <clickhouse>: macros, zookeeper, merge_tree settings.
	ExtraConfig string
	// Users are added to `default`, which has no password and may do everything.
	Users []User
	// SystemLogs fills system.query_log and system.part_log (SYSTEM FLUSH LOGS makes them current). They do not survive
	// a restart.
	SystemLogs bool
	// MaxMemory bounds what the server's queries take together; 0 means 2 GiB.
	MaxMemory int64
	// Log gets what the server writes: warnings and errors.
	Log io.Writer
	// LogLevel is ClickHouse's: "warning" if empty.
	LogLevel string
}

// Server is one ClickHouse, over any number of lives of its process: Kill, Stop, Restart, Suspend, Resume and PID are
// promoted from proc.Daemon.
type Server struct {
	*proc.Daemon
	opts Options
}

const defaultMaxMemory = 2 << 30

// Start starts a server and waits until it answers on both ports.
func Start(ctx context.Context, opts Options) (*Server, error) {
	if !hooked() {
		return nil, errors.New("chserver: MaybeRunChild must be called first thing in main or TestMain")
	}
	lib, err := Locate()
	if err != nil {
		return nil, err
	}
	if opts.Dir == "" {
		return nil, errors.New("chserver: Options.Dir is required")
	}
	if opts.Dir, err = filepath.Abs(opts.Dir); err != nil {
		return nil, err
	}
	if opts.MaxMemory == 0 {
		opts.MaxMemory = defaultMaxMemory
	}
	if opts.LogLevel == "" {
		opts.LogLevel = "warning"
	}
	return startOnFreePorts(ctx, lib, opts)
}

// startOnFreePorts tries again on other ports when someone else took a chosen one in between.
func startOnFreePorts(ctx context.Context, lib string, opts Options) (*Server, error) {
	const attempts = 3
	var s *Server
	var err error
	for range attempts {
		o := opts
		if err = proc.FreePorts(&o.HTTPPort, &o.TCPPort); err != nil {
			return nil, err
		}
		s = &Server{opts: o}
		s.Daemon = proc.New(proc.Spec{
			Name:    "ClickHouse",
			Command: func() (*exec.Cmd, error) { return s.command(lib) },
			Ready:   s.ready,
			Log:     o.Log,
		})
		if err = s.Start(ctx); err == nil {
			return s, nil
		}
		if !strings.Contains(err.Error(), "Address already in use") {
			break
		}
	}
	return nil, err
}

// TCPAddr is where the native protocol is spoken.
func (s *Server) TCPAddr() string { return proc.Loopback(s.opts.TCPPort) }

// HTTPAddr is where HTTP is spoken, as host:port.
func (s *Server) HTTPAddr() string { return proc.Loopback(s.opts.HTTPPort) }

// Dir is the directory that holds the server's data and configuration.
func (s *Server) Dir() string { return s.opts.Dir }

// SetUsers replaces the users from the next start of the server on.
func (s *Server) SetUsers(users ...User) { s.opts.Users = users }

func (s *Server) command(lib string) (*exec.Cmd, error) {
	if err := os.MkdirAll(s.dataDir(), 0o755); err != nil {
		return nil, err
	}
	config := s.opts.ConfigFile
	if config == "" {
		var err error
		if config, err = writeConfig(s.opts); err != nil {
			return nil, err
		}
	}
	if s.opts.SystemLogs {
		if err := s.forgetSystemLogs(); err != nil {
			return nil, err
		}
	}
	return childCommand(lib, s.opts.Dir, s.arguments(config))
}

// forgetSystemLogs removes the log tables of an earlier life: the engine cannot attach them again.
func (s *Server) forgetSystemLogs() error {
	return os.RemoveAll(filepath.Join(s.dataDir(), "data", "system"))
}

func (s *Server) dataDir() string { return filepath.Join(s.opts.Dir, "clickhouse") }

// arguments of the engine's own command line. The query starts the listeners and then sleeps for as long as the server lives.
func (s *Server) arguments(config string) []string {
	return []string{
		"clickhouse",
		"--path=" + s.dataDir(),
		"--config-file=" + config,
		fmt.Sprintf("--http_port=%d", s.opts.HTTPPort),
		fmt.Sprintf("--tcp_port=%d", s.opts.TCPPort),
		"--listen_host=127.0.0.1",
		"--logger.console",
		"--log-level=" + s.opts.LogLevel,
		"--query", "SYSTEM START LISTEN HTTP; SYSTEM START LISTEN TCP; " +
			"SELECT sleepEachRow(1) FROM system.numbers SETTINGS max_block_size=1, " +
			"function_sleep_max_microseconds_per_block=0, max_execution_time=0 FORMAT Null",
	}
}

var readyClient = &http.Client{
	Timeout:   5 * time.Second,
	Transport: &http.Transport{DisableKeepAlives: true, Proxy: nil},
}

func (s *Server) ready(ctx context.Context) error {
	for _, url := range []string{
		"http://" + s.HTTPAddr() + "/ping",
		"http://" + s.TCPAddr() + "/", // the native port answers HTTP with 400 and a hint, which shows that it listens
	} {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			return err
		}
		resp, err := readyClient.Do(req)
		if err != nil {
			return err
		}
		_ = resp.Body.Close()
	}
	return nil
}
