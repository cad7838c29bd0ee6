// Package promserver runs Debian's Prometheus for tests, and its promtool, from the package that tools/engines/fetch unpacks.
package promserver

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"

	"github.com/waybill-data/waybill/internal/testenv/proc"
)

// Locate finds a program of the package, prometheus or promtool: one that is installed, else what tools/engines/fetch brought.
func Locate(name string) (string, error) {
	if path, err := exec.LookPath(name); err == nil {
		return path, nil
	}
	for _, cache := range proc.EngineCaches() {
		path := filepath.Join(cache, "prometheus", "usr", "bin", name)
		if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() {
			return path, nil
		}
	}
	return "", fmt.Errorf("%s is not here: install it, or run `tools/engines/fetch prometheus` where there is apt-get", name)
}

// Server is a Prometheus.
type Server struct {
	*proc.Daemon
	port int
}

// config scrapes the target every second, under the job that the rules and the dashboard ask for.
const config = `
global: {scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 1s}
rule_files: [%q]
scrape_configs: [{job_name: waybill, static_configs: [{targets: [%q]}]}]
`

// Start starts one in the directory, which scrapes host:port and evaluates the rules of the file. It is the caller's to end.
func Start(ctx context.Context, dir, target, rules string) (*Server, error) {
	program, err := Locate("prometheus")
	if err != nil {
		return nil, err
	}
	s := &Server{}
	if err := proc.FreePorts(&s.port); err != nil {
		return nil, err
	}
	file := filepath.Join(dir, "prometheus.yml")
	if err := os.WriteFile(file, fmt.Appendf(nil, config, rules, target), 0o600); err != nil {
		return nil, err
	}
	s.Daemon = proc.New(proc.Spec{Name: "prometheus", Command: func() (*exec.Cmd, error) {
		cmd := exec.Command(program, "--config.file="+file, "--storage.tsdb.path="+filepath.Join(dir, "data"), "--web.listen-address="+proc.Loopback(s.port))
		cmd.Dir = dir
		return cmd, nil
	}, Ready: s.ready})
	return s, s.Daemon.Start(ctx)
}

// URL is where it is.
func (s *Server) URL() string { return "http://" + proc.Loopback(s.port) }

func (s *Server) ready(ctx context.Context) error {
	resp, err := s.get(ctx, "/-/ready", nil)
	if err != nil {
		return err
	}
	defer resp.Body.Close() //nolint:errcheck // nothing is read
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("it answered %s", resp.Status)
	}
	return nil
}

func (s *Server) get(ctx context.Context, path string, query url.Values) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.URL()+path+"?"+query.Encode(), nil)
	if err != nil {
		return nil, err
	}
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	return client.Do(req)
}

// Sample is one series of an answer.
type Sample struct {
	Labels map[string]string
	Value  float64
}

// Query evaluates an expression as of now.
func (s *Server) Query(ctx context.Context, expr string) ([]Sample, error) {
	resp, err := s.get(ctx, "/api/v1/query", url.Values{"query": {expr}})
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close() //nolint:errcheck // it has been read
	var answer struct {
		Status, Error string
		Data          struct {
			ResultType string
			Result     []struct {
				Metric map[string]string
				Value  [2]any
			}
		}
	}
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil {
		return nil, err
	}
	if answer.Status != "success" || answer.Data.ResultType != "vector" {
		return nil, fmt.Errorf("%s: %s %s %s", expr, answer.Status, answer.Data.ResultType, answer.Error)
	}
	var out []Sample
	for _, r := range answer.Data.Result {
		text, _ := r.Value[1].(string)
		v, err := strconv.ParseFloat(text, 64)
		if err != nil {
			return nil, err
		}
		out = append(out, Sample{Labels: r.Metric, Value: v})
	}
	return out, nil
}
