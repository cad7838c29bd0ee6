package clickhouse

import (
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strconv"
	"strings"

	"github.com/ClickHouse/ch-go"
	"github.com/ClickHouse/ch-go/proto"

	waybill "github.com/waybill-data/waybill"
)

const (
	headerCode    = "X-Clickhouse-Exception-Code"
	headerQueryID = "X-Clickhouse-Query-Id"

	maxRefusal = 1 << 20 // bytes of an exception's text that are read
	maxQuote   = 200     // bytes of a stranger's text that are shown
)

// refusal is the exception that a response carries, or what else kept it from being an answer; nil for an answer.
func refusal(resp *http.Response) error {
	code := resp.Header.Get(headerCode)
	ours := resp.Header.Get(headerQueryID) != ""
	if resp.StatusCode == http.StatusOK && code == "" && ours {
		return nil
	}
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxRefusal))
	if ex := exceptionOf(code, string(text)); ex != nil {
		return ex // as far as it could be read
	}
	if err != nil {
		return fmt.Errorf("%s, and the rest of the response did not come: %w", resp.Status, err)
	}
	return &strangerError{status: resp.StatusCode, text: string(text)}
}

var exceptionText = regexp.MustCompile(`^Code: (\d+)\. (DB::[A-Za-z:]*Exception: )`)

// exceptionOf makes of the server's text what the native protocol would have carried; nil if it is not the server's.
func exceptionOf(code, text string) *ch.Exception {
	m := exceptionText.FindStringSubmatch(text)
	if code == "" {
		if m == nil {
			return nil
		}
		code = m[1]
	}
	n, err := strconv.Atoi(code)
	if err != nil {
		return nil
	}
	if m != nil {
		text = text[len(m[0]):]
	}
	return &ch.Exception{Code: proto.Error(n), Name: "DB::Exception", Message: "DB::Exception: " + plainMessage(text)}
}

var exceptionTail = regexp.MustCompile(`(?s) \([A-Z0-9_]+\)(, | )\(version [^)]*(\([^)]*\))?\)\s*$`)

// plainMessage drops what HTTP adds at the end of a message: the code's name and the server's version.
func plainMessage(text string) string {
	return strings.TrimSpace(exceptionTail.ReplaceAllString(text, ""))
}

// strangerError is a response that no ClickHouse server wrote: a proxy's, or another service's.
type strangerError struct {
	status int
	text   string
}

func (e *strangerError) Error() string {
	text := strings.Join(strings.Fields(e.text), " ")
	if len(text) > maxQuote {
		text = text[:maxQuote] + "..."
	}
	return fmt.Sprintf("HTTP status %d (%s), not from a ClickHouse server: %q", e.status, http.StatusText(e.status), text)
}

// rule says what a stranger's response means: what may pass by itself is retried.
func (e *strangerError) rule() codeRule {
	switch e.status {
	case http.StatusTooManyRequests, http.StatusServiceUnavailable:
		return codeRule{class: waybill.ClassThrottled}
	case http.StatusRequestEntityTooLarge:
		return codeRule{class: waybill.ClassDenied, hint: "a proxy limits how large a request may be: raise its limit, or lower batch.bytes"}
	}
	if e.status < http.StatusInternalServerError && e.status != http.StatusRequestTimeout {
		return codeRule{class: waybill.ClassDenied, hint: "check the address and what stands between Waybill and the server"}
	}
	return codeRule{class: waybill.ClassRetryable}
}
