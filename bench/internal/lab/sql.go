package lab

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
)

var client = &http.Client{Timeout: 2 * time.Minute, Transport: &http.Transport{Proxy: nil}}

// query sends one statement to a ClickHouse (its HTTP address) and returns the answer's text without the last line break.
func query(ctx context.Context, addr, sql string) (string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+addr+"/", strings.NewReader(sql))
	if err != nil {
		return "", err
	}
	resp, err := client.Do(req)
	if err != nil {
		return "", err
	}
	defer func() { _ = resp.Body.Close() }() // it has been read
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return "", err
	}
	if resp.StatusCode != http.StatusOK {
		return "", fmt.Errorf("%s: %s\n%s", resp.Status, strings.TrimSpace(string(body)), sql)
	}
	return strings.TrimSuffix(string(body), "\n"), nil
}

// queryInt is query for one whole number; NULL is 0.
func queryInt(ctx context.Context, addr, sql string) (int64, error) {
	text, err := query(ctx, addr, sql)
	if err != nil || text == `\N` {
		return 0, err
	}
	return strconv.ParseInt(text, 10, 64)
}

func exec(ctx context.Context, addr string, statements ...string) error {
	for _, sql := range statements {
		if _, err := query(ctx, addr, sql); err != nil {
			return err
		}
	}
	return nil
}
