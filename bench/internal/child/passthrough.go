package child

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
)

// passThrough sends events as they are, one a line, and leaves parsing to the server. Malformed events would fail whole
// batches: there are none here.
type passThrough struct {
	url  string
	body bytes.Buffer
}

func newPassThrough(o Orders) *passThrough {
	q := url.Values{
		"query":                            {"INSERT INTO " + o.Table + " FORMAT JSONEachRow"},
		"async_insert":                     {"0"},
		"input_format_parallel_parsing":    {"0"}, // on two cores, parallel parsing costs more CPU and is no faster
		"date_time_input_format":           {"best_effort"},
		"input_format_skip_unknown_fields": {"1"},
	}
	return &passThrough{url: "http://" + o.HTTP + "/?" + q.Encode()}
}

func (p *passThrough) add(_ context.Context, value []byte) error {
	p.body.Write(value)
	p.body.WriteByte('\n')
	return nil
}

func (p *passThrough) flush(ctx context.Context) error {
	if p.body.Len() == 0 {
		return nil
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, p.url, bytes.NewReader(p.body.Bytes()))
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }() // it has been read
	answer, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", resp.Status, answer)
	}
	p.body.Reset()
	return err
}
