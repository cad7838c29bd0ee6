package clickhouse

import (
	"errors"
	"net/url"
	"strconv"
	"strings"

	waybill "github.com/waybill-data/waybill"
)

// clientName is how Waybill shows in the server's query log.
const clientName = "waybill"

// answerRevision is the revision of the native protocol that answers are asked for in over HTTP: the last without
// LowCardinality, which then comes as what is in it. (Over TCP a setting does that, which HTTP does not heed.) Blocks that are
// sent are not concerned: FORMAT Native takes them without any revision.
const answerRevision = 54404

// httpParameters go with every request. The server must have seen the end of a statement before it says 200, or a failure
// would come as the tail of a success.
var httpParameters = [][2]string{
	{"default_format", "Native"},
	{"client_protocol_version", strconv.Itoa(answerRevision)},
	{"wait_end_of_query", "1"},
	{"send_progress_in_http_headers", "0"},         // these would come with a 200 before the end
	{"http_write_exception_in_output_format", "0"}, // a refusal is text
	{"enable_http_compression", "0"},
}

// requestHead is the request line and the headers. The credentials are in headers, because URLs get into logs.
func requestHead(cfg Config, st *statement, m method, size int) []byte {
	var b strings.Builder
	b.WriteString("POST /")
	separator := byte('?')
	parameter := func(key, value string) {
		b.WriteByte(separator)
		separator = '&'
		b.WriteString(url.QueryEscape(key) + "=" + url.QueryEscape(value))
	}
	for _, p := range httpParameters {
		parameter(p[0], p[1])
	}
	if cfg.Database != "" {
		parameter("database", cfg.Database)
	}
	if st.queryID != "" {
		parameter("query_id", st.queryID)
	}
	if st.input != nil && m != methodNone {
		parameter("decompress", "1")
	}
	for _, s := range st.settings {
		parameter(s.Key, s.Value)
	}
	b.WriteString(" HTTP/1.1\r\n")
	for _, h := range [][2]string{
		{"Host", cfg.Addr},
		{"User-Agent", clientName},
		{"X-ClickHouse-User", cfg.User},
		{"X-ClickHouse-Key", cfg.Password},
		{"Content-Type", "application/octet-stream"},
		{"Content-Length", strconv.Itoa(size)},
	} {
		b.WriteString(h[0] + ": " + h[1] + "\r\n")
	}
	b.WriteString("\r\n")
	return []byte(b.String())
}

// checkHeaders refuses credentials that a header cannot carry: it would end at a line break, and lose blanks at its ends.
func checkHeaders(cfg Config) error {
	for _, v := range []string{cfg.User, cfg.Password} {
		if strings.TrimSpace(v) != v || strings.ContainsFunc(v, func(r rune) bool { return r < ' ' || r == 0x7f }) {
			return &waybill.Error{
				Op: "clickhouse.open", Class: waybill.ClassConfig,
				Err:  errors.New("the user's name or password begins or ends with a blank or has a control character, which HTTP cannot carry"),
				Hint: "use another password, or the native protocol (clickhouse://)",
			}
		}
	}
	return nil
}
