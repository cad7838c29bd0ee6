package clickhouse

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/ClickHouse/ch-go/proto"
)

// httpConn speaks HTTP/1.1 on one connection, one request at a time. It is no http.Client, which would decide by itself when
// to dial, to retry and to keep a connection: who sends an INSERT must know whether a byte of it left. A body is always sent
// under its Content-Length, never chunked: the server then refuses a body that was cut, wherever that was.
type httpConn struct {
	raw    net.Conn // the socket: closing it ends whatever is going on
	wire   net.Conn // raw, or TLS over it
	r      *bufio.Reader
	cfg    Config
	method method
	now    func() time.Time

	server proto.ServerHello
	buf    proto.Buffer // for the few bytes of a block that are not a column's
	until  time.Time    // when the server will close the idle connection, as it said; zero: it did not say
	closed bool         // no other request may follow
}

// responseBuffer is at least what proto.Reader asks for, which then reads from this very buffer.
const responseBuffer = 128 << 10

// dialHTTP asks the server who it is. HTTP has no handshake: this also finds out whether the credentials are good, before
// anything is sent whose outcome would matter.
func dialHTTP(ctx context.Context, raw, wire net.Conn, cfg Config, now func() time.Time) (*httpConn, error) {
	if err := checkHeaders(cfg); err != nil {
		return nil, err
	}
	h := &httpConn{
		raw: raw, wire: wire, r: bufio.NewReaderSize(wire, responseBuffer), cfg: cfg, now: now,
		method: cfg.Compression.method(raw.RemoteAddr()),
	}
	var version, zone, name proto.ColStr
	err := h.do(ctx, &statement{
		body:     "SELECT version() AS v, timezone() AS z, displayName() AS n",
		settings: readSettings,
		result:   proto.Results{{Name: "v", Data: &version}, {Name: "z", Data: &zone}, {Name: "n", Data: &name}},
		onRows: func(int) error {
			s := &h.server
			s.Timezone, s.DisplayName = zone.Row(0), name.Row(0)
			_, err := fmt.Sscanf(version.Row(0), "%d.%d.%d", &s.Major, &s.Minor, &s.Patch)
			return err
		},
	})
	if err == nil && h.server.Major == 0 {
		err = errors.New("the server did not say which version it is")
	}
	return h, err
}

func (h *httpConn) hello() proto.ServerHello { return h.server }

// keepAliveMargin is how long before the server's own time a connection is given up: an INSERT that meets a closing
// connection is in doubt.
const keepAliveMargin = 2 * time.Second

func (h *httpConn) reusable() bool {
	return !h.closed && (h.until.IsZero() || h.now().Before(h.until.Add(-keepAliveMargin)))
}

func (h *httpConn) do(_ context.Context, st *statement) error {
	body, err := h.body(st)
	if err != nil {
		return err
	}
	defer body.release()
	resp, sent, err := h.exchange(st, body)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	if err := refusal(resp); err != nil {
		return h.abandon(err, sent)
	}
	if err := readAnswer(st, resp.Body); err != nil {
		return h.abandon(err, sent)
	}
	h.keepAlive(resp)
	return sent.wait()
}

// sending is a request on its way.
type sending struct {
	done chan struct{}
	err  error // once done is closed
}

func (s *sending) wait() error {
	<-s.done
	return s.err
}

// abandon ends the connection. What becomes of a body that is still being sent does not matter any more, but its memory is not
// given back before it is let go of.
func (h *httpConn) abandon(err error, sent *sending) error {
	h.closed = true
	_ = h.raw.Close()
	<-sent.done
	return err
}

// exchange sends a request and reads the head of its response, at the same time: a server that refuses in the middle of a
// body says so and closes.
func (h *httpConn) exchange(st *statement, body *spool) (*http.Response, *sending, error) {
	message := append(net.Buffers{requestHead(h.cfg, st, h.method, body.size)}, body.parts...)
	s := &sending{done: make(chan struct{})}
	go func() {
		defer close(s.done)
		_, s.err = message.WriteTo(h.wire)
	}()
	resp, err := http.ReadResponse(h.r, &http.Request{Method: http.MethodPost})
	if err != nil {
		return nil, nil, errors.Join(h.abandon(fmt.Errorf("read the response: %w", err), s), s.err)
	}
	return resp, s, nil
}

// keepAlive notes whether and for how long the server keeps the connection.
func (h *httpConn) keepAlive(resp *http.Response) {
	h.closed = resp.Close
	h.until = time.Time{}
	for part := range strings.SplitSeq(resp.Header.Get("Keep-Alive"), ",") {
		var seconds int
		if _, err := fmt.Sscanf(strings.TrimSpace(part), "timeout=%d", &seconds); err == nil {
			h.until = h.now().Add(time.Duration(seconds) * time.Second)
		}
	}
}

// body is what the request carries: the statement, and after it the block, as the server's parser takes them from one stream.
// Statements are not put into the URL, which proxies limit and log.
func (h *httpConn) body(st *statement) (*spool, error) {
	s := new(spool)
	if st.input == nil {
		s.keep([]byte(st.body))
		return s, nil
	}
	if h.method == methodNone {
		return s, h.chain(proto.NewWriter(keeper{s}, &h.buf), st)
	}
	frames := newFramer(h.method, s)
	defer frames.release()
	if err := h.chain(proto.NewWriter(frames, &h.buf), st); err != nil {
		return s, err
	}
	return s, frames.flush()
}

func (h *httpConn) chain(w *proto.Writer, st *statement) error {
	w.ChainWrite(append([]byte(st.body), '\n'))
	if err := chainBlock(w, st.input); err != nil {
		return err
	}
	_, err := w.Flush()
	return err
}

// readAnswer reads the body of a response that is no refusal, to its end. An INSERT's must be empty.
func readAnswer(st *statement, body io.Reader) error {
	br := bufio.NewReaderSize(body, responseBuffer)
	r := proto.NewReader(br) // reads from br itself, which is large enough
	for {
		switch _, err := br.Peek(1); {
		case errors.Is(err, io.EOF): // only between two blocks, and only where the body is complete
			return nil
		case err != nil:
			return fmt.Errorf("read the answer: %w", err)
		case st.input != nil:
			text, _ := br.Peek(min(br.Buffered(), maxQuote))
			return fmt.Errorf("an INSERT was answered with %q", text)
		case st.result == nil:
			if _, err := br.Discard(br.Buffered()); err != nil {
				return err
			}
			continue
		}
		var b proto.Block
		if err := b.DecodeBlock(r, answerRevision, st.result); err != nil {
			return fmt.Errorf("decode the answer: %w", err)
		}
		if b.Rows > 0 {
			if err := st.onRows(b.Rows); err != nil {
				return err
			}
		}
	}
}
