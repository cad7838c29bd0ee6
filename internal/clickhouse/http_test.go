package clickhouse

import (
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ClickHouse/ch-go"
	"github.com/ClickHouse/ch-go/proto"

	waybill "github.com/waybill-data/waybill"
	"github.com/waybill-data/waybill/internal/testenv"
	"github.com/waybill-data/waybill/internal/testenv/faultproxy"
)

// impostor passes everything on to the real server but INSERTs, which f answers. It counts those.
func impostor(t *testing.T, f http.HandlerFunc) (*world, *atomic.Int64) {
	t.Helper()
	srv := testenv.SharedClickHouse(t)
	var inserts atomic.Int64
	front := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Has("insert_deduplication_token") {
			inserts.Add(1)
			f(rw, r)
			return
		}
		relay(t, srv.HTTPAddr(), rw, r)
	}))
	t.Cleanup(front.Close)
	over := wire{name: "http", protocol: HTTP}
	w := &world{t, over, srv, testenv.Database(t, srv), open(t, over.at(front.Listener.Addr().String(), Config{InsertTimeout: 5 * time.Second}))}
	t.Cleanup(w.c.Close) // before front, which waits for connections
	w.table("t", "", window100)
	return w, &inserts
}

func relay(t *testing.T, addr string, rw http.ResponseWriter, r *http.Request) {
	req, err := http.NewRequestWithContext(r.Context(), r.Method, "http://"+addr+r.URL.String(), r.Body)
	if err != nil {
		t.Error(err)
		return
	}
	req.Header = r.Header
	transport := &http.Transport{DisableKeepAlives: true}
	resp, err := transport.RoundTrip(req)
	if err != nil {
		t.Error(err)
		return
	}
	defer func() { _ = resp.Body.Close() }()
	for k, v := range resp.Header {
		rw.Header()[k] = v
	}
	rw.WriteHeader(resp.StatusCode)
	_, _ = io.Copy(rw, resp.Body)
}

func drain(r *http.Request) { _, _ = io.Copy(io.Discard, r.Body) }

// What is not the server's word is no answer: unknown, never refused and never landed. It says who answered instead.
func TestHTTP_StrangersAnswerIsUnknown(t *testing.T) {
	for _, c := range []struct {
		status int
		class  waybill.Class
		text   string
	}{
		{200, waybill.ClassDenied, "not from a ClickHouse server"}, // a web server on the wrong port
		{204, waybill.ClassDenied, "204"},
		{301, waybill.ClassDenied, "301"},
		{401, waybill.ClassDenied, "401"},
		{403, waybill.ClassDenied, "403"},
		{404, waybill.ClassDenied, "404"},
		{408, waybill.ClassRetryable, "408"},
		{413, waybill.ClassDenied, "batch.bytes"},
		{429, waybill.ClassThrottled, "429"},
		{500, waybill.ClassRetryable, "500"},
		{502, waybill.ClassRetryable, "Bad Gateway"},
		{503, waybill.ClassThrottled, "503"},
		{504, waybill.ClassRetryable, "504"},
	} {
		w, seen := impostor(t, func(rw http.ResponseWriter, r *http.Request) {
			drain(r)
			rw.Header().Set("Location", "/elsewhere")
			rw.WriteHeader(c.status)
			_, _ = io.WriteString(rw, "<html>hello</html>")
		})
		a := w.insert("t", "T", rows(0, 1))
		if a.Outcome != Unknown || a.NotSent || a.Err.Class != c.class || !strings.Contains(a.Err.Error(), c.text) {
			t.Errorf("%d: %s, %v; want unknown, class %s, %q", c.status, a.Outcome, a.Err, c.class, c.text)
		}
		if seen.Load() != 1 {
			t.Errorf("%d: %d requests", c.status, seen.Load())
		}
	}
}

