package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/waybill-data/waybill"
	"github.com/waybill-data/waybill/internal/server"
	"github.com/waybill-data/waybill/internal/status"
)

// statusTimeout is how long a running process may take to answer; it does so from memory.
const statusTimeout = 5 * time.Second

// maxStatusBytes bounds what is read from whatever answers: some 100,000 partitions.
const maxStatusBytes = 64 << 20

func newStatus(s Streams) *cobra.Command {
	var addr string
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Show what a running process is doing",
		Long: `Show what a running process is doing: its pipelines, the partitions that it
owns, what is in flight, what it waits for, and its latest findings.

It shows one process. Other workers of a group have statuses of their own; what
became of every record, whoever read it, is in the table waybill.ledger.

Offsets: POSITION is the next one to read, SETTLED the committed one, END the
topic's; LAG is END - SETTLED. Totals count since the process started.`,
		Example: `  waybill status
  waybill status --addr 10.0.0.7:8321
  waybill status -o json | jq '.pipelines[].state'`,
		Args: args(cobra.NoArgs),
	}
	cmd.Flags().StringVar(&addr, "addr", server.DefaultListen, "the process's `host:port`")
	o := outputFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		st, err := fetchStatus(cmd.Context(), addr)
		if err != nil {
			return err
		}
		if *o == outputJSON {
			return printJSON(s.Out, st)
		}
		return printStatus(s.Out, st)
	}
	return cmd
}

func fetchStatus(ctx context.Context, addr string) (*status.Status, error) {
	base := addr
	if !strings.Contains(base, "://") {
		base = "http://" + base
	}
	ctx, cancel := context.WithTimeout(ctx, statusTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.TrimRight(base, "/")+"/status", nil)
	if err != nil {
		return nil, usage(fmt.Errorf("--addr: %w", err))
	}
	// No proxy: the process is on this machine or in its network, and a proxy would answer in its place.
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(req)
	if err != nil {
		return nil, notReached(addr, err)
	}
	defer resp.Body.Close() //nolint:errcheck // the body has been read, or given up
	return readStatus(addr, resp)
}

func readStatus(addr string, resp *http.Response) (*status.Status, error) {
	var st status.Status
	if resp.StatusCode != http.StatusOK {
		return nil, notWaybill(addr, errors.New(resp.Status))
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxStatusBytes))
	if err != nil {
		return nil, notReached(addr, err)
	}
	if err := json.Unmarshal(body, &st); err != nil || st.Version == "" {
		return nil, notWaybill(addr, errors.New("the answer is not a status"))
	}
	return &st, nil
}

func notReached(addr string, err error) error {
	e := &waybill.Error{Op: "status", Class: waybill.ClassRetryable, Err: fmt.Errorf("%s: %w", addr, err)}
	var ne net.Error
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		e.Err = fmt.Errorf("nothing listens on %s", addr)
		e.Hint = "is waybill running? If it listens elsewhere, name it with --addr"
	case errors.As(err, &ne) && ne.Timeout():
		e.Err = fmt.Errorf("%s did not answer within %s", addr, statusTimeout)
	}
	return &exitError{code: ExitConnect, err: e}
}

func notWaybill(addr string, err error) error {
	return &exitError{code: ExitConnect, err: &waybill.Error{
		Op: "status", Class: waybill.ClassConfig, Err: fmt.Errorf("what answers on %s is not waybill: %w", addr, err),
		Hint: "name the address that waybill printed at its start with --addr",
	}}
}
