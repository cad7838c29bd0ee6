// Package amserver runs Debian's Alertmanager for tests, from the package that tools/engines/fetch unpacks.
package amserver

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/waybill-data/waybill/internal/testenv/proc"
)

// Locate finds the program: one that is installed, else what tools/engines/fetch brought.
func Locate() (string, error) {
	const name = "prometheus-alertmanager"
	if path, err := exec.LookPath(name); err == nil {
		return path, nil
	}
	for _, cache := range proc.EngineCaches() {
		path := filepath.Join(cache, "alertmanager", "usr", "bin", name)
		if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() {
			return path, nil
		}
	}
	return "", fmt.Errorf("%s is not here: install it, or run `tools/engines/fetch alertmanager` where there is apt-get", name)
}

// Server is an Alertmanager.
type Server struct {
	*proc.Daemon
	port int
}

// config has everything notified at once, to one webhook.
const config = `
route: {receiver: hook, group_by: [alertname, finding], group_wait: 100ms, group_interval: 500ms, repeat_interval: 1h}
receivers: [{name: hook, webhook_configs: [{url: %q, send_resolved: true}]}]
`

// Start starts one in the directory, which notifies the webhook. It is the caller's to end.
func Start(ctx context.Context, dir, webhook string) (*Server, error) {
	program, err := Locate()
	if err != nil {
		return nil, err
	}
	s := &Server{}
	if err := proc.FreePorts(&s.port); err != nil {
		return nil, err
	}
	file := filepath.Join(dir, "alertmanager.yml")
	if err := os.WriteFile(file, fmt.Appendf(nil, config, webhook), 0o600); err != nil {
		return nil, err
	}
	s.Daemon = proc.New(proc.Spec{Name: "alertmanager", Command: func() (*exec.Cmd, error) {
		cmd := exec.Command(program, "--config.file="+file, "--storage.path="+filepath.Join(dir, "data"), "--web.listen-address="+proc.Loopback(s.port), "--cluster.listen-address=")
		cmd.Dir = filepath.Join(filepath.Dir(program), "..", "share", "prometheus", "alertmanager") // where the fetched one looks for its templates
		return cmd, nil
	}, Ready: s.ready})
	return s, s.Daemon.Start(ctx)
}

// URL is where it is.
func (s *Server) URL() string { return "http://" + proc.Loopback(s.port) }

func (s *Server) ready(ctx context.Context) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.URL()+"/-/ready", nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close() //nolint:errcheck // nothing is read
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("it answered %s", resp.Status)
	}
	return nil
}
