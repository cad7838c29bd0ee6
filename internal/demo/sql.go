package demo

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
)

// httpClient keeps no connections: nothing is left over when a server is killed, or when the demo ends.
var httpClient = &http.Client{Timeout: time.Minute, Transport: &http.Transport{DisableKeepAlives: true, Proxy: nil}}

// server asks ClickHouse in plain SQL over HTTP: another protocol than the product's, and none of its code.
type server struct{ addr string }

// exec runs one statement.
func (s server) exec(ctx context.Context, sql string) error {
	_, err := s.send(ctx, sql)
	return err
}

// rows runs a SELECT and decodes its rows into T by column name.
func rows[T any](ctx context.Context, s server, sql string) ([]T, error) {
	body, err := s.send(ctx, sql+"\nFORMAT JSONEachRow SETTINGS output_format_json_quote_64bit_integers = 0")
	if err != nil {
		return nil, err
	}
	var out []T
	for d := json.NewDecoder(bytes.NewReader(body)); ; {
		var row T
		switch err := d.Decode(&row); err {
		case nil:
			out = append(out, row)
		case io.EOF:
			return out, nil
		default:
			return nil, fmt.Errorf("read the answer of %s: %w", firstLine(sql), err)
		}
	}
}

// row is rows for a SELECT that answers one.
func row[T any](ctx context.Context, s server, sql string) (T, error) {
	all, err := rows[T](ctx, s, sql)
	if err == nil && len(all) != 1 {
		err = fmt.Errorf("%s: %d rows instead of one", firstLine(sql), len(all))
	}
	if err != nil {
		var none T
		return none, err
	}
	return all[0], nil
}

func (s server) send(ctx context.Context, sql string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+s.addr+"/", strings.NewReader(sql))
	if err != nil {
		return nil, err
	}
	resp, err := httpClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }() // it has been read
	body, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", resp.Status, bytes.TrimSpace(body))
	}
	return body, err
}

func firstLine(s string) string {
	line, _, _ := strings.Cut(strings.TrimSpace(s), "\n")
	return line
}
