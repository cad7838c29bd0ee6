package faultproxy

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net/http"
	"time"
)

// Fault is what the proxy does to the connections through it. Constructors make one; On and Times narrow it.
type Fault struct {
	name  string
	kind  kind
	on    Trigger // nil: at once
	times int     // how many connections it may hit; 0: all

	bytes    int64         // cut: how many still pass
	up, down time.Duration // delay, each direction
	answer   []byte        // answer: what the client gets
	keepOpen bool          // a swallowed reply does not close the connection
}

type kind int

const (
	kindPass       kind = iota
	kindRefuse          // a new connection is reset as soon as it is accepted
	kindHang            // nothing is forwarded, either way, until another fault is set
	kindDelay           // everything is forwarded late
	kindCut             // the client's bytes are forwarded up to a point, then both ends are closed
	kindDropReply       // the client's bytes arrive; what the server says from then on does not
	kindDropInsert      // the same, for ClickHouse, knowing that the server said that the INSERT is done
	kindAnswer          // the request is kept from the server and answered by the proxy
)

// Names under which Stats counts.
const (
	NameRefuse     = "refuse"      // connections reset at accept
	NameHang       = "hang"        // connections of which bytes were held
	NameDelay      = "delay"       // chunks that were late
	NameCut        = "cut"         // connections cut
	NameDropReply  = "drop-reply"  // replies swallowed
	NameDropInsert = "drop-insert" // INSERTs that the server finished and the client never heard of
	NameAnswer     = "answer"      // requests answered by the proxy
	NameKill       = "kill"        // connections ended by KillConnections and Down
	NameDown       = "down"        // times the listener was closed; whom that turned away, a proxy cannot see
	NameUnparsed   = "unparsed"    // replies to an INSERT that could not be understood and were passed on
)

// Pass forwards everything.
func Pass() Fault { return Fault{kind: kindPass} }

// Refuse resets each new connection as soon as it is accepted. Down, by contrast, closes the port.
func Refuse() Fault { return Fault{kind: kindRefuse, name: NameRefuse} }

// Hang accepts connections and bytes and forwards nothing. What was held is forwarded when another fault is set.
func Hang() Fault { return Fault{kind: kindHang, name: NameHang} }

// Delay forwards what the client sends after up, and what the server sends after down.
func Delay(up, down time.Duration) Fault {
	return Fault{kind: kindDelay, name: NameDelay, up: up, down: down}
}

// Cut closes both ends of a connection after n more bytes from the client have been forwarded. With On, the bytes are
// counted from the trigger; those that made it fire come before.
func Cut(n int64) Fault { return Fault{kind: kindCut, name: NameCut, bytes: n} }

// CutShare is Cut after that percentage of the bytes expected.
func CutShare(percent int, expected int64) Fault { return Cut(expected * int64(percent) / 100) }

// DropReply forwards what the client sends and swallows what the server answers; once the server has fallen silent the
// connection is closed. Use it with On, and DropInsertReply where the request is a ClickHouse INSERT.
func DropReply() Fault { return Fault{kind: kindDropReply, name: NameDropReply} }

// DropInsertReply lets the next INSERT of each native connection into a table whose name contains table (any, if it is empty)
// be carried out, and closes the connection in place of the server's word that it is done. An INSERT that the server refuses
// is let through, not counted.
func DropInsertReply(table string) Fault {
	return Fault{kind: kindDropInsert, name: NameDropInsert, on: Insert(table)}
}

// Answer keeps the next INSERT of each native connection from the server and answers it with a ClickHouse exception, after
// which the connection is closed. On chooses another occasion than any INSERT: Insert("table"), Handshake.
func Answer(code int32, name, message string) Fault {
	return Fault{kind: kindAnswer, name: NameAnswer, on: Insert(""), answer: exception(code, name, message)}
}

// AnswerHTTP is Answer for a client that speaks HTTP: the next INSERT of each connection is answered with this response. Headers
// are whole lines, as in "X-ClickHouse-Exception-Code: 252".
func AnswerHTTP(status int, body string, headers ...string) Fault {
	var b bytes.Buffer
	fmt.Fprintf(&b, "HTTP/1.1 %d %s\r\n", status, http.StatusText(status))
	for _, h := range append(headers, "Connection: close", fmt.Sprintf("Content-Length: %d", len(body))) {
		b.WriteString(h + "\r\n")
	}
	b.WriteString("\r\n" + body)
	return Fault{kind: kindAnswer, name: NameAnswer, on: Insert(""), answer: b.Bytes()}
}

// On has the fault wait for a trigger, on each connection for itself.
func (f Fault) On(t Trigger) Fault { f.on = t; return f }

// Times has the fault hit n connections and spare all later ones.
func (f Fault) Times(n int) Fault { f.times = n; return f }

// KeepOpen has a dropped reply leave the connection open, and deaf: the client waits for its own timeout.
func (f Fault) KeepOpen() Fault { f.keepOpen = true; return f }

// Seen is what a trigger gets to see each time the client has sent something.
type Seen struct {
	// Bytes is what the client has sent on this connection since the fault was set, at most the last 256 KiB of it.
	Bytes []byte
	// Chunk is the newest part of Bytes: what one read returned.
	Chunk []byte
	// Total is how many bytes the client has sent on this connection since the fault was set.
	Total int64
	// First says that the connection had carried nothing before Chunk.
	First bool
}

const seenMax = 256 << 10

// Trigger says whether the fault begins now. It is called under the proxy's lock.
type Trigger func(Seen) bool

// Contains fires once the client has sent these bytes, in however many pieces.
func Contains(b []byte) Trigger {
	return func(s Seen) bool { return bytes.Contains(s.Bytes, b) }
}

// AfterBytes fires once the client has sent at least n bytes since the fault was set.
func AfterBytes(n int64) Trigger { return func(s Seen) bool { return s.Total >= n } }

// Handshake fires on the first bytes of a new connection.
func Handshake() Trigger { return func(s Seen) bool { return s.First } }

// Insert fires when the client has sent INSERT INTO and, within the 256 bytes after it, table. An empty table means any.
func Insert(table string) Trigger {
	return func(s Seen) bool {
		rest := s.Bytes
		for {
			_, after, found := bytes.Cut(rest, []byte("INSERT INTO"))
			if !found {
				return false
			}
			if bytes.Contains(after[:min(len(after), 256)], []byte(table)) {
				return true
			}
			rest = after
		}
	}
}

// KafkaRequest fires when the client sends a request with this API key (8 is OffsetCommit). It takes each read to begin with
// a request, which holds for clients that write a request at a time and for requests that fit one read.
func KafkaRequest(key int16) Trigger {
	return func(s Seen) bool {
		for b := s.Chunk; len(b) >= 6; {
			size := int64(binary.BigEndian.Uint32(b))
			if int16(binary.BigEndian.Uint16(b[4:])) == key {
				return true
			}
			if int64(len(b)) < 4+size {
				return false
			}
			b = b[4+size:]
		}
		return false
	}
}