// An exception may come late: as the body of a 200, or after it was begun. None of that is an acknowledgement.
func TestHTTP_ExceptionAfterTheHead(t *testing.T) {
	const text = "Code: 241. DB::Exception: Memory limit exceeded. (MEMORY_LIMIT_EXCEEDED) (version 26.7.2.1)\n"
	for name, f := range map[string]http.HandlerFunc{
		"code in the head of a 200": func(rw http.ResponseWriter, r *http.Request) {
			drain(r)
			rw.Header().Set(headerQueryID, "q")
			rw.Header().Set(headerCode, "241")
			_, _ = io.WriteString(rw, text)
		},
		"code alone in the head of a 200": func(rw http.ResponseWriter, r *http.Request) {
			drain(r)
			rw.Header().Set(headerQueryID, "q")
			rw.Header().Set(headerCode, "241")
		},
		"text in the body of a 200": func(rw http.ResponseWriter, r *http.Request) {
			drain(r)
			rw.Header().Set(headerQueryID, "q")
			rw.Header().Set("X-ClickHouse-Exception-Tag", "abcdefghijklmnop")
			_, _ = io.WriteString(rw, "__exception__\r\nabcdefghijklmnop\r\n"+text)
		},
		"cut after the head": func(rw http.ResponseWriter, r *http.Request) {
			drain(r)
			rw.Header().Set(headerQueryID, "q")
			rw.(http.Flusher).Flush() // chunked, and no last chunk
			panic(http.ErrAbortHandler)
		},
		"200 before the body was read": func(rw http.ResponseWriter, _ *http.Request) {
			rw.Header().Set(headerQueryID, "q") // a whole response; the rest of the body is never read
		},
	} {
		w, _ := impostor(t, f)
		in := rows(0, 1)
		if strings.Contains(name, "before") {
			in = longBlock()
		}
		a := w.insert("t", "T", in)
		if a.Outcome.Answered() || a.Err == nil || a.NotSent {
			t.Errorf("%s: %s, %v", name, a.Outcome, a.Err)
		}
	}
}

// A read-back that fails in the middle is an error, never a part of the answer.
func TestHTTP_CutAnswerIsAnError(t *testing.T) {
	srv := testenv.SharedClickHouse(t)
	proxy := testenv.Proxy(t, srv.HTTPAddr())
	over := wire{name: "http", protocol: HTTP}
	c := open(t, over.at(proxy.Addr(), Config{}))
	var n proto.ColUInt64
	read := func(sql string) error {
		return c.Query(t.Context(), sql, proto.Results{{Name: "n", Data: &n}}, func(int) error { return nil })
	}
	if err := read("SELECT number AS n FROM numbers(10)"); err != nil {
		t.Fatal(err)
	}
	wantCode(t, read("SELECT number + throwIf(number = 900000) AS n FROM numbers(1000000)"), waybill.ClassPoison, 395)
	proxy.Set(faultproxy.DropReply().On(faultproxy.Contains([]byte("SELECT number"))).Times(1))
	if err := read("SELECT number AS n FROM numbers(1000000)"); waybill.ClassOf(err) != waybill.ClassRetryable {
		t.Errorf("%v", err)
	}
	wantApplied(t, proxy, faultproxy.NameDropReply)
}

// The body is cut at several places, without and with compression: nothing lands, and the server says what it missed or is not
// heard at all. The token is unused.
func TestWire_CutBodiesLandNothing(t *testing.T) {
	in := longBlock()
	for _, over := range allWires {
		w, proxy := newProxied(t, over, Config{InsertTimeout: 20 * time.Second})
		w.table("long", ", s String", window100)
		before, _ := proxy.Bytes()
		w.wantLanded(w.insert("long", "whole", in))
		after, _ := proxy.Bytes()
		w.exec("TRUNCATE TABLE " + w.db + ".long")
		for i, percent := range []int64{0, 1, 30, 70, 99} {
			proxy.Set(faultproxy.Cut((after - before) * percent / 100).Times(1))
			a := w.insert("long", "cut", in)
			if n := proxy.Applied(faultproxy.NameCut); n != int64(i+1) {
				t.Fatalf("%s, %d%%: cut %d times", over.name, percent, n)
			}
			if a.Outcome.Answered() || a.NotSent {
				t.Errorf("%s, %d%%: %+v", over.name, percent, a)
			}
		}
		proxy.Set(faultproxy.Pass())
		testenv.Eventually(t, 10*time.Second, "cut inserts have ended", func() bool {
			return w.value("SELECT count() FROM system.processes WHERE query LIKE 'INSERT INTO `"+w.db+"`%'") == "0"
		})
		if n := w.value("SELECT count() FROM " + w.db + ".long"); n != "0" {
			t.Errorf("%s: %s rows of cut bodies landed", over.name, n)
		}
		w.wantLanded(w.insert("long", "cut", in))
		if n := w.value("SELECT count() FROM " + w.db + ".long"); n != fmt.Sprint(in[0].Data.Rows()) {
			t.Errorf("%s: %s rows", over.name, n)
		}
	}
}

