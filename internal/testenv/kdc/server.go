// Package kdc runs Debian's MIT Kerberos for tests: a key distribution centre with a realm of its own, from the packages that
// tools/engines/fetch unpacks.
package kdc

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/waybill-data/waybill/internal/testenv/proc"
)

// Realm is that of every server.
const Realm = "WAYBILL.TEST"

// Locate finds the folder that the packages were unpacked in.
func Locate() (string, error) {
	for _, cache := range proc.EngineCaches() {
		dir := filepath.Join(cache, "kerberos")
		if info, err := os.Stat(filepath.Join(dir, "usr", "sbin", "krb5kdc")); err == nil && info.Mode().IsRegular() {
			return dir, nil
		}
	}
	return "", fmt.Errorf("krb5kdc is not here: run `tools/engines/fetch kerberos` where there is apt-get")
}

// Server is a key distribution centre.
type Server struct {
	*proc.Daemon
	root, dir string
	port      int
}

const clientConf = `[libdefaults]
  default_realm = %[1]s
  dns_lookup_kdc = false
  dns_lookup_realm = false
  rdns = false
  udp_preference_limit = 1
[realms]
  %[1]s = {
    kdc = 127.0.0.1:%[2]d
  }
[domain_realm]
  localhost = %[1]s
`

const serverConf = `[kdcdefaults]
  kdc_ports = ""
  kdc_tcp_ports = ""
[realms]
  %[1]s = {
    database_name = %[2]s/principal
    key_stash_file = %[2]s/stash
    acl_file = %[2]s/acl
    kdc_listen = 127.0.0.1:%[3]d
    kdc_tcp_listen = 127.0.0.1:%[3]d
    supported_enctypes = aes256-cts-hmac-sha1-96:normal
  }
[dbdefaults]
  database_module = %[1]s
[dbmodules]
  db_module_dir = %[4]s
  %[1]s = {
    db_library = db2
  }
`

// Start makes a realm in the directory and starts its server. It is the caller's to end.
func Start(ctx context.Context, dir string) (*Server, error) {
	root, err := Locate()
	if err != nil {
		return nil, err
	}
	s := &Server{root: root, dir: dir}
	if err := proc.FreePorts(&s.port); err != nil {
		return nil, err
	}
	plugins, err := filepath.Glob(filepath.Join(root, "usr", "lib", "*", "krb5", "plugins", "kdb"))
	if err != nil || len(plugins) != 1 {
		return nil, fmt.Errorf("%s holds no plugins of the database", root)
	}
	for path, text := range map[string]string{s.ConfigFile(): fmt.Sprintf(clientConf, Realm, s.port), s.serverConf(): fmt.Sprintf(serverConf, Realm, dir, s.port, plugins[0])} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			return nil, err
		}
	}
	if out, err := s.program(ctx, "kdb5_util", "create", "-s", "-r", Realm, "-P", "master").CombinedOutput(); err != nil {
		return nil, fmt.Errorf("kdb5_util: %w: %s", err, out)
	}
	s.Daemon = proc.New(proc.Spec{Name: "krb5kdc", Command: func() (*exec.Cmd, error) {
		return s.program(context.Background(), "krb5kdc", "-n", "-r", Realm), nil
	}, Ready: s.ready})
	return s, s.Daemon.Start(ctx)
}

// ConfigFile is the krb5.conf of the realm's clients.
func (s *Server) ConfigFile() string { return filepath.Join(s.dir, "krb5.conf") }

func (s *Server) serverConf() string { return filepath.Join(s.dir, "kdc.conf") }

// program is one of the packages', with their libraries.
func (s *Server) program(ctx context.Context, name string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, filepath.Join(s.root, "usr", "sbin", name), args...)
	libs, _ := filepath.Glob(filepath.Join(s.root, "usr", "lib", "*-linux-*")) // the pattern is well-formed
	more, _ := filepath.Glob(filepath.Join(s.root, "lib", "*-linux-*"))        // likewise
	cmd.Env = append(os.Environ(), "LD_LIBRARY_PATH="+strings.Join(append(libs, more...), ":"), "KRB5_CONFIG="+s.ConfigFile(), "KRB5_KDC_PROFILE="+s.serverConf())
	cmd.Dir = s.dir
	return cmd
}

// Principal makes a principal, or new keys for one, and writes the keys to a file.
func (s *Server) Principal(ctx context.Context, name, keytab string) error {
	if err := os.Remove(keytab); err != nil && !os.IsNotExist(err) {
		return err
	}
	for _, query := range []string{"addprinc -randkey " + name, "ktadd -k " + keytab + " " + name} {
		if out, err := s.program(ctx, "kadmin.local", "-r", Realm, "-q", query).CombinedOutput(); err != nil {
			return fmt.Errorf("kadmin.local %s: %w: %s", query, err, out)
		}
	}
	if _, err := os.Stat(keytab); err != nil {
		return fmt.Errorf("kadmin.local wrote no keytab: %w", err)
	}
	return nil
}

func (s *Server) ready(ctx context.Context) error {
	conn, err := (&net.Dialer{Timeout: time.Second}).DialContext(ctx, "tcp", proc.Loopback(s.port))
	if err != nil {
		return err
	}
	return conn.Close()
}
