// Package oldserver runs ClickHouse 18.16, which Debian still ships, from the packages that tools/engines/fetch unpacks: a server that Waybill
// must refuse, in words.
package oldserver

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/waybill-data/waybill/internal/testenv/proc"
)

// Locate finds what tools/engines/fetch brought: the folder that the packages were unpacked into.
func Locate() (string, error) {
	for _, cache := range proc.EngineCaches() {
		root := filepath.Join(cache, "clickhouse-old")
		if info, err := os.Stat(program(root)); err == nil && info.Mode().IsRegular() {
			return root, nil
		}
	}
	return "", fmt.Errorf("ClickHouse 18.16 is not here: run `tools/engines/fetch clickhouse-old` where there is apt-get")
}

func program(root string) string { return filepath.Join(root, "usr", "sbin", "clickhouse-server") }

// Server is a ClickHouse of 2018.
type Server struct {
	*proc.Daemon
	http, tcp int
}

const config = `<yandex>
    <logger><level>warning</level><console>1</console></logger>
    <http_port>%d</http_port>
    <tcp_port>%d</tcp_port>
    <listen_host>127.0.0.1</listen_host>
    <path>%s/</path>
    <tmp_path>%s/tmp/</tmp_path>
    <users_config>%s</users_config>
    <default_profile>default</default_profile>
    <default_database>default</default_database>
    <mark_cache_size>5368709120</mark_cache_size>
</yandex>
`

const users = `<yandex>
    <profiles><default/></profiles>
    <quotas><default/></quotas>
    <users><default><password></password><networks><ip>::/0</ip></networks><profile>default</profile><quota>default</quota></default></users>
</yandex>
`

// Start starts one in the directory. It is the caller's to end.
func Start(ctx context.Context, dir string) (*Server, error) {
	root, err := Locate()
	if err != nil {
		return nil, err
	}
	s := &Server{}
	if err := proc.FreePorts(&s.http, &s.tcp); err != nil {
		return nil, err
	}
	usersFile, configFile := filepath.Join(dir, "users.xml"), filepath.Join(dir, "config.xml")
	if err := os.WriteFile(usersFile, []byte(users), 0o600); err != nil {
		return nil, err
	}
	if err := os.WriteFile(configFile, fmt.Appendf(nil, config, s.http, s.tcp, dir, dir, usersFile), 0o600); err != nil {
		return nil, err
	}
	var libs []string
	for _, of := range []string{"usr/lib/*-linux-gnu", "lib/*-linux-gnu"} {
		found, err := filepath.Glob(filepath.Join(root, of))
		if err != nil {
			return nil, err
		}
		libs = append(libs, found...)
	}
	s.Daemon = proc.New(proc.Spec{Name: "ClickHouse 18.16", Command: func() (*exec.Cmd, error) {
		cmd := exec.Command(program(root), "--config-file="+configFile)
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), "LD_LIBRARY_PATH="+strings.Join(libs, ":"))
		return cmd, nil
	}, Ready: s.ready})
	return s, s.Daemon.Start(ctx)
}

// TCPAddr is where the native protocol is spoken.
func (s *Server) TCPAddr() string { return proc.Loopback(s.tcp) }

// HTTPAddr is where HTTP is spoken.
func (s *Server) HTTPAddr() string { return proc.Loopback(s.http) }

func (s *Server) ready(ctx context.Context) error {
	for _, addr := range []string{s.TCPAddr(), s.HTTPAddr()} {
		conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", addr)
		if err != nil {
			return err
		}
		if err := conn.Close(); err != nil {
			return err
		}
	}
	return nil
}