// longBlock is more than any socket buffer takes, compressed or not.
func longBlock() proto.Input {
	rng := rand.New(rand.NewPCG(11, 12))
	noise := make([]byte, 1<<20)
	for i := range noise {
		noise[i] = byte(rng.Uint32())
	}
	text := new(proto.ColStr)
	offsets := make([]int64, 24)
	for i := range offsets {
		offsets[i] = int64(i)
		text.AppendBytes(noise)
	}
	return append(rows(0, offsets...), proto.InputColumn{Name: "s", Data: text})
}

// A server that refuses while a long body is still being sent is heard.
func TestWire_RefusalInTheMiddleIsHeard(t *testing.T) {
	for _, over := range allWires {
		w := newWorld(t, over)
		a := w.insert("nope", "T", longBlock())
		wantOutcome(t, a, Refused)
		wantCode(t, a.Err, waybill.ClassSchema, 60)
	}
}

func TestHTTP_CredentialsAreNotInTheURL(t *testing.T) {
	cfg := Config{Addr: "h:8123", User: "someone", Password: "s3cr3t", Database: "d"}
	head := string(requestHead(cfg, &statement{body: "SELECT 1"}, methodNone, 8))
	line, headers, _ := strings.Cut(head, "\r\n")
	if strings.Contains(line, "someone") || strings.Contains(line, "s3cr3t") {
		t.Errorf("request line %q", line)
	}
	if !strings.Contains(headers, "X-ClickHouse-User: someone\r\nX-ClickHouse-Key: s3cr3t\r\n") || !strings.Contains(headers, "Content-Length: 8\r\n") {
		t.Errorf("headers %q", headers)
	}
	for _, password := range []string{"a\r\nX-Evil: 1", " leading", "trailing ", "nul\x00"} {
		_, err := Open(t.Context(), Config{Addr: testenv.SharedClickHouse(t).HTTPAddr(), Protocol: HTTP, Password: password}, Deps{})
		wantCode(t, err, waybill.ClassConfig, 0)
		if err != nil && strings.Contains(err.Error(), password) {
			t.Errorf("the error shows the password: %v", err)
		}
	}
}

func TestHTTP_ExceptionText(t *testing.T) {
	for text, want := range map[string]string{
		"Code: 60. DB::Exception: Table a.b does not exist. (UNKNOWN_TABLE) (version 26.7.2.1)\n":                                "Table a.b does not exist.",
		"Code: 60. DB::Exception: x (y). (UNKNOWN_TABLE) (version 25.8.1.1 (official build))\n":                                  "x (y).",
		"Code: 27. DB::Exception: multi\nline: (at row 1)\n. (CANNOT_PARSE_INPUT_ASSERTION_FAILED) (version 26.7.2.1)":           "multi\nline: (at row 1)\n.",
		"Code: 1000. DB::NetException: Connection reset. (NETWORK_ERROR), Stack trace (when copying) (version 26.7.2.1)":         "Connection reset. (NETWORK_ERROR), Stack trace (when copying) (version 26.7.2.1)",
		"Code: 194. DB::Exception: default: Authentication failed. (REQUIRED_PASSWORD) (version 26.7.2.1)":                       "default: Authentication failed.",
		"Code: 469. DB::Exception: Constraint `c` is violated, while pushing to view d.v: 1. (VIOLATED_CONSTRAINT) (version 26)": "Constraint `c` is violated, while pushing to view d.v: 1.",
	} {
		ex := exceptionOf("", text)
		if ex == nil || ex.Message != "DB::Exception: "+want {
			t.Errorf("%q became %+v", text, ex)
		}
	}
	if ex := exceptionOf("", "<html>Code: 60. DB::Exception</html>"); ex != nil {
		t.Errorf("a page is taken for an exception: %+v", ex)
	}
	if ex := exceptionOf("241", ""); ex == nil || ex.Code != 241 {
		t.Errorf("a code without text: %+v", ex)
	}
}

// A refusal reads the same over both transports.
func TestWire_RefusalsReadTheSame(t *testing.T) {
	var said []string
	overBoth(t, func(t *testing.T, over wire) {
		w := newWorld(t, over)
		w.table("t", ", CONSTRAINT c CHECK v != 20", window100)
		w.table("fed", "", window100)
		w.exec("CREATE MATERIALIZED VIEW " + w.db + ".v TO " + w.db + ".fed AS SELECT * FROM " + w.db + ".t WHERE throwIf(v = 30, 'thirty') = 0")
		a, b := w.insert("t", "T0", rows(0, 2)), w.insert("t", "T1", rows(0, 3))
		if a.Err == nil || b.Err == nil || b.View() != w.db+".v" {
			t.Fatalf("%v, %v, view %q", a.Err, b.Err, b.View())
		}
		said = append(said, words(a.Err)+words(b.Err))
	})
	if len(said) == 2 && said[0] != said[1] {
		t.Errorf("native: %s\nhttp:   %s", said[0], said[1])
	}
}

