package demo

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os/exec"

	"github.com/waybill-data/waybill/internal/testenv/proc"
)

// worker is `waybill run` as a child process, over any number of lives.
type worker struct {
	*proc.Daemon
	addr string // of its /status
}

func newWorker(o *Options, file string, log io.Writer) (*worker, error) {
	port, err := proc.FreePort()
	if err != nil {
		return nil, err
	}
	w := &worker{addr: proc.Loopback(port)}
	w.Daemon = proc.New(proc.Spec{
		Name: "the worker",
		Command: func() (*exec.Cmd, error) {
			return o.Command("run", "--listen", w.addr, "--log-format", "json", file)
		},
		Ready: func(ctx context.Context) error { return w.answers(ctx, "/healthz") },
		Log:   log,
	})
	return w, nil
}

// ready is nil once the worker has its partitions and has carried out what its predecessor left.
func (w *worker) ready(ctx context.Context) error { return w.answers(ctx, "/readyz") }

func (w *worker) answers(ctx context.Context, path string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+w.addr+path, nil)
	if err != nil {
		return err
	}
	resp, err := httpClient.Do(req)
	if err != nil {
		return err
	}
	_ = resp.Body.Close() // nothing in it is wanted
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answers %s", path, resp.Status)
	}
	return nil
}