// A block of an epoch that the table does not take is told from one with a bad row, and from one that a view's table does not take.
func TestInsert_FencedByTheTablesEpoch(t *testing.T) {
	overBoth(t, func(t *testing.T, over wire) {
		w := newWorld(t, over)
		fence := strings.TrimPrefix(FenceConstraintOn("v", 20), "CONSTRAINT ")
		w.table("t", ", CONSTRAINT "+fence+", CONSTRAINT c CHECK v != 70", window100)
		for _, c := range []struct {
			rows   proto.Input
			fenced bool
			class  waybill.Class
		}{{rows(0, 1), true, waybill.ClassFenced}, {rows(0, 3, 1), true, waybill.ClassFenced}, {rows(0, 7), false, waybill.ClassPoison}} {
			a := w.insert("t", "T0", c.rows)
			if a.Outcome != Refused || a.Fenced != c.fenced || a.Err.Class != c.class {
				t.Errorf("%+v, fenced %v; want %v, %s", a.Err, a.Fenced, c.fenced, c.class)
			}
		}
		if a := w.insert("t", "T0", rows(0, 2, 3)); a.Err != nil || a.Fenced { // nothing has used the token
			t.Errorf("%+v", a)
		}
		if n := testenv.QueryValue(t, w.srv.HTTPAddr(), "SELECT count() FROM "+w.db+".t"); n != "2" {
			t.Errorf("%s rows, want 2", n)
		}
		w.exec("ALTER TABLE " + w.db + ".t ADD " + ClosedConstraint("v", 20))
		if a := w.insert("t", "T1", rows(0, 2, 30)); a.Outcome != Refused || !a.Fenced { // in good order but for the table
			t.Errorf("a closed table: %+v, fenced %v", a.Err, a.Fenced)
		}
		w.table("source", "", window100)
		w.table("fed", ", CONSTRAINT "+fence, window100)
		w.exec("CREATE MATERIALIZED VIEW " + w.db + ".view TO " + w.db + ".fed AS SELECT * FROM " + w.db + ".source")
		if a := w.insert("source", "T0", rows(0, 1)); a.Err == nil || a.Fenced || a.View() == "" {
			t.Errorf("a view's table that does not take the row: %+v, fenced %v, view %q", a.Err, a.Fenced, a.View())
		}
	})
}

// words is an error without what is another one each time, and without the full stop that HTTP puts at the end.
func words(e *waybill.Error) string {
	text := regexp.MustCompile(`test_\d+|[0-9a-f]{8}-[0-9a-f-]{27}`).ReplaceAllString(e.Err.Error(), "X")
	return fmt.Sprintln(e.Code, e.Class, strings.TrimSuffix(text, "."))
}

// An idle connection that the server is about to close is not used any more.
func TestHTTP_KeepAliveIsHonoured(t *testing.T) {
	now := time.Now()
	h := &httpConn{now: func() time.Time { return now }}
	h.keepAlive(&http.Response{Header: http.Header{"Keep-Alive": {"timeout=30, max=9999"}}})
	if !h.reusable() {
		t.Error("a fresh connection is not reusable")
	}
	now = now.Add(29 * time.Second)
	if h.reusable() {
		t.Error("a connection is used that the server closes in a second")
	}
	h.keepAlive(&http.Response{})
	if !h.reusable() {
		t.Error("a server that says no time is taken to say zero")
	}
	h.keepAlive(&http.Response{Close: true})
	if h.reusable() {
		t.Error("a connection is used that the server closes")
	}
}

// One connection carries many statements.
func TestHTTP_ConnectionsAreReused(t *testing.T) {
	over := wire{name: "http", protocol: HTTP}
	w, proxy := newProxied(t, over, Config{})
	for i := range 20 {
		w.wantLanded(w.insert("t", waybill.Token(fmt.Sprint(i)), rows(0, int64(i))))
	}
	if n := proxy.Connections(); n != 1 {
		t.Errorf("%d connections", n)
	}
}

func TestClassify_Strangers(t *testing.T) {
	err := Classify("op", &strangerError{status: 502, text: strings.Repeat("x ", 500)})
	if err.Class != waybill.ClassRetryable || len(err.Error()) > 400 {
		t.Errorf("%v", err)
	}
	if _, ok := ch.AsException(err); ok {
		t.Error("a stranger's word is taken for the server's")
	}
}
